"""`ram reproduce`: which runs it trains, and the tables that it writes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")

from ram_commands import fail

from ram_agent import measure
from ram_agent.cli import main
from ram_agent.config import replace_settings
from ram_agent.paper import reproduce
from ram_agent.paper.controls import NETWORKS, ControlTrainer, measure_best
from ram_agent.paper.report import make_markdown, make_row, merge_row
from ram_agent.paper.reproduce import Reproduce, pick_rows
from ram_agent.paper.tables import TABLES
from ram_agent.presets import preset
from ram_agent.run_folder import RunFolder
from ram_agent.runs import TRAINING_KEYWORDS
from ram_agent.trainer import Trainer
from ram_envs.registration import CLASSIFICATION

# Three updates of RAM, and as many canvases for the control.
TINY = ["--quick", "--episodes", "600"]
BRIEF = ["mnist", *TINY, "--num-glimpses", "4", "6", "--controls", "fc-64"]
DISTORTED = {
    "batch_size": 512,
    "learning_rate": 5e-3,
    "weight_decay": 0.1,
    "distortion": 1.0,
}
NAMES = [
    "RAM, 4 glimpses",
    "RAM, 6 glimpses",
    "RAM, 6 glimpses, random gaze",
    "RAM, 6 glimpses, center gaze",
    "FC 2 × 64, whole canvas",
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that a command wrote, with its runs."""
    path = tmp_path_factory.mktemp("reproduce")
    main(["reproduce", *BRIEF, "--runs", str(path)])
    return path


@pytest.fixture
def copied(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "copied"))


def read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **keywords: Any) -> None:
        raise AssertionError("trained or measured again")

    monkeypatch.setattr(Trainer, "train_one_update", refuse)
    monkeypatch.setattr(ControlTrainer, "train_one_update", refuse)
    monkeypatch.setattr(measure, "evaluate", refuse)
    monkeypatch.setattr(reproduce, "measure_best", refuse)


# --- The command -----------------------------------------------------------------------------


def test_every_row_has_its_name_setting_and_provenance(done: Path) -> None:
    rows = read(done / "mnist.json")
    assert [row["name"] for row in rows] == NAMES
    assert [row["kind"] for row in rows] == ["ram", "ram", "control", "control", "control"]
    assert [row["num_glimpses"] for row in rows] == [4, 6, 6, 6, None]
    for row in rows:
        assert (row["env"], row["dataset"], row["quick"]) == ("RAMMNIST-v0", "digits", True)
        assert (row["passes"], row["seeds"]) == (1, [0])
        assert row["test_episodes"] == 300
        # Whole batches of 256 episodes, or of 128 canvases.
        assert row["train_episodes"] == (640 if row["name"] == NAMES[-1] else 768)
        assert 20 < row["error_mean"] <= 100
        assert row["error_std"] is None  # of one seed
        assert row["machine"]
        assert row["seconds"] >= 0
        assert "commit" in row
    for row in rows[:4]:
        assert len(row["accuracy_after_each_glimpse"]) == row["num_glimpses"]
        assert row["accuracy_after_each_glimpse"][-1] == round(100 - row["error_mean"], 4)
    assert rows[1]["random_gaze_error"] == rows[2]["error_mean"]
    command = "ram reproduce mnist --num-glimpses 6 --seeds 0 --episodes 600 --quick"
    assert [row["command"] for row in rows[1:]] == [
        *[command] * 3,
        "ram reproduce mnist --controls fc-64 --seeds 0 --episodes 600 --quick",
    ]


def test_runs_are_like_those_of_ram_train(done: Path) -> None:
    folders = done / "mnist" / "digits"
    assert sorted(path.name for path in folders.iterdir()) == [
        "4-glimpses-seed-0",
        "6-glimpses-seed-0",
        "fc-64-seed-0",
    ]
    run = folders / "4-glimpses-seed-0"
    assert {"config.json", "best.safetensors", "evaluation.json"} <= {
        path.name for path in run.iterdir()
    }
    before = (run / "last.safetensors").read_bytes()
    main(["train", "--resume", str(run)])
    assert (run / "last.safetensors").read_bytes() == before


