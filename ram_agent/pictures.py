"""Episodes of an agent, drawn: as frames for a window, or as a GIF, MP4 or PNG."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tqdm import tqdm

from ram_agent.agent import RAMAgent
from ram_agent.player import Gaze, count_images
from ram_agent.rollout import play_as_validated
from ram_agent.run_env import RunEnv
from ram_envs.aliases import VectorEnv
from ram_envs.arguments import check_arguments
from ram_envs.atomic_files import write_bytes, write_whole
from ram_envs.datasets import Split
from ram_envs.gif_files import write_gif

Frame = npt.NDArray[np.uint8]

ENDINGS = (".gif", ".mp4", ".png")
FPS = 2.0
MAX_GIF_MILLISECONDS = 655_350  # of a frame: 16 bits of hundredths of a second
LAST_FRAME_MILLISECONDS = 1500  # so that the result can be read
SHEET_WIDTH = 1536
NUM_SHOWN = 6  # episodes in a picture
FOREIGN_STEPS = 300  # of an episode of another package: a game of Atari may have 27,000


@torch.no_grad()
@check_arguments
def play_frames(
    agent: RAMAgent,
    envs: VectorEnv,
    episodes: Sequence[int],
    deterministic: bool | None = None,
    *,
    gaze: Gaze | None = None,
    last_only: bool = False,
) -> Iterator[list[Frame]]:
    """Yield the frames of one episode after another, (height, width, 3) uint8 each.

    Args:
        agent: the agent.
        envs: a vector environment of one, with render_mode "rgb_array" and autoreset DISABLED.
        episodes: indices of images where the environment has images, else seeds. They also seed
            the agent's noise.
        deterministic: take the mean location and the most probable choice instead of sampling; if
            None, as in the agent's validations.
        gaze: the locations: "learned", the agent's; or "random", "center". If None, that of the
            agent's training.
        last_only: draw only the last frame of each episode.
    """
    has_images = count_images(envs) is not None
    for episode in episodes:
        frames: list[Frame] = []

        def draw(frames: list[Frame] = frames) -> None:
            drawn: Any = envs.render() or ()
            frames.extend(drawn)

        play_as_validated(
            agent,
            envs,
            seed=episode,
            options={"index": episode} if has_images else None,
            deterministic=deterministic,
            gaze=gaze,
            on_step=None if last_only else draw,
        )
        if last_only:
            draw()
        yield frames


@check_arguments
def save_picture(episodes: Sequence[Sequence[Frame]], path: Path, fps: float = FPS) -> None:
    """Write episodes as an animation (.gif, .mp4), or their last frames side by side (.png).

    Args:
        episodes: the frames of each.
        path: the file.
        fps: frames per second of an animation; the last of an episode stays longer.

    Raises:
        ValueError: if the path has another extension, fps is not positive or too low for a GIF, or
            imageio-ffmpeg is missing for .mp4.
    """
    slowest = 1000 / MAX_GIF_MILLISECONDS if path.suffix == ".gif" else 0
    if not slowest < fps < math.inf:
        raise ValueError(f"fps={fps} is out of range. Give a number above {slowest:.3g}.")
    check_ending(path)
    if path.suffix == ".gif":
        write_whole(path, lambda file: make_gif(episodes, file, fps))
    elif path.suffix == ".mp4":
        _save_mp4(episodes, path, fps)
    else:
        _save_sheet([frames[-1] for frames in episodes], path)


def save_watched(
    agent: RAMAgent,
    envs: VectorEnv,
    path: Path,
    episodes: Sequence[int],
    sampled: bool = False,
    fps: float | None = None,
) -> None:
    """Draw episodes of an agent into a .gif, .mp4 or .png.

    `envs` is what `make_drawn` returned. Locations and choices are sampled where that is asked for,
    or validations did so; `fps` is the environment's if None.
    """
    last_only = path.suffix == ".png"
    frames = play_frames(agent, envs, episodes, False if sampled else None, last_only=last_only)
    shown = list(tqdm(frames, "drawing", len(episodes), disable=None, leave=False))
    save_picture(shown, path, fps or envs.metadata["render_fps"])


def make_drawn(env: RunEnv, split: Split) -> VectorEnv:
    """Make one environment that is drawn; that of another package has a time limit."""
    is_limited = env.is_foreign and "max_episode_steps" not in env.keywords
    limit = {"max_episode_steps": FOREIGN_STEPS} if is_limited else {}
    return env.make_split(1, split, render_mode="rgb_array", **limit)


def make_gif(episodes: Sequence[Sequence[Frame]], file: IO[bytes], fps: float = FPS) -> None:
    """Write episodes as an animation into an open file."""
    pause = max(20, round(1000 / fps))  # milliseconds: viewers slow down what is faster
    shown: list[tuple[Frame, int]] = []
    for *frames, last in episodes:
        shown += [(frame, pause) for frame in frames]
        shown.append((last, max(pause, LAST_FRAME_MILLISECONDS)))
    write_gif(file, shown)


def _save_mp4(episodes: Sequence[Sequence[Frame]], path: Path, fps: float) -> None:
    import imageio_ffmpeg

    rest = max(1, round(LAST_FRAME_MILLISECONDS / 1000 * fps))
    height, width = episodes[0][0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        size = width, height
        with contextlib.closing(imageio_ffmpeg.write_frames(str(made), size, fps=fps)) as writer:
            writer.send(None)  # starts it
            for frames in episodes:
                for frame in (*frames, *[frames[-1]] * (rest - 1)):
                    writer.send(np.ascontiguousarray(frame))
        write_bytes(path, made.read_bytes())


def check_ending(path: Path) -> None:
    """Raise ValueError if no picture can be written there.

    The extension is unknown, or it is .mp4 and imageio-ffmpeg is missing.
    """
    if path.suffix not in ENDINGS:
        found = f"ends in {path.suffix!r}" if path.suffix else "has no extension"
        raise ValueError(f"{path} {found}. Choose a name that ends in {', '.join(ENDINGS)}.")
    if path.suffix == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ValueError(
            f'{path} needs imageio-ffmpeg. Run: pip install "ram-gym[video]", or write a .gif.'
        )


def _save_sheet(frames: Sequence[Frame], path: Path) -> None:
    height, width = frames[0].shape[:2]
    columns = min(3, len(frames))
    cell_width = SHEET_WIDTH // columns
    cell_height = height * cell_width // width
    sheet = Image.new("RGB", (SHEET_WIDTH, cell_height * math.ceil(len(frames) / columns)))
    for place, frame in enumerate(frames):
        cell = Image.fromarray(frame).resize((cell_width, cell_height), Image.Resampling.LANCZOS)
        row, column = divmod(place, columns)
        sheet.paste(cell, (column * cell_width, row * cell_height))
    write_whole(path, lambda file: sheet.save(file, "PNG", optimize=True))
