"""The canvas: an image at a random place among clutter, which the retina looks at.

Paper, section 4.1: the image lies at a random place of a larger, blank canvas; in the cluttered
tasks, pieces of other images are scattered over it. The paper does not say how overlapping pixels
combine. As in the generator that its authors' laboratory published (mnist-cluttered), pieces are
drawn first, the image is added, and the sum is clipped to white.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import arange, is_tensor, minimum, zeros
from ram_envs.checks import checked_integer
from ram_envs.kernels import kernel
from ram_envs.streams import Streams
from ram_envs.tasks.distortion import Distortion, mirror
from ram_envs.windows import window_index


@dataclass(frozen=True)
class Canvas:
    """How canvases (H, W[, C]) are drawn from images (h, w[, C]).

    A piece of clutter is a square cut from a random image at a uniform offset, wholly inside.
    Pieces and image are placed uniformly, wholly inside the canvas. A canvas as large as its image,
    without clutter, is the image.

    Args:
        shape: (H, W[, C]) of the canvas.
        image_shape: (h, w[, C]) of the images placed on it.
        num_clutter: the number of pieces.
        clutter_size: the side of a piece in pixels; at most h and w.
        distortion: of the image, but not of the pieces, before it is placed.
        mirror: whether half the images, but no pieces, are flipped horizontally at random.

    Raises:
        ValueError: if an image does not fit the canvas, or a piece the image.
    """

    shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    num_clutter: int = 0
    clutter_size: int = 8
    distortion: Distortion | None = None
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.shape[0] < self.image_shape[0] or self.shape[1] < self.image_shape[1]:
            raise ValueError(
                f"canvas_size={self.shape[:2]} is too small for images of {self.image_shape[:2]}. "
                "Give a (height, width) that is at least the images' size."
            )
        side = min(self.image_shape[:2]) if self.num_clutter else None
        meaning = ", the images' side" if self.num_clutter else ""
        # Small types of NumPy would overflow in sums.
        for name, value in {
            "num_clutter": checked_integer("num_clutter", self.num_clutter, 0),
            "clutter_size": checked_integer("clutter_size", self.clutter_size, 1, side, meaning),
        }.items():
            object.__setattr__(self, name, value)

    @property
    def is_image(self) -> bool:
        """Whether every canvas equals its image, so that nothing is drawn."""
        is_bare = self.num_clutter == 0 and self.distortion is None and not self.mirror
        return is_bare and self.shape == self.image_shape

    @property
    def key(self) -> str:
        """The settings that shape a canvas, as text; part of the key of fixed canvases."""
        text = f"canvas {self.shape} image {self.image_shape} clutter {self.num_clutter}"
        return f"{text} × {self.clutter_size}" if self.num_clutter else text

    def draw(
        self,
        images: npt.NDArray[np.uint8],
        rows: npt.NDArray[np.integer],
        streams: Streams,
    ) -> npt.NDArray[np.uint8]:
        """Draw one canvas for each stream; the arguments are all arrays, or all tensors.

        Args:
            images: (N, h, w[, C]), all images of the split; clutter is cut from any of them.
            rows: (B,), the image on each canvas.
            streams: B streams. A canvas takes 5 · num_clutter + 2 draws from its own, and more
                where images are mirrored or distorted.

        Returns:
            Canvases (B, H, W[, C]).
        """
        pieces = self.cut_pieces(images, streams)
        places = streams.integers(*(self.free_space + 1).ravel().tolist())
        shown = images[rows]
        if self.mirror:
            shown = mirror(shown, streams)
        if self.distortion is not None:
            shown = self.distortion.draw(shown, streams)
        return self.add_up(pieces, shown, places.reshape(len(rows), -1, 2))

    @property
    def free_space(self) -> npt.NDArray[np.int64]:
        """How far each piece, and last the image, can move: (num_clutter + 1, 2) pixels."""
        sides = [(self.clutter_size,) * 2] * self.num_clutter + [self.image_shape[:2]]
        free_space: npt.NDArray[np.int64] = np.array(self.shape[:2]) - np.array(sides)
        return free_space

    def cut_pieces(self, images: npt.NDArray[np.uint8], streams: Streams) -> npt.NDArray[np.uint8]:
        """Cut each canvas's clutter, (B, num_clutter, s, s[, C]), from random images."""
        size = self.clutter_size
        height, width = self.image_shape[:2]
        ranges = (len(images), height - size + 1, width - size + 1)
        draws = streams.integers(*ranges * self.num_clutter)
        return cut_windows.on(images)(
            images, draws.reshape(len(streams), self.num_clutter, 3), size
        )

    def add_up(
        self,
        pieces: npt.NDArray[np.uint8],
        images: npt.NDArray[np.uint8],
        places: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.uint8]:
        """Add pieces and image on each canvas, clipped at white.

        Args:
            pieces: (B, num_clutter, s, s[, C]).
            images: (B, h, w[, C]).
            places: (B, num_clutter + 1, 2), the top left (row, column) of each, the image last.

        Returns:
            Canvases (B, H, W[, C]).
        """
        return add_clipped.on(images)(self.shape, pieces, images, places)