def test_finished_runs_are_not_repeated(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forbid_training(monkeypatch)
    before = (copied / "mnist.json").read_bytes()
    main(["reproduce", *BRIEF, "--runs", str(copied)])
    assert (copied / "mnist.json").read_bytes() == before
    said = capsys.readouterr().out
    assert said.count(" finished\n") == 3
    assert (copied / "mnist.md").read_text(encoding="utf-8") in said


def test_rows_of_other_commands_are_kept(copied: Path) -> None:
    before = read(copied / "mnist.json")
    arguments = ["--num-glimpses", "4", "--seeds", "0", "7", "--runs", str(copied)]
    main(["reproduce", "mnist", *TINY, *arguments])
    rows = read(copied / "mnist.json")
    assert rows[1:] == before[1:]
    assert rows[0]["seeds"] == [0, 7]  # replaces [0]
    errors = rows[0]["errors"]
    assert errors[0] == before[0]["error_mean"]
    assert rows[0]["error_mean"] == pytest.approx(sum(errors) / 2, abs=1e-4)
    # the standard deviation of two numbers
    assert rows[0]["error_std"] == pytest.approx(abs(errors[0] - errors[1]) / 2**0.5, abs=1e-4)
    assert rows[0]["command"].startswith("ram reproduce mnist --num-glimpses 4 --seeds 0 7 ")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_an_interrupted_training_continues(
    done: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train_one_update = Trainer.train_one_update

    def update_and_interrupt(self: Trainer) -> dict[str, float]:
        metrics = train_one_update(self)
        if self.update == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return metrics

    arguments = ["reproduce", "mnist", *TINY, "--num-glimpses", "4", "--runs", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_one_update", update_and_interrupt)
        with pytest.raises(SystemExit, match="130"):
            main(arguments)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Continue: " in error
    path = tmp_path / "mnist" / "digits" / "4-glimpses-seed-0"
    assert RunFolder(path).load_state().counters["update"] == 2
    assert not (path / "evaluation.json").exists()
    assert not (tmp_path / "mnist.json").exists()

    updates = []

    def update_and_note(self: Trainer) -> dict[str, float]:
        updates.append(self.update)
        return train_one_update(self)

    monkeypatch.setattr(Trainer, "train_one_update", update_and_note)
    main(arguments)
    assert updates == [2]  # the third of three
    assert f"{path}: resumes" in capsys.readouterr().out
    (row,) = read(tmp_path / "mnist.json")
    uninterrupted = read(done / "mnist.json")[0]
    assert row["error_mean"] == uninterrupted["error_mean"]
    assert row["accuracy_after_each_glimpse"] == uninterrupted["accuracy_after_each_glimpse"]


def test_an_interrupted_control_continues(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copied / "mnist.json").read_bytes()
    path = copied / "mnist" / "digits" / "fc-64-seed-0"
    (path / "evaluation.json").unlink()
    forbid_training(monkeypatch)
    monkeypatch.setattr(reproduce, "measure_best", measure_best)  # all that is left to do
    main(["reproduce", "mnist", *TINY, "--controls", "fc-64", "--runs", str(copied)])
    assert f"{path}: resumes" in capsys.readouterr().out
    assert (copied / "mnist.json").read_bytes() == before


def test_a_run_that_stopped_before_its_first_state_starts_again(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read(copied / "mnist.json")[0]
    path = copied / "mnist" / "digits" / "4-glimpses-seed-0"
    for file in path.iterdir():
        if file.name != "config.json":
            file.unlink()
    main(["reproduce", "mnist", *TINY, "--num-glimpses", "4", "--runs", str(copied)])
    assert f"{path}: starts" in capsys.readouterr().out
    assert read(copied / "mnist.json")[0]["error_mean"] == before["error_mean"]
    assert len(RunFolder(path).read_metrics()) == 1


def test_a_finished_run_without_metrics_is_named(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / "mnist" / "digits" / "fc-64-seed-0"
    (path / "metrics.jsonl").unlink()
    args = ["reproduce", "mnist", *TINY, "--controls", "fc-64", "--runs", copied]
    assert str(path / "metrics.jsonl") in fail(capsys, *args)


def test_the_game(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tiny_preset(name: str, env_id: str) -> Any:
        found = preset(name, env_id)
        return found._replace(agent=replace_settings(found.agent, hidden_size=16, feature_size=8))

    monkeypatch.setattr(reproduce, "preset", tiny_preset)
    main(["reproduce", "catch", "--quick", "--episodes", "128", "--runs", str(tmp_path)])
    ram, at_random, center = read(tmp_path / "catch.json")
    assert (ram["name"], ram["num_glimpses"], ram["dataset"]) == ("RAM", None, None)
    assert (at_random["name"], center["name"]) == ("RAM, random gaze", "RAM, center gaze")
    assert ram["test_episodes"] == 10_000
    assert 0 < ram["catch_rate_mean"] < 40  # chance is 8
    assert ram["catch_rate_mean"] == round(100 - ram["error_mean"], 4)
    assert ram["command"] == "ram reproduce catch --seeds 0 --episodes 128 --quick"
    said = capsys.readouterr().out
    assert " 10,000 games" in said
    assert f"| **RAM** | {ram['catch_rate_mean']:.2f} | 0 | " in said
    assert said[said.index("## ") :].count("\n\n| ") == 2  # no accuracy after each glimpse


@pytest.mark.parametrize(
    ("options", "runs_folder", "out_folder"),
    [
        ({}, "runs/reproduce", "results"),
        ({"quick": True}, "runs/reproduce-quick", "runs/reproduce-quick"),
        ({"episodes": 9}, "runs/reproduce-9", "runs/reproduce-9"),
        ({"quick": True, "out": Path("here")}, "runs/reproduce-quick", "here"),
        ({"runs": Path("there")}, "there", "results"),
    ],
)
def test_only_complete_runs_are_written_to_results(
    options: dict[str, Any], runs_folder: str, out_folder: str
) -> None:
    command = Reproduce("mnist", **options)
    assert (command.runs_folder, command.out_folder) == (Path(runs_folder), Path(out_folder))


# --- Which rows ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "dataset", "expected"),
    [
        ({}, "mnist", "ram reproduce mnist --num-glimpses 6 --seeds 0 2"),
        ({"dataset": "digits"}, "digits", "… 0 2 --dataset digits"),
        ({"quick": True}, "digits", "… 0 2 --quick"),
        ({"quick": True, "dataset": "mnist"}, "mnist", "… 0 2 --dataset mnist --quick"),
        ({"episodes": 600, "device": "cuda"}, "mnist", "… 0 2 --episodes 600 --device cuda"),
    ],
)
def test_the_command_that_repeats_a_row(
    settings: dict[str, Any], dataset: str, expected: str
) -> None:
    command, table = Reproduce("mnist", **settings), TABLES["mnist"]
    said = reproduce.repeat_command(command, table, table.headline, (0, 2), dataset)
    assert said == expected.replace("…", "ram reproduce mnist --num-glimpses 6 --seeds")


def test_tables_environments_and_rows() -> None:
    assert {name: table.env_id for name, table in TABLES.items()} == {
        "mnist": "RAMMNIST-v0",
        "translated": "RAMTranslatedMNIST-v0",
        "cluttered": "RAMClutteredMNIST-v0",
        "cluttered100": "RAMClutteredMNIST100-v0",
        "pairs": "RAMPairsMNIST-v0",
        "addition": "RAMAdditionMNIST-v0",
        "moving": "RAMMovingMNIST-v0",
        "cifar10": "RAMCIFAR10-v0",
        "catch": "RAMCatch-v0",
    }
    headlines = [table.headline.num_glimpses for table in TABLES.values()]
    assert headlines == [6, 8, 8, 8, 4, 4, 8, 16, None]
    for table in TABLES.values():
        networks = [control.network for control in table.controls]
        assert networks == (list(NETWORKS) if table.env_id in CLASSIFICATION else [])
        assert [row.seeds for row in table.rows if row.is_headline] == [(0, 1, 2)]


def test_the_row_in_bold_is_trained_first() -> None:
    (entries,) = pick_rows(Reproduce("cluttered")).values()
    assert [entry.name for entry in entries] == [
        "RAM, 8 glimpses",
        "RAM, 4 glimpses",
        "RAM, 6 glimpses",
        "FC 2 × 256, whole canvas",
        "FC 2 × 64, whole canvas",
        "the paper's conv, whole canvas",
        "small modern CNN, whole canvas",
    ]


def test_all_tables_and_some_rows_of_all() -> None:
    assert list(pick_rows(Reproduce("all"))) == list(TABLES)
    some = pick_rows(Reproduce("all", num_glimpses=(8,)))
    assert {name: [entry.name for entry in entries] for name, entries in some.items()} == {
        "translated": ["RAM, 8 glimpses"],
        "cluttered": ["RAM, 8 glimpses"],
        "cluttered100": ["RAM, 8 glimpses"],
        "moving": ["RAM, 8 glimpses"],
        "cifar10": ["RAM, 8 glimpses"],
    }


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (
            ["mnits"],
            ["'mnits'", "'mnist'", "cluttered100"],
        ),
        (["mnist", "--num-glimpses", "9"], ["num_glimpses=9", "2, 3, 4, 5, 6, 7"]),
        (["catch", "--num-glimpses", "8"], ["catch", "num_glimpses=8"]),
        (["mnist", "--controls", "vgg"], ["'vgg'", "fc-256, fc-64, conv, cnn"]),
        (["mnist", "--device", "warp"], ["device", "warp"]),
        (["mnist", "--out", "a_file"], ["a_file"]),
        (["mnist", "--runs", "a_file/runs"], ["a_file/runs"]),
    ],
)
def test_wrong_values_are_named_before_any_training(
    args: list[str],
    named: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    error = fail(capsys, "reproduce", *args)
    assert all(text in error for text in named)
    assert [path.name for path in tmp_path.iterdir()] == ["a_file"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"seeds": (0, -1)}, "-1"),
        ({"seeds": (2**63,)}, str(2**63)),
        ({"episodes": -5}, "-5"),
        ({"quick": True, "episodes": 0}, "0"),
    ],
)
def test_numbers_out_of_range_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Reproduce("mnist", **settings)


def test_a_run_with_other_settings_is_refused(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["mnist", "--quick", "--episodes", "500", "--runs", done]
    said = fail(capsys, "reproduce", *arguments, "--num-glimpses", "4")
    assert all(text in said for text in ("4-glimpses-seed-0", "episodes=600", "episodes=500"))
    said = fail(capsys, "reproduce", *arguments, "--controls", "fc-64")
    assert all(text in said for text in ("fc-64-seed-0", "episodes=600", "episodes=500"))


def test_a_run_of_the_older_format_is_refused(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / "mnist" / "digits" / "4-glimpses-seed-0"
    (path / "resume.safetensors").rename(path / "resume.pt")
    error = fail(capsys, "reproduce", "mnist", *TINY, "--num-glimpses", "4", "--runs", copied)
    assert str(path) in error


def test_a_run_that_another_commit_began_names_both(copied: Path) -> None:
    path = copied / "mnist" / "digits" / "fc-64-seed-0"
    (path / "evaluation.json").unlink()
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "commit": "abc"}))
    main(["reproduce", "mnist", *TINY, "--controls", "fc-64", "--runs", str(copied)])
    (row,) = (row for row in read(copied / "mnist.json") if row["name"] == NAMES[-1])
    assert row["commit"] == f"abc, {config['commit']}"


