"""Lines of pixels as single items, which numpy copies many times quicker than byte by byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


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
