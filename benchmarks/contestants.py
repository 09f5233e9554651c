"""The contestants and how each learns: RAM, agents of Stable-Baselines3, controls.

A contestant trains within a budget of env-steps, in pieces, so that its error can be measured in
between. All act through `predict`, as in Stable-Baselines3. Batches and learning rates suit a short
budget; RAM's presets are otherwise unchanged.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any

import gymnasium as gym
import torch
import torch.nn.functional as F
from sb3_contrib import TRPO, RecurrentPPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

import ram_envs  # noqa: F401  registers the ids
from ram_agent import RAMAgent
from ram_agent.config import replace_settings
from ram_agent.presets import preset
from ram_agent.trainer import Trainer
from ram_envs.registration import CLASSIFICATION
from ram_envs.sb3 import GlimpseFeatures, SB3VecEnv
from ram_envs.wrappers import vector

GRID = 6  # cells per side of the grid of locations, for agents without continuous ones
STACK = 6  # glimpses stacked for agents without memory


class Contestant(ABC):
    """An agent that learns an environment.

    Args:
        env_id: the environment.
        budget: env-steps it may take; its schedules end there.
        seed: seed of weights, environments and noise.
        dataset: "mnist" or "digits"; ignored by games.
    """

    def __init__(self, env_id: str, budget: int, seed: int, dataset: str) -> None:
        torch.manual_seed(seed)
        self.env_id, self.budget, self.seed, self.dataset = env_id, budget, seed, dataset
        self.is_game = env_id not in CLASSIFICATION
        self.steps = 0  # taken so far

    def make_envs(self, num_envs: int, split: str, mode: str = "Disabled") -> Any:
        """Return environments of a split, wrapped as this contestant needs them."""
        images: dict[str, Any] = {} if self.is_game else {"dataset": self.dataset, "split": split}
        envs = gym.make_vec(self.env_id, num_envs=num_envs, autoreset_mode=mode, **images)
        return self.wrap(envs)

    def wrap(self, envs: Any) -> Any:
        return envs

    @abstractmethod
    def learn_until(self, steps: int) -> None:
        """Train until `steps` env-steps are taken, or a few more."""

    @abstractmethod
    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> Any:
        """Return (actions, state), as in Stable-Baselines3."""


# --- RAM ---------------------------------------------------------------------------------------


# Segments that are episodes, learned from once: REINFORCE with a baseline.
WHOLE_EPISODES: dict[str, Any] = {
    "passes": 1,
    "minibatches": 1,
    "discount": 1.0,
    "return_lambda": 1.0,
}


class RAM(Contestant):
    """RAM with its default preset, in small batches."""

    preset = "default"
    agent_changes: dict[str, Any] = {}
    changes: dict[str, Any] = {"batch_size": 32, "learning_rate": 3e-3, "average_decay": 0.99}

    def __init__(self, env_id: str, budget: int, seed: int, dataset: str) -> None:
        super().__init__(env_id, budget, seed, dataset)
        supervised = self.changes.get("supervision") != "none"
        agent_config, config, _ = preset(self.preset, env_id, supervised=supervised)
        config = replace_settings(config, seed=seed, **self.changes)
        train_envs = self.make_envs(config.batch_size, "train")
        self.episode_length = _episode_length(train_envs)
        agent = RAMAgent(
            train_envs.single_observation_space,
            train_envs.single_action_space,
            dataclasses.replace(agent_config, **self.agent_changes),
        )
        if self.is_game or config.objective.supervision == "none":
            whole = {**WHOLE_EPISODES, "segment_length": self.episode_length}
            config = replace_settings(config, steps=budget, **whole)
        else:
            config = replace_settings(config, episodes=budget // self.episode_length)
        self.trainer = Trainer(agent, [train_envs], self.make_envs(1, "validation"), config)

    def learn_until(self, steps: int) -> None:
        while self.steps < steps and not self.trainer.is_over:
            self.trainer.train_one_update()
            self.steps += self.trainer.config.batch_size * self.episode_length

    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> Any:
        agent = self.trainer.averaged_agent
        return agent.predict(observation, state, episode_start, deterministic)


class PaperRAM(RAM):
    """RAM as the paper trains it: SGD, batches of 20, the environment's reward."""

    preset = "paper"
    changes: dict[str, Any] = {}