@pytest.mark.parametrize(
    "content",
    [
        "nonsense",
        "{}",
        "7",
        '[{"name": "LSTM"}]',
        '["RAM"]',
        pytest.param("[" * 10**5, id="deep"),
        pytest.param('[{"name": "RAM", "seeds": [0], "quick": 9, "dataset": null}]', id="few"),
    ],
)
def test_a_file_that_is_no_table_is_named_before_any_training(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "catch.json").write_text(content)
    said = fail(capsys, "reproduce", "catch", *TINY, "--runs", tmp_path)
    assert str(tmp_path / "catch.json") in said
    assert [path.name for path in tmp_path.iterdir()] == ["catch.json"]


# --- Rows and Markdown -----------------------------------------------------------------------


def evaluation(error: float, random_error: float, seconds: float) -> dict[str, Any]:
    """evaluation.json of a run of two glimpses, as far as it matters."""
    return {
        "env_id": "RAMClutteredMNIST-v0",
        "dataset": "mnist",
        "train_episodes": 4_600_000,
        "commit": "abc",
        "machine": "2 × A",
        "software": "Python 3",
        "train_seconds": seconds,
        "seconds_to_pass_nips": seconds / 2,
        "results": {
            "learned gaze": {
                "error": error,
                "errors_after_each_glimpse": [60.0, error],
                "episodes": 10_000,
            },
            "random gaze": {
                "error": random_error,
                "errors_after_each_glimpse": [60.0, random_error],
                "episodes": 10_000,
            },
        },
    }


