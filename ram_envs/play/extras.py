"""What helps a player beside the board: the gaze's trail, looks that are left, labels to click, a
demonstration on the start card, and the card at the end.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pygame

from ram_envs.play.catch_game import CatchGame
from ram_envs.play.game import Game, Phase
from ram_envs.play.quiz_game import QuizGame
from ram_envs.play.seat import Seat
from ram_envs.play.sheet import Box, Sheet, fit_sheet
from ram_envs.rendering import (
    BACKGROUND,
    BORDER,
    FAINT_TEXT,
    PATH,
    SCALE_COLORS,
    TEXT,
    CanvasView,
    Color,
)
from ram_envs.tasks.pairs import PairClassification

TRAIL: Color = (120, 116, 60)  # a dim yellow
BUTTONS: Box = (608, 520, 328, 60)  # of labels, beside a single board
MAX_BUTTONS = 10
TRAIL_LENGTH = 5  # fixations of a game; of a quiz all are shown
BODY, SMALL = 26, 21
DEMO: Box = (690, 340, 120, 120)
DEMO_ROWS, DEMO_SECONDS = 24, 4.0


def draw_trail(sheet: Sheet, seat: Seat, view: CanvasView, is_quiz: bool) -> None:
    """Draw where the player has looked in this episode, faintly."""
    trail = seat.trail if is_quiz else seat.trail[-TRAIL_LENGTH:]
    points = [view.to_frame(*edge) for edge in trail]
    for start, end in pairwise(points):
        pygame.draw.line(sheet.surface, TRAIL, start, end, 1)
    for point in points[:-1]:
        pygame.draw.circle(sheet.surface, TRAIL, point, sheet.pixels(3))


def draw_looks(sheet: Sheet, game: QuizGame, place: tuple[int, int]) -> None:
    """Draw a dot for each glimpse; those that are left shine."""
    total = game.task.num_glimpses
    left = total - game.glimpses_taken
    x, y = place
    for number in range(total):
        center = sheet.fit(x + 9 + 24 * (number % 12), y + 24 * (number // 12))
        shines = number < left
        pygame.draw.circle(
            sheet.surface, PATH if shines else BORDER, center, sheet.pixels(8), 0 if shines else 2
        )


def label_buttons(game: Game) -> list[tuple[int, Box]]:
    """Return the labels that can be clicked, and where, in units of the sheet."""
    if not isinstance(game, QuizGame) or game.opponent is not None or game.player.pilot is not None:
        return []
    names = game.task.choice_names
    if len(names) > MAX_BUTTONS or isinstance(game.task, PairClassification):
        return []
    if game.phase is not Phase.PLAYING:
        return []
    left, top, width, height = BUTTONS
    columns = 5
    cell = width // columns
    return [
        (
            label,
            (
                left + cell * (label % columns),
                top + (height // 2) * (label // columns),
                cell - 4,
                height // 2 - 4,
            ),
        )
        for label in range(len(names))
    ]


def draw_buttons(sheet: Sheet, game: Game) -> None:
    """Draw the labels that can be clicked."""
    for label, (left, top, width, height) in label_buttons(game):
        assert isinstance(game, QuizGame)
        rect = pygame.Rect(sheet.fit(left, top), (sheet.pixels(width), sheet.pixels(height)))
        chosen = game.guess == label
        pygame.draw.rect(
            sheet.surface,
            PATH if chosen else BORDER,
            rect,
            0 if chosen else 1,
            border_radius=sheet.pixels(5),
        )
        color = BACKGROUND if chosen else TEXT
        sheet.text(str(label), (left + width // 2 - 5, top + height // 2), SMALL, color)


def label_at(game: Game, window_size: tuple[int, int], pixel: tuple[int, int]) -> int | None:
    """Return the label whose button is at a window pixel."""
    fit = fit_sheet(window_size)
    x, y = (pixel[0] - fit.left) / fit.scale, (pixel[1] - fit.top) / fit.scale
    for label, (left, top, width, height) in label_buttons(game):
        if left <= x < left + width and top <= y < top + height:
            return label
    return None


def draw_demo(sheet: Sheet, game: Game) -> None:
    """Draw a falling ball, a gaze that follows it and a paddle on the start card of Catch."""
    if not isinstance(game, CatchGame):
        return
    left, top, width, height = DEMO
    rect = pygame.Rect(sheet.fit(left, top), (sheet.pixels(width), sheet.pixels(height)))
    pygame.draw.rect(sheet.surface, (0, 0, 0), rect)
    pygame.draw.rect(sheet.surface, BORDER, rect, 1)
    row = game.age / DEMO_SECONDS * DEMO_ROWS % (DEMO_ROWS + 6)
    row = min(row, DEMO_ROWS - 1)
    column = 12 - 11 * math.cos(math.pi * (0.15 + row / DEMO_ROWS))
    cell = width / DEMO_ROWS
    ball = sheet.fit(left + cell * (column + 0.5), top + cell * (row + 0.5))
    for scale, color in reversed(list(enumerate(SCALE_COLORS[:3]))):
        side = sheet.pixels(cell * 6 * 2**scale)
        square = pygame.Rect(0, 0, side, side)
        square.center = ball
        pygame.draw.rect(sheet.surface, color, square.clip(rect), 1)
    pygame.draw.circle(sheet.surface, (230, 159, 0), ball, sheet.pixels(cell * 0.7))
    paddle = 12 + (column - 12) * row / DEMO_ROWS
    corner = sheet.fit(left + cell * (paddle - 0.5), top + height - cell)
    pygame.draw.rect(sheet.surface, TEXT, (*corner, sheet.pixels(2 * cell), sheet.pixels(cell)))


def end_lines(game: Game, challenger: str | None, note: str) -> list[str]:
    """Return the lines of the card at the end: the result, and what can be done next."""
    lines = game.summary().splitlines()
    if game.num_looks and isinstance(game, QuizGame):
        lines.append(f"You looked {game.num_looks} times.")
    keys = ["R: again"]
    if challenger is not None:
        keys.append("V: challenge the agent")
    if game.can_be_drawn:
        keys.append("G: save a GIF")
    keys.append("Esc: leave")
    return [*lines, "", "     ".join(keys), *([note] if note else [])]


def draw_level(sheet: Sheet, game: Game, place: tuple[int, int]) -> None:
    """Draw the level of Catch, where it has levels."""
    if isinstance(game, CatchGame) and game.levels:
        sheet.text(f"level {game.level}", place, BODY, FAINT_TEXT)
