"""Wrappers that adapt the environments to other agents, and controls to compare an agent with.

| wrapper | action space | observation |
|---|---|---|
| `GridAction` | `MultiDiscrete`: column, row, choice | unchanged |
| `FlatBoxAction` | `Box`: x, y and a score for each choice | unchanged |
| `DictAction` | `Dict`: "location" and a named choice | unchanged |
| `RelativeGaze` | unchanged, but the location is a shift from the last one | unchanged |
| `FixedGaze` | `Discrete`: the choice alone | glimpses at one location: a control |
| `RandomGaze` | `Discrete`: the choice alone | glimpses at random locations: a control |
| `WholeCanvas` | unchanged | the whole canvas: a control |
| `GlimpseStack` | unchanged | the last n glimpses, for agents without memory |

`ThroughRetina` adds the retina to any other environment with pictures; the wrappers above can be
applied to the result. A choice is a label, or a move in a game. `ram_envs.wrappers.vector` has a
vector version of each wrapper, with the same episodes bit for bit.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ram_envs.aliases import Env
from ram_envs.arguments import check_arguments
from ram_envs.gaze import GazeBatch
from ram_envs.glimpse_env import GlimpseEnv
from ram_envs.recorded import RecordedArguments
from ram_envs.wrappers.codes import (
    ActionCode,
    DictCode,
    FixedGazeCode,
    FlatBoxCode,
    GridCode,
    RandomGazeCode,
    RelativeGazeCode,
    check_absolute,
    num_choices,
)
from ram_envs.wrappers.history import GlimpseHistory
from ram_envs.wrappers.through_retina import ThroughRetina, check_reset_by_caller

__all__ = [
    "DictAction",
    "FixedGaze",
    "FlatBoxAction",
    "GlimpseStack",
    "GridAction",
    "RandomGaze",
    "RelativeGaze",
    "ThroughRetina",
    "WholeCanvas",
]


def __getattr__(name: str) -> Any:
    """Import the vector versions when they are used, since `import ram_envs` suffices."""
    if name != "vector":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.vector")


_THE_ROW = np.ones(1, np.bool_)


class _CodedAction(gym.ActionWrapper[Any, Any, Any], RecordedArguments):
    """A wrapper that encodes actions in another way."""

    def __init__(self, env: Env, code: ActionCode) -> None:
        super().__init__(env)
        self._batch: GazeBatch = find_seen(env).batch
        self._code = code
        self.action_space = code.space

    def action(self, action: Any) -> Any:
        return self._code.decode(action, self._batch, ())


class GridAction(_CodedAction):
    """Actions (column, row, choice), `MultiDiscrete`; the location is the center of a grid cell.

    Args:
        env: an environment of ram_envs.
        columns, rows: the size of the grid over the canvas, at least 1 each.

    Raises:
        TypeError: if the environment's actions are not pairs (location, choice).
        ValueError: for a grid without cells; by `step`, for an action outside the space.
    """

    @check_arguments
    def __init__(self, env: Env, columns: int = 8, rows: int = 8) -> None:
        RecordedArguments.__init__(self, columns=columns, rows=rows)
        super().__init__(env, GridCode(num_choices(env), columns, rows))


class FlatBoxAction(_CodedAction):
    """Actions are vectors of 2 + n numbers, `Box(-1, 1)`: x, y and a score for each choice.

    The choice with the highest score is taken. For agents with continuous actions, such as SAC.

    Raises:
        TypeError: if the environment's actions are not pairs (location, choice).
        ValueError: by `step`, for another shape, or NaN.
    """

    @check_arguments
    def __init__(self, env: Env) -> None:
        RecordedArguments.__init__(self)
        super().__init__(env, FlatBoxCode(num_choices(env)))


class DictAction(_CodedAction):
    """Actions are {"location": (x, y), "choice": choice}, `Dict`.

    Args:
        env: an environment of ram_envs.
        choice: the name of the second entry, such as "label" or "move".

    Raises:
        TypeError: if the environment's actions are not pairs (location, choice).
        ValueError: by `step`, for other entries.
    """

    @check_arguments
    def __init__(self, env: Env, choice: str = "choice") -> None:
        RecordedArguments.__init__(self, choice=choice)
        super().__init__(env, DictCode(num_choices(env), choice))


class RelativeGaze(_CodedAction):
    """Actions are (shift, choice): the gaze moves from the last location by at most `max_shift`.

    The shift is projected on the unit disc, multiplied by `max_shift`, added to the last location,
    and the sum is clipped to the canvas. `GridAction` and the other action wrappers may be put
    around it; their location is then the shift.

    Args:
        env: an environment of ram_envs.
        max_shift: the longest move, from 0 to 2; 1 is half the side of the canvas.

    Raises:
        TypeError: if the environment's actions are not pairs (location, choice).
        ValueError: if `max_shift` is out of range; by `step`, for NaN.
    """

    @check_arguments
    def __init__(self, env: Env, max_shift: float = 0.2) -> None:
        RecordedArguments.__init__(self, max_shift=max_shift)
        check_absolute(env)
        super().__init__(env, RelativeGazeCode(num_choices(env), max_shift))


class _GazeControl(_CodedAction):
    """A control that chooses all locations, the first included: a fixed one, or random if None."""

    def __init__(self, env: Env, code: FixedGazeCode | RandomGazeCode) -> None:
        check_absolute(env)
        check_reset_by_caller(env)
        super().__init__(env, code)
        self._first_location = code.first_location

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        with self._batch.starting_at(self._first_location):
            return self.env.reset(seed=seed, options=options)


class FixedGaze(_GazeControl):
    """All glimpses, the first included, are at one location; the action is the choice alone.

    A control: how much can be known without looking around? The wrapped environment keeps its own
    `initial_location`.

    Args:
        env: an environment of ram_envs.
        location: (x, y) in [−1, 1]²; (0, 0) is the canvas's center.

    Raises:
        TypeError: if the environment's actions are not pairs (location, choice), or it resets
            itself.
        ValueError: for a location outside the canvas.
    """

    @check_arguments
    def __init__(self, env: Env, location: Sequence[float] = (0.0, 0.0)) -> None:
        RecordedArguments.__init__(self, location=location)
        super().__init__(env, FixedGazeCode(num_choices(env), location))


class RandomGaze(_GazeControl):
    """All glimpses, the first included, are at random locations; the action is the choice alone.

    A control: how much is it worth to choose where to look? The locations are uniform and
    determined by the environment's seed. The wrapped environment keeps its own `initial_location`.

    Raises:
        TypeError: if the environment's actions are not pairs (location, choice), or it resets
            itself.
    """

    @check_arguments
    def __init__(self, env: Env) -> None:
        RecordedArguments.__init__(self)
        super().__init__(env, RandomGazeCode(num_choices(env)))


class WholeCanvas(gym.ObservationWrapper[Any, Any, Any], RecordedArguments):
    """The observation is the whole canvas, (H, W, C) uint8, as agents for images expect it.

    A control: attention against seeing everything. The location in the action has no effect;
    `FixedGaze` removes it.

    Raises:
        TypeError: if it is not an environment of ram_envs.
    """

    @check_arguments
    def __init__(self, env: Env) -> None:
        RecordedArguments.__init__(self)
        super().__init__(env)
        self._seen = find_seen(env)
        self.observation_space = canvas_space(self._seen.batch.image_shape)

    def observation(self, observation: Any) -> npt.NDArray[np.uint8]:
        return self._seen.canvas.reshape(self.observation_space.shape or ()).copy()


class GlimpseStack(gym.Wrapper[Any, Any, Any, Any], RecordedArguments):
    """The last n glimpses and their locations, the newest last; zeros before the episode begins.

    Args:
        env: an environment of ram_envs.
        num_glimpses: n, at least 1.

    Raises:
        TypeError: if the observation is not a glimpse and its location, or the environment resets
            itself.
        ValueError: if n is less than 1.
    """

    @check_arguments
    def __init__(self, env: Env, num_glimpses: int = 4) -> None:
        RecordedArguments.__init__(self, num_glimpses=num_glimpses)
        check_reset_by_caller(env)
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
    """Return the space (H, W, C) of canvases (H, W[, C])."""
    height, width, channels = (*image_shape, 1)[:3]
    return spaces.Box(0, 255, (height, width, channels), np.uint8)


def find_seen(env: Env) -> GlimpseEnv | ThroughRetina:
    """Return the environment inside the wrappers of glimpses that looks through the retina.

    Raises:
        TypeError: if there is none.
    """
    inner: Any = env
    while isinstance(inner, gym.Wrapper) and not isinstance(inner, ThroughRetina):
        inner = inner.env
    if not isinstance(inner, (GlimpseEnv, ThroughRetina)):
        raise TypeError(
            f"{env} is not an environment of ram_envs. Wrap what gym.make("
            '"RAM…-v0") returns, a GlimpseEnv of your own, or ThroughRetina(env) around an '
            "environment with pictures."
        )
    return inner
