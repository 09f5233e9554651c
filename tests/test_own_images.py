"""Images of your own: folders, .npz files and other libraries' data sets become the same arrays."""

from __future__ import annotations

import gzip
import os
import pickle
import re
import shutil
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from helpers import read_images, write_idx

import ram_envs
from ram_envs.datasets import ImageDataset, check_images, load_dataset
from ram_envs.datasets.pixels import stack_images

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def save(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Two cats and a dog, gray, of different sizes."""
    folder = tmp_path / "animals"
    save(folder / "dog" / "a.png", [[9, 9], [9, 9]])
    save(folder / "cat" / "b.png", [[1, 2, 3, 4]])
    save(folder / "cat" / "a.png", [[5], [6], [7], [8]])
    (folder / "cat" / "notes.txt").write_text("not an image")
    return folder


# --- folders ---------------------------------------------------------------------------------


def test_a_folder_of_classes(animals: Path) -> None:
    dataset = read_images(animals, "all")["train"]
    assert dataset.labels.tolist() == [0, 0, 1]  # cat before dog, a before b
    assert dataset.class_names == ("cat", "dog")
    assert dataset.name == str(animals)
    assert dataset.images.tolist() == [  # type: ignore[union-attr]
        # centered on black, as high as the highest and as wide as the widest
        [[0, 5, 0, 0], [0, 6, 0, 0], [0, 7, 0, 0], [0, 8, 0, 0]],
        [[0, 0, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 9, 9, 0], [0, 9, 9, 0], [0, 0, 0, 0]],
    ]


def test_a_color_image_makes_all_of_them_color(tmp_path: Path) -> None:
    save(tmp_path / "one" / "a.png", np.full((2, 2, 3), [10, 20, 30]))
    save(tmp_path / "two" / "b.png", [[7, 7], [7, 7]])
    images = read_images(tmp_path, "all")["test"].images
    assert images.shape == (2, 2, 2, 3)
    assert images[:, 0, 0].tolist() == [[10, 20, 30], [7, 7, 7]]


def test_images_with_palette_alpha_and_16_bits(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("P", (1, 1), 0).save(tmp_path / "a" / "palette.png")
    Image.new("RGBA", (1, 1), (10, 20, 30, 255)).save(tmp_path / "a" / "alpha.png")
    Image.fromarray(np.array([[0x1234]], np.uint16)).save(tmp_path / "a" / "deep.png")
    alpha, deep, palette = read_images(tmp_path, "all")["train"].images[:, 0, 0].tolist()
    assert (alpha, deep) == ([10, 20, 30], [0x12] * 3)
    assert palette == [0, 0, 0]


def test_a_folder_of_splits(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        save(tmp_path / split / "zero" / "a.png", np.full((4 + number, 4), 10 * number))
        save(tmp_path / split / "one" / "a.png", np.full((4, 4), 10 * number + 2))
    splits = read_images(tmp_path)
    assert [splits[split].images[0, 2, 2] for split in ("train", "validation", "test")] == [
        2,
        12,
        22,
    ]
    assert {dataset.images.shape for dataset in splits.values()} == {(2, 6, 4)}
    assert all(dataset.labels.tolist() == [0, 1] for dataset in splits.values())


@pytest.mark.parametrize(
    ("spoil", "culprit"),
    [
        (lambda folder: (folder / "bird").mkdir(), "bird"),
        (lambda folder: (folder / "cat" / "c.png").write_bytes(b"PNG?"), r"c\.png"),
        (lambda folder: (folder / "cat" / "c.png").symlink_to("gone"), r"c\.png"),
        (lambda folder: (folder / "train").mkdir(), "train"),
    ],
)
def test_what_spoils_a_folder_is_named(animals: Path, spoil: Any, culprit: str) -> None:
    spoil(animals)
    with pytest.raises((FileNotFoundError, ValueError), match=culprit):
        read_images(animals)


def test_a_folder_without_classes_or_with_a_split_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        read_images(tmp_path)
    for split in ("train", "val"):
        save(tmp_path / split / "a" / "a.png", [[1]])
    with pytest.raises(FileNotFoundError, match=r"train, validation .*test"):
        read_images(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_images(tmp_path / "nowhere")


def test_hidden_folders_and_files_are_left_out(animals: Path) -> None:
    (animals / ".ipynb_checkpoints").mkdir()
    (animals / "cat" / "._a.png").write_bytes(b"what macOS leaves on other disks")
    save(animals / "cat" / ".thumbnails" / "a.png", [[1]])
    assert read_images(animals, "all")["train"].labels.tolist() == [0, 0, 1]


def test_splits_have_the_same_classes(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            save(tmp_path / split / name / "1.png", [[1]])
    save(tmp_path / "test" / "c" / "1.png", [[1]])
    with pytest.raises(ValueError, match=r"test/c: .*train"):
        read_images(tmp_path)


def png_of_nothing(width: int, height: int) -> bytes:
    """A PNG, gray, of two colors, all black: its pixels shrink to a thousandth."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    row = bytes(1 + (width + 7) // 8)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    pixels = zlib.compress(row * height)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_picture_that_unpacks_to_much_more_than_a_photo_is_refused(animals: Path) -> None:
    bomb = animals / "cat" / "c.png"
    bomb.write_bytes(png_of_nothing(10_000, 10_000))
    assert bomb.stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"c\.png .*89,478,485"):
        read_images(animals)


