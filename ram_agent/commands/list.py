"""The command `ram list`."""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym
import numpy as np

from ram_envs.datasets import ImageDataset
from ram_envs.registration import CLASSIFICATION, ENVS, SEARCH


def main(args: list[str]) -> None:
    """Print a table of all environments."""
    argparse.ArgumentParser("ram list", description="List the environments.").parse_args(args)
    row = "{:<26} {:>11} {:>9}  {:<18} {}"
    print(row.format("id", "screen", "clutter", "retina", "steps"))
    for env_id in ENVS:
        keywords: dict[str, Any] = {"dataset": "digits"} if env_id in CLASSIFICATION else {}
        if ENVS[env_id].get("dataset") == "cifar10":  # which may not be here
            keywords["dataset"] = ImageDataset(np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, int))
        batch = gym.make(env_id, **keywords).unwrapped.batch  # type: ignore[attr-defined]
        height = batch.task.image_shape[0]
        size, num_scales = batch.retina.glimpse_size, batch.retina.num_scales
        clutter = batch.task.canvas.num_clutter if env_id in CLASSIFICATION else "a game"
        steps = (
            batch.task.num_glimpses
            if env_id in CLASSIFICATION
            else f"up to {batch.task.time_limit}"
            if env_id in SEARCH
            else height - 1
        )
        retina = f"{size} × {size}, {num_scales} scale{'s' * (num_scales > 1)}"
        screen = " × ".join(map(str, batch.task.image_shape))
        print(row.format(env_id, screen, clutter, retina, steps))
