"""Two digits on one canvas: where they lie, what they are called, and what is fixed."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import ram_envs  # noqa: F401  (registers the ids)
from ram_envs import ImageDataset
from ram_envs.envs.pairs import PairsEnv
from ram_envs.streams import Streams, combine_keys
from ram_envs.tasks.pairs import PairCanvas, PairClassification

MIDDLE = (0.0, 0.0)
# Image k shows its class k + 1 in all its 3 × 2 pixels, so that a canvas says what lies on it.
CLASSES = np.arange(10)
PLAIN = ImageDataset(
    np.broadcast_to((CLASSES + 1).astype(np.uint8)[:, None, None], (10, 3, 2)).copy(), CLASSES
)
SMALL: dict[str, Any] = {
    "dataset": PLAIN,
    "canvas_size": (6, 7),
    "num_clutter": 0,
    "glimpse_size": 2,
    "num_scales": 1,
}


def make_task(**keywords: Any) -> PairClassification:
    task = PairsEnv(**SMALL | keywords).batch.task
    assert isinstance(task, PairClassification)
    return task


def make_vec(env_id: str, **keywords: Any) -> Any:
    return gym.make_vec(env_id, num_envs=30, dataset="digits", **keywords).unwrapped


def classes_on(canvas: Any) -> list[int]:
    """The classes of the two plain images on a canvas, in order."""
    values, counts = np.unique(canvas[canvas > 0], return_counts=True)
    assert counts.sum() == 12
    return (values - 1).repeat(counts // 6).tolist()


# --- places ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "number"),
    [((6, 7), 352), ((3, 4), 2), ((6, 2), 2), ((5, 4), 18), ((9, 5), 494)],
)
def test_all_pairs_of_places_without_overlap_are_equally_likely(
    shape: tuple[int, int], number: int
) -> None:
    height, width = shape
    places = list(itertools.product(range(height - 2), range(width - 1)))
    apart = {
        (*first, *second)
        for first, second in itertools.product(places, places)
        if abs(first[0] - second[0]) >= 3 or abs(first[1] - second[1]) >= 2
    }
    assert len(apart) == number
    count = 200 * number
    images = np.stack([np.full((3, 2), value, np.uint8) for value in (1, 2)])
    rows, streams = np.tile([0, 1], (count, 1)), Streams(combine_keys(3, np.arange(count)))
    canvases = PairCanvas(shape, (3, 2)).draw(images, rows, streams).reshape(count, -1)
    first, second = (divmod((canvases == value).argmax(1), shape[1]) for value in (1, 2))
    found, counts = np.unique(np.stack([*first, *second], 1), axis=0, return_counts=True)
    assert {tuple(pair) for pair in found.tolist()} == apart
    # The statistic has a mean of number − 1 and a variance of twice that.
    assert ((counts - 200) ** 2 / 200).sum() < number - 1 + 5 * np.sqrt(2 * number)


def test_digits_lie_inside_and_do_not_overlap() -> None:
    images = np.full((3, 28, 28), 100, np.uint8)  # 200 where two overlap
    dataset = ImageDataset(images, np.arange(3))
    envs: Any = gym.make_vec("RAMPairsMNIST-v0", num_envs=200, dataset=dataset, num_clutter=0)
    envs.reset(seed=0)
    assert (np.unique(envs.unwrapped.canvases) == [0, 100]).all()
    assert (np.count_nonzero(envs.unwrapped.canvases, axis=(1, 2)) == 2 * 28 * 28).all()


def test_clutter_lies_beneath_both() -> None:
    task = make_task(num_clutter=20, clutter_size=1)
    state = task.allocate(50)
    task.begin(state, np.arange(50), Streams(combine_keys(0, np.arange(50))), {"index": 4})
    canvases = state.canvases
    assert canvases is not None
    total = canvases.sum(axis=(1, 2), dtype=int)
    clutter = total - 6 * 5  # and the second digit's
    assert (clutter >= 20 + 6).all()
    assert len(set(clutter.tolist())) > 30


# --- labels ----------------------------------------------------------------------------------


def test_names_of_pairs() -> None:
    names = make_task().choice_names
    assert len(names) == 55
    assert names[:3] == ("0 and 0", "0 and 1", "0 and 2")
    assert names[9:11] == ("0 and 9", "1 and 1")
    assert (names[36], names[54]) == ("4 and 6", "9 and 9")


def test_names_of_sums() -> None:
    assert make_task(answer="sum").choice_names == tuple(map(str, range(19)))


def test_labels_name_what_is_on_the_canvas() -> None:
    for answer in ("pair", "sum"):
        envs: Any = gym.make_vec("RAMPairsMNIST-v0", num_envs=500, **SMALL, answer=answer)
        _, info = envs.reset(seed=0)
        names = envs.unwrapped.batch.task.choice_names
        for canvas, label in zip(envs.unwrapped.canvases, info["label"], strict=True):
            first, second = classes_on(canvas)
            name = f"{first} and {second}" if answer == "pair" else str(first + second)
            assert names[label] == name
        assert len(set(info["label"].tolist())) == (55 if answer == "pair" else 19)


def test_the_index_chooses_the_first_digit_and_the_second_is_drawn() -> None:
    envs: Any = gym.make_vec("RAMPairsMNIST-v0", num_envs=200, **SMALL)
    _, info = envs.reset(seed=0, options={"index": 7})
    assert (info["index"] == 7).all()
    pairs = [classes_on(canvas) for canvas in envs.unwrapped.canvases]
    assert all(7 in pair for pair in pairs)
    others = [first if second == 7 else second for first, second in pairs]
    assert np.bincount(others).min() > 5  # 7 itself among them


def test_the_last_label_is_rewarded() -> None:
    env = gym.make("RAMAdditionMNIST-v0", **SMALL, num_glimpses=2)
    _, info = env.reset(seed=0, options={"index": 9})
    label = info["label"]
    assert env.step((MIDDLE, label))[1:] == (0.0, False, False, {"label": label, "index": 9})
    assert env.step((MIDDLE, label))[1:] == (1.0, True, False, {"label": label, "index": 9})


# --- fixed canvases --------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["validation", "test"])
def test_canvases_are_fixed_and_the_same_for_both_tasks(split: str) -> None:
    pairs = make_vec("RAMPairsMNIST-v0", split=split)
    sums = make_vec("RAMAdditionMNIST-v0", split=split, num_glimpses=6, distortion=1.0)
    clutter = make_vec("RAMClutteredMNIST100-v0", split=split)
    for seed, envs in enumerate((pairs, sums, clutter)):
        envs.reset(seed=seed, options={"index": np.arange(30)})
    assert np.array_equal(pairs.canvases, sums.canvases)
    assert not np.array_equal(pairs.canvases, clutter.canvases)


def test_what_the_test_canvases_are() -> None:
    envs: Any = gym.make_vec("RAMPairsMNIST-v0", num_envs=300, dataset="digits", split="test")
    _, info = envs.reset(options={"index": np.arange(300)})
    digest = hashlib.sha256(envs.unwrapped.canvases.tobytes())
    digest.update(info["label"].tobytes())
    assert digest.hexdigest()[:16] == "ee3b6fe2068f0577"


def test_training_canvases_differ_between_episodes() -> None:
    options = {"index": np.arange(30)}
    plain = make_vec("RAMPairsMNIST-v0")
    plain.reset(seed=0, options=options)
    before = plain.canvases
    plain.reset(options=options)
    assert not np.array_equal(before, plain.canvases)


def test_both_digits_are_distorted() -> None:
    """Squares that stay squares in each canvas without distortion, and in none with it."""
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 8:20, 8:20], images[1, 8:20, 8:20] = 100, 200
    dataset = ImageDataset(images, np.arange(2))
    unchanged = []
    for distortion in (0.0, 1.0):
        envs: Any = gym.make_vec(
            "RAMPairsMNIST-v0", 50, dataset=dataset, num_clutter=0, distortion=distortion
        )
        envs.reset(seed=0, options={"index": 0})
        canvases = envs.unwrapped.canvases
        plain = [(canvases == value).sum(axis=(1, 2)) == 144 for value in (100, 200)]
        both = envs.unwrapped.batch.state.second == 1
        unchanged.append([int(one[both].sum()) for one in plain])
    assert unchanged[0] == [both.sum()] * 2
    assert unchanged[1] == [0, 0]


# --- what is refused -------------------------------------------------------------------------


def test_both_digits_are_mirrored_half_of_the_time() -> None:
    image = np.array([[[1, 2]] * 3], np.uint8)  # its left column is 1
    canvas = PairCanvas((6, 4), (3, 2), mirror=True)
    streams = Streams(combine_keys(0, np.arange(1000)))
    drawn = canvas.draw(image, np.zeros((1000, 2), np.int64), streams)
    ones = np.array([np.argwhere(one == 1)[:, 1].mean() for one in drawn])
    twos = np.array([np.argwhere(one == 2)[:, 1].mean() for one in drawn])
    # Both as they are, both mirrored, or one of each: then the columns' means agree.
    assert np.isin(ones - twos, [-1.0, 0.0, 1.0]).all()
    assert 430 < np.count_nonzero(ones == twos) < 570
    assert 190 < np.count_nonzero(ones > twos) < 310


def test_digits_too_large_for_the_canvas() -> None:
    with pytest.raises(ValueError, match=r"canvas_size=\(55, 55\).*\(28, 28\).*56"):
        gym.make("RAMPairsMNIST-v0", dataset="digits", canvas_size=55)
    with pytest.raises(ValueError, match=r"canvas_size=\(20, 60\)"):
        gym.make("RAMPairsMNIST-v0", dataset="digits", canvas_size=(20, 60))
    env: Any = gym.make("RAMPairsMNIST-v0", dataset="digits", canvas_size=(28, 56), num_clutter=0)
    env.reset(seed=0)
    assert env.unwrapped.canvas[:, :28].any()
    assert env.unwrapped.canvas[:, 28:].any()


def test_only_numbers_are_added() -> None:
    named = ImageDataset(PLAIN.array[:2], CLASSES[:2], class_names=["cat", "dog"])
    with pytest.raises(ValueError, match=r"'cat'.*answer='pair'"):
        make_task(dataset=named, answer="sum")
    names = ("cat and cat", "cat and dog", "dog and dog")
    assert make_task(dataset=named).choice_names == names
    with pytest.raises(ValueError, match=r"answer='product'.*pair"):
        make_task(answer="product")
