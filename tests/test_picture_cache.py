"""Large folders are kept in the user's cache: never stale, capped, and safe for two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest

from ram_envs.datasets import load_dataset, loading, own_images, picture_cache, picture_files
from ram_envs.datasets.pixels import PictureWarning

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders of 10 files are kept, empty so far."""
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setattr(own_images, "MIN_CACHED", 10)
    return tmp_path / "cache" / "ram-gym" / "pictures"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(10):
        path = tmp_path / "photos" / "café ☃"[number % 2 :] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), number, np.uint8)).save(path)
    return tmp_path / "photos"


def load_in_a_new_process(path: Path) -> dict[str, list[int]]:
    loading.clear_cache()
    return {
        split: load_dataset(path, split).array[:, 0, 0].tolist()
        for split in ("train", "validation", "test")
    }


def test_pictures_are_read_once(cache: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_in_a_new_process(photos)
    names = load_dataset(photos, "train").class_names
    (entry,) = cache.iterdir()

    monkeypatch.setattr(picture_files, "read_picture", None)  # nothing is read
    assert load_in_a_new_process(photos) == first
    assert load_dataset(photos, "train").class_names == names == ("afé ☃", "café ☃")
    moved = photos.rename(photos.with_name("moved"))
    assert load_in_a_new_process(moved) == first
    assert load_dataset(moved, "test").name == str(moved)
    assert [*cache.iterdir()] == [entry]


def test_an_entry_is_never_stale(cache: Path, photos: Path) -> None:
    first = load_in_a_new_process(photos)
    path = photos / "café ☃" / "0.png"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    Image.fromarray(np.full((2, 2), 77, np.uint8)).save(path)
    os.utime(path, ns=times)  # of the same length, and as old as before
    second = load_in_a_new_process(photos)
    assert [0 in each for each in first.values()] == [77 in each for each in second.values()]
    assert len(load_dataset(photos, "train", "all")) == 10
    backgrounds: list[Any] = [0, np.uint8(0), [0]]
    for background in backgrounds:
        assert load_dataset(photos, "train", "all", background=background) is not None
    assert len([*cache.iterdir()]) == 4


def test_warnings_are_kept(cache: Path, photos: Path) -> None:
    (photos / "café ☃" / "a.heic").touch()
    for _ in range(2):
        loading.clear_cache()
        with pytest.warns(PictureWarning, match="heic"):
            load_dataset(photos, "train")


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_a_damaged_entry_is_written_again(damage: bytes | None, cache: Path, photos: Path) -> None:
    first = load_in_a_new_process(photos)
    (entry,) = cache.iterdir()
    right = entry.read_bytes()
    entry.write_bytes(right[:-1] if damage is None else damage)
    assert load_in_a_new_process(photos) == first
    assert entry.read_bytes() == right


def test_the_least_recently_used_is_removed(
    cache: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_in_a_new_process(photos)
    (first,) = cache.iterdir()
    os.utime(first, (1, 1))
    monkeypatch.setattr(picture_cache, "MAX_CACHE_BYTES", int(1.5 * first.stat().st_size))
    load_dataset(photos, "train", "all")
    (second,) = cache.iterdir()
    assert second != first
    monkeypatch.setattr(picture_cache, "MAX_CACHE_BYTES", 10)  # less than one entry has
    load_dataset(photos, "train", "all", background=0)
    assert [*cache.iterdir()] == [second]


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path, photos: Path) -> None:
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file where the folder should be")
    assert sum(map(len, load_in_a_new_process(photos).values())) == 10


LOAD = """
import pathlib, sys
import pooch
pooch.os_cache = lambda project: pathlib.Path(sys.argv[2]) / project
from ram_envs.datasets import load_dataset, own_images
own_images.MIN_CACHED = 10
print(load_dataset(sys.argv[1], "train", "all").array[:, 0, 0].sum())
"""


def test_processes_may_read_and_write_at_once(cache: Path, photos: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(photos), str(cache.parent.parent)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=120)[0] for process in processes] == ["45\n"] * 3
    assert len([*cache.iterdir()]) == 1
