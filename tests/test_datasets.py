"""Data sets: what is in each split, what is refused and why, and how MNIST is fetched and checked.

The downloads come from a small HTTP server in this process that serves tiny files in MNIST's
format; the module's tables of sizes and hashes are replaced to match.
"""

from __future__ import annotations

import copy
import gzip
import hashlib
import http.server
import json
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest

from ram_envs.datasets import (
    CorruptDatasetError,
    DatasetFallbackWarning,
    DatasetUnavailableError,
    ImageDataset,
    load_dataset,
)
from ram_envs.datasets import loading as datasets
from ram_envs.datasets.idx import parse_idx

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

REAL_DATA_DIR = os.environ.get("RAM_ENVS_DATA_DIR", "")
needs_mnist = pytest.mark.skipif(
    not any(Path(REAL_DATA_DIR or "?", "mnist").glob("train-images*")),
    reason="RAM_ENVS_DATA_DIR does not hold MNIST",
)


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def tiny_mnist() -> dict[str, bytes]:
    """Four IDX files: 6 training and 2 test images of 3 × 3, whose pixels are their number."""
    train = np.repeat(np.arange(6, dtype=np.uint8), 9).reshape(6, 3, 3)
    return {
        TRAIN_IMAGES: idx(train),
        TRAIN_LABELS: idx(np.array([0, 1, 1, 0, 1, 0], np.uint8)),
        TEST_IMAGES: idx(train[:2] + 100),
        TEST_LABELS: idx(np.array([1, 0], np.uint8)),
    }


