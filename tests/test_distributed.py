"""Ranks under torchrun: two of them train what one process trains, and neither waits for the dead.

A clock only guards against a hang.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from helpers import without_seconds
from safetensors.torch import load_file

import ram_agent
from ram_agent.cli import main
from ram_agent.distributed import Ranks
from ram_agent.run_folder import RunFolder

ROOT = Path(ram_agent.__file__).parent.parent
TINY_AGENT = ["--hidden-size", "16", "--feature-size", "8"]
# 64 updates, with validations after 41, an epoch of the digits, and at the end.
DIGITS = ["RAMMNIST-v0", "--dataset", "digits", "--num-glimpses", "2", "--batch-size", "32"]
DIGITS += [*TINY_AGENT, "--episodes", "2048", "--validate-every", "1"]
# 4 updates; its 2,000 validation games are four batches, which the ranks share.
CATCH = ["RAMCatch-v0", *TINY_AGENT, "--steps", "1472", "--batch-size", "16"]
CATCH += ["--validate-every", "736", "--shards", "2", "--validation-sampled"]

# `ram`, but after an update one of the ranks gets a signal.
SIGNALLED = """
import os
import signal

from ram_agent.cli import main
from ram_agent.trainer import Trainer

train_one_update = Trainer.train_one_update


def update_and_signal(self):
    metrics = train_one_update(self)
    if (os.environ["RANK"], self.update) == ("{rank}", 50):
        os.kill(os.getpid(), signal.{name})
    return metrics


Trainer.train_one_update = update_and_signal
main()
"""

# Two ranks share an evaluation, before whose end the second one is slow or dies.
GATHERED = """
import os
import time
from datetime import timedelta

import torch

from ram_agent import distributed

distributed.TIMEOUT = timedelta(seconds=20)
with distributed.join_ranks(torch.device("cpu")) as ranks:
    ranks.any(False)  # returns once both have joined
    if ranks.rank == 1:
        {happens}
    line = f"{{ranks.gather([ranks.rank])}} {{ranks.any(ranks.is_first)}}\\n"
    print(line, end="")  # at once, since both print
"""

not_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="no torchrun without libuv")


def gather_by_two(tmp_path: Path, happens: str) -> subprocess.CompletedProcess[str]:
    """Run an evaluation of two ranks, in the second of which this line runs first."""
    program = tmp_path / "gathered.py"
    program.write_text(GATHERED.format(happens=happens))
    return run_by_two(program)


def train_by_two(*args: Any, program: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `ram train` under torchrun, with two ranks."""
    command = [program] if program is not None else ["-m", "ram_agent"]
    return run_by_two(*command, "train", *args)


