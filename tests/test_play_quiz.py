"""The quiz by hand: looks at a canvas, then an answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pygame = pytest.importorskip("pygame")

from stages import (  # noqa: E402
    QUIZ,
    PerfectPilot,
    StillAgent,
    answer_quiz,
    begun,
    click,
    draw,
    fall,
    press,
    quiz,
    quiz_env,
    tap,
    words_of,
)

from ram_envs.datasets import ImageDataset  # noqa: E402
from ram_envs.play import session  # noqa: E402
from ram_envs.play.catch_game import CatchGame  # noqa: E402
from ram_envs.play.extras import label_buttons  # noqa: E402
from ram_envs.play.game import Phase  # noqa: E402
from ram_envs.play.quiz_game import QuizGame  # noqa: E402
from ram_envs.play.seat import AgentPilot, Deal, Seat  # noqa: E402
from ram_envs.play.session import Options, make_env  # noqa: E402
from ram_envs.play.window import Stage  # noqa: E402


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


def test_a_quiz_of_many_labels_cannot_be_typed() -> None:
    images = np.zeros((11, 4, 4), np.uint8)
    keywords: dict[str, Any] = {"dataset": ImageDataset(images, np.arange(11)), "canvas_size": 8}
    with pytest.raises(ValueError, match="11"):
        make_env("RAMClassification-v0", {**keywords, "glimpse_size": 2})


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
