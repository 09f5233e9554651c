"""Moving digits on a small screen by hand: what drifts, bounces, is added up, named and fixed."""

from __future__ import annotations

import hashlib
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import ram_envs  # noqa: F401  (registers the ids)
from ram_envs import ImageDataset
from ram_envs.envs.moving import MovingEnv, MovingVectorEnv
from ram_envs.streams import Streams, combine_keys
from ram_envs.tasks.canvas import Canvas
from ram_envs.tasks.motion import drift, nearest_pixels
from ram_envs.tasks.moving import MovingClassification, MovingState

# Two images of 2 × 2, of the classes 0 and 1; no two of all their pixels are alike.
IMAGES = np.array([[[10, 20], [30, 40]], [[110, 120], [130, 140]]], np.uint8)
DATASET = ImageDataset(IMAGES, np.array([0, 1]), name="two")
ROWS = np.array([0])
MIDDLE = (0.0, 0.0)


def make_task(**changes: Any) -> MovingClassification:
    """A screen of 4 × 5, one piece of clutter of one pixel, three glimpses."""
    settings: dict[str, Any] = {
        "dataset": DATASET,
        "num_glimpses": 3,
        "glimpse_size": 2,
        "num_scales": 1,
    }
    settings |= {"canvas_size": (4, 5), "num_clutter": 1, "clutter_size": 1}
    task = MovingEnv(**(settings | changes)).batch.task
    assert isinstance(task, MovingClassification)
    return task


def begin(task: MovingClassification, num_envs: int = 1, **options: Any) -> MovingState:
    state = task.allocate(num_envs)
    rows = np.arange(num_envs)
    task.begin(state, rows, Streams(combine_keys(0, rows)), options)
    return state


def place(state: MovingState, piece: Any, digit: Any, pixel: int = 200) -> None:
    """Put the piece and the digit of the only episode at (y, x, vy, vx)."""
    both = np.array([piece, digit], np.float64)
    state.places[0], state.speeds[0] = both[:, :2], both[:, 2:]
    state.pieces[:] = pixel


def screen(task: MovingClassification, state: MovingState) -> list[list[int]]:
    source, rows = task.images(state)
    frame: list[list[int]] = source[rows[0]].tolist()
    return frame


def step(task: MovingClassification, state: MovingState, label: int) -> tuple[float, bool]:
    outcome = task.advance(state, ROWS, np.array([label]))
    return float(outcome.rewards[0]), bool(outcome.terminations[0])


# --- the rules by hand -----------------------------------------------------------------------


def test_an_episode_as_drawn_by_hand() -> None:
    task = make_task()
    state = begin(task, index=1)
    place(state, piece=(3, 4, -1, 0), digit=(0, 0, 0.5, 2))
    assert screen(task, state) == [
        [110, 120, 0, 0, 0],
        [130, 140, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 200],
    ]
    assert step(task, state, 1) == (0.0, False)  # right, but not yet the decision
    assert screen(task, state) == [  # the digit is at (0.5, 2), shown a pixel lower
        [0, 0, 0, 0, 0],
        [0, 0, 110, 120, 0],
        [0, 0, 130, 140, 200],
        [0, 0, 0, 0, 0],
    ]
    assert step(task, state, 0) == (0.0, False)
    assert screen(task, state) == [  # it would be at x = 4; the wall for it is at 3, so it is at 2
        [0, 0, 0, 0, 0],
        [0, 0, 110, 120, 200],
        [0, 0, 130, 140, 0],
        [0, 0, 0, 0, 0],
    ]
    assert step(task, state, 1) == (1.0, True)
    assert screen(task, state) == [
        [0, 0, 0, 0, 200],
        [0, 0, 0, 0, 0],
        [110, 120, 0, 0, 0],
        [130, 140, 0, 0, 0],
    ]


def test_what_lies_on_each_other_is_added_up_and_clipped() -> None:
    task = make_task()
    state = begin(task, index=1)
    place(state, piece=(1, 1, 0, 0), digit=(0, 0, 0, 0), pixel=100)
    assert screen(task, state)[:2] == [[110, 120, 0, 0, 0], [130, 240, 0, 0, 0]]
    place(state, piece=(1, 1, 0, 0), digit=(0, 0, 0, 0), pixel=200)
    assert screen(task, state)[:2] == [[110, 120, 0, 0, 0], [130, 255, 0, 0, 0]]


def test_things_bounce_off_all_four_walls() -> None:
    task = make_task()  # the digit's room is 2 down and 3 across, the piece's 3 and 4
    state = begin(task)
    place(state, piece=(2.5, 0.25, 0.75, -1), digit=(0.25, 2.5, -1, 0.75))
    step(task, state, 0)
    assert state.places[0].tolist() == [[2.75, 0.75], [0.75, 2.75]]
    assert state.speeds[0].tolist() == [[-0.75, 1], [1, -0.75]]


