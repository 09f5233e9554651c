"""Alternative encodings of the (location, choice) action, for agents without Tuple support.

A code has a space and decodes actions of it. A wrapper and its vector version share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ram_envs.actions import (
    as_array,
    check_first_choice,
    checked_coordinates,
    checked_pair,
    is_glimpse_action,
)
from ram_envs.checks import checked_integer, checked_location, checked_number
from ram_envs.gaze import GazeBatch

Locations = npt.NDArray[np.float32]  # (2,), or (B, 2) of a vector environment
Lead = tuple[int, ...]  # () for one environment, (B,) for a vector environment


class ActionCode(Protocol):
    """An encoding of actions."""

    @property
    def space(self) -> gym.Space[Any]:
        """The action space of one environment."""

    def decode(self, action: Any, batch: GazeBatch, lead: Lead) -> tuple[Any, Any]:
        """Decode an action, or B batched as Gymnasium does, to the locations and the choices.

        Their shapes are (*lead, 2) and `lead`. What a code passes on as it is, the environment
        checks. Only the rows of running episodes must be in range: the environment ignores the
        others, or refuses to step them.

        Raises:
            ValueError: if it is not an action of the space, or not B of them.
        """


def num_choices(env: Any) -> int:
    """Return n of an environment's action space Tuple(Box (2,), Discrete(n)).

    Raises:
        TypeError: if the action space is another one.
        ValueError: if the choices do not begin at 0.
    """
    space = env.single_action_space if hasattr(env, "single_action_space") else env.action_space
    if not is_glimpse_action(space):
        way = "Use only one wrapper that changes the actions."
        if isinstance(space, spaces.Tuple) and len(space) == 2:
            way = f"Make the environment with Discrete actions instead of {space[1]}."
        raise TypeError(
            f"action_space={space} is not Tuple(Box (2,), Discrete(n)), as in the environments of "
            f"ram_envs. {way}"
        )
    check_first_choice(space[1])
    return int(space[1].n)


def check_absolute(env: Any) -> None:
    """Raise TypeError if the locations of an environment's actions are shifts."""
    if has_relative_gaze(env):
        raise TypeError(
            "the locations of RelativeGaze are shifts, but this wrapper sets locations. Use one of "
            "the two."
        )


def has_relative_gaze(env: Any) -> bool:
    """Return whether one of an environment's wrappers is `RelativeGaze`."""
    while hasattr(env, "env"):
        if isinstance(getattr(env, "_code", None), RelativeGazeCode):
            return True
        env = env.env
    return False


class GridCode:
    """Three integers (column, row, choice): the location is the center of a grid cell."""

    def __init__(self, num_choices: int, columns: int, rows: int) -> None:
        columns, rows = checked_integer("columns", columns, 1), checked_integer("rows", rows, 1)
        self.space = spaces.MultiDiscrete([columns, rows, num_choices])

    def decode(self, action: Any, batch: GazeBatch, lead: Lead) -> tuple[Any, Any]:
        cells = as_array(action)
        sizes, shape = self.space.nvec, (*lead, 3)
        if cells.shape == shape:
            cells = np.where(batch.running.reshape(*lead, 1), cells, 0)
        is_integer = cells.shape == shape and np.issubdtype(cells.dtype, np.integer)
        if not is_integer or (cells < 0).any() or (cells >= sizes).any():
            raise ValueError(
                f"action={action!r} is not (column, row, choice). Give integers from 0 to "
                f"{(sizes - 1).tolist()}, of shape {shape}."
            )
        locations = (2 * cells[..., :2] + 1) / sizes[:2] - 1
        return locations.astype(np.float32), cells[..., 2].astype(np.int64)


class FlatBoxCode:
    """A vector of 2 + n numbers in [−1, 1]: the location, and a score for each choice."""

    def __init__(self, num_choices: int) -> None:
        self.space = spaces.Box(-1, 1, (2 + num_choices,), np.float32)

    def decode(self, action: Any, batch: GazeBatch, lead: Lead) -> tuple[Any, Any]:
        numbers = as_array(action, np.float32)
        shape = (*lead, *self.space.shape)
        if numbers.shape == shape:
            numbers = np.where(batch.running.reshape(*lead, 1), numbers, 0)
        if numbers.shape != shape or np.isnan(numbers).any():
            raise ValueError(
                f"action={action!r} is not (x, y, scores). Give numbers without NaN, of shape "
                f"{shape}."
            )
        return numbers[..., :2], numbers[..., 2:].argmax(-1)


class DictCode:
    """{"location": (x, y), NAME: choice}."""

    def __init__(self, num_choices: int, choice: str) -> None:
        if choice == "location":
            raise ValueError(
                "choice='location' is already the key of the location. Choose another name."
            )
        self.choice = choice
        location = spaces.Box(-1, 1, (2,), np.float32)
        self.space = spaces.Dict({"location": location, choice: spaces.Discrete(num_choices)})

    def decode(self, action: Any, batch: GazeBatch, lead: Lead) -> tuple[Any, Any]:
        if not isinstance(action, Mapping) or set(action) != {"location", self.choice}:
            raise ValueError(
                f"action={action!r} is not a dict of 'location' and {self.choice!r}. Give both, "
                "and nothing else."
            )
        return action["location"], action[self.choice]


class RelativeGazeCode:
    """(shift, choice): the location is the last one plus a shift of at most `max_shift`."""

    def __init__(self, num_choices: int, max_shift: float) -> None:
        shift = spaces.Box(-1, 1, (2,), np.float32)
        self.space = spaces.Tuple((shift, spaces.Discrete(num_choices)))
        self._max_shift = checked_number("max_shift", max_shift, 0, 2, ", the canvas's side")

    def decode(self, action: Any, batch: GazeBatch, lead: Lead) -> tuple[Any, Any]:
        shifts, choices = checked_pair(action)
        shifts = checked_coordinates(shifts, (*lead, 2), batch.running.reshape(lead))
        locations = batch.locations.reshape(*lead, 2)
        return shift_locations(locations, shifts, self._max_shift), choices


def shift_locations(
    locations: Locations, shifts: npt.NDArray[np.floating], max_shift: float
) -> Locations:
    """Return locations (…, 2) moved by shifts (…, 2) in the unit disc, times `max_shift`."""
    moves = np.clip(shifts.astype(np.float64), -1e9, 1e9)  # so that infinity has a direction
    moves /= np.maximum(np.hypot(moves[..., :1], moves[..., 1:]), 1)
    return np.clip(locations + max_shift * moves, -1, 1).astype(np.float32)


class FixedGazeCode:
    """The choice alone; the location is fixed.

    `first_location`, here and below: where an episode begins; None for a random location.
    """

    def __init__(self, num_choices: int, location: Any) -> None:
        self.space = spaces.Discrete(num_choices)
        self.first_location = checked_location("location", location)

    def decode(self, action: Any, batch: GazeBatch, lead: Lead) -> tuple[Any, Any]:
        return np.tile(self.first_location, (*lead, 1)), action


class RandomGazeCode:
    """The choice alone; the locations are random and follow from the environment's seed."""

    first_location = None

    def __init__(self, num_choices: int) -> None:
        self.space = spaces.Discrete(num_choices)

    def decode(self, action: Any, batch: GazeBatch, lead: Lead) -> tuple[Any, Any]:
        return batch.random_locations().reshape(*lead, 2), action
