"""Where MNIST comes from: a folder, the user's cache, or a download; always verified.

A file is used only if the sha256 of its uncompressed contents is the known one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ram_envs.datasets.download import DATA_DIR_VARIABLE, KnownFile, download, find_folder
from ram_envs.datasets.errors import CorruptDatasetError
from ram_envs.datasets.idx import find_idx, gunzip, is_gzip, parse_idx
from ram_envs.datasets.image_dataset import ImageDataset
from ram_envs.datasets.splits import Split

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
NUM_VALIDATION = 10_000  # the last of the 60,000 training images

MNIST_FILES = (  # size and hash are those of the uncompressed contents
    KnownFile(
        "train-images-idx3-ubyte",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    KnownFile(
        "train-labels-idx1-ubyte",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    KnownFile(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    KnownFile(
        "t10k-labels-idx1-ubyte",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def load_mnist(data_dir: str | None) -> dict[Split, ImageDataset]:
    """Return MNIST from `data_dir`/mnist, or without one from the user's cache or a download.

    Raises:
        FileNotFoundError: if `data_dir` lacks a file.
        DatasetUnavailableError: if a file is missing and could not be downloaded.
        CorruptDatasetError: if a file is damaged, or another one.
    """
    folder, remedy = find_folder("mnist", data_dir)
    missing = [file.name for file in MNIST_FILES if find_idx(file.name, folder) is None]
    if missing and data_dir is not None:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)} (with or without .gz). Put the original files of "
            f"MNIST there, or unset {DATA_DIR_VARIABLE} to download them."
        )
    train_images, train_labels, test_images, test_labels = (
        _read_file(find_idx(file.name, folder) or _download(file, folder), file, remedy)
        for file in MNIST_FILES
    )
    train_labels = train_labels.astype(np.int64)  # once, for the two splits that share them
    n = len(train_images) - NUM_VALIDATION
    return {
        "train": ImageDataset(train_images[:n], train_labels[:n], "mnist"),
        "validation": ImageDataset(train_images[n:], train_labels[n:], "mnist"),
        "test": ImageDataset(test_images, test_labels, "mnist"),
    }


def _max_bytes(file: KnownFile) -> int:
    """Return how long a file may be: gzip adds a little where it cannot compress."""
    return file.num_bytes + 1024


def _read_file(path: Path, file: KnownFile, remedy: str) -> npt.NDArray[np.uint8]:
    with path.open("rb") as stream:
        raw = stream.read(_max_bytes(file) + 1)
    try:
        return _decode(raw, file)
    except CorruptDatasetError as problem:
        message = f"{path} is not MNIST's {file.name}: {problem}. {remedy}"
        raise CorruptDatasetError(message) from None


def _decode(raw: bytes, file: KnownFile) -> npt.NDArray[np.uint8]:
    """Return the array in an IDX file, compressed or not, once its contents are verified."""
    if len(raw) > _max_bytes(file):
        raise CorruptDatasetError(f"it is longer than {_max_bytes(file):,} bytes")
    content = gunzip(raw, file.num_bytes) if is_gzip(raw) else raw
    if len(content) != file.num_bytes:
        count = f"more than {file.num_bytes:,}" if len(content) > file.num_bytes else len(content)
        raise CorruptDatasetError(f"it holds {count} bytes instead of {file.num_bytes:,}")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        raise CorruptDatasetError(f"the sha256 of its contents is {sha256}, not {file.sha256}")
    return parse_idx(content)


def _download(file: KnownFile, folder: Path) -> Path:
    return download(
        f"{file.name}.gz",
        MIRRORS,
        folder,
        _max_bytes(file),
        lambda raw: _decode(raw, file),
        f"MNIST could not be downloaded to {folder}",
        f"Set {DATA_DIR_VARIABLE} to a folder that holds the four files of MNIST in mnist/, or "
        "use dataset='digits', which needs no download.",
    )
