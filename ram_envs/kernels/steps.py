"""Compiled kernels of a step's bookkeeping: actions are checked, labels are counted."""

from __future__ import annotations

from typing import Any

import numpy as np

from ram_envs import actions
from ram_envs import gaze as gazes
from ram_envs.kernels.compiler import (
    FLAG,
    FLAGS,
    INTEGER,
    INTEGERS,
    LOCATIONS,
    NOTHING,
    OUT_DOUBLES,
    OUT_FLAGS,
    OUT_INTEGERS,
    OUT_LOCATIONS,
    compiled,
)
from ram_envs.tasks import classification


def clip_locations(locations: Any, choices: Any, num_choices: int) -> Any:
    """See `ram_envs.actions.clip_locations`."""
    clipped = np.empty(locations.shape, np.float32)
    try:
        is_valid = _clip_locations(locations, choices, num_choices, clipped)
    except TypeError:  # not contiguous
        return actions.clip_locations.numpy(locations, choices, num_choices)
    return clipped if is_valid else None


def note_step(gaze: Any, locations: Any, ended: Any) -> None:
    """See `ram_envs.gaze.note_step`."""
    try:
        _note_step(gaze.locations, gaze.steps, gaze.running, locations, ended)
    except TypeError:  # another type, or not contiguous
        gazes.note_step.numpy(gaze, locations, ended)


def count_labels(state: Any, num_glimpses: int, rows: Any, choices: Any) -> Any:
    """See `ram_envs.tasks.classification.count_labels`."""
    rewards, decided = np.empty(len(rows)), np.empty(len(rows), np.bool_)
    arrays = (rows, choices, rewards, decided)
    try:
        if _count_labels(state.steps, state.labels, num_glimpses, *arrays):
            return rewards, decided
    except TypeError:  # rows or choices of another type, or with gaps
        pass
    return classification.count_labels.numpy(state, num_glimpses, rows, choices)


@compiled(FLAG, LOCATIONS, INTEGERS, INTEGER, OUT_LOCATIONS)
def _clip_locations(locations, choices, num_choices, clipped):
    """Clip all coordinates; return whether none is NaN and all choices exist."""
    is_valid = True
    for b in range(len(locations)):
        for axis in range(2):
            place = locations[b, axis]
            is_valid &= place == place
            clipped[b, axis] = min(max(place, np.float32(-1)), np.float32(1))
        is_valid &= 0 <= choices[b] < num_choices
    return is_valid


@compiled(NOTHING, OUT_LOCATIONS, OUT_INTEGERS, OUT_FLAGS, LOCATIONS, FLAGS)
def _note_step(locations, steps, running, new_locations, ended):
    for b in range(len(locations)):
        locations[b, 0], locations[b, 1] = new_locations[b, 0], new_locations[b, 1]
        steps[b] += 1
        running[b] = not ended[b]


@compiled(FLAG, OUT_INTEGERS, INTEGERS, INTEGER, INTEGERS, INTEGERS, OUT_DOUBLES, OUT_FLAGS)
def _count_labels(steps, labels, num_glimpses, rows, choices, rewards, decided):
    """Count a step; return False, with nothing changed, if a row does not exist."""
    for i in range(rows.size):
        if rows[i] < 0 or rows[i] >= steps.size:
            return False
    for i in range(rows.size):
        r = rows[i]
        steps[r] += 1
        decided[i] = steps[r] == num_glimpses
        rewards[i] = 1.0 if decided[i] and choices[i] == labels[r] else 0.0
    return True
