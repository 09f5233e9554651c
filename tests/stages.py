"""Helpers for tests of `ram play`: key presses, mouse clicks, games, and drawn frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pygame
import pytest

from ram_envs.play.catch_game import CatchGame
from ram_envs.play.game import Game, Phase
from ram_envs.play.menu import Menu
from ram_envs.play.quiz_game import QuizGame
from ram_envs.play.seat import Deal, Seat
from ram_envs.play.session import make_env
from ram_envs.play.sheet import SHEET_SIZE, Sheet
from ram_envs.play.window import Stage
from ram_envs.rendering import to_rgb_array


def press(stage: Stage | Menu, key: int, letter: str = "", mod: int = 0) -> None:
    """Press a key that types a letter, and hold it."""
    stage.handle(pygame.event.Event(pygame.KEYDOWN, key=key, unicode=letter, mod=mod))


def release(stage: Stage, key: int) -> None:
    stage.handle(pygame.event.Event(pygame.KEYUP, key=key, mod=0))


def tap(stage: Stage, key: int, letter: str = "") -> None:
    """Press a key and release it."""
    press(stage, key, letter)
    release(stage, key)


def point(stage: Stage, x: int, y: int) -> None:
    """Move the mouse to a pixel of the window."""
    stage.handle(pygame.event.Event(pygame.MOUSEMOTION, pos=(x, y), rel=(0, 0), buttons=(0, 0, 0)))


def click(stage: Stage | Menu, x: int, y: int) -> None:
    stage.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=(x, y), button=1))


def draw(stage: Stage, size: tuple[int, int] = SHEET_SIZE) -> np.ndarray:
    """Return the pixels of a window of `size`, (height, width, 3)."""
    surface = pygame.Surface(size, depth=32)
    stage.draw(surface)
    return to_rgb_array(surface)


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


def words_of(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that stands on the sheet."""
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Sheet, "text_at", lambda self, words, *rest, **options: said.append(words))
        draw(stage)
    return said
