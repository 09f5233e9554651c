"""What each environment is, in a sentence and a few facts: for `ram list`, `ram play`, the pages.

The facts are read from the environment itself, made with blank images, so that they need no data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator

from ram_envs.aliases import Env
from ram_envs.datasets import ImageDataset
from ram_envs.registration import CLASSIFICATION, ENVS

SUMMARIES = {
    "RAMMNIST-v0": "Classify a digit that fills the image.",
    "RAMTranslatedMNIST-v0": "Find and classify a digit on an empty canvas.",
    "RAMClutteredMNIST-v0": "Find and classify a digit among pieces of others.",
    "RAMClutteredMNIST100-v0": "Find and classify a digit among clutter on a canvas of 100 × 100.",
    "RAMCIFAR10-v0": "Classify small color photos.",
    "RAMClassification-v0": "Classify your own images: a folder, a file or a data set.",
    "RAMPairsMNIST-v0": "Find two digits among clutter, and name the pair.",
    "RAMAdditionMNIST-v0": "Find two digits among clutter, and name their sum.",
    "RAMMovingMNIST-v0": "Follow and classify a digit that drifts among drifting clutter.",
    "RAMCatch-v0": "Catch a falling ball with a paddle, seeing only a few pixels sharply.",
    "RAMSearch-v0": "Find the one item that differs in fine detail, and take it.",
}
SCORES = {"RAMCatch-v0": "caught"}  # what a mean return of 1 means, in words
# The mean return of random choices, and in games of random locations; of labels it is 1 / n.
CHANCES = {"RAMCatch-v0": 0.084, "RAMSearch-v0": -0.92}


@dataclass(frozen=True)
class EnvFacts:
    """An environment in a few facts.

    env_id        its id
    summary       a sentence
    screen        (H, W) in pixels, of what the retina looks at
    glimpse_size  G
    num_scales    K
    channels      of a patch: 1 for gray, 3 for color
    num_steps     glimpses of an episode; None if its length varies
    choices       the names of the second half of an action
    chance        mean return of random choices; None if unknown
    needs_images  whether it has no images of its own
    """

    env_id: str
    summary: str
    screen: tuple[int, int]
    glimpse_size: int
    num_scales: int
    channels: int
    num_steps: int | None
    choices: tuple[str, ...]
    chance: float | None
    needs_images: bool

    @property
    def retina(self) -> str:
        """The retina in words."""
        plural = "s" if self.num_scales > 1 else ""
        return f"{self.glimpse_size} × {self.glimpse_size}, {self.num_scales} scale{plural}"

    @property
    def chance_in_words(self) -> str:
        """The score of random choices: a percentage where it cannot be negative."""
        if self.chance is None or self.needs_images:
            return "–"
        return f"{self.chance:.2g}" if self.chance < 0 else f"{100 * self.chance:.2g}%"


def describe_env(env_id: str) -> EnvFacts:
    """Return the facts of a registered environment of this package."""
    env: Any = gym.make(env_id, disable_env_checker=True, **_blank_images(env_id)).unwrapped
    task, retina = env.batch.task, env.batch.retina
    height, width = task.image_shape[:2]
    names = tuple(task.choice_names)
    is_labelled = env_id in CLASSIFICATION
    num_steps: int | None = getattr(task, "num_glimpses", getattr(task, "num_steps", None))
    needs_images = env_id == "RAMClassification-v0"
    return EnvFacts(
        env_id,
        SUMMARIES[env_id],
        (height, width),
        retina.glimpse_size,
        retina.num_scales,
        env.observation_space["glimpse"].shape[0] // retina.num_scales,
        num_steps,
        names,
        1 / len(names) if is_labelled else CHANCES.get(env_id),
        needs_images,
    )


def describe_all() -> list[EnvFacts]:
    """Return the facts of every environment."""
    return [describe_env(env_id) for env_id in ENVS]


def env_class(env_id: str) -> type[Env]:
    """Return the class of an environment, whose docstring is its manual page."""
    entry_point: Any = gym.spec(env_id).entry_point
    found: type[Env] = load_env_creator(entry_point)  # type: ignore[assignment]
    return found


def _blank_images(env_id: str) -> dict[str, Any]:
    """Return keywords with which an environment can be made without its data set."""
    if env_id not in CLASSIFICATION:
        return {}
    shape = (32, 32, 3) if gym.spec(env_id).kwargs.get("dataset") == "cifar10" else (28, 28)
    return {"dataset": ImageDataset(np.zeros((10, *shape), np.uint8), np.arange(10))}
