"""Folders of pictures as people keep them: which pictures are taken, and what is said of others."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import read_images

from ram_envs.datasets import SPLITS, check_images, load_dataset
from ram_envs.datasets.pixels import PictureWarning

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

# Names of files may be any bytes on Linux, where both tests always run.
any_bytes = pytest.mark.skipif(sys.platform != "linux", reason="names of files are text here")


def save(path: Path, value: int = 0, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 2), value, np.uint8)).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three cats, 0 to 2, and three dogs, 100 to 102."""
    for number in range(3):
        save(tmp_path / "cat" / f"{number}.png", number)
        save(tmp_path / "dog" / f"{number}.png", 100 + number)
    return tmp_path


def values(path: Path) -> list[int]:
    images = read_images(path, "all")["train"].array
    return images.reshape(len(images), -1)[:, 0].tolist()  # type: ignore[no-any-return]


# --- which files are pictures ----------------------------------------------------------------


@pytest.mark.parametrize(
    "ending",
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".JPG", ".png", ".apng", ".webp", ".gif", ".bmp"),
        *(".dib", ".tif", ".tiff", ".pgm", ".ppm", ".pnm", ".tga", ".ico", ".jp2", ".j2k"),
        *(".pcx", ".sgi", ".dds"),
    ],
)
def test_every_ending_that_pillow_reads_is_taken(ending: str, photos: Path) -> None:
    path = photos / "cat" / f"3{ending}"
    Image.new("RGB", (16, 16), (250, 250, 250)).save(path)
    images = read_images(photos, "all")["train"].array
    assert len(images) == 7
    assert images[3].max() > 240


def test_what_is_no_picture_is_warned_of_but_not_data_files(photos: Path) -> None:
    (photos / "labels.csv").write_text("0,cat")
    (photos / "cat" / "notes.txt").write_text("a cat")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(values(photos)) == 6
    for name in ("cat/a.heic", "cat/b.heic", "dog/c.svg", "dog/without_ending"):
        (photos / name).write_bytes(b"a picture that Pillow does not read")
    save(photos / "stray.png")
    with pytest.warns(PictureWarning) as caught:
        assert len(values(photos)) == 6
    said = " ".join(str(warning.message) for warning in caught)
    assert ".heic: 2, such as" in said
    assert ".svg: 1," in said
    assert "extension: 1, " in said
    assert "stray.png" in said
    assert len(caught) == 4


def test_folders_of_the_system_are_ignored(photos: Path) -> None:
    for name in ("@eaDir", "__MACOSX", ".thumbnails", "$RECYCLE.BIN"):
        save(photos / name / "a.png")
        save(photos / "cat" / name / "a.png")
    assert values(photos) == [0, 1, 2, 100, 101, 102]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links")
def test_links_are_followed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save(elsewhere / "9.png", 9)
    (photos / "cat" / "more").symlink_to(elsewhere)
    (photos / "dog" / "3.png").symlink_to(elsewhere / "9.png")
    (photos / "cat" / "loop").symlink_to(photos / "cat")
    assert values(photos) == [0, 1, 2, 9, 100, 101, 102, 9]
    (elsewhere / "photos").symlink_to(photos)
    assert values(elsewhere / "photos") == [0, 1, 2, 9, 100, 101, 102, 9]


