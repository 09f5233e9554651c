"""The contest: RAM, agents of Stable-Baselines3 and controls train for the same env-steps.

    OMP_NUM_THREADS=1 python benchmarks/contest.py --dataset mnist --page docs/contest.md

Writes a JSON file for each environment, the learning curves and a table. Trainings that are in the
files are not repeated, so an interrupted contest continues. Needs
pip install "ram-gym[agent,sb3,figures]".
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from contestants import Contestant, contestants
from pages import put_table
from side_by_side import read_rows, run_side_by_side

from ram_agent.paper.report import make_table
from ram_agent.provenance import provenance
from ram_agent.run_env import RunEnv
from ram_envs.atomic_files import write_bytes, write_json
from ram_envs.registration import CLASSIFICATION, dataset_keywords

VALIDATION_EPISODES = 2_000  # for each point of a curve
TEST_EPISODES = 10_000
POINTS = 12  # of a curve
# Games have no images to split, so each split has its own seeds; training uses others.
SEEDS = {"test": 0, "validation": 2**40}

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """Run the contest; continue what was interrupted."""

    env_ids: tuple[str, ...] = ("RAMMNIST-v0", "RAMClutteredMNIST-v0", "RAMCatch-v0")
    """The environments."""

    agents: tuple[str, ...] = ()
    """Names of the agents. Default: all."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the trainings of each agent."""

    image_steps: int = 600_000
    """Env-steps per training in classification."""

    game_steps: int = 2_000_000
    """Env-steps per training in a game."""

    dataset: str = "auto"
    """mnist, digits or auto."""

    jobs: int = 2
    """Trainings at the same time, each with one thread."""

    out: Path = Path("results/contest")
    """Folder of the files."""

    page: Path | None = None
    """Page to put the table into, between its two marks."""


def main(settings: Settings) -> None:
    results = {
        env_id: read_rows(
            settings.out / f"{env_id}.json",
            budget=_budget(env_id, settings),
            dataset=_find_dataset(env_id, settings),
        )
        for env_id in settings.env_ids
    }
    waiting = [
        (env_id, name, seed)
        for seed in settings.seeds  # outermost, so that an interrupted contest has all agents
        for env_id in settings.env_ids
        for name in contestants(env_id)
        if (not settings.agents or name in settings.agents)
        and not any((row["agent"], row["seed"]) == (name, seed) for row in results[env_id])
    ]
    facts = provenance()
    run = functools.partial(train_and_test, settings=settings)
    for (env_id, name, seed), result in run_side_by_side(run, waiting, settings.jobs):
        row = {**result, **facts}
        results[env_id].append(row)
        write_json(settings.out / f"{env_id}.json", results[env_id])
        print(f"{env_id}, {name}, seed {seed}: {_outcome(row)}")
    table = to_table(results)
    write_bytes(settings.out / "table.md", table.encode())
    draw_curves(results, settings.out / "curves.png")
    if settings.page is not None:
        put_table(settings.page, table)
    print(table)


