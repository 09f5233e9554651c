"""Playing by hand: events move paddle and gaze, fog hides what the retina does not see."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pygame = pytest.importorskip("pygame")

from stages import click, draw, point, press, release, tap  # noqa: E402

from ram_envs.datasets import ImageDataset  # noqa: E402
from ram_envs.display import NoDisplay  # noqa: E402
from ram_envs.play import main, session  # noqa: E402
from ram_envs.play.catch_game import CatchGame  # noqa: E402
from ram_envs.play.extras import label_buttons  # noqa: E402
from ram_envs.play.game import Game, Phase  # noqa: E402
from ram_envs.play.menu import ENTRIES, Menu  # noqa: E402
from ram_envs.play.quiz_game import QuizGame  # noqa: E402
from ram_envs.play.recording import Recording, load_recording, save_recording  # noqa: E402
from ram_envs.play.screen import board_view, gaze_at  # noqa: E402
from ram_envs.play.seat import AgentPilot, Deal, Seat  # noqa: E402
from ram_envs.play.session import Options, make_env  # noqa: E402
from ram_envs.play.sheet import SHEET_SIZE, Sheet  # noqa: E402
from ram_envs.play.window import Stage, run  # noqa: E402
from ram_envs.rendering import FOG, to_rgb_array  # noqa: E402
from ram_envs.tasks.catch import Catch  # noqa: E402
from ram_envs.tasks.classification import ImageClassification  # noqa: E402
from ram_envs.views import spread_glimpse  # noqa: E402

ROW = 0.25  # seconds at the usual speed
QUIZ = "RAMClutteredMNIST-v0"


class StillAgent:
    """Looks at the center, stays, says 0."""

    def predict(self, observation: Any, **keywords: Any) -> tuple[Any, None]:
        return (np.zeros(2, np.float32), 1), None


class PerfectPilot:
    """Knows the ball's column at the bottom row, from the environment's own state."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def begin(self) -> None:
        pass

    def act(self, observation: Mapping[str, Any]) -> Any:
        return (0.0, 0.0), best_move(self.env)


def best_move(env: Any) -> int:
    """Towards where the ball will land, found by letting it fall in a straight line and fold."""
    task, state = env.batch.task, env.batch.state
    wall = task.size - 1
    x = float(state.x[0] + state.v[0] * (wall - state.row[0])) % (2 * wall)
    target = int(np.floor((x if x <= wall else 2 * wall - x) + 0.5))
    left = int(state.paddle[0])
    return 2 if target > left + task.paddle_width - 1 else 0 if target < left else 1


def catch(deals: Any = None, keywords: Any = None, opponent: Seat | None = None) -> CatchGame:
    deals = deals or [Deal(0), Deal(1)]
    return CatchGame(Seat("you", make_env("RAMCatch-v0", keywords or {})), deals, opponent)


def quiz(indices: tuple[int, ...] = (0, 1), opponent: Seat | None = None) -> QuizGame:
    deals = [Deal(seed, index) for seed, index in enumerate(indices)]
    return QuizGame(Seat("you", quiz_env()), deals, opponent)


def quiz_env() -> Any:
    return make_env(QUIZ, {"dataset": "digits", "split": "test"})


def begun(game: Game) -> Stage:
    stage = Stage(game)
    press(stage, pygame.K_SPACE)
    return stage


def paddle(game: Game) -> int:
    return int(game.player.env.batch.state.paddle[0])


def put_paddle(game: Game, left: int) -> None:
    game.player.env.batch.state.paddle[:] = left


def row(game: Game) -> int:
    return int(game.player.env.batch.state.row[0])


def fall(stage: Stage) -> None:
    """Let the ball land."""
    while stage.game.phase is Phase.PLAYING:
        stage.game.tick(ROW)


def answer_quiz(stage: Stage, digit: int) -> None:
    for _ in range(5):
        click(stage, 300, 300)
    press(stage, pygame.K_0 + digit, str(digit))


def run_main(*args: str) -> None:
    main([*args])


# Catch ------------------------------------------------------------------------------------------


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


# What is seen -----------------------------------------------------------------------------------


def test_a_glimpse_is_spread_over_the_pixels_it_is_the_mean_of() -> None:
    glimpse = np.array([[[0.0, 0.2], [0.4, 0.6]], [[1.0, 0.8], [0.6, 0.4]]], np.float32)
    grays, is_seen = spread_glimpse(glimpse, 2, (2, 1), (4, 5))
    # The fine patch covers columns 1–2 of rows 0–1, the coarse one columns 0–3 of rows −1 to 2.
    assert grays[..., 0].tolist() == [
        [255, 0, 51, 204, 0],
        [153, 102, 153, 102, 0],
        [153, 153, 102, 102, 0],
        [0, 0, 0, 0, 0],
    ]
    assert is_seen.tolist() == [[True] * 4 + [False]] * 3 + [[False] * 5]


def test_the_board_shows_exactly_the_glimpse_and_fog_elsewhere() -> None:
    stage = begun(catch(keywords={"initial_location": (-0.5, -0.75)}))  # the edge (6, 3)
    state = stage.game.player.env.batch.state
    state.x[:], state.v[:] = 11.0, 0.0
    point(stage, 24 + 23 * 6, 24 + 23 * 3)
    stage.tick(ROW)  # the ball is now at column 11, row 1
    frame = draw(stage)

    def pixel(column: int, line: int) -> tuple[int, ...]:
        return tuple(int(v) for v in frame[24 + 23 * line + 5, 24 + 23 * column + 5])

    # Scale 1 has cells of 2 × 2 from column 0, row −3: the ball's cell is columns 10–11, rows 1–2.
    assert pixel(11, 1) == pixel(10, 2) == (64, 64, 64)
    # Scale 2 has cells of 4 × 4 from column −6 to 17, row −9 to 14: the ball's is 10–13, −1–2.
    assert pixel(12, 1) == pixel(13, 2) == (16, 16, 16)
    assert pixel(14, 1) == pixel(17, 14) == (0, 0, 0)
    assert pixel(18, 1) == pixel(17, 15) == FOG
    press(stage, pygame.K_f)
    frame = draw(stage)
    assert pixel(11, 1) == (255, 255, 255)
    assert pixel(10, 2) == pixel(18, 1) == (0, 0, 0)


