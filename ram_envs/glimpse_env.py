"""Environments seen through a retina: `GlimpseEnv` and its vector version.

Both are thin Gymnasium shells over a `GlimpseBatch`: spaces, seeding, autoreset, infos, rendering.
The single environment is the vector environment with B = 1, so the rules are written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ram_envs.actions import checked_action, checked_actions
from ram_envs.checks import (
    all_true,
    check_options,
    check_render_mode,
    check_running,
    checked_autoreset_mode,
    checked_integer,
    checked_reset_mask,
    warn_of_no_render_mode,
)
from ram_envs.datasets.source import ImageSource, read_rows
from ram_envs.glimpse_batch import GlimpseBatch, Infos, Observation
from ram_envs.recorded import RecordedSpec
from ram_envs.retina import Retina
from ram_envs.task import Rows, Task

if TYPE_CHECKING:
    from ram_envs.display import Window


class GlimpseEnv(RecordedSpec, gym.Env[Observation, Any]):
    """A task seen through a retina, one episode at a time.

    The observation is Dict(glimpse=Box(0, 1, (K·C, G, G)), location=Box(-1, 1, (2,))), the action
    Tuple(location, choice). A location outside [−1, 1]², ±inf included, is clipped.

    Args:
        task: what is shown and rewarded, and when an episode ends.
        retina: the sensor.
        initial_location: (x, y) of the first glimpse; uniformly random if None.
        render_mode: None, "rgb_array" or "human".

    Raises:
        ResetNeeded: by `step`, before the first reset or after the end of an episode.
        TypeError, ValueError: by `step`, for an action that is not a pair (location, choice) of
            the action space, or a location that is NaN; by `reset`, for an unknown option.
    """

    splits: tuple[str, ...] = ()  # of the data set, where there is one
    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 2}

    def __init__(
        self,
        task: Task[Any],
        retina: Retina,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.batch = GlimpseBatch(task, retina, 1, initial_location, render_mode is not None)
        self.observation_space: spaces.Dict = self.batch.observation_space
        self.action_space = self.batch.action_space
        self._window: Window | None = None

    @property
    def canvas(self) -> npt.NDArray[np.uint8]:
        """The whole image (H, W[, C]), for drawing, tests and scripted players."""
        canvas: npt.NDArray[np.uint8] = self.batch.canvases[0]
        return canvas

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode. The options are the task's: {"index": i} shows image i of a split."""
        options = options or {}
        check_options(options, self.batch.option_names)
        super().reset(seed=seed)
        self.batch.seed_single(seed, self.np_random)
        self.batch.begin(self.batch.all_rows, options)
        return self._observe()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Act with the label or move, then look at the next location."""
        batch = self.batch
        if not batch.running.item(0):
            check_running(batch.running)
        locations, choices = checked_action(action, batch.num_choices)
        rewards, terminations, truncations = batch.advance(batch.all_rows, locations, choices)
        observation, info = self._observe()
        terminated, truncated = bool(terminations.item(0)), bool(truncations.item(0))
        return observation, float(rewards.item(0)), terminated, truncated, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Draw canvas, patches, path and glimpse: (height, width, 3) uint8, or a window."""
        if self.render_mode is None:
            warn_of_no_render_mode(self.metadata["render_modes"])
            return None
        from ram_envs import rendering

        frame = rendering.draw_frame(self.batch.scene(0))
        if self.render_mode == "rgb_array":
            return rendering.to_rgb_array(frame)
        if self._window is None:
            from ram_envs.display import Window

            self._window = Window(render_fps=self.metadata["render_fps"])
        self._window.show(frame)
        return None

    def close(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None

    def _observe(self) -> tuple[Observation, dict[str, Any]]:
        observations = self.batch.observe()
        if self.render_mode == "human":
            self.render()
        infos = self.batch.task.infos(self.batch.state)
        observation = {
            "glimpse": observations["glimpse"][0],
            "location": observations["location"][0],
        }
        return observation, {
            key: values.item(0) for key, (values, present) in infos.items() if present.item(0)
        }


class GlimpseVectorEnv(RecordedSpec, gym.vector.VectorEnv[Observation, Any, npt.NDArray[Any]]):
    """B environments in one; sub-environment i of seed s plays as `GlimpseEnv` of seed s + i.

    It equals `SyncVectorEnv` of the single environment bit for bit, in every autoreset mode, and
    is many times faster. `reset(options={"reset_mask": mask})` resets some sub-environments. The
    other options are the task's; an array gives entry i to sub-environment i.

    Args:
        task: what is shown and rewarded, and when an episode ends.
        retina: the sensor.
        num_envs: B.
        initial_location: (x, y) of every first glimpse; uniformly random if None.
        render_mode: None or "rgb_array".
        autoreset_mode: what happens at an episode's end. NEXT_STEP (Gymnasium's default): the next
            step ignores the action and begins a new episode. SAME_STEP: the same step does.
            DISABLED: `reset` must be called.
        max_episode_steps: truncate episodes after this many steps, as
            `gymnasium.wrappers.TimeLimit` does; None or -1 for no limit. `gym.make_vec` passes it
            on.

    Raises:
        ResetNeeded, TypeError, ValueError: as `GlimpseEnv`.
    """

    splits: tuple[str, ...] = ()  # of the data set, where there is one
    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}

    def __init__(
        self,
        task: Task[Any],
        retina: Retina,
        num_envs: int = 1,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
    ) -> None:
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.autoreset_mode = checked_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.batch = GlimpseBatch(task, retina, num_envs, initial_location, render_mode is not None)
        self.num_envs = self.batch.num_envs
        self.single_observation_space = self.batch.observation_space
        self.single_action_space = self.batch.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.max_episode_steps = (
            None
            if max_episode_steps in (None, -1)
            else checked_integer("max_episode_steps", max_episode_steps, 1)
        )
        self._begun = np.zeros(self.num_envs, np.bool_)
        # A source of images and the row of each final canvas in it.
        self._final_images: tuple[npt.NDArray[np.uint8] | ImageSource, Rows] | None = None

    @property
    def final_canvases(self) -> npt.NDArray[np.uint8]:
        """The whole images (B, H, W[, C]) before the last reset within a step (SAME_STEP)."""
        return self.canvases if self._final_images is None else read_rows(*self._final_images)

    @property
    def canvases(self) -> npt.NDArray[np.uint8]:
        """The whole images (B, H, W[, C]), for drawing, tests and scripted players."""
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
        check_options(options, self.batch.option_names, "reset_mask")
        mask = checked_reset_mask(options.pop("reset_mask", None), self.num_envs)
        rows = np.flatnonzero(mask)
        self.batch.seed_rows(seed, rows, self.np_random)
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
        batch, num_envs = self.batch, self.num_envs
        rows, reset_rows = batch.all_rows, batch.all_rows[:0]
        index: Rows | slice = slice(None)  # of the rows; a slice copies nothing
        if not all_true(batch.running):
            resets_itself = self.autoreset_mode is AutoresetMode.NEXT_STEP
            check_running(self._begun if resets_itself else batch.running)
            rows, reset_rows = np.flatnonzero(batch.running), np.flatnonzero(~batch.running)
            index = rows
        locations, choices = checked_actions(actions, num_envs, batch.num_choices, index)

        rewards, terminations = np.zeros(num_envs), np.zeros(num_envs, np.bool_)
        truncations = np.zeros(num_envs, np.bool_)
        if len(rows):
            outcome = batch.advance(rows, locations, choices)
            rewards[index], terminations[index], truncations[index] = outcome
        if self.max_episode_steps is not None:
            truncations[index] |= batch.steps[index] >= self.max_episode_steps
            batch.running &= ~truncations
        final_infos: Infos = {}
        if len(reset_rows):
            batch.begin(reset_rows if len(rows) else batch.all_rows, {})
        elif self.autoreset_mode is AutoresetMode.SAME_STEP and not all_true(batch.running):
            ended = terminations | truncations
            final_infos = self._final(ended)
            batch.begin(np.flatnonzero(ended), {})
        observations, infos = batch.observe(), batch.infos()
        if final_infos:
            infos.update(final_infos)
        return observations, rewards, terminations, truncations, infos

    def render(self) -> tuple[npt.NDArray[np.uint8], ...] | None:
        """Draw one picture (height, width, 3) uint8 for each sub-environment."""
        if self.render_mode is None:
            warn_of_no_render_mode(self.metadata["render_modes"])
            return None
        from ram_envs import rendering

        return tuple(
            rendering.to_rgb_array(rendering.draw_frame(self.batch.scene(row)))
            for row in range(self.num_envs)
        )

    def _final(self, ended: npt.NDArray[np.bool_]) -> Infos:
        """Return final_obs and final_info of the sub-environments that ended in this step."""
        source, rows = self.batch.task.images(self.batch.state)
        if isinstance(source, np.ndarray) and source.flags.writeable:
            source, rows = source[rows], self.batch.all_rows
        self._final_images = source, rows.copy()
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
