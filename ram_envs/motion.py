"""Motion: how things drift over a screen, bounce off its walls, and on which pixels they show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]


def drift(x: Reals, v: Reals, wall: npt.ArrayLike) -> tuple[Reals, Reals]:
    """One step of things at `x` with speeds `v` between the walls at 0 and `wall`.

    x ← x + v; beyond a wall it is reflected: x < 0 becomes −x, x > wall becomes 2 wall − x, and v
    changes sign. No |v| may exceed `wall`, so that a step meets at most one.
    """
    x, far = x + v, np.asarray(wall)
    bounced = (x < 0) | (x > far)
    x = np.where(x < 0, -x, np.where(x > far, 2 * far - x, x))
    return x, np.where(bounced, -v, v)


def nearest_pixels(x: Reals) -> npt.NDArray[np.int64]:
    """The pixels ⌊x + ½⌋ on which things at `x` are shown."""
    pixels: npt.NDArray[np.int64] = np.floor(x + 0.5).astype(np.int64)
    return pixels
