"""Count the inputs and multiply-adds of a decision, for RAM and for networks on the whole canvas.

    python benchmarks/cost.py --save results/cost.json --page docs/cost.md

The counts are the same on every machine. Needs pip install "ram-gym[agent,figures]".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from gymnasium import spaces
from pages import put_table
from torch.utils.flop_counter import FlopCounterMode

from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig
from ram_agent.paper.controls import NETWORKS
from ram_agent.paper.report import make_table
from ram_agent.paper.tables import CONTROL_NAMES
from ram_agent.presets import preset
from ram_agent.provenance import provenance
from ram_envs.atomic_files import write_json

NUM_LABELS = 10
RAM = "RAM"
PAPERS_RAM = "RAM as in the paper"
PRESETS = {RAM: "default", PAPERS_RAM: "paper"}
COLORS = ("C3", "lightcoral", "C0", "C1", "C2", "C4")
RETINA = ("glimpse_size", "num_scales", "num_glimpses")
Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """Count inputs and multiply-adds of a decision on larger and larger canvases."""

    sides: tuple[int, ...] = (28, 60, 100, 256, 1024, 4096)
    """Sides of the canvases in pixels."""

    save: Path | None = None
    """Write the counts to this JSON file, and a picture beside it."""

    page: Path | None = None
    """Page to put the table into, between its two marks."""


def main(settings: Settings) -> None:
    rows = [row for side in settings.sides for row in count(side)]
    table = to_table(rows)
    print(table)
    if settings.save is not None:
        write_json(settings.save, {**provenance(), "rows": rows})
        draw(rows, settings.save.with_suffix(".png"))
    if settings.page is not None:
        put_table(settings.page, table)


def count(side: int) -> Iterator[Row]:
    """Yield the counts of each network for a canvas of side × side."""
    env_id = "RAMMNIST-v0" if side == 28 else "RAMClutteredMNIST-v0"
    for name, which in PRESETS.items():
        yield {"side": side, "name": name, **count_ram(side, preset(which, env_id).agent)}
    for network, make in NETWORKS.items():
        with torch.device("meta"):  # shapes without memory
            module = make((side, side), NUM_LABELS)
            canvas = torch.zeros(1, 1, side, side)
        macs = count_multiply_adds(lambda: module.eval()(canvas))  # noqa: B023  called at once
        yield {
            "side": side,
            "name": CONTROL_NAMES[network].removesuffix(", whole canvas"),
            "pixels_read": side**2,
            "inputs": side**2,
            "multiply_adds": macs,
        }


def choose_retina(side: int) -> tuple[int, int, int]:
    """Return glimpse_size, num_scales and num_glimpses, as in the paper up to 100 × 100.

    A larger canvas has one scale more for each doubling, so that the widest patch always covers
    about half of its width.
    """
    if side == 28:
        return 8, 1, 6
    return 12, 1 + math.ceil(math.log2(side / 2 / 12)), 8


def count_ram(side: int, config: AgentConfig) -> Row:
    """Return the counts of one decision of RAM: T glimpses of K patches of G × G."""
    glimpse_size, num_scales, num_glimpses = choose_retina(side)
    shape = (num_scales, glimpse_size, glimpse_size)
    locations = spaces.Box(-1, 1, (2,))
    agent = RAMAgent(
        spaces.Dict(glimpse=spaces.Box(0, 1, shape), location=locations),
        spaces.Tuple((locations, spaces.Discrete(NUM_LABELS))),
        config,
    )
    observation = {
        "glimpse": np.zeros((1, *shape), np.float32),
        "location": np.zeros((1, 2), np.float32),
    }
    step = count_multiply_adds(lambda: agent.step(observation, agent.initial_state(1)))
    return {
        "glimpse_size": glimpse_size,
        "num_scales": num_scales,
        "num_glimpses": num_glimpses,
        "pixels_read": num_glimpses * (glimpse_size << (num_scales - 1)) ** 2,
        "inputs": num_glimpses * num_scales * glimpse_size**2,
        "multiply_adds": num_glimpses * step,
    }


def count_multiply_adds(forward: Callable[[], object]) -> int:
    """Return the multiply-adds of matrix products and convolutions in a forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward()
    return int(counter.get_total_flops()) // 2


def to_table(rows: list[Row]) -> str:
    """Return a table in Markdown: a row per canvas, multiply-adds in millions."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    body = []
    for side in dict.fromkeys(row["side"] for row in rows):
        of_side = {row["name"]: row for row in rows if row["side"] == side}
        ram = of_side[RAM]
        size, scales, glimpses = (ram[key] for key in RETINA)
        cells = [
            f"{side:,} × {side:,}",
            f"{glimpses} glimpses of {scales} × {size} × {size}",
            f"{ram['inputs']:,}",
            f"{100 * ram['inputs'] / side**2:,.3g}%",
            *(_millions(of_side[name]["multiply_adds"]) for name in names),
        ]
        body.append(cells)
    head = ("canvas", "RAM's retina", "RAM's inputs (all glimpses)", "share of the canvas", *names)
    return make_table(head, body)


def _millions(count: int) -> str:
    millions = count / 1e6
    return f"{millions:,.0f}" if millions >= 100 else f"{millions:.2g}"


def draw(rows: list[Row], path: Path) -> None:
    """Draw multiply-adds and inputs against the side of the canvas, all logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5))
    axes = figure.subplots(1, 2)
    for name, color in zip(dict.fromkeys(row["name"] for row in rows), COLORS, strict=True):
        own = [row for row in rows if row["name"] == name]
        sides = [row["side"] for row in own]
        counts = [row["multiply_adds"] for row in own]
        axes[0].plot(sides, counts, "o-", label=name, color=color, linewidth=1 + 2 * (name == RAM))
    ram = [row for row in rows if row["name"] == RAM]
    sides = [row["side"] for row in ram]
    axes[1].plot(sides, [side**2 for side in sides], "o-", color="black", label="the whole canvas")
    axes[1].plot(
        sides, [row["pixels_read"] for row in ram], "o--", color="C3", label="RAM's retina reads"
    )
    axes[1].plot(
        sides, [row["inputs"] for row in ram], "o-", color="C3", linewidth=3, label="RAM is shown"
    )
    for axis, title in zip(
        axes, ("multiply-adds of a decision", "pixels, or numbers, of a decision"), strict=True
    ):
        axis.set(xscale="log", yscale="log", xlabel="side of the canvas in pixels")
        axis.set_title(title, loc="left")
        axis.set_xticks(sides, [f"{side:,}" for side in sides])
        axis.minorticks_off()
        axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main(tyro.cli(Settings))
