"""PPO of skrl learns where to look, with the native vector environments.

    python examples/skrl_ppo.py

Needs pip install "ram-gym[agent]" skrl. skrl has no policy for the Tuple (location, choice), so
GridAction encodes it as three numbers: column, row, choice. The agent sees a stack of glimpses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, Model, MultiCategoricalMixin
from skrl.trainers.torch import StepTrainer
from skrl.utils import set_seed
from skrl.utils.spaces.torch import unflatten_tensorized_space
from torch import Tensor, nn

from ram_envs.registration import CLASSIFICATION
from ram_envs.wrappers.vector import GlimpseStack, GridAction


@dataclass(frozen=True)
class Settings:
    """Train PPO of skrl."""

    env_id: str = "RAMMNIST-v0"
    dataset: str = "digits"  # inside the package; "mnist" is downloaded
    total_steps: int = 400_000
    num_envs: int = 64
    num_steps: int = 24  # of each environment between updates
    learning_rate: float = 1e-3
    eval_envs: int = 500
    seed: int = 0


class GlimpseNetwork(nn.Module):
    """Glimpse and location, concatenated as in RAM; then two layers."""

    def __init__(self, space: gym.spaces.Dict, output_size: int) -> None:
        super().__init__()
        self.space = space
        self.what = nn.Linear(int(np.prod(space["glimpse"].shape or ())), 128)
        self.where = nn.Linear(int(np.prod(space["location"].shape or ())), 128)
        out = nn.Linear(128, output_size)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), out)

    def forward(self, observations: Tensor) -> Tensor:
        seen = unflatten_tensorized_space(self.space, observations)  # skrl keeps them flat
        # Pixels are mostly 0; multiplied by 3, they weigh as much as the location.
        what = self.what(3 * seen["glimpse"].flatten(1))
        return self.head(torch.cat([what, self.where(seen["location"])], dim=1))


class Policy(MultiCategoricalMixin, Model):
    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        MultiCategoricalMixin.__init__(self)
        self.network = GlimpseNetwork(self.observation_space, int(self.action_space.nvec.sum()))

    def compute(self, inputs: dict[str, Tensor], role: str = "") -> tuple[Tensor, dict[str, Any]]:
        return self.network(inputs["observations"]), {}


class Value(DeterministicMixin, Model):
    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        DeterministicMixin.__init__(self)
        self.network = GlimpseNetwork(self.observation_space, 1)

    def compute(self, inputs: dict[str, Tensor], role: str = "") -> tuple[Tensor, dict[str, Any]]:
        return self.network(inputs["observations"]), {}


def make_env(settings: Settings, split: str, num_envs: int) -> Any:
    # A game has no images to choose.
    is_game = settings.env_id.rpartition(":")[2] not in CLASSIFICATION
    images: dict[str, Any] = {} if is_game else {"dataset": settings.dataset, "split": split}
    mode = "SameStep"  # skrl would learn from the steps that NextStep spends on a reset
    envs = gym.make_vec(settings.env_id, num_envs=num_envs, autoreset_mode=mode, **images)
    envs = GlimpseStack(GridAction(envs, columns=4, rows=4), num_glimpses=4)
    return wrap_env(envs, wrapper="gymnasium", verbose=False)


def main(settings: Settings) -> None:
    set_seed(settings.seed)
    torch.set_num_threads(1)  # the networks are small
    env = make_env(settings, "train", settings.num_envs)
    spaces = {
        "observation_space": env.observation_space,
        "action_space": env.action_space,
        "device": env.device,
    }
    agent = PPO(
        models={"policy": Policy(**spaces), "value": Value(**spaces)},
        memory=RandomMemory(
            memory_size=settings.num_steps, num_envs=env.num_envs, device=env.device
        ),
        **spaces,
        cfg=PPO_CFG(
            rollouts=settings.num_steps,
            learning_epochs=4,
            mini_batches=6,
            learning_rate=settings.learning_rate,
            entropy_loss_scale=0.01,
            value_loss_scale=0.5,
            # Neither a log for TensorBoard nor checkpoints.
            experiment={"write_interval": 0, "checkpoint_interval": 0},
        ),
    )
    num_updates = max(1, settings.total_steps // (settings.num_envs * settings.num_steps))
    trainer = StepTrainer(
        env=env,
        agents=agent,
        cfg={
            "timesteps": num_updates * settings.num_steps,
            "headless": True,
            "disable_progressbar": True,
            "close_environment_at_exit": False,
        },
    )
    running, finished = torch.zeros(settings.num_envs, 1), []  # returns
    for update in range(1, num_updates + 1):
        for _ in range(settings.num_steps):
            _, rewards, terminated, _, _ = trainer.train()
            running += rewards.cpu()
            finished += running[terminated.cpu()].tolist()
            running[terminated.cpu()] = 0
        if update % max(1, num_updates // 20) == 0:
            num_steps = update * settings.num_envs * settings.num_steps
            print(f"{num_steps:8} steps  mean return {np.mean(finished[-1000:]):.3f}")

    # One episode in every test environment. The library's policy always samples, so the most
    # probable column, row and choice are taken from its logits.
    agent.enable_training_mode(False, apply_to_models=True)
    test_env = make_env(settings, "test", settings.eval_envs)
    observations, _ = test_env.reset()
    returns, over = torch.zeros(settings.eval_envs, 1), torch.zeros(settings.eval_envs, 1).bool()
    while not over.all():
        with torch.no_grad():
            _, outputs = agent.act(observations, None, timestep=0, timesteps=0)
        each = outputs["net_output"].split(test_env.action_space.nvec.tolist(), dim=-1)
        actions = torch.stack([logits.argmax(-1) for logits in each], dim=-1)
        observations, rewards, terminated, _, _ = test_env.step(actions)
        returns += rewards.cpu() * ~over
        over |= terminated.cpu()
    print(f"greedy: mean return {returns.mean():.3f} over {len(returns)} test episodes")


if __name__ == "__main__":
    main(tyro.cli(Settings))
