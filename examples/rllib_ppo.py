"""PPO of RLlib learns where to look, with the native vector environments.

    python examples/rllib_ppo.py

Needs pip install "ram-gym[rllib]", in its own virtual environment: RLlib supports gymnasium 1.2.2
only. It has no policy for the Tuple (location, choice), so GridAction encodes it as three numbers:
column, row, choice. The agent sees a stack of glimpses. The default number of steps suits the
digits; in Catch the agent stays at chance level with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
import tyro
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchMultiCategorical
from ray.rllib.core.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.tune.registry import register_env
from torch import Tensor, nn

from ram_envs.registration import CLASSIFICATION
from ram_envs.wrappers.vector import GlimpseStack, GridAction


@dataclass(frozen=True)
class Settings:
    """Train PPO of RLlib."""

    env_id: str = "RAMMNIST-v0"
    dataset: str = "digits"  # inside the package; "mnist" is downloaded
    total_steps: int = 400_000
    num_envs: int = 64
    num_steps: int = 24  # of each environment between updates
    num_epochs: int = 4
    num_minibatches: int = 6
    learning_rate: float = 1e-3
    eval_episodes: int = 500
    seed: int = 0


class GlimpseNetwork(nn.Module):
    """Glimpse and location, concatenated as in RAM; then two layers."""

    def __init__(self, space: gym.spaces.Dict, output_size: int) -> None:
        super().__init__()
        self.what = nn.Linear(int(np.prod(space["glimpse"].shape or ())), 128)
        self.where = nn.Linear(int(np.prod(space["location"].shape or ())), 128)
        out = nn.Linear(128, output_size)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), out)

    def forward(self, seen: dict[str, Tensor]) -> Tensor:
        # Pixels are mostly 0; multiplied by 3, they weigh as much as the location.
        what = self.what(3 * seen["glimpse"].flatten(1))
        return self.head(torch.cat([what, self.where(seen["location"].flatten(1))], dim=1))


class Agent(TorchRLModule, ValueFunctionAPI):
    def setup(self) -> None:
        sizes = self.action_space.nvec.tolist()  # columns, rows, choices
        self.action_dist_cls = TorchMultiCategorical.get_partial_dist_cls(input_lens=sizes)
        self.policy = GlimpseNetwork(self.observation_space, sum(sizes))
        self.value = GlimpseNetwork(self.observation_space, 1)

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self.policy(batch[Columns.OBS])}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        return self.value(batch[Columns.OBS]).squeeze(-1)


def make_envs(config: dict[str, Any]) -> Any:
    # RLlib expects the default mode, NextStep, and leaves out the steps spent on a reset.
    return GlimpseStack(GridAction(gym.make_vec(**config), columns=4, rows=4), num_glimpses=4)


def main(settings: Settings) -> None:
    torch.set_num_threads(1)  # the networks are small
    # A game has no images to choose.
    is_game = settings.env_id.rpartition(":")[2] not in CLASSIFICATION
    images: dict[str, Any] = {} if is_game else {"dataset": settings.dataset, "split": "train"}
    test_images = {} if is_game else {"split": "test"}
    steps_per_update = settings.num_envs * settings.num_steps
    num_updates = max(1, settings.total_steps // steps_per_update)
    register_env("glimpses", make_envs)
    config = (
        PPOConfig()
        .environment("glimpses", env_config={"id": settings.env_id, **images})
        .env_runners(
            num_env_runners=0,  # none beside this process
            num_envs_per_env_runner=settings.num_envs,
            gym_env_vectorize_mode="vector_entry_point",  # all of them in one call of make_envs
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=Agent))
        .training(
            train_batch_size_per_learner=steps_per_update,
            minibatch_size=steps_per_update // settings.num_minibatches,
            num_epochs=settings.num_epochs,
            lr=settings.learning_rate,
            gamma=0.99,
            lambda_=0.95,
            clip_param=0.2,
            entropy_coeff=0.01,
            use_kl_loss=False,
            grad_clip=0.5,
        )
        .evaluation(
            evaluation_interval=num_updates,  # after the last one
            evaluation_duration=settings.eval_episodes,
            evaluation_config={"explore": False, "env_config": test_images},
        )
        .reporting(metrics_num_episodes_for_smoothing=settings.eval_episodes)
        .debugging(seed=settings.seed)
    )
    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
    agent = config.build_algo()
    for update in range(1, num_updates + 1):
        result = agent.train()
        if update % max(1, num_updates // 20) == 0:
            played = result["env_runners"]  # for this update
            num_steps = int(played["num_env_steps_sampled_lifetime"])
            print(f"{num_steps:8} steps  mean return {played['episode_return_mean']:.3f}")

    played = result["evaluation"]["env_runners"]  # always with the most probable action
    num_episodes, mean_return = played["num_episodes"], played["episode_return_mean"]
    print(f"greedy: mean return {mean_return:.3f} over {num_episodes} test episodes")
    agent.stop()
    ray.shutdown()


if __name__ == "__main__":
    main(tyro.cli(Settings))
