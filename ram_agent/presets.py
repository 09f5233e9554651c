"""Presets: the settings of a training in each environment, by name."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

from ram_agent.config import AgentConfig, TrainConfig, flatten_settings, replace_settings
from ram_agent.settings import setting_names
from ram_agent.unused_settings import UNSUPERVISED, UNUSED
from ram_envs.arguments import check_arguments


class Preset(NamedTuple):
    """The settings of a training in one environment.

    shards  in how many parts a batch is played and learned from, each in a thread of its own
    """

    agent: AgentConfig
    training: TrainConfig
    shards: int

    @property
    def values(self) -> dict[str, Any]:
        """The settings of the agent and the training, by name."""
        return flatten_settings(asdict(self.agent) | asdict(self.training))

    def change(self, **changes: Any) -> Preset:
        """Return a copy with the given settings of the agent and the training, or shards, changed.

        Raises:
            ValueError: for a setting that does not exist, or a wrong value.
        """
        shards = changes.pop("shards", self.shards)
        of_agent = {name: changes.pop(name) for name in setting_names(AgentConfig) & changes.keys()}
        return Preset(
            replace_settings(self.agent, **of_agent),
            replace_settings(self.training, **changes),
            shards,
        )


# As the paper says. What it leaves open (rate, spread of locations) was found by experiment.
PAPER = {
    "location_mean": "linear",
    "initialization": "torch",
    "pixel_scale": 1.0,
    "shards": 1,
    "batch_size": 20,
    "update_rule": "sgd",
    "learning_rate": 0.01,
    "head_rate": 1.0,
    "learning_rate_schedule": "linear",
    "warmup_updates": 0,
    "max_grad_norm": None,
    "average_decay": 0.0,
    "location_std": 0.1,
    "location_std_end": 0.1,
    "location_reward": "reward",
    "supervision": "last_step",
    "location_weight": 1.0,
    "location_warmup": 0.0,
    "normalize_advantages": False,
}
PRESETS: dict[str, dict[str, Any]] = {"default": {}, "paper": PAPER}
SHARDS = 2

# A wider glimpse network and an LSTM learn more from each canvas than their time costs.
WIDE_LSTM: dict[str, Any] = {"core": "lstm", "hidden_size": 224, "feature_size": 256}
# Larger batches take less time per canvas, which helps where many are needed.
LARGE_BATCH = {"batch_size": 512, "learning_rate": 5e-3}
# Shapes among clutter are learned from fewer canvases with convolutions (docs/recipe.md).
CLUTTERED = {
    **WIDE_LSTM,
    **LARGE_BATCH,
    "glimpse_network": "conv",
    "episodes": 4_000_000,
    "weight_decay": 0.05,
    "location_std_end": 0.03,
}

# Images without a preset of their own: their pixels are measured before training.
MEASURED: dict[str, Any] = {"pixel_mean": None, "pixel_scale": None}

# Games of any length: what is common for PPO.
GAME: dict[str, Any] = {
    "core": "lstm",
    "location_start": 0.1,
    "baseline_shapes_state": True,
    "head_rate": 1.0,
    "max_grad_norm": 0.5,
    "gae_lambda": 0.95,
    "entropy_weight": 0.01,
    "patience": None,
}
# An item looks the same wherever it lies in the glimpse, so convolutions learn to read it and to
# aim at it in fewer steps.
GLIMPSE_GAME: dict[str, Any] = {
    **GAME,
    "glimpse_network": "conv",
    "conv_maps": 8,
    "hidden_size": 128,
    "feature_size": 128,
    "scale_factor": 2.0,
    "batch_size": 128,
    "segment_length": 32,
    "discount": 0.97,
    "learning_rate": 1e-3,
    "location_std": 0.3,
    "location_std_end": 0.05,
    "location_weight": 1.0,
    "location_warmup": 0.0,
    "validate_every": 500_000,
    "validation_games": 500,
}
# Each stands for all ids of a kind that have no settings of their own.
GAMES = "games"  # glimpses without labels
OTHER_PACKAGES = "of other packages"  # pictures, which are looked at through the retina

# What a preset changes for one environment. The less is random in a canvas, the sooner an agent
# memorizes canvases, and the more its weights decay; the canvases of RAMMNIST-v0 are the images.
ENV_SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("default", "RAMMNIST-v0"): {
        **WIDE_LSTM,
        "episodes": 2_300_000,
        "weight_decay": 0.3,
        "location_std_end": 0.03,
    },
    ("default", "RAMTranslatedMNIST-v0"): {
        **CLUTTERED,
        "episodes": 3_000_000,
        "weight_decay": 0.1,
    },
    ("default", "RAMClutteredMNIST-v0"): CLUTTERED,
    ("default", "RAMClutteredMNIST100-v0"): CLUTTERED,
    # Until both digits are read, the true label's probability hardly rises.
    ("default", "RAMPairsMNIST-v0"): {**CLUTTERED, "location_reward": "log_gain"},
    ("default", "RAMAdditionMNIST-v0"): {**CLUTTERED, "location_reward": "log_gain"},
    # A shift of the gaze moves everything in the glimpse, so the gaze stays calm until the agent
    # can play: its noise is less than a pixel in 84, and its training begins slowly.
    ("default", OTHER_PACKAGES): {
        **GAME,
        **MEASURED,
        "glimpse_network": "conv",
        "conv_maps": 8,
        "feature_size": 256,
        "scale_factor": 2.0,
        "steps": 10_000_000,
        "batch_size": 32,
        "learning_rate": 5e-4,
        "warmup_updates": 20,
        "location_std": 0.02,
        "location_std_end": 0.02,
        "location_weight": 0.01,
        "location_warmup": 1.0,
        "head_warmup": 1.0,
        "baseline_weight": 0.5,
        "validate_every": 500_000,
        "validation_games": 32,
        # An agent that always takes the most probable move can get stuck, as at a wall.
        "validation_sampled": True,
    },
    ("default", "RAMClassification-v0"): MEASURED,
    ("paper", OTHER_PACKAGES): {
        "core": "lstm",
        "passes": 1,
        "minibatches": 1,
        "validation_sampled": True,
    },
    ("default", "RAMSearch-v0"): {**GLIMPSE_GAME, "steps": 7_000_000},
    ("default", GAMES): {**GLIMPSE_GAME, **MEASURED},
    ("paper", GAMES): {"core": "lstm", "passes": 1, "minibatches": 1},
    ("default", "RAMMovingMNIST-v0"): CLUTTERED,
    # Photos have pixels of all values and shapes of many kinds, and the canvases are not random.
    ("default", "RAMCIFAR10-v0"): {
        "glimpse_network": "conv",
        "conv_maps": 32,
        "pixel_mean": 0.45,
        "pixel_scale": 4.0,
        "core": "lstm",
        "feature_size": 256,
        "episodes": 2_000_000,
        "learning_rate": 3e-3,
        "weight_decay": 0.2,
        "location_std_end": 0.05,
    },
    # The final reward alone trains slowly, so the network is small and its input large. Before the
    # moves make sense, rewards of locations are noise, which hinders learning the moves. So the
    # mean location starts at the center, and the weight of the location loss rises over 40% of
    # the training.
    ("default", "RAMCatch-v0"): {
        "core": "lstm",
        "glimpse_network": "conv",
        "conv_maps": 8,
        "hidden_size": 128,
        "location_start": 0.0,
        "pixel_scale": 10.0,
        "scale_factor": 4.0,
        "baseline_shapes_state": True,
        "steps": 20_000_000,
        "segment_length": 23,  # a game
        "discount": 1.0,
        "return_lambda": 1.0,
        "passes": 1,
        "minibatches": 1,
        "batch_size": 128,
        "shards": 1,
        "learning_rate": 2e-3,
        "head_rate": 1.0,
        "location_std_end": 0.03,
        "location_weight": 0.3,
        "location_warmup": 0.4,
        "head_warmup": 0.4,
        "gae_lambda": 0.9,
        "entropy_weight": 0.01,
        "baseline_loss": "cross_entropy",
        "baseline_weight": 2.0,
        "validate_every": 1_000_000,
        "patience": None,
    },
    # REINFORCE: one pass over whole games, without a bootstrap.
    ("paper", "RAMCatch-v0"): {
        "core": "lstm",
        "steps": 20_000_000,
        "segment_length": 23,
        "discount": 1.0,
        "return_lambda": 1.0,
        "passes": 1,
        "minibatches": 1,
        "validate_every": 1_000_000,
    },
}


@check_arguments
def preset(name: str, env_id: str | None = None, supervised: bool = True) -> Preset:
    """Return the settings of a preset for an environment.

    Args:
        name: "default" or "paper".
        env_id: the environment, or `GAMES` or `OTHER_PACKAGES` for one of that kind without
            settings of its own.
        supervised: whether labels, if there are any, are supervised. With supervision="none"
            settings that only labels need keep their defaults.

    Raises:
        TypeError: if a name is not a str.
        ValueError: if there is no preset of that name.
    """
    if name not in PRESETS:
        raise ValueError(f"preset={name!r} does not exist. Choose from {', '.join(PRESETS)}.")
    settings = {**PRESETS[name], **ENV_SETTINGS.get((name, env_id or ""), {})}
    if not supervised:
        for unread in UNUSED[UNSUPERVISED]:
            settings.pop(unread, None)
    return Preset(AgentConfig(), TrainConfig(), SHARDS).change(**settings)
