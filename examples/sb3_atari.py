"""PPO of Stable-Baselines3 plays an Atari game, through the retina or seeing whole frames.

    python examples/sb3_atari.py --env-id ALE/Pong-v5
    python examples/sb3_atari.py --view whole-frame
    python examples/sb3_atari.py --quick  # a few seconds, to see that it runs

Needs pip install "ram-gym[agent,sb3,atari]". ale-py's native vector environment plays all games;
`ThroughRetina` shows one glimpse of each frame, and the agent chooses a move and where to look.
The hyperparameters are those of RL Zoo for Atari.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ale_py
import gymnasium as gym
import numpy as np
import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor
from torch import nn

from ram_agent.provenance import provenance
from ram_envs.atomic_files import write_bytes, write_json
from ram_envs.sb3 import GlimpseFeatures, SB3VecEnv
from ram_envs.wrappers import vector

gym.register_envs(ale_py)


@dataclass(frozen=True)
class Settings:
    """Train PPO in an Atari game."""

    env_id: str = "ALE/Pong-v5"

    view: Literal["learned-gaze", "center-gaze", "whole-frame"] = "learned-gaze"
    """What it sees: glimpses at one of 6 × 6 locations of its choice, glimpses at the center, or
    frames of 84 × 84 pixels."""

    glimpse_size: int = 20
    num_scales: int = 3

    num_frames: int = 4
    """The last glimpses or frames, side by side, since PPO has no memory."""

    total_steps: int = 1_000_000
    num_envs: int = 8

    validate_every: int = 100_000  # steps
    validation_games: int = 32
    eval_episodes: int = 100
    seed: int = 0

    save: Path | None = None
    """Write the result to this JSON file, and the validations to a .metrics.jsonl beside it."""

    quick: bool = False
    """Play a few short games, to see that it runs."""


def make_envs(settings: Settings, clip_rewards: bool = False) -> VecMonitor:
    sees_frames = settings.view == "whole-frame"
    short: dict[str, Any] = {"max_num_frames_per_episode": 100} if settings.quick else {}
    envs: Any = gym.make_vec(
        settings.env_id,
        num_envs=settings.num_envs,
        autoreset_mode="SameStep",  # as Stable-Baselines3 expects
        stack_num=settings.num_frames if sees_frames else 1,  # glimpses are stacked below
        reward_clipping=clip_rewards,
        **short,
    )
    envs = vector.ThroughRetina(envs, settings.glimpse_size, settings.num_scales)
    chooses = settings.view == "learned-gaze"
    envs = vector.GridAction(envs, columns=6, rows=6) if chooses else vector.FixedGaze(envs)
    if sees_frames:
        envs = vector.WholeCanvas(envs)
    else:
        envs = vector.GlimpseStack(envs, settings.num_frames)
    return VecMonitor(SB3VecEnv(envs))


def make_model(settings: Settings) -> PPO:
    through_retina = {
        "features_extractor_class": GlimpseFeatures,
        "features_extractor_kwargs": {"size": 256, "pixel_scale": 1.0},
        "net_arch": [256],
        "activation_fn": nn.ReLU,
    }
    sees_frames = settings.view == "whole-frame"
    return PPO(
        "CnnPolicy" if sees_frames else "MultiInputPolicy",
        make_envs(settings, clip_rewards=True),
        n_steps=32 if settings.quick else 128,
        batch_size=32 * settings.num_envs,  # a quarter of the steps between two updates
        n_epochs=4,
        learning_rate=lambda left: 2.5e-4 * left,
        clip_range=lambda left: 0.1 * left,
        ent_coef=0.01,
        policy_kwargs=None if sees_frames else through_retina,
        seed=settings.seed,
        device="cpu",
    )


class Validate(BaseCallback):
    """Play whole games from time to time, and keep the mean returns as rows of steps."""

    def __init__(self, envs: VecMonitor, every: int, num_games: int) -> None:
        super().__init__()
        self.envs, self.every, self.num_games = envs, every, num_games
        self.rows: list[dict[str, float]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.num_timesteps // self.every > len(self.rows):
            mean_return = float(np.mean(play_games(self.model, self.envs, self.num_games)))
            self.rows.append({"steps": self.num_timesteps, "validation_return": mean_return})
            print(f"{self.num_timesteps:,} steps, mean return {mean_return:.2f}")


def play_games(model: Any, envs: VecMonitor, num_games: int) -> list[float]:
    """Return the return of each game; moves are sampled."""
    returns, _ = evaluate_policy(
        model, envs, num_games, deterministic=False, return_episode_rewards=True
    )
    return returns  # type: ignore[return-value]  # a list, with return_episode_rewards


def main(settings: Settings) -> None:
    torch.set_num_threads(1)  # the networks are small
    start = time.perf_counter()
    model = make_model(settings)
    envs = make_envs(settings)
    envs.seed(settings.seed + 1_000)
    validate = Validate(envs, settings.validate_every, settings.validation_games)
    model.learn(256 if settings.quick else settings.total_steps, validate)
    seconds = round(time.perf_counter() - start, 1)

    envs.seed(settings.seed + 2_000)
    returns = play_games(model, envs, settings.eval_episodes)
    mean, error = float(np.mean(returns)), float(np.std(returns) / np.sqrt(len(returns)))
    print(f"mean return {mean:.2f} ± {error:.2f} over {len(returns)} games")
    if settings.save is not None:
        facts = {"env_id": settings.env_id, "seed": settings.seed, "train_seconds": seconds}
        result = {"mean_return": mean, "standard_error": error, "episodes": len(returns)}
        results = {f"PPO of Stable-Baselines3, {settings.view.replace('-', ' ')}": result}
        write_json(settings.save, {**provenance(), **facts, "results": results})
        rows = "".join(json.dumps(row) + "\n" for row in validate.rows)
        write_bytes(settings.save.with_suffix(".metrics.jsonl"), rows.encode())


if __name__ == "__main__":
    main(tyro.cli(Settings))
