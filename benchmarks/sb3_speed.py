"""Measure the cost of `SB3VecEnv`: env-steps per second with it and of the native environment.

    OMP_NUM_THREADS=1 python benchmarks/sb3_speed.py --save results/sb3_speed.json

Both are measured in turn, in one thread, with random actions drawn beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import tyro
from gymnasium.vector import AutoresetMode

from ram_agent.bench_probes import calls_per_second
from ram_agent.provenance import provenance
from ram_envs.atomic_files import write_json
from ram_envs.registration import CLASSIFICATION
from ram_envs.sb3 import SB3VecEnv
from ram_envs.wrappers.vector import GridAction


@dataclass(frozen=True)
class Settings:
    """Measure the cost of SB3VecEnv."""

    num_envs: int = 64
    """Sub-environments."""

    dataset: str = "auto"
    """mnist, digits or auto."""

    seconds: float = 1.0
    """Duration of each measurement."""

    repeats: int = 5
    """Number of measurements; the best one counts."""

    save: Path | None = None
    """Write the measurements to this JSON file."""


def main(settings: Settings) -> None:
    rows = []
    for env_id in ("RAMMNIST-v0", "RAMClutteredMNIST-v0", "RAMCatch-v0"):
        keywords: dict[str, Any] = {"dataset": settings.dataset} if env_id in CLASSIFICATION else {}
        mode = AutoresetMode.SAME_STEP
        native, inner = (
            GridAction(
                gym.make_vec(env_id, num_envs=settings.num_envs, autoreset_mode=mode, **keywords)
            )
            for _ in range(2)
        )
        adapted = SB3VecEnv(inner)
        native.reset(seed=0)
        adapted.seed(0)
        adapted.reset()
        native.action_space.seed(0)
        actions = [native.action_space.sample() for _ in range(16)]
        step_native, step_adapted = (
            lambda step, envs=envs, actions=actions: envs.step(actions[step % 16])
            for envs in (native, adapted)
        )
        best_native, best_adapted = 0.0, 0.0
        for _ in range(settings.repeats):
            best_native = max(best_native, calls_per_second(step_native, settings.seconds))
            best_adapted = max(best_adapted, calls_per_second(step_adapted, settings.seconds))
        cost = 100 * (1 - best_adapted / best_native)
        rows.append(
            {
                "env_id": env_id,
                "num_envs": settings.num_envs,
                **keywords,
                "native_steps_per_second": round(best_native * settings.num_envs),
                "sb3_steps_per_second": round(best_adapted * settings.num_envs),
                "cost_percent": round(cost, 1),
            }
        )
        print(
            f"{env_id:<22} native {best_native * settings.num_envs:>9,.0f}   "
            f"SB3VecEnv {best_adapted * settings.num_envs:>9,.0f}   cost {cost:4.1f}%"
        )
    if settings.save is not None:
        write_json(settings.save, {**provenance(), "seed": 0, "rows": rows})


if __name__ == "__main__":
    main(tyro.cli(Settings))
