"""The rules of Catch, played by hand on a small screen; scripted players score what theory says."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import ram_envs  # noqa: F401  registers the ids
from ram_envs.streams import Streams, combine_keys
from ram_envs.tasks.catch import Catch, CatchState, ball_columns

LEFT, STAY, RIGHT = 0, 1, 2


def begin(task: Catch, num_games: int = 1, seed: int = 0) -> CatchState:
    state = task.allocate(num_games)
    streams = Streams(combine_keys(seed, np.arange(num_games)))
    task.begin(state, np.arange(num_games), streams, {})
    return state


def place(state: CatchState, x: float, v: float, paddle: int) -> None:
    """Put ball and paddle of the only game where the test wants them."""
    state.x[:], state.v[:], state.paddle[:] = x, v, paddle
    state.columns[:, 0], state.speeds[:, 0] = x, v


def screen(task: Catch, state: CatchState) -> list[str]:
    source, rows = task.images(state)
    return ["".join("#" if pixel == 255 else "." for pixel in line) for line in source[rows[0]]]


def play(task: Catch, state: CatchState, move: int) -> tuple[float, bool]:
    outcome = task.advance(state, np.array([0]), np.array([move]))
    return float(outcome.rewards[0]), bool(outcome.terminations[0])


def test_a_caught_ball_as_drawn_by_hand() -> None:
    task = Catch(size=4, paddle_width=2)
    state = begin(task)
    place(state, x=0.0, v=1.0, paddle=0)
    assert screen(task, state) == ["#...", "....", "....", "##.."]
    assert play(task, state, RIGHT) == (0.0, False)
    assert screen(task, state) == ["....", ".#..", "....", ".##."]
    assert play(task, state, RIGHT) == (0.0, False)
    assert screen(task, state) == ["....", "....", "..#.", "..##"]
    assert play(task, state, STAY) == (1.0, True)
    assert screen(task, state) == ["....", "....", "....", "..##"]
    caught, over = task.infos(state)["caught"]
    assert (caught.tolist(), over.tolist()) == ([1], [True])


def test_a_missed_ball_pays_nothing() -> None:
    task = Catch(size=4, paddle_width=2)
    state = begin(task)
    place(state, x=0.0, v=0.0, paddle=1)
    assert [play(task, state, STAY) for _ in range(3)] == [(0.0, False), (0.0, False), (0.0, True)]
    assert screen(task, state) == ["....", "....", "....", "###."]


def test_the_ball_bounces_off_both_walls() -> None:
    task = Catch(size=4)
    state = begin(task)
    place(state, x=2.5, v=0.75, paddle=0)
    play(task, state, STAY)  # 3.25 lies 0.25 beyond the wall at 3
    assert (state.x[0], state.v[0]) == (2.75, -0.75)
    place(state, x=0.25, v=-1.0, paddle=0)
    play(task, state, STAY)  # −0.75 lies beyond the wall at 0
    assert (state.x[0], state.v[0]) == (0.75, 1.0)


def test_a_ball_that_just_touches_a_wall_turns_in_the_next_step() -> None:
    task = Catch(size=4)
    state = begin(task)
    place(state, x=2.0, v=1.0, paddle=0)
    play(task, state, STAY)
    assert (state.x[0], state.v[0]) == (3.0, 1.0)
    play(task, state, STAY)
    assert (state.x[0], state.v[0]) == (2.0, -1.0)


def test_the_paddle_stops_at_the_walls() -> None:
    task = Catch(size=4, paddle_width=2)
    state = begin(task)
    place(state, x=1.0, v=0.0, paddle=0)
    play(task, state, LEFT)
    assert state.paddle[0] == 0
    place(state, x=1.0, v=0.0, paddle=2)
    play(task, state, RIGHT)
    assert state.paddle[0] == 2


def test_half_a_pixel_is_shown_on_the_right() -> None:
    assert ball_columns(np.array([0.0, 0.49, 0.5, 1.49, 2.5])).tolist() == [0, 0, 1, 1, 3]


def test_several_balls_each_pay_as_they_land_and_the_next_begins_a_step_later() -> None:
    task = Catch(size=3, paddle_width=3, num_balls=2)  # the paddle covers every column
    state = begin(task)
    outcomes = [play(task, state, STAY) for _ in range(5)]
    assert outcomes == [(0.0, False), (1.0, False), (0.0, False), (0.0, False), (1.0, True)]
    caught, over = task.infos(state)["caught"]
    assert (caught[0], over[0]) == (2, True)


def test_the_next_ball_is_shown_at_the_top_while_the_paddle_moves() -> None:
    task = Catch(size=3, paddle_width=1, num_balls=2)
    state = begin(task)
    place(state, x=0.0, v=0.0, paddle=0)
    state.columns[0, 1], state.speeds[0, 1] = 2.0, 0.0
    assert play(task, state, STAY) == (0.0, False)
    assert play(task, state, STAY) == (1.0, False)
    assert play(task, state, RIGHT) == (0.0, False)
    assert screen(task, state) == ["..#", "...", ".#."]


def test_a_game_that_is_begun_again_is_not_over() -> None:
    task = Catch(size=2, paddle_width=2)
    state = begin(task)
    assert play(task, state, STAY) == (1.0, True)
    task.begin(state, np.array([0]), Streams(combine_keys(1, np.arange(1))), {})
    assert (state.caught.tolist(), state.over.tolist()) == ([0], [False])


def test_a_game_that_is_played_leaves_the_others_as_they_are() -> None:
    task = Catch(size=4)
    state = begin(task, num_games=3)
    state.x[:], state.v[:], state.paddle[:] = (0, 1, 2), 1, (0, 1, 2)
    task.advance(state, np.array([1]), np.array([RIGHT]))
    source, rows = task.images(state)
    assert (source.dtype, source.shape, rows.tolist()) == (np.uint8, (3, 4, 4), [0, 1, 2])  # type: ignore[comparison-overlap]
    assert (source // 255).tolist() == [
        [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]],
        [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]],
    ]


def test_what_a_task_promises_of_its_arrays() -> None:
    task = Catch(size=4, paddle_width=4)
    state = task.allocate(2)
    assert task.image_shape == (4, 4)
    kinds = {name: (array.dtype.name, array.shape) for name, array in vars(state).items()}
    real, whole = ("float64", (2,)), ("int64", (2,))
    assert kinds == {
        "columns": ("float64", (2, 1)),
        "speeds": ("float64", (2, 1)),
        "ball": whole,
        "row": whole,
        "x": real,
        "v": real,
        "paddle": whole,
        "caught": whole,
        "over": ("bool", (2,)),
    }
    state = begin(task)
    for _ in range(3):
        outcome = task.advance(state, np.array([0]), np.array([STAY]))
        assert (outcome.rewards.dtype, outcome.terminations.dtype) == (np.float64, np.bool_)  # type: ignore[comparison-overlap]


def test_the_fastest_ball_is_as_fast_as_the_game_says() -> None:
    speeds = begin(Catch(max_speed=0.25), num_games=1000).speeds
    assert -0.25 <= speeds.min() < -0.24
    assert 0.24 < speeds.max() <= 0.25


def test_games_begin_uniformly_within_their_ranges() -> None:
    state = begin(Catch(), num_games=20_000)
    assert np.array_equal(np.unique(state.columns), np.arange(24))
    assert np.array_equal(np.unique(state.paddle), np.arange(23))
    assert np.abs(state.speeds).max() <= 1
    # Each count is binomial: six standard deviations make a false alarm rarer than one in 10^7.
    counts = np.bincount(state.columns[:, 0].astype(int))
    assert np.abs(counts - 20_000 / 24).max() < 6 * np.sqrt(20_000 / 24)
    assert abs(state.speeds.mean()) < 6 / np.sqrt(3 * 20_000)


def catch_rate(task: Catch, choose: object, num_games: int = 4000) -> float:
    state = begin(task, num_games, seed=1)
    games = np.arange(num_games)
    rewards = np.zeros(num_games)
    over = np.zeros(num_games, np.bool_)
    while not over.any():
        outcome = task.advance(state, games, choose(state))  # type: ignore[operator]
        rewards += outcome.rewards
        over = outcome.terminations
    assert over.all()
    return float(rewards.mean())


def towards(column: np.ndarray, state: CatchState) -> np.ndarray:
    return np.where(column < state.paddle, LEFT, np.where(column > state.paddle + 1, RIGHT, STAY))


def test_a_player_that_foresees_the_bounces_catches_every_ball() -> None:
    def foresee(state: CatchState) -> np.ndarray:
        unfolded = np.mod(state.x + state.v * (23 - state.row), 46)
        return towards(ball_columns(np.where(unfolded > 23, 46 - unfolded, unfolded)), state)

    assert catch_rate(Catch(), foresee) == 1.0


def test_a_player_that_follows_the_ball_catches_half_and_a_random_one_few() -> None:
    rng = np.random.default_rng(0)
    follow = catch_rate(Catch(), lambda state: towards(ball_columns(state.x), state))
    chance = catch_rate(Catch(), lambda state: rng.integers(0, 3, len(state.row)))
    assert 0.48 < follow < 0.57  # 52 % of very many; the standard error here is 0.8 %
    assert 0.06 < chance < 0.11  # 8.4 %; the standard error here is 0.4 %


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"size": 1}, "size=1"),
        ({"paddle_width": 25}, "paddle_width=25.* 24"),
        ({"paddle_width": 0}, "paddle_width=0.* 24"),
        (
            {"max_speed": 24.0},
            r"^max_speed=24\.0.* 23",
        ),
        ({"max_speed": -1.0}, r"max_speed=-1\.0.* 23"),
        ({"num_balls": 0}, "num_balls=0"),
    ],
)
def test_a_game_that_cannot_be_played_is_refused(keywords: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        Catch(**keywords)


def test_the_smallest_the_slowest_and_the_fastest_game() -> None:
    assert Catch(size=2).image_shape == (2, 2)
    assert not begin(Catch(max_speed=0), num_games=9).speeds.any()
    assert 22 < np.abs(begin(Catch(max_speed=23), num_games=99).speeds).max() <= 23


def test_verdict_and_ball_for_pictures() -> None:
    task = Catch(size=4, paddle_width=2)
    state = task.allocate(4)
    state.row[:] = 3, 3, 3, 2
    state.x[:] = 1.0, 3.0, 0.0, 3.0
    state.paddle[:] = 0, 0, 2, 0
    assert [task.verdict(state, row) for row in range(4)] == [
        "caught",
        "missed by 2 columns",
        "missed by 2 columns",
        None,  # it still falls
    ]
    state.paddle[1] = 1
    assert task.verdict(state, 1) == "missed by 1 column"
    assert [task.ball(state, row) for row in range(4)] == [(1, 3), (3, 3), (0, 3), (3, 2)]


def test_the_last_frame_shows_where_the_ball_landed() -> None:
    env = gym.make("RAMCatch-v0", render_mode="rgb_array", size=4, glimpse_size=4, num_scales=1)
    env.reset(seed=0)
    over = False
    while not over:
        _, _, over, _, _ = env.step((np.zeros(2, np.float32), 1))
    scene = env.unwrapped.batch.scene(0)  # type: ignore[attr-defined]
    canvas = env.unwrapped.canvas  # type: ignore[attr-defined]
    assert np.array_equal(scene.canvas, canvas)
    assert np.array_equal(scene.glimpse[0] * 255, canvas)
    assert scene.ball is not None
    assert scene.ball[1] == 3
    assert scene.verdict in ("caught", "missed by 1 column", "missed by 2 columns")


@pytest.mark.parametrize(("num_balls", "steps"), [(1, 5), (3, 17)])
def test_how_many_steps_an_episode_has(num_balls: int, steps: int) -> None:
    env: Any = gym.make("RAMCatch-v0", size=6, glimpse_size=2, num_scales=1, num_balls=num_balls)
    env.reset(seed=0)
    ends = [env.step(((0, 0), 1))[2] for _ in range(steps)]
    assert ends == [False] * (steps - 1) + [True]
    assert env.unwrapped.batch.task.num_steps == steps
