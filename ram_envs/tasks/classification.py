"""Classification: look T times, then name the image (paper, section 4.1).

The rules: an image lies on a canvas. Every step carries a label, and that of the T-th step is the
decision: reward 1 if it is right, else 0, and the episode is over.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import arange, cast, to_like
from ram_envs.checks import checked_integer
from ram_envs.datasets import ImageDataset
from ram_envs.datasets.source import ImageSource
from ram_envs.kernels import kernel
from ram_envs.streams import Streams, combine_keys, key_from_text
from ram_envs.task import Outcome, Rows, Task
from ram_envs.tasks.canvas import Canvas


@dataclass
class ClassificationState:
    """The state of B episodes.

    index       (B,) int64, which image of the split is shown
    labels      (B,) int64, the true label
    steps       (B,) int64, steps taken
    """

    index: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]


EpisodeState = TypeVar("EpisodeState", bound=ClassificationState)


class Classification(Task[EpisodeState]):
    """The rules of classification, however an image is shown.

    Args:
        dataset: images and labels of one split.
        num_glimpses: T, the steps of an episode.
        fixed_by: None where presentations are drawn for every episode (training). Where they are a
            function of the image's index alone (validation and test), the settings that shape
            them, as text.
    """

    option_names = ("index",)

    def __init__(self, dataset: ImageDataset, num_glimpses: int, fixed_by: str | None) -> None:
        self.dataset = dataset
        self.num_glimpses = checked_integer("num_glimpses", num_glimpses, 1)
        self.choice_names = dataset.class_names
        self._fixed_key = (
            None if fixed_by is None else key_from_text(f"{dataset.fingerprint} {fixed_by}")
        )

    def advance(self, state: EpisodeState, rows: Rows, choices: npt.NDArray[np.int64]) -> Outcome:
        count = count_labels.on(state.index)
        return Outcome(*count(state, self.num_glimpses, rows, choices))

    def infos(
        self, state: EpisodeState
    ) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]:
        always = _always(len(state.index))
        return {
            "label": (state.labels, always),
            "index": (state.index, always),
        }

    def _choose_images(
        self, state: EpisodeState, rows: Rows, streams: Streams, options: Mapping[str, Any]
    ) -> Streams:
        """Begin episodes with an image each; return the streams of their presentation."""
        index = streams.integers(len(self.dataset))[:, 0]
        if options.get("index") is not None:
            chosen = self._chosen_index(options["index"], len(state.index))
            index = to_like(chosen, state.index)[rows]
        state.index[rows] = index
        state.labels[rows] = self.dataset.labels[index]
        state.steps[rows] = 0
        return streams if self._fixed_key is None else Streams(combine_keys(self._fixed_key, index))

    def _chosen_index(self, index: Any, num_envs: int) -> npt.NDArray[np.int64]:
        """Return the option "index" as (num_envs,); one number serves every sub-environment."""
        chosen = np.asarray(index)
        if chosen.dtype.kind not in "iu" or chosen.shape not in ((), (num_envs,)):
            raise ValueError(
                f"options['index']={index!r} is not an index. Give an integer, or for a vector "
                f"environment {num_envs} integers, one for each sub-environment."
            )
        if chosen.min() < 0 or chosen.max() >= len(self.dataset):
            wrong = chosen.min() if chosen.min() < 0 else chosen.max()
            raise ValueError(
                f"options['index'] contains {wrong}. Choose from 0 to {len(self.dataset) - 1}, the "
                f"images of this split of {self.dataset.name!r}."
            )
        return np.broadcast_to(chosen, (num_envs,)).astype(np.int64)


@functools.lru_cache(maxsize=16)
def _always(number: int) -> npt.NDArray[np.bool_]:
    """Return where values exist that always exist; read-only."""
    always = np.ones(number, np.bool_)
    always.flags.writeable = False
    return always


@kernel("steps")
def count_labels(
    state: ClassificationState,
    num_glimpses: int,
    rows: Rows,
    choices: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Count a step in `rows`; return rewards and terminations."""
    state.steps[rows] += 1
    decided = state.steps[rows] == num_glimpses
    right = choices == state.labels[rows]
    return cast(decided & right, "float64"), decided


@dataclass
class CanvasState(ClassificationState):
    """The state of B episodes, with what they show.

    canvases    (B, H, W[, C]) uint8, or None where the canvas is the image itself
    """

    canvases: npt.NDArray[np.uint8] | None


class ImageClassification(Classification[CanvasState]):
    """The task "name the image". See `ram_envs.task.Task` for the methods.

    Args:
        dataset: images and labels of one split.
        canvas: how an image is placed.
        num_glimpses: T, the steps of an episode.
        fixed_canvases: whether the canvas is a function of the image's index alone (validation
            and test), or drawn for every episode (training).
    """

    frames_change = False

    def __init__(
        self, dataset: ImageDataset, canvas: Canvas, num_glimpses: int, fixed_canvases: bool
    ) -> None:
        is_drawn_once = fixed_canvases and not canvas.is_image
        super().__init__(dataset, num_glimpses, canvas.key if is_drawn_once else None)
        if not canvas.is_image:
            dataset.array  # noqa: B018  raises TypeError for lazy images
        self.canvas = canvas
        self.image_shape = canvas.shape

    def allocate(self, num_envs: int) -> CanvasState:
        return CanvasState(
            index=np.zeros(num_envs, np.int64),
            labels=np.zeros(num_envs, np.int64),
            steps=np.zeros(num_envs, np.int64),
            canvases=None
            if self.canvas.is_image
            else np.zeros((num_envs, *self.image_shape), np.uint8),
        )

    def begin(
        self, state: CanvasState, rows: Rows, streams: Streams, options: Mapping[str, Any]
    ) -> None:
        streams = self._choose_images(state, rows, streams, options)
        if state.canvases is not None:
            index = state.index[rows]
            state.canvases[rows] = self.canvas.draw(self.dataset.array, index, streams)

    def images(self, state: CanvasState) -> tuple[npt.NDArray[np.uint8] | ImageSource, Rows]:
        if state.canvases is None:
            return self.dataset.images, state.index
        return state.canvases, arange(len(state.index), state.index)

    def image_rows(self, state: CanvasState) -> npt.NDArray[np.int64]:
        """Return which images of the split are on each canvas, (B, 1)."""
        return state.index[:, None]
