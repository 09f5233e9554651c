"""Which environment the facts of a run or of an agent name, without running code that they name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from ram_envs.aliases import Env, VectorEnv
from ram_envs.making import import_package, make_env, make_vector_env

if TYPE_CHECKING:
    from ram_agent.agent import RAMAgent
    from ram_agent.player import Gaze

ENV_FACTS = ("env_id", "env_kwargs", "dataset", "images")  # that name an environment


def read_env(facts: Mapping[str, Any], split: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return the id and the keywords of the environment that config.json or `agent.info` names.

    Gymnasium imports the module of "module:id", and so runs it. Since a file may come from an
    untrusted source, only a module that is already imported is allowed.

    Args:
        facts: config.json of a run, or `agent.info`.
        split: added to the keywords where the environment has images.

    Raises:
        ValueError: if the facts name no environment, or one that is not registered.
    """
    env_id, keywords = facts.get("env_id"), read_keywords(facts)
    module, _, name = str(env_id).rpartition(":")
    import_package(name)  # a few known packages, such as ale-py
    if not (module in sys.modules if module else name in gym.registry):
        raise ValueError(
            f"The environment {env_id!r} is not registered. If you trust its module, import it; or "
            "name it on the command line: ram train ENV_ID --resume RUN, or --env-id ENV_ID for "
            "the other commands."
        )
    if split is not None and ("dataset" in keywords or facts.get("images")):
        keywords["split"] = split
    return str(env_id), keywords


def read_keywords(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of the environment that facts name.

    Raises:
        ValueError: if there are none.
    """
    keywords = facts.get("env_kwargs")
    if not isinstance(keywords, dict):
        raise ValueError(
            f"The environment of these weights is unknown: env_kwargs={keywords!r}. Use weights "
            "that `ram train` or `ram_agent.train` wrote."
        )
    return dict(keywords)


def trained_gaze(facts: Mapping[str, Any]) -> Gaze:
    """Return the gaze that `agent.info` names: "learned", or that of a control."""
    training = facts.get("training")
    gaze = training.get("gaze") if isinstance(training, dict) else None
    locations = gaze.get("locations") if isinstance(gaze, dict) else None
    return locations if locations in ("random", "center") else "learned"


def compared_gazes(facts: Mapping[str, Any]) -> list[Gaze]:
    """Return the gazes that are compared: first the agent's own, then random and center."""
    return list(dict.fromkeys((trained_gaze(facts), "random", "center")))


def is_sampled(facts: Mapping[str, Any]) -> bool:
    """Return whether the validations that `agent.info` names sampled locations and choices."""
    training = facts.get("training")
    return isinstance(training, dict) and training.get("validation_sampled") is True


def play_mode(
    facts: Mapping[str, Any], deterministic: bool | None = None, gaze: Gaze | None = None
) -> tuple[bool, Gaze]:
    """Return `deterministic` and the gaze; None stands for what the agent's validations used."""
    if deterministic is None:
        deterministic = not is_sampled(facts)
    return deterministic, gaze or trained_gaze(facts)


def class_names(agent: RAMAgent) -> tuple[str, ...]:
    """Return the names of an agent's labels: those of its images, or its environment's."""
    images = agent.info.get("images")
    names = images.get("class_names", ()) if isinstance(images, Mapping) else ()
    if len(names) == agent.num_choices:
        return tuple(map(str, names))
    has_digits = agent.info.get("dataset") in ("mnist", "digits")
    # MNIST may be unavailable, and the embedded digits have the same names.
    env = agent.make_env(**({"dataset": "digits"} if has_digits else {}))
    found: tuple[str, ...] = env.unwrapped.batch.task.choice_names  # type: ignore[attr-defined]
    return found


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
        env_id, settings = self._find_env(split, keywords)
        env: Env = make_env(env_id, **settings)
        return env

    def make_envs(self, num_envs: int = 100, split: str = "test", **keywords: Any) -> VectorEnv:
        """Return a vector environment of it, with autoreset disabled, for `evaluate` and others.

        Args:
            num_envs: number of sub-environments.
            split, keywords: see `make_env`.

        Raises:
            FileNotFoundError, ValueError: see `make_env`.
        """
        env_id, settings = self._find_env(split, keywords)
        settings = {"autoreset_mode": AutoresetMode.DISABLED, **settings}
        return make_vector_env(env_id, num_envs, **settings)

    def _find_env(self, split: str, keywords: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the environment's id and keywords; the run's own images must be unchanged."""
        from ram_agent.run_env import RunEnv
        from ram_agent.run_images import check_run_images

        env_id, settings = read_env(self.info, split)
        if "dataset" not in keywords:
            check_run_images(self.info, RunEnv(env_id, settings))
        return env_id, {**settings, **keywords}