def test_two_ways_to_write_a_name_are_one_class(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for split in SPLITS:
        save(tmp_path / split / (composed if split == "train" else decomposed) / "a.png")
        save(tmp_path / split / "bar" / "a.png")
    assert load_dataset(tmp_path, "test").class_names == ("bar", composed)
    one, two = tmp_path / "one", tmp_path / "two"
    for number in range(9):
        save(one / composed / f"{number}.png", number)
        save(two / decomposed / f"{number}.png", number)
    for split in SPLITS:
        assert load_dataset(one, split).array.tolist() == load_dataset(two, split).array.tolist()


@any_bytes
def test_class_names_that_are_not_utf_8(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"caf\xe8", b"bar"):  # as old archives have them
        save(tmp_path / os.fsdecode(name) / "a.png")
    assert load_dataset(tmp_path, "train", "all").class_names == ("bar", r"caf\xe8", r"caf\xe9")


# --- which folders are classes, and which are splits -----------------------------------------


@pytest.mark.parametrize("name", ["train", "test", "val", "Validation"])
def test_a_class_may_be_named_as_a_split(name: str, photos: Path) -> None:
    save(photos / name / "0.png", 50)
    assert sorted(read_images(photos, "all")["train"].class_names) == sorted(["cat", "dog", name])


def test_splits_may_have_other_folders_beside_them(tmp_path: Path) -> None:
    for split in SPLITS:
        for name in ("cat", "dog"):
            save(tmp_path / split / name / "a.png")
    (tmp_path / "documents").mkdir()
    save(tmp_path / "unlabeled" / "a.png")
    with pytest.warns(PictureWarning, match="unlabeled"):
        assert len(load_dataset(tmp_path, "test")) == 2


def test_a_split_under_another_name_is_warned_of(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        for number in range(8):
            save(tmp_path / split / "cat" / f"{number}.png")
    with pytest.warns(PictureWarning, match=r"splits: 8, .*dev"):
        assert len(load_dataset(tmp_path, "train")) < 8
    assert len(check_images(tmp_path).left_out["beside the splits"]) == 8


def test_an_empty_class_that_comes_later_is_seen(photos: Path) -> None:
    load_dataset(photos, "train")
    (photos / "owl").mkdir()
    with pytest.raises(FileNotFoundError, match="owl"):
        load_dataset(photos, "train")


def test_a_link_to_itself_is_left_out(photos: Path) -> None:
    (photos / "cat" / "loop").symlink_to("loop")
    with pytest.warns(PictureWarning, match="loop"):
        assert sorted(values(photos)) == [0, 1, 2, 100, 101, 102]


@pytest.mark.parametrize(
    ("names", "culprit"),
    [
        (("train/a.png", "test/a.png"), "train"),  # no folders of classes
        (("train/cat/a.png", "training/cat/a.png", "test/cat/a.png"), "training"),
        (("train/cat/a.png", "train/dog/a.png"), "test"),
        (("photos/cat/a.png", "photos/dog/a.png"), "photos"),  # one folder too high
    ],
)
def test_what_is_no_data_set_is_named(names: tuple[str, ...], culprit: str, tmp_path: Path) -> None:
    for name in names:
        save(tmp_path / name)
    with pytest.raises((FileNotFoundError, ValueError), match=culprit):
        read_images(tmp_path)


# --- memory ----------------------------------------------------------------------------------


def test_memory_that_runs_out_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("ram_envs.datasets.picture_files.to_pixels", run_out)
    with pytest.raises(ValueError, match=r"6 images.*memory.*images\.npy"):
        read_images(photos)


def test_a_picture_of_many_pixels_has_a_way_out(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = photos / "cat" / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"large\.png.* 100 pixels.*MAX_IMAGE_PIXELS"):
        read_images(photos)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    assert len(read_images(photos, "all")["train"]) == 7


# --- the report ------------------------------------------------------------------------------


def test_a_report_counts_what_is_there_and_what_is_wrong(tmp_path: Path) -> None:
    sheet, photos = tmp_path / "new" / "sheet.png", tmp_path / "photos"
    for number in range(20):
        save(photos / "cat" / f"{number}.png")
        Image.new("RGBA", (3, 4), (9, 9, 9, 255)).save(photos / f"cat/{number}.rgba.png")
        save(photos / "dog" / f"{number}.jpg", 9)
    (photos / "cat" / "bad.png").write_bytes(b"PNG?")
    (photos / "cat" / "a.heic").touch()
    (photos / "notes.txt").touch()
    report = check_images(photos, save=sheet)
    assert report.number == 60
    assert report.sizes == {(2, 2): 40, (4, 3): 20}
    assert report.modes == {"PNG L": 20, "PNG RGBA": 20, "JPEG L": 20}
    assert report.classes == {"cat": 40, "dog": 20}
    assert [*report.problems] == [str(photos / "cat" / "bad.png")]
    left_out = [path for paths in report.left_out.values() for path in paths]
    assert sorted(map(os.path.basename, left_out)) == ["a.heic", "notes.txt"]
    for value in ("60 images", "4 × 3", "20 PNG RGBA", "40 cat", "bad.png", ".heic"):
        assert value in str(report)
    with Image.open(sheet) as image:
        assert image.size[1] == 2 * 64  # a row for each class

    (photos / "cat" / "bad.png").unlink()
    with pytest.warns(PictureWarning, match="heic"):
        datasets = {split: len(load_dataset(photos, split)) for split in SPLITS}
    assert report.splits == datasets


def test_a_report_of_arrays_and_of_too_few_pictures(photos: Path, tmp_path: Path) -> None:
    images = np.zeros((90, 5, 6, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(90) % 2)
    report = check_images(tmp_path / "a.npz", save=tmp_path / "sheet.png")
    assert (report.number, report.sizes) == (90, {(5, 6): 90})
    assert sum(report.splits.values()) == 90
    (photos / "dog" / "2.png").unlink()
    (photos / "cat" / "2.png").unlink()
    report = check_images(photos)
    assert (report.number, report.splits) == (4, {})
    assert "validation" in str(report)
    np.savez(tmp_path / "b.npz", images=images[:2], labels=[0, 1])
    report = check_images(tmp_path / "b.npz")
    assert (report.number, report.splits, [*report.problems]) == (2, {}, [""])


def test_a_report_of_training_images_alone(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        save(tmp_path / "train" / name / "a.png")
    report = check_images(tmp_path)
    assert (report.number, report.splits, [*report.problems]) == (2, {}, [""])


@any_bytes
def test_a_report_of_names_that_are_not_utf_8_can_be_printed(photos: Path) -> None:
    for name in (b"\xff.dat", b"\xfe.png"):
        (photos / "cat" / os.fsdecode(name)).write_bytes(b"nothing")
    text = str(check_images(photos)).encode()
    assert rb"\udcff.dat" in text
    assert rb"\udcfe.png" in text
