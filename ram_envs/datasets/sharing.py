"""Arrays that worker processes do not copy: each of them maps the same file."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
import weakref
from multiprocessing import reduction
from multiprocessing.context import assert_spawning, get_spawning_popen
from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]


def can_share() -> bool:
    """Return whether the present pickle goes to a new process, which can map a file.

    Forked processes see the memory of their parent, so nothing is pickled for them.
    """
    return sys.platform != "win32" and get_spawning_popen() is not None


class SharedArray:
    """An array in an unnamed temporary file, pickled as the open file, unpickled as an array.

    All processes that receive it map the same pages, read-only. The file vanishes with the last
    of them, however they end.

    Raises:
        OSError: if the folder for temporary files has no room.
    """

    def __init__(self, array: AnyArray) -> None:
        self._shape, self._dtype = array.shape, array.dtype
        self._descriptors: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  stays open while it is shared
            weakref.finalize(self, self._file.close)
            np.ascontiguousarray(array).tofile(self._file)
        except OSError as error:
            raise OSError(
                f"an array of {array.nbytes:,} bytes cannot be written for worker processes: "
                f"{error}. Set TMPDIR to a folder with room for it, or start the workers with fork."
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        assert_spawning(self)
        child = get_spawning_popen()
        if child not in self._descriptors:  # a file may be handed to a child only once
            self._descriptors[child] = reduction.DupFd(self._file.fileno())
        return _map_array, (self._descriptors[child], self._shape, self._dtype)


def _map_array(descriptor: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyArray:
    # The map stays open: the descriptor arrives again with every environment sent here.
    pages = mmap.mmap(descriptor.detach(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(pages, dtype).reshape(shape)


class MappedArray:
    """A memory-mapped array, pickled as the path of its file, unpickled as an array."""

    def __init__(self, path: str, offset: int, shape: tuple[int, ...]) -> None:
        self._place = (path, offset, shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return _map_bytes, self._place


def find_mapped(array: npt.NDArray[np.uint8]) -> MappedArray | None:
    """Return the file that contiguous bytes are mapped from by numpy, or None.

    A map in mode "c" may differ from its file.
    """
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base.base, mmap.mmap):
        base = base.base
    if not isinstance(base, np.memmap) or base.filename is None or base.mode == "c":
        return None
    if not array.flags.c_contiguous:
        return None
    # The innermost view is all that was mapped.
    offset = base.offset + array.ctypes.data - base.ctypes.data
    return MappedArray(os.fspath(base.filename), offset, array.shape)


def _map_bytes(path: str, offset: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "r", offset, shape)
