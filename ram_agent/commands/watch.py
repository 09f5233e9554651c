"""The command `ram watch`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ram_agent.commands.parsing import UNSET, parse
from ram_agent.commands.trained import Trained
from ram_agent.measure import NUM_SHOWN, save_watched
from ram_agent.splits import make_split


@dataclass(frozen=True)
class Watch(Trained):
    """Watch a trained agent look, in a window or as a picture.

    Examples:
      ram watch runs/four
      ram watch runs/four --save four.gif
      ram watch runs/four --save four.png --episodes 6
      ram watch pretrained:mnist-6 --dataset digits
    """

    save: Annotated[Path | None, UNSET] = None
    """Instead of a window: an animation (.gif), or the last frames side by side (.png)."""

    episodes: Annotated[int | None, UNSET] = None
    """How many episodes; 6 if not given, or as many as there are images."""

    start: int = 0
    """The first episode: the index of an image, or the seed of a game."""

    sampled: bool = False
    """Sample locations and labels instead of taking the mean and the most probable label."""


def main(args: list[str]) -> None:
    """Show an agent's episodes in a window, or write them where --save says."""
    from ram_agent.pictures import play_frames
    from ram_envs.display import Window
    from ram_envs.rendering import FRAME_SIZE, to_surface

    command = parse(Watch, "watch", args)
    if command.episodes is not None and command.episodes < 1:
        raise ValueError(f"episodes={command.episodes} is out of range. Give a number from 1.")
    window = None
    if command.save is None:
        window = Window(title=f"ram watch {command.run}", render_fps=2)
        window.open(FRAME_SIZE)  # before the agent is loaded: there may be no display
    agent, env_id, keywords, split = command.load(only_look=True)
    envs = make_split(env_id, 1, split, render_mode="rgb_array", **keywords)
    end = command.start + (command.episodes or NUM_SHOWN)
    if command.episodes is None:  # if too many are asked for, the environment refuses
        num_images: int = getattr(envs.unwrapped, "num_images", end)
        end = max(command.start + 1, min(end, num_images))
    episodes = range(command.start, end)
    if command.save is not None:
        save_watched(agent, env_id, keywords, command.save, episodes, split, not command.sampled)
        return print(f"Written to {command.save}")
    assert window is not None
    for frames in play_frames(agent, envs, episodes, not command.sampled):
        for frame in (*frames, frames[-1]):
            window.show(to_surface(frame))
            if window.closed:
                return
    window.close()
