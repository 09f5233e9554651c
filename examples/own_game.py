"""A custom game with a time limit: find a square and touch it as early as possible.

    python examples/own_game.py

`docs/own_task.md` explains the methods of a task. The rules of this one depend on the gaze.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from ram_envs import GlimpseEnv, GlimpseVectorEnv, Outcome, Retina, check_task

Array = np.ndarray[Any, Any]


@dataclass
class TouchState:
    """B games."""

    corners: Array  # (B, 2) int64, the top left (row, column) of the square
    gaze: Array  # (B, 2) float32, the location (x, y) of the last glimpse
    steps: Array  # (B,) int64, steps taken


class Touch:
    """A square of 8 × 8 pixels lies on a screen of 64 × 64."""

    image_shape: tuple[int, ...] = (64, 64)
    choice_names: tuple[str, ...] = ("look", "touch")
    frames_change = False

    def __init__(self, time_limit: int = 30) -> None:
        self.time_limit = time_limit

    def allocate(self, num_envs: int) -> TouchState:
        return TouchState(
            corners=np.zeros((num_envs, 2), np.int64),
            gaze=np.zeros((num_envs, 2), np.float32),
            steps=np.zeros(num_envs, np.int64),
        )

    def begin(self, state: TouchState, rows: Array, streams: Any, options: Any) -> None:
        state.corners[rows] = streams.integers(57, 57)
        state.steps[rows] = 0

    def look_at(self, state: TouchState, rows: Array, locations: Array) -> None:
        state.gaze[rows] = locations

    def advance(self, state: TouchState, rows: Array, choices: Array) -> Outcome:
        state.steps[rows] += 1
        centers = (state.corners[rows, ::-1] + 4) / 32 - 1  # as locations (x, y)
        on_it = (np.abs(centers - state.gaze[rows]) < 8 / 32).all(axis=1)
        touched = (choices == 1) & on_it
        late = ~touched & (state.steps[rows] == self.time_limit)
        rewards = np.where(touched, 1 - state.steps[rows] / self.time_limit, 0.0)
        return Outcome(rewards, terminations=touched, truncations=late)

    def images(self, state: TouchState) -> tuple[Array, Array]:
        screens = np.zeros((len(state.steps), *self.image_shape), np.uint8)
        for screen, (top, left) in zip(screens, state.corners, strict=True):
            screen[top : top + 8, left : left + 8] = 255
        return screens, np.arange(len(screens))

    def infos(self, state: TouchState) -> dict[str, Any]:
        return {}  # no label: an agent learns from rewards alone


def make_env(**keywords: Any) -> GlimpseEnv:
    return GlimpseEnv(Touch(), Retina(glimpse_size=8, num_scales=5), **keywords)


def make_vector_env(num_envs: int = 1, **keywords: Any) -> GlimpseVectorEnv:
    return GlimpseVectorEnv(Touch(), Retina(8, 5), num_envs, **keywords)


gym.register("Touch-v0", entry_point=make_env, vector_entry_point=make_vector_env)


def follow_brightness(observation: Mapping[str, Array]) -> tuple[Array, Array]:
    """Act by rules: look at the center of all brightness, and touch in every step."""
    wide = observation["glimpse"][:, -1]  # (B, 8, 8), 128 × 128 pixels around the gaze
    places = (np.arange(8) - 3.5) * 16 / 32  # centers of the cells, in units of locations
    shifts = np.stack([wide.sum(axis=1) @ places, wide.sum(axis=2) @ places], axis=1)
    shifts /= wide.sum(axis=(1, 2))[:, None]
    return np.clip(observation["location"] + shifts, -1, 1), np.ones(len(wide), np.int64)


def mean_return(act: Callable[[Mapping[str, Array]], Any], num_games: int = 1000) -> float:
    """Return the mean return of the first game in each sub-environment."""
    envs: Any = gym.make_vec("Touch-v0", num_envs=num_games)
    observation, _ = envs.reset(seed=0)
    returns, running = np.zeros(num_games), np.ones(num_games, bool)
    while running.any():
        observation, rewards, terminated, truncated, _ = envs.step(act(observation))
        returns += rewards * running
        running &= ~(terminated | truncated)
    return float(returns.mean())


if __name__ == "__main__":
    check_task(Touch())
    actions = gym.make_vec("Touch-v0", num_envs=1000).action_space
    actions.seed(0)
    print(f"random player: mean return {mean_return(lambda _: actions.sample()):.3f}")
    print(f"player by rules: mean return {mean_return(follow_brightness):.3f}")
