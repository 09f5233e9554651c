"""Settings: the presets, what is refused, and the way through JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest

from ram_agent.config import (
    AgentConfig,
    GazeConfig,
    ObjectiveConfig,
    OptimizerConfig,
    ScheduleConfig,
    SegmentConfig,
    TrainConfig,
    config_from_json,
    flatten_settings,
    replace_settings,
)
from ram_agent.presets import GAMES, OTHER_PACKAGES, PRESETS, Preset, preset
from ram_agent.run_config import RunConfig
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.runs import choose_preset
from ram_agent.settings import RANGES, Checked, is_group, setting_names, type_hints
from ram_envs import GlimpseEnv, Retina
from ram_envs.atomic_files import write_json
from ram_envs.tasks.search import Search

GROUPS = (ObjectiveConfig, SegmentConfig, OptimizerConfig, GazeConfig, ScheduleConfig)


def test_default_preset_is_the_defaults() -> None:
    assert preset("default") == Preset(AgentConfig(), TrainConfig(), shards=2)


def test_a_preset_is_changed_by_the_names_of_settings() -> None:
    changed = preset("paper").change(hidden_size=8, learning_rate=0.5, shards=4)
    assert changed.agent == dataclasses.replace(preset("paper").agent, hidden_size=8)
    assert changed.training.optimizer.learning_rate == 0.5
    assert (changed.training.batch_size, changed.shards) == (20, 4)
    with pytest.raises(ValueError, match="hiden_size"):
        preset("paper").change(hiden_size=8)


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = RunConfig(
        RunEnv("RAMMNIST-v0", {"dataset": "digits", "num_glimpses": 3}),
        *preset("paper", "RAMMNIST-v0"),
        training_keywords={"distortion": 0.5},
        preset="paper",
        start_from="pretrained:mnist-6",
        images={"class_names": ["0", "1"]},
        provenance={"command": "ram train", "commit": "0123abc"},
    )
    folder = RunFolder(tmp_path)
    write_json(folder.config_path, run.to_json())
    assert RunConfig.read(folder) == run
    assert folder.read_config()["dataset"] == "digits"


def test_paper_preset_is_what_the_paper_says() -> None:
    agent, training, shards = preset("paper")
    assert (agent.hidden_size, agent.feature_size) == (256, 128)
    assert (agent.location_mean, agent.initialization, agent.pixel_scale) == ("linear", "torch", 1)
    assert (training.optimizer.update_rule, training.batch_size, shards) == ("sgd", 20, 1)
    assert training.schedule == ScheduleConfig("linear", warmup_updates=0)
    assert training.objective.location_reward == "reward"
    assert training.objective.supervision == "last_step"
    assert training.gaze == GazeConfig(0.1, 0.1, location_weight=1, location_warmup=0)
    # nothing that the paper does not have
    assert training.optimizer.average_decay == 0
    assert training.optimizer.head_rate == 1
    assert training.optimizer.max_grad_norm is None
    assert not training.objective.normalize_advantages


def test_default_preset_of_an_environment() -> None:
    agent, training, _ = preset("default")
    of_own_images = dataclasses.replace(agent, pixel_mean=None, pixel_scale=None)
    assert preset("default", "RAMClassification-v0") == (of_own_images, training, 2)
    assert preset("default", OTHER_PACKAGES).agent.pixel_scale is None
    assert preset("default", "RAMMNIST-v0") == (
        dataclasses.replace(agent, core="lstm", hidden_size=224, feature_size=256),
        replace_settings(training, episodes=2_300_000, weight_decay=0.3, location_std_end=0.03),
        2,
    )
    assert preset("paper", "RAMMNIST-v0") == preset("paper")


def test_default_presets_among_clutter() -> None:
    changes: dict[str, Any] = {"core": "lstm", "hidden_size": 224, "feature_size": 256}
    changes |= {"glimpse_network": "conv"}
    changes |= {"batch_size": 512, "learning_rate": 5e-3, "location_std_end": 0.03}
    two_digits = {"episodes": 4_000_000, "weight_decay": 0.05, "location_reward": "log_gain"}
    expected: dict[str, dict[str, Any]] = {
        "RAMTranslatedMNIST-v0": {"episodes": 3_000_000, "weight_decay": 0.1},
        "RAMClutteredMNIST-v0": {"episodes": 4_000_000, "weight_decay": 0.05},
        "RAMClutteredMNIST100-v0": {"episodes": 4_000_000, "weight_decay": 0.05},
        "RAMPairsMNIST-v0": two_digits,
        "RAMAdditionMNIST-v0": two_digits,
        "RAMMovingMNIST-v0": {"episodes": 4_000_000, "weight_decay": 0.05},
    }
    for env_id, others in expected.items():
        agent, training, shards = preset("default", env_id)
        settings = {**flat(AgentConfig()), **flat(TrainConfig())} | changes | others
        assert ({**flat(agent), **flat(training)}, shards) == (settings, 2)


def flat(config: Any) -> dict[str, Any]:
    return flatten_settings(dataclasses.asdict(config))


@pytest.mark.parametrize("name", PRESETS)
def test_catch_is_played_with_an_lstm(name: str) -> None:
    agent, training, shards = preset(name, "RAMCatch-v0")
    assert (agent.core, shards) == ("lstm", 1)
    assert preset(name).agent.core == "rectifier"
    assert training.segments.segment_length == 23  # a game
    assert training.steps == 20_000_000  # as many as the paper's


class NamedSearch(Search):
    """A task of a user's own, with labels."""

    def infos(self, state: Any) -> dict[str, Any]:
        count = len(state.steps)
        return {"label": (np.zeros(count, np.int64), np.ones(count, np.bool_))}


