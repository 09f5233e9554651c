"""PPO of Stable-Baselines3 in the game Catch, with what helps RAM to learn it.

    python examples/sb3_catch.py --total-steps 4000000

Needs pip install "ram-gym[agent,sb3]". In two million steps with the settings of the contest
(docs/contest.md) PPO catches a tenth of the balls; chance is 8%. RAM's recipe, applied to PPO:

- Coarse patches as sums instead of means: a ball of one pixel is 1/16 of the brightness of a
  coarse cell, and so is hardly seen.
- Whole games in each rollout (23 steps), without discount, λ = 0.9.
- A grid of few cells to look at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecMonitor
from torch import nn

import ram_envs  # noqa: F401  registers the ids
from ram_envs.sb3 import SB3VecEnv
from ram_envs.wrappers import vector

NUM_SCALES, NUM_GLIMPSES = 3, 4
ROWS_OF_A_GAME = 23


@dataclass(frozen=True)
class Settings:
    """Train PPO on Catch."""

    total_steps: int = 4_000_000
    num_envs: int = 128
    learning_rate: float = 1e-3
    eval_episodes: int = 2_000
    seed: int = 0


class SummedGlimpses(BaseFeaturesExtractor):
    """What and where, with coarse patches as sums of their pixels."""

    def __init__(self, observation_space: spaces.Dict, size: int = 128) -> None:
        super().__init__(observation_space, features_dim=2 * size)
        shape = observation_space["glimpse"].shape or ()
        factors = 10.0 * 4.0 ** (np.arange(shape[0]) % NUM_SCALES)
        self.factors: torch.Tensor
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.float32)[:, None, None])
        self.what = nn.Linear(math.prod(shape), size)
        self.where = nn.Linear(math.prod(observation_space["location"].shape or ()), size)
        for layer in (self.what, self.where):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Map observations of B environments to features (B, 2 · size)."""
        pixels = (observations["glimpse"] * self.factors).flatten(1)
        features = [self.what(pixels), self.where(observations["location"])]
        return torch.relu(torch.cat(features, dim=1))


class PrintCaught(BaseCallback):
    """A callback that prints the percentage of caught balls, twenty times in all."""

    def __init__(self, total_steps: int) -> None:
        super().__init__()
        self.every = self.next = total_steps // 20

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.next and self.model.ep_info_buffer:
            self.next += self.every
            caught = np.mean([episode["r"] for episode in self.model.ep_info_buffer])
            print(f"{self.num_timesteps:9,} steps  caught {100 * caught:.1f}%", flush=True)
        return True


def make_envs(num_envs: int) -> VecMonitor:
    """Return games whose action is one of 4 × 4 cells to look at, and a move."""
    envs: Any = gym.make_vec("RAMCatch-v0", num_envs=num_envs, autoreset_mode="SameStep")
    envs = vector.GlimpseStack(vector.GridAction(envs, columns=4, rows=4), NUM_GLIMPSES)
    return VecMonitor(SB3VecEnv(envs))


def main(settings: Settings) -> None:
    """Train, and count the caught balls."""
    torch.set_num_threads(1)  # the networks are small
    model = PPO(
        "MultiInputPolicy",
        make_envs(settings.num_envs),
        learning_rate=lambda left: settings.learning_rate * left,
        n_steps=ROWS_OF_A_GAME,
        batch_size=ROWS_OF_A_GAME * settings.num_envs // 4,
        n_epochs=3,
        gamma=1.0,
        gae_lambda=0.9,
        ent_coef=0.01,
        policy_kwargs={
            "features_extractor_class": SummedGlimpses,
            "net_arch": [128],
            "activation_fn": nn.ReLU,
        },
        stats_window_size=2_000,
        seed=settings.seed,
        device="cpu",
    )
    model.learn(settings.total_steps, callback=PrintCaught(settings.total_steps))
    test_envs = make_envs(settings.num_envs)
    test_envs.seed(settings.seed + 10_000_000)
    returns, _ = evaluate_policy(
        model, test_envs, settings.eval_episodes, deterministic=True, return_episode_rewards=True
    )
    print(f"greedy: caught {100 * np.mean(returns):.1f}% of {np.size(returns)} balls")


if __name__ == "__main__":
    main(tyro.cli(Settings))
