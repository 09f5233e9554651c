"""`ImageDataset`, `load_dataset` and the digits: what they serve, and what they refuse."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ram_envs
from ram_envs.datasets import SPLITS, ImageDataset, digits, load_dataset


def pair(num_images: int = 4, size: int = 5) -> tuple[np.ndarray, np.ndarray]:
    images = np.arange(num_images * size * size, dtype=np.uint8).reshape(num_images, size, size)
    return images, np.arange(num_images) % 2


# --- ImageDataset ----------------------------------------------------------------------------


def test_dataset_shows_the_users_arrays_without_copying_or_freezing_them() -> None:
    images, labels = pair()
    dataset = ImageDataset(images, labels)

    assert np.shares_memory(dataset.images, images)
    assert np.shares_memory(dataset.labels, labels)
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0, 0, 0] = 1  # type: ignore[index]
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
    assert len(pickled) < 300
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


BLACK = np.zeros((2, 5, 5), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "error", "value"),
    [
        (np.zeros((2, 5, 5)), [0, 1], TypeError, "float64"),
        (np.full((2, 5, 5), np.nan), [0, 1], ValueError, "image 0"),
        (np.array([None, None]), [0, 1], TypeError, "objects"),
        (np.zeros((2, 5, 5), int), [0, 1], TypeError, "int64"),
        ([[[0]]], [0], TypeError, "list"),
        (np.zeros((5, 5), np.uint8), [0], ValueError, r"\(5, 5\)"),
        (np.zeros((0, 5, 5), np.uint8), [], ValueError, r"\(0, 5, 5\)"),
        (np.zeros((2, 0, 5), np.uint8), [0, 1], ValueError, r"\(2, 0, 5\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), [0, 1], ValueError, r"moveaxis\(images, 1, -1\)"),
        (BLACK, [0.0, 1.0], TypeError, "float64"),
        (BLACK, [0, np.nan], ValueError, "label 1 is nan"),
        (BLACK, [0, None], ValueError, "label 1 is None"),
        (BLACK, [False, True], TypeError, "bool"),
        (BLACK, [[0, 1]], ValueError, r"\(1, 2\)"),
        (BLACK, [0, 1, 0], ValueError, " 2 .* 3 "),
        (BLACK, [-1, 0], ValueError, "label 0 is -1"),
        (BLACK, [1, 2], ValueError, r"2 \(label 1\).* 0"),
        (np.zeros((3, 5, 5), np.uint8), [0, 1, 5], ValueError, r"5 \(label 2\).* 2"),
    ],
)
def test_unfit_arrays_are_refused(
    images: Any, labels: list[Any], error: type[Exception], value: str
) -> None:
    with pytest.raises(error, match=value):
        ImageDataset(images, np.asarray(labels))


def test_labels_must_be_an_array_and_the_name_a_str() -> None:
    images, labels = pair()
    with pytest.raises(TypeError, match="list"):
        ImageDataset(images, labels.tolist())
    with pytest.raises(TypeError, match="3"):
        ImageDataset(images, labels, 3)  # type: ignore[arg-type]


def test_classes_are_numbered_unless_they_have_names() -> None:
    images, labels = pair()
    assert ImageDataset(images, labels).class_names == ("0", "1")
    named = ImageDataset(images, labels, class_names=["cat", "dog"])
    assert (named.class_names, named.num_classes) == (("cat", "dog"), 2)
    assert pickle.loads(pickle.dumps(named)).class_names == ("cat", "dog")
    names, labels = np.unique(["dog", "cat"] * 2, return_inverse=True)
    assert repr(ImageDataset(images, labels, class_names=names).class_names) == "('cat', 'dog')"


def test_one_image_of_many_classes() -> None:
    image, label = np.zeros((1, 5, 5), np.uint8), np.array([7])
    assert ImageDataset(image, label, num_classes=10).num_classes == 10
    assert ImageDataset(image, label, num_classes=10).class_names[7] == "7"
    assert ImageDataset(image, label, class_names=list("abcdefgh")).class_names[7] == "h"


@pytest.mark.parametrize(
    ("num_classes", "class_names", "error", "value"),
    [
        (1, None, ValueError, "label 1 is 1"),
        (0, None, ValueError, "0"),
        (2.0, None, ValueError, "2.0"),
        (True, None, ValueError, "True"),
        (None, ["cat"], ValueError, "label 1 is 1"),
        (3, ["cat", "dog"], ValueError, "3"),
        (None, ["cat", "cat"], ValueError, "cat"),
        (None, [], ValueError, "class_names"),
        (None, "ab", TypeError, "ab"),
        (None, [0, 1], TypeError, "0"),
        (None, np.array("cat"), TypeError, "cat"),
    ],
)
def test_classes_that_do_not_fit_are_refused(
    num_classes: Any, class_names: Any, error: type[Exception], value: str
) -> None:
    with pytest.raises(error, match=value):
        ImageDataset(*pair(), num_classes=num_classes, class_names=class_names)


# --- load_dataset ----------------------------------------------------------------------------


def test_one_dataset_serves_every_split() -> None:
    dataset = ImageDataset(*pair())
    assert [load_dataset(dataset, split) for split in SPLITS] == [dataset] * 3


@pytest.mark.parametrize("kind", [tuple, list])
def test_three_datasets_are_train_validation_test(kind: type) -> None:
    three = kind(ImageDataset(*pair(num_images=n)) for n in (6, 4, 2))
    assert [len(load_dataset(three, split)) for split in SPLITS] == [6, 4, 2]


def test_three_datasets_must_agree() -> None:
    images, labels = pair()
    dataset = ImageDataset(images, labels)
    with pytest.raises(ValueError, match=r"\(6, 6\)"):
        load_dataset((dataset, dataset, ImageDataset(*pair(size=6))), "train")
    with pytest.raises(ValueError, match="2, 4 and 2"):
        load_dataset((dataset, ImageDataset(images, np.arange(4)), dataset), "train")
    named = ImageDataset(images, labels, class_names=["cat", "dog"])
    with pytest.raises(ValueError, match="names"):
        load_dataset((dataset, named, dataset), "train")
    with pytest.raises(ValueError, match="2"):
        load_dataset((dataset, dataset), "train")
    with pytest.raises(TypeError, match=r"tuple .* ndarray"):
        load_dataset((images, labels), "train")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dataset", "split", "error", "value"),
    [
        ("minst", "train", ValueError, "'minst' .*mean 'mnist'"),
        ("MNIST", "train", ValueError, "mean 'mnist'"),
        ("imagenet", "train", ValueError, "'mnist', 'digits', 'cifar10', 'auto'"),
        ("cifar", "train", ValueError, "mean 'cifar10'"),
        ("digits", "valid", ValueError, "'valid' .*mean 'validation'"),
        ("digits", "dev", ValueError, "'train', 'validation', 'test'"),
        ("digits", None, ValueError, "None"),
        (None, "train", TypeError, "NoneType"),
        (np.zeros((2, 5, 5)), "train", TypeError, "ndarray"),
    ],
)
def test_what_does_not_exist_is_refused(
    dataset: Any, split: Any, error: type[Exception], value: str
) -> None:
    with pytest.raises(error, match=value):
        load_dataset(dataset, split)


# --- digits ----------------------------------------------------------------------------------


def test_digits_splits() -> None:
    train, validation, test = (load_dataset("digits", split) for split in SPLITS)
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
        hashlib.sha256(images.tobytes()).hexdigest()  # type: ignore[union-attr]
        == "159788eeb6b42a36fed5da852edd1d8720d679bb5a9e2508b67c940b0ca5b4a4"
    )


def test_digits_are_loaded_once() -> None:
    assert load_dataset("digits", "train") is load_dataset("digits", "train")
    assert np.shares_memory(
        load_dataset("digits", "train").images.base,  # type: ignore[union-attr]
        load_dataset("digits", "test").images.base,  # type: ignore[union-attr]
    )


def test_enlarging_keeps_the_place_and_fades_at_the_edge() -> None:
    """One white pixel, the scan's top left, spreads over 2 × 2.5 pixels each way around (5, 5)."""
    scan = np.zeros((1, 8, 8), np.uint8)
    scan[0, 0, 0] = 16
    (image,) = digits.enlarge(scan)
    # Weights along an axis for pixels 3, 4, 5, 6, 7: 0.3, 0.7, 0.9, 0.5, 0.1; none elsewhere.
    assert image[5].tolist()[2:10] == [0, 69, 161, 207, 115, 23, 0, 0]
    assert image[3].tolist()[2:10] == [0, 23, 54, 69, 38, 8, 0, 0]
    assert image[:3].max() == image[8:].max() == image[:, :3].max() == image[:, 8:].max() == 0
    white = digits.enlarge(np.full((1, 8, 8), 16, np.uint8))
    assert (white[0, 5:23, 5:23] == 255).all()


def test_neither_pooch_nor_the_network_is_needed_for_local_data(tmp_path: Path) -> None:
    code = (
        "import sys; from ram_envs.datasets import load_dataset; load_dataset('digits', 'test'); "
        "assert 'pooch' not in sys.modules and 'requests' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(ram_envs.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
