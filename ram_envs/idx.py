"""IDX files, the format of MNIST, Fashion-MNIST and their kin."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt


class CorruptDatasetError(ValueError):
    """A file of a known data set or format does not hold what it should; it is never used."""


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
    raw = path.read_bytes()
    try:
        return parse_idx(gunzip(raw) if is_gzip(raw) else raw)
    except CorruptDatasetError as problem:
        raise CorruptDatasetError(f"{path} cannot be read: {problem}.") from None


def is_gzip(raw: bytes) -> bool:
    return raw[:2] == b"\x1f\x8b"


def gunzip(raw: bytes, num_bytes: int | None = None) -> bytes:
    """Uncompress, but to no more than one byte beyond what is expected."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            return stream.read(-1 if num_bytes is None else num_bytes + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise CorruptDatasetError(f"it is damaged or cut short ({error})") from None


def parse_idx(content: bytes) -> npt.NDArray[np.uint8]:
    """An IDX file of unsigned bytes: 0, 0, 8, the number of axes, their sizes, the values."""
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise CorruptDatasetError(
            f"it begins with {content[:4].hex(' ')}, and 00 00 08 (IDX of bytes) is expected"
        )
    header = 4 + 4 * content[3]
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    if len(content) != header + math.prod(shape):
        raise CorruptDatasetError(f"its header says {shape}, but {len(content):,} bytes are there")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
