"""The picture of a game: what was seen, fog elsewhere, the score, and cards with text.

Everything is laid out in units of the sheet; see `ram_envs.play.sheet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pygame

from ram_envs.play.extras import draw_buttons, draw_demo, draw_looks, draw_trail, end_lines
from ram_envs.play.game import Game, Phase
from ram_envs.play.seat import Edge, Seat
from ram_envs.play.sheet import (
    BALL_PATH,
    BODY,
    GAZE_PATH,
    SHEET_SIZE,
    SMALL,
    TITLE,
    Box,
    Sheet,
    fit_sheet,
)
from ram_envs.rendering import (
    BACKGROUND,
    BORDER,
    FAINT_TEXT,
    FOG,
    PATH,
    SCALE_COLORS,
    TARGET,
    TEXT,
    CanvasView,
    fitting_scale,
    to_rgb,
    to_surface,
)
from ram_envs.views import patch_boxes

AFTERIMAGE = 0.4  # how much remains of what was seen before
BRIGHTER = np.round(255 * np.sqrt(np.arange(256) / 255)).astype(np.uint8)  # by what it was

ONE_BOARD: tuple[Box, ...] = ((24, 24, 552, 552),)
TWO_BOARDS: tuple[Box, ...] = ((24, 64, 440, 440), (496, 64, 440, 440))
SIDE = 608  # left edge of the column beside a single board


def board_view(game: Game, window_size: tuple[int, int], board: int = 0) -> CanvasView:
    """Return where the window shows a board's canvas, each of its pixels as an equal block."""
    left, top, width, height = (TWO_BOARDS if game.opponent else ONE_BOARD)[board]
    fit = fit_sheet(window_size)
    canvas_width, canvas_height = game.canvas_size
    scale = fitting_scale(game.canvas_size, (width * fit.scale, height * fit.scale))
    middle_x, middle_y = fit(left + width / 2, top + height / 2)
    return CanvasView(
        left=middle_x - round(canvas_width * scale / 2),
        top=middle_y - round(canvas_height * scale / 2),
        scale=scale,
    )


def gaze_at(game: Game, window_size: tuple[int, int], pixel: tuple[int, int]) -> Edge:
    """Return the pixel edge of the player's canvas that is nearest to a window pixel."""
    view = board_view(game, window_size)
    x, y = (pixel[0] - view.left) / view.scale, (pixel[1] - view.top) / view.scale
    return int(np.floor(x + 0.5)), int(np.floor(y + 0.5))


def draw_game(
    game: Game,
    surface: pygame.Surface,
    with_keys: bool = True,
    challenger: str | None = None,
    note: str = "",
) -> None:
    """Draw the present state of a game.

    Args:
        game: the game.
        surface: of the window.
        with_keys: whether keys are named and labels can be clicked.
        challenger: an agent that can be challenged at the end.
        note: a line below the result at the end.
    """
    sheet = Sheet(surface)
    for number, seat in enumerate(game.seats):
        view = board_view(game, surface.get_size(), number)
        _draw_board(sheet, game, seat, view)
        if game.opponent is not None:
            _draw_heading(sheet, seat, TWO_BOARDS[number])
    if game.opponent is None:
        _draw_side(sheet, game)
    else:
        _draw_below(sheet, game)
    if with_keys:
        if game.phase in (Phase.PLAYING, Phase.SHOWN):  # the cards of the others name their keys
            sheet.text(game.hint, (24, 612), SMALL, FAINT_TEXT)
        draw_buttons(sheet, game)
    if game.help_shown:
        _draw_help(sheet, game)
    elif game.phase is Phase.READY:
        lines = [*game.introduction, "", "Press Space to start, H for help."]
        _draw_card(sheet, game.title, lines)
        if game.has_demo:
            draw_demo(sheet, game.age)
    elif game.phase is Phase.FINISHED:
        lines = game.summary().splitlines()
        if with_keys:
            lines = end_lines(game, challenger, note)
        _draw_card(sheet, game.verdict_words() or "The end", lines)
    elif game.paused:
        _draw_card(sheet, "Paused", ["Press P to continue."])


# The board --------------------------------------------------------------------------------------


