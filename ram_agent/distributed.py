"""Several processes that train one agent: their ranks, and all that they communicate.

torchrun starts them and gives each its rank. A rank plays its shards of every batch, gradients are
averaged over all ranks, and all take the same step; only the first rank writes and prints.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import signal
import sys
import time
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

# A rank that ends closes its connections, which the others notice at once. The timeouts are for a
# machine that stops responding: no working rank takes so long between two updates,
TIMEOUT = timedelta(seconds=60)
# or for its share of an evaluation, in which one rank may wait for the long games of another.
LONG_TIMEOUT = timedelta(hours=1)
# For ranks that torchrun has started, but which do not come, since their machine was lost.
MEETING_TIMEOUT = timedelta(minutes=5)


@dataclass
class Ranks:
    """This process among those that train together; without arguments, the only one.

    rank, size  its number, from 0, and how many there are
    device      of the tensors that are sent: NCCL sends from GPUs, gloo from the CPU
    group       the process group of updates; None for the default one, which waits longer
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    group: Any = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items of this rank: every `size`-th."""
        return items[self.rank :: self.size]

    def gather(self, results: list[T]) -> list[T]:
        """Return the results of all ranks for the items of `share`, in the items' order.

        A rank may wait an hour for another, whose items take longer.
        """
        if self.size == 1:
            return results
        gathered: list[list[T]] = [[]] * self.size
        self._call(dist.all_gather_object, gathered, results)
        missing = object()
        in_order = chain.from_iterable(zip_longest(*gathered, fillvalue=missing))
        return [result for result in in_order if result is not missing]  # type: ignore[misc]

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what the first rank makes: tensors, numbers and text in lists and dicts.

        The others wait for an hour: the first may download images. If it fails, they exit
        silently, since it prints the reason.
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
        # On the CPU; otherwise every rank would use memory of the first one's GPU.
        value: T = torch.load(io.BytesIO(content[0]), map_location="cpu", weights_only=True)
        return value

    def average_tensors(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the mean over all ranks of each tensor."""
        if self.size == 1:
            return tensors
        flat = torch.cat([tensor.flatten() for tensor in tensors]).to(self.device)
        self._call(dist.all_reduce, flat, group=self.group)
        flat /= self.size
        means = torch.split(flat, [tensor.numel() for tensor in tensors])
        return [mean.view_as(tensor) for mean, tensor in zip(means, tensors, strict=True)]

    def average(self, metrics: dict[str, float]) -> dict[str, float]:
        """Return the means of all ranks' metrics."""
        if self.size == 1:
            return metrics
        values = torch.tensor(list(metrics.values()), dtype=torch.float64)
        (means,) = self.average_tensors([values])
        return dict(zip(metrics, means.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Return whether the flag of any rank is set."""
        return self.average({"flag": float(flag)})["flag"] > 0

    def _call(self, collective: Callable[..., Any], *args: Any, **keywords: Any) -> None:
        try:
            collective(*args, **keywords)
        except RuntimeError as error:
            traceback.clear_frames(error.__traceback__)  # they refer to the group
            keywords.clear()
            # The first sentence, without the C++ file in front of it.
            reason = re.sub(r"^\[.*?\] ", "", str(error).splitlines()[0]).split(". ")[0]
            raise ConnectionError(
                f"Rank {self.rank} of {self.size} stops because another was lost: {reason}. Its "
                "own message, or torchrun's, gives the cause. Continue from the last checkpoint "
                "with --resume."
            ) from error


def local_device(name: str) -> str:
    """Return the device of this rank: with "cuda", each rank of a machine has a GPU of its own."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and _num_ranks() > 1 else name


def checked_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        ValueError: if there is none, or this PyTorch cannot use it.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # an unknown name, or a torch without it
        reason, wanted = str(error).splitlines()[0].rstrip("."), "a device that it supports"
        if "at start of device string" in reason:  # followed by all names of PyTorch's devices
            reason, wanted = "PyTorch has no device of this name", "cuda for a GPU"
        raise ValueError(
            f"device={name!r} cannot be used: {reason}. Give cpu, or {wanted}."
        ) from None


@contextmanager
def join_ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the other ranks that torchrun started; without torchrun there is one rank.

    Args:
        device: where this rank's networks are.
    """
    if _num_ranks() == 1:
        yield Ranks()
        return
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    options: dict[str, Any] = {"backend": "nccl" if on_gpu else "gloo", "timeout": LONG_TIMEOUT}
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        store, rank = meet_ranks(), int(os.environ["RANK"])
        dist.init_process_group(**options, store=store, rank=rank, world_size=_num_ranks())
    else:
        dist.init_process_group(**options)
    ranks = Ranks(
        dist.get_rank(),
        dist.get_world_size(),
        str(device) if on_gpu else "cpu",
        dist.new_group(timeout=TIMEOUT),
    )
    try:
        yield ranks
    except ConnectionError:
        # torchrun notices a lost rank, too, and ends the others: first let this one print why.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise
    finally:
        # A process that exits while the group's threads run is aborted, and they run as long as
        # anything refers to the group.
        ranks.group = None
        dist.destroy_process_group()


def meet_ranks() -> Any:
    """Return a store that all ranks which are alive share, and that no earlier ones have used.

    torchrun keeps its store when it starts ranks again, so that they could find the addresses of
    those that died. Here the first rank makes up a new name for the store's keys. The others know
    that the name is not an old one when the first rank answers the number that they made up.

    Raises:
        ConnectionError: if a rank does not come in time.
    """
    rank, size = int(os.environ["RANK"]), _num_ranks()
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(  # type: ignore[attr-defined]
        address, port, is_master=False, timeout=MEETING_TIMEOUT
    )
    mine = secrets.token_hex(8)
    try:
        if rank == 0:
            store.set("ram/name", mine)
            for other in range(1, size):
                number = store.get(f"ram/{mine}/{other}").decode()
                store.set(f"ram/{mine}/{other}/{number}", "")
            return dist.PrefixStore(mine, store)  # type: ignore[attr-defined]
        deadline = time.monotonic() + MEETING_TIMEOUT.total_seconds()
        while True:
            name = store.get("ram/name").decode()
            store.set(f"ram/{name}/{rank}", mine)
            try:
                store.wait([f"ram/{name}/{rank}/{mine}"], timedelta(seconds=2))
                return dist.PrefixStore(name, store)  # type: ignore[attr-defined]
            except RuntimeError:  # an old name, or the first rank waits for others
                if time.monotonic() > deadline:
                    raise
    except RuntimeError as error:
        raise ConnectionError(
            f"Rank {rank} of {size} stops: another rank did not join within "
            f"{MEETING_TIMEOUT.total_seconds() / 60:.0f} minutes. Check that its machine runs and "
            f"reaches {address}:{port}. Continue from the last checkpoint with --resume."
        ) from error


def _num_ranks() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