def train_and_test(env_id: str, name: str, seed: int, settings: Settings) -> Row:
    """Train and test one agent in a process of its own; a diverged one has no test error."""
    torch.set_num_threads(1)
    budget = _budget(env_id, settings)
    contestant = contestants(env_id)[name](env_id, budget, seed, settings.dataset)
    validation_envs = contestant.make_envs(500, "validation")
    test_envs = contestant.make_envs(500, "test")
    row: Row = {
        "agent": name,
        "seed": seed,
        "env_id": env_id,
        "budget": budget,
        "dataset": _find_dataset(env_id, settings),
        "curve": [],
        "test_error": None,
    }
    seconds = 0.0
    try:
        for point in range(1, POINTS + 1):
            started = time.process_time()  # independent of other processes
            contestant.learn_until(budget * point // POINTS)
            seconds += time.process_time() - started
            error = measure_error(contestant, validation_envs, "validation", VALIDATION_EPISODES)
            spent = {"steps": contestant.steps, "cpu_seconds": round(seconds, 1)}
            row["curve"].append({**spent, "error": error})
        row["test_error"] = measure_error(contestant, test_envs, "test", TEST_EPISODES)
    except FloatingPointError as error:
        row["diverged"] = str(error)
    return row


def _budget(env_id: str, settings: Settings) -> int:
    """Return the env-steps of a training."""
    return settings.image_steps if env_id in CLASSIFICATION else settings.game_steps


def _find_dataset(env_id: str, settings: Settings) -> str | None:
    """Return the name of the images that the data set stands for; None for a game."""
    env = RunEnv(env_id, dataset_keywords(env_id, settings.dataset))
    return env.with_found_dataset().keywords.get("dataset")


def measure_error(contestant: Contestant, envs: Any, split: str, episodes: int) -> float:
    """Return the percentage of lost episodes with deterministic actions, each image once."""
    num_images = getattr(envs.unwrapped, "num_images", None)
    episodes = min(episodes, num_images or episodes)
    rewards = []
    for start in range(0, episodes, envs.num_envs):
        index = np.arange(start, start + envs.num_envs)
        options = None if num_images is None else {"index": index % num_images}
        observation, _ = envs.reset(seed=SEEDS[split] + start, options=options)
        state, begins = None, np.ones(envs.num_envs, np.bool_)
        total, over = np.zeros(envs.num_envs), False
        while not over:
            action, state = contestant.predict(observation, state, begins, deterministic=True)
            observation, reward, terminated, _, _ = envs.step(action)
            total += reward
            begins, over = np.zeros_like(begins), bool(terminated.all())
        rewards.append(total)
    return round(100 * (1 - float(np.concatenate(rewards)[:episodes].mean())), 2)


def to_table(results: dict[str, list[Row]]) -> str:
    """Return a table in Markdown: the agents' test errors, their spread, and CPU seconds."""
    env_ids = [env_id for env_id, rows in results.items() if rows]
    body = [
        [name, *(_cell(results[env_id], name) for env_id in env_ids)] for name in _names(env_ids)
    ]
    return make_table(["agent", *(f"`{env_id}`" for env_id in env_ids)], body)


def _names(env_ids: Sequence[str]) -> list[str]:
    """Return the names of all contestants of these environments."""
    return list(dict.fromkeys(name for env_id in env_ids for name in contestants(env_id)))


def _cell(all_rows: Sequence[Row], name: str) -> str:
    rows = [row for row in all_rows if row["agent"] == name]
    if not rows:
        return "–"
    ended = [row for row in rows if row["test_error"] is not None]
    diverged = f"{len(rows) - len(ended)} of {len(rows)} diverged"
    if not ended:
        return diverged
    errors = [row["test_error"] for row in ended]
    spread = f" ± {statistics.stdev(errors):.1f}" if len(errors) > 1 else ""
    seconds = statistics.mean(row["curve"][-1]["cpu_seconds"] for row in ended)
    others = f", {diverged}" if len(ended) < len(rows) else ""
    return f"{statistics.mean(errors):.1f}{spread} ({seconds:.0f} s{others})"


def _outcome(row: Row) -> str:
    if row["test_error"] is None:
        return str(row["diverged"])
    last = row["curve"][-1]
    spent = f"{last['steps']:,} steps, {last['cpu_seconds']:.0f} s"
    return f"{row['test_error']:.2f}% after {spent}"


def draw_curves(results: dict[str, list[Row]], path: Path) -> None:
    """Draw validation error against env-steps and CPU seconds, with a band of all seeds."""
    import matplotlib
    from matplotlib.figure import Figure

    env_ids = [env_id for env_id, rows in results.items() if rows]
    colors = dict(zip(_names(env_ids), matplotlib.colormaps["tab10"](range(10)), strict=True))
    figure = Figure(figsize=(5 * len(env_ids), 8))
    axes = figure.subplots(2, len(env_ids), sharey="col", squeeze=False)
    for column, env_id in enumerate(env_ids):
        for name in contestants(env_id):
            curves = [
                row["curve"]
                for row in results[env_id]
                if row["agent"] == name and row["test_error"] is not None
            ]
            if not curves:
                continue
            errors = np.array([[point["error"] for point in curve] for curve in curves])
            for axis, key in zip(axes[:, column], ("steps", "cpu_seconds"), strict=True):
                x = np.mean([[point[key] for point in curve] for curve in curves], axis=0)
                is_control = "gaze" in name or "canvas" in name
                style = {"color": colors[name], "linestyle": "--" if is_control else "-"}
                axis.plot(x, errors.mean(0), label=name, **style)
                axis.fill_between(x, errors.min(0), errors.max(0), color=colors[name], alpha=0.15)
        axes[0, column].set(title=env_id, xlabel="env-steps", ylim=(0, 100))
        axes[1, column].set(xlabel="CPU seconds of learning, one core", xscale="log")
    for axis in axes[:, 0]:
        axis.set_ylabel("validation error in %")
    handles: dict[str, Any] = {}
    for axis in axes[0]:
        handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    figure.legend([*handles.values()], [*handles], loc="lower center", ncols=5, frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main(tyro.cli(Settings))
