"""A stand-in for images that are kept elsewhere and read by window, as a zarr.Array is."""

from __future__ import annotations

from typing import Any

import numpy as np


class LazyImages:
    """No array, but images[i, y0:y1, x0:x1]; `most` is the most pixels that were read at once.

    `stored` may be replaced, by what has another dtype or shape than is stated.
    """

    def __init__(self, images: np.ndarray) -> None:
        self.shape, self.dtype, self.stored = images.shape, images.dtype, images
        self.most = 0

    def __getitem__(self, key: Any) -> np.ndarray:
        parts = key if isinstance(key, tuple) else (key,)
        assert all(type(part) in (int, slice) for part in parts)
        pixels = self.stored[key].copy()
        self.most = max(self.most, pixels.size)
        return pixels  # type: ignore[no-any-return]
