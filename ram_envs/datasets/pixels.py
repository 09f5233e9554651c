"""From a picture to pixels: what Pillow opened, or an array of another library, to uint8.

Every picture passes through `to_pixels`, wherever it comes from, and looks as viewers show it:
upright, with its palette applied, and with nothing behind transparent parts but a background.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Background = int | Sequence[int]  # gray, or (red, green, blue)

WHITE = 255
ORIENTATION = 0x0112  # the EXIF tag
CHANNELS = (1, 3, 4)  # gray; red, green and blue; these and alpha
DARK = 4096  # values of 16 bits below this are almost black


class PictureWarning(UserWarning):
    """Pictures that were read may not be what their owner expects."""


class Notes:
    """Counts what is remarkable about pictures, so that each kind is reported once."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}

    def add(self, what: str, advice: str, example: str) -> None:
        """Count a picture as `what`, a plural."""
        self._counts[what, advice] += 1
        self._examples.setdefault((what, advice), example)

    def lines(self) -> tuple[str, ...]:
        """Return two sentences for each kind: its number and an example, then the advice."""
        return tuple(
            f"{what}: {count:,}, such as {self._examples[what, advice]}. {advice}"
            for (what, advice), count in self._counts.items()
        )


def to_pixels(
    picture: Any,
    background: Background = WHITE,
    notes: Notes | None = None,
    name: str = "",
) -> Pixels:
    """Return a picture as (H, W) if it is gray, else as (H, W, 3).

    Args:
        picture: a PIL image; an array (H, W[, C]) or a tensor, (C, H, W) or (H, W[, C]): uint8,
            other integers of 0 … 255, bool, or floats in [0, 1]. Four channels are red, green,
            blue and alpha.
        background: what shows through transparent parts: 0 (black) … 255 (white), or (R, G, B).
        notes: collects remarks, on what is dark or has several pages, for example.
        name: what notes call the picture.

    Raises:
        TypeError: if it is neither an image nor an array of numbers.
        ValueError: if its shape does not fit, or its values have no known range.
    """
    notes = Notes() if notes is None else notes
    if hasattr(picture, "convert"):  # a PIL image, perhaps of a file that is read only here
        return _from_pil(picture, background, notes, name)
    pixels = _to_bytes(_channels_last(picture))
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return _on_background(pixels, background, notes, name)
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


# --- arrays and tensors ----------------------------------------------------------------------


def _channels_last(picture: Any) -> npt.NDArray[Any]:
    is_tensor = hasattr(picture, "numpy")
    pixels = np.asarray(picture.numpy() if is_tensor else picture)
    what = f"shape {pixels.shape}, dtype {pixels.dtype}, {type(picture).__name__}"
    if pixels.dtype.kind not in "biuf":
        raise TypeError(f"it has {what}. Give uint8, or floats in [0, 1]; open a path first.")
    if pixels.ndim == 2 and pixels.size:
        return pixels
    if pixels.ndim != 3 or not pixels.size:
        raise ValueError(f"it has {what}. Give (H, W), (H, W, C) or a tensor (C, H, W).")
    first, last = pixels.shape[0] in CHANNELS, pixels.shape[2] in CHANNELS
    if first and (is_tensor or not last):  # as PyTorch has it
        return np.moveaxis(pixels, 0, -1)
    if not last:
        raise ValueError(
            f"it has {what}. Give 1, 3 or 4 channels; ImageDataset(images, labels) takes any "
            "number, (N, H, W, C)."
        )
    return pixels


def _to_bytes(pixels: npt.NDArray[Any]) -> Pixels:
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype == np.uint8:
        return pixels
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
            "to 255, such as (image >> 8).astype(np.uint8) of 16 bits, or floats in [0, 1]."
        )
    return pixels.astype(np.uint8)


# --- PIL images ------------------------------------------------------------------------------


def _from_pil(image: Any, background: Background, notes: Notes, name: str) -> Pixels:
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # whose others are previews
        notes.add("pictures with several pages or frames", "Only the first is read.", name)
    # Pillow reads the upper 8 of 16 bits, except of gray pictures without alpha.
    is_halved = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    image.load()
    if image.getexif().get(ORIENTATION, 1) != 1:
        from PIL import ImageOps

        image = ImageOps.exif_transpose(image)
    mode, key = image.mode, image.info.get("transparency")
    if mode == "F":
        return _to_bytes(np.asarray(image))
    if mode.startswith("I"):
        return _from_integers(np.asarray(image), key, background, notes, name)
    if is_halved and np.asarray(image.convert("RGB")).max() < DARK >> 8:
        _note_dark(notes, name)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or key is not None:
        pixels = np.asarray(image.convert("LA" if mode == "La" else "RGBA").convert("RGBA"))
        shown = _on_background(pixels, background, notes, name)
        return _without_color(shown) if mode in ("1", "L", "LA", "La", "P", "PA") else shown
    if mode in ("1", "L"):
        return np.asarray(image.convert("L"), np.uint8)
    pixels = np.asarray(image if mode == "RGB" else image.convert("RGB"), np.uint8)
    return _without_color(pixels) if mode == "P" else pixels


