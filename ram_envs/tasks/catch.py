"""Catch: watch a falling ball and move the paddle under it (paper, section 4.2).

The rules, exactly. The screen has `size` × `size` pixels, black except for a one-pixel ball and a
paddle on the bottom row. Row 0 is the top.

    begin   ball at row 0, its column x a uniformly random integer from 0 to size − 1; its speed v
            uniformly random in [−max_speed, max_speed] columns a row, constant except for bounces;
            the paddle's left pixel a uniformly random integer from 0 to size − paddle_width
    step    1. the paddle moves by one column: left, not at all, or right; it stops at the walls
            2. x ← x + v; beyond a wall it is reflected: x < 0 becomes −x, x > size − 1 becomes
               2 (size − 1) − x, and v changes sign
            3. the ball falls by one row
    shown   the ball at column ⌊x + ½⌋
    landed  on the bottom row, after size − 1 steps: reward 1 if the paddle covers the ball's
            column, else 0; the episode is over, or the next ball begins in the next step, in which
            the paddle moves too

The paper gives neither the ball's speed nor what happens at the walls; these are our choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.checks import checked_integer, checked_number
from ram_envs.kernels import kernel
from ram_envs.streams import Streams
from ram_envs.task import Outcome, Rows
from ram_envs.tasks.motion import drift, nearest_pixels

MOVES = ("left", "stay", "right")

ball_columns = nearest_pixels


@dataclass
class CatchState:
    """The state of B games of N balls each.

    columns, speeds     (B, N) float64, where each ball begins and how fast it drifts
    ball                (B,) int64, which of the N is falling
    row                 (B,) int64, its row
    x, v                (B,) float64, its column and speed
    paddle              (B,) int64, the paddle's left pixel
    caught              (B,) int64, how many balls were caught
    over                (B,) bool, whether the last ball has landed
    """

    columns: npt.NDArray[np.float64]
    speeds: npt.NDArray[np.float64]
    ball: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    x: npt.NDArray[np.float64]
    v: npt.NDArray[np.float64]
    paddle: npt.NDArray[np.int64]
    caught: npt.NDArray[np.int64]
    over: npt.NDArray[np.bool_]


class Catch:
    """The task "catch the ball". See `ram_envs.task.Task` for the methods.

    Args:
        size: side of the screen in pixels, at least 2.
        paddle_width: in pixels, from 1 to size.
        max_speed: the fastest drift in columns a row, from 0 to size − 1, so that a ball meets at
            most one wall in a step.
        num_balls: balls in an episode, at least 1.

    Raises:
        ValueError: if an argument is out of range.
    """

    frames_change = True
    choice_names: tuple[str, ...] = MOVES
    option_names = ()

    def __init__(
        self, size: int = 24, paddle_width: int = 2, max_speed: float = 1.0, num_balls: int = 1
    ) -> None:
        self.size = checked_integer("size", size, 2)
        self.paddle_width = checked_integer("paddle_width", paddle_width, 1, size, ", the size")
        self.max_speed = checked_number("max_speed", max_speed, 0, self.size - 1, ", size − 1")
        self.num_balls = checked_integer("num_balls", num_balls, 1)
        self.image_shape: tuple[int, ...] = (self.size, self.size)

    @property
    def num_steps(self) -> int:
        """The steps of an episode."""
        return self.num_balls * self.size - 1  # the first ball is at row 0 already

    def allocate(self, num_envs: int) -> CatchState:
        int_zeros, float_zeros = np.zeros(num_envs, np.int64), np.zeros(num_envs)
        return CatchState(
            columns=np.zeros((num_envs, self.num_balls)),
            speeds=np.zeros((num_envs, self.num_balls)),
            ball=int_zeros.copy(),
            row=int_zeros.copy(),
            x=float_zeros.copy(),
            v=float_zeros.copy(),
            paddle=int_zeros.copy(),
            caught=int_zeros.copy(),
            over=np.zeros(num_envs, np.bool_),
        )

    def begin(
        self, state: CatchState, rows: Rows, streams: Streams, options: Mapping[str, Any]
    ) -> None:
        state.paddle[rows] = streams.integers(self.size - self.paddle_width + 1)[:, 0]
        state.columns[rows] = streams.integers(*[self.size] * self.num_balls)
        state.speeds[rows] = streams.uniform(self.num_balls, -self.max_speed, self.max_speed)
        state.caught[rows] = 0
        state.over[rows] = False
        state.ball[rows] = -1
        _drop_next_ball(state, rows)

    def advance(self, state: CatchState, rows: Rows, choices: npt.NDArray[np.int64]) -> Outcome:
        return Outcome(*advance_games.run(self, state, rows, choices))

    def images(self, state: CatchState) -> tuple[npt.NDArray[np.uint8], Rows]:
        screens = np.zeros((len(state.row), self.size, self.size), np.uint8)
        draw_screens.run(self, state, screens)
        return screens, np.arange(len(screens))

    def infos(self, state: CatchState) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]:
        return {"caught": (state.caught, state.over)}

    def ball(self, state: CatchState, row: int) -> tuple[int, int]:
        """Return the pixel (x, y) of a game's ball, for pictures."""
        return int(ball_columns(state.x)[row]), int(state.row[row])

    def verdict(self, state: CatchState, row: int) -> str | None:
        """Return in words whether a landed ball was caught; None while it falls."""
        column, height = self.ball(state, row)
        if height < self.size - 1:
            return None
        left = int(state.paddle[row])
        missed = max(left - column, column - (left + self.paddle_width - 1), 0)
        plural = "s" if missed > 1 else ""
        return "caught" if missed == 0 else f"missed by {missed} column{plural}"


