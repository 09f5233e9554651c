"""The command `ram evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from ram_agent.commands.parsing import UNSET, parse
from ram_agent.commands.trained import Trained, check_one_run
from ram_agent.measure import evaluate_all, print_results
from ram_agent.provenance import provenance
from ram_envs.atomic_files import check_writable, write_json


@dataclass(frozen=True)
class Evaluate(Trained):
    """Measure a trained agent, with its own gaze and others: error after each glimpse, or return.

    Examples:
      ram evaluate runs/four
      ram evaluate runs/four --split validation --save validation.json
      ram evaluate runs/four --stop-when-sure 0.9 0.99
      ram evaluate pretrained:cluttered-mnist-8 --canvas-size 100 --num-clutter 8
      ram evaluate pretrained:catch

    Each image of the split is seen once, on its fixed canvas. A game has neither images nor
    labels: the result is the mean return of 10,000 games that were not played in training, or of
    100 in an environment of another package.
    """

    num_glimpses: Annotated[int | None, UNSET] = None
    """The number of glimpses (default: the agent's own)."""

    canvas_size: Annotated[int | None, UNSET] = None
    """The side of the canvas, in pixels (default: the agent's own)."""

    num_clutter: Annotated[int | None, UNSET] = None
    """The number of pieces of clutter (default: the agent's own)."""

    stop_when_sure: Annotated[tuple[float, ...], UNSET] = ()
    """Probabilities at which to answer early: measure the error and the number of glimpses if the
    agent answers as soon as its label is this probable."""

    num_episodes: Annotated[int | None, UNSET] = None
    """Number of images, from the start of the split, or of games (default: the whole split, 10,000
    games, or 100 in an environment of another package)."""

    seed: int = 0
    """Seed of the first locations and of sampled actions. In games, the seed of the first one; each
    next game has the next seed. To play others, raise it by at least --num-episodes."""

    save: Annotated[Path | None, UNSET] = None
    """Write the results to this JSON file."""


def main(args: list[str]) -> None:
    """Measure an agent, print its results, and write them where --save says."""
    check_one_run(args)
    command = parse(Evaluate, "evaluate", args)
    torch.set_num_threads(1)
    if command.save is not None:
        check_writable(command.save)
    agent, env, split = command.load(
        num_glimpses=command.num_glimpses,
        canvas_size=command.canvas_size,
        num_clutter=command.num_clutter,
    )
    result = evaluate_all(
        agent, env, split, command.num_episodes, command.seed, command.stop_when_sure
    )
    images = env.find_split(split)
    print_results(result, env, images)
    if command.save is not None:
        measured = {"env_id": env.env_id, "env_kwargs": env.keywords, "split": images}
        made = {**provenance(), "seed": command.seed, "trained_by": agent.info}
        write_json(command.save, {**measured, **made, "results": result})
        print(f"Written to {command.save}")
