"""Training: the same numbers whenever it is run, stopped or resumed; and it learns."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import re
import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from helpers import without_seconds

import ram_agent.objective
import ram_agent.trainer
import ram_envs
from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig, TrainConfig, replace_settings
from ram_agent.distributed import Ranks
from ram_agent.evaluation import Evaluation, evaluate
from ram_agent.play_mode import play_mode
from ram_agent.presets import PRESETS, preset
from ram_agent.run_folder import RunFolder
from ram_agent.segment_shard import SegmentShard
from ram_agent.signals import STOP_SIGNALS
from ram_agent.trainer import Trainer
from ram_agent.training_state import TrainingState
from ram_agent.weights import CheckpointError


def three_patterns() -> ram_envs.ImageDataset:
    """Stripes down, stripes across, two black quarters: 24 images of 8 × 8, 8 of each."""
    images = np.zeros((3, 8, 8), np.uint8)
    images[0, :, ::2] = 255
    images[1, ::2] = 255
    images[2, :4, :4] = images[2, 4:, 4:] = 255
    return ram_envs.ImageDataset(np.tile(images, (8, 1, 1)), np.tile(np.arange(3), 8))


def striped_squares() -> ram_envs.ImageDataset:
    """A 4 × 4 square at one of four places on 24 × 24; its stripes, down or across, are the class.

    The squares lie on a 4 × 4 grid. So from the center an agent sees in its coarse cells where the
    square is, and in none of its cells which way the stripes run.
    """
    square = np.zeros((2, 4, 4), np.uint8)
    square[0, :, ::2] = square[1, ::2] = 255
    images = np.zeros((2, 2, 2, 24, 24), np.uint8)
    for row, column in np.ndindex(2, 2):
        top, left = 4 + 12 * row, 4 + 12 * column
        images[row, column, :, top : top + 4, left : left + 4] = square
    return ram_envs.ImageDataset(np.tile(images.reshape(8, 24, 24), (8, 1, 1)), np.tile([0, 1], 32))


pytestmark = pytest.mark.usefixtures("one_thread")

PATTERNS = three_patterns()
SMALL = AgentConfig(hidden_size=64, feature_size=32)
SHORT = TrainConfig(episodes=120, batch_size=10, validate_every=1)  # 12 updates, 5 epochs


def make_envs(num_envs: int, dataset: ram_envs.ImageDataset = PATTERNS, **keywords: Any) -> Any:
    mode = AutoresetMode.DISABLED
    keywords: dict[str, Any] = {  # type: ignore[no-redef]
        "glimpse_size": 4,
        "num_glimpses": 3,
        "autoreset_mode": mode,
        **keywords,
    }
    return gym.make_vec(
        "RAMClassification-v0",
        num_envs=num_envs,
        dataset=dataset,
        **keywords,
    )


def make_trainer(
    config: TrainConfig = SHORT,
    folder: RunFolder | None = None,
    agent_config: AgentConfig = SMALL,
    shards: int = 2,
    **keywords: Any,
) -> Trainer:
    """Make a new agent and its trainer; the folder is made unless it is there."""
    train_envs = [make_envs(config.batch_size // shards, **keywords) for _ in range(shards)]
    torch.manual_seed(config.seed)
    spaces = train_envs[0].single_observation_space, train_envs[0].single_action_space
    agent = RAMAgent(*spaces, agent_config)
    if folder is not None and not folder.path.exists():
        folder.create({"training": dataclasses.asdict(config)})
    return Trainer(agent, train_envs, make_envs(24, **keywords), config, folder)


def test_the_averaged_agent_is_evaluated_as_it_is_validated() -> None:
    control = replace_settings(SHORT, locations="center", validation_sampled=True)
    trainer = make_trainer(control)
    assert play_mode(trainer.averaged_agent.info) == (False, "center")
    assert play_mode(trainer.agent.info) == (True, "learned")


def test_an_agent_that_is_trained_further_loses_the_facts_of_its_earlier_training() -> None:
    agent = make_trainer(SHORT).agent
    agent.info = {"env_id": "RAMMNIST-v0", "validation_error": 0.5, "update": 9, "date": "2026"}
    trainer = Trainer(agent, make_envs(SHORT.batch_size), make_envs(24), SHORT)
    assert trainer.averaged_agent.info == {
        "env_id": "RAMMNIST-v0",
        "training": dataclasses.asdict(SHORT),
    }


def weights(trainer: Trainer) -> dict[str, Any]:
    return {name: value.tolist() for name, value in trainer.agent.state_dict().items()}


# --- the same numbers ------------------------------------------------------------------------


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


# --- what is shown ---------------------------------------------------------------------------


def watch_resets(trainer: Trainer) -> list[dict[str, Any]]:
    """Return what the training environments are reset with: a list that grows."""
    resets: list[dict[str, Any]] = []
    for envs in [shard.envs for shard in trainer.shards]:

        def reset(envs: Any = envs, plain: Any = envs.reset, **keywords: Any) -> Any:
            resets.append(keywords)
            return plain(**keywords)

        envs.reset = reset  # type: ignore[method-assign]
    return resets


def test_each_epoch_is_a_fresh_permutation_of_all_images() -> None:
    trainer = make_trainer(shards=1)
    resets = watch_resets(trainer)
    trainer.train()
    shown = np.concatenate([reset["options"]["index"] for reset in resets])
    epochs = [epoch.tolist() for epoch in shown.reshape(5, 24)]  # updates of 10 run across them
    for epoch in epochs:
        assert sorted(epoch) == list(range(24))
    assert len({tuple(epoch) for epoch in [*epochs, range(24)]}) == 6


def test_shards_share_the_images_and_seeds_of_the_batch() -> None:
    shown = {}
    for shards in (1, 2, 5):
        trainer = make_trainer(shards=shards)
        resets = watch_resets(trainer)
        trainer.train_one_update()
        size = 10 // shards
        shown[shards] = {
            (index, reset["seed"] + row)
            for reset in resets
            for row, index in enumerate(reset["options"]["index"].tolist())
        }
        assert len(resets) == shards
        assert all(len(reset["options"]["index"]) == size for reset in resets)
    assert shown[1] == shown[2] == shown[5]


def test_environments_that_are_not_the_batch() -> None:
    agent = make_trainer().agent
    for sizes in ([8], [4, 6], [10, 10]):
        with pytest.raises(ValueError, match="batch_size=10"):
            Trainer(agent, [make_envs(size) for size in sizes], make_envs(24), SHORT)
    with pytest.raises(ValueError, match="2 ranks"):
        Trainer(agent, [make_envs(10)], make_envs(24), SHORT, ranks=Ranks(0, 2))


@pytest.mark.parametrize("place", ["train_envs", "validation_envs"])
@pytest.mark.parametrize(
    ("spoil", "error", "named"),
    [
        (lambda: gym.make("RAMCatch-v0"), TypeError, "gym.make_vec"),
        (lambda: make_envs(10, glimpse_size=5), ValueError, r"\(1, 5, 5\)"),
        (lambda: make_envs(10, autoreset_mode=AutoresetMode.NEXT_STEP), ValueError, "NextStep"),
        (lambda: make_envs(10, autoreset_mode=AutoresetMode.SAME_STEP), ValueError, "SameStep"),
        (lambda: None, TypeError, "None"),
    ],
)
def test_environments_that_cannot_be_played(
    place: str, spoil: Callable[[], Any], error: type[Exception], named: str
) -> None:
    trainer = make_trainer(shards=1)
    envs: dict[str, Any] = {"train_envs": make_envs(10), "validation_envs": make_envs(24)}
    with pytest.raises(error, match=named):
        Trainer(trainer.agent, **{**envs, place: spoil()}, config=SHORT)
    if place == "train_envs":  # among several
        with pytest.raises(error, match=named):
            Trainer(trainer.agent, **{**envs, place: [make_envs(5), spoil()]}, config=SHORT)


def test_environments_of_different_splits() -> None:
    fewer = ram_envs.ImageDataset(PATTERNS.images[:12], PATTERNS.labels[:12])
    trainer = make_trainer(shards=1)
    envs = [make_envs(5), make_envs(5, dataset=fewer)]
    with pytest.raises(ValueError, match="24, 12"):
        Trainer(trainer.agent, envs, make_envs(24), SHORT)


def test_validation_on_training_images_is_warned_of() -> None:
    train_envs, validation_envs = (
        make_envs(10, dataset=(PATTERNS, three_patterns(), PATTERNS), split=split)  # type: ignore[arg-type]
        for split in ("train", "validation")
    )
    agent = RAMAgent(train_envs.single_observation_space, train_envs.single_action_space, SMALL)
    Trainer(agent, train_envs, validation_envs, SHORT)
    with pytest.warns(UserWarning, match="split='validation'") as warned:
        Trainer(agent, train_envs, train_envs, SHORT)
    assert warned[0].filename == __file__
    same = make_envs(10)  # one data set for every split
    Trainer(agent, same, same, SHORT)


def test_one_vector_environment_is_one_shard() -> None:
    trainer = Trainer(make_trainer().agent, make_envs(10), make_envs(24), SHORT)
    assert [(shard.number, shard.envs.num_envs) for shard in trainer.shards] == [(0, 10)]


def test_ranks_play_the_shards_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace_settings(SHORT, batch_size=12)
    alone = make_trainer(config, shards=6)
    expected = watch_resets(alone)
    alone.train_one_update()
    expected.sort(key=lambda reset: reset["seed"])  # threads come in any order
    # Nobody else is there.
    monkeypatch.setattr(Ranks, "average_tensors", lambda ranks, tensors: tensors)
    for rank in range(3):
        envs = [make_envs(2), make_envs(2)]
        trainer = Trainer(alone.agent, envs, make_envs(24), config, ranks=Ranks(rank, 3))
        resets = watch_resets(trainer)
        trainer.train_one_update()
        resets.sort(key=lambda reset: reset["seed"])
        for played, reset in zip(resets, expected[2 * rank : 2 * rank + 2], strict=True):
            assert played["seed"] == reset["seed"]
            assert np.array_equal(played["options"]["index"], reset["options"]["index"])


# --- schedules -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [("cosine", [1, 0.8535534, 0.5, 0.1464466]), ("linear", [1, 0.75, 0.5, 0.25])],
)
def test_learning_rate_and_location_std_fall(schedule: Any, factors: list[float]) -> None:
    config = replace_settings(
        TrainConfig(),
        episodes=40,  # 4 updates
        batch_size=10,
        learning_rate=0.01,
        head_rate=0.3,
        head_warmup=0.5,
        learning_rate_schedule=schedule,
        location_std=0.3,
        location_std_end=0.1,
    )
    trainer = make_trainer(config)
    rates, location_rates, baseline_rates, stds = [], [], [], []
    for _ in range(4):
        trainer.train_one_update()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        location_rates.append(trainer.optimizer.param_groups[1]["lr"])
        baseline_rates.append(trainer.optimizer.param_groups[2]["lr"])
        stds.append(trainer.agent.location_std.item())
    assert rates == pytest.approx([0.01 * factor for factor in factors])
    assert baseline_rates == pytest.approx([0.003 * factor for factor in factors])
    rises = (0, 0.5, 1, 1)  # a head that is hardly paid must not wander
    expected = [0.003 * factor * rise for factor, rise in zip(factors, rises, strict=True)]
    assert location_rates == pytest.approx(expected)
    assert stds == pytest.approx([0.3, 0.25, 0.2, 0.15])
    assert trainer.averaged_agent.location_std.item() == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("warmup_updates", "update", "rate"),
    [
        (3, 0, 0.25),
        (3, 1, 0.4875),  # 2/4 · 39/40
        (3, 3, 0.925),  # 37/40
        (200, 0, 0.2),  # a tenth of training, 4 updates, at most
        (200, 4, 0.9),
        (0, 0, 1.0),
    ],
)
def test_learning_rate_rises_first(warmup_updates: int, update: int, rate: float) -> None:
    config = replace_settings(
        TrainConfig(),
        episodes=400,  # 40 updates
        batch_size=10,
        learning_rate=1.0,
        learning_rate_schedule="linear",
        warmup_updates=warmup_updates,
    )
    trainer = make_trainer(config)
    trainer.update = update
    trainer.train_one_update()
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(rate)


def test_length_of_training() -> None:
    # 24 images, batches of 10: an epoch is validated after 3 updates, not sooner
    for settings, num_updates, interval in (
        ({"episodes": 120}, 12, 3),
        ({"episodes": 121}, 13, 3),
        ({"episodes": 1}, 1, 3),
        ({"epochs": 2.5}, 6, 3),
        ({"epochs": 10, "validate_every": 61}, 24, 7),
    ):
        trainer = make_trainer(replace_settings(SHORT, **settings))
        assert (trainer.num_updates, trainer.validation_interval) == (num_updates, interval)


def test_least_number_of_validations() -> None:
    def intervals(trainer: Trainer, min_validations: int) -> list[int]:
        """Return the interval of validations, and those of restarts."""
        train_envs = [shard.envs for shard in trainer.shards]
        parts = trainer.agent, train_envs, trainer.validation_envs, trainer.config
        made = Trainer(*parts, min_validations=min_validations)
        restarts = [shard.restart_every for shard in made.shards if isinstance(shard, SegmentShard)]
        return [made.validation_interval, *restarts]

    # 24 updates, validated after every third; then 30 updates, after every seventh
    labels = make_trainer(replace_settings(SHORT, episodes=240))
    found = {number: intervals(labels, number) for number in (0, 8, 9, 24, 25)}
    assert found == {0: [3], 8: [3], 9: [2], 24: [1], 25: [3]}
    game = make_game_trainer(replace_settings(ALONE, steps=64 * 4 * 30, validate_every=64 * 4 * 7))
    assert intervals(game, 0) == [7, 7, 7]
    assert intervals(game, 10) == [3, 3, 3]


def test_epochs_need_a_split_of_images() -> None:
    with pytest.raises(ValueError, match="epochs=2"):
        make_game_trainer(replace_settings(ALONE, epochs=2))


# --- without labels --------------------------------------------------------------------------

SMALL_GAME = {"size": 5, "max_speed": 0.0, "glimpse_size": 5, "num_scales": 1}
ALONE = replace_settings(
    preset("default", "RAMCatch-v0").training,
    batch_size=64,
    segment_length=4,
    passes=1,
    minibatches=1,
    learning_rate=1e-2,
    warmup_updates=20,
    validate_every=64 * 4,
)


def make_game_trainer(config: TrainConfig, **keywords: Any) -> Trainer:
    """Make an agent that is to learn a game of four steps, in which the ball falls straight."""

    def make(num_envs: int) -> Any:
        mode = AutoresetMode.DISABLED
        keys = {**SMALL_GAME, **keywords}
        return gym.make_vec("RAMCatch-v0", num_envs=num_envs, autoreset_mode=mode, **keys)

    train_envs = [make(config.batch_size // 2) for _ in range(2)]
    torch.manual_seed(config.seed)
    spaces = train_envs[0].single_observation_space, train_envs[0].single_action_space
    agent_config = dataclasses.replace(
        preset("default", "RAMCatch-v0")[0],
        glimpse_network="linear",
        hidden_size=32,
        feature_size=32,
    )
    return Trainer(RAMAgent(*spaces, agent_config), train_envs, make(500), config)


@pytest.mark.slow
def test_it_learns_a_game_from_its_reward_alone() -> None:
    trainer = make_game_trainer(replace_settings(ALONE, steps=4 * 64 * 250))
    before = evaluate(trainer.agent, trainer.validation_envs, num_episodes=1000)
    while not trainer.is_over:
        trainer.train_one_update()
    after = evaluate(trainer.averaged_agent, trainer.validation_envs, num_episodes=1000)
    assert before.mean_return < 0.5  # a paddle that stays catches 2 of 6, or a little more
    assert after.mean_return > 0.9


def test_metrics_of_a_game() -> None:
    trainer = make_game_trainer(ALONE)
    with torch.no_grad():
        for head in (trainer.agent.choice_head, trainer.agent.baseline_head):
            head.weight.zero_()
            head.bias.zero_()
    metrics = trainer.train_one_update()
    assert metrics["entropy"] == pytest.approx(math.log(3))  # three moves, each as likely
    assert metrics["baseline_loss"] == pytest.approx(math.log(2))  # a probability of ½
    assert metrics["finished_episodes"] == 64
    assert 0 < metrics["train_return"] < 1
    assert "label_loss" not in metrics


@pytest.mark.slow
def test_labels_are_learned_from_the_reward_alone_if_so_configured() -> None:
    config = replace_settings(
        ALONE, segment_length=1, steps=64 * 250, supervision="none", validate_every=64 * 250
    )
    agent_config = dataclasses.replace(SMALL, baseline_shapes_state=True)
    trainer = make_trainer(config, agent_config=agent_config, num_glimpses=1, glimpse_size=8)
    metrics = trainer.train_one_update()
    assert {"choice_loss", "entropy"} <= metrics.keys()
    assert metrics["train_return"] < 0.6  # labels are drawn: two of three are wrong
    while not trainer.is_over:
        trainer.train_one_update()
    # Chance is 67 %; of a glimpse in a corner not even the best agent can tell.
    assert evaluate(trainer.averaged_agent, trainer.validation_envs).error < 15


@pytest.mark.parametrize(
    ("settings", "unused"),
    [
        ({"gae_lambda": 0.9}, "gae_lambda=0.9"),
        ({"entropy_weight": 0.01}, "entropy_weight=0.01"),
        ({"baseline_loss": "cross_entropy"}, "baseline_loss='cross_entropy'"),
        ({"location_reward": "reward", "gain_discount": 0.9}, "gain_discount=0.9"),
        ({"supervision": "none", "gain_discount": 0.9}, "gain_discount=0.9"),
        ({"supervision": "none", "location_reward": "log_gain"}, "location_reward='log_gain'"),
        ({"steps": 10**6}, "steps=1000000"),
        ({"supervision": "none", "episodes": 64}, "episodes=64"),
        ({"clip_range": 0.1}, r"clip_range=0\.1"),
        # These are read, or describe what happens.
        ({"gain_discount": 0.9}, None),
        ({"location_reward": "reward"}, None),
        ({"supervision": "none", "gae_lambda": 0.9, "location_reward": "reward"}, None),
        ({"supervision": "last_step"}, None),
    ],
)
def test_settings_without_effect_on_supervised_labels(
    settings: dict[str, Any], unused: str | None
) -> None:
    config = replace_settings(SHORT, **settings)
    if config.objective.supervision == "none":  # learned from segments
        episodes = settings.get("episodes", TrainConfig().episodes)
        config = replace_settings(config, episodes=episodes, steps=120, minibatches=1)
    with nullcontext() if unused is None else pytest.raises(ValueError, match=unused):
        make_trainer(config).train_one_update()


@pytest.mark.parametrize("name", PRESETS)
def test_settings_without_effect_on_a_game(name: str) -> None:
    config = replace_settings(preset(name, "RAMCatch-v0").training, batch_size=20)
    make_game_trainer(config).train_one_update()  # every preset is accepted
    for unused, named in (
        ({"gain_discount": 0.9}, r"gain_discount=0\.9"),
        ({"location_reward": "log_gain"}, "location_reward='log_gain'"),
    ):
        with pytest.raises(ValueError, match=named):
            make_game_trainer(replace_settings(config, **unused)).train_one_update()


def test_a_probability_cannot_stand_for_several_balls() -> None:
    trainer = make_game_trainer(ALONE, num_balls=3)
    with pytest.raises(ValueError, match="squared_error"):
        trainer.train_one_update()


def test_games_of_training_and_validation_are_not_those_of_the_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = make_game_trainer(replace_settings(ALONE, steps=64 * 4))
    seeds: list[tuple[int, int]] = []
    for envs in (*[shard.envs for shard in trainer.shards], trainer.validation_envs):
        unwrapped = envs.unwrapped
        reset = unwrapped.reset

        def noting(*, seed: int, reset: Any = reset, num: int = envs.num_envs, **rest: Any) -> Any:
            seeds.append((seed, seed + num))
            return reset(seed=seed, **rest)

        monkeypatch.setattr(unwrapped, "reset", noting)
    trainer.train()
    training, validation = seeds[:2], seeds[2:]
    assert all(first >= 2**24 and last <= 2**30 for first, last in training)
    assert abs(training[0][0] - training[1][0]) == 32  # no game is played twice
    assert [seed - 2**30 for seed, _ in validation] == [0, 500, 1000, 1500]


# --- one update ------------------------------------------------------------------------------

# Plain gradient descent.
PLAIN = replace_settings(
    preset("paper").training, batch_size=24, episodes=24 * 4, learning_rate=0.1, validate_every=1
)


def undecided_trainer(config: TrainConfig, **keywords: Any) -> Trainer:
    """Its agent gives every label the same probability after every glimpse, and so says 0."""
    trainer = make_trainer(config, shards=1, **keywords)
    with torch.no_grad():
        for head in (trainer.agent.choice_head, trainer.agent.baseline_head):
            head.weight.zero_()
            head.bias.zero_()
    return trainer


def test_metrics_of_an_agent_that_always_says_0() -> None:
    metrics = undecided_trainer(PLAIN).train_one_update()
    assert metrics["train_error"] == pytest.approx(200 / 3)
    assert metrics["label_loss"] == pytest.approx(math.log(3))
    assert metrics["location_reward"] == pytest.approx(1 / 3)  # 8 of 24 are right
    assert metrics["baseline_loss"] == pytest.approx(1 / 3)  # expected 0, got 1 of 3 times


def test_gain_pays_nothing_where_the_label_stays_as_probable_as_it_was() -> None:
    metrics = undecided_trainer(replace_settings(PLAIN, location_reward="gain")).train_one_update()
    assert metrics["train_error"] == pytest.approx(200 / 3)
    assert metrics["location_reward"] == 0
    assert metrics["baseline_loss"] == 0


def test_the_size_of_advantages_is_a_running_mean() -> None:
    config = replace_settings(PLAIN, normalize_advantages=True, learning_rate=1e-9)
    trainer = undecided_trainer(config)
    with torch.no_grad():
        trainer.agent.choice_head.bias[0] = 1.0  # it goes on to say 0
    trainer.train_one_update()
    assert trainer.advantage_square == pytest.approx(1 / 3)  # a third of the advantages is 1
    trainer.advantage_square = 0.01
    trainer.train_one_update()
    # 0.99 · 0.01 + 0.01 · 1/3
    assert trainer.advantage_square == pytest.approx(0.0132333, abs=1e-6)


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name.split(".")[0] for name in before if before[name] != after[name]}


def test_location_weight_rises_from_0() -> None:
    trainer = make_trainer(replace_settings(PLAIN, location_warmup=0.5))  # 4 updates
    before = weights(trainer)
    trainer.train_one_update()
    after = weights(trainer)
    assert "location_head" not in changed(before, after)
    assert "choice_head" in changed(before, after)
    trainer.train_one_update()
    assert "location_head" in changed(after, weights(trainer))


@pytest.mark.parametrize(("locations", "spread"), [("random", 3**-0.5), ("center", 0.0)])
def test_a_control_is_trained_and_validated_with_its_own_gaze(
    locations: Any, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(replace_settings(PLAIN, locations=locations), shards=1)
    looks: dict[str, list[Any]] = {}
    for name, envs in (
        ("training", trainer.shards[0].envs),
        ("validation", trainer.validation_envs),
    ):
        step, looks[name] = envs.step, []

        def note(action: Any, step: Any = step, noted: Any = looks[name]) -> Any:
            noted.append(np.array(action[0]))
            return step(action)

        monkeypatch.setattr(envs, "step", note)
    before = weights(trainer)
    trainer.train()
    assert "location_head" not in changed(before, weights(trainer))
    assert "choice_head" in changed(before, weights(trainer))
    for noted in looks.values():
        assert np.stack(noted).std() == pytest.approx(spread, abs=0.05)


def test_one_glimpse_trains_the_label_alone() -> None:
    trainer = make_trainer(PLAIN, num_glimpses=1)
    before = weights(trainer)
    metrics = trainer.train_one_update()
    assert changed(before, weights(trainer)) == {"glimpse_network", "core", "choice_head"}
    assert metrics["label_loss"] > 0
    assert metrics["location_loss"] == metrics["baseline_loss"] == metrics["location_reward"] == 0


@pytest.mark.parametrize("max_grad_norm", [0.001, None])
def test_long_gradients_are_shortened(max_grad_norm: float | None) -> None:
    config = replace_settings(PLAIN, learning_rate=1.0, max_grad_norm=max_grad_norm)
    trainer = make_trainer(config)
    before = torch.cat([parameter.detach().flatten() for parameter in trainer.agent.parameters()])
    trainer.train_one_update()
    after = torch.cat([parameter.detach().flatten() for parameter in trainer.agent.parameters()])
    length = (after - before).norm().item()
    if max_grad_norm is None:
        assert length > 0.1
    else:
        assert length == pytest.approx(0.001, rel=1e-3)


def test_weight_decay_shrinks_weights_beside_the_gradient() -> None:
    after = []
    for weight_decay in (0.0, 0.5):
        config = replace_settings(
            SHORT, learning_rate=0.01, warmup_updates=0, weight_decay=weight_decay
        )
        trainer = make_trainer(config)
        before = trainer.agent.choice_head.weight.detach().clone()
        trainer.train_one_update()
        after.append(trainer.agent.choice_head.weight.detach())
    torch.testing.assert_close(after[0] - after[1], 0.005 * before, rtol=1e-3, atol=1e-6)


def test_shards_average_to_the_batch() -> None:
    """Without noise on the locations, two shards learn what one does."""
    config = replace_settings(PLAIN, location_std=1e-6, location_std_end=1e-6, location_weight=0)
    results = []
    for shards in (1, 2, 3):
        trainer = make_trainer(config, shards=shards)
        metrics = trainer.train_one_update()
        results.append((trainer.agent.core.state_and_input.weight, metrics["label_loss"]))  # type: ignore[union-attr]
    for weight, loss in results[1:]:
        torch.testing.assert_close(weight, results[0][0], rtol=1e-4, atol=1e-5)
        assert loss == pytest.approx(results[0][1], rel=1e-4)


# --- averaged, best and last weights ---------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.999, 0.2])
def test_running_average_of_the_weights(decay: float) -> None:
    trainer = make_trainer(replace_settings(SHORT, average_decay=decay))
    history = []
    for _ in range(3):
        trainer.train_one_update()
        history.append(trainer.agent.choice_head.weight.detach().clone())
    first, second, third = history
    expected = {
        0.0: third,
        # the average is short at first: decay 2/11, then 3/12
        0.999: 0.25 * (2 / 11 * first + 9 / 11 * second) + 0.75 * third,
        0.2: 0.2 * (2 / 11 * first + 9 / 11 * second) + 0.8 * third,
    }[decay]
    torch.testing.assert_close(trainer.averaged_agent.choice_head.weight, expected)
    assert not torch.equal(first, third)


class ScriptedErrors:
    """Stands in for `evaluate`: the validation errors of a story."""

    def __init__(self, *errors: float) -> None:
        self.errors = list(errors)
        self.agents: list[RAMAgent] = []

    def __call__(self, agent: RAMAgent, envs: Any, **keywords: Any) -> Evaluation:
        self.agents.append(agent)
        return Evaluation(24, mean_return=0.0, return_spread=0.0, errors=(self.errors.pop(0),))


def test_stops_without_a_new_best_and_keeps_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = ScriptedErrors(50.0, 40.0, 45.0, 40.0)
    monkeypatch.setattr(ram_agent.trainer, "evaluate", validation)
    folder = RunFolder(tmp_path / "run")
    trainer = make_trainer(replace_settings(SHORT, episodes=1000, patience=2), folder)
    averages: list[torch.Tensor] = []
    assert trainer.train(
        lambda row: averages.append(trainer.averaged_agent.choice_head.weight.clone())
    )
    assert trainer.update == 12  # of 100: four validations, the last two no better than the second
    assert all(agent is trainer.averaged_agent for agent in validation.agents)
    assert trainer.best_score == -40.0

    best = RAMAgent.load(folder.path)
    assert (best.info["update"], best.info["validation_error"]) == (6, 40.0)
    assert torch.equal(best.choice_head.weight, averages[1])
    assert best.location_std.item() == pytest.approx(0.1935, abs=1e-6)  # 5 of 100 updates done
    last = RAMAgent.load(folder.path / "last")
    assert last.info["update"] == 12
    assert torch.equal(last.choice_head.weight, averages[3])

    resumed = make_trainer(replace_settings(SHORT, episodes=1000, patience=2), folder)
    resumed.resume()
    assert resumed.is_over


def test_without_patience_it_goes_on_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ram_agent.trainer, "evaluate", ScriptedErrors(1.0, 2.0, 3.0, 4.0))
    trainer = make_trainer(replace_settings(SHORT, patience=None))
    trainer.train()
    assert trainer.update == 12


def test_metrics_are_means_since_the_last_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    trainer = make_trainer(folder=folder)
    train_one_update = trainer.train_one_update

    def numbered_update() -> dict[str, float]:
        return {**train_one_update(), "train_error": float(trainer.update)}

    trainer.train_one_update = numbered_update  # type: ignore[method-assign]
    reported: list[dict[str, float]] = []
    trainer.train(reported.append)
    assert [row["train_error"] for row in reported] == [2, 5, 8, 11]
    assert [row["episodes"] for row in reported] == [30, 60, 90, 120]
    assert reported == folder.read_metrics()


def test_divergence_is_said_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    trainer = make_trainer(folder=folder)

    def spoil(row: dict[str, float]) -> None:
        if row["update"] == 6:
            trainer.agent.choice_head.bias.data.fill_(math.nan)

    with pytest.raises(FloatingPointError, match="nan"):
        trainer.train(spoil)
    assert [row["update"] for row in folder.read_metrics()] == [3, 6]
    resumed = make_trainer(folder=folder)
    resumed.resume()
    assert resumed.update == 6
    assert resumed.train()
    assert all(parameter.isfinite().all() for parameter in resumed.agent.parameters())


def test_a_gradient_that_is_not_finite_does_not_reach_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = make_trainer(replace_settings(PLAIN, max_grad_norm=1.0))
    before = weights(trainer)

    def steep(baselines: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        return (baselines * 0).abs().sum().sqrt()  # 0, with an infinite slope

    monkeypatch.setattr(ram_agent.objective, "baseline_loss", steep)
    with pytest.raises(FloatingPointError, match="diverged"):
        trainer.train_one_update()
    assert trainer.update == 0
    assert changed(before, weights(trainer)) == set()
    assert all(value.isfinite().all() for value in trainer.averaged.state_dict().values())


@pytest.mark.parametrize("learning_rate", [1e20, 1e36])
def test_weights_too_large_for_the_network(learning_rate: float) -> None:
    trainer = make_trainer(replace_settings(PLAIN, learning_rate=learning_rate))
    with pytest.raises(FloatingPointError, match="diverged"):
        trainer.train()


def test_metrics_are_json_that_others_can_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    # One episode to a shard: it has no spread.
    make_trainer(replace_settings(SHORT, batch_size=2, episodes=24), folder).train()
    for line in folder.metrics_path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # neither NaN nor Infinity


# --- it learns -------------------------------------------------------------------------------


def test_learns_three_patterns() -> None:
    config = TrainConfig(batch_size=32, episodes=32 * 150, validate_every=32 * 75)
    trainer = make_trainer(config)
    before = evaluate(trainer.averaged_agent, trainer.validation_envs).error
    trainer.train()
    assert before > 30
    assert evaluate(trainer.averaged_agent, trainer.validation_envs).error < 5


@pytest.mark.slow
def test_learns_three_patterns_as_the_paper_did() -> None:
    agent_config, config, _ = preset("paper")
    agent_config = dataclasses.replace(agent_config, hidden_size=64, feature_size=32)
    config = replace_settings(
        config, learning_rate=0.003, episodes=20 * 400, validate_every=20 * 200
    )
    trainer = make_trainer(config, agent_config=agent_config)
    trainer.train()
    errors = evaluate(trainer.averaged_agent, trainer.validation_envs).errors
    assert errors[-1] < 20
    assert trainer.averaged_agent.location_std.item() == pytest.approx(0.1)


@pytest.mark.slow
def test_learns_to_look_where_the_answer_is() -> None:
    config = replace_settings(
        TrainConfig(),
        batch_size=64,
        learning_rate=3e-3,
        location_weight=0.5,
        episodes=64 * 250,
        validate_every=64 * 150,
    )
    trainer = make_trainer(
        config,
        dataset=striped_squares(),
        glimpse_size=6,
        num_scales=3,
        num_glimpses=2,
        initial_location=(0, 0),
    )
    trainer.train()
    agent, envs = trainer.averaged_agent, trainer.validation_envs
    learned = evaluate(agent, envs).errors
    assert learned[0] == 50  # from the center nobody can tell
    assert learned[1] < 20
    assert evaluate(agent, envs, gaze="center").errors == (50, 50)
    assert evaluate(agent, envs, gaze="random").error > 25


# --- custom modules --------------------------------------------------------------------------


class Dropping(torch.nn.Module):
    """Drops half of its features in training; one of its layers is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = torch.nn.Linear(18, 64)
        self.unused = torch.nn.Linear(2, 2)
        self.modes: list[bool] = []

    def forward(self, glimpses: torch.Tensor, locations: torch.Tensor) -> torch.Tensor:
        self.modes.append(self.training)
        inputs = torch.cat([glimpses.flatten(1), locations], 1)
        features: torch.Tensor = torch.nn.functional.dropout(
            self.pixels(inputs).relu(), training=self.training
        )
        return features


