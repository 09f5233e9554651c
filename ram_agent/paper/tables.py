"""The paper's tables: their rows, and the values that the paper and others since report for them.

The two versions of the paper, arXiv 1406.6247v1 and NIPS 2014, print different values, so both are
here, as other texts quote them. Values from memory are marked; no text confirms them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ram_envs.registration import CLASSIFICATION

NONE = "–"
HEADLINE_SEEDS = (0, 1, 2)
Network = Literal["fc-256", "fc-64", "conv", "cnn"]


@dataclass(frozen=True)
class Reported:
    """A value that others report.

    error        percent of wrong decisions, or of lost balls in the game
    source       who reports it, if not the paper
    from_memory  whether no text confirms it
    digits       decimals that its source gives; with none, the value is approximate
    """

    error: float
    source: str = ""
    from_memory: bool = False
    digits: int = 2

    def format(self, is_game: bool) -> str:
        """Return the value for a table; in the game, the percentage of caught balls."""
        value = 100 - self.error if is_game else self.error
        text = f"{value:.{self.digits}f}" if self.digits else f"≈ {value:.0f}"
        if self.from_memory:
            text += "*"
        return f"{text} ({self.source})" if self.source else text


def recalled(error: float, digits: int = 2) -> Reported:
    """Return a value of the paper from memory."""
    return Reported(error, from_memory=True, digits=digits)


@dataclass(frozen=True)
class Others:
    """What others report for a row; a number stands for a value of the paper.

    arxiv, nips  the two versions of the paper
    since        the best result published since
    """

    arxiv: Reported | float | None = None
    nips: Reported | float | None = None
    since: Reported | None = None

    @property
    def nips_error(self) -> float | None:
        """The error in the paper's NIPS version."""
        return self.nips.error if isinstance(self.nips, Reported) else self.nips

    def format(self, is_game: bool) -> list[str]:
        """Return arxiv, nips and since for a table."""
        cells = []
        for value in (self.arxiv, self.nips, self.since):
            known = Reported(value) if isinstance(value, float) else value
            cells.append(NONE if known is None else known.format(is_game))
        return cells


@dataclass(frozen=True)
class Ram:
    """A row of RAM.

    num_glimpses      T; None in the game, whose episodes have a length of their own
    others            what others report
    is_headline       whether it has several seeds, and rows with random and center gaze
    begins_in_middle  whether the first glimpse is in the middle of the canvas; else it is at a
                      random location, as in the paper
    training          settings that replace the table's
    environment       further keywords of its environment
    remark            what the row's name says about them
    """

    num_glimpses: int | None
    others: Others = Others()
    is_headline: bool = False
    begins_in_middle: bool = False
    training: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""

    @property
    def name(self) -> str:
        if self.num_glimpses is None:
            return "RAM"
        where = ", the first in the middle" if self.begins_in_middle else ""
        return f"RAM, {self.num_glimpses} glimpses{where}{self.remark}"

    @property
    def keywords(self) -> dict[str, Any]:
        """Keywords of its environment beside the data set."""
        keywords: dict[str, Any] = {**self.environment}
        if self.num_glimpses is not None:
            keywords["num_glimpses"] = self.num_glimpses
        if self.begins_in_middle:
            keywords["initial_location"] = [0.0, 0.0]
        return keywords

    @property
    def seeds(self) -> tuple[int, ...]:
        return HEADLINE_SEEDS if self.is_headline else (0,)


@dataclass(frozen=True)
class Control:
    """A row of a network on the whole canvas.

    network  its name in `controls.NETWORKS`
    others   what others report
    share    its training canvases, as a share of RAM's; less than 1 for a slow network
    """

    network: Network
    others: Others = Others()
    share: float = 1.0

    @property
    def name(self) -> str:
        return CONTROL_NAMES[self.network]

    @property
    def seeds(self) -> tuple[int, ...]:
        return (0,)


@dataclass(frozen=True)
class Table:
    """A table: its environment and rows.

    name         its name on the command line, and that of its file
    random_gaze  what others report for RAM at random locations
    note         remarks on the other results
    training     settings of RAM that differ from the default preset; controls share the distortion
                 and the mirroring
    start_from   the agent with whose weights each training of RAM begins, if any
    control_episodes
                 canvases that controls are shown, times their share; None: as many as RAM
    """

    name: str
    env_id: str
    rows: tuple[Ram, ...]
    controls: tuple[Control, ...] = ()
    random_gaze: Others = Others()
    note: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    start_from: str | None = None
    control_episodes: int | None = None

    @property
    def is_game(self) -> bool:
        return self.env_id not in CLASSIFICATION

    @property
    def dataset(self) -> str:
        """The data set of its environment by default."""
        return str(CLASSIFICATION.get(self.env_id, {}).get("dataset", "auto"))

    @property
    def has_paper_values(self) -> bool:
        """Whether the paper reports a result for one of the rows."""
        others = [row.others for row in self.rows] + [row.others for row in self.controls]
        return any(each.arxiv or each.nips for each in others)

    @property
    def headline(self) -> Ram:
        (row,) = (row for row in self.rows if row.is_headline)
        return row