def test_a_short_file_is_no_large_picture(animals: Path) -> None:
    picture = animals / "cat" / "c.png"
    picture.write_bytes(png_of_nothing(2_000, 2_000))  # no more than a large screen
    assert read_images(animals, "all")["train"].images.shape == (4, 2_000, 2_000)
    for number in range(8):
        save(animals / "dog" / f"{number}.png", [[9, 9], [9, 9]])
    with pytest.raises(ValueError, match=r"12 images .* 2000 × 2000 ") as caught:
        read_images(animals)
    report = check_images(animals)
    assert report.problems == {"": str(caught.value)}
    assert report.splits == {}


def test_short_files_of_one_size_are_not_padded(tmp_path: Path) -> None:
    """Scans of a few lines in black and white, compressed as a fax."""
    page = np.full((3_508, 2_480), 255, np.uint8)
    page[::100, :300] = 0
    for number in range(6):
        path = tmp_path / "ab"[number % 2] / f"{number}.tif"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(page).convert("1").save(path, compression="group4")
        assert path.stat().st_size < 2_000  # of 8,699,840 pixels
    images = read_images(tmp_path, "all")["train"].array
    assert images.shape == (6, 3_508, 2_480)
    assert images[5, 100, 298:302].tolist() == [0, 0, 255, 255]
    assert check_images(tmp_path).problems == {}


def test_a_picture_is_not_handed_to_another_program(animals: Path) -> None:
    # Pillow would ask Ghostscript to run it.
    (animals / "cat" / "c.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(ValueError, match=r"c\.png .*identify"):
        read_images(animals)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_a_pipe_is_not_waited_for(animals: Path) -> None:
    os.mkfifo(animals / "cat" / "c.png")
    with pytest.raises(ValueError, match=r"c\.png"):
        read_images(animals)


def test_two_small_files_do_not_fill_the_memory(tmp_path: Path) -> None:
    for name, size in {"wide": (9000, 1), "high": (1, 9000)}.items():
        path = tmp_path / "cat" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", size).save(path)
    with pytest.raises(ValueError, match=r" 2 images .* 9000 × 9000"):
        read_images(tmp_path)


def test_padding_beyond_the_memory_is_said() -> None:
    wide, high = (np.broadcast_to(np.uint8(0), shape) for shape in ((1, 2**22), (2**22, 1)))
    with pytest.raises(ValueError, match="4194304 × 4194304"):
        stack_images([wide, high])


# --- .npz ------------------------------------------------------------------------------------

IMAGES, LABELS = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5), np.array([0, 1, 0])
SPLIT = {"images": IMAGES, "labels": LABELS}


def test_an_npz_of_images_and_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    splits = read_images(tmp_path / "a.npz", "all")
    for dataset in splits.values():
        assert np.array_equal(dataset.images, IMAGES)  # type: ignore[arg-type]
        assert np.array_equal(dataset.labels, LABELS)
    assert np.shares_memory(splits["train"].images, splits["test"].images)


def test_an_npz_of_images_beside_a_split(tmp_path: Path) -> None:
    tests = {"test_images": IMAGES, "test_labels": LABELS}
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS, **tests)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="test_images"):
        read_images(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (("train", "training", "test"), "train_images and training_images"),
        (("train", "test", "val", "valid", "validation"), "validation_images and valid_images"),
        (("train", "test", "holdout"), "holdout_images"),
    ],
)
def test_images_of_an_npz_that_would_be_left_out(
    names: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    arrays = {f"{name}_{each}": SPLIT[each] for name in names for each in SPLIT}
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"a\.npz.*{named}"):
        read_images(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["images", "labels"])
