"""A shard that plays whole episodes, and what the agent learns from their labels.

All randomness of update u is a function of (seed, u): which images, the environments' draws, and
the noise on locations.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ram_agent.objective import training_loss
from ram_agent.player import noise_source
from ram_agent.rollout import collect_rollout
from ram_agent.shard import (
    FIRST_TRAINING_SEED,
    Shard,
    ShardGradient,
    count_intervals,
    differentiate,
    draw_seeds,
)


@dataclass(kw_only=True)
class EpisodeShard(Shard):
    """A shard of episodes, in a vector environment with autoreset DISABLED.

    num_images  in the training split; None where there are no images
    """

    num_images: int | None

    def count_updates(self) -> tuple[int, int]:
        config = self.config
        num_images = self.num_images or 0
        episodes = config.episodes if config.epochs is None else config.epochs * num_images
        interval = max(config.validate_every, num_images)
        return count_intervals(episodes, interval, config.batch_size, self.min_validations)

    def count_played(self, updates: int) -> dict[str, int]:
        return {"episodes": updates * self.config.batch_size}

    def count_optimizer_steps(self) -> int:
        return 1

    def learn(
        self, update: int, progress: float, advantage_square: float, step: int
    ) -> ShardGradient:
        """Play the episodes of an update, and return the gradients of their mean loss."""
        config, num_envs = self.config, self.envs.num_envs
        env_seed, noise_seed = draw_seeds(config.seed, update, self.number, self.num_shards)
        offset = self.number * num_envs
        first_seed, options = FIRST_TRAINING_SEED, None
        if self.num_images is not None:
            first = update * config.batch_size + offset
            index = draw_index(config.seed, first, num_envs, self.num_images)
            first_seed, options = 0, {"index": index}
        rollout = collect_rollout(
            self.agent,
            self.envs,
            seed=first_seed + env_seed + offset,
            options=options,
            gaze=config.gaze.locations,
            generator=noise_source(self.envs, noise_seed),
        )
        loss = training_loss(rollout, config, progress, advantage_square)
        return differentiate(self.agent, *loss)

    def summarize(self, metrics: dict[str, float]) -> dict[str, float]:
        return metrics


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
