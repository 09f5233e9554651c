"""Settings: the presets, what is refused, and the way through JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from ram_agent.config import PRESETS, AgentConfig, TrainConfig, config_from_json, preset


def test_default_preset_is_the_defaults() -> None:
    assert preset("default") == (AgentConfig(), TrainConfig())


def test_paper_preset_is_what_the_paper_says() -> None:
    agent, training = preset("paper")
    assert (agent.hidden_size, agent.feature_size) == (256, 128)
    assert (agent.location_mean, agent.initialization, agent.pixel_scale) == ("linear", "torch", 1)
    assert (training.optimizer, training.batch_size, training.schedule) == ("sgd", 20, "linear")
    assert (training.pay, training.supervision) == ("reward", "last_step")
    assert training.location_std == training.location_std_end
    # nothing that the paper does not have
    assert training.warmup_updates == 0
    assert training.location_warmup == training.head_warmup == 0
    assert training.average_decay == 0
    assert training.head_rate == 1
    assert training.location_weight == 1
    assert training.max_grad_norm is None
    assert not training.normalize_advantages


def test_default_preset_of_an_environment() -> None:
    agent, training = preset("default")
    assert preset("default", "RAMMovingMNIST-v0") == (agent, training)
    assert preset("default", "RAMMNIST-v0") == (
        dataclasses.replace(agent, core="lstm", hidden_size=224, feature_size=256),
        dataclasses.replace(training, episodes=2_300_000, weight_decay=0.3, location_std_end=0.03),
    )
    assert preset("paper", "RAMMNIST-v0") == preset("paper")


@pytest.mark.parametrize("name", PRESETS)
def test_catch_is_played_with_an_lstm(name: str) -> None:
    agent, training = preset(name, "RAMCatch-v0")
    assert agent.core == "lstm"
    assert preset(name)[0].core == "rectifier"
    assert training.episodes * 23 >= 20_000_000 - 23  # frames, as many as the paper's


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match=r"'papr': expected one of default, paper"):
        preset("papr")


@pytest.mark.parametrize("name", PRESETS)
def test_configs_survive_json(name: str) -> None:
    for config in preset(name):
        values = json.loads(json.dumps(dataclasses.asdict(config)))
        assert config_from_json(type(config), values) == config


@pytest.mark.parametrize(
    ("config_type", "values", "message"),
    [
        (AgentConfig, {"hiden_size": 3}, r"AgentConfig has no setting 'hiden_size'. Did you mean "),
        (TrainConfig, {"lr": 3}, r"TrainConfig has no setting 'lr'.* another version"),
    ],
)
def test_unknown_setting(config_type: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_from_json(config_type, values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("episodes", 0),
        ("batch_size", -1),
        ("learning_rate", -0.1),
        ("learning_rate", math.nan),
        ("location_std", 0.0),
        ("location_std_end", -0.2),
        ("validate_every", 0),
        ("validate_every", math.inf),
        ("epochs", 0),
        ("epochs", math.inf),
        ("patience", 0),
        ("max_grad_norm", -1.0),
        ("seed", -1),
        ("warmup_updates", -1),
        ("head_rate", -0.1),
        ("weight_decay", -0.1),
        ("gain_discount", -0.5),
        ("location_weight", math.nan),
        ("parts", 0),
        ("entropy_weight", -0.01),
        ("head_warmup", -0.1),
        ("baseline_weight", -1.0),
        ("gae_lambda", -0.1),
        ("gae_lambda", 1.5),
        ("average_decay", 1.0),
        ("average_decay", -0.5),
    ],
)
def test_impossible_setting(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name}={value}: expected"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(
    "name", ["hidden_size", "feature_size", "pixel_scale", "scale_factor", "num_channels"]
)
def test_network_without_width(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}=0: expected a positive number"):
        AgentConfig(**{name: 0})


def test_batch_that_cannot_be_split() -> None:
    with pytest.raises(ValueError, match=r"batch_size=10 cannot be split into parts=4"):
        TrainConfig(batch_size=10, parts=4)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 1  # type: ignore[misc]


def test_a_start_below_nothing() -> None:
    with pytest.raises(ValueError, match="location_start=-1: expected 0 or more"):
        AgentConfig(location_start=-1)


def test_what_a_file_says_is_shown_short_and_plain() -> None:
    long = "\x1b[31m" + "x" * 10**5
    for refuse in (
        lambda: config_from_json(AgentConfig, {long: 1}),
        lambda: config_from_json(AgentConfig, {"core": long}),
        lambda: config_from_json(AgentConfig, [long]),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=r"expected|another version") as caught:
            refuse()
        assert len(str(caught.value)) < 600
        assert str(caught.value).isprintable()
