"""`load_dataset`: what a user writes as ``dataset=`` becomes the images of one split.

A process loads each data set once, and all environments share it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ram_envs.checks import suggest
from ram_envs.datasets.cifar10 import load_cifar10
from ram_envs.datasets.digits import load_digits
from ram_envs.datasets.download import DATA_DIR_VARIABLE
from ram_envs.datasets.errors import DatasetUnavailableError
from ram_envs.datasets.image_dataset import ImageDataset, stamp
from ram_envs.datasets.mnist import load_mnist
from ram_envs.datasets.own_images import find_source, read_source
from ram_envs.datasets.picture_folder import Folder
from ram_envs.datasets.pixels import WHITE, Background, check_background
from ram_envs.datasets.splits import SPLIT_NAMES, SPLITS, Split
from ram_envs.notices import print_notice

_Datasets = dict[Split, ImageDataset]
_LOADERS: dict[str, Callable[[str | None], _Datasets]] = {
    "mnist": load_mnist,
    "digits": lambda data_dir: load_digits(),
    "cifar10": load_cifar10,
}
_NAMES = (*_LOADERS, "auto")


class DatasetFallbackWarning(UserWarning):
    """``dataset="auto"`` uses the digits, because MNIST is not available."""


def load_dataset(
    dataset: str | Path | ImageDataset | Sequence[ImageDataset],
    split: Split,
    splits: Literal["all"] | None = None,
    background: Background = WHITE,
) -> ImageDataset:
    """Return the images of one split.

    Args:
        dataset: "mnist"; "digits"; "cifar10"; "auto", which is MNIST if available, else the digits
            with a `DatasetFallbackWarning`; the path of a folder or an .npz, see
            `ram_envs.datasets.own_images`; an `ImageDataset`, which is used whole for every split;
            or three of them, for train, validation and test.
        split: "train", "validation" or "test".
        splits: "all" uses all images of a folder or an .npz without splits for every split; by
            default they are divided 70/15/15.
        background: what shows through transparent parts of a folder's pictures: 0 (black) … 255
            (white), or (red, green, blue).

    Raises:
        FileNotFoundError: if ``RAM_ENVS_DATA_DIR`` is set, but the data set is not there; or if the
            path holds no images.
        DatasetUnavailableError: if the data set is not on this machine and could not be
            downloaded.
        CorruptDatasetError: if a file of MNIST or CIFAR-10 is damaged, or another one.
        TypeError, ValueError: if the data set does not exist, its images or labels do not fit, or
            `splits` or `background` has no effect on it.
    """
    _check_split(split, splits)
    background = check_background(background)
    if isinstance(dataset, (str, Path)) and dataset not in _NAMES:
        return _load_path(_find_path(dataset), splits, background)[split]
    if background != WHITE or (splits is not None and not isinstance(dataset, ImageDataset)):
        raise ValueError(
            f"splits={splits!r} and background={background!r} apply only to the path of a folder "
            f"or an .npz, not to dataset={dataset!r}. Omit them."
        )
    if isinstance(dataset, ImageDataset):
        return dataset
    if isinstance(dataset, str):
        return _load_named(dataset)[split]
    if isinstance(dataset, (tuple, list)):
        _check_three_splits(dataset)
        chosen: ImageDataset = dataset[SPLITS.index(split)]
        return chosen
    raise TypeError(
        f"dataset has the type {type(dataset).__name__}. Give a name ({', '.join(_NAMES)}), a "
        "path, an ImageDataset or three of them (train, validation, test). Use "
        "ImageDataset(images, labels) for arrays, ImageDataset.from_dataset(dataset) for a data "
        "set of PyTorch or Hugging Face."
    )


def list_dataset_splits(dataset: Any, splits: Literal["all"] | None = None) -> tuple[str, ...]:
    """Return the splits whose images differ: three, or ("all",) if all are the same.

    Args:
        dataset: as for `load_dataset`, which checks it.
        splits: likewise.
    """
    if isinstance(dataset, (tuple, list)):
        return ("all",) if len({id(entry) for entry in dataset}) == 1 else SPLITS
    return ("all",) if splits == "all" or isinstance(dataset, ImageDataset) else SPLITS


def _check_split(split: Any, splits: Any) -> None:
    if split not in SPLITS:
        meant = next((name for name, names in SPLIT_NAMES.items() if split in names), split)
        raise ValueError(f"split={split!r} does not exist. {suggest(meant, SPLITS)}")
    if splits not in (None, "all"):
        raise ValueError(f"splits={splits!r} is neither None nor 'all'.")


def _find_path(dataset: str | Path) -> str:
    """Return the absolute path of a folder or file that a user names."""
    path = os.path.abspath(os.path.expanduser(dataset))  # an unknown user stays as it is
    if dataset == "":
        raise ValueError("dataset='' is empty. Give a name or a path; '.' is the current folder.")
    if isinstance(dataset, Path) or path.endswith(".npz") or os.path.exists(path):
        return path
    raise ValueError(
        f"dataset={dataset!r} does not exist. {suggest(dataset, _NAMES)} For images of your own, "
        "pass the path of a folder or an .npz, or ImageDataset(images, labels)."
    )


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
            "test. Pass a single ImageDataset by itself; it is used for every split."
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


# --- one load per process --------------------------------------------------------------------

_lock = threading.RLock()
_loaded: dict[tuple[str, str | None], _Datasets] = {}
_failed_downloads: dict[str, str] = {}  # the message of each, by the data set's name


def _load_named(name: str) -> _Datasets:
    data_dir = os.environ.get(DATA_DIR_VARIABLE) or None
    with _lock:
        if (name, data_dir) not in _loaded:
            load = _load_auto if name == "auto" else functools.partial(_load_known, name)
            _loaded[name, data_dir] = load(data_dir)
        return _loaded[name, data_dir]


def _load_known(name: str, data_dir: str | None) -> _Datasets:
    if data_dir is None and name in _failed_downloads:
        raise DatasetUnavailableError(
            f"{_failed_downloads[name]} (A process tries a download once. Restart it to try again.)"
        )
    if os.path.isdir(name) and os.path.abspath(name) != os.path.abspath(
        os.path.join(data_dir or "/", name)
    ):
        print_notice(f"dataset={name!r} is the built-in data set. For the folder, give './{name}'.")
    try:
        datasets = _LOADERS[name](data_dir)
    except DatasetUnavailableError as error:
        _failed_downloads[name] = str(error)
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
            "MNIST is not available, so dataset='auto' uses the package's 1,797 small digits; "
            f"results on the two are not comparable. {error}",
            DatasetFallbackWarning,
            stacklevel=4,  # the caller of load_dataset
        )
        return _load_named("digits")


_loaded_paths: dict[tuple[str, str | None, Background], tuple[str, _Datasets]] = {}
_MAX_LOADED_PATHS = 8


def _load_path(path: str, splits: Literal["all"] | None, background: Background) -> _Datasets:
    """Return the data sets at a path, read again only if files changed since."""
    key = (path, splits, background)
    with _lock:
        source = find_source(path)
        state = _state_of_files(source)
        if key in _loaded_paths and _loaded_paths[key][0] == state:
            return _loaded_paths[key][1]
        datasets = read_source(source, splits, background)
        for split, dataset in datasets.items():
            stamp(dataset, (load_dataset, (path, split, splits, background)))
        if splits is None:
            _announce(path, datasets)
        _loaded_paths.pop(key, None)
        _loaded_paths[key] = state, datasets
        while len(_loaded_paths) > _MAX_LOADED_PATHS:
            del _loaded_paths[next(iter(_loaded_paths))]
        return datasets


def _state_of_files(source: Path | Folder) -> str:
    if isinstance(source, Folder):
        return source.state
    try:
        stat = source.stat()
    except OSError:
        return ""  # read_source names it
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def _announce(path: str, datasets: _Datasets) -> None:
    counts = [f"{len(dataset):,} {split}" for split, dataset in datasets.items()]
    total = sum(map(len, datasets.values()))
    print_notice(f"{path}: {total:,} images: {', '.join(counts)}")


def clear_cache() -> None:
    """Forget what was loaded and what failed, as if the process were new."""
    _loaded.clear()
    _failed_downloads.clear()
    _loaded_paths.clear()
