"""A stand-in for images that are kept elsewhere and read by window, as a zarr.Array is."""

from __future__ import annotations

from typing import Any

import numpy as np


class LazyImages:
    """No array, but images[i, y0:y1, x0:x1]; `most` is the most pixels that were read at once."""

    def __init__(self, images: np.ndarray) -> None:
        self.shape, self.dtype, self._images = images.shape, images.dtype, images
        self.most = 0

    def __getitem__(self, key: Any) -> np.ndarray:
        parts = key if isinstance(key, tuple) else (key,)
        assert all(type(part) in (int, slice) for part in parts)
        pixels = self._images[key].copy()
        self.most = max(self.most, pixels.size)
        return pixels  # type: ignore[no-any-return]