def test_the_two_directions_bounce_apart() -> None:
    x, v = drift.run(np.array([[2.0, 1.0]]), np.array([[1.0, 0.5]]), np.array([[2, 3]]))
    assert (x.tolist(), v.tolist()) == ([[1.0, 1.5]], [[-1.0, 0.5]])


def test_a_thing_that_just_touches_a_wall_turns_in_the_next_step() -> None:
    x, v = drift.run(np.array([2.0]), np.array([1.0]), 3)
    assert (x.tolist(), v.tolist()) == ([3.0], [1.0])
    x, v = drift.run(x, v, 3)
    assert (x.tolist(), v.tolist()) == ([2.0], [-1.0])


def test_half_a_pixel_is_shown_further_on() -> None:
    assert nearest_pixels(np.array([0.0, 0.49, 0.5, 1.49, 2.5])).tolist() == [0, 0, 1, 1, 3]


def test_labels_pay_as_in_classification() -> None:
    env = MovingEnv(dataset=DATASET, canvas_size=8, glimpse_size=2, num_glimpses=2, num_clutter=0)
    _, info = env.reset(seed=0, options={"index": 1})
    assert info == {"label": 1, "index": 1}
    assert env.step((MIDDLE, 1))[1:] == (0.0, False, False, {"label": 1, "index": 1})
    assert env.step((MIDDLE, 1))[1:] == (1.0, True, False, {"label": 1, "index": 1})


def test_the_glimpse_of_a_step_is_of_the_frame_after_it() -> None:
    image = np.full((1, 2, 2), 255, np.uint8)
    dataset = ImageDataset(image, np.array([0]))
    env = MovingEnv(
        dataset=dataset,
        canvas_size=6,
        num_clutter=0,
        glimpse_size=6,
        num_scales=1,
        max_speed=1,
        initial_location=MIDDLE,
    )
    observation, _ = env.reset(seed=0)
    state = env.batch.state
    state.places[:], state.speeds[:] = 1, (0, 1)
    for column in (2, 3, 4, 3):
        observation = env.step((MIDDLE, 0))[0]  # the retina sees the whole screen
        assert np.flatnonzero(observation["glimpse"][0].any(axis=0)).tolist() == [
            column,
            column + 1,
        ]


# --- how an episode starts -------------------------------------------------------------------


def test_places_and_speeds_are_uniform_within_their_ranges_and_stay_inside() -> None:
    task = make_task(dataset="digits", canvas_size=60, num_clutter=2, clutter_size=8, max_speed=2.5)
    state = begin(task, 4000)
    rooms = np.array([[52, 52], [52, 52], [32, 32]])
    for _ in range(40):  # in every frame, the first and the fortieth
        assert (state.places >= 0).all()
        assert (state.places <= rooms).all()
        # The mean of 4000 uniform numbers in [0, 1] has a standard deviation of 0.0046.
        assert np.abs((state.places / rooms).mean(axis=0) - 0.5).max() < 0.028
        assert np.abs((state.places / rooms).std(axis=0) - 12**-0.5).max() < 0.015
        assert np.abs(state.speeds).max() <= 2.5
        assert np.abs(state.speeds.mean(axis=0)).max() < 0.14
        task.advance(state, np.arange(4000), np.zeros(4000, np.int64))
    assert np.abs(state.speeds).max() > 2.49


def test_everything_moves_on_its_own() -> None:
    speeds = begin(make_task(num_clutter=3), 500).speeds.reshape(500, -1)
    assert len(np.unique(speeds)) == speeds.size == 500 * 8
    correlations = np.corrcoef(speeds.T) - np.eye(8)
    assert np.abs(correlations).max() < 0.27  # six standard deviations


def test_clutter_is_cut_whole_from_images_of_the_split() -> None:
    state = begin(make_task(), 800)
    counts = np.bincount(state.pieces.ravel(), minlength=256)
    assert np.flatnonzero(counts).tolist() == sorted(IMAGES.ravel().tolist())
    assert counts[IMAGES.ravel()].min() > 40  # 100 ± 9 each

    squares = begin(make_task(clutter_size=2), 200).pieces[:, 0]
    assert {square.tobytes() for square in squares} == {image.tobytes() for image in IMAGES}


def test_max_speed_0_stands_still() -> None:
    task = make_task(max_speed=0)
    state = begin(task)
    before = screen(task, state)
    step(task, state, 0)
    assert screen(task, state) == before


# --- what is fixed ---------------------------------------------------------------------------


# The digit fills the screen.
STILL: dict[str, Any] = {
    "dataset": "digits",
    "canvas_size": 28,
    "num_clutter": 0,
    "max_speed": 0.0,
}


def frames(env: gym.Env, seed: int, index: int) -> list[np.ndarray]:
    """All frames of an episode."""
    env.reset(seed=seed, options={"index": index})
    shown, over = [env.unwrapped.canvas], False  # type: ignore[attr-defined]
    while not over:
        over = env.step((MIDDLE, 0))[2]
        shown.append(env.unwrapped.canvas)  # type: ignore[attr-defined]
    return shown


