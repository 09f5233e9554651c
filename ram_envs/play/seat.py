"""A player: a person, an agent or a recording, with an environment of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ram_envs.glimpse_env import GlimpseEnv
from ram_envs.retina import pixel_edges
from ram_envs.tasks.catch import Catch, ball_columns
from ram_envs.views import spread_glimpse
from ram_envs.wrappers.codes import shift_locations

Edge = tuple[int, int]  # a pixel edge (x, y) of the canvas; see the top of `ram_envs.retina`
Action = tuple[tuple[float, float], int]  # a location and a choice


@dataclass(frozen=True)
class Deal:
    """An episode to be played: it is the same for every player."""

    seed: int
    index: int | None = None  # of an image; None in an environment without images


class Pilot(Protocol):
    """A player that is not a person: an agent or a recording."""

    def begin(self) -> None:
        """Begin an episode."""

    def act(self, observation: Mapping[str, Any]) -> Action | None:
        """Return the next action; None to give the episode up."""


class AgentPilot:
    """Anything with `predict(observation, state, episode_start, deterministic)`, as in SB3.

    Args:
        agent: the agent.
        max_shift: for an agent whose locations are shifts, as in `RelativeGaze`; else None.
        deterministic: whether `predict` takes the mean location and the most probable choice.
        gaze: "learned", the agent's locations; or those of a control, "random" or "center".
        answers: whether choices are labels, which are never sampled.
        seed: of random locations.
    """

    def __init__(
        self,
        agent: Any,
        *,
        max_shift: float | None = None,
        deterministic: bool = True,
        gaze: str = "learned",
        answers: bool = False,
        seed: int = 0,
    ) -> None:
        self._agent = agent
        self._max_shift = max_shift
        self._deterministic = deterministic
        self._gaze = gaze
        self._answers = answers
        self._random = np.random.default_rng(seed)
        self._state: Any = None
        self._starts = True

    def begin(self) -> None:
        self._state, self._starts = None, True

    def act(self, observation: Mapping[str, Any]) -> Action:
        before = {"state": self._state, "episode_start": self._starts}
        (location, choice), self._state = self._agent.predict(
            observation, **before, deterministic=self._deterministic
        )
        if self._answers and not self._deterministic:
            (_, choice), _ = self._agent.predict(observation, **before, deterministic=True)
        self._starts = False
        if self._gaze == "random":
            location = self._random.uniform(-1, 1, 2)
        elif self._gaze == "center":
            location = np.zeros(2)
        if self._max_shift is not None:
            last, shift = observation["location"][None], np.asarray(location)[None]
            (location,) = shift_locations(last, shift, self._max_shift)
        return (float(location[0]), float(location[1])), int(choice)


class RecordedPilot:
    """Plays the recorded actions of one episode after another."""

    def __init__(self, episodes: Sequence[Sequence[Action]]) -> None:
        self._episodes = iter(episodes)
        self._actions: Iterator[Action] = iter(())

    def begin(self) -> None:
        self._actions = iter(next(self._episodes, ()))

    def act(self, observation: Mapping[str, Any]) -> Action | None:
        return next(self._actions, None)


class Seat:
    """A player, the player's environment, and the episode so far.

    Args:
        name: "you", "agent", …
        env: an environment for this seat only.
        pilot: the agent or recording; None for a person.

    Attributes:
        observation: the present observation.
        actions: those of this episode.
        trail: the pixel edges of the fixations, since the ball appeared.
        ball_path: the pixels (column, row) of the ball since then; empty without a ball.
        verdicts: whether each ball that has landed was caught, the answer was right, or the target
            was found.
        over: whether the episode has ended.
        score, count: right ones, and all that count, over all episodes; see `Game`.
        streak, best: right ones in a row, the present and the longest.
    """

    numbered = True  # whether pictures number the fixations of the trail

    def __init__(self, name: str, env: GlimpseEnv, pilot: Pilot | None = None) -> None:
        self.name = name
        self.env = env
        self.pilot = pilot
        self.observation: dict[str, Any] = {}
        self.actions: list[Action] = []
        self.trail: list[Edge] = []
        self.ball_path: list[Edge] = []
        self.verdicts: list[bool] = []
        self.over = True
        self.score = self.count = self.streak = self.best = 0
        self._path_is_complete = False
        self._memory: tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]] | None = None

    @property
    def edge(self) -> Edge:
        """The pixel edge of the present fixation."""
        height, width = self.env.canvas.shape[:2]
        x, y = pixel_edges(self.observation["location"], height, width)
        return int(x), int(y)

    def begin(self, deal: Deal) -> None:
        """Begin an episode."""
        options = None if deal.index is None else {"index": deal.index}
        self.observation, _ = self.env.reset(seed=deal.seed, options=options)
        self.actions, self.verdicts = [], []
        self.trail, self.ball_path = [], []
        self._memory = None
        self.over = self._path_is_complete = False
        if self.pilot is not None:
            self.pilot.begin()
        self._note_path()

    def step(self, action: Action) -> bool | None:
        """Take a step; return whether it was right, or None while that is open."""
        if self._path_is_complete:
            self.trail, self.ball_path = [], []
        (x, y), choice = action
        self.observation, reward, terminated, truncated, _ = self.env.step(
            (np.array([x, y], np.float32), choice)
        )
        self.over = terminated or truncated
        self.actions.append(action)
        self._note_path()
        self._path_is_complete = self._has_landed() or self.over
        if not self._path_is_complete:
            return None
        self.verdicts.append(reward > 0)
        return self.verdicts[-1]

    def remembered(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]] | None:
        """Return what was seen in this episode, as `seen` does; None where the screen changes."""
        return self._memory

    def _remember(self) -> None:
        """Keep the present glimpse, over what was seen before it."""
        if self.env.batch.task.frames_change:
            return
        grays, is_seen = self.seen()
        if self._memory is None:
            self._memory = grays.copy(), is_seen.copy()
        else:
            self._memory[0][is_seen] = grays[is_seen]
            self._memory[1][is_seen] = True

    def count_verdict(self, right: bool) -> None:
        """Add to score, streak and best."""
        self.count += 1
        self.score += right
        self.streak = self.streak + 1 if right else 0
        self.best = max(self.best, self.streak)

    def seen(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Return the glimpse, laid over the canvas. See `spread_glimpse`."""
        shape = self.env.batch.image_shape
        glimpse, num_scales = self.observation["glimpse"], self.env.batch.retina.num_scales
        return spread_glimpse(glimpse, num_scales, self.edge, shape)

    def _has_landed(self) -> bool:
        """Return whether a ball is on the bottom row."""
        task, state = self.env.batch.task, self.env.batch.state
        return isinstance(task, Catch) and bool(state.row[0] == task.size - 1)

    def _note_path(self) -> None:
        # The glimpse after an answer decides nothing; the last one of a ball shows where it landed.
        is_catch = isinstance(self.env.batch.task, Catch)
        if is_catch or not self.over:
            self.trail.append(self.edge)
            self._remember()
        if is_catch:
            state = self.env.batch.state
            self.ball_path.append((int(ball_columns(state.x)[0]), int(state.row[0])))


def location_of(edge: Edge, image_shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the location of a pixel edge of an image (H, W[, C])."""
    height, width = image_shape[:2]
    return edge[0] / width * 2 - 1, edge[1] / height * 2 - 1
