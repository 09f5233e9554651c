"""IDX files, the format of MNIST, Fashion-MNIST and their kin."""

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

from ram_envs.atomic_files import most_unpacked, tame

MOST_AXES = 4
PIECE_BYTES = 2**20


class CorruptDatasetError(ValueError):
    """A file of a known data set or format does not hold what it should; it is never used."""

    def __str__(self) -> str:
        return tame(super().__str__())


def find_idx(name: str, folder: Path) -> Path | None:
    """The file of that name in the folder, also with .gz, or .idx for -idx; None if missing."""
    for variant in (name, name.replace("-idx", ".idx")):
        for path in (folder / variant, folder / f"{variant}.gz"):
            if path.is_file():
                return path
    return None


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The array in an IDX file, compressed or not.

    Raises:
        CorruptDatasetError: if it is none, damaged, or of another size than its header says.
    """
    try:
        with path.open("rb") as file:
            return _read_stream(file, os.fstat(file.fileno()).st_size)
    except CorruptDatasetError as problem:
        raise CorruptDatasetError(f"{path} cannot be read: {problem}.") from None


def _read_stream(file: IO[bytes], file_size: int) -> npt.NDArray[np.uint8]:
    """The array, whose size in the header is compared with the file before it is read."""
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
        if packed and expected > most_unpacked(file_size):
            raise CorruptDatasetError(
                f"its header says {shape}, too much for a file of {file_size:,} bytes; if it is "
                "right, uncompress it"
            )
        return _read_values(stream, header, shape)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorruptDatasetError(f"it is damaged or cut short ({error})") from None


def _read_values(stream: IO[bytes], header: int, shape: list[int]) -> npt.NDArray[np.uint8]:
    """The values that follow a header, in pieces, so that they are in memory once."""
    values = np.empty(math.prod(shape), np.uint8)
    filled = 0
    while piece := stream.read(min(PIECE_BYTES, values.size - filled)):
        values[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    filled += len(stream.read(1))
    if filled != values.size:
        raise _wrong_size(shape, header + filled)
    return _shaped(values, shape)


def is_gzip(raw: bytes) -> bool:
    return raw[:2] == b"\x1f\x8b"


def gunzip(raw: bytes, num_bytes: int) -> bytes:
    """Uncompress, but to no more than one byte beyond what is expected."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            return stream.read(num_bytes + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise CorruptDatasetError(f"it is damaged or cut short ({error})") from None


def parse_idx(content: bytes) -> npt.NDArray[np.uint8]:
    """An IDX file of unsigned bytes: 0, 0, 8, the number of axes, their sizes, the values."""
    header, shape = _parse_header(content)
    if len(content) != header + math.prod(shape):
        raise _wrong_size(shape, len(content))
    return _shaped(np.frombuffer(content, np.uint8, offset=header), shape)


def _shaped(values: npt.NDArray[np.uint8], shape: list[int]) -> npt.NDArray[np.uint8]:
    try:
        return values.reshape(shape)
    except ValueError:  # no values, but sizes beyond numpy's
        raise CorruptDatasetError(f"its header says {shape}") from None


def _parse_header(content: bytes) -> tuple[int, list[int]]:
    """The header's length, and the sizes of the axes."""
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise CorruptDatasetError(
            f"it begins with {content[:4].hex(' ')}, and 00 00 08 (IDX of bytes) is expected"
        )
    if not 1 <= content[3] <= MOST_AXES:
        raise CorruptDatasetError(f"it has {content[3]} axes, and 1 to {MOST_AXES} are expected")
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise CorruptDatasetError("it is damaged or cut short (in its header)")
    return header, [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]


def _wrong_size(shape: list[int], num_bytes: int) -> CorruptDatasetError:
    return CorruptDatasetError(f"its header says {shape}, but {num_bytes:,} bytes are there")
