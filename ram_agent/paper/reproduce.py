"""The command `ram reproduce`: train what a table lacks, measure it, write it beside the paper's.

Each training is a run in a folder of its own, as `ram train` writes them. A finished one is not
trained or measured again, and one that was stopped goes on; so the test split is looked at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from ram_agent.commands.parsing import parse
from ram_agent.config import preset
from ram_agent.distributed import checked_device
from ram_agent.measure import show_trained
from ram_agent.paper.controls import (
    NETWORKS,
    ControlConfig,
    ControlTrainer,
    describe_control,
    measure_best,
)
from ram_agent.paper.report import Row, make_markdown, make_row, merge_row, read_rows
from ram_agent.paper.tables import GAZES, TABLES, Control, Ram
from ram_agent.provenance import provenance
from ram_agent.run_folder import RunFolder, read_json
from ram_agent.runs import describe_run, make_trainer, print_progress
from ram_agent.splits import GPU
from ram_envs.atomic_files import write_bytes, write_json
from ram_envs.registration import CLASSIFICATION

QUICK_EPISODES = 50_000


@dataclass(frozen=True)
class Reproduce:
    """Train what a table of the paper lacks, measure it, and write it beside the paper's figures.

    Examples:
      ram reproduce cluttered
      ram reproduce mnist --quick
      ram reproduce cluttered --num-glimpses 8 --seeds 0 1 2
      ram reproduce translated --controls fc-256 cnn

    The tables: mnist, translated, cluttered, cluttered100, catch. Ctrl-C saves, and the same
    command goes on. What is finished isn't trained again. Rows that other commands wrote stay.
    """

    table: tyro.conf.Positional[str]
    """mnist, translated, cluttered, cluttered100, catch, or all."""

    num_glimpses: tuple[int, ...] = ()
    """Only the rows of RAM with so many glimpses."""

    controls: tuple[str, ...] = ()
    """Only these networks that see the whole canvas: fc-256, fc-64, conv, cnn."""

    seeds: tuple[int, ...] = ()
    """Trainings for each row; if not given, 0 1 2 for the row in bold and 0 for all others."""

    dataset: Literal["auto", "mnist", "digits"] | None = None
    """auto if not given, or digits with --quick."""

    episodes: int | None = None
    """Training episodes of each run of RAM, and as many canvases for the controls; those of the
    preset if not given."""

    quick: bool = False
    """A few minutes on the digits with one seed, which show that all works and no more."""

    device: str = "cpu"
    """Where to train: cpu, or cuda, where the environments are too."""

    runs: Path | None = None
    """Where the runs' folders lie; runs/reproduce if not given, or another beside it for --quick
    and --episodes."""

    out: Path | None = None
    """Where TABLE.json and TABLE.md are written; results if not given, but the folder of the runs
    for --quick and --episodes, which are not to overwrite what is published."""

    @property
    def runs_folder(self) -> Path:
        if self.runs is not None:
            return self.runs
        quick = "-quick" if self.quick else ""
        episodes = "" if self.episodes is None else f"-{self.episodes}"
        return Path("runs") / f"reproduce{quick}{episodes}"

    @property
    def out_folder(self) -> Path:
        is_whole = not self.quick and self.episodes is None
        return self.out or (Path("results") if is_whole else self.runs_folder)

    @property
    def run_episodes(self) -> int | None:
        """Training episodes of a run, if not those of the preset."""
        return QUICK_EPISODES if self.quick and self.episodes is None else self.episodes

    @property
    def run_dataset(self) -> str:
        return self.dataset or ("digits" if self.quick else "auto")

    def seeds_of(self, entry: Ram | Control) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self.seeds)) or ((0,) if self.quick else entry.seeds)


def main(args: list[str]) -> None:
    """Run `ram reproduce`."""
    reproduce(parse(Reproduce, "reproduce", args))


def reproduce(command: Reproduce) -> None:
    """`ram reproduce`."""
    torch.set_num_threads(1)
    checked_device(command.device)
    picked = pick_rows(command)
    paths = {name: command.out_folder / f"{name}.json" for name in picked}
    for path in paths.values():
        read_rows(path)  # so that a bad file is named before hours of training
    try:
        for name, entries in picked.items():
            for entry in entries:
                for row in _make_rows(command, name, entry):
                    rows = merge_row(read_rows(paths[name]), row, TABLES[name])
                    write_json(paths[name], rows)
                    text = make_markdown(TABLES[name], rows)
                    write_bytes(paths[name].with_suffix(".md"), text.encode())
    except KeyboardInterrupt:
        print(f"Stopped. Go on: {provenance()['command']}")
        return
    for path in paths.values():
        print(path.with_suffix(".md").read_text(encoding="utf-8"))
    print("Written to " + ", ".join(str(path) for path in paths.values()))


def pick_rows(command: Reproduce) -> dict[str, list[Ram | Control]]:
    """What each table is asked for, the row in bold first.

    Raises:
        ValueError: if there is no such table or row.
    """
    if command.table not in (*TABLES, "all"):
        close = difflib.get_close_matches(command.table, TABLES, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"table {command.table!r}: expected one of {', '.join(TABLES)}, all.{hint}"
        )
    names = list(TABLES) if command.table == "all" else [command.table]
    tables = [TABLES[name] for name in names]
    numbers = {row.num_glimpses for table in tables for row in table.rows if row.num_glimpses}
    networks = [
        network
        for network in NETWORKS
        if any(control.network == network for table in tables for control in table.controls)
    ]
    for kind, wanted, known in (
        ("num_glimpses", command.num_glimpses, sorted(numbers)),
        ("controls", command.controls, networks),
    ):
        for value in wanted:
            if value not in known:
                some = f"some of {', '.join(map(str, known))}" if known else "none"
                raise ValueError(f"{kind} {value!r}: table {command.table} has {some}.")
    for seed in command.seeds:
        if seed < 0:
            raise ValueError(f"seeds contains {seed}: expected numbers of 0 or more.")
    is_all = not command.num_glimpses and not command.controls
    picked: dict[str, list[Ram | Control]] = {}
    for name, table in zip(names, tables, strict=True):
        ram = [row for row in table.rows if is_all or row.num_glimpses in command.num_glimpses]
        controls = [row for row in table.controls if is_all or row.network in command.controls]
        if ram or controls:
            picked[name] = [*sorted(ram, key=lambda row: not row.is_headline), *controls]
    return picked


def _make_rows(command: Reproduce, name: str, entry: Ram | Control) -> list[Row]:
    """The rows that come of an entry, after training what is missing."""
    seeds = command.seeds_of(entry)
    evaluations = [_trained(command, name, entry, seed) for seed in seeds]
    asked = _command(command, name, entry, seeds, evaluations[0]["dataset"])
    facts = {"seeds": list(seeds), "command": asked, "quick": command.quick}
    if isinstance(entry, Control):
        return [make_row("control", entry.name, None, evaluations, facts)]
    rows = [make_row("ram", entry.name, entry.num_glimpses, evaluations, facts, "learned gaze")]
    if entry.is_headline:
        for gaze in GAZES:
            title = f"{entry.name}, {gaze}"
            rows.append(make_row("control", title, entry.num_glimpses, evaluations, facts, gaze))
    return rows


def _trained(command: Reproduce, name: str, entry: Ram | Control, seed: int) -> dict[str, Any]:
    """evaluation.json of a finished run."""
    if isinstance(entry, Ram):
        return _trained_ram(command, name, entry, seed)
    return _trained_control(command, name, entry, seed)


def _trained_ram(command: Reproduce, name: str, entry: Ram, seed: int) -> dict[str, Any]:
    env_id = TABLES[name].env_id
    agent_config, train_config = preset("default", env_id)
    changes: dict[str, Any] = {"seed": seed}
    if command.run_episodes is None:
        changes |= TABLES[name].training if entry.training is None else entry.training
    else:
        changes["episodes"] = command.run_episodes
    if torch.device(command.device).type == GPU:
        changes["parts"] = 1  # which are for the threads of a CPU
    train_config = dataclasses.replace(train_config, **changes)
    keywords: dict[str, Any] = {}
    if env_id in CLASSIFICATION:
        keywords = {"dataset": command.run_dataset, **entry.keywords}
    run = describe_run(env_id, keywords, "default", agent_config, train_config, command.device)

    def train(folder: RunFolder) -> None:
        trainer = make_trainer(run, folder, command.device)
        trainer.resume()
        if not trainer.train(report=print_progress):
            raise KeyboardInterrupt  # which the trainer took for itself, to save
        show_trained(trainer, folder.path)

    kind = f"{entry.num_glimpses}-glimpses-" if entry.num_glimpses else ""
    kind += "middle-" * entry.begins_in_middle
    path = _folder(command, name, run["dataset"], f"{kind}seed-{seed}")
    evaluation = finish_run(path, run, train)
    passed = _seconds_to_pass(RunFolder(path).read_metrics(), entry.others.nips_error)
    return {**evaluation, "seconds_to_pass_nips": passed}


def _seconds_to_pass(metrics: Sequence[dict[str, Any]], figure: float | None) -> float | None:
    """When the validation error fell below the paper's test error; None if it never did."""
    passed = (row["seconds"] for row in metrics if figure and row["validation_error"] < figure)
    return next(passed, None)


