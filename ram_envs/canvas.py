"""The canvas: where an image is placed, and among what clutter, before the retina looks at it.

Paper, section 4.1: the image lies at a random place of a larger, blank canvas; in the cluttered
tasks pieces of other images are strewn over it. The paper does not say how a piece meets what lies
under it; as in the generator that its authors' laboratory published (mnist-cluttered), pieces are
drawn first, the image is added, and the sum is clipped to white.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ram_envs.random import Streams


@dataclass(frozen=True)
class Canvas:
    """How canvases are drawn: images (h, w[, C]) placed on fields (H, W[, C]).

    A clutter piece is a square cut whole from a random image, at a uniform offset; pieces and
    image are placed at uniform places wholly inside. A canvas as large as its image, without
    clutter, is the image.

    Args:
        shape: (H, W[, C]) of the canvas.
        image_shape: (h, w[, C]) of the images placed on it.
        num_clutter: how many pieces; 0 for none.
        clutter_size: side of a piece in pixels; at most h and w.

    Raises:
        ValueError: if an image does not fit the canvas, or a piece the image.
    """

    shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    num_clutter: int = 0
    clutter_size: int = 8

    def __post_init__(self) -> None:
        if self.shape[0] < self.image_shape[0] or self.shape[1] < self.image_shape[1]:
            raise ValueError(
                f"canvas_size={self.shape[:2]}: too small for images of {self.image_shape[:2]}. "
                "Give a canvas_size (height, width) that is at least the images' size."
            )
        if not isinstance(self.num_clutter, (int, np.integer)) or self.num_clutter < 0:
            raise ValueError(f"num_clutter={self.num_clutter!r}: expected an integer, 0 or more.")
        if self.num_clutter and not (
            isinstance(self.clutter_size, (int, np.integer))
            and 1 <= self.clutter_size <= min(self.image_shape[:2])
        ):
            raise ValueError(
                f"clutter_size={self.clutter_size!r}: pieces are cut from images of "
                f"{self.image_shape[:2]}; expected 1 to {min(self.image_shape[:2])} pixels."
            )

    @property
    def is_image(self) -> bool:
        """Whether every canvas is just its image, so that nothing needs to be drawn."""
        return self.shape == self.image_shape and self.num_clutter == 0

    @property
    def key(self) -> str:
        """The settings that shape a canvas, as text: part of the key of the fixed canvases."""
        text = f"canvas {self.shape} image {self.image_shape} clutter {self.num_clutter}"
        return f"{text} × {self.clutter_size}" if self.num_clutter else text

    def draw(
        self,
        images: npt.NDArray[np.uint8],
        rows: npt.NDArray[np.integer],
        streams: Streams,
    ) -> npt.NDArray[np.uint8]:
        """Draw one canvas for each stream.

        Args:
            images: (N, h, w[, C]), all images of the split; clutter is cut from any of them.
            rows: (B,), which of them lies on each canvas.
            streams: B streams; each canvas takes 5 · num_clutter + 2 draws from its own.

        Returns:
            Canvases (B, H, W[, C]).
        """
        (height, width), (image_height, image_width) = self.shape[:2], self.image_shape[:2]
        size = self.clutter_size
        canvases = np.zeros((len(rows), *self.shape), np.uint8)
        piece_draws = streams.integers(
            *(len(images), image_height - size + 1, image_width - size + 1) * self.num_clutter
        )
        place_draws = streams.integers(
            *(height - size + 1, width - size + 1) * self.num_clutter,
            height - image_height + 1,
            width - image_width + 1,
        )
        for piece in range(self.num_clutter):
            source, top, left = piece_draws[:, 3 * piece : 3 * piece + 3].T
            pieces = _windows(images, size, size)[source, top, left]
            _add(canvases, pieces, place_draws[:, 2 * piece : 2 * piece + 2])
        _add(canvases, images[rows], place_draws[:, -2:])
        return canvases


def _windows(images: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """All windows of `height` × `width` as a view (N, top, left, height, width[, C])."""
    strides, shape = images.strides, images.shape
    return np.lib.stride_tricks.as_strided(
        images,
        (shape[0], shape[1] - height + 1, shape[2] - width + 1, height, width, *shape[3:]),
        (*strides[:3], *strides[1:]),
    )


def _add(
    canvases: npt.NDArray[np.uint8],
    pieces: npt.NDArray[np.uint8],
    places: npt.NDArray[np.integer],
) -> None:
    """Add one piece (B, h, w[, C]) to each canvas with its top left at (row, column), clipped."""
    windows = _windows(canvases, *pieces.shape[1:3])
    where = (np.arange(len(pieces)), places[:, 0], places[:, 1])
    under = windows[where]
    windows[where] = under + np.minimum(pieces, ~under)  # ~under is 255 − under: the room left