def test_contrast_brightens_faint_grays_only_on_the_screen() -> None:
    stage = begun(catch(keywords={"initial_location": (-0.5, -0.75)}))
    state = stage.game.player.env.batch.state
    state.x[:], state.v[:] = 11.0, 0.0
    stage.game.move_gaze_to((6, 3))
    stage.tick(ROW)
    press(stage, pygame.K_c)
    assert draw(stage)[24 + 23 + 5, 24 + 23 * 11 + 5].tolist() == [128, 128, 128]  # 64 before


def test_lifting_the_fog_is_told_at_the_end() -> None:
    stage = begun(catch())
    press(stage, pygame.K_f)
    press(stage, pygame.K_f)
    fall(stage)
    assert stage.game.summary().splitlines()[1].split()[-3] == "1"


def test_afterwards_the_ball_and_the_gaze_are_drawn_where_they_were() -> None:
    stage = begun(catch())
    stage.game.move_gaze_to((3, 20))
    fall(stage)
    frame = draw(stage)
    column, line = stage.game.player.ball_path[4]
    assert frame[24 + 23 * line + 11, 24 + 23 * column + 11].tolist() == [230, 159, 0]
    assert frame[24 + 23 * 20, 24 + 23 * 3].tolist() == [86, 180, 233]


@pytest.mark.parametrize("size", [(960, 640), (333, 777), (1, 1), (2000, 300)])
def test_every_screen_is_drawn_in_any_window(size: tuple[int, int]) -> None:
    for game in (catch(), quiz()):
        stage = Stage(game)
        draw(stage, size)
        press(stage, pygame.K_SPACE)
        for key in (pygame.K_h, pygame.K_h, pygame.K_p, pygame.K_p, pygame.K_f, pygame.K_f):
            press(stage, key)
            draw(stage, size)
        if isinstance(game, QuizGame):
            game.look((0, 60))
            draw(stage, size)
        else:
            fall(stage)
            draw(stage, size)
            press(stage, pygame.K_n)
            fall(stage)
            press(stage, pygame.K_n)
            assert game.phase is Phase.FINISHED
            draw(stage, size)


def test_what_is_drawn_is_where_the_mouse_finds_it() -> None:
    game = quiz()
    for size in ((960, 640), (700, 900), (401, 299)):
        view = board_view(game, size)
        for edge in ((0, 0), (31, 8), (60, 60)):
            assert gaze_at(game, size, view.to_frame(*edge)) == edge


# Against and by agents --------------------------------------------------------------------------


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


def test_a_saved_agent_is_an_opponent_and_is_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from ram_agent import RAMAgent

    env = make_env("RAMCatch-v0", {})
    RAMAgent(env.observation_space, env.action_space).save(tmp_path / "agent")
    run = str(tmp_path / "agent")
    game = session.set_up(Options("RAMCatch-v0", versus=run, seed=3)).game
    stage = begun(game)
    fall(stage)
    assert [seat.count for seat in game.seats] == [1, 1]

    gif = str(tmp_path / "agent.gif")
    record = str(tmp_path / "game.json")
    run_main("RAMCatch-v0", "--agent", run, "--episodes", "2", "--gif", gif, "--record", record)
    assert " of 2 " in capsys.readouterr().out
    run_main("RAMCatch-v0", "--replay", record, "--gif", gif)
    assert " of 2 " in capsys.readouterr().out

    with pytest.raises(SystemExit):
        run_main("RAMMNIST-v0", "--dataset", "digits", "--agent", run)
    assert "(3, 6, 6)" in capsys.readouterr().err


def test_an_agent_that_shifts_its_gaze_is_played_as_it_was_trained() -> None:
    class Down:
        def predict(self, observation: Any, **keywords: Any) -> tuple[Any, None]:
            return (np.array([0, 2], np.float32), 1), None

    pilot = AgentPilot(Down(), max_shift=0.5)
    seen = {"location": np.array([-0.25, 0.125], np.float32)}
    assert pilot.act(seen) == ((-0.25, 0.625), 1)
    seen = {"location": np.array([0.25, 0.75], np.float32)}
    assert pilot.act(seen) == ((0.25, 1.0), 1)  # the border


class Noisy:
    """Samples where it is asked to, and counts its steps in its state."""

    def predict(
        self, observation: Any, state: Any, episode_start: bool, deterministic: bool
    ) -> tuple[Any, int]:
        step = 1 if episode_start else state + 1
        shift = 0 if deterministic else 0.25
        return (np.array([shift, step / 8], np.float32), 0 if deterministic else 7), step


def test_an_agent_is_played_as_it_was_validated() -> None:
    seen = {"location": np.array([0.5, 0.5], np.float32)}
    sampled = AgentPilot(Noisy(), deterministic=False)
    assert [sampled.act(seen) for _ in range(2)] == [((0.25, 0.125), 7), ((0.25, 0.25), 7)]
    answering = AgentPilot(Noisy(), deterministic=False, answers=True)
    assert [answering.act(seen) for _ in range(2)] == [((0.25, 0.125), 0), ((0.25, 0.25), 0)]
    assert AgentPilot(Noisy(), gaze="center").act(seen) == ((0, 0), 0)
    assert AgentPilot(Noisy(), 0.5, gaze="center").act(seen) == ((0.5, 0.5), 0)  # no shift
    random = AgentPilot(Noisy(), gaze="random")
    places = np.array([random.act(seen)[0] for _ in range(100)])
    assert places.min() >= -1
    assert places.max() <= 1
    assert 0.5 < places.std() < 0.65


