"""One Atari game as ale-py's native vector environment shows it.

`gym.make("ALE/Pong-v5")` returns color frames of the console's size, while
`gym.make_vec("ALE/Pong-v5", num_envs=16)` returns gray ones of 84 × 84. Here a single environment
has the frames of the vector environment, so that an agent that was trained there can be watched.

ale-py is imported where it is used, so that importing this file does not need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from ram_envs.checks import check_render_mode, check_running, checked_integer

FRAMES_PER_SECOND = 60  # of the console
MAX_ATARI_SEED = 2**31
SIZES = {"img_height", "img_width", "stack_num", "frameskip"}  # ale-py hangs if stack_num is 0


class AtariGame(gym.Env[npt.NDArray[np.uint8], Any]):
    """One game of ale-py's native vector environment.

    Args:
        env_id: such as "ALE/Pong-v5".
        render_mode: None or "rgb_array".
        keywords: those of ale-py's `AtariVectorEnv`, such as img_height, stack_num, grayscale.

    Raises:
        ValueError: for another render mode, or if a size is out of range.
        OSError: if the file of the game, its ROM, is missing or damaged.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FRAMES_PER_SECOND // 4}

    def __init__(self, env_id: str, render_mode: str | None = None, **keywords: Any) -> None:
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self._games = make_games(env_id, 1, AutoresetMode.SAME_STEP, num_threads=1, **keywords)
        skipped = int(self._games.spec.kwargs["frameskip"])
        self.metadata = {**self.metadata, "render_fps": max(1, FRAMES_PER_SECOND // skipped)}
        self.observation_space = self._games.single_observation_space
        self.action_space = self._games.single_action_space
        self._running = np.zeros(1, np.bool_)
        self._observation: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._next: tuple[Any, dict[str, Any]] | None = None  # the episode that has begun already

    def get_action_meanings(self) -> list[str]:
        """Return the names of the moves, as ale-py's single environment does."""
        from ale_py import Action

        names: dict[int, str] = {int(move.value): name for name, move in Action.__members__.items()}
        return [names[int(move.value)] for move in self._games.ale.get_action_set()]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        if seed is not None or self._next is None:
            observations, infos = self._games.reset(
                seed=None if seed is None else seed % MAX_ATARI_SEED
            )
            self._next = observations[0], _first(infos)
        (self._observation, info), self._next = self._next, None
        self._running[:] = True
        return self._observation, info

    def step(self, action: Any) -> tuple[npt.NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Take a step of several frames."""
        check_running(self._running)
        observations, rewards, terminations, truncations, infos = self._games.step(
            np.asarray(action)[None]
        )
        self._observation = observations[0]
        if terminations[0] or truncations[0]:
            final = infos.pop("final_obs")[0]
            self._next, self._observation = (self._observation, _first(infos)), final
            self._running[:] = False
        return (
            self._observation,
            float(rewards[0]),
            bool(terminations[0]),
            bool(truncations[0]),
            _first(infos),
        )

    def render(self) -> npt.NDArray[np.uint8]:
        """Return the newest frame in three channels, (H, W, 3)."""
        frame = self._observation[-1]
        return frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=-1)

    def close(self) -> None:
        self._games.close()


def atari_seeds(seed: int | Sequence[int | None], rows: npt.NDArray[np.intp]) -> Any:
    """Return the seeds of `rows` as ale-py's environments take them: an array of C's integers."""
    if isinstance(seed, int):
        return (seed + rows) % MAX_ATARI_SEED
    each = (seed[row] for row in rows)
    return np.array([-1 if one is None else one % MAX_ATARI_SEED for one in each])


def make_games(env_id: str, num_envs: int, mode: AutoresetMode, /, **keywords: Any) -> Any:
    """Make ale-py's vector environment of a game.

    Raises:
        OSError: if the file of the game, its ROM, is missing or damaged.
        ValueError: if a size is out of range.
    """
    for name in SIZES & keywords.keys():
        checked_integer(name, keywords[name], 1)
    try:
        return gym.make_vec(env_id, num_envs=num_envs, autoreset_mode=mode, **keywords)
    except OSError as error:
        raise type(error)(
            f"The ROM of {env_id} is missing or damaged. ale-py includes every ROM: unset "
            f"ALE_ROMS_DIR, or install ale-py again. It reports: {' '.join(str(error).split())}"
        ) from error


def _first(infos: dict[str, Any]) -> dict[str, Any]:
    return {key: values[0].item() for key, values in infos.items() if key != "env_id"}
