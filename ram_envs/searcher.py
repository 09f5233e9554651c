"""A scripted player of `RAMSearch-v0`: what is possible without learning.

::

    from ram_envs.searcher import Searcher

    env = gym.make("RAMSearch-v0")
    searcher = Searcher(env.unwrapped.canvas.shape)
    observation, info = env.reset()
    state, over = None, False
    while not over:
        action, state = searcher.predict(observation, state)
        observation, reward, terminated, truncated, info = env.step(action)
        over = terminated or truncated

It sees observations only, and remembers three things: which items it has seen sharply, where others
seem to be, and which parts of the canvas no patch has covered yet. It takes the target when it sees
it; else it looks at the nearest item; where none is left, at the place that shows most of what it
has not seen. It does not plan ahead, so a better player is conceivable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.retina import pixel_edges
from ram_envs.tasks.search import ITEM_SIZE, LOOK, REACH, TAKE
from ram_envs.views import spread_window

Point = tuple[int, int]  # a pixel edge (x, y) of the canvas
_BLOCK = 8  # pixels: the parts of the canvas that have been covered are remembered in such blocks
_SURE = REACH - 2  # so near, the target is in reach even if its center was misjudged by two pixels
_APART = ITEM_SIZE + 3  # so far from a known item's center, a bright cell is another item


@dataclass
class Memory:
    """What the searcher knows of one episode.

    seen        centers of the items that were seen sharply and are not the target
    others      centers, as far as known, of the items that were not
    uncovered   (⌈H / 8⌉, ⌈W / 8⌉) bool, the blocks of the canvas that no patch has covered
    """

    uncovered: npt.NDArray[np.bool_]
    seen: list[Point] = field(default_factory=list)
    others: list[Point] = field(default_factory=list)


class Searcher:
    """Plays `RAMSearch-v0` by rules; `predict` is as in Stable-Baselines3.

    Args:
        canvas_shape: (H, W) of the canvas.
    """

    def __init__(self, canvas_shape: Sequence[int]) -> None:
        self.height, self.width = (int(side) for side in canvas_shape[:2])

    def predict(
        self,
        observation: Mapping[str, Any],
        state: list[Memory] | None = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]], list[Memory]]:
        """Return the action for an observation of one environment or of B, and the next state.

        Args:
            observation: glimpse ([B,] K, G, G) and location ([B,] 2).
            state: of the last call; None when all episodes begin.
            episode_start: ([B,]) bool, whose episode begins; None for those without a state.
            deterministic: has no effect.

        Raises:
            ValueError: if the widest patch has less than 8 × 8 pixels.
        """
        glimpses, locations = observation["glimpse"], observation["location"]
        is_single = locations.ndim == 1
        if is_single:
            glimpses, locations = glimpses[None], locations[None]
        count = len(locations)
        starts = np.broadcast_to(False if episode_start is None else episode_start, (count,))
        memories = [
            self._new_memory() if state is None or starts[row] else state[row]
            for row in range(count)
        ]
        edges = pixel_edges(locations, self.height, self.width).tolist()
        choices = np.full(count, LOOK)
        targets = np.zeros((count, 2))
        for row, (memory, glimpse, (x, y)) in enumerate(
            zip(memories, glimpses, edges, strict=True)
        ):
            choices[row], targets[row] = self._act(memory, glimpse, (x, y))
        next_locations = (targets / (self.width, self.height) * 2 - 1).astype(np.float32)
        if is_single:
            return (next_locations[0], choices[0]), memories
        return (next_locations, choices), memories

    def _new_memory(self) -> Memory:
        blocks = (-(-self.height // _BLOCK), -(-self.width // _BLOCK))
        return Memory(uncovered=np.ones(blocks, np.bool_))

    def _act(
        self, memory: Memory, glimpse: npt.NDArray[np.float32], gaze: Point
    ) -> tuple[int, Point]:
        """Return the choice, and the pixel edge to look at next."""
        # Canvas pixel (x, y) is window[y − top, x − left].
        window = spread_window(glimpse, len(glimpse))[..., 0]
        if len(window) < _BLOCK:
            raise ValueError(
                f"a glimpse shows {len(window)} × {len(window)} pixels, too few for the searcher. "
                f"Choose a glimpse_size of at least {_BLOCK}, or more scales."
            )
        left, top = gaze[0] - len(window) // 2, gaze[1] - len(window) // 2
        self._cover(memory, left, top, len(window))
        is_inside = [
            0 <= x - left < len(window) and 0 <= y - top < len(window) for x, y in memory.others
        ]
        memory.others = [
            other for other, known in zip(memory.others, is_inside, strict=True) if not known
        ]
        seen = [(x - left, y - top) for x, y in memory.seen]
        middle = len(window) // 2
        for x, y in find_items(window, seen):
            center = x + left, y + top
            distance = _distance((x, y), (middle, middle))
            is_sharp = distance <= REACH
            if is_sharp and not is_target(window, x, y, glimpse.shape[-1]):
                memory.seen.append(center)
            elif is_sharp and distance <= _SURE:
                return TAKE, gaze
            else:
                memory.others.append(center)
        if memory.others:
            return LOOK, min(memory.others, key=lambda other: _distance(other, gaze))
        return LOOK, self._place_to_explore(memory, len(window), gaze)

    def _cover(self, memory: Memory, left: int, top: int, width: int) -> None:
        """Note that a window covers the blocks that lie wholly in it."""
        rows, columns = (
            slice(max(0, -(-start // _BLOCK)), max(0, (start + width) // _BLOCK))
            for start in (top, left)
        )
        # At the canvas's right and bottom a block may be smaller.
        if top + width >= self.height:
            rows = slice(rows.start, None)
        if left + width >= self.width:
            columns = slice(columns.start, None)
        memory.uncovered[rows, columns] = False

    def _place_to_explore(self, memory: Memory, width: int, gaze: Point) -> Point:
        """Return the block's corner around which a window shows most new blocks, and is near."""
        size = width // _BLOCK
        height, across = memory.uncovered.shape
        sums = np.zeros((height + 2 * size + 1, across + 2 * size + 1))
        sums[size + 1 : size + 1 + height, size + 1 : size + 1 + across] = memory.uncovered
        sums = sums.cumsum(axis=0).cumsum(axis=1)
        # new[i, j]: uncovered blocks in the window whose top left block is (i − size, j − size).
        new = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
        half = size // 2
        new = new[size - half :, size - half :][: height + 1, : across + 1]
        y, x = np.ogrid[: new.shape[0], : new.shape[1]]
        distance = np.hypot(x * _BLOCK - gaze[0], y * _BLOCK - gaze[1])
        best = int(np.argmax(new - distance / max(self.height, self.width)))
        row, column = divmod(best, new.shape[1])
        return min(column * _BLOCK, self.width), min(row * _BLOCK, self.height)