@pytest.mark.parametrize("split", ["val_", "test_", ""])
def test_an_npz_with_a_name_misspelled(name: str, split: str, tmp_path: Path) -> None:
    arrays = {f"{each}_{name}": SPLIT[name] for each in ("train", "test") for name in SPLIT}
    arrays |= {f"{split}{each}": SPLIT[each] for each in SPLIT}
    arrays[f"{split}{name[:-1]}"] = arrays.pop(f"{split}{name}")
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"a\.npz.* '{split}{name}'.* '{split}{name[:-1]}'"):
        read_images(tmp_path / "a.npz")


def test_an_npz_may_hold_other_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **SPLIT, coarse_labels=LABELS, mean=IMAGES[0])  # type: ignore[arg-type]
    assert read_images(tmp_path / "a.npz", "all")["test"].images.shape == (3, 4, 5)


def test_an_npz_of_splits_with_labels_in_a_column(tmp_path: Path) -> None:
    arrays = {}
    for number, split in enumerate(("train", "val", "test")):
        arrays[f"{split}_images"] = IMAGES + number
        arrays[f"{split}_labels"] = LABELS[:, None]
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    splits = read_images(tmp_path / "a.npz")
    assert [splits[split].images[0, 0, 0] for split in ("train", "validation", "test")] == [0, 1, 2]
    assert splits["test"].labels.tolist() == [0, 1, 0]


def test_an_npz_with_class_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS, class_names=["cat", "dog", "owl"])
    assert read_images(tmp_path / "a.npz", "all")["test"].class_names == ("cat", "dog", "owl")
    for names in (["cat"], [1, 2], [b"cat", b"dog"]):
        np.savez(tmp_path / "b.npz", images=IMAGES, labels=LABELS, class_names=names)
        for splits in ("all", None):
            with pytest.raises(ValueError, match=r"b\.npz"):
                read_images(tmp_path / "b.npz", splits)


def test_class_names_that_are_objects_are_refused_by_name(tmp_path: Path) -> None:
    names = np.array(["cat", "dog", "owl"], np.object_)  # as pandas has them
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS, class_names=names)
    with pytest.raises(ValueError, match=r"a\.npz: 'class_names' .*astype\(str\)"):
        read_images(tmp_path / "a.npz")
    save_npy(tmp_path)
    np.save(tmp_path / "class_names.npy", names)
    with pytest.raises(ValueError, match=r"class_names\.npy .*astype\(str\)"):
        read_images(tmp_path, "all")


def test_images_that_are_objects_are_refused_without_advice_on_names(tmp_path: Path) -> None:
    images = IMAGES.astype(np.object_)
    np.savez(tmp_path / "a.npz", images=images, labels=LABELS)
    save_npy(tmp_path, images)
    for path, named in ((tmp_path / "a.npz", r"a\.npz: 'images'"), (tmp_path, r"images\.npy")):
        with pytest.raises(ValueError, match=named) as caught:
            read_images(path, "all")
        assert "class_names" not in str(caught.value)


def test_an_npz_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.npz"):
        read_images(tmp_path / "text.npz")
    np.savez(tmp_path / "others.npz", x=IMAGES, y=LABELS)
    with pytest.raises(ValueError, match="'x', 'y'"):
        read_images(tmp_path / "others.npz")
    np.savez(tmp_path / "objects.npz", images=np.array([{}, {}]), labels=LABELS)
    with pytest.raises(ValueError, match=r"objects\.npz"):
        read_images(tmp_path / "objects.npz")


SPLITS_OF_ARRAYS = {
    f"{split}_{name}": array
    for split in ("train", "val", "test")
    for name, array in (("images", IMAGES), ("labels", LABELS))
}


def test_splits_of_different_sizes_and_colors_become_alike(tmp_path: Path) -> None:
    color = np.full((3, 2, 7, 3), 9, np.uint8)
    np.savez(tmp_path / "a.npz", **SPLITS_OF_ARRAYS | {"val_images": color})  # type: ignore[arg-type]
    splits = read_images(tmp_path / "a.npz")
    assert {dataset.images.shape for dataset in splits.values()} == {(3, 4, 7, 3)}
    assert splits["train"].images[1, :, 1:6, 2].tolist() == IMAGES[1].tolist()
    assert splits["validation"].images[0, :, 0, 0].tolist() == [0, 9, 9, 0]


