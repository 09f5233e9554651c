"""Measure training episodes per second: one process, two threads, two ranks of torchrun.

    OMP_NUM_THREADS=1 python benchmarks/distributed_speed.py --save results/distributed_speed.json

All three train with the same batch, in turn. Each rate is the median between rows of metrics.jsonl.
It includes the time that ranks wait for each other, but not the time of validations. A machine's
speed varies, so rates are compared within a turn, and the median of these ratios counts.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from ram_agent.provenance import provenance
from ram_agent.run_folder import RunFolder
from ram_envs.atomic_files import write_json

WAYS = {  # numbers of ranks and of shards
    "one process": (1, 1),
    "one process, two threads": (1, 2),
    "two ranks": (2, 2),
}


@dataclass(frozen=True)
class Settings:
    """Measure the speed-up of a second thread and of a second rank."""

    env_id: str = "RAMClutteredMNIST-v0"
    """The environment; one with images."""

    dataset: str = "digits"
    """mnist or digits."""

    episodes: int = 153_600
    """Training episodes per measurement: enough for some rows without a validation between them."""

    repeats: int = 3
    """Number of turns; medians count."""

    save: Path | None = None
    """Write the measurements to this JSON file."""


def measure(settings: Settings, num_ranks: int, num_shards: int) -> float:
    """Return training episodes per second."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        given = {
            "dataset": settings.dataset,
            "episodes": settings.episodes,
            "shards": num_shards,
            "out": out,
        }
        options = [f"--{name}={value}" for name, value in given.items()]
        subprocess.run(
            [sys.executable, *torchrun, "-m", "ram_agent", "train", settings.env_id, *options],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        rows = RunFolder(out).read_metrics()
        # A validation has a row of its own, and its time is in the row that follows.
        rates = [
            (row["episodes"] - before["episodes"]) / (row["seconds"] - before["seconds"])
            for before, row in itertools.pairwise(rows)
            if "validation_error" not in before and row["update"] > before["update"]
        ]
    if not rates:
        raise SystemExit(
            f"With {settings.episodes} episodes a validation lies between any two rows of "
            "metrics.jsonl. Give --episodes 153600 or more."
        )
    return statistics.median(rates)


def main(settings: Settings) -> None:
    turns = [
        {way: measure(settings, *numbers) for way, numbers in WAYS.items()}
        for _ in range(settings.repeats)
    ]
    rows = []
    for way, (num_ranks, num_shards) in WAYS.items():
        rate = statistics.median(rates[way] for rates in turns)
        times = statistics.median(rates[way] / rates["one process"] for rates in turns)
        rows.append(
            {
                "way": way,
                "ranks": num_ranks,
                "shards": num_shards,
                "episodes_per_second": round(rate),
                "times_one_process": round(times, 2),
            }
        )
        print(f"{way:<26} {rate:>9,.0f} episodes per second   × {times:.2f}")
    if settings.save is not None:
        how = {"env_id": settings.env_id, "dataset": settings.dataset, "seed": 0}
        write_json(settings.save, {**provenance(), **how, "rows": rows})


if __name__ == "__main__":
    main(tyro.cli(Settings))
