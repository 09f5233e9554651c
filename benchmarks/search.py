"""Measure how well `RAMSearch-v0` can be played without learning, and what a step costs.

    OMP_NUM_THREADS=1 python benchmarks/search.py --save results/games/search.json \
        --page docs/environments/RAMSearch-v0.md

Three players on canvases of three sizes: the scripted searcher; the same with random gaze, which
takes the target when it happens to see it; and the same with its gaze on the center. A step's cost
is measured on all sizes in turn, several times; the lowest CPU time counts, because load from other
programs only adds to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import tyro
from pages import put_table

from ram_agent.paper.report import make_table
from ram_agent.provenance import provenance
from ram_envs.atomic_files import write_json
from ram_envs.searcher import Searcher
from ram_envs.wrappers.vector import FixedGaze, RandomGaze

GAZES = {"scripted": None, "random": RandomGaze, "center": FixedGaze}
Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """Measure scores and the cost of a step of RAMSearch-v0."""

    sides: tuple[int, ...] = (60, 200, 1000)
    """Sides of the canvases in pixels."""

    episodes: int = 300
    """Episodes for each player and canvas, seeds 0 to N − 1."""

    num_envs: int = 128
    """Sub-environments of the vector environment whose steps are timed."""

    steps: int = 100
    """Steps in each timing."""

    repeats: int = 20
    """Timings for each canvas; the fastest counts."""

    save: Path | None = None
    """Write the measurements to this JSON file."""

    page: Path | None = None
    """Page to put the table into, between its two marks."""


def play(side: int, gaze: str, episodes: int) -> Row:
    """Return the scores of a player in the first episodes of the seeds 0 to `episodes` − 1."""
    envs: Any = gym.make_vec(
        "RAMSearch-v0", num_envs=episodes, canvas_size=side, autoreset_mode="NextStep"
    )
    wrapper = GAZES[gaze]
    envs = envs if wrapper is None else wrapper(envs)
    searcher = Searcher((side, side))
    observations, _ = envs.reset(seed=0)
    state: Any = None
    returns, looks = np.zeros(episodes), np.zeros(episodes)
    running, found = np.ones(episodes, np.bool_), np.zeros(episodes, np.bool_)
    while running.any():
        action, state = searcher.predict(observations, state)
        observations, rewards, terminated, truncated, _ = envs.step(
            action if wrapper is None else action[1]
        )
        returns += rewards * running
        looks += running
        found |= terminated & running
        running &= ~(terminated | truncated)
    return {
        "side": side,
        "gaze": gaze,
        "mean_return": round(float(returns.mean()), 4),
        "standard_error": round(float(returns.std() / episodes**0.5), 4),
        "found_percent": round(100 * float(found.mean()), 2),
        "mean_looks": round(float(looks.mean()), 2),
    }


def time_steps(settings: Settings) -> dict[str, dict[int, float]]:
    """Return the CPU microseconds of a step, resets included, for each side."""
    rng = np.random.default_rng(0)
    locations = rng.uniform(-1, 1, (settings.steps, settings.num_envs, 2)).astype(np.float32)
    nothing = np.zeros(settings.num_envs, np.int64)
    best: dict[str, dict[int, float]] = {"single": {}, "vector": {}}
    made: dict[int, tuple[Any, Any]] = {}
    for side in settings.sides:
        single: Any = gym.make("RAMSearch-v0", canvas_size=side).unwrapped
        vector: Any = gym.make_vec(
            "RAMSearch-v0", num_envs=settings.num_envs, canvas_size=side, time_limit=20
        )
        single.reset(seed=0)
        vector.reset(seed=0)
        made[side] = single, vector
    for _ in range(settings.repeats):
        for side, (single, vector) in made.items():

            def step_one(single: Any = single) -> None:
                for location in locations[:, 0]:
                    if single.step((location, 0))[3]:
                        single.reset()

            def step_many(vector: Any = vector) -> None:
                for location in locations:
                    vector.step((location, nothing))

            for name, call, count in (("single", step_one, 1), ("vector", step_many, len(nothing))):
                taken = _cpu_seconds(call) / settings.steps / count * 1e6
                best[name][side] = min(best[name].get(side, taken), taken)
    return best


def _cpu_seconds(call: Callable[[], None]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def to_table(rows: list[Row], times: dict[str, dict[int, float]], num_envs: int) -> str:
    """Return a table in Markdown of scores and costs, a row for each side."""
    head = ("canvas", "scripted searcher", "looks", "random gaze", "center gaze", "a step, alone")
    body = []
    first = min(times["single"])
    for side in times["single"]:
        scores = {row["gaze"]: row for row in rows if row["side"] == side}
        cells = [
            f"{side:,} × {side:,}",
            _score(scores["scripted"]),
            f"{scores['scripted']['mean_looks']:.1f}",
            _score(scores["random"]),
            _score(scores["center"]),
            *(
                f"{times[name][side]:.0f} µs, × {times[name][side] / times[name][first]:.2f}"
                for name in ("single", "vector")
            ),
        ]
        body.append(cells)
    return make_table((*head, f"one of {num_envs}"), body)


def _score(row: Row) -> str:
    return f"{row['mean_return']:.3f} ± {row['standard_error']:.3f}"


def main(settings: Settings) -> None:
    """Play, time the steps, and write the results."""
    times = time_steps(settings)
    rows = [play(side, gaze, settings.episodes) for side in settings.sides for gaze in GAZES]
    table = to_table(rows, times, settings.num_envs)
    print(table)
    if settings.save is not None:
        rounded = {
            name: {str(side): round(value, 2) for side, value in of_sides.items()}
            for name, of_sides in times.items()
        }
        about = {"seed": 0, "episodes": settings.episodes, "num_envs": settings.num_envs}
        result = {**provenance(), **about, "scores": rows, "microseconds": rounded}
        write_json(settings.save, result)
    if settings.page is not None:
        put_table(settings.page, table)


if __name__ == "__main__":
    main(tyro.cli(Settings))
