"""MNIST: where it is found, how it is fetched and verified, and when the digits replace it.

The downloads come from a small HTTP server in this process that serves tiny files in MNIST's
format; the module's tables of sizes and hashes are replaced to match.
"""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import os
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
from helpers import to_idx

import ram_envs
from ram_envs.datasets import (
    SPLITS,
    CorruptDatasetError,
    DatasetFallbackWarning,
    DatasetUnavailableError,
    load_dataset,
    loading,
    mnist,
)
from ram_envs.datasets.download import KnownFile
from ram_envs.datasets.idx import parse_idx

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def tiny_mnist() -> dict[str, bytes]:
    """Four IDX files: 6 training and 2 test images of 3 × 3, whose pixels are their number."""
    train = np.repeat(np.arange(6, dtype=np.uint8), 9).reshape(6, 3, 3)
    return {
        TRAIN_IMAGES: to_idx(train),
        TRAIN_LABELS: to_idx([0, 1, 1, 0, 1, 0]),
        TEST_IMAGES: to_idx(train[:2] + 100),
        TEST_LABELS: to_idx([1, 0]),
    }


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    loading.clear_cache()
    yield
    loading.clear_cache()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """MNIST is the tiny one, looked for in an empty cache under ``tmp_path``, no mirror known."""
    files = tiny_mnist()
    table = tuple(
        KnownFile(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    )
    monkeypatch.setattr(mnist, "MNIST_FILES", table)
    monkeypatch.setattr(mnist, "NUM_VALIDATION", 2)
    monkeypatch.setattr(mnist, "MIRRORS", ())
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("RAM_ENVS_DATA_DIR", raising=False)
    return files


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "ram-gym" / "mnist"


HTTPS_MIRRORS = mnist.MIRRORS  # tests put others in their place


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
    monkeypatch.setattr(mnist, "MIRRORS", (mirror.url,))
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)  # between two attempts
    yield mirror
    mirror.close()