def make(**keywords: Any) -> Any:
    return gym.make("RAMMovingMNIST-v0", dataset="digits", **keywords)


def test_settings_of_the_id() -> None:
    env = make()
    task = env.unwrapped.batch.task
    assert task.canvas == Canvas((60, 60), (28, 28), 4, 8)
    assert (task.max_speed, task.num_glimpses, task.frames_change) == (2.0, 8, True)
    assert env.observation_space["glimpse"].shape == (3, 12, 12)
    assert len(frames(env, 0, 0)) == 9
    assert (env.unwrapped.dataset_name, env.unwrapped.num_images) == ("digits", 1297)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_test_episodes_are_a_function_of_the_index(split: str) -> None:
    first = frames(make(split=split), seed=1, index=7)
    assert np.array_equal(first, frames(make(split=split), seed=2, index=7))
    assert not np.array_equal(first[0], frames(make(split=split), seed=1, index=8)[0])
    # T shapes nothing that is seen; what does is part of the function.
    assert np.array_equal(first[:4], frames(make(split=split, num_glimpses=3), seed=3, index=7))
    assert np.array_equal(first, frames(make(split=split, max_speed=2), seed=3, index=7))
    for other in ({"max_speed": 1.0}, {"num_clutter": 3}, {"clutter_size": 7}):
        assert not np.array_equal(first[0], frames(make(split=split, **other), 1, 7)[0])


def test_the_test_episodes_of_the_digits_never_change() -> None:
    shown = frames(make(split="test"), seed=0, index=0)
    digest = hashlib.sha256(np.stack(shown).tobytes()).hexdigest()
    assert digest[:16] == "47de456b5a261f45"


def test_training_episodes_are_drawn_afresh_and_follow_the_seed() -> None:
    first = frames(make(), seed=1, index=7)
    assert np.array_equal(first, frames(make(), seed=1, index=7))
    assert not np.array_equal(first[0], frames(make(), seed=2, index=7)[0])


def test_training_digits_may_be_distorted() -> None:
    plain, distorted = MovingVectorEnv(8, **STILL), MovingVectorEnv(8, **STILL, distortion=1.0)
    for envs in (plain, distorted):
        envs.reset(seed=0, options={"index": 7})
    assert not np.array_equal(plain.canvases, distorted.canvases)
    for row, canvas in enumerate(distorted.canvases):
        env = MovingEnv(**STILL, distortion=1.0)
        env.reset(seed=row, options={"index": 7})
        assert np.array_equal(env.canvas, canvas)
    for row in range(1, 8):  # each in its own way, at one place since the canvas has no other
        assert not np.array_equal(distorted.canvases[0], distorted.canvases[row])
    shown = frames(make(split="test"), seed=1, index=7)
    assert np.array_equal(shown, frames(make(split="test", distortion=1.0), seed=1, index=7))


def test_an_index_array_gives_each_sub_environment_its_image() -> None:
    envs = MovingVectorEnv(3, dataset="digits", split="test")
    _, infos = envs.reset(seed=0, options={"index": np.array([5, 3, 5])})
    assert infos["index"].tolist() == [5, 3, 5]
    canvases = envs.canvases
    assert np.array_equal(canvases[0], canvases[2])
    assert not np.array_equal(canvases[0], canvases[1])


def test_color_images() -> None:
    images = np.zeros((1, 3, 3, 3), np.uint8)
    images[..., 2] = 200
    env = MovingEnv(
        dataset=ImageDataset(images, np.array([0])),
        canvas_size=9,
        glimpse_size=4,
        num_scales=2,
        num_clutter=1,
        clutter_size=2,
    )
    observation, _ = env.reset(seed=0)
    assert observation["glimpse"].shape == (6, 4, 4)
    assert env.canvas.reshape(-1, 3).max(axis=0).tolist() in ([0, 0, 200], [0, 0, 255])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"max_speed": 2.5},
            r"max_speed=2\.5.* 2,",
        ),
        ({"max_speed": -1}, "max_speed=-1"),
        ({"max_speed": float("nan")}, "max_speed=nan"),
        ({"max_speed": "fast"}, "max_speed='fast'"),
        ({"canvas_size": None}, r"max_speed=2\.0.* 0,.*\(2, 2\)"),
        ({"canvas_size": 1}, r"canvas_size=\(1, 1\)"),
        ({"num_glimpses": 0}, "num_glimpses=0"),
        ({"clutter_size": 3}, "clutter_size=3"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**changes)


def test_an_unknown_keyword_is_named() -> None:
    with pytest.raises(TypeError, match=r"'maxspeed'.* 'max_speed'"):
        MovingEnv(dataset=DATASET, maxspeed=1)  # type: ignore[call-arg]
