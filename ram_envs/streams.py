"""Counter-based random numbers: an episode's draws depend on its key alone.

A stream is a SplitMix64 sequence (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number
generators") whose state is a hash of its key. Draw j is a function of (key, j): an episode
does not depend on where it runs, or on which sub-environments start with it, and a few vectorized
operations make the draws of a whole batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import arange, cast, is_tensor, to_like
from ram_envs.checks import checked_integer, checked_number
from ram_envs.kernels import kernel

# Or a tensor of int64 with the same bits, since torch does not compute with uint64.
UInt64Array = npt.NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, SplitMix64's increment
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB

MAX_RANGE = 2**32  # of integers: their product with 32 random bits fits into 64
MAX_UNIFORM = 1e300  # in size: the difference of two is a finite float


class _Arithmetic(NamedTuple):
    """Arithmetic on 64-bit words: the constants, and a shift that fills with zeros."""

    golden: Any
    mix_1: Any
    mix_2: Any
    shift_right: Callable[[Any, int], Any]


def as_signed(word: int) -> int:
    """Return the int64 integer with the 64 bits of `word`."""
    return (word + 2**63) % 2**64 - 2**63


_OF_ARRAYS = _Arithmetic(
    np.uint64(GOLDEN),
    np.uint64(MIX_1),
    np.uint64(MIX_2),
    lambda words, count: words >> np.uint64(count),
)
_OF_TENSORS = _Arithmetic(
    as_signed(GOLDEN),
    as_signed(MIX_1),
    as_signed(MIX_2),
    # A shift of int64 fills with the sign bit, which the mask removes.
    lambda words, count: (words >> count) & (2 ** (64 - count) - 1),
)


def _mix(words: Any, use: _Arithmetic) -> Any:
    """Apply SplitMix64's finalizer, a bijection of 64-bit words that mixes all input bits."""
    words = words ^ use.shift_right(words, 30)
    words = words * use.mix_1
    words ^= use.shift_right(words, 27)
    words *= use.mix_2
    words ^= use.shift_right(words, 31)
    return words


def combine_keys(*parts: npt.ArrayLike) -> UInt64Array:
    """Hash integers or arrays of integers, broadcast together, into 64-bit keys, shape (B,).

    The order of the parts matters: (seed 1, episode 2) and (seed 2, episode 1) are two streams.
    If a part is a tensor, the others are tensors or single integers.
    """
    tensors: list[Any] = [part for part in parts if is_tensor(part)]
    use = _OF_TENSORS if tensors else _OF_ARRAYS
    key: Any = tensors[0].new_zeros(1) if tensors else np.zeros(1, np.uint64)
    for part in parts:
        words: Any = part
        if not tensors:
            words = np.atleast_1d(np.asarray(part)).astype(np.uint64)
        elif not is_tensor(part):
            words = as_signed(int(part))  # type: ignore[arg-type]
        key = _mix((key ^ words) + use.golden, use)
    return key  # type: ignore[no-any-return]


def key_from_seed(seed: int | np.integer) -> np.uint64:
    """Return the key of a seed, a non-negative integer; seeds below 2^64 have distinct keys."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed={seed!r} is not a seed. Give an integer of at least 0.")
    return np.uint64(int(seed) % 2**64)


def key_from_text(text: str) -> np.uint64:
    """Return the key of a text, the same in every process and on every machine."""
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


class Streams:
    """B independent streams of random numbers, one for each row of a batch.

    Every method takes `count` draws from each stream and returns shape (B, count). A row's draws
    do not depend on the other rows. An argument out of range is a ValueError.
    """

    def __init__(self, keys: UInt64Array) -> None:
        self._states = keys
        self._drawn = 0

    def __len__(self) -> int:
        return len(self._states)

    def bits(self, count: int) -> UInt64Array:
        """Draw uniform 64-bit words, (B, count)."""
        return draw_bits(self._states, self._take(count), count)

    def uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> npt.NDArray[np.float64]:
        """Draw uniform numbers in [low, high), (B, count), from the top 53 bits of each word."""
        low = checked_number("low", low, -MAX_UNIFORM, MAX_UNIFORM)
        high = checked_number("high", high, low, MAX_UNIFORM)
        return draw_uniform.on(self._states)(self._states, self._take(count), count, low, high)

    def integers(self, *ranges: int) -> npt.NDArray[np.int64]:
        """Draw uniform integers, (B, len(ranges)); column j lies in 0 … ranges[j] − 1.

        A range is an integer from 1 to 2^32. The high half of the product of 32 random bits and the
        range deviates from uniform by less than range / 2^32 (1 in 10^5 for 50,000 images). Nothing
        is rejected, so that every draw costs the same.
        """
        for each in ranges:
            if type(each) is not int or not 0 < each <= MAX_RANGE:  # the cheaper test first
                checked_integer("range", each, 1, MAX_RANGE, ", or use the 64 bits of bits()")
        return draw_integers.on(self._states)(self._states, self._take(len(ranges)), ranges)

    def _take(self, count: int) -> int:
        """Return the number of the next draw, the first of `count`, counted from 1."""
        first = self._drawn + 1
        self._drawn += checked_integer("count", count, 0)
        return first


def draw_bits(states: UInt64Array, first: int, count: int) -> UInt64Array:
    """Return the draws first … first + count − 1 of B states, (B, count)."""
    use = _OF_TENSORS if is_tensor(states) else _OF_ARRAYS
    counters: Any = (
        np.arange(first, first + count, dtype=np.uint64)
        if use is _OF_ARRAYS
        else first + arange(count, states)
    )
    words: UInt64Array = _mix(states[:, None] + counters * use.golden, use)
    return words


@kernel("streams")
def draw_uniform(
    states: UInt64Array, first: int, count: int, low: float, high: float
) -> npt.NDArray[np.float64]:
    """Return draws in [low, high), (B, count); see `Streams.uniform`."""
    use = _OF_TENSORS if is_tensor(states) else _OF_ARRAYS
    bits = draw_bits(states, first, count)
    fractions = cast(use.shift_right(bits, 11), "float64") * 2.0**-53
    uniform: npt.NDArray[np.float64] = low + (high - low) * fractions
    return uniform


@kernel("streams")
def draw_integers(
    states: UInt64Array, first: int, ranges: tuple[int, ...]
) -> npt.NDArray[np.int64]:
    """Return draws below `ranges`, (B, len(ranges)); see `Streams.integers`."""
    use = _OF_TENSORS if is_tensor(states) else _OF_ARRAYS
    high_bits = use.shift_right(draw_bits(states, first, len(ranges)), 32)
    widths = np.asarray(ranges, np.uint64)
    if use is _OF_TENSORS:
        widths = to_like(widths.view(np.int64), high_bits)
    integers: npt.NDArray[np.int64] = cast(use.shift_right(high_bits * widths, 32), "int64")
    return integers


@kernel("streams")
def episode_keys(keys: UInt64Array, episodes: npt.ArrayLike) -> tuple[UInt64Array, UInt64Array]:
    """Return the keys (B,) of the first locations, and those of the task, of each episode."""
    keys_of_episodes = combine_keys(keys, episodes)
    gaze, task = combine_keys(keys_of_episodes, arange(2, keys_of_episodes)[:, None])
    return gaze, task