def test_a_custom_module_is_in_training_mode_for_updates_alone() -> None:
    envs = make_envs(10)
    network = Dropping()
    spaces = envs.single_observation_space, envs.single_action_space
    agent = RAMAgent(*spaces, AgentConfig(hidden_size=64), glimpse_network=network)
    unused = network.unused.weight.tolist()
    agent.train()
    trainer = Trainer(agent, envs, make_envs(24), SHORT)
    assert not trainer.averaged_agent.training
    network.modes.clear()
    trainer.train_one_update()
    assert set(network.modes) == {True}
    assert not agent.training
    network.modes.clear()
    errors = {evaluate(agent, make_envs(24)).errors for _ in range(2)}
    assert len(errors) == 1
    assert set(network.modes) == {False}
    # Weight decay alone changes a layer that is not used.
    ratio = torch.tensor(network.unused.weight.tolist()) / torch.tensor(unused)
    assert ratio.std() < 1e-4


def test_frozen_parameters_keep_their_values() -> None:
    trainer = make_trainer()
    network = trainer.agent.glimpse_network.requires_grad_(False)
    frozen = Trainer(trainer.agent, make_envs(10), make_envs(24), SHORT)
    before = {name: value.tolist() for name, value in network.state_dict().items()}
    head = trainer.agent.choice_head.weight.tolist()
    frozen.train_one_update()
    assert {name: value.tolist() for name, value in network.state_dict().items()} == before
    assert trainer.agent.choice_head.weight.tolist() != head
    state = frozen.state_dict()
    frozen.train_one_update()
    frozen.load_state_dict(state)
    assert frozen.update == 1


