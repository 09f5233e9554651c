"""The environment of a run, by its id and keywords, and what a training needs to know of it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode

from ram_agent.spaces import channels_of, check_spaces
from ram_envs.aliases import VectorEnv
from ram_envs.datasets import Split
from ram_envs.device_env import place_envs
from ram_envs.making import (
    find_keywords,
    find_spec,
    has_dataset,
    import_package,
    is_atari,
    make_env,
    make_vector_env,
    resolve_env_id,
    shows_glimpses,
)
from ram_envs.picture_batch import IN_COMMANDS, NoPictureError
from ram_envs.wrappers import find_seen

EVALUATION_ENVS = 500  # sub-environments: divides every split of MNIST
FOREIGN_ENVS = 20  # of other packages, which are slower and play longer
DATASETS = ("mnist", "digits", "cifar10")  # that are found by name
GPU = "cuda"  # the type of the devices on which environments can be


class _Facts(NamedTuple):
    """What is found out about an environment by making it; see the properties of `RunEnv`."""

    splits: tuple[str, ...]
    has_labels: bool
    num_channels: int | None


@dataclass(frozen=True)
class RunEnv:
    """An environment by its id and keywords. What its class does not say is seen by making it once.

    The environment says which splits it has (`env.unwrapped.splits`): so a custom id that is built
    on a classification environment is trained, validated and tested on different images, too.

    env_id    its id
    keywords  those of every split
    """

    env_id: str
    keywords: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def named_in(cls, facts: Mapping[str, Any], named: str | None = None) -> RunEnv:
        """Return the environment that config.json of a run, or `agent.info`, names.

        Gymnasium imports the module of "module:id", and so runs it. Since a file may come from an
        untrusted source, only a module that is already imported is allowed.

        Args:
            facts: config.json of a run, or `agent.info`.
            named: the id that the user named, whose module is imported; the facts' own if None.

        Raises:
            ValueError: if the facts name no environment, or one that is not registered.
        """
        keywords = facts.get("env_kwargs")
        if not isinstance(keywords, dict):
            raise ValueError(
                f"The environment of these weights is unknown: env_kwargs={keywords!r}. Use "
                "weights that `ram train` or `ram_agent.train` wrote."
            )
        if named is not None:
            return cls(resolve_env_id(named), dict(keywords))
        env_id = str(facts.get("env_id"))
        module, _, name = env_id.rpartition(":")
        import_package(name)  # a few known packages, such as ale-py
        if not (module in sys.modules if module else name in gym.registry):
            raise ValueError(
                f"The environment {env_id!r} is not registered. If you trust its module, import "
                "it; or name it on the command line: ram train ENV_ID --resume RUN, or --env-id "
                "ENV_ID for the other commands."
            )
        return cls(env_id, dict(keywords))

    @property
    def name(self) -> str:
        """The id, the data set if there is one, and the other keywords."""
        others = {name: value for name, value in self.keywords.items() if name != "dataset"}
        dataset = [self.keywords["dataset"]] if "dataset" in self.keywords else []
        words = (f"{name}={value}" for name, value in others.items())
        return ", ".join([self.env_id, *dataset, *words])

    def check(self) -> None:
        """Make it, if that has not been done.

        Raises:
            ValueError: if it shows neither glimpses nor pictures, cannot be made with the keywords,
                or has spaces that an agent does not support.
        """
        _ = self._facts

    @property
    def splits(self) -> tuple[str, ...]:
        """Its splits: three names, ("all",), or () where it has no data set."""
        return self._facts.splits

    @property
    def has_splits(self) -> bool:
        """Whether it has images in splits; where its class says so, without making it."""
        return has_dataset(self.env_id) or bool(self.splits)

    @property
    def has_labels(self) -> bool:
        """Whether it gives true labels: those of its images, or of its task."""
        return self.has_splits or self._facts.has_labels

    @property
    def num_channels(self) -> int | None:
        """The channels of its image, 1 or 3; None if it does not say."""
        return self._facts.num_channels

    @cached_property
    def is_foreign(self) -> bool:
        """Whether it shows pictures, which are looked at through the retina."""
        return not self._make(lambda env_id, **own: shows_glimpses(env_id, own), self.keywords)

    @property
    def num_evaluation_envs(self) -> int:
        """The number of sub-environments that are evaluated side by side."""
        return FOREIGN_ENVS if self.is_foreign else EVALUATION_ENVS

    @property
    def training_keywords(self) -> dict[str, Any]:
        """Keywords of the training environments alone: there, Atari's rewards are clipped.

        Empty where the user's keywords say whether they are.
        """
        clips = is_atari(find_spec(self.env_id)) and "reward_clipping" not in self.keywords
        return {"reward_clipping": True} if clips else {}

    def find_split(self, split: Split) -> str | None:
        """Return the name of the images that `split` stands for: "all" if there is one split only.

        None for a game, which has no images.
        """
        return split if split in self.splits else next(iter(self.splits), None)

    def make(self, **options: Any) -> Any:
        """Make a single environment.

        Raises:
            ValueError: if it cannot be made with the keywords.
        """
        return self._make(make_env, {**self.keywords, **options})

    def make_split(self, num_envs: int, split: Split, **options: Any) -> VectorEnv:
        """Make a vector environment of a split; a game has no splits.

        It does not reset itself. One of another package does, unless it is drawn: in the same step,
        which ale-py's many games can do, or in the next one where rendered frames are looked at.
        """
        mode, keywords = AutoresetMode.DISABLED, {**self.keywords, **options}
        if self.has_splits:
            keywords["split"] = split
            if gym.spec(self.env_id.rpartition(":")[2]).vector_entry_point is None:
                raise ValueError(
                    f"{self.env_id} has no vector environment, which images in splits need. "
                    "Register it with vector_entry_point, such as a subclass of "
                    "ram_envs.envs.classification.ClassificationVectorEnv."
                )
        elif keywords.get("render_mode") is None and self.is_foreign:
            is_rendered = keywords.get("source") == "render"
            mode = AutoresetMode.NEXT_STEP if is_rendered else AutoresetMode.SAME_STEP
        envs: VectorEnv = self._make(
            make_vector_env, keywords, num_envs=num_envs, autoreset_mode=mode
        )
        return envs

    def place_split(
        self, device: torch.device, num_envs: int, split: Split, **options: Any
    ) -> VectorEnv:
        """Make a vector environment of a split, on the device if that is a GPU and supports it."""
        envs = self.make_split(num_envs, split, **options)
        return place_envs(envs, device) if device.type == GPU else envs

    def with_found_dataset(self, in_training: dict[str, Any] | None = None) -> RunEnv:
        """Return this environment with the data set that was found: its name, or an absolute path.

        Args:
            in_training: keywords of the training environments alone, which are checked too.

        Raises:
            TypeError: if the data set is not a name or a path.
            ValueError: if the environment cannot be made with them.
        """
        given = self.keywords.get("dataset", "")
        if not isinstance(given, str | Path):
            raise TypeError(
                f"dataset has the type {type(given).__name__}, and a run can store only a name or "
                "a path. Save the images as an .npz file (docs/own_images.md) and give its path."
            )
        with contextlib.closing(self.make_split(1, "train", **(in_training or {}))) as envs:
            found = getattr(envs.unwrapped, "dataset_name", None)
        names = find_keywords(self.env_id)
        if found in DATASETS and (given or names is None or "dataset" in names):
            return RunEnv(self.env_id, {**self.keywords, "dataset": found})
        path = Path(given).expanduser()
        if "dataset" in self.keywords and path.exists():
            return RunEnv(self.env_id, {**self.keywords, "dataset": os.path.abspath(path)})
        return self

    def with_dataset(self, dataset: str) -> RunEnv:
        """Return this environment with another data set, without keywords that only paths have."""
        of_paths = ("splits", "background") if dataset in (*DATASETS, "auto") else ()
        kept = {name: value for name, value in self.keywords.items() if name not in of_paths}
        return RunEnv(self.env_id, {**kept, "dataset": dataset}).with_found_dataset()

    @cached_property
    def _facts(self) -> _Facts:
        with contextlib.closing(self.make()) as env:
            self._check_spaces(env)
            if self.is_foreign:
                return _Facts((), False, (*find_seen(env).batch.image_shape, 1)[2])
            splits = getattr(env.unwrapped, "splits", ())
            has_labels = bool(splits) or "label" in env.reset(seed=0)[1]
            return _Facts(splits, has_labels, channels_of(env))

    def _check_spaces(self, env: Any) -> None:
        actions = env.action_space
        if isinstance(actions, gym.spaces.Tuple) and not isinstance(
            actions[1], gym.spaces.Discrete
        ):
            raise ValueError(
                f"{self.env_id} has the action space {actions[1]}, but RAM needs Discrete actions. "
                "Some environments have them as an option, such as --env-kwargs continuous=False."
            )
        try:
            check_spaces(env.observation_space, actions)
        except TypeError as error:
            raise ValueError(f"{self.env_id}: {error}") from None

    def _make(self, make: Any, keywords: dict[str, Any], **options: Any) -> Any:
        """Call a maker; an error that is not meant for users is named with its cause."""
        try:
            return make(self.env_id, **options, **keywords)
        except (OSError, ValueError, MemoryError, gym.error.Error):
            raise
        except NoPictureError as error:
            reason = f"{self.env_id} shows no glimpses, and {error} {IN_COMMANDS}"
            raise ValueError(reason) from error
        except Exception as error:
            cause: BaseException = error
            if "raised from the environment creator" in str(error) and error.__cause__ is not None:
                cause = error.__cause__  # without the keywords, which Gymnasium repeats
            raise ValueError(
                f"{self.env_id} cannot be made with {keywords}: {type(error).__name__}: {cause}"
            ) from error
