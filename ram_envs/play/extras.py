"""What helps a player beside the board: the gaze's trail, looks that are left, labels to click, a
demonstration on the start card, and the card at the end.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pygame

from ram_envs.fonts import Color
from ram_envs.play.game import Game, Phase
from ram_envs.play.seat import Seat
from ram_envs.play.sheet import BALL_PATH, SMALL, Box, Sheet, fit_sheet
from ram_envs.rendering import BACKGROUND, BORDER, PATH, SCALE_COLORS, TEXT, CanvasView

TRAIL: Color = (120, 116, 60)  # a dim yellow
BUTTONS: Box = (608, 520, 328, 60)  # of labels, beside a single board
BUTTONS_PER_LINE = 5
DEMO: Box = (690, 340, 120, 120)
DEMO_ROWS, DEMO_SECONDS = 24, 4.0


def draw_trail(sheet: Sheet, game: Game, seat: Seat, view: CanvasView) -> None:
    """Draw where the player has looked in this episode, faintly."""
    points = [view.to_frame(*edge) for edge in seat.trail[game.trail_start :]]
    for start, end in pairwise(points):
        pygame.draw.line(sheet.surface, TRAIL, start, end, 1)
    for point in points[:-1]:
        pygame.draw.circle(sheet.surface, TRAIL, point, sheet.pixels(3))


def draw_looks(sheet: Sheet, left: int, total: int, place: tuple[int, int]) -> None:
    """Draw a dot for each glimpse; those that are left shine."""
    x, y = place
    for number in range(total):
        center = sheet.fit(x + 9 + 24 * (number % 12), y + 24 * (number // 12))
        color, width = (PATH, 0) if number < left else (BORDER, 2)
        pygame.draw.circle(sheet.surface, color, center, sheet.pixels(8), width)


def label_buttons(game: Game) -> list[tuple[int, Box]]:
    """Return the labels that can be clicked, and where, in units of the sheet."""
    if game.phase is not Phase.PLAYING or game.opponent is not None or not game.waits:
        return []
    left, top, width, height = BUTTONS
    cell, line = width // BUTTONS_PER_LINE, height // 2
    places = [divmod(label, BUTTONS_PER_LINE) for label in game.labels]
    return [
        (label, (left + cell * column, top + line * row, cell - 4, line - 4))
        for label, (row, column) in zip(game.labels, places, strict=True)
    ]


def draw_buttons(sheet: Sheet, game: Game) -> None:
    """Draw the labels that can be clicked."""
    for label, box in label_buttons(game):
        left, top, width, height = box
        is_chosen = game.guess == label
        color, border = (PATH, 0) if is_chosen else (BORDER, 1)
        radius = sheet.pixels(5)
        pygame.draw.rect(sheet.surface, color, sheet.rect(box), border, border_radius=radius)
        middle = (left + width // 2 - 5, top + height // 2)
        sheet.text(str(label), middle, SMALL, BACKGROUND if is_chosen else TEXT)


def label_at(game: Game, window_size: tuple[int, int], pixel: tuple[int, int]) -> int | None:
    """Return the label whose button is at a window pixel."""
    fit = fit_sheet(window_size)
    x, y = (pixel[0] - fit.left) / fit.scale, (pixel[1] - fit.top) / fit.scale
    for label, (left, top, width, height) in label_buttons(game):
        if left <= x < left + width and top <= y < top + height:
            return label
    return None


def draw_demo(sheet: Sheet, seconds: float) -> None:
    """Draw a falling ball, a gaze that follows it and a paddle on the start card of Catch."""
    left, top, width, height = DEMO
    rect = sheet.rect(DEMO)
    pygame.draw.rect(sheet.surface, (0, 0, 0), rect)
    pygame.draw.rect(sheet.surface, BORDER, rect, 1)
    row = seconds / DEMO_SECONDS * DEMO_ROWS % (DEMO_ROWS + 6)
    row = min(row, DEMO_ROWS - 1)
    column = 12 - 11 * math.cos(math.pi * (0.15 + row / DEMO_ROWS))
    cell = width / DEMO_ROWS
    ball = sheet.fit(left + cell * (column + 0.5), top + cell * (row + 0.5))
    for scale, color in reversed(list(enumerate(SCALE_COLORS[:3]))):
        side = sheet.pixels(cell * 6 * 2**scale)
        square = pygame.Rect(0, 0, side, side)
        square.center = ball
        pygame.draw.rect(sheet.surface, color, square.clip(rect), 1)
    pygame.draw.circle(sheet.surface, BALL_PATH, ball, sheet.pixels(cell * 0.7))
    paddle = 12 + (column - 12) * row / DEMO_ROWS
    corner = sheet.fit(left + cell * (paddle - 0.5), top + height - cell)
    pygame.draw.rect(sheet.surface, TEXT, (*corner, sheet.pixels(2 * cell), sheet.pixels(cell)))


def end_lines(game: Game, challenger: str | None, note: str) -> list[str]:
    """Return the lines of the card at the end: the result, and what can be done next."""
    lines = game.summary().splitlines()
    if game.num_looks:
        lines.append(f"You looked {game.num_looks} times.")
    keys = ["R: again"]
    if challenger is not None:
        keys.append("V: challenge the agent")
    if game.played:
        keys.append("G: save a GIF")
    keys.append("Esc: leave")
    return [*lines, "", "     ".join(keys), *([note] if note else [])]
