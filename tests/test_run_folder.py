"""Run folders: one writer, nothing lost in a crash, older or damaged files refused."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import files_in, make_agent

import ram_agent
from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig
from ram_agent.run_folder import RunFolder, read_json_object
from ram_agent.training_state import TrainingState
from ram_agent.weights import CheckpointError, write_tensors

RUN = {"env_id": "RAMMNIST-v0"}


def state_at(update: int) -> TrainingState:
    return TrainingState({"agent.w": torch.arange(100.0)}, {"update": update})


# --- a new run ---------------------------------------------------------------------------------


def test_a_new_run_takes_no_folder_with_files(tmp_path: Path) -> None:
    begun = RunFolder(tmp_path / "new" / "run")
    begun.create({"seed": 3})
    begun.append_metrics({"update": 1})
    assert RunFolder(begun.path).read_config() == {"seed": 3}
    begun.unlock()
    with pytest.raises(FileExistsError, match=re.escape(str(begun.path))):
        RunFolder(begun.path).create({"seed": 4})
    assert RunFolder(begun.path).read_config() == {"seed": 3}

    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").create({"seed": 5})
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="file"):
        RunFolder(tmp_path / "file").create({})
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("with_state", [False, True])
def test_a_folder_in_which_nothing_was_trained_is_taken(tmp_path: Path, with_state: bool) -> None:
    failed = RunFolder(tmp_path / "run")
    failed.create({**RUN, "seed": 3})
    if with_state:  # written before the first update
        failed.save_state(state_at(0))
    failed.unlock()
    folder = RunFolder(failed.path)
    folder.create({**RUN, "seed": 4})
    assert folder.read_config() == {**RUN, "seed": 4}
    assert not folder.has_begun


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: folder.save_state(state_at(1)),
        lambda folder: folder.append_metrics({"update": 1}),
        lambda folder: folder.save_agent("last", make_agent(), update=1),
        lambda folder: folder.state_path.write_bytes(b"damaged"),
        lambda folder: folder.config_path.write_text("{"),
        lambda folder: folder.config_path.write_text('{"theme": "dark"}'),
        lambda folder: (folder.path / "notes.txt").write_text("mine"),
        lambda folder: (folder.path / "resume.pt").write_bytes(b"older"),
    ],
)
def test_a_folder_with_anything_else_is_not_taken(tmp_path: Path, write: Any) -> None:
    begun = RunFolder(tmp_path / "run")
    begun.create(RUN)
    write(begun)
    before = {path.name: path.read_bytes() for path in begun.path.iterdir()}
    begun.unlock()
    with pytest.raises(FileExistsError, match=re.escape(str(begun.path))):
        RunFolder(begun.path).create(RUN)
    beside = RunFolder(begun.path)
    beside.create(RUN, or_beside=True)
    assert beside.path.name == "run-2"
    assert {path.name: path.read_bytes() for path in begun.path.iterdir()} == before


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "run"
    with pytest.raises(OSError, match=re.escape(str(path))) as caught:
        RunFolder(path).create({"seed": 3})
    assert "--out" in str(caught.value)


def test_a_folder_that_another_run_has_just_made_is_not_taken(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run")
    first.create(RUN)
    with pytest.raises(BlockingIOError, match="run"):
        RunFolder(tmp_path / "run").create(RUN)


def test_a_new_run_beside_others(tmp_path: Path) -> None:
    folders = [RunFolder(tmp_path / "run") for _ in range(3)]
    for number, folder in enumerate(folders):
        folder.create({"seed": number}, or_beside=True)
    assert [folder.path.name for folder in folders] == ["run", "run-2", "run-3"]
    assert [folder.read_config()["seed"] for folder in folders] == [0, 1, 2]


def test_files_that_a_killed_run_left_unfinished_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".config.json.12-345.tmp").write_text("{")  # killed at its start
    folder = RunFolder(tmp_path)
    folder.create({"seed": 3})
    folder.unlock()
    (tmp_path / ".resume.safetensors.12-345.tmp").write_bytes(b"half")
    (tmp_path / ".notes.tmp").write_text("mine")
    RunFolder(tmp_path).lock()
    assert files_in(tmp_path) == [".lock", ".lock-holder", ".notes.tmp", "config.json"]


# --- one writer --------------------------------------------------------------------------------


HOLDER = """
import sys
from ram_agent.run_folder import RunFolder
folder = RunFolder(sys.argv[1])
folder.lock()
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_locked_until_its_process_ends(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(ram_agent.__file__).parent.parent)},
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        for use in (folder.lock, lambda: folder.create({})):
            with pytest.raises(BlockingIOError, match=f"{tmp_path} .* {other.pid} "):
                use()
        other.kill()
    folder.lock()
    folder.lock()  # again
    with pytest.raises(BlockingIOError, match=f" {os.getpid()} "):
        RunFolder(tmp_path).lock()
    folder.unlock()
    RunFolder(tmp_path).create({"seed": 3})


