"""Worker processes and their parent have one copy of the images, and leave nothing behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector.utils import CloudpickleWrapper

from ram_envs.datasets import ImageDataset
from ram_envs.datasets.sharing import SharedArray


def make_dataset() -> ImageDataset:
    """Four color images 6 × 5, of which image i is all i, not contiguous in memory."""
    channels_first = np.repeat(np.arange(4, dtype=np.uint8), 3 * 6 * 5).reshape(4, 3, 6, 5)
    return ImageDataset(np.moveaxis(channels_first, 1, -1), np.array([0, 1, 0, 1]))


def make_workers(dataset: ImageDataset, start_method: str) -> Any:
    return gym.make_vec(
        "RAMClassification-v0",
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"context": start_method},
        dataset=dataset,
        glimpse_size=2,
    )


def seen_by(workers: Any, index: int) -> list[int]:
    """The distinct values on the canvases of all workers."""
    workers.reset(options={"index": index})
    return np.unique(workers.get_attr("canvas")).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_started_workers_map_one_file_without_a_name(
    start_method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dataset = make_dataset()
    workers = make_workers(dataset, start_method)
    assert [seen_by(workers, index) for index in range(4)] == [[0], [1], [2], [3]]
    file = dataset._shared[0]._file.fileno()
    os.pwrite(file, bytes([77]) * (6 * 5 * 3), 2 * 6 * 5 * 3)  # over image 2
    assert [seen_by(workers, index) for index in (1, 2, 3)] == [[1], [77], [3]]
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    workers.close()
    assert dataset.images[2].max() == 2  # the parent's own array


def test_forked_workers_see_the_memory_of_their_parent() -> None:
    dataset = make_dataset()
    workers = make_workers(dataset, "fork")
    assert [seen_by(workers, index) for index in range(4)] == [[0], [1], [2], [3]]
    workers.close()
    assert "_shared" not in vars(dataset)  # no file was written


def _send_sums(pipe: Any, *makes: Any) -> None:
    pipe.send([int(make().images.sum()) for make in makes])


def test_one_process_can_be_sent_the_same_data_set_twice() -> None:
    dataset, (here, there) = make_dataset(), multiprocessing.Pipe()
    makes = [CloudpickleWrapper(lambda: dataset) for _ in range(2)]  # type: ignore[type-var]
    process = multiprocessing.get_context("spawn").Process(target=_send_sums, args=(there, *makes))
    process.start()
    assert here.recv() == [540, 540]  # (0 + 1 + 2 + 3) · 6 · 5 · 3
    process.join()


def test_elsewhere_the_images_themselves_are_sent() -> None:
    dataset = make_dataset()
    assert np.array_equal(pickle.loads(pickle.dumps(dataset)).images, dataset.images)  # type: ignore[arg-type]
    assert "_shared" not in vars(dataset)
    with pytest.raises(RuntimeError, match="through inheritance"):
        pickle.dumps(SharedArray(dataset.images))  # type: ignore[arg-type]


def test_the_file_is_closed_with_its_data_set() -> None:
    dataset = make_dataset()
    file = dataset._shared[0]._file
    del dataset
    gc.collect()
    assert file.closed


def test_a_folder_without_room_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OSError, match=r"360 .*missing.*TMPDIR"):
        SharedArray(make_dataset().images)  # type: ignore[arg-type]