def test_splits_of_two_and_of_three_channels(tmp_path: Path) -> None:
    parts = {"val_images": np.zeros((3, 2, 7, 3), np.uint8)}
    parts["train_images"] = np.zeros((3, 2, 7, 2), np.uint8)
    np.savez(tmp_path / "a.npz", **SPLITS_OF_ARRAYS | parts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a\.npz.* 2 .* 3 "):
        read_images(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "value"),
    [
        ({"images": IMAGES, "labels": LABELS[:2]}, " 3 .* 2 "),
        ({"images": IMAGES, "labels": LABELS + 1}, r" 2 .* 0"),
        ({"images": IMAGES / 255, "labels": LABELS}, "float64"),
        ({"images": IMAGES * np.nan, "labels": LABELS}, "image 0 .*NaN"),
        (SPLITS_OF_ARRAYS | {"val_labels": LABELS[1:]}, "validation: .* 3 images"),
        (SPLITS_OF_ARRAYS | {"val_labels": 0 * LABELS}, "2, 1 and 2"),
        ({"images": IMAGES}, "'images'"),
    ],
)
def test_an_unfit_npz_is_named_with_what_is_wrong(
    arrays: dict[str, Any], value: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=rf"a\.npz.*{value}"):
        read_images(tmp_path / "a.npz")


def test_a_damaged_npz_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut\.npz"):
        read_images(tmp_path / "cut.npz")
    (tmp_path / "changed.npz").write_bytes(content.replace(IMAGES[1].tobytes(), bytes(20)))
    with pytest.raises(ValueError, match=r"changed\.npz.*CRC"):
        read_images(tmp_path / "changed.npz")


# --- .npy ------------------------------------------------------------------------------------


def save_npy(folder: Path, images: Any = IMAGES, labels: Any = LABELS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)


def test_npy_files_are_memory_mapped(tmp_path: Path) -> None:
    save_npy(tmp_path)
    splits = read_images(tmp_path, "all")
    for dataset in splits.values():
        assert np.array_equal(dataset.images, IMAGES)  # type: ignore[arg-type]
        assert dataset.labels.tolist() == [0, 1, 0]
        assert isinstance(dataset.array.base, np.memmap)
    assert np.shares_memory(splits["train"].array, splits["test"].array)


@pytest.mark.parametrize("folders", [[""], ["train", "val", "test"]])
def test_class_names_beside_npy_files(tmp_path: Path, folders: list[str]) -> None:
    for folder in folders:
        save_npy(tmp_path / folder)
    np.save(tmp_path / "class_names.npy", ["cat", "dog"])
    splits = read_images(tmp_path, "all" if folders == [""] else None)
    assert {dataset.class_names for dataset in splits.values()} == {("cat", "dog")}


def test_class_names_in_the_folder_of_a_split(tmp_path: Path) -> None:
    for folder in ("train", "val", "test"):
        save_npy(tmp_path / folder)
    np.save(tmp_path / "train" / "class_names.npy", ["cat", "dog"])
    misplaced = re.escape(str(tmp_path / "train" / "class_names.npy"))
    with pytest.raises(ValueError, match=misplaced):
        read_images(tmp_path)


def test_npy_files_of_splits(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        save_npy(tmp_path / split, IMAGES + number)
    splits = read_images(tmp_path)
    assert [splits[split].array[0, 0, 0] for split in ("train", "validation", "test")] == [0, 1, 2]
    save_npy(tmp_path / "val", IMAGES[:, 1:])
    with pytest.raises(ValueError, match=r"\[\(3, 5\), \(4, 5\)\]"):
        read_images(tmp_path)
    shutil.rmtree(tmp_path / "test")
    save_npy(tmp_path / "val")
    with pytest.raises(FileNotFoundError, match=r"train, validation .*test"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (("train", "training", "test"), "train and training"),
        (("train", "test", "."), "train, test"),
    ],
)
def test_npy_files_that_would_be_left_out(
    folders: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    for folder in folders:
        save_npy(tmp_path / folder)
    for read in (read_images, check_images):
        with pytest.raises(ValueError, match=named):
            read(tmp_path)


def test_a_split_of_npy_files_with_a_name_misspelled(tmp_path: Path) -> None:
    for folder in ("train", "val", "test"):
        save_npy(tmp_path / folder)
    (tmp_path / "val" / "images.npy").rename(tmp_path / "val" / "image.npy")
    with pytest.raises(FileNotFoundError, match=r"val has .*images\.npy"):
        read_images(tmp_path)


def test_pictures_beside_arrays(animals: Path) -> None:
    save_npy(animals)
    with pytest.raises(ValueError, match=r"pictures in .*cat"):
        read_images(animals)
    with pytest.raises(ValueError, match=r"pictures in .*cat"):
        check_images(animals)


def test_a_picture_and_other_folders_beside_arrays(tmp_path: Path) -> None:
    save_npy(tmp_path)
    save(tmp_path / "overview.png", np.zeros((3, 3), np.uint8))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "about.txt").write_text("scans of 2026")
    assert len(read_images(tmp_path, "all")["train"]) == 3


