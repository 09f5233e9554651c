"""One shard of every training batch: what each kind of shard does, and what they share.

All randomness of update u is a function of (seed, u).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ram_agent.agent import RAMAgent
from ram_agent.config import TrainConfig
from ram_agent.optimizer import trained_parameters
from ram_envs.aliases import VectorEnv

# Where there are no images in splits, the splits are ranges of seeds: `ram evaluate` plays from
# seed 0, segments from seeds of the range, validation from the next one, labels from above. Seeds
# of games have 31 bits: ale-py takes no others.
GAME_SEEDS = range(2**24, 2**30)
VALIDATION_SEED = 2**30
FIRST_TRAINING_SEED = 2**32

ActionLog = dict[str, Tensor]


@dataclass(frozen=True)
class ShardGradient:
    """The gradients of the agent's parameters, and the metrics, of one shard of a batch."""

    gradients: tuple[Tensor, ...]
    metrics: dict[str, float]


@dataclass(kw_only=True)
class Shard(ABC):
    """An even share of each training batch, and what the agent learns from it.

    agent               the agent, which is not changed
    config              the settings of the training
    envs                the vector environment that plays the share
    number              which share, from 0, of `num_shards`, those of all ranks counted
    min_validations     the minimum number of validations, if there are at least as many updates
    """

    agent: RAMAgent
    config: TrainConfig
    envs: VectorEnv
    number: int
    num_shards: int
    min_validations: int

    @abstractmethod
    def count_updates(self) -> tuple[int, int]:
        """Return the number of updates of a training, and that between two validations."""

    @abstractmethod
    def count_played(self, updates: int) -> dict[str, int]:
        """Return how much is played in a number of updates, under its name in the metrics."""

    @abstractmethod
    def count_optimizer_steps(self) -> int:
        """Return the number of optimizer steps in an update."""

    @abstractmethod
    def learn(
        self, update: int, progress: float, advantage_square: float, step: int
    ) -> ShardGradient:
        """Return the gradients of one optimizer step; the first of an update plays its share.

        Args:
            update: which update, from 0.
            progress, advantage_square: as for `training_loss`.
            step: which optimizer step of the update, from 0.
        """

    @abstractmethod
    def summarize(self, metrics: dict[str, float]) -> dict[str, float]:
        """Return the metrics of an update, given the means over its shards and steps."""

    @property
    def action_log(self) -> ActionLog:
        """What restores the environments; nothing if each update begins new episodes."""
        return {}

    def expected_action_log(self, update: int) -> ActionLog:
        """Return tensors of the shapes and types that `action_log` has before an update."""
        return {}

    def continue_from(self, log: ActionLog) -> None:
        """Let the environments go on from an action log."""
        assert not log


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