FACTS = {"seeds": [0, 1, 2], "command": "ram reproduce cluttered", "quick": False}
RUNS = [evaluation(4.0, 27.0, 1020), evaluation(4.5, 28.0, 1010), evaluation(3.8, 26.0, 1010)]


def row(name: str, seeds: list[int], dataset: str = "mnist", quick: bool = False) -> dict[str, Any]:
    made = make_row("ram", name, 8, RUNS, {**FACTS, "seeds": seeds, "quick": quick}, "learned gaze")
    return {**made, "dataset": dataset}


def test_a_row_is_the_mean_over_its_seeds() -> None:
    assert make_row("ram", "RAM, 8 glimpses", 8, RUNS, FACTS, "learned gaze") == {
        "kind": "ram",
        "name": "RAM, 8 glimpses",
        "env": "RAMClutteredMNIST-v0",
        "num_glimpses": 8,
        "passes": 1,
        "error_mean": 4.1,
        "error_std": 0.3606,  # the root of (0.1² + 0.4² + 0.3²) / 2
        "errors": [4.0, 4.5, 3.8],
        "random_gaze_error": 27.0,
        "seconds_to_pass_nips": 506.7,
        "test_episodes": 10_000,
        "train_episodes": 4_600_000,
        "accuracy_after_each_glimpse": [40.0, 95.9],
        "seeds": [0, 1, 2],
        "command": "ram reproduce cluttered",
        "quick": False,
        "commit": "abc",
        "machine": "2 × A",
        "software": "Python 3",
        "seconds": 3040,
        "dataset": "mnist",
    }


