"""One training run: from settings to an agent in training, and from its best weights to figures."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode
from tqdm import tqdm

from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig, TrainConfig, config_from_json, is_a
from ram_agent.distributed import Ranks
from ram_agent.evaluation import Evaluation, evaluate
from ram_agent.provenance import provenance
from ram_agent.rollout import Gaze
from ram_agent.run_folder import RunFolder
from ram_agent.trainer import Trainer
from ram_envs.atomic_files import tame, write_json
from ram_envs.device_env import place_envs
from ram_envs.registration import CLASSIFICATION, ENVS

EVALUATION_ENVS = 500  # sub-environments: divides every split of MNIST
SIZES = ("num_glimpses", "glimpse_size", "num_scales", "canvas_size")  # an environment's keywords
MOST_PIXELS = 2**16  # no canvas is wider
GPU = "cuda"  # the type of the devices on which environments can be


def describe_run(
    env_id: str,
    keywords: dict[str, Any],
    preset: str,
    agent: AgentConfig,
    training: TrainConfig,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """config.json of a new run; the data set in it is the one that was really found."""
    keywords = with_found_dataset(
        env_id, keywords, only_in_training(training.distortion, training.elastic)
    )
    return {
        "env_id": env_id,
        "env_kwargs": keywords,
        "dataset": keywords.get("dataset"),  # None for a game
        "preset": preset,
        "agent": dataclasses.asdict(agent),
        "training": dataclasses.asdict(training),
        **provenance(device),
    }


def with_found_dataset(
    env_id: str, keywords: dict[str, Any], in_training: dict[str, Any]
) -> dict[str, Any]:
    """The keywords, checked by making the environment, and the name of its data set.

    `in_training` are more keywords, which are checked and left out.
    """
    env = make_split(env_id, 1, "train", **keywords, **in_training).unwrapped
    if env_id not in CLASSIFICATION:
        return keywords
    return {**keywords, "dataset": env.dataset_name}  # type: ignore[attr-defined]


def only_in_training(distortion: float, elastic: float) -> dict[str, Any]:
    """Keywords of the environments that an agent is trained in, beside those of all splits."""
    keywords = {"distortion": distortion, "elastic": elastic}
    return {name: strength for name, strength in keywords.items() if strength}


def make_trainer(
    run: dict[str, Any],
    folder: RunFolder | None,
    device: torch.device | str = "cpu",
    ranks: Ranks | None = None,
) -> Trainer:
    """A trainer at the start of the run that config.json describes, as one of the ranks.

    On a GPU its environments are there too, if they can be.
    """
    ranks, device = ranks or Ranks(), torch.device(device)
    config = config_from_json(TrainConfig, run["training"])
    env_id, keywords = run["env_id"], run["env_kwargs"]
    part_size, num_parts = config.batch_size // config.parts, config.parts // ranks.size
    in_training = {**keywords, **only_in_training(config.distortion, config.elastic)}
    train_envs = [
        place_split(device, env_id, part_size, "train", **in_training) for _ in range(num_parts)
    ]
    validation_envs = place_split(device, env_id, EVALUATION_ENVS, "validation", **keywords)
    torch.manual_seed(config.seed)
    agent = RAMAgent(
        train_envs[0].single_observation_space,
        train_envs[0].single_action_space,
        config_from_json(AgentConfig, run["agent"]),
    ).to(device)
    return Trainer(agent, train_envs, validation_envs, config, folder, ranks)


def make_split(
    env_id: str, num_envs: int, split: str, **keywords: Any
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Environments of a split of the images; a game has none."""
    if env_id in CLASSIFICATION:
        keywords["split"] = split
    try:
        return gym.make_vec(
            env_id, num_envs=num_envs, autoreset_mode=AutoresetMode.DISABLED, **keywords
        )
    except TypeError as error:
        raise ValueError(f"{env_id} cannot be made with {keywords}: {error}") from None


