"""A training run: its config.json, the trainer it is made into, and the trained agent."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import torch
from tqdm import tqdm

from ram_agent.agent import RAMAgent
from ram_agent.config import SHARDS, AgentConfig, TrainConfig, config_from_json
from ram_agent.distributed import Ranks
from ram_agent.provenance import provenance
from ram_agent.run_folder import RunFolder
from ram_agent.splits import (
    EVALUATION_ENVS,
    describe_images,
    place_split,
    resolve_env_id,
    with_found_dataset,
)
from ram_agent.trainer import Trainer
from ram_envs.checks import checked_integer


def describe_run(
    env_id: str,
    keywords: dict[str, Any],
    preset: str,
    agent: AgentConfig,
    training: TrainConfig,
    *,
    shards: int = SHARDS,
    training_keywords: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Return config.json of a new run; dataset="auto" is replaced by the data set that was found.

    Args:
        env_id, keywords: the environment, and its keywords in every split.
        preset: the name of the preset.
        agent, training: the settings.
        shards: number of even parts in which a batch is played, each in a thread of its own.
        training_keywords: further keywords of the training environments, such as distortion.
        device: where the networks will be.

    Raises:
        ValueError: if the environment cannot be made, or the batch cannot be divided.
    """
    shards = checked_integer("shards", shards, 1)
    if training.batch_size % shards:
        raise ValueError(
            f"batch_size={training.batch_size} cannot be divided into shards={shards}. Change the "
            "one or the other."
        )
    training_keywords = {name: value for name, value in (training_keywords or {}).items() if value}
    keywords = with_found_dataset(env_id, keywords, training_keywords)
    return {
        "env_id": env_id,
        "env_kwargs": keywords,
        "dataset": keywords.get("dataset"),  # None for a game
        "images": describe_images(env_id, keywords),
        "training_env_kwargs": training_keywords,
        "preset": preset,
        "shards": shards,
        "agent": dataclasses.asdict(agent),
        "training": dataclasses.asdict(training),
        **provenance(device),
    }


def make_trainer(
    run: dict[str, Any],
    folder: RunFolder | None,
    device: torch.device | str = "cpu",
    ranks: Ranks | None = None,
) -> Trainer:
    """Return a trainer at the start of the run that config.json describes, as one of the ranks.

    On a GPU its environments are there too, if they can be.
    """
    ranks, device = ranks or Ranks(), torch.device(device)
    config = config_from_json(TrainConfig, run["training"])
    env_id, keywords = run["env_id"], run["env_kwargs"]
    shard_size, num_shards = config.batch_size // run["shards"], run["shards"] // ranks.size
    train_keywords = {**keywords, **run["training_env_kwargs"]}
    train_envs = [
        place_split(device, env_id, shard_size, "train", **train_keywords)
        for _ in range(num_shards)
    ]
    validation_envs = place_split(device, env_id, EVALUATION_ENVS, "validation", **keywords)
    torch.manual_seed(config.seed)
    agent = RAMAgent(
        train_envs[0].single_observation_space,
        train_envs[0].single_action_space,
        config_from_json(AgentConfig, run["agent"]),
    ).to(device)
    return Trainer(agent, train_envs, validation_envs, config, folder, ranks)


def own_env(facts: dict[str, Any], named: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return the id and keywords of the environment of a run; the id may be `named` by the user.

    Gymnasium imports the module of "module:id", and so runs it. Since a
    file may come from an untrusted source, only a module that the user named, or one that is
    already imported, is allowed.

    Raises:
        ValueError: if the facts name no environment, or one that is not registered.
    """
    env_id, keywords = facts.get("env_id"), facts.get("env_kwargs")
    if not isinstance(keywords, dict):
        raise ValueError(
            f"The environment of these weights is unknown: env_kwargs={keywords!r}. Use "
            "weights that `ram train` wrote."
        )
    if named is not None:
        return resolve_env_id(named), dict(keywords)
    module, _, name = str(env_id).rpartition(":")
    if not (module in sys.modules if module else name in gym.registry):
        raise ValueError(
            f"The environment {env_id!r} is not registered. If you trust its module, name it on "
            "the command line: ram train ENV_ID --resume RUN, or --env-id ENV_ID for the others."
        )
    return str(env_id), dict(keywords)


def print_progress(row: dict[str, float]) -> None:
    """Print a validation's metrics."""
    unit = "steps" if "steps" in row else "episodes"
    tqdm.write(
        f"{row[unit]:>10,} {unit} {row['seconds']:7.0f} s   "
        + "   ".join(
            f"{split} error {row[f'{split}_error']:6.2f}%"
            if f"{split}_error" in row
            else f"{split} return {row[f'{split}_return']:8.4f}"
            for split in ("train", "validation")
            if f"{split}_error" in row or f"{split}_return" in row
        )
    )