def test_a_control_is_played_with_its_gaze(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from ram_agent import RAMAgent

    env = quiz_env()
    agent = RAMAgent(env.observation_space, env.action_space)
    agent.info["training"] = {"validation_sampled": True, "gaze": {"locations": "center"}}
    agent.save(tmp_path / "agent")
    observation, _ = env.reset(seed=0)
    pilot = session.load_pilot(str(tmp_path / "agent"), env)
    location, choice = pilot.act(observation)
    best = agent.predict(observation, deterministic=True)[0][1]
    assert (location, choice) == ((0, 0), best)


def test_a_seed_determines_what_an_agent_samples(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from ram_agent import RAMAgent

    env = make_env("RAMCatch-v0", {})
    agent = RAMAgent(env.observation_space, env.action_space)
    agent.info["training"] = {"validation_sampled": True}
    agent.save(tmp_path / "agent")
    observation, _ = env.reset(seed=0)
    actions = []
    for seed in (0, 0, 1):
        pilot = session.load_pilot(str(tmp_path / "agent"), env, seed)
        actions.append([pilot.act(observation) for _ in range(5)])
    assert actions[0] == actions[1] != actions[2]


# The quiz ---------------------------------------------------------------------------------------


def test_the_answer_after_the_last_glimpse_decides() -> None:
    stage = begun(quiz())
    game = stage.game
    assert isinstance(game, QuizGame)
    right = game.label
    wrong = (right + 1) % 10
    press(stage, pygame.K_0 + wrong, str(wrong))  # provisional
    for glimpse in range(2, 7):
        assert not game.must_answer
        click(stage, 300, 300)
        assert game.glimpses_taken == glimpse
    assert game.player.actions[0][1] == wrong
    click(stage, 100, 100)  # no glimpse is left
    assert (len(game.player.actions), game.phase) == (5, Phase.PLAYING)
    press(stage, pygame.K_0 + right, str(right))
    assert game.phase is Phase.SHOWN
    assert (game.player.score, game.player.count) == (1, 1)
    assert [(a.index, a.label, a.answer) for a in game.answers] == [(0, right, right)]


def type_digits(stage: Stage, digits: str) -> None:
    for digit in digits:
        press(stage, pygame.K_0 + int(digit), digit)


def begun_pairs(env_id: str) -> Stage:
    keywords = {"dataset": "digits", "split": "test", "num_glimpses": 2}
    return begun(QuizGame(Seat("you", make_env(env_id, keywords)), [Deal(0, 0), Deal(1, 4)]))


def test_both_digits_of_a_pair_are_typed_in_either_order(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = begun_pairs("RAMPairsMNIST-v0")
    game = stage.game
    assert isinstance(game, QuizGame)
    for order in (1, -1):
        pair = game.name(game.label)
        type_digits(stage, "9")
        assert "guess: 9 …" in words_of(stage, monkeypatch)
        type_digits(stage, "3")
        assert "guess: 3 and 9" in words_of(stage, monkeypatch)
        click(stage, 300, 300)
        type_digits(stage, pair.replace(" and ", "")[::order])
        assert game.phase is Phase.SHOWN
        assert f"{pair} is right" in words_of(stage, monkeypatch)
        press(stage, pygame.K_SPACE)
    assert game.player.score == 2


def test_a_sum_is_typed() -> None:
    stage = begun_pairs("RAMAdditionMNIST-v0")
    game = stage.game
    assert isinstance(game, QuizGame)
    type_digits(stage, "1")
    assert game.guess == 1
    type_digits(stage, "8")
    assert game.guess == 18
    type_digits(stage, "9")
    assert game.guess == 9
    click(stage, 300, 300)
    type_digits(stage, "1")  # which could go on
    assert (game.guess, game.phase) == (1, Phase.PLAYING)
    press(stage, pygame.K_RETURN)
    assert (game.phase, game.answers[0].answer) == (Phase.SHOWN, 1)
    press(stage, pygame.K_SPACE)
    click(stage, 300, 300)
    type_digits(stage, "12")
    assert (game.phase, game.answers[1].answer) == (Phase.SHOWN, 12)


def test_classes_with_names_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.full((2, 8, 8, 3), 90, np.uint8)
    dataset = ImageDataset(images, np.arange(2), class_names=["cat", "dog"])
    keywords: dict[str, Any] = {"dataset": dataset, "num_glimpses": 1}
    game = QuizGame(Seat("you", make_env("RAMCIFAR10-v0", keywords)), [Deal(0, 1)])
    stage = Stage(game)
    assert "0  cat    1  dog" in words_of(stage, monkeypatch)
    press(stage, pygame.K_SPACE)
    assert {"0  cat", "1  dog"} <= set(words_of(stage, monkeypatch))
    type_digits(stage, "0")
    assert any(re.match("cat.*dog", line) for line in words_of(stage, monkeypatch))


def test_a_click_looks_at_the_nearest_edge_and_beside_the_board_at_nothing() -> None:
    stage = begun(quiz())
    # 60 pixels of 9 units, from (30, 30).
    click(stage, 30 + 9 * 20, 30 + 9 * 40)
    assert stage.game.player.edge == (20, 40)
    click(stage, 800, 300)
    assert len(stage.game.player.actions) == 1


def test_enter_looks_and_then_stands_by_the_guess() -> None:
    stage = begun(quiz())
    press(stage, pygame.K_3, "3")
    for _ in range(6):
        press(stage, pygame.K_RETURN)
    assert stage.game.phase is Phase.SHOWN
    assert stage.game.player.actions[-1][1] == 3


def test_a_canvas_can_neither_be_skipped_nor_repeated_nor_peeked_at() -> None:
    stage = begun(quiz())
    for key in (pygame.K_n, pygame.K_r, pygame.K_f):
        press(stage, key)
    assert stage.game.phase is Phase.PLAYING
    assert stage.game.player.env.batch.state.index.tolist() == [0]
    assert not stage.game.fog_lifted
    assert len(stage.game.player.actions) == 0
    answer_quiz(stage, 0)
    assert stage.game.fog_lifted
    press(stage, pygame.K_r)
    assert stage.game.phase is Phase.SHOWN
    press(stage, pygame.K_n)
    assert stage.game.player.env.batch.state.index.tolist() == [1]


def test_the_agent_answers_the_same_canvas_and_both_are_saved(tmp_path: Path) -> None:
    opponent = Seat("agent", quiz_env(), AgentPilot(StillAgent()))  # always says 1
    game = quiz(indices=(5, 9), opponent=opponent)
    stage = begun(game)
    stage.tick(0.2)
    stage.tick(0.2)
    labels = []
    for _ in range(2):
        assert opponent.env.canvas.tolist() == game.player.env.canvas.tolist()
        labels.append(game.label)
        answer_quiz(stage, game.label)
        press(stage, pygame.K_SPACE)
    assert game.phase is Phase.FINISHED
    keywords: dict[str, Any] = {"dataset": "digits", "split": "test"}
    session.save_results(session.Session(QUIZ, keywords, 0, game), tmp_path / "me.json")
    saved = json.loads((tmp_path / "me.json").read_text())
    assert (saved["dataset"], saved["split"], saved["num_glimpses"]) == ("digits", "test", 6)
    assert (saved["num_answered"], saved["num_right"]) == (2, 2)
    assert saved["opponent_num_right"] == labels.count(1)
    assert [answer["index"] for answer in saved["answers"]] == [5, 9]
    assert [answer["label"] for answer in saved["answers"]] == labels
    assert [answer["opponent_answer"] for answer in saved["answers"]] == [1, 1]
    assert saved["answers"][0]["seconds"] == 0.4


# Recordings -------------------------------------------------------------------------------------


@pytest.fixture
def recording_path(tmp_path: Path) -> Path:
    """Three balls: one followed well, one practiced and left, one missed or not."""
    stage = begun(catch(map(Deal, range(7, 10))))
    keys = [pygame.K_LEFT, pygame.K_DOWN, pygame.K_RIGHT]
    while stage.game.phase is Phase.PLAYING:
        press(stage, keys[best_move(stage.game.player.env)])
        stage.tick(ROW)
        release(stage, pygame.K_LEFT)
        release(stage, pygame.K_RIGHT)
    press(stage, pygame.K_r)
    stage.tick(ROW)
    press(stage, pygame.K_n)
    stage.tick(ROW)
    press(stage, pygame.K_n)
    fall(stage)
    game = stage.game
    assert game.player.score >= 1
    assert len(game.episodes) == 4
    path = tmp_path / "game.json"
    save_recording(Recording("RAMCatch-v0", {}, 7, game.player.score, game.episodes), path)
    return path


def test_a_recorded_game_replays_to_the_same_score(recording_path: Path) -> None:
    recording = load_recording(recording_path, "RAMCatch-v0")
    assert session.replayed_score(recording) == recording.score
    game = session.set_up(Options("RAMCatch-v0", replay=recording_path)).game
    game.proceed()
    while game.phase is not Phase.FINISHED:
        game.tick(2.0)
    assert (game.player.score, game.player.count) == (recording.score, 3)
    assert [episode.actions for episode in game.episodes] == [
        episode.actions for episode in recording.episodes
    ]


def test_a_recorded_quiz_replays_to_the_same_score(tmp_path: Path) -> None:
    game = quiz()
    stage = begun(game)
    answer_quiz(stage, game.label)
    press(stage, pygame.K_SPACE)
    answer_quiz(stage, (game.label + 1) % 10)
    keywords: dict[str, Any] = {"dataset": "digits", "split": "test"}
    path = tmp_path / "quiz.json"
    save_recording(Recording(QUIZ, keywords, 0, game.player.score, game.episodes), path)
    assert session.replayed_score(load_recording(path, QUIZ)) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:-40], "JSON"),
        (lambda content: "[" * 10**6, "nested"),
        (lambda content: '{"seed": ' + "9" * 5000 + "}", "JSON"),
        (lambda content: content + " " * 2**24, "16,777,216"),
        (lambda content: "[]", "recorded"),
        (lambda content: content.replace('"version": 1', '"version": 2'), "version 2"),
        (lambda content: content.replace("RAMCatch-v0", "RAMMNIST-v0"), "RAMMNIST-v0"),
        (lambda content: content.replace('"score": ', '"score": 1'), "score"),
        (lambda content: content.replace('"seed": 8', '"seed": "8"'), "damaged"),
        (lambda content: content.replace('"keywords": {}', '"keywords": {"sise": 9}'), "sise"),
    ],
)
def test_a_damaged_or_foreign_recording_is_refused(
    recording_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Any,
    words: str,
) -> None:
    recording_path.write_text(change(recording_path.read_text()))
    with pytest.raises(SystemExit) as exit_info:
        run_main("RAMCatch-v0", "--replay", str(recording_path))
    assert exit_info.value.code == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "game.json" in message
    assert words in message


