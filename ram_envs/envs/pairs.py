"""The environments of two digits on one canvas: keywords, and their manual page."""

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
from ram_envs.tasks.pairs import Answer, PairCanvas, PairClassification


class PairsEnv(DatasetFacts, GlimpseEnv):
    """Find two digits on a large canvas among clutter, and name the pair or the sum.

    ## Description

    The tasks of "Multiple Object Recognition with Visual Attention" (Ba, Mnih & Kavukcuoglu 2015,
    arXiv 1412.7755, section 4), which followed "Recurrent Models of Visual Attention". Two digits
    lie on a canvas of 100 × 100 pixels, among pieces cut from other digits. The agent never sees
    the canvas, only a glimpse around the location it chose. After four glimpses it must decide.

    | id | label | choices |
    |---|---|---|
    | `RAMPairsMNIST-v0` | both digits, in either order: "3 and 7" | 55 |
    | `RAMAdditionMNIST-v0` | their sum: "10" | 19 |

    Both ids show the same canvases and differ only in the label, which is a single choice. The
    authors' network names one digit after the other.

    The papers do not fully specify the authors' canvases: the number, size and places of
    the pieces, whether digits may overlap or be cut by the border, and whether the second digit is
    drawn with replacement. Compare errors with theirs with caution. Here both digits lie wholly
    inside and do not overlap, among eight pieces of 8 × 8. `ram_envs.tasks.pairs` contains the
    exact rules.

    ## Action space

    `Tuple(Box(-1, 1, (2,), float32), Discrete(n))`: the next location (x, y), where (−1, −1) is
    the canvas's top-left corner and (0, 0) its center, and a label: for pairs of ten classes 0 is
    "0 and 0", 1 is "0 and 1", …, 10 is "1 and 1", …, 54 is "9 and 9". The task's `choice_names`
    has all names. Locations outside the box are clipped.

    ## Observation space

    `Dict(glimpse=Box(0, 1, (K·C, G, G), float32), location=Box(-1, 1, (2,), float32))`: what the
    retina returned, K scales of C channels, the sharp inner patch first, and where it looked.

    ## Rewards

    1 if the label of the T-th step is right, else 0; 0 at every earlier step.

    ## Starting state

    The first digit is a uniformly random image of the split, or that of
    `reset(options={"index": i})`. The second digit is drawn from the split with replacement. Places
    are uniform among all that do not overlap. The first glimpse is at a uniformly random location,
    or at `initial_location`. Training canvases are redrawn for each episode, also with an index.
    Validation and test canvases, the second digit included, are a fixed function of the index,
    whatever the seed: as many canvases as the split has images.

    ## Episode end

    Terminated at the T-th step; never truncated by default. The glimpse of `reset` counts, so the
    T-th label is based on T glimpses, and the T-th location affects only the terminal observation.

    ## Info

    `label` (the true choice: supervision for the hybrid loss; a policy must not read it) and
    `index` (which image of the split is the first digit), at reset and at every step.

    ## Arguments

    - `answer="pair"`: or "sum", which needs classes that are the numbers from 0.
    - `dataset="auto"`: "mnist", "digits" (embedded), "auto" (MNIST if available, else the digits
      with a warning), the path of a folder or an .npz, an `ImageDataset` (used whole for
      every split), or three of them (train, validation, test).
    - `split="train"`, "validation" or "test".
    - `splits=None`: "all" uses all images of a path without splits for every split.
    - `num_glimpses=4`: T, the number of steps.
    - `glimpse_size=12`, `num_scales=4`: G and K of the retina.
    - `canvas_size=100`: a side or (height, width) in pixels; two images must fit side by side.
    - `num_clutter=8`, `clutter_size=8`: the number of pieces, and their side in pixels.
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
        answer: Answer = "pair",
        dataset: str | Path | ImageDataset | Sequence[ImageDataset] = "auto",
        split: Split = "train",
        splits: Literal["all"] | None = None,
        num_glimpses: int = 4,
        glimpse_size: int = 12,
        num_scales: int = 4,
        canvas_size: int | Sequence[int] | None = 100,
        num_clutter: int = 8,
        clutter_size: int = 8,
        distortion: float = 0.0,
        elastic: float = 0.0,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        images = load_dataset(dataset, split, splits)
        canvas = make_canvas(
            PairCanvas, images, split, canvas_size, num_clutter, clutter_size, distortion, elastic
        )
        task = PairClassification(images, canvas, num_glimpses, split != "train", answer)
        retina = Retina(glimpse_size, num_scales)
        super().__init__(task, retina, initial_location, render_mode)
        self.splits = list_dataset_splits(dataset, splits)


class PairsVectorEnv(DatasetFacts, GlimpseVectorEnv):
    """`num_envs` environments `PairsEnv` in one, many times faster, with its keywords."""

    @suggest_keywords
    def __init__(
        self,
        num_envs: int = 1,
        *,
        answer: Answer = "pair",
        dataset: str | Path | ImageDataset | Sequence[ImageDataset] = "auto",
        split: Split = "train",
        splits: Literal["all"] | None = None,
        num_glimpses: int = 4,
        glimpse_size: int = 12,
        num_scales: int = 4,
        canvas_size: int | Sequence[int] | None = 100,
        num_clutter: int = 8,
        clutter_size: int = 8,
        distortion: float = 0.0,
        elastic: float = 0.0,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
    ) -> None:
        images = load_dataset(dataset, split, splits)
        canvas = make_canvas(
            PairCanvas, images, split, canvas_size, num_clutter, clutter_size, distortion, elastic
        )
        task = PairClassification(images, canvas, num_glimpses, split != "train", answer)
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
