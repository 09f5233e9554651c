"""A toy environment with pictures, for the tests of what looks at other people's environments."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

LAYOUTS: dict[str, tuple[int, ...]] = {  # how a picture of 9 rows and 12 columns may lie
    "gray": (9, 12),
    "channels last": (9, 12, 3),
    "channels first": (3, 9, 12),
    "gray stack": (4, 9, 12),
    "color stack": (2, 9, 12, 3),
    "color stack, channels first": (2, 3, 9, 12),
}


class Numbers(gym.Env[np.ndarray, Any]):
    """Each picture is random; an episode ends, or is cut, after 2 to 5 steps.

    The reward of a step is the action, so that it arrives; infos count the steps.
    """

    metadata = {"render_modes": ["rgb_array", "human", "ansi"], "render_fps": 7}

    def __init__(
        self,
        shape: tuple[int, ...] = (9, 12, 3),
        render_mode: str | None = None,
        continuous: bool = False,
    ) -> None:
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        box = spaces.Box(-1, 1, (2,), np.float32)
        self.action_space: spaces.Space[Any] = box if continuous else spaces.Discrete(3)
        self.render_mode = render_mode
        self.steps = self.length = 0
        self.picture = np.zeros(shape, np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.length = 0, int(self.np_random.integers(2, 6))
        return self._look(), {"steps": 0}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        ended = self.steps == self.length
        is_cut = self.length % 2 == 0
        reward = float(np.sum(action))
        return self._look(), reward, ended and not is_cut, ended and is_cut, {"steps": self.steps}

    def render(self) -> Any:
        """A frame of 10 × 14 pixels whose red says how many steps were taken."""
        frame = np.full((10, 14, 3), 7, np.uint8)
        frame[..., 0] = 10 * self.steps
        return frame if self.render_mode == "rgb_array" else "a text"

    def _look(self) -> np.ndarray:
        shape = self.observation_space.shape
        self.picture = self.np_random.integers(0, 256, shape, dtype=np.uint8)
        return self.picture.copy()


gym.register("Numbers-v0", "picture_envs:Numbers")
