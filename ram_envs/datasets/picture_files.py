"""Pictures in files, as arrays."""

from __future__ import annotations

import math
import os
import stat
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ram_envs.atomic_files import MAX_UNPACKED_BYTES
from ram_envs.datasets.picture_folder import (
    Folder,
    Picture,
    arrange,
    picture_formats,
)
from ram_envs.datasets.pixels import (
    Background,
    Notes,
    Pixels,
    stack_images,
    to_pixels,
    too_large,
)
from ram_envs.datasets.source import LabeledImages

MAX_PADDED_PIXELS = 2**24  # of the images of short files
MAX_PADDING = 10  # times the images' own pixels


def read_pictures(folder: Folder, background: Background, notes: Notes) -> dict[str, LabeledImages]:
    """Return the pictures in a folder, for each split, or "all" where it has none.

    Raises:
        FileNotFoundError: if there are no class folders, or one has no pictures.
        ValueError: if a picture cannot be read, or all together do not fit into memory.
        DependencyNotInstalled: if Pillow is missing.
    """
    arrangement = arrange(folder)
    arrangement.note(notes)
    parts: dict[str, LabeledImages] = {}
    for part, pictures in arrangement.parts.items():
        images = _read_all(pictures, background, notes)
        check_padded([image.shape for image in images], pictures, folder.path)
        labels = np.array([picture.label for picture in pictures], np.int64)
        keys = tuple(picture.key for picture in pictures)
        parts[part] = LabeledImages(stack_images(images), labels, arrangement.class_names, keys)
    return parts


def _read_all(pictures: Sequence[Picture], background: Background, notes: Notes) -> list[Pixels]:
    images: list[Pixels] = []
    try:
        for picture in show_progress(pictures):
            images.append(read_picture(picture.file.path, background, notes))
    except MemoryError:
        raise too_large(images, len(pictures)) from None
    return images


def show_progress(pictures: Sequence[Any]) -> Iterable[Any]:
    """Return the pictures, with a progress bar on a terminal after a second."""
    if sys.stderr is None or not sys.stderr.isatty():
        return pictures
    try:
        from tqdm import tqdm
    except ImportError:
        return pictures
    bar: Iterable[Any] = tqdm(pictures, "Reading pictures", delay=1, unit="")
    return bar


def check_padded(
    shapes: Sequence[tuple[int, ...]], pictures: Sequence[Picture], folder: str
) -> None:
    """Refuse short files that would fill the memory once all are as large as the largest.

    A blank picture shrinks to a thousandth of its pixels. If files are shorter, and padding
    multiplies the pixels, a few among them are far larger than the others.

    Args:
        shapes: (H, W[, C]) of each picture, as read.
        pictures: their files.
        folder: what holds them.

    Raises:
        ValueError: if padding would multiply the pixels beyond these limits.
    """
    height, width = (max([0, *(shape[axis] for shape in shapes)]) for axis in (0, 1))
    padded = len(shapes) * height * width
    num_pixels = sum(math.prod(shape[:2]) for shape in shapes)
    num_bytes = sum(picture.file.size for picture in pictures)
    if padded > max(MAX_PADDED_PIXELS, 1000 * num_bytes, MAX_PADDING * num_pixels):
        raise ValueError(
            f"{folder} has {len(shapes):,} images of {num_bytes:,} bytes, which would be padded to "
            f"{height} × {width} pixels each, as large as the largest. Shrink or leave out the "
            "large ones."
        )


def read_picture(path: str, background: Background, notes: Notes) -> Pixels:
    """Return a picture as (H, W) if it is gray, else as (H, W, 3).

    Raises:
        ValueError: if it cannot be read, or unpacks to far more than a photo of its length.
        MemoryError: if there is too little memory.
    """
    try:
        with open_picture(path) as image:
            return to_pixels(image, background, notes, path)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise refuse_picture(path, error) from None


def refuse_picture(path: str, error: Exception) -> ValueError:
    """Return the error that names a picture and why it cannot be read."""
    what = str(error) or type(error).__name__
    advice = "" if what.endswith(".") else ". Repair or remove it."  # as our own errors have it
    return ValueError(f"{path} cannot be read as a picture: {what}{advice}")


def open_picture(path: str) -> Any:
    """Open a picture without reading its pixels, after checks of its size.

    Raises:
        ValueError: if it is too large, or not a file.
        Exception: if Pillow does not read it.
    """
    from PIL import Image

    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        raise ValueError("it is not a file. Remove it.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of a picture that is too large for a photo, and refuses only twice that.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=picture_formats())
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ValueError(
            f"it has more than {Image.MAX_IMAGE_PIXELS:,} pixels. Shrink it, raise "
            "PIL.Image.MAX_IMAGE_PIXELS first, or write the images to images.npy."
        ) from None
    pixels = image.width * image.height
    each = 4 if image.mode in ("1", "L") else 16  # bytes, while it is read
    if pixels * each > MAX_UNPACKED_BYTES and pixels > 100 * status.st_size:
        image.close()
        raise ValueError(
            f"it would have {image.width} × {image.height} pixels, too many for a file of "
            f"{status.st_size:,} bytes. If that is right, save it uncompressed, as BMP."
        )
    return image
