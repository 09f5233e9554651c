"""The command `ram evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from ram_agent.commands.parsing import parse
from ram_agent.measure import evaluate_all, print_results, title_results
from ram_agent.provenance import provenance
from ram_agent.runs import load_trained
from ram_agent.splits import choose_split, name_split
from ram_envs.atomic_files import write_json
from ram_envs.datasets import Split


@dataclass(frozen=True)
class Evaluate:
    """Measure a trained agent beside random and center gaze: its error after each glimpse.

    Examples:
      ram evaluate runs/four
      ram evaluate runs/four --split validation --save validation.json
      ram evaluate runs/four --stop-when-sure 0.9 0.99
      ram evaluate pretrained:cluttered-mnist-8 --canvas-size 100 --num-clutter 8
      ram evaluate pretrained:catch

    Each image of the split is seen once, on its fixed canvas. A game has neither images nor
    labels: the result is the mean return of 10,000 games that were not played in training.
    """

    run: tyro.conf.Positional[str]
    """A run's folder, the path of a weights file (.safetensors), or pretrained:NAME."""

    split: Split | None = None
    """Which images; test if not given. A game has no splits."""

    env_id: str | None = None
    """Another environment than the agent's own, whose glimpses have the same shape."""

    dataset: str | None = None
    """Another data set than the agent's own: mnist, digits, or the path of your images."""

    num_glimpses: int | None = None
    """Another number of glimpses than the agent's own."""

    canvas_size: int | None = None
    """Another side of the canvas, in pixels, than the agent's own."""

    num_clutter: int | None = None
    """Another number of pieces of clutter than the agent's own."""

    stop_when_sure: tuple[float, ...] = ()
    """Probabilities: the agent answers as soon as its label is so probable; counts its glimpses."""

    num_episodes: int | None = None
    """Only the first so many images, or so many games; the whole split, or 10,000, if not given."""

    seed: int = 0
    """Seed of the first locations and of sampled actions."""

    save: Path | None = None
    """Write the results to this JSON file."""


def main(args: list[str]) -> None:
    """Measure an agent, print its results, and write them where --save says."""
    command = parse(Evaluate, "evaluate", args)
    torch.set_num_threads(1)
    agent, env_id, keywords = load_trained(
        command.run,
        command.env_id,
        dataset=command.dataset,
        num_glimpses=command.num_glimpses,
        canvas_size=command.canvas_size,
        num_clutter=command.num_clutter,
    )
    split = choose_split(env_id, keywords, command.split)
    result = evaluate_all(
        agent,
        env_id,
        split,
        command.num_episodes,
        command.seed,
        keywords,
        command.stop_when_sure,
    )
    images = name_split(env_id, keywords, split)
    print_results(result, title_results(env_id, keywords, images))
    if command.save is not None:
        measured = {"env_id": env_id, "env_kwargs": keywords, "split": images}
        made = {**provenance(), "seed": command.seed, "trained_by": agent.info}
        write_json(command.save, {**measured, **made, "results": result})
        print(f"Written to {command.save}")
