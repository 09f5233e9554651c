"""A task and a retina, joined: B episodes side by side, the core of every environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ram_envs.datasets.source import read_pixels, read_rows
from ram_envs.gaze import GazeBatch, location_space, note_step, observation_space
from ram_envs.kernels import form_in_use
from ram_envs.retina import Padded, Retina, check_pixels, look_at_rows, pixel_edges
from ram_envs.task import Rows, State, Task
from ram_envs.trail import Trail, find_trail

if TYPE_CHECKING:
    from ram_envs.rendering import Scene

Observation = dict[str, Any]  # glimpse and location, float32 arrays
Infos = dict[str, Any]


class GlimpseBatch(GazeBatch, Generic[State]):
    """B episodes of a task, all seen through one retina.

    Args:
        task: what is shown and rewarded, and when an episode ends.
        retina: the sensor.
        num_envs: B.
        initial_location: (x, y) of each episode's first glimpse; uniformly random if None.
        keep_trails: whether to record glimpses and locations, which `scene` needs.

    Raises:
        ValueError: if the retina does not suit the images, or the location is not in [−1, 1]².
            By the first `begin`, if the task's images do not have the shape it states.
        TypeError: by the first `begin`, if the task's images are not uint8.
    """

    def __init__(
        self,
        task: Task[State],
        retina: Retina,
        num_envs: int,
        initial_location: Sequence[float] | None = None,
        keep_trails: bool = False,
    ) -> None:
        super().__init__(num_envs, initial_location)
        for name, value, kind in (("task", task, Task), ("retina", retina, Retina)):
            if not isinstance(value, kind) or isinstance(value, type):
                raise TypeError(f"{name}={value!r} is not a {kind.__name__} of ram_envs. Make one.")
        retina.check_suits(task.image_shape)
        self.task = task
        self.retina = retina
        self.num_choices = len(task.choice_names)
        self.state = task.allocate(num_envs)
        # The options of reset that the task has; None if it does not list them.
        self.option_names: tuple[str, ...] | None = getattr(task, "option_names", None)
        self._follows_gaze = hasattr(task, "look_at")
        self._images_checked = False
        form_in_use()  # a wrong value is named here
        self._padded: Padded | None = None  # where the retina looks at padded copies
        self._shows_end = "label" not in task.infos(self.state)
        self._trails = [Trail() for _ in range(num_envs)] if keep_trails else None

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C), of the images that the retina looks at."""
        return self.task.image_shape

    @property
    def observation_space(self) -> spaces.Dict:
        """The space of one environment's observations: a glimpse and its location."""
        return observation_space(self.retina, self.image_shape)

    @property
    def action_space(self) -> spaces.Tuple[Any]:
        """The space of one environment's actions: the next location, and a label or a move."""
        return spaces.Tuple((location_space(), spaces.Discrete(self.num_choices)))

    @property
    def canvases(self) -> npt.NDArray[np.uint8]:
        """The whole images (B, H, W[, C]), for drawing, tests and scripted players."""
        return read_rows(*self.task.images(self.state))

    def begin(self, rows: Rows, options: Mapping[str, Any]) -> None:
        """Begin the next episode in `rows`, with a first location."""
        gaze_streams, task_streams = self.next_streams(rows)
        self.task.begin(self.state, rows, task_streams, options)
        if not self._images_checked:
            self._prepare_images()
        self.start(rows, gaze_streams)
        self._pass_gaze(rows)
        if self._padded is not None and not self.task.frames_change:
            source, source_rows = self.task.images(self.state)
            self.retina.fill(self._padded, read_rows(source, source_rows[rows]), rows)
        if self._trails is not None:
            for row in rows:
                self._trails[row] = Trail()

    def advance(
        self,
        rows: Rows,
        locations: npt.NDArray[np.float32],
        choices: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Take one step in `rows` (n,): the choice takes effect, then the retina moves.

        Args:
            rows: `all_rows` itself, or some of them in any order.
            locations: (n, 2), within [−1, 1].
            choices: (n,).

        Returns:
            Rewards, terminations and truncations, each (n,).
        """
        outcome = self.task.advance(self.state, rows, choices)
        terminations, truncations = outcome.terminations, outcome.truncations
        if truncations is None:
            truncations, ended = np.zeros(len(rows), np.bool_), terminations
        else:
            ended = terminations | truncations
        if rows is self.all_rows:
            note_step.run(self, locations, ended)
        else:
            self.locations[rows] = locations
            self.steps[rows] += 1
            self.running[rows] = ~ended
        if self._follows_gaze:
            self._pass_gaze(rows)
        if self._trails is not None:
            for row, choice, reward in zip(rows, choices, outcome.rewards, strict=True):
                self._trails[row].act(int(choice), float(reward), not self.running[row])
        return outcome.rewards, terminations, truncations

    def observe(self) -> Observation:
        """Return new arrays: glimpse (B, K·C, G, G) and location (B, 2)."""
        glimpses = self._look()
        if self._trails is not None:
            edges = pixel_edges(self.locations, *self.task.image_shape[:2])
            frames = self.canvases if self.task.frames_change else None
            for row, trail in enumerate(self._trails):
                # No label rests on the glimpse after the last step, so pictures leave it out. The
                # last frame of a game shows how it ended.
                is_shown = self._shows_end or not trail.over
                if is_shown and self.steps[row] == trail.num_looks:
                    trail.look(edges[row], glimpses[row], None if frames is None else frames[row])
        return {"glimpse": glimpses, "location": self.locations.copy()}

    def _look(self) -> npt.NDArray[np.float32]:
        if self._padded is None:
            source, rows = self.task.images(self.state)
            glimpses = look_at_rows.run(self.retina, source, rows, self.locations)
        else:
            if self.task.frames_change:
                self.retina.fill(self._padded, self.canvases, slice(None))
            glimpses = self.retina.look(self._padded, self.locations)
        if not self._all_begun:  # zeros where no episode has begun
            glimpses[self._episodes == 0] = 0
        return glimpses

    def _pass_gaze(self, rows: Rows) -> None:
        if self._follows_gaze:
            task: Any = self.task
            task.look_at(self.state, rows, self.locations[rows])

    def _prepare_images(self) -> None:
        source, _ = self.task.images(self.state)
        try:
            check_pixels(source)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{type(self.task).__name__}.images(): {error}") from None
        if tuple(source.shape[1:]) != tuple(self.task.image_shape):
            raise ValueError(
                f"{type(self.task).__name__}.images() gives images of shape {source.shape[1:]}, "
                f"but image_shape is {self.task.image_shape}. Make them agree."
            )
        if not hasattr(source, "read_windows") and self.retina.looks_at_copy(source):
            self._padded = self.retina.allocate(self.num_envs, self.task.image_shape)
        self._images_checked = True

    def infos(self, mask: npt.NDArray[np.bool_] | None = None) -> Infos:
        """Return the infos of the rows in `mask` (or all) as Gymnasium has them: key and _key."""
        infos: Infos = {}
        for key, (values, present) in self.task.infos(self.state).items():
            present = present.copy() if mask is None else present & mask
            number = np.count_nonzero(present)
            if number == len(present):
                infos[key], infos[f"_{key}"] = values.copy(), present
            elif number:
                masked = np.zeros_like(values)
                masked[present] = values[present]
                infos[key], infos[f"_{key}"] = masked, present
        return infos

    def scene(self, row: int) -> Scene:
        """Return the scene to draw for one row."""
        from ram_envs.rendering import Scene

        trail = find_trail(self._trails, row)
        names = self.task.choice_names
        infos = self.infos()
        is_labeled = "label" in infos and bool(infos["_label"][row])
        task: Any = self.task  # which may have methods for pictures
        source, source_rows = task.images(self.state)
        return Scene(
            canvas=read_pixels(source, int(source_rows[row]), self.image_shape)
            if trail.frame is None
            else trail.frame,
            fixations=np.array(trail.edges),
            glimpse=trail.glimpse,
            num_scales=self.retina.num_scales,
            caption=f"glimpse {len(trail.edges)}",
            choice=None if trail.choice is None else names[trail.choice],
            truth=names[infos["label"][row]] if is_labeled else None,
            reward=trail.reward,
            over=trail.over,
            ball=task.ball(self.state, row) if hasattr(task, "ball") else None,
            target=task.target(self.state, row) if hasattr(task, "target") else None,
            verdict=task.verdict(self.state, row) if hasattr(task, "verdict") else None,
        )