def test_an_npy_that_is_cut_short_or_none_is_named(tmp_path: Path) -> None:
    save_npy(tmp_path)
    path = tmp_path / "images.npy"
    content = path.read_bytes()  # a header of 128 bytes, and 3 · 4 · 5
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"images\.npy .*187 .*188"):
        read_images(tmp_path)
    for wrong in (content[:50], b"", b"hello, this is no array"):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"images\.npy"):
            read_images(tmp_path)
    (tmp_path / "labels.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels\.npy"):
        read_images(tmp_path)


def npy(shape: str) -> bytes:
    """An array that says it has a shape, and has four bytes."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"abcd"


@pytest.mark.parametrize(
    "shape", ["(4, ", "(4 4)", "9" * 5000, "[4]", "{[]: 4}", "'\x1b[31m'", "(4,) #"]
)
def test_a_header_that_is_no_python(shape: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", npy(shape))
        archive.writestr("labels.npy", npy("(4,)"))
    save_npy(tmp_path / "folder")
    (tmp_path / "folder" / "images.npy").write_bytes(npy(shape))
    for name in ("a.npz", "folder"):
        with pytest.raises(ValueError, match=name) as caught:
            read_images(tmp_path / name)
        assert len(str(caught.value)) < 1_100
        assert str(caught.value).replace("\n", "").isprintable()


def test_an_npz_that_zipfile_cannot_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    directory = content.index(b"PK\x01\x02")
    for place, value, message in (
        (6, 99, "zip file version 9.9"),
        (8, 1, "encrypted"),
        (10, 97, "compression method is not supported"),
    ):
        spoilt = bytearray(content)
        spoilt[directory + place] = value
        (tmp_path / "a.npz").write_bytes(spoilt)
        with pytest.raises(ValueError, match=rf"a\.npz.*{message}"):
            read_images(tmp_path / "a.npz")


def test_labels_that_are_no_array(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", npy("(4, 1, 1)"))
        archive.writestr("labels", b"0101")
    with pytest.raises(ValueError, match=r"a\.npz.* bytes"):
        read_images(tmp_path / "a.npz")


def test_an_npz_whose_arrays_are_larger_than_it_is(tmp_path: Path) -> None:
    for name, shape in (("claims", "(1000000, 1000, 1000)"), ("negative", "(-4, 1, 1)")):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as archive:
            archive.writestr("images.npy", npy(shape))
            archive.writestr("labels.npy", npy("(4,)"))
        with pytest.raises(ValueError, match=rf"{name}\.npz.*images\.npy.* 4 bytes"):
            read_images(tmp_path / f"{name}.npz")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("images.npy", "w", force_zip64=True) as file:
            for _ in range(80):
                file.write(bytes(2**20))
        archive.writestr("labels.npy", npy("(4,)"))
    assert (tmp_path / "bomb.npz").stat().st_size < 400_000
    with pytest.raises(ValueError, match=r"bomb\.npz.*images\.npy.* 83,886,080 "):
        read_images(tmp_path / "bomb.npz")


# --- IDX -------------------------------------------------------------------------------------


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    """Twelve training and two test images, named as Fashion-MNIST's; image i is all i."""
    folder = tmp_path / "fashion"
    folder.mkdir()
    train = np.repeat(np.arange(12), 6).reshape(12, 2, 3)
    write_idx(folder / "train-images-idx3-ubyte.gz", train)
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.arange(12) % 2)
    write_idx(folder / "t10k-images.idx3-ubyte", train[:2] + 100)
    write_idx(folder / "t10k-labels-idx1-ubyte", [1, 0])
    return folder


