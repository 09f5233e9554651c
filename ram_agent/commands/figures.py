"""The command `ram figures`."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from ram_agent.commands.parsing import parse
from ram_agent.commands.trained import Trained
from ram_agent.evaluation import evaluate
from ram_agent.measure import NUM_SHOWN, save_watched
from ram_agent.rollout import Gaze
from ram_agent.splits import (
    count_evaluation_envs,
    is_foreign,
    make_split,
    pick_episodes,
    shows_still_images,
)
from ram_envs.atomic_files import check_writable


@dataclass(frozen=True)
class Figures(Trained):
    """Draw figures of a trained agent's gaze for slides (pip install "ram-gym[figures]").

    Examples:
      ram figures runs/four
      ram figures pretrained:cluttered-mnist-8 --num-images 10000 --out slides

    paths.png: fixations on canvases. glimpses.png: each glimpse and the labels' probabilities.
    heat_maps.png: the first, second, … fixation relative to the image's center. errors.png: error
    after each glimpse. failures.png: the most confident errors. Where the screen changes during an
    episode: episodes.gif, episodes with the gaze, and gaze_map.png, a heat map of all fixations.
    """

    out: Path = Path("figures")
    """The folder of the pictures."""

    num_images: int = 2_000
    """How many images, the first of the split; all, if there are fewer."""


def main(args: list[str]) -> None:
    """Draw every figure into the folder that --out names."""
    command = parse(Figures, "figures", args)
    torch.set_num_threads(1)
    check_writable(command.out / "episodes.gif")
    agent, env_id, keywords, split = command.load(only_look=True)
    envs = make_split(env_id, count_evaluation_envs(env_id, keywords), split, **keywords)
    if not shows_still_images(envs):
        path = command.out / "episodes.gif"
        num_shown = 1 if is_foreign(env_id, keywords) else NUM_SHOWN
        episodes = pick_episodes(env_id, keywords, split, num_shown)
        save_watched(agent, env_id, keywords, path, episodes, split)
        print(f"Written to {path}")
    if importlib.util.find_spec("matplotlib") is None:
        if not shows_still_images(envs):
            return print('gaze_map.png needs matplotlib: pip install "ram-gym[figures]".')
        raise ValueError('matplotlib is not installed. Run: pip install "ram-gym[figures]"')
    if not shows_still_images(envs):
        from ram_agent.gaze_map import record_gaze_map, save_gaze_map

        path = command.out / "gaze_map.png"
        save_gaze_map(record_gaze_map(agent, envs), path)
        return print(f"Written to {path}")
    from ram_agent.figures import record_gaze, save_figures

    num_images = min(command.num_images, envs.unwrapped.num_images)  # type: ignore[attr-defined]
    record = record_gaze(agent, envs, num_images)
    errors = {
        f"{gaze} gaze": evaluate(agent, envs, num_episodes=num_images, gaze=gaze).errors
        for gaze in get_args(Gaze)
    }
    for path in save_figures(record, errors, command.out):
        print(f"Written to {path}")
