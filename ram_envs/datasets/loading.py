"""`load_dataset`: what a user writes as ``dataset=`` becomes the images of one split.

A process loads each data set once, and all environments share it.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ram_envs.datasets.digits import load_digits
from ram_envs.datasets.image_dataset import ImageDataset, stamp
from ram_envs.datasets.mnist import DATA_DIR_VARIABLE, DatasetUnavailableError, load_mnist
from ram_envs.datasets.own_images import read_images
from ram_envs.datasets.splits import SPLITS, Split

_Datasets = dict[Split, ImageDataset]
_LOADERS: dict[str, Callable[[str | None], _Datasets]] = {
    "mnist": load_mnist,
    "digits": lambda data_dir: load_digits(),
}
_NAMES = (*_LOADERS, "auto")


class DatasetFallbackWarning(UserWarning):
    """``dataset="auto"`` serves the digits, because MNIST is not available."""


def load_dataset(
    dataset: str | Path | ImageDataset | Sequence[ImageDataset], split: Split
) -> ImageDataset:
    """Return the images of one split.

    Args:
        dataset: "mnist"; "digits"; "auto", which is MNIST if available, else the digits with a
            `DatasetFallbackWarning`; the path of a folder or an .npz, see
            `ram_envs.datasets.own_images.read_images`; an `ImageDataset`, which serves every split
            whole; or three of them, for train, validation and test.
        split: "train", "validation" or "test".

    Raises:
        FileNotFoundError: ``RAM_ENVS_DATA_DIR`` is set, but MNIST is not there; or the path holds
            no images.
        DatasetUnavailableError: "mnist" is not on this machine and could not be downloaded.
        CorruptDatasetError: A file of MNIST is damaged, or another one.
        TypeError, ValueError: The data set does not exist, or its images or labels do not fit.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} does not exist. {_suggest(split, SPLITS)}")
    if isinstance(dataset, ImageDataset):
        return dataset
    if isinstance(dataset, (str, Path)):
        if dataset in _NAMES:
            return _load_named(str(dataset))[split]
        path = Path(dataset).expanduser()
        if isinstance(dataset, Path) or path.suffix == ".npz" or path.exists():
            return _load_path(str(path.resolve()), str(dataset))[split]
        raise ValueError(
            f"dataset={dataset!r} does not exist. {_suggest(dataset, _NAMES)} For images of your "
            "own, pass the path of a folder or an .npz, or ImageDataset(images, labels)."
        )
    if isinstance(dataset, (tuple, list)):
        _check_three_splits(dataset)
        chosen: ImageDataset = dataset[SPLITS.index(split)]
        return chosen
    raise TypeError(
        f"dataset is a {type(dataset).__name__}, not a name ({', '.join(_NAMES)}), a path, an "
        "ImageDataset or three of them (train, validation, test). Use "
        "ImageDataset(images, labels) for arrays, ImageDataset.from_dataset(dataset) for a data "
        "set of PyTorch or Hugging Face."
    )


def find_splits(dataset: str | Path | ImageDataset | Sequence[ImageDataset]) -> tuple[str, ...]:
    """Return the names of a data set's splits: ("all",) where one serves as all three."""
    served = {id(load_dataset(dataset, split)) for split in SPLITS}
    return SPLITS if len(served) > 1 else ("all",)


def _check_three_splits(datasets: Sequence[Any]) -> None:
    for entry in datasets:
        if not isinstance(entry, ImageDataset):
            raise TypeError(
                f"dataset is a {type(datasets).__name__} that holds a {type(entry).__name__}, not "
                "three ImageDatasets (train, validation, test). Use ImageDataset(images, labels) "
                "for two arrays, ImageDataset.from_dataset(pairs) for pairs (image, label)."
            )
    if len(datasets) != 3:
        raise ValueError(
            f"dataset has {len(datasets)} entries instead of three, for train, validation and "
            "test. Pass a single ImageDataset by itself; it serves every split."
        )
    shapes = [entry.images.shape[1:] for entry in datasets]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"the images of train, validation and test have shapes {shapes[0]}, {shapes[1]} and "
            f"{shapes[2]}. Resize or pad them to one shape."
        )
    if len({entry.class_names for entry in datasets}) > 1:
        counts = [entry.num_classes for entry in datasets]
        raise ValueError(
            f"train, validation and test have {counts[0]}, {counts[1]} and {counts[2]} classes, or "
            "other names for them. Give all three the same num_classes or class_names."
        )


def _suggest(given: object, existing: Sequence[str]) -> str:
    """Return a sentence that lists what exists, and which of it was probably meant."""
    text = f"Choose from {', '.join(repr(name) for name in existing)}."
    close = difflib.get_close_matches(str(given).lower(), existing, n=1)
    return f"Did you mean {close[0]!r}? {text}" if close else text


# --- one load per process --------------------------------------------------------------------

_lock = threading.RLock()
_loaded: dict[tuple[str, str | None], _Datasets] = {}
_failed_download: list[str] = []  # its message, once there is one


def _load_named(name: str) -> _Datasets:
    data_dir = os.environ.get(DATA_DIR_VARIABLE) or None
    with _lock:
        if (name, data_dir) not in _loaded:
            load = _load_auto if name == "auto" else functools.partial(_load_known, name)
            _loaded[name, data_dir] = load(data_dir)
        return _loaded[name, data_dir]


def _load_known(name: str, data_dir: str | None) -> _Datasets:
    if name == "mnist" and data_dir is None and _failed_download:
        raise DatasetUnavailableError(
            f"{_failed_download[0]} (This process has tried once and does not try again.)"
        )
    try:
        datasets = _LOADERS[name](data_dir)
    except DatasetUnavailableError as error:
        _failed_download.append(str(error))
        raise
    for split, dataset in datasets.items():
        fingerprint = hashlib.sha256(f"{name}/{split}".encode()).hexdigest()[:16]
        stamp(dataset, (load_dataset, (name, split)), fingerprint)
    return datasets


def _load_auto(data_dir: str | None) -> _Datasets:
    try:
        return _load_named("mnist")
    except DatasetUnavailableError as error:
        warnings.warn(
            "MNIST is not available, so dataset='auto' serves the package's 1,797 small digits; "
            f"results on the two are not comparable. {error}",
            DatasetFallbackWarning,
            stacklevel=4,  # the caller of load_dataset
        )
        return _load_named("digits")


@functools.lru_cache(maxsize=8)
def _load_path(path: str, given: str) -> _Datasets:
    datasets = read_images(given)
    for split, dataset in datasets.items():
        stamp(dataset, (load_dataset, (path, split)))
    return datasets


def clear_cache() -> None:
    """Forget what was loaded and what failed, as if the process were new."""
    _loaded.clear()
    _failed_download.clear()
    _load_path.cache_clear()
