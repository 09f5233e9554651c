"""Which images are for training, for validation and for the test."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# How folders and arrays of a split may be named.
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
SHARES: dict[Split, float] = {"train": 0.70, "validation": 0.15, "test": 0.15}
BLOCK = 20  # numbers in a row that are spread evenly; 14, 3 and 3 of them for the three splits


def divide(
    labels: npt.NDArray[np.integer], keys: Sequence[str] | None, among: Sequence[Split] = SPLITS
) -> dict[Split, npt.NDArray[np.int64]]:
    """Divide images among splits, 70/15/15 or in these proportions; return the rows of each.

    A hash of its key alone assigns an image, so that adding one moves no other. Only where a class
    would be missing in a split, the image whose hash is nearest moves there. A class of two is in
    training and test, a class of one in training.

    Args:
        labels: (N,) the class of each image.
        keys: (N,) what identifies each image; None for its index.
        among: the splits, in order.
    """
    texts = map(str, range(len(labels))) if keys is None else keys
    blocks: dict[str, list[int]] = {}
    values = np.array([_hash_evenly(text, blocks) for text in texts])
    ends = np.cumsum([SHARES[split] for split in among]) / sum(SHARES[split] for split in among)
    chosen = np.searchsorted(ends[:-1], values, side="right")
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen[rows] = _fill_missing(chosen[rows], values[rows], ends)
    return {split: np.flatnonzero(chosen == number) for number, split in enumerate(among)}


def _hash_evenly(key: str, blocks: dict[str, list[int]]) -> float:
    """Return a value in [0, 1) that a key determines.

    Keys that differ in their last number alone are spread evenly: those of numbers 0 … 19 are one
    in each twentieth, in an order that is hashed from the rest of the key; so are 20 … 39, and so
    on. Numbered pictures are thus divided in almost exact proportions.
    """
    numbered = re.fullmatch(r"(.*?)([0-9]+)([^0-9]*)", os.path.splitext(key)[0], re.DOTALL)
    if numbered is None:
        return _hash_to_unit(key)
    before, digits, after = numbered.groups()
    block, position = divmod(int(digits[-18:]), BLOCK)
    name = f"{before}\0{block}\0{after}"
    if name not in blocks:
        hashes = [_hash_to_unit(f"{name}\0{place}") for place in range(BLOCK)]
        blocks[name] = np.argsort(np.argsort(hashes)).tolist()
    return (blocks[name][position] + _hash_to_unit(key)) / BLOCK


def _hash_to_unit(text: str) -> float:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _fill_missing(
    chosen: npt.NDArray[np.int64], values: npt.NDArray[np.float64], ends: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Move images of one class so that each split has one, or as many splits as there are."""
    last = len(ends) - 1
    wanted = {1: [0], 2: [0, last]}.get(len(chosen), [*range(last + 1)])
    centers = ends - np.diff(ends, prepend=0) / 2
    for number in wanted:
        if number not in chosen:
            counts = np.bincount(chosen, minlength=len(ends))
            can_move = (counts[chosen] > 1) | ~np.isin(chosen, wanted)
            distances = np.where(can_move, np.abs(values - centers[number]), np.inf)
            chosen[np.argmin(distances)] = number
    return chosen
