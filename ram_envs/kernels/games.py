"""Compiled kernels of what moves: the game Catch, and objects that drift between walls."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ram_envs.kernels.compiler import (
    FLAG,
    INTEGER,
    INTEGERS,
    NOTHING,
    OUT_BYTES,
    OUT_DOUBLES,
    OUT_FLAGS,
    OUT_INTEGERS,
    compiled,
    inlined,
)
from ram_envs.tasks import catch


def drift(x: Any, v: Any, wall: Any) -> Any:
    """See `ram_envs.tasks.motion.drift`."""
    x, v = np.array(x, np.float64), np.array(v, np.float64)
    _drift(x.reshape(-1), v.reshape(-1), np.array(wall, np.float64).reshape(-1))
    return x, v


def advance_games(game: catch.Catch, state: catch.CatchState, rows: Any, choices: Any) -> Any:
    """See `ram_envs.tasks.catch.advance_games`."""
    rewards, terminations = np.zeros(len(rows)), np.zeros(len(rows), np.bool_)
    balls = (state.columns.reshape(-1), state.speeds.reshape(-1), state.ball, state.row)
    others = (state.x, state.v, state.paddle, state.caught, state.over)
    sizes = (game.size, game.paddle_width)
    try:
        if _advance_games(*balls, *others, rows, choices, *sizes, rewards, terminations):
            return rewards, terminations
    except TypeError:  # rows or choices of another type, or with gaps
        pass
    return catch.advance_games.numpy(game, state, rows, choices)


def draw_screens(game: catch.Catch, state: catch.CatchState, screens: Any) -> None:
    """See `ram_envs.tasks.catch.draw_screens`."""
    pixels = screens.reshape(-1)
    if not _draw_screens(state.row, state.x, state.paddle, game.size, game.paddle_width, pixels):
        catch.draw_screens.numpy(game, state, screens)


@inlined
def _reflected(x, v, wall):
    x += v
    if x < 0:
        return -x, -v
    if x > wall:
        return 2 * wall - x, -v
    return x, v


@compiled(NOTHING, OUT_DOUBLES, OUT_DOUBLES, OUT_DOUBLES)
def _drift(x, v, walls):
    for i in range(x.size):
        x[i], v[i] = _reflected(x[i], v[i], walls[i % walls.size])


@compiled(
    FLAG,
    OUT_DOUBLES,
    OUT_DOUBLES,
    OUT_INTEGERS,
    OUT_INTEGERS,
    OUT_DOUBLES,
    OUT_DOUBLES,
    OUT_INTEGERS,
    OUT_INTEGERS,
    OUT_FLAGS,
    INTEGERS,
    INTEGERS,
    INTEGER,
    INTEGER,
    OUT_DOUBLES,
    OUT_FLAGS,
)
def _advance_games(
    columns,
    speeds,
    ball,
    row,
    x,
    v,
    paddle,
    caught,
    over,
    rows,
    choices,
    size,
    paddle_width,
    rewards,
    terminations,
):
    """Take one step in `rows`; return False, with nothing changed, where numpy would raise."""
    num_balls = columns.size // ball.size
    for i in range(rows.size):
        r = rows[i]
        if r < 0 or r >= ball.size or (row[r] == size - 1 and ball[r] >= num_balls - 1):
            return False
    have_landed = False
    for i in range(rows.size):
        r = rows[i]
        # The paddle.
        paddle[r] = min(max(paddle[r] + choices[i] - 1, 0), size - paddle_width)
        # The ball.
        if row[r] == size - 1:
            ball[r] += 1
            row[r] = 0
            x[r] = columns[r * num_balls + ball[r]]
            v[r] = speeds[r * num_balls + ball[r]]
        else:
            x[r], v[r] = _reflected(x[r], v[r], np.float64(size - 1))
            row[r] += 1
        have_landed |= row[r] == size - 1
    if have_landed:
        # The reward.
        for i in range(rows.size):
            r = rows[i]
            landed = row[r] == size - 1
            offset = np.int64(math.floor(x[r] + 0.5)) - paddle[r]
            if landed and 0 <= offset < paddle_width:
                caught[r] += 1
                rewards[i] = 1.0
            over[r] = landed and ball[r] == num_balls - 1
            terminations[i] = over[r]
    return True


@compiled(FLAG, INTEGERS, OUT_DOUBLES, INTEGERS, INTEGER, INTEGER, OUT_BYTES)
def _draw_screens(row, x, paddle, size, paddle_width, pixels):
    """Draw all screens; return whether everything lies on them."""
    for b in range(row.size):
        column = np.int64(math.floor(x[b] + 0.5))
        is_inside = 0 <= paddle[b] <= size - paddle_width and 0 <= column < size
        if not is_inside or row[b] < 0 or row[b] >= size:
            return False
        bottom = (b * size + size - 1) * size + paddle[b]
        for i in range(paddle_width):
            pixels[bottom + i] = 255
        pixels[(b * size + row[b]) * size + column] = 255
    return True
