"""Images of your own in a folder or an .npz: which reader they need, and how they are divided.

A folder holds one of these:

- a folder of pictures for each class, named after it, or folders "train", "validation" and "test"
  of such folders; pictures of different sizes are centered on black;
- the four files of Fashion-MNIST or a similar data set, named as MNIST's; a sixth of the training
  images is for validation: the last, or every sixth if they are sorted by class;
- "images.npy" and "labels.npy", or folders "train", "validation" and "test" of these. They are
  memory-mapped, so the images may be larger than memory. "class_names.npy" in the folder itself
  may name the classes.

An .npz holds arrays "images" and "labels", or these for each split, such as "train_images" and
"train_labels"; and perhaps "class_names".

Images without splits are divided 70/15/15 by a hash of each picture's path, or of each index in an
array (`ram_envs.datasets.splits.divide`); training images without a validation split are divided
82/18 likewise.
"""

from __future__ import annotations

import mimetypes
import os
import re
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ram_envs.datasets import picture_cache
from ram_envs.datasets.array_files import (
    find_npy_folders,
    map_npy_folders,
    read_idx_folder,
    read_npz,
)
from ram_envs.datasets.cifar10 import ARCHIVE
from ram_envs.datasets.download import DATA_DIR_VARIABLE
from ram_envs.datasets.idx import find_idx
from ram_envs.datasets.image_dataset import ImageDataset
from ram_envs.datasets.mnist import MNIST_FILES
from ram_envs.datasets.picture_cache import Entry
from ram_envs.datasets.picture_files import read_pictures
from ram_envs.datasets.picture_folder import Folder, scan
from ram_envs.datasets.pixels import (
    WHITE,
    Background,
    Notes,
    PictureWarning,
    stack_images,
)
from ram_envs.datasets.source import LabeledImages, select_rows
from ram_envs.datasets.splits import SPLITS, Split, divide

IDX_NAMES = tuple(file.name for file in MNIST_FILES)  # training and test images and labels
# Files of built-in data sets by name, and what to give instead of the path of one.
BUILT_IN = (
    (
        r"cifar-10-(binary|python)\.tar\.gz|(data_batch_[1-5]|test_batch)(\.bin)?",
        f"a file of CIFAR-10. Use dataset='cifar10', which reads {DATA_DIR_VARIABLE}/cifar10/"
        f"{ARCHIVE.name}, or downloads it if {DATA_DIR_VARIABLE} is not set.",
    ),
    (
        r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?",
        "one of four files of MNIST or a similar data set. Give the path of their folder, "
        "{folder}, or for MNIST itself dataset='mnist'.",
    ),
)
MIN_CACHED = 1000  # files; fewer are read again in less than a second

Arrays = dict[str, LabeledImages]  # by split, or of "all"
Datasets = dict[Split, ImageDataset]


def find_source(path: str | Path) -> Path | Folder:
    """Return a path, absolute, or all that lies below it if it is a folder.

    Raises:
        ValueError: if it has files of a built-in data set where images are expected.
    """
    path = Path(os.path.abspath(Path(path).expanduser()))
    if not path.is_dir():
        if path.is_file():
            _refuse_built_in([str(path)])
        return path
    folder = scan(path)
    if not holds_arrays(folder) and not _holds_pictures(folder):
        _refuse_built_in([file.path for file in folder.walk()])
    return folder


def _refuse_built_in(paths: Collection[str]) -> None:
    for path in paths:
        for pattern, advice in BUILT_IN:
            if re.fullmatch(pattern, os.path.basename(path)):
                raise ValueError(f"{path} is {advice.format(folder=os.path.dirname(path))}")


def read_source(
    source: Path | Folder, splits: Literal["all"] | None, background: Background
) -> Datasets:
    """Return the images of a source that `find_source` returned, for each split.

    Args:
        source: a folder, or the path of an .npz.
        splits: "all" to use all images of a source without splits for every split.
        background: what shows through transparent parts of pictures, checked.

    Raises:
        FileNotFoundError: if there is nothing at the path, no images in it, or a split is missing.
        ValueError: if an image cannot be read, arrays are not images and labels, some of them would
            be left out, or there are too few to divide.
        DependencyNotInstalled: if Pillow is missing, for a folder of pictures.
    """
    path = Path(source.path) if isinstance(source, Folder) else source
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Give a folder of images, or an .npz.")
    if path.suffix == ".npy":
        raise ValueError(
            f"{path} is one array. Give the path of its folder, with the images in images.npy and "
            "their classes in labels.npy."
        )
    if isinstance(source, Folder) and not holds_arrays(source):
        entry = _read_pictures(source, splits, background)
        for note in entry.notes:
            warnings.warn(f"{path}: {note}", PictureWarning, stacklevel=2)
        return _make_datasets(entry.arrays, path)
    if background != WHITE:
        raise ValueError(
            f"{path} holds arrays, so background={background!r} has no effect. Leave it out."
        )
    if not isinstance(source, Folder):
        arrays = read_npz(path)
    else:
        folders = find_npy_folders(source)
        _check_no_pictures(source, folders.values())
        arrays = map_npy_folders(folders, path) if folders else read_idx_folder(path, IDX_NAMES)
    return _make_datasets(_divide(arrays, path, splits), path)


def holds_arrays(folder: Folder) -> bool:
    """Return whether a folder has images.npy or IDX files instead of pictures."""
    path = Path(folder.path)
    return bool(find_npy_folders(folder)) or any(find_idx(name, path) for name in IDX_NAMES)