def test_the_files_of_fashion_mnist(fashion: Path) -> None:
    train, validation, test = read_images(fashion).values()
    assert train.images[:, 1, 2].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert train.labels.tolist() == [0, 1] * 5
    assert validation.images[:, 1, 2].tolist() == [10, 11]  # the last sixth
    assert (test.images[:, 0, 0].tolist(), test.labels.tolist()) == ([100, 101], [1, 0])
    env: Any = gym.make("RAMClassification-v0", dataset=f"{fashion}/", glimpse_size=2).unwrapped
    env.reset(seed=0, options={"index": 7})
    assert env.canvas.tolist() == [[7, 7, 7], [7, 7, 7]]


def test_files_that_are_not_as_fashion_mnists_are_named(fashion: Path) -> None:
    labels = fashion / "train-labels-idx1-ubyte.gz"
    write_idx(labels, [0, 1])
    with pytest.raises(ValueError, match=r"train-images\S+ .*12 .*-labels\S+ 2"):
        read_images(fashion)
    labels.write_bytes(gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x0cabc"))
    with pytest.raises(ValueError, match=r"train-labels\S+ .*\[12\]"):
        read_images(fashion)
    labels.write_bytes(labels.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"train-labels\S+ .*damaged"):
        read_images(fashion)
    labels.unlink()
    with pytest.raises(FileNotFoundError, match=r"fashion .*train-labels-idx1-ubyte"):
        read_images(fashion)


@pytest.mark.parametrize(
    "given", ["fashion/train-images-idx3-ubyte.gz", "fashion/t10k-images.idx3-ubyte", "."]
)
def test_the_path_of_one_of_the_four_files(given: str, fashion: Path) -> None:
    with pytest.raises(ValueError, match=rf"[-.]idx\S+ .* {re.escape(str(fashion))}\b.*'mnist'"):
        load_dataset(fashion.parent / given, "train")


def test_an_idx_file_is_measured_before_it_is_read(
    fashion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = fashion / "train-images-idx3-ubyte.gz"
    sizes = (2**31 - 1).to_bytes(4, "big")
    header = b"\x00\x00\x08\x03" + 3 * sizes
    images.write_bytes(gzip.compress(header + bytes(1000)))
    with pytest.raises(ValueError, match=r"images\S+ .*2147483647"):
        read_images(fashion)
    images.write_bytes(header + bytes(1000))
    with pytest.raises(ValueError, match=r"images\S+ .*1,016"):
        read_images(fashion)

    # No values, though two of the sizes are beyond what numpy can multiply.
    images.write_bytes(b"\x00\x00\x08\x03" + bytes(4) + 2 * b"\xff\xff\xff\xff")
    with pytest.raises(ValueError, match=r"images\S+ .*\[0, 4294967"):
        read_images(fashion)

    # A packed file that goes on and on is read no further than its header says.
    images.write_bytes(gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x0c" + bytes(10**7)))
    with pytest.raises(ValueError, match=r"\[12\].* 21 "):
        read_images(fashion)


# --- data sets of other libraries ------------------------------------------------------------


class Listed(list):  # type: ignore[type-arg]
    """What torch.utils.data.Dataset and datasets.Dataset have in common: a length and entries."""


def test_pairs_of_arrays_and_integers() -> None:
    dataset = ImageDataset.from_dataset(Listed(zip(IMAGES, LABELS, strict=True)), "mine")
    assert np.array_equal(dataset.images, IMAGES)  # type: ignore[arg-type]
    assert (dataset.labels.tolist(), dataset.name) == ([0, 1, 0], "mine")


def test_mappings_of_pil_images() -> None:
    entries = [{"image": Image.fromarray(image), "label": 0} for image in IMAGES]
    assert np.array_equal(ImageDataset.from_dataset(Listed(entries)).images, IMAGES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["cat", "dog"], ("cat", "dog")),
        (np.array(["cat", "dog"]), ("cat", "dog")),
        (np.unique(LABELS), ("0", "1")),
        (np.array([]), ("0", "1")),
        ((), ("0", "1")),
        (2, ("0", "1")),
        ("ab", ("0", "1")),
        (None, ("0", "1")),
    ],
)
def test_class_names_of_a_data_set(classes: Any, expected: tuple[str, ...]) -> None:
    dataset = Listed(zip(IMAGES, LABELS, strict=True))
    dataset.classes = classes  # type: ignore[attr-defined]
    assert ImageDataset.from_dataset(dataset).class_names == expected
    subset = Listed(dataset)
    subset.dataset = dataset  # type: ignore[attr-defined]
    assert ImageDataset.from_dataset(subset).class_names == expected


def test_a_data_set_without_images_of_a_class() -> None:
    pairs = [(IMAGES[0], 0), (IMAGES[1], 2)]
    with pytest.raises(ValueError, match=r"num_classes.*class_names"):
        ImageDataset.from_dataset(pairs)
    assert ImageDataset.from_dataset(pairs, num_classes=4).class_names == ("0", "1", "2", "3")
    named = ImageDataset.from_dataset(pairs, class_names=["cat", "dog", "owl"])
    assert named.class_names == ("cat", "dog", "owl")
    with pytest.raises(ValueError, match="label 1 is 2"):
        ImageDataset.from_dataset(pairs, num_classes=2)


def test_class_names_in_a_tensor() -> None:
    torch = pytest.importorskip("torch")
    dataset = Listed(zip(IMAGES, LABELS, strict=True))
    dataset.classes = torch.tensor([7, 3])  # type: ignore[attr-defined]
    assert ImageDataset.from_dataset(dataset).class_names == ("7", "3")


def test_tensors_are_channels_first() -> None:
    torch = pytest.importorskip("torch")
    gray = torch.from_numpy(IMAGES).float()[:, None] / 255  # (N, 1, H, W) in [0, 1]
    dataset = ImageDataset.from_dataset(
        torch.utils.data.TensorDataset(gray, torch.from_numpy(LABELS))
    )
    assert np.array_equal(
        dataset.images[..., 0] if dataset.images.ndim == 4 else dataset.images,  # type: ignore[arg-type, union-attr]
        IMAGES,
    )
    color = torch.from_numpy(np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5))
    dataset = ImageDataset.from_dataset(torch.utils.data.TensorDataset(color, torch.tensor([0, 1])))
    assert dataset.images.shape == (2, 4, 5, 3)
    assert dataset.images[0, 0, 0].tolist() == [0, 20, 40]


