"""One update of training: its losses, gradients and metrics; and many of them: it learns."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from small_trainings import SHORT, make_envs, make_trainer, weights

import ram_agent.objective
import ram_envs
from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig, TrainConfig, replace_settings
from ram_agent.evaluation import evaluate
from ram_agent.presets import preset
from ram_agent.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")


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


# --- it learns -------------------------------------------------------------------------------


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
