"""PPO of Stable-Baselines3 plays an Atari game through the retina.

    python examples/sb3_atari.py --env-id ALE/Pong-v5
    python examples/sb3_atari.py --quick  # a few seconds, to see that it runs

Needs pip install "ram-gym[agent,sb3,atari]". ale-py's native vector environment plays all games;
`ThroughRetina` shows one glimpse of each frame, and the agent chooses a move and where to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor
from torch import nn

from ram_envs.sb3 import GlimpseFeatures, SB3VecEnv
from ram_envs.wrappers import vector

gym.register_envs(ale_py)


@dataclass(frozen=True)
class Settings:
    """Train PPO in an Atari game that it sees through the retina."""

    env_id: str = "ALE/Pong-v5"
    glimpse_size: int = 12
    num_scales: int = 3
    num_glimpses: int = 4  # the last ones, side by side, since PPO has no memory
    total_steps: int = 2_000_000
    num_envs: int = 16
    eval_episodes: int = 16
    seed: int = 0
    quick: bool = False


def make_envs(settings: Settings, clip_rewards: bool) -> VecMonitor:
    short: dict[str, Any] = {"max_num_frames_per_episode": 100} if settings.quick else {}
    envs: Any = gym.make_vec(
        settings.env_id,
        num_envs=settings.num_envs,
        autoreset_mode="SameStep",  # as Stable-Baselines3 expects
        stack_num=1,  # frames; glimpses are stacked below
        reward_clipping=clip_rewards,
        **short,
    )
    envs = vector.ThroughRetina(envs, settings.glimpse_size, settings.num_scales)
    envs = vector.GridAction(envs, columns=6, rows=6)
    envs = vector.GlimpseStack(envs, settings.num_glimpses)
    return VecMonitor(SB3VecEnv(envs))


def main(settings: Settings) -> None:
    torch.set_num_threads(1)  # the networks are small
    total_steps = 256 if settings.quick else settings.total_steps
    model = PPO(
        "MultiInputPolicy",
        make_envs(settings, clip_rewards=True),
        n_steps=16 if settings.quick else 128,
        batch_size=16 * settings.num_envs,
        n_epochs=4,
        learning_rate=lambda left: 5e-4 * left,
        clip_range=0.1,
        ent_coef=0.01,
        policy_kwargs={
            "features_extractor_class": GlimpseFeatures,
            "features_extractor_kwargs": {"size": 256, "pixel_scale": 1.0},
            "net_arch": [256],
            "activation_fn": nn.ReLU,
        },
        seed=settings.seed,
        device="cpu",
        verbose=1,
    )
    model.learn(total_steps, log_interval=1 if settings.quick else 50)  # rollouts

    test_envs = make_envs(settings, clip_rewards=False)
    test_envs.seed(settings.seed + 1_000)
    returns, _ = evaluate_policy(
        model, test_envs, settings.eval_episodes, deterministic=False, return_episode_rewards=True
    )
    error = np.std(returns) / np.sqrt(np.size(returns))
    print(f"mean return {np.mean(returns):.2f} ± {error:.2f} over {np.size(returns)} games")


if __name__ == "__main__":
    main(tyro.cli(Settings))
