"""The retina: what the agent sees when it looks at a location (paper, section 3, "glimpse sensor").

A glimpse is K square patches around one point. The first is G × G pixels, each following one twice
as wide; all are average-pooled to G × G cells, so the middle is sharp and the surround coarse.

Coordinates, here and everywhere
    location    (x, y) in [−1, 1]²; (−1, −1) is the image's top-left corner, (0, 0) its center
    pixel edge  c = (⌊(x + 1)/2 · W + ½⌋, ⌊(y + 1)/2 · H + ½⌋) on a W × H image, from 0 to W or H
    patch       of width w = G · 2^k starts at pixel c − ⌊w/2⌋ in both directions
    outside     the image every pixel is 0

Speed: only the window of the widest patch is read, whatever the image's size. The windows of a
batch are gathered line by line; then cells are added two by two, across and down, from scale to
scale, since each patch is the middle of the next. Integer sums are exact. Small images are first
copied into black margins, so that every window lies inside.

Images and locations may be torch tensors: the glimpses are the same bit for bit, and are computed
on the tensors' device without synchronizing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import arange, cast, empty, is_tensor
from ram_envs.checks import checked_integer
from ram_envs.datasets.source import ImageSource, read_pixels
from ram_envs.kernels import form_in_use, kernel
from ram_envs.windows import as_items, read_windows, window_index

# Bytes of windows pooled at once: few enough for the cache, enough to hide numpy's overhead.
_BLOCK_BYTES = 2**19
# Larger blocks for tensors: a GPU needs large batches to be efficient.
_TENSOR_BLOCK_BYTES = 2**26


@dataclass(frozen=True)
class Padded:
    """B images with black margins, made by `Retina.allocate`.

    pixels      (B, C, H + w, W + w) uint8, where w is the widest patch's width. An image's top left
                is at (⌊w/2⌋, ⌊w/2⌋), so that the window at the pixel edge (x, y) starts at (y, x).
    starts      (B, C), the flat index in `pixels` at which each plane starts
    image_shape (H, W[, C])
    """

    pixels: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    image_shape: tuple[int, ...]


class Retina:
    """The glimpse sensor: K square patches around a location, each twice as wide as the last.

    Args:
        glimpse_size: G, the side of each patch as the agent sees it, in cells; 1 to 65,536.
        num_scales: K, the number of patches; 1 to 13.

    Raises:
        ValueError: if an argument is not an integer in its range.
    """

    def __init__(self, glimpse_size: int, num_scales: int = 1) -> None:
        self.glimpse_size = checked_integer("glimpse_size", glimpse_size, 1, 2**16)
        self.num_scales = checked_integer("num_scales", num_scales, 1, 13)
        # The width of each patch in pixels of the image: G, 2G, 4G, …
        self.patch_widths = tuple(self.glimpse_size << scale for scale in range(self.num_scales))

    def __repr__(self) -> str:
        return f"Retina(glimpse_size={self.glimpse_size}, num_scales={self.num_scales})"

    def glimpse_shape(self, image_shape: Sequence[int]) -> tuple[int, int, int]:
        """Return the shape (K · C, G, G) of a glimpse of images (H, W) or (H, W, C)."""
        channels = image_shape[2] if len(image_shape) == 3 else 1
        return (self.num_scales * channels, self.glimpse_size, self.glimpse_size)

    def check_suits(self, image_shape: tuple[int, ...]) -> None:
        """Raise ValueError if the patches are too large for images (H, W[, C])."""
        height, width = image_shape[:2]
        if self.glimpse_size > min(height, width):
            raise ValueError(
                f"glimpse_size={self.glimpse_size} is larger than the canvas of {height} × {width} "
                f"pixels. Choose at most {min(height, width)}."
            )
        widest, enough = self.patch_widths[-1], 2 * max(height, width)
        if self.num_scales > 1 and widest > enough:
            raise ValueError(
                f"num_scales={self.num_scales} makes the widest patch {widest} pixels, but "
                f"{enough} already show the whole {height} × {width} canvas from any location. "
                "Choose fewer scales or a smaller glimpse_size."
            )

    def __call__(
        self, images: npt.NDArray[np.uint8], locations: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return a glimpse of each image.

        Args:
            images: (B, H, W) or (B, H, W, C), uint8; an array or a tensor.
            locations: (B, 2), (x, y) in [−1, 1], of the same kind, rounded to float32; values
                outside are clipped. On a GPU, NaN is replaced by 0: checking for it would force a
                synchronization.

        Returns:
            Glimpses (B, K · C, G, G) in [0, 1], float32, scale-major; the C channels of the
            innermost patch come first.

        Raises:
            TypeError: if the images are not uint8.
            ValueError: if a shape is wrong, or a location is NaN.
        """
        check_pixels(images)
        if not hasattr(locations, "dtype"):
            raise TypeError(f"locations={locations!r} is not an array of float32. Give one.")
        if tuple(locations.shape) != (len(images), 2):
            raise ValueError(
                f"locations have shape {tuple(locations.shape)}, not {(len(images), 2)}. Give one "
                "(x, y) for each image."
            )
        locations = _without_nan(locations)
        rows = arange(len(images), images)
        if is_tensor(images) or not self.looks_at_copy(images):
            return self.look_by_window(images, rows, locations)
        padded = self.allocate(len(images), images.shape[1:])
        self.fill(padded, images, rows)
        return self.look(padded, locations)

    def pads(self, image_shape: Sequence[int]) -> bool:
        """Return whether images are so small that looking at a padded copy is faster."""
        return image_shape[0] * image_shape[1] <= 16 * self.patch_widths[-1] ** 2

    def looks_at_copy(self, source: ImageSource) -> bool:
        """Return whether images (N, H, W[, C]) are looked at in padded copies, not by window.

        Compiled kernels read windows of small images as fast.
        """
        return self.pads(source.shape[1:]) and not (
            form_in_use() == "numba" and is_contiguous(source)
        )

    def allocate(self, num_images: int, image_shape: Sequence[int]) -> Padded:
        """Return black space for `num_images` images of shape (H, W) or (H, W, C)."""
        height, width, channels = (*image_shape, 1)[:3]
        margins = self.patch_widths[-1]
        planes, size = (num_images, channels), (height + margins, width + margins)
        starts = math.prod(size) * np.arange(math.prod(planes)).reshape(planes)
        return Padded(np.zeros((*planes, *size), np.uint8), starts, tuple(image_shape))

    def fill(
        self,
        padded: Padded,
        images: npt.NDArray[np.uint8],
        rows: npt.NDArray[np.integer] | slice,
    ) -> None:
        """Copy `images` (n, H, W[, C]) to `rows` (n,) of `padded`."""
        height, width, channels = (*images.shape[1:], 1)[:3]
        planes = images.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        self.fill_planes(padded, planes, rows)

    def fill_planes(
        self,
        padded: Padded,
        planes: npt.NDArray[np.uint8],
        rows: npt.NDArray[np.integer] | slice,
    ) -> None:
        """Copy images with their channels first, `planes` (n, C, H, W), to `rows` of `padded`."""
        height, width = planes.shape[2:]
        margin = self.patch_widths[-1] // 2
        inner = padded.pixels[..., margin : margin + height, margin : margin + width]
        as_items(inner)[rows] = as_items(np.ascontiguousarray(planes))

    def look(self, padded: Padded, locations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return glimpses (B, K · C, G, G) of padded images at `locations` (B, 2)."""
        return look_at_padded.run(self, padded, locations)

    def look_by_window(
        self,
        source: ImageSource,
        rows: npt.NDArray[np.integer],
        locations: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """Return glimpses of images of which only the windows are read.

        Args:
            source: (N, H, W) or (N, H, W, C), uint8; an array, a lazy array, or a tensor. If it has
                a method `read_windows(rows, corners, width)`, that returns the square windows of a
                whole block, (width, b, width[, C]): their first lines come first.
            rows: (B,), which image to look at. A tensor if the source is one.
            locations: (B, 2), likewise.

        Returns:
            Glimpses (B, K · C, G, G), the same as of source[rows].
        """
        return look_at_rows.on(source)(self, source, rows, locations)

    def pool(
        self,
        read: Callable[[slice], npt.NDArray[np.uint8]],
        batch: int,
        channels: int,
        locations: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """Return glimpses (B, K · C, G, G); `read` returns the windows (w, b, C, w) of a block."""
        size, widest = self.glimpse_size, self.patch_widths[-1]
        shape = (batch, self.num_scales, channels, size, size)
        glimpses: npt.NDArray[np.float32] = empty(shape, "float32", locations)
        block_bytes = _TENSOR_BLOCK_BYTES if is_tensor(glimpses) else _BLOCK_BYTES
        num_blocks = max(1, round(batch * channels * widest**2 / block_bytes))
        block_size = max(1, -(-batch // num_blocks))
        for start in range(0, batch, block_size):
            block = slice(start, start + block_size)
            for scale, cells in enumerate(self._sums(read(block))):
                if is_tensor(cells):
                    glimpses[block, scale] = _divide(cells, 255 * 4**scale)
                    continue
                # Transpose whole lines of cells while they are small integers; then divide.
                lines = np.ascontiguousarray(as_items(cells).transpose(1, 2, 0))  # (b, C, G)
                np.divide(
                    lines[..., None].view(cells.dtype),
                    np.float32(255 * 4**scale),
                    out=glimpses[block, scale],
                )
        return glimpses.reshape(batch, self.num_scales * channels, size, size)

    def _sums(self, windows: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.unsignedinteger]]:
        """Yield each scale's sums (G, b, C, G); the windows (w, b, C, w) are overwritten."""
        size, widest = self.glimpse_size, self.patch_widths[-1]
        # With an odd G and three or more scales, the cells of one patch straddle those of the next.
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


@kernel("glimpses")
def look_at_padded(
    retina: Retina, padded: Padded, locations: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return glimpses of padded images; see `Retina.look`."""
    batch, channels, _, width = padded.pixels.shape
    x, y = pixel_edges(locations, *padded.image_shape[:2]).T
    starts = padded.starts + (y * width + x)[:, None]
    widest = retina.patch_widths[-1]

    def read(block: slice) -> npt.NDArray[np.uint8]:
        return read_windows(padded.pixels, starts[block], widest, width, widest)

    return retina.pool(read, batch, channels, locations)


@kernel("glimpses")
def look_at_rows(
    retina: Retina,
    source: ImageSource,
    rows: npt.NDArray[np.integer],
    locations: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return glimpses of images of which only the windows are read; see `Retina.look_by_window`."""
    height, width, channels = (*source.shape[1:], 1)[:3]
    widest = retina.patch_widths[-1]
    corners = pixel_edges(locations, height, width) - widest // 2  # left, top
    if is_tensor(source):

        def gather(block: slice) -> Any:
            return _gather_windows(source, rows[block], corners[block], widest)

        return retina.pool(gather, len(rows), channels, locations)
    rows = rows.astype(np.int64, copy=False)  # places in the source would overflow smaller types
    is_gathered = is_contiguous(source) and min(height, width) >= widest
    # Windows that lie wholly inside are gathered all at once; the others are sliced one by one.
    nearest = np.minimum(np.maximum(corners, 0), (width - widest, height - widest))
    starts = ((rows * height + nearest[:, 1]) * width + nearest[:, 0]) * channels
    moved = nearest != corners
    is_sliced = moved[:, 0] | moved[:, 1] if is_gathered else np.ones(len(rows), np.bool_)

    def read(block: slice) -> npt.NDArray[np.uint8]:
        shape = (widest, len(rows[block]), widest, channels)
        if hasattr(source, "read_windows"):
            windows = source.read_windows(rows[block], corners[block], widest).reshape(shape)
            return np.ascontiguousarray(windows.swapaxes(2, 3))
        if is_gathered:
            assert isinstance(source, np.ndarray)
            lines = (widest, width * channels, widest * channels)
            windows = read_windows(source, starts[block], *lines).reshape(shape)
        else:
            windows = np.empty(shape, np.uint8)
        for place in np.flatnonzero(is_sliced[block]).tolist():
            (x, y), row = corners[block][place].tolist(), int(rows[block][place])
            y0, y1 = max(y, 0), min(y + widest, height)
            x0, x1 = max(x, 0), min(x + widest, width)
            part, sides = (row, slice(y0, y1), slice(x0, x1)), (y1 - y0, x1 - x0)
            pixels = read_pixels(source, part, (*sides, *source.shape[3:]))
            windows[:, place] = 0
            windows[y0 - y : y1 - y, place, x0 - x : x1 - x] = pixels.reshape(*sides, channels)
        return np.ascontiguousarray(windows.swapaxes(2, 3))

    return retina.pool(read, len(rows), channels, locations)


def is_contiguous(source: Any) -> bool:
    """Return whether images are an array without gaps, as compiled kernels need it."""
    return type(source) is np.ndarray and bool(source.flags.c_contiguous)


def pixel_edges(
    locations: npt.NDArray[np.float32], height: int, width: int
) -> npt.NDArray[np.int64]:
    """Return the pixel edges (…, 2), as (x, y), of `locations` (…, 2) on an image H × W.

    A location outside [−1, 1]² is clipped to the image's border.
    """
    # float32, as environments have locations; then float64, because libraries differ in how they
    # round float32.
    scaled = cast(cast(locations, "float32"), "float64")
    if is_tensor(scaled):  # scalars only: an array of factors would have to be sent to the device
        scaled = scaled.clip(-1, 1) + 1
        scaled[..., 0] *= width / 2
        scaled[..., 1] *= height / 2
    else:
        np.maximum(scaled, -1, out=scaled)
        np.minimum(scaled, 1, out=scaled)
        scaled += 1
        scaled *= width / 2 if width == height else (width / 2, height / 2)
    scaled += 0.5
    # Truncation rounds down, since nothing is negative.
    edges: npt.NDArray[np.int64] = cast(scaled, "int64")
    return edges


def check_pixels(images: Any) -> None:
    """Check that images, an array or a tensor, are uint8 of shape (B, H, W[, C]), with pixels."""
    dtype = getattr(images, "dtype", type(images).__name__)
    if str(dtype).removeprefix("torch.") != "uint8":
        raise TypeError(
            f"images are {dtype}, not uint8 (0 black, 255 white). Convert values in [0, 1] "
            "with (images * 255).round().astype(np.uint8)."
        )
    if len(images.shape) not in (3, 4):
        raise ValueError(
            f"images have shape {tuple(images.shape)}, not (B, H, W) or (B, H, W, C). Pass "
            "image[None] for a single one."
        )
    if 0 in images.shape[1:]:
        raise ValueError(
            f"images have shape {tuple(images.shape)}, without pixels. Give at least 1 × 1."
        )


def _without_nan(locations: Any) -> Any:
    """Raise ValueError if a location is NaN; on a GPU replace it by 0, without waiting."""
    if not is_tensor(locations) or locations.device.type == "cpu":
        if (locations != locations).any():
            raise ValueError(
                f"locations={locations} contain NaN. Give numbers from -1 to 1; an agent whose "
                "output is NaN has usually diverged."
            )
        return locations
    return locations.nan_to_num(0, 1, -1)


def _sum_dtype(scale: int) -> type[np.unsignedinteger]:
    """Return the narrowest dtype that holds 255 · 4^scale."""
    return np.uint8 if scale == 0 else np.uint16 if scale <= 4 else np.uint32


def _gather_windows(images: Any, rows: Any, corners: Any, widest: int) -> Any:
    """Return windows (w, b, C, w) of tensors whose left and top are `corners` (b, 2)."""
    height, width, channels = (*images.shape[1:], 1)[:3]
    rows, y, x = window_index(rows, corners[:, 1], corners[:, 0], widest, widest)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    windows = images[rows, y.clip(0, height - 1), x.clip(0, width - 1)]
    windows = windows.reshape(-1, widest, widest, channels) * inside[..., None]
    return windows.permute(1, 0, 3, 2)


def _divide(cells: Any, maximum: int) -> Any:
    """Divide a tensor's sums (G, b, C, G) by a cell's maximum; return (b, C, G, G)."""
    # A GPU divides float32 by multiplying with a rounded inverse, which changes the last bit.
    # Rounded from float64 to float32, the quotient is the nearest number on every device.
    return cast(cells.permute(1, 2, 0, 3), "float64") / maximum


def _halve(cells: npt.NDArray[np.unsignedinteger], scale: int) -> npt.NDArray[np.unsignedinteger]:
    """Add 2 × 2 cells (h, …, w) to the next scale's; the contiguous cells are overwritten."""
    if is_tensor(cells):
        cells = cast(cells, "int64")
        pairs = cells[::2] + cells[1::2]
        return pairs[..., ::2] + pairs[..., 1::2]
    # View two neighbors as one word of twice the width: adding its halves is many times faster than
    # adding cells with a stride of two.
    bits = 8 * cells.itemsize
    words = cells.view(f"u{2 * cells.itemsize}")
    sums = words >> bits
    words &= 2**bits - 1
    sums += words
    return (sums[::2] + sums[1::2]).astype(_sum_dtype(scale), copy=False)
