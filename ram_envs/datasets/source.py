"""What images are read from: an array, or one that is lazy and of which only windows are read."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class ImageSource(Protocol):
    """Images (N, H, W[, C]), uint8, such as a `zarr.Array`.

    All that is asked of it is `source[i, y0:y1, x0:x1]` with Python integers, and `source[i]`
    where a whole image is wanted, in a picture.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, key: Any, /) -> Any: ...


def is_lazy(images: Any) -> bool:
    """Whether images are no array, but have a shape and numpy's dtype and can be indexed."""
    return (
        not isinstance(images, np.ndarray)
        and isinstance(getattr(images, "dtype", None), np.dtype)
        and hasattr(images, "shape")
        and hasattr(images, "__getitem__")
    )


def read_rows(
    source: npt.NDArray[np.uint8] | ImageSource, rows: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint8]:
    """Whole images (B, H, W[, C]), copied."""
    if isinstance(source, np.ndarray):
        images: npt.NDArray[np.uint8] = source[rows]
        return images
    return np.stack([np.asarray(source[row]) for row in rows.tolist()])
