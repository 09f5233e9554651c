"""Describe a training run, and make its trainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig, TrainConfig
from ram_agent.distributed import Ranks
from ram_agent.measured_pixels import measure_pixels
from ram_agent.presets import (
    ENV_SETTINGS,
    GAMES,
    OTHER_PACKAGES,
    Preset,
    preset,
)
from ram_agent.provenance import provenance
from ram_agent.run_config import RunConfig
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.run_images import describe_images
from ram_agent.settings import closest, group_names, setting_names
from ram_agent.start_from import copy_weights, fit_start, resolve_start
from ram_agent.trainer import Trainer
from ram_agent.unused_settings import check_used_together
from ram_envs.checks import checked_integer
from ram_envs.making import find_keywords
from ram_envs.recorded import as_plain

MIN_VALIDATIONS = 10  # of a run with at least as many updates

# Keywords of the training environments alone: how their images are varied.
TRAINING_KEYWORDS = ("distortion", "elastic", "mirror")
# What else a training is given: options of the command, and arguments of `train`.
ARGUMENTS = ("callback", "preset", "out", "start_from", "device", "threads", "shards")


def choose_preset(name: str, env: RunEnv | None, supervision: str | None = None) -> Preset:
    """Return the settings of a preset for an environment, whose keywords are checked first.

    Args:
        name: the name of the preset.
        env: the environment, if one was named.
        supervision: the setting, if it was given.

    Raises:
        ValueError: for an unknown preset, or a keyword that looks like a misspelled setting.
    """
    supervised = supervision != "none"
    if env is None:
        return preset(name, supervised=supervised)
    _check_names(env)
    key = env.env_id
    if env.is_foreign:
        key = OTHER_PACKAGES
    elif (name, key) not in ENV_SETTINGS and not env.has_labels:
        key = GAMES
    return preset(name, key, supervised=supervised)


def _check_names(env: RunEnv) -> None:
    """Raise ValueError for a keyword that a training cannot pass on to its environments."""
    keywords = env.keywords
    if "split" in keywords:
        raise ValueError(
            f"split={keywords['split']!r}: a training uses the splits train, validation and test. "
            "Leave split out."
        )
    if (known := find_keywords(env.env_id)) is None:
        return
    for group in sorted((keywords.keys() - known) & group_names(TrainConfig)):
        raise ValueError(f"{group}: give its settings one by one, such as learning_rate=….")
    names = sorted({*setting_names(AgentConfig), *setting_names(TrainConfig), *ARGUMENTS})
    for keyword in sorted(keywords.keys() - known):
        if meant := closest(keyword, names, cutoff=0.8):
            raise ValueError(
                f"Neither {env.env_id} nor its training has a setting {keyword!r}. Did you mean "
                f"{meant!r}?"
            )


def describe_run(
    env: RunEnv,
    preset_name: str,
    settings: Preset,
    *,
    training_keywords: Mapping[str, Any] | None = None,
    start_from: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> RunConfig:
    """Return a new run; dataset="auto" is replaced by the data set that was found.

    Args:
        env: the environment.
        preset_name: "default" or "paper".
        settings: those of the preset, and what the user changed.
        training_keywords: further keywords of the training environments, such as distortion, beside
            `env.training_keywords`.
        start_from: the agent whose weights initialize the networks; see `copy_weights`. The
            settings on which the weights' meaning depends must be its own.
        device: where the networks will be.

    Raises:
        ValueError: if the environment cannot be made, the batch cannot be divided, a setting has no
            effect beside another one, or `start_from` was trained with other settings.
        FileNotFoundError: if `start_from` has no weights.
    """
    agent, training = settings.agent, settings.training
    shards = checked_integer("shards", settings.shards, 1)
    if training.batch_size % shards:
        raise ValueError(
            f"batch_size={training.batch_size} cannot be divided into shards={shards}. Change "
            "one of them."
        )
    check_used_together(settings, choose_preset(preset_name, env, training.objective.supervision))
    if start_from is not None:
        start_from = resolve_start(start_from)
    if env.num_channels is not None:
        if agent.num_channels not in (AgentConfig().num_channels, env.num_channels):
            raise ValueError(
                f"num_channels={agent.num_channels} is not that of the images of {env.env_id}, "
                f"num_channels={env.num_channels}. Leave it out."
            )
        agent = dataclasses.replace(agent, num_channels=env.num_channels)
    if start_from is None:
        agent = measure_pixels(env, agent)
    else:
        agent = fit_start(start_from, agent, env.keywords.get("max_shift"))
    given = {name: value for name, value in (training_keywords or {}).items() if value}
    training_keywords = {**env.training_keywords, **given}
    env = env.with_found_dataset(training_keywords)
    return RunConfig(
        env=RunEnv(env.env_id, {name: as_plain(value) for name, value in env.keywords.items()}),
        agent=agent,
        training=training,
        shards=shards,
        training_keywords=training_keywords,
        preset=preset_name,
        start_from=start_from,
        images=describe_images(env),
        provenance=provenance(device),
    )


def make_trainer(
    run: RunConfig,
    folder: RunFolder | None,
    device: torch.device | str = "cpu",
    ranks: Ranks | None = None,
) -> Trainer:
    """Return a trainer at the start of a run, as one of the ranks.

    On a GPU its environments are there too, if they can be.
    """
    ranks, device = ranks or Ranks(), torch.device(device)
    env, config = run.env, run.training
    shard_size, num_shards = config.batch_size // run.shards, run.shards // ranks.size
    train_envs = [
        env.place_split(device, shard_size, "train", **run.training_keywords)
        for _ in range(num_shards)
    ]
    validation_envs = env.place_split(device, env.num_evaluation_envs, "validation")
    torch.manual_seed(config.seed)
    agent = RAMAgent(
        train_envs[0].single_observation_space,
        train_envs[0].single_action_space,
        run.agent,
    ).to(device)
    # A run that continues has its own weights, and other ranks begin with the first one's.
    is_new = ranks.is_first and not (folder is not None and folder.has_begun)
    if is_new and run.start_from is not None:
        copy_weights(agent, run.start_from)
    return Trainer(agent, train_envs, validation_envs, config, folder, ranks, MIN_VALIDATIONS)
