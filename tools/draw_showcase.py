"""Draw the pictures of README and landing page, by the agents that come with the package.

    python tools/draw_showcase.py

    docs/images/hero.gif      an agent looks at cluttered digits through fog
    docs/images/preview.png   the same, still, for previews of links
    docs/images/retina.png    what three patches show of one canvas
    docs/images/learning.png  how much each look raises the true label's probability

`make pictures` draws these and all others.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from draw_environments import save_gif
from PIL import Image

from ram_agent.agent import RAMAgent
from ram_agent.looking import Look, look
from ram_envs.atomic_files import write_whole
from ram_envs.rendering import SCALE_COLORS
from ram_envs.retina import pixel_edges
from ram_envs.views import patch_boxes

IMAGES = Path(__file__).parent.parent / "docs" / "images"
AGENT = "cluttered-mnist-8"
CANVASES = (7, 25, 61)  # test canvases of which the first look shows little
SIZE = (720, 420)
MILLISECONDS, LAST_MILLISECONDS = 650, 1800


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist", help="of the canvases")
    options = parser.parse_args()
    torch.set_num_threads(1)
    agent = RAMAgent.pretrained(AGENT)
    env: Any = agent.make_env(dataset=options.dataset)
    looks, labels = [], []
    for index in CANVASES:
        _, info = env.reset(seed=0, options={"index": index})
        labels.append(int(info["label"]))
        looks.append(look(agent, env.unwrapped.canvas.copy(), seed=index))
    for path in (
        draw_hero(looks),
        draw_preview(looks[0]),
        draw_retina(looks[0]),
        draw_learning(looks[0], labels[0]),
    ):
        print(f"Written to {path}")


def draw_hero(looks: list[Look]) -> Path:
    """Draw one look after another, through fog."""
    frames: list[Image.Image] = []
    durations: list[int] = []
    for seen in looks:
        pictures = [
            Image.fromarray(frame).resize(SIZE, Image.Resampling.LANCZOS)
            for frame in seen.frames(fog=True)
        ]
        frames += pictures
        durations += [MILLISECONDS] * (len(pictures) - 1) + [LAST_MILLISECONDS]
    path = IMAGES / "hero.gif"
    save_gif(frames, durations, path)
    return path


def draw_preview(seen: Look) -> Path:
    """Draw the last look on a background of 1200 × 630 pixels, the size of link previews."""
    picture = Image.fromarray(seen.frames(fog=True)[-1])
    ground = Image.new("RGB", (1200, 630), (22, 24, 29))
    ground.paste(picture, ((1200 - picture.width) // 2, (630 - picture.height) // 2))
    path = IMAGES / "preview.png"
    write_whole(path, partial(ground.save, format="PNG", optimize=True))
    return path


def draw_retina(seen: Look) -> Path:
    """Draw a canvas with the squares of the retina, and what each of its patches shows."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    num_scales, size = seen.glimpses.shape[1:3]
    step = 1
    height, width = seen.canvas.shape[:2]
    edge = pixel_edges(seen.locations[step], height, width)
    boxes = patch_boxes(edge, [size << scale for scale in range(num_scales)])
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots(1, num_scales + 1)
    axes[0].imshow(seen.canvas, cmap="gray", extent=(0, width, height, 0))
    axes[0].set_title(f"canvas, {width} × {height}", fontsize=10)
    for scale, (left, top, right, _) in enumerate(boxes):
        color = np.divide(SCALE_COLORS[scale], 255)
        side = right - left
        axes[0].add_patch(Rectangle((left, top), side, side, fill=False, color=color, lw=2))
        axis = axes[scale + 1]
        axis.imshow(seen.glimpses[step, scale], cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{side} × {side} pixels, {size} × {size} cells", fontsize=10)
        for spine in axis.spines.values():
            spine.set(color=color, linewidth=3)
        axis.set(xticks=[], yticks=[])
    axes[0].set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    path = IMAGES / "retina.png"
    write_whole(path, partial(figure.savefig, format="png", dpi=110))
    return path


def draw_learning(seen: Look, label: int) -> Path:
    """Draw the true label's probability after each look, and what each look added to it."""
    from matplotlib.figure import Figure

    probs = seen.probabilities[:, label]
    before = np.concatenate([[1 / len(seen.class_names)], probs[:-1]])
    steps = np.arange(1, len(probs) + 1)
    figure = Figure(figsize=(6, 3), layout="constrained")
    axis = figure.subplots()
    axis.bar(
        steps, probs - before, bottom=before, width=0.6, color="#56b4e9", label="gain of the look"
    )
    axis.plot(steps, probs, "o-", color="#e69f00", label="probability of the true label")
    axis.set(xlabel="glimpse", ylim=(0, 1.05), xticks=steps)
    axis.legend(frameon=False, loc="lower right")
    path = IMAGES / "learning.png"
    write_whole(path, partial(figure.savefig, format="png", dpi=110))
    return path


if __name__ == "__main__":
    main()
