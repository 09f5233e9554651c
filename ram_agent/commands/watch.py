"""The command `ram watch`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt

from ram_agent.commands.parsing import UNSET, parse
from ram_agent.commands.trained import Trained
from ram_agent.measure import NUM_SHOWN, save_watched
from ram_agent.splits import is_foreign, make_split


@dataclass(frozen=True)
class Watch(Trained):
    """Watch a trained agent look, in a window or as a picture.

    Examples:
      ram watch runs/four
      ram watch runs/four --save four.gif
      ram watch runs/four --save four.png --episodes 6
      ram watch runs/pong --save pong.mp4 --max-steps 1000
      ram watch pretrained:mnist-6 --dataset digits
    """

    save: Annotated[Path | None, UNSET] = None
    """Instead of a window: an animation (.gif, .mp4), or the last frames side by side (.png)."""

    episodes: Annotated[int | None, UNSET] = None
    """How many episodes; 6 if not given, or as many as there are images; 1 in an environment of
    another package."""

    max_steps: Annotated[int | None, UNSET] = None
    """Only so many steps of each episode; 300 where those of another package are saved."""

    fps: Annotated[float | None, UNSET] = None
    """Frames per second; the environment's own if not given."""

    start: int = 0
    """The first episode: the index of an image, or the seed of a game."""

    sampled: bool = False
    """Sample locations and labels instead of taking the mean and the most probable label."""


def main(args: list[str]) -> None:
    """Show an agent's episodes in a window, or write them where --save says."""
    from ram_agent.pictures import check_mp4, play_frames
    from ram_envs.display import Window
    from ram_envs.rendering import FRAME_SIZE, to_surface

    command = parse(Watch, "watch", args)
    for name in ("episodes", "max_steps"):
        if (number := getattr(command, name)) is not None and number < 1:
            raise ValueError(f"{name}={number} is out of range. Give a number from 1.")
    if command.fps is not None and not 0 < command.fps <= 1000:
        raise ValueError(f"fps={command.fps} is out of range. Give a number up to 1000.")
    window = None
    if command.save is None:
        window = Window(title=f"ram watch {command.run}")
        window.open(FRAME_SIZE)  # before the agent is loaded: there may be no display
    else:
        check_mp4(command.save)
    agent, env_id, keywords, split = command.load(
        only_look=True, max_episode_steps=command.max_steps
    )
    envs = make_split(env_id, 1, split, render_mode="rgb_array", **keywords)
    num_shown = 1 if is_foreign(env_id, keywords) else NUM_SHOWN
    end = command.start + (command.episodes or num_shown)
    if command.episodes is None:  # if too many are asked for, the environment refuses
        num_images: int = getattr(envs.unwrapped, "num_images", end)
        end = max(command.start + 1, min(end, num_images))
    episodes, deterministic = range(command.start, end), not command.sampled
    if command.save is not None:
        save_watched(
            agent, env_id, keywords, command.save, episodes, split, deterministic, command.fps
        )
        return print(f"Written to {command.save}")
    assert window is not None
    window.render_fps = command.fps or envs.metadata["render_fps"]

    def show(frame: npt.NDArray[np.uint8]) -> None:
        window.show(to_surface(frame))
        if window.closed:
            raise _Closed

    with contextlib.suppress(_Closed):
        for frames in play_frames(agent, envs, episodes, deterministic, show=show):
            show(frames[-1])
    window.close()


class _Closed(Exception):
    """The user has closed the window."""
