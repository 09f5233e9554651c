"""CIFAR-10: where its archive is found, how it is fetched, verified and read, and its images.

The archive is a small one made here, and the module's sizes and hash are replaced to match.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pooch
import pytest
from gymnasium.utils.env_checker import check_env
from test_mnist import Mirror, names_in

from ram_envs import ImageDataset
from ram_envs.datasets import (
    SPLITS,
    CorruptDatasetError,
    DatasetUnavailableError,
    check_images,
    cifar10,
    load_dataset,
    loading,
)
from ram_envs.datasets.download import KnownFile
from ram_envs.datasets.pixels import PictureWarning

NAMES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
OFFICIAL_ADDRESS = cifar10.ADDRESS


def pack(files: Mapping[str, bytes], folder: str = "cifar-10-batches-bin") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def batches() -> dict[str, bytes]:
    """Two images in each batch, of its number; red 10, green 20, blue 30, plus the column."""
    planes = np.zeros((3, 32, 32), np.uint8)
    planes[:] = [[[10]], [[20]], [[30]]]
    planes += np.arange(32, dtype=np.uint8)
    record = planes.tobytes()
    return {name: (bytes([number]) + record) * 2 for number, name in enumerate(NAMES)}


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """CIFAR-10 is not loaded yet, the cache is empty, and nothing is fetched from outside."""
    monkeypatch.setattr(cifar10, "IMAGES_PER_BATCH", 2)
    monkeypatch.setattr(cifar10, "NUM_VALIDATION", 3)
    monkeypatch.setattr(cifar10, "ADDRESS", "http://127.0.0.1:1/")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)  # between two attempts
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("RAM_ENVS_DATA_DIR", raising=False)
    loading.clear_cache()
    yield
    loading.clear_cache()


def make_official(monkeypatch: pytest.MonkeyPatch, packed: bytes) -> bytes:
    """Let these bytes be the archive that is looked for."""
    sha256 = hashlib.sha256(packed).hexdigest()
    archive = KnownFile(cifar10.ARCHIVE.name, len(packed), sha256)
    monkeypatch.setattr(cifar10, "ARCHIVE", archive)
    return packed


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> bytes:
    return make_official(monkeypatch, pack({"batches.meta.txt": b"airplane\n", **batches()}))


@pytest.fixture
def mirror(packed: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    mirror = Mirror({})
    mirror.files[cifar10.ARCHIVE.name] = packed
    monkeypatch.setattr(cifar10, "ADDRESS", mirror.url)
    yield mirror
    mirror.close()


def put(folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "cifar10" / cifar10.ARCHIVE.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    monkeypatch.setenv("RAM_ENVS_DATA_DIR", str(folder))
    return path


# --- where it is found -----------------------------------------------------------------------


def test_splits_and_pixels(packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, packed, monkeypatch)
    train, validation, test = (load_dataset("cifar10", split) for split in SPLITS)
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert validation.labels.tolist() == [3, 4, 4]  # the end of the training images
    assert test.labels.tolist() == [5, 5]
    assert test.array.shape == (2, 32, 32, 3)
    assert test.array[0, 0, 0].tolist() == [10, 20, 30]
    assert test.array[1, 31, 7].tolist() == [17, 27, 37]
    assert (test.name, test.class_names[0], test.class_names[9]) == ("cifar10", "airplane", "truck")
    assert names_in(path.parent) == [path.name]  # nothing was unpacked beside it
    assert load_dataset("cifar10", "test") is test


def test_a_download_fills_the_cache_and_is_made_once(mirror: Mirror, tmp_path: Path) -> None:
    assert load_dataset("cifar10", "test").labels.tolist() == [5, 5]
    loading.clear_cache()  # a new process finds the file
    load_dataset("cifar10", "train")
    assert mirror.requests == [cifar10.ARCHIVE.name]
    assert names_in(tmp_path / "cache" / "ram-gym" / "cifar10") == [cifar10.ARCHIVE.name]


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw + b"\0"])
def test_a_wrong_download_is_not_kept(change: Any, mirror: Mirror, tmp_path: Path) -> None:
    mirror.files[cifar10.ARCHIVE.name] = change(mirror.files[cifar10.ARCHIVE.name])
    with pytest.raises(DatasetUnavailableError, match=r"(?s)bytes.*dataset=PATH"):
        load_dataset("cifar10", "train")
    with pytest.raises(DatasetUnavailableError, match="once"):
        load_dataset("cifar10", "train")
    assert mirror.requests == [cifar10.ARCHIVE.name] * 2  # and not a third time
    assert names_in(tmp_path / "cache" / "ram-gym" / "cifar10") == []
    assert len(load_dataset("digits", "train")) == 1297


def test_it_comes_over_https() -> None:
    assert OFFICIAL_ADDRESS.startswith("https://")


def test_a_folder_without_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAM_ENVS_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"cifar-10-binary\.tar\.gz"):
        load_dataset("cifar10", "train")


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "given"),
    [
        ("cifar-10-binary.tar.gz", "cifar-10-binary.tar.gz"),
        ("cifar-10-python.tar.gz", "cifar-10-python.tar.gz"),
        ("cifar-10-binary.tar.gz", "."),
        ("cifar-10-batches-py/data_batch_1", "cifar-10-batches-py/data_batch_1"),
        ("cifar-10-batches-py/data_batch_1", "cifar-10-batches-py"),
        ("cifar-10-batches-bin/test_batch.bin", "."),
    ],
)
def test_the_path_of_its_files(file: str, given: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x1f\x8b")
    advice = r"'cifar10'.*RAM_ENVS_DATA_DIR/cifar10/cifar-10-binary\.tar\.gz"
    with pytest.raises(ValueError, match=f"{file}.*{advice}"):
        load_dataset(str(tmp_path / given), "train")
    with pytest.raises(ValueError, match=advice):
        check_images(tmp_path / given)


def test_its_archive_beside_pictures(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    (tmp_path / cifar10.ARCHIVE.name).write_bytes(b"\x1f\x8b")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        pillow.new("RGB", (4, 4)).save(tmp_path / name / "a.png")
    with pytest.warns(PictureWarning, match=r"\.gz"):
        assert load_dataset(tmp_path, "test", "all").class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (lambda packed: packed[:-100], "409 bytes instead of 509"),
        (lambda packed: packed + b"\0", " bytes "),
        (lambda packed: packed[:-1] + b"\1", "sha256"),
        (lambda packed: pack(batches(), "cifar-10-batches-py"), "Python"),
        (lambda packed: pack(batches(), "cifar-100-binary"), "'cifar-100-binary'"),
        (lambda packed: b"<html>", r"not a \.tar\.gz"),
        (lambda packed: packed[:20], r"not a \.tar\.gz"),
        (lambda packed: b"", r"not a \.tar\.gz"),
    ],
)
def test_another_archive(
    content: Any, problem: str, packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, content(packed), monkeypatch)
    with pytest.raises(CorruptDatasetError, match=problem) as caught:
        load_dataset("cifar10", "train")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"data_batch_2.bin": None}, r"data_batch_2\.bin"),
        ({"test_batch.bin": bytes(3073)}, r"test_batch\.bin.*3,073.*6,146"),
        ({"test_batch.bin": b"\x0a" + bytes(6145)}, "label 10"),
    ],
)
def test_members(changes: Any, problem: str, tmp_path: Path, monkeypatch: Any) -> None:
    files = {name: content for name, content in {**batches(), **changes}.items() if content}
    put(tmp_path, make_official(monkeypatch, pack(files)), monkeypatch)
    with pytest.raises(CorruptDatasetError, match=problem):
        load_dataset("cifar10", "train")


# --- the environment -------------------------------------------------------------------------

ASYMMETRIC = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
COLORED = ImageDataset(ASYMMETRIC, np.arange(6) % 3)


def test_the_environment(packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, packed, monkeypatch)
    env: Any = gym.make("RAMCIFAR10-v0", split="test")
    observation, _ = env.reset(seed=0, options={"index": 0})
    assert observation["glimpse"].shape == (6, 8, 8)
    assert env.action_space[1].n == 10
    assert [env.step(((0, 0), 5))[1] for _ in range(8)] == [0] * 7 + [1]
    check_env(gym.make("RAMCIFAR10-v0").unwrapped, skip_render_check=True)


def test_half_the_training_images_are_mirrored() -> None:
    for split in SPLITS:
        envs: Any = gym.make_vec(
            "RAMCIFAR10-v0", num_envs=600, dataset=COLORED, split=split, mirror=True
        )
        envs.reset(seed=0, options={"index": np.arange(600) % 6})
        shown = envs.unwrapped.canvases
        images = ASYMMETRIC[np.arange(600) % 6]
        plain = (shown == images).all(axis=(1, 2, 3))
        mirrored = (shown == images[:, :, ::-1]).all(axis=(1, 2, 3))
        assert (plain ^ mirrored).all()
        if split == "train":
            assert 250 < mirrored.sum() < 350
        else:
            assert plain.all()


def test_mirrored_images_are_the_same_alone_and_side_by_side() -> None:
    keywords: dict[str, Any] = {"dataset": COLORED, "mirror": True, "distortion": 0.5}
    envs: Any = gym.make_vec("RAMCIFAR10-v0", num_envs=8, **keywords)
    envs.reset(seed=3)
    for row, canvas in enumerate(envs.unwrapped.canvases):
        env: Any = gym.make("RAMCIFAR10-v0", **keywords)
        env.reset(seed=3 + row)
        assert np.array_equal(env.unwrapped.canvas, canvas)
