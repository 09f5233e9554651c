"""Canvases: where image and clutter lie, what shows where they meet, and the fixed test sets."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ram_envs  # noqa: F401  (registers the ids)
from ram_envs.streams import Streams, combine_keys
from ram_envs.tasks.canvas import Canvas

try:
    import torch
except ImportError:  # the environments need none: test_canvases_of_tensors says so
    torch = None  # type: ignore[assignment]


def streams(count: int, seed: int = 0) -> Streams:
    return Streams(combine_keys(seed, np.arange(count)))


def draw(canvas: Canvas, images: np.ndarray, rows: Any, seed: int = 0) -> np.ndarray:
    return canvas.draw(images, np.asarray(rows), streams(len(rows), seed))


def gray(*values: int) -> np.ndarray:
    """Images (N, 1, 1) of one pixel."""
    return np.array(values, np.uint8).reshape(-1, 1, 1)


# --- where things lie ------------------------------------------------------------------------


def test_canvas_of_the_images_size_is_the_image() -> None:
    canvas = Canvas((3, 4), (3, 4))
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert canvas.is_image
    assert np.array_equal(draw(canvas, images, [1, 0, 1]), images[[1, 0, 1]])


def test_canvas_that_is_larger_or_cluttered_is_drawn() -> None:
    assert not Canvas((3, 5), (3, 4)).is_image
    assert not Canvas((3, 4), (3, 4), num_clutter=1, clutter_size=2).is_image


def test_image_lies_whole_at_every_place_equally_often() -> None:
    image = np.arange(1, 7, dtype=np.uint8).reshape(2, 3)  # no pixel is 0
    places = {}
    for top, left in itertools.product(range(4), range(2)):
        canvas = np.zeros((5, 4), np.uint8)
        canvas[top : top + 2, left : left + 3] = image
        places[canvas.tobytes()] = (top, left)

    drawn = draw(Canvas((5, 4), (2, 3)), image[None], np.zeros(4000, int))
    seen = [places[canvas.tobytes()] for canvas in drawn]  # a KeyError is a torn image
    counts = [seen.count(place) for place in places.values()]
    assert len(counts) == 8
    assert min(counts) > 400  # 500 ± 21
    assert max(counts) < 600


def test_pieces_are_cut_whole_from_any_image_at_any_offset_and_lie_at_any_place() -> None:
    # The image on the canvas is black, so that only the piece is seen.
    images = np.zeros((3, 3, 4), np.uint8)
    images[1:] = np.arange(1, 25).reshape(2, 3, 4)
    possible = {np.zeros((5, 5), np.uint8).tobytes(): "blank"}
    for source, top, left in itertools.product((1, 2), range(2), range(3)):
        for row, column in itertools.product(range(4), range(4)):
            canvas = np.zeros((5, 5), np.uint8)
            canvas[row : row + 2, column : column + 2] = images[
                source, top : top + 2, left : left + 2
            ]
            possible[canvas.tobytes()] = f"{source} {top} {left} at {row} {column}"

    canvas = Canvas((5, 5), (3, 4), num_clutter=1, clutter_size=2)  # type: ignore[assignment]
    drawn = draw(canvas, images, np.zeros(6000, int))  # type: ignore[arg-type]
    seen = [possible[canvas.tobytes()] for canvas in drawn]
    assert len(set(seen)) == 1 + 2 * 6 * 16
    assert 1800 < seen.count("blank") < 2200  # one of three images is black: 2000 ± 37


def test_pieces_are_drawn_independently() -> None:
    # Two pieces of 1 × 1 from the values 1 and 16, on a black image: both, or one of them twice.
    images = np.concatenate([gray(0), gray(1), gray(16)])
    canvas = Canvas((1, 1), (1, 1), num_clutter=2, clutter_size=1)
    values, counts = np.unique(draw(canvas, images, np.zeros(9000, int)), return_counts=True)
    assert values.tolist() == [0, 1, 2, 16, 17, 32]
    for count, ninths in zip(counts, [1, 2, 1, 2, 2, 1], strict=True):
        assert abs(count - 1000 * ninths) < 200


# --- what shows where they meet --------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "num_clutter", "sum_"), [(80, 2, 240), (85, 2, 255), (86, 2, 255), (200, 3, 255)]
)
def test_overlapping_pixels_are_added_and_clipped_at_white(
    value: int, num_clutter: int, sum_: int
) -> None:
    canvas = Canvas((1, 1), (1, 1), num_clutter, clutter_size=1)
    assert draw(canvas, gray(value), [0]).tolist() == [[[sum_]]]


def test_image_is_added_to_the_clutter() -> None:
    # The pieces fill the canvas, and the image is added at its place.
    images = np.array([[[100, 30], [0, 255]]], np.uint8)
    canvas = Canvas((2, 2), (2, 2), num_clutter=1, clutter_size=2)
    assert draw(canvas, images, [0]).tolist() == [[[200, 60], [0, 255]]]


def test_channels_stay_together() -> None:
    images = np.array([[[[10, 20, 200]]]], np.uint8)  # one red, green, blue pixel
    canvas = Canvas((2, 3, 3), (1, 1, 3))
    (drawn,) = draw(canvas, images, [0])
    assert drawn.shape == (2, 3, 3)
    assert drawn.reshape(6, 3).max(axis=0).tolist() == [10, 20, 200]
    assert np.count_nonzero(drawn.any(axis=-1)) == 1


def draw_pixel_by_pixel(
    canvas: Canvas, images: np.ndarray, row: int, streams: Streams
) -> np.ndarray:
    """One canvas, with nothing but loops; the draws are made in the order that is documented."""
    (height, width), (image_height, image_width) = canvas.shape[:2], canvas.image_shape[:2]
    size = canvas.clutter_size
    cuts, corners = [], []
    for _ in range(canvas.num_clutter):
        cuts.append(
            streams.integers(len(images), image_height - size + 1, image_width - size + 1)[0]
        )
    for _ in range(canvas.num_clutter):
        corners.append(streams.integers(height - size + 1, width - size + 1)[0])
    corners.append(streams.integers(height - image_height + 1, width - image_width + 1)[0])

    pieces = [images[i, top : top + size, left : left + size] for i, top, left in cuts]
    drawn = np.zeros(canvas.shape, int)
    for piece, (top, left) in zip([*pieces, images[row]], corners, strict=True):
        for y, x in itertools.product(range(piece.shape[0]), range(piece.shape[1])):
            drawn[top + y, left + x] = np.minimum(drawn[top + y, left + x] + piece[y, x], 255)
    return drawn


@given(st.data())
def test_canvas_is_what_placing_pixel_by_pixel_gives(data: st.DataObject) -> None:
    image_height, image_width = data.draw(st.tuples(*[st.integers(1, 6)] * 2))
    more_rows, more_columns = data.draw(st.tuples(*[st.integers(0, 5)] * 2))
    channels = data.draw(st.sampled_from([(), (1,), (3,)]))
    canvas = Canvas(
        (image_height + more_rows, image_width + more_columns, *channels),
        (image_height, image_width, *channels),
        data.draw(st.integers(0, 4)),
        data.draw(st.integers(1, min(image_height, image_width))),
    )
    seed, num_images = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.integers(1, 5))
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (num_images, *canvas.image_shape), np.uint8)
    if data.draw(st.booleans()):
        images = images[:, ::-1, ::-1]  # a view that is not contiguous
    images.flags.writeable = False
    rows, keys = rng.integers(num_images, size=3), combine_keys(seed, np.arange(3))

    streams = Streams(keys)
    drawn = canvas.draw(images, rows, streams)
    assert drawn.dtype == np.uint8
    for i in range(3):
        alone = Streams(keys[i : i + 1])
        assert np.array_equal(drawn[i], draw_pixel_by_pixel(canvas, images, rows[i], alone))
    if torch is not None:
        pixels, shown = torch.tensor(images.copy()), torch.tensor(rows)
        key_tensors = torch.tensor(keys.view(np.int64))
        tensors = canvas.draw(pixels, shown, Streams(key_tensors))  # type: ignore[arg-type]
        assert tensors.dtype == torch.uint8
        assert np.array_equal(tensors.numpy(), drawn)  # type: ignore[attr-defined]
    # 5 · num_clutter + 2 draws were made: the next is the one after them.
    next_draws = Streams(keys).bits(5 * canvas.num_clutter + 3)[:, -1:]
    assert np.array_equal(streams.bits(1), next_draws)


def test_canvases_of_tensors() -> None:
    torch = pytest.importorskip("torch")
    # Both pieces and the image fill the canvas: 2 · 100 + 100, clipped, and 2 · 30 + 30.
    images = torch.tensor([[[100, 30], [0, 1]]], dtype=torch.uint8)
    canvas, keys = Canvas((2, 2), (2, 2), 2, 2), torch.zeros(1, dtype=torch.int64)
    drawn = canvas.draw(images, torch.tensor([0]), Streams(keys))
    assert drawn.tolist() == [[[255, 90], [0, 3]]]


def test_canvas_does_not_depend_on_those_beside_it() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 5, 5), np.uint8)
    canvas, rows, keys = Canvas((12, 12), (5, 5), 3, 2), np.arange(9), combine_keys(4, np.arange(9))
    together = canvas.draw(images, rows, Streams(keys))
    chosen = np.array([7, 2, 2])
    assert np.array_equal(canvas.draw(images, chosen, Streams(keys[chosen])), together[chosen])


def test_images_are_left_alone() -> None:
    images = np.full((2, 3, 3), 200, np.uint8)
    draw(Canvas((3, 3), (3, 3), 4, 3), images, [0, 1])
    assert (images == 200).all()


# --- what is refused, and what names the settings --------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ((27, 60, 3), (28, 28, 3)),
            r"^canvas_size=\(27, 60\).*\(28, 28\)",
        ),
        (((60, 27), (28, 28)), r"canvas_size=\(60, 27\).*\(28, 28\)"),
        (((60, 60, 3), (28, 28, 3), 4, 29), "clutter_size=29.* 28"),
        (((60, 60), (28, 28), -1), "num_clutter=-1"),
        (((60, 60), (28, 28), 4, 29), "clutter_size=29.* 28"),
        (((60, 60), (28, 20), 4, 21), r"clutter_size=21.* 20"),
        (((60, 60), (28, 28), 4, 0), "clutter_size=0.* 28"),
    ],
)
def test_impossible_canvases_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Canvas(*arguments)


def test_clutter_size_does_not_matter_without_clutter() -> None:
    assert Canvas((4, 4), (4, 4), num_clutter=0, clutter_size=8).is_image


def test_key_names_the_settings_that_shape_a_canvas() -> None:
    assert Canvas((60, 60), (28, 28)).key == "canvas (60, 60) image (28, 28) clutter 0"
    assert Canvas((60, 60), (28, 28), 4).key == "canvas (60, 60) image (28, 28) clutter 4 × 8"
    assert Canvas((60, 60), (28, 28), 0, 5).key == Canvas((60, 60), (28, 28)).key


# --- the canvases of validation and test -----------------------------------------------------

TEST_CANVASES = {
    ("RAMTranslatedMNIST-v0", "digits"): (
        "8c931da7fddc19e0ea62b4dc2f888a637ff77295f908d555789bb6f2662f4f15"
    ),
    ("RAMClutteredMNIST-v0", "digits"): (
        "8b402666dd0973ad09b98f344fc8efc391a41fe6a20789df8da560f846388865"
    ),
    ("RAMClutteredMNIST100-v0", "digits"): (
        "3c0d408e219b0a8c7c9f917efc7d2eb0d6a7a24259e44c1958f00019b9df193e"
    ),
    ("RAMTranslatedMNIST-v0", "mnist"): (
        "22dcffc8d3d836b4b3da62ebc116a4724f203848d7c66c33a6e14ceb08ba1713"
    ),
    ("RAMClutteredMNIST-v0", "mnist"): (
        "808e589e15c3809fa9a46e4e0fb265ff3cecd8ce01764d13b3386bdcef4572d2"
    ),
    ("RAMClutteredMNIST100-v0", "mnist"): (
        "4c911e8aa6e1cd9668fa6e366a4b1e12aadadfdffca900664372670a928b4180"
    ),
}


@pytest.mark.parametrize(("env_id", "dataset"), TEST_CANVASES)
def test_test_canvases_are_the_same_for_everyone(
    env_id: str, dataset: str, request: pytest.FixtureRequest
) -> None:
    """The sha256 of all test canvases in the order of their index.

    Results under an id compare only as long as these stay as they are: what changes them needs
    another version in the id.
    """
    if dataset == "mnist":
        request.getfixturevalue("real_mnist")
    envs: Any = gym.make_vec(env_id, num_envs=100, dataset=dataset, split="test")
    digest, num_images = hashlib.sha256(), envs.unwrapped.num_images
    for start in range(0, num_images, 100):
        envs.reset(options={"index": np.arange(start, start + 100)})
        digest.update(envs.unwrapped.canvases.tobytes())
    assert num_images == {"digits": 300, "mnist": 10_000}[dataset]
    assert digest.hexdigest() == TEST_CANVASES[env_id, dataset]


def canvases_of(seed: int, split: str, index: Any = range(20), **changes: Any) -> np.ndarray:
    """The canvases of the first episode, of the images `index`."""
    keywords: dict[str, Any] = {"dataset": "digits", "split": split} | changes
    envs: Any = gym.make_vec("RAMClutteredMNIST-v0", num_envs=len(index), **keywords)
    envs.reset(seed=seed, options={"index": np.array(index)})
    return envs.unwrapped.canvases  # type: ignore[no-any-return]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_fixed_canvases_depend_on_nothing_but_their_index(split: str) -> None:
    canvases = canvases_of(1, split)
    assert np.array_equal(canvases_of(2, split), canvases)
    assert np.array_equal(canvases_of(1, split, range(19, -1, -1)), canvases[::-1])
    looks_otherwise = {"num_glimpses": 3, "glimpse_size": 8, "num_scales": 2}
    assert np.array_equal(canvases_of(1, split, **looks_otherwise), canvases)

    env: Any = gym.make("RAMClutteredMNIST-v0", dataset="digits", split=split)
    for index in (4, 4, 17):  # in any episode
        env.reset(options={"index": index})
        assert np.array_equal(env.unwrapped.canvas, canvases[index])


def places_of_white(canvases: np.ndarray) -> np.ndarray:
    return canvases.reshape(len(canvases), -1).argmax(axis=1)  # type: ignore[no-any-return]


def test_fixed_canvases_of_other_settings_are_placed_otherwise() -> None:
    canvases = canvases_of(0, "test")
    for other in (
        canvases_of(0, "test", clutter_size=7),
        canvases_of(0, "test", num_clutter=5),
        canvases_of(0, "test", num_clutter=0),
    ):
        assert np.count_nonzero(places_of_white(other) != places_of_white(canvases)) >= 15


def test_training_canvases_are_drawn_afresh_for_every_episode() -> None:
    assert not np.array_equal(canvases_of(0, "train"), canvases_of(20, "train"))
    env: Any = gym.make("RAMTranslatedMNIST-v0", dataset="digits")
    env.reset(seed=0, options={"index": 3})
    first = env.unwrapped.canvas
    env.reset(options={"index": 3})
    second = env.unwrapped.canvas
    env.reset(seed=0, options={"index": 3})
    assert not np.array_equal(first, second)
    assert first.sum() == second.sum()  # the same digit, elsewhere
    assert np.array_equal(env.unwrapped.canvas, first)


def test_small_types_of_numpy_do_not_overflow() -> None:
    canvas = Canvas((300, 300), (300, 300), num_clutter=np.uint8(2), clutter_size=np.uint8(8))  # type: ignore[arg-type]
    assert (type(canvas.num_clutter), type(canvas.clutter_size)) == (int, int)
    assert draw(canvas, np.zeros((1, 300, 300), np.uint8), [0]).shape == (1, 300, 300)
