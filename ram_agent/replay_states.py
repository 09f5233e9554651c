"""What restores the environments of a training in a resumed run, as part of its saved state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ram_agent.agent import RAMAgent
from ram_agent.config import TrainConfig
from ram_agent.distributed import Ranks
from ram_agent.segment_shard import ReplayState, SegmentShard
from ram_agent.shard import Shard
from ram_agent.weights import check_tensors

PREFIX = "environments."


class ReplayStates:
    """The replay states of all shards, those of other ranks included.

    Args:
        shards: those of this rank. Shards that learn from labels have no replay state: each update
            begins new episodes.
        ranks: the processes that train together.
    """

    def __init__(self, shards: Sequence[Shard], ranks: Ranks) -> None:
        self.shards = [shard for shard in shards if isinstance(shard, SegmentShard)]
        self.ranks = ranks
        self._others: dict[int, ReplayState] = {}  # by number of the shard

    def gather(self) -> None:
        """Collect the replay states of the other ranks, which must call this, too."""
        if self.shards and self.ranks.size > 1:
            states = [(shard.number, shard.replay_state) for shard in self.shards]
            self._others = dict(self.ranks.gather(states))

    def tensors(self) -> dict[str, Tensor]:
        """Return all replay states as named tensors."""
        states = {**self._others, **{shard.number: shard.replay_state for shard in self.shards}}
        return {
            f"{PREFIX}{number}.{name}": tensor
            for number, state in states.items()
            for name, tensor in state.items()
        }

    def split(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the tensors of `tensors()` in a saved state, and all others."""
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
        return own, {name: tensor for name, tensor in tensors.items() if name not in own}

    def load(
        self, tensors: Mapping[str, Tensor], agent: RAMAgent, config: TrainConfig, update: int
    ) -> None:
        """Let the environments go on from the states that `tensors` returned before an update.

        Raises:
            ValueError: if they are not those of such a training.
        """
        like: ReplayState = {}
        num_shards = 0
        for shard in self.shards[:1]:  # all have the same
            like = shard.expected_replay_state(agent, config, update)
            num_shards = shard.num_shards
        expected = {
            f"{PREFIX}{number}.{name}": tensor
            for number in range(num_shards)
            for name, tensor in like.items()
        }
        check_tensors(tensors, expected)
        self._others = {
            number: {name: tensors[f"{PREFIX}{number}.{name}"] for name in like}
            for number in range(num_shards)
        }
        for shard in self.shards:
            shard.replay_state = self._others[shard.number]
