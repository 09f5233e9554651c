"""The shards of a training on this rank: which kind, and whether they fit together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from ram_agent.agent import RAMAgent
from ram_agent.config import TrainConfig
from ram_agent.distributed import Ranks
from ram_agent.episode_shard import EpisodeShard
from ram_agent.player import check_envs, count_images
from ram_agent.segment_shard import SegmentShard
from ram_agent.shard import Shard
from ram_agent.unused_settings import check_used_in_task
from ram_envs.aliases import VectorEnv


def make_shards(
    agent: RAMAgent,
    train_envs: VectorEnv | Sequence[VectorEnv],
    config: TrainConfig,
    ranks: Ranks,
    min_validations: int = 0,
) -> list[Shard]:
    """Return the shards of this rank, one for each of its vector environments.

    They learn from whole episodes where labels are supervised, and from segments elsewhere, which
    restart at each validation.

    Raises:
        TypeError, ValueError: if the agent cannot play the environments, they do not share the
            batch evenly, are fewer than the minibatches, or show different splits; or a setting has
            no effect, such as epochs without images.
    """
    if isinstance(train_envs, gym.vector.VectorEnv):
        train_envs = [train_envs]
    for envs in train_envs:
        check_envs(agent, envs, any_mode=True)
    num_envs = [envs.num_envs for envs in train_envs]
    if sum(num_envs) * ranks.size != config.batch_size or len(set(num_envs)) != 1:
        among = f" on each of {ranks.size} ranks" if ranks.size > 1 else ""
        raise ValueError(
            f"train_envs have {num_envs} sub-environments{among}, which do not divide "
            f"batch_size={config.batch_size} evenly. Change one of them."
        )
    first = ranks.rank * len(num_envs)
    shared: dict[str, Any] = {
        "agent": agent,
        "config": config,
        "num_shards": ranks.size * len(num_envs),
        "min_validations": min_validations,
    }
    if config.objective.supervision == "none" or not gives_labels(train_envs[0]):
        has_images = count_images(train_envs[0]) is not None
        check_used_in_task(config, supervised=False, has_images=has_images)
        check_epochs(config, None)
        if num_envs[0] < config.segments.minibatches:
            raise ValueError(
                f"minibatches={config.segments.minibatches} is more than the {num_envs[0]} "
                "environments of a shard. Give fewer minibatches or shards, or a larger batch_size."
            )
        return [
            SegmentShard(**shared, envs=envs, number=number)
            for number, envs in enumerate(train_envs, first)
        ]
    for envs in train_envs:
        check_envs(agent, envs)
    sizes = [count_images(envs) for envs in train_envs]
    check_used_in_task(config, supervised=True, has_images=sizes[0] is not None)
    if len(set(sizes)) != 1:
        raise ValueError(f"train_envs show splits of {sizes} images. Make them all of one split.")
    check_epochs(config, sizes[0])
    return [
        EpisodeShard(**shared, envs=envs, number=number, num_images=sizes[0])
        for number, envs in enumerate(train_envs, first)
    ]


def check_epochs(config: TrainConfig, num_images: int | None) -> None:
    """Raise ValueError if epochs are given, but the training has no images to count them by."""
    if config.epochs is not None and num_images is None:
        raise ValueError(
            f"epochs={config.epochs} needs a split of images with labels, which this training does "
            "not have. Set episodes, or steps without labels."
        )


def warn_of_training_images(train_envs: VectorEnv, validation_envs: VectorEnv) -> None:
    """Warn if an agent is validated on its training images, and there are others."""
    train, validation = train_envs.unwrapped, validation_envs.unwrapped
    dataset = _find_dataset(train)
    splits: tuple[str, ...] = getattr(validation, "splits", ())
    if dataset is not None and dataset is _find_dataset(validation) and len(splits) > 1:
        warnings.warn(
            "validation_envs show the images of train_envs, so validation measures how well the "
            "agent remembers them. Make validation_envs with split='validation'.",
            stacklevel=4,  # the caller of Trainer, past the decorator
        )


def _find_dataset(envs: Any) -> Any:
    return getattr(getattr(getattr(envs, "batch", envs), "task", None), "dataset", None)


def gives_labels(envs: VectorEnv) -> bool:
    """Return whether environments give the true labels; resets them where they have no images."""
    if count_images(envs) is not None:
        return True
    return "label" in envs.reset(seed=0)[1]
