"""Moving digits: a digit drifts among drifting clutter; look T times, then name it.

The rules, exactly. `ram_envs.tasks.classification` says what the labels do: one at every step, of
which the T-th is the decision. Here the canvas moves while it is looked at. Row 0 is the top.

    begin   the digit is image i of the split; each piece of clutter is a square of clutter_size ×
            clutter_size pixels, cut whole at a uniformly random offset from a uniformly random
            image of the split; for the digit and for each piece alike
                place   its top left (y, x), real numbers, uniformly random wholly inside: y in
                        [0, H − h], x in [0, W − w] for an object of h × w pixels on H × W
                speed   (vy, vx), each uniformly random in [−max_speed, max_speed] pixels a frame,
                        constant except for bounces
    step    1. the label counts
            2. the next frame: y ← y + vy; beyond a wall it is reflected: y < 0 becomes −y,
               y > H − h becomes 2 (H − h) − y, and vy changes sign; x likewise, with W, w and vx
    shown   each object with its top left at (⌊y + ½⌋, ⌊x + ½⌋) on a black field; the pieces are
            added up, the digit is added last, and the sum is clipped at 255

So `reset` shows frame 0, step t shows frame t, and the T-th label rests on a glimpse of each of the
frames 0 to T − 1. Places are uniform in every frame, as in the first: reflection keeps them so.

In training everything is drawn for each episode, and the digit may be distorted
(`ram_envs.tasks.distortion`). For validation and test, pieces, places and
speeds are a fixed function of the data set, the sizes, the number of pieces, max_speed and i, but
not of the seed or of T.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.checks import checked_number
from ram_envs.datasets import ImageDataset
from ram_envs.streams import Streams
from ram_envs.task import Outcome, Rows
from ram_envs.tasks.canvas import Canvas
from ram_envs.tasks.classification import Classification, ClassificationState
from ram_envs.tasks.motion import drift, nearest_pixels


@dataclass
class MovingState(ClassificationState):
    """The state of B episodes with P pieces of clutter, and the digit, which comes last.

    digits      (B, h, w[, C]) uint8, as they are shown
    pieces      (B, P, s, s[, C]) uint8
    places      (B, P + 1, 2) float64, the top left (y, x) of each
    speeds      (B, P + 1, 2) float64, (vy, vx) in pixels a frame
    """

    digits: npt.NDArray[np.uint8]
    pieces: npt.NDArray[np.uint8]
    places: npt.NDArray[np.float64]
    speeds: npt.NDArray[np.float64]


class MovingClassification(Classification[MovingState]):
    """The task "name the digit that moves". See `ram_envs.task.Task` for the methods.

    Args:
        dataset: images and labels of one split.
        canvas: the sizes of screen, image and pieces, the number of pieces, and the distortion.
        num_glimpses: T, the steps of an episode.
        max_speed: the fastest drift in pixels a frame, down and across each.
        fixed_motion: whether pieces, places and speeds are a function of the image's index alone
            (validation and test), or drawn for every episode (training).

    Raises:
        ValueError: if the image could meet two walls in one step.
    """

    frames_change = True

    def __init__(
        self,
        dataset: ImageDataset,
        canvas: Canvas,
        num_glimpses: int,
        max_speed: float,
        fixed_motion: bool,
    ) -> None:
        # At most the free space, so that a step meets at most one wall.
        meaning = f", the free space of images {canvas.image_shape[:2]} on {canvas.shape[:2]}"
        fastest = int(canvas.free_space.min())
        self.max_speed = checked_number("max_speed", max_speed, 0, fastest, meaning)
        fixed_by = f"moving {canvas.key} speed {self.max_speed}" if fixed_motion else None
        super().__init__(dataset, num_glimpses, fixed_by)
        dataset.array  # noqa: B018  raises TypeError for lazy images
        self.canvas = canvas
        self.image_shape = canvas.shape

    def allocate(self, num_envs: int) -> MovingState:
        num_pieces, size = self.canvas.num_clutter, self.canvas.clutter_size
        return MovingState(
            index=np.zeros(num_envs, np.int64),
            labels=np.zeros(num_envs, np.int64),
            steps=np.zeros(num_envs, np.int64),
            digits=np.zeros((num_envs, *self.canvas.image_shape), np.uint8),
            pieces=np.zeros((num_envs, num_pieces, size, size, *self.image_shape[2:]), np.uint8),
            places=np.zeros((num_envs, num_pieces + 1, 2)),
            speeds=np.zeros((num_envs, num_pieces + 1, 2)),
        )

    def begin(
        self, state: MovingState, rows: Rows, streams: Streams, options: Mapping[str, Any]
    ) -> None:
        streams = self._choose_images(state, rows, streams, options)
        state.pieces[rows] = self.canvas.cut_pieces(self.dataset.array, streams)
        space = self.canvas.free_space
        shape = (len(rows), *space.shape)
        state.places[rows] = streams.uniform(space.size).reshape(shape) * space
        speeds = streams.uniform(space.size, -self.max_speed, self.max_speed)
        state.speeds[rows] = speeds.reshape(shape)
        digits = self.dataset.array[state.index[rows]]
        if self.canvas.distortion is not None:
            digits = self.canvas.distortion.draw(digits, streams)
        state.digits[rows] = digits

    def advance(self, state: MovingState, rows: Rows, choices: npt.NDArray[np.int64]) -> Outcome:
        outcome = super().advance(state, rows, choices)
        state.places[rows], state.speeds[rows] = drift.run(
            state.places[rows], state.speeds[rows], self.canvas.free_space
        )
        return outcome

    def images(self, state: MovingState) -> tuple[npt.NDArray[np.uint8], Rows]:
        frames = self.canvas.add_up(state.pieces, state.digits, nearest_pixels(state.places))
        return frames, np.arange(len(frames))
