"""Compare the speed of the environments with their numpy kernels, and with similar projects.

    OMP_NUM_THREADS=1 python benchmarks/peers.py --dataset mnist --save results/bench_peers.json

Each measurement runs in a new process, so that the imports of one cannot slow down another. All are
repeated in turn; the medians count. Projects that are not installed are left out. To install them,
run `pip install ap_gym envpool==1.2.5 bsuite`, clone github.com/pkuderov/oculr and add its folder
to PYTHONPATH: the package of that name is another project. `ram bench --compare` reads the file.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import tyro
from pages import put_table
from tqdm import tqdm

from ram_agent.paper.report import make_table
from ram_agent.stepping import calls_per_second, step_many, step_single
from ram_envs.registration import dataset_keywords

Rate = Callable[[float], float]  # seconds to a value, such as env-steps per second

# A program that prints the seconds it takes to load all kernels.
LOAD_KERNELS = """
import time, gymnasium, ram_envs
started = time.perf_counter()
from ram_envs.kernels import load_all
load_all()
print(time.perf_counter() - started)
"""


@dataclass(frozen=True)
class Settings:
    """Compare the speed of the environments with similar projects."""

    dataset: str = "auto"
    """mnist, digits or auto; images of our own environments."""

    seconds: float = 0.5
    """Duration of each measurement."""

    repeats: int = 5
    """Number of times each measurement is taken; the median counts."""

    only: tuple[str, ...] = ()
    """Measure only these rows."""

    save: Path | None = None
    """Write the measurements to this JSON file."""

    page: Path | None = None
    """Put the table into this page."""


class Row(NamedTuple):
    """A row of the table.

    make     a function that takes the data set and returns what is measured
    kernels  the kernels of our own environments
    unit     the unit of the value
    beside   the row with which it is compared, the one above
    """

    make: Callable[[str], Rate]
    kernels: str = "numba"
    unit: str = "env-steps/s"
    beside: str | None = None


def main(settings: Settings) -> None:
    """Measure all rows in turn and print a table."""
    rows = {name: row for name, row in ROWS.items() if name in (settings.only or ROWS)}
    values: dict[str, list[float]] = {name: [] for name in rows}
    with tqdm(total=settings.repeats * len(rows), disable=None, leave=False) as bar:
        for _ in range(settings.repeats):
            for name in list(values):
                try:
                    values[name].append(measure(name, settings.dataset, settings.seconds))
                except ImportError as error:
                    print(f"Not measured: {name} ({error})")
                    del values[name]
                bar.update()
    medians = {name: statistics.median(measured) for name, measured in values.items()}
    ratios = {
        name: [a / b for a, b in zip(values[name], values[beside], strict=True)]
        for name in medians
        if (beside := rows[name].beside) in values
    }
    from ram_agent.provenance import provenance  # imports PyTorch, which workers need not

    table, facts = to_table(medians, ratios), provenance()
    print(table)
    if settings.save is not None:
        _save(settings, medians, ratios, facts)
    if settings.page is not None:
        put_table(settings.page, table, "<!-- peers -->", facts)


def to_table(medians: dict[str, float], ratios: dict[str, list[float]]) -> str:
    """Return a table in Markdown: medians, their ratio to the row above, and its smallest value."""
    body = []
    for name, value in medians.items():
        row = ROWS[name]
        number = f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
        compared = "|"  # two empty cells
        if name in ratios:
            assert row.beside is not None
            ratio = value / medians[row.beside]
            compared = f"{ratio:.2f} | {min(ratios[name]):.2f}"
        body.append((name, f"{number} {row.unit}", compared))
    return make_table(("what", "median", "ratio to the row above", "at least"), body)


def _save(
    settings: Settings,
    medians: dict[str, float],
    ratios: dict[str, list[float]],
    facts: dict[str, Any],
) -> None:
    from ram_envs.atomic_files import write_json

    measurements = [
        {"name": name, "value": value, "unit": ROWS[name].unit} for name, value in medians.items()
    ]
    how = {"dataset": settings.dataset, "seconds": settings.seconds, "repeats": settings.repeats}
    compared = {
        name: {"beside": ROWS[name].beside, "ratios": [round(ratio, 3) for ratio in each]}
        for name, each in ratios.items()
    }
    assert settings.save is not None
    write_json(settings.save, {**facts, **how, "figures": measurements, "compared": compared})
    draw(medians, settings.save.with_suffix(".png"))
    print(f"Written to {settings.save}")


def draw(medians: dict[str, float], path: Path) -> None:
    """Draw the env-steps per second of each row, those of other projects in gray."""
    from matplotlib.figure import Figure

    names = [name for name in medians if ROWS[name].unit == "env-steps/s"]
    figure = Figure(figsize=(8, 0.28 * len(names) + 0.9), layout="constrained")
    axes = figure.subplots()
    colors = [
        "0.7" if not name.startswith("RAM") else "C1" if name.endswith("numpy") else "C0"
        for name in names
    ]
    bars = axes.barh(names, [medians[name] for name in names], color=colors)
    axes.bar_label(bars, [f"{medians[name]:,.0f}" for name in names], padding=3, fontsize=8)
    axes.set(xscale="log", xlabel="env-steps per second, one thread")
    axes.set_xlim(right=3 * max(medians[name] for name in names))
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)


def measure(name: str, dataset: str, seconds: float) -> float:
    """Return the value of a row, measured in a new process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as process:
        return process.submit(_measure_here, name, dataset, seconds).result()


