"""`ThroughRetina` for vector environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, iterate

from ram_envs.actions import checked_locations, checked_pair
from ram_envs.aliases import VectorEnv
from ram_envs.arguments import check_arguments
from ram_envs.atari import atari_seeds
from ram_envs.checks import (
    check_running,
    checked_reset_mask,
    checked_seeds,
    find_autoreset_mode,
    warn_of_no_render_mode,
)
from ram_envs.gaze import location_space
from ram_envs.picture_batch import Layout, PictureBatch, checked_pictures, layout_of
from ram_envs.recorded import RecordedArguments
from ram_envs.retina import Retina
from ram_envs.wrappers.through_retina import (
    Source,
    check_discrete,
    check_frames,
    choice_names,
    frame_layout,
)

if TYPE_CHECKING:
    from ram_envs.rendering import Scene

    AnyVectorWrapper = gym.vector.VectorWrapper[Any, Any, Any, Any, Any]
else:
    AnyVectorWrapper = gym.vector.VectorWrapper  # generic since Gymnasium 1.4 only

Step = tuple[Any, Any, Any, Any, dict[str, Any]]


class ThroughRetina(AnyVectorWrapper, RecordedArguments):
    """Any vector environment with pictures, seen through the retina.

    Around `SyncVectorEnv`, `AsyncVectorEnv` or a native vector environment, such as ale-py's, in
    every autoreset mode that it has. It equals `SyncVectorEnv` of the single `ThroughRetina`; see
    there. In SAME_STEP infos["final_obs"] holds glimpses of the last pictures.

    Args:
        env, glimpse_size, num_scales, source, initial_location: as the single `ThroughRetina`.

    Raises:
        TypeError, ValueError, ResetNeeded: as the single one.
        ValueError: if the autoreset mode is unknown; if the environment resets itself in the same
            step and source="render", since the last frames cannot be seen; or if it steps only some
            of its sub-environments at a time.
    """

    @check_arguments
    def __init__(
        self,
        env: VectorEnv,
        glimpse_size: int = 12,
        num_scales: int = 3,
        *,
        source: Source = "observation",
        initial_location: Sequence[float] | None = None,
    ) -> None:
        RecordedArguments.__init__(
            self,
            glimpse_size=glimpse_size,
            num_scales=num_scales,
            source=source,
            initial_location=initial_location,
        )
        super().__init__(env)
        check_frames(env, source)
        self.autoreset_mode = find_autoreset_mode(env)
        self._check_suits(source)
        self.metadata = {
            **env.metadata,
            "render_modes": ["rgb_array"],
            "autoreset_mode": self.autoreset_mode,
        }
        self._renders = source == "render"
        self.batch = PictureBatch(
            self._find_layout(),
            Retina(glimpse_size, num_scales),
            env.num_envs,
            initial_location,
            choice_names(env),
            keep_trails=env.render_mode is not None,
        )
        self.single_observation_space = self.batch.observation_space
        self.single_action_space = spaces.Tuple((location_space(), env.single_action_space))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        # Of seeds that nobody gives. SyncVectorEnv has no generator of its own.
        self._random = np.random.default_rng()
        self._begun = np.zeros(self.num_envs, np.bool_)
        self._final_pictures: npt.NDArray[np.uint8] | None = None

    @property
    def canvases(self) -> npt.NDArray[np.uint8]:
        """The whole pictures (B, H, W[, C]), for drawing, tests and scripted players."""
        return self.batch.canvases

    @property
    def final_canvases(self) -> npt.NDArray[np.uint8]:
        """The whole pictures (B, H, W[, C]) before the last reset within a step (SAME_STEP)."""
        final = self._final_pictures
        return self.canvases if final is None else self.batch.layout.images(final)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode in every sub-environment, or in those of options["reset_mask"]."""
        seed = seed.tolist() if isinstance(seed, np.ndarray) else seed
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            seed = checked_seeds(seed, self.num_envs)
        mask = checked_reset_mask((options or {}).get("reset_mask"), self.num_envs)
        rows = np.flatnonzero(mask)
        if seed is not None and type(self.env.unwrapped).__module__.startswith("ale_py"):
            own_seed: Any = atari_seeds(seed, rows)
        else:
            own_seed = seed
        observations, infos = self.env.reset(seed=own_seed, options=options)
        self.batch.seed_rows(seed, rows, self._random)
        self.batch.begin(rows)
        self._begun |= mask
        return self._observe(observations), infos

    def step(self, actions: Any) -> Step:
        """Step every sub-environment; `actions` is a pair (locations (B, 2), choices)."""
        batch, mode = self.batch, self.autoreset_mode
        check_running(self._begun if mode is AutoresetMode.NEXT_STEP else batch.running)
        locations, choices = checked_pair(actions)
        index: npt.NDArray[np.intp] | slice = slice(None)  # a slice copies nothing
        waiting = np.flatnonzero(~batch.running)  # for the reset that this step is
        if len(waiting):
            index = np.flatnonzero(batch.running)
        locations = checked_locations(locations, (self.num_envs, 2), index)
        choices = self._checked_choices(choices, index)
        observations, rewards, terminations, truncations, infos = self.env.step(choices)

        ended = terminations | truncations
        batch.move(index, locations[index])
        batch.running[index] = ~ended[index]
        if self.render_mode is not None:
            each = list(iterate(self.env.action_space, choices))
            for row in batch.all_rows[index]:
                batch.note(row, each[row], float(rewards[row]), bool(ended[row]))
        if len(waiting):
            batch.begin(waiting)
        elif mode is AutoresetMode.SAME_STEP and ended.any():
            self._put_final(observations, infos, ended)
            batch.begin(np.flatnonzero(ended))
        return self._observe(observations), rewards, terminations, truncations, infos

    def render(self) -> tuple[Any, ...] | None:
        """Draw one picture (height, width, 3) uint8 for each sub-environment."""
        if self.render_mode is None:
            warn_of_no_render_mode(self.metadata["render_modes"])
            return None
        from ram_envs import rendering

        scenes = map(self.batch.scene, range(self.num_envs))
        return tuple(rendering.to_rgb_array(rendering.draw_frame(scene)) for scene in scenes)

    def scene(self, row: int) -> Scene:
        """Return what `render` draws for one sub-environment."""
        return self.batch.scene(row)

    def _check_suits(self, source: Source) -> None:
        env = self.env
        if source == "render" and self.autoreset_mode is AutoresetMode.SAME_STEP:
            raise ValueError(
                f'source="render" does not see the last frames of {env}: it resets itself in the '
                "same step. Use autoreset_mode=AutoresetMode.NEXT_STEP, or wrap each "
                "sub-environment in ram_envs.wrappers.ThroughRetina."
            )
        if env.action_space != batch_space(env.single_action_space, env.num_envs):
            raise ValueError(
                f"{env} does not step all of its {env.num_envs} sub-environments at once: its "
                f"actions are {env.action_space}. Make it with batch_size={env.num_envs}."
            )

    def _find_layout(self) -> Layout:
        if self._renders:
            self.env.reset()
            frames: Any = self.env.render()
            return frame_layout(frames[0], self.env)
        return layout_of(self.env.single_observation_space, self.env)

    def _checked_choices(self, choices: Any, index: npt.NDArray[np.intp] | slice) -> Any:
        """Return choices in range; of rows that wait for their reset, the first one."""
        space = self.env.single_action_space
        checked = check_discrete(choices, (self.num_envs,), space, index)
        if isinstance(space, spaces.Discrete) and not isinstance(index, slice):
            kept, checked = checked, np.full_like(checked, space.start)
            checked[index] = kept[index]
        return checked

    def _put_final(
        self, observations: Any, infos: dict[str, Any], ended: npt.NDArray[np.bool_]
    ) -> None:
        """Look at the last pictures of the episodes that ended."""
        if "final_obs" not in infos:
            raise TypeError(
                f"{self.env.unwrapped} resets itself in the same step, but its infos lack "
                "'final_obs', the last observations of the episodes that ended, which Gymnasium "
                "1.0 and later put there. Upgrade it, or use AutoresetMode.NEXT_STEP."
            )
        rows, last = np.flatnonzero(ended), infos["final_obs"]
        pictures = self._checked_pictures(observations).copy()
        for row in rows:
            pictures[row] = checked_pictures(last[row], self.batch.layout.shape, self.env)
        self._final_pictures = pictures
        locations = self.batch.locations[rows]
        glimpses = self.batch.look_at(pictures[rows], locations)
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row, glimpse, location in zip(rows, glimpses, locations, strict=True):
            final_obs[row] = {"glimpse": glimpse, "location": location}
        infos["final_obs"], infos["_final_obs"] = final_obs, ended.copy()

    def _observe(self, observations: Any) -> dict[str, Any]:
        if self._renders:
            observations = np.stack(self.env.render() or ())
        return self.batch.observe(self._checked_pictures(observations))

    def _checked_pictures(self, pictures: Any) -> npt.NDArray[np.uint8]:
        return checked_pictures(pictures, (self.num_envs, *self.batch.layout.shape), self.env)