def test_a_gif_is_written_without_a_window(recording_path: Path, tmp_path: Path) -> None:
    from PIL import Image, ImageSequence

    path = tmp_path / "game.gif"
    run_main("RAMCatch-v0", "--replay", str(recording_path), "--gif", str(path))
    with Image.open(path) as image:
        assert image.size == (720, 480)
        # 48 rows at a quarter of a second and some rests; frames that look alike are merged.
        assert sum(frame.info["duration"] for frame in ImageSequence.Iterator(image)) >= 12_000
    assert not pygame.display.get_init()


# The command and the window ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["RAMCatch-v0", "--paddle-width", "30"], "paddle_width=30"),
        (["RAMCatch-v0", "--glimpse-size", "25"], "glimpse_size=25"),
        (["RAMCatch-v0", "--num-clutter", "2"], "num_clutter"),
        (["RAMCatch-v0", "--speed", "0"], "--speed 0"),
        (["RAMCatch-v0", "--speed", "nan"], "--speed nan"),
        (["RAMCatch-v0", "--episodes", "0"], "--episodes 0"),
        (["RAMCatch-v0", "--seed", "-1"], "--seed -1"),
        (["RAMCatch-v0", "--gif", "a.gif"], "--agent"),
        (["RAMCatch-v0", "--save", "a.json"], "--record"),
        (["RAMCatch-v0", "--replay", "nowhere.json"], "nowhere.json"),
        (["RAMCatch-v0", "--record", "."], "a folder"),
        (["RAMCatch-v0", "--turns", "--agent", "run"], "--turns"),
        (["RAMMNIST-v0", "--dataset", "digits", "--turns"], "--turns"),
        (["CartPole-v1"], "--source render"),
        (["RAMCach-v0"], "RAMC"),
        (["PongNoFrameskip-v4"], "'ALE/Pong-v5'"),
        (["RAMMNIST-v0", "--dataset", "digits", "--levels"], "--levels"),
        (["--levels"], "ENV_ID"),
        (["--seed", "0"], "--seed"),
        (["--num-clutter", "0"], "--num-clutter"),
    ],
)
def test_what_cannot_be_played_is_refused_in_a_line(
    args: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run_main(*args)
    assert exit_info.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("ram play: ")
    assert words in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("moment", ["ready", "playing", "paused", "help", "shown"])
@pytest.mark.parametrize("event_type", ["quit", "escape"])
def test_leaving_at_any_moment_ends_with_the_summary(
    moment: str, event_type: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    keys = {"ready": [], "playing": [32], "paused": [32, pygame.K_p], "help": [32, pygame.K_h]}
    frames: list[int] = []
    tick = Stage.tick

    def scripted_tick(stage: Stage, seconds: float) -> None:
        if not frames:
            for key in keys.get(moment, [32]):
                press(stage, key)
            if moment == "shown":
                fall(stage)
        if len(frames) in (2, 4):  # the first shows the result, if something was played
            kind = (
                pygame.event.Event(pygame.QUIT)
                if event_type == "quit"
                else pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE, unicode="", mod=0)
            )
            pygame.event.post(kind)
        frames.append(1)
        assert len(frames) < 100
        tick(stage, seconds)

    monkeypatch.setattr(Stage, "tick", scripted_tick)
    run_main("RAMCatch-v0", "--seed", "3")
    assert not pygame.display.get_init()
    balls = 1 if moment == "shown" else 0
    assert f"of {balls} balls" in capsys.readouterr().out


def test_a_posted_key_reaches_the_game_through_the_window() -> None:
    stage = Stage(catch())
    tick = stage.tick

    def post(seconds: float) -> None:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_n, unicode="", mod=0))
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        tick(seconds)

    stage.tick = post  # type: ignore[method-assign]
    run(stage, "test")
    assert stage.game.phase is Phase.PLAYING


