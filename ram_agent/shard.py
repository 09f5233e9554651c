"""One shard of every training batch: its episodes, and what the agent learns from their labels.

All randomness of update u is a function of (seed, u): which images, the environments' draws, and
the noise on locations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ram_agent.agent import RAMAgent
from ram_agent.config import TrainConfig
from ram_agent.objective import training_loss
from ram_agent.optimizer import trained_parameters
from ram_agent.player import noise_source
from ram_agent.rollout import collect_rollout
from ram_envs.aliases import VectorEnv

# Where there are no images in splits, the splits are ranges of seeds: `ram evaluate` plays from
# seed 0, segments from seeds of the range, validation from the next one, labels from above. Seeds
# of games have 31 bits: ale-py takes no others.
GAME_SEEDS = range(2**24, 2**30)
VALIDATION_SEED = 2**30
FIRST_TRAINING_SEED = 2**32


@dataclass(frozen=True)
class ShardGradient:
    """The gradients of the agent's parameters, and the metrics, of one shard of a batch."""

    gradients: tuple[Tensor, ...]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Shard:
    """An even share of each batch.

    envs        a vector environment with autoreset DISABLED, which plays the share's episodes
    number      which share, from 0, of `num_shards`, those of all ranks counted
    num_images  in the training split; None where there are no images
    """

    envs: VectorEnv
    number: int
    num_shards: int
    num_images: int | None

    def count_updates(self, config: TrainConfig, min_validations: int = 0) -> tuple[int, int]:
        """Return the number of updates of a training, and that between two validations."""
        num_images = self.num_images or 0
        episodes = config.episodes if config.epochs is None else config.epochs * num_images
        interval = max(config.validate_every, num_images)
        return count_intervals(episodes, interval, config.batch_size, min_validations)

    def count_played(self, config: TrainConfig, updates: int) -> dict[str, int]:
        """Return how much is played in a number of updates, under its name in the metrics."""
        return {"episodes": updates * config.batch_size}

    def count_steps(self, config: TrainConfig) -> int:
        """Return the number of optimizer steps in an update."""
        return 1

    def learn(
        self,
        agent: RAMAgent,
        config: TrainConfig,
        update: int,
        progress: float,
        advantage_square: float,
        step: int,
    ) -> ShardGradient:
        """Play the episodes of an update, and return the gradients of their mean loss.

        Args:
            agent: the agent, which is not changed.
            config: the settings of the training.
            update: which update, from 0.
            progress, advantage_square: as for `training_loss`.
            step: 0, the only step of an update.
        """
        num_envs = self.envs.num_envs
        env_seed, noise_seed = draw_seeds(config.seed, update, self.number, self.num_shards)
        offset = self.number * num_envs
        first_seed, options = FIRST_TRAINING_SEED, None
        if self.num_images is not None:
            first = update * config.batch_size + offset
            index = draw_index(config.seed, first, num_envs, self.num_images)
            first_seed, options = 0, {"index": index}
        rollout = collect_rollout(
            agent,
            self.envs,
            seed=first_seed + env_seed + offset,
            options=options,
            gaze=config.gaze.locations,
            generator=noise_source(self.envs, noise_seed),
        )
        return differentiate(agent, *training_loss(rollout, config, progress, advantage_square))

    def summarize(self, metrics: dict[str, float]) -> dict[str, float]:
        """Return the metrics of an update, given the means over its shards and steps."""
        return metrics


def count_intervals(
    length: float, interval: int, size: int, min_validations: int = 0
) -> tuple[int, int]:
    """Return a training's length and its validation interval in updates of `size`."""
    num_updates, updates_between = max(1, math.ceil(length / size)), math.ceil(interval / size)
    longest = num_updates // min_validations if min_validations else 0
    return num_updates, min(updates_between, longest) if longest else updates_between


def draw_seeds(seed: int, update: int, number: int, num_shards: int) -> tuple[int, int]:
    """Return the seed of all environments in an update, and that of the noise of one shard."""
    env_seed, *noise_seeds = np.random.SeedSequence((seed, update)).generate_state(1 + num_shards)
    return int(env_seed), int(noise_seeds[number])


def differentiate(agent: RAMAgent, loss: Tensor, metrics: dict[str, Tensor]) -> ShardGradient:
    """Return the gradients of a loss, and the metrics as numbers."""
    # A parameter that a custom module does not use has a gradient of 0.
    gradients = torch.autograd.grad(
        loss, trained_parameters(agent), allow_unused=True, materialize_grads=True
    )
    # All metrics at once, and last: reading a number waits for a GPU.
    values = torch.stack([metric.detach().double() for metric in metrics.values()]).tolist()
    return ShardGradient(gradients, dict(zip(metrics, values, strict=True)))


def average_shards(shards: Sequence[ShardGradient]) -> ShardGradient:
    """Return the mean of equal shards, added in order: the result is the same in every run."""
    metrics = {
        name: sum(shard.metrics[name] for shard in shards) / len(shards)
        for name in shards[0].metrics
    }
    sums = shards[0].gradients
    for shard in shards[1:]:
        sums = torch._foreach_add(sums, shard.gradients)
    if len(shards) > 1:
        torch._foreach_div_(sums, len(shards))
    return ShardGradient(sums, metrics)


def draw_index(seed: int, start: int, count: int, num_images: int) -> npt.NDArray[np.int64]:
    """Return the images of episodes start, start + 1, …: each epoch is a permutation of all."""
    epochs, places = np.divmod(np.arange(start, start + count), num_images)
    index = np.empty_like(places)
    for epoch in np.unique(epochs):
        permutation = _permutation(seed, int(epoch), num_images)
        index[epochs == epoch] = permutation[places[epochs == epoch]]
    return index


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(size)