# More canvases than in the presets, in batches large enough for a GPU.
LONG_TRAINING = {"episodes": 6_000_000, "batch_size": 2048, "learning_rate": 0.01}
# The same canvases in smaller batches, which is more updates: slower on a GPU, with a lower error.
SMALL_BATCH_TRAINING = {
    "episodes": 6_000_000,
    "batch_size": 512,
    "learning_rate": 5e-3,
    "weight_decay": 0.1,
}
# The preset of canvases with clutter, whose convolutions need fewer of them.
CONV_TRAINING = {"episodes": 4_000_000}
LONG_CONV_TRAINING = {"episodes": 8_000_000}
# Without clutter, or if digits move out of it, RAM overfits to digits that are not distorted.
DISTORTED_CONV_TRAINING = {**CONV_TRAINING, "distortion": 1.0}
# The same for RAMMNIST-v0. Two glimpses from random first locations are an exception: there,
# distortion raised the validation error.
DISTORTED_TRAINING = {**SMALL_BATCH_TRAINING, "distortion": 1.0}
# Elastic digits reduce overfitting further and take longer; used for six and seven glimpses.
ELASTIC_TRAINING = {**DISTORTED_TRAINING, "elastic": 1.0, "episodes": 12_000_000}
# For an agent that can find one digit, and must learn which to look at first and where the other
# is. One that starts from random weights hardly learns with it (docs/recipe.md).
TWO_DIGITS_TRAINING = {**CONV_TRAINING, "location_weight": 1.0}
# Natural images are few, and more varied than digits.
MIRRORED_TRAINING = {"episodes": 1_500_000, "mirror": True}
GAZES = ("random gaze", "center gaze")  # that replace the gaze of the headline's agents
CONTROL_NAMES = {
    "fc-256": "FC 2 × 256, whole canvas",
    "fc-64": "FC 2 × 64, whole canvas",
    "conv": "the paper's conv, whole canvas",
    "cnn": "small modern CNN, whole canvas",
}
CNN = Control("cnn", share=0.25)

