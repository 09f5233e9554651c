"""IDX files, the format of MNIST, Fashion-MNIST and similar data sets."""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from ram_envs.atomic_files import max_unpacked
from ram_envs.datasets.errors import CorruptDatasetError

MAX_AXES = 4
CHUNK_BYTES = 2**20


def find_idx(name: str, folder: Path) -> Path | None:
    """Return the file of that name in a folder, also with .gz, or .idx for -idx; or None."""
    for variant in (name, name.replace("-idx", ".idx")):
        for path in (folder / variant, folder / f"{variant}.gz"):
            if path.is_file():
                return path
    return None


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Return the array in an IDX file, compressed or not.

    Raises:
        CorruptDatasetError: if it is not IDX, damaged, or of another size than its header states.
    """
    try:
        with path.open("rb") as file:
            return _read_stream(file, os.fstat(file.fileno()).st_size)
    except CorruptDatasetError as problem:
        raise CorruptDatasetError(
            f"{path} cannot be read: {problem}. Copy or download it again."
        ) from None


def _read_stream(file: IO[bytes], file_size: int) -> npt.NDArray[np.uint8]:
    """Return the array, after comparing the size in its header with the file's."""
    packed = is_gzip(file.read(2))
    file.seek(0)
    stream: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
    try:
        start = stream.read(4)
        start += stream.read(4 * start[3] if len(start) == 4 else 0)
        header, shape = _parse_header(start)
        expected = header + math.prod(shape)
        if not packed and expected != file_size:
            raise _wrong_size(shape, file_size)
        if packed and expected > max_unpacked(file_size):
            raise CorruptDatasetError(
                f"its header states {shape}, too much for a file of {file_size:,} bytes unless "
                "that is uncompressed"
            )
        return _read_values(stream, header, shape)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorruptDatasetError(f"it is damaged or truncated ({error})") from None


def _read_values(stream: IO[bytes], header: int, shape: list[int]) -> npt.NDArray[np.uint8]:
    """Return the values that follow a header, read in chunks, so that they are in memory once."""
    values = np.empty(math.prod(shape), np.uint8)
    filled = 0
    while chunk := stream.read(min(CHUNK_BYTES, values.size - filled)):
        values[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        filled += len(chunk)
    filled += len(stream.read(1))
    if filled != values.size:
        raise _wrong_size(shape, header + filled)
    return _shaped(values, shape)


def is_gzip(raw: bytes) -> bool:
    return raw[:2] == b"\x1f\x8b"


def gunzip(raw: bytes, num_bytes: int) -> bytes:
    """Uncompress to at most one byte more than expected."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            return stream.read(num_bytes + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise CorruptDatasetError(f"it is damaged or truncated ({error})") from None


def parse_idx(content: bytes) -> npt.NDArray[np.uint8]:
    """Return the array in an IDX file: 0, 0, 8, the number of axes, their sizes, the bytes."""
    return _read_stream(io.BytesIO(content), len(content))


def _shaped(values: npt.NDArray[np.uint8], shape: list[int]) -> npt.NDArray[np.uint8]:
    try:
        return values.reshape(shape)
    except ValueError:  # no values, but sizes that numpy cannot multiply
        raise CorruptDatasetError(f"its header states {shape}") from None


def _parse_header(content: bytes) -> tuple[int, list[int]]:
    """Return the header's length and the sizes of the axes."""
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise CorruptDatasetError(
            f"it begins with {content[:4].hex(' ')} instead of 00 00 08 (IDX of bytes)"
        )
    if not 1 <= content[3] <= MAX_AXES:
        raise CorruptDatasetError(f"it has {content[3]} axes instead of 1 to {MAX_AXES}")
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise CorruptDatasetError("it is damaged or truncated (in its header)")
    return header, [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]


def _wrong_size(shape: list[int], num_bytes: int) -> CorruptDatasetError:
    return CorruptDatasetError(f"its header states {shape}, but it has {num_bytes:,} bytes")
