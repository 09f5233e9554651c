r"""Draw each environment, as an agent looks at it, for its manual page: docs/images/ID.gif.

    ram train RAMClassification-v0 --dataset shapes/ --num-scales 2 --episodes 30000 \
        --out runs/shapes
    python tools/draw_environments.py --runs runs/shapes

The folder shapes/ is that of docs/own_images.md. The agents that come with the package look at the
other environments, and the scripted searcher at RAMSearch-v0.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from PIL import Image

from ram_agent.agent import RAMAgent
from ram_agent.pictures import play_frames
from ram_agent.run_env import RunEnv
from ram_envs.atomic_files import write_whole
from ram_envs.gif_files import write_gif
from ram_envs.registration import CATCH, MOVING, dataset_keywords
from ram_envs.rendering import (
    BACKGROUND,
    FAINT_TEXT,
    PATH,
    RIGHT,
    SCALE_COLORS,
    TEXT,
    WRONG,
)
from ram_envs.searcher import Searcher

PRETRAINED = {
    "RAMMNIST-v0": "pretrained:mnist-6",
    "RAMTranslatedMNIST-v0": "pretrained:translated-mnist-8",
    "RAMClutteredMNIST-v0": "pretrained:cluttered-mnist-8",
    "RAMClutteredMNIST100-v0": "pretrained:cluttered100-mnist-8",
    "RAMMovingMNIST-v0": "pretrained:moving-mnist-8",
    "RAMPairsMNIST-v0": "pretrained:pairs-mnist-4",
    "RAMAdditionMNIST-v0": "pretrained:addition-mnist-4",
    "RAMCatch-v0": "pretrained:catch",
}
IMAGES = Path(__file__).parent.parent / "docs" / "images"
SIZE = (480, 350)
COLORS = 24
MAX_BYTES = 150_000


def draw(agent: RAMAgent, env_id: str, keywords: dict[str, Any]) -> Path:
    """Write an animation of test episodes, as many as fit into MAX_BYTES; return its path."""
    envs = RunEnv(env_id, keywords).make_split(1, "test", render_mode="rgb_array")
    path = IMAGES / f"{env_id}.gif"
    for num_episodes in (3, 2, 1):
        frames, durations = [], []
        # Images from the whole split, since it may be sorted by class.
        apart = getattr(envs.unwrapped, "num_images", 0) // 3 + 1
        for episode in play_frames(agent, envs, [apart * n for n in range(num_episodes)]):
            images = [Image.fromarray(frame) for frame in episode]
            frames += [image.resize(SIZE, Image.Resampling.LANCZOS) for image in images]
            pause = 125 if env_id in CATCH else 350 if env_id in MOVING else 700
            durations += [pause] * (len(episode) - 1) + [1500]
        save_gif(frames, durations, path)
        if path.stat().st_size <= MAX_BYTES:
            break
    return path


def draw_search() -> Path:
    """Write an animation of two searches by the scripted searcher; return its path."""
    env: Any = gym.make("RAMSearch-v0", render_mode="rgb_array")
    searcher = Searcher(env.unwrapped.batch.task.image_shape)
    frames, durations = [], []
    for seed in (3, 5):
        observation, _ = env.reset(seed=seed)
        state, over = None, False
        while True:
            frames.append(Image.fromarray(env.render()).resize(SIZE, Image.Resampling.LANCZOS))
            durations.append(1500 if over else 700)
            if over:
                break
            action, state = searcher.predict(observation, state)
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
    path = IMAGES / "RAMSearch-v0.gif"
    save_gif(frames, durations, path)
    return path


def save_gif(frames: list[Image.Image], durations: list[int], path: Path) -> None:
    """Write an animated GIF that repeats forever."""
    palette = make_palette(frames)
    shown = zip(map(np.asarray, frames), durations, strict=True)
    write_whole(path, lambda file: write_gif(file, shown, palette=palette))


def make_palette(frames: list[Image.Image]) -> Image.Image:
    """Return an image with one palette for all frames, so that a GIF stores only what changes."""
    width, height = frames[0].size
    sheet = Image.new("RGB", (width, height * len(frames)))
    for place, frame in enumerate(frames):
        sheet.paste(frame, (0, height * place))
    # Keep the drawing's own colors, bright and dim, although few pixels have them.
    found = (sheet.quantize(COLORS).getpalette() or [])[: 3 * COLORS]
    named = (*SCALE_COLORS, PATH, RIGHT, WRONG, TEXT, FAINT_TEXT)
    own = [
        round(b + (c - b) * share)
        for share in (1, 0.6, 0.3)
        for color in named
        for c, b in zip(color, BACKGROUND, strict=True)
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*found, *own])
    return palette


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw each environment for its manual page.")
    parser.add_argument("--runs", nargs="*", default=[], help="folders of runs of other agents")
    parser.add_argument("--dataset", default="mnist", help="for the package's agents")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(draw_search())
    for env_id, run in PRETRAINED.items():
        print(draw(RAMAgent.load(run), env_id, dataset_keywords(env_id, options.dataset)))
    for run in options.runs:
        agent = RAMAgent.load(run)
        print(draw(agent, agent.info["env_id"], agent.info["env_kwargs"]))


if __name__ == "__main__":
    main()