def find_items(window: npt.NDArray[np.float32], known: Sequence[Point]) -> list[Point]:
    """Return the centers (x, y) of the items in a window (w, w), without those known already."""
    left = window.copy()
    for x, y in known:
        left[_around(y, _APART), _around(x, _APART)] = 0
    items = []
    while left.any():
        # The bright pixel that is nearest to the middle belongs to an item. From there to where the
        # brightness around has its center, a few times (mean shift), leads to the item's center.
        bright = np.argwhere(left)  # (n, 2), row and column
        nearest = np.abs(bright - len(left) // 2).max(axis=1).argmin()
        row, column = bright[nearest].tolist()
        center = column, row
        for _ in range(4):
            center = _center_of_brightness(left, center)
        items.append(center)
        left[_around(center[1], _APART), _around(center[0], _APART)] = 0
        left[row, column] = 0  # wherever the center is
    return items


def is_target(window: npt.NDArray[np.float32], x: int, y: int, sharp: int) -> bool:
    """Return whether the item at (x, y) has vertical bars, as far as it is seen sharply."""
    middle = len(window) // 2
    first, last = middle - sharp // 2, middle - sharp // 2 + sharp
    half = ITEM_SIZE // 2
    item = window[
        max(first, y - half) : min(last, y + half), max(first, x - half) : min(last, x + half)
    ]
    return bool(np.abs(np.diff(item, axis=1)).sum() > np.abs(np.diff(item, axis=0)).sum())


def _center_of_brightness(window: npt.NDArray[np.float32], around: Point) -> Point:
    rows, columns = (_around(center, ITEM_SIZE // 2 + 1) for center in reversed(around))
    part = window[rows, columns]
    y, x = np.indices(part.shape)
    total = part.sum()
    if not total:
        return around
    return (
        round(float((part * (x + 0.5)).sum() / total)) + columns.start,
        round(float((part * (y + 0.5)).sum() / total)) + rows.start,
    )


def _around(center: int, reach: int) -> slice:
    return slice(max(0, center - reach), max(0, center + reach))


def _distance(one: Point, other: Point) -> int:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1]))
