"""The command `ram`: its table of commands, and how a command fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ram_commands import BRIEF, TINY, fail

import ram_agent
import ram_envs
from ram_agent.cli import COMMANDS, main


def test_list_shows_every_environment(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    rows = {
        line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines()
    }
    assert rows["RAMMNIST-v0"] == "RAMMNIST-v0 28 × 28 0 8 × 8, 1 scale 6"
    assert rows["RAMTranslatedMNIST-v0"] == "RAMTranslatedMNIST-v0 60 × 60 0 12 × 12, 3 scales 6"
    assert rows["RAMClutteredMNIST-v0"] == "RAMClutteredMNIST-v0 60 × 60 4 12 × 12, 3 scales 6"
    assert (
        rows["RAMClutteredMNIST100-v0"] == "RAMClutteredMNIST100-v0 100 × 100 8 12 × 12, 4 scales 8"
    )
    assert rows["RAMMovingMNIST-v0"] == "RAMMovingMNIST-v0 60 × 60 4 12 × 12, 3 scales 8"
    assert rows["RAMCatch-v0"] == "RAMCatch-v0 24 × 24 a game 6 × 6, 3 scales 23"


def run_python(code: str, folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python code that sees this checkout, in a process of its own."""
    root = Path(ram_agent.__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), **env},
        check=False,
    )


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_help_names_every_command(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(args)
    said = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in said


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_each_command(
    command: str, width: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    assert exit_info.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: ram {command}" in said
    if command == "train":
        for option in ("--resume", "--learning-rate", "--hidden-size", "--num-glimpses"):
            assert option in said
        for group in ("environment", "run", "agent", "training"):
            assert f"{group} options" in said


def test_help_joins_the_lines_of_docstrings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # each help text on one line
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "--dataset STR" in line)
    assert "mnist" in line
    assert ".npz" in line


def test_help_shows_the_settings_of_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help", "--preset", "paper", "--tensorboard", "RAMCatch-v0"])
    said = capsys.readouterr().out
    assert "lstm" in said.partition("--core")[2].partition("default:")[2].split(")")[0]
    assert "870000" in said
    assert "default: sgd" in " ".join(said.replace("│", " ").split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert ram_envs.__version__ in capsys.readouterr().out


def test_help_and_list_need_only_the_environments(tmp_path: Path) -> None:
    code = """
import sys
for name in ("torch", "tyro", "tqdm", "safetensors", "PIL", "pygame"):
    sys.modules[name] = None
from ram_agent.cli import COMMANDS, main
main(["--help"])
assert not {"gymnasium", "numpy"} & sys.modules.keys()
main(["list"])
main(sys.argv[1:])
"""
    done = run_python(code, tmp_path, "train", "RAMMNIST-v0")
    assert "RAMCatch-v0" in done.stdout
    assert done.returncode == 1
    assert 'pip install "ram-gym[agent]"' in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_public_names_are_imported_when_they_are_used() -> None:
    for name in ram_agent.__all__:
        assert getattr(ram_agent, name) is not None
        assert name in dir(ram_agent)
    with pytest.raises(AttributeError, match="RAMagent"):
        ram_agent.RAMagent  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.parametrize(("given", "meant"), [("trian", "train"), ("lst", "list")])
def test_a_misspelled_command(given: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = fail(capsys, given, "RAMMNIST-v0")
    assert repr(given) in line
    assert f"`ram {meant}`" in line


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["train"], "ENV_ID"),
        (["train", "RAMNIST-v0"], "RAMNIST"),
        (["train", "no_such_module:Own-v0"], "no_such_module"),
        (["train", "RAMCatch-v0", "--dataset", "digits"], "dataset"),
        (["train", "RAMCatch-v0", "--num-glimpses", "6"], "num_glimpses"),
        (["train", "RAMMNIST-v0", "--preset", "papr"], "'papr'"),
        (["train", "RAMMNIST-v0", "--preset=papr"], "'papr'"),
        (["train", "RAMMNIST-v0", "--dataset", "mnits"], "'mnits'"),
        (["train", *TINY[:3], "--num-glimpses", "0"], "num_glimpses=0"),
        (["train", *BRIEF, "--device", "abacus"], "'abacus'"),
        (["train", *BRIEF, "--threads", "0"], "threads=0"),
        (["train", "CartPole-v1"], "no glimpses"),
        (["train", "--resume", "nowhere"], "nowhere"),
        (["evaluate", "nowhere"], "nowhere"),
        (["evaluate", "pretrained:catch", "--split", "train"], "split='train'"),
        (["watch", "nowhere", "--save", "a.gif"], "nowhere"),
    ],
)
def test_a_failure_names_the_value_and_leaves_no_files(
    args: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert named in fail(capsys, *args)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["RAMMNIST-v0", "--episodes", "-5"], "episodes=-5"),
        ([*BRIEF, "--seed", "-1"], "seed=-1"),
        (["RAMMNIST-v0", "--learning-rat", "1"], "--learning-rat"),
        (["RAMMNIST-v0", "--seed", "one"], "--seed"),
    ],
)
def test_a_setting_that_is_not_understood_ends_with_2(
    args: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["train", *args])
    assert exit_info.value.code == 2
    assert named in capsys.readouterr().err


def test_play_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pygame", reason="the extra play is not installed")
    with pytest.raises(SystemExit) as exit_info:
        main(["play", "RAMCatch-v0", "--episodes", "0"])
    assert exit_info.value.code == 1
    assert "--episodes 0" in capsys.readouterr().err
