"""Folders of pictures: a folder for each class, perhaps within folders of splits, as arrays."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from ram_envs.atomic_files import MAX_UNPACKED_BYTES
from ram_envs.datasets.pixels import GRAY_MODES, Pixels, from_pil, stack_images
from ram_envs.datasets.splits import SPLIT_NAMES, SPLITS, LabeledImages, Split

IMAGE_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# The only formats that are read, whatever a file's name: Pillow passes PostScript to Ghostscript.
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PADDED_PIXELS = 2**24  # of the images of short files


def read_pictures(path: Path) -> dict[Split, LabeledImages]:
    """Return the pictures in a folder, for each split; without splits, the same for all."""
    folders = {entry.name.lower(): entry for entry in path.iterdir() if entry.is_dir()}
    found = {
        split: folders[name]
        for split, names in SPLIT_NAMES.items()
        for name in names
        if name in folders
    }
    if not found:
        return dict.fromkeys(SPLITS, _read_classes(path, _find_classes(path)))
    names = _find_classes(found.get("train", next(iter(found.values()))))
    for folder in found.values():
        if more := sorted(set(_find_classes(folder)) - set(names)):
            raise ValueError(
                f"{folder / more[0]}: there is no such class in {found.get('train', path).name}. "
                "Add images of it there, or remove the folder."
            )
    return {split: _read_classes(folder, names) for split, folder in found.items()}


def _find_classes(folder: Path) -> list[str]:
    names = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")  # such as .ipynb_checkpoints
    )
    if not names:
        raise FileNotFoundError(
            f"{folder} has no folders. Make one for each class, with its images in it."
        )
    return names


def _read_classes(folder: Path, class_names: Sequence[str]) -> LabeledImages:
    images: list[Pixels] = []
    labels: list[int] = []
    num_bytes = 0
    for label, name in enumerate(class_names):
        paths = [
            path
            for path in sorted((folder / name).rglob("*"))
            if path.suffix.lower() in IMAGE_ENDINGS
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        ]
        if not paths:
            raise FileNotFoundError(
                f"{folder / name} has no images, which end in {', '.join(IMAGE_ENDINGS)}. Remove "
                "the folder if there is no such class."
            )
        for path in paths:
            images.append(read_picture(path))
            num_bytes += path.stat().st_size
        labels += [label] * len(paths)
    _check_padded(images, num_bytes, folder)
    return LabeledImages(stack_images(images), np.array(labels, np.int64), tuple(class_names))


def _check_padded(images: Sequence[Pixels], num_bytes: int, folder: Path) -> None:
    """Refuse files that would fill the memory once all are as large as the largest.

    A blank picture shrinks to a thousandth of its pixels. Shorter files were made to be large, or
    a few among them are far larger than the others.
    """
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    padded = len(images) * height * width
    if padded > MAX_PADDED_PIXELS and padded > 1000 * num_bytes:
        raise ValueError(
            f"{folder} has {len(images):,} images of {num_bytes:,} bytes, which would be padded to "
            f"{height} × {width} pixels each, as large as the largest. Shrink or leave out the "
            "large ones."
        )


def read_picture(path: Path) -> Pixels:
    """Return a picture as (H, W) if it is gray, else as (H, W, 3).

    Raises:
        ValueError: It cannot be read, or unpacks to far more than a photo of its length.
        DependencyNotInstalled: Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise DependencyNotInstalled(
            'Reading images needs Pillow: run `pip install "ram-gym[play]"`.'
        ) from error
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is not a file")
        with warnings.catch_warnings():
            # An image too large for a photo: Pillow warns of it, and refuses only twice as much.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                _check_unpacked(image, path.stat().st_size)
                return from_pil(image)
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise ValueError(f"{path} cannot be read as an image: {error}") from None


def _check_unpacked(image: Any, num_bytes: int) -> None:
    """Refuse a picture of few bytes that would fill the memory; a photo is longer."""
    pixels = image.width * image.height
    each = 4 if image.mode in GRAY_MODES[:2] else 16  # bytes, while it is read
    if pixels * each > MAX_UNPACKED_BYTES and pixels > 100 * num_bytes:
        raise ValueError(
            f"it would have {image.width} × {image.height} pixels, too many for a file of "
            f"{num_bytes:,} bytes. If that is right, save it uncompressed, as BMP"
        )