def test_a_lock_without_a_name_holds_too(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.lock()
    (tmp_path / ".lock-holder").unlink()
    with pytest.raises(BlockingIOError, match=str(tmp_path)):
        RunFolder(tmp_path).lock()


def test_a_file_system_without_locks_can_be_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", refuse)
    folder = RunFolder(tmp_path)
    folder.create({"seed": 3})
    folder.lock()
    folder.unlock()
    assert folder.read_config() == {"seed": 3}


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(OSError, match=re.escape(str(tmp_path / ".lock"))):
        RunFolder(tmp_path).lock()


# --- settings ----------------------------------------------------------------------------------


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        RunFolder(tmp_path).read_config()
    with pytest.raises(FileNotFoundError, match=r"resume\.safetensors"):
        RunFolder(tmp_path).load_state()


def test_a_run_of_the_older_format_is_named_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(RUN))
    (tmp_path / "resume.pt").write_bytes(b"state")
    with pytest.raises(CheckpointError, match="older"):
        RunFolder(tmp_path).read_config()
    with pytest.raises(FileExistsError, match=str(tmp_path)):
        RunFolder(tmp_path).create({})
    assert (tmp_path / "resume.pt").read_bytes() == b"state"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"seed": 3, "ver',
        "[1, 2]",
        "\xff\xfe",
        '{"version": 1' + "0" * 5000 + "}",
        pytest.param("[" * 10**6, id="deep"),
        pytest.param('{"format": "' + "x" * 2**24 + '"}', id="long"),
    ],
)
def test_damaged_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_json_object(path)


# --- the start of a training --------------------------------------------------------------------


def test_a_training_begins_in_a_run_folder_only(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "new"))):
        RunFolder(tmp_path / "new").begin(state_at(0))
    assert files_in(tmp_path) == []
    folder = RunFolder(tmp_path / "run")
    folder.create(RUN)
    folder.begin(state_at(0))
    assert folder.load_state().counters == {"update": 0}


@pytest.mark.parametrize("update", [0, 11, 13])
def test_a_training_is_not_overwritten_by_one_at_another_update(
    tmp_path: Path, update: int
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(RUN)
    folder.begin(state_at(12))
    with pytest.raises(FileExistsError, match=rf"\b12\b.*\b{update}\b"):
        folder.begin(state_at(update))
    folder.begin(state_at(12))
    assert folder.load_state().counters == {"update": 12}


# --- metrics -----------------------------------------------------------------------------------


def test_metrics_come_back_without_a_row_that_a_crash_cut_short(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_metrics() == []
    folder.append_metrics({"update": 10, "validation_error": 12.5})
    folder.append_metrics({"update": 20, "validation_error": 11.0})
    with folder.metrics_path.open("a") as file:
        file.write('{"update": 30, "validati')
    assert folder.read_metrics() == [
        {"update": 10, "validation_error": 12.5},
        {"update": 20, "validation_error": 11.0},
    ]


@pytest.mark.parametrize(
    "line", [b"[" * 10**5, b"3", b'{"update": "3"}', b"\xff\xfe", b'"' + b"x" * 10**6]
)
def test_rows_of_metrics_around_a_damaged_one_are_kept(tmp_path: Path, line: bytes) -> None:
    folder = RunFolder(tmp_path)
    folder.metrics_path.write_bytes(b'{"update": 10}\n' + line + b'\n\n{"update": 20}\n')
    assert folder.read_metrics() == [{"update": 10}, {"update": 20}]


def test_metrics_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for update in (10, 20, 30):
        folder.append_metrics({"update": update})
    with folder.metrics_path.open("a") as file:
        file.write('{"upd')
    folder.forget_metrics_after(20)
    assert folder.metrics_path.read_text() == '{"update": 10}\n{"update": 20}\n'
    folder.append_metrics({"update": 30})
    assert [row["update"] for row in folder.read_metrics()] == [10, 20, 30]


# --- weights and state -------------------------------------------------------------------------


def test_best_weights_of_a_run_are_preferred(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create(RUN)
    with pytest.raises(FileNotFoundError, match=r"best\.safetensors"):
        RAMAgent.load(tmp_path)
    (tmp_path / "my run").mkdir()
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "my run"))):
        RAMAgent.load(tmp_path / "my run")
    (tmp_path / "my run" / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"'.*my run'$"):
        RAMAgent.load(tmp_path / "my run")
    folder.save_agent("last", make_agent(), update=9)
    assert RAMAgent.load(tmp_path).info == {**RUN, "update": 9}
    folder.save_agent("best", make_agent(), update=5, validation_error=2.5)
    assert RAMAgent.load(tmp_path).info == {**RUN, "update": 5, "validation_error": 2.5}


