"""Images much larger than the retina's window are read by window, from any kind of storage."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from lazy_images import LazyImages

from ram_envs import ImageDataset
from ram_envs.retina import Retina

SHAPE = (3, 200, 150, 3)  # the window of G = 4, K = 2 is 8 × 8, and 16 of them are less
RETINA: dict[str, Any] = {"glimpse_size": 4, "num_scales": 2}
IMAGES = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
LABELS = np.array([0, 1, 0])


def make_zarr() -> Any:
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array({}, shape=SHAPE, chunks=(1, 64, 64, 3), dtype="uint8")
    array[:] = IMAGES
    return array


def map_file(tmp_path: Path) -> np.ndarray:
    np.save(tmp_path / "images.npy", IMAGES)
    mapped: np.ndarray = np.load(tmp_path / "images.npy", mmap_mode="r")
    return mapped


def play(images: Any, mode: AutoresetMode = AutoresetMode.NEXT_STEP) -> list[Any]:
    """Return the glimpses of four environments for a fixed sequence of actions."""
    dataset = ImageDataset(images, LABELS)
    envs = gym.make_vec(
        "RAMClassification-v0", num_envs=4, dataset=dataset, autoreset_mode=mode, **RETINA
    )
    envs.action_space.seed(0)
    results = [envs.reset(seed=0), *(envs.step(envs.action_space.sample()) for _ in range(14))]
    return [each[0]["glimpse"].tolist() for each in results]


def test_a_glimpse_by_window_equals_the_patch_of_the_image() -> None:
    assert not Retina(4, 2).pads(SHAPE[1:])
    assert Retina(12, 3).pads((192, 192))
    env: Any = gym.make("RAMClassification-v0", dataset=ImageDataset(IMAGES, LABELS), **RETINA)
    observation, _ = env.reset(seed=0, options={"index": 1})
    for _ in range(5):
        x, y = observation["location"].astype(np.float64)
        left, top = int((x + 1) / 2 * 150 + 0.5) - 2, int((y + 1) / 2 * 200 + 0.5) - 2
        if 0 <= left <= 146 and 0 <= top <= 196:
            patch = np.moveaxis(IMAGES[1, top : top + 4, left : left + 4], -1, 0)
            assert np.array_equal(observation["glimpse"][:3], patch / np.float32(255))
        observation, *_ = env.step((env.action_space.sample()[0], 0))


def test_glimpses_are_equal_from_memory_a_file_and_a_lazy_source(tmp_path: Path) -> None:
    expected = play(IMAGES)
    assert play(map_file(tmp_path)) == expected
    assert play(np.asfortranarray(IMAGES)) == expected
    lazy = LazyImages(IMAGES)
    assert play(lazy) == expected
    assert lazy.most == 8 * 8 * 3  # never more than a window


def test_glimpses_are_equal_from_zarr() -> None:
    assert play(make_zarr()) == play(IMAGES)


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_native_is_sync(mode: AutoresetMode) -> None:
    dataset = ImageDataset(LazyImages(IMAGES), LABELS)

    def make() -> Any:
        return gym.make("RAMClassification-v0", dataset=dataset, **RETINA)

    sync: Any = SyncVectorEnv([make] * 2, autoreset_mode=mode)
    native: Any = gym.make_vec(
        "RAMClassification-v0", num_envs=2, dataset=dataset, autoreset_mode=mode, **RETINA
    )
    observations, _ = native.reset(seed=3, options={"reset_mask": np.array([False, True])})
    assert not observations["glimpse"][0].any()  # that row has not begun an episode
    results, expected = native.reset(seed=3), sync.reset(seed=3)
    native.action_space.seed(0)
    for _ in range(6):
        assert np.array_equal(results[0]["glimpse"], expected[0]["glimpse"])
        action = native.action_space.sample()
        results, expected = native.step(action), sync.step(action)
    if mode is AutoresetMode.SAME_STEP:
        for row in range(2):
            glimpses = [each[4]["final_obs"][row]["glimpse"] for each in (results, expected)]
            assert np.array_equal(*glimpses)


def test_final_canvases_precede_the_reset() -> None:
    dataset = ImageDataset(LazyImages(IMAGES), LABELS)
    envs: Any = gym.make_vec(
        "RAMClassification-v0",
        num_envs=3,
        dataset=dataset,
        num_glimpses=1,
        autoreset_mode="SameStep",
        **RETINA,
    ).unwrapped
    envs.reset(seed=0, options={"index": np.array([2, 0, 1])})
    envs.step(envs.action_space.sample())
    assert np.array_equal(envs.final_canvases, IMAGES[[2, 0, 1]])


def test_memory_mapped_images_are_pickled_as_their_path(tmp_path: Path) -> None:
    mapped = map_file(tmp_path)
    for part in (slice(None), slice(1, 3)):
        dataset = ImageDataset(mapped[part], np.arange(len(mapped[part])))
        sent = pickle.dumps(dataset)
        assert len(sent) < 1000
        assert np.array_equal(pickle.loads(sent).images, IMAGES[part])
        assert isinstance(pickle.loads(sent).images.base, np.memmap)
    assert len(pickle.dumps(ImageDataset(mapped[:, ::2], LABELS))) > IMAGES[:, ::2].nbytes


def test_settings_that_draw_on_the_images_need_an_array() -> None:
    dataset = ImageDataset(LazyImages(IMAGES), LABELS, "tiles")
    for env_id, keywords in (
        ("RAMClassification-v0", {"canvas_size": 300}),
        ("RAMClassification-v0", {"num_clutter": 1}),
        ("RAMClassification-v0", {"distortion": 1.0}),
        ("RAMClassification-v0", {"elastic": 1.0}),
        ("RAMClassification-v0", {"mirror": True}),
        ("RAMMovingMNIST-v0", {"canvas_size": 300}),
    ):
        with pytest.raises(TypeError, match=r"tiles.*canvas_size.*mirror"):
            gym.make(env_id, dataset=dataset, **keywords)


def test_a_lazy_source_is_checked_like_an_array() -> None:
    assert repr(ImageDataset(LazyImages(IMAGES), LABELS)).endswith("(3, 200, 150, 3), 2 classes)")
    with pytest.raises(TypeError, match="float64"):
        ImageDataset(LazyImages(IMAGES / 255), LABELS)
    with pytest.raises(ValueError, match=r"\(200, 150\)"):
        ImageDataset(LazyImages(IMAGES[0, ..., 0]), LABELS)
    with pytest.raises(TypeError, match="list"):
        ImageDataset(IMAGES.tolist(), LABELS)


@pytest.mark.parametrize("retina", [RETINA, {"glimpse_size": 50, "num_scales": 2}])
@pytest.mark.parametrize(
    ("stored", "named"),
    [
        (IMAGES / 255, "float64"),
        (IMAGES.astype(np.int64), "int64"),
        (IMAGES[..., 0], "shape"),
        (IMAGES[..., :1], "shape"),
    ],
)
def test_a_lazy_source_that_returns_something_else_is_refused(
    retina: dict[str, Any], stored: np.ndarray, named: str
) -> None:
    """Both where windows are read and where small images are copied whole."""
    lazy = LazyImages(IMAGES)
    lazy.stored = stored
    dataset = ImageDataset(lazy, LABELS)
    env = gym.make("RAMClassification-v0", dataset=dataset, **retina)
    with pytest.raises(TypeError, match=f"LazyImages.*{named}"):
        env.reset(seed=0)
    with pytest.raises(TypeError, match=f"LazyImages.*{named}"):
        print(dataset.fingerprint)


def test_the_fingerprint_of_lazy_images_is_that_of_the_array() -> None:
    assert ImageDataset(IMAGES, LABELS).fingerprint == "fcfaa1deaae96939"
    assert ImageDataset(LazyImages(IMAGES), LABELS).fingerprint == "fcfaa1deaae96939"


def test_an_image_larger_than_memory_is_looked_at_and_drawn() -> None:
    pytest.importorskip("pygame")
    black_and_white = np.repeat(np.array([0, 255], np.uint8), 10**5)
    vast = np.broadcast_to(black_and_white, (1, 2 * 10**5, 2 * 10**5))  # 40 GB if it were copied
    env: Any = gym.make(
        "RAMClassification-v0",
        dataset=ImageDataset(vast, np.zeros(1, np.int64)),
        render_mode="rgb_array",
        initial_location=(0, 0),
    )
    observation, _ = env.reset(seed=0)
    assert observation["glimpse"].tolist() == [[[0] * 4 + [1] * 4] * 8]
    frame = env.render()
    assert frame[200, 100].max() == 0  # the left half
    assert frame[200, 450].min() > 250  # the right half
