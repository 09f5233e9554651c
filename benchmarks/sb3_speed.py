"""Measure the cost of `SB3VecEnv`: env-steps per second with it and of the native environment.

    OMP_NUM_THREADS=1 python benchmarks/sb3_speed.py --save results/sb3_speed.json

Both are measured in turn, in one thread, with random actions drawn beforehand.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import tyro
from gymnasium.vector import AutoresetMode

from ram_agent.bench import take_best
from ram_agent.provenance import provenance
from ram_agent.stepping import Probe, calls_per_second, step_many
from ram_envs.atomic_files import write_json
from ram_envs.registration import dataset_keywords
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
        keywords = dataset_keywords(env_id, settings.dataset)
        native, inner = (
            GridAction(
                gym.make_vec(
                    env_id,
                    num_envs=settings.num_envs,
                    autoreset_mode=AutoresetMode.SAME_STEP,
                    **keywords,
                )
            )
            for _ in range(2)
        )
        probes = [
            Probe("native", "env-steps/s", functools.partial(step_many, native)),
            Probe("sb3", "env-steps/s", functools.partial(step_adapted, SB3VecEnv(inner))),
        ]
        best = take_best(probes, settings.seconds, settings.repeats)
        cost = 100 * (1 - best["sb3"] / best["native"])
        print(f"{env_id:<22} native {best['native']:>9,.0f}   SB3VecEnv {best['sb3']:>9,.0f}   "
              f"cost {cost:4.1f}%")  # fmt: skip
        rows.append(
            {
                "env_id": env_id,
                "num_envs": settings.num_envs,
                **keywords,
                "native_steps_per_second": round(best["native"]),
                "sb3_steps_per_second": round(best["sb3"]),
                "cost_percent": round(cost, 1),
            }
        )
    if settings.save is not None:
        write_json(settings.save, {**provenance(), "seed": 0, "rows": rows})


def step_adapted(envs: SB3VecEnv, seconds: float) -> float:
    """Return env-steps per second through the adapter."""
    envs.seed(0)
    envs.reset()
    envs.envs.action_space.seed(0)
    actions = [envs.envs.action_space.sample() for _ in range(16)]
    return envs.num_envs * calls_per_second(lambda step: envs.step(actions[step % 16]), seconds)


if __name__ == "__main__":
    main(tyro.cli(Settings))
