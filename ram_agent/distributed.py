"""Several processes train one agent: who is who among them, and all that they tell each other.

torchrun starts them and gives each its rank. A rank plays its parts of every batch, gradients are
averaged over all ranks, and all take the same step; the first rank alone writes and prints.
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, zip_longest
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

# A rank that ends closes its connections, and the others know at once. This is for a machine that
# falls silent; between two updates nothing takes a working rank so long.
LONGEST_SILENCE = timedelta(seconds=60)


@dataclass
class Ranks:
    """This process among those that train together; without arguments, it is alone.

    rank, size  its number, from 0, and how many there are
    device      where tensors have to be to travel: NCCL sends from GPUs, gloo from the CPU
    group       those who hear each other while they train; None, all of them
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    group: Any = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """The items of this rank: they are dealt out in turn."""
        return items[self.rank :: self.size]

    def gather(self, results: list[T]) -> list[T]:
        """What all ranks made of the items that `share` dealt out, in the items' order."""
        if self.size == 1:
            return results
        hands: list[list[T]] = [[]] * self.size
        self._call(dist.all_gather_object, hands, results, group=self.group)
        nothing = object()
        dealt = chain.from_iterable(zip_longest(*hands, fillvalue=nothing))
        return [result for result in dealt if result is not nothing]  # type: ignore[misc]

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first rank makes, for all: tensors, numbers and text in lists and dicts.

        It may take its time: it may download images, and the others wait for it. If it fails, they
        leave without a word, since the first one says why.
        """
        if self.size == 1:
            return make()
        content = [b""]
        try:
            if self.is_first:
                file = io.BytesIO()
                torch.save(make(), file)
                content = [file.getvalue()]
        finally:
            self._call(dist.broadcast_object_list, content, src=0)
        if not content[0]:
            sys.exit(1)
        # On the CPU: else every rank would take memory of the first one's GPU.
        value: T = torch.load(io.BytesIO(content[0]), map_location="cpu", weights_only=True)
        return value

    def average_tensors(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """The mean over all ranks of each tensor."""
        if self.size == 1:
            return tensors
        flat = torch.cat([tensor.flatten() for tensor in tensors]).to(self.device)
        self._call(dist.all_reduce, flat, group=self.group)
        flat /= self.size
        means = torch.split(flat, [tensor.numel() for tensor in tensors])
        return [mean.view_as(tensor) for mean, tensor in zip(means, tensors, strict=True)]

    def average(self, metrics: dict[str, float]) -> dict[str, float]:
        """The means of all ranks' metrics."""
        if self.size == 1:
            return metrics
        values = torch.tensor(list(metrics.values()), dtype=torch.float64)
        (means,) = self.average_tensors([values])
        return dict(zip(metrics, means.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return self.average({"flag": float(flag)})["flag"] > 0

    def _call(self, collective: Callable[..., Any], *args: Any, **keywords: Any) -> None:
        try:
            collective(*args, **keywords)
        except RuntimeError as error:
            traceback.clear_frames(error.__traceback__)  # which refer to the group
            keywords.clear()
            # The first sentence, without the C++ file in front of it.
            reason = re.sub(r"^\[.*?\] ", "", str(error).splitlines()[0]).split(". ")[0]
            raise ConnectionError(
                f"rank {self.rank} of {self.size} stops, since another was lost: {reason}. Its own "
                "message, or torchrun's, says why. The last checkpoint is intact; go on from it "
                "with --resume."
            ) from error


def local_device(name: str) -> str:
    """The device of this rank: with "cuda", the ranks of a machine take a GPU each."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and _num_ranks() > 1 else name


def checked_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        ValueError: if there is none, or this PyTorch cannot use it.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # an unknown name, or a torch without it
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={name!r} cannot be used: {reason}") from None


@contextmanager
def join_ranks(device: torch.device) -> Iterator[Ranks]:
    """Meet the other ranks that torchrun started; a process that it did not start is alone.

    Args:
        device: where this rank's networks are.
    """
    if _num_ranks() == 1:
        yield Ranks()
        return
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    ranks = Ranks(
        dist.get_rank(),
        dist.get_world_size(),
        str(device) if on_gpu else "cpu",
        dist.new_group(timeout=LONGEST_SILENCE),
    )
    try:
        yield ranks
    except ConnectionError:
        # torchrun notices a lost rank too, and ends the others; what they have to say comes first.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise
    finally:
        # A process that ends with the group's threads running is aborted, and they run as long as
        # anything refers to it.
        ranks.group = None
        dist.destroy_process_group()


def _num_ranks() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