def test_a_row_with_a_seed_that_never_passed_the_paper() -> None:
    runs = [RUNS[0], {**RUNS[1], "seconds_to_pass_nips": None}]
    made = make_row("ram", "RAM, 8 glimpses", 8, runs, FACTS, "learned gaze")
    assert made["seconds_to_pass_nips"] is None


def test_the_time_until_the_papers_error_is_passed() -> None:
    errors = [(10.0, 9.0), (20.0, 4.04), (30.0, 3.9), (40.0, 4.2), (50.0, 3.5)]
    metrics = [{"seconds": seconds, "validation_error": error} for seconds, error in errors]
    assert reproduce.seconds_to_pass(metrics, 4.04) == 30.0
    assert reproduce.seconds_to_pass(metrics, 3.0) is None
    assert reproduce.seconds_to_pass(metrics, None) is None
    errors_of = {row.name: row.others.nips_error for row in TABLES["cluttered100"].rows}
    assert errors_of["RAM, 8 glimpses"] == 8.11
    assert TABLES["catch"].headline.others.nips_error == 15
    assert TABLES["mnist"].controls[1].others.nips_error is None


def test_the_episodes_that_were_played_are_counted() -> None:
    training = {"episodes": 9_000, "segments": {"segment_length": 24}}
    assert reproduce.count_episodes([{"episodes": 128}, {"episodes": 256}], training) == 256
    assert reproduce.count_episodes([{"update": 1, "steps": 240}], training) == 10
    runs = [RUNS[0], {**RUNS[1], "train_episodes": 2_300_001}]
    made = make_row("ram", "RAM, 8 glimpses", 8, runs, FACTS, "learned gaze")
    assert made["train_episodes"] == 3_450_000