def test_record_and_replay_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def play_one(stage: Stage, seconds: float) -> None:
        press(stage, pygame.K_SPACE)
        while stage.game.phase is Phase.PLAYING:
            stage.game.tick(ROW)
        stage.closed = True

    monkeypatch.setattr(Stage, "tick", play_one)
    path = str(tmp_path / "game.json")
    run_main("RAMCatch-v0", "--seed", "3", "--size", "12", "--record", path)
    content = json.loads(Path(path).read_text())
    assert (content["env_id"], content["keywords"]) == ("RAMCatch-v0", {"size": 12})
    assert len(content["episodes"][0]["actions"]) == 11
    run_main("RAMCatch-v0", "--replay", path)
    assert f"caught {content['score']} of 1 balls" in capsys.readouterr().out


def test_what_was_played_outlives_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def play_two_and_crash(stage: Stage, seconds: float) -> None:
        for _ in range(2):
            press(stage, pygame.K_SPACE)
            while stage.game.phase is Phase.PLAYING:
                stage.game.tick(ROW)
        press(stage, pygame.K_SPACE)
        stage.game.tick(ROW)
        raise RuntimeError("power cut")

    monkeypatch.setattr(Stage, "tick", play_two_and_crash)
    path = tmp_path / "game.json"
    with pytest.raises(RuntimeError, match="power cut"):
        run_main("RAMCatch-v0", "--size", "12", "--record", str(path))
    recording = load_recording(path, "RAMCatch-v0")
    assert [len(episode.actions) for episode in recording.episodes] == [11, 11]
    assert session.replayed_score(recording) == recording.score


