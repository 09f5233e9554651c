"""Images of your own: from a folder, from an .npz, or from a data set of another library.

All become `ImageDataset`s, which environments share without copying. Images of different sizes are
centred on black, as large as the highest and the widest of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import DependencyNotInstalled

from ram_envs.datasets import SPLITS, ImageDataset, Split

IMAGE_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}

Pixels = npt.NDArray[np.uint8]


def read_images(path: str | Path) -> dict[Split, ImageDataset]:
    """The images in a folder or an .npz file, for each split.

    A folder holds a folder of images for each class, named after it, or folders "train",
    "validation" and "test" of such folders. An .npz holds arrays "images" and "labels", or these
    for each split, such as "train_images" and "train_labels". Without splits, the images serve
    every split whole.

    Raises:
        FileNotFoundError: if there is nothing at `path`, or no images in it.
        ValueError: for an image that cannot be read, or arrays that are no images and labels.
        DependencyNotInstalled: if Pillow is missing, for a folder.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Expected a folder of images, or an .npz.")
    parts = _read_folder(path) if path.is_dir() else _read_npz(path)
    datasets = {
        split: ImageDataset(images, labels, str(path)) for split, (images, labels) in parts.items()
    }
    for split, dataset in datasets.items():
        object.__setattr__(dataset, "_origin", (str(path.resolve()), split))
    return datasets


def from_dataset(dataset: Any, name: str = "custom") -> ImageDataset:
    """The images of a data set of PyTorch or Hugging Face, read once.

    Args:
        dataset: has a length, and gives pairs (image, label) or mappings with "image" (or "img")
            and "label". An image is a PIL image, an array (H, W[, C]) or a tensor (C, H, W), uint8
            or floats in [0, 1].
        name: what environments, checkpoints and results call it.

    Raises:
        TypeError, ValueError: for an entry that is no image with a label; names its index.
    """
    images, labels = [], []
    for index in range(len(dataset)):
        image, label = _pair(dataset[index], index)
        images.append(_pixels(image, index))
        labels.append(_label(label, index))
    if not images:
        raise ValueError(f"{dataset!r} is empty: expected at least one image.")
    return ImageDataset(stack_images(images), np.array(labels, np.int64), name)


def stack_images(images: Sequence[Pixels]) -> Pixels:
    """Images (H, W) or (H, W, C) of any sizes, centred on black, to (N, H, W[, C]).

    Grey images among colour ones become colour.
    """
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    channels = max(image.shape[2] if image.ndim == 3 else 1 for image in images)
    stacked = np.zeros((len(images), height, width, channels), np.uint8)
    for place, image in zip(stacked, images, strict=True):
        top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
        pixels = image if image.ndim == 3 else image[..., None]
        place[top : top + image.shape[0], left : left + image.shape[1]] = pixels
    return stacked if channels > 1 else stacked[..., 0]


# --- folders ---------------------------------------------------------------------------------


def _read_folder(path: Path) -> dict[Split, tuple[Pixels, npt.NDArray[np.int64]]]:
    folders = {entry.name.lower(): entry for entry in path.iterdir() if entry.is_dir()}
    found = {
        split: folders[name]
        for split, names in SPLIT_NAMES.items()
        for name in names
        if name in folders
    }
    if not found:
        return dict.fromkeys(SPLITS, _read_classes(path, _class_names(path)))
    names = _class_names(found.get("train", next(iter(found.values()))))
    parts = {split: _read_classes(folder, names) for split, folder in found.items()}
    return _with_all_splits(parts, path)