@kernel("games")
def advance_games(
    game: Catch, state: CatchState, rows: Rows, choices: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Take one step in `rows`; return rewards and terminations."""
    # The paddle: choices 0, 1, 2 move it by −1, 0, +1.
    rightmost = game.size - game.paddle_width
    moved = state.paddle[rows] + choices - 1
    state.paddle[rows] = np.minimum(np.maximum(moved, 0), rightmost)

    # The ball: one that has landed makes way for the next, the others fall.
    had_landed = state.row[rows] == game.size - 1
    if had_landed.any():
        _drop_next_ball(state, rows[had_landed])
        _fall(state, rows[~had_landed], game.size - 1)
    else:
        _fall(state, rows, game.size - 1)

    # The reward, for balls that land in this step.
    landed = state.row[rows] == game.size - 1
    if not landed.any():
        return np.zeros(len(rows)), landed
    offset = ball_columns(state.x[rows]) - state.paddle[rows]
    caught = landed & (offset >= 0) & (offset < game.paddle_width)
    state.caught[rows] += caught
    state.over[rows] = landed & (state.ball[rows] == game.num_balls - 1)
    return caught.astype(np.float64), state.over[rows]


def _drop_next_ball(state: CatchState, rows: Rows) -> None:
    state.ball[rows] += 1
    state.row[rows] = 0
    state.x[rows] = state.columns[rows, state.ball[rows]]
    state.v[rows] = state.speeds[rows, state.ball[rows]]


def _fall(state: CatchState, rows: Rows, wall: int) -> None:
    state.x[rows], state.v[rows] = drift.run(state.x[rows], state.v[rows], wall)
    state.row[rows] += 1


@kernel("games")
def draw_screens(game: Catch, state: CatchState, screens: npt.NDArray[np.uint8]) -> None:
    """Draw paddle and ball of every game on black `screens` (B, size, size)."""
    pixels, first = screens.reshape(-1), np.arange(len(screens)) * game.size**2
    for pixel in range(game.paddle_width):
        pixels[first + (game.size - 1) * game.size + state.paddle + pixel] = 255
    pixels[first + state.row * game.size + ball_columns(state.x)] = 255
