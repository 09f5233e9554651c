"""Where the environments of a training are between two restarts, as part of its saved state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ram_agent.agent import RAMAgent
from ram_agent.config import TrainConfig
from ram_agent.distributed import Ranks
from ram_agent.segment_shard import Place, SegmentShard
from ram_agent.shard import Shard
from ram_agent.weights import check_tensors

PREFIX = "environments."


class Places:
    """The places of all shards, those of other ranks included.

    Args:
        shards: those of this rank. Shards that learn from labels have no place: each update begins
            new episodes.
        ranks: the processes that train together.
    """

    def __init__(self, shards: Sequence[Shard] | Sequence[SegmentShard], ranks: Ranks) -> None:
        self.shards = [shard for shard in shards if isinstance(shard, SegmentShard)]
        self.ranks = ranks
        self._others: dict[int, Place] = {}  # by number of the shard

    def gather(self) -> None:
        """Learn where the environments of the other ranks are, which must call this, too."""
        if self.shards and self.ranks.size > 1:
            places = [(shard.number, shard.place) for shard in self.shards]
            self._others = dict(self.ranks.gather(places))

    def tensors(self) -> dict[str, Tensor]:
        """Return all places as named tensors."""
        places = {**self._others, **{shard.number: shard.place for shard in self.shards}}
        return {
            f"{PREFIX}{number}.{name}": tensor
            for number, place in places.items()
            for name, tensor in place.items()
        }

    def split(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the tensors of `tensors()` in a saved state, and all others."""
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
        return own, {name: tensor for name, tensor in tensors.items() if name not in own}

    def load(
        self, tensors: Mapping[str, Tensor], agent: RAMAgent, config: TrainConfig, update: int
    ) -> None:
        """Let the environments go on from the places that `tensors` returned before an update.

        Raises:
            ValueError: if they are not those of such a training.
        """
        num_shards = self.shards[0].num_shards if self.shards else 0
        names = list(self.shards[0].expected_place(agent, config, update)) if self.shards else []
        expected = {
            f"{PREFIX}{number}.{name}": like
            for number in range(num_shards)
            for name, like in self.shards[0].expected_place(agent, config, update).items()
        }
        check_tensors(tensors, expected)
        self._others = {
            number: {name: tensors[f"{PREFIX}{number}.{name}"] for name in names}
            for number in range(num_shards)
        }
        for shard in self.shards:
            shard.place = self._others[shard.number]