def _class_names(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not names:
        raise FileNotFoundError(
            f"{folder} has no folders. Expected one for each class, with its images in it."
        )
    return names


def _read_classes(folder: Path, class_names: Sequence[str]) -> tuple[Pixels, npt.NDArray[np.int64]]:
    images, labels = [], []
    for label, name in enumerate(class_names):
        paths = [
            path
            for path in sorted((folder / name).rglob("*"))
            if path.suffix.lower() in IMAGE_ENDINGS
        ]
        if not paths:
            raise FileNotFoundError(
                f"{folder / name} has no images. Expected files that end in "
                f"{', '.join(IMAGE_ENDINGS)}; remove the folder if there is no such class."
            )
        images += [_read_image(path) for path in paths]
        labels += [label] * len(paths)
    return stack_images(images), np.array(labels, np.int64)


def _read_image(path: Path) -> Pixels:
    try:
        from PIL import Image
    except ImportError as error:
        raise DependencyNotInstalled(
            'Reading images needs Pillow: run `pip install "ram-gym[play]"`.'
        ) from error
    try:
        with Image.open(path) as image:
            return _from_pil(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None


def _from_pil(image: Any) -> Pixels:
    """Grey images (H, W), others (H, W, 3)."""
    is_grey = image.mode in ("1", "L", "LA", "I", "I;16", "F")
    if image.mode.startswith("I;16"):  # 16 bits; PIL would clip them
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.asarray(image.convert("L" if is_grey else "RGB"), np.uint8)


# --- .npz ------------------------------------------------------------------------------------


def _read_npz(path: Path) -> dict[Split, tuple[Pixels, npt.NDArray[Any]]]:
    try:
        arrays = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is no .npz of arrays: {error}") from None
    if not isinstance(arrays, np.lib.npyio.NpzFile):
        raise ValueError(f"{path} holds a single array. Expected an .npz of images and labels.")
    with arrays:
        if {"images", "labels"} <= set(arrays):
            return dict.fromkeys(SPLITS, _arrays(arrays, "images", "labels", path))
        parts = {}
        for split, names in SPLIT_NAMES.items():
            for name in names:
                if {f"{name}_images", f"{name}_labels"} <= set(arrays):
                    parts[split] = _arrays(arrays, f"{name}_images", f"{name}_labels", path)
        if not parts:
            raise ValueError(
                f"{path} holds {', '.join(arrays) or 'nothing'}. Expected arrays images and labels,"
                " or train_images and train_labels, val_images, …"
            )
    return _with_all_splits(parts, path)


def _arrays(
    arrays: Mapping[str, Any], images_name: str, labels_name: str, path: Path
) -> tuple[Pixels, npt.NDArray[Any]]:
    try:
        images, labels = arrays[images_name], arrays[labels_name]
    except ValueError as error:  # an array of Python objects, which could run code
        raise ValueError(f"{path}: {error}. Expected arrays of numbers.") from None
    if labels.ndim == 2 and labels.shape[1] == 1:  # a column, as some collections have it
        labels = labels[:, 0]
    return images, labels


def _with_all_splits(
    parts: dict[Split, tuple[Pixels, npt.NDArray[Any]]], path: Path
) -> dict[Split, tuple[Pixels, npt.NDArray[Any]]]:
    """All three splits, each as large as the largest image of any."""
    missing = [split for split in SPLITS if split not in parts]
    if missing:
        raise FileNotFoundError(
            f"{path} has {', '.join(parts)} but no {', '.join(missing)}. Expected all three, or "
            "none, to serve the same images for every split."
        )
    shapes = {images.shape[1:3] for images, _ in parts.values()}
    if len(shapes) == 1:
        return parts
    height, width = (max(sides) for sides in zip(*shapes, strict=True))
    frame = np.zeros((height, width), np.uint8)  # only its size counts
    return {
        split: (stack_images([*images, frame])[:-1], labels)
        for split, (images, labels) in parts.items()
    }


# --- data sets of other libraries ------------------------------------------------------------


def _pair(entry: Any, index: int) -> tuple[Any, Any]:
    if isinstance(entry, Mapping):
        image = next((entry[key] for key in ("image", "img") if key in entry), None)
        if image is not None and "label" in entry:
            return image, entry["label"]
    elif isinstance(entry, Iterable) and not isinstance(entry, str):
        values = tuple(entry)
        if len(values) == 2:
            return values
    raise TypeError(
        f"entry {index} of the data set is a {type(entry).__name__}: expected a pair (image, "
        'label), or a mapping with "image" and "label".'
    )


def _pixels(image: Any, index: int) -> Pixels:
    if hasattr(image, "convert"):  # a PIL image
        return _from_pil(image)
    is_tensor = hasattr(image, "numpy")
    pixels = np.asarray(image.numpy() if is_tensor else image)
    if pixels.ndim == 3 and (is_tensor or pixels.shape[2] not in (1, 3, 4)):
        pixels = np.moveaxis(pixels, 0, -1)  # (C, H, W), as PyTorch has it
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise ValueError(
            f"image {index} has shape {pixels.shape}: expected (H, W), (H, W, C), or a tensor "
            "(C, H, W)."
        )
    if np.issubdtype(pixels.dtype, np.floating):
        lowest, highest = float(pixels.min()), float(pixels.max())
        if not (lowest >= 0 and highest <= 1):  # NaN is neither
            raise ValueError(
                f"image {index} has values from {lowest:g} to {highest:g}: expected floats in "
                "[0, 1], or uint8. Leave out a transform that normalises."
            )
        return np.round(pixels * 255).astype(np.uint8)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(pixels.dtype, np.integer) or pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(
            f"image {index} is {pixels.dtype}, {pixels.min()} to {pixels.max()}: expected integers "
            "from 0 to 255, or floats in [0, 1]."
        )
    return pixels.astype(np.uint8)


def _label(label: Any, index: int) -> int:
    value = np.asarray(label.numpy() if hasattr(label, "numpy") else label)
    if value.size != 1 or not np.issubdtype(value.dtype, np.integer):
        raise TypeError(f"label {index} is {label!r}: expected an integer, the image's class.")
    if value.item() < 0:
        raise ValueError(
            f"label {index} is {value.item()}: expected a class from 0. Some test sets have none."
        )
    return int(value.item())
