"""Env-steps per second of the native vector environments, beside SyncVectorEnv in the same run.

    OMP_NUM_THREADS=1 python benchmarks/env_speed.py --save results/env_speed.json

One thread, random actions drawn beforehand, NEXT_STEP auto-reset. Machines are noisy: trust the
ratio of the two columns more than either.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import tyro

import ram_envs  # noqa: F401  registers the ids
from ram_agent.provenance import provenance
from ram_envs.files import write_json
from ram_envs.registration import CLASSIFICATION, ENVS


@dataclass(frozen=True)
class Settings:
    """Measure env-steps per second."""

    num_envs: int = 256
    """Sub-environments of the native vector environment."""

    dataset: str = "auto"
    """mnist, digits or auto."""

    seconds: float = 2.0
    """How long each measurement takes."""

    repeats: int = 3
    """How many measurements; the best counts, since others' load only ever slows."""

    save: Path | None = None
    """Write the figures to this JSON file."""


def measure(envs: gym.vector.VectorEnv[Any, Any, Any], seconds: float) -> float:
    """Env-steps per second with random actions."""
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(16)]
    for action in actions:
        envs.step(action)
    steps, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        envs.step(actions[steps % len(actions)])
        steps += 1
    return steps * envs.num_envs / elapsed


def main(settings: Settings) -> None:
    rows = []
    print(f"{'id':<26} {'native':>12} {'SyncVectorEnv(16)':>18} {'ratio':>7}   env-steps/s")
    for env_id in ENVS:
        keywords: dict[str, Any] = {"dataset": settings.dataset} if env_id in CLASSIFICATION else {}
        native = gym.make_vec(env_id, num_envs=settings.num_envs, **keywords)
        sync = gym.make_vec(env_id, num_envs=16, vectorization_mode="sync", **keywords)
        best_native, best_sync = 0.0, 0.0
        for _ in range(settings.repeats):  # side by side, so that both meet the same machine
            best_native = max(best_native, measure(native, settings.seconds))
            best_sync = max(best_sync, measure(sync, settings.seconds / 4))
        rows.append(
            {
                "env_id": env_id,
                "num_envs": settings.num_envs,
                **keywords,
                "native_steps_per_second": round(best_native),
                "sync_steps_per_second": round(best_sync),
            }
        )
        ratio = best_native / best_sync
        print(f"{env_id:<26} {best_native:>12,.0f} {best_sync:>18,.0f} {ratio:>6.0f}×")
    if settings.save is not None:
        write_json(settings.save, {**provenance(), "seed": 0, "rows": rows})


if __name__ == "__main__":
    main(tyro.cli(Settings))
