"""Two digits on one canvas: name the pair, or the sum.

Both tasks are from "Multiple Object Recognition with Visual Attention" (Ba, Mnih & Kavukcuoglu
2015, arXiv 1412.7755, section 4), whose texts leave open how digits and clutter are placed. The
rules here, exactly; `ram_envs.tasks.classification` says what the labels of the steps do.

    digits  the first is image i of the split, the second a uniformly random image of the split,
            which may be the first again; so every image comes first once in a pass over the split
    clutter as on every canvas of `ram_envs.tasks.canvas`: pieces cut from random images of the
            split, at uniform places
    places  both digits wholly inside, and their squares of h × w pixels without a common pixel:
            uniform among all such pairs of places
    shown   pieces and digits added up, clipped at 255
    label   "pair": which of the n (n + 1) / 2 unordered pairs of classes, a ≤ b in lexical order:
            (0, 0), (0, 1), …, (0, 9), (1, 1), …; "sum": the sum of the two digits, 0 … 2 (n − 1)

In training all but the first digit is drawn for each episode. For validation and test, the canvas
is a fixed function of the data set, the sizes, the number of pieces and i, and the same one for
both tasks.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import cast, to_like, zeros
from ram_envs.checks import suggest
from ram_envs.datasets import ImageDataset
from ram_envs.streams import Streams
from ram_envs.task import Rows
from ram_envs.tasks.canvas import Canvas, add_images
from ram_envs.tasks.classification import CanvasState, ImageClassification
from ram_envs.tasks.distortion import mirror

Answer = Literal["pair", "sum"]
ANSWERS: tuple[Answer, ...] = ("pair", "sum")


@dataclass(frozen=True)
class PairCanvas(Canvas):
    """How canvases of two images each are drawn.

    Raises:
        ValueError: if the canvas has no room for two images without overlap.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        (height, width), (h, w) = self.shape[:2], self.image_shape[:2]
        if height < 2 * h and width < 2 * w:
            raise ValueError(
                f"canvas_size={(height, width)} is too small for two images of {(h, w)} without "
                f"overlap. Give a height of at least {2 * h}, or a width of at least {2 * w}."
            )

    @property
    def is_image(self) -> bool:
        return False

    @property
    def key(self) -> str:
        return f"pair on {super().key}"

    def draw(
        self,
        images: npt.NDArray[np.uint8],
        rows: npt.NDArray[np.integer],
        streams: Streams,
    ) -> npt.NDArray[np.uint8]:
        """Draw one canvas for each stream, as `Canvas.draw`.

        Args:
            images: (N, h, w[, C]), all images of the split; clutter is cut from any of them.
            rows: (B, 2), the images on each canvas.
            streams: B streams. A canvas takes 5 · num_clutter + 1 draws from its own, and more
                where images are mirrored or distorted.

        Returns:
            Canvases (B, H, W[, C]).
        """
        pieces = self.cut_pieces(images, streams)
        spaces = self.free_space[:-1]  # of the pieces
        ranges = (spaces + 1).ravel().tolist()
        piece_places = streams.integers(*ranges).reshape(len(rows), *spaces.shape)
        places = self._draw_places(streams)
        shown = [images[rows[:, digit]] for digit in range(2)]
        if self.mirror:
            shown = [mirror(digits, streams) for digits in shown]
        if self.distortion is not None:
            shown = [self.distortion.draw(digits, streams) for digits in shown]
        # Pieces and the first image, as on a canvas of one image; then the second.
        first_places: npt.NDArray[np.int64] = zeros(
            (len(rows), len(spaces) + 1, 2), "int64", places
        )
        first_places[:, :-1], first_places[:, -1] = piece_places, places[:, 0]
        canvases = self.add_up(pieces, shown[0], first_places)
        add_images.on(images)(canvases, shown[1], places[:, 1])
        return canvases

    def _draw_places(self, streams: Streams) -> npt.NDArray[np.int64]:
        """Draw the top left (row, column) of two images without overlap, (B, 2, 2)."""
        row_pairs, num_apart = self._pairs_along(0)
        column_pairs, num_columns_apart = self._pairs_along(1)
        # Either the rows keep the images apart, and the columns may be any; or they do not, and the
        # columns must. Each count is that of the pairs of places.
        by_rows = num_apart * len(column_pairs)
        by_columns = (len(row_pairs) - num_apart) * num_columns_apart
        draws = cast(streams.uniform(1)[:, 0] * (by_rows + by_columns), "int64")
        is_late = cast(draws >= by_rows, "int64")
        divisors = len(column_pairs) + is_late * (num_columns_apart - len(column_pairs))
        draws = draws - is_late * by_rows
        places: npt.NDArray[np.int64] = zeros((len(draws), 2, 2), "int64", draws)
        places[:, :, 0] = to_like(row_pairs, draws)[draws // divisors + is_late * num_apart]
        places[:, :, 1] = to_like(column_pairs, draws)[draws % divisors]
        return places

    def _pairs_along(self, axis: int) -> tuple[npt.NDArray[np.int32], int]:
        """Return where two images may lie along an axis, and how many of these keep them apart."""
        num_places = self.shape[axis] - self.image_shape[axis] + 1
        return _list_pairs(num_places, self.image_shape[axis])


@functools.lru_cache(maxsize=16)
def _list_pairs(num_places: int, side: int) -> tuple[npt.NDArray[np.int32], int]:
    """Return all pairs of places (num_places², 2), and how many are at least `side` apart.

    Those come first.
    """
    pairs = np.indices((num_places, num_places), np.int32).reshape(2, -1).T
    are_near = np.abs(pairs[:, 0] - pairs[:, 1]) < side
    order = np.argsort(are_near, kind="stable")
    return np.ascontiguousarray(pairs[order]), int(np.sum(~are_near))


@dataclass
class PairState(CanvasState):
    """The state of B episodes of two images each; `index` is the first.

    second      (B,) int64, which image of the split is the second
    """

    second: npt.NDArray[np.int64]


class PairClassification(ImageClassification):
    """The task "name both images". See `ram_envs.task.Task` for the methods.

    Args:
        dataset: images and labels of one split.
        canvas: how two images are placed.
        num_glimpses: T, the steps of an episode.
        fixed_canvases: whether the canvas is a function of the first image's index alone
            (validation and test), or drawn for every episode (training).
        answer: "pair" or "sum".

    Attributes:
        answers: (n, n) int64, the label of each pair of classes.

    Raises:
        ValueError: for an unknown answer, or a sum of classes that are not named by numbers.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        canvas: PairCanvas,
        num_glimpses: int,
        fixed_canvases: bool,
        answer: Answer = "pair",
    ) -> None:
        super().__init__(dataset, canvas, num_glimpses, fixed_canvases)
        self.answer = answer
        self.choice_names, self.answers = _name_answers(dataset.class_names, answer)

    def allocate(self, num_envs: int) -> PairState:
        second = np.zeros(num_envs, np.int64)
        return PairState(**vars(super().allocate(num_envs)), second=second)

    def begin(
        self, state: CanvasState, rows: Rows, streams: Streams, options: Mapping[str, Any]
    ) -> None:
        assert isinstance(state, PairState)
        assert state.canvases is not None
        streams = self._choose_images(state, rows, streams, options)
        state.second[rows] = streams.integers(len(self.dataset))[:, 0]
        pairs = self.image_rows(state)[rows]
        classes = self.dataset.labels[pairs]
        state.labels[rows] = self.answers[classes[:, 0], classes[:, 1]]
        state.canvases[rows] = self.canvas.draw(self.dataset.array, pairs, streams)

    def image_rows(self, state: CanvasState) -> npt.NDArray[np.int64]:
        """Return which images of the split are on each canvas, (B, 2)."""
        assert isinstance(state, PairState)
        pairs: npt.NDArray[np.int64] = zeros((len(state.index), 2), "int64", state.index)
        pairs[:, 0], pairs[:, 1] = state.index, state.second
        return pairs


def _name_answers(
    class_names: tuple[str, ...], answer: Answer
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Return the name of each label, and the label of each pair of classes, (n, n)."""
    if answer not in ANSWERS:
        raise ValueError(f"answer={answer!r} does not exist. {suggest(answer, ANSWERS)}")
    n = len(class_names)
    first, second = np.indices((n, n))
    if answer == "sum":
        for number, name in enumerate(class_names):
            if name != str(number):
                raise ValueError(
                    f"answer='sum' adds the numbers 0 to {n - 1}, but class {number} of the data "
                    f"set is {name!r}. Use answer='pair', or leave out class_names."
                )
        return tuple(map(str, range(2 * n - 1))), first + second
    names = itertools.combinations_with_replacement(class_names, 2)
    low, high = np.minimum(first, second), np.maximum(first, second)
    return tuple(" and ".join(pair) for pair in names), low * (2 * n - low - 1) // 2 + high
