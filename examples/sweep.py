"""A sweep over seeds and settings: a task, with a number, for each combination; a training each.

    python examples/sweep.py --task 2                            # train one of them
    seq 0 3 | xargs -P 2 -n 1 python examples/sweep.py --task    # all, two at a time
    python examples/sweep.py                                     # the table of what is done

On a cluster the scheduler's array gives the numbers; docs/cluster.md shows how. A task that was
stopped goes on when it is started again, and one that is done is left alone.
"""

from __future__ import annotations

import itertools
import json
import statistics
from dataclasses import dataclass
from pathlib import Path

import tyro

from ram_agent.cli import main as ram


@dataclass(frozen=True)
class Settings:
    """Train one task of a sweep, or show the table of all."""

    task: int | None = None
    """Which to train, from 0; the table if not given."""

    env_id: str = "RAMTranslatedMNIST-v0"
    dataset: str = "digits"
    episodes: int = 200_000

    learning_rates: tuple[float, ...] = (2e-3, 4e-3)
    seeds: tuple[int, ...] = (0, 1)

    out: Path = Path("runs/sweep")
    """Where each task has its folder."""


def main(settings: Settings) -> None:
    tasks = list(itertools.product(settings.learning_rates, settings.seeds))
    if settings.task is None:
        show_table(settings)
    elif 0 <= settings.task < len(tasks):
        train(settings, *tasks[settings.task])
    else:
        raise SystemExit(f"task={settings.task}: expected 0 to {len(tasks) - 1}.")


def train(settings: Settings, learning_rate: float, seed: int) -> None:
    folder = task_folder(settings, learning_rate, seed)
    if (folder / "evaluation.json").exists():
        print(f"{folder} is done")
    elif (folder / "resume.safetensors").exists():
        ram(["train", "--resume", str(folder)])
    else:
        given = {
            "dataset": settings.dataset,
            "episodes": settings.episodes,
            "learning-rate": learning_rate,
            "seed": seed,
            "out": folder,
        }
        ram(["train", settings.env_id, *(f"--{name}={value}" for name, value in given.items())])


def show_table(settings: Settings) -> None:
    for learning_rate in settings.learning_rates:
        files = [
            task_folder(settings, learning_rate, seed) / "evaluation.json"
            for seed in settings.seeds
        ]
        errors = [read_error(file) for file in files if file.exists()]
        mean = f"{statistics.mean(errors):6.2f} %" if errors else "     –  "
        print(f"learning rate {learning_rate:<8g} test error {mean}  of {len(errors)} seeds")


def task_folder(settings: Settings, learning_rate: float, seed: int) -> Path:
    return settings.out / f"rate-{learning_rate:g}-seed-{seed}"


def read_error(path: Path) -> float:
    """Percent of wrong labels, or of lost games."""
    result = json.loads(path.read_text())["results"]["learned gaze"]
    error: float = result["error"] if "error" in result else 100 * (1 - result["mean_return"])
    return error


if __name__ == "__main__":
    main(tyro.cli(Settings))
