"""The picture of a game: what was seen, fog elsewhere, the score, and cards with text.

Everything is laid out in units of the sheet; see `ram_envs.play.sheet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pygame

from ram_envs.play.arcade_game import ArcadeGame, shorten
from ram_envs.play.catch_game import CatchGame
from ram_envs.play.extras import (
    draw_buttons,
    draw_demo,
    draw_level,
    draw_looks,
    draw_trail,
    end_lines,
)
from ram_envs.play.game import Game, Phase
from ram_envs.play.quiz_game import QuizGame
from ram_envs.play.search_game import SearchGame
from ram_envs.play.seat import Edge, Seat
from ram_envs.play.sheet import SHEET_SIZE, Box, Sheet, fit_sheet
from ram_envs.rendering import (
    BACKGROUND,
    BORDER,
    FAINT_TEXT,
    PATH,
    SCALE_COLORS,
    TARGET,
    TEXT,
    CanvasView,
    Color,
)

FOG: Color = (36, 41, 54)
AFTERIMAGE = 0.4  # how much remains of what was seen before
BALL_PATH: Color = (230, 159, 0)  # orange, and round; the gaze is sky blue, and square
GAZE_PATH: Color = (86, 180, 233)
TITLE, BODY, SMALL = 40, 26, 21  # heights of letters

BRIGHTER = np.round(255 * np.sqrt(np.arange(256) / 255)).astype(np.uint8)  # by what it was

ONE_BOARD: tuple[Box, ...] = ((24, 24, 552, 552),)
TWO_BOARDS: tuple[Box, ...] = ((24, 64, 440, 440), (496, 64, 440, 440))
SIDE = 608  # left edge of the column beside a single board

CATCH_KEYS = (
    ("Left, Right or A, D", "move the paddle"),
    ("mouse or I, J, K, L", "look (also Shift with the arrow keys)"),
    ("N, Enter or Space", "next ball"),
    ("R", "repeat the ball, for practice"),
    ("+, −", "faster, slower"),
    ("T", "turn by turn: the ball waits for your move (Down: stay)"),
    ("F", "lift the fog"),
    ("C", "contrast: faint grays brighter, or as they are"),
    ("P", "pause"),
    ("H or ?", "this help"),
    ("Esc", "stop, and show the result"),
)
ARCADE_KEYS = (
    ("arrows or W, A, S, D", "move; Space fires"),
    ("mouse or I, J, K, L", "look"),
    ("N", "next game"),
    ("R", "begin this game again"),
    ("+, −", "faster, slower"),
    ("F", "lift the fog"),
    ("C", "contrast: faint grays brighter, or as they are"),
    ("P", "pause"),
    ("H or ?", "this help"),
    ("Esc", "stop, and show the result"),
)
QUIZ_KEYS = (
    ("mouse click", "look there"),
    ("I, J, K, L, then Enter", "look without a mouse (also the arrow keys)"),
    ("0 … 9", "a guess; after the last glimpse, your answer (two digits for pairs, sums)"),
    ("Enter", "after the last glimpse: answer with your guess"),
    ("N, Enter or Space", "next canvas"),
    ("F", "after the answer: your last glimpse, or the whole canvas"),
    ("C", "contrast: faint grays brighter, or as they are"),
    ("P", "pause"),
    ("H or ?", "this help"),
    ("Esc", "stop, and show the result"),
)
SEARCH_KEYS = (
    ("mouse click", "look there"),
    ("Space", "take what you look at, if its bars stand upright"),
    ("I, J, K, L, then Enter", "look without a mouse (also the arrow keys)"),
    ("N", "next search"),
    ("R", "repeat the search, for practice"),
    ("F", "after the search: your last glimpse, or the whole canvas"),
    ("C", "contrast: faint grays brighter, or as they are"),
    ("P", "pause"),
    ("H or ?", "this help"),
    ("Esc", "stop, and show the result"),
)


def board_view(game: Game, window_size: tuple[int, int], board: int = 0) -> CanvasView:
    """Return where the window shows a board's canvas, each of its pixels as an equal block."""
    left, top, width, height = (TWO_BOARDS if game.opponent else ONE_BOARD)[board]
    fit = fit_sheet(window_size)
    canvas_width, canvas_height = game.canvas_size
    scale = min(width * fit.scale / canvas_width, height * fit.scale / canvas_height)
    scale = float(int(scale)) if scale >= 1 else scale
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
        sheet.text(_hint(game), (24, 612), SMALL, FAINT_TEXT)
        draw_buttons(sheet, game)
    if game.help_shown:
        _draw_help(sheet, game)
    elif game.phase is Phase.READY:
        _draw_card(
            sheet, _title(game), [*_introduction(game), "", "Press Space to start, H for help."]
        )
        draw_demo(sheet, game)
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
    corner, end = view.to_frame(0, 0), view.to_frame(width, height)
    rect = pygame.Rect(corner, (max(1, end[0] - corner[0]), max(1, end[1] - corner[1])))
    sheet.surface.fill(FOG, rect)
    shown = game.phase in (Phase.SHOWN, Phase.FINISHED)
    hidden = not seat.observation or game.phase is Phase.READY
    # The opponent's gaze would show the player where the ball is.
    waits = seat is game.opponent and not shown and not game.fog_lifted
    if not hidden and not waits:
        lifted = game.fog_lifted or (shown and isinstance(game, (ArcadeGame, CatchGame)))
        picture = _picture(seat, lifted, game.brightened)
        sheet.surface.blit(pygame.transform.scale(picture, rect.size), rect)
        sheet.surface.set_clip(rect)
        if shown and isinstance(game, SearchGame):
            left, top, right, bottom = game.task.target(seat.env.batch.state, 0)
            corner, end = view.to_frame(left, top), view.to_frame(right, bottom)
            box = pygame.Rect(corner, (end[0] - corner[0], end[1] - corner[1]))
            pygame.draw.rect(sheet.surface, TARGET, box.inflate(6, 6), sheet.pixels(3))
        if shown:
            _draw_paths(sheet, seat, view)
        else:
            draw_trail(sheet, seat, view, isinstance(game, QuizGame))
            _draw_retina(sheet, seat, view)
            if seat is game.player and seat.pilot is None:
                _draw_cross(sheet, view.to_frame(*game.gaze))
        sheet.surface.set_clip(None)
    if waits and not hidden:
        words = "plays the same ball" if isinstance(game, CatchGame) else "plays after you"
        sheet.text_at(words, view.to_frame(width * 0.3, height / 2), BODY, FAINT_TEXT)
    pygame.draw.rect(sheet.surface, BORDER, rect.inflate(2, 2), 1)


