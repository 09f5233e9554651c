"""Every setting of the agent and of its training, in groups, a sentence each.

The command line is made from these classes, and a run's config.json stores them. A value is checked
when it is set: its type, and its range in the table of `settings.py`.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from ram_agent.settings import Checked, describe_unknown, is_group, setting_names, type_hints

Settings = TypeVar("Settings", bound=Checked)


@dataclass(frozen=True)
class AgentConfig(Checked):
    """Networks"""

    glimpse_network: Literal["linear", "conv"] = "linear"
    """The glimpse network's layers for pixels: "linear" is one linear layer (the paper); "conv" has
    two convolutional layers before it, shared by all scales."""

    conv_maps: int = 16
    """Maps of the first convolution; the second has twice as many."""

    core: Literal["rectifier", "lstm", "transformer"] = "rectifier"
    """The recurrent network. The paper has rectifiers for classification, an LSTM for Catch
    (sections 3 and 4). "transformer" attends to the last 17 glimpses."""

    hidden_size: int = 256
    """Width of the core's state h_t, and of the glimpse feature g_t."""

    feature_size: int = 128
    """Width of each of the glimpse network's two inputs, "what" and "where"."""

    location_mean: Literal["tanh", "linear"] = "tanh"
    """How the location head's output becomes the mean location. With "linear" (the paper) it may
    leave [−1, 1] and get stuck where the environment clips it; tanh cannot."""

    initialization: Literal["he", "torch"] = "he"
    """"he": He-normal weights, zero biases and a core that remembers from the start; "torch":
    PyTorch's defaults."""

    location_start: float = 1.0
    """Scale of the location head's initial weights. With 1 the gaze of a new agent depends on what
    it sees; near 0 it stays in the middle until it is trained."""

    pixel_mean: float | None = 0.0
    """Subtracted from the pixels at the network's input: 0 if most are black, about 0.5 for photos.
    None: the median, measured before training."""

    pixel_scale: float | None = 3.0
    """Factor on the pixels after pixel_mean is subtracted, since most are near 0. None: the inverse
    of their root mean square, measured before training."""

    scale_factor: float = 1.0
    """Further factor on each scale of the glimpse, relative to the finer one before it. With 4 a
    coarse cell is the sum of its pixels instead of their mean, so a single pixel stays visible."""

    num_channels: int = 1
    """Channels of the image: 1 for gray, 3 for color. `ram train` and
    `ram_agent.train` set it from the environment."""

    baseline_shapes_state: bool = False
    """Whether the baseline's loss also trains the core. Recommended without labels: features that
    predict the return also help to act."""


@dataclass(frozen=True)
class ObjectiveConfig(Checked):
    """Objective"""

    supervision: Literal["every_step", "last_step", "none"] = "every_step"
    """Which labels are trained by cross-entropy: the last only (the paper), or all (the last has
    half the weight). With "none", labels are learned from rewards, like the moves of a game."""

    location_reward: Literal["gain", "log_gain", "reward"] = "gain"
    """With labels, the reward of a location: "reward" is the environment's return from then on (the
    paper); "gain" is how much the look raises the probability of the true label; "log_gain" how
    much it raises its logarithm, which also rewards a look at the first of several objects."""

    gain_discount: float = 0.5
    """With labels, the weight of each later glimpse in the gain, relative to the one before."""

    normalize_advantages: bool = True
    """Whether advantages are divided by their running standard deviation and clipped at ±4."""

    gae_lambda: float = 1.0
    """Without labels, λ of generalized advantage estimation (Schulman et al. 2016). With 1 (the
    paper) an advantage is the return minus the baseline."""

    entropy_weight: float = 0.0
    """Without labels, initial weight of the entropy bonus of choices; it falls to 0."""

    baseline_loss: Literal["squared_error", "cross_entropy"] = "squared_error"
    """Without labels, the baseline's loss. "cross_entropy" makes the baseline a probability, for
    returns from 0 to 1. With labels it is squared error."""

    baseline_weight: float = 1.0
    """Weight of the baseline's loss."""