def pair(num_images: int = 4, size: int = 5) -> tuple[np.ndarray, np.ndarray]:
    images = np.arange(num_images * size * size, dtype=np.uint8).reshape(num_images, size, size)
    return images, np.arange(num_images) % 2


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    datasets._cache_clear()
    yield
    datasets._cache_clear()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """MNIST is the tiny one, looked for in an empty cache under ``tmp_path``, no mirror known."""
    files = tiny_mnist()
    table = tuple(
        datasets._IdxFile(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    )
    monkeypatch.setattr(datasets, "MNIST_FILES", table)
    monkeypatch.setattr(datasets, "NUM_VALIDATION", 2)
    monkeypatch.setattr(datasets, "MIRRORS", ())
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("RAM_ENVS_DATA_DIR", raising=False)
    return files


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "ram-gym" / "mnist"


HTTPS_MIRRORS = datasets.MIRRORS  # tests put others in their place


class Mirror:
    """An HTTP server with a few files; ``requests`` lists the paths asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
        self.requests: list[str] = []
        self.cut_short: str | None = None  # a file of which only half the promised bytes come
        self.mends_after: int | None = None  # so many more requests it is not cut short any more
        self.sends_on_to: str | None = None
        self.meet = threading.Barrier(1)  # so many requests are answered together
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                mirror.requests.append(name)
                mirror.meet.wait(timeout=60)
                if mirror.sends_on_to is not None:
                    self.send_response(302)
                    self.send_header("Location", mirror.sends_on_to)
                    self.end_headers()
                    return
                if mirror.mends_after is not None:
                    mirror.mends_after -= 1
                    if mirror.mends_after == 0:
                        mirror.cut_short = None
                body = mirror.files.get(name)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if name == mirror.cut_short else body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def mirror(tiny: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    mirror = Mirror(tiny)
    monkeypatch.setattr(datasets, "MIRRORS", (mirror.url,))
    monkeypatch.setattr(datasets, "PAUSE_SECONDS", 0.0)
    yield mirror
    mirror.close()


def write_tiny(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


# --- ImageDataset ----------------------------------------------------------------------------


def test_dataset_shows_the_users_arrays_without_copying_or_freezing_them() -> None:
    images, labels = pair()
    dataset = ImageDataset(images, labels)

    assert np.shares_memory(dataset.images, images)
    assert np.shares_memory(dataset.labels, labels)
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        dataset.labels[0] = 1
    images[0, 0, 0] = 7  # the user's own array stays writable
    assert (len(dataset), dataset.num_classes, dataset.name) == (4, 2, "custom")
    assert repr(dataset) == "ImageDataset('custom', (4, 5, 5), 2 classes)"


def test_dataset_cannot_be_changed() -> None:
    dataset = ImageDataset(*pair())
    with pytest.raises(AttributeError):
        dataset.images = np.zeros((4, 5, 5), np.uint8)  # type: ignore[misc]


def test_copies_are_the_dataset_itself() -> None:
    dataset = ImageDataset(*pair())
    assert copy.copy(dataset) is dataset
    assert copy.deepcopy({"dataset": dataset})["dataset"] is dataset


def test_memory_mapped_images_stay_on_disk(tmp_path: Path) -> None:
    images, labels = pair()
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    dataset = ImageDataset(mapped, labels)
    assert isinstance(mapped, np.memmap)
    assert np.shares_memory(dataset.images, mapped)
    assert dataset.fingerprint == ImageDataset(images, labels).fingerprint


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_labels_of_any_integer_type_become_int64(dtype: type) -> None:
    images, labels = pair()
    dataset = ImageDataset(images, labels.astype(dtype))
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [0, 1, 0, 1]


def test_pickled_dataset_is_equal_and_still_read_only() -> None:
    images, labels = pair()
    dataset = pickle.loads(pickle.dumps(ImageDataset(images[..., None], labels, "mine")))
    assert np.array_equal(dataset.images, images[..., None])
    assert np.array_equal(dataset.labels, labels)
    assert dataset.name == "mine"
    assert not dataset.images.flags.writeable
    assert not dataset.labels.flags.writeable


def test_pickled_known_dataset_is_a_name_and_loads_the_shared_one() -> None:
    digits = load_dataset("digits", "test")
    pickled = pickle.dumps(digits)
    assert len(pickled) < 200
    assert pickle.loads(pickled) is digits


def test_fingerprint_depends_on_contents_and_shape_only() -> None:
    images, labels = pair(num_images=4, size=6)
    fingerprint = ImageDataset(images, labels).fingerprint
    assert len(fingerprint) == 16
    assert int(fingerprint, 16) >= 0
    assert fingerprint == ImageDataset(images.copy(), labels.astype(np.uint8), "x").fingerprint
    assert fingerprint == ImageDataset(np.asfortranarray(images), labels).fingerprint
    assert fingerprint != ImageDataset(images.reshape(4, 9, 4), labels).fingerprint
    assert fingerprint != ImageDataset(images, labels[::-1]).fingerprint
    assert fingerprint != ImageDataset(255 - images, labels).fingerprint


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (np.zeros((2, 5, 5)), [0, 1], TypeError, r"float64.*\(images \* 255\)\.round\(\)\.astype"),
        (np.full((2, 5, 5), np.nan), [0, 1], ValueError, "image 0 contains NaN"),
        (np.array([None, None]), [0, 1], TypeError, r"Python objects.*from_dataset\(list\(zip"),
        (np.zeros((2, 5, 5), int), [0, 1], TypeError, r"int64.*images\.astype\(np\.uint8\)"),
        ([[[0]]], [0], TypeError, r"images is a list.*np\.asarray"),
        (np.zeros((5, 5), np.uint8), [0], ValueError, r"\(5, 5\).*images\[None\]"),
        (np.zeros((0, 5, 5), np.uint8), [], ValueError, r"\(0, 5, 5\).*at least one image"),
        (np.zeros((2, 0, 5), np.uint8), [0, 1], ValueError, r"\(2, 0, 5\).*no pixel"),
        (np.zeros((2, 3, 8, 8), np.uint8), [0, 1], ValueError, r"np\.moveaxis\(images, 1, -1\)"),
        (np.zeros((2, 5, 5), np.uint8), [0.0, 1.0], TypeError, "labels are float64"),
        (np.zeros((2, 5, 5), np.uint8), [0, np.nan], ValueError, "label 1 is nan.* leave out"),
        (np.zeros((2, 5, 5), np.uint8), [0, None], ValueError, "label 1 is None.* leave out"),
        (np.zeros((2, 5, 5), np.uint8), [False, True], TypeError, "labels are bool"),
        (np.zeros((2, 5, 5), np.uint8), [[0, 1]], ValueError, r"\(1, 2\).*argmax"),
        (np.zeros((2, 5, 5), np.uint8), [0, 1, 0], ValueError, "2 images but 3 labels"),
        (np.zeros((2, 5, 5), np.uint8), [-1, 0], ValueError, "label 0 is -1.*numbered from 0"),
        (
            np.zeros((2, 5, 5), np.uint8),
            [1, 2],
            ValueError,
            r"up to 2 \(label 1\), but no image has class 0",
        ),
        (np.zeros((3, 5, 5), np.uint8), [0, 1, 5], ValueError, "up to 5.*no image has class 2"),
    ],
)
def test_unfit_arrays_are_refused(
    images: Any, labels: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ImageDataset(images, np.asarray(labels))


def test_labels_must_be_an_array_and_the_name_a_str() -> None:
    images, labels = pair()
    with pytest.raises(TypeError, match=r"labels is a list.*np\.asarray"):
        ImageDataset(images, labels.tolist())
    with pytest.raises(TypeError, match="name is 3"):
        ImageDataset(images, labels, 3)  # type: ignore[arg-type]


# --- load_dataset ----------------------------------------------------------------------------


def test_one_dataset_serves_every_split() -> None:
    dataset = ImageDataset(*pair())
    assert [load_dataset(dataset, split) for split in datasets.SPLITS] == [dataset] * 3


@pytest.mark.parametrize("kind", [tuple, list])
def test_three_datasets_are_train_validation_test(kind: type) -> None:
    three = kind(ImageDataset(*pair(num_images=n)) for n in (6, 4, 2))
    assert [len(load_dataset(three, split)) for split in datasets.SPLITS] == [6, 4, 2]


def test_three_datasets_must_agree() -> None:
    images, labels = pair()
    dataset = ImageDataset(images, labels)
    with pytest.raises(ValueError, match=r"\(5, 5\), \(5, 5\) and \(6, 6\)"):
        load_dataset((dataset, dataset, ImageDataset(*pair(size=6))), "train")
    with pytest.raises(ValueError, match="2, 4 and 2 classes"):
        load_dataset((dataset, ImageDataset(images, np.arange(4)), dataset), "train")
    with pytest.raises(ValueError, match="2 entries, but three"):
        load_dataset((dataset, dataset), "train")
    with pytest.raises(TypeError, match=r"tuple that holds a ndarray.*ImageDataset\(images, lab"):
        load_dataset((images, labels), "train")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dataset", "split", "error", "message"),
    [
        ("minst", "train", ValueError, "'minst' does not exist; did you mean 'mnist'"),
        ("MNIST", "train", ValueError, "did you mean 'mnist'"),
        ("cifar", "train", ValueError, "choose from 'mnist', 'digits', 'auto'"),
        ("digits", "valid", ValueError, "'valid' does not exist; did you mean 'validation'"),
        ("digits", "dev", ValueError, "choose from 'train', 'validation', 'test'"),
        ("digits", None, ValueError, "split=None does not exist"),
        (None, "train", TypeError, "dataset is a NoneType, but a name"),
        (np.zeros((2, 5, 5)), "train", TypeError, r"ndarray, but.*ImageDataset\(images, labels\)"),
    ],
)
def test_what_does_not_exist_is_refused(
    dataset: Any, split: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_dataset(dataset, split)


# --- digits ----------------------------------------------------------------------------------


def test_digits_splits() -> None:
    train, validation, test = (load_dataset("digits", split) for split in datasets.SPLITS)
    assert [len(train), len(validation), len(test)] == [1297, 200, 300]
    assert train.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert np.bincount(test.labels).tolist() == [27, 31, 28, 31, 33, 30, 31, 30, 28, 31]
    for dataset in (train, validation, test):
        assert dataset.name == "digits"
        assert dataset.images.shape[1:] == (28, 28)
        assert dataset.images.dtype == np.uint8
        assert dataset.num_classes == 10
    assert len({dataset.fingerprint for dataset in (train, validation, test)}) == 3
    assert train.fingerprint == "f25dbc2a9efee61e"


def test_digits_are_the_same_pixels_on_every_machine() -> None:
    images = load_dataset("digits", "train").images
    assert (
        hashlib.sha256(images.tobytes()).hexdigest()
        == "159788eeb6b42a36fed5da852edd1d8720d679bb5a9e2508b67c940b0ca5b4a4"
    )


def test_digits_are_loaded_once() -> None:
    assert load_dataset("digits", "train") is load_dataset("digits", "train")
    assert np.shares_memory(
        load_dataset("digits", "train").images.base, load_dataset("digits", "test").images.base
    )


def test_enlarging_keeps_the_place_and_fades_at_the_edge() -> None:
    """One white pixel, the scan's top left, spreads over 2 × 2.5 pixels each way around (5, 5)."""
    scan = np.zeros((1, 8, 8), np.uint8)
    scan[0, 0, 0] = 16
    (image,) = datasets._enlarge_digits(scan)
    # Weights along an axis for pixels 3, 4, 5, 6, 7: 0.3, 0.7, 0.9, 0.5, 0.1; none elsewhere.
    assert image[5].tolist()[2:10] == [0, 69, 161, 207, 115, 23, 0, 0]
    assert image[3].tolist()[2:10] == [0, 23, 54, 69, 38, 8, 0, 0]
    assert image[:3].max() == image[8:].max() == image[:, :3].max() == image[:, 8:].max() == 0
    white = datasets._enlarge_digits(np.full((1, 8, 8), 16, np.uint8))
    assert (white[0, 5:23, 5:23] == 255).all()


# --- MNIST in a folder -----------------------------------------------------------------------


@needs_mnist
def test_mnist_splits() -> None:
    train, validation, test = (load_dataset("mnist", split) for split in datasets.SPLITS)
    assert [len(train), len(validation), len(test)] == [50_000, 10_000, 10_000]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert (train.name, train.num_classes, train.images.shape[1:]) == ("mnist", 10, (28, 28))
    assert load_dataset("auto", "train") is train


@needs_mnist
def test_mnist_validation_is_the_last_10_000_training_images_in_the_same_memory() -> None:
    train, validation = load_dataset("mnist", "train"), load_dataset("mnist", "validation")
    start = train.images.__array_interface__["data"][0]
    assert validation.images.__array_interface__["data"][0] == start + 50_000 * 28 * 28
    assert validation.labels[:5].tolist() == [3, 8, 6, 9, 6]
    assert validation.labels[-5:].tolist() == [8, 3, 5, 6, 8]  # the end of the training file


def make_data_dir(folder: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    write_tiny(folder / "mnist", files)
    monkeypatch.setenv("RAM_ENVS_DATA_DIR", str(folder))
    return folder / "mnist"


def test_data_dir_splits(
    tiny: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data_dir(tmp_path, tiny, monkeypatch)
    train, validation, test = (load_dataset("mnist", split) for split in datasets.SPLITS)
    assert train.images[:, 0, 0].tolist() == [0, 1, 2, 3]
    assert validation.images[:, 0, 0].tolist() == [4, 5]
    assert test.images[:, 0, 0].tolist() == [100, 101]
    assert train.labels.tolist() == [0, 1, 1, 0]
    assert validation.labels.tolist() == [1, 0]
    assert np.shares_memory(train.labels.base, validation.labels.base)
    assert load_dataset("mnist", "train") is load_dataset("auto", "train") is train


def test_data_dir_takes_plain_compressed_and_dotted_names(
    tiny: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_data_dir(tmp_path, tiny, monkeypatch)
    (folder / TRAIN_IMAGES).unlink()
    (folder / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(tiny[TRAIN_IMAGES]))
    (folder / TRAIN_LABELS).rename(folder / f"{TRAIN_LABELS}.gz")  # what a browser may save
    (folder / TEST_IMAGES).rename(folder / "t10k-images.idx3-ubyte")
    assert load_dataset("mnist", "test").images[:, 0, 0].tolist() == [100, 101]


def test_each_data_dir_is_loaded_once(
    tiny: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data_dir(tmp_path / "a", tiny, monkeypatch)
    first = load_dataset("mnist", "train")
    make_data_dir(tmp_path / "b", tiny, monkeypatch)
    second = load_dataset("mnist", "train")
    monkeypatch.setenv("RAM_ENVS_DATA_DIR", str(tmp_path / "a"))
    assert first is not second
    assert load_dataset("mnist", "train") is first


@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_data_dir_that_lacks_a_file_is_an_error_and_no_reason_to_download(
    name: str, mirror: Mirror, tiny: dict[str, bytes], tmp_path: Path, monkeypatch: Any
) -> None:
    folder = make_data_dir(tmp_path, tiny, monkeypatch)
    (folder / TEST_LABELS).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset(name, "train")
    message = str(caught.value)
    assert f"{folder} lacks {TEST_LABELS}" in message
    assert "unset RAM_ENVS_DATA_DIR" in message
    assert mirror.requests == []


def test_data_dir_that_does_not_exist_is_an_error(
    tiny: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAM_ENVS_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"nowhere.*lacks train-images-idx3-ubyte, train-l"):
        load_dataset("auto", "train")
    assert len(load_dataset("digits", "train")) == 1297


def flip_last_byte(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda files: files[TEST_IMAGES][:-1], "holds 33 bytes, and 34 are expected"),
        (lambda files: files[TEST_IMAGES] + b"\0", "holds more than 34 bytes"),
        (lambda files: b"", "holds 0 bytes, and 34 are expected"),
        (lambda files: files[TRAIN_IMAGES], "holds more than 34 bytes"),
        (lambda files: flip_last_byte(files[TEST_IMAGES]), "sha256 of its contents is"),
        (lambda files: gzip.compress(files[TEST_IMAGES])[:-9], "damaged or cut short"),
        (lambda files: b"\x1f\x8b" + bytes(40), "damaged or cut short"),
        (lambda files: gzip.compress(bytes(500_000)), "holds more than 34 bytes"),
        (lambda files: bytes(5000), "longer than 1,058 bytes"),
    ],
)
def test_damaged_file_is_named_and_never_used(
    damage: Any, problem: str, tiny: dict[str, bytes], tmp_path: Path, monkeypatch: Any
) -> None:
    folder = make_data_dir(tmp_path, tiny, monkeypatch)
    (folder / TEST_IMAGES).write_bytes(damage(tiny))
    for name in ("mnist", "auto", "mnist"):
        with pytest.raises(CorruptDatasetError, match=problem) as caught:
            load_dataset(name, "train")
        assert str(folder / TEST_IMAGES) in str(caught.value)
        assert "Replace it with the original file" in str(caught.value)


def test_wrong_sha256_is_reported_with_the_expected_one(
    tiny: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_data_dir(tmp_path, tiny, monkeypatch)
    damaged = flip_last_byte(tiny[TRAIN_LABELS])
    (folder / TRAIN_LABELS).write_bytes(damaged)
    with pytest.raises(CorruptDatasetError) as caught:
        load_dataset("mnist", "train")
    assert hashlib.sha256(damaged).hexdigest() in str(caught.value)
    assert hashlib.sha256(tiny[TRAIN_LABELS]).hexdigest() in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x00\x00", "begins with 00 00"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00\x00\x00\x00", "begins with 00 00 0d 01"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03ab", r"header says \[3\], but 10 bytes"),
        (b"\x00\x00\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "but 16 bytes"),
        (b"\x00\x00\x08\x03\x00\x00", "cut short"),
        (b"\x00\x00\x08\xff", "it has 255 axes, and 1 to 4 are expected"),
        (b"\x00\x00\x08\x00\x07", "it has 0 axes"),
    ],
)
def test_idx_header_is_checked_before_it_is_believed(content: bytes, problem: str) -> None:
    with pytest.raises(CorruptDatasetError, match=problem):
        parse_idx(content)


# --- MNIST from a mirror ---------------------------------------------------------------------


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


ALL_NAMES = sorted(f"{name}.gz" for name in (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS))


def test_download_fills_the_cache_and_is_made_once(mirror: Mirror, cache: Path) -> None:
    assert load_dataset("mnist", "validation").images[:, 0, 0].tolist() == [4, 5]
    assert names_in(cache) == sorted(mirror.requests) == ALL_NAMES
    assert (cache / f"{TEST_LABELS}.gz").read_bytes() == mirror.files[f"{TEST_LABELS}.gz"]

    datasets._cache_clear()  # a new process finds the files
    assert load_dataset("auto", "validation").name == "mnist"
    assert len(mirror.requests) == 4


def test_only_missing_files_are_fetched(mirror: Mirror, cache: Path, tiny: Any) -> None:
    write_tiny(cache, {name: tiny[name] for name in (TRAIN_IMAGES, TEST_IMAGES)})
    load_dataset("mnist", "train")
    assert mirror.requests == [f"{TRAIN_LABELS}.gz", f"{TEST_LABELS}.gz"]


def test_second_mirror_is_used_where_the_first_has_no_file(
    mirror: Mirror, tiny: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = Mirror(tiny)
    try:
        monkeypatch.setattr(datasets, "MIRRORS", (mirror.url, second.url))
        del mirror.files[f"{TRAIN_IMAGES}.gz"]
        assert load_dataset("mnist", "train").labels.tolist() == [0, 1, 1, 0]
        assert second.requests == [f"{TRAIN_IMAGES}.gz"]
        assert names_in(cache) == ALL_NAMES
    finally:
        second.close()


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        (lambda content: gzip.compress(flip_last_byte(content)), "sha256 of its contents"),
        (lambda content: gzip.compress(content)[:-9], "damaged or cut short"),
        (lambda content: b"<html>Please log in to this network</html>", "holds more than 14 bytes"),
        (lambda content: bytes(100_000), "more than 1,038 bytes were sent"),
    ],
)
def test_wrong_content_is_refused_and_not_kept(
    served: Any, reason: str, mirror: Mirror, tiny: dict[str, bytes], cache: Path
) -> None:
    mirror.files[f"{TRAIN_LABELS}.gz"] = served(tiny[TRAIN_LABELS])
    with pytest.raises(DatasetUnavailableError, match=reason):
        load_dataset("mnist", "train")
    assert names_in(cache) == [f"{TRAIN_IMAGES}.gz"]  # the one that came before, and was right


def test_transfer_that_breaks_off_is_tried_again(mirror: Mirror, cache: Path) -> None:
    mirror.cut_short = f"{TRAIN_IMAGES}.gz"
    with pytest.raises(DatasetUnavailableError, match=f"{mirror.url}{TRAIN_IMAGES}.gz: "):
        load_dataset("mnist", "train")
    assert names_in(cache) == []
    assert mirror.requests == [f"{TRAIN_IMAGES}.gz"] * 3

    datasets._cache_clear()
    mirror.mends_after = 2
    assert len(load_dataset("mnist", "train")) == 4
    assert names_in(cache) == ALL_NAMES


def test_a_server_that_dawdles_is_left(
    mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "FILE_SECONDS", 0.05)
    mirror.meet = threading.Barrier(2)  # it waits for another request, which does not come
    with pytest.raises(
        DatasetUnavailableError, match=r"TimeoutError: it was not there after 0\.05"
    ):
        load_dataset("mnist", "train")
    mirror.meet.wait(timeout=60)
    assert names_in(cache) == []


def test_downloads_come_over_https_whatever_a_server_says(mirror: Mirror, cache: Path) -> None:
    assert all(url.startswith("https://") for url in HTTPS_MIRRORS)
    mirror.sends_on_to = f"{mirror.url}elsewhere.gz"
    with pytest.raises(DatasetUnavailableError, match=r"it sends on to http://.*https:// is exp"):
        load_dataset("mnist", "train")
    assert mirror.requests == [f"{TRAIN_IMAGES}.gz"]


def test_error_names_every_url_its_reason_and_what_to_do(
    mirror: Mirror, tiny: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    offline = Mirror(tiny)
    offline.close()  # nothing listens on its port any more
    monkeypatch.setattr(datasets, "MIRRORS", (mirror.url, offline.url))
    mirror.files.clear()
    with pytest.raises(DatasetUnavailableError) as caught:
        load_dataset("mnist", "train")
    message = str(caught.value)
    assert f"{mirror.url}{TRAIN_IMAGES}.gz: HTTPError: 404" in message
    assert f"{offline.url}{TRAIN_IMAGES}.gz: ConnectionRefusedError: " in message
    assert "Set RAM_ENVS_DATA_DIR" in message
    assert "dataset='digits'" in message


def test_failed_download_is_remembered_and_auto_falls_back_with_one_warning(
    mirror: Mirror,
) -> None:
    mirror.files.clear()
    with pytest.raises(DatasetUnavailableError):
        load_dataset("mnist", "train")
    assert len(mirror.requests) == 1
    with pytest.warns(DatasetFallbackWarning, match="serves the 1,797 small digits") as caught:
        assert load_dataset("auto", "train").name == "digits"
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_dataset("auto", "test") is load_dataset("digits", "test")
    with pytest.raises(DatasetUnavailableError, match="tried once and does not try again"):
        load_dataset("mnist", "train")
    assert len(mirror.requests) == 1


def test_damaged_cache_is_named_and_left_alone(
    mirror: Mirror, tiny: dict[str, bytes], cache: Path
) -> None:
    write_tiny(cache, tiny)
    (cache / TRAIN_IMAGES).write_bytes(b"damaged")
    with pytest.raises(
        CorruptDatasetError, match="Delete it, and it is downloaded again"
    ) as caught:
        load_dataset("auto", "train")
    assert str(cache / TRAIN_IMAGES) in str(caught.value)
    assert (cache / TRAIN_IMAGES).read_bytes() == b"damaged"
    assert mirror.requests == []

    (cache / TRAIN_IMAGES).unlink()
    assert load_dataset("auto", "train").name == "mnist"


def test_cache_that_cannot_be_written_counts_as_unavailable(mirror: Mirror, cache: Path) -> None:
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(DatasetUnavailableError, match="cannot be kept in"):
        load_dataset("mnist", "train")
    with pytest.warns(DatasetFallbackWarning):
        assert load_dataset("auto", "train").name == "digits"


def test_interrupted_write_leaves_nothing(
    mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(source: str, target: Path) -> None:
        assert Path(source).read_bytes() == mirror.files[target.name]
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_dataset("mnist", "train")
    assert names_in(cache) == []


LOAD_IN_A_NEW_PROCESS = """
import json, pathlib, sys
import pooch
from ram_envs.datasets import loading as datasets

told = json.loads(sys.argv[1])
pooch.os_cache = lambda project: pathlib.Path(told["cache"]) / project
datasets.MNIST_FILES = tuple(datasets._IdxFile(*row) for row in told["files"])
datasets.NUM_VALIDATION = 2
datasets.MIRRORS = (told["mirror"],)
print(datasets.load_dataset("mnist", "train").labels.tolist())
"""


def test_two_processes_may_download_at_once(mirror: Mirror, cache: Path) -> None:
    mirror.meet = threading.Barrier(2)  # each file is sent only once both have asked for it
    told = {
        "cache": str(cache.parent.parent),
        "files": [(file.name, file.num_bytes, file.sha256) for file in datasets.MNIST_FILES],
        "mirror": mirror.url,
    }
    command = [sys.executable, "-c", LOAD_IN_A_NEW_PROCESS, json.dumps(told)]
    environment = os.environ | {"PYTHONPATH": str(Path(datasets.__file__).parent.parent)}
    processes = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert (process.returncode, output) == (0, "[0, 1, 1, 0]\n"), errors
    assert sorted(mirror.requests) == sorted(2 * ALL_NAMES)
    assert names_in(cache) == ALL_NAMES


def test_neither_pooch_nor_the_network_is_needed_for_local_data(tmp_path: Path) -> None:
    code = (
        "import sys; from ram_envs.datasets import load_dataset; load_dataset('digits', 'test'); "
        "assert 'pooch' not in sys.modules and 'requests' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(datasets.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
