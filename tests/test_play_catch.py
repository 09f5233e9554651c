"""Catch by hand: keys move the paddle, the mouse moves the gaze, and balls are counted."""

from __future__ import annotations

import re

import pytest

pygame = pytest.importorskip("pygame")

from stages import (  # noqa: E402
    ROW,
    PerfectPilot,
    StillAgent,
    begun,
    best_move,
    catch,
    fall,
    paddle,
    point,
    press,
    release,
    row,
    tap,
    words_of,
)

from ram_envs.play import session  # noqa: E402
from ram_envs.play.catch_game import CatchGame  # noqa: E402
from ram_envs.play.game import Game, Phase  # noqa: E402
from ram_envs.play.seat import AgentPilot, Deal, Seat  # noqa: E402
from ram_envs.play.session import Options, make_env  # noqa: E402
from ram_envs.play.window import Stage  # noqa: E402


def put_paddle(game: Game, left: int) -> None:
    game.player.env.batch.state.paddle[:] = left


def test_the_ball_falls_a_row_in_its_time() -> None:
    stage = begun(catch())
    stage.tick(0.2)
    assert row(stage.game) == 0
    stage.tick(0.06)
    assert row(stage.game) == 1


@pytest.mark.parametrize(
    ("key", "where"),
    [(pygame.K_LEFT, 9), (pygame.K_a, 9), (pygame.K_RIGHT, 11), (pygame.K_d, 11)],
)
def test_a_key_moves_the_paddle_with_the_next_row(key: int, where: int) -> None:
    stage = begun(catch())
    put_paddle(stage.game, 10)
    press(stage, key)
    stage.tick(ROW)
    assert paddle(stage.game) == where


def test_a_held_key_goes_on_and_a_tapped_one_counts_once() -> None:
    stage = begun(catch())
    put_paddle(stage.game, 10)
    press(stage, pygame.K_RIGHT)
    for _ in range(3):
        stage.tick(ROW)
    assert paddle(stage.game) == 13
    release(stage, pygame.K_RIGHT)
    stage.tick(ROW)
    assert paddle(stage.game) == 13
    tap(stage, pygame.K_LEFT)
    stage.tick(ROW)
    stage.tick(ROW)
    assert paddle(stage.game) == 12


def test_the_newest_held_key_wins_and_the_older_comes_back() -> None:
    stage = begun(catch())
    put_paddle(stage.game, 10)
    press(stage, pygame.K_RIGHT)
    press(stage, pygame.K_LEFT)
    stage.tick(ROW)
    assert paddle(stage.game) == 9
    release(stage, pygame.K_LEFT)
    stage.tick(ROW)
    assert paddle(stage.game) == 10