def _check_no_pictures(folder: Folder, with_arrays: Collection[Path]) -> None:
    """Refuse folders of pictures beside arrays, which would be left out."""
    for entry in (entry for entry in folder.folders if Path(entry.path) not in with_arrays):
        if _holds_pictures(entry):
            raise ValueError(
                f"{folder.path} holds arrays, but there are pictures in {entry.path}. Move one of "
                "the two elsewhere."
            )


def _holds_pictures(folder: Folder) -> bool:
    kinds = (mimetypes.guess_type(file.path)[0] or "" for file in folder.walk())  # no Pillow
    return any(kind.startswith("image/") for kind in kinds)


def _read_pictures(folder: Folder, splits: Literal["all"] | None, background: Background) -> Entry:
    """Return the divided pictures of a folder; those of a large one come from the user's cache."""
    is_large = sum(1 for _ in folder.walk()) >= MIN_CACHED
    key = picture_cache.make_key(folder.state, splits, background) if is_large else ""
    entry = picture_cache.load(key) if is_large else None
    if entry is None:
        notes = Notes()
        arrays = read_pictures(folder, background, notes)
        entry = Entry(_divide(arrays, Path(folder.path), splits), notes.lines())
        if is_large:
            picture_cache.store(key, entry)
    return entry


def _divide(arrays: Arrays, path: Path, splits: Literal["all"] | None) -> Arrays:
    """Return arrays of three splits, or of "all" if `splits` is that."""
    if splits is not None:
        if set(arrays) != {"all"}:
            raise ValueError(
                f"{path} has splits of its own, so splits={splits!r} has no effect. Leave it out."
            )
        return arrays
    divided: Arrays = {}
    for name, (images, labels, class_names, keys) in arrays.items():
        if keys is None:  # arrays of the user's, checked before they are divided
            class_names = _make_dataset(arrays[name], path, _where(path, name)).class_names
        for split, rows in plan_split(name, set(arrays), labels, keys, path).items():
            is_whole = len(rows) == len(labels)
            divided[split] = LabeledImages(
                images if is_whole else select_rows(images, rows),
                labels if is_whole else labels[rows],
                class_names,
            )
    return divided


def _where(path: Path, name: str) -> str:
    return str(path) if name == "all" else f"{path}, {name}"


def plan_split(
    name: str,
    names: set[str],
    labels: npt.NDArray[np.integer],
    keys: tuple[str, ...] | None,
    path: Path,
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the splits that the images called `name` are divided among, with the rows of each.

    Raises:
        ValueError: if there are too few images.
    """
    if name == "all":
        among, advice = SPLITS, "pass splits='all' to use all images for each"
    elif name == "train" and names == {"train", "test"}:
        among, advice = SPLITS[:2], "give validation images"
    else:
        return {name: np.arange(len(labels))}
    rows = divide(labels, keys, among)
    empty = [split for split in among if not len(rows[split])]
    if empty:
        raise ValueError(
            f"{path} has {len(labels)} images to divide, too few for {' and '.join(empty)}. Add "
            f"images, so that a class has three at least, or {advice}."
        )
    return dict(rows.items())


def check_all_splits(found: Collection[str], path: str | Path) -> None:
    """Raise FileNotFoundError if a split is missing among those that were found."""
    if missing := [split for split in SPLITS if split not in found]:
        raise FileNotFoundError(
            f"{path} has {', '.join(found)} but no {', '.join(missing)}. Give images and labels "
            "for train and test at least; validation images are then taken from train."
        )


def _make_datasets(arrays: Arrays, path: Path) -> Datasets:
    """Return data sets of all three splits, with the same classes; an error names the file."""
    if "all" in arrays:
        return dict.fromkeys(SPLITS, _make_dataset(arrays["all"], path, str(path)))
    check_all_splits(arrays, path)
    datasets = {split: _make_dataset(arrays[split], path, _where(path, split)) for split in SPLITS}
    counts = [dataset.num_classes for dataset in datasets.values()]
    if len(set(counts)) > 1:
        raise ValueError(
            f"{path}: train, validation and test have {counts[0]}, {counts[1]} and {counts[2]} "
            "classes. Add images of those that are missing in a split."
        )
    return _with_one_shape(datasets)


def _make_dataset(arrays: LabeledImages, path: Path, where: str) -> ImageDataset:
    try:
        images, labels, class_names, _ = arrays
        return ImageDataset(images, labels, str(path), class_names=class_names)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def _with_one_shape(datasets: Datasets) -> Datasets:
    """Make all images as large as the largest of any split, and color if some are."""
    shapes = {(*dataset.images.shape[1:], 1)[:3] for dataset in datasets.values()}
    if len(shapes) == 1:
        return datasets
    channels = {shape[2] for shape in shapes} - {1}
    if len(channels) > 1:
        raise ValueError(
            f"{datasets['train'].name}: its splits have images of {min(channels)} and of "
            f"{max(channels)} channels. Give all color images the same number."
        )
    frame = np.zeros([max(sides) for sides in zip(*shapes, strict=True)], np.uint8)
    return {
        split: ImageDataset(
            stack_images([*dataset.array, frame])[:-1],
            dataset.labels,
            dataset.name,
            class_names=dataset.class_names,
        )
        for split, dataset in datasets.items()
    }
