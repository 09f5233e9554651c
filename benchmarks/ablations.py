"""Measure each part of the training recipe: one change at a time, in short trainings.

    OMP_NUM_THREADS=1 python benchmarks/ablations.py --dataset mnist --page docs/recipe.md

Errors are measured on the validation split, so that no setting is chosen on the test split.
Trainings that are in the file are not repeated. Needs pip install "ram-gym[agent]".
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import tyro
from glimpse_networks import rearrange
from pages import put_table
from side_by_side import read_rows, run_side_by_side

from ram_agent.paper.report import make_table
from ram_agent.presets import preset
from ram_agent.provenance import provenance
from ram_agent.run_env import RunEnv
from ram_agent.runs import MIN_VALIDATIONS, describe_run, make_trainer
from ram_agent.trainer import Trainer
from ram_envs.atomic_files import write_json

Row = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """A difference from the default preset.

    part      the part of the recipe
    now       its value in the preset
    instead   its value here
    agent     the settings of AgentConfig that differ
    training  the settings of TrainConfig that differ
    network   the arrangement of the glimpse network, if it is not that of the preset
    """

    part: str
    now: str
    instead: str
    agent: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    network: str = ""


DEFAULT = Change("none", "", "")
LABELS = ("labels supervised", "after every glimpse")
LOCATION_REWARD = ("reward of a location", "gain in the true label's probability")
GAZE = ("location's standard deviation", "0.2 → 0.03")
WEIGHT = ("weight of REINFORCE", "0.25")
MAPS = ("maps of the two convolutions", "16, 32")
WIDTH = ("width of the LSTM", "224")
CHANGES = (
    DEFAULT,
    Change("glimpse network", "conv", "linear (the paper)", {"glimpse_network": "linear"}),
    Change(*MAPS, "8, 16", {"conv_maps": 8}),
    Change(*MAPS, "32, 64", {"conv_maps": 32}),
    Change("kernels", "3 × 3", "5 × 5", network="kernels of 5 × 5"),
    Change("convolutions", "shared by all scales", "of each scale", network="of each scale"),
    Change("what and where", "sum", "product", network="product"),
    Change(*WIDTH, "128", {"hidden_size": 128}),
    Change(*WIDTH, "320", {"hidden_size": 320}),
    Change(
        "core",
        "LSTM, 224 wide",
        "rectifiers, 256 wide (the paper)",
        {"core": "rectifier", "hidden_size": 256},
    ),
    Change(
        "core",
        "LSTM, 224 wide",
        "transformer, 224 wide, at a learning rate of 0.0015",
        {"core": "transformer"},
        {"learning_rate": 1.5e-3},
    ),
    Change(*LOCATION_REWARD, "final reward (the paper)", {}, {"location_reward": "reward"}),
    Change(*LABELS, "after the last alone (the paper)", {}, {"supervision": "last_step"}),
    Change(*GAZE, "0.1 → 0.03", {}, {"location_std": 0.1}),
    Change(*GAZE, "0.2 throughout", {}, {"location_std_end": 0.2}),
    Change(*WEIGHT, "1 (the paper)", {}, {"location_weight": 1.0}),
    Change("advantages", "normalized", "as they are", {}, {"normalize_advantages": False}),
    Change("mean location", "tanh", "linear (the paper)", {"location_mean": "linear"}),
)


@dataclass(frozen=True)
class Settings:
    """Train once for each change; continue what was interrupted."""

    env_id: str = "RAMClutteredMNIST-v0"
    """The environment."""

    episodes: int = 200_000
    """Canvases per training."""

    seeds: tuple[int, ...] = (0, 1)
    """Seeds of the trainings of each change."""

    dataset: str = "auto"
    """mnist, digits or auto."""

    jobs: int = 2
    """Trainings at the same time, each with one thread."""

    out: Path = Path("results/ablations.json")
    """File of the rows."""

    page: Path | None = None
    """Page to put the table into, between its two marks."""


def main(settings: Settings) -> None:
    env = RunEnv(settings.env_id, {"dataset": settings.dataset}).with_found_dataset()
    settings = dataclasses.replace(settings, dataset=env.keywords["dataset"])
    rows = read_rows(settings.out, **common_settings(settings))
    done = {(row["part"], row["instead"], row["seed"]) for row in rows}
    waiting = [
        (change, seed)
        for change in CHANGES
        for seed in settings.seeds
        if (change.part, change.instead, seed) not in done
    ]
    facts = provenance()
    run = functools.partial(train, settings=settings)
    for (change, seed), result in run_side_by_side(run, waiting, settings.jobs):
        row = {**dataclasses.asdict(change), "seed": seed, **result, **common_settings(settings)}
        rows.append({**row, **facts})
        write_json(settings.out, rows)
        error = result["validation_error"]
        print(f"{change.part}, {change.instead}, seed {seed}: {error or 'diverged'}", flush=True)
    table = to_table(rows)
    if settings.page is not None:
        put_table(settings.page, table)
    print(table)


def common_settings(settings: Settings) -> dict[str, Any]:
    """Return what all trainings of a table have in common."""
    return {name: getattr(settings, name) for name in ("env_id", "episodes", "dataset")}


def train(change: Change, seed: int, settings: Settings) -> Row:
    """Train once; return the best validation's error, None if the training diverged."""
    torch.set_num_threads(1)
    own = {"seed": seed, "episodes": settings.episodes, "shards": 1}
    run = describe_run(
        RunEnv(settings.env_id, {"dataset": settings.dataset}),
        "default",
        preset("default", settings.env_id).change(**own, **change.agent, **change.training),
    )
    trainer = make_trainer(run, None)
    if change.network:
        trainer = rearranged(trainer, change.network)
    started = time.process_time()  # independent of other processes
    try:
        trainer.train()
    except FloatingPointError:
        return {"validation_error": None, "cpu_seconds": None}
    return {
        "validation_error": round(-trainer.best_score, 2),
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def rearranged(trainer: Trainer, network: str) -> Trainer:
    """Return a trainer of the same agent with its glimpse network in another arrangement."""
    agent = trainer.agent
    agent.glimpse_network = rearrange(agent.glimpse_network, network)
    (shard,) = trainer.shards
    envs = shard.envs, trainer.validation_envs
    return Trainer(agent, *envs, trainer.config, min_validations=MIN_VALIDATIONS)


def to_table(rows: Sequence[Row]) -> str:
    """Return a table in Markdown: the validation error of each change, and CPU seconds."""
    body = []
    for change in CHANGES:
        own = [
            row for row in rows if (row["part"], row["instead"]) == (change.part, change.instead)
        ]
        ended = [row for row in own if row["validation_error"] is not None]
        if not own:
            continue
        if not ended:
            cells = ["diverged", "–"]
        else:
            errors = [row["validation_error"] for row in ended]
            spread = f" ± {statistics.stdev(errors):.1f}" if len(errors) > 1 else ""
            seconds = statistics.mean(row["cpu_seconds"] for row in ended)
            cells = [f"{statistics.mean(errors):.1f}{spread}", f"{seconds:.0f}"]
        body.append([change.part, change.now, change.instead, *cells])
    return make_table(("changed", "from", "to", "validation error", "CPU seconds"), body)


if __name__ == "__main__":
    main(tyro.cli(Settings))