def _measure_here(name: str, dataset: str, seconds: float) -> float:
    row = ROWS[name]
    os.environ["RAM_ENVS_KERNELS"] = row.kernels
    rate = row.make(dataset)
    if row.unit != "s":
        rate(min(seconds, 0.1))  # fills caches
    return rate(seconds)


# --- our own environments --------------------------------------------------------------------


def _single(env_id: str, dataset: str) -> Rate:
    keywords = dataset_keywords(env_id, dataset)
    return functools.partial(step_single, gym.make(f"ram_envs:{env_id}", **keywords))


def _native(env_id: str, num_envs: int, dataset: str) -> Rate:
    keywords = dataset_keywords(env_id, dataset)
    envs = gym.make_vec(f"ram_envs:{env_id}", num_envs=num_envs, **keywords)
    return functools.partial(step_many, envs)


def _glimpses(_: str) -> Rate:
    from ram_envs import Retina

    retina, batch = Retina(12, 3), 128
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch, 60, 60), np.uint8)
    locations = random.uniform(-1, 1, (16, batch, 2)).astype(np.float32)
    return lambda seconds: (
        batch * calls_per_second(lambda step: retina(images, locations[step % 16]), seconds)
    )


def _ppo(_: str) -> Rate:
    """Measure the frames per second of updates of Stable-Baselines3's PPO on Catch."""
    import torch
    from stable_baselines3 import PPO

    from ram_envs.sb3 import SB3VecEnv
    from ram_envs.wrappers.vector import GridAction

    torch.set_num_threads(1)
    envs = gym.make_vec("ram_envs:RAMCatch-v0", num_envs=64, autoreset_mode="SameStep")
    model = PPO(
        "MultiInputPolicy",
        SB3VecEnv(GridAction(envs)),
        n_steps=64,
        batch_size=1024,
        n_epochs=4,
        seed=0,
        device="cpu",
    )
    frames = 64 * model.n_steps
    return lambda seconds: (
        frames * calls_per_second(lambda _: model.learn(frames, reset_num_timesteps=False), seconds)
    )


def _start(is_cached: bool, _: str) -> Rate:
    """Measure the seconds until all kernels are loaded, after `import gymnasium`."""

    def start(_: float) -> float:
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | ({} if is_cached else {"NUMBA_CACHE_DIR": folder})
            command = [sys.executable, "-c", LOAD_KERNELS]
            done = subprocess.run(command, capture_output=True, check=True, env=environment)
            return float(done.stdout)

    return start


def _import(_: str) -> Rate:
    """Measure the seconds that `import ram_envs` takes after `import gymnasium`."""
    from import_time import CODE

    command = [sys.executable, "-c", CODE]
    return lambda _: float(subprocess.run(command, capture_output=True, check=True).stdout)


