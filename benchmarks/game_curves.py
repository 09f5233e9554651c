"""Draw the validations of a game's trainings, one curve each.

    python benchmarks/game_curves.py results/games/RoadRunner-*.metrics.jsonl \
        --save results/games/RoadRunner.png

Each file is the metrics.jsonl of a training, and its name is the curve's label.
Needs pip install "ram-gym[figures]".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import tyro
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Settings:
    """Draw the validations of a game's trainings, one curve each."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """The metrics.jsonl of each training."""

    save: Path
    """Write the picture to this file."""


def main(settings: Settings) -> None:
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots()
    for path in settings.files:
        axes.plot(*read_validations(path), label=path.name.partition(".")[0])
    axes.set(xlabel="steps", ylabel="mean return in validation")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(settings.save, dpi=120)


def read_validations(path: Path) -> tuple[list[int], list[float]]:
    """Return the steps and mean returns of the validations in a metrics.jsonl."""
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    validations = [row for row in rows if "validation_return" in row]
    return (
        [row["steps"] for row in validations],
        [row["validation_return"] for row in validations],
    )


if __name__ == "__main__":
    main(tyro.cli(Settings))
