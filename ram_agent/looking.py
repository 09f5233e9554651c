"""`look`: show an agent one picture, and see where it looked and what it took it for."""

from __future__ import annotations

import base64
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.error import DependencyNotInstalled

from ram_agent.agent import RAMAgent
from ram_agent.agent_env import class_names, has_images
from ram_agent.pictures import Frame, make_gif, save_picture
from ram_agent.rollout import play_as_validated
from ram_agent.run_env import RunEnv
from ram_envs.arguments import check_arguments
from ram_envs.bars import draw_bars
from ram_envs.datasets import ImageDataset
from ram_envs.datasets.pixels import PictureWarning, to_pixels
from ram_envs.making import default_keywords, make_vector_env
from ram_envs.rendering import FOG, Scene, draw_frame, to_rgb_array
from ram_envs.retina import pixel_edges
from ram_envs.views import spread_glimpse

BRIGHT_ON_DARK = ("mnist", "digits")  # data sets of bright digits on black


@dataclass(frozen=True)
class Look:
    """An agent's glimpses of one picture, and its label probabilities.

    A notebook shows it as an animation.

    canvas          (H, W[, C]) uint8, what the retina looked at
    locations       (T, 2) float32, (x, y) in [−1, 1], where it looked
    glimpses        (T, K·C, G, G) float32 in [0, 1], what it saw
    probabilities   (T, n) float32, of each label after each glimpse
    class_names     the names of the n labels
    num_scales      K
    """

    canvas: npt.NDArray[np.uint8]
    locations: npt.NDArray[np.float32]
    glimpses: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    class_names: tuple[str, ...]
    num_scales: int

    @property
    def label(self) -> int:
        """The most probable label after the last glimpse."""
        return int(self.probabilities[-1].argmax())

    @property
    def name(self) -> str:
        """The name of that label."""
        return self.class_names[self.label]

    @property
    def probability(self) -> float:
        """The probability of that label."""
        return float(self.probabilities[-1, self.label])

    def __repr__(self) -> str:
        steps = ", ".join(
            f"{self.class_names[row.argmax()]} ({100 * row.max():.0f}%)"
            for row in self.probabilities
        )
        return f"Look({self.name!r}; after each glimpse: {steps})"

    def frames(self, fog: bool = False) -> list[Frame]:
        """Return a picture (560, 960, 3) uint8 for each glimpse.

        Args:
            fog: cover what the retina has not seen.

        Raises:
            DependencyNotInstalled: if pygame is missing.
        """
        edges = pixel_edges(self.locations, *self.canvas.shape[:2])
        seen = np.full((*self.canvas.shape[:2], 3), FOG, np.uint8)
        frames = []
        for step, probs in enumerate(self.probabilities):
            if fog:
                edge = int(edges[step, 0]), int(edges[step, 1])
                grays, is_seen = spread_glimpse(
                    self.glimpses[step], self.num_scales, edge, self.canvas.shape
                )
                seen[is_seen] = grays[is_seen]
            scene = Scene(
                canvas=seen.copy() if fog else self.canvas,
                fixations=edges[: step + 1],
                glimpse=self.glimpses[step],
                num_scales=self.num_scales,
                caption=f"glimpse {step + 1} of {len(self.locations)}",
                choice=self.class_names[probs.argmax()],
                truth=None,
                reward=None,
                over=False,
            )
            frames.append(to_rgb_array(draw_bars(draw_frame(scene), probs, self.class_names)))
        return frames

    def save(self, path: str | Path, fog: bool = False) -> Path:
        """Write an animation (.gif, .mp4), or the last picture (.png); return the path.

        Args:
            path: the file.
            fog: cover what the retina has not seen.

        Raises:
            ValueError: if the path has another extension.
        """
        path = Path(path)
        save_picture([self.frames(fog)], path)
        return path

    def _repr_html_(self) -> str:
        """Return the animation, for notebooks; text where pygame is missing."""
        try:
            frames = self.frames()
        except DependencyNotInstalled:
            return f"<code>{self!r}</code>"
        file = io.BytesIO()
        make_gif([frames], file)
        content = base64.b64encode(file.getvalue()).decode()
        words = f"{self.name}, {100 * self.probability:.0f}% sure"
        return f'<img alt="{words}" width="640" src="data:image/gif;base64,{content}">'