GOOD = (np.zeros((2, 2), np.uint8), 0)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ({"img": GOOD[0], "fine_label": 0}, "entry 1 .*img, fine_label"),
        ((GOOD[0], 0, 0), "entry 1 .*length 3"),
        (GOOD[0][0], "entry 1|image 1"),
        ("ab", "entry 1 .*str"),
        ((np.full((2, 2), np.nan), 0), "image 1 .*NaN"),
        ((np.full((2, 2), -1.5), 0), "image 1 .*-1.5"),
        ((np.full((2, 2), 300), 0), "image 1 .*300"),
        ((np.zeros(4), 0), r"image 1 .*\(4,\)"),
        ((np.zeros((5, 6, 2), np.uint8), 0), r"image 1 .*\(5, 6, 2\)"),
        (("a.png", 0), "image 1 .*str"),
        ((None, 0), "image 1 .*NoneType"),
        ((GOOD[0], None), "label 1 .*None"),
        ((GOOD[0], "cat"), "label 1 .*'cat'"),
        ((GOOD[0], 0.5), r"label 1 .*0\.5"),
        ((GOOD[0], -1), "label 1 .*-1"),
    ],
)
def test_an_unfit_entry_is_named_with_its_index(entry: Any, value: str) -> None:
    with pytest.raises((TypeError, ValueError), match=value):
        ImageDataset.from_dataset(Listed([GOOD, entry]))


class Damaged(Listed):
    def __getitem__(self, index: Any) -> Any:
        raise OSError("image file is truncated")


class Closed:
    """A PIL image of a file that cannot be read when its pixels are asked for."""

    mode = "L"

    def convert(self, mode: str) -> Any: ...

    def load(self) -> Any:
        raise OSError("image file is truncated")


@pytest.mark.parametrize(
    ("dataset", "value"),
    [
        ({"train": [GOOD], "test": [GOOD]}, r"train, test.*\['train'\]"),
        (iter([GOOD]), "list_iterator"),
        (Damaged([GOOD]), "entry 0 .*truncated"),
        (Listed([GOOD, (Closed(), 0)]), "image 1 .*truncated"),
        (Listed([GOOD, (GOOD[0], 2)]), r" 2 \(label 1\).* 1"),
        (
            Listed([(np.zeros((2, 2, 3)), 0), GOOD, (np.zeros((2, 2, 2)), 0)]),
            r"image 2 .*\(2, 2, 2\)",
        ),
    ],
)
def test_a_data_set_that_cannot_be_read(dataset: Any, value: str) -> None:
    with pytest.raises((TypeError, ValueError), match=value):
        ImageDataset.from_dataset(dataset)


