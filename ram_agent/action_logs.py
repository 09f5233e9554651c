"""The action logs that restore the environments of a resumed run, as part of its saved state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ram_agent.agent import RAMAgent
from ram_agent.config import TrainConfig
from ram_agent.distributed import Ranks
from ram_agent.segment_shard import ActionLog, SegmentShard
from ram_agent.shard import Shard
from ram_agent.weights import check_tensors

PREFIX = "environments."


class ActionLogs:
    """The action logs of all shards, those of other ranks included.

    Args:
        shards: those of this rank. Shards that learn from labels have no action log: each update
            begins new episodes.
        ranks: the processes that train together.
    """

    def __init__(self, shards: Sequence[Shard], ranks: Ranks) -> None:
        self.shards = [shard for shard in shards if isinstance(shard, SegmentShard)]
        self.ranks = ranks
        self._gathered: dict[int, ActionLog] = {}  # by number of the shard

    def gather(self) -> None:
        """Collect the action logs of the other ranks, which must call this, too."""
        if self.shards and self.ranks.size > 1:
            logs = [(shard.number, shard.action_log) for shard in self.shards]
            self._gathered = dict(self.ranks.gather(logs))

    def tensors(self) -> dict[str, Tensor]:
        """Return all action logs as named tensors."""
        logs = {**self._gathered, **{shard.number: shard.action_log for shard in self.shards}}
        return {
            f"{PREFIX}{number}.{name}": tensor
            for number, log in logs.items()
            for name, tensor in log.items()
        }

    def split(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the tensors of `tensors()` in a saved state, and all others."""
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
        return own, {name: tensor for name, tensor in tensors.items() if name not in own}

    def load(
        self, tensors: Mapping[str, Tensor], agent: RAMAgent, config: TrainConfig, update: int
    ) -> None:
        """Let the environments go on from the logs that `tensors` returned before an update.

        Raises:
            ValueError: if they are not those of such a training.
        """
        like: ActionLog = {}
        num_shards = 0
        for shard in self.shards[:1]:  # all have the same
            like = shard.expected_action_log(agent, config, update)
            num_shards = shard.num_shards
        expected = {
            f"{PREFIX}{number}.{name}": tensor
            for number in range(num_shards)
            for name, tensor in like.items()
        }
        check_tensors(tensors, expected)
        self._gathered = {
            number: {name: tensors[f"{PREFIX}{number}.{name}"] for name in like}
            for number in range(num_shards)
        }
        for shard in self.shards:
            shard.action_log = self._gathered[shard.number]