def test_a_row_names_all_commits() -> None:
    runs = [RUNS[0], {**RUNS[1], "commit": "def"}, RUNS[2]]
    assert make_row("ram", "RAM", 8, runs, FACTS, "learned gaze")["commit"] == "abc, def"


def test_a_row_replaces_only_what_it_repeats() -> None:
    table = TABLES["cluttered"]
    rows: list[dict[str, Any]] = []
    for new in (
        row("RAM, 8 glimpses", [0]),
        row("RAM, 4 glimpses", [0]),
        row("RAM, 8 glimpses", [0, 1, 2]),  # replaces the first
        row("RAM, 8 glimpses", [3]),
        row("RAM, 8 glimpses", [0], dataset="digits"),
        row("RAM, 8 glimpses", [0], quick=True),
    ):
        rows = merge_row(rows, new, table)
    assert [(row["name"], row["seeds"], row["dataset"], row["quick"]) for row in rows] == [
        ("RAM, 8 glimpses", [0], "digits", False),
        ("RAM, 4 glimpses", [0], "mnist", False),
        ("RAM, 8 glimpses", [0, 1, 2], "mnist", False),
        ("RAM, 8 glimpses", [3], "mnist", False),
        ("RAM, 8 glimpses", [0], "mnist", True),
    ]


def test_markdown_shows_our_results_beside_those_of_others() -> None:
    name = "RAM, 8 glimpses"
    at_random = make_row("control", f"{name}, random gaze", 8, RUNS, FACTS, "random gaze")
    network = {
        **evaluation(0, 0, 5.6),
        "results": {"error": 27.123, "episodes": 10_000, "passes": 1},
    }
    facts = {**FACTS, "seeds": [0], "command": "ram reproduce cluttered --controls fc-64"}
    control = make_row("control", "FC 2 × 64, whole canvas", None, [network], facts)
    rows = [row(name, [0, 1, 2]), at_random, control]
    text = make_markdown(TABLES["cluttered"], rows)
    lines = text.splitlines(keepends=True)
    assert lines[0] == "## `RAMClutteredMNIST-v0`, mnist\n"
    assert "".join(line for line in lines if line.startswith("|")) == (
        """\
|  | ours | seeds | random gaze | the paper, arXiv v1 | NIPS | best since |
|---|---|---|---|---|---|---|
| **RAM, 8 glimpses** | 4.10 ± 0.36 | 0, 1, 2 | 27.00 | 5.23 | 4.04 | 2.63 (tfRAM) |
| RAM, 8 glimpses, random gaze | 27.00 ± 1.00 | 0, 1, 2 | – | – | 14.4 | – |
| FC 2 × 64, whole canvas | 27.12 | 0 | – | 28.96* | 28.58 | – |
|  | seeds | 1 | 2 |
|---|---|---|---|
| RAM, 8 glimpses | 0, 1, 2 | 40.00 | 95.90 |
| RAM, 8 glimpses, random gaze | 0, 1, 2 | 40.00 | 73.00 |
|  | command | commit | episodes | env-steps | training, all seeds | time to the paper's error |
|---|---|---|---|---|---|---|
| RAM, 8 glimpses | `ram reproduce cluttered` | abc | 4.60 M | 36.8 M | 50.7 min | 8.4 min |
| RAM, 8 glimpses, random gaze | `ram reproduce cluttered` | abc | 4.60 M | 36.8 M | 50.7 min | – |
| FC 2 × 64, whole canvas | `ram reproduce cluttered --controls fc-64` | abc | 4.60 M | – | \
0.1 min | – |
"""
    )
    assert "2 × A." in text
    (untrained,) = (line for line in lines if "RAM, 4 glimpses" in line)
    assert "RAM, 6 glimpses" in untrained
    assert name not in untrained


