"""The environment of moving digits: keywords, and its manual page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from gymnasium.vector import AutoresetMode

from ram_envs.arguments import suggest_keywords
from ram_envs.datasets import ImageDataset, Split, load_dataset
from ram_envs.datasets.loading import list_dataset_splits
from ram_envs.envs.classification import DatasetFacts, make_canvas
from ram_envs.glimpse_env import GlimpseEnv, GlimpseVectorEnv
from ram_envs.retina import Retina
from ram_envs.tasks.canvas import Canvas
from ram_envs.tasks.moving import MovingClassification


class MovingEnv(DatasetFacts, GlimpseEnv):
    """Follow a digit that drifts and bounces among drifting clutter, then name it.

    ## Description

    The cluttered task of "Recurrent Models of Visual Attention" (Mnih et al. 2014, section 4.1),
    set in motion, which the paper does not do. A digit and four pieces cut from other digits drift
    over a screen of 60 × 60 pixels and bounce off its walls. Every glimpse shows the next frame, so
    the digit has moved on by the time the agent looks again. After T glimpses it must decide.
    `ram_envs.tasks.moving` contains the exact rules.

    ## Action space

    `Tuple(Box(-1, 1, (2,), float32), Discrete(n))`: the next location (x, y), where (−1, −1) is
    the screen's top-left corner and (0, 0) its center, and a label. Locations outside the box are
    clipped.

    ## Observation space

    `Dict(glimpse=Box(0, 1, (K·C, G, G), float32), location=Box(-1, 1, (2,), float32))`: what the
    retina returned of the new frame, K scales of C channels, the sharp inner patch first, and where
    it looked.

    ## Rewards

    1 if the label of the T-th step is the digit's, else 0; 0 at every earlier step.

    ## Starting state

    A uniformly random image of the split, or `reset(options={"index": i})`; digit and clutter at
    random places with random speeds; the first glimpse at a uniformly random location, or at
    `initial_location`. Training episodes are drawn at random. In validation and test, every frame
    is a fixed function of the image's index, whatever the seed.

    ## Episode end

    Terminated at the T-th step; never truncated by default. The glimpse of `reset` counts, so the
    T-th label is based on T glimpses of T frames.

    ## Info

    `label` (the true class: supervision for the hybrid loss; a policy must not read it) and
    `index` (which image of the split), at reset and at every step.

    ## Arguments

    - `dataset="auto"`: "mnist", "digits" (embedded), "auto" (MNIST if available, else the
      digits with a warning), the path of a folder or an .npz, an `ImageDataset` (used whole
      for every split), or three of them (train, validation, test).
    - `split="train"`, "validation" or "test".
    - `splits=None`: "all" uses all images of a path without splits for every split.
    - `num_glimpses=8`: T, the number of steps.
    - `glimpse_size=12`, `num_scales=3`: G and K of the retina.
    - `canvas_size=60`: a side or (height, width) of the screen in pixels.
    - `num_clutter=4`, `clutter_size=8`: the number of pieces, and their side in pixels.
    - `max_speed=2.0`: speeds are uniform in [−max_speed, max_speed] pixels a frame, down and across
      each; at most the free space of the images.
    - `distortion=0.0`, `elastic=0.0`: the strength of random affine and elastic maps of training
      images, 0 to 4 (`ram_envs.tasks.distortion`).
    - `initial_location=None`: (x, y) of the first glimpse; None for uniformly random.
    - `render_mode=None`: "rgb_array" or "human" (needs pygame: `pip install "ram-gym[play]"`).
    - `autoreset_mode` (vector only): as in Gymnasium; NEXT_STEP is the default.
    - `max_episode_steps`: as in Gymnasium; by default episodes are not truncated.

    ## Version history

    - v0: initial version.
    """

    @suggest_keywords
    def __init__(
        self,
        *,
        dataset: str | Path | ImageDataset | Sequence[ImageDataset] = "auto",
        split: Split = "train",
        splits: Literal["all"] | None = None,
        num_glimpses: int = 8,
        glimpse_size: int = 12,
        num_scales: int = 3,
        canvas_size: int | Sequence[int] | None = 60,
        num_clutter: int = 4,
        clutter_size: int = 8,
        max_speed: float = 2.0,
        distortion: float = 0.0,
        elastic: float = 0.0,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        images = load_dataset(dataset, split, splits)
        canvas = make_canvas(
            Canvas, images, split, canvas_size, num_clutter, clutter_size, distortion, elastic
        )
        task = MovingClassification(images, canvas, num_glimpses, max_speed, split != "train")
        retina = Retina(glimpse_size, num_scales)
        super().__init__(task, retina, initial_location, render_mode)
        self.splits = list_dataset_splits(dataset, splits)


class MovingVectorEnv(DatasetFacts, GlimpseVectorEnv):
    """`num_envs` environments `MovingEnv` in one, many times faster, with the same keywords."""

    @suggest_keywords
    def __init__(
        self,
        num_envs: int = 1,
        *,
        dataset: str | Path | ImageDataset | Sequence[ImageDataset] = "auto",
        split: Split = "train",
        splits: Literal["all"] | None = None,
        num_glimpses: int = 8,
        glimpse_size: int = 12,
        num_scales: int = 3,
        canvas_size: int | Sequence[int] | None = 60,
        num_clutter: int = 4,
        clutter_size: int = 8,
        max_speed: float = 2.0,
        distortion: float = 0.0,
        elastic: float = 0.0,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
    ) -> None:
        images = load_dataset(dataset, split, splits)
        canvas = make_canvas(
            Canvas, images, split, canvas_size, num_clutter, clutter_size, distortion, elastic
        )
        task = MovingClassification(images, canvas, num_glimpses, max_speed, split != "train")
        retina = Retina(glimpse_size, num_scales)
        super().__init__(
            task,
            retina,
            num_envs,
            initial_location,
            render_mode,
            autoreset_mode,
            max_episode_steps,
        )
        self.splits = list_dataset_splits(dataset, splits)