@pytest.mark.parametrize("name", PRESETS)
def test_games_of_a_users_own_learn_by_the_settings_of_games(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    gym.register("OwnSearch-v0", "ram_envs.envs.search:SearchEnv", kwargs={"num_distractors": 1})
    gym.register("OwnCatch-v0", "ram_envs.envs.catch:CatchEnv", kwargs={"num_balls": 3})
    gym.register("Named-v0", lambda **keywords: GlimpseEnv(NamedSearch(), Retina(8, 2)))
    gym.register("OwnMoving-v0", "ram_envs.envs.moving:MovingEnv", kwargs={"dataset": "digits"})
    for env_id in ("OwnSearch-v0", "OwnCatch-v0"):
        assert choose_preset(name, RunEnv(env_id)) == preset(name, GAMES) != preset(name)
    for env_id in ("Named-v0", "OwnMoving-v0"):
        assert choose_preset(name, RunEnv(env_id)) == preset(name)
    for env_id in ("RAMSearch-v0", "RAMCatch-v0", "RAMClutteredMNIST-v0"):
        expected = GAMES if (name, env_id) == ("paper", "RAMSearch-v0") else env_id
        assert choose_preset(name, RunEnv(env_id)) == preset(name, expected)
    agent, training, _ = preset(name, GAMES)
    assert agent.core == "lstm"
    if name == "default":
        assert (agent.pixel_mean, agent.glimpse_network) == (None, "conv")
        assert (training.optimizer.learning_rate, training.objective.entropy_weight) == (1e-3, 0.01)


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match="papr"):
        preset("papr")


def test_names_are_unique_over_all_groups() -> None:
    own = {field.name for field in dataclasses.fields(TrainConfig)} - {
        "objective",
        "segments",
        "optimizer",
        "gaze",
        "schedule",
    }
    in_groups = [name for group in GROUPS for name in setting_names(group)]
    names = [*own, *in_groups, *setting_names(AgentConfig)]
    assert len(names) == len(set(names))
    assert setting_names(TrainConfig) == own | set(in_groups)