def test_keys_are_let_go_when_the_window_loses_the_focus() -> None:
    stage = begun(catch())
    put_paddle(stage.game, 10)
    press(stage, pygame.K_RIGHT)
    stage.tick(ROW)
    stage.handle(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    stage.tick(ROW)
    assert paddle(stage.game) == 11


def test_the_mouse_sets_the_gaze_to_the_nearest_pixel_edge() -> None:
    # 24 pixels of 23 units each, from (24, 24): edge 5 lies at 139, edge 7 at 185.
    stage = begun(catch())
    point(stage, 139 + 11, 185 - 11)
    assert stage.game.gaze == (5, 7)
    point(stage, 139 + 12, 185 - 12)
    assert stage.game.gaze == (6, 6)
    point(stage, 5000, -5000)
    assert stage.game.gaze == (24, 0)
    stage.tick(ROW)
    assert stage.game.player.observation["location"].tolist() == [1.0, -1.0]


def test_the_gaze_is_right_after_the_window_was_resized() -> None:
    stage = begun(catch())
    stage.handle(pygame.event.Event(pygame.VIDEORESIZE, w=1920, h=1400, size=(1920, 1400)))
    # The sheet doubles and lies 60 pixels lower: 24 pixels of 46, from (48, 108).
    point(stage, 48 + 46 * 3, 108 + 46 * 20)
    assert stage.game.gaze == (3, 20)


def test_keys_move_the_gaze() -> None:
    stage = begun(catch())
    stage.game.move_gaze_to((12, 12))
    for key in (pygame.K_i, pygame.K_j):
        tap(stage, key)
    assert stage.game.gaze == (11, 11)
    press(stage, pygame.K_RIGHT, mod=pygame.KMOD_SHIFT)
    release(stage, pygame.K_RIGHT)
    assert stage.game.gaze == (12, 11)
    press(stage, pygame.K_k)
    stage.tick(0.25)
    assert stage.game.gaze == (12, 12)
    stage.tick(0.25)  # held for longer than a tap: 24 steps a second
    assert stage.game.gaze == (12, 18)


def test_a_perfect_player_catches_every_ball_by_keys_alone() -> None:
    stage = begun(catch([Deal(seed) for seed in range(10)]))
    keys = [pygame.K_LEFT, pygame.K_DOWN, pygame.K_RIGHT]
    while stage.game.phase is not Phase.FINISHED:
        while stage.game.phase is Phase.PLAYING:
            key = keys[best_move(stage.game.player.env)]
            tap(stage, key)
            stage.tick(ROW)
        press(stage, pygame.K_SPACE)
    you = stage.game.player
    # Balls that the paddle can't reach in 23 steps do not exist: it starts 22 away at most.
    assert (you.score, you.count, you.best) == (10, 10, 10)
    assert re.findall(r"\d+", stage.game.summary()) == ["10", "10", "10"]


def test_a_miss_ends_the_streak_and_not_the_best() -> None:
    seat = Seat("you", make_env("RAMCatch-v0", {}))
    for right in (True, True, False, True):
        seat.count_verdict(right)
    assert (seat.score, seat.count, seat.streak, seat.best) == (3, 4, 1, 2)


def test_the_same_ball_again_is_the_same_ball_and_does_not_count_twice() -> None:
    stage = begun(catch())
    state = stage.game.player.env.batch.state
    first = (state.x[0], state.v[0], state.paddle[0])
    fall(stage)
    assert stage.game.player.count == 1
    press(stage, pygame.K_r)
    assert (state.x[0], state.v[0], state.paddle[0]) == first
    assert stage.game.is_practice
    fall(stage)
    assert stage.game.player.count == 1
    press(stage, pygame.K_n)
    assert (state.x[0], state.v[0], state.paddle[0]) != first


def test_leaving_a_ball_counts_as_missing_it() -> None:
    stage = begun(catch())
    stage.tick(ROW)
    press(stage, pygame.K_n)
    assert (stage.game.player.score, stage.game.player.count) == (0, 1)
    assert row(stage.game) == 0


@pytest.mark.parametrize("key", [pygame.K_p, pygame.K_h])
def test_pause_and_help_stop_time(key: int) -> None:
    stage = begun(catch())
    stage.tick(ROW)
    press(stage, key)
    for _ in range(10):
        stage.tick(ROW)
    assert row(stage.game) == 1
    press(stage, key)
    stage.tick(ROW)
    assert row(stage.game) == 2


def test_turn_by_turn_the_ball_waits_for_a_move() -> None:
    stage = begun(catch())
    put_paddle(stage.game, 10)
    press(stage, pygame.K_t)
    for _ in range(10):
        stage.tick(ROW)
    assert row(stage.game) == 0
    press(stage, pygame.K_LEFT)
    assert (row(stage.game), paddle(stage.game)) == (1, 9)
    press(stage, pygame.K_DOWN)
    assert (row(stage.game), paddle(stage.game)) == (2, 9)


def test_plus_and_minus_change_the_speed() -> None:
    stage = begun(catch())
    press(stage, pygame.K_PLUS, "+")
    press(stage, pygame.K_PLUS, "+")
    assert stage.game.speed == pytest.approx(8.0)
    press(stage, pygame.K_MINUS, "-")
    press(stage, pygame.K_MINUS, "-")
    assert stage.game.speed == pytest.approx(4.0)


def test_several_balls_an_episode_are_shown_one_by_one() -> None:
    stage = begun(catch([Deal(0)], {"size": 4, "num_balls": 3, "num_scales": 1, "glimpse_size": 2}))
    for landed in (1, 2, 3):
        fall(stage)
        assert stage.game.phase is Phase.SHOWN
        assert stage.game.player.count == landed
        assert [y for _, y in stage.game.player.ball_path] == [0, 1, 2, 3]
        press(stage, pygame.K_SPACE)
        if landed < 3:
            stage.tick(ROW)
    assert stage.game.phase is Phase.FINISHED


def test_versus_plays_the_same_balls_and_names_the_winner() -> None:
    opponent = Seat("agent", make_env("RAMCatch-v0", {}), AgentPilot(StillAgent()))
    env = make_env("RAMCatch-v0", {})
    game = CatchGame(Seat("you", env, PerfectPilot(env)), map(Deal, range(6)), opponent)
    game.proceed()
    while game.phase is not Phase.FINISHED:
        game.tick(2.0)
        assert game.player.ball_path == opponent.ball_path
        assert game.player.count == opponent.count
    assert (game.player.score, opponent.count) == (6, 6)
    assert opponent.score < 6
    assert game.verdict_words() == "You win."


def test_the_opponent_plays_out_a_ball_that_is_left() -> None:
    opponent = Seat("agent", make_env("RAMCatch-v0", {}), AgentPilot(StillAgent()))
    stage = begun(catch(opponent=opponent))
    stage.tick(ROW)
    press(stage, pygame.K_n)
    assert (stage.game.player.count, opponent.count) == (1, 1)


def test_an_agent_is_watched_without_hands() -> None:
    env = make_env("RAMCatch-v0", {})
    game = CatchGame(Seat("agent", env, PerfectPilot(env)), [Deal(0), Deal(1)])
    stage = begun(game)
    put_paddle(game, 10)
    before = best_move(env)
    press(stage, [pygame.K_RIGHT, pygame.K_RIGHT, pygame.K_LEFT][before])
    stage.tick(ROW)
    assert paddle(game) == 10 + before - 1  # the agent's move, not the key's
    for _ in range(200):
        stage.tick(ROW)
    assert game.phase is Phase.FINISHED
    assert re.findall(r"\d+", game.summary()) == ["2", "2", "2"]


@pytest.mark.parametrize(("speed", "rows"), [(4.0, 8), (45.0, 22), (64.0, 22)])
def test_the_speed_that_is_shown_is_the_speed_of_the_ball(speed: float, rows: int) -> None:
    stage = begun(catch())
    stage.game.speed = speed
    for _ in range(120 if speed == 4.0 else 30):  # two seconds, or half of one
        stage.tick(1 / 60)
    assert row(stage.game) == rows if speed == 4.0 else row(stage.game) >= rows


def test_a_tap_wins_over_a_held_key() -> None:
    stage = begun(catch())
    put_paddle(stage.game, 10)
    press(stage, pygame.K_RIGHT)
    stage.tick(ROW)
    tap(stage, pygame.K_LEFT)
    stage.tick(ROW)
    assert paddle(stage.game) == 10
    stage.tick(ROW)
    assert paddle(stage.game) == 11  # the held one goes on


def test_a_second_key_for_the_same_move_lets_go_of_nothing() -> None:
    stage = begun(catch())
    put_paddle(stage.game, 10)
    press(stage, pygame.K_LEFT)
    tap(stage, pygame.K_a)
    stage.tick(ROW)
    stage.tick(ROW)
    assert paddle(stage.game) == 8


def test_a_tap_while_paused_moves_nothing() -> None:
    stage = begun(catch())
    put_paddle(stage.game, 10)
    press(stage, pygame.K_p)
    tap(stage, pygame.K_LEFT)
    press(stage, pygame.K_p)
    stage.tick(ROW)
    assert paddle(stage.game) == 10


def test_the_paddle_key_does_not_stop_the_gaze() -> None:
    stage = begun(catch())
    stage.game.move_gaze_to((20, 5))
    press(stage, pygame.K_j)
    tap(stage, pygame.K_LEFT)
    before = stage.game.gaze
    for _ in range(10):
        stage.tick(0.05)
    assert stage.game.gaze[0] < before[0]


def test_each_ball_of_an_episode_is_a_peek_of_its_own() -> None:
    stage = begun(catch(keywords={"num_balls": 3}))
    fall(stage)
    press(stage, pygame.K_f)
    press(stage, pygame.K_SPACE)
    fall(stage)
    press(stage, pygame.K_f)  # fog again
    press(stage, pygame.K_SPACE)
    fall(stage)
    assert (stage.game.peeked, stage.game.player.count) == (1, 3)


def test_turn_by_turn_space_stays_and_the_hint_says_the_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = begun(catch())
    stage.game.turns = True
    put_paddle(stage.game, 10)
    press(stage, pygame.K_SPACE)
    assert (row(stage.game), paddle(stage.game)) == (1, 10)
    said = words_of(stage, monkeypatch)
    assert "turn by turn" in said
    assert any(line.startswith("Left, Right, Down (stay): ") for line in said)


def test_the_other_keys_sleep_under_the_help() -> None:
    stage = begun(catch())
    press(stage, pygame.K_h)
    for key in (pygame.K_p, pygame.K_f, pygame.K_t):
        press(stage, key)
    press(stage, pygame.K_h)
    game = stage.game
    assert isinstance(game, CatchGame)
    assert (game.paused, game.fog_lifted, game.turns) == (False, False, False)


def test_the_same_ball_again_in_the_middle_of_it_is_a_miss() -> None:
    stage = begun(catch())
    stage.tick(ROW)
    press(stage, pygame.K_r)
    game = stage.game
    assert (row(game), game.player.score, game.player.count) == (0, 0, 1)
    assert game.is_practice


def test_what_does_nothing_before_the_game_begins() -> None:
    stage = Stage(catch())
    for key in (pygame.K_r, pygame.K_p):
        press(stage, key)
    assert (stage.game.phase, stage.game.paused) == (Phase.READY, False)


def test_as_many_balls_each_are_a_draw() -> None:
    opponent = Seat("agent", make_env("RAMCatch-v0", {}), AgentPilot(StillAgent()))
    env = make_env("RAMCatch-v0", {})
    game = CatchGame(Seat("you", env, AgentPilot(StillAgent())), [Deal(0)], opponent)
    game.proceed()
    while game.phase is not Phase.FINISHED:
        game.tick(2.0)
    assert game.verdict_words() == "A draw."


def test_levels_of_catch() -> None:
    game = session.set_up(Options("RAMCatch-v0", seed=0, levels=True)).game
    assert isinstance(game, CatchGame)
    rises = [(4, True, 1), (5, True, 2), (10, True, 3)]
    for streak, right, level in (*rises, (0, False, 2), (0, False, 1), (0, False, 1)):
        game.player.streak = streak
        game._change_level(right)
        assert game.level == level
        assert game.speed == pytest.approx(4 * 1.2 ** (level - 1))