def run_by_two(*command: Any) -> subprocess.CompletedProcess[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*torchrun, "--nproc-per-node", "2", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def assert_same_run(path: Path, expected: Path) -> None:
    """Compare weights, metrics, the state for resuming, evaluation and picture, bit for bit."""
    for name in ("best", "last"):
        weights = [load_file(folder / f"{name}.safetensors") for folder in (path, expected)]
        torch.testing.assert_close(*weights, rtol=0, atol=0)
    assert (path / "fixations.png").read_bytes() == (expected / "fixations.png").read_bytes()
    assert without_seconds(RunFolder(path)) == without_seconds(RunFolder(expected))
    states = [RunFolder(folder).load_state() for folder in (path, expected)]
    for state in states:
        assert state.counters.pop("seconds") > 0
    torch.testing.assert_close(*states, rtol=0, atol=0)
    texts = [(folder / "evaluation.json").read_text() for folder in (path, expected)]
    results = [json.loads(text)["results"] for text in texts]
    assert results[0] == results[1]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on the digits in one process."""
    path = tmp_path_factory.mktemp("alone") / "run"
    main(["train", *DIGITS, "--out", str(path)])
    return path


# --- two ranks are one process ---------------------------------------------------------------


@not_on_windows
@pytest.mark.slow
def test_two_ranks_train_what_one_process_trains(alone: Path, tmp_path: Path) -> None:
    done = train_by_two(*DIGITS, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert_same_run(tmp_path / "run", alone)
    lines = done.stdout.splitlines()
    assert str(tmp_path / "run") in lines[0]
    assert sum("train error" in line for line in lines) == 11  # the first rank's alone
    config = RunFolder(tmp_path / "run").read_config()
    assert config["command"].startswith("torchrun --nnodes 1 --nproc-per-node 2 -m ram_agent train")


@not_on_windows
@pytest.mark.slow
def test_two_ranks_share_the_validation_games(tmp_path: Path) -> None:
    main(["train", *CATCH, "--out", str(tmp_path / "alone")])
    done = train_by_two(*CATCH, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert_same_run(tmp_path / "run", tmp_path / "alone")


@not_on_windows
def test_two_ranks_of_two_shards_differ_from_four_only_by_rounding(tmp_path: Path) -> None:
    settings = [*DIGITS, "--shards", "4", "--episodes", "256"]  # 8 updates
    main(["train", *settings, "--out", str(tmp_path / "alone")])
    done = train_by_two(*settings, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    runs = [tmp_path / name for name in ("run", "alone")]
    weights, expected = (load_file(run / "last.safetensors") for run in runs)
    torch.testing.assert_close(weights, expected, rtol=1e-3, atol=1e-4)
    (row,), (expected_row,) = (without_seconds(RunFolder(run)) for run in runs)
    assert row == pytest.approx(expected_row, rel=1e-3)


# --- stops -----------------------------------------------------------------------------------


@not_on_windows
@pytest.mark.slow
def test_a_signal_to_one_rank_stops_both_and_one_process_goes_on(
    alone: Path, tmp_path: Path
) -> None:
    program, out = tmp_path / "signalled.py", tmp_path / "run"
    program.write_text(SIGNALLED.format(rank=1, name="SIGTERM"))
    done = train_by_two(*DIGITS, "--out", out, program=program)
    assert done.returncode == 0, done.stderr
    assert f"ram train --resume {out}" in done.stdout
    assert RunFolder(out).load_state().counters["update"] == 50
    main(["train", "--resume", str(out)])
    assert_same_run(out, alone)


@not_on_windows
@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_rank_that_dies_stops_the_other_and_two_go_on(
    alone: Path, tmp_path: Path, lost: int
) -> None:
    program, out = tmp_path / "signalled.py", tmp_path / "run"
    program.write_text(SIGNALLED.format(rank=lost, name="SIGKILL"))
    done = train_by_two(*DIGITS, "--out", out, program=program)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("ram: ")]
    assert len(said) == 1, done.stderr
    assert f"{1 - lost} of 2" in said[0]
    assert "--resume" in said[0]
    assert RunFolder(out).load_state().counters["update"] == 48
    done = train_by_two("--resume", out)
    assert done.returncode == 0, done.stderr
    assert_same_run(out, alone)


@not_on_windows
@pytest.mark.slow
def test_shards_that_two_ranks_cannot_share(tmp_path: Path) -> None:
    settings, out = [*DIGITS, "--shards", "1", "--episodes", "32"], tmp_path / "run"
    done = train_by_two(*settings, "--out", out)
    assert done.returncode == 1
    complaint = "shards=1"
    assert done.stderr.count("ram: ") == done.stderr.count(complaint) == 1
    assert not out.exists()
    main(["train", *settings, "--out", str(out)])
    done = train_by_two("--resume", out)
    assert "shards=1" in done.stderr


# --- what they communicate -------------------------------------------------------------------


def test_a_process_alone() -> None:
    ranks = Ranks()
    assert ranks.is_first
    assert ranks.share(range(3)) == range(3)
    assert ranks.gather([1, 2]) == [1, 2]
    assert ranks.from_first(lambda: "made") == "made"
    assert ranks.average({"loss": 0.1}) == {"loss": 0.1}
    assert [ranks.any(flag) for flag in (False, True)] == [False, True]
    (tensor,) = ranks.average_tensors([torch.ones(2)])
    assert tensor.tolist() == [1, 1]


def test_items_are_shared_in_turn_and_gathered_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = [list(Ranks(rank, 3).share("abcde")) for rank in range(3)]
    assert hands == [["a", "d"], ["b", "e"], ["c"]]

    def gather(into: list[Any], results: list[str]) -> None:
        assert results == hands[1]
        into[:] = hands

    monkeypatch.setattr(dist, "all_gather_object", gather)
    assert Ranks(1, 3).gather(hands[1]) == list("abcde")


def test_averages_over_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_others(flat: torch.Tensor, group: Any) -> None:
        flat += 3 * torch.arange(len(flat))

    monkeypatch.setattr(dist, "all_reduce", add_others)
    means = Ranks(0, 2).average_tensors([torch.ones(1, 2), torch.ones(2)])
    assert [mean.tolist() for mean in means] == [[[0.5, 2]], [3.5, 5]]
    assert Ranks(0, 2).average({"loss": 1, "entropy": 2}) == {"loss": 0.5, "entropy": 2.5}


def test_a_rank_that_stops_responding(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_in_vain(flat: torch.Tensor, group: Any) -> None:
        raise RuntimeError("[/a/b.cc:81] Timed out waiting 60000ms for a send. Good luck!\nmore")

    monkeypatch.setattr(dist, "all_reduce", wait_in_vain)
    with pytest.raises(ConnectionError, match=r"2 of 3.*: Timed out [^.]*\.") as caught:
        Ranks(2, 3).any(False)
    assert "--resume" in str(caught.value)


@not_on_windows
@pytest.mark.slow
def test_a_rank_waits_for_the_long_games_of_another(tmp_path: Path) -> None:
    done = gather_by_two(tmp_path, "time.sleep(25)")
    assert done.stdout.splitlines() == ["[0, 1] True"] * 2, done.stderr


@not_on_windows
@pytest.mark.slow
def test_a_rank_that_dies_in_an_evaluation_is_noticed(tmp_path: Path) -> None:
    done = gather_by_two(tmp_path, "os._exit(3)")
    assert done.returncode == 1
    assert "ConnectionError: Rank 0 of 2" in done.stderr


@not_on_windows
@pytest.mark.slow
def test_two_ranks_stop_in_the_middle_of_games_and_one_process_goes_on(tmp_path: Path) -> None:
    # 60 updates with restarts after every 6; a game of 23 steps goes on over four segments.
    games = ["RAMCatch-v0", *TINY_AGENT, "--batch-size", "16", "--segment-length", "7"]
    games += ["--steps", "6720", "--validate-every", "672", "--validation-games", "20"]
    games += ["--shards", "2", "--passes", "2", "--minibatches", "2"]
    main(["train", *games, "--out", str(tmp_path / "alone")])
    program = tmp_path / "signalled.py"
    program.write_text(SIGNALLED.format(rank=1, name="SIGTERM"))
    done = train_by_two(*games, "--out", tmp_path / "run", program=program)
    assert "Stopped after 50 updates" in done.stdout, done.stderr
    tensors = RunFolder(tmp_path / "run").load_state().tensors
    for shard in range(2):  # of both ranks: two segments since the last restart
        assert tensors[f"environments.{shard}.locations"].shape == (14, 8, 2)
    main(["train", "--resume", str(tmp_path / "run")])
    assert_same_run(tmp_path / "run", tmp_path / "alone")
