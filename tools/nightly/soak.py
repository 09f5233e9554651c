"""Step environments a million times and see whether memory, open files, threads or processes grow.

    python tools/nightly/soak.py --save results/soak.json

Every lap does the same work: it makes vector environments of several ids in every autoreset mode,
steps them, resets some rows and closes them, draws pictures, and kills one of two workers of an
`AsyncVectorEnv`. The process is measured after each lap. The first quarter of the laps is warm-up;
the medians of the second and the last quarter may differ by less than 1%. Needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import functools
import gc
import os
import signal
import statistics
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

import ram_envs  # noqa: F401  (registers the ids)
from ram_envs.atomic_files import write_json
from ram_envs.registration import dataset_keywords

IDS = ("RAMMNIST-v0", "RAMClutteredMNIST-v0", "RAMMovingMNIST-v0", "RAMCatch-v0")
NUM_ENVS = 64
MAX_GROWTH = 1.0  # percent, after warm-up
MEASURED = ("memory", "files", "threads", "processes")


def main(args: list[str] | None = None) -> None:
    """Run the laps; exit with 1 if anything grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="steps of all environments")
    parser.add_argument("--laps", type=int, default=40, help="number of laps")
    parser.add_argument("--seed", type=int, default=0, help="seed of environments and actions")
    parser.add_argument("--save", type=Path, help="write the results to this JSON file")
    settings = parser.parse_args(args)
    if settings.laps < 4:
        parser.error(f"--laps is {settings.laps}. Give 4 or more, since a quarter is warm-up.")
    if not Path("/proc/self/statm").exists():
        parser.error("There is no /proc to measure a process. Run this on Linux.")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window opens
    print(f"{'steps':>10} {'memory (MB)':>12} {'files':>6} {'threads':>8} {'processes':>10}")
    laps: list[dict[str, int]] = []
    steps = 0
    for lap in range(settings.laps):
        steps += run_lap(settings.seed + lap, settings.steps // settings.laps)
        laps.append({"steps": steps, **measure()})
        print(_row(laps[-1]), flush=True)
    growth = {name: measure_growth(laps, name) for name in MEASURED}
    grew = [name for name, percent in growth.items() if percent >= MAX_GROWTH]
    for name, percent in growth.items():
        print(f"{name}: {percent:+.2f}% after warm-up{', too much' if name in grew else ''}")
    if settings.save is not None:
        from ram_agent.provenance import provenance  # PyTorch's own memory would hide growth

        result = {
            **provenance(),
            "seed": settings.seed,
            "steps": steps,
            "killed_workers": settings.laps,
            "growth_percent": growth,
            "laps": laps,
        }
        write_json(settings.save, result)
        print(f"Written to {settings.save}")
    sys.exit(bool(grew))


def run_lap(seed: int, steps: int) -> int:
    """Take about `steps` steps, at least one of each kind of environment; return how many."""
    rng = np.random.default_rng(seed)
    kinds = [(env_id, mode) for env_id in IDS for mode in AutoresetMode]
    rounds = max(1, steps // (len(kinds) * NUM_ENVS))
    taken = sum(step_vector(*kind, NUM_ENVS, rounds, rng) for kind in kinds)
    taken += sum(step_vector(env_id, None, 2, 3, rng) for env_id in IDS)
    return taken + kill_worker(seed)


def step_vector(
    env_id: str, mode: AutoresetMode | None, num_envs: int, rounds: int, rng: np.random.Generator
) -> int:
    """Make environments, step them, reset some rows and close; return the number of steps.

    Without a mode, also draw a picture after each step.
    """
    envs: Any = gym.make_vec(
        env_id,
        num_envs=num_envs,
        autoreset_mode=mode or AutoresetMode.NEXT_STEP,
        render_mode="rgb_array" if mode is None else None,
        **dataset_keywords(env_id, "digits"),
    )
    envs.reset(seed=int(rng.integers(2**32)))
    num_choices = envs.single_action_space[1].n
    for _ in range(rounds):
        locations = rng.uniform(-1.1, 1.1, (num_envs, 2)).astype(np.float32)
        over = envs.step((locations, rng.integers(num_choices, size=num_envs)))[2]
        if mode is None:
            envs.render()
        mask = rng.random(num_envs) < 0.05
        if mode is AutoresetMode.DISABLED:
            mask |= over
        if mask.any():
            envs.reset(options={"reset_mask": mask})
    envs.close()
    return rounds * num_envs


def kill_worker(seed: int) -> int:
    """Kill one of two worker processes and expect an error; return the number of steps."""
    env_id = IDS[seed % len(IDS)]
    make = functools.partial(gym.make, env_id, **dataset_keywords(env_id, "digits"))
    # Only forked workers are children of this process, whose children are counted.
    workers = AsyncVectorEnv([make, make], context="fork")
    workers.reset(seed=seed)
    workers.step(workers.action_space.sample())
    victim = workers.processes[seed % 2]
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    try:
        workers.step(workers.action_space.sample())
    except (EOFError, OSError):
        pass
    else:
        raise AssertionError("a step with a killed worker gave no error")
    finally:
        workers.close(terminate=True)
    return 2


def measure() -> dict[str, int]:
    """Return the memory, files, threads and child processes of this process."""
    gc.collect()
    process = Path("/proc/self")
    resident_pages = int((process / "statm").read_text().split()[1])
    threads = list((process / "task").iterdir())
    return {
        "memory": resident_pages * os.sysconf("SC_PAGE_SIZE"),
        "files": len(os.listdir(process / "fd")),
        "threads": len(threads),
        # zombies included
        "processes": sum(len((thread / "children").read_text().split()) for thread in threads),
    }


def measure_growth(laps: list[dict[str, int]], name: str) -> float:
    """Return by how many percent the last quarter exceeds the second."""
    values, quarter = [lap[name] for lap in laps], len(laps) // 4
    before = statistics.median(values[quarter : 2 * quarter])
    after = statistics.median(values[-quarter:])
    return round(100 * (after - before) / max(before, 1), 3)


def _row(lap: dict[str, int]) -> str:
    megabytes = lap["memory"] / 1e6
    return (
        f"{lap['steps']:>10,} {megabytes:>12.1f} {lap['files']:>6} {lap['threads']:>8} "
        f"{lap['processes']:>10}"
    )


if __name__ == "__main__":
    main()
