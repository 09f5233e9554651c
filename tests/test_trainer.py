"""Training: what is shown, schedules, settings without effect, and the weights that are kept."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from small_trainings import (
    ALONE,
    PATTERNS,
    SHORT,
    SMALL,
    make_envs,
    make_game_trainer,
    make_trainer,
    three_patterns,
)

import ram_agent.trainer
import ram_envs
from ram_agent.agent import RAMAgent
from ram_agent.config import TrainConfig, replace_settings
from ram_agent.distributed import Ranks
from ram_agent.evaluation import Evaluation, evaluate
from ram_agent.play_mode import play_mode
from ram_agent.presets import PRESETS, preset
from ram_agent.run_folder import RunFolder
from ram_agent.segment_shard import SegmentShard
from ram_agent.trainer import Trainer
from ram_envs.wrappers import vector

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_averaged_agent_is_evaluated_as_it_is_validated() -> None:
    control = replace_settings(SHORT, locations="center", validation_sampled=True)
    trainer = make_trainer(control)
    assert play_mode(trainer.averaged_agent.info) == (False, "center")
    assert play_mode(trainer.agent.info) == (True, "learned")


def test_locations_and_shifts_are_not_confused() -> None:
    absolute, relative = make_envs(10), vector.RelativeGaze(make_envs(10), 0.2)
    for own, other in ((absolute, relative), (relative, absolute)):
        agent = Trainer(make_trainer().agent, own, own, SHORT).averaged_agent
        evaluate(agent, own)
        with pytest.raises(ValueError, match="RelativeGaze"):
            evaluate(agent, other)
        with pytest.raises(ValueError, match="RelativeGaze"):
            Trainer(agent, other, other, SHORT)
        evaluate(make_trainer().agent, other)  # new, it has learned neither


def test_an_agent_that_is_trained_further_loses_the_facts_of_its_earlier_training() -> None:
    agent = make_trainer(SHORT).agent
    agent.info = {"env_id": "RAMMNIST-v0", "validation_error": 0.5, "update": 9, "date": "2026"}
    trainer = Trainer(agent, make_envs(SHORT.batch_size), make_envs(24), SHORT)
    assert trainer.averaged_agent.info == {
        "env_id": "RAMMNIST-v0",
        "relative_gaze": False,
        "training": dataclasses.asdict(SHORT),
    }


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
        make_envs(10, dataset=(PATTERNS, three_patterns(), PATTERNS), split=split)
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


def test_metrics_are_json_that_others_can_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    # One episode to a shard: it has no spread.
    make_trainer(replace_settings(SHORT, batch_size=2, episodes=24), folder).train()
    for line in folder.metrics_path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # neither NaN nor Infinity


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