def _draw_board(sheet: Sheet, game: Game, seat: Seat, view: CanvasView) -> None:
    """Draw the visible part of the canvas and the retina, or afterwards the whole and the paths."""
    width, height = game.canvas_size
    rect = _to_rect(view, (0, 0, width, height))
    rect.size = max(1, rect.width), max(1, rect.height)
    sheet.surface.fill(FOG, rect)
    is_shown = game.phase in (Phase.SHOWN, Phase.FINISHED)
    is_hidden = not seat.observation or game.phase is Phase.READY
    # The opponent's gaze would show the player where the ball is.
    is_secret = seat is game.opponent and not is_shown and not game.fog_lifted
    if is_secret and not is_hidden:
        place = view.to_frame(width * 0.3, height / 2)
        sheet.text_at(game.opponent_in_words, place, BODY, FAINT_TEXT)
    elif not is_hidden:
        picture = _picture(seat, game.shows_canvas, game.brightened)
        sheet.surface.blit(pygame.transform.scale(picture, rect.size), rect)
        sheet.surface.set_clip(rect)
        if is_shown:
            if (target := game.target(seat)) is not None:
                box = _to_rect(view, target).inflate(6, 6)
                pygame.draw.rect(sheet.surface, TARGET, box, sheet.pixels(3))
            _draw_paths(sheet, seat, view)
        else:
            draw_trail(sheet, game, seat, view)
            _draw_retina(sheet, seat, view)
            if seat is game.player and seat.pilot is None:
                _draw_cross(sheet, view.to_frame(*game.gaze))
        sheet.surface.set_clip(None)
    pygame.draw.rect(sheet.surface, BORDER, rect.inflate(2, 2), 1)


def _to_rect(view: CanvasView, box: tuple[int, int, int, int]) -> pygame.Rect:
    """Return the frame's part of a box (left, top, right, bottom) of pixel edges."""
    (left, top), (right, bottom) = view.to_frame(*box[:2]), view.to_frame(*box[2:])
    return pygame.Rect(left, top, right - left, bottom - top)


def _picture(seat: Seat, lifted: bool, brightened: bool) -> pygame.Surface:
    """Return the canvas, or the glimpse and fog around it, one pixel for each of the canvas."""
    if lifted:
        pixels = to_rgb(seat.env.canvas)
    else:
        grays, is_seen = seat.seen()
        grays = BRIGHTER[grays] if brightened else grays
        ground = np.array(FOG, np.uint8)
        if (memory := seat.remembered()) is not None:  # an afterimage, faded
            faded = np.round(AFTERIMAGE * to_rgb(memory[0]) + (1 - AFTERIMAGE) * ground)
            ground = np.where(memory[1][..., None], faded.astype(np.uint8), ground)
        pixels = np.where(is_seen[..., None], to_rgb(grays), ground)
    return to_surface(pixels)


def _draw_retina(sheet: Sheet, seat: Seat, view: CanvasView) -> None:
    """Draw the outlines of the patches of the present glimpse."""
    boxes = patch_boxes(seat.edge, seat.env.batch.retina.patch_widths)
    for scale, box in reversed(list(enumerate(boxes))):
        # Cut to what can be seen: pygame takes seconds for vast squares.
        rect = _to_rect(view, box).clip(sheet.surface.get_rect().inflate(16, 16))
        pygame.draw.rect(sheet.surface, SCALE_COLORS[scale % len(SCALE_COLORS)], rect, 1)


def _draw_cross(sheet: Sheet, point: tuple[int, int]) -> None:
    """Draw where the player looks next."""
    x, y = point
    near, far = sheet.pixels(4), sheet.pixels(11)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        start, end = (x + near * dx, y + near * dy), (x + far * dx, y + far * dy)
        sheet.line(start, end, PATH)


def _draw_paths(sheet: Sheet, seat: Seat, view: CanvasView) -> None:
    """Draw the path of the ball as dots, that of the gaze as squares."""
    gaze = [view.to_frame(*edge) for edge in seat.trail]
    for start, end in pairwise(gaze):
        sheet.line(start, end, GAZE_PATH, thin=True)
    radius = sheet.pixels(5)
    for number, (x, y) in enumerate(gaze):
        rect = pygame.Rect(x - radius, y - radius, 2 * radius, 2 * radius)
        sheet.surface.fill(BACKGROUND, rect.inflate(2, 2))
        sheet.surface.fill(GAZE_PATH, rect)
        if not seat.ball_path and seat.numbered:
            sheet.text_at(str(number + 1), (x + 2 * radius, y), SMALL, GAZE_PATH, halo=True)
    for column, row in seat.ball_path:
        center = view.to_frame(column + 0.5, row + 0.5)
        pygame.draw.circle(sheet.surface, BACKGROUND, center, sheet.pixels(7))
        pygame.draw.circle(sheet.surface, BALL_PATH, center, sheet.pixels(6))


