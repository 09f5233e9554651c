"""Arrays of large folders of pictures, kept in the user's cache.

The key of an entry stands for the names, sizes and times of all files, so an entry is never
stale. Entries are written atomically, so any number of processes may read and write them at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ram_envs.atomic_files import write_whole
from ram_envs.datasets.download import cache_folder
from ram_envs.datasets.source import LabeledImages

FOLDER = "pictures"
MAX_CACHE_BYTES = 2**31  # of all entries; the least recently used are removed
VERSION = 2  # raised when pictures are read or divided differently


class Entry(NamedTuple):
    """The arrays of each split, or of "all"; and what to warn of."""

    arrays: dict[str, LabeledImages]
    notes: tuple[str, ...]


def make_key(state: str, *settings: object) -> str:
    """Return the key of an entry, from the state of its files and the settings that shape it."""
    import PIL

    text = json.dumps([VERSION, PIL.__version__, state, *settings])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def load(key: str) -> Entry | None:
    """Return an entry, or None if there is none, or a damaged one."""
    path = cache_folder(FOLDER) / key
    try:
        with path.open("rb") as file:
            facts = json.loads(_read(file).tobytes())
            names = tuple(facts["class_names"])
            arrays = {
                name: LabeledImages(_read(file), _read(file), names) for name in facts["names"]
            }
        os.utime(path)  # as the most recently used
    except (OSError, EOFError, ValueError, KeyError):
        return None
    return Entry(arrays, tuple(facts["notes"]))


def store(key: str, entry: Entry) -> None:
    """Write an entry, if it fits; without room or permission, do nothing."""
    arrays, notes = entry
    if sum(part.images.nbytes for part in arrays.values()) > MAX_CACHE_BYTES // 2:
        return
    class_names = next(iter(arrays.values())).class_names
    facts = json.dumps({"names": [*arrays], "class_names": class_names, "notes": notes})

    def write(file: IO[bytes]) -> None:
        np.save(file, np.frombuffer(facts.encode(), np.uint8))
        for images, labels, *_ in arrays.values():
            np.save(file, images)
            np.save(file, labels)

    with contextlib.suppress(OSError):
        write_whole(cache_folder(FOLDER) / key, write)
        _remove_oldest(cache_folder(FOLDER))


def _read(file: IO[bytes]) -> np.ndarray:
    array: np.ndarray = np.load(file, allow_pickle=False)
    return array


def _remove_oldest(folder: Path) -> None:
    entries = sorted(folder.glob("[!.]*"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for entry in entries:
        total += entry.stat().st_size
        if total > MAX_CACHE_BYTES:
            entry.unlink(missing_ok=True)