# --- other projects --------------------------------------------------------------------------


def _ap_gym(_: str) -> Rate:
    import ap_gym  # noqa: F401  registers the ids

    return functools.partial(step_many, gym.make_vec("CircleSquare-v0", num_envs=128))


def _oculr(_: str) -> Rate:
    from oculr.env import ImageEnvironment

    images = SimpleNamespace(images=np.zeros((10_000, 28 * 28)), targets=np.zeros(10_000, int))
    dataset = SimpleNamespace(n_classes=10, image_shape=(1, 28, 28), train=images)
    envs = ImageEnvironment(dataset, num_envs=128, obs_hw_shape=8, max_time_steps=6)
    envs.reset()
    actions = np.random.default_rng(0).integers(0, [1, 10, 21, 21], (16, 128, 4))
    actions[..., 0] = 1  # look elsewhere
    return functools.partial(_step_many, envs, actions)


def _envpool(_: str) -> Rate:
    import envpool

    envs = envpool.make_gymnasium("Catch-v0", num_envs=128, num_threads=1)
    envs.reset()
    actions = np.random.default_rng(0).integers(0, 3, (16, 128), np.int32)
    return functools.partial(_step_many, envs, actions)


def _step_many(envs: Any, actions: npt.NDArray[Any], seconds: float) -> float:
    return 128 * calls_per_second(lambda step: envs.step(actions[step % 16]), seconds)


def _bsuite(_: str) -> Rate:
    from bsuite.environments.catch import Catch

    env = Catch()
    env.reset()

    def step_once(step: int) -> None:
        if env.step(step % 3).last():
            env.reset()

    return functools.partial(calls_per_second, step_once)


# --- the table -------------------------------------------------------------------------------

SINGLE_IDS = (
    "RAMMNIST-v0",
    "RAMTranslatedMNIST-v0",
    "RAMClutteredMNIST-v0",
    "RAMClutteredMNIST100-v0",
    "RAMPairsMNIST-v0",
    "RAMMovingMNIST-v0",
    "RAMCatch-v0",
)
OCULR = "oculr, 8 × 8 of 28 × 28, one scale, vector × 128"
ENVPOOL = "envpool Catch-v0, the whole 10 × 5 screen, vector × 128"
AP_GYM = "ap_gym CircleSquare-v0, 5 × 5 of 28 × 28, vector × 128"


def _both(name: str, make: Callable[[str], Rate], unit: str = "env-steps/s") -> dict[str, Row]:
    """Return the rows of both kernels."""
    by_numpy = f"{name}, numpy"
    return {by_numpy: Row(make, "numpy", unit), name: Row(make, "numba", unit, by_numpy)}


def _list_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for env_id in SINGLE_IDS:
        rows |= _both(f"{env_id}, single", functools.partial(_single, env_id))
    rows["bsuite Catch, the whole 10 × 5 screen, single"] = Row(_bsuite)
    for env_id, num_envs in (("RAMMNIST-v0", 16), ("RAMClutteredMNIST-v0", 256)):
        rows |= _both(
            f"{env_id}, native × {num_envs}", functools.partial(_native, env_id, num_envs)
        )
    for env_id, peer, make in (
        ("RAMMNIST-v0", OCULR, _oculr),
        ("RAMCatch-v0", ENVPOOL, _envpool),
    ):
        rows[peer] = Row(make)
        ours = functools.partial(_native, env_id, 128)
        rows[f"{env_id}, native × 128"] = Row(ours, beside=peer)
    rows[AP_GYM] = Row(_ap_gym)
    rows |= _both("retina 12 × 12 × 3, 60 × 60, batch 128", _glimpses, "glimpses/s")
    rows |= _both("PPO of SB3 on RAMCatch-v0 × 64", _ppo, "frames/s")
    rows["kernels, first start"] = Row(functools.partial(_start, False), unit="s")
    rows["kernels, start from numba's cache"] = Row(functools.partial(_start, True), unit="s")
    rows["import ram_envs beyond import gymnasium"] = Row(_import, unit="s")
    return rows


ROWS = _list_rows()


if __name__ == "__main__":
    main(tyro.cli(Settings))