def test_an_empty_data_set() -> None:
    with pytest.raises(ValueError, match="empty"):
        ImageDataset.from_dataset(Listed())


def test_an_npy_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **keywords: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    for name, array in (("images", IMAGES), ("labels", LABELS)):
        np.save(tmp_path / f"{name}.npy", array)
    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(ValueError, match=r"images\.npy .*Permission denied"):
        read_images(tmp_path)


def test_masks_are_black_and_white() -> None:
    dataset = ImageDataset.from_dataset([(np.array([[True, False]]), 0), (np.eye(1, 2) > 1, 1)])
    assert dataset.images.tolist() == [[[255, 0]], [[0, 0]]]  # type: ignore[union-attr]


def test_pictures_without_pillow(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(gym.error.DependencyNotInstalled, match=r'pip install "ram-gym\[play\]"'):
        read_images(animals)


def test_stacked_images_of_one_size_are_themselves() -> None:
    assert np.array_equal(stack_images(list(IMAGES)), IMAGES)


# --- through Gymnasium -----------------------------------------------------------------------


def test_a_path_makes_environments_that_share_the_images(animals: Path) -> None:
    env: Any = gym.make(
        "RAMClassification-v0", dataset=str(animals), splits="all", glimpse_size=2
    ).unwrapped
    envs: Any = gym.make_vec(
        "RAMClassification-v0",
        num_envs=3,
        dataset=animals,
        split="test",
        splits="all",
        glimpse_size=2,
    ).unwrapped
    assert env.action_space[1].n == 2
    images = [each.batch.task.dataset.images for each in (env, envs)]
    assert np.shares_memory(*images)
    env.reset(seed=0, options={"index": 2})
    assert env.canvas[1].tolist() == [0, 9, 9, 0]


def test_it_travels_to_other_processes_as_its_path(animals: Path) -> None:
    dataset = load_dataset(str(animals), "test", "all")
    sent = pickle.dumps(dataset)
    assert len(sent) < 400
    assert pickle.loads(sent) is load_dataset(animals, "test", "all")


def test_it_does_not_become_other_images_on_the_way(animals: Path) -> None:
    pixels = pickle.dumps(load_dataset(animals, "train", "all"))
    save(animals / "dog" / "a.png", [[9, 9], [9, 77]])
    with pytest.raises(ValueError, match="animals"):
        pickle.loads(pixels)
    names = pickle.dumps(load_dataset(animals, "train", "all"))
    (animals / "cat").rename(animals / "aardvark")
    with pytest.raises(ValueError, match="animals"):
        pickle.loads(names)


def test_worker_processes_play_what_one_process_plays(animals: Path) -> None:
    def play(mode: str) -> list[Any]:
        envs: Any = gym.make_vec(
            "RAMClassification-v0",
            num_envs=2,
            vectorization_mode=mode,
            dataset=str(animals),
            splits="all",
            glimpse_size=2,
        )
        observation, info = envs.reset(seed=3)
        envs.close()
        return [observation["glimpse"].tolist(), info["index"].tolist()]

    assert play("async") == play("sync")


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_map_that_was_changed_travels_as_it_is(tmp_path: Path, mode: Any) -> None:
    np.save(tmp_path / "images.npy", np.full((2, 3, 3), 200, np.uint8))
    images = np.load(tmp_path / "images.npy", mmap_mode=mode)
    if mode != "r":
        images[0] = 55
    dataset = ram_envs.ImageDataset(images, np.array([0, 1]))
    sent = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(sent.images, images)
    assert sent.fingerprint == dataset.fingerprint


def test_an_unknown_user(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="~nosuchuser"):
        load_dataset("~nosuchuser/images", "train")


def test_a_path_that_is_nothing_names_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no/such/folder"):
        gym.make("RAMClassification-v0", dataset="no/such/folder")
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz"):
        gym.make("RAMClassification-v0", dataset="nothing.npz")
    np.save(tmp_path / "images.npy", IMAGES)
    with pytest.raises(ValueError, match=r"images\.npy .*labels\.npy"):
        gym.make("RAMClassification-v0", dataset=str(tmp_path / "images.npy"))
    with pytest.raises(TypeError, match="list_iterator"):
        ram_envs.datasets.load_dataset(Listed([GOOD]).__iter__(), "train")  # type: ignore[arg-type]
