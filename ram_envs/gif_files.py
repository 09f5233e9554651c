"""Animations, written as GIF."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from gymnasium.error import DependencyNotInstalled

if TYPE_CHECKING:
    from PIL import Image


def write_gif(
    file: IO[bytes],
    frames: Iterable[tuple[npt.NDArray[np.uint8], int]],
    colors: int = 256,
    palette: Image.Image | None = None,
) -> None:
    """Write an animation that repeats forever into an open file.

    Args:
        file: the file.
        frames: each frame, (height, width, 3), and how many milliseconds it is shown.
        colors: of each frame, which has a palette of its own.
        palette: an image with one palette for all frames instead.

    Raises:
        DependencyNotInstalled: if Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise DependencyNotInstalled(
            'Writing a GIF needs Pillow: run `pip install "ram-gym[play]"`.'
        ) from error

    images, durations = [], []
    for frame, milliseconds in frames:
        image = Image.fromarray(frame)
        if palette is None:
            images.append(image.quantize(colors))
        else:
            images.append(image.quantize(palette=palette, dither=Image.Dither.NONE))
        durations.append(milliseconds)
    first, *others = images
    first.save(file, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
