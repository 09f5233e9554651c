"""PPO with a memory, in one file as in CleanRL: no trainer class, every detail visible.

    python examples/cleanrl_ppo.py

Like RAM, the agent has a glimpse network and a recurrent core, but it learns from the reward
alone, and it chooses locations on a grid. Needs pip install "ram-gym[agent]".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.distributions import Categorical

from ram_envs.registration import CLASSIFICATION
from ram_envs.wrappers.vector import GridAction


@dataclass(frozen=True)
class Settings:
    """Train PPO with a recurrent core."""

    env_id: str = "RAMMNIST-v0"
    dataset: str = "digits"  # inside the package; "mnist" is downloaded
    total_steps: int = 400_000
    num_envs: int = 64
    num_steps: int = 24  # of each environment between updates: four episodes of six glimpses
    num_epochs: int = 4
    num_minibatches: int = 4
    learning_rate: float = 1e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy_weight: float = 0.01
    eval_envs: int = 500
    seed: int = 0


class Agent(nn.Module):
    def __init__(self, envs: Any, size: int = 128) -> None:
        super().__init__()
        self.choices_of_each = envs.single_action_space.nvec.tolist()  # columns, rows, labels
        self.what = nn.Linear(int(np.prod(envs.single_observation_space["glimpse"].shape)), size)
        self.where = nn.Linear(2, size)
        self.core = nn.GRUCell(2 * size, size)
        self.actor = nn.Linear(size, sum(self.choices_of_each))
        self.critic = nn.Linear(size, 1)

    def forward(self, glimpses: Tensor, locations: Tensor, starts: Tensor, state: Tensor) -> Any:
        """Map observations (T, B, …) and a state (B, D) to policies, values and the next state."""
        # Pixels are mostly 0; multiplied by 3, they weigh as much as the location.
        features = torch.cat([self.what(3 * glimpses.flatten(2)), self.where(locations)], dim=-1)
        states = []
        for feature, start in zip(torch.relu(features), starts, strict=True):
            state = self.core(feature, state * (1 - start).unsqueeze(-1))  # forget at a start
            states.append(state)
        hidden = torch.stack(states)
        logits = self.actor(hidden).split(self.choices_of_each, dim=-1)
        return [Categorical(logits=one) for one in logits], self.critic(hidden).squeeze(-1), state

    @torch.no_grad()
    def see(self, observation: dict[str, Any], start: Tensor, state: Tensor) -> Any:
        """Return the policies, values (B,) and next state of one step of B environments."""
        seen = [torch.as_tensor(observation[key])[None] for key in ("glimpse", "location")]
        policies, values, state = self(*seen, start[None], state)
        return [Categorical(logits=policy.logits[0]) for policy in policies], values[0], state


def log_probs(policies: list[Categorical], actions: Tensor) -> Tensor:
    each = zip(policies, actions.unbind(-1), strict=True)
    return torch.stack([policy.log_prob(action) for policy, action in each]).sum(0)


def make_envs(settings: Settings, split: str, num_envs: int) -> Any:
    # A game has no images to choose.
    is_game = settings.env_id.rpartition(":")[2] not in CLASSIFICATION
    images: dict[str, Any] = {} if is_game else {"dataset": settings.dataset, "split": split}
    mode = "SameStep"  # so no step is spent on a reset
    envs = gym.make_vec(settings.env_id, num_envs=num_envs, autoreset_mode=mode, **images)
    return GridAction(envs, columns=4, rows=4)


def main(settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)  # the networks are small
    envs = make_envs(settings, "train", settings.num_envs)
    agent = Agent(envs)
    optimizer = torch.optim.Adam(agent.parameters(), lr=settings.learning_rate, eps=1e-5)

    observation, _ = envs.reset(seed=settings.seed)
    start = torch.ones(settings.num_envs)
    state = torch.zeros(settings.num_envs, agent.core.hidden_size)
    running, finished = np.zeros(settings.num_envs), []  # returns
    num_updates = max(1, settings.total_steps // (settings.num_envs * settings.num_steps))
    for update in range(1, num_updates + 1):
        # Play num_steps in every environment.
        first_state, steps = state, []
        for _ in range(settings.num_steps):
            policies, value, state = agent.see(observation, start, state)
            action = torch.stack([policy.sample() for policy in policies], dim=-1)
            before = (observation["glimpse"], observation["location"], start, action)
            observation, reward, terminated, _, _ = envs.step(action.numpy())
            steps.append((*before, log_probs(policies, action), value, np.float32(reward)))
            start = torch.as_tensor(terminated, dtype=torch.float32)
            running += reward
            finished.extend(running[terminated])
            running[terminated] = 0
        columns = zip(*steps, strict=True)
        rollout = [torch.stack([torch.as_tensor(one) for one in column]) for column in columns]
        glimpses, locations, starts, actions, old_log_probs, values, rewards = rollout  # (T, B, …)

        # Generalized advantage estimation. Episodes end by termination only, with value 0.
        _, next_value, _ = agent.see(observation, start, state)
        next_values = torch.cat([values[1:], next_value[None]])
        goes_on = 1 - torch.cat([starts[1:], start[None]])
        deltas = rewards + settings.gamma * goes_on * next_values - values
        advantages, advantage = torch.zeros_like(deltas), torch.zeros(settings.num_envs)
        for t in reversed(range(settings.num_steps)):
            decay = settings.gamma * settings.gae_lambda * goes_on[t]
            advantages[t] = advantage = deltas[t] + decay * advantage
        returns = advantages + values

        # Each minibatch holds whole sequences of some environments, for the core.
        for _ in range(settings.num_epochs):
            for rows in torch.randperm(settings.num_envs).chunk(settings.num_minibatches):
                policies, new_values, _ = agent(
                    glimpses[:, rows], locations[:, rows], starts[:, rows], first_state[rows]
                )
                ratio = (log_probs(policies, actions[:, rows]) - old_log_probs[:, rows]).exp()
                gain = advantages[:, rows]
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
                policy_loss = -torch.min(ratio * gain, clipped * gain).mean()
                value_loss = 0.25 * (new_values - returns[:, rows]).square().mean()
                entropy = sum(policy.entropy().mean() for policy in policies)
                loss = policy_loss + value_loss - settings.entropy_weight * entropy
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        if update % max(1, num_updates // 20) == 0:
            num_steps = update * settings.num_envs * settings.num_steps
            print(f"{num_steps:8} steps  mean return {np.mean(finished[-1000:]):.3f}")

    # Play one episode in every test environment, always with the most probable action.
    envs = make_envs(settings, "test", settings.eval_envs)
    observation, _ = envs.reset(seed=settings.seed)
    start = torch.zeros(settings.eval_envs)
    state = torch.zeros(settings.eval_envs, agent.core.hidden_size)
    scores, over = np.zeros(settings.eval_envs), np.zeros(settings.eval_envs, bool)
    while not over.all():
        policies, _, state = agent.see(observation, start, state)
        action = torch.stack([policy.mode for policy in policies], dim=-1)
        observation, reward, terminated, _, _ = envs.step(action.numpy())
        scores += np.where(over, 0, reward)
        over |= terminated
    print(f"greedy: mean return {scores.mean():.3f} over {len(scores)} test episodes")


if __name__ == "__main__":
    main(tyro.cli(Settings))
