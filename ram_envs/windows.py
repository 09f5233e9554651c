"""How windows of images are read: line by line, as single items, or of tensors, by index.

numpy copies an item many times quicker than its bytes one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import arange


def as_items(pixels: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """The last axis of pixels (…, n), contiguous, as one item: a view (…)."""
    items: npt.NDArray[np.void] = pixels.view(f"V{pixels.shape[-1] * pixels.itemsize}")[..., 0]
    return items


def all_runs(pixels: npt.NDArray[np.uint8], length: int) -> npt.NDArray[np.void]:
    """Every run of `length` bytes of contiguous pixels, as an item: a view (size − length + 1,)."""
    return np.ndarray((pixels.size - length + 1,), f"V{length}", pixels, strides=(1,))


def read_windows(
    pixels: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.integer],
    lines: int,
    step: int,
    length: int,
) -> npt.NDArray[np.uint8]:
    """Windows (lines, …, length) of contiguous pixels, which start at the flat `starts` (…).

    A window's lines are `length` bytes each, and `step` bytes apart.
    """
    steps = np.arange(0, lines * step, step).reshape(-1, *[1] * starts.ndim)
    windows: npt.NDArray[np.uint8] = all_runs(pixels, length)[starts + steps][..., None].view(
        np.uint8
    )
    return windows


def window_index(rows: Any, tops: Any, lefts: Any, height: int, width: int) -> tuple[Any, Any, Any]:
    """Which pixels of images (N, H, W[, C]) the windows of rows, tops and lefts (B,) hold.

    An index of three: images (B, 1, 1), lines (B, height, 1) and columns (B, 1, width).
    """
    lines = tops[:, None] + arange(height, tops)
    columns = lefts[:, None] + arange(width, lefts)
    return rows[:, None, None], lines[:, :, None], columns[:, None]
