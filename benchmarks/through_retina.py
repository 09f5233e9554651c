"""Measure the cost of `ThroughRetina`: steps per second of ale-py's games with it and without.

    OMP_NUM_THREADS=1 python benchmarks/through_retina.py --save results/games/through_retina.json

Both run in turn, in short blocks, in one process. The ratio is the median over pairs of neighboring
blocks, because load from other programs slows both of a pair. Needs ale-py (the extra `atari`).
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import tyro

from ram_agent.provenance import provenance
from ram_envs.aliases import VectorEnv
from ram_envs.atomic_files import write_json
from ram_envs.wrappers import vector


@dataclass(frozen=True)
class Settings:
    """Measure the cost of ThroughRetina around ale-py's native vector environment."""

    env_id: str = "ALE/Pong-v5"
    """The game."""

    num_envs: int = 16
    """Number of games."""

    glimpse_size: int = 12
    """Side of a patch in cells."""

    num_scales: int = 3
    """Number of patches."""

    steps: int = 50
    """Steps of each game in a block."""

    blocks: int = 20
    """Number of blocks with the retina, and of blocks without it."""

    save: Path | None = None
    """Write the measurements to this JSON file."""


def main(settings: Settings) -> None:
    rows = [measure(settings, stack_num) for stack_num in (1, 4)]
    if settings.save is not None:
        load = round(os.getloadavg()[0], 1)
        facts = {**provenance(), "ale_py": ale_py.__version__, "load": load, "seed": 0}
        write_json(settings.save, {**facts, "rows": rows})


def measure(settings: Settings, stack_num: int) -> dict[str, Any]:
    """Return the steps per second with the retina and without, for stacks of `stack_num` frames."""
    bare, inner = (
        gym.make_vec(settings.env_id, num_envs=settings.num_envs, stack_num=stack_num)
        for _ in range(2)
    )
    seen = vector.ThroughRetina(inner, settings.glimpse_size, settings.num_scales)
    seen.action_space.seed(0)
    actions = [seen.action_space.sample() for _ in range(16)]
    choices = [choice for _, choice in actions]
    seconds: dict[str, list[float]] = {"bare": [], "seen": []}
    for envs in (bare, seen):
        envs.reset(seed=0)
    for _ in range(settings.blocks):
        seconds["bare"].append(run_block(bare, choices, settings.steps))
        seconds["seen"].append(run_block(seen, actions, settings.steps))
    for envs in (bare, seen):
        envs.close()
    per_block = settings.steps * settings.num_envs
    speeds = {name: per_block / statistics.median(times) for name, times in seconds.items()}
    ratio = float(np.median(np.array(seconds["bare"]) / np.array(seconds["seen"])))
    best = min(seconds["bare"]) / min(seconds["seen"])
    print(
        f"{settings.env_id} × {settings.num_envs}, {stack_num} frames: bare {speeds['bare']:,.0f} "
        f"steps/s, through the retina {speeds['seen']:,.0f}; ratio {ratio:.3f} (of the best blocks "
        f"{best:.3f})"
    )
    return {
        "env_id": settings.env_id,
        "num_envs": settings.num_envs,
        "glimpse_size": settings.glimpse_size,
        "num_scales": settings.num_scales,
        "stack_num": stack_num,
        "bare_steps_per_second": round(speeds["bare"]),
        "seen_steps_per_second": round(speeds["seen"]),
        "ratio": round(ratio, 3),
        "ratio_of_best_blocks": round(best, 3),
    }


def run_block(envs: VectorEnv, actions: list[Any], steps: int) -> float:
    """Return the seconds that `steps` steps take."""
    started = time.perf_counter()
    for step in range(steps):
        envs.step(actions[step % len(actions)])
    return time.perf_counter() - started


if __name__ == "__main__":
    main(tyro.cli(Settings))
