"""Every setting of the agent and of its training, a sentence each, and the presets.

The command line is made from these classes, and a checkpoint stores them as JSON.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Config = TypeVar("Config", "AgentConfig", "TrainConfig")


@dataclass(frozen=True)
class AgentConfig:
    """The networks' shape (paper, section 3 and 4)."""

    core: Literal["rectifier", "lstm"] = "rectifier"
    """The recurrent network. The paper has rectifiers for classification, an LSTM for Catch."""

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
    """Size of the location head's weights at the start of "he". With 1 a new agent's gaze already
    depends on what it sees; near 0 it rests in the middle until it is taught."""

    pixel_scale: float = 3.0
    """Factor on the pixels at the network's input; they are mostly near 0."""

    scale_factor: float = 1.0
    """Further factor on each scale of the glimpse, relative to the finer one before it. With 4 a
    coarse cell is the sum of its pixels, no longer their mean: what is one pixel small stays in
    sight. In color it needs `num_channels`."""

    num_channels: int = 1
    """Channels of each scale of the glimpse, where `scale_factor` isn't 1: 1 for gray images, 3 for
    color."""

    baseline_shapes_state: bool = False
    """Whether the baseline's loss teaches the core too, or only reads its state. It should where
    there are no labels: what tells how a game will end is what one must see to play it."""

    def __post_init__(self) -> None:
        positive = ("hidden_size", "feature_size", "pixel_scale", "scale_factor", "num_channels")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected a positive number.")
        if not 0 <= self.location_start < math.inf:
            raise ValueError(f"location_start={self.location_start!r}: expected 0 or more.")


