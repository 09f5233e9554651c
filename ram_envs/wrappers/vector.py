"""Vector versions of the wrappers in `ram_envs.wrappers`, with equal episodes bit for bit.

They have the same names and arguments, and wrap what `gym.make_vec` returns for an id of ram_envs,
in every autoreset mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ram_envs.aliases import VectorEnv
from ram_envs.arguments import check_arguments
from ram_envs.glimpse_env import GlimpseVectorEnv
from ram_envs.recorded import RecordedArguments
from ram_envs.wrappers import canvas_space
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
from ram_envs.wrappers.vector_through_retina import (
    AnyVectorWrapper,
    Step,
    ThroughRetina,
)

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


class _VectorWrapper(AnyVectorWrapper, RecordedArguments):
    """A wrapper of the environments of ram_envs."""

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        self.native = find_seen(env)

    @property
    def autoreset_mode(self) -> AutoresetMode:
        return self.native.autoreset_mode


def find_seen(env: VectorEnv) -> GlimpseVectorEnv | ThroughRetina:
    """Return the vector environment inside the wrappers of glimpses that looks through the retina.

    Raises:
        TypeError: if there is none.
    """
    inner: Any = env
    while isinstance(inner, gym.vector.VectorWrapper) and not isinstance(inner, ThroughRetina):
        inner = inner.env
    if not isinstance(inner, (GlimpseVectorEnv, ThroughRetina)):
        raise TypeError(
            f"{env} is not a vector environment of ram_envs. Wrap what "
            'gym.make_vec("RAM…-v0", num_envs=…) returns, or ThroughRetina(envs) around one '
            "with pictures."
        )
    return inner


class _CodedAction(_VectorWrapper):
    """A wrapper that encodes actions in another way."""

    def __init__(self, env: VectorEnv, code: ActionCode) -> None:
        super().__init__(env)
        self._code = code
        self.single_action_space = code.space
        self.action_space = batch_space(code.space, env.num_envs)

    def step(self, actions: Any) -> Step:
        return self.env.step(self._code.decode(actions, self.native.batch, (self.num_envs,)))


class GridAction(_CodedAction):
    """Actions (column, row, choice), `MultiDiscrete`. See `ram_envs.wrappers.GridAction`."""

    @check_arguments
    def __init__(self, env: VectorEnv, columns: int = 8, rows: int = 8) -> None:
        RecordedArguments.__init__(self, columns=columns, rows=rows)
        super().__init__(env, GridCode(num_choices(env), columns, rows))


class FlatBoxAction(_CodedAction):
    """Actions are vectors: x, y, scores. See `ram_envs.wrappers.FlatBoxAction`."""

    @check_arguments
    def __init__(self, env: VectorEnv) -> None:
        RecordedArguments.__init__(self)
        super().__init__(env, FlatBoxCode(num_choices(env)))


class DictAction(_CodedAction):
    """Actions are dicts of arrays. See `ram_envs.wrappers.DictAction`."""

    @check_arguments
    def __init__(self, env: VectorEnv, choice: str = "choice") -> None:
        RecordedArguments.__init__(self, choice=choice)
        super().__init__(env, DictCode(num_choices(env), choice))


class RelativeGaze(_CodedAction):
    """Locations are shifts from the last one. See `ram_envs.wrappers.RelativeGaze`."""

    @check_arguments
    def __init__(self, env: VectorEnv, max_shift: float = 0.2) -> None:
        RecordedArguments.__init__(self, max_shift=max_shift)
        check_absolute(env)
        super().__init__(env, RelativeGazeCode(num_choices(env), max_shift))


class _GazeControl(_CodedAction):
    """A control that chooses all locations, the first included: a fixed one, or random if None."""

    def __init__(self, env: VectorEnv, code: FixedGazeCode | RandomGazeCode) -> None:
        check_absolute(env)
        super().__init__(env, code)
        self._first_location = code.first_location

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        with self.native.batch.starting_at(self._first_location):
            return self.env.reset(seed=seed, options=options)

    def step(self, actions: Any) -> Step:
        with self.native.batch.starting_at(self._first_location):
            return super().step(actions)


class FixedGaze(_GazeControl):
    """All glimpses are at one location. See `ram_envs.wrappers.FixedGaze`."""

    @check_arguments
    def __init__(self, env: VectorEnv, location: Sequence[float] = (0.0, 0.0)) -> None:
        RecordedArguments.__init__(self, location=location)
        super().__init__(env, FixedGazeCode(num_choices(env), location))


class RandomGaze(_GazeControl):
    """All glimpses are at random locations. See `ram_envs.wrappers.RandomGaze`."""

    @check_arguments
    def __init__(self, env: VectorEnv) -> None:
        RecordedArguments.__init__(self)
        super().__init__(env, RandomGazeCode(num_choices(env)))


class WholeCanvas(_VectorWrapper):
    """Observations are whole canvases, (B, H, W, C) uint8. See `ram_envs.wrappers.WholeCanvas`."""

    @check_arguments
    def __init__(self, env: VectorEnv) -> None:
        RecordedArguments.__init__(self)
        super().__init__(env)
        self.single_observation_space = canvas_space(self.native.batch.image_shape)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        _, infos = self.env.reset(seed=seed, options=options)
        return self._shaped(self.native.canvases), infos

    def step(self, actions: Any) -> Step:
        _, rewards, terminations, truncations, infos = self.env.step(actions)
        if "final_obs" in infos:
            final_canvases = self._shaped(self.native.final_canvases)
            for row in np.flatnonzero(infos["_final_obs"]):
                infos["final_obs"][row] = final_canvases[row].copy()
        return (
            self._shaped(self.native.canvases),
            rewards,
            terminations,
            truncations,
            infos,
        )

    def _shaped(self, canvases: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return canvases.reshape(self.observation_space.shape or ())


class GlimpseStack(_VectorWrapper):
    """The last n glimpses of each. See `ram_envs.wrappers.GlimpseStack`."""

    @check_arguments
    def __init__(self, env: VectorEnv, num_glimpses: int = 4) -> None:
        RecordedArguments.__init__(self, num_glimpses=num_glimpses)
        super().__init__(env)
        space = env.single_observation_space
        self._history = GlimpseHistory(space, num_glimpses, env.num_envs)
        self.single_observation_space = self._history.space
        self.observation_space = batch_space(self._history.space, env.num_envs)
        self._all_rows = np.ones(env.num_envs, np.bool_)
        self._begins = np.zeros(env.num_envs, np.bool_)  # in the next step (NEXT_STEP)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        mask = (options or {}).get("reset_mask")
        mask = self._all_rows if mask is None else mask
        observations, infos = self.env.reset(seed=seed, options=options)
        self._history.forget(mask)
        self._history.push(mask, {key: value[mask] for key, value in observations.items()})
        self._begins = self._begins & ~mask
        return self._history.observations(), infos

    def step(self, actions: Any) -> Step:
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        self._history.forget(self._begins)
        if "final_obs" in infos:
            ended = infos["_final_obs"]
            self._put_final(infos["final_obs"], ended)
            self._history.forget(ended)
        self._history.push(self._all_rows, observations)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._begins = terminations | truncations
        return self._history.observations(), rewards, terminations, truncations, infos

    def _put_final(self, final_obs: npt.NDArray[Any], ended: npt.NDArray[np.bool_]) -> None:
        """Stack the last observations of the episodes that ended."""
        rows = np.flatnonzero(ended)
        self._history.push(
            ended, {key: [final_obs[row][key] for row in rows] for key in self._history.space}
        )
        stacked = self._history.observations()
        for row in rows:
            final_obs[row] = {key: value[row].copy() for key, value in stacked.items()}
