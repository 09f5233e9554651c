"""A sweep over settings and seeds: each combination is a task with a number, and one training.

    python examples/sweep.py --task 2                            # train one task
    seq 0 3 | xargs -P 2 -n 1 python examples/sweep.py --task    # train all, two at a time
    python examples/sweep.py                                     # print a table of the results
    python examples/sweep.py --env-id RAMCatch-v0 --dataset None --episodes None --steps 2000000

The table compares the best validations, so that no setting is chosen on the test split. On a
cluster the numbers come from the scheduler's job array; docs/cluster.md shows how. A task that was
stopped continues when it is started again; one that is done is skipped.
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
    """The task to train, from 0; if not given, the table is printed."""

    env_id: str = "RAMTranslatedMNIST-v0"
    dataset: str | None = "digits"
    """None for a game."""

    episodes: int | None = 200_000
    """None for a game, whose length is `steps`."""

    steps: int | None = None

    learning_rates: tuple[float, ...] = (2e-3, 4e-3)
    seeds: tuple[int, ...] = (0, 1)

    out: Path = Path("runs/sweep")
    """The folder that contains a folder for each task."""


def main(settings: Settings) -> None:
    tasks = list(itertools.product(settings.learning_rates, settings.seeds))
    if settings.task is None:
        show_table(settings)
    elif 0 <= settings.task < len(tasks):
        train(settings, *tasks[settings.task])
    else:
        raise SystemExit(f"task={settings.task} does not exist. Give 0 to {len(tasks) - 1}.")


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
            "steps": settings.steps,
            "learning-rate": learning_rate,
            "seed": seed,
            "out": folder,
        }
        options = [f"--{name}={value}" for name, value in given.items() if value is not None]
        ram(["train", settings.env_id, *options])


def show_table(settings: Settings) -> None:
    for learning_rate in settings.learning_rates:
        files = [
            task_folder(settings, learning_rate, seed) / "evaluation.json"
            for seed in settings.seeds
        ]
        results = [json.loads(file.read_text()) for file in files if file.exists()]
        is_game = any("validation_return" in result for result in results)
        measure = "validation_return" if is_game else "validation_error"
        mean = f"{statistics.mean(one[measure] for one in results):8.4g}" if results else "       –"
        print(f"learning rate {learning_rate:<8g} {measure} {mean}  of {len(results)} seeds")


def task_folder(settings: Settings, learning_rate: float, seed: int) -> Path:
    """Return the folder of a task, whose name has all settings: a changed one is another run."""
    given = (settings.env_id, settings.dataset, settings.episodes, settings.steps)
    name = "-".join(str(value) for value in given if value is not None)
    name = f"{name}-rate-{learning_rate:g}-seed-{seed}"
    return settings.out / name.replace("/", "-").replace(":", "-")


if __name__ == "__main__":
    main(tyro.cli(Settings))
