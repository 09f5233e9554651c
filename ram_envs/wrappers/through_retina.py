"""Any environment that shows pictures, seen through the retina: `ThroughRetina`, the single one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ram_envs.actions import checked_choices, checked_locations, checked_pair
from ram_envs.aliases import Env
from ram_envs.arguments import check_arguments
from ram_envs.checks import check_running, warn_of_no_render_mode
from ram_envs.gaze import location_space
from ram_envs.picture_batch import Layout, PictureBatch, checked_pictures, find_layout, layout_of
from ram_envs.recorded import RecordedArguments
from ram_envs.retina import Retina

if TYPE_CHECKING:
    from ram_envs.rendering import Scene

Source = Literal["observation", "render"]


class ThroughRetina(gym.Wrapper[Any, Any, Any, Any], RecordedArguments):
    """Any environment with pictures, seen through a retina.

    The agent sees one glimpse at a time, as in `GlimpseEnv`, and chooses both what to do and where
    to look next. In a step the environment steps with the second half of the action; then the
    retina looks at the new picture at the location.

    - Observation: Dict(glimpse=Box(0, 1, (K·C, G, G)), location=Box(-1, 1, (2,))). The channels of
      stacked frames are channels C of one picture.
    - Action: Tuple(Box(-1, 1, (2,)), env.action_space); a location outside is clipped.
    - Rewards, terminations, truncations and infos are those of the environment.
    - Episodes begin at `initial_location`, or at a uniformly random location that follows from the
      seed of `reset` and the number of episodes since then, as in the environments of ram_envs.
    - `render` draws the picture, the retina's squares, the path of the gaze and the glimpse. It
      needs an environment made with render_mode="rgb_array".

    Args:
        env: an environment whose observation is a picture: uint8 of shape (H, W), (H, W, C) or
            (C, H, W), where the smallest axis is the channels, or a stack of color images. With
            source="render" any environment made with render_mode="rgb_array".
        glimpse_size: G, the side of each scale of a glimpse, in cells.
        num_scales: K, the number of scales, each twice as wide as the one before.
        source: what the retina looks at: the observation, or the frame that the environment
            renders. With "render" the environment is reset once here, to see a frame.
        initial_location: (x, y) of each episode's first glimpse; uniformly random if None.

    Raises:
        TypeError: if the observation is not a picture, or the environment resets itself; by
            `step`, for an action that is not a pair.
        ValueError: if the patches do not fit the picture, or the environment has another
            render_mode than "rgb_array" or, with source="observation", None; by `step`, for a
            location that is NaN, or a choice out of range.
        ResetNeeded: by `step`, before the first reset or after the end of an episode.
    """

    @check_arguments
    def __init__(
        self,
        env: Env,
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
        check_reset_by_caller(env)
        check_frames(env, source)
        self.metadata = {**env.metadata, "render_modes": ["rgb_array"]}
        self._renders = source == "render"
        if self._renders:
            env.reset()
            layout = frame_layout(env.render(), env)
        else:
            layout = layout_of(env.observation_space, env)
        self.batch = PictureBatch(
            layout,
            Retina(glimpse_size, num_scales),
            1,
            initial_location,
            choice_names(env),
            keep_trails=env.render_mode is not None,
        )
        self.observation_space = self.batch.observation_space
        self.action_space = spaces.Tuple((location_space(), env.action_space))

    @property
    def canvas(self) -> npt.NDArray[np.uint8]:
        """The whole picture (H, W[, C]), for drawing, tests and scripted players."""
        canvas: npt.NDArray[np.uint8] = self.batch.canvases[0]
        return canvas

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; seed and options are the environment's, too."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.batch.seed_single(seed, self.np_random)
        self.batch.begin(self.batch.all_rows)
        return self._observe(observation), info

    def step(self, action: Any) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        """Step the environment, then look at the new picture."""
        check_running(self.batch.running)
        location, choice = checked_pair(action)
        locations = checked_locations(location, (2,))[None]
        choice = check_discrete(choice, (), self.env.action_space)
        observation, reward, terminated, truncated, info = self.env.step(choice)
        self.batch.move(slice(None), locations)
        self.batch.running[0] = not (terminated or truncated)
        self.batch.note(0, choice, float(reward), not self.batch.running[0])
        return self._observe(observation), reward, terminated, truncated, info

    def render(self) -> Any:
        """Draw picture, patches, path and glimpse: (height, width, 3) uint8."""
        if self.render_mode is None:
            warn_of_no_render_mode(self.metadata["render_modes"])
            return None
        from ram_envs import rendering

        return rendering.to_rgb_array(rendering.draw_frame(self.scene()))

    def scene(self) -> Scene:
        """Return what `render` draws."""
        return self.batch.scene(0)

    def _observe(self, observation: Any) -> dict[str, Any]:
        picture = self.env.render() if self._renders else observation
        checked = checked_pictures(picture, self.batch.layout.shape, self.env)
        return {key: value[0] for key, value in self.batch.observe(checked[None]).items()}


def check_discrete(
    choices: Any, shape: tuple[int, ...], space: gym.Space[Any], rows: Any = slice(None)
) -> Any:
    """Return choices of a Discrete space, (B,) or one, of which `rows` must be in range.

    Those of another space are returned as they are.
    """
    if not isinstance(space, spaces.Discrete):
        return choices
    return checked_choices(choices, shape, int(space.n), rows, int(space.start))[()]


def check_reset_by_caller(env: Env) -> None:
    """Raise TypeError if an environment resets itself, which wrappers around it do not notice."""
    inner: Any = env
    while isinstance(inner, gym.Wrapper):
        if isinstance(inner, gym.wrappers.Autoreset):
            raise TypeError(
                f"{env} resets itself. Put Autoreset around all other wrappers, or use "
                "gym.make_vec, whose environments reset themselves."
            )
        inner = inner.env


def check_frames(env: Any, source: Source) -> None:
    """Raise ValueError unless an environment's render mode suits the source of pictures."""
    mode = env.render_mode
    if source == "render" and mode != "rgb_array":
        raise ValueError(
            f'source="render" looks at frames, and {env} has render_mode={mode!r}. Make it with '
            'render_mode="rgb_array".'
        )
    if mode not in (None, "rgb_array"):
        raise ValueError(
            f"render_mode={mode!r} of {env} does not show the gaze. Make it with "
            'render_mode="rgb_array"; for a window, put gymnasium.wrappers.HumanRendering around '
            "ThroughRetina."
        )


def frame_layout(frame: Any, env: Any) -> Layout:
    """Return the layout of a rendered frame."""
    layout = find_layout(np.shape(frame))
    checked_pictures(frame, np.shape(frame), env)
    if layout is None:
        raise ValueError(
            f"{env} renders frames of shape {np.shape(frame)}, which is not a picture (H, W, 3)."
        )
    return layout


def choice_names(env: Any) -> tuple[str, ...] | None:
    """Return what an environment's choices are called, as Atari and MiniGrid have it; or None."""
    inner = env.unwrapped
    if hasattr(env, "single_action_space"):  # SyncVectorEnv has its sub-environments at hand
        return choice_names(inner.envs[0]) if hasattr(inner, "envs") else None
    space = env.action_space
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        return None
    names: Any = ()
    if hasattr(inner, "get_action_meanings"):  # Atari
        names = inner.get_action_meanings()
    elif isinstance(getattr(inner, "actions", None), type):  # an enumeration: MiniGrid
        names = getattr(inner.actions, "__members__", ())
    return tuple(names) if len(names) == space.n else None