def _picture(seat: Seat, lifted: bool, brightened: bool) -> pygame.Surface:
    """Return the canvas, or the glimpse and fog around it, one pixel for each of the canvas."""
    if lifted:
        canvas = seat.env.canvas
        pixels = _in_color(canvas if canvas.ndim == 3 else canvas[..., None])
    else:
        grays, is_seen = seat.seen()
        grays = BRIGHTER[grays] if brightened else grays
        ground = np.array(FOG, np.uint8)
        if (memory := seat.remembered()) is not None:  # an afterimage, faded
            faded = np.round(AFTERIMAGE * _in_color(memory[0]) + (1 - AFTERIMAGE) * ground)
            ground = np.where(memory[1][..., None], faded.astype(np.uint8), ground)
        pixels = np.where(is_seen[..., None], _in_color(grays), ground)
    surface: pygame.Surface = pygame.surfarray.make_surface(pixels.transpose(1, 0, 2))
    return surface


def _in_color(image: np.ndarray) -> np.ndarray:
    """Return (H, W, C) in three channels: its own, or its brightness three times."""
    if image.shape[-1] not in (1, 3):
        image = image.mean(axis=-1, keepdims=True).astype(np.uint8)
    return np.broadcast_to(image, (*image.shape[:2], 3))


def _draw_retina(sheet: Sheet, seat: Seat, view: CanvasView) -> None:
    """Draw the outlines of the patches of the present glimpse."""
    x, y = seat.edge
    for scale, width in reversed(list(enumerate(seat.env.batch.retina.patch_widths))):
        start_x, start_y = x - width // 2, y - width // 2
        corner, end = (
            view.to_frame(start_x, start_y),
            view.to_frame(start_x + width, start_y + width),
        )
        rect = pygame.Rect(corner, (end[0] - corner[0], end[1] - corner[1]))
        # Cut to what can be seen: pygame takes seconds for vast squares.
        rect = rect.clip(sheet.surface.get_rect().inflate(16, 16))
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
    sheet.text(_title(game), (SIDE, 48), TITLE, TEXT)
    who = "" if seat.name == "you" else f"{seat.name} plays"
    sheet.text(who, (SIDE, 82), SMALL, FAINT_TEXT)
    for row, (name, value) in enumerate(_scores(game)):
        y = 128 + 40 * row
        sheet.text(name, (SIDE, y), BODY, FAINT_TEXT)
        sheet.text(str(value), (SIDE + 110, y), BODY, TEXT)
    gap = 36 if isinstance(game, QuizGame) else 0  # for the dots of the looks
    gap = 32 if isinstance(game, CatchGame) and game.levels else gap
    for row, line in enumerate(_status(game)):
        sheet.text(line, (SIDE, 270 + 32 * row + gap * (row > 0)), BODY, FAINT_TEXT)
    if isinstance(game, QuizGame) and game.phase is Phase.PLAYING:
        for row, line in enumerate(game.legend):
            sheet.text(line, (SIDE, 366 + 22 * row), SMALL, FAINT_TEXT)
    if isinstance(game, QuizGame) and game.phase is Phase.PLAYING:
        draw_looks(sheet, game, (SIDE, 304))
    draw_level(sheet, game, (SIDE, 302))
    _draw_outcome(sheet, game, seat, (SIDE, 430))