def _trained_control(command: Reproduce, name: str, entry: Control, seed: int) -> dict[str, Any]:
    env_id = TABLES[name].env_id
    training = TABLES[name].training  # of RAM
    if command.run_episodes is not None:
        training = {"episodes": command.run_episodes}
    config = ControlConfig(
        entry.network,
        seed,
        math.ceil(entry.share * training["episodes"]),
        distortion=training.get("distortion", 0.0),
        elastic=training.get("elastic", 0.0),
    )
    run = describe_control(env_id, {"dataset": command.run_dataset}, config, command.device)

    def train(folder: RunFolder) -> None:
        trainer = ControlTrainer(run, folder, command.device)
        trainer.resume()
        trainer.train()
        measure_best(trainer, folder.read_config())

    path = _folder(command, name, run["dataset"], f"{entry.network}-seed-{seed}")
    return finish_run(path, run, train)


def finish_run(
    path: Path, run: dict[str, Any], train: Callable[[RunFolder], None]
) -> dict[str, Any]:
    """evaluation.json of the run in `path`, after doing what of it is not done yet.

    Args:
        path: the run's folder.
        run: what a new run's config.json would be.
        train: called with the folder; goes on from its checkpoint, if there is one, and writes
            evaluation.json.

    Raises:
        ValueError: if the folder holds a run with other settings.
    """
    folder = RunFolder(path)
    if folder.config_path.is_file():
        _check_same(folder, run)
    else:
        folder.create(run)
    try:
        folder.lock()
        return _finish_locked(folder, train)
    finally:
        folder.unlock()


