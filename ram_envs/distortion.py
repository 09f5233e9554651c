"""Distortion: training images bent a little at random, so that none is learned by heart.

A random affine map, as is usual in experiments on MNIST (Simard, Steinkraus & Platt 2003, "Best
practices for convolutional neural networks"); the paper itself has none. Every image is mapped by
a matrix of its own about its middle, shifted, and read off between its pixels (bilinear), black
beyond its border. All is calculated in whole numbers, so that every device draws the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import arange, beside, cast, zeros
from ram_envs.random import Streams

STRETCH, SLANT, SHIFT = 0.12, 0.2, 0.04
_BITS = 9
_PARTS = 2**_BITS  # places are whole numbers of such parts of a pixel


@dataclass(frozen=True)
class Distortion:
    """How much images are distorted.

    Args:
        strength: with 1 the matrix has 1 ± 0.12 on its diagonal, ± 0.2 beside it, and the shift is
            ± 4 % of each side, all uniform; so an image is turned by up to about 11 degrees. Others
            in proportion; with 0 images stay as they are.

    Raises:
        ValueError: if `strength` isn't from 0 to 4.
    """

    strength: float

    def __post_init__(self) -> None:
        is_number = isinstance(self.strength, (int, float, np.integer, np.floating))
        if not (is_number and 0 <= self.strength <= 4):
            raise ValueError(f"distortion={self.strength!r}: expected a number from 0 to 4.")

    def draw(self, images: npt.NDArray[np.uint8], streams: Streams) -> npt.NDArray[np.uint8]:
        """Each image (B, h, w[, C]) distorted; takes 6 draws from its own stream."""
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
        return _read_between(images, tops, lefts)


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
