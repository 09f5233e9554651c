"""The command `ram reproduce`: train and measure the rows of a table of the paper.

Each training is a run in a folder of its own, like those of `ram train`. A finished run is not
repeated and an interrupted one is resumed, so the test split is measured once.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from ram_agent.callbacks import LogMetrics, is_validation, print_validation, train_with
from ram_agent.commands.parsing import UNSET, parse
from ram_agent.config import flatten_settings
from ram_agent.distributed import checked_device
from ram_agent.measure import show_trained
from ram_agent.paper.controls import (
    NETWORKS,
    ControlConfig,
    ControlTrainer,
    describe_control,
    measure_best,
)
from ram_agent.paper.report import Row, explain, make_markdown, make_row, merge_row, read_rows
from ram_agent.paper.tables import GAZES, TABLES, Control, Ram, Table
from ram_agent.presets import preset
from ram_agent.provenance import provenance
from ram_agent.run_env import GPU, RunEnv
from ram_agent.run_folder import RunFolder, read_json_object
from ram_agent.run_images import check_run_images
from ram_agent.runs import TRAINING_KEYWORDS, describe_run, make_trainer
from ram_agent.settings import check_setting
from ram_envs.atomic_files import check_writable, write_bytes, write_json
from ram_envs.checks import suggest
from ram_envs.registration import CLASSIFICATION

# Enough to learn the embedded digits in about a minute on two cores; of Catch, enough to leave
# chance far behind.
QUICK_EPISODES = {"mnist": 60_000, "translated": 80_000, "cluttered": 100_000, "catch": 80_000}
QUICK_EPISODES_OTHERWISE = 60_000


@dataclass(frozen=True)
class Reproduce:
    """Train and measure the rows of a table of the paper, and write them beside the paper's values.

    Examples:
      ram reproduce cluttered
      ram reproduce mnist --quick
      ram reproduce cluttered --num-glimpses 8 --seeds 0 1 2
      ram reproduce translated --controls fc-256 cnn

    Ctrl-C saves, and the same command continues. Finished runs are not repeated. Rows written
    by other commands are kept.
    """

    table: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TABLE")]
    """mnist, translated, cluttered, cluttered100, pairs, addition, moving, cifar10, catch, or
    all."""

    num_glimpses: Annotated[tuple[int, ...], UNSET] = ()
    """Train only the rows of RAM with these numbers of glimpses."""

    controls: Annotated[tuple[str, ...], UNSET] = ()
    """Train only these networks on the whole canvas: fc-256, fc-64, conv, cnn."""

    seeds: Annotated[tuple[int, ...], UNSET] = ()
    """Seeds of the runs of each row. Default: 0 1 2 for the row in bold, 0 for the others."""

    dataset: Annotated[str | None, UNSET] = None
    """Images of the environments: auto, mnist, digits, cifar10, or the path of a folder or an .npz.
    Default: the environment's own, or digits with --quick."""

    episodes: Annotated[int | None, UNSET] = None
    """Training episodes per run of RAM, and canvases per control. Default: those of the table."""

    quick: bool = False
    """Train only the row in bold, for about a minute on the embedded digits, to see that it learns.
    Compare it with random and center gaze, not with the paper."""

    device: str = "cpu"
    """cpu or cuda. With cuda, the environments run on the GPU too."""

    runs: Annotated[Path | None, UNSET] = None
    """Folder of the runs. Default: runs/reproduce, with a suffix for --quick and --episodes."""

    out: Annotated[Path | None, UNSET] = None
    """Folder of TABLE.json and TABLE.md. Default: results, or the folder of the runs for --quick
    and --episodes, which do not overwrite published results."""

    def __post_init__(self) -> None:
        check_setting("episodes", self.episodes, int | None)
        for seed in self.seeds:
            check_setting("seed", seed, int)

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

    def run_episodes(self, table: Table) -> int | None:
        """Return the training episodes of a run; None for those of the table."""
        if self.quick and self.episodes is None:
            return QUICK_EPISODES.get(table.name, QUICK_EPISODES_OTHERWISE)
        return self.episodes

    def dataset_of(self, table: Table) -> str:
        """Return the images with which the rows of a table are trained."""
        return self.dataset or ("digits" if self.quick else table.dataset)

    def seeds_of(self, entry: Ram | Control) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self.seeds)) or ((0,) if self.quick else entry.seeds)


def main(args: list[str]) -> None:
    """Run `ram reproduce`."""
    reproduce(parse(Reproduce, "reproduce", args))


def reproduce(command: Reproduce) -> None:
    """Train and measure what the command asks for, and write the tables.

    Raises:
        ValueError: if there is no such table or row, or a file or run does not fit the command.
        OSError: if a folder cannot be written.
        KeyboardInterrupt: if it is interrupted, with the command that continues.
    """
    torch.set_num_threads(1)
    checked_device(command.device)
    picked = pick_rows(command)
    paths = {name: command.out_folder / f"{name}.json" for name in picked}
    # Report whatever would fail at the end before hours of training.
    for name, path in paths.items():
        read_rows(path)
        check_writable(path)
        check_writable(command.runs_folder / name / "run")
    try:
        for name, entries in picked.items():
            table, path = TABLES[name], paths[name]
            for entry in entries:
                for row in _make_rows(command, table, entry):
                    rows = merge_row(read_rows(path), row, table)
                    write_json(path, rows)
                    text = f"{make_markdown(table, rows)}\n{explain(table)}"
                    write_bytes(path.with_suffix(".md"), text.encode())
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped. Continue: {provenance()['command']}") from None
    for path in paths.values():
        print(path.with_suffix(".md").read_text(encoding="utf-8"))
    print("Written to " + ", ".join(str(path) for path in paths.values()))


