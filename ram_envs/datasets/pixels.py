"""From a picture to pixels: what Pillow opened, or an array of another library, to uint8.

Every picture passes through `to_pixels`, wherever it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

GRAY_MODES = ("1", "L", "LA", "I", "I;16", "F")  # of Pillow
CHANNELS = (1, 3, 4)


def to_pixels(picture: Any) -> Pixels:
    """Return a picture as (H, W) if it is gray, else as (H, W, C).

    Args:
        picture: A PIL image, an array (H, W[, C]) or a tensor (C, H, W) or (H, W), uint8, bool or
            floats in [0, 1].

    Raises:
        TypeError: It is none of these.
        ValueError: Its shape or its values do not fit.
    """
    if hasattr(picture, "convert"):  # a PIL image, perhaps of a file that is read only here
        return from_pil(picture)
    is_tensor = hasattr(picture, "numpy")
    pixels = np.asarray(picture.numpy() if is_tensor else picture)
    what = f"shape {pixels.shape}, dtype {pixels.dtype}, {type(picture).__name__}"
    if pixels.dtype.kind not in "biuf":
        raise TypeError(f"it has {what}. Give uint8, or floats in [0, 1]; open a path first.")
    if pixels.ndim == 3 and (is_tensor or pixels.shape[2] not in CHANNELS):
        pixels = np.moveaxis(pixels, 0, -1)  # (C, H, W), as PyTorch has it
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise ValueError(f"it has {what}. Give (H, W), (H, W, C) or a tensor (C, H, W).")
    if pixels.ndim == 3 and not is_tensor and pixels.shape[2] not in CHANNELS:
        raise ValueError(f"it has {what}. Give 1, 3 or 4 channels, (H, W, C), or a tensor.")
    return _to_bytes(pixels)


def _to_bytes(pixels: npt.NDArray[Any]) -> Pixels:
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    lowest, highest = pixels.min().item(), pixels.max().item()
    if pixels.dtype.kind == "f":
        if math.isnan(lowest):
            raise ValueError("it contains NaN. Give floats in [0, 1], or uint8.")
        if lowest < 0 or highest > 1:
            raise ValueError(
                f"its values go from {lowest:g} to {highest:g}. Give floats in [0, 1], or uint8, "
                "and leave out a transform that normalizes."
            )
        return np.round(pixels * 255).astype(np.uint8)
    if lowest < 0 or highest > 255:
        raise ValueError(
            f"its values go from {lowest} to {highest}, of {pixels.dtype}. Give integers from 0 "
            "to 255, or floats in [0, 1]."
        )
    return pixels.astype(np.uint8)


def from_pil(image: Any) -> Pixels:
    """Return a PIL image as (H, W) if it is gray, else as (H, W, 3)."""
    mode = "L" if image.mode in GRAY_MODES else "RGB"
    if image.mode.startswith("I;16"):  # 16 bits, which Pillow would clip
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.asarray(image.convert(mode), np.uint8)


def stack_images(images: Sequence[Pixels]) -> Pixels:
    """Center images (H, W) or (H, W, C) of any sizes on black; return (N, H, W[, C]).

    Gray images become color where others are.

    Raises:
        ValueError: Color images differ in their number of channels, or all would not fit in
            memory.
    """
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    channels = 1
    for index, image in enumerate(images):
        number = image.shape[2] if image.ndim == 3 else 1
        if number != channels and min(number, channels) > 1:
            raise ValueError(
                f"image {index} has {number} channels, and one before it {channels}. Give all "
                "color images as many; image[..., :3] leaves out alpha."
            )
        channels = max(channels, number)
    shape = (len(images), height, width, channels)
    try:
        stacked = np.zeros(shape, np.uint8)
    except MemoryError:
        raise ValueError(
            f"{len(images):,} images, padded to {height} × {width} as the largest, need "
            f"{math.prod(shape):,} bytes, more than there are. Shrink or leave out the large ones."
        ) from None
    for place, image in zip(stacked, images, strict=True):
        top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
        pixels = image if image.ndim == 3 else image[..., None]
        place[top : top + image.shape[0], left : left + image.shape[1]] = pixels
    return stacked if channels > 1 else stacked[..., 0]
