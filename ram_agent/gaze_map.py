"""Where an agent looks in a world whose screen changes: a heat map over the mean picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ram_agent.agent import RAMAgent
from ram_agent.play_mode import play_mode
from ram_agent.player import Player, check_envs, noise_source
from ram_envs.aliases import VectorEnv
from ram_envs.arguments import check_arguments
from ram_envs.picture_batch import Layout
from ram_envs.retina import pixel_edges
from ram_envs.wrappers.vector import ThroughRetina, find_seen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPREAD = 1 / 60  # standard deviation of a fixation's spot, in widths of the picture


@dataclass(frozen=True)
class GazeMap:
    """What N steps of an agent looked at.

    canvas  (H, W) or (H, W, 3), the mean picture; of stacked frames, the newest
    counts  (H + 1, W + 1), how often the retina rested at each pixel edge
    """

    canvas: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


@torch.no_grad()
@check_arguments
def record_gaze_map(
    agent: RAMAgent,
    envs: VectorEnv,
    num_steps: int,
    seed: int = 0,
    deterministic: bool | None = None,
) -> GazeMap:
    """Let an agent play, and count its fixations; a control keeps the gaze of its training.

    Args:
        agent: the agent.
        envs: a vector environment of glimpses, in any autoreset mode.
        num_steps: steps of each sub-environment.
        seed: of the environments, and of the agent's noise.
        deterministic: mean locations and most probable choices, instead of samples; if None, as
            in the agent's validations.

    Raises:
        TypeError, ValueError: if the agent does not fit the environments.
    """
    check_envs(agent, envs, any_mode=True)
    deterministic, gaze = play_mode(agent.info, deterministic)
    seen, player = find_seen(envs), Player(agent, envs, gaze)
    height, width = seen.batch.image_shape[:2]
    counts = np.zeros((height + 1, width + 1), np.int64)
    total = np.zeros_like(seen.canvases[0], np.float64)
    generator = noise_source(envs, seed)
    player.begin(seed)
    for _ in range(num_steps):
        step = player.step(deterministic, generator=generator)
        x, y = pixel_edges(step.observation["location"], height, width).T
        np.add.at(counts, (y, x), 1)
        total += seen.canvases.mean(0)
    canvas = total / num_steps
    layout = Layout(canvas.shape, channels_first=False)
    if isinstance(seen, ThroughRetina):
        layout = seen.batch.layout
    if canvas.ndim == 3:
        canvas = canvas[..., layout.newest_channels]
        canvas = canvas[..., 0] if canvas.shape[-1] == 1 else canvas
    return GazeMap(canvas, counts)


def draw_gaze_map(gaze_map: GazeMap) -> Figure:
    """Draw the mean picture, and over it where the gaze rested."""
    import matplotlib.pyplot as plt

    height, width = gaze_map.canvas.shape[:2]
    picture = gaze_map.canvas / 255
    figure, axes = plt.subplots(1, 2, figsize=(8, 4.4 * height / width), layout="constrained")
    extent = (0, width, height, 0)
    gray = picture if picture.ndim == 2 else picture.mean(-1)
    axes[0].imshow(picture, cmap="gray", vmin=0, vmax=1, extent=extent)
    axes[1].imshow(gray * 0.6, cmap="gray", vmin=0, vmax=1, extent=extent)
    heat = blur(gaze_map.counts, SPREAD * max(height, width))
    heat = heat / max(heat.max(), 1e-9)
    borders = (-0.5, width + 0.5, height + 0.5, -0.5)
    axes[1].imshow(heat, cmap="inferno", alpha=np.sqrt(heat), extent=borders)
    axes[0].set_title("mean picture", fontsize=10)
    axes[1].set_title(f"gaze, {gaze_map.counts.sum():,} fixations", fontsize=10)
    for axis in axes:
        axis.set(xlim=(0, width), ylim=(height, 0))
        axis.axis("off")
    return figure


def blur(counts: npt.NDArray[Any], deviation: float) -> npt.NDArray[np.float64]:
    """Return counts (h, w), each spread as a Gaussian."""
    reach = max(1, round(3 * deviation))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    kernel /= kernel.sum()
    blurred = np.apply_along_axis(
        np.convolve, 0, np.pad(counts.astype(float), reach), kernel, "valid"
    )
    return np.apply_along_axis(np.convolve, 1, blurred, kernel, "valid")
