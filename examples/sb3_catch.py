"""PPO of Stable-Baselines3 learns Catch with a fixed gaze.

    python examples/sb3_catch.py

Needs pip install "ram-gym[agent,sb3]"; three million steps take about six minutes on one core.
Three settings make it learn: the gaze is fixed to the center, where the coarsest patch covers the
screen; coarse cells are sums, so that the ball stays visible; and returns are not discounted, since
only the last of a game's 23 steps is rewarded. With `--gaze learned` PPO also chooses locations,
and three million steps are too few (docs/contest.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor
from torch import nn

import ram_envs  # noqa: F401  registers the ids
from ram_agent.provenance import provenance
from ram_envs.atomic_files import write_json
from ram_envs.sb3 import GlimpseFeatures, SB3VecEnv
from ram_envs.wrappers import vector

NUM_STEPS = 23  # of a game


@dataclass(frozen=True)
class Settings:
    """Train PPO on RAMCatch-v0."""

    gaze: Literal["fixed", "learned"] = "fixed"
    """Where it looks: at the center, or at one of 3 × 3 cells of its choice."""

    total_steps: int = 3_000_000
    num_envs: int = 128
    eval_episodes: int = 5_000
    seed: int = 0

    save: Path | None = None
    """Write the result to this JSON file."""


def make_envs(settings: Settings) -> VecMonitor:
    envs: Any = gym.make_vec("RAMCatch-v0", num_envs=settings.num_envs, autoreset_mode="SameStep")
    envs = vector.GlimpseStack(envs, num_glimpses=10)
    fixed = settings.gaze == "fixed"
    envs = vector.FixedGaze(envs) if fixed else vector.GridAction(envs, columns=3, rows=3)
    return VecMonitor(SB3VecEnv(envs))


def main(settings: Settings) -> None:
    torch.set_num_threads(1)  # the networks are small
    features = {"pixel_scale": 10.0, "scale_factor": 4.0, "num_scales": 3}
    model = PPO(
        "MultiInputPolicy",
        make_envs(settings),
        n_steps=NUM_STEPS,
        batch_size=NUM_STEPS * settings.num_envs // 2,
        n_epochs=4,
        learning_rate=lambda remaining: 1e-3 * remaining,
        gamma=1.0,
        gae_lambda=0.9,
        ent_coef=0.01,
        policy_kwargs={
            "features_extractor_class": GlimpseFeatures,
            "features_extractor_kwargs": features,
            "net_arch": [256, 128],
            "activation_fn": nn.ReLU,
        },
        seed=settings.seed,
        device="cpu",
    )
    model.learn(settings.total_steps)
    test_envs = make_envs(settings)
    test_envs.seed(settings.seed + 2**20)
    returns, _ = evaluate_policy(
        model, test_envs, settings.eval_episodes, deterministic=True, return_episode_rewards=True
    )
    caught = round(100 * float(np.mean(returns)), 2)
    print(f"{caught}% caught of {np.size(returns)} games, {settings.gaze} gaze")
    if settings.save is not None:
        facts = {"seed": settings.seed, "env_steps": settings.total_steps, "gaze": settings.gaze}
        result = {"caught_percent": caught, "games": np.size(returns)}
        write_json(settings.save, {**provenance(), **facts, **result})


if __name__ == "__main__":
    main(tyro.cli(Settings))