def pick_rows(command: Reproduce) -> dict[str, list[Ram | Control]]:
    """Return the rows to train of each table, the row in bold first.

    Raises:
        ValueError: if there is no such table or row.
    """
    if command.table not in (*TABLES, "all"):
        hint = suggest(command.table, (*TABLES, "all"))
        raise ValueError(f"table={command.table!r} does not exist. {hint}")
    tables = list(TABLES.values()) if command.table == "all" else [TABLES[command.table]]
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
                way = f"Choose from {', '.join(map(str, known))}." if known else "Leave it out."
                raise ValueError(f"Table {command.table} has no row with {kind}={value!r}. {way}")
    is_all = not command.num_glimpses and not command.controls
    picked: dict[str, list[Ram | Control]] = {}
    for table in tables:
        if is_all and command.quick:
            picked[table.name] = [table.headline]
            continue
        ram = [row for row in table.rows if is_all or row.num_glimpses in command.num_glimpses]
        controls = [row for row in table.controls if is_all or row.network in command.controls]
        if ram or controls:
            picked[table.name] = [*sorted(ram, key=lambda row: not row.is_headline), *controls]
    return picked


def _make_rows(command: Reproduce, table: Table, entry: Ram | Control) -> list[Row]:
    """Train what an entry of a table needs, and return its rows."""
    seeds = command.seeds_of(entry)
    evaluations = [_trained(command, table, entry, seed) for seed in seeds]
    repeat = repeat_command(command, table, entry, seeds, evaluations[0]["dataset"])
    facts = {"seeds": list(seeds), "command": repeat, "quick": command.quick}
    if isinstance(entry, Control):
        return [make_row("control", entry.name, None, evaluations, facts)]
    rows = [make_row("ram", entry.name, entry.num_glimpses, evaluations, facts, "learned gaze")]
    if entry.is_headline:
        for gaze in GAZES:
            title = f"{entry.name}, {gaze}"
            rows.append(make_row("control", title, entry.num_glimpses, evaluations, facts, gaze))
    return rows


def _trained(command: Reproduce, table: Table, entry: Ram | Control, seed: int) -> dict[str, Any]:
    """Return a finished evaluation, with "train_episodes" and RAM's "seconds_to_pass_nips"."""
    if isinstance(entry, Ram):
        return _trained_ram(command, table, entry, seed)
    return _trained_control(command, table, entry, seed)


def _trained_ram(command: Reproduce, table: Table, entry: Ram, seed: int) -> dict[str, Any]:
    env_id = table.env_id
    settings = preset("default", env_id)
    own = table.training if entry.training is None else entry.training
    changes, augmentation = _settings(command, table, own)
    if table.is_game and "episodes" in changes:
        changes = {"steps": changes["episodes"] * settings.training.segments.segment_length}
    if torch.device(command.device).type == GPU:
        changes["shards"] = 1  # they are threads of the CPU
    keywords: dict[str, Any] = {}
    if env_id in CLASSIFICATION:
        keywords = {"dataset": command.dataset_of(table), **entry.keywords}
    run = describe_run(
        RunEnv(env_id, keywords),
        "default",
        settings.change(seed=seed, **changes),
        training_keywords=augmentation,
        start_from=None if command.run_episodes(table) else table.start_from,
        device=command.device,
    )

    def train(folder: RunFolder) -> None:
        trainer = make_trainer(run, folder, command.device)
        trainer.resume()
        if not train_with(trainer, [LogMetrics(folder), print_validation]):
            raise KeyboardInterrupt  # the trainer caught the signal to save
        show_trained(trainer, folder)

    words = [f"{entry.num_glimpses}-glimpses"] if entry.num_glimpses else []
    words += ["middle"] if entry.begins_in_middle else []
    dataset = run.env.keywords.get("dataset")
    path = _folder(command, table, dataset, "-".join([*words, f"seed-{seed}"]))
    evaluation = finish_run(path, run.to_json(), train)
    passed = seconds_to_pass(RunFolder(path).read_metrics(), entry.others.nips_error)
    return {**evaluation, "seconds_to_pass_nips": passed}


def seconds_to_pass(metrics: Sequence[dict[str, Any]], error: float | None) -> float | None:
    """Return the seconds until the validation error was below `error`; None if it never was."""
    validations = filter(is_validation, metrics)
    passed = (row["seconds"] for row in validations if error and _validation_error(row) < error)
    return next(passed, None)


