"""Environments seen through a retina: `GlimpseEnv`, its vector twin, and the one core of both.

`GlimpseBatch` joins a task and a retina and plays B episodes side by side; the two environments
are thin shells over it that speak Gymnasium: spaces, seeding, auto-reset, infos, rendering. So the
single environment is the vector environment with B = 1, and the rules are written once.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ram_envs.random import Streams, combine_keys, key_from_seed
from ram_envs.retina import Retina, pixel_edges
from ram_envs.task import Rows, State, Task

if TYPE_CHECKING:
    from ram_envs.rendering import Scene, Window

Observation = dict[str, Any]  # glimpse and location, float32 arrays
Infos = dict[str, Any]
Built = TypeVar("Built")


class GlimpseBatch(Generic[State]):
    """B episodes of a task, each seen through the same retina.

    Args:
        task: the world.
        retina: the sensor.
        num_envs: B.
        initial_location: (x, y) of every episode's first glimpse; uniformly random if None.
        keep_trails: whether to remember what was looked at, for `scene`.

    Raises:
        ValueError: if the retina does not suit the images, or the location is not in [−1, 1]².
    """

    def __init__(
        self,
        task: Task[State],
        retina: Retina,
        num_envs: int,
        initial_location: Sequence[float] | None = None,
        keep_trails: bool = False,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs!r}: expected 1 or more.")
        _check_retina_suits(retina, task.image_shape)
        self.task = task
        self.retina = retina
        self.num_envs = num_envs
        self.state = task.allocate(num_envs)
        self.running = np.zeros(num_envs, np.bool_)
        self.locations = np.zeros((num_envs, 2), np.float32)
        self._initial_location = _checked_initial_location(initial_location)
        self._keys = np.zeros(num_envs, np.uint64)
        self._episodes = np.zeros(num_envs, np.int64)
        self._sums = retina.allocate(num_envs, task.image_shape)
        self._trails: list[_Trail] | None = (
            [_Trail() for _ in range(num_envs)] if keep_trails else None
        )

    @property
    def observation_space(self) -> spaces.Dict:
        """What one environment sees: the glimpse, and where it was taken."""
        shape = self.retina.glimpse_shape(self.task.image_shape)
        return spaces.Dict(
            glimpse=spaces.Box(0, 1, shape, np.float32),
            location=spaces.Box(-1, 1, (2,), np.float32),
        )

    @property
    def action_space(self) -> spaces.Tuple[Any]:
        """What one environment is told: where to look next, and a label or a move."""
        num_choices = len(self.task.choice_names)
        return spaces.Tuple((spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(num_choices)))

    @property
    def canvases(self) -> npt.NDArray[np.uint8]:
        """The whole images, (B, H, W[, C]): for drawing, tests and scripted players."""
        source, rows = self.task.images(self.state)
        return source[rows]

    def seed(self, rows: Rows, seeds: Sequence[int]) -> None:
        """From its next episode on, row rows[j] plays the episodes 0, 1, … of seeds[j]."""
        self._keys[rows] = [key_from_seed(seed) for seed in seeds]
        self._episodes[rows] = 0

    def begin(self, rows: Rows, options: Mapping[str, Any]) -> None:
        """Begin the next episode in `rows`: a new world, and a first location."""
        episode_keys = combine_keys(self._keys[rows], self._episodes[rows])
        gaze_streams = Streams(combine_keys(episode_keys, 0))
        task_streams = Streams(combine_keys(episode_keys, 1))
        self.task.begin(self.state, rows, task_streams, options)
        if self._initial_location is None:
            self.locations[rows] = gaze_streams.uniform(2, -1, 1)
        else:
            self.locations[rows] = self._initial_location
        self._episodes[rows] += 1
        self.running[rows] = True
        self._sum_images(rows)
        if self._trails is not None:
            for row in rows:
                self._trails[row] = _Trail()

    def advance(
        self,
        rows: Rows,
        locations: npt.NDArray[np.float32],
        choices: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Take one step in `rows` (n,): the choice takes effect, then the retina moves.

        Returns rewards and terminations, both (n,).
        """
        outcome = self.task.advance(self.state, rows, choices)
        self.locations[rows] = locations
        self.running[rows] = ~outcome.terminations
        if self.task.frames_change:
            self._sum_images(rows)
        if self._trails is not None:
            for row, choice, reward in zip(rows, choices, outcome.rewards, strict=True):
                self._trails[row].act(int(choice), float(reward), bool(self.running[row]))
        return outcome.rewards, outcome.terminations

    def observe(self) -> Observation:
        """What each sees now: new arrays, glimpse (B, K·C, G, G) and location (B, 2)."""
        glimpses = self.retina.look(self._sums, self.locations)
        if self._trails is not None:
            edges = pixel_edges(self.locations, *self.task.image_shape[:2])
            for row, trail in enumerate(self._trails):
                trail.look(edges[row], glimpses[row])
        return {"glimpse": glimpses, "location": self.locations.copy()}

    def infos(self, mask: npt.NDArray[np.bool_] | None = None) -> Infos:
        """The infos of the rows in `mask` (or all) as Gymnasium batches them: key and _key."""
        infos: Infos = {}
        for key, (values, present) in self.task.infos(self.state).items():
            present = present.copy() if mask is None else present & mask
            if present.any():
                held = np.zeros_like(values)
                held[present] = values[present]
                infos[key], infos[f"_{key}"] = held, present
        return infos

    def scene(self, row: int) -> Scene:
        """What a picture of row `row` shows."""
        from ram_envs.rendering import Scene

        if self._trails is None or not self._trails[row].edges:
            raise ResetNeeded("Nothing to render yet: call reset() first.")
        trail = self._trails[row]
        names = self.task.choice_names
        label = self.infos().get("label")
        return Scene(
            canvas=self.canvases[row],
            fixations=np.array(trail.edges),
            glimpse=trail.glimpse,
            num_scales=self.retina.num_scales,
            caption=f"glimpse {len(trail.edges)}",
            choice=None if trail.choice is None else names[trail.choice],
            truth=None if label is None else names[label[row]],
            reward=trail.reward,
            over=not self.running[row],
        )

    def _sum_images(self, rows: Rows) -> None:
        source, source_rows = self.task.images(self.state)
        self.retina.fill(self._sums, source[source_rows[rows]], rows)


