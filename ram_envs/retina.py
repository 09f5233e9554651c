"""The retina: what the agent sees when it looks at a location (paper, section 3, "glimpse sensor").

A glimpse is K square patches around one point. The first is G × G pixels, each next one twice as
wide; all are brought to G × G by average pooling, so the middle is sharp and the surround coarse.

Coordinates, here and everywhere
    location    (x, y) in [−1, 1]²; (−1, −1) is the image's top-left corner, (0, 0) its center
    pixel edge  c = (⌊(x + 1)/2 · W + ½⌋, ⌊(y + 1)/2 · H + ½⌋) on a W × H image, from 0 to W or H
    patch       of width w = G · 2^k starts at pixel c − ⌊w/2⌋ in both directions
    outside     the image every pixel is 0

How it is quick: only the window of the widest patch is read, whatever the image's size. The
windows of a whole batch are gathered line by line; then neighbors are added up, two by two, across
and down, from scale to scale, each patch being the middle of the next. Being integer, it is exact.
Small images are laid out amid black before, so that every window lies inside.

Images and locations may be torch's tensors: the glimpses are the same, bit for bit, and made on
their device without waiting for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import arange, cast, empty, is_tensor
from ram_envs.datasets.source import ImageSource
from ram_envs.windows import as_items, read_windows, window_index

# Windows are cut and pooled together up to this many bytes: few enough for the cache, enough to
# make numpy's overhead small.
_BLOCK = 2**19
# Of tensors more at once, since a device is the quicker the more it has to do.
_TENSOR_BLOCK = 2**26


@dataclass(frozen=True)
class Padded:
    """B images amid black, ready to be looked at; made by `Retina.allocate`.

    pixels  (B, C, H + w, W + w) uint8, where w is the widest patch's width; an image's top left
            is at (⌊w/2⌋, ⌊w/2⌋), so that the window at the pixel edge (x, y) starts at (y, x).
    starts  (B, C), where in them each plane begins
    """

    pixels: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    image_shape: tuple[int, ...]


class Retina:
    """K square patches of G × G, each twice as wide as the one before, around a location.

    Args:
        glimpse_size: G, the side of a patch as the agent sees it, in cells; at least 1.
        num_scales: K, how many patches; at least 1, at most 13.

    Raises:
        ValueError: if an argument is not an integer in its range.
    """

    def __init__(self, glimpse_size: int, num_scales: int = 1) -> None:
        for name, value, most in (
            ("glimpse_size", glimpse_size, 2**16),
            ("num_scales", num_scales, 13),
        ):
            if not isinstance(value, (int, np.integer)) or not 1 <= value <= most:
                raise ValueError(f"{name}={value!r}: expected an integer from 1 to {most}.")
        self.glimpse_size = int(glimpse_size)
        self.num_scales = int(num_scales)
        # the width of each patch in pixels of the image: G, 2G, 4G, …
        self.patch_widths = tuple(self.glimpse_size << scale for scale in range(self.num_scales))

    def __repr__(self) -> str:
        return f"Retina(glimpse_size={self.glimpse_size}, num_scales={self.num_scales})"

    def glimpse_shape(self, image_shape: Sequence[int]) -> tuple[int, int, int]:
        """The shape (K · C, G, G) of a glimpse of images (H, W) or (H, W, C)."""
        channels = image_shape[2] if len(image_shape) == 3 else 1
        return (self.num_scales * channels, self.glimpse_size, self.glimpse_size)

    def __call__(
        self, images: npt.NDArray[np.uint8], locations: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Look at each image once.

        Args:
            images: (B, H, W) or (B, H, W, C), uint8; an array or a tensor.
            locations: (B, 2), (x, y) in [−1, 1]; likewise.

        Returns:
            Glimpses (B, K · C, G, G) in [0, 1], scale-major, the C channels of the innermost patch
            first.
        """
        rows = arange(len(images), images)
        if is_tensor(images) or not self.pads(images.shape[1:]):
            return self.look_by_window(images, rows, locations)
        padded = self.allocate(len(images), images.shape[1:])
        self.fill(padded, images, rows)
        return self.look(padded, locations)

    def pads(self, image_shape: Sequence[int]) -> bool:
        """Whether images are so small beside the window that a padded copy of them is quicker."""
        return image_shape[0] * image_shape[1] <= 16 * self.patch_widths[-1] ** 2

    def allocate(self, num_images: int, image_shape: Sequence[int]) -> Padded:
        """Room for `num_images` images of shape (H, W) or (H, W, C), all black."""
        height, width, channels = (*image_shape, 1)[:3]
        more = self.patch_widths[-1]
        planes, size = (num_images, channels), (height + more, width + more)
        starts = math.prod(size) * np.arange(math.prod(planes)).reshape(planes)
        return Padded(np.zeros((*planes, *size), np.uint8), starts, tuple(image_shape))

    def fill(
        self,
        padded: Padded,
        images: npt.NDArray[np.uint8],
        rows: npt.NDArray[np.integer] | slice,
    ) -> None:
        """Lay `images` (n, H, W[, C]) out in rows `rows` (n,) of `padded`."""
        height, width, channels = (*images.shape[1:], 1)[:3]
        before = self.patch_widths[-1] // 2
        room = padded.pixels[..., before : before + height, before : before + width]
        planes = images.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        as_items(room)[rows] = as_items(np.ascontiguousarray(planes))

    def look(self, padded: Padded, locations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Glimpses (B, K · C, G, G) of the images laid out in `padded` at `locations` (B, 2)."""
        batch, channels, _, width = padded.pixels.shape
        x, y = pixel_edges(locations, *padded.image_shape[:2]).T
        starts = padded.starts + (y * width + x)[:, None]
        widest = self.patch_widths[-1]

        def cut(part: slice) -> npt.NDArray[np.uint8]:
            return read_windows(padded.pixels, starts[part], widest, width, widest)

        return self._pool(cut, batch, channels, locations)

    def look_by_window(
        self,
        source: ImageSource,
        rows: npt.NDArray[np.integer],
        locations: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """Look at images too large to be copied; no more of them is read than the windows.

        Args:
            source: (N, H, W) or (N, H, W, C), uint8; an array, a lazy one, or a tensor.
            rows: (B,), which image each look is at.
            locations: (B, 2); with a source that is a tensor, rows and locations are too.

        Returns:
            Glimpses (B, K · C, G, G), as when they are called with source[rows].
        """
        height, width, channels = (*source.shape[1:], 1)[:3]
        widest = self.patch_widths[-1]
        corners = pixel_edges(locations, height, width) - widest // 2  # left, top
        if is_tensor(source):

            def gather(part: slice) -> Any:
                return _gather_windows(source, rows[part], corners[part], widest)

            return self._pool(gather, len(rows), channels, locations)
        is_gathered = (
            isinstance(source, np.ndarray)
            and source.flags.c_contiguous
            and min(height, width) >= widest
        )
        # The nearest windows that are wholly inside can be gathered all at once; others are sliced.
        nearest = np.minimum(np.maximum(corners, 0), (width - widest, height - widest))
        starts = ((rows * height + nearest[:, 1]) * width + nearest[:, 0]) * channels
        moved = nearest != corners
        is_sliced = moved[:, 0] | moved[:, 1] if is_gathered else np.ones(len(rows), np.bool_)

        def cut(part: slice) -> npt.NDArray[np.uint8]:
            shape = (widest, len(rows[part]), widest, channels)
            if is_gathered:
                assert isinstance(source, np.ndarray)
                lines = (widest, width * channels, widest * channels)
                windows = read_windows(source, starts[part], *lines).reshape(shape)
            else:
                windows = np.empty(shape, np.uint8)
            for place in np.flatnonzero(is_sliced[part]).tolist():
                (x, y), row = corners[part][place].tolist(), int(rows[part][place])
                y0, y1 = max(y, 0), min(y + widest, height)
                x0, x1 = max(x, 0), min(x + widest, width)
                pixels = np.asarray(source[row, y0:y1, x0:x1])
                windows[:, place] = 0
                windows[y0 - y : y1 - y, place, x0 - x : x1 - x] = pixels.reshape(
                    y1 - y0, x1 - x0, channels
                )
            return np.ascontiguousarray(windows.swapaxes(2, 3))

        return self._pool(cut, len(rows), channels, locations)

    def _pool(
        self,
        cut: Callable[[slice], npt.NDArray[np.uint8]],
        batch: int,
        channels: int,
        locations: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """Glimpses (B, K · C, G, G) of the windows (w, b, C, w) that `cut` gives for a part."""
        size, widest = self.glimpse_size, self.patch_widths[-1]
        shape = (batch, self.num_scales, channels, size, size)
        glimpses: npt.NDArray[np.float32] = empty(shape, "float32", locations)
        most = _TENSOR_BLOCK if is_tensor(glimpses) else _BLOCK
        num_blocks = max(1, round(batch * channels * widest**2 / most))
        block = max(1, -(-batch // num_blocks))
        for start in range(0, batch, block):
            part = slice(start, start + block)
            for scale, cells in enumerate(self._sums(cut(part))):
                if is_tensor(cells):
                    glimpses[part, scale] = _divide(cells, 255 * 4**scale)
                    continue
                # First to the glimpse's order, a line of cells at a time; then to floats.
                lines = np.ascontiguousarray(as_items(cells).transpose(1, 2, 0))  # (b, C, G)
                np.divide(
                    lines[..., None].view(cells.dtype),
                    np.float32(255 * 4**scale),
                    out=glimpses[part, scale],
                )
        return glimpses.reshape(batch, self.num_scales * channels, size, size)

    def _sums(self, windows: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.unsignedinteger]]:
        """The sums (G, b, C, G) of each scale's cells; the windows (w, b, C, w) are used up."""
        size, widest = self.glimpse_size, self.patch_widths[-1]
        # Of an odd G the patches' cells lie across each other's borders, from three scales on.
        nest = size % 2 == 0 or self.num_scales <= 2
        sums: npt.NDArray[np.unsignedinteger] = windows
        for scale, width in enumerate(self.patch_widths):
            start = widest // 2 - width // 2
            if not nest:
                inner = slice(start, start + width)
                sums, start = windows[inner, ..., inner], 0
                if not is_tensor(sums):
                    sums = sums.copy()
                for halved in range(scale):
                    sums = _halve(sums, halved + 1)
            elif scale > 0:
                sums, start = _halve(sums, scale), start >> scale
            yield sums[start : start + size, ..., start : start + size]


def pixel_edges(
    locations: npt.NDArray[np.float32], height: int, width: int
) -> npt.NDArray[np.int64]:
    """The pixel edges (…, 2), as (x, y), that `locations` (…, 2) name on an image H × W.

    A location outside [−1, 1]² names an edge of the image's border.
    """
    # float64, so that the edge does not depend on float32 rounding, which libraries do differently
    scaled = cast(locations, "float64")
    if is_tensor(scaled):  # with numbers alone: a pair of them would have to be sent to its device
        scaled = scaled.clip(-1, 1) + 1
        scaled[..., 0] *= width / 2
        scaled[..., 1] *= height / 2
    else:
        np.maximum(scaled, -1, out=scaled)
        np.minimum(scaled, 1, out=scaled)
        scaled += 1
        scaled *= width / 2 if width == height else (width / 2, height / 2)
    scaled += 0.5
    # which rounds down, there being nothing negative
    edges: npt.NDArray[np.int64] = cast(scaled, "int64")
    return edges


def _sum_dtype(scale: int) -> type[np.unsignedinteger]:
    """The narrowest dtype that holds 255 · 4^scale."""
    return np.uint8 if scale == 0 else np.uint16 if scale <= 4 else np.uint32


def _gather_windows(images: Any, rows: Any, corners: Any, widest: int) -> Any:
    """Windows (w, b, C, w) of tensors, whose left and top are at `corners` (b, 2)."""
    height, width, channels = (*images.shape[1:], 1)[:3]
    rows, y, x = window_index(rows, corners[:, 1], corners[:, 0], widest, widest)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    windows = images[rows, y.clip(0, height - 1), x.clip(0, width - 1)]
    windows = windows.reshape(-1, widest, widest, channels) * inside[..., None]
    return windows.permute(1, 0, 3, 2)


def _divide(cells: Any, most: int) -> Any:
    """A tensor's sums (G, b, C, G) as shares (b, C, G, G) of the `most` that a cell can hold."""
    # In float32 a GPU multiplies by the rounded inverse, and its last bit differs; from float64
    # the rounding to float32 gives the nearest number either way.
    return cast(cells.permute(1, 2, 0, 3), "float64") / most


def _halve(cells: npt.NDArray[np.unsignedinteger], scale: int) -> npt.NDArray[np.unsignedinteger]:
    """The sums of 2 × 2 cells (h, …, w), contiguous and used up, as cells of the next scale."""
    if is_tensor(cells):
        cells = cast(cells, "int64")
        pairs = cells[::2] + cells[1::2]
        return pairs[..., ::2] + pairs[..., 1::2]
    # Two neighbors as one word twice as wide: its halves add up many times quicker than every
    # other cell does.
    bits = 8 * cells.itemsize
    words = cells.view(f"u{2 * cells.itemsize}")
    sums = words >> bits
    words &= 2**bits - 1
    sums += words
    return (sums[::2] + sums[1::2]).astype(_sum_dtype(scale), copy=False)
