"""What a task is: a batched world to look at, which knows neither retina nor Gymnasium.

A task says what is on the screen, what a choice (a label, a move) does to it, what that pays and
when the episode ends. It keeps no state of its own: `allocate` makes the state of B episodes, and
the other verbs act on rows of it, so one task can serve many environments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ram_envs.datasets.source import ImageSource
from ram_envs.streams import Streams

State = TypeVar("State")
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Outcome:
    """What a step did to n episodes.

    rewards         (n,) float64
    terminations    (n,) bool: whether the episode is over
    """

    rewards: npt.NDArray[np.float64]
    terminations: npt.NDArray[np.bool_]


class Task(Protocol, Generic[State]):
    """A batched world. `ImageClassification` is the model to read.

    Attributes:
        image_shape: (H, W) or (H, W, C) of what is on the screen.
        choice_names: what each choice of the action's second half is called, in order.
        frames_change: whether the image changes during an episode (a game) or only between
            episodes (a picture).
    """

    image_shape: tuple[int, ...]
    choice_names: tuple[str, ...]
    frames_change: bool

    def allocate(self, num_envs: int) -> State:
        """The state of `num_envs` episodes that have not begun."""

    def begin(self, state: State, rows: Rows, streams: Streams, options: Mapping[str, Any]) -> None:
        """Begin new episodes in rows `rows` (n,), drawing from `streams` (n of them) alone.

        `options` are those of `env.reset`; an array there has num_envs entries.
        """

    def advance(self, state: State, rows: Rows, choices: npt.NDArray[np.int64]) -> Outcome:
        """Let the episodes in `rows` (n,) take one step with `choices` (n,)."""

    def images(self, state: State) -> tuple[npt.NDArray[np.uint8] | ImageSource, Rows]:
        """What is on the screens: a source (N, H, W[, C]) and which row of it each episode shows.

        So a task whose images lie in a data set hands out the data set, not copies. What is handed
        out read-only must stay as it is.
        """

    def infos(self, state: State) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]:
        """The `info` of each episode: for each key the values (B,) and where they hold (B,)."""
