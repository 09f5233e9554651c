"""The shards of a training on this rank: which kind, and whether they fit together."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from ram_agent.agent import RAMAgent
from ram_agent.config import TrainConfig
from ram_agent.distributed import Ranks
from ram_agent.objective import check_used
from ram_agent.player import check_envs
from ram_agent.segment_shard import SegmentShard
from ram_agent.shard import Shard
from ram_envs.aliases import VectorEnv


def make_shards(
    agent: RAMAgent,
    train_envs: VectorEnv | Sequence[VectorEnv],
    config: TrainConfig,
    ranks: Ranks,
    min_validations: int = 0,
) -> list[Shard] | list[SegmentShard]:
    """Return the shards of this rank, one for each of its vector environments.

    They learn from whole episodes where labels are supervised, and from segments elsewhere, which
    restart at each validation.

    Raises:
        TypeError, ValueError: if the agent cannot play the environments, they do not share the
            batch evenly, are fewer than the minibatches, or show different splits; or a setting has
            no effect without labels.
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
    first, num_shards = ranks.rank * len(num_envs), ranks.size * len(num_envs)
    if config.objective.supervision == "none" or not gives_labels(train_envs[0]):
        check_used(config, supervised=False)
        if num_envs[0] < config.segments.minibatches:
            raise ValueError(
                f"minibatches={config.segments.minibatches} is more than the {num_envs[0]} "
                "environments of a shard. Give fewer minibatches or shards, or a larger batch_size."
            )
        restart_every = count_segments(config, min_validations)[1]
        return [
            SegmentShard(envs, number, num_shards, restart_every)
            for number, envs in enumerate(train_envs, first)
        ]
    for envs in train_envs:
        check_envs(agent, envs)
    sizes: list[int | None] = [getattr(envs.unwrapped, "num_images", None) for envs in train_envs]
    if len(set(sizes)) != 1:
        raise ValueError(f"train_envs show splits of {sizes} images. Make them all of one split.")
    return [
        Shard(envs, number, num_shards, sizes[0]) for number, envs in enumerate(train_envs, first)
    ]


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
    if getattr(envs.unwrapped, "num_images", None) is not None:
        return True
    return "label" in envs.reset(seed=0)[1]


def count_updates(
    config: TrainConfig, shard: Shard | SegmentShard, min_validations: int = 0
) -> tuple[int, int]:
    """Return the number of updates of a training, and that between two validations.

    Raises:
        ValueError: if epochs are given and there is no split of images to walk through.
    """
    num_images = None if isinstance(shard, SegmentShard) else shard.num_images
    if config.epochs is not None and num_images is None:
        raise ValueError(
            f"epochs={config.epochs} needs a split of images with labels, which this training does "
            "not have. Set episodes, or steps without labels."
        )
    if isinstance(shard, SegmentShard):
        return count_segments(config, min_validations)
    episodes: float = config.episodes
    if config.epochs is not None and num_images is not None:
        episodes = config.epochs * num_images
    interval = max(config.validate_every, num_images or 0)
    return _divide(episodes, interval, config.batch_size, min_validations)


def count_segments(config: TrainConfig, min_validations: int = 0) -> tuple[int, int]:
    """Return the number of updates of a training in segments, and that between two validations."""
    return _divide(config.steps, config.validate_every, segment_size(config), min_validations)


def segment_size(config: TrainConfig) -> int:
    """Return the number of steps of an update from segments, in all environments together."""
    return config.batch_size * config.segments.segment_length


def _divide(length: float, interval: int, size: int, min_validations: int) -> tuple[int, int]:
    """Return a training's length and its validation interval in updates of `size`."""
    num_updates, updates_between = max(1, math.ceil(length / size)), math.ceil(interval / size)
    longest = num_updates // min_validations if min_validations else 0
    return num_updates, min(updates_between, longest) if longest else updates_between


def count_played(config: TrainConfig, update: int, shard: Shard | SegmentShard) -> dict[str, int]:
    """Return how much was played before an update: episodes, or steps of segments."""
    if isinstance(shard, SegmentShard):
        return {"steps": update * segment_size(config)}
    return {"episodes": update * config.batch_size}