def _from_integers(
    pixels: npt.NDArray[Any], key: Any, background: Background, notes: Notes, name: str
) -> Pixels:
    """Return integers of 16 bits as 8, as most software shows them."""
    lowest, highest = int(pixels.min()), int(pixels.max())
    if lowest < 0 or highest > 0xFFFF:
        raise ValueError(
            f"its values go from {lowest} to {highest}, and the range of 32-bit integers is not "
            "known. Save it with 8 or 16 bits."
        )
    if 0 < highest < DARK:
        _note_dark(notes, name)
    gray = (pixels >> 8).astype(np.uint8)
    if key is None:
        return gray
    rgba = np.repeat(gray[..., None], 4, axis=2)
    rgba[..., 3] = np.where(pixels == key, 0, 255)
    return _without_color(_on_background(rgba, background, notes, name))


def _note_dark(notes: Notes, name: str) -> None:
    what = f"16-bit pictures that are almost black, with values below {DARK}"
    notes.add(what, "Save them with 8 bits, or with values up to 65535.", name)


def _on_background(pixels: Pixels, background: Background, notes: Notes, name: str) -> Pixels:
    """Return (H, W, 4) with alpha as (H, W, 3): what is seen before a background."""
    alpha = pixels[..., 3:].astype(np.uint16)
    ground = np.array(background, np.uint16)
    shown = ((pixels[..., :3] * alpha + ground * (255 - alpha) + 127) // 255).astype(np.uint8)
    if alpha.min() < 255 and (shown == shown[:1, :1]).all():
        what = f"transparent pictures that show nothing on the background {background}"
        notes.add(what, "Pass another background to load_dataset.", name)
    return shown


def _without_color(pixels: Pixels) -> Pixels:
    """Return (H, W, 3) as (H, W), if all of it is gray."""
    gray = pixels[..., :1]
    return pixels[..., 0] if (pixels == gray).all() else pixels


def check_background(background: Any) -> Background:
    """Return the background, checked, as Python's numbers, which JSON can hold.

    Raises:
        ValueError: if it is neither 0 … 255 nor three of these.
    """
    if isinstance(background, np.ndarray):
        background = background.tolist()
    values = background if isinstance(background, (tuple, list)) else (background,)
    integers = [isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values]
    if len(values) not in (1, 3) or not all(integers) or not all(0 <= v <= 255 for v in values):
        raise ValueError(
            f"background={background!r} is neither an integer from 0 (black) to 255 (white) nor "
            "(red, green, blue)."
        )
    return int(values[0]) if len(values) == 1 else tuple(map(int, values))


# --- many of them ----------------------------------------------------------------------------


def stack_images(images: Sequence[Pixels]) -> Pixels:
    """Center images (H, W) or (H, W, C) of any sizes on black; return (N, H, W[, C]).

    Gray images become color where others are.

    Raises:
        ValueError: if color images differ in their number of channels, or all together do not fit
            into memory.
    """
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    channels = 1
    for index, image in enumerate(images):
        number = image.shape[2] if image.ndim == 3 else 1
        if number != channels and min(number, channels) > 1:
            raise ValueError(
                f"image {index} has {number} channels, and an earlier one {channels}. Give all "
                "color images the same number."
            )
        channels = max(channels, number)
    shape = (len(images), height, width, channels)
    try:
        stacked = np.zeros(shape, np.uint8)
    except MemoryError:
        raise too_large(images, len(images)) from None
    for place, image in zip(stacked, images, strict=True):
        top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
        pixels = image if image.ndim == 3 else image[..., None]
        place[top : top + image.shape[0], left : left + image.shape[1]] = pixels
    return stacked if channels > 1 else stacked[..., 0]


def too_large(images: Sequence[Pixels], number: int) -> ValueError:
    """Return the error for a number of images that memory cannot hold, some of which were read."""
    height, width = (max([1, *(each.shape[axis] for each in images)]) for axis in (0, 1))
    channels = max([1, *(each.shape[2] for each in images if each.ndim == 3)])
    return ValueError(
        f"{number:,} images, padded to {height} × {width} as the largest, need "
        f"{number * height * width * channels:,} bytes, more memory than there is. Shrink them or "
        "leave out the largest; or write them to images.npy and labels.npy, which are read by "
        "window."
    )
