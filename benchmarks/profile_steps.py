"""Measure where the microseconds of a step go, for each id and number of sub-environments.

    OMP_NUM_THREADS=1 python benchmarks/profile_steps.py --save results/step_profile.json

RAM_ENVS_KERNELS selects the kernels. The time of a step is measured in whole episodes and includes
its share of resets. The parts are measured separately; "around" is the rest. All are repeated in
turn, and the lowest time counts, because load from other programs only adds to it. --page puts a
table of some ids between the marks of a page; the file has all ids.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import tyro
from pages import put_table
from tqdm import tqdm

from ram_agent.paper.report import make_table
from ram_agent.provenance import provenance
from ram_agent.stepping import calls_per_second, step_many, step_single
from ram_envs.actions import checked_action, checked_actions
from ram_envs.atomic_files import write_json
from ram_envs.kernels import describe_form
from ram_envs.registration import ENVS, dataset_keywords

PARTS = ("checks", "task", "look", "infos", "begin", "around")
PAGE_IDS = (  # of --page: one for each kind of work
    "RAMMNIST-v0",
    "RAMClutteredMNIST-v0",
    "RAMCatch-v0",
)
Rate = Callable[[float], float]  # seconds to calls per second


@dataclass(frozen=True)
class Settings:
    """Measure where the microseconds of a step go."""

    env_ids: tuple[str, ...] = tuple(
        env_id for env_id in ENVS if env_id not in ("RAMClassification-v0", "RAMCIFAR10-v0")
    )
    """Environments."""

    num_envs: tuple[int, ...] = (0, 16, 128, 1024)
    """Numbers of sub-environments; 0 for the single environment."""

    dataset: str = "auto"
    """mnist, digits or auto."""

    seconds: float = 0.05
    """Duration of each measurement."""

    repeats: int = 5
    """Number of times each measurement is taken; the best one counts."""

    save: Path | None = None
    """Write the measurements to this JSON file."""

    page: Path | None = None
    """Put a table of some ids into this page."""


def find_parts(env_id: str, num_envs: int, dataset: str) -> dict[str, tuple[Rate, float]]:
    """Return how to measure each part, and how often a step runs it."""
    keywords = dataset_keywords(env_id, dataset)
    envs: Any
    if num_envs == 0:
        envs = gym.make(env_id, **keywords)
        total: Callable[[float], float] = functools.partial(step_single, envs)
        check = checked_action
    else:
        envs = gym.make_vec(env_id, num_envs=num_envs, **keywords)
        whole = functools.partial(step_many, envs)
        total = lambda seconds: whole(seconds) / num_envs  # noqa: E731
        check = functools.partial(checked_actions, num_envs=num_envs)
    envs.reset(seed=0)
    batch, actions = envs.unwrapped.batch, envs.action_space.sample()
    steps = count_steps(envs, num_envs)
    _, choices = check(actions, num_choices=batch.num_choices)

    def advance(_: int) -> None:  # restarts, so that no episode ends
        batch.task.begin(batch.state, batch.all_rows, streams, {})
        batch.task.advance(batch.state, batch.all_rows, choices)

    batch.begin(batch.all_rows, {})
    _, streams = batch.next_streams(batch.all_rows)
    begin_task = lambda _: batch.task.begin(batch.state, batch.all_rows, streams, {})  # noqa: E731
    calls: dict[str, tuple[Callable[[int], object], float]] = {
        "checks": (lambda _: check(actions, num_choices=batch.num_choices), 1),
        "task": (advance, 1),
        "begin of the task": (begin_task, -1),  # `advance` contains it
        "look": (lambda _: batch.observe(), 1),
        "infos": (lambda _: batch.infos(), 1),
        "begin": (lambda _: batch.begin(batch.all_rows, {}), 1 / steps),
    }
    parts = {
        name: (functools.partial(calls_per_second, call), times)
        for name, (call, times) in calls.items()
    }
    return {"total": (total, 1), **parts}


def count_steps(envs: Any, num_envs: int) -> float:
    """Return the mean number of steps between two resets, with random actions."""
    steps = ends = 0
    for _ in range(200):
        result = envs.step(envs.action_space.sample())
        steps += max(num_envs, 1)
        ended = int(np.count_nonzero(result[2] | result[3]))
        ends += ended
        if num_envs == 0 and ended:
            envs.reset()
    return steps / max(ends, 1)


def main(settings: Settings) -> None:
    parts = {
        (env_id, num_envs): find_parts(env_id, num_envs, settings.dataset)
        for env_id in settings.env_ids
        for num_envs in settings.num_envs
    }
    best: dict[tuple[str, int, str], float] = {}
    for _ in tqdm(range(settings.repeats), disable=None, leave=False):
        for (env_id, num_envs), found in parts.items():
            for name, (rate, _) in found.items():
                key = (env_id, num_envs, name)
                best[key] = max(best.get(key, 0), rate(settings.seconds))
    rows = []
    for (env_id, num_envs), found in parts.items():
        times = {
            name: 1e6 * often / best[env_id, num_envs, name] for name, (_, often) in found.items()
        }
        times["task"] += times.pop("begin of the task")
        times["around"] = 2 * times["total"] - sum(times.values())  # the sum contains the total
        row = {name: round(max(value, 0), 2) for name, value in times.items()}
        rows.append({"env_id": env_id, "num_envs": num_envs, **row})
    print(to_table(rows))
    facts = {**provenance(), "kernels": describe_form(), "dataset": settings.dataset}
    if settings.save is not None:
        write_json(settings.save, {**facts, "microseconds": rows})
    if settings.page is not None:
        table = to_table([row for row in rows if row["env_id"] in PAGE_IDS])
        put_table(settings.page, table, "<!-- profile -->", facts)


def to_table(rows: list[dict[str, Any]]) -> str:
    """Return a table in Markdown, of microseconds for a step of all sub-environments."""
    body = []
    for row in rows:
        number = "single" if row["num_envs"] == 0 else f"{row['num_envs']:,}"
        values = (f"{row[name]:,.1f}" for name in ("total", *PARTS))
        body.append((f"`{row['env_id']}`", number, *values))
    return make_table(("environment", "sub-environments", "a step, µs", *PARTS), body)


if __name__ == "__main__":
    main(tyro.cli(Settings))
