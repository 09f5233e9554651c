"""Measure the cost of a glimpse on images of 60 × 60 to 16,384 × 16,384, also memory-mapped.

    OMP_NUM_THREADS=1 python benchmarks/large_images.py --save results/large_images.json

`RAMClassification-v0` steps with random actions in one thread; for comparison, a small strided CNN
passes once over the whole image. The pages of the mapped file are already in memory. The lowest CPU
time of several repeats counts, because load from other programs only adds to it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import nn

from ram_agent.provenance import provenance
from ram_envs import ImageDataset
from ram_envs.atomic_files import write_json


@dataclass(frozen=True)
class Settings:
    """Measure the cost of a glimpse on larger and larger images."""

    sides: tuple[int, ...] = (60, 240, 1024, 4096, 16384)
    """Sides of the images in pixels."""

    glimpse_size: int = 12
    """Side of a patch in cells."""

    num_scales: int = 3
    """Number of patches."""

    num_envs: int = 128
    """Sub-environments of the vector environment."""

    cnn_side: int = 16384
    """Side of the largest image for the CNN, which needs about 10 bytes per pixel."""

    seconds: float = 0.1
    """Minimum duration of each measurement."""

    repeats: int = 10
    """Number of measurements; the best one counts."""

    save: Path | None = None
    """Write the measurements to this JSON file, and a picture beside it."""


def measure(call: Callable[[], object], settings: Settings) -> float:
    """Return the CPU microseconds of one call."""
    call()
    best = float("inf")
    for _ in range(settings.repeats):
        count, started = 0, time.process_time()
        while (elapsed := time.process_time() - started) < settings.seconds:
            call()
            count += 1
        best = min(best, elapsed / count)
    return best * 1e6


def measure_single(images: np.ndarray, settings: Settings) -> float:
    """Return the microseconds of a step of one environment, resets included."""
    env = gym.make("RAMClassification-v0", **_keywords(images, settings)).unwrapped
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(100)]

    def play() -> None:
        for action in actions:
            if env.step(action)[2]:
                env.reset()

    return measure(play, settings) / len(actions)


def measure_vector(images: np.ndarray, settings: Settings) -> float:
    """Return the microseconds per step and sub-environment, resets included."""
    envs = gym.make_vec(
        "RAMClassification-v0", num_envs=settings.num_envs, **_keywords(images, settings)
    )
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(28)]  # whole episodes

    def play() -> None:
        for action in actions:
            envs.step(action)

    return measure(play, settings) / len(actions) / settings.num_envs


def measure_cnn(images: np.ndarray, settings: Settings) -> float:
    """Return the microseconds of one pass of a small strided CNN over the whole image."""
    torch.set_num_threads(1)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=4),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    pixels = torch.from_numpy(images)

    def look() -> None:
        with torch.inference_mode():
            network(pixels.float()[:, None] / 255)

    return measure(look, settings)


def main(settings: Settings) -> None:
    rows: list[dict[str, Any]] = []
    names = ("single", "vector", "single_mapped", "vector_mapped", "cnn")
    print(f"{'side':>6}" + "".join(f"{name:>15}" for name in names) + "   µs per glimpse or pass")
    for side in settings.sides:
        images = np.random.default_rng(0).integers(0, 256, (1, side, side), np.uint8)
        row: dict[str, Any] = {"side": side}
        row["single"] = measure_single(images, settings)
        row["vector"] = measure_vector(images, settings)
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder, "images.npy"), images)
            mapped = np.load(Path(folder, "images.npy"), mmap_mode="r")
            mapped.max()  # reads the whole file into memory
            row["single_mapped"] = measure_single(mapped, settings)
            row["vector_mapped"] = measure_vector(mapped, settings)
            del mapped
        row["cnn"] = measure_cnn(images, settings) if side <= settings.cnn_side else None
        print(f"{side:>6}" + "".join(f"{row[name] or float('nan'):>15,.2f}" for name in names))
        rows.append({key: value and round(value, 2) for key, value in row.items()})
    if settings.save is not None:
        about = {key: getattr(settings, key) for key in ("glimpse_size", "num_scales", "num_envs")}
        write_json(settings.save, {**provenance(), "seed": 0, **about, "microseconds": rows})
        draw(rows, settings.save.with_suffix(".png"))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the cost against the side of the image, both logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    for name, label, style in (
        ("cnn", "a small strided CNN, one pass over the whole image", "k^-"),
        ("single", "one environment, a step", "C0o-"),
        ("single_mapped", "  memory-mapped", "C0x--"),
        ("vector", "many sub-environments, a step of one", "C1o-"),
        ("vector_mapped", "  memory-mapped", "C1x--"),
    ):
        known = [row for row in rows if row[name] is not None]
        axes.plot([row["side"] for row in known], [row[name] for row in known], style, label=label)
    sides = [row["side"] for row in rows]
    axes.set(xscale="log", yscale="log", xlabel="side of the image in pixels", ylabel="µs")
    axes.set_xticks(sides, [f"{side:,}" for side in sides])
    axes.minorticks_off()
    axes.set_title("What a glimpse costs on larger and larger images", loc="left")
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _keywords(images: np.ndarray, settings: Settings) -> dict[str, Any]:
    return {
        "dataset": ImageDataset(images, np.zeros(1, np.int64)),
        "glimpse_size": settings.glimpse_size,
        "num_scales": settings.num_scales,
    }


if __name__ == "__main__":
    main(tyro.cli(Settings))