def test_markdown_marks_a_quick_run() -> None:
    text = make_markdown(TABLES["cluttered"], [row("RAM, 4 glimpses", [0], "digits", True)])
    first, second = text.splitlines()[:3:2]
    assert first == "## `RAMClutteredMNIST-v0`, digits, a quick run"
    assert "quick" in second


def test_agents_have_the_default_preset(done: Path) -> None:
    config = RunFolder(done / "mnist" / "digits" / "6-glimpses-seed-0").read_config()
    assert config["preset"] == "default"
    agent, training, shards = preset("default", "RAMMNIST-v0")
    assert config["agent"] == dataclasses.asdict(agent)
    assert config["training"] == dataclasses.asdict(dataclasses.replace(training, episodes=600))
    assert config["shards"] == shards


@pytest.mark.parametrize(
    ("name", "num_glimpses", "settings"),
    [
        ("cluttered", 4, {"episodes": 4_000_000}),
        ("cluttered100", 4, {"episodes": 4_000_000}),
        ("pairs", 4, {"episodes": 4_000_000, "location_weight": 1.0}),
        ("addition", 4, {"episodes": 4_000_000, "location_weight": 1.0}),
        ("moving", 12, {"episodes": 4_000_000, "distortion": 1.0}),
        ("cifar10", 8, {"episodes": 1_500_000, "mirror": True}),
        ("mnist", 2, {"batch_size": 2048, "learning_rate": 0.01}),
        ("mnist", 3, DISTORTED),
        ("mnist", 6, {**DISTORTED, "elastic": 1.0, "episodes": 12_000_000}),
        ("mnist", 7, {**DISTORTED, "elastic": 1.0, "episodes": 12_000_000}),
        ("translated", 4, {"episodes": 4_000_000, "distortion": 1.0}),
    ],
)
def test_published_rows_are_trained_longer(
    name: str,
    num_glimpses: int,
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Trainer, "train_one_update", stop_at_once)
    arguments = ["--dataset", "digits", "--runs", str(tmp_path)]
    with pytest.raises(SystemExit, match="130"):
        main(["reproduce", name, "--num-glimpses", str(num_glimpses), *arguments])
    run = tmp_path / name / "digits" / f"{num_glimpses}-glimpses-seed-0"
    config = RunFolder(run).read_config()
    training = preset("default", TABLES[name].env_id).training
    augmentation = {key: settings[key] for key in TRAINING_KEYWORDS if key in settings}
    assert config["training_env_kwargs"] == augmentation
    assert config["start_from"] == {
        "pairs": "pretrained:cluttered100-mnist-4",
        "addition": "pretrained:pairs-mnist-4",
    }.get(name)
    changes = {key: value for key, value in settings.items() if key not in augmentation}
    assert config["training"] == dataclasses.asdict(
        replace_settings(training, **{"episodes": 6_000_000, **changes})
    )


