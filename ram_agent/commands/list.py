"""The command `ram list`."""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym

from ram_envs.registration import CLASSIFICATION, ENVS, SEARCH


def main(args: list[str]) -> None:
    """Print a table of all environments."""
    argparse.ArgumentParser("ram list", description="List the environments.").parse_args(args)
    row = "{:<26} {:>9} {:>9}  {:<18} {}"
    print(row.format("id", "screen", "clutter", "retina", "steps"))
    for env_id in ENVS:
        keywords: dict[str, Any] = {"dataset": "digits"} if env_id in CLASSIFICATION else {}
        batch = gym.make(env_id, **keywords).unwrapped.batch  # type: ignore[attr-defined]
        height, width = batch.task.image_shape[:2]
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
        print(row.format(env_id, f"{height} × {width}", clutter, retina, steps))