def test_a_game_without_a_display_says_what_else_to_do(tmp_path: Path) -> None:
    blind = {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"}
    environment = {key: value for key, value in os.environ.items() if key not in blind}
    if sys.platform != "linux":
        pytest.skip("only Linux has machines without a display")
    result = subprocess.run(
        [sys.executable, "-m", "ram_envs.play", "RAMCatch-v0"],
        env={**environment, "SDL_VIDEODRIVER": "x11"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "--gif" in result.stderr
    assert "ram watch RUN --save" in result.stderr


def test_without_pygame_the_command_names_it_and_the_package_imports() -> None:
    program = (
        "import sys\n"
        "sys.modules['pygame'] = None\n"
        "import ram_envs.play\n"
        "ram_envs.play.main(['RAMCatch-v0'])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert 'pip install "ram-gym[play]"' in result.stderr
    assert "Traceback" not in result.stderr


def test_importing_the_command_imports_neither_pygame_nor_torch() -> None:
    program = "import sys, ram_envs.play\nassert not {'pygame', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_games_are_the_environments_themselves() -> None:
    assert isinstance(make_env("RAMCatch-v0", {}).batch.task, Catch)
    assert isinstance(quiz_env().batch.task, ImageClassification)


# What a player may do --------------------------------------------------------------------------


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


def test_a_digit_is_typed_where_the_minus_key_is() -> None:
    stage = begun(quiz())
    press(stage, pygame.K_MINUS, "6")
    assert (stage.game.guess, stage.game.speed) == (6, 1.0)


def test_the_answer_leaves_the_eye_where_it_looked_last() -> None:
    stage = begun(quiz())
    for _ in range(5):
        stage.game.look((10, 10))
    stage.game.move_gaze_to((50, 50))
    press(stage, pygame.K_3, "3")
    assert stage.game.player.edge == (10, 10)


def test_the_opponents_eye_is_hidden_until_the_ball_has_landed() -> None:
    opponent = Seat("agent", make_env("RAMCatch-v0", {}), AgentPilot(StillAgent()))
    stage = begun(catch(opponent=opponent))
    view = board_view(stage.game, SHEET_SIZE, 1)
    corner = view.to_frame(1, 1)
    assert tuple(draw(stage)[corner[1], corner[0]]) == FOG
    paddle_row = [view.to_frame(column + 0.5, 23.5) for column in range(24)]
    picture = draw(stage)
    assert all(tuple(picture[y, x]) == FOG for x, y in paddle_row)
    fall(stage)
    picture = draw(stage)
    assert sum(tuple(picture[y, x]) == (255, 255, 255) for x, y in paddle_row) >= 1


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


def test_a_game_left_between_two_balls_replays_to_its_score(tmp_path: Path) -> None:
    keywords: dict[str, Any] = {
        "num_balls": 3,
        "size": 6,
        "glimpse_size": 3,
        "num_scales": 1,
        "paddle_width": 6,
    }
    stage = begun(catch(keywords=keywords))
    fall(stage)
    press(stage, pygame.K_SPACE)
    fall(stage)
    game = stage.game
    assert (game.player.score, len(game.episodes), len(game.played)) == (2, 0, 1)
    recording = Recording("RAMCatch-v0", keywords, 0, game.player.score, game.played)
    save_recording(recording, tmp_path / "left.json")
    again = load_recording(tmp_path / "left.json", "RAMCatch-v0")
    assert session.replayed_score(again) == 2


def test_watching_can_be_paused_while_the_truth_is_shown() -> None:
    env = make_env("RAMCatch-v0", {})
    stage = begun(CatchGame(Seat("agent", env, PerfectPilot(env)), [Deal(0), Deal(1)]))
    fall(stage)
    press(stage, pygame.K_p)
    stage.game.tick(60)
    assert stage.game.phase is Phase.SHOWN
    press(stage, pygame.K_p)
    stage.game.tick(60)
    assert stage.game.phase is Phase.PLAYING  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("option", ["--record", "--save"])
def test_a_file_that_is_there_is_kept(option: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "mine.json"
    path.write_text("precious")
    env = ["RAMCatch-v0"] if option == "--record" else ["RAMMNIST-v0", "--dataset", "digits"]
    with pytest.raises(SystemExit):
        run_main(*env, option, str(path))
    assert str(path) in capsys.readouterr().err
    assert path.read_text() == "precious"


def test_one_file_cannot_be_two_things(tmp_path: Path, capsys: Any) -> None:
    path = str(tmp_path / "a.json")
    with pytest.raises(SystemExit):
        run_main("RAMMNIST-v0", "--dataset", "digits", "--record", path, "--save", path)
    assert path in capsys.readouterr().err


def test_a_full_disk_does_not_end_the_game(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def play_one(stage: Stage, seconds: float) -> None:
        press(stage, pygame.K_SPACE)
        fall(stage)
        stage.closed = True

    attempts: list[Path] = []

    def save(recording: Recording, path: Path) -> None:
        attempts.append(path)
        if len(attempts) == 1:
            raise OSError("disk full")
        save_recording(recording, path)

    monkeypatch.setattr(Stage, "tick", play_one)
    monkeypatch.setattr(session, "save_recording", save)
    path = tmp_path / "game.json"
    run_main("RAMCatch-v0", "--record", str(path))
    said = capsys.readouterr()
    assert "disk full" in said.err
    assert f"Recorded in {path}" in said.out
    assert load_recording(path, "RAMCatch-v0").episodes


def test_ids_are_understood_without_version_and_with_their_package() -> None:
    for env_id in ("RAMMNIST", "ram_envs:RAMMNIST-v0"):
        table = session.set_up(Options(env_id, {"dataset": "digits"}))
        assert (table.env_id, table.keywords["split"]) == ("RAMMNIST-v0", "test")


@pytest.mark.parametrize(
    "change",
    [
        {"render_mode": [1]},
        {"size": 10**30},
        {"num_balls": 10**15},
    ],
)
def test_a_recording_with_strange_settings_is_refused(
    change: dict[str, Any], recording_path: Path, capsys: Any
) -> None:
    content = json.loads(recording_path.read_text())
    content["keywords"].update(change)
    recording_path.write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        run_main("RAMCatch-v0", "--replay", str(recording_path))
    said = capsys.readouterr().err
    assert str(recording_path) in said
    assert said.count("\n") == 1


def test_a_game_that_cannot_be_replayed_is_not_recorded(tmp_path: Path) -> None:
    options = Options("RAMSearch-v0", {"canvas_size": 3000})
    session.set_up(options)
    with pytest.raises(ValueError, match="canvas_size"):
        session.set_up(dataclasses.replace(options, record=tmp_path / "a.json"))


@pytest.mark.parametrize("args", [["--num-balls", "1" + "0" * 15], ["--size", "9" * 20]])
def test_settings_beyond_the_machine_are_refused_in_a_line(args: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit):
        run_main("RAMCatch-v0", *args)
    assert capsys.readouterr().err.startswith("ram play: ")


# What is said and refused ----------------------------------------------------------------------


def words_of(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that stands on the sheet."""
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Sheet, "text_at", lambda self, words, *rest, **options: said.append(words))
        draw(stage)
    return said


def test_the_quiz_says_what_to_do_next_and_what_was_right(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = begun(quiz())
    game = stage.game
    assert isinstance(game, QuizGame)
    wrong = (game.label + 1) % 10
    assert "glimpse 1 of 6" in words_of(stage, monkeypatch)
    press(stage, pygame.K_0 + wrong, str(wrong))
    said = words_of(stage, monkeypatch)
    assert f"guess: {wrong}" in said
    assert any(line.startswith("Click") for line in said)
    for _ in range(5):
        click(stage, 300, 300)
    assert not any(line.startswith("Click") for line in words_of(stage, monkeypatch))
    press(stage, pygame.K_RETURN)
    said = words_of(stage, monkeypatch)
    assert any(re.match(f"{wrong}.*{game.label}", line) for line in said)
    assert any(line.startswith("Space: ") for line in said)
    assert {"1", "2", "3", "4", "5", "6"} <= set(said)  # beside the path of the gaze
    press(stage, pygame.K_SPACE)
    answer_quiz(stage, game.label)
    assert any(line.startswith(f"{game.label} ") for line in words_of(stage, monkeypatch))


def test_the_numbers_along_the_path_have_a_dark_rim() -> None:
    darkest = {}
    for halo in (False, True):
        surface = pygame.Surface(SHEET_SIZE, depth=32)
        sheet = Sheet(surface)
        surface.fill("white")
        sheet.text_at("1", (300, 300), 20, (86, 180, 233), halo=halo)
        darkest[halo] = to_rgb_array(surface).max(-1).min()
    assert darkest[False] >= 233  # from the words' own color to white
    assert darkest[True] < 100


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


def test_arrows_move_the_gaze_of_a_quiz() -> None:
    stage = begun(quiz())
    stage.game.move_gaze_to((30, 30))
    for key in (pygame.K_LEFT, pygame.K_LEFT, pygame.K_UP):
        tap(stage, key)
    assert stage.game.gaze == (26, 28)  # two pixels a tap on a canvas of 60


def test_enter_without_a_guess_answers_nothing() -> None:
    stage = begun(quiz())
    for _ in range(7):
        press(stage, pygame.K_RETURN)
    assert stage.game.phase is Phase.PLAYING
    press(stage, pygame.K_4, "4")
    assert stage.game.phase is Phase.SHOWN  # type: ignore[comparison-overlap]


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


def test_a_match_from_the_command_line_ends_with_the_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from ram_agent import RAMAgent

    def play_it(stage: Stage, seconds: float) -> None:
        press(stage, pygame.K_SPACE)
        answer_quiz(stage, stage.game.label)  # type: ignore[attr-defined]
        press(stage, pygame.K_SPACE)
        stage.closed = True

    env = quiz_env()
    RAMAgent(env.observation_space, env.action_space).save(tmp_path / "agent")
    monkeypatch.setattr(Stage, "tick", play_it)
    path = tmp_path / "me.json"
    options = ["--dataset", "digits", "--episodes", "1", "--save", str(path)]
    run_main(QUIZ, *options, "--versus", str(tmp_path / "agent"))
    saved = json.loads(path.read_text())
    assert (saved["num_answered"], saved["num_right"]) == (1, 1)
    words = "A draw." if saved["opponent_num_right"] else "You win."
    assert capsys.readouterr().out.endswith(f"{words}\nResults in {path}\n")


def test_a_quiz_of_many_labels_cannot_be_typed() -> None:
    images = np.zeros((11, 4, 4), np.uint8)
    keywords: dict[str, Any] = {"dataset": ImageDataset(images, np.arange(11)), "canvas_size": 8}
    with pytest.raises(ValueError, match="11"):
        make_env("RAMClassification-v0", {**keywords, "glimpse_size": 2})


def test_a_recording_that_cannot_be_played(
    recording_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*options: str) -> str:
        with pytest.raises(SystemExit):
            run_main("RAMCatch-v0", "--replay", str(recording_path), *options)
        return capsys.readouterr().err.removeprefix("ram play: ")

    said = refusal("--seed", "3", "--size", "9")
    assert "--size, --seed" in said
    assert "a.png" in refusal("--gif", "a.png")
    content = json.loads(recording_path.read_text())
    content["episodes"][0]["actions"][0][0] = "left"
    recording_path.write_text(json.dumps(content))
    assert "left" in refusal()
    recording_path.write_text(json.dumps({**content, "episodes": []}))
    assert str(recording_path) in refusal()


def test_a_folder_that_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write there
    path = tmp_path / "game.json"
    with pytest.raises(SystemExit):
        run_main("RAMCatch-v0", "--record", str(path))
    assert f"{path} " in capsys.readouterr().err


def test_an_agent_without_pytorch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit):
        run_main("RAMCatch-v0", "--agent", "run")
    said = capsys.readouterr().err
    assert 'pip install "ram-gym[agent,play]"' in said


def test_a_gif_without_pillow(
    recording_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(SystemExit):
        run_main("RAMCatch-v0", "--replay", str(recording_path), "--gif", "a.gif")
    said = capsys.readouterr().err
    assert said.startswith("ram play: ")
    assert 'pip install "ram-gym[play]"' in said
    assert said.count("\n") == 1


def test_a_screen_that_nobody_sees_is_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.setattr(pygame.display, "init", lambda: None)
    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")
    with pytest.raises(NoDisplay):
        run(Stage(catch()), "test")


def test_images_of_two_channels_are_shown_gray() -> None:
    images = np.zeros((2, 4, 4, 2), np.uint8)
    images[..., 0] = 100  # and the other channel 0: 50 on the average
    keywords: dict[str, Any] = {
        "dataset": ImageDataset(images, np.arange(2)),
        "glimpse_size": 4,
        "num_scales": 1,
    }
    env = make_env("RAMClassification-v0", {**keywords, "initial_location": (0, 0)})
    stage = begun(QuizGame(Seat("you", env), [Deal(0, 0)]))
    view = board_view(stage.game, SHEET_SIZE)
    x, y = view.to_frame(0.6, 0.6)
    assert draw(stage)[y, x].tolist() == [50, 50, 50]


# --- the menu, the end, and what helps a player --------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        ([pygame.K_RETURN], 0),
        ([pygame.K_DOWN, pygame.K_DOWN, pygame.K_SPACE], 2),
        ([pygame.K_UP, pygame.K_SPACE], len(ENTRIES) - 1),
        ([pygame.K_4], 3),
        ([pygame.K_9], None),
        ([pygame.K_ESCAPE], None),
    ],
)
def test_the_menu(keys: list[int], chosen: int | None) -> None:
    menu = Menu()
    menu.draw(pygame.Surface(SHEET_SIZE, depth=32))
    for key in keys:
        press(menu, key, chr(key) if key in range(pygame.K_0, pygame.K_9 + 1) else "")
    assert menu.chosen == (None if chosen is None else ENTRIES[chosen].options)


@pytest.mark.parametrize(("y", "chosen"), [(120 + 52, 1), (10, None)])
def test_the_menu_by_mouse(y: int, chosen: int | None) -> None:
    menu = Menu()
    menu.draw(pygame.Surface(SHEET_SIZE, depth=32))
    click(menu, 100, y)
    assert menu.chosen == (None if chosen is None else ENTRIES[chosen].options)


def test_every_entry_of_the_menu_can_be_played() -> None:
    pytest.importorskip("torch", reason="the extra agent is not installed")
    for entry in ENTRIES:
        assert entry.options.env_id is not None
        is_game = entry.options.env_id in ("RAMCatch-v0", "RAMSearch-v0")
        keywords = {} if is_game else {"dataset": "digits"}
        stage = Stage(session.set_up(replace(entry.options, keywords=keywords)).game)
        press(stage, pygame.K_SPACE)
        stage.draw(pygame.Surface(SHEET_SIZE, depth=32))
        assert stage.game.phase is Phase.PLAYING


def test_play_without_an_id_plays_what_the_menu_chooses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    titles: list[str] = []

    def choose(stage: Stage | Menu, title: str) -> None:
        titles.append(title)
        if isinstance(stage, Menu):
            press(stage, pygame.K_1, "1")

    monkeypatch.setattr("ram_envs.play.window.run", choose)
    main([])
    assert titles == ["ram play", "ram play RAMCatch-v0"]
    assert "0 of 0 balls" in capsys.readouterr().out


def test_what_can_be_done_at_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the extra agent is not installed")
    monkeypatch.chdir(tmp_path)
    played: list[str | None] = []

    def play_one(stage: Stage, title: str) -> None:
        opponent = stage.game.opponent
        played.append(None if opponent is None else opponent.name)
        if len(played) > 2:
            return
        assert stage.challenger == (None if len(played) == 2 else "pretrained:catch")
        press(stage, pygame.K_SPACE)
        fall(stage)
        press(stage, pygame.K_ESCAPE)
        assert (stage.closed, stage.game.phase) == (False, Phase.FINISHED)
        press(stage, pygame.K_g)
        assert "ram-play-" in stage.note
        stage.draw(pygame.Surface(SHEET_SIZE, depth=32))
        press(stage, pygame.K_v if len(played) == 1 else pygame.K_r)
        assert stage.closed

    monkeypatch.setattr("ram_envs.play.window.run", play_one)
    main(["RAMCatch-v0", "--seed", "3"])
    assert played == [None, "agent", "agent"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ram-play-1.gif", "ram-play-2.gif"]


def test_after_a_replay_the_same_game_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keywords = {"size": 9, "glimpse_size": 3, "paddle_width": 3}
    game = session.set_up(Options("RAMCatch-v0", keywords, seed=8)).game
    game.proceed()
    while game.phase is Phase.PLAYING:
        game.tick(1.0)
    path = tmp_path / "game.json"
    save_recording(Recording("RAMCatch-v0", keywords, 8, game.player.score, game.played), path)
    played: list[tuple[str, int]] = []

    def play_one(stage: Stage, title: str) -> None:
        played.append((stage.game.player.name, stage.game.canvas_size[0]))
        stage.wish = "again" if len(played) == 1 else None

    monkeypatch.setattr("ram_envs.play.window.run", play_one)
    main(["RAMCatch-v0", "--replay", str(path)])
    assert played == [("recording", 9), ("you", 9)]


def test_images_in_memory_are_played_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    dataset = ImageDataset(np.zeros((4, 12, 12), np.uint8), np.arange(4) % 2)
    gym.register(
        "InMemory-v0",
        "ram_envs.envs.classification:ClassificationEnv",
        kwargs={"dataset": dataset, "glimpse_size": 4},
    )
    played: list[str] = []

    def play_one(stage: Stage, title: str) -> None:
        played.append(title)
        stage.wish = "again" if len(played) == 1 else None

    monkeypatch.setattr("ram_envs.play.window.run", play_one)
    main(["InMemory-v0"])
    assert len(played) == 2


def test_a_fault_of_the_program_is_not_put_into_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(stage: Stage, title: str) -> None:
        raise TypeError("a fault")

    monkeypatch.setattr("ram_envs.play.window.run", fail)
    with pytest.raises(TypeError):
        main(["RAMCatch-v0"])


def test_labels_are_clicked_and_looks_go_out() -> None:
    game = quiz()
    stage = begun(game)
    dark = draw(stage)
    assert [label for label, _ in label_buttons(game)] == list(range(10))
    left, top, width, height = label_buttons(game)[7][1]
    click(stage, left + width // 2, top + height // 2)
    assert game.guess == 7
    assert len(game.player.actions) == 0
    game.look((5, 5))
    assert not np.array_equal(draw(stage), dark)
    while not game.must_answer:
        game.look((30, 30))
    click(stage, left + width // 2, top + height // 2)
    assert game.answers[0].answer == 7
    assert label_buttons(game) == []


def test_what_was_seen_remains_faded() -> None:
    game = quiz()
    stage = begun(game)
    game.look((5, 5))
    game.look((55, 55))
    memory = game.player.remembered()
    assert memory is not None
    seen_before = memory[1] & ~game.player.seen()[1]
    assert seen_before.any()
    picture = draw(stage)
    assert (picture == np.array(FOG)).all(-1).any()
    assert catch().player.remembered() is None


@pytest.mark.parametrize(
    ("env_id", "options", "expected"),
    [
        ("RAMCatch-v0", {}, (4.0, False, False)),
        ("RAMCatch-v0", {"speed": 7.0, "turns": True, "levels": True}, (7.0, True, True)),
        ("RAMSearch-v0", {"speed": 2.0}, (2.0, True, False)),
        (QUIZ, {"keywords": {"dataset": "digits"}}, (1.0, True, False)),
    ],
)
def test_the_options_of_a_game(env_id: str, options: Any, expected: Any) -> None:
    game = session.set_up(Options(env_id, seed=0, **options)).game
    assert (game.speed, game.turns, game.levels) == expected


def test_levels_of_catch() -> None:
    game = session.set_up(Options("RAMCatch-v0", seed=0, levels=True)).game
    assert isinstance(game, CatchGame)
    rises = [(4, True, 1), (5, True, 2), (10, True, 3)]
    for streak, right, level in (*rises, (0, False, 2), (0, False, 1), (0, False, 1)):
        game.player.streak = streak
        game._change_level(right)
        assert game.level == level
        assert game.speed == pytest.approx(4 * 1.2 ** (level - 1))


def test_moving_digits_are_a_quiz() -> None:
    table = session.set_up(Options("RAMMovingMNIST-v0", {"dataset": "digits"}, seed=1))
    assert table.keywords["split"] == "test"
    game = table.game
    assert isinstance(game, QuizGame)
    game.proceed()
    while not game.must_answer:
        game.look((30, 30))
    game.type_digit(game.label)
    assert game.player.score == 1


def test_a_misspelled_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["RAMCatch-v0", "--recrod", "a"])
    assert "--record?" in capsys.readouterr().err
