"""Arrays of large folders of pictures, kept in the user's cache under a key of their files.

A key stands for names, sizes and times of all files, so an entry is never stale. Entries are
written atomically, so any number of processes may read and write them at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ram_envs.atomic_files import write_whole
from ram_envs.datasets.pixels import Background
from ram_envs.datasets.splits import LabeledImages

MAX_CACHE_BYTES = 2**31  # of all entries; the least recently used are removed
VERSION = 1  # raised when pictures are read differently


class Entry(NamedTuple):
    """The arrays of each part of a folder, and what to warn of."""

    parts: dict[str, LabeledImages]
    notes: tuple[str, ...]


def cache_folder() -> Path:
    """Return the folder of the entries; it may be deleted at any time."""
    import pooch

    return Path(pooch.os_cache("ram-gym")) / "pictures"


def make_key(files: str, background: Background) -> str:
    """Return the key of an entry, from the fingerprint of its files and how they are read."""
    import PIL

    text = json.dumps([VERSION, PIL.__version__, np.ravel(background).tolist(), files])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def load(key: str) -> Entry | None:
    """Return an entry, or None if there is none, or a damaged one."""
    path = cache_folder() / f"{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = tuple(arrays["class_names"].tolist())
            parts = {
                part: LabeledImages(
                    arrays[f"{part}_images"],
                    arrays[f"{part}_labels"],
                    names,
                    tuple(arrays[f"{part}_keys"].tolist()),
                )
                for part in arrays["parts"].tolist()
            }
            notes = tuple(arrays["notes"].tolist())
        os.utime(path)  # as the most recently used
    except Exception:  # zipfile and numpy raise many kinds for a damaged file
        return None
    return Entry(parts, notes)


def store(key: str, entry: Entry) -> None:
    """Write an entry, if it fits; without room or permission, do nothing."""
    if sum(part.images.nbytes for part in entry.parts.values()) > MAX_CACHE_BYTES // 2:
        return
    class_names = next(iter(entry.parts.values())).class_names
    arrays: dict[str, Any] = {"parts": [*entry.parts], "class_names": class_names}
    arrays["notes"] = np.array(entry.notes, np.str_)
    for name, part in entry.parts.items():
        arrays |= {f"{name}_images": part.images, f"{name}_labels": part.labels}
        arrays |= {f"{name}_keys": part.keys}
    with contextlib.suppress(OSError):
        write_whole(cache_folder() / f"{key}.npz", lambda file: np.savez(file, **arrays))
        _remove_oldest(cache_folder())


def _remove_oldest(folder: Path) -> None:
    entries = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for entry in entries:
        total += entry.stat().st_size
        if total > MAX_CACHE_BYTES:
            entry.unlink(missing_ok=True)