def _scores(game: Game) -> list[tuple[str, object]]:
    """Return the numbers beside a single board."""
    seat = game.player
    if isinstance(game, ArcadeGame):
        totals = game.arcade_seat.totals
        best = f"{max(totals):.4g}" if totals else "–"
        return [
            ("score", f"{game.arcade_seat.total:.4g}"),
            ("best", best),
            ("games", len(totals)),
        ]
    score = f"{seat.score} of {seat.count}"
    return [("score", score), ("streak", seat.streak), ("best", seat.best)]


def _draw_below(sheet: Sheet, game: Game) -> None:
    """Draw status and outcome below two boards."""
    for seat, (left, top, _, height) in zip(game.seats, TWO_BOARDS, strict=True):
        _draw_outcome(sheet, game, seat, (left, top + height + 28))
    sheet.text("   ".join(_status(game)), (24, 572), SMALL, FAINT_TEXT)


def _draw_outcome(sheet: Sheet, game: Game, seat: Seat, place: tuple[int, int]) -> None:
    """Draw whether a ball was caught, or an answer right, as a mark and in words."""
    if game.phase is not Phase.SHOWN or not seat.verdicts:
        return
    x, y = place
    right = seat.verdicts[-1]
    sheet.mark(right, (x + 14, y))
    if isinstance(game, QuizGame):
        said = seat.actions[-1][1]
        words = f"{game.name(said)} is right"
        if not right:
            words = f"{game.name(said)}; it is {game.name(game.label)}"
    else:
        env = seat.env.batch
        task: Any = env.task
        words = task.verdict(env.state, 0) or ("caught" if right else "missed")
    sheet.text(words, (x + 40, y), BODY, TEXT)
    if game.opponent is None:
        y += 48
        if seat.ball_path:
            pygame.draw.circle(sheet.surface, BALL_PATH, sheet.fit(x + 8, y), sheet.pixels(6))
            sheet.text("the ball", (x + 40, y), SMALL, FAINT_TEXT)
            y += 28
        sheet.surface.fill(
            GAZE_PATH, (*sheet.fit(x + 3, y - 5), sheet.pixels(10), sheet.pixels(10))
        )
        sheet.text("the gaze", (x + 40, y), SMALL, FAINT_TEXT)


