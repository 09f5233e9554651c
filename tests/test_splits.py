"""Images without splits are divided by a hash, and a data set knows its splits and classes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from helpers import read_images, write_idx

from ram_envs.datasets import SPLITS, ImageDataset, load_dataset, loading
from ram_envs.datasets.splits import divide

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def sizes(rows: dict[Any, npt.NDArray[np.int64]]) -> tuple[int, ...]:
    return tuple(len(each) for each in rows.values())


def make_folder(folder: Path, classes: dict[str, int], first: int = 0) -> Path:
    """Make class folders of pictures 2 × 2, of which picture i is all i."""
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            path = folder / name / f"{number}.png"
            Image.fromarray(np.full((2, 2), number, np.uint8)).save(path)
    return folder


def contents(path: Path, **options: Any) -> dict[str, set[tuple[int, int]]]:
    """Return the label and value of each picture, for each split."""
    datasets = {split: load_dataset(path, split, **options) for split in SPLITS}
    return {
        split: set(zip(each.labels.tolist(), each.array[:, 0, 0].tolist(), strict=True))
        for split, each in datasets.items()
    }


# --- the rule --------------------------------------------------------------------------------


def test_about_70_15_and_15_percent_of_each_class() -> None:
    labels = np.arange(10_000) % 2
    rows = divide(labels, None)
    assert sorted(np.concatenate([*rows.values()]).tolist()) == [*range(10_000)]
    for label in (0, 1):
        shares = [np.count_nonzero(labels[each] == label) / 5_000 for each in rows.values()]
        assert np.abs(np.array(shares) - [0.70, 0.15, 0.15]).max() < 0.015
    assert [*divide(labels, None)["test"][:5]] == [*rows["test"][:5]]
    train, validation = divide(labels, None, ("train", "validation")).values()
    assert abs(len(validation) / 10_000 - 0.15 / 0.85) < 0.01
    assert len(train) + len(validation) == 10_000


def test_the_rule_is_the_same_on_every_machine() -> None:
    """Values that only a change of the rule changes: agents trained before would mix splits."""
    keys = [f"cat/{number}.png" for number in range(12)]
    rows = divide(np.zeros(12, np.int64), keys)
    assert {split: each.tolist() for split, each in rows.items()} == {
        "train": [1, 4, 5, 6, 7, 8, 9, 10],
        "validation": [0],
        "test": [2, 3, 11],
    }


def test_numbered_images_are_divided_almost_exactly() -> None:
    keys = [f"cat/IMG_{number:04d}.jpg" for number in range(1000, 1070)]
    train, validation, test = sizes(divide(np.zeros(70, np.int64), keys))
    assert abs(train - 49) <= 3  # of 60 among them exactly 42
    assert abs(validation - 10.5) <= 2.5
    assert abs(test - 10.5) <= 2.5
    assert sizes(divide(np.zeros(60, np.int64), keys[:60])) == (42, 9, 9)


def test_adding_an_image_moves_no_other() -> None:
    keys = [f"cat/{number}.png" for number in range(60)]
    before = divide(np.zeros(60, np.int64), keys)
    for new in range(20):
        added = [f"cat/a{new}.png", *keys]  # first in order
        after = divide(np.zeros(61, np.int64), added)
        for split in SPLITS:
            assert {keys[row] for row in before[split]} <= {added[row] for row in after[split]}


@pytest.mark.parametrize(
    ("count", "expected"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (5, None), (9, None)]
)
def test_a_small_class_is_in_every_split_that_it_can_be_in(count: int, expected: Any) -> None:
    for trial in range(50):
        keys = [f"{trial}/{number}" for number in range(count)]
        found = sizes(divide(np.zeros(count, np.int64), keys))
        assert found == expected if expected else min(found) >= 1


# --- folders ---------------------------------------------------------------------------------


def test_a_folder_is_divided_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path, {"cat": 100, "dog": 110})
    found = contents(folder)
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 210
    for split in SPLITS:
        assert {label for label, _ in found[split]} == {0, 1}
        assert load_dataset(folder, split).class_names == ("cat", "dog")
    counts = [len(found[split]) for split in SPLITS]
    said = capsys.readouterr().err
    assert said.count("\n") == 1  # though all three were loaded
    assert f"210 images: {counts[0]} train, {counts[1]} validation, {counts[2]} test" in said
    assert said.startswith(str(folder))


def test_a_picture_that_is_added_moves_no_other(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"cat": 60, "dog": 60})
    before = contents(folder)
    make_folder(folder, {"ant": 30, "cat": 1}, first=200)  # "ant" becomes class 0
    after = contents(folder)
    for split in SPLITS:
        assert {(label + 1, value) for label, value in before[split]} <= after[split]


def test_where_the_folder_lies_does_not_matter(tmp_path: Path) -> None:
    one = make_folder(tmp_path / "one", {"cat": 40, "dog": 40})
    two = make_folder(tmp_path / "elsewhere" / "two", {"cat": 40, "dog": 40})
    assert contents(one) == contents(two)
    for split in SPLITS:
        assert load_dataset(one, split).fingerprint == load_dataset(two, split).fingerprint


def test_all_images_serve_every_split_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path, {"cat": 2, "dog": 1}, first=1)
    assert load_dataset(folder, "train", "all") is load_dataset(folder, "test", "all")
    assert len(load_dataset(folder, "validation", "all")) == 3
    assert capsys.readouterr().err == ""


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"cat": 2, "dog": 1})
    with pytest.raises(ValueError, match=r"3 images .*validation"):
        load_dataset(folder, "train")


def test_training_pictures_are_divided_where_there_is_a_test_folder(tmp_path: Path) -> None:
    make_folder(tmp_path / "train", {"cat": 60, "dog": 60})
    make_folder(tmp_path / "test", {"cat": 3, "dog": 3}, first=200)
    found = contents(tmp_path)
    assert found["test"] == {(label, value) for label in (0, 1) for value in (200, 201, 202)}
    assert len(found["train"] | found["validation"]) == 120
    assert 10 < len(found["validation"]) < 35
    make_folder(tmp_path / "train", {"cat": 1}, first=100)
    after = contents(tmp_path)
    assert found["train"] <= after["train"]
    assert found["validation"] <= after["validation"]


def test_splits_all_is_refused_where_it_has_no_effect(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        make_folder(tmp_path / split, {"cat": 1, "dog": 1})
    three = [load_dataset(tmp_path, split) for split in SPLITS]
    for dataset in (tmp_path, "digits", three):
        with pytest.raises(ValueError, match="all"):
            load_dataset(dataset, "train", "all")
    with pytest.raises(ValueError, match="every"):
        load_dataset(tmp_path, "train", "every")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="background"):
        load_dataset("digits", "train", background=0)


# --- arrays ----------------------------------------------------------------------------------

IMAGES = np.repeat(np.arange(240, dtype=np.uint8), 4).reshape(240, 2, 2)
LABELS = np.arange(240) % 3


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_arrays_are_divided_by_index(kind: str, tmp_path: Path) -> None:
    def write(count: int) -> Path:
        if kind == "npz":
            np.savez(tmp_path / "a.npz", images=IMAGES[:count], labels=LABELS[:count])
            return tmp_path / "a.npz"
        np.save(tmp_path / "images.npy", IMAGES[:count])
        np.save(tmp_path / "labels.npy", LABELS[:count, None])
        return tmp_path

    before = contents(write(200))
    after = contents(write(240))
    assert sum(map(len, after.values())) == 240
    for split in SPLITS:
        assert before[split] <= after[split]
        assert {label for label, _ in after[split]} == {0, 1, 2}


def test_arrays_that_do_not_fit_are_refused_before_they_are_divided(tmp_path: Path) -> None:
    for labels in (np.zeros((240, 5), int), LABELS[:9], LABELS / 2, LABELS - 1):
        for name in ("", "train_"):
            arrays = {f"{name}images": IMAGES, f"{name}labels": labels}
            test = {"test_images": IMAGES, "test_labels": LABELS} if name else {}
            np.savez(tmp_path / "a.npz", **arrays, **test, class_names=["a", "b", "c"])  # type: ignore[arg-type]
            with pytest.raises(ValueError, match=r"a\.npz"):
                read_images(tmp_path / "a.npz")


def test_large_mapped_arrays_are_divided_without_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", LABELS)
    copied = read_images(tmp_path)
    monkeypatch.setattr("ram_envs.datasets.source.MAX_COPIED_BYTES", 0)
    mapped = read_images(tmp_path)
    for split in SPLITS:
        assert not isinstance(mapped[split].images, np.ndarray)
        assert mapped[split].fingerprint == copied[split].fingerprint
        assert np.asarray(mapped[split].images[3, 0:1, 1:2]).tolist() == [
            [copied[split].array[3, 0, 1]]
        ]
    options: dict[str, Any] = {"dataset": mapped["test"], "glimpse_size": 2}
    env: Any = gym.make("RAMClassification-v0", **options).unwrapped
    env.reset(seed=0, options={"index": 2})
    assert np.array_equal(env.canvas, copied["test"].array[2])


@pytest.mark.parametrize("is_sorted", [True, False])
def test_no_class_of_sorted_idx_files_is_lost(is_sorted: bool, tmp_path: Path) -> None:
    labels = np.arange(90) // 30 if is_sorted else LABELS[:90]
    for name, images, of in (("train", IMAGES[:90], labels), ("t10k", IMAGES[:3], LABELS[:3])):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", of)
    validation = load_dataset(tmp_path, "validation")
    assert np.bincount(validation.labels).tolist() == [5, 5, 5]
    values = validation.array[:, 0, 0].tolist()
    assert values == ([*range(5, 90, 6)] if is_sorted else [*range(75, 90)])
    assert len(load_dataset(tmp_path, "train")) == 75


# --- what an environment says ----------------------------------------------------------------


def test_environments_know_their_splits_and_classes(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"cat": 9, "dog": 9})
    options: dict[str, Any] = {"glimpse_size": 2, "num_scales": 1}
    for make in (gym.make, gym.make_vec):
        env = make("RAMClassification-v0", dataset=str(folder), **options)
        whole = make("RAMClassification-v0", dataset=folder, splits="all", **options)
        assert env.unwrapped.splits == SPLITS  # type: ignore[union-attr]
        assert whole.unwrapped.splits == ("all",)  # type: ignore[union-attr]
        assert whole.unwrapped.num_images == 18 > env.unwrapped.num_images  # type: ignore[union-attr]
        assert env.unwrapped.dataset_name == str(folder)  # type: ignore[union-attr]
        assert env.unwrapped.batch.task.choice_names == ("cat", "dog")  # type: ignore[union-attr]


@pytest.mark.parametrize("given", ["digits/", "./digits", "digits.npz", Path("digits")])
def test_a_path_is_not_taken_for_a_name(
    given: str | Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "digits", {"one": 9, "two": 9})
    np.savez(tmp_path / "digits.npz", images=IMAGES, labels=LABELS)
    dataset = load_dataset(given, "train")
    assert dataset.name == str(tmp_path / os.path.normpath(given))
    capsys.readouterr()
    loading.clear_cache()
    for split in SPLITS:
        assert load_dataset("digits", split).name == "digits"
    assert capsys.readouterr().err.count("./digits") == 1  # which may have been meant


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match="''"):
        load_dataset("", "train")


@pytest.mark.parametrize(("given", "meant"), [("val", "validation"), ("training", "train")])
def test_other_names_of_a_split_have_a_hint(given: Any, meant: str) -> None:
    with pytest.raises(ValueError, match=f"{given}.*'{meant}'"):
        load_dataset("digits", given)


@pytest.mark.parametrize("in_home", [False, True])
def test_a_path_in_the_spec_is_written_as_json(
    tmp_path: Path, in_home: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    folder = make_folder(tmp_path, {"cat": 9, "dog": 9})
    given = Path("~") / folder.relative_to(tmp_path) if in_home else folder
    for make in (gym.make, gym.make_vec):
        env = make("RAMClassification-v0", dataset=given, glimpse_size=2)
        assert env.spec is not None
        assert str(folder) in env.spec.to_json()


# --- what changes ----------------------------------------------------------------------------


def test_a_changed_folder_is_read_again(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"cat": 3, "dog": 3})
    first = load_dataset(folder, "train", "all")
    assert load_dataset(folder, "test", "all") is first
    path = folder / "cat" / "0.png"
    stat = path.stat()
    Image.fromarray(np.full((2, 2), 77, np.uint8)).save(path)  # as long as before
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    second = load_dataset(folder, "train", "all")
    assert (first.array[0, 0, 0], second.array[0, 0, 0]) == (0, 77)
    (folder / "dog" / "1.png").unlink()
    assert len(load_dataset(folder, "train", "all")) == 5
    (folder / "dog").rename(folder / "ant")
    assert load_dataset(folder, "train", "all").class_names == ("ant", "cat")


def test_a_changed_npz_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    first = load_dataset(path, "train", "all")
    np.savez(path, images=255 - IMAGES, labels=LABELS)
    assert load_dataset(path, "train", "all").array[0, 0, 0] == 255 - first.array[0, 0, 0]


def test_output_in_another_encoding_is_no_obstacle(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "photos ☃", {"cat": 9, "dog": 9})
    code = f"from ram_envs.datasets import load_dataset; load_dataset({str(folder)!r}, 'test')"
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "18 images" in done.stderr


def test_a_stamp_survives_the_cache(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"cat": 9, "dog": 9})
    dataset = load_dataset(folder, "test")
    loading.clear_cache()
    again = load_dataset(folder, "test")
    assert isinstance(again, ImageDataset)
    assert again is not dataset
    assert again.fingerprint == dataset.fingerprint
