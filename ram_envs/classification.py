"""Classification: look T times, then say what it is (paper, section 4.1).

The rules: an image lies on a canvas; every step carries a label, and the label of the T-th step is
the decision. Reward 1 if it is right, else 0, and the episode is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.canvas import Canvas
from ram_envs.datasets import ImageDataset
from ram_envs.random import Streams, combine_keys, key_from_text
from ram_envs.task import Outcome, Rows


@dataclass
class ClassificationState:
    """B episodes.

    index       (B,) int64, which image of the split is shown
    steps       (B,) int64, steps taken
    canvases    (B, H, W[, C]) uint8, or None where the canvas is the image itself
    """

    index: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    canvases: npt.NDArray[np.uint8] | None


class ImageClassification:
    """The task "name the image". See `ram_envs.task.Task` for the verbs.

    Args:
        dataset: images and labels of one split.
        canvas: how an image is placed.
        num_glimpses: T, the steps of an episode.
        fixed_canvases: whether the canvas is a function of the image's index alone (validation
            and test), or drawn afresh for every episode (training).
    """

    frames_change = False

    def __init__(
        self, dataset: ImageDataset, canvas: Canvas, num_glimpses: int, fixed_canvases: bool
    ) -> None:
        if not isinstance(num_glimpses, (int, np.integer)) or num_glimpses < 1:
            raise ValueError(f"num_glimpses={num_glimpses!r}: expected an integer, 1 or more.")
        self.dataset = dataset
        self.canvas = canvas
        self.num_glimpses = num_glimpses
        self.image_shape = canvas.shape
        self.choice_names = tuple(str(label) for label in range(dataset.num_classes))
        self._fixed_key = (
            key_from_text(f"{dataset.fingerprint} {canvas.key}")
            if fixed_canvases and not canvas.is_image
            else None
        )

    def allocate(self, num_envs: int) -> ClassificationState:
        return ClassificationState(
            index=np.zeros(num_envs, np.int64),
            steps=np.zeros(num_envs, np.int64),
            canvases=None
            if self.canvas.is_image
            else np.zeros((num_envs, *self.image_shape), np.uint8),
        )

    def begin(
        self, state: ClassificationState, rows: Rows, streams: Streams, options: Mapping[str, Any]
    ) -> None:
        index = streams.integers(len(self.dataset))[:, 0]
        if options.get("index") is not None:
            index = self._chosen_index(options["index"], len(state.index))[rows]
        state.index[rows] = index
        state.steps[rows] = 0
        if state.canvases is not None:
            if self._fixed_key is not None:
                streams = Streams(combine_keys(self._fixed_key, index))
            state.canvases[rows] = self.canvas.draw(self.dataset.images, index, streams)

    def advance(
        self, state: ClassificationState, rows: Rows, choices: npt.NDArray[np.int64]
    ) -> Outcome:
        state.steps[rows] += 1
        decided = state.steps[rows] == self.num_glimpses
        right = choices == self.dataset.labels[state.index[rows]]
        return Outcome(rewards=(decided & right).astype(np.float64), terminations=decided)

    def images(self, state: ClassificationState) -> tuple[npt.NDArray[np.uint8], Rows]:
        if state.canvases is None:
            return self.dataset.images, state.index
        return state.canvases, np.arange(len(state.index))

    def infos(
        self, state: ClassificationState
    ) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]:
        always = np.ones(len(state.index), np.bool_)
        return {
            "label": (self.dataset.labels[state.index], always),
            "index": (state.index, always),
        }

    def _chosen_index(self, index: Any, num_envs: int) -> npt.NDArray[np.int64]:
        """The index option as (num_envs,), checked; one number serves every sub-environment."""
        chosen = np.asarray(index)
        if chosen.dtype.kind not in "iu" or chosen.shape not in ((), (num_envs,)):
            raise ValueError(
                f"options['index']={index!r}: expected an integer, or for a vector environment "
                f"an array of {num_envs} integers, entry i for sub-environment i."
            )
        if chosen.min() < 0 or chosen.max() >= len(self.dataset):
            bad = chosen.min() if chosen.min() < 0 else chosen.max()
            raise ValueError(
                f"options['index'] contains {bad}: this split of {self.dataset.name!r} has "
                f"images 0 to {len(self.dataset) - 1}."
            )
        return np.broadcast_to(chosen.astype(np.int64), (num_envs,))