def _draw_help(sheet: Sheet, game: Game) -> None:
    sheet.card((60, 60, 840, 520))
    sheet.text("Keys", (96, 100), TITLE, TEXT)
    keys: tuple[tuple[str, str], ...] = CATCH_KEYS
    if isinstance(game, (QuizGame, SearchGame)):
        keys = QUIZ_KEYS if isinstance(game, QuizGame) else SEARCH_KEYS
    elif isinstance(game, ArcadeGame):
        numbers = f"0 … {min(9, len(game.names) - 1)}"
        unused = ("+, −" if game.turns else "", "" if game.has_directions else ARCADE_KEYS[0][0])
        used = [row for row in ARCADE_KEYS if row[0] not in unused]
        keys = ((numbers, shorten(", ".join(game.names), 62)), *used)
    for row, (key, meaning) in enumerate(keys):
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


def _title(game: Game) -> str:
    if isinstance(game, SearchGame):
        return "Search"
    if isinstance(game, ArcadeGame):
        return game.title
    return "Glimpse quiz" if isinstance(game, QuizGame) else "Catch"


def _introduction(game: Game) -> list[str]:
    if isinstance(game, (ArcadeGame, QuizGame)):
        return game.introduction
    if isinstance(game, SearchGame):
        return [
            f"{game.task.num_items} striped squares lie in the fog. One has upright bars: find it.",
            "You see through a retina: sharp where you look, coarse around it.",
            "Click to look; press Space to take what you look at.",
            "Every look costs 0.01, and so does every mistake.",
        ]
    return [
        "Catch the falling ball with your paddle on the bottom row.",
        "You see through a retina: sharp where you look, coarse around it.",
        "Arrow keys move the paddle; the mouse moves your gaze.",
        "You get a new glimpse with every row that the ball falls.",
    ]


def _status(game: Game) -> list[str]:
    """Return a few lines about the present state."""
    lines = []
    if isinstance(game, ArcadeGame):
        lines += game.status
    elif isinstance(game, CatchGame):
        by_turns = game.turns and game.player.pilot is None
        lines.append("turn by turn" if by_turns else f"{game.speed:.3g} rows per second")
    elif isinstance(game, QuizGame):
        lines.append(f"glimpse {game.glimpses_taken} of {game.task.num_glimpses}")
        if game.guess is not None and game.phase is Phase.PLAYING:
            lines.append(f"guess: {game.name(game.guess)}")
        elif game.typed and game.phase is Phase.PLAYING:
            lines.append(f"guess: {game.typed} …")
    elif isinstance(game, SearchGame) and game.phase is not Phase.READY:
        lines.append(f"look {len(game.player.actions) + 1} of {game.task.time_limit}")
        if game.phase is Phase.PLAYING:
            lines.append(f"worth {game.worth:.2f}")
            lines += ["that is not it"] if game.is_mistaken else []
    if game.fog_lifted and game.phase is Phase.PLAYING:
        lines.append("fog lifted")
    if game.is_practice and game.phase is Phase.PLAYING:
        lines.append("practice, does not count")
    return lines


def _hint(game: Game) -> str:
    if game.phase in (Phase.READY, Phase.FINISHED):
        return ""  # their cards name the keys
    if isinstance(game, ArcadeGame) and game.phase is Phase.SHOWN:
        return "Space: next game     R: this one again     H: help     Esc: stop"
    if isinstance(game, ArcadeGame) and game.turns:
        return "Mouse: look     a key: a step     F: fog     H: help     Esc: stop"
    if game.phase is Phase.SHOWN and game.player.pilot is None:
        if isinstance(game, QuizGame):
            return "Space: next canvas     F: your last glimpse     H: help     Esc: stop"
        if isinstance(game, SearchGame):
            return "N: next search     R: repeat it     F: your last glimpse     Esc: stop"
        return "Space: next ball     R: repeat it     H: help     Esc: stop"
    if isinstance(game, QuizGame) and game.phase is Phase.PLAYING and game.player.pilot is None:
        if game.must_answer:
            return f"No glimpse left: type {game.question}.     H: help     Esc: stop"
        return "Click to look.     Type digits to note a guess.     H: help     Esc: stop"
    if isinstance(game, SearchGame) and game.phase is Phase.PLAYING:
        return "Click to look.     Space: take what you look at.     H: help     Esc: stop"
    if isinstance(game, CatchGame) and game.turns and game.player.pilot is None:
        return "Left, Right, Down (stay): one row     T: real time     H: help     Esc: stop"
    return "+, −: speed     F: fog     P: pause     H: help     Esc: stop"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
