"""Images of your own in a folder or a file: which reader they need, and how they are divided."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from ram_envs.datasets.array_files import (
    find_npy_folders,
    map_npy_folders,
    read_idx_folder,
    read_npz,
)
from ram_envs.datasets.idx import find_idx
from ram_envs.datasets.image_dataset import ImageDataset
from ram_envs.datasets.mnist import MNIST_FILES
from ram_envs.datasets.picture_folder import scan
from ram_envs.datasets.pictures import read_pictures
from ram_envs.datasets.pixels import WHITE, Background, stack_images
from ram_envs.datasets.source import select_rows
from ram_envs.datasets.splits import SPLITS, LabeledImages, Split, divide

IDX_NAMES = tuple(file.name for file in MNIST_FILES)  # training and test images and labels

Datasets = dict[Split, ImageDataset]


def read_images(
    path: str | Path, splits: Literal["all"] | None = None, background: Background = WHITE
) -> Datasets:
    """Return the images in a folder or an .npz, for each split.

    A folder holds one of these:

    - a folder of pictures for each class, named after it, or folders "train", "validation" and
      "test" of such folders; pictures of different sizes are centered on black;
    - the four files of Fashion-MNIST or a similar data set, named as MNIST's; a sixth of the
      training images is for validation: the last, or every sixth if they are sorted by class;
    - "images.npy" and "labels.npy", or folders "train", "validation" and "test" of these. They are
      memory-mapped, so the images may be larger than memory.

    An .npz holds arrays "images" and "labels", or these for each split, such as "train_images" and
    "train_labels".

    Images without splits are divided 70/15/15 by a hash of each picture's path, or of each index
    in an array (`ram_envs.datasets.splits.divide`); training images without a validation split are
    divided 82/18 likewise.

    Args:
        path: The folder or the .npz.
        splits: "all" to serve every split all images of a source without splits.
        background: What shows through transparent parts of pictures: 0 (black) … 255 (white), or
            (red, green, blue).

    Raises:
        FileNotFoundError: There is nothing at `path`, no images in it, or a split is missing.
        ValueError: An image cannot be read, arrays are not images and labels, or there are too few
            to divide.
        DependencyNotInstalled: Pillow is missing, for a folder of pictures.
    """
    path = Path(os.path.abspath(Path(path).expanduser()))
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Give a folder of images, or an .npz.")
    if path.suffix == ".npy":
        raise ValueError(
            f"{path} is one array. Give the path of its folder, with the images in images.npy and "
            "their classes in labels.npy."
        )
    arrays = _read_arrays(path, background)
    if "all" in arrays:
        return _divide_all(arrays["all"], path, splits)
    if splits is not None:
        raise ValueError(f"{path} has splits, so splits={splits!r} has no effect. Leave it out.")
    return _with_one_shape(_check_splits(_add_validation(arrays), path))


def _read_arrays(path: Path, background: Background) -> Mapping[str, LabeledImages]:
    if path.is_dir():
        folders = find_npy_folders(path)
        has_idx = any(find_idx(name, path) for name in IDX_NAMES)
        if not folders and not has_idx:
            return read_pictures(scan(path), background)
    if background != WHITE:
        raise ValueError(
            f"{path} holds arrays, so background={background!r} has no effect. Leave it out."
        )
    if not path.is_dir():
        return read_npz(path)
    return map_npy_folders(folders) if folders else read_idx_folder(path, IDX_NAMES)


def _divide_all(arrays: LabeledImages, path: Path, splits: Literal["all"] | None) -> Datasets:
    """Return the same images for each split, or a part of them for each."""
    try:
        whole = ImageDataset(*arrays[:2], str(path), class_names=arrays.class_names)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if splits == "all":
        return dict.fromkeys(SPLITS, whole)
    rows = divide(whole.labels, arrays.keys)
    if not all(map(len, rows.values())):
        raise ValueError(
            f"{path} has {len(whole)} images, too few for training, validation and test. Add "
            "images, so that a class has three at least; or pass splits='all' to use all images "
            "for each."
        )
    return {
        split: ImageDataset(
            select_rows(whole.array, rows[split]),
            whole.labels[rows[split]],
            whole.name,
            class_names=whole.class_names,
        )
        for split in SPLITS
    }


def _add_validation(arrays: Mapping[str, LabeledImages]) -> Mapping[str, LabeledImages]:
    """Divide the training images where there is a test split but none for validation."""
    if set(arrays) != {"train", "test"}:
        return arrays
    images, labels, class_names, keys = arrays["train"]
    if np.ndim(labels) != 1 or len(labels) != len(images):
        return arrays  # for ImageDataset to refuse
    rows = divide(labels, keys, ("train", "validation"))
    parts = {
        split: LabeledImages(select_rows(images, rows[split]), labels[rows[split]], class_names)
        for split in ("train", "validation")
    }
    return {**arrays, **parts}


def _check_splits(arrays: Mapping[str, LabeledImages], path: Path) -> Datasets:
    """Return data sets of all three splits, with the same classes; an error names the file."""
    missing = [split for split in SPLITS if split not in arrays]
    if missing:
        raise FileNotFoundError(
            f"{path} has {', '.join(arrays)} but no {', '.join(missing)}. Give images and labels "
            "for train and test at least; validation images are then taken from train."
        )
    datasets = {}
    for split in SPLITS:
        try:
            images, labels, class_names, _ = arrays[split]
            datasets[split] = ImageDataset(images, labels, str(path), class_names=class_names)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, {split}: {error}") from None
    counts = [dataset.num_classes for dataset in datasets.values()]
    if len(set(counts)) > 1:
        raise ValueError(
            f"{path}: train, validation and test have {counts[0]}, {counts[1]} and {counts[2]} "
            "classes. Add images of those that are missing in a split."
        )
    return datasets


def _with_one_shape(datasets: Datasets) -> Datasets:
    """Make all images as large as the largest of any split, and color if some are."""
    shapes = {(*dataset.images.shape[1:], 1)[:3] for dataset in datasets.values()}
    if len(shapes) == 1:
        return datasets
    channels = {shape[2] for shape in shapes} - {1}
    if len(channels) > 1:
        raise ValueError(
            f"{datasets['train'].name}: its splits have images of {min(channels)} and of "
            f"{max(channels)} channels. Give all color images as many."
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