def test_controls_are_distorted_and_mirrored_as_ram_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ControlTrainer, "train_one_update", stop_at_once)
    arguments = ["--dataset", "digits", "--controls", "cnn", "--runs", str(tmp_path)]
    for name, episodes, augmentation in (
        ("translated", 1_500_000, {"distortion": 1.0}),
        ("cluttered", 1_500_000, {}),
        ("cifar10", 1_500_000, {"mirror": True}),
    ):
        with pytest.raises(SystemExit, match="130"):
            main(["reproduce", name, *arguments])
        config = RunFolder(tmp_path / name / "digits" / "cnn-seed-0").read_config()
        assert config["training"]["episodes"] == episodes
        assert config["training_env_kwargs"] == augmentation
        assert config["env_kwargs"] == {"dataset": "digits"}


def test_rows_that_begin_in_the_middle(tmp_path: Path) -> None:
    main(["reproduce", "mnist", *TINY, "--num-glimpses", "2", "--runs", str(tmp_path)])
    rows = read(tmp_path / "mnist.json")
    names = ["RAM, 2 glimpses", "RAM, 2 glimpses, the first in the middle"]
    assert [row["name"] for row in rows] == names
    assert [row["num_glimpses"] for row in rows] == [2, 2]
    evaluation = RunFolder(tmp_path / "mnist" / "digits" / "2-glimpses-middle-seed-0")
    keywords: dict[str, Any] = {
        "dataset": "digits",
        "num_glimpses": 2,
        "initial_location": [0.0, 0.0],
    }
    assert evaluation.read_config()["env_kwargs"] == keywords
    for path in (tmp_path / "mnist" / "digits").iterdir():
        main(["evaluate", str(path), "--save", str(tmp_path / "again.json")])
        again = json.loads((tmp_path / "again.json").read_text())["results"]["learned gaze"]
        (row,) = [row for row in rows if ("middle" in row["name"]) == ("middle" in path.name)]
        assert again["error"] == row["error_mean"]


def test_rows_of_images_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "save_watched", lambda *_: None)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 12, 12, 3), np.uint8)
    path = tmp_path / "small copy.npz"
    np.savez(path, images=images, labels=np.arange(40) % 2)
    commands = []
    for rows in (["--num-glimpses", "16"], ["--controls", "fc-64"]):
        command = ["reproduce", "cifar10", "--dataset", str(path), "--episodes", "40", *rows]
        commands.append([*command, "--seeds", "1", "--runs", str(tmp_path / "runs")])
        main(commands[-1])
    learned, at_random, _, control = read(tmp_path / "runs" / "cifar10.json")
    assert learned["name"] == "RAM, 16 glimpses of 5 × 5, moves of 0.2"
    assert learned["dataset"] == control["dataset"] == "small copy.npz"
    expected = "ram reproduce cifar10 --num-glimpses 16 --seeds 1 --dataset 'small copy.npz'"
    assert learned["command"] == f"{expected} --episodes 40"
    assert at_random["error_mean"] == learned["random_gaze_error"]
    run = RunFolder(tmp_path / "runs" / "cifar10" / path.name / "16-glimpses-seed-1")
    assert run.read_config()["env_kwargs"] == {
        "dataset": str(path),
        "num_glimpses": 16,
        "glimpse_size": 5,
        "num_scales": 1,
        "max_shift": 0.2,
    }
    np.savez(path, images=images, labels=1 - np.arange(40) % 2)
    capsys.readouterr()
    for command in commands:  # of other labels: nothing is finished
        with pytest.raises(SystemExit, match="1"):
            main(command)
        said = capsys.readouterr()
        assert str(path) in said.err.splitlines()[-1]
        assert "finished" not in said.out


def stop_at_once(_: Trainer | ControlTrainer) -> None:
    raise KeyboardInterrupt
