"""The environment in which an agent was trained."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gymnasium.vector import AutoresetMode

from ram_agent.run_env import RunEnv
from ram_agent.run_images import check_run_images
from ram_envs.aliases import Env, VectorEnv
from ram_envs.making import default_keywords, make_env, make_vector_env

if TYPE_CHECKING:
    from ram_agent.agent import RAMAgent


class MakesItsEnv:
    """The environment that an agent was trained in, as `info` names it."""

    info: dict[str, Any]

    def make_env(self, split: str = "test", **keywords: Any) -> Env:
        """Return the environment that this agent was trained in.

        Args:
            split: which images; a game has no splits.
            keywords: keywords of the environment that differ, such as render_mode or dataset.

        Raises:
            FileNotFoundError: if the data set of its training is gone, and no dataset is given.
            ValueError: if `info` names no environment, or one that is not registered; or if the
                data set of its training has changed, and no dataset is given.
        """
        own = self._find_env(split, keywords)
        env: Env = make_env(own.env_id, **own.keywords)
        return env

    def make_envs(self, num_envs: int = 100, split: str = "test", **keywords: Any) -> VectorEnv:
        """Return a vector environment of it, with autoreset disabled, for `evaluate` and others.

        Args:
            num_envs: number of sub-environments.
            split, keywords: see `make_env`.

        Raises:
            FileNotFoundError, ValueError: see `make_env`.
        """
        own = self._find_env(split, keywords)
        settings = {"autoreset_mode": AutoresetMode.DISABLED, **own.keywords}
        return make_vector_env(own.env_id, num_envs, **settings)

    def _find_env(self, split: str, keywords: Mapping[str, Any]) -> RunEnv:
        """Return the environment of a split; the run's own images must be unchanged."""
        own = RunEnv.named_in(self.info)
        if "dataset" not in keywords:
            check_run_images(self.info, own)
        splits = {"split": split} if has_images(self.info) else {}
        return RunEnv(own.env_id, {**own.keywords, **splits, **keywords})


def has_images(info: Mapping[str, Any]) -> bool:
    """Return whether `agent.info` names an environment of images, without making it.

    That of a game has images=None, whatever its keywords; an agent of the package has no "images".
    """
    keywords = {**default_keywords(info["env_id"]), **info["env_kwargs"]}
    return bool(info.get("images", keywords.get("dataset")))


def class_names(agent: RAMAgent) -> tuple[str, ...]:
    """Return the names of an agent's labels: those of its images, or its environment's."""
    images = agent.info.get("images")
    names = images.get("class_names", ()) if isinstance(images, Mapping) else ()
    if len(names) == agent.num_choices:
        return tuple(map(str, names))
    # MNIST may be unavailable, and the embedded digits have the same names.
    has_digits = agent.info.get("dataset") in ("mnist", "digits")
    instead = {"dataset": "digits"} if has_digits else {}
    with contextlib.closing(agent.make_env(**instead)) as env:
        found: tuple[str, ...] = env.unwrapped.batch.task.choice_names  # type: ignore[attr-defined]
        return found