def _finish_locked(folder: RunFolder, train: Callable[[RunFolder], None]) -> dict[str, Any]:
    """What `finish_run` does, once no other process writes in the folder."""
    evaluation_path = folder.path / "evaluation.json"
    if evaluation_path.is_file():
        print(f"{folder.path}: finished already")
    else:
        print(f"{folder.path}: {'goes on' if folder.has_begun else 'begins'}")
        train(folder)
    return read_json(evaluation_path)


def _check_same(folder: RunFolder, run: dict[str, Any]) -> None:
    """Refuse a run of other settings, whose figures would pass for those of the command."""
    before, now = _flat_settings(folder.read_config()), _flat_settings(run)
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise ValueError(
                f"the run in {folder.path} has {name}={before.get(name)!r}, and this command "
                f"would train it with {now.get(name)!r}. Remove that folder, or give another "
                "--runs."
            )


def _flat_settings(run: dict[str, Any]) -> dict[str, Any]:
    flat = {"env_id": run.get("env_id"), "preset": run.get("preset")}
    for group in ("env_kwargs", "agent", "training"):
        flat |= run.get(group, {})
    return flat


def _folder(command: Reproduce, name: str, dataset: str | None, run: str) -> Path:
    return command.runs_folder / name / (dataset or "") / run


def _command(
    command: Reproduce, name: str, entry: Ram | Control, seeds: Sequence[int], dataset: str | None
) -> str:
    """What repeats a row, and nothing else."""
    words = ["ram reproduce", name]
    if isinstance(entry, Control):
        words += ["--controls", entry.network]
    elif entry.num_glimpses is not None:
        words += ["--num-glimpses", str(entry.num_glimpses)]
    words += ["--seeds", *map(str, seeds)]
    if dataset is not None and dataset != ("digits" if command.quick else "mnist"):
        words += ["--dataset", dataset]
    if command.episodes is not None:
        words += ["--episodes", str(command.episodes)]
    if command.device != "cpu":
        words += ["--device", command.device]
    return " ".join([*words, *["--quick"] * command.quick])