_TABLES = (
    Table(
        "mnist",
        "RAMMNIST-v0",
        training=DISTORTED_TRAINING,
        rows=(
            Ram(2, Others(6.27, 3.79), training=LONG_TRAINING),
            Ram(2, Others(6.27, 3.79), begins_in_middle=True),
            Ram(3, Others(recalled(2.7, digits=1), 1.51)),
            Ram(3, Others(recalled(2.7, digits=1), 1.51), begins_in_middle=True),
            Ram(4, Others(1.73, 1.54)),
            Ram(5, Others(1.55, 1.34)),
            Ram(
                6,
                Others(1.29, 1.12, Reported(0.67, "dHonerkamp")),
                is_headline=True,
                training=ELASTIC_TRAINING,
            ),
            Ram(
                7,
                Others(recalled(1.47), 1.07, Reported(0.85, "Torch blog")),
                training=ELASTIC_TRAINING,
            ),
        ),
        controls=(
            Control("fc-256", Others(recalled(1.35), 1.69)),
            Control("fc-64"),
            Control("conv", Others(nips=1.21)),
            CNN,
        ),
        note="The 0.67 may be a mean over several passes; its source does not say. The paper's "
        "first glimpse is at a random location, unlike in our rows that begin in the middle.",
    ),
    Table(
        "translated",
        "RAMTranslatedMNIST-v0",
        training=DISTORTED_CONV_TRAINING,
        control_episodes=6_000_000,
        rows=(
            Ram(4, Others(2.29, 1.54, Reported(1.54, "tfRAM"))),
            Ram(6, Others(1.86, 1.22, Reported(1.08, "tfRAM"))),
            Ram(8, Others(1.84, 1.20, Reported(0.92, "Torch blog, 7 glimpses")), is_headline=True),
        ),
        controls=(
            Control("fc-256", Others(recalled(3.7, digits=1), 2.63)),
            Control("fc-64", Others(recalled(7.56), 6.42)),
            Control("conv", Others(recalled(2.31), 1.62)),
            CNN,
        ),
        note="With 8 glimpses, tfRAM reports 0.94.",
    ),
    Table(
        "cluttered",
        "RAMClutteredMNIST-v0",
        training=CONV_TRAINING,
        control_episodes=6_000_000,
        rows=(
            Ram(4, Others(recalled(7.1, digits=1), 4.96, Reported(5.15, "tfRAM"))),
            Ram(6, Others(recalled(5.88), 4.08, Reported(2.75, "DRAM"))),
            Ram(
                8,
                Others(5.23, 4.04, Reported(2.63, "tfRAM")),
                is_headline=True,
                training=LONG_CONV_TRAINING,
            ),
        ),
        controls=(
            Control("fc-256", Others(recalled(13.2, digits=1), 11.96)),
            Control("fc-64", Others(recalled(28.96), 28.58)),
            Control("conv", Others(7.83, 8.09)),
            CNN,
        ),
        random_gaze=Others(nips=Reported(14.4, digits=1)),
        note="DRAM has a context network, which sees the whole canvas coarsely. tfRAM has an LSTM "
        "core and 10 samples per image in about 290 epochs; with 6 glimpses it reports 3.33.",
    ),
    Table(
        "cluttered100",
        "RAMClutteredMNIST100-v0",
        training=CONV_TRAINING,
        control_episodes=6_000_000,
        rows=(
            Ram(4, Others(14.95, recalled(9.41), Reported(14.86, "tfRAM"))),
            Ram(6, Others(11.58, recalled(8.31), Reported(8.3, "tfRAM", digits=1))),
            Ram(
                8, Others(10.83, recalled(8.11), Reported(5.9, "tfRAM", digits=1)), is_headline=True
            ),
        ),
        controls=(
            Control("fc-256"),
            Control("fc-64"),
            Control("conv", Others(16.51, recalled(14.35))),
            CNN,
        ),
        random_gaze=Others(nips=recalled(28.4, digits=1)),
        note="Others report results with four pieces of clutter, an easier task than these eight: "
        "DRAM 2.68, and 1.71 with a context network.",
    ),
    Table(
        "pairs",
        "RAMPairsMNIST-v0",
        training=TWO_DIGITS_TRAINING,
        start_from="pretrained:cluttered100-mnist-4",
        rows=(
            Ram(4, Others(since=Reported(5.0, "DRAM", digits=1)), is_headline=True),
            Ram(4, Others(since=Reported(5.0, "DRAM", digits=1)), begins_in_middle=True),
            Ram(5, Others(since=Reported(5.0, "DRAM", digits=1)), begins_in_middle=True),
        ),
        controls=(Control("fc-256"), Control("fc-64"), Control("conv"), CNN),
        note="RAM starts from the weights of `pretrained:cluttered100-mnist-4`, trained to find "
        "one digit on four million such canvases, with `location_weight=1`. DRAM (Ba et al. 2015) "
        "names one digit after the other. Before its four glimpses a context network sees the "
        "whole canvas coarsely; our first glimpse in the middle shows nearly as much. Its authors "
        "report 7.0 without that network, and 9.0 for RAM. They do not fully specify how digits "
        "and clutter are placed; here the digits do not overlap and lie among eight pieces.",
    ),
    Table(
        "addition",
        "RAMAdditionMNIST-v0",
        training=TWO_DIGITS_TRAINING,
        start_from="pretrained:pairs-mnist-4",
        rows=(
            Ram(4, Others(since=Reported(2.5, "DRAM", digits=1)), is_headline=True),
            Ram(6),
        ),
        controls=(
            Control("fc-256"),
            Control("fc-64"),
            Control("conv"),
            Control("cnn", Others(since=Reported(3.2, "DRAM's CNN", digits=1)), share=CNN.share),
        ),
        note="RAM starts from the weights of the agent of pairs, with `location_weight=1`. "
        "DRAM is from Ba et al. 2015, who do not fully specify how digits and clutter are placed; "
        "here the digits do not overlap and lie among eight pieces.",
    ),
    Table(
        "moving",
        "RAMMovingMNIST-v0",
        training=DISTORTED_CONV_TRAINING,
        rows=(Ram(4), Ram(8, is_headline=True), Ram(12)),
        controls=(Control("fc-256"), Control("fc-64"), Control("conv"), CNN),
        note="This environment is not from the paper. The networks on the whole canvas see only "
        "the first frame.",
    ),
    Table(
        "cifar10",
        "RAMCIFAR10-v0",
        training=MIRRORED_TRAINING,
        rows=(
            Ram(8),
            Ram(
                16,
                Others(since=Reported(23.6, "APPLE-SAC", digits=1)),
                is_headline=True,
                environment={"glimpse_size": 5, "num_scales": 1, "max_shift": 0.2},
                remark=" of 5 × 5, moves of 0.2",
            ),
        ),
        controls=(Control("fc-256"), Control("fc-64"), Control("conv"), Control("cnn")),
        random_gaze=Others(since=Reported(33.2, "APPLE", digits=1)),
        note="Our rows were measured on a copy of CIFAR-10 that was encoded again as JPEG, and is "
        "not distributed. With the original images errors may differ. Glimpses of 5 × 5 pixels and "
        "moves of at most 0.2 are the settings of ap_gym, with which "
        "APPLE-SAC was trained for 2.5 million steps. In that row random gaze shifts at "
        "random, and center gaze never shifts. The paper has no natural images.",
    ),
    Table(
        "catch",
        "RAMCatch-v0",
        rows=(
            Ram(
                None,
                Others(
                    Reported(15.0, digits=0),
                    Reported(15.0, digits=0),
                    Reported(11.0, "samrudhdhirangrej", digits=0),
                ),
                is_headline=True,
            ),
        ),
        note="The 89 is after 361 million frames, the paper's 85 after 20 million. A player that "
        "foresees every bounce catches 100, one that follows the ball's current column 52, and "
        "random moves 8. An episode is a game of 23 steps.",
    ),
)
TABLES = {table.name: table for table in _TABLES}
