"""The action logs that restore the environments of a resumed run, as part of its saved state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ram_agent.distributed import Ranks
from ram_agent.shard import ActionLog, Shard
from ram_agent.weights import check_tensors

PREFIX = "environments."


class ActionLogs:
    """The action logs of all shards, those of other ranks included.

    Args:
        shards: those of this rank.
        ranks: the processes that train together.
    """

    def __init__(self, shards: Sequence[Shard], ranks: Ranks) -> None:
        self.shards = shards
        self.ranks = ranks
        self._gathered: dict[int, ActionLog] = {}  # by number of the shard

    def gather(self) -> None:
        """Collect the action logs of the other ranks, which must call this, too."""
        if self.ranks.size > 1:
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

    def load(self, tensors: Mapping[str, Tensor], update: int) -> None:
        """Let the environments go on from the logs that `tensors` returned before an update.

        Raises:
            ValueError: if they are not those of such a training.
        """
        like = self.shards[0].expected_action_log(update)  # all have the same
        num_shards = self.shards[0].num_shards
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
            shard.continue_from(self._gathered[shard.number])
