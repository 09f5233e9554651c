"""The last n glimpses, for agents without memory."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ram_envs.checks import checked_integer


class GlimpseHistory:
    """The last n observations of B episodes, the newest last; zeros before an episode begins.

    Args:
        observation_space: of one environment, with "glimpse" (K·C, G, G) and "location" (2,).
        num_glimpses: n, at least 1.
        num_envs: B.

    Attributes:
        space: Dict(glimpse=Box (n·K·C, G, G), location=Box (2 n,)), of one environment.
    """

    def __init__(self, observation_space: gym.Space[Any], num_glimpses: int, num_envs: int) -> None:
        num_glimpses = checked_integer("num_glimpses", num_glimpses, 1)
        if not isinstance(observation_space, spaces.Dict) or set(observation_space.keys()) != {
            "glimpse",
            "location",
        }:
            raise TypeError(
                f"observation_space={observation_space} is not Dict(glimpse=…, location=…). Wrap "
                "an environment of ram_envs before WholeCanvas or GlimpseStack."
            )
        channels, *size = observation_space["glimpse"].shape or ()
        self.space = spaces.Dict(
            glimpse=spaces.Box(0, 1, (num_glimpses * channels, *size), np.float32),
            location=spaces.Box(-1, 1, (num_glimpses * 2,), np.float32),
        )
        self._kept = {
            key: np.zeros((num_envs, *(box.shape or ())), np.float32)
            for key, box in self.space.items()
        }

    def forget(self, rows: npt.NDArray[np.bool_]) -> None:
        """Forget the observations of `rows`, a mask (B,)."""
        for kept in self._kept.values():
            kept[rows] = 0

    def push(self, rows: npt.NDArray[np.bool_], observations: dict[str, Any]) -> None:
        """Add the observations (n, …) of the n rows in the mask `rows` (B,)."""
        for key, kept in self._kept.items():
            newest = np.asarray(observations[key])
            older = kept[rows, newest.shape[1] :]
            kept[rows] = np.concatenate([older, newest], axis=1)

    def observations(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return copies, (B, n·K·C, G, G) and (B, 2 n)."""
        return {key: kept.copy() for key, kept in self._kept.items()}
