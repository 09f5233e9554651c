"""What `ram evaluate`, `watch` and `figures` share: a trained agent, and images to look at."""

from __future__ import annotations

import reprlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from ram_agent.agent import RAMAgent
from ram_agent.commands.parsing import UNSET
from ram_agent.looking import class_names
from ram_agent.pretrained_agents import ENDING, pretrained_name
from ram_agent.runs import own_env
from ram_agent.splits import (
    DATASETS,
    check_run_images,
    find_splits,
    lacks_mnist,
    make_split,
    with_other_dataset,
)
from ram_agent.weights import RUN_WEIGHTS
from ram_envs.datasets import Split


def check_one_run(args: list[str]) -> None:
    """Raise ValueError if another argument follows RUN, such as an environment's id."""
    if len(args) > 1 and not any(arg.startswith("-") for arg in args[:2]):
        raise ValueError(
            f"{args[1]!r} is one argument too many. Give one RUN; another environment is given as "
            "--env-id ENV_ID, and other images as --dataset NAME."
        )


def name_run(run: str) -> str:
    """Return the name of an agent, for files that show it: in a run folder, with the folder's."""
    path = Path(pretrained_name(run) or run).resolve()
    if path.is_dir():
        return path.name
    name = path.stem if path.suffix.lower() == ENDING else path.name
    return f"{path.parent.name}-{name}" if name in RUN_WEIGHTS else name


def check_takes(env_id: str, keywords: dict[str, Any], trained_in: str) -> None:
    """Raise ValueError if an environment lacks a keyword of the one an agent was trained in."""
    try:
        find_splits(env_id, keywords)
    except ValueError as error:
        if not isinstance(error.__cause__, TypeError):
            raise
        raise ValueError(
            f"env_id={env_id!r} does not take the keywords {keywords} with which the agent was "
            f"trained in {trained_in}. Give an environment of the same kind."
        ) from error


def warn_of_other_classes(agent: RAMAgent, env_id: str, keywords: dict[str, Any]) -> None:
    """Print a warning if an environment's classes are not those that an agent was trained on."""
    if not (agent.info.get("images") or agent.info.get("dataset") in DATASETS):
        return
    task = make_split(env_id, 1, "test", **keywords).unwrapped.batch.task  # type: ignore[attr-defined]
    own, others = class_names(agent), tuple(task.choice_names)
    if own != others:
        print(
            f"The agent was trained on the classes {reprlib.repr(own)}, and these images have "
            f"{reprlib.repr(others)}. Classes are matched by position.",
            file=sys.stderr,
        )


class Loaded(NamedTuple):
    """An agent, and the environment in which it is measured or shown."""

    agent: RAMAgent
    env_id: str
    keywords: dict[str, Any]
    split: Split


@dataclass(frozen=True)
class Trained:
    """Options of the commands that take a trained agent."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run's folder, the path of a weights file (.safetensors), or pretrained:NAME."""

    env_id: Annotated[str | None, UNSET] = None
    """An environment other than the agent's own, whose glimpses have the same shape."""

    dataset: Annotated[str | None, UNSET] = None
    """A data set other than the agent's own: mnist, digits, or the path of your images."""

    split: Annotated[Split | None, UNSET] = None
    """Which images to use (default: test). A game has no splits."""

    def load(self, only_look: bool = False, **changes: Any) -> Loaded:
        """Load the agent, and find its environment and images.

        Args:
            only_look: nothing is measured, so the embedded digits may replace a missing MNIST.
            changes: keywords of the environment that the user gave; None for those that were not.

        Raises:
            FileNotFoundError: if there are no weights, or the run's own images are gone.
            ValueError: if the environment is unknown; if its images are others than in training,
                and no data set was given; or if a split was given for a game.
        """
        agent = RAMAgent.load(self.run)
        env_id, own_keywords = own_env(agent.info, self.env_id)
        given = {name: value for name, value in changes.items() if value is not None}
        keywords = {**own_keywords, **given}
        if env_id != agent.info["env_id"]:
            check_takes(env_id, keywords, agent.info["env_id"])
        if self.dataset is not None:
            keywords = with_other_dataset(env_id, keywords, self.dataset)
            warn_of_other_classes(agent, env_id, keywords)
        elif only_look and lacks_mnist(env_id, keywords):
            print("MNIST is not available; the embedded digits are shown instead.", file=sys.stderr)
            keywords["dataset"] = "digits"
        elif env_id == agent.info["env_id"]:
            check_run_images(agent.info, env_id, own_keywords)
        if self.split is not None and not find_splits(env_id, keywords):
            raise ValueError(
                f"split={self.split!r}: {env_id} has no images in splits. Leave --split out."
            )
        return Loaded(agent, env_id, keywords, self.split or "test")