@kernel("canvases")
def cut_windows(
    images: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], size: int
) -> npt.NDArray[np.uint8]:
    """Cut squares (B, n, size, size[, C]) from images at `places` (B, n, 3): row, top, left."""
    batch_size, number = places.shape[:2]
    shape = (batch_size, number, size, size, *images.shape[3:])
    pieces: npt.NDArray[np.uint8] = zeros(shape, "uint8", images)
    for piece in range(number):
        source, top, left = places[:, piece].T
        windows, where = _windows(images, source, top, left, size, size)
        pieces[:, piece] = windows[where]
    return pieces


@kernel("canvases")
def add_clipped(
    shape: tuple[int, ...],
    pieces: npt.NDArray[np.uint8],
    images: npt.NDArray[np.uint8],
    places: npt.NDArray[np.int64],
) -> npt.NDArray[np.uint8]:
    """Add pieces and image on canvases of `shape`, clipped at white; see `Canvas.add_up`."""
    canvases: npt.NDArray[np.uint8] = zeros((len(images), *shape), "uint8", images)
    for piece in range(pieces.shape[1]):
        add_images.numpy(canvases, pieces[:, piece], places[:, piece])
    add_images.numpy(canvases, images, places[:, -1])
    return canvases


def _windows(
    images: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.integer],
    tops: npt.NDArray[np.integer],
    lefts: npt.NDArray[np.integer],
    height: int,
    width: int,
) -> tuple[npt.NDArray[np.uint8], tuple[Any, Any, Any]]:
    """Return a view of images, and the index of windows (B, height, width[, C]) in it."""
    if is_tensor(images):
        return images, window_index(rows, tops, lefts, height, width)
    # A view (N, top, left, height, width[, C]) of all windows: numpy copies whole windows faster
    # than single pixels.
    strides, shape = images.strides, images.shape
    view = np.lib.stride_tricks.as_strided(
        images,
        (shape[0], shape[1] - height + 1, shape[2] - width + 1, height, width, *shape[3:]),
        (*strides[:3], *strides[1:]),
    )
    return view, (rows, tops, lefts)


@kernel("canvases")
def add_images(
    canvases: npt.NDArray[np.uint8],
    images: npt.NDArray[np.uint8],
    places: npt.NDArray[np.integer],
) -> None:
    """Add one image (B, h, w[, C]) to each canvas at its (row, column), clipped at white."""
    rows: Any = arange(len(images), canvases)
    height, width = images.shape[1:3]
    windows, where = _windows(canvases, rows, places[:, 0], places[:, 1], height, width)
    under = windows[where]
    windows[where] = under + minimum(images, ~under)  # ~under is 255 − under
