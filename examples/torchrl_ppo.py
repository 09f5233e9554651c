"""PPO of TorchRL learns where to look, with the native vector environments.

    python examples/torchrl_ppo.py

Needs pip install "ram-gym[agent]" torchrl. TorchRL does not support the Tuple (location, choice),
so GridAction encodes it as three numbers: column, row, choice. The agent sees a stack of glimpses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torch.distributions import Categorical, Independent
from torchrl.collectors import Collector
from torchrl.envs import (
    ExplorationType,
    GymWrapper,
    RewardSum,
    TransformedEnv,
    set_exploration_type,
)
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from ram_envs.registration import CLASSIFICATION
from ram_envs.wrappers.vector import GlimpseStack, GridAction


@dataclass(frozen=True)
class Settings:
    """Train PPO of TorchRL."""

    env_id: str = "RAMMNIST-v0"
    dataset: str = "digits"  # inside the package; "mnist" is downloaded
    total_steps: int = 400_000
    num_envs: int = 64
    num_steps: int = 24  # of each environment between updates
    num_epochs: int = 4
    num_minibatches: int = 6
    learning_rate: float = 1e-3
    eval_envs: int = 500
    seed: int = 0


class GlimpseNetwork(nn.Module):
    """Glimpse and location, concatenated as in RAM; then two layers."""

    def __init__(self, space: gym.spaces.Dict, output_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.what = nn.Linear(int(np.prod(space["glimpse"].shape or ())), 128)
        self.where = nn.Linear(int(np.prod(space["location"].shape or ())), 128)
        out = nn.Linear(128, int(np.prod(output_shape)))
        self.head = nn.Sequential(
            nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), out, nn.Unflatten(-1, output_shape)
        )

    def forward(self, glimpse: Tensor, location: Tensor) -> Tensor:
        # Pixels are mostly 0; multiplied by 3, they weigh as much as the location.
        what = self.what(3 * glimpse.flatten(-3))
        return self.head(torch.cat([what, self.where(location)], dim=-1))


class GridPolicy(Independent):
    """Independent Categoricals of column, row and choice; logits (…, 3, n)."""

    def __init__(self, logits: Tensor, sizes: Tensor) -> None:
        # All three have as many logits as the largest needs; those left over get probability 0.
        left_over = torch.arange(logits.shape[-1]) >= sizes.unsqueeze(-1)
        super().__init__(Categorical(logits=logits.masked_fill(left_over, -1e9)), 1)


def make_envs(settings: Settings, split: str, num_envs: int) -> Any:
    # A game has no images to choose.
    is_game = settings.env_id.rpartition(":")[2] not in CLASSIFICATION
    images: dict[str, Any] = {} if is_game else {"dataset": settings.dataset, "split": split}
    mode = "Disabled"  # TorchRL resets the sub-environments that ended
    envs = gym.make_vec(settings.env_id, num_envs=num_envs, autoreset_mode=mode, **images)
    return GlimpseStack(GridAction(envs, columns=4, rows=4), num_glimpses=4)


def main(settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)  # the networks are small

    def wrapped(envs: Any) -> TransformedEnv:
        env = TransformedEnv(GymWrapper(envs, categorical_action_encoding=True), RewardSum())
        env.set_seed(settings.seed)
        return env

    native = make_envs(settings, "train", settings.num_envs)
    space, sizes = native.single_observation_space, native.single_action_space.nvec
    env = wrapped(native)
    keys = ["glimpse", "location"]
    logits = GlimpseNetwork(space, (3, int(sizes.max())))
    actor = ProbabilisticActor(
        TensorDictModule(logits, in_keys=keys, out_keys=["logits"]),
        in_keys=["logits"],
        spec=env.action_spec,
        distribution_class=GridPolicy,
        distribution_kwargs={"sizes": torch.as_tensor(sizes)},
        return_log_prob=True,
    )
    critic = ValueOperator(GlimpseNetwork(space, (1,)), in_keys=keys)
    advantage = GAE(gamma=0.99, lmbda=0.95, value_network=critic)
    loss_module = ClipPPOLoss(actor, critic, entropy_coeff=0.01, normalize_advantage=True)
    optimizer = torch.optim.Adam(loss_module.parameters(), lr=settings.learning_rate)

    frames = settings.num_envs * settings.num_steps
    num_updates = max(1, settings.total_steps // frames)
    collector = Collector(
        env,
        actor,
        frames_per_batch=frames,
        total_frames=frames * num_updates,
        auto_register_policy_transforms=False,  # they are for policies with a memory
    )
    finished: list[float] = []
    for update, rollout in enumerate(collector, start=1):  # (B, T)
        ended = rollout["next", "done"]
        finished += rollout["next", "episode_reward"][ended].tolist()
        for _ in range(settings.num_epochs):
            with torch.no_grad():
                advantage(rollout)
            flat = rollout.reshape(-1)
            for rows in torch.randperm(frames).chunk(settings.num_minibatches):
                losses = loss_module(flat[rows])
                loss = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(loss_module.parameters(), 0.5)
                optimizer.step()
        if update % max(1, num_updates // 20) == 0:
            print(f"{update * frames:8} steps  mean return {np.mean(finished[-1000:]):.3f}")
    collector.shutdown()

    test_env = wrapped(make_envs(settings, "test", settings.eval_envs))
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        episodes = test_env.rollout(1000, actor)  # all end in the same step
    returns = episodes["next", "episode_reward"][:, -1]
    print(f"greedy: mean return {returns.mean():.3f} over {len(returns)} test episodes")


if __name__ == "__main__":
    main(tyro.cli(Settings))
