"""The environments of still images: keywords, and their manual page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from gymnasium.vector import AutoresetMode

from ram_envs.arguments import suggest_keywords
from ram_envs.checks import checked_sides
from ram_envs.datasets import ImageDataset, Split, load_dataset
from ram_envs.datasets.loading import list_dataset_splits
from ram_envs.glimpse_env import GlimpseEnv, GlimpseVectorEnv
from ram_envs.retina import Retina
from ram_envs.tasks.canvas import Canvas
from ram_envs.tasks.classification import ImageClassification
from ram_envs.tasks.distortion import Distortion

AnyCanvas = TypeVar("AnyCanvas", bound=Canvas)


class DatasetFacts:
    """Facts about the data set of an environment of images.

    Attributes:
        dataset_name: the name of the data set, which dataset="auto" leaves open.
        num_images: the number of images in the split.
        splits: ("train", "validation", "test"), or ("all",) where all are the same images.
    """

    batch: Any  # the GlimpseBatch, whose task has the data set
    splits: tuple[str, ...]

    @property
    def dataset_name(self) -> str:
        return str(self.batch.task.dataset.name)

    @property
    def num_images(self) -> int:
        return len(self.batch.task.dataset)


class ClassificationEnv(DatasetFacts, GlimpseEnv):
    """Look at an image through a retina for a few glimpses, then name it.

    ## Description

    The classification tasks of "Recurrent Models of Visual Attention" (Mnih et al. 2014, section
    4.1), and natural images. An image lies on a canvas, in some ids at a random place and among
    clutter: pieces cut from other images. The agent never sees the canvas, only a glimpse around
    the location it chose. After T glimpses it must decide.

    | id | canvas | clutter | retina | T |
    |---|---|---|---|---|
    | `RAMMNIST-v0` | 28 × 28, the image itself | none | 8 × 8, 1 scale | 6 |
    | `RAMTranslatedMNIST-v0` | 60 × 60 | none | 12 × 12, 3 scales | 6 |
    | `RAMClutteredMNIST-v0` | 60 × 60 | 4 pieces of 8 × 8 | 12 × 12, 3 scales | 6 |
    | `RAMClutteredMNIST100-v0` | 100 × 100 | 8 pieces of 8 × 8 | 12 × 12, 4 scales | 8 |
    | `RAMCIFAR10-v0` | 32 × 32 × 3, the image itself | none | 8 × 8, 2 scales | 8 |
    | `RAMClassification-v0` | the user's images | none | 8 × 8, 1 scale | 6 |

    `RAMCIFAR10-v0` shows the 60,000 pictures of CIFAR-10 (Krizhevsky 2009), of ten classes, in
    color; the last 5,000 training images are the validation split. With `glimpse_size=5`,
    `num_scales=1`, `num_glimpses=16` and `ram_envs.wrappers.RelativeGaze(env, 0.2)` it has the
    glimpses and moves of ap_gym's CIFAR-10 environment.

    ## Action space

    `Tuple(Box(-1, 1, (2,), float32), Discrete(n))`: the next location (x, y), where (−1, −1) is
    the canvas's top-left corner and (0, 0) its center, and a label. Locations outside the box are
    clipped.

    ## Observation space

    `Dict(glimpse=Box(0, 1, (K·C, G, G), float32), location=Box(-1, 1, (2,), float32))`: what the
    retina returned, K scales of C channels, the sharp inner patch first, and where it looked.

    ## Rewards

    1 if the label of the T-th step is the image's, else 0; 0 at every earlier step.

    ## Starting state

    A uniformly random image of the split, or `reset(options={"index": i})`. The first glimpse is
    at a uniformly random location, or at `initial_location`. Training canvases are redrawn
    for each episode. Validation and test canvases are a fixed function of the image's index,
    whatever the seed, so the test canvases are the same for everyone.

    ## Episode end

    Terminated at the T-th step; never truncated by default. The glimpse of `reset` counts, so the
    T-th label is based on T glimpses, and the T-th location affects only the terminal observation.

    ## Info

    `label` (the true class: supervision for the hybrid loss; a policy must not read it) and
    `index` (which image of the split), at reset and at every step.

    ## Arguments

    - `dataset="auto"`: "mnist", "digits" (embedded), "auto" (MNIST if available, else the digits
      with a warning), "cifar10", the path of a folder or an .npz
      (`ram_envs.datasets.own_images`), an `ImageDataset` (used whole for every split), or three
      of them (train, validation, test). `RAMCIFAR10-v0` has "cifar10".
    - `split="train"`, "validation" or "test".
    - `splits=None`: "all" uses all images of a path without splits for every split; by default
      they are divided 70/15/15.
    - `num_glimpses=6`: T, the number of steps.
    - `glimpse_size=8`, `num_scales=1`: G and K of the retina.
    - `canvas_size=None`: a side or (height, width) in pixels; None for the image's own size.
    - `num_clutter=0`, `clutter_size=8`: the number of pieces, and their side in pixels.
    - `distortion=0.0`: the strength of random affine maps of training images, 0 to 4; 1 is strong
      for digits (`ram_envs.tasks.distortion`). Validation and test images stay as they are.
    - `elastic=0.0`: the same for random elastic maps.
    - `mirror=False`: whether training images are flipped horizontally with probability ½, as is
      usual for natural images.
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
        num_glimpses: int = 6,
        glimpse_size: int = 8,
        num_scales: int = 1,
        canvas_size: int | Sequence[int] | None = None,
        num_clutter: int = 0,
        clutter_size: int = 8,
        distortion: float = 0.0,
        elastic: float = 0.0,
        mirror: bool = False,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        images = load_dataset(dataset, split, splits)
        canvas = make_canvas(
            Canvas,
            images,
            split,
            canvas_size,
            num_clutter,
            clutter_size,
            distortion,
            elastic,
            mirror,
        )
        task = ImageClassification(images, canvas, num_glimpses, split != "train")
        retina = Retina(glimpse_size, num_scales)
        super().__init__(task, retina, initial_location, render_mode)
        self.splits = list_dataset_splits(dataset, splits)


