"""Compiled kernels of the random streams: SplitMix64, draw after draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from ram_envs import streams
from ram_envs.kernels.compiler import (
    DOUBLE,
    INTEGER,
    INTEGERS,
    KEYS,
    NOTHING,
    OUT_DOUBLES,
    OUT_INTEGERS,
    OUT_KEYS,
    compiled,
    flat,
    inlined,
)

_GOLDEN, _MIX_1, _MIX_2 = (
    np.uint64(streams.GOLDEN),
    np.uint64(streams.MIX_1),
    np.uint64(streams.MIX_2),
)
_11, _27, _30, _31, _32 = (np.uint64(count) for count in (11, 27, 30, 31, 32))


def draw_uniform(states: Any, first: int, count: int, low: float, high: float) -> Any:
    """See `ram_envs.streams.draw_uniform`."""
    drawn = np.empty((len(states), count))
    _draw_uniform(flat(states), first, count, low, high, drawn.reshape(-1))
    return drawn


def draw_integers(states: Any, first: int, ranges: tuple[int, ...]) -> Any:
    """See `ram_envs.streams.draw_integers`."""
    drawn = np.empty((len(states), len(ranges)), np.int64)
    _draw_integers(flat(states), first, np.array(ranges, np.uint64), drawn.reshape(-1))
    return drawn


def episode_keys(keys: Any, episodes: Any) -> Any:
    """See `ram_envs.streams.episode_keys`."""
    gaze, task = np.empty(len(keys), np.uint64), np.empty(len(keys), np.uint64)
    _episode_keys(keys, episodes, gaze, task)
    return gaze, task


@inlined
def _mix(word):
    word = (word ^ (word >> _30)) * _MIX_1
    word = (word ^ (word >> _27)) * _MIX_2
    return word ^ (word >> _31)


@compiled(NOTHING, KEYS, INTEGER, INTEGER, DOUBLE, DOUBLE, OUT_DOUBLES)
def _draw_uniform(states, first, count, low, high, drawn):
    for b in range(states.size):
        for j in range(count):
            word = _mix(states[b] + np.uint64(first + j) * _GOLDEN)
            drawn[b * count + j] = low + (high - low) * (np.float64(word >> _11) * 2.0**-53)


@compiled(NOTHING, KEYS, INTEGER, KEYS, OUT_INTEGERS)
def _draw_integers(states, first, ranges, drawn):
    for b in range(states.size):
        for j in range(ranges.size):
            word = _mix(states[b] + np.uint64(first + j) * _GOLDEN)
            drawn[b * ranges.size + j] = np.int64(((word >> _32) * ranges[j]) >> _32)


@compiled(NOTHING, KEYS, INTEGERS, OUT_KEYS, OUT_KEYS)
def _episode_keys(keys, episodes, gaze, task):
    for b in range(keys.size):
        key = _mix(keys[b] + _GOLDEN)
        key = _mix((key ^ np.uint64(episodes[b])) + _GOLDEN)
        key = _mix(key + _GOLDEN)
        gaze[b] = _mix(key + _GOLDEN)
        task[b] = _mix((key ^ np.uint64(1)) + _GOLDEN)