class _Trail:
    """What one episode looked at, said and was paid so far."""

    def __init__(self) -> None:
        self.edges: list[npt.NDArray[np.int64]] = []
        self.glimpse: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self.choice: int | None = None
        self.reward: float | None = None
        self._look_is_due = True

    def act(self, choice: int, reward: float, running: bool) -> None:
        self.choice, self.reward = choice, reward
        # What is seen after the end changes nothing any more, so the picture leaves it out.
        self._look_is_due = running

    def look(self, edge: npt.NDArray[np.int64], glimpse: npt.NDArray[np.float32]) -> None:
        if self._look_is_due:
            self.edges.append(edge)
            self.glimpse = glimpse.copy()
            self._look_is_due = False


class GlimpseEnv(gym.Env[Observation, Any]):
    """A task seen through a retina, one episode at a time.

    Observation, action and their spaces are those of `GlimpseBatch`. A location outside [−1, 1]²,
    ±inf included, is clipped.

    Args:
        task: the world.
        retina: the sensor.
        initial_location: (x, y) of the first glimpse; uniformly random if None.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ResetNeeded: by `step`, before the first reset or after the end of an episode.
        TypeError, ValueError: by `step`, for an action that is not a pair (location, choice) of
            the action space, NaN locations included.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 2}

    def __init__(
        self,
        task: Task[Any],
        retina: Retina,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        _check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.batch = GlimpseBatch(task, retina, 1, initial_location, render_mode is not None)
        self.observation_space: spaces.Dict = self.batch.observation_space
        self.action_space = self.batch.action_space
        self._row: Rows = np.zeros(1, np.intp)
        self._seeded = False
        self._window: Window | None = None

    @property
    def canvas(self) -> npt.NDArray[np.uint8]:
        """The whole image, (H, W[, C]): for drawing, tests and scripted players."""
        canvas: npt.NDArray[np.uint8] = self.batch.canvases[0]
        return canvas

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode. Options are the task's; for classification {"index": i}."""
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**63))
        if seed is not None:
            self.batch.seed(self._row, [seed])
            self._seeded = True
        self.batch.begin(self._row, options or {})
        return self._observe()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Tell the label or move, then look at the next location."""
        _check_running(self.batch.running)
        location, choice = _pair(action)
        locations = _checked_locations(location, (2,))[None]
        choices = _checked_choices(choice, (), len(self.batch.task.choice_names))[None]
        rewards, terminations = self.batch.advance(self._row, locations, choices)
        observation, info = self._observe()
        return observation, float(rewards[0]), bool(terminations[0]), False, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """The canvas, the retina's squares, the path and what is seen: (height, width, 3) uint8."""
        if self.render_mode is None:
            gym.logger.warn(
                "render() without a render_mode draws nothing; make the environment with "
                'render_mode="rgb_array" or "human".'
            )
            return None
        from ram_envs import rendering

        frame = rendering.draw_frame(self.batch.scene(0))
        if self.render_mode == "rgb_array":
            return rendering.to_rgb_array(frame)
        if self._window is None:
            self._window = rendering.Window(render_fps=self.metadata["render_fps"])
        self._window.show(frame)
        return None

    def close(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None

    def _observe(self) -> tuple[Observation, dict[str, Any]]:
        observation = {key: value[0] for key, value in self.batch.observe().items()}
        if self.render_mode == "human":
            self.render()
        infos = self.batch.infos()
        return observation, {
            key: value[0].item() for key, value in infos.items() if not key.startswith("_")
        }


class GlimpseVectorEnv(gym.vector.VectorEnv[Observation, Any, npt.NDArray[Any]]):
    """B environments in one; sub-environment i of seed s plays as `GlimpseEnv` of seed s + i.

    It equals `SyncVectorEnv` of the single environment bit for bit, in every auto-reset mode, and
    is many times faster. `reset(options={"reset_mask": mask})` resets some sub-environments; other
    options are the task's, where an array gives entry i to sub-environment i.

    Args:
        task: the world.
        retina: the sensor.
        num_envs: B.
        initial_location: (x, y) of every first glimpse; uniformly random if None.
        render_mode: None or "rgb_array".
        autoreset_mode: what happens after an episode's end: NEXT_STEP (Gymnasium's default: the
            next step's action is ignored and begins a new one), SAME_STEP or DISABLED.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}

    def __init__(
        self,
        task: Task[Any],
        retina: Retina,
        num_envs: int = 1,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        _check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.autoreset_mode = _checked_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs = num_envs
        self.batch = GlimpseBatch(task, retina, num_envs, initial_location, render_mode is not None)
        self.single_observation_space = self.batch.observation_space
        self.single_action_space = self.batch.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._all_rows: Rows = np.arange(num_envs)
        self._seeded = False
        self._begun = np.zeros(num_envs, np.bool_)

    @property
    def canvases(self) -> npt.NDArray[np.uint8]:
        """The whole images, (B, H, W[, C]): for drawing, tests and scripted players."""
        return self.batch.canvases

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, Infos]:
        """Begin an episode in every sub-environment, or in those of options["reset_mask"]."""
        super().reset(seed=seed if isinstance(seed, int) else None)
        options = dict(options or {})
        mask = _checked_reset_mask(options.pop("reset_mask", None), self.num_envs)
        rows = np.flatnonzero(mask)
        self._seed_rows(seed, rows)
        self.batch.begin(rows, options)
        self._begun |= mask
        return self.batch.observe(), self.batch.infos(mask)

    def step(
        self, actions: Any
    ) -> tuple[
        Observation,
        npt.NDArray[np.float64],
        npt.NDArray[np.bool_],
        npt.NDArray[np.bool_],
        Infos,
    ]:
        """Step every sub-environment; `actions` is a pair (locations (B, 2), choices (B,))."""
        resets_itself = self.autoreset_mode is AutoresetMode.NEXT_STEP
        _check_running(self._begun if resets_itself else self.batch.running)
        rows, reset_rows = np.flatnonzero(self.batch.running), np.flatnonzero(~self.batch.running)
        locations, choices = _pair(actions)
        locations = _checked_locations(locations, (self.num_envs, 2), rows)
        choices = _checked_choices(
            choices, (self.num_envs,), len(self.batch.task.choice_names), rows
        )

        rewards = np.zeros(self.num_envs)
        terminations = np.zeros(self.num_envs, np.bool_)
        rewards[rows], terminations[rows] = self.batch.advance(rows, locations[rows], choices[rows])
        infos: Infos = {}
        if len(reset_rows):
            self.batch.begin(reset_rows, {})
        elif self.autoreset_mode is AutoresetMode.SAME_STEP and terminations.any():
            infos = self._final(terminations)
            self.batch.begin(np.flatnonzero(terminations), {})
        observations = self.batch.observe()
        infos |= self.batch.infos()
        return observations, rewards, terminations, np.zeros(self.num_envs, np.bool_), infos

    def render(self) -> tuple[npt.NDArray[np.uint8], ...] | None:
        """One picture (height, width, 3) uint8 for each sub-environment."""
        if self.render_mode is None:
            return None
        from ram_envs import rendering

        return tuple(
            rendering.to_rgb_array(rendering.draw_frame(self.batch.scene(row)))
            for row in range(self.num_envs)
        )

    def _seed_rows(self, seed: int | Sequence[int | None] | None, rows: Rows) -> None:
        seeds: Sequence[int | None]
        if seed is None:
            seeds = [None] * self.num_envs
        elif isinstance(seed, int):
            seeds = range(seed, seed + self.num_envs)
        else:
            seeds = _checked_seeds(seed, self.num_envs)
        if not self._seeded:  # those that are given no seed get a random one
            self.batch.seed(
                self._all_rows, self.np_random.integers(2**63, size=self.num_envs).tolist()
            )
            self._seeded = True
        given = [row for row in rows if seeds[row] is not None]
        self.batch.seed(np.array(given, np.intp), [seeds[row] for row in given])

    def _final(self, ended: npt.NDArray[np.bool_]) -> Infos:
        """final_obs and final_info of the sub-environments that ended in this step."""
        observations = self.batch.observe()
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(ended):
            final_obs[row] = {key: value[row].copy() for key, value in observations.items()}
        return {
            "final_obs": final_obs,
            "_final_obs": ended.copy(),
            "final_info": self.batch.infos(ended),
            "_final_info": ended.copy(),
        }


def call_checked(build: Callable[..., Built], keywords: dict[str, Any], shell: type) -> Built:
    """`build(**keywords)`, after naming a keyword that neither it nor its `shell` knows."""
    known = {*inspect.signature(build).parameters, *inspect.signature(shell).parameters}
    known -= {"keywords"}
    for keyword in keywords:
        if keyword not in known:
            close = difflib.get_close_matches(keyword, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise TypeError(
                f"unknown keyword {keyword!r}.{hint} Expected some of: {', '.join(sorted(known))}."
            )
    return build(**keywords)


# What environments are told, checked: each error names the value, what was expected, the way out.


def _check_retina_suits(retina: Retina, image_shape: tuple[int, ...]) -> None:
    height, width = image_shape[:2]
    if retina.glimpse_size > min(height, width):
        raise ValueError(
            f"glimpse_size={retina.glimpse_size}: larger than the canvas of {height} × {width} "
            f"pixels. Expected at most {min(height, width)}; choose a smaller glimpse_size."
        )
    widest = retina.patch_widths[-1]
    if retina.num_scales > 1 and widest > 2 * max(height, width):
        raise ValueError(
            f"num_scales={retina.num_scales} makes the widest patch {widest} pixels, but a patch "
            f"of {2 * max(height, width)} already sees the whole {height} × {width} canvas from "
            "any location. Choose fewer scales or a smaller glimpse_size."
        )


def _checked_initial_location(location: Sequence[float] | None) -> npt.NDArray[np.float32] | None:
    if location is None:
        return None
    try:
        checked = np.asarray(location, np.float64)
        suits = checked.shape == (2,) and bool((np.abs(checked) <= 1).all())
    except (TypeError, ValueError):
        suits = False
    if not suits:
        raise ValueError(f"initial_location={location!r}: expected (x, y), both from -1 to 1.")
    return checked.astype(np.float32)


def _check_render_mode(render_mode: str | None, known: Sequence[str]) -> None:
    if render_mode is not None and render_mode not in known:
        raise ValueError(f"render_mode={render_mode!r}: expected None or one of {list(known)}.")


def _checked_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = [known.value for known in AutoresetMode]
        raise ValueError(f"autoreset_mode={mode!r}: expected one of {known}.") from None


def _checked_reset_mask(mask: Any, num_envs: int) -> npt.NDArray[np.bool_]:
    if mask is None:
        return np.ones(num_envs, np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
        raise ValueError(
            f"options['reset_mask']={mask!r}: expected a numpy array of {num_envs} booleans."
        )
    if not mask.any():
        raise ValueError("options['reset_mask'] resets nothing: expected at least one True.")
    return mask


def _check_running(running: npt.NDArray[np.bool_]) -> None:
    if not running.all():
        stopped = np.flatnonzero(~running).tolist()
        which = f" in sub-environments {stopped}" if len(running) > 1 else ""
        raise ResetNeeded(
            f"step() called{which} before reset() or after the end of the episode: call reset() "
            "first; a vector environment resets some with options={'reset_mask': mask}."
        )


def _checked_seeds(seeds: Any, num_envs: int) -> Sequence[int | None]:
    if not isinstance(seeds, (list, tuple)):
        raise TypeError(
            f"seed={seeds!r}: expected a Python integer, a list with an entry for each "
            "sub-environment, or None."
        )
    if len(seeds) != num_envs:
        raise ValueError(
            f"seed has {len(seeds)} entries for {num_envs} sub-environments: expected one "
            "integer, or an entry for each."
        )
    for seed in seeds:
        if seed is not None and not (isinstance(seed, int) and seed >= 0):
            raise ValueError(f"seed contains {seed!r}: expected Python integers from 0, or None.")
    return seeds


def _pair(action: Any) -> tuple[Any, Any]:
    if not isinstance(action, (tuple, list)) or len(action) != 2:
        raise TypeError(
            f"action={action!r}: expected a pair (location, choice), where choice is a label or "
            "a move, as in env.action_space.sample()."
        )
    return action[0], action[1]


def _checked_locations(
    locations: Any, shape: tuple[int, ...], rows: Rows | slice = slice(None)
) -> npt.NDArray[np.float32]:
    """Locations of `shape` as float32, clipped to the box; only `rows` must not be NaN."""
    try:  # float64, so that numbers too large for float32 are clipped like others
        checked = np.asarray(locations, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"location={locations!r}: expected numbers, (x, y) last.") from None
    if checked.shape != shape:
        raise ValueError(f"location has shape {checked.shape}: expected {shape}, (x, y) last.")
    if np.isnan(checked[rows]).any():
        raise ValueError(
            f"location={locations!r} contains NaN: expected numbers from -1 to 1. An agent that "
            "gives NaN has usually diverged; look at its losses."
        )
    return checked.clip(-1, 1).astype(np.float32)


def _checked_choices(
    choices: Any, shape: tuple[int, ...], num_choices: int, rows: Rows | slice = slice(None)
) -> npt.NDArray[np.int64]:
    """Choices of `shape` as int64; only `rows` must be in range."""
    checked = np.asarray(choices)
    if checked.dtype.kind not in "iu" or checked.shape != shape:
        kind = "an integer" if shape == () else f"integers of shape {shape}"
        raise TypeError(
            f"label or move {choices!r} ({checked.dtype}, shape {checked.shape}): expected {kind} "
            f"from 0 to {num_choices - 1}."
        )
    chosen = checked[rows] if shape else checked
    if chosen.size and (chosen.min() < 0 or chosen.max() >= num_choices):
        bad = chosen.min() if chosen.min() < 0 else chosen.max()
        raise ValueError(f"label or move {bad}: expected an integer from 0 to {num_choices - 1}.")
    return checked.astype(np.int64)
