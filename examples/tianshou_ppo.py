"""PPO of Tianshou 2 learns where to look.

    python examples/tianshou_ppo.py

Needs pip install "ram-gym[agent]" tianshou. Tianshou has its own vector environments and needs
flat observations and a Discrete action: (column, row, choice) as one number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from gymnasium.wrappers import FlattenObservation, TransformAction, TransformObservation
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, CollectStats, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic
from tianshou.utils.torch_utils import policy_within_training_step, torch_train_mode

from ram_envs.registration import CLASSIFICATION
from ram_envs.wrappers import GlimpseStack, GridAction


@dataclass(frozen=True)
class Settings:
    """Train PPO of Tianshou."""

    env_id: str = "RAMMNIST-v0"
    dataset: str = "digits"  # inside the package; "mnist" is downloaded
    total_steps: int = 200_000
    num_envs: int = 32
    num_steps: int = 48  # of each environment between updates
    num_epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 1e-3
    eval_episodes: int = 500
    seed: int = 0


def make_env(settings: Settings, split: str) -> gym.Env[Any, Any]:
    # A game has no images to choose.
    is_game = settings.env_id.rpartition(":")[2] not in CLASSIFICATION
    images: dict[str, Any] = {} if is_game else {"dataset": settings.dataset, "split": split}
    env: Any = GridAction(gym.make(settings.env_id, **images), columns=3, rows=3)
    sizes = env.action_space.nvec
    one_number = gym.spaces.Discrete(int(sizes.prod()))
    env = TransformAction(env, lambda n: np.array(np.unravel_index(n, sizes)), one_number)
    env = FlattenObservation(GlimpseStack(env, num_glimpses=4))
    # Pixels are mostly 0; multiplied by 3, they are learned from faster.
    space = gym.spaces.Box(-3, 3, env.observation_space.shape, np.float32)
    return TransformObservation(env, lambda flat: 3 * flat, space)


def make_envs(settings: Settings, split: str) -> DummyVectorEnv:
    envs = DummyVectorEnv([lambda: make_env(settings, split)] * settings.num_envs)
    envs.seed(settings.seed)
    return envs


def main(settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)  # the networks are small
    env = make_env(settings, "train")
    shape = env.observation_space.shape

    def network() -> Net:
        return Net(state_shape=shape, hidden_sizes=[256, 128])

    actor = DiscreteActor(
        preprocess_net=network(),
        action_shape=int(env.action_space.n),  # type: ignore[attr-defined]
        softmax_output=False,
    )
    policy = DiscreteActorPolicy(
        actor=actor,
        dist_fn=lambda logits: torch.distributions.Categorical(logits=logits),
        action_space=env.action_space,
        observation_space=env.observation_space,
        deterministic_eval=True,
    )
    algorithm: Any = PPO(
        policy=policy,
        critic=DiscreteCritic(preprocess_net=network()),
        optim=AdamOptimizerFactory(lr=settings.learning_rate),
        ent_coef=0.01,
        max_grad_norm=0.5,
    )

    steps_per_update = settings.num_envs * settings.num_steps
    buffer = VectorReplayBuffer(steps_per_update, settings.num_envs)
    collector = Collector[CollectStats](algorithm, make_envs(settings, "train"), buffer)
    collector.reset()
    num_updates = max(1, settings.total_steps // steps_per_update)
    finished: list[float] = []
    for update in range(1, num_updates + 1):
        with policy_within_training_step(policy):  # so that it samples its actions
            finished += collector.collect(n_step=steps_per_update).returns.tolist()
            with torch_train_mode(algorithm):
                algorithm.update(buffer, settings.batch_size, settings.num_epochs)
        collector.reset_buffer(keep_statistics=True)
        if update % max(1, num_updates // 20) == 0:
            num_steps = update * steps_per_update
            print(f"{num_steps:8} steps  mean return {np.mean(finished[-1000:]):.3f}")

    test_collector = Collector[CollectStats](algorithm, make_envs(settings, "test"))
    test_collector.reset()
    returns = test_collector.collect(n_episode=settings.eval_episodes).returns
    print(f"greedy: mean return {returns.mean():.3f} over {len(returns)} test episodes")


if __name__ == "__main__":
    main(tyro.cli(Settings))