@dataclass(frozen=True)
class TrainConfig:
    """How an agent is trained. The defaults are what trained best."""

    seed: int = 0
    """Seed of the initial weights, the order of the images, the environments and all noise."""

    epochs: float | None = None
    """Passes over the training split; if given, it takes the place of `episodes`."""

    episodes: int = 3_500_000
    """Training episodes in all, for classification the number of canvases shown."""

    batch_size: int = 256
    """Episodes played side by side, and averaged in one update."""

    parts: int = 2
    """Into how many parts a batch is split, each played in a thread of its own."""

    optimizer: Literal["adam", "sgd"] = "adam"
    """Adam, or SGD with momentum 0.9."""

    learning_rate: float = 4e-3
    """The highest learning rate."""

    head_rate: float = 0.3
    """Factor on the learning rate of the location and baseline heads; faster location heads drift
    into the corners."""

    schedule: Literal["cosine", "linear"] = "cosine"
    """How the learning rate falls to 0."""

    warmup_updates: int = 200
    """Updates over which the learning rate rises to `learning_rate`."""

    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW); helps where the canvases are not drawn afresh."""

    max_grad_norm: float | None = 1.0
    """Gradients with a larger norm are scaled down to it."""

    average_decay: float = 0.999
    """Validation, and the weights that are kept, use a running average of the weights with this
    decay for each update; 0 for the weights themselves."""

    location_std: float = 0.2
    """Standard deviation of sampled locations when training begins, in units of half the canvas."""

    location_std_end: float = 0.07
    """The same at the end of training; it falls linearly."""

    pay: Literal["gain", "reward"] = "gain"
    """What a location is paid for: "reward" is what the environment pays from then on; "gain" is
    how much the true label's probability rises after the look (needs `info["label"]`)."""

    gain_discount: float = 0.5
    """Weight of each later glimpse, relative to the one before, in the gain."""

    supervision: Literal["every_step", "last_step", "none"] = "every_step"
    """Which labels are trained by cross-entropy: the last only, or all (the last weighs half); with
    "none" labels are learned from the reward alone, as moves are where nobody tells the truth."""

    location_weight: float = 0.25
    """Weight of the locations' REINFORCE loss, next to the label's cross-entropy."""

    location_warmup: float = 0.03
    """The part of training over which that weight rises from 0."""

    head_warmup: float = 0.0
    """The part of training over which the location head's rate rises from 0. Adam takes steps as
    long for a small loss as for a large one: where the warm-up of the weight is long, noise drives
    a head that is not slowed into a corner."""

    normalize_advantages: bool = True
    """Whether advantages are divided by their running standard deviation and clipped at ±4."""

    gae_lambda: float = 1.0
    """Unsupervised: λ of generalized advantage estimation (Schulman et al. 2016); 1 compares the
    whole return with the baseline, as the paper does."""

    entropy_weight: float = 0.0
    """Unsupervised: weight of the choices' entropy, which keeps the agent trying; falls to 0."""

    baseline_loss: Literal["squared_error", "cross_entropy"] = "squared_error"
    """Unsupervised: how the baseline learns. "cross_entropy" makes it a probability, for returns
    from 0 to 1. Supervised, it is always squared error."""

    baseline_weight: float = 1.0
    """Weight of the baseline's loss."""

    distortion: float = 0.0
    """How much training images are turned, stretched, slanted and shifted at random, by the
    environment's keyword of that name. It helps long trainings where canvases are not drawn afresh;
    1 is much for digits."""

    elastic: float = 0.0
    """How much they are pulled here and there as well, as if on rubber, by the environment's
    keyword of that name. Such images are harder still to learn by heart, and take longer."""

    validate_every: int = 150_000
    """Episodes between two validations; at least one epoch."""

    patience: int | None = 40
    """Stop after so many validations without a new best; None to go on to the end."""

    def __post_init__(self) -> None:
        positive = ("episodes", "batch_size", "learning_rate", "location_std", "location_std_end")
        for name in (*positive, "validate_every", "parts"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected a positive number.")
        for name in ("epochs", "max_grad_norm", "patience"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: expected a positive number, or None."
                )
        weights = (
            "head_rate",
            "weight_decay",
            "gain_discount",
            "location_weight",
            "location_warmup",
            "head_warmup",
            "entropy_weight",
            "baseline_weight",
            "distortion",
            "elastic",
        )
        for name in ("seed", "warmup_updates", *weights):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected 0 or more.")
        if self.batch_size % self.parts:
            raise ValueError(
                f"batch_size={self.batch_size} cannot be split into parts={self.parts} evenly."
            )
        if not 0 <= self.gae_lambda <= 1:
            raise ValueError(f"gae_lambda={self.gae_lambda!r}: expected 0 <= λ <= 1.")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay={self.average_decay!r}: expected 0 <= decay < 1.")


PRESETS: dict[str, tuple[AgentConfig, TrainConfig]] = {
    "default": (AgentConfig(), TrainConfig()),
    # As the paper says; what it leaves open (rate, spread of locations) was found by trying.
    "paper": (
        AgentConfig(location_mean="linear", initialization="torch", pixel_scale=1.0),
        TrainConfig(
            batch_size=20,
            parts=1,
            optimizer="sgd",
            learning_rate=0.01,
            head_rate=1.0,
            schedule="linear",
            warmup_updates=0,
            max_grad_norm=None,
            average_decay=0.0,
            location_std=0.1,
            location_std_end=0.1,
            pay="reward",
            supervision="last_step",
            location_weight=1.0,
            location_warmup=0.0,
            normalize_advantages=False,
        ),
    ),
}


# A wider glimpse network and an LSTM learn more from each canvas than their time costs.
WIDE_LSTM = {"core": "lstm", "hidden_size": 224, "feature_size": 256}
# Larger batches cost less time for each canvas, which pays where many are needed.
LARGE_BATCH = {"batch_size": 512, "learning_rate": 5e-3}

# What a preset does otherwise in an environment.
ENV_SETTINGS: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {
    # The less is drawn afresh in a canvas, the sooner an agent learns canvases by heart, and the
    # more its weights decay. In RAMMNIST-v0 the canvases are the images themselves.
    ("default", "RAMMNIST-v0"): (
        WIDE_LSTM,
        {"episodes": 2_300_000, "weight_decay": 0.3, "location_std_end": 0.03},
    ),
    ("default", "RAMTranslatedMNIST-v0"): (
        WIDE_LSTM,
        {
            **LARGE_BATCH,
            "episodes": 3_000_000,
            "weight_decay": 0.1,
            "location_std_end": 0.03,
        },
    ),
    ("default", "RAMClutteredMNIST-v0"): (
        WIDE_LSTM,
        {
            **LARGE_BATCH,
            "episodes": 4_000_000,
            "weight_decay": 0.05,
            "location_std_end": 0.03,
        },
    ),
    ("default", "RAMClutteredMNIST100-v0"): (
        WIDE_LSTM,
        {
            **LARGE_BATCH,
            "episodes": 4_000_000,
            "weight_decay": 0.05,
            "location_std_end": 0.03,
        },
    ),
    # The final reward alone teaches slowly, so the network is small and sees each pixel loud and
    # clear. A gaze that is paid before the moves make sense drowns them in its noise; so its weight
    # rises over much of the training.
    ("default", "RAMCatch-v0"): (
        {
            "core": "lstm",
            "hidden_size": 128,
            "location_start": 0.1,
            "pixel_scale": 10.0,
            "scale_factor": 4.0,
            "baseline_shapes_state": True,
        },
        {
            "episodes": 870_000,  # 20 million frames, as many as the paper's
            "batch_size": 128,
            "parts": 1,
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
            "validate_every": 50_000,
            "patience": None,
        },
    ),
    ("paper", "RAMCatch-v0"): (
        {"core": "lstm"},
        {"episodes": 870_000, "validate_every": 45_000},  # 20 million frames
    ),
}


def preset(name: str, env_id: str | None = None) -> tuple[AgentConfig, TrainConfig]:
    """The two configs of a preset, for an environment.

    Raises:
        ValueError: if there is no preset of that name.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}: expected one of {', '.join(PRESETS)}.")
    agent_config, train_config = PRESETS[name]
    for_agent, for_training = ENV_SETTINGS.get((name, env_id or ""), ({}, {}))
    return (
        dataclasses.replace(agent_config, **for_agent),
        dataclasses.replace(train_config, **for_training),
    )


def config_from_json(config_type: type[Config], values: dict[str, Any]) -> Config:
    """The config that `dataclasses.asdict` wrote.

    Raises:
        ValueError: for a setting that this version lacks, or a value that is none of its kind.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{_brief(values)}: expected the settings of {config_type.__name__}.")
    known = get_type_hints(config_type)
    for name, value in values.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{config_type.__name__} has no setting {_brief(name)}.{hint} The file may come "
                "from another version of ram-gym."
            )
        if not is_a(value, known[name]):
            kind = known[name].__name__ if isinstance(known[name], type) else str(known[name])
            expected = kind.removeprefix("typing.")
            raise ValueError(f"{name}={_brief(value)}: expected {expected}.")
    return config_type(**values)


def is_a(value: Any, kind: Any) -> bool:
    """Whether a value of a JSON file is what a field's annotation says."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_args(kind):  # float | None
        return any(is_a(value, one) for one in get_args(kind))
    if kind is float:  # JSON may have 1 for 1.0
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    return type(value) is kind  # so that True is no number


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
