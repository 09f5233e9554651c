"""One shard of the environments that are played in segments, where there are no labels.

All randomness is a function of (seed, update). At each restart, which comes with every validation,
all environments are reset. The actions since the last restart are kept: a resumed run repeats them,
which restores the environments if they are deterministic, given seed and actions. Those of ram_envs
are, and so are most others with a seed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ram_agent.objective import segment_loss
from ram_agent.player import Player, noise_source
from ram_agent.segment import Segment, collect_segment
from ram_agent.shard import (
    GAME_SEEDS,
    ActionLog,
    Shard,
    ShardGradient,
    count_intervals,
    differentiate,
    draw_seeds,
)


class ResumeWarning(UserWarning):
    """A resumed training differs from an uninterrupted one."""


@dataclass(kw_only=True)
class SegmentShard(Shard):
    """A shard of segments, in a vector environment with any autoreset mode."""

    _player: Player | None = field(default=None, repr=False)
    _segment: Segment | None = field(default=None, repr=False)
    _finished: Tensor = field(default_factory=lambda: torch.zeros(2), repr=False)
    _returns: Tensor = field(default_factory=lambda: torch.zeros(0), repr=False)
    # Locations and choices of each segment since the restart.
    _actions: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False)
    _loaded_log: ActionLog | None = field(default=None, repr=False)  # to go on from

    def count_updates(self) -> tuple[int, int]:
        config = self.config
        return count_intervals(
            config.steps, config.validate_every, self._update_size, self.min_validations
        )

    @property
    def restart_every(self) -> int:
        """Updates between two restarts."""
        return self.count_updates()[1]

    def count_played(self, updates: int) -> dict[str, int]:
        return {"steps": updates * self._update_size}

    @property
    def _update_size(self) -> int:
        """Steps of an update, in the environments of all shards together."""
        return self.config.batch_size * self.config.segments.segment_length

    def count_optimizer_steps(self) -> int:
        return self.config.segments.passes * self.config.segments.minibatches

    def learn(
        self, update: int, progress: float, advantage_square: float, step: int
    ) -> ShardGradient:
        """Return the gradients of one minibatch; the first of an update plays the segment."""
        agent, config = self.agent, self.config
        noise_seed = self._seeds(update)[1]
        if step == 0:
            self._play(update, noise_source(self.envs, noise_seed))
        assert self._segment is not None
        number, minibatch = divmod(step, config.segments.minibatches)
        # Each pass has a permutation of its own.
        order = np.random.default_rng((noise_seed, number)).permutation(self.envs.num_envs)
        rows = np.array_split(order, config.segments.minibatches)[minibatch]
        segment = self._segment.rows(torch.from_numpy(rows).to(agent.device))
        gradient = differentiate(
            agent, *segment_loss(agent, segment, config, progress, advantage_square)
        )
        episodes, returns = self._finished.tolist()
        gradient.metrics.update(finished_episodes=episodes, finished_return=returns)
        return gradient

    def summarize(self, metrics: dict[str, float]) -> dict[str, float]:
        returns, episodes = metrics.pop("finished_return"), metrics["finished_episodes"]
        metrics["finished_episodes"] = self.num_shards * episodes
        return metrics | ({"train_return": returns / episodes} if episodes else {})

    @property
    def action_log(self) -> ActionLog:
        """What restores the environments: the actions since the restart, and recurrent states."""
        if self._loaded_log is not None:
            return self._loaded_log
        if self._player is None or not self._actions:
            return {}
        locations, choices = zip(*self._actions, strict=True)
        return {
            "locations": torch.cat(locations),
            "choices": torch.cat(choices),
            "glimpses": torch.as_tensor(self._player.observation["glimpse"]).cpu(),
            **{f"state_{number}": part for number, part in enumerate(self._player.state)},
        }

    def continue_from(self, log: ActionLog) -> None:
        self._loaded_log = log

    def expected_action_log(self, update: int) -> ActionLog:
        if not (since := update % self.restart_every):
            return {}
        agent, num_envs = self.agent, self.envs.num_envs
        num_steps = since * self.config.segments.segment_length
        state = agent.initial_state(num_envs)
        with torch.device("meta"):  # no memory is used
            return {
                "locations": torch.zeros(num_steps, num_envs, 2),
                "choices": torch.zeros(num_steps, num_envs, dtype=torch.int64),
                "glimpses": torch.zeros(num_envs, *agent.glimpse_shape),
                **{
                    f"state_{number}": torch.zeros_like(part, device="meta")
                    for number, part in enumerate(state)
                },
            }

    def _seeds(self, update: int) -> tuple[int, int]:
        """Return the seed of the environments, should they begin now, and that of the noise."""
        env_seed, noise_seed = draw_seeds(self.config.seed, update, self.number, self.num_shards)
        first = GAME_SEEDS[env_seed % (len(GAME_SEEDS) - self.config.batch_size)]
        return first + self.number * self.envs.num_envs, noise_seed

    def _play(self, update: int, generator: torch.Generator) -> None:
        """Play the segment of an update."""
        config = self.config
        since = update % self.restart_every
        if self._player is None or self._loaded_log is not None or since == 0:
            self._player = Player(self.agent, self.envs, config.gaze.locations)
            self._begin(self._player, update - since)
        self._segment = segment = collect_segment(
            self._player, config.segments.segment_length, config, generator
        )
        self._finished = torch.zeros(2, dtype=torch.float64)
        for rewards, ended in zip(segment.rewards.cpu(), segment.ended.cpu(), strict=True):
            self._count(rewards, ended)
        if since + 1 == self.restart_every:
            self._actions = []  # a restart follows
        else:
            self._actions.append((segment.looks.cpu(), segment.choices.cpu()))

    def _begin(self, player: Player, update: int) -> None:
        """Begin all environments at a restart, and repeat the actions of a log that was loaded."""
        player.begin(self._seeds(update)[0])
        self._returns = torch.zeros(self.envs.num_envs, dtype=torch.float64)
        self._actions = []
        log, self._loaded_log = self._loaded_log, None
        if not log:
            return
        self._actions = [(log["locations"], log["choices"])]
        for action in zip(log["locations"], log["choices"], strict=True):
            if player.on_device:
                rewards, *_ = player.advance(*(part.to(player.agent.device) for part in action))
            else:
                rewards, *_ = player.advance(*(part.numpy() for part in action))
            self._count(rewards.cpu(), torch.as_tensor(player.ended).cpu())
        device = player.agent.device
        player.state = tuple(
            log[f"state_{number}"].to(device) for number in range(len(player.state))
        )
        glimpses = torch.as_tensor(player.observation["glimpse"]).cpu()
        differs = (glimpses != log["glimpses"]).flatten(1).any(1)
        if differs.any():
            warnings.warn(
                f"{int(differs.sum())} of {len(differs)} environments did not return to the "
                "state in which the run stopped: they are not deterministic given seed and "
                "actions. Training continues, but its results will differ from those of an "
                "uninterrupted run.",
                ResumeWarning,
                stacklevel=2,
            )

    def _count(self, rewards: Tensor, ended: Tensor) -> None:
        """Add up the rewards of each episode, and the returns of those that are over."""
        self._returns += rewards
        self._finished += torch.stack([ended.sum().double(), self._returns[ended].sum()])
        self._returns[ended] = 0
