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
    """Whether what is pickled now goes to a process that is being started, and can map a file.

    Where processes are forked nothing is pickled, since they see the memory of their parent.
    """
    return sys.platform != "win32" and get_spawning_popen() is not None


class SharedArray:
    """An array in a file without a name, which travels as the open file and arrives as an array.

    All processes that it reaches map the same pages, read-only. The file is gone with the last of
    them, however they end, so nothing is left behind.

    Raises:
        OSError: if the folder for temporary files has no room.
    """

    def __init__(self, array: AnyArray) -> None:
        self._shape, self._dtype = array.shape, array.dtype
        self._descriptors: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  open as long as it is shared
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
    # It stays open: the same descriptor arrives again with every environment that is sent here.
    pages = mmap.mmap(descriptor.detach(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(pages, dtype).reshape(shape)


class MappedArray:
    """A memory-mapped array, which travels as its file's path and arrives as an array."""

    def __init__(self, path: str, offset: int, shape: tuple[int, ...]) -> None:
        self._place = (path, offset, shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return _map_bytes, self._place


def find_mapped(array: npt.NDArray[np.uint8]) -> MappedArray | None:
    """The file that contiguous bytes are mapped from with `np.load` or `np.memmap`, if they are."""
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base.base, mmap.mmap):
        base = base.base
    if not isinstance(base, np.memmap) or base.filename is None or not array.flags.c_contiguous:
        return None
    # The first of the views is all of what was mapped.
    offset = base.offset + array.ctypes.data - base.ctypes.data
    return MappedArray(os.fspath(base.filename), offset, array.shape)


def _map_bytes(path: str, offset: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "r", offset, shape)