def place_split(
    device: torch.device, env_id: str, num_envs: int, split: str, **keywords: Any
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """`make_split`, on the device if that is a GPU and they can be there."""
    envs = make_split(env_id, num_envs, split, **keywords)
    return place_envs(envs, device) if device.type == GPU else envs


def show_trained(trainer: Trainer, folder: RunFolder) -> None:
    """Measure the best weights of a finished run, and draw what they look at."""
    best = RAMAgent.load(folder.path)
    env_id, keywords = own_env(best.info)
    result = evaluate_all(best, env_id, "test", None, 0, keywords)  # as `ram evaluate` does
    write_json(
        folder.path / "evaluation.json",
        {
            **best.info,
            "train_seconds": round(trainer.seconds, 1),
            "split": "test",
            "results": result,
        },
    )
    print(f"Trained for {trainer.seconds:.0f} s; best validation {trainer.best_error:.2f} %.")
    print_results(result, f"{name_env(env_id, keywords)}, test split")
    try:
        save_watched(best, env_id, keywords, folder.path / "fixations.png")
    except gym.error.DependencyNotInstalled as error:
        print(f"What it looked at is not drawn. {error}")
    else:
        print(f"What it looked at: {folder.path / 'fixations.png'}")


def own_env(facts: dict[str, Any], named: str | None = None) -> tuple[str, dict[str, Any]]:
    """The id and keywords of the environment that an agent was trained in; a `named` id instead."""
    if "env_id" not in facts:
        raise ValueError("these weights don't say which environment they were trained in.")
    check_env(facts["env_id"], facts.get("env_kwargs"), named)
    return named or facts["env_id"], dict(facts["env_kwargs"])


def check_env(env_id: Any, keywords: Any, named: str | None = None) -> None:
    """Refuse what a stranger's file may name, unless the user named an id: that one is trusted.

    Gymnasium would import the module of "module:id", and so run it; one that is imported already
    runs nothing more.
    """
    module, _, name = str(env_id).rpartition(":")
    if named is None and not (module in sys.modules if module else name in gym.registry):
        given = tame(repr(env_id), 100)
        raise ValueError(
            f"it is of the environment {given}: expected one that is registered, as "
            f"{', '.join(ENVS)} are. If you trust its module, name the id on the command line too."
        )
    known = ("dataset", "initial_location", *SIZES)
    if not isinstance(keywords, dict) or not keywords.keys() <= {*known}:
        given = tame(repr(keywords), 200)
        raise ValueError(f"env_kwargs are {given}: expected only {', '.join(known)}.")
    if not isinstance(keywords.get("dataset", ""), str):
        given = tame(repr(keywords["dataset"]), 100)
        raise ValueError(f"dataset={given}: expected a name or a path.")
    location = keywords.get("initial_location", [0, 0])
    if not (isinstance(location, list) and [is_a(part, float) for part in location] == [True] * 2):
        given = tame(repr(location), 100)
        raise ValueError(f"initial_location={given}: expected two numbers from -1 to 1.")
    for name in SIZES:
        size = keywords.get(name, 1)
        if type(size) is not int or not 0 < size <= MOST_PIXELS:
            given = tame(repr(size), 100)
            raise ValueError(f"{name}={given}: expected a whole number from 1 to {MOST_PIXELS:,}.")


def evaluate_all(
    agent: RAMAgent,
    env_id: str,
    split: str,
    num_episodes: int | None,
    seed: int,
    keywords: dict[str, Any],
    stop_when_sure: Sequence[float] = (),
) -> dict[str, dict[str, Any]]:
    """Learned gaze, mean and sampled, beside the controls; with mean gaze, early answers too."""
    envs = make_split(env_id, EVALUATION_ENVS, split, **keywords)
    runs: dict[str, tuple[Gaze, bool]] = {
        "learned gaze": ("learned", True),
        "learned gaze, sampled": ("learned", False),
        "random gaze": ("random", True),
        "center gaze": ("center", True),
    }
    results = {}
    for name, (gaze, deterministic) in runs.items():
        result = evaluate(
            agent,
            envs,
            num_episodes=num_episodes,
            deterministic=deterministic,
            gaze=gaze,
            seed=seed,
            stop_when_sure=stop_when_sure if name == "learned gaze" else (),
        )
        results[name] = _as_json(result)
    return results


def name_env(env_id: str, keywords: dict[str, Any]) -> str:
    """In words: the environment, the data set if it has one, and what else is not as usual."""
    others = {name: value for name, value in keywords.items() if name != "dataset"}
    dataset = [keywords["dataset"]] if "dataset" in keywords else []
    return ", ".join([env_id, *dataset, *(f"{name}={value}" for name, value in others.items())])


def _as_json(result: Evaluation) -> dict[str, Any]:
    if not result.errors:
        return {
            "mean_return": round(result.mean_return, 6),
            "standard_error": round(result.standard_error / 100, 6),
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


def print_progress(row: dict[str, float]) -> None:
    tqdm.write(
        f"{row['episodes']:>9,} episodes {row['seconds']:7.0f} s   "
        f"train error {row['train_error']:6.2f} %   "
        f"validation error {row['validation_error']:6.2f} %"
    )


def print_results(results: dict[str, dict[str, Any]], title: str) -> None:
    episodes = next(iter(results.values()))["episodes"]
    if "mean_return" in results["learned gaze"]:
        print(f"\n{title}: mean return of {episodes} games")
        for name, result in results.items():
            print(f"  {name:<22} {result['mean_return']:.4f} ± {result['standard_error']:.4f}")
        print()
        return
    print(f"\n{title}: percent wrong of {episodes} images, one pass")
    for name, result in results.items():
        after = " ".join(f"{error:6.2f}" for error in result["errors_after_each_glimpse"])
        error, spread = result["error"], result["standard_error"]
        print(f"  {name:<22} {error:6.2f} ± {spread:.2f}   after each glimpse: {after}")
    for answers in results["learned gaze"].get("early_answers", ()):
        sure = f"if {100 * answers['threshold']:g} % sure"
        print(f"  {sure:<22} {answers['error']:6.2f}   {answers['mean_glimpses']:.2f} glimpses")
    print()


def save_watched(
    agent: RAMAgent,
    env_id: str,
    keywords: dict[str, Any],
    path: Path,
    episodes: range = range(6),
    split: str = "test",
    deterministic: bool = True,
) -> None:
    from ram_agent.pictures import play_frames, save_picture

    envs = make_split(env_id, 1, split, render_mode="rgb_array", **keywords)
    frames = play_frames(agent, envs, episodes, deterministic)
    save_picture(list(tqdm(frames, "drawing", len(episodes), disable=None, leave=False)), path)
