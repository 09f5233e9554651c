"""What a glimpse shows, laid over the image that it was taken of."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def patch_boxes(
    edge: Iterable[int | np.integer], widths: Iterable[int]
) -> list[tuple[int, int, int, int]]:
    """Return where the retina's patches lie: boxes (left, top, right, bottom) of pixel edges.

    Args:
        edge: the pixel edge (x, y) where the retina looks.
        widths: of the patches, in pixels.
    """
    x, y = map(int, edge)
    corners = [(x - width // 2, y - width // 2, width) for width in widths]
    return [(left, top, left + width, top + width) for left, top, width in corners]


def spread_glimpse(
    glimpse: npt.NDArray[np.float32],
    num_scales: int,
    edge: tuple[int, int],
    image_shape: tuple[int, ...],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return a glimpse laid over the image: each cell's gray on the pixels it is the mean of.

    Args:
        glimpse: (K·C, G, G) in [0, 1], scale-major.
        num_scales: K.
        edge: where it was taken.
        image_shape: (H, W) or (H, W, C).

    Returns:
        Grays (H, W, C) uint8, finer scales over coarser ones, and (H, W) bool, where they are.
    """
    height, width = image_shape[:2]
    window = np.round(spread_window(glimpse, num_scales) * 255).astype(np.uint8)
    widest = len(window)  # wider than any patch reaches beyond the image
    grays = np.zeros((height + 2 * widest, width + 2 * widest, window.shape[-1]), np.uint8)
    is_seen = np.zeros(grays.shape[:2], np.bool_)
    x, y = (center + widest - widest // 2 for center in edge)
    grays[y : y + widest, x : x + widest] = window
    is_seen[y : y + widest, x : x + widest] = True
    inside = slice(widest, widest + height), slice(widest, widest + width)
    return grays[inside], is_seen[inside]


def spread_window(glimpse: npt.NDArray[np.float32], num_scales: int) -> npt.NDArray[np.float32]:
    """Return what a glimpse shows of the pixels of its widest patch, (w, w, C).

    Where patches overlap, the sharper one counts.

    Args:
        glimpse: (K·C, G, G), scale-major.
        num_scales: K.
    """
    channels, size = len(glimpse) // num_scales, glimpse.shape[-1]
    patches = glimpse.reshape(num_scales, channels, size, size).transpose(0, 2, 3, 1)
    widest = size << (num_scales - 1)
    window = np.empty((widest, widest, channels), glimpse.dtype)
    for scale in reversed(range(num_scales)):
        cell, width = 1 << scale, size << scale
        start = widest // 2 - width // 2
        inner = slice(start, start + width)
        window[inner, inner] = patches[scale].repeat(cell, axis=0).repeat(cell, axis=1)
    return window
