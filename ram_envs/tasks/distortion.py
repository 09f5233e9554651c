"""Distortion: training images bent a little at random, so that none is learned by heart.

A random affine map and an elastic one, as is usual in experiments on MNIST (Simard, Steinkraus &
Platt 2003, "Best practices for convolutional neural networks"); the paper itself has none. Every
image is mapped by a matrix of its own about its middle and shifted; knots over it are pulled, each
its own way, and take along what lies between; and it is read off between its pixels (bilinear),
black beyond its border. All is calculated in whole numbers, so that every device draws the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import arange, beside, cast, zeros
from ram_envs.streams import Streams

STRETCH, SLANT, SHIFT, PULL = 0.12, 0.2, 0.04, 0.05
KNOTS = 5  # along each side, the outer ones on the border
_BITS = 9
_PARTS = 2**_BITS  # places are whole numbers of such parts of a pixel


@dataclass(frozen=True)
class Distortion:
    """How much images are distorted.

    Args:
        strength: with 1 the matrix has 1 ± 0.12 on its diagonal, ± 0.2 beside it, and the shift is
            ± 4 % of each side, all uniform; so an image is turned by up to about 11 degrees. Others
            in proportion; with 0 the map is the identity.
        elastic: with 1 each of 5 × 5 knots is pulled by ± 5 % of each side, uniform; in between it
            is interpolated (bilinear). Others in proportion; with 0 there is none.

    Raises:
        ValueError: if one of them isn't from 0 to 4.
    """

    strength: float
    elastic: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("distortion", self.strength), ("elastic", self.elastic)):
            is_number = isinstance(value, (int, float, np.integer, np.floating))
            if not (is_number and 0 <= value <= 4):
                raise ValueError(f"{name}={value!r}: expected a number from 0 to 4.")

    def __bool__(self) -> bool:
        """Whether it changes images at all."""
        return self.strength > 0 or self.elastic > 0

    def draw(self, images: npt.NDArray[np.uint8], streams: Streams) -> npt.NDArray[np.uint8]:
        """Each image (B, h, w[, C]) distorted.

        Takes 6 draws from its own stream, and 50 more where it is elastic.
        """
        height, width = images.shape[1:3]
        # Entries of the matrix less the identity's, in parts per half pixel.
        stretch, slant = (round(_PARTS / 2 * self.strength * most) for most in (STRETCH, SLANT))
        shifts = [round(_PARTS * self.strength * SHIFT * side) for side in (height, width)]
        limits = np.array([stretch, slant, slant, stretch, *shifts])
        draws = streams.integers(*(2 * limits + 1)) - beside(limits, images)
        entries = cast(draws, "int32").T[:, :, None]  # (6, B, 1)
        rows, columns = (cast(arange(side, images), "int32") for side in (height, width))
        from_middle = 2 * rows - (height - 1), 2 * columns - (width - 1)  # in half pixels
        by_row = entries[0] * from_middle[0] + entries[4] + _PARTS * rows
        tops = by_row[:, :, None] + (entries[1] * from_middle[1])[:, None]
        by_column = entries[3] * from_middle[1] + entries[5] + _PARTS * columns
        lefts = (entries[2] * from_middle[0])[:, :, None] + by_column[:, None]
        if self.elastic > 0:
            tops = tops + self._draw_pulls(height, images, streams)
            lefts = lefts + self._draw_pulls(width, images, streams)
        return _read_between(images, tops, lefts)

    def _draw_pulls(self, side: int, images: Any, streams: Streams) -> Any:
        """How far knots pull every pixel (B, h, w) along a side, in parts of a pixel."""
        limit = round(_PARTS * self.elastic * PULL * side)
        draws = cast(streams.integers(*[2 * limit + 1] * KNOTS**2) - limit, "int32")
        by_column = _between_knots(draws.reshape(-1, KNOTS, KNOTS), images.shape[2])
        return _between_knots(by_column.swapaxes(1, 2), images.shape[1]).swapaxes(1, 2)


def _between_knots(pulls: Any, side: int) -> Any:
    """What knots (…, KNOTS) along a side are at the middle of each of its pixels, (…, side)."""
    place = (2 * arange(side, pulls) + 1) * (_PARTS * (KNOTS - 1)) // (2 * side)
    knot, rest = place >> _BITS, cast(place & _PARTS - 1, "int32")
    total = pulls[..., knot] * (_PARTS - rest) + pulls[..., knot + 1] * rest
    return total + _PARTS // 2 >> _BITS


def _read_between(images: Any, tops: Any, lefts: Any) -> npt.NDArray[np.uint8]:
    """What lies in images (B, h, w[, C]) at places (B, h, w), given in parts of a pixel."""
    batch_size, height, width = images.shape[:3]
    # Black around, one pixel wide before and two after: a place beyond counts as just outside.
    shape = (batch_size, height + 3, width + 3, *images.shape[3:])
    framed = zeros(shape, "uint8", images)
    framed[:, 1 : height + 1, 1 : width + 1] = images
    tops = tops.clip(-_PARTS, _PARTS * height) + _PARTS
    lefts = lefts.clip(-_PARTS, _PARTS * width) + _PARTS
    first = arange(batch_size, images)[:, None, None] * ((height + 3) * (width + 3))
    corners = first + (tops >> _BITS) * (width + 3) + (lefts >> _BITS)
    pixels = framed.reshape(-1, *images.shape[3:])
    ends = (..., *(None,) * (images.ndim - 3))  # a place serves all channels
    down, across = (tops & _PARTS - 1)[ends], (lefts & _PARTS - 1)[ends]
    upper = pixels[corners] * (_PARTS - across) + pixels[corners + 1] * across
    corners += width + 3
    lower = pixels[corners] * (_PARTS - across) + pixels[corners + 1] * across
    total = upper * (_PARTS - down) + lower * down
    rounded: npt.NDArray[np.uint8] = cast(total + 2 ** (2 * _BITS - 1) >> 2 * _BITS, "uint8")
    return rounded
