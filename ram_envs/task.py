"""The protocol of a task: a batch of episodes to look at, independent of retina and Gymnasium.

A task defines the image, what a choice (a label or a move) does to it, the reward, and when an
episode ends. It has no state of its own: `allocate` returns the state of B episodes, and the other
methods act on rows of it, so that one task can serve many environments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from ram_envs.datasets.source import ImageSource
from ram_envs.streams import Streams

State = TypeVar("State")
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Outcome:
    """The result of a step in n episodes.

    rewards         (n,) float64
    terminations    (n,) bool, whether the episode is over
    truncations     (n,) bool, whether it is cut off, for example by a time limit; None if no
                    episode is. A learner bootstraps from the last state of a truncated episode
    """

    rewards: npt.NDArray[np.float64]
    terminations: npt.NDArray[np.bool_]
    truncations: npt.NDArray[np.bool_] | None = None


@runtime_checkable
class Task(Protocol, Generic[State]):
    """The rules of episodes. `ram_envs.tasks.catch` is an example, docs/own_task.md a guide.

    A task in which it matters where the agent looks has one more method, `look_at(state, rows,
    locations)`: it is called with the locations (n, 2) float32 of each glimpse, the first included,
    after `begin` or `advance`. `ram_envs.tasks.search` is an example.

    A task may have `option_names`, a tuple of the options of `env.reset` that it accepts; others
    then raise ValueError.

    For pictures a task may have further methods: `ball(state, row)`, the pixel (x, y) that is drawn
    in color; `target(state, row)`, a box (left, top, right, bottom) that is outlined; and
    `verdict(state, row)`, the result of an episode in words. Each may return None.

    Attributes:
        image_shape: (H, W) or (H, W, C) of the images.
        choice_names: the name of each choice, the second half of an action, in order.
        frames_change: whether the image changes during an episode (a game) or only between
            episodes (a picture).
    """

    image_shape: tuple[int, ...]
    choice_names: tuple[str, ...]
    frames_change: bool

    def allocate(self, num_envs: int) -> State:
        """Return the state of `num_envs` episodes that have not begun.

        `images` and `infos` are called with such a state, too.
        """

    def begin(self, state: State, rows: Rows, streams: Streams, options: Mapping[str, Any]) -> None:
        """Begin new episodes in `rows` (n,); all randomness comes from the n `streams`.

        `options` are those of `env.reset`; an array among them has num_envs entries.
        """

    def advance(self, state: State, rows: Rows, choices: npt.NDArray[np.int64]) -> Outcome:
        """Take one step in `rows` (n,) with `choices` (n,)."""

    def images(self, state: State) -> tuple[npt.NDArray[np.uint8] | ImageSource, Rows]:
        """Return a source of images (N, H, W[, C]) and the row of it that each episode shows, (B,).

        Thus a task can return a whole data set without copying it. A read-only source must not
        change later.
        """

    def infos(self, state: State) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]:
        """Return the entries of `info`: for each key the values (B,) and where they exist (B,)."""
