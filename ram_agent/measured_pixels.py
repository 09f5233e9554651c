"""Measure how to normalize an environment's pixels, where the settings leave it open."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np

from ram_agent.config import AgentConfig
from ram_agent.run_env import RunEnv

LEAST_SPREAD = 0.01  # lower bound of the measured root mean square, which may be 0
MEASURED_STEPS = 300  # of random play
MEASURED_PIXELS = 4096  # sampled from each glimpse; all of them may not fit into memory


def measure_pixels(env: RunEnv, agent: AgentConfig) -> AgentConfig:
    """Return the settings with pixel_mean and pixel_scale measured where they are None.

    In random play, the normalized pixels have median 0 and root mean square 1. The median maps a
    uniform background to exactly 0; the mean would not.
    """
    if agent.pixel_mean is not None and agent.pixel_scale is not None:
        return agent
    seen = []
    with contextlib.closing(env.make()) as played:
        played.action_space.seed(0)
        observation, _ = played.reset(seed=0)
        places = np.random.default_rng(0).permutation(observation["glimpse"].size)[:MEASURED_PIXELS]
        for _ in range(MEASURED_STEPS):
            seen.append(observation["glimpse"].flat[places])
            observation, _, terminated, truncated, _ = played.step(played.action_space.sample())
            if terminated or truncated:
                observation, _ = played.reset()
    pixels = np.stack(seen)
    mean = float(np.median(pixels)) if agent.pixel_mean is None else agent.pixel_mean
    spread = max(float(np.sqrt(np.mean((pixels - mean) ** 2))), LEAST_SPREAD)
    scale = 1 / spread if agent.pixel_scale is None else agent.pixel_scale
    return dataclasses.replace(agent, pixel_mean=_round(mean), pixel_scale=_round(scale))


def _round(value: float) -> float:
    return float(f"{value:.3g}")
