"""Compare the speed of the environments with ap_gym, oculr, envpool and bsuite.

    OMP_NUM_THREADS=1 python benchmarks/peers.py --save results/bench_peers.json

Each environment runs in a process of its own, so that the imports of one cannot slow another. They
are measured in turn, several times, and the best measurement counts. A project that is not
installed is left out: `pip install ap_gym envpool bsuite`, and clone github.com/pkuderov/oculr,
since the package of that name is another project. `ram bench --compare` reads the file.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import tyro

from ram_agent.bench import format_line, save_measurements, take_best
from ram_agent.bench_probes import Measurement, Probe, calls_per_second, step_many, step_single
from ram_agent.provenance import provenance

NUM_ENVS = 128
Rate = Callable[[float], float]  # seconds to env-steps per second


@dataclass(frozen=True)
class Settings:
    """Compare the speed of the environments with ap_gym, oculr, envpool and bsuite."""

    dataset: str = "auto"
    """mnist, digits or auto; images of our own environments."""

    seconds: float = 0.5
    """Duration of each measurement."""

    repeats: int = 8
    """Number of times each measurement is taken; the best one counts."""

    save: Path | None = None
    """Write the measurements to this JSON file."""


def main(settings: Settings) -> None:
    """Measure all environments in turn and print a table."""
    spawn = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        probes = []
        for name in ENVIRONMENTS:
            process = stack.enter_context(ProcessPoolExecutor(1, spawn))
            measure_there = functools.partial(_measure_in, process, name, settings.dataset)
            try:
                measure_there(0)
            except ImportError as error:
                print(f"Not measured: {name} ({error})")
            else:
                probes.append(Probe(name, "env-steps/s", measure_there))
        best = take_best(probes, settings.seconds, settings.repeats)
    measurements = [Measurement(name, best[name], unit) for name, unit, _ in probes]
    for measurement in measurements:
        print(format_line(measurement))
    if settings.save is not None:
        save_measurements(settings.save, measurements, provenance(), settings.dataset)


def _measure_in(process: ProcessPoolExecutor, name: str, dataset: str, seconds: float) -> float:
    return process.submit(measure, name, dataset, seconds).result()


def measure(name: str, dataset: str, seconds: float) -> float:
    """Return env-steps per second of the environment `name`, which is made once per process."""
    return _make(name, dataset)(seconds)


@functools.cache
def _make(name: str, dataset: str) -> Rate:
    return ENVIRONMENTS[name](dataset)


def _native(env_id: str, dataset: str) -> Rate:
    keywords: dict[str, Any] = {} if env_id == "RAMCatch-v0" else {"dataset": dataset}
    envs = gym.make_vec(f"ram_envs:{env_id}", num_envs=NUM_ENVS, **keywords)
    return functools.partial(step_many, envs)


def _single_catch(_: str) -> Rate:
    return functools.partial(step_single, gym.make("ram_envs:RAMCatch-v0"))


def _ap_gym(_: str) -> Rate:
    import ap_gym  # noqa: F401  registers the ids

    return functools.partial(step_many, gym.make_vec("CircleSquare-v0", num_envs=NUM_ENVS))


def _oculr(_: str) -> Rate:
    from oculr.env import ImageEnvironment

    images = SimpleNamespace(images=np.zeros((10_000, 28 * 28)), targets=np.zeros(10_000, int))
    dataset = SimpleNamespace(n_classes=10, image_shape=(1, 28, 28), train=images)
    envs = ImageEnvironment(dataset, num_envs=NUM_ENVS, obs_hw_shape=8, max_time_steps=6)
    envs.reset()
    actions = np.random.default_rng(0).integers(0, [1, 10, 21, 21], (16, NUM_ENVS, 4))
    actions[..., 0] = 1  # look elsewhere
    return functools.partial(_step_many, envs, actions)


def _envpool(_: str) -> Rate:
    import envpool

    envs = envpool.make_gymnasium("Catch-v0", num_envs=NUM_ENVS, num_threads=1)
    envs.reset()
    actions = np.random.default_rng(0).integers(0, 3, (16, NUM_ENVS), np.int32)
    return functools.partial(_step_many, envs, actions)


def _step_many(envs: Any, actions: npt.NDArray[Any], seconds: float) -> float:
    return NUM_ENVS * calls_per_second(lambda step: envs.step(actions[step % 16]), seconds)


def _bsuite(_: str) -> Rate:
    from bsuite.environments.catch import Catch

    env = Catch()
    env.reset()

    def step_once(step: int) -> None:
        if env.step(step % 3).last():
            env.reset()

    return functools.partial(calls_per_second, step_once)


ENVIRONMENTS: dict[str, Callable[[str], Rate]] = {  # how to make each, by its name in the table
    f"RAMMNIST-v0, native × {NUM_ENVS}": functools.partial(_native, "RAMMNIST-v0"),
    f"ap_gym CircleSquare-v0, 5 × 5 of 28 × 28, vector × {NUM_ENVS}": _ap_gym,
    f"oculr, 8 × 8 of 28 × 28, one scale, vector × {NUM_ENVS}": _oculr,
    f"RAMCatch-v0, native × {NUM_ENVS}": functools.partial(_native, "RAMCatch-v0"),
    f"envpool Catch-v0, the whole 10 × 5 screen, vector × {NUM_ENVS}": _envpool,
    "RAMCatch-v0, single": _single_catch,
    "bsuite Catch, the whole 10 × 5 screen, single": _bsuite,
}


if __name__ == "__main__":
    main(tyro.cli(Settings))
