"""Wrappers that fit the environments to other agents, and controls to compare an agent with.

| wrapper | the agent acts with | and sees |
|---|---|---|
| `GridAction` | `MultiDiscrete`: column, row, choice | as before |
| `FlatBoxAction` | `Box`: x, y and a score for each choice | as before |
| `DictAction` | `Dict`: "location" and a named choice | as before |
| `FixedGaze` | `Discrete`: the choice alone | glimpses at one place: a control |
| `RandomGaze` | `Discrete`: the choice alone | glimpses at random places: a control |
| `WholeCanvas` | as before | the whole canvas: the other control |
| `GlimpseStack` | as before | the last n glimpses, for agents without memory |

A choice is a label, or a move in a game. Each has a vector twin of the same name in
`ram_envs.wrappers.vector`, which plays the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from ram_envs.checks import checked_initial_location
from ram_envs.wrappers.codes import (
    ActionCode,
    DictCode,
    FixedGazeCode,
    FlatBoxCode,
    GridCode,
    RandomGazeCode,
    num_choices,
)
from ram_envs.wrappers.history import GlimpseHistory

__all__ = [
    "DictAction",
    "FixedGaze",
    "FlatBoxAction",
    "GlimpseStack",
    "GridAction",
    "RandomGaze",
    "WholeCanvas",
]

Env = gym.Env[Any, Any]
_THE_ROW = np.ones(1, np.bool_)


class _CodedAction(gym.ActionWrapper[Any, Any, Any], RecordConstructorArgs):
    """Actions said in another code."""

    def __init__(self, env: Env, code: ActionCode) -> None:
        super().__init__(env)
        self._code = code
        self.action_space = code.space

    def action(self, action: Any) -> Any:
        one = (
            {key: np.asarray(value)[None] for key, value in action.items()}
            if isinstance(action, Mapping)
            else np.asarray(action)[None]
        )
        locations, choices = self._code.decode(one, self.unwrapped.batch)  # type: ignore[attr-defined]
        return locations[0], choices[0]


class GridAction(_CodedAction):
    """Actions (column, row, choice), `MultiDiscrete`; the gaze goes to the middle of a grid's cell.

    Args:
        env: an environment of ram_envs.
        columns, rows: of the grid that is laid over the canvas.

    Raises:
        TypeError: if the environment's actions are not pairs (location, choice).
        ValueError: for a grid without cells; by `step`, for an action outside the space.
    """

    def __init__(self, env: Env, columns: int = 8, rows: int = 8) -> None:
        RecordConstructorArgs.__init__(self, columns=columns, rows=rows)
        super().__init__(env, GridCode(num_choices(env), columns, rows))


class FlatBoxAction(_CodedAction):
    """Actions are vectors of 2 + n numbers, `Box(-1, 1)`: x, y and a score for each choice.

    The choice with the highest score is taken. For agents of continuous control.

    Raises:
        TypeError: if the environment's actions are not pairs (location, choice).
        ValueError: by `step`, for another shape, or NaN.
    """

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env, FlatBoxCode(num_choices(env)))


class DictAction(_CodedAction):
    """Actions are {"location": (x, y), "choice": choice}, `Dict`.

    Args:
        env: an environment of ram_envs.
        choice: what the second entry is called, "label" or "move", say.

    Raises:
        TypeError: if the environment's actions are not pairs (location, choice).
        ValueError: by `step`, for other entries.
    """

    def __init__(self, env: Env, choice: str = "choice") -> None:
        RecordConstructorArgs.__init__(self, choice=choice)
        super().__init__(env, DictCode(num_choices(env), choice))


class FixedGaze(_CodedAction):
    """The gaze rests at one place, from the first glimpse on; the action is the choice alone.

    A control: what can be known without looking around?

    Args:
        env: an environment of ram_envs.
        location: (x, y) in [−1, 1]²; (0, 0) is the canvas's center.

    Raises:
        TypeError: if the environment's actions are not pairs (location, choice).
        ValueError: for a location outside the canvas.
    """

    def __init__(self, env: Env, location: tuple[float, float] = (0.0, 0.0)) -> None:
        RecordConstructorArgs.__init__(self, location=location)
        super().__init__(env, FixedGazeCode(num_choices(env), location))
        batch = env.unwrapped.batch  # type: ignore[attr-defined]
        batch.initial_location = checked_initial_location(location)


class RandomGaze(_CodedAction):
    """The gaze jumps to uniformly random places; the action is the choice alone.

    A control: what is choosing where to look worth? The places follow from the environment's seed.

    Raises:
        TypeError: if the environment's actions are not pairs (location, choice).
    """

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env, RandomGazeCode(num_choices(env)))


class WholeCanvas(gym.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """The observation is the whole canvas, (H, W, C) uint8, as agents for images expect it.

    A control: attention against seeing everything. What the location says then makes no
    difference; `FixedGaze` takes it out of the action.
    """

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.observation_space = canvas_space(env.unwrapped.batch.task.image_shape)  # type: ignore[attr-defined]

    def observation(self, observation: Any) -> npt.NDArray[np.uint8]:
        canvas = self.unwrapped.canvas  # type: ignore[attr-defined]
        return canvas.reshape(self.observation_space.shape).copy()  # type: ignore[no-any-return]


class GlimpseStack(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """The last n glimpses and their locations, the newest last; zeros before the episode began.

    Args:
        env: an environment of ram_envs.
        num_glimpses: n.

    Raises:
        TypeError: if the observation is not a glimpse and its location.
        ValueError: if n is less than 1.
    """

    def __init__(self, env: Env, num_glimpses: int = 4) -> None:
        RecordConstructorArgs.__init__(self, num_glimpses=num_glimpses)
        super().__init__(env)
        self._history = GlimpseHistory(env.observation_space, num_glimpses, num_envs=1)
        self.observation_space = self._history.space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._history.forget(_THE_ROW)
        return self._stacked(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._stacked(observation), reward, terminated, truncated, info

    def _stacked(self, observation: Any) -> dict[str, Any]:
        self._history.push(_THE_ROW, {key: value[None] for key, value in observation.items()})
        return {key: value[0] for key, value in self._history.observations().items()}


def canvas_space(image_shape: tuple[int, ...]) -> spaces.Box:
    """(H, W, C) of images (H, W[, C])."""
    height, width, channels = (*image_shape, 1)[:3]
    return spaces.Box(0, 255, (height, width, channels), np.uint8)
