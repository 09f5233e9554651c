"""The names of the three splits, in the order in which data sets are given."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy.typing as npt

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# How folders and arrays of a split may be named.
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}


class LabeledImages(NamedTuple):
    """Images and labels as a reader found them; `ImageDataset` checks them.

    Attributes:
        images: (N, H, W[, C]) uint8, where the file holds what it should.
        labels: (N,) integers, likewise.
        class_names: the name of each class, where the source has names.
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    class_names: tuple[str, ...] | None = None