class RAMWithoutLabels(RAM):
    """RAM that learns from the reward alone, like the agents of other libraries."""

    agent_changes: dict[str, Any] = {"baseline_shapes_state": True}
    changes = RAM.changes | {
        "supervision": "none",
        "location_reward": "reward",
        "baseline_loss": "cross_entropy",
        "entropy_weight": 0.1,
        "gae_lambda": 0.9,
        "location_weight": 0.05,
        "location_warmup": 0.5,
        "head_warmup": 0.5,
    }


class RAMWithRandomGaze(RAM):
    """A control: RAM that is trained and tested with random locations."""

    changes = RAM.changes | {"location_weight": 0.0}

    def wrap(self, envs: Any) -> Any:
        return _RandomLocations(envs)


class _RandomLocations(gym.vector.VectorWrapper):
    """A wrapper that replaces the location of an action by a random one."""

    def step(self, actions: Any) -> Any:
        unwrapped: Any = self.unwrapped
        return self.env.step((unwrapped.batch.random_locations(), actions[1]))


def _episode_length(envs: Any) -> int:
    """Return the steps of an episode; all episodes have the same length."""
    envs.reset(seed=0)
    length, over = 0, False
    while not over:
        over = envs.step(envs.action_space.sample())[2].all()
        length += 1
    return length


# --- Stable-Baselines3 -------------------------------------------------------------------------


class StableBaselinesAgent(Contestant):
    """An agent of Stable-Baselines3: locations from a grid, the last glimpses stacked."""

    algorithm: Any
    policy = "MultiInputPolicy"
    num_envs = 256
    settings: dict[str, Any]
    policy_settings: dict[str, Any] = {"net_arch": [128], "activation_fn": nn.ReLU}

    def __init__(self, env_id: str, budget: int, seed: int, dataset: str) -> None:
        super().__init__(env_id, budget, seed, dataset)
        highest = self.settings["learning_rate"]

        def learning_rate(_: float) -> float:  # the library's own progress is that of one rollout
            return float(highest * max(0.01, 1 - self.steps / budget))

        self.model: Any = self.algorithm(
            self.policy,
            SB3VecEnv(self.make_envs(self.num_envs, "train", "SameStep")),
            policy_kwargs=self.features() | self.policy_settings,
            seed=1_000_000 * (seed + 1),  # tests use the seeds from 0 on
            device="cpu",
            **self.settings
            | {"learning_rate": learning_rate, "gamma": 0.99 if self.is_game else 1.0},
        )

    def wrap(self, envs: Any) -> Any:
        return vector.GlimpseStack(vector.GridAction(envs, GRID, GRID), STACK)

    def features(self) -> dict[str, Any]:
        pixel_scale = 10.0 if self.is_game else 3.0  # as in RAM's presets
        return {
            "features_extractor_class": GlimpseFeatures,
            "features_extractor_kwargs": {"pixel_scale": pixel_scale},
        }

    def learn_until(self, steps: int) -> None:
        while self.steps < steps:
            self.model.learn(1, reset_num_timesteps=False)  # one rollout and its updates
            self.steps = self.model.num_timesteps

    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> Any:
        return self.model.predict(observation, state, episode_start, deterministic)


class PPOAgent(StableBaselinesAgent):
    algorithm = PPO
    settings: dict[str, Any] = {
        "n_steps": 6,
        "batch_size": 384,
        "n_epochs": 4,
        "learning_rate": 2e-3,
        "ent_coef": 0.01,
        "gae_lambda": 0.95,
    }


class RecurrentPPOAgent(StableBaselinesAgent):
    """PPO with an LSTM, which sees one glimpse at a time."""

    algorithm = RecurrentPPO
    policy = "MultiInputLstmPolicy"
    settings = PPOAgent.settings
    policy_settings: dict[str, Any] = {
        "net_arch": [],  # the heads sit on the LSTM, as in RAM
        "lstm_hidden_size": 128,
        "shared_lstm": True,
        "enable_critic_lstm": False,
    }

    def wrap(self, envs: Any) -> Any:
        return vector.GridAction(envs, GRID, GRID)


class RecurrentPPOWithRandomGaze(RecurrentPPOAgent):
    """A control: recurrent PPO that is trained and tested with random locations."""

    def wrap(self, envs: Any) -> Any:
        return vector.RandomGaze(envs)


