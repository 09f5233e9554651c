"""The gaze of B episodes: where each looks, and the random numbers that follow from its seed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ram_envs.checks import all_true, checked_integer, checked_location, checked_seeds
from ram_envs.kernels import kernel
from ram_envs.retina import Retina
from ram_envs.streams import Streams, UInt64Array, combine_keys, episode_keys, key_from_seed
from ram_envs.task import Rows


class GazeBatch:
    """Locations of B episodes side by side, whatever they look at.

    Args:
        num_envs: B.
        initial_location: (x, y) of each episode's first glimpse; uniformly random if None.

    Attributes:
        running: (B,) bool, whether an episode has begun and not ended.
        locations: (B, 2), the present ones.
        steps: (B,), taken in the present episode.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, num_envs: int, initial_location: Sequence[float] | None) -> None:
        self.num_envs = checked_integer("num_envs", num_envs, 1)
        self.all_rows: Rows = np.arange(self.num_envs)
        self.running = np.zeros(num_envs, np.bool_)
        self.locations = np.zeros((num_envs, 2), np.float32)
        self.steps = np.zeros(num_envs, np.int64)
        self.initial_location = (
            None
            if initial_location is None
            else checked_location("initial_location", initial_location)
        )
        self._keys = np.zeros(num_envs, np.uint64)
        self._episodes = np.zeros(num_envs, np.int64)
        self._all_begun = False
        self._seeded = False

    def seed_rows(
        self, seed: int | Sequence[int | None] | None, rows: Rows, np_random: np.random.Generator
    ) -> None:
        """Seed `rows` as Gymnasium's vector environments do; row i of seed s gets s + i.

        Args:
            seed: one for all, one for each of the B rows, or None.
            rows: those that are reset. The first time, all others get random seeds, too.
            np_random: source of random seeds.
        """
        if not self._seeded:  # rows without a seed of their own get a random one
            self.seed(self.all_rows, np_random.integers(2**63, size=self.num_envs).tolist())
            self._seeded = True
        if seed is None:
            return
        if isinstance(seed, int):
            seed = range(seed, seed + self.num_envs)
        else:
            seed = checked_seeds(seed, self.num_envs)
        given = [(row, seed[row]) for row in rows]
        seeds = {int(row): one for row, one in given if one is not None}
        self.seed(np.array([*seeds], np.intp), [*seeds.values()])

    def seed_single(self, seed: int | None, np_random: np.random.Generator) -> None:
        """Seed the only row, as Gymnasium's single environments do.

        Without a seed, the first episode gets a random one, and later ones continue.
        """
        if seed is None and not self._seeded:
            seed = int(np_random.integers(2**63))
        if seed is not None:
            self.seed(self.all_rows, [seed])
            self._seeded = True

    def seed(self, rows: Rows, seeds: Sequence[int]) -> None:
        """Let row rows[j] play the episodes 0, 1, … of seeds[j], beginning with its next."""
        self._keys[rows] = [key_from_seed(seed) for seed in seeds]
        self._episodes[rows] = 0

    def next_streams(self, rows: Rows) -> tuple[Streams, Streams]:
        """Return the streams of the next episodes: of first locations, and of the world."""
        index = self._index(rows)
        return episode_streams(self._keys[index], self._episodes[index])

    def start(self, rows: Rows, streams: Streams) -> None:
        """Begin the next episode in `rows` at a first location, drawn from `streams` if random."""
        index = self._index(rows)
        if self.initial_location is None:
            self.locations[index] = streams.uniform(2, -1, 1)
        else:
            self.locations[index] = self.initial_location
        self._episodes[index] += 1
        self._all_begun = all_true(self._episodes)
        self.steps[index] = 0
        self.running[index] = True

    def _index(self, rows: Rows) -> Rows | slice:
        return slice(None) if rows is self.all_rows else rows  # a slice is faster

    @contextlib.contextmanager
    def starting_at(self, location: npt.NDArray[np.float32] | None) -> Iterator[None]:
        """Let the episodes that begin inside the `with` block start at a location."""
        before, self.initial_location = self.initial_location, location
        try:
            yield
        finally:
            self.initial_location = before

    def random_locations(self) -> npt.NDArray[np.float32]:
        """Return uniformly random locations (B, 2) that follow from the seeds, for random gaze."""
        streams = Streams(combine_keys(self._keys, self._episodes, 2, self.steps))
        return streams.uniform(2, -1, 1).astype(np.float32)


def location_space() -> spaces.Box:
    """Return a new space of locations: each space has its own random generator."""
    return spaces.Box(-1, 1, (2,), np.float32)


def observation_space(retina: Retina, image_shape: tuple[int, ...]) -> spaces.Dict:
    """Return the space of one environment's observations: a glimpse and its location."""
    shape = retina.glimpse_shape(image_shape)
    return spaces.Dict(glimpse=spaces.Box(0, 1, shape, np.float32), location=location_space())


def episode_streams(keys: UInt64Array, episodes: npt.ArrayLike) -> tuple[Streams, Streams]:
    """Return the streams of the first locations, and those of the task, of each episode."""
    gaze, task = episode_keys.on(keys)(keys, episodes)
    return Streams(gaze), Streams(task)


@kernel("steps")
def note_step(
    gaze: GazeBatch, locations: npt.NDArray[np.float32], ended: npt.NDArray[np.bool_]
) -> None:
    """Note where all episodes look now, that each has taken a step, and which have ended."""
    gaze.locations[:] = locations
    gaze.steps += 1
    np.logical_not(ended, out=gaze.running)
