"""Counter-based random numbers: an episode's draws depend on its key alone.

A stream is a SplitMix64 sequence (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number
generators") whose state is a hash of its key. Draw j is a function of (key, j), so the same
episode is the same wherever it runs, whichever sub-environments start beside it, and the draws of
a whole batch are made in a few vectorised operations.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import arange, beside, cast, is_tensor

UInt64Array = npt.NDArray[np.uint64]  # or a tensor of int64 with the same bits: torch has no more


class _Constants(NamedTuple):
    golden: Any  # 2^64 / golden ratio, SplitMix64's increment
    mix_1: Any
    mix_2: Any


_OF_ARRAYS = _Constants(
    golden=np.uint64(0x9E3779B97F4A7C15),
    mix_1=np.uint64(0xBF58476D1CE4E5B9),
    mix_2=np.uint64(0x94D049BB133111EB),
)


def as_signed(word: int) -> int:
    """The integer of int64 that has the 64 bits of `word`."""
    return (word + 2**63) % 2**64 - 2**63


_OF_TENSORS = _Constants(*(as_signed(int(word)) for word in _OF_ARRAYS))


def _constants(words: UInt64Array) -> _Constants:
    return _OF_TENSORS if is_tensor(words) else _OF_ARRAYS


def _shift_right(words: Any, count: int) -> Any:
    """Words moved `count` bits to the right, zeros following."""
    if is_tensor(words):  # whose sign follows instead
        return (words >> count) & (2 ** (64 - count) - 1)
    return words >> np.uint64(count)


def _mix(words: UInt64Array) -> UInt64Array:
    """SplitMix64's finaliser: a bijection of 64-bit words in which every input bit matters."""
    constants = _constants(words)
    words = words ^ _shift_right(words, 30)
    words = words * constants.mix_1
    words ^= _shift_right(words, 27)
    words *= constants.mix_2
    words ^= _shift_right(words, 31)
    return words


def combine_keys(*parts: npt.ArrayLike) -> UInt64Array:
    """Hash integers or arrays of integers, broadcast together, into 64-bit keys, shape (B,).

    The order of the parts matters: (seed 1, episode 2) and (seed 2, episode 1) are two streams.
    Beside tensors, the other parts are single integers.
    """
    tensors: list[Any] = [part for part in parts if is_tensor(part)]
    key: Any = tensors[0].new_zeros(1) if tensors else np.zeros(1, np.uint64)
    for part in parts:
        words: Any = part
        if not tensors:
            words = np.atleast_1d(np.asarray(part)).astype(np.uint64)
        elif not is_tensor(part):
            words = as_signed(int(part))  # type: ignore[arg-type]
        key = _mix((key ^ words) + _constants(key).golden)
    return key  # type: ignore[no-any-return]


def key_from_seed(seed: int) -> np.uint64:
    """The key of a Gymnasium seed, any integer from 0; seeds below 2^64 keep distinct keys."""
    return np.uint64(seed % 2**64)


def key_from_text(text: str) -> np.uint64:
    """The key of a text, the same in every process and on every machine."""
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


class Streams:
    """B independent streams of random numbers, one for each row of a batch.

    Every method takes ``count`` draws from each stream and returns shape (B, count); a row's
    draws do not depend on the other rows.
    """

    def __init__(self, keys: UInt64Array) -> None:
        self._states = keys
        self._drawn = 0

    def __len__(self) -> int:
        return len(self._states)

    def bits(self, count: int) -> UInt64Array:
        """Uniform 64-bit words, (B, count)."""
        counters = arange(count, self._states) + (self._drawn + 1)
        if not is_tensor(counters):
            counters = counters.view(np.uint64)
        self._drawn += count
        return _mix(self._states[:, None] + counters * _constants(self._states).golden)

    def uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> npt.NDArray[np.float64]:
        """Uniform numbers in [low, high), (B, count), from the top 53 bits of each word."""
        fractions = cast(_shift_right(self.bits(count), 11), "float64") * 2.0**-53
        uniform: npt.NDArray[np.float64] = low + (high - low) * fractions
        return uniform

    def integers(self, *ranges: int) -> npt.NDArray[np.int64]:
        """Uniform integers, (B, len(ranges)); column j lies in 0 … ranges[j] − 1.

        The fixed-point product of 32 random bits with the range is off from uniform by less than
        range / 2^32 (1 in 10^5 for 50,000 images), without rejection, so that every draw costs
        the same.
        """
        high_bits = _shift_right(self.bits(len(ranges)), 32)
        widths = np.asarray(ranges, np.uint64)
        if is_tensor(high_bits):
            widths = beside(widths.view(np.int64), high_bits)
        integers: npt.NDArray[np.int64] = cast(_shift_right(high_bits * widths, 32), "int64")
        return integers
