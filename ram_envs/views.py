"""What a glimpse shows, laid over the image that it was taken of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


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
    channels, size = len(glimpse) // num_scales, glimpse.shape[-1]
    border = size << (num_scales - 1)  # wider than any patch reaches beyond the image
    grays = np.zeros((height + 2 * border, width + 2 * border, channels), np.uint8)
    is_seen = np.zeros(grays.shape[:2], np.bool_)
    patches = glimpse.reshape(num_scales, channels, size, size)
    for scale in reversed(range(num_scales)):
        cells = np.round(patches[scale].transpose(1, 2, 0) * 255).astype(np.uint8)
        patch = cells.repeat(1 << scale, axis=0).repeat(1 << scale, axis=1)
        patch_width = len(patch)
        x, y = (border + center - patch_width // 2 for center in edge)
        grays[y : y + patch_width, x : x + patch_width] = patch
        is_seen[y : y + patch_width, x : x + patch_width] = True
    inside = slice(border, border + height), slice(border, border + width)
    return grays[inside], is_seen[inside]
