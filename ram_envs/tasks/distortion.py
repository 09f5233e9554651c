"""Distortion: random affine and elastic maps of training images, as data augmentation; mirroring.

Distortion is usual in experiments on MNIST (Simard, Steinkraus & Platt 2003, "Best practices for
convolutional neural networks"); the paper itself uses none. Each image is mapped by a random matrix
about its center and shifted; a grid of knots over it is displaced at random, with bilinear
interpolation between knots; and the result is sampled bilinearly, black beyond the border. All
arithmetic is on integers, so that every device draws the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import arange, cast, is_tensor, to_like, zeros
from ram_envs.checks import checked_number
from ram_envs.streams import Streams

STRETCH, SLANT, SHIFT, PULL = 0.12, 0.2, 0.04, 0.05
KNOTS = 5  # along each side, the outer ones on the border
_BITS = 9
_UNITS = 2**_BITS  # positions are integers, in units of 1/512 pixel


@dataclass(frozen=True)
class Distortion:
    """How much images are distorted.

    Args:
        strength: with 1 the matrix has 1 ± 0.12 on its diagonal and ± 0.2 off it, and the shift is
            ± 4% of each side, all uniform; so an image turns by up to about 11 degrees. Other
            values scale these ranges; with 0 the map is the identity.
        elastic: with 1 each of 5 × 5 knots moves by ± 5% of each side, uniform. Other values scale
            this range; with 0 there is no elastic map.

    Raises:
        ValueError: if one of them is not a number from 0 to 4.
    """

    strength: float
    elastic: float = 0.0

    def __post_init__(self) -> None:
        # Small types of NumPy would overflow in products.
        for name, field in (("distortion", "strength"), ("elastic", "elastic")):
            object.__setattr__(self, field, checked_number(name, getattr(self, field), 0, 4))

    def __bool__(self) -> bool:
        """Return whether images change at all."""
        return bool(self.strength > 0 or self.elastic > 0)

    def draw(self, images: npt.NDArray[np.uint8], streams: Streams) -> npt.NDArray[np.uint8]:
        """Return images (B, h, w[, C]) distorted, each by its own stream.

        An image takes 6 draws, and 50 more where it is elastic.
        """
        height, width = images.shape[1:3]
        # Entries of the matrix minus the identity's, in units per half pixel.
        stretch, slant = (round(_UNITS / 2 * self.strength * most) for most in (STRETCH, SLANT))
        shifts = [round(_UNITS * self.strength * SHIFT * side) for side in (height, width)]
        limits = np.array([stretch, slant, slant, stretch, *shifts])
        draws = streams.integers(*(2 * limits + 1).tolist()) - to_like(limits, images)
        entries = cast(draws, "int32").T[:, :, None]  # (6, B, 1)
        rows, columns = (cast(arange(side, images), "int32") for side in (height, width))
        from_center = 2 * rows - (height - 1), 2 * columns - (width - 1)  # in half pixels
        by_row = entries[0] * from_center[0] + entries[4] + _UNITS * rows
        tops = by_row[:, :, None] + (entries[1] * from_center[1])[:, None]
        by_column = entries[3] * from_center[1] + entries[5] + _UNITS * columns
        lefts = (entries[2] * from_center[0])[:, :, None] + by_column[:, None]
        if self.elastic > 0:
            tops = tops + self._draw_pulls(height, images, streams)
            lefts = lefts + self._draw_pulls(width, images, streams)
        return _read_between(images, tops, lefts)

    def _draw_pulls(self, side: int, images: Any, streams: Streams) -> Any:
        """Draw how far the knots move every pixel (B, h, w) along a side, in units."""
        limit = round(_UNITS * self.elastic * PULL * side)
        draws = cast(streams.integers(*[2 * limit + 1] * KNOTS**2) - limit, "int32")
        by_column = _between_knots(draws.reshape(-1, KNOTS, KNOTS), images.shape[2])
        return _between_knots(by_column.swapaxes(1, 2), images.shape[1]).swapaxes(1, 2)


def mirror(images: npt.NDArray[np.uint8], streams: Streams) -> npt.NDArray[np.uint8]:
    """Return images (B, h, w[, C]), each flipped horizontally with probability ½, by one draw."""
    ends = (..., *(None,) * (images.ndim - 1))
    is_swapped = cast(streams.integers(2)[:, 0], "uint8")[ends]
    any_images: Any = images
    flipped = any_images.flip(2) if is_tensor(images) else images[:, :, ::-1]
    mirrored: npt.NDArray[np.uint8] = images + (flipped - images) * is_swapped  # modulo 256
    return mirrored


def _between_knots(pulls: Any, side: int) -> Any:
    """Interpolate knots (…, KNOTS) at the centers of a side's pixels, (…, side)."""
    place = (2 * arange(side, pulls) + 1) * (_UNITS * (KNOTS - 1)) // (2 * side)
    knot, rest = place >> _BITS, cast(place & _UNITS - 1, "int32")
    total = pulls[..., knot] * (_UNITS - rest) + pulls[..., knot + 1] * rest
    return total + _UNITS // 2 >> _BITS


def _read_between(images: Any, tops: Any, lefts: Any) -> npt.NDArray[np.uint8]:
    """Sample images (B, h, w[, C]) bilinearly at positions (B, h, w), given in units."""
    batch_size, height, width = images.shape[:3]
    # A black frame, one pixel before and two after; positions beyond it are clipped to it.
    shape = (batch_size, height + 3, width + 3, *images.shape[3:])
    framed = zeros(shape, "uint8", images)
    framed[:, 1 : height + 1, 1 : width + 1] = images
    tops = tops.clip(-_UNITS, _UNITS * height) + _UNITS
    lefts = lefts.clip(-_UNITS, _UNITS * width) + _UNITS
    first = arange(batch_size, images)[:, None, None] * ((height + 3) * (width + 3))
    corners = first + (tops >> _BITS) * (width + 3) + (lefts >> _BITS)
    pixels = framed.reshape(-1, *images.shape[3:])
    ends = (..., *(None,) * (images.ndim - 3))  # a position serves all channels
    down, across = (tops & _UNITS - 1)[ends], (lefts & _UNITS - 1)[ends]
    upper = pixels[corners] * (_UNITS - across) + pixels[corners + 1] * across
    corners += width + 3
    lower = pixels[corners] * (_UNITS - across) + pixels[corners + 1] * across
    total = upper * (_UNITS - down) + lower * down
    rounded: npt.NDArray[np.uint8] = cast(total + 2 ** (2 * _BITS - 1) >> 2 * _BITS, "uint8")
    return rounded
