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
from ram_agent.player import Gaze
from ram_agent.splits import (
    EVALUATION_ENVS,
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
    episode there is one file, episodes.gif: episodes with the gaze.
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
    envs = make_split(env_id, EVALUATION_ENVS, split, **keywords)
    if not shows_still_images(envs):
        path = command.out / "episodes.gif"
        episodes = pick_episodes(env_id, keywords, split, NUM_SHOWN)
        save_watched(agent, env_id, keywords, path, episodes, split)
        print(f"Written to {path}")
        return
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError('matplotlib is not installed. Run: pip install "ram-gym[figures]"')
    from ram_agent.figures import record_gaze, save_figures

    num_images = min(command.num_images, envs.unwrapped.num_images)  # type: ignore[attr-defined]
    record = record_gaze(agent, envs, num_images)
    errors = {
        f"{gaze} gaze": evaluate(agent, envs, num_episodes=num_images, gaze=gaze).errors
        for gaze in get_args(Gaze)
    }
    for path in save_figures(record, errors, command.out):
        print(f"Written to {path}")