class ClassificationVectorEnv(DatasetFacts, GlimpseVectorEnv):
    """`num_envs` environments `ClassificationEnv` in one, many times faster, with its keywords."""

    @suggest_keywords
    def __init__(
        self,
        num_envs: int = 1,
        *,
        dataset: str | Path | ImageDataset | Sequence[ImageDataset] = "auto",
        split: Split = "train",
        splits: Literal["all"] | None = None,
        num_glimpses: int = 6,
        glimpse_size: int = 8,
        num_scales: int = 1,
        canvas_size: int | Sequence[int] | None = None,
        num_clutter: int = 0,
        clutter_size: int = 8,
        distortion: float = 0.0,
        elastic: float = 0.0,
        mirror: bool = False,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
    ) -> None:
        images = load_dataset(dataset, split, splits)
        canvas = make_canvas(
            Canvas,
            images,
            split,
            canvas_size,
            num_clutter,
            clutter_size,
            distortion,
            elastic,
            mirror,
        )
        task = ImageClassification(images, canvas, num_glimpses, split != "train")
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


def make_canvas(
    kind: type[AnyCanvas],
    dataset: ImageDataset,
    split: Split,
    canvas_size: int | Sequence[int] | None,
    num_clutter: int,
    clutter_size: int,
    distortion: float,
    elastic: float,
    mirror: bool = False,
) -> AnyCanvas:
    """Return the canvas for a split's images that the keywords describe.

    Images are distorted and mirrored in training only.

    Raises:
        ValueError: if the sizes do not fit, a size of pieces is given and there are none, or
            `distortion`, `elastic` or `mirror` is wrong, in any split.
    """
    image_shape = dataset.images.shape[1:]
    sides = image_shape[:2]
    if canvas_size is not None:
        sides = checked_sides("canvas_size", canvas_size, ", or None")
    if not isinstance(mirror, bool):
        raise ValueError(f"mirror={mirror!r} is not a bool. Give True or False.")
    is_training, distorted = split == "train", Distortion(distortion, elastic)
    canvas = kind(
        shape=(*sides, *image_shape[2:]),
        image_shape=image_shape,
        num_clutter=num_clutter,
        clutter_size=clutter_size,
        distortion=distorted if distorted and is_training else None,
        mirror=mirror and is_training,
    )
    if not num_clutter and clutter_size != Canvas.clutter_size:
        raise ValueError(
            f"clutter_size={clutter_size} has no effect with num_clutter=0. Give num_clutter, too, "
            "or leave it out."
        )
    return canvas
