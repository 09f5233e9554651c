"""Where images are read from: an array, or a lazy one of which only windows are read."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ram_envs.datasets.sharing import find_mapped

MAX_COPIED_BYTES = 2**30  # of a memory-mapped array, rows are copied up to here


class ImageSource(Protocol):
    """Images (N, H, W[, C]), uint8, such as a `zarr.Array`.

    It is read as `source[i, y0:y1, x0:x1]` with Python integers, and as `source[i]` where a figure
    shows all of image i.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, key: Any, /) -> Any: ...


class LabeledImages(NamedTuple):
    """Images and labels as a reader found them; `ImageDataset` checks them.

    Attributes:
        images: (N, H, W[, C]) uint8, where the file holds what it should.
        labels: (N,) integers, likewise.
        class_names: the name of each class, where the source has names.
        keys: what identifies each image, to choose its split; None for its index.
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    class_names: tuple[str, ...] | None = None
    keys: tuple[str, ...] | None = None


def is_lazy(images: Any) -> bool:
    """Return whether images are not an array, but have a shape, numpy's dtype and an index."""
    return (
        not isinstance(images, np.ndarray)
        and isinstance(getattr(images, "dtype", None), np.dtype)
        and hasattr(images, "shape")
        and hasattr(images, "__getitem__")
    )


def read_rows(
    source: npt.NDArray[np.uint8] | ImageSource, rows: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint8]:
    """Return a copy of some images, (B, H, W[, C])."""
    if isinstance(source, np.ndarray):
        images: npt.NDArray[np.uint8] = source[rows]
        return images
    shape = tuple(source.shape[1:])
    return np.stack([read_pixels(source, row, shape) for row in rows.tolist()])


def read_pixels(source: ImageSource, key: Any, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return source[key], of `shape`.

    Raises:
        TypeError: if a lazy source returns something else than the uint8 that it states.
    """
    pixels: npt.NDArray[np.uint8] = np.asarray(source[key])
    if pixels.dtype != np.uint8 or pixels.shape != shape:
        raise TypeError(
            f"a {type(source).__name__} returned {pixels.dtype} of shape {pixels.shape} for "
            f"[{key}], not uint8 of shape {shape}. Let its __getitem__ return uint8 of the shape "
            "that the key selects."
        )
    return pixels


class MappedRows:
    """Some rows of a memory-mapped array, read by window; an `ImageSource`."""

    def __init__(self, array: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> None:
        self._array, self._rows = array, rows
        self.shape = (len(rows), *array.shape[1:])
        self.dtype = array.dtype

    def __getitem__(self, key: Any, /) -> Any:
        first, *others = key if isinstance(key, tuple) else (key,)
        index = (self._rows[first], *others)
        return self._array[index]

    def __reduce__(self) -> tuple[Any, ...]:
        mapped: Any = find_mapped(self._array)
        return MappedRows, (self._array if mapped is None else mapped, self._rows)


def select_rows(images: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> Any:
    """Return a copy of some images, or of a large memory-mapped array `MappedRows`."""
    selected_bytes = len(rows) * images[:1].nbytes
    if selected_bytes > MAX_COPIED_BYTES and find_mapped(images) is not None:
        return MappedRows(images, rows)
    return images[rows]
