"""What `ram evaluate`, `watch` and `figures` share: a trained agent, and images to look at."""

from __future__ import annotations

import contextlib
import reprlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from ram_agent.agent import RAMAgent
from ram_agent.agent_env import class_names
from ram_agent.commands.parsing import UNSET
from ram_agent.pretrained_agents import ENDING, pretrained_name
from ram_agent.run_env import DATASETS, RunEnv
from ram_agent.run_images import check_run_images, lacks_mnist
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


def check_takes(env: RunEnv, trained_in: str) -> None:
    """Raise ValueError if an environment lacks a keyword of the one an agent was trained in."""
    try:
        env.check()
    except ValueError as error:
        if not isinstance(error.__cause__, TypeError):
            raise
        raise ValueError(
            f"env_id={env.env_id!r} does not take the keywords {env.keywords} with which the agent "
            f"was trained in {trained_in}. Give an environment of the same kind."
        ) from error


def warn_of_other_classes(agent: RAMAgent, env: RunEnv) -> None:
    """Print a warning if an environment's classes are not those that an agent was trained on."""
    if not (agent.info.get("images") or agent.info.get("dataset") in DATASETS):
        return
    envs: Any = env.make_split(1, "test")
    with contextlib.closing(envs):
        others = tuple(envs.unwrapped.batch.task.choice_names)
    own = class_names(agent)
    if own != others:
        print(
            f"The agent was trained on the classes {reprlib.repr(own)}, and these images have "
            f"{reprlib.repr(others)}. Classes are matched by position.",
            file=sys.stderr,
        )


class Loaded(NamedTuple):
    """An agent, and the environment in which it is measured or shown."""

    agent: RAMAgent
    env: RunEnv
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
        own, trained_in = RunEnv.named_in(agent.info, self.env_id), agent.info["env_id"]
        given = {name: value for name, value in changes.items() if value is not None}
        env = RunEnv(own.env_id, {**own.keywords, **given})
        if env.env_id != trained_in:
            check_takes(env, trained_in)
        if self.dataset is not None:
            env = env.with_dataset(self.dataset)
            warn_of_other_classes(agent, env)
        elif only_look and lacks_mnist(env):
            print("MNIST is not available; the embedded digits are shown instead.", file=sys.stderr)
            env = env.with_dataset("digits")
        elif env.env_id == trained_in:
            check_run_images(agent.info, own)
        if self.split is not None and not env.splits:
            raise ValueError(
                f"split={self.split!r}: {env.env_id} has no images in splits. Leave --split out."
            )
        return Loaded(agent, env, self.split or "test")
