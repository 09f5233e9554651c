"""A training run as config.json in its folder describes it."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ram_agent.config import AgentConfig, TrainConfig, config_from_json
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.weights import CheckpointError
from ram_envs.arguments import matches
from ram_envs.checks import checked_integer

_TYPES: dict[str, Any] = {  # of the values in config.json
    "env_id": str,
    "env_kwargs": dict,
    "images": dict | None,
    "training_env_kwargs": dict,
    "start_from": str | None,
    "preset": str,
    "shards": int,
    "agent": dict,
    "training": dict,
}


@dataclass(frozen=True)
class RunConfig:
    """All that a training run depends on, and where it comes from.

    env                the environment, with the data set that was found
    agent              the settings of the agent
    training           the settings of its training
    shards             the number of parts into which a batch is divided, one per thread
    training_keywords  further keywords of the training environments, such as distortion
    preset             the name of the preset on which the settings are based
    start_from         the agent whose weights initialize the networks; None for random weights
    images             what `describe_images` returned; None for a game
    provenance         the command, commit, machine and date
    """

    env: RunEnv
    agent: AgentConfig
    training: TrainConfig
    shards: int
    training_keywords: dict[str, Any] = field(default_factory=dict)
    preset: str = "default"
    start_from: str | None = None
    images: dict[str, Any] | None = None
    provenance: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: RunFolder, named: str | None = None) -> RunConfig:
        """Return the run in a folder.

        Args:
            folder: the run's folder.
            named: the run's environment, if the user named it; its module is imported.

        Raises:
            FileNotFoundError: if the folder contains no run.
            CheckpointError: if config.json is damaged.
            ValueError: if a setting has a wrong value, `named` is not the run's environment, or the
                environment is not registered.
        """
        config = folder.read_config()
        wrong = [
            f"{name}={reprlib.repr(config.get(name))}"
            for name, kind in _TYPES.items()
            if not matches(config.get(name), kind)
        ]
        if wrong:
            raise CheckpointError(
                f"{folder.config_path} has {', '.join(wrong)}: it is damaged, or was written by "
                "another version of ram-gym. Restore it, or start a new run."
            )
        if named not in (None, config["env_id"]):
            raise ValueError(
                f"The run in {folder.path} is of {config['env_id']}, not of {named}. Leave ENV_ID "
                "out, or start a new run."
            )
        return cls.from_json(config, named)

    @classmethod
    def from_json(cls, config: Mapping[str, Any], named: str | None = None) -> RunConfig:
        """Return the run that `to_json` described; `named` is as for `RunEnv.named_in`."""
        own = (*_TYPES, "dataset")
        return cls(
            env=RunEnv.named_in(config, named),
            agent=config_from_json(AgentConfig, config["agent"]),
            training=config_from_json(TrainConfig, config["training"]),
            shards=checked_integer("shards", config["shards"], 1),
            training_keywords=config["training_env_kwargs"],
            preset=config["preset"],
            start_from=config.get("start_from"),
            images=config.get("images"),
            provenance={name: value for name, value in config.items() if name not in own},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of config.json."""
        return {
            "env_id": self.env.env_id,
            "env_kwargs": self.env.keywords,
            "dataset": self.env.keywords.get("dataset"),  # None for a game
            "images": self.images,
            "training_env_kwargs": self.training_keywords,
            "start_from": self.start_from,
            "preset": self.preset,
            "shards": self.shards,
            "agent": dataclasses.asdict(self.agent),
            "training": dataclasses.asdict(self.training),
            **self.provenance,
        }
