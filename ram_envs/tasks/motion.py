"""Motion: how objects drift over a screen, bounce off its walls, and on which pixels they show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ram_envs.kernels import kernel

Floats = npt.NDArray[np.float64]


@kernel("games")
def drift(x: Floats, v: Floats, wall: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the next positions and speeds of objects between the walls at 0 and `wall`.

    x ← x + v; beyond a wall it is reflected: x < 0 becomes −x, x > wall becomes 2 wall − x, and v
    changes sign. No |v| may exceed `wall`, so that a step meets at most one wall.
    """
    x, far = x + v, np.asarray(wall)
    before, beyond = x < 0, x > far
    np.negative(x, out=x, where=before)
    np.subtract(2 * far, x, out=x, where=beyond)
    return x, np.negative(v, out=v.copy(), where=before | beyond)


def nearest_pixels(x: Floats) -> npt.NDArray[np.int64]:
    """Return the pixels ⌊x + ½⌋ on which objects at `x` are shown."""
    pixels: npt.NDArray[np.int64] = np.floor(x + 0.5).astype(np.int64)
    return pixels