def write_tiny(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


# --- MNIST in a folder -----------------------------------------------------------------------


@pytest.mark.usefixtures("real_mnist")
def test_mnist_splits() -> None:
    train, validation, test = (load_dataset("mnist", split) for split in SPLITS)
    assert [len(train), len(validation), len(test)] == [50_000, 10_000, 10_000]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert (train.name, train.num_classes, train.images.shape[1:]) == ("mnist", 10, (28, 28))
    assert load_dataset("auto", "train") is train


@pytest.mark.usefixtures("real_mnist")
def test_mnist_validation_is_the_last_10_000_training_images_in_the_same_memory() -> None:
    train, validation = load_dataset("mnist", "train"), load_dataset("mnist", "validation")
    start = train.images.__array_interface__["data"][0]  # type: ignore[union-attr]
    assert validation.images.__array_interface__["data"][0] == start + 50_000 * 28 * 28  # type: ignore[union-attr]
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
    train, validation, test = (load_dataset("mnist", split) for split in SPLITS)
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
    assert str(folder) in str(caught.value)
    assert TEST_LABELS in str(caught.value)
    assert TRAIN_LABELS not in str(caught.value)
    assert mirror.requests == []


def test_data_dir_that_does_not_exist_is_an_error(
    tiny: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAM_ENVS_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=rf"nowhere.*{TRAIN_IMAGES}, {TRAIN_LABELS}"):
        load_dataset("auto", "train")
    assert len(load_dataset("digits", "train")) == 1297


def flip_last_byte(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda files: files[TEST_IMAGES][:-1], "33 bytes .* 34"),
        (lambda files: files[TEST_IMAGES] + b"\0", " 34 "),
        (lambda files: b"", " 0 bytes .* 34"),
        (lambda files: files[TRAIN_IMAGES], " 34 "),
        (lambda files: flip_last_byte(files[TEST_IMAGES]), "sha256"),
        (lambda files: gzip.compress(files[TEST_IMAGES])[:-9], "damaged"),
        (lambda files: b"\x1f\x8b" + bytes(40), "damaged"),
        (lambda files: gzip.compress(bytes(500_000)), " 34 "),
        (lambda files: bytes(5000), "1,058"),
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
        (b"\x00\x00", "00 00"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00\x00\x00\x00", "00 00 0d 01"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03ab", r"\[3\].* 10 bytes"),
        (b"\x00\x00\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", " 16 bytes"),
        (b"\x00\x00\x08\x03\x00\x00", "header"),
        (b"\x00\x00\x08\xff", "255 axes .* 1 to 4"),
        (b"\x00\x00\x08\x00\x07", " 0 axes"),
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

    loading.clear_cache()  # a new process finds the files
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
        monkeypatch.setattr(mnist, "MIRRORS", (mirror.url, second.url))
        del mirror.files[f"{TRAIN_IMAGES}.gz"]
        assert load_dataset("mnist", "train").labels.tolist() == [0, 1, 1, 0]
        assert second.requests == [f"{TRAIN_IMAGES}.gz"]
        assert names_in(cache) == ALL_NAMES
    finally:
        second.close()


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        (lambda content: gzip.compress(flip_last_byte(content)), "sha256"),
        (lambda content: gzip.compress(content)[:-9], "damaged"),
        (lambda content: b"<html>Please log in to this network</html>", " 14 "),
        (lambda content: bytes(100_000), "1,038"),
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
    assert mirror.requests == [f"{TRAIN_IMAGES}.gz"] * 2

    loading.clear_cache()
    mirror.mends_after = 2  # the second attempt succeeds
    assert len(load_dataset("mnist", "train")) == 4
    assert names_in(cache) == ALL_NAMES


def test_downloads_come_over_https_whatever_a_server_says(mirror: Mirror, cache: Path) -> None:
    assert all(url.startswith("https://") for url in HTTPS_MIRRORS)
    mirror.sends_on_to = f"{mirror.url}elsewhere.gz"
    with pytest.raises(DatasetUnavailableError, match=mirror.sends_on_to):
        load_dataset("mnist", "train")
    assert mirror.requests == [f"{TRAIN_IMAGES}.gz"]


def test_error_names_every_url_its_reason_and_what_to_do(
    mirror: Mirror, tiny: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    offline = Mirror(tiny)
    offline.close()  # nothing listens on its port any more
    monkeypatch.setattr(mnist, "MIRRORS", (mirror.url, offline.url))
    mirror.files.clear()
    with pytest.raises(DatasetUnavailableError) as caught:
        load_dataset("mnist", "train")
    message = str(caught.value)
    assert f"{mirror.url}{TRAIN_IMAGES}.gz: HTTPError: 404" in message
    assert f"{offline.url}{TRAIN_IMAGES}.gz: ConnectionRefusedError: " in message
    assert "RAM_ENVS_DATA_DIR" in message
    assert "digits" in message


def test_failed_download_is_remembered_and_auto_falls_back_with_one_warning(
    mirror: Mirror,
) -> None:
    mirror.files.clear()
    with pytest.raises(DatasetUnavailableError):
        load_dataset("mnist", "train")
    assert len(mirror.requests) == 1
    with pytest.warns(DatasetFallbackWarning, match="1,797") as caught:
        assert load_dataset("auto", "train").name == "digits"
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_dataset("auto", "test") is load_dataset("digits", "test")
    with pytest.raises(DatasetUnavailableError, match="once"):
        load_dataset("mnist", "train")
    assert len(mirror.requests) == 1


def test_damaged_cache_is_named_and_left_alone(
    mirror: Mirror, tiny: dict[str, bytes], cache: Path
) -> None:
    write_tiny(cache, tiny)
    (cache / TRAIN_IMAGES).write_bytes(b"damaged")
    with pytest.raises(CorruptDatasetError) as caught:
        load_dataset("auto", "train")
    assert str(cache / TRAIN_IMAGES) in str(caught.value)
    assert (cache / TRAIN_IMAGES).read_bytes() == b"damaged"
    assert mirror.requests == []

    (cache / TRAIN_IMAGES).unlink()
    assert load_dataset("auto", "train").name == "mnist"


def test_cache_that_cannot_be_written_counts_as_unavailable(mirror: Mirror, cache: Path) -> None:
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(DatasetUnavailableError, match=str(cache)):
        load_dataset("mnist", "train")
    with pytest.warns(DatasetFallbackWarning):
        assert load_dataset("auto", "train").name == "digits"


def test_interrupted_download_leaves_nothing(
    mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(source: str, target: str) -> None:
        assert Path(source).read_bytes() == mirror.files[Path(target).name]
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.core.shutil, "move", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_dataset("mnist", "train")
    assert names_in(cache) == []


LOAD_IN_A_NEW_PROCESS = """
import json, pathlib, sys
import pooch
from ram_envs.datasets import load_dataset, mnist
from ram_envs.datasets.download import KnownFile

told = json.loads(sys.argv[1])
pooch.os_cache = lambda project: pathlib.Path(told["cache"]) / project
mnist.MNIST_FILES = tuple(KnownFile(*row) for row in told["files"])
mnist.NUM_VALIDATION = 2
mnist.MIRRORS = (told["mirror"],)
print(load_dataset("mnist", "train").labels.tolist())
"""


def test_two_processes_may_download_at_once(mirror: Mirror, cache: Path) -> None:
    mirror.meet = threading.Barrier(2)  # each file is sent only once both have asked for it
    told = {
        "cache": str(cache.parent.parent),
        "files": [(file.name, file.num_bytes, file.sha256) for file in mnist.MNIST_FILES],
        "mirror": mirror.url,
    }
    command = [sys.executable, "-c", LOAD_IN_A_NEW_PROCESS, json.dumps(told)]
    environment = os.environ | {"PYTHONPATH": str(Path(ram_envs.__file__).parent.parent)}
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
