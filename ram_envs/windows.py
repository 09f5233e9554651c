"""Windows of images are read line by line, each line as one item; from tensors, by index.

numpy copies one item of n bytes many times faster than n items of one byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.arrays import arange


def as_items(pixels: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """Return a view (…) of contiguous pixels (…, n) whose last axis is one item."""
    items: npt.NDArray[np.void] = pixels.view(f"V{pixels.shape[-1] * pixels.itemsize}")[..., 0]
    return items


def all_runs(pixels: npt.NDArray[np.uint8], length: int) -> npt.NDArray[np.void]:
    """Return a view (size − length + 1,) of all runs of `length` bytes of contiguous pixels."""
    return np.ndarray((pixels.size - length + 1,), f"V{length}", pixels, strides=(1,))


def read_windows(
    pixels: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.integer],
    lines: int,
    step: int,
    length: int,
) -> npt.NDArray[np.uint8]:
    """Return windows (lines, …, length) of contiguous pixels.

    Args:
        pixels: contiguous, of any shape.
        starts: (…), the flat index at which each window starts.
        lines: the number of lines of a window.
        step: bytes from the start of one line to the next.
        length: bytes in a line.
    """
    steps = np.arange(0, lines * step, step).reshape(-1, *[1] * starts.ndim)
    windows: npt.NDArray[np.uint8] = all_runs(pixels, length)[starts + steps][..., None].view(
        np.uint8
    )
    return windows


def window_index(rows: Any, tops: Any, lefts: Any, height: int, width: int) -> tuple[Any, Any, Any]:
    """Return the index of B windows in images (N, H, W[, C]).

    `rows`, `tops` and `lefts` are (B,). The index has three parts, which broadcast: images
    (B, 1, 1), lines (B, height, 1) and columns (B, 1, width).
    """
    lines = tops[:, None] + arange(height, tops)
    columns = lefts[:, None] + arange(width, lefts)
    return rows[:, None, None], lines[:, :, None], columns[:, None]
