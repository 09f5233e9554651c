"""Where a result comes from, and what is said where that cannot be known."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

import ram_envs
from ram_agent.provenance import provenance


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/ram", "train", "a b"])
    assert provenance()["command"] == "ram train 'a b'"
    monkeypatch.setattr(sys, "argv", ["/somewhere/ram_agent/__main__.py", "list"])
    assert provenance()["command"] == "python -m ram_agent list"
    monkeypatch.setattr(sys, "argv", ["examples/sb3_catch.py", "--gaze", "fixed"])
    assert provenance()["command"] == "python examples/sb3_catch.py --gaze fixed"


def test_the_command_of_one_of_several_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/ram_agent/__main__.py", "train"])
    for name, value in (("RUN_ID", "none"), ("GROUP_WORLD_SIZE", "3"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(f"TORCHELASTIC_{name}" if name == "RUN_ID" else name, value)
    said = provenance()["command"]
    assert said == "torchrun --nnodes 3 --nproc-per-node 2 -m ram_agent train"


def test_an_installed_package_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ram_envs, "__file__", str(tmp_path / "ram_envs" / "__init__.py"))
    assert provenance()["commit"] == ""


@pytest.mark.parametrize(
    "error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")]
)
def test_a_checkout_that_git_cannot_read_has_no_commit(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **keywords: object) -> None:
        raise error

    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(ram_envs, "__file__", str(tmp_path / "ram_envs" / "__init__.py"))
    monkeypatch.setattr(subprocess, "run", refuse)
    assert provenance()["commit"] == ""


def test_the_processor_where_no_file_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert provenance()["machine"] == "8 × arm64, Darwin"