@torch.no_grad()
@check_arguments
def look(
    agent: RAMAgent,
    image: Any,
    *,
    num_glimpses: int | None = None,
    invert: bool = False,
    seed: int = 0,
) -> Look:
    """Show an agent one picture, and return its locations, glimpses and label.

        seen = ram_agent.look(RAMAgent.pretrained("cluttered-mnist-8"), "digit.png")

    The picture becomes gray if the agent sees gray. One that is smaller than the agent's canvas is
    placed in the middle of it; a larger one is reduced until it fits.

    Args:
        agent: an agent of images; its `info` says which canvas it was trained on.
        image: the path of a picture, a PIL image, or an array (H, W[, C]): uint8, or floats in
            [0, 1].
        num_glimpses: T; the agent's own if None.
        invert: exchange black and white; MNIST's digits are bright on black.
        seed: seed of the first location, and of sampled or random ones.

    Raises:
        ValueError: if the agent plays a game, or the picture cannot be read.
        FileNotFoundError: if there is no such file.

    Warns:
        PictureWarning: if the picture is dark on light, and the agent was trained on the opposite.
    """
    settings = canvas_settings(agent)
    num_scales = int(settings["num_scales"])
    channels = agent.glimpse_shape[0] // num_scales
    pixels = _with_channels(read_picture(image), channels)
    pixels = 255 - pixels if invert else pixels
    if not invert and settings["dataset"] in BRIGHT_ON_DARK and np.median(_border(pixels)) > 127:
        warnings.warn(
            "The picture is dark on light, but this agent was trained on white digits on black. "
            "Pass invert=True (on the command line, --invert).",
            PictureWarning,
            stacklevel=4,  # past the decorators of this function
        )
    size = settings["canvas_size"] or pixels.shape[:2]
    canvas = place_on_canvas(pixels, (size, size) if isinstance(size, int) else tuple(size))
    names = class_names(agent)
    envs = make_vector_env(
        "RAMClassification-v0",
        1,
        dataset=ImageDataset(canvas[None], np.zeros(1, np.int64), class_names=names),
        num_glimpses=settings["num_glimpses"] if num_glimpses is None else num_glimpses,
        glimpse_size=agent.glimpse_shape[-1],
        num_scales=num_scales,
        initial_location=settings["initial_location"],
        max_shift=settings["max_shift"],
        autoreset_mode="Disabled",
    )
    rollout = play_as_validated(agent, envs, seed, options={"index": 0})
    return Look(
        canvas=canvas,
        locations=np.concatenate([seen["location"] for seen in rollout.observations]),
        glimpses=np.concatenate([seen["glimpse"] for seen in rollout.observations]),
        probabilities=rollout.choice_logits[:, 0].softmax(-1).cpu().numpy(),
        class_names=names,
        num_scales=num_scales,
    )


def canvas_settings(agent: RAMAgent) -> dict[str, Any]:
    """Return the keywords of the agent's environment, its defaults included.

    Raises:
        ValueError: if it is unknown, or shows no images.
    """
    env = RunEnv.named_in(agent.info)
    settings = {**default_keywords(env.env_id), **env.keywords}
    if not has_images(agent.info):
        raise ValueError(
            f"The agent plays {env.env_id}, which cannot show your picture. Give an agent of "
            'images, such as RAMAgent.pretrained("cluttered-mnist-8").'
        )
    fixed = {"num_scales", "num_glimpses", "canvas_size", "initial_location"} - settings.keys()
    if fixed:  # by a custom class
        batch = agent.make_env().unwrapped.batch  # type: ignore[attr-defined]
        of_class = {
            "num_scales": batch.retina.num_scales,
            "num_glimpses": batch.task.num_glimpses,
            "canvas_size": batch.image_shape[:2],
            "initial_location": batch.initial_location,
        }
        settings |= {name: of_class[name] for name in fixed}
    return {"dataset": None, "max_shift": None, **settings}


def read_picture(image: Any) -> npt.NDArray[np.uint8]:
    """Return a picture as (H, W), or (H, W, 3) if it has colors.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a picture.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(image, str | Path):
        if not Path(image).is_file():
            what = "is a folder" if Path(image).is_dir() else "does not exist"
            raise FileNotFoundError(f"{image} {what}. Give the path of a picture.")
        try:
            with Image.open(image) as opened:
                return to_pixels(opened)
        except UnidentifiedImageError:
            raise ValueError(
                f"{image} is not a picture. Give a PNG or JPEG, for example."
            ) from None
        except OSError as error:
            if error.errno is not None:  # of the file system, such as a missing permission
                raise
            raise ValueError(f"{image} is damaged: {error}. Restore it.") from None
    try:
        return to_pixels(image)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The image cannot be used: {error}") from None


def place_on_canvas(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a canvas of (height, width) with the picture in the middle, reduced if need be."""
    from PIL import Image

    height, width = pixels.shape[:2]
    factor = min(size[0] / height, size[1] / width)
    if factor < 1:
        reduced = max(1, round(width * factor)), max(1, round(height * factor))
        pixels = np.asarray(Image.fromarray(pixels).resize(reduced, Image.Resampling.BOX))
    top, left = (size[0] - pixels.shape[0]) // 2, (size[1] - pixels.shape[1]) // 2
    canvas = np.zeros((*size, *pixels.shape[2:]), np.uint8)
    canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


def _with_channels(pixels: npt.NDArray[np.uint8], channels: int) -> npt.NDArray[np.uint8]:
    """Return the picture gray, or in three colors."""
    from PIL import Image

    if channels not in (1, 3):
        raise ValueError(
            f"The agent sees {channels} channels. `look` shows gray or color pictures."
        )
    image = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
    return np.asarray(image)


def _border(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the outermost pixels."""
    rows, columns = pixels[[0, -1]], pixels[:, [0, -1]]
    return np.concatenate([rows.ravel(), columns.ravel()])