@dataclass(frozen=True)
class OptimizerConfig(Checked):
    """Optimizer"""

    update_rule: Literal["adam", "sgd"] = "adam"
    """Adam, or SGD with momentum 0.9 (the paper)."""

    learning_rate: float = 4e-3
    """Peak learning rate."""

    head_rate: float = 0.3
    """Factor on the learning rate of the location and baseline heads. With faster location heads
    the gaze drifts into the corners."""

    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW); it helps where the canvases are not random. With SGD it is
    added to the gradient."""

    max_grad_norm: float | None = 1.0
    """Maximum gradient norm; larger gradients are clipped. None: no clipping."""

    average_decay: float = 0.999
    """Decay per optimizer step of the exponential moving average of the weights, which is validated
    and saved; 0 for the weights themselves."""


@dataclass(frozen=True)
class GazeConfig(Checked):
    """Gaze"""

    location_std: float = 0.2
    """Standard deviation of sampled locations when training begins; 1 is half the canvas."""

    location_std_end: float = 0.07
    """Standard deviation of sampled locations at the end of training; it changes linearly."""

    location_weight: float = 0.25
    """Weight of the REINFORCE loss of locations."""

    location_warmup: float = 0.03
    """Fraction of training over which location_weight rises from 0."""

    head_warmup: float = 0.0
    """Fraction of training over which the learning rate of the location head rises from 0. Adam's
    steps do not shrink with the loss, so without it noise drives the gaze into a corner during a
    long location_warmup."""

    locations: Literal["learned", "random", "center"] = "learned"
    """The gaze in training and validation: the agent's own, or that of a control: uniformly random
    locations, or always the center (with max_shift: random shifts, or none). A control's
    location head is not trained."""


@dataclass(frozen=True)
class ScheduleConfig(Checked):
    """Learning rate schedule"""

    learning_rate_schedule: Literal["cosine", "linear"] = "cosine"
    """How the learning rate falls to 0."""

    warmup_updates: int = 200
    """Number of updates of linear warm-up; at most a tenth of all."""


@dataclass(frozen=True)
class SegmentConfig(Checked):
    """Segments (without labels)"""

    segment_length: int = 64
    """Steps of each environment between two updates."""

    passes: int = 3
    """Number of passes over each segment."""

    minibatches: int = 4
    """Minibatches of a pass, each of whole environments, with one optimizer step each."""

    clip_range: float = 0.2
    """ε of PPO, the clip range of probability ratios."""

    discount: float = 0.99
    """γ, the discount factor."""

    return_lambda: float = 0.95
    """λ of the baseline's λ-returns."""


@dataclass(frozen=True)
class TrainConfig(Checked):
    """Training. Presets change these defaults for each environment."""

    seed: int = 0
    """Seed of the initial weights, the order of the images, the environments and all noise."""

    episodes: int = 3_500_000
    """With labels, the number of training episodes: canvases shown."""

    steps: int = 10_000_000
    """Without labels, or with supervision="none", the number of steps of all environments together.
    In Atari a step is four frames."""

    epochs: float | None = None
    """Passes over the training split; if given, it replaces `episodes`."""

    batch_size: int = 256
    """Episodes per update, or without labels the number of environments."""

    validate_every: int = 150_000
    """Episodes between two validations; without labels, steps. Raised to one epoch if it is less,
    then lowered if there would be fewer than ten validations."""

    validation_games: int = 2_000
    """Without images, the number of episodes of a validation."""

    validation_sampled: bool = False
    """Whether validations sample locations and, without labels, choices, instead of taking the
    mean location and the most probable choice. Evaluations and pictures of the agent then sample,
    too."""

    patience: int | None = 40
    """Training stops after this number of validations without improvement; None: never."""

    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    gaze: GazeConfig = field(default_factory=GazeConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


def replace_settings(config: Settings, **changes: Any) -> Settings:
    """Return the config with some settings changed, whichever group they are in.

    Raises:
        TypeError: if it is not a config.
        ValueError: for a setting that does not exist, or a wrong value.
    """
    if not isinstance(config, Checked):
        raise TypeError(f"config={config!r} has no settings. Give an AgentConfig or TrainConfig.")
    unknown = changes.keys() - setting_names(type(config))
    if unknown:
        raise ValueError(describe_unknown(min(unknown), type(config)))
    values: dict[str, Any] = {}
    for name, kind in type_hints(type(config)).items():
        if is_group(kind):
            own = {key: changes[key] for key in setting_names(kind) & changes.keys()}
            values[name] = replace_settings(getattr(config, name), **own)
        elif name in changes:
            values[name] = changes[name]
    return dataclasses.replace(config, **values)  # type: ignore[type-var]


def flatten_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that `dataclasses.asdict` made of a config, without its groups."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten_settings(value) if isinstance(value, Mapping) else {name: value}
    return flat


def config_from_json(config_type: type[Settings], values: Any) -> Settings:
    """Return the config that `dataclasses.asdict` made JSON of.

    Raises:
        ValueError: for a setting that does not exist, or a wrong value.
    """
    if not isinstance(values, dict):
        raise ValueError(
            f"The settings are {reprlib.repr(values)}, which is not an object. Restore the file."
        )
    kinds = type_hints(config_type)
    for name in values:
        if name not in kinds:
            for group, kind in kinds.items():
                if is_group(kind) and name in setting_names(kind):
                    raise ValueError(f"{name} belongs to the group {group}. Move it there.")
            raise ValueError(
                f"{describe_unknown(name, config_type)} Correct it, or use the version of "
                "ram-gym that wrote the file."
            )
    return config_type(
        **{
            name: config_from_json(kinds[name], value) if is_group(kinds[name]) else value
            for name, value in values.items()
        }
    )
