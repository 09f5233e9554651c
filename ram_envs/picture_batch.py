"""Pictures that other environments show: how they lie in an array, and a retina that looks at them.

`PictureBatch` is to them what `GlimpseBatch` is to a task; `ThroughRetina` makes wrappers of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ram_envs.gaze import GazeBatch, observation_space
from ram_envs.retina import Retina, pixel_edges
from ram_envs.task import Rows
from ram_envs.trail import Trail, find_trail

if TYPE_CHECKING:
    from ram_envs.rendering import Scene

Pictures = npt.NDArray[np.uint8]  # (B, …), each of them in a layout

PATH_LENGTH = 12  # fixations in a drawing: episodes of games may have thousands
NO_PICTURE = (
    "A picture is uint8 of shape (H, W), (H, W, C) or (C, H, W), or a stack of these. Add a "
    'wrapper that makes the observation one, or render the environment: source="render".'
)
IN_COMMANDS = "On the command line: --source render."


class NoPictureError(TypeError):
    """An environment shows no pictures."""


@dataclass(frozen=True)
class Layout:
    """How a picture lies in an array.

    shape           of the array: (H, W), (H, W, C) or (C, H, W), or a stack of color images
    channels_first  whether channels lie before height and width; stacked frames always do
    """

    shape: tuple[int, ...]
    channels_first: bool

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C); C counts the channels of all frames."""
        if len(self.shape) == 2:
            return self.shape
        height, width = self.shape[-2:] if self.channels_first else self.shape[-3:-1]
        return (height, width, math.prod(self.shape) // (height * width))

    @property
    def newest_channels(self) -> slice:
        """The channels of the newest frame: the last one, or the last three in color."""
        num_channels = math.prod(self.image_shape[2:])
        if len(self.shape) == 4:
            return slice(num_channels - num_channels // self.shape[0], None)
        return slice(num_channels - (3 if num_channels % 3 == 0 else 1), None)

    def planes(self, pictures: Pictures) -> Pictures:
        """Return pictures (B, *shape) as (B, C, H, W)."""
        if not self.channels_first and len(self.shape) > 2:
            pictures = np.moveaxis(pictures, -1, -3)
        height, width, *_ = self.image_shape
        return pictures.reshape(len(pictures), -1, height, width)

    def frames(self, pictures: Pictures) -> Pictures:
        """Return pictures (B, *shape) as B times F images (B · F, H, W[, C / F]), a view.

        F is the number of stacked frames or, with channels first, of all channels.
        """
        size = 2 if self.channels_first else 3
        return pictures.reshape(-1, *self.shape[-size:])

    def images(self, pictures: Pictures) -> Pictures:
        """Return pictures (B, *shape) as (B, H, W[, C])."""
        if len(self.shape) == 2 or (len(self.shape) == 3 and not self.channels_first):
            return pictures
        return np.moveaxis(self.planes(pictures), 1, -1)


def find_layout(shape: Sequence[int]) -> Layout | None:
    """Return the layout of pictures of a shape; None if it is empty or not that of a picture.

    The smallest axis is the channels.
    """
    shape = tuple(shape)
    if 0 in shape:
        return None
    if len(shape) == 2:
        return Layout(shape, channels_first=True)
    image = shape[-3:]
    # A frame's middle axis is never its smallest. Equal ends are read as Gymnasium has pictures.
    if len(shape) not in (3, 4) or min(image[0], image[2]) > image[1]:
        return None
    return Layout(shape, channels_first=image[0] < image[2])


def layout_of(space: Any, whose: object) -> Layout:
    """Return the layout of an observation space of pictures.

    Raises:
        NoPictureError: if the space holds no pictures.
    """
    if not isinstance(space, spaces.Box):
        entries = space.items() if isinstance(space, spaces.Dict) else ()
        named = [name for name, box in entries if _is_picture(box)]
        where = f"; its pictures are in {', '.join(map(repr, named))}" if named else ""
        raise NoPictureError(f"the observations of {whose} are {space}{where}. {NO_PICTURE}")
    layout = find_layout(space.shape)
    if space.dtype != np.uint8:
        raise NoPictureError(
            f"the observations of {whose} are {space.dtype} of shape {space.shape}. {NO_PICTURE}"
        )
    if layout is None:
        raise NoPictureError(f"the observations of {whose} have shape {space.shape}. {NO_PICTURE}")
    return layout


def _is_picture(space: Any) -> bool:
    is_uint8 = isinstance(space, spaces.Box) and space.dtype == np.uint8
    return is_uint8 and find_layout(space.shape) is not None


def checked_pictures(pictures: Any, shape: tuple[int, ...], whose: object) -> Pictures:
    """Return pictures of a shape, or raise TypeError or ValueError if they are not uint8 of it."""
    if not isinstance(pictures, np.ndarray) or pictures.dtype != np.uint8:
        kind = pictures.dtype if isinstance(pictures, np.ndarray) else type(pictures).__name__
        raise TypeError(f"{whose} shows a picture of {kind}, not of uint8. {NO_PICTURE}")
    if pictures.shape != shape:
        raise ValueError(
            f"{whose} shows a picture of shape {pictures.shape} instead of {shape}. The size of "
            "the picture must not change."
        )
    return pictures


class PictureBatch(GazeBatch):
    """B pictures that change with every step, all seen through one retina.

    Args:
        layout: how each picture lies in its array.
        retina: the sensor.
        num_envs: B.
        initial_location: (x, y) of each episode's first glimpse; uniformly random if None.
        choice_names: what the choices are called, for drawing; None if they have no names.
        keep_trails: whether to record what `scene` needs.

    Attributes:
        pictures: the present ones, (B, *layout.shape).

    Raises:
        ValueError: if the retina does not suit the pictures, or the location is not in [−1, 1]².
    """

    def __init__(
        self,
        layout: Layout,
        retina: Retina,
        num_envs: int,
        initial_location: Sequence[float] | None = None,
        choice_names: Sequence[str] | None = None,
        keep_trails: bool = False,
    ) -> None:
        super().__init__(num_envs, initial_location)
        retina.check_suits(layout.image_shape)
        self.layout = layout
        self.retina = retina
        self.choice_names = choice_names
        self.pictures: Pictures = np.zeros((num_envs, *layout.shape), np.uint8)
        self.image_shape = layout.image_shape
        # Colors that come last are read by window: to bring them first would take longer.
        pads = layout.channels_first and retina.pads(self.image_shape)
        self._padded = retina.allocate(num_envs, self.image_shape) if pads else None
        self._trails = [Trail() for _ in range(num_envs)] if keep_trails else None

    @property
    def observation_space(self) -> spaces.Dict:
        """The space of one environment's observations: a glimpse and its location."""
        return observation_space(self.retina, self.image_shape)

    @property
    def canvases(self) -> Pictures:
        """The whole pictures (B, H, W[, C]), a copy."""
        return self.layout.images(self.pictures).copy()

    def begin(self, rows: Rows) -> None:
        """Begin the next episode in `rows`, with a first location."""
        self.start(rows, self.next_streams(rows)[0])
        if self._trails is not None:
            for row in rows:
                self._trails[row] = Trail(PATH_LENGTH)

    def move(self, rows: Rows | slice, locations: npt.NDArray[np.float32]) -> None:
        """Look at `locations` (n, 2) in `rows` (n,) from now on."""
        self.locations[rows] = locations
        self.steps[rows] += 1

    def note(self, row: int, choice: Any, reward: float, over: bool) -> None:
        """Record the choice of a step and what it led to, for drawing."""
        if self._trails is not None:
            self._trails[row].act(choice, reward, over)

    def observe(self, pictures: Pictures) -> dict[str, Any]:
        """Look at new pictures; return new arrays: glimpse (B, K·C, G, G) and location (B, 2)."""
        self.pictures = pictures
        glimpses = self._look(pictures)
        if not self._all_begun:  # zeros where no episode has begun
            glimpses[self._episodes == 0] = 0
        if self._trails is not None:
            edges = pixel_edges(self.locations, *self.image_shape[:2])
            for row, trail in enumerate(self._trails):
                if self._episodes[row] and self.steps[row] == trail.num_looks:
                    trail.look(edges[row], glimpses[row], pictures[row])
        return {"glimpse": glimpses, "location": self.locations.copy()}

    def look_at(
        self, pictures: Pictures, locations: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return glimpses of other pictures (n, *layout.shape) at locations (n, 2)."""
        frames, size = self.layout.frames(pictures), self.retina.glimpse_size
        of_each = len(frames) // len(pictures)
        locations = locations.repeat(of_each, axis=0)
        glimpses = self.retina.look_by_window(frames, np.arange(len(frames)), locations)
        if of_each == 1:
            return glimpses
        split = glimpses.reshape(len(pictures), of_each, self.retina.num_scales, -1, size, size)
        return split.swapaxes(1, 2).reshape(len(pictures), -1, size, size)

    def _look(self, pictures: Pictures) -> npt.NDArray[np.float32]:
        if self._padded is None or not self.retina.looks_at_copy(self.layout.frames(pictures)):
            return self.look_at(pictures, self.locations)
        self.retina.fill_planes(self._padded, self.layout.planes(pictures), slice(None))
        return self.retina.look(self._padded, self.locations)

    def scene(self, row: int) -> Scene:
        """Return the scene to draw for one row; of stacked frames, the newest."""
        from ram_envs.rendering import Scene

        trail, scales = find_trail(self._trails, row), self.retina.num_scales
        assert trail.frame is not None
        planes = self.layout.planes(trail.frame[None])[0]
        newest = self.layout.newest_channels
        cells = trail.glimpse.reshape(scales, len(planes), *trail.glimpse.shape[1:])[:, newest]
        return Scene(
            canvas=np.moveaxis(planes[newest], 0, -1),
            fixations=np.array(trail.edges),
            glimpse=cells.reshape(-1, *trail.glimpse.shape[1:]),
            num_scales=scales,
            caption=f"step {trail.num_looks - 1}, return {trail.total:.4g}",
            choice=None if trail.choice is None else name_choice(trail.choice, self.choice_names),
            truth=None,
            reward=trail.reward,
            over=trail.over,
            num_older=trail.num_looks - len(trail.edges),
        )


def name_choice(choice: Any, names: Sequence[str] | None) -> str:
    """Return a choice in words: its name, or its numbers."""
    if names is not None and np.ndim(choice) == 0:
        return str(names[int(choice)]).lower()
    if isinstance(choice, np.ndarray) and choice.ndim:
        return " ".join(f"{number:.2g}" for number in choice.ravel()[:6])
    return str(choice)