def test_settings_are_replaced_in_their_groups() -> None:
    config = replace_settings(TrainConfig(), seed=3, learning_rate=0.5, location_std=0.4)
    assert config == TrainConfig(
        seed=3, optimizer=OptimizerConfig(learning_rate=0.5), gaze=GazeConfig(location_std=0.4)
    )
    assert flatten_settings(dataclasses.asdict(config))["learning_rate"] == 0.5


@pytest.mark.parametrize("name", PRESETS)
def test_configs_survive_json(name: str) -> None:
    for config in preset(name)[:2]:
        values = json.loads(json.dumps(dataclasses.asdict(config)))
        assert config_from_json(type(config), values) == config


@pytest.mark.parametrize(
    ("config_type", "values", "name"),
    [
        (AgentConfig, {"hiden_size": 3}, "hidden_size"),  # what it may have meant
        (AgentConfig, {"seed": 3}, "seed"),
        (TrainConfig, {"lr": 3}, "learning_rate"),
        (TrainConfig, {"epoch": 3}, "epochs"),
        (OptimizerConfig, {"momentum": 0.9}, "momentum"),
    ],
)
def test_unknown_setting(config_type: Any, values: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        config_from_json(config_type, values)
    with pytest.raises(ValueError, match=name):
        replace_settings(config_type(), **values)
    with pytest.raises(TypeError, match=name):
        config_type(**values)
    with pytest.raises(ValueError, match="momentum"):
        config_from_json(TrainConfig, {"optimizer": {"momentum": 0.9}})
    with pytest.raises(ValueError, match="momentun"):
        replace_settings(TrainConfig(), momentun=0.9)


IMPOSSIBLE: list[tuple[type[Any], str, Any]] = [
    (TrainConfig, "seed", -1),
    (TrainConfig, "seed", 2**63),
    (TrainConfig, "seed", 10**400),
    (TrainConfig, "seed", 1.5),
    (TrainConfig, "seed", True),
    (TrainConfig, "episodes", 0),
    (TrainConfig, "steps", 0),
    (TrainConfig, "validation_games", 0),
    (TrainConfig, "validation_sampled", 1),
    (TrainConfig, "epochs", 0),
    (TrainConfig, "epochs", math.inf),
    (TrainConfig, "batch_size", -1),
    (TrainConfig, "validate_every", 0),
    (TrainConfig, "validate_every", math.inf),
    (TrainConfig, "patience", 0),
    (TrainConfig, "objective", "gain"),
    (TrainConfig, "segments", 64),
    (TrainConfig, "optimizer", "adamw"),
    (TrainConfig, "gaze", None),
    (TrainConfig, "schedule", "constant"),
    (ObjectiveConfig, "supervision", "every-step"),
    (ObjectiveConfig, "location_reward", "Gain"),
    (ObjectiveConfig, "gain_discount", -0.5),
    (ObjectiveConfig, "normalize_advantages", 1),
    (ObjectiveConfig, "gae_lambda", -0.1),
    (ObjectiveConfig, "gae_lambda", 1.5),
    (ObjectiveConfig, "entropy_weight", -0.01),
    (ObjectiveConfig, "baseline_loss", "mse"),
    (ObjectiveConfig, "baseline_weight", -1.0),
    (SegmentConfig, "segment_length", 0),
    (SegmentConfig, "passes", 0),
    (SegmentConfig, "minibatches", 1.5),
    (SegmentConfig, "clip_range", 0.0),
    (SegmentConfig, "discount", 1.5),
    (SegmentConfig, "return_lambda", -0.5),
    (OptimizerConfig, "update_rule", "adamw"),
    (OptimizerConfig, "learning_rate", -0.1),
    (OptimizerConfig, "learning_rate", math.nan),
    (OptimizerConfig, "learning_rate", "0.1"),
    (OptimizerConfig, "head_rate", -0.1),
    (OptimizerConfig, "weight_decay", -0.1),
    (OptimizerConfig, "max_grad_norm", -1.0),
    (OptimizerConfig, "average_decay", 1.0),
    (OptimizerConfig, "average_decay", -0.5),
    (GazeConfig, "location_std", 0.0),
    (GazeConfig, "location_std_end", -0.2),
    (GazeConfig, "location_weight", math.nan),
    (GazeConfig, "location_warmup", None),
    (GazeConfig, "location_warmup", 200),
    (GazeConfig, "head_warmup", -0.1),
    (GazeConfig, "locations", "top"),
    (ScheduleConfig, "learning_rate_schedule", "constant"),
    (ScheduleConfig, "warmup_updates", -1),
    (AgentConfig, "glimpse_network", "cnn"),
    (AgentConfig, "conv_maps", 0),
    (AgentConfig, "core", "gru"),
    (AgentConfig, "hidden_size", 0),
    (AgentConfig, "hidden_size", 1.5),
    (AgentConfig, "feature_size", -3),
    (AgentConfig, "location_mean", "Tanh"),
    (AgentConfig, "initialization", "He"),
    (AgentConfig, "location_start", -1),
    (AgentConfig, "pixel_mean", 1.5),
    (AgentConfig, "pixel_scale", 0),
    (AgentConfig, "scale_factor", 0),
    (AgentConfig, "num_channels", 0),
    (AgentConfig, "baseline_shapes_state", "yes"),
]


@pytest.mark.parametrize(("config_type", "name", "value"), IMPOSSIBLE)
def test_impossible_setting(config_type: type[Any], name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name}="):
        config_type(**{name: value})


def test_every_setting_has_an_impossible_value() -> None:
    tried = {name for _, name, _ in IMPOSSIBLE}
    kinds = (TrainConfig, AgentConfig, *GROUPS)
    fields = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    assert tried == fields


def numbers_of(config_type: type[Checked]) -> set[str]:
    """Return the names of the settings that are numbers, those in groups included."""
    names: set[str] = set()
    for name, kind in type_hints(config_type).items():
        if is_group(kind):
            names |= numbers_of(kind)
        elif {int, float} & {kind, *get_args(kind)}:
            names.add(name)
    return names


def test_every_number_has_a_range() -> None:
    assert RANGES.keys() == numbers_of(TrainConfig) | numbers_of(AgentConfig)


def test_an_integer_is_a_float() -> None:
    assert AgentConfig(pixel_scale=10).pixel_scale == 10


def test_numbers_of_numpy_become_numbers_of_json() -> None:
    config = TrainConfig(
        seed=np.int64(3),  # type: ignore[arg-type]
        optimizer=OptimizerConfig(learning_rate=np.float32(0.5)),  # type: ignore[arg-type]
    )
    assert config == TrainConfig(seed=3, optimizer=OptimizerConfig(learning_rate=0.5))
    assert json.loads(json.dumps(dataclasses.asdict(config)))["seed"] == 3


def test_a_setting_outside_of_its_group() -> None:
    with pytest.raises(TypeError, match=r"optimizer=OptimizerConfig\(learning_rate"):
        TrainConfig(learning_rate=0.1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="distortion"):  # a keyword of the environments
        TrainConfig(distortion=2.0)  # type: ignore[call-arg]


def test_a_setting_of_a_file_outside_of_its_group() -> None:
    with pytest.raises(ValueError, match="group optimizer"):
        config_from_json(TrainConfig, {"learning_rate": 0.1})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 1  # type: ignore[misc]


def test_what_a_file_says_is_shown_short_and_plain() -> None:
    long = "\x1b[31m" + "x" * 10**5
    for values in ({long: 1}, {"core": long}, [long]):
        with pytest.raises(ValueError) as caught:  # noqa: PT011  any message, if it is short
            config_from_json(AgentConfig, values)
        assert len(str(caught.value)) < 600
        assert str(caught.value).isprintable()


def test_settings_need_no_torch() -> None:
    code = (
        "import sys, ram_agent.config; print({'torch', 'tyro', 'gymnasium'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
