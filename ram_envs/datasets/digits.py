"""The digits inside the package: 1,797 small scans, enlarged to the size of MNIST's."""

from __future__ import annotations

import importlib.resources

import numpy as np
import numpy.typing as npt

from ram_envs.datasets.image_dataset import ImageDataset
from ram_envs.datasets.splits import SPLITS, Split

SIZES = (1297, 200, 300)  # train, validation, test


def load_digits() -> dict[Split, ImageDataset]:
    """Return the UCI digits in the order of their file, not shuffled: train first, test last."""
    source = importlib.resources.files("ram_envs") / "data" / "digits.npz"
    with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        images = enlarge(arrays["images"])
        labels = arrays["labels"].astype(np.int64)
    ends = np.cumsum(SIZES)
    return {
        split: ImageDataset(images[end - size : end], labels[end - size : end], "digits")
        for split, size, end in zip(SPLITS, SIZES, ends, strict=True)
    }


def enlarge(scans: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Enlarge scans (N, 8, 8) of 0 … 16 to images (N, 28, 28) of 0 … 255, placed as MNIST's.

    Bilinear, 8 pixels to 20, with 4 more on each side, where the edge fades to black. Pixel i of
    the 20 lies at (i + ½) · 8/20 − ½ = (4i − 3)/10 in the scan, so integer weights in tenths are
    exact and the result is the same on every machine.
    """
    weights = np.zeros((28, 8), np.int32)
    for pixel in range(28):
        left, tenths = divmod(4 * (pixel - 4) - 3, 10)
        for column, weight in ((left, 10 - tenths), (left + 1, tenths)):
            if 0 <= column < 8:  # beyond the scan all is black
                weights[pixel, column] = weight
    sums = weights @ scans.astype(np.int32) @ weights.T  # (N, 28, 28), 0 … 16 · 100
    return ((sums * 255 + 800) // 1600).astype(np.uint8)