def count_episodes(metrics: Sequence[dict[str, Any]], training: dict[str, Any]) -> int:
    """Return how many training episodes were played; of a game each segment is one.

    They may be fewer than the settings ask for, since a training ends when its patience runs out.
    """
    last = metrics[-1]
    if "steps" in last:
        return int(last["steps"] // training["segments"]["segment_length"])
    return int(last["episodes"])


def _validation_error(row: dict[str, Any]) -> float:
    """Return the percentage of wrong labels, or of balls that were missed."""
    if "validation_return" in row:
        return 100 * (1 - float(row["validation_return"]))
    return float(row["validation_error"])


def _settings(
    command: Reproduce, table: Table, training: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a table's settings of a training, and its keywords of the training environments."""
    if (episodes := command.run_episodes(table)) is not None:
        return {"episodes": episodes}, {}
    augmentation = {name: training[name] for name in TRAINING_KEYWORDS if name in training}
    return {name: training[name] for name in training.keys() - augmentation}, augmentation


def _trained_control(command: Reproduce, table: Table, entry: Control, seed: int) -> dict[str, Any]:
    training, augmentation = _settings(command, table, table.training)
    episodes = training["episodes"]
    if table.control_episodes is not None and command.run_episodes(table) is None:
        episodes = table.control_episodes
    config = ControlConfig(entry.network, seed, math.ceil(entry.share * episodes))
    keywords = {"dataset": command.dataset_of(table)}
    run = describe_control(RunEnv(table.env_id, keywords), config, augmentation, command.device)

    def train(folder: RunFolder) -> None:
        trainer = ControlTrainer(run, folder, command.device)
        trainer.resume()
        trainer.train()
        measure_best(trainer, folder.read_config())

    path = _folder(command, table, run["dataset"], f"{entry.network}-seed-{seed}")
    return finish_run(path, run, train)


def finish_run(
    path: Path, run: dict[str, Any], train: Callable[[RunFolder], None]
) -> dict[str, Any]:
    """Train the run in `path` unless it is finished.

    Args:
        path: the run's folder.
        run: config.json of a new run.
        train: called with the folder; resumes from its state, if any, and writes evaluation.json.

    Returns:
        Its evaluation.json, and "train_episodes": how many were played.

    Raises:
        ValueError: if the folder contains a run with other settings or images.
        FileNotFoundError: if it contains a finished run without metrics.jsonl.
    """
    folder = RunFolder(path)
    if folder.is_free:
        folder.create(run)
    else:
        _check_same(folder, run)
        check_run_images(folder.read_config(), RunEnv.named_in(run))
    try:
        folder.lock()
        evaluation_path = path / "evaluation.json"
        if evaluation_path.is_file():
            print(f"{path}: already finished")
        else:
            print(f"{path}: {'resumes' if folder.has_begun else 'starts'}")
            train(folder)
            commits = dict.fromkeys((folder.read_config()["commit"], run["commit"]))
            evaluation = {**read_json_object(evaluation_path), "commit": ", ".join(commits)}
            write_json(evaluation_path, evaluation)
        evaluation = read_json_object(evaluation_path)
        metrics = folder.read_metrics()
        if not metrics:
            raise FileNotFoundError(
                f"{folder.metrics_path} has no rows, so the training episodes of this finished run "
                f"cannot be counted. Restore it, or remove {path} to train again."
            )
        episodes = count_episodes(metrics, evaluation["training"])
        return {**evaluation, "train_episodes": episodes}
    finally:
        folder.unlock()


def _check_same(folder: RunFolder, run: dict[str, Any]) -> None:
    """Raise ValueError if the folder contains a run with other settings."""
    before, now = _flat_settings(folder.read_config()), _flat_settings(run)
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise ValueError(
                f"{folder.path} contains a run with {name}={before.get(name)!r}, and this command "
                f"has {name}={now.get(name)!r}. Remove that folder, or give another --runs."
            )


def _flat_settings(run: dict[str, Any]) -> dict[str, Any]:
    groups = (
        "env_id",
        "preset",
        "shards",
        "env_kwargs",
        "training_env_kwargs",
        "start_from",
        "agent",
        "training",
    )
    return flatten_settings({name: run.get(name) for name in groups})


def _folder(command: Reproduce, table: Table, dataset: str | None, run: str) -> Path:
    return command.runs_folder / table.name / Path(dataset or "").name / run


def repeat_command(
    command: Reproduce,
    table: Table,
    entry: Ram | Control,
    seeds: Sequence[int],
    dataset: str | None,
) -> str:
    """Return the command that repeats a row and no other."""
    words = ["ram reproduce", table.name]
    if isinstance(entry, Control):
        words += ["--controls", entry.network]
    elif entry.num_glimpses is not None:
        words += ["--num-glimpses", str(entry.num_glimpses)]
    words += ["--seeds", *map(str, seeds)]
    default = "digits" if command.quick else table.dataset.replace("auto", "mnist")
    if dataset is not None and dataset != default:
        words += ["--dataset", shlex.quote(Path(dataset).name)]
    if command.episodes is not None:
        words += ["--episodes", str(command.episodes)]
    if command.device != "cpu":
        words += ["--device", command.device]
    if command.quick:
        words.append("--quick")
    return " ".join(words)
