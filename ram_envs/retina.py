"""The retina: what the agent sees when it looks at a location (paper, section 3, "glimpse sensor").

A glimpse is K square patches around one point. The first is G × G pixels, each next one twice as
wide; all are brought to G × G by average pooling, so the middle is sharp and the surround coarse.

Coordinates, here and everywhere
    location    (x, y) in [−1, 1]²; (−1, −1) is the image's top-left corner, (0, 0) its centre
    pixel edge  c = (⌊(x + 1)/2 · W + ½⌋, ⌊(y + 1)/2 · H + ½⌋) on a W × H image, from 0 to W or H
    patch       of width w = G · 2^k starts at pixel c − ⌊w/2⌋ in both directions
    outside     the image every pixel is 0

How it is quick: a cell of scale k is the sum of a 2^k × 2^k box of pixels. For an image that is
looked at often, the sums of *all* such boxes are made once, by doubling, and laid out with a border
of zeros so wide that every patch is a regular grid of entries: looking is one strided copy. So a
glimpse's cost depends neither on the image's size nor on the patch's width. An image that is looked
at once, a game's frame, is cut out as wide as the widest patch, and only that is summed. Being
integer, both are exact, and equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Images summed together: few enough for the cache, enough to make numpy's overhead small.
_BLOCK = 32


@dataclass(frozen=True)
class BoxSums:
    """The sums of all boxes of B images, ready to be looked at; made by `Retina.allocate`.

    scales[k] has shape (B, C, H + w − 2^k + 1, W + w − 2^k + 1), where w = G · 2^k is the patch's
    width; entry (y, x) is the sum over the box whose top-left pixel is (y − ⌊w/2⌋, x − ⌊w/2⌋).
    """

    scales: tuple[npt.NDArray[np.unsignedinteger], ...]
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

    def __repr__(self) -> str:
        return f"Retina(glimpse_size={self.glimpse_size}, num_scales={self.num_scales})"

    @property
    def patch_widths(self) -> tuple[int, ...]:
        """The width of each patch in pixels of the image: G, 2G, 4G, …"""
        return tuple(self.glimpse_size << scale for scale in range(self.num_scales))

    def glimpse_shape(self, image_shape: Sequence[int]) -> tuple[int, int, int]:
        """The shape (K · C, G, G) of a glimpse of images (H, W) or (H, W, C)."""
        channels = image_shape[2] if len(image_shape) == 3 else 1
        return (self.num_scales * channels, self.glimpse_size, self.glimpse_size)

    def __call__(
        self, images: npt.NDArray[np.uint8], locations: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Look at each image once.

        Args:
            images: (B, H, W) or (B, H, W, C), uint8.
            locations: (B, 2), (x, y) in [−1, 1].

        Returns:
            Glimpses (B, K · C, G, G) in [0, 1], scale-major: the C channels of the innermost
            patch come first.
        """
        height, width, channels = (*images.shape[1:], 1)[:3]
        batch, size, widest = len(images), self.glimpse_size, self.patch_widths[-1]
        before = widest // 2
        padded = np.zeros((batch, height + widest, width + widest, channels), np.uint8)
        padded[:, before : before + height, before : before + width] = images.reshape(
            batch, height, width, channels
        )
        # An image's patch at pixel edge (x, y) starts at (x, y) of its padded copy.
        x, y = pixel_edges(locations, height, width).T
        all_patches = np.lib.stride_tricks.sliding_window_view(padded, (widest, widest), (1, 2))
        patches = all_patches[np.arange(batch), y, x]  # (B, C, w, w)

        glimpses = np.empty((batch, self.num_scales, channels, size, size), np.float32)
        for scale, patch_width in enumerate(self.patch_widths):
            start = before - patch_width // 2
            inner = slice(start, start + patch_width)
            cells = _sum_boxes(patches[..., inner, inner], scale)
            np.divide(cells, np.float32(255 * 4**scale), out=glimpses[:, scale])
        return glimpses.reshape(batch, -1, size, size)

    def allocate(self, num_images: int, image_shape: Sequence[int]) -> BoxSums:
        """Room for the box sums of `num_images` images of shape (H, W) or (H, W, C), all zero."""
        height, width, channels = (*image_shape, 1)[:3]
        scales = []
        for scale, patch_width in enumerate(self.patch_widths):
            more = patch_width - (1 << scale) + 1
            shape = (num_images, channels, height + more, width + more)
            scales.append(np.zeros(shape, _sum_dtype(scale)))
        return BoxSums(tuple(scales), tuple(image_shape))

    def fill(
        self, sums: BoxSums, images: npt.NDArray[np.uint8], rows: npt.NDArray[np.integer]
    ) -> None:
        """Sum `images` (n, H, W[, C]) into rows `rows` (n,) of `sums`."""
        for start in range(0, len(rows), _BLOCK):
            block = images[start : start + _BLOCK]
            if block.ndim == 3:
                block = block[..., None]
            self._fill_block(sums, block, rows[start : start + _BLOCK])

    def _fill_block(
        self, sums: BoxSums, images: npt.NDArray[np.uint8], rows: npt.NDArray[np.integer]
    ) -> None:
        num_images, height, width, channels = images.shape
        border = 1 << (self.num_scales - 1)  # the widest box: no box reaches beyond it
        padded = np.zeros((num_images, channels, height + 2 * border, width + 2 * border), np.uint8)
        padded[..., border : border + height, border : border + width] = images.transpose(
            0, 3, 1, 2
        )
        # Flat, a box's right neighbour is one shift away, its lower neighbour a line. A box that
        # leaves a line on the right goes on in the next line's border, which is as black.
        line = width + 2 * border
        boxes: npt.NDArray[np.unsignedinteger] = padded.reshape(num_images, channels, -1)
        for scale, table in enumerate(sums.scales):
            if scale > 0:
                half = 1 << (scale - 1)
                boxes = boxes.astype(_sum_dtype(scale), copy=False)
                boxes = _add_shifted(_add_shifted(boxes, half), half * line)
            # Cut out what this scale's patches can reach, at most the image and its border.
            before = self.patch_widths[scale] // 2
            shown = min(before, border)
            bottom = min(height + border, table.shape[2] - before)
            right = min(width + border, table.shape[3] - before)
            table[rows, :, before - shown : before + bottom, before - shown : before + right] = (
                boxes.reshape(padded.shape)[
                    ..., border - shown : border + bottom, border - shown : border + right
                ]
            )

    def look(self, sums: BoxSums, locations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Glimpses (B, K · C, G, G) of the summed images at `locations` (B, 2)."""
        height, width = sums.image_shape[:2]
        size = self.glimpse_size
        batch, channels = sums.scales[0].shape[:2]
        x, y = pixel_edges(locations, height, width).T
        rows = np.arange(batch)
        glimpses = np.empty((batch, self.num_scales, channels, size, size), np.float32)
        for scale, table in enumerate(sums.scales):
            step = 1 << scale
            image_stride, channel_stride, y_stride, x_stride = table.strides
            patches = np.lib.stride_tricks.as_strided(  # of every location
                table,
                (batch, height + 1, width + 1, channels, size, size),
                (
                    image_stride,
                    y_stride,
                    x_stride,
                    channel_stride,
                    step * y_stride,
                    step * x_stride,
                ),
                writeable=False,
            )
            np.divide(patches[rows, y, x], np.float32(255 * step**2), out=glimpses[:, scale])
        return glimpses.reshape(batch, -1, size, size)


def pixel_edges(
    locations: npt.NDArray[np.float32], height: int, width: int
) -> npt.NDArray[np.int64]:
    """The pixel edges (…, 2), as (x, y), that `locations` (…, 2) name on an image H × W.

    A location outside [−1, 1]² names an edge of the image's border.
    """
    # float64, so that the edge does not depend on float32 rounding, which libraries do differently
    sides = np.array([width, height])
    scaled = (np.clip(np.asarray(locations, np.float64), -1, 1) + 1) / 2 * sides + 0.5
    edges: npt.NDArray[np.int64] = np.floor(scaled).astype(np.int64)
    return edges


def _sum_dtype(scale: int) -> type[np.unsignedinteger]:
    """The narrowest dtype that holds 255 · 4^scale."""
    return np.uint8 if scale == 0 else np.uint16 if scale <= 4 else np.uint32


def _sum_boxes(
    pixels: npt.NDArray[np.unsignedinteger], scale: int
) -> npt.NDArray[np.unsignedinteger]:
    """The sums (…, G, G) of the 2^k × 2^k boxes that tile pixels (…, G · 2^k, G · 2^k)."""
    for halvings in range(1, scale + 1):
        dtype = _sum_dtype(halvings)
        pixels = np.add(pixels[..., ::2, :], pixels[..., 1::2, :], dtype=dtype)
        pixels = np.add(pixels[..., ::2], pixels[..., 1::2], dtype=dtype)
    return pixels


def _add_shifted(
    values: npt.NDArray[np.unsignedinteger], shift: int
) -> npt.NDArray[np.unsignedinteger]:
    """values[…, i] + values[…, i + shift]; what lies beyond the end counts as 0."""
    total = values.copy()
    total[..., :-shift] += values[..., shift:]
    return total
