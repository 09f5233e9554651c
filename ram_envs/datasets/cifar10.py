"""CIFAR-10 from its binary archive: in a folder, in the user's cache, or downloaded.

The archive is used only if its sha256 is the official one. It is read as it is, in memory: nothing
is unpacked on the disk, and nothing is unpickled.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import reprlib
import tarfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from ram_envs.datasets.download import DATA_DIR_VARIABLE, KnownFile, download, find_folder
from ram_envs.datasets.errors import CorruptDatasetError
from ram_envs.datasets.image_dataset import ImageDataset
from ram_envs.datasets.splits import Split

ADDRESS = "https://www.cs.toronto.edu/~kriz/"
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
NUM_VALIDATION = 5_000  # the last of the 50,000 training images
IMAGES_PER_BATCH = 10_000
FOLDER = "cifar-10-batches-bin"  # in the archive
TRAIN_BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_BATCH = "test_batch.bin"
RECORD = 1 + 3 * 32 * 32  # the label; then the red, the green and the blue pixels, row by row

ARCHIVE = KnownFile(
    "cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)


def load_cifar10(data_dir: str | None) -> dict[Split, ImageDataset]:
    """Return CIFAR-10 from `data_dir`/cifar10, or without one from the cache or a download.

    Images are (32, 32, 3), red, green and blue.

    Raises:
        FileNotFoundError: if `data_dir` lacks the archive.
        DatasetUnavailableError: if the archive is missing and could not be downloaded.
        CorruptDatasetError: if the archive is truncated, or another one.
    """
    folder, remedy = find_folder("cifar10", data_dir)
    path = folder / ARCHIVE.name
    if not path.is_file():
        if data_dir is not None:
            raise FileNotFoundError(
                f"{folder} lacks {ARCHIVE.name}. Put the archive of the binary version there, not "
                f"unpacked, or unset {DATA_DIR_VARIABLE} to download it from {ADDRESS}."
            )
        path = _download(folder)
    try:
        batches = _read_archive(path)
    except CorruptDatasetError as problem:
        raise CorruptDatasetError(
            f"{path} is not the binary version of CIFAR-10: {problem}. {remedy} The original is "
            f"{ADDRESS}{ARCHIVE.name}."
        ) from None
    images = np.concatenate([batches[name][0] for name in TRAIN_BATCHES])
    labels = np.concatenate([batches[name][1] for name in TRAIN_BATCHES])
    n = len(images) - NUM_VALIDATION
    arrays: dict[Split, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]] = {
        "train": (images[:n], labels[:n]),
        "validation": (images[n:], labels[n:]),
        "test": batches[TEST_BATCH],
    }
    return {
        split: ImageDataset(*of_split, "cifar10", class_names=CLASS_NAMES)
        for split, of_split in arrays.items()
    }


def _download(folder: Path) -> Path:
    return download(
        ARCHIVE.name,
        [ADDRESS],
        folder,
        ARCHIVE.num_bytes,
        lambda raw: _verify(io.BytesIO(raw)),
        f"CIFAR-10 could not be downloaded to {folder}",
        f"Set {DATA_DIR_VARIABLE} to a folder that holds cifar10/{ARCHIVE.name}, or give images of "
        "your own: dataset=PATH.",
    )


def _read_archive(
    path: Path,
) -> dict[str, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
    """Return images (N, 32, 32, 3) and labels (N,) of each batch, by name."""
    wanted = {f"{FOLDER}/{name}": name for name in (*TRAIN_BATCHES, TEST_BATCH)}
    batches = {}
    with path.open("rb") as file:
        _verify(file)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r|gz") as archive:
            for member in archive:
                if member.name in wanted and (content := archive.extractfile(member)) is not None:
                    batches[wanted[member.name]] = _parse_batch(member, content)
    if missing := [name for name in wanted.values() if name not in batches]:
        raise CorruptDatasetError(f"it lacks {', '.join(missing)}")
    return batches


def _parse_batch(
    member: tarfile.TarInfo, content: IO[bytes]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    num_bytes = IMAGES_PER_BATCH * RECORD
    if member.size != num_bytes:
        raise CorruptDatasetError(
            f"its {member.name} has {member.size:,} bytes instead of {num_bytes:,}"
        )
    records = np.frombuffer(content.read(), np.uint8).reshape(IMAGES_PER_BATCH, RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= len(CLASS_NAMES):
        raise CorruptDatasetError(f"its {member.name} has a label {labels.max()}")
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _verify(file: IO[bytes]) -> None:
    """Raise CorruptDatasetError unless a file is the archive, byte for byte."""
    digest, num_bytes = hashlib.sha256(), 0
    while chunk := file.read(2**20):
        digest.update(chunk)
        num_bytes += len(chunk)
    if digest.hexdigest() == ARCHIVE.sha256:
        return
    folder = _read_first_folder(file)
    if folder is None:
        raise CorruptDatasetError("it is not a .tar.gz")
    if folder == "cifar-10-batches-py":
        raise CorruptDatasetError(f"it is the Python version, and not {ARCHIVE.name}")
    if folder != FOLDER:
        raise CorruptDatasetError(f"it holds a folder {reprlib.repr(folder)} instead of {FOLDER!r}")
    if num_bytes != ARCHIVE.num_bytes:
        raise CorruptDatasetError(
            f"it has {num_bytes:,} bytes instead of {ARCHIVE.num_bytes:,}"
            + (", so it is truncated" if num_bytes < ARCHIVE.num_bytes else "")
        )
    raise CorruptDatasetError(f"its sha256 is {digest.hexdigest()}, not {ARCHIVE.sha256}")


def _read_first_folder(file: IO[bytes]) -> str | None:
    """Return the folder of an archive's first member; None if it is not a .tar.gz."""
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            header = stream.read(tarfile.BLOCKSIZE)
    except (EOFError, OSError, zlib.error):
        return None
    is_tar = len(header) == tarfile.BLOCKSIZE and header[257:262] == b"ustar"
    name = header[:100].split(b"\0")[0].decode("utf-8", "replace")
    return name.partition("/")[0] if is_tar else None