# Words ------------------------------------------------------------------------------------------


def _draw_heading(sheet: Sheet, seat: Seat, room: Box) -> None:
    left, top, width, _ = room
    sheet.text(_capital(seat.name), (left, top - 24), BODY, TEXT)
    score = f"{seat.score} of {seat.count}     streak {seat.streak}     best {seat.best}"
    sheet.text(score, (left + width, top - 24), BODY, TEXT, align_right=True)


def _draw_side(sheet: Sheet, game: Game) -> None:
    """Draw score, status and outcome beside a single board."""
    seat = game.player
    sheet.text(game.title, (SIDE, 48), TITLE, TEXT)
    who = "" if seat.name == "you" else f"{seat.name} plays"
    sheet.text(who, (SIDE, 82), SMALL, FAINT_TEXT)
    for row, (name, value) in enumerate(game.scores):
        y = 128 + 40 * row
        sheet.text(name, (SIDE, y), BODY, FAINT_TEXT)
        sheet.text(str(value), (SIDE + 110, y), BODY, TEXT)
    gap = 0  # below the first line of the status
    if game.looks_left is not None:
        gap = 36
    elif game.levels:
        gap = 32
        sheet.text(f"level {game.level}", (SIDE, 302), BODY, FAINT_TEXT)
    for row, line in enumerate(game.status):
        sheet.text(line, (SIDE, 270 + 32 * row + gap * (row > 0)), BODY, FAINT_TEXT)
    if game.phase is Phase.PLAYING:
        if game.looks_left is not None:
            draw_looks(sheet, *game.looks_left, (SIDE, 304))
        for row, line in enumerate(game.legend):
            sheet.text(line, (SIDE, 366 + 22 * row), SMALL, FAINT_TEXT)
    _draw_outcome(sheet, game, seat, (SIDE, 430))


def _draw_below(sheet: Sheet, game: Game) -> None:
    """Draw status and outcome below two boards."""
    for seat, (left, top, _, height) in zip(game.seats, TWO_BOARDS, strict=True):
        _draw_outcome(sheet, game, seat, (left, top + height + 28))
    sheet.text("   ".join(game.status), (24, 572), SMALL, FAINT_TEXT)


def _draw_outcome(sheet: Sheet, game: Game, seat: Seat, place: tuple[int, int]) -> None:
    """Draw whether a ball was caught, or an answer right, as a mark and in words."""
    if game.phase is not Phase.SHOWN or not seat.verdicts:
        return
    x, y = place
    sheet.mark(seat.verdicts[-1], (x + 14, y))
    sheet.text(game.outcome(seat), (x + 40, y), BODY, TEXT)
    if game.opponent is None:
        y += 48
        if seat.ball_path:
            pygame.draw.circle(sheet.surface, BALL_PATH, sheet.fit(x + 8, y), sheet.pixels(6))
            sheet.text("the ball", (x + 40, y), SMALL, FAINT_TEXT)
            y += 28
        sheet.surface.fill(GAZE_PATH, sheet.rect((x + 3, y - 5, 10, 10)))
        sheet.text("the gaze", (x + 40, y), SMALL, FAINT_TEXT)


def _draw_help(sheet: Sheet, game: Game) -> None:
    sheet.card((60, 60, 840, 520))
    sheet.text("Keys", (96, 100), TITLE, TEXT)
    for row, (key, meaning) in enumerate(game.keys):
        sheet.text(key, (96, 148 + 36 * row), SMALL, PATH)
        sheet.text(meaning, (340, 148 + 36 * row), SMALL, TEXT)
    sheet.text("H: back to the game", (96, 550), SMALL, FAINT_TEXT)


def _draw_card(sheet: Sheet, title: str, lines: Sequence[str]) -> None:
    height = 110 + 34 * len(lines)
    top = (SHEET_SIZE[1] - height) // 2
    sheet.card((130, top, 700, height))
    sheet.text(title, (166, top + 50), TITLE, TEXT)
    for row, line in enumerate(lines):
        sheet.text(line, (166, top + 100 + 34 * row), SMALL, TEXT)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