def test_state_comes_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "n": torch.tensor(3)}
    counters = {"update": 3, "seconds": 0.1 + 0.2, "best": math.inf, "_sums": {"count": 2.0}}
    folder.save_state(TrainingState(tensors, counters))
    assert files_in(tmp_path) == ["resume.safetensors"]
    loaded = folder.load_state()
    torch.testing.assert_close(loaded.tensors, tensors, rtol=0, atol=0)
    assert loaded.counters == counters


@pytest.mark.parametrize("length", [0, 10, -10])
def test_a_state_cut_short(tmp_path: Path, length: int) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state(state_at(3))
    folder.state_path.write_bytes(folder.state_path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"resume\.safetensors"):
        folder.load_state()


def test_weights_are_no_state(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    make_agent().save(folder.state_path)
    with pytest.raises(CheckpointError, match="'ram-agent'"):
        folder.load_state()


def test_a_state_of_a_later_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    with monkeypatch.context() as later:
        later.setattr("ram_agent.weights.VERSION", "3")
        write_tensors(folder.state_path, {}, "ram-run", {})
    with pytest.raises(CheckpointError, match="'3'"):
        folder.load_state()


def test_a_state_that_is_shorter_than_the_agent_of_its_config(tmp_path: Path) -> None:
    folder, config = RunFolder(tmp_path), AgentConfig(hidden_size=8, feature_size=6)
    folder.check_fits(config)  # nothing was trained yet
    folder.append_metrics({"update": 1})
    folder.check_fits(config)  # `load_state` refuses that
    folder.state_path.write_bytes(bytes(896))  # 4 bytes · 8 · 2 · (8 + 6) weights
    folder.check_fits(config)
    folder.state_path.write_bytes(bytes(895))
    with pytest.raises(CheckpointError, match=r"hidden_size=8\b"):
        folder.check_fits(config)


def test_a_full_disk_leaves_the_last_checkpoint_and_names_the_way_out(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    folder = RunFolder(tmp_path / "my run")
    folder.create({})
    folder.save_agent("last", make_agent(), update=1)
    folder.save_state(state_at(1))
    folder.append_metrics({"update": 1})
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))  # no file may be longer
    try:
        writes: list[Callable[[], None]] = [
            lambda: folder.save_agent("last", make_agent(), update=2),
            lambda: folder.save_state(state_at(2)),
            lambda: folder.append_metrics({"update": 2}),
        ]
        for write in writes:
            with pytest.raises(OSError, match=re.escape(f"--resume '{folder.path}'")):
                write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert folder.load_state().counters == {"update": 1}
    assert RAMAgent.load(folder.path).info["update"] == 1
    assert folder.read_metrics() == [{"update": 1}]
    after = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    assert {**after, "metrics.jsonl": before["metrics.jsonl"]} == before


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state(state_at(1))
    cannot: dict[str, Any] = {"update": 2, "function": len}
    with pytest.raises(TypeError, match="builtin_function"):
        folder.save_state(TrainingState({}, cannot))
    assert folder.load_state().counters == {"update": 1}
    assert files_in(tmp_path) == ["resume.safetensors"]
