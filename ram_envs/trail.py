"""What an episode is drawn from: the path of the gaze, the last glimpse, choice and rewards."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded


class Trail:
    """The trail of one episode, as long as `max_length` fixations, or longer if that is None.

    edges      pixel edges (x, y) of the fixations, the oldest first
    num_looks  number of all fixations
    glimpse    the last glimpse, (K·C, G, G)
    frame      what it was taken of; None where it does not change
    choice, reward, over  of the last step
    total      sum of the rewards
    """

    def __init__(self, max_length: int | None = None) -> None:
        self.edges: deque[npt.NDArray[np.int64]] = deque(maxlen=max_length)
        self.num_looks = 0
        self.glimpse: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self.frame: npt.NDArray[np.uint8] | None = None
        self.choice: Any = None
        self.reward: float | None = None
        self.total = 0.0
        self.over = False

    def act(self, choice: Any, reward: float, over: bool) -> None:
        """Record the choice of a step, and what it led to."""
        self.choice, self.reward, self.over = choice, reward, over
        self.total += reward

    def look(
        self,
        edge: npt.NDArray[np.int64],
        glimpse: npt.NDArray[np.float32],
        frame: npt.NDArray[np.uint8] | None,
    ) -> None:
        """Record a fixation, and copies of its glimpse and frame."""
        self.edges.append(edge)
        self.num_looks += 1
        self.glimpse = glimpse.copy()
        self.frame = None if frame is None else frame.copy()


def find_trail(trails: Sequence[Trail] | None, row: int) -> Trail:
    """Return the trail of one of several episodes.

    Raises:
        ResetNeeded: if nothing has been seen in it.
    """
    if trails is None or not trails[row].num_looks:
        raise ResetNeeded(
            "No episode has begun, so there is nothing to render. Call reset() first."
        )
    return trails[row]
