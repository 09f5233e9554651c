"""Distortion: which way images are bent, how far, and that only training sees it."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

import ram_envs
from ram_envs.streams import Streams, combine_keys
from ram_envs.tasks.distortion import Distortion

SQUARE = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
MAP = ("rows by row", "rows by column", "columns by row", "columns by column", "down", "right")


class Chosen:
    """Streams that draw, of each range, the number that lies so far from its middle."""

    def __init__(self, **chosen: int) -> None:
        self.chosen = [chosen.get(name.replace(" ", "_"), 0) for name in MAP]

    def integers(self, *ranges: int) -> np.ndarray:
        middle = [width // 2 for width in ranges]
        assert all(abs(far) <= most for far, most in zip(self.chosen, middle, strict=True))
        return np.array([[far + most for far, most in zip(self.chosen, middle, strict=True)]])


def bend(image: np.ndarray, **chosen: int) -> Any:
    return Distortion(4.0).draw(image[None], Chosen(**chosen)).tolist()[0]  # type: ignore[arg-type]


def streams(count: int, seed: int = 0) -> Streams:
    return Streams(combine_keys(seed, np.arange(count)))


# --- where pixels go -------------------------------------------------------------------------


def test_an_image_in_the_middle_of_all_draws_is_left_as_it_is() -> None:
    assert bend(SQUARE) == SQUARE.tolist()


def test_shifts_are_in_parts_of_a_pixel_and_black_comes_in() -> None:
    # A side of 3, 4 · 4 % of it: up to 0.48 pixels, 246 of 512 parts.
    assert bend(SQUARE, down=128) == [[18, 28, 38], [48, 58, 68], [53, 60, 68]]
    assert bend(SQUARE, right=-128) == [[8, 18, 28], [30, 48, 58], [53, 78, 88]]
    wide = np.zeros((1, 100), np.uint8)
    wide[0, 40:42] = 100, 200
    assert bend(wide, right=2 * 512)[0][37:41] == [0, 100, 200, 0]
    assert bend(wide, right=-2 * 512)[0][41:45] == [0, 100, 200, 0]


def test_the_matrix_is_about_the_middle() -> None:
    # 64 of 256 a half pixel: from 1.25 times as far off the middle, so the image shrinks.
    line = np.array([[0, 0, 80, 160, 240]], np.uint8).T
    assert np.ravel(bend(line, rows_by_row=64)).tolist() == [0, 0, 80, 180, 120]
    assert np.ravel(bend(line.T, columns_by_column=-64)).tolist() == [0, 20, 80, 140, 200]


def test_rows_slant_along_columns_and_columns_along_rows() -> None:
    bar = np.zeros((5, 5), np.uint8)
    bar[2] = 200
    # 128 of 256: half a row further down for each column to the right, so the bar rises there.
    slanted = [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 100, 200],
        [0, 100, 200, 100, 0],
        [200, 100, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    assert bend(bar, rows_by_column=128) == slanted
    assert bend(bar.T, columns_by_row=128) == np.transpose(slanted).tolist()


@given(
    seed=st.integers(0, 2**32),
    strength=st.floats(0.1, 4),
    shape=st.sampled_from([(5, 9), (28, 28)]),
)
def test_every_pixel_is_that_of_plain_bilinear_reading(
    seed: int, strength: float, shape: tuple[int, int]
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    bent = Distortion(strength).draw(image[None], streams(1, seed))[0]
    height, width = shape
    limits = [round(256 * strength * most) for most in (0.12, 0.2, 0.2, 0.12)]
    limits += [round(512 * strength * 0.04 * side) for side in shape]
    draws = streams(1, seed).integers(*(2 * limit + 1 for limit in limits))[0] - limits
    matrix = np.eye(2) + draws[:4].reshape(2, 2) / 256
    middle = np.array([height - 1, width - 1]) / 2
    for row in range(height):
        for column in range(width):
            y, x = matrix @ ([row, column] - middle) + middle + draws[4:] / 512
            total = 0.0
            for i in (math.floor(y), math.floor(y) + 1):
                for j in (math.floor(x), math.floor(x) + 1):
                    if 0 <= i < height and 0 <= j < width:
                        total += image[i, j] * (1 - abs(y - i)) * (1 - abs(x - j))
            assert abs(bent[row, column] - total) <= 0.5 + 1e-9


def test_channels_are_bent_alike() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 7, 3), np.uint8)
    bent = Distortion(1.0).draw(images, streams(4))
    assert bent.shape == (4, 6, 7, 3)
    for channel in range(3):
        alone = Distortion(1.0).draw(images[..., channel], streams(4))
        assert np.array_equal(bent[..., channel], alone)


@pytest.mark.parametrize("kind", [np.int8, np.float16])
def test_strengths_of_any_type(kind: Any) -> None:
    images = np.arange(200, dtype=np.uint8).reshape(1, 20, 10)
    drawn, expected = (
        Distortion(one, one).draw(images, Streams(combine_keys(7))) for one in (kind(1), 1)
    )
    assert np.array_equal(drawn, expected)


def test_an_image_takes_six_draws_of_its_own_stream() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    drawn = streams(5)
    bent = Distortion(1.0).draw(images, drawn)
    ahead = streams(5)
    ahead.bits(6)
    assert np.array_equal(drawn.bits(1), ahead.bits(1))
    assert np.array_equal(
        Distortion(1.0).draw(images[2:3], Streams(combine_keys(0, [2]))), bent[2:3]
    )


def test_images_that_are_tensors() -> None:
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 11), np.uint8)
    keys = combine_keys(0, np.arange(5))
    bent = Distortion(2.5, 1.5).draw(images, Streams(keys))
    as_tensors = torch.from_numpy(images), Streams(torch.from_numpy(keys.view(np.int64)))
    tensor: Any = Distortion(2.5, 1.5).draw(*as_tensors)
    assert tensor.dtype == torch.uint8
    assert np.array_equal(tensor.numpy(), bent)


@pytest.mark.parametrize("name", ["distortion", "elastic"])
@pytest.mark.parametrize("strength", [-0.1, 4.1, math.nan, "much", None])
def test_a_strength_that_is_none(strength: Any, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}=.* 4\."):
        gym.make("RAMMNIST-v0", dataset="digits", **{name: strength})


# --- as if on rubber -------------------------------------------------------------------------


class Pulled(Chosen):
    """Streams that pull some of the knots along rows or along columns, (row, column): parts."""

    def __init__(self, down: dict[tuple[int, int], int], right: dict[tuple[int, int], int]) -> None:
        super().__init__()
        self.pulls = iter((down, right))

    def integers(self, *ranges: int) -> np.ndarray:
        if len(ranges) == len(MAP):
            return super().integers(*ranges)
        assert len(set(ranges)) == 1
        draws = np.full((5, 5), ranges[0] // 2)
        for knot, parts in next(self.pulls).items():
            draws[knot] += parts
        return draws.reshape(1, 25)


def test_a_knot_pulls_what_lies_around_it() -> None:
    # A side of 8 has knots at its borders and every two pixels between: a pixel's middle is a
    # quarter of the way from one to the next, or three quarters.
    ramp = np.repeat(np.arange(0, 160, 20, dtype=np.uint8)[None], 8, 0)
    pulled = Distortion(0, 4).draw(ramp[None], Pulled({}, {(2, 2): 256}))[0]  # type: ignore[arg-type]
    change = [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 2, 2, 1, 0, 0],
        [0, 0, 2, 6, 6, 2, 0, 0],
    ]
    assert (pulled.astype(int) - ramp).tolist() == [*change, *change[::-1]]
    down = Distortion(0, 4).draw(ramp.T[None], Pulled({(2, 2): 256}, {}))[0]  # type: ignore[arg-type]
    assert np.array_equal(down, pulled.T)


def test_all_knots_pulled_alike_shift_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 20), np.uint8)
    everywhere = {(row, column): 512 for row in range(5) for column in range(5)}
    shifted = Distortion(0, 4).draw(image[None], Pulled(everywhere, everywhere))[0]  # type: ignore[arg-type]
    assert np.array_equal(shifted[:-1, :-1], image[1:, 1:])
    assert not shifted[-1].any()
    assert not shifted[:, -1].any()


@given(
    seed=st.integers(0, 2**32),
    elastic=st.floats(0.1, 4),
    shape=st.sampled_from([(5, 9), (28, 28)]),
)
def test_what_lies_between_knots_is_interpolated(
    seed: int, elastic: float, shape: tuple[int, int]
) -> None:
    # On a slope of 2 gray levels a pixel a pull shows, but where it reads beyond the border.
    height, width = shape
    slope = np.tile(np.arange(0, 2 * width, 2, dtype=np.uint8), (height, 1))
    bent = Distortion(0, elastic).draw(slope[None], streams(1, seed))[0]
    limits = [round(512 * elastic * 0.05 * side) for side in shape]
    drawn = streams(1, seed)
    drawn.bits(6)  # the affine map's
    down, right = (drawn.integers(*[2 * limit + 1] * 25)[0] - limit for limit in limits)
    # How much each of the knots 0 to 4 along a side counts at the center of each of its pixels.
    by_row, by_column = (
        np.maximum(0, 1 - np.abs(4 * (np.arange(side)[:, None] + 0.5) / side - np.arange(5)))
        for side in shape
    )
    tops, lefts = (
        by_row @ pull.reshape(5, 5) @ by_column.T / 512 + place
        for pull, place in ((down, np.arange(height)[:, None]), (right, np.arange(width)))
    )
    inside = (tops >= 0) & (tops <= height - 1) & (lefts >= 0) & (lefts <= width - 1)
    furthest = np.abs(bent - 2 * lefts)[inside].max(initial=0)
    # A pixel's place among the knots is rounded to 1/512, down and across; neighboring knots differ
    # by up to twice the limit; and a pixel of the pull is two gray levels.
    rounded = 2 * 2 * (2 * limits[1] / 512) / 512
    assert furthest <= 0.5 + rounded + 0.02


def test_an_elastic_image_takes_fifty_draws_more() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    drawn, ahead = streams(5), streams(5)
    bent = Distortion(1.0, 1.0).draw(images, drawn)
    ahead.bits(56)
    assert np.array_equal(drawn.bits(1), ahead.bits(1))
    assert not np.array_equal(bent, Distortion(1.0).draw(images, streams(5)))


# --- in an environment -----------------------------------------------------------------------


def canvases(split: str, env_id: str = "RAMMNIST-v0", **keywords: Any) -> np.ndarray:
    envs: Any = gym.make_vec(env_id, num_envs=40, dataset="digits", split=split, **keywords)
    envs.reset(seed=3, options={"index": np.arange(40)})
    return np.array(envs.canvases)


@pytest.mark.parametrize("env_id", ["RAMMNIST-v0", "RAMClutteredMNIST-v0"])
@pytest.mark.parametrize("name", ["distortion", "elastic"])
def test_only_training_is_distorted(env_id: str, name: str) -> None:
    for split in ("validation", "test"):
        bent = canvases(split, env_id, **{name: 1.0})
        assert np.array_equal(bent, canvases(split, env_id))
    assert np.array_equal(canvases("train", env_id, **{name: 0}), canvases("train", env_id))
    differ = canvases("train", env_id, **{name: 1.0}) != canvases("train", env_id)
    assert differ.any(axis=(1, 2)).all()


@pytest.mark.parametrize("env_id", ["RAMMNIST-v0", "RAMMovingMNIST-v0", "RAMPairsMNIST-v0"])
def test_both_strengths_reach_the_canvas(env_id: str) -> None:
    strengths: Any = {"dataset": "digits", "distortion": 0.5, "elastic": 0.25}
    envs: list[Any] = [gym.make(env_id, **strengths), gym.make_vec(env_id, 2, **strengths)]
    for env in envs:
        assert env.unwrapped.batch.task.canvas.distortion == Distortion(0.5, 0.25)


def test_every_episode_is_distorted_anew() -> None:
    env: Any = gym.make("RAMMNIST-v0", dataset="digits", distortion=1.0).unwrapped
    seen = []
    for seed in (0, None, None, 0):
        env.reset(seed=seed, options={"index": 7})
        seen.append(np.array(env.canvas))
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2])
    assert np.array_equal(seen[0], seen[3])


def test_places_and_clutter_are_those_without_distortion() -> None:
    # Pieces and images are gray throughout, so that what is lit shows where they lie.
    images = np.full((6, 5, 5), 100, np.uint8)
    dataset = ram_envs.ImageDataset(images, np.arange(6))
    settings: dict[str, Any] = {
        "dataset": dataset,
        "canvas_size": 12,
        "num_clutter": 2,
        "clutter_size": 2,
    }
    plain, bent = [
        gym.make_vec("RAMClassification-v0", 6, distortion=strength, **settings).unwrapped
        for strength in (0.0, 0.5)
    ]
    plain.reset(seed=0)
    bent.reset(seed=0)
    # A bent image lies in the same square, of which at most the rim turns black.
    lit, still_lit = plain.canvases > 0, bent.canvases > 0  # type: ignore[attr-defined]
    assert lit.any()
    assert not (still_lit & ~lit).any()
    assert (still_lit.sum((1, 2)) >= lit.sum((1, 2)) - 16).all()


def test_the_environment_keeps_gymnasiums_contract() -> None:
    env: Any = gym.make("RAMMNIST-v0", dataset="digits", distortion=1.0)
    check_env(env.unwrapped, skip_render_check=True)
