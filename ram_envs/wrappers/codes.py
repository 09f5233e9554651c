"""Action codes: other ways to say (location, choice), for agents that cannot say pairs.

A code knows the space it takes and how to decode B actions of it; the wrappers of one environment
and of many share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ram_envs.glimpse_batch import GlimpseBatch

Locations = npt.NDArray[np.float32]  # (B, 2)
Choices = npt.NDArray[np.int64]  # (B,)


class ActionCode(Protocol):
    """How actions of a space are decoded."""

    @property
    def space(self) -> gym.Space[Any]:
        """What one environment takes."""

    def decode(self, actions: Any, batch: GlimpseBatch[Any]) -> tuple[Locations, Choices]:
        """B actions, batched as Gymnasium does, to locations (B, 2) and choices (B,).

        Raises:
            ValueError: if they are not B actions of the space.
        """


def num_choices(env: Any) -> int:
    """n of an environment's action space Tuple(Box (2,), Discrete(n)).

    Raises:
        TypeError: if the space is another, that of an environment wrapped before, say.
    """
    space = env.single_action_space if hasattr(env, "single_action_space") else env.action_space
    if not (
        isinstance(space, spaces.Tuple)
        and len(space) == 2
        and space[0].shape == (2,)
        and isinstance(space[1], spaces.Discrete)
    ):
        raise TypeError(
            f"action_space={space}: expected Tuple(Box (2,), Discrete(n)), as the environments of "
            "ram_envs have it. Only one wrapper can change the actions; leave the others out."
        )
    return int(space[1].n)


class GridCode:
    """(column, row, choice), three integers: the location is the middle of a cell of a grid."""

    def __init__(self, num_choices: int, columns: int, rows: int) -> None:
        for name, value in (("columns", columns), ("rows", rows)):
            if value < 1:
                raise ValueError(f"{name}={value!r}: expected 1 or more.")
        self.space = spaces.MultiDiscrete([columns, rows, num_choices])

    def decode(self, actions: Any, batch: GlimpseBatch[Any]) -> tuple[Locations, Choices]:
        cells = np.asarray(actions)
        sizes = self.space.nvec
        is_whole = cells.shape == (batch.num_envs, 3) and np.issubdtype(cells.dtype, np.integer)
        if not is_whole or (cells < 0).any() or (cells >= sizes).any():
            raise ValueError(
                f"action {actions!r}: expected (column, row, choice), integers from 0 to "
                f"{(sizes - 1).tolist()}, in an array of shape {(batch.num_envs, 3)}."
            )
        locations = (2 * cells[:, :2] + 1) / sizes[:2] - 1
        return locations.astype(np.float32), cells[:, 2].astype(np.int64)


class FlatBoxCode:
    """A vector of 2 + n numbers in [−1, 1]: the location, and a score for each choice."""

    def __init__(self, num_choices: int) -> None:
        self.space = spaces.Box(-1, 1, (2 + num_choices,), np.float32)

    def decode(self, actions: Any, batch: GlimpseBatch[Any]) -> tuple[Locations, Choices]:
        numbers = np.asarray(actions, np.float32)
        shape = (batch.num_envs, *(self.space.shape or ()))
        if numbers.shape != shape or np.isnan(numbers).any():
            raise ValueError(
                f"action {actions!r}: expected x, y and a score for each choice, no NaN, in an "
                f"array of shape {shape}."
            )
        return numbers[:, :2], numbers[:, 2:].argmax(1)


class DictCode:
    """{"location": (x, y), NAME: choice}."""

    def __init__(self, num_choices: int, choice: str) -> None:
        self.choice = choice
        location = spaces.Box(-1, 1, (2,), np.float32)
        self.space = spaces.Dict({"location": location, choice: spaces.Discrete(num_choices)})

    def decode(self, actions: Any, batch: GlimpseBatch[Any]) -> tuple[Locations, Choices]:
        if not isinstance(actions, Mapping) or set(actions) != {"location", self.choice}:
            raise ValueError(
                f"action {actions!r}: expected a dict of 'location' and {self.choice!r}."
            )
        return np.asarray(actions["location"]), np.asarray(actions[self.choice])


class FixedGazeCode:
    """A choice alone; the gaze rests."""

    def __init__(self, num_choices: int, location: tuple[float, float]) -> None:
        self.space = spaces.Discrete(num_choices)
        self._location = np.array(location, np.float32)

    def decode(self, actions: Any, batch: GlimpseBatch[Any]) -> tuple[Locations, Choices]:
        return np.tile(self._location, (batch.num_envs, 1)), np.asarray(actions)


class RandomGazeCode:
    """A choice alone; the gaze jumps, as the environment's seed says."""

    def __init__(self, num_choices: int) -> None:
        self.space = spaces.Discrete(num_choices)

    def decode(self, actions: Any, batch: GlimpseBatch[Any]) -> tuple[Locations, Choices]:
        return batch.random_locations(), np.asarray(actions)
