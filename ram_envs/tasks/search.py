"""Search: one of several items is the target; look at them, one after another, and take it.

The rules, exactly. The canvas is black, with `num_distractors` + 1 items of 12 × 12 pixels, of
which one is the target. The target is white in even columns of the canvas and black in odd ones: it
has vertical bars. A distractor is white in even rows and black in odd ones: it has horizontal bars.
So all items are equally bright. Coarse patches show where an item is, but not which one.

    begin   the canvas is divided into g × g cells, where g − 1 is the integer part of the square
            root of the number of items; each item lies in a cell of its own, drawn at random, at a
            uniformly random place at least 2 pixels from the cell's borders
    step    1. choice 0 keeps looking; choice 1 takes what the last glimpse showed: the target, if
               its center is at most 8 pixels from the point that was looked at, across and down;
               else it is a mistake
            2. the retina moves
    reward  1 for taking the target, minus look_cost in every step and mistake_cost for each
            mistake. The return of a search with t steps and m mistakes is
            1 − look_cost · t − mistake_cost · m if the target is found, and 1 less otherwise
    end     terminated when the target is taken; truncated after `time_limit` steps

The canvas is never stored: what a retina reads is drawn from the items' places as it is read, so
memory and drawing do not grow with the canvas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.checks import checked_integer, checked_number, checked_sides
from ram_envs.retina import pixel_edges
from ram_envs.streams import Streams
from ram_envs.task import Outcome, Rows
from ram_envs.windows import all_runs, as_items

LOOK, TAKE = 0, 1
ITEM_SIZE = 12
REACH = 8  # pixels from the point looked at to the target's center, across and down
BORDER = 2  # pixels between an item and its cell's borders
CELL_SIZE = ITEM_SIZE + 2 * BORDER  # the smallest

# The two lines of pixels that an item has, (2, 2, 12): [0] of the target, if it begins at an even
# or at an odd column; [1] of a distractor, in an even or in an odd row.
LINES = np.zeros((2, 2, ITEM_SIZE), np.uint8)
LINES[0, 0, ::2] = LINES[0, 1, 1::2] = LINES[1, 0] = 255


@dataclass
class SearchState:
    """The state of B searches for one of N items.

    places      (B, N, 2) int64, the top left (row, column) of each item; the target comes first
    gaze        (B, 2) int64, the pixel edge (x, y) that was looked at last
    steps       (B,) int64, steps taken
    mistakes    (B,) int64, how often something other than the target was taken
    found       (B,) bool, whether the target was taken
    over        (B,) bool, whether the episode has ended
    """

    places: npt.NDArray[np.int64]
    gaze: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    mistakes: npt.NDArray[np.int64]
    found: npt.NDArray[np.bool_]
    over: npt.NDArray[np.bool_]


class Search:
    """The task "find the target and take it". See `ram_envs.task.Task` for the methods.

    Args:
        canvas_size: the side, or (height, width), of the canvas in pixels.
        num_distractors: the number of items besides the target.
        look_cost: the cost of each step.
        mistake_cost: the additional cost of each mistake.
        time_limit: the steps after which an episode is truncated.

    Raises:
        ValueError: if an argument is out of range, or the items do not fit the canvas.
    """

    frames_change = False
    choice_names: tuple[str, ...] = ("look", "take")
    option_names = ()

    def __init__(
        self,
        canvas_size: int | Sequence[int] = 200,
        num_distractors: int = 4,
        look_cost: float = 0.01,
        mistake_cost: float = 0.01,
        time_limit: int = 100,
    ) -> None:
        self.num_items = 1 + checked_integer("num_distractors", num_distractors, 0)
        self.look_cost = checked_number("look_cost", look_cost, 0, 1)
        self.mistake_cost = checked_number("mistake_cost", mistake_cost, 0, 1)
        self.time_limit = checked_integer("time_limit", time_limit, 1)
        # At least one cell stays empty, so that no place is certain.
        self._cells = math.isqrt(self.num_items) + 1  # down, and across
        least = self._cells * CELL_SIZE
        meaning = f" for num_distractors={num_distractors}: a side, or (height, width), in pixels"
        self.image_shape: tuple[int, ...] = checked_sides("canvas_size", canvas_size)
        for side in self.image_shape:
            checked_integer("canvas_size", side, least, None, meaning)

    def allocate(self, num_envs: int) -> SearchState:
        return SearchState(
            places=np.zeros((num_envs, self.num_items, 2), np.int64),
            gaze=np.zeros((num_envs, 2), np.int64),
            steps=np.zeros(num_envs, np.int64),
            mistakes=np.zeros(num_envs, np.int64),
            found=np.zeros(num_envs, np.bool_),
            over=np.zeros(num_envs, np.bool_),
        )

    def begin(
        self, state: SearchState, rows: Rows, streams: Streams, options: Mapping[str, Any]
    ) -> None:
        # A random order of all cells, of which the first N get an item each.
        order = streams.uniform(self._cells**2).argsort(axis=1, kind="stable")
        cells = np.stack(np.divmod(order[:, : self.num_items], self._cells), axis=-1)  # (n, N, 2)
        sides = np.array(self.image_shape)
        space = sides // self._cells - CELL_SIZE + 1
        places = streams.integers(*[*space] * self.num_items).reshape(cells.shape)
        state.places[rows] = cells * sides // self._cells + BORDER + places
        state.steps[rows] = state.mistakes[rows] = 0
        state.found[rows] = state.over[rows] = False

    def look_at(self, state: SearchState, rows: Rows, locations: npt.NDArray[np.float32]) -> None:
        """Note where the retina looks, (n, 2) in [−1, 1]."""
        height, width = self.image_shape
        state.gaze[rows] = pixel_edges(locations, height, width)

    def advance(self, state: SearchState, rows: Rows, choices: npt.NDArray[np.int64]) -> Outcome:
        state.steps[rows] += 1
        offsets = state.places[rows, 0] + ITEM_SIZE // 2 - state.gaze[rows, ::-1]
        takes = choices == TAKE
        found = takes & (np.abs(offsets) <= REACH).all(axis=1)
        late = ~found & (state.steps[rows] >= self.time_limit)
        state.mistakes[rows] += takes & ~found
        state.found[rows] = found
        state.over[rows] = found | late
        rewards = found - self.look_cost - self.mistake_cost * (takes & ~found)
        return Outcome(rewards=rewards, terminations=found, truncations=late)

    def images(self, state: SearchState) -> tuple[ItemField, Rows]:
        return ItemField(state.places.copy(), self.image_shape), np.arange(len(state.places))

    def infos(
        self, state: SearchState
    ) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]:
        return {"found": (state.found, state.over)}

    def target(self, state: SearchState, row: int) -> tuple[int, int, int, int]:
        """Return the box (left, top, right, bottom) of the target, for pictures."""
        top, left = (int(side) for side in state.places[row, 0])
        return left, top, left + ITEM_SIZE, top + ITEM_SIZE

    def verdict(self, state: SearchState, row: int) -> str | None:
        """Return in words whether the target was found; None while the search goes on."""
        if not state.over[row]:
            return None
        steps = int(state.steps[row])
        return f"found after {steps} look{'s' * (steps > 1)}" if state.found[row] else "not found"


class ItemField:
    """Canvases of items, drawn where they are read; an `ImageSource`.

    Args:
        places: (B, N, 2), the top left (row, column) of each item; the target comes first.
        shape: (H, W) of a canvas.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, places: npt.NDArray[np.int64], shape: tuple[int, ...]) -> None:
        self._places = places
        self.shape = (len(places), *shape)

    def __getitem__(self, key: Any, /) -> npt.NDArray[np.uint8]:
        """Return canvas `i`, or a part of it as `[i, y0:y1, x0:x1]`."""
        row, *window = key if isinstance(key, tuple) else (key,)
        canvas = np.zeros(self.shape[1:], np.uint8)
        for item, (top, left) in enumerate(self._places[row].tolist()):
            place = canvas[top : top + ITEM_SIZE, left : left + ITEM_SIZE]
            if item == 0:
                place[:] = LINES[0, left % 2]
            else:
                place[:] = LINES[1, np.arange(top, top + ITEM_SIZE) % 2]
        part: npt.NDArray[np.uint8] = canvas[tuple(window)]
        return part

    def read_windows(
        self, rows: npt.NDArray[np.integer], corners: npt.NDArray[np.int64], width: int
    ) -> npt.NDArray[np.uint8]:
        """Return square windows (width, b, width), line by line.

        Args:
            rows: (b,), the canvases.
            corners: (b, 2), the left and top of each window, which may lie outside the canvas.
            width: of a window.
        """
        count, margin = len(rows), ITEM_SIZE  # so that an item in sight never meets a line's end
        # Of each item in sight: its window, whether it is a distractor, and its place there.
        places = self._places[rows] - corners[:, None, ::-1]
        windows, items = ((places > -ITEM_SIZE) & (places < width)).all(axis=-1).nonzero()
        y, x = places[windows, items].T
        # Of each of its lines that is in sight: where it begins, and which line it is.
        lines = y[:, None] + np.arange(ITEM_SIZE)
        starts = (lines * count + windows[:, None]) * (width + 2 * margin) + x[:, None] + margin
        parities = lines + corners[windows, 1, None]
        parities[items == 0] = self._places[rows[windows], items, 1, None][items == 0]
        drawn = as_items(LINES)[np.minimum(items, 1)[:, None], parities % 2]
        pixels = np.zeros((width, count, width + 2 * margin), np.uint8)
        inside = (lines >= 0) & (lines < width)
        all_runs(pixels, ITEM_SIZE)[starts[inside]] = drawn[inside]
        return pixels[..., margin:-margin]