class TRPOAgent(StableBaselinesAgent):
    algorithm = TRPO
    settings: dict[str, Any] = {
        "n_steps": 6,
        "batch_size": 1536,
        "learning_rate": 2e-3,
        "target_kl": 0.03,
        "gae_lambda": 0.95,
        "cg_max_steps": 6,  # half of the default; these take most of the time
        "n_critic_updates": 4,
    }


class A2CAgent(StableBaselinesAgent):
    algorithm = A2C
    num_envs = 64
    settings: dict[str, Any] = {"n_steps": 6, "learning_rate": 2e-3, "ent_coef": 0.01}


# --- whole canvases ----------------------------------------------------------------------------


class CanvasFeatures(BaseFeaturesExtractor):
    """A small convolutional network over whole canvases (B, C, H, W) in [0, 1]."""

    def __init__(self, observation_space: gym.spaces.Box, features_dim: int = 128) -> None:
        super().__init__(observation_space, features_dim)
        shape = observation_space.shape
        body = nn.Sequential(
            nn.Conv2d(shape[0], 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
        )
        size = body(torch.zeros(1, *shape)).shape[1]
        self.layers = nn.Sequential(body, nn.Linear(size, features_dim), nn.ReLU())

    def forward(self, canvases: Tensor) -> Tensor:
        features: Tensor = self.layers(canvases)
        return features


class CanvasPPO(PPOAgent):
    """A control for games: PPO on the whole screen."""

    policy = "CnnPolicy"

    def wrap(self, envs: Any) -> Any:
        return vector.WholeCanvas(vector.FixedGaze(envs))

    def features(self) -> dict[str, Any]:
        return {"features_extractor_class": CanvasFeatures}


class CanvasClassifier(Contestant):
    """A control for images: a supervised CNN on the whole canvas.

    A canvas counts as the env-steps of an episode.
    """

    batch_size = 64
    learning_rate = 2e-3

    def __init__(self, env_id: str, budget: int, seed: int, dataset: str) -> None:
        super().__init__(env_id, budget, seed, dataset)
        self.train_envs = self.make_envs(self.batch_size, "train")
        self.episode_length = _episode_length(self.train_envs)
        height, width, channels = self.train_envs.single_observation_space.shape
        features = CanvasFeatures(gym.spaces.Box(0, 1, (channels, height, width)))
        self.network = nn.Sequential(
            features, nn.Linear(features.features_dim, self.train_envs.single_action_space.n)
        )
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.train_envs.reset(seed=seed)

    def wrap(self, envs: Any) -> Any:
        return vector.WholeCanvas(vector.FixedGaze(envs))

    def learn_until(self, steps: int) -> None:
        while self.steps < steps:
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * max(0.01, 1 - self.steps / self.budget)
            canvases, infos = self.train_envs.reset()
            loss = F.cross_entropy(self._scores(canvases), torch.as_tensor(infos["label"]))
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.steps += self.batch_size * self.episode_length

    @torch.no_grad()
    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> Any:
        return self._scores(observation).argmax(1).numpy(), state

    def _scores(self, canvases: Any) -> Tensor:
        scores: Tensor = self.network(torch.as_tensor(canvases).permute(0, 3, 1, 2) / 255)
        return scores


_AGENTS: dict[str, type[Contestant]] = {
    "RAM": RAM,
    "RAM, paper preset": PaperRAM,
    "PPO": PPOAgent,
    "RecurrentPPO": RecurrentPPOAgent,
    "TRPO": TRPOAgent,
    "A2C": A2CAgent,
    "RAM, random gaze": RAMWithRandomGaze,
}
# Games have no labels, so RAM learns without labels there.
FOR_GAMES: dict[str, type[Contestant]] = {**_AGENTS, "CNN, whole canvas": CanvasPPO}
FOR_IMAGES: dict[str, type[Contestant]] = {
    **_AGENTS,
    "RAM without labels": RAMWithoutLabels,
    "RecurrentPPO, random gaze": RecurrentPPOWithRandomGaze,
    "CNN, whole canvas": CanvasClassifier,
}


def contestants(env_id: str) -> dict[str, type[Contestant]]:
    """Return the contestants of an environment by name."""
    return FOR_IMAGES if env_id in CLASSIFICATION else FOR_GAMES
