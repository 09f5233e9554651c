"""Small trainings for tests: patterns and a game that are learned in seconds."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode

import ram_envs
from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig, TrainConfig, replace_settings
from ram_agent.presets import preset
from ram_agent.run_folder import RunFolder
from ram_agent.trainer import Trainer


def three_patterns() -> ram_envs.ImageDataset:
    """Stripes down, stripes across, two black quarters: 24 images of 8 × 8, 8 of each."""
    images = np.zeros((3, 8, 8), np.uint8)
    images[0, :, ::2] = 255
    images[1, ::2] = 255
    images[2, :4, :4] = images[2, 4:, 4:] = 255
    return ram_envs.ImageDataset(np.tile(images, (8, 1, 1)), np.tile(np.arange(3), 8))


PATTERNS = three_patterns()
SMALL = AgentConfig(hidden_size=64, feature_size=32)
SHORT = TrainConfig(episodes=120, batch_size=10, validate_every=1)  # 12 updates, 5 epochs

SMALL_GAME = {"size": 5, "max_speed": 0.0, "glimpse_size": 5, "num_scales": 1}
ALONE = replace_settings(
    preset("default", "RAMCatch-v0").training,
    batch_size=64,
    segment_length=4,
    passes=1,
    minibatches=1,
    learning_rate=1e-2,
    warmup_updates=20,
    validate_every=64 * 4,
)


def make_envs(num_envs: int, **keywords: Any) -> Any:
    """Make a vector environment that shows the patterns in three glimpses of 4 × 4."""
    mode = AutoresetMode.DISABLED
    small = {"dataset": PATTERNS, "glimpse_size": 4, "num_glimpses": 3, "autoreset_mode": mode}
    return gym.make_vec("RAMClassification-v0", num_envs, **{**small, **keywords})


def make_trainer(
    config: TrainConfig = SHORT,
    folder: RunFolder | None = None,
    agent_config: AgentConfig = SMALL,
    shards: int = 2,
    **keywords: Any,
) -> Trainer:
    """Make a new agent and its trainer; the folder is made unless it is there."""
    train_envs = [make_envs(config.batch_size // shards, **keywords) for _ in range(shards)]
    torch.manual_seed(config.seed)
    spaces = train_envs[0].single_observation_space, train_envs[0].single_action_space
    agent = RAMAgent(*spaces, agent_config)
    if folder is not None and not folder.path.exists():
        folder.create({"training": dataclasses.asdict(config)})
    return Trainer(agent, train_envs, make_envs(24, **keywords), config, folder)


def make_game_trainer(config: TrainConfig, **keywords: Any) -> Trainer:
    """Make an agent that is to learn a game of four steps, in which the ball falls straight."""

    def make(num_envs: int) -> Any:
        mode = AutoresetMode.DISABLED
        keys = {**SMALL_GAME, **keywords}
        return gym.make_vec("RAMCatch-v0", num_envs=num_envs, autoreset_mode=mode, **keys)

    train_envs = [make(config.batch_size // 2) for _ in range(2)]
    torch.manual_seed(config.seed)
    spaces = train_envs[0].single_observation_space, train_envs[0].single_action_space
    agent_config = dataclasses.replace(
        preset("default", "RAMCatch-v0")[0],
        glimpse_network="linear",
        hidden_size=32,
        feature_size=32,
    )
    return Trainer(RAMAgent(*spaces, agent_config), train_envs, make(500), config)


def weights(trainer: Trainer) -> dict[str, Any]:
    return {name: value.tolist() for name, value in trainer.agent.state_dict().items()}
