"""What is measured of a trained agent, and how it is printed; a finished run is drawn, too."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from tqdm import tqdm

from ram_agent.agent import RAMAgent
from ram_agent.evaluation import Evaluation, evaluate
from ram_agent.pictures import NUM_SHOWN, make_drawn, save_watched
from ram_agent.play_mode import compared_gazes, is_sampled, trained_gaze
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.run_images import check_run_images, pick_episodes
from ram_agent.trainer import Trainer
from ram_envs.atomic_files import write_json
from ram_envs.catalog import SCORES
from ram_envs.datasets import Split

FOREIGN_EPISODES = 100  # of an evaluation in an environment of another package


def evaluate_all(
    agent: RAMAgent,
    env: RunEnv,
    split: Split,
    num_episodes: int | None,
    seed: int,
    stop_when_sure: Sequence[float] = (),
) -> dict[str, dict[str, Any]]:
    """Evaluate an agent's own gaze, then other gazes; with early answers of its own.

    Its own is the learned one, mean and sampled, unless it was trained as a control. The first
    result and those of other gazes are sampled where validations were.
    """
    own, sampled = trained_gaze(agent.info), is_sampled(agent.info)
    ways = [(gaze, sampled) for gaze in compared_gazes(agent.info)]
    if own == "learned":
        ways.insert(1, (own, not sampled))
    if num_episodes is None:
        num_episodes = usual_episodes(env)
    results = {}
    with contextlib.closing(env.make_split(env.num_evaluation_envs, split)) as envs:
        for gaze, is_sample in tqdm(ways, "measuring", disable=None, leave=False):
            result = evaluate(
                agent,
                envs,
                num_episodes=num_episodes,
                deterministic=not is_sample,
                gaze=gaze,
                seed=seed,
                stop_when_sure=stop_when_sure if (gaze, is_sample) == (own, sampled) else (),
            )
            name = f"{gaze} gaze, sampled" if is_sample else f"{gaze} gaze"
            results[name] = _as_json(result)
    return results


def usual_episodes(env: RunEnv) -> int | None:
    """Return the episodes of an evaluation; None: as many as `evaluate` plays by itself."""
    return FOREIGN_EPISODES if env.is_foreign else None


def title_results(env: RunEnv, split: str | None) -> str:
    """Return the title of results: the environment, and the split that `find_split` returned."""
    images = {None: "", "all": ", all images: no separate test split"}.get(
        split, f", {split} split"
    )
    return env.name + images


def print_results(results: dict[str, dict[str, Any]], env: RunEnv, split: str | None) -> None:
    """Print what `evaluate_all` returned; `split` is what `find_split` returned."""
    title = title_results(env, split)
    # A return of several balls is not a percentage.
    words = SCORES.get(env.env_id) if env.keywords.get("num_balls", 1) == 1 else None
    if env.keywords.get("max_shift") is not None:
        title += " (random gaze: random shifts; center gaze: no shifts)"
    own = next(iter(results.values()))
    episodes = own["episodes"]
    if "mean_return" in own:
        print(
            f"\n{title}: "
            + ("mean return" if words is None else f"% {words}")
            + f" of {episodes} games"
        )
        unit, digits = (1, 4) if words is None else (100, 2)
        for name, result in results.items():
            mean, spread = unit * result["mean_return"], unit * result["standard_error"]
            print(f"  {name:<22} {mean:.{digits}f} ± {spread:.{digits}f}")
        print()
        return
    shown = "episodes" if split is None else "images, one pass"
    print(f"\n{title}: error (%) on {episodes} {shown}")
    for name, result in results.items():
        after = " ".join(f"{error:6.2f}" for error in result["errors_after_each_glimpse"])
        error, spread = result["error"], result["standard_error"]
        print(f"  {name:<22} {error:6.2f} ± {spread:.2f}   after each glimpse: {after}")
    for answers in own.get("early_answers", ()):
        sure = f"if {100 * answers['threshold']:g}% sure"
        print(f"  {sure:<22} {answers['error']:6.2f}   {answers['mean_glimpses']:.2f} glimpses")
    print()


def show_trained(trainer: Trainer, folder: RunFolder) -> None:
    """Measure the best weights of a finished run, and draw their fixations."""
    best, run, path = RAMAgent.load(folder.path), folder.read_config(), folder.path
    env = RunEnv.named_in(run)
    check_run_images(run, env)  # they may have changed during training
    split = env.find_split("test")
    result = evaluate_all(best, env, "test", None, 0)  # as `ram evaluate` does
    measured = {"train_seconds": round(trainer.seconds, 1), "split": split, "results": result}
    write_json(path / "evaluation.json", {**best.info, **run, **measured})
    best_validation = (
        f"error {-trainer.best_score:.2f}%"
        if "error" in next(iter(result.values()))
        else f"return {trainer.best_score:.4f}"
    )
    print(f"Trained for {trainer.seconds:.0f} s; best validation {best_validation}.")
    print_results(result, env, split)
    try:
        episodes = pick_episodes(env, "test", NUM_SHOWN)
        with contextlib.closing(make_drawn(env, "test")) as envs:
            save_watched(best, envs, path / "fixations.png", episodes)
    except gym.error.DependencyNotInstalled as error:
        print(f"The fixations are not drawn. {error}")
    else:
        print(f"Fixations: {path / 'fixations.png'}")


def _as_json(result: Evaluation) -> dict[str, Any]:
    if not result.errors:
        return {
            "mean_return": round(result.mean_return, 6),
            "standard_error": round(result.standard_error, 6),
            "episodes": result.episodes,
        }
    row: dict[str, Any] = {
        "error": round(result.error, 4),
        "standard_error": round(result.standard_error, 4),
        "errors_after_each_glimpse": [round(error, 4) for error in result.errors],
        "episodes": result.episodes,
        "passes": 1,
    }
    if result.early_answers:
        row["early_answers"] = [
            {name: round(value, 4) for name, value in dataclasses.asdict(answers).items()}
            for answers in result.early_answers
        ]
    return row