# --- what is measured ------------------------------------------------------------------------


class Scored(gym.vector.VectorWrapper):
    """A right label is worth 3, a wrong one −3."""

    def step(self, actions: Any) -> Any:
        observation, rewards, ended, truncated, infos = super().step(actions)
        return observation, np.where(ended, 6 * rewards - 3, 0), ended, truncated, infos


def test_the_training_error_does_not_depend_on_rewards() -> None:
    errors = []
    for wrap in (lambda envs: envs, Scored):
        torch.manual_seed(0)
        envs = wrap(make_envs(10))
        agent = RAMAgent(envs.single_observation_space, envs.single_action_space, SMALL)
        metrics = Trainer(agent, envs, make_envs(24), SHORT).train_one_update()
        errors.append(metrics["train_error"])
    assert errors[0] == errors[1]
    assert 0 < errors[0] <= 100


def test_validation_games_have_no_effect_on_images() -> None:
    with pytest.raises(ValueError, match="validation_games=5"):
        make_trainer(replace_settings(SHORT, validation_games=5))
    make_trainer(replace_settings(SHORT, validation_sampled=True))
    with pytest.raises(ValueError, match="validation_games=5"):
        make_trainer(
            replace_settings(SHORT, supervision="none", episodes=3_500_000, validation_games=5)
        )
