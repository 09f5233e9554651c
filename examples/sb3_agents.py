"""Agents of Stable-Baselines3 learn where to look: PPO, A2C, SAC, recurrent PPO or TRPO.

    python examples/sb3_agents.py --agent ppo
    python examples/sb3_agents.py --agent recurrent-ppo --env-id RAMCatch-v0

Needs pip install "ram-gym[agent,sb3]". None of these agents supports the Tuple (location, choice),
so a wrapper encodes it: as cells of a grid, or as a vector of numbers for SAC. The default number
of steps suits PPO, with and without a memory, and TRPO. A2C stays at chance level with it, and
SAC's steps are slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
import tyro
from sb3_contrib import TRPO, RecurrentPPO
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor
from torch import nn

from ram_envs.registration import CLASSIFICATION
from ram_envs.sb3 import GlimpseFeatures, SB3VecEnv
from ram_envs.wrappers import vector


@dataclass(frozen=True)
class Settings:
    """Train an agent of Stable-Baselines3."""

    agent: Literal["ppo", "a2c", "sac", "recurrent-ppo", "trpo"] = "ppo"
    env_id: str = "RAMMNIST-v0"
    dataset: str = "digits"  # inside the package; "mnist" is downloaded
    total_steps: int = 400_000
    num_envs: int = 256
    eval_episodes: int = 500
    seed: int = 0


class PrintReturns(BaseCallback):
    """A callback that prints the mean return of recent episodes, twenty times in all."""

    def __init__(self, total_steps: int) -> None:
        super().__init__()
        self.every = self.next = total_steps // 20

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.next and self.model.ep_info_buffer:
            self.next += self.every
            mean_return = np.mean([episode["r"] for episode in self.model.ep_info_buffer])
            print(f"{self.num_timesteps:8} steps  mean return {mean_return:.3f}")
        return True


def choose_agent(settings: Settings) -> tuple[Any, dict[str, Any]]:
    """Return an agent's class and keywords; its defaults suit longer episodes."""
    episode = {"n_steps": 6, "gamma": 1.0}
    quarters = episode | {"batch_size": 6 * settings.num_envs // 4}
    update = {"n_epochs": 4, "learning_rate": 2e-3, "ent_coef": 0.01}
    agents: dict[str, tuple[Any, dict[str, Any]]] = {
        "ppo": (PPO, quarters | update),
        "a2c": (A2C, episode | {"learning_rate": 2e-3, "ent_coef": 0.01}),
        "sac": (SAC, {"buffer_size": 100_000, "learning_starts": 2000, "gradient_steps": 4}),
        "recurrent-ppo": (RecurrentPPO, quarters | update),
        "trpo": (TRPO, episode | {"batch_size": 6 * settings.num_envs, "target_kl": 0.03}),
    }
    return agents[settings.agent]


def make_envs(settings: Settings, split: str) -> VecMonitor:
    # A game has no images to choose.
    is_game = settings.env_id.rpartition(":")[2] not in CLASSIFICATION
    images: dict[str, Any] = {} if is_game else {"dataset": settings.dataset, "split": split}
    envs: Any = gym.make_vec(
        settings.env_id, num_envs=settings.num_envs, autoreset_mode="SameStep", **images
    )
    if settings.agent == "sac":  # for continuous actions alone
        envs = vector.FlatBoxAction(envs)
    else:
        envs = vector.GridAction(envs, columns=4, rows=4)
    if settings.agent != "recurrent-ppo":  # the others see the last glimpses side by side
        envs = vector.GlimpseStack(envs, num_glimpses=4)
    return VecMonitor(SB3VecEnv(envs))


def main(settings: Settings) -> None:
    torch.set_num_threads(1)  # the networks are small
    agent_class, keywords = choose_agent(settings)
    is_recurrent = settings.agent == "recurrent-ppo"
    model = agent_class(
        "MultiInputLstmPolicy" if is_recurrent else "MultiInputPolicy",
        make_envs(settings, "train"),
        policy_kwargs={
            "features_extractor_class": GlimpseFeatures,
            # The library's own two layers of 64 tanh make learning much slower here. With a memory
            # the heads sit on the LSTM, as in RAM.
            "net_arch": [] if is_recurrent else [128],
            "activation_fn": nn.ReLU,
        },
        stats_window_size=1000,
        seed=settings.seed,
        device="cpu",
        **keywords,
    )
    model.learn(settings.total_steps, callback=PrintReturns(settings.total_steps))

    test_envs = make_envs(settings, "test")
    test_envs.seed(settings.seed)
    returns, _ = evaluate_policy(
        model,
        test_envs,
        settings.eval_episodes,
        deterministic=True,
        return_episode_rewards=True,
    )
    print(f"greedy: mean return {np.mean(returns):.3f} over {np.size(returns)} test episodes")


if __name__ == "__main__":
    main(tyro.cli(Settings))
