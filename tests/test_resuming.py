"""Training gives the same numbers whenever it is run, stopped, killed or resumed."""

from __future__ import annotations

import errno
import math
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import without_seconds
from small_trainings import (
    SHORT,
    make_trainer,
    weights,
)

from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig, replace_settings
from ram_agent.distributed import Ranks
from ram_agent.run_folder import RunFolder
from ram_agent.signals import STOP_SIGNALS
from ram_agent.trainer import Trainer
from ram_agent.training_state import TrainingState
from ram_agent.weights import CheckpointError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_same_seed_same_weights(tmp_path: Path) -> None:
    trainers, folders = [], []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        folders.append(RunFolder(tmp_path / name))
        trainers.append(make_trainer(replace_settings(SHORT, seed=seed), folders[-1]))
        torch.manual_seed(len(trainers))  # of no concern once training begins
        assert trainers[-1].train()
        assert trainers[-1].update == 12
    assert weights(trainers[0]) == weights(trainers[1])
    assert without_seconds(folders[0]) == without_seconds(folders[1])
    assert weights(trainers[0]) != weights(trainers[2])


@pytest.mark.parametrize("sent", STOP_SIGNALS)
@pytest.mark.parametrize("stop_after", [1, 5, 6])  # validations are after 3, 6, 9 and 12
def test_stopped_and_resumed_is_as_if_not_stopped(
    tmp_path: Path, stop_after: int, sent: signal.Signals
) -> None:
    whole = make_trainer(folder=RunFolder(tmp_path / "whole"))
    assert whole.train()

    folder = RunFolder(tmp_path / "stopped")
    stopped = make_trainer(folder=folder)
    train_one_update = stopped.train_one_update

    def update_and_interrupt() -> dict[str, float]:
        metrics = train_one_update()
        if stopped.update == stop_after:
            signal.raise_signal(sent)
        return metrics

    stopped.train_one_update = update_and_interrupt  # type: ignore[method-assign]
    assert not stopped.train()
    assert stopped.update == stop_after
    assert [row["update"] for row in folder.read_metrics()] == [3, 6][: stop_after // 3]

    resumed = make_trainer(folder=folder)
    with torch.no_grad():
        for parameter in resumed.agent.parameters():
            parameter.fill_(0.5)  # all comes from the checkpoint
    resumed.resume()
    assert resumed.update == stop_after
    assert resumed.train()

    assert weights(resumed) == weights(whole)
    assert without_seconds(folder) == without_seconds(RunFolder(tmp_path / "whole"))
    assert [row["update"] for row in folder.read_metrics()] == [3, 6, 9, 12]
    for name in ("best.safetensors", "last.safetensors"):
        assert (folder.path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    states = [trainer.state_dict() for trainer in (resumed, whole)]
    for state in states:
        assert state.counters.pop("seconds") > 0
    torch.testing.assert_close(*states, rtol=0, atol=0)


class Killed(BaseException):
    """Stands for a SIGKILL: nobody catches it."""


class Writes:
    """Counts the files that are put in place and the rows that are added, and kills at one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.kill_at: tuple[int, str] | None = None
        replace, append = os.replace, RunFolder.append_metrics

        def killing_replace(source: Any, target: Any) -> None:
            self.come("before")
            replace(source, target)
            self.come("after")

        def killing_append(folder: RunFolder, row: dict[str, float]) -> None:
            self.come("before")
            append(folder, row)
            self.come("after")

        monkeypatch.setattr(os, "replace", killing_replace)
        monkeypatch.setattr(RunFolder, "append_metrics", killing_append)

    def come(self, when: str) -> None:
        self.count += when == "before"
        if self.kill_at == (self.count, when):
            raise Killed


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_write_and_resumed_is_as_if_not_killed(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace_settings(SHORT, episodes=60)  # 6 updates, validations after 3 and 6
    whole = RunFolder(tmp_path / "whole")
    writes = Writes(monkeypatch)
    make_trainer(config, whole).train()
    # config.json, the first checkpoint, and at each validation a row, best (where it is the best),
    # last and the checkpoint.
    assert writes.count in (1 + 1 + 2 * 4, 1 + 1 + 2 * 4 - 1)
    for number in range(2, writes.count + 1):
        folder = RunFolder(tmp_path / f"{number}")
        writes.count, writes.kill_at = 0, (number, when)
        with pytest.raises(Killed):
            make_trainer(config, folder).train()
        writes.kill_at = None
        folder.unlock()
        for name in ("best", "last"):
            if (folder.path / f"{name}.safetensors").exists():
                RAMAgent.load(folder.path / name)

        resumed = make_trainer(config, RunFolder(folder.path))
        resumed.resume()
        assert resumed.train()
        assert without_seconds(folder) == without_seconds(whole)
        for name in ("best.safetensors", "last.safetensors"):
            assert (folder.path / name).read_bytes() == (whole.path / name).read_bytes()
        states = [one.load_state() for one in (folder, whole)]
        for state in states:
            state.counters["seconds"] = 0
        torch.testing.assert_close(*states, rtol=0, atol=0)


def test_a_full_disk_stops_the_run_and_leaves_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    make_trainer(folder=whole).train()
    trainer = make_trainer(folder=folder)
    fsync = os.fsync

    def fill(row: dict[str, float]) -> None:
        def fail(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        if row["update"] == 6:
            monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(OSError, match=r"No space left .* --resume " + re.escape(str(folder.path))):
        trainer.train(fill)
    monkeypatch.setattr(os, "fsync", fsync)
    assert RAMAgent.load(folder.path / "last").info["update"] == 6
    resumed = make_trainer(folder=folder)
    resumed.resume()
    assert resumed.update == 6
    assert resumed.train()
    assert weights(resumed) == weights(make_resumed(whole))
    assert without_seconds(folder) == without_seconds(whole)


def make_resumed(folder: RunFolder) -> Trainer:
    trainer = make_trainer(folder=folder)
    trainer.resume()
    return trainer


def test_a_run_that_trains_is_not_resumed_by_another(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    make_trainer(folder=folder).train()
    other = make_trainer(folder=RunFolder(folder.path))
    for use in (other.resume, other.train):
        with pytest.raises(BlockingIOError, match="run"):
            use()


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda tensors, counters: counters.update(more=3), "more"),
        (lambda tensors, counters: counters.update(update="3"), "'3'"),
        (lambda tensors, counters: counters.update(best_score=None), "None"),
        (lambda tensors, counters: tensors.pop("agent.choice_head.bias"), "choice_head.bias"),
        (lambda tensors, counters: tensors.update(more=torch.ones(3)), "more"),
        (
            lambda tensors, counters: tensors["agent.choice_head.bias"].fill_(math.nan),
            "choice_head.bias",
        ),
        (
            lambda tensors, counters: tensors.update({"averaged.n_averaged": torch.ones(3)}),
            "n_averaged",
        ),
        (
            lambda tensors, counters: tensors.update({"optimizer.0.exp_avg": torch.ones(3)}),
            "optimizer.0.exp_avg",
        ),
        (lambda tensors, counters: tensors.pop("optimizer.1.step"), "optimizer.1.step"),
        (
            lambda tensors, counters: tensors.update({"optimizer.99.step": torch.ones(())}),
            "optimizer.99.step",
        ),
    ],
)
def test_resume_refuses_a_state_that_does_not_fit(tmp_path: Path, spoil: Any, named: str) -> None:
    folder = RunFolder(tmp_path / "run")
    make_trainer(folder=folder).train()
    state = folder.load_state()
    spoil(*state)
    folder.save_state(state)
    with pytest.raises(CheckpointError, match=r"resume\.safetensors .*" + re.escape(named)):
        make_trainer(folder=folder).resume()


def test_resume_refuses_the_state_of_another_optimizer(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    make_trainer(folder=folder).train()
    with pytest.raises(CheckpointError, match="momentum_buffer"):
        make_trainer(replace_settings(SHORT, update_rule="sgd"), folder).resume()


def test_a_signal_while_ranks_are_asked_stops_them_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = make_trainer()

    def ask(ranks: Ranks, flag: bool) -> bool:
        if trainer.update == 5 and not flag:
            signal.raise_signal(signal.SIGTERM)  # the others have been told that there was none
        return flag

    monkeypatch.setattr(Ranks, "any", ask)
    assert not trainer.train()
    assert trainer.update == 6


def test_a_signal_in_the_last_update_does_not_save_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(folder=RunFolder(tmp_path / "run"))
    saved: list[int] = []  # the other ranks, which heard no signal, would not save with this one
    monkeypatch.setattr(RunFolder, "save_state", lambda folder, state: saved.append(trainer.update))

    def interrupt(row: dict[str, float]) -> None:
        if row["update"] == 12:
            signal.raise_signal(signal.SIGTERM)

    assert trainer.train(on_update=interrupt)
    assert saved[-2:] == [9, 12]


def test_resuming_drops_rows_that_the_checkpoint_does_not_know(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    make_trainer(folder=folder).train()
    checkpoint = folder.load_state()
    folder.append_metrics({"update": 15})  # then the machine went down
    make_trainer(folder=folder).resume()
    assert [row["update"] for row in folder.read_metrics()] == [3, 6, 9, 12]
    assert checkpoint.counters["update"] == 12


def test_stopped_and_gone_on_with_is_as_if_not_stopped() -> None:
    whole, stopped = make_trainer(), make_trainer()
    whole.train()

    def interrupt(row: dict[str, float]) -> None:
        if row["update"] == 6:
            signal.raise_signal(signal.SIGINT)

    assert not stopped.train(interrupt)
    assert stopped.update == 6
    assert stopped.train()
    assert weights(stopped) == weights(whole)


def test_resuming_another_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    make_trainer(folder=folder).train()
    wider = make_trainer(folder=folder, agent_config=AgentConfig(hidden_size=65, feature_size=32))
    with pytest.raises(CheckpointError, match=r"65"):
        wider.resume()
    folder.save_state(TrainingState({}, {"update": 3}))
    with pytest.raises(CheckpointError, match="agent"):
        make_trainer(folder=folder).resume()


def test_signals_are_handled_as_before_once_training_ends() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    during = []
    make_trainer().train(lambda row: during.append(signal.getsignal(signal.SIGINT)))
    assert before[0] not in during
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_trains_in_a_thread_of_the_users() -> None:
    trainer = make_trainer()
    thread = threading.Thread(target=trainer.train)
    thread.start()
    thread.join()
    assert trainer.update == 12
