"""Images of your own in a folder or a file: which reader they need, and whether they agree."""

from __future__ import annotations

from pathlib import Path

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
from ram_envs.datasets.pictures import read_pictures
from ram_envs.datasets.pixels import stack_images
from ram_envs.datasets.splits import SPLITS, LabeledImages, Split

IDX_NAMES = tuple(file.name for file in MNIST_FILES)  # training and test images and labels


def read_images(path: str | Path) -> dict[Split, ImageDataset]:
    """Return the images in a folder or an .npz, for each split.

    A folder holds one of these:

    - a folder of images for each class, named after it, or folders "train", "validation" and
      "test" of such folders; images of different sizes are centered on black;
    - the four files of Fashion-MNIST or a similar data set, named as MNIST's; the last sixth of
      the training images are for validation;
    - "images.npy" and "labels.npy", or folders "train", "validation" and "test" of these. They are
      memory-mapped, so the images may be larger than memory.

    An .npz holds arrays "images" and "labels", or these for each split, such as "train_images" and
    "train_labels". Without splits, the images serve every split whole.

    Raises:
        FileNotFoundError: There is nothing at `path`, no images in it, or a split is missing.
        ValueError: An image cannot be read, or arrays are not images and labels.
        DependencyNotInstalled: Pillow is missing, for a folder of pictures.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Give a folder of images, or an .npz.")
    if path.suffix == ".npy":
        raise ValueError(
            f"{path} is one array. Give the path of its folder, with the images in images.npy and "
            "their classes in labels.npy."
        )
    if not path.is_dir():
        arrays = read_npz(path)
    elif folders := find_npy_folders(path):
        arrays = map_npy_folders(folders)
    elif any(find_idx(name, path) for name in IDX_NAMES):
        arrays = read_idx_folder(path, IDX_NAMES)
    else:
        arrays = read_pictures(path)
    return _with_one_shape(_make_datasets(arrays, path))


def _make_datasets(arrays: dict[Split, LabeledImages], path: Path) -> dict[Split, ImageDataset]:
    """Return data sets of all three splits, with the same classes; an error names the file."""
    missing = [split for split in SPLITS if split not in arrays]
    if missing:
        raise FileNotFoundError(
            f"{path} has {', '.join(arrays)} but no {', '.join(missing)}. Give images and labels "
            "of all three splits, or without splits."
        )
    is_undivided = len({id(split) for split in arrays.values()}) == 1
    datasets = {}
    for split in SPLITS:
        images, labels, class_names = arrays[split]
        try:
            datasets[split] = ImageDataset(images, labels, str(path), class_names=class_names)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}{'' if is_undivided else f', {split}'}: {error}") from None
    counts = [dataset.num_classes for dataset in datasets.values()]
    if len(set(counts)) > 1:
        raise ValueError(
            f"{path}: train, validation and test have {counts[0]}, {counts[1]} and {counts[2]} "
            "classes. Add images of those that are missing in a split."
        )
    return datasets


def _with_one_shape(datasets: dict[Split, ImageDataset]) -> dict[Split, ImageDataset]:
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
