"""A whole training in one file, to read from top to bottom: RAM learns to find and name a digit.

    python examples/train_in_one_file.py

The loop is that of `ram train`, without checkpoints, warm-ups and averaged weights. On the embedded
digits it takes about a minute on one core.
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
import tyro

import ram_envs  # noqa: F401  registers the ids
from ram_agent import RAMAgent, collect_rollout, evaluate
from ram_agent.losses import (
    baseline_loss,
    label_gains,
    label_loss,
    policy_loss,
    supervision_weights,
)


@dataclass(frozen=True)
class Settings:
    """Train RAM."""

    env_id: str = "RAMTranslatedMNIST-v0"
    dataset: str = "digits"
    num_updates: int = 1500
    batch_size: int = 128
    learning_rate: float = 2e-3
    seed: int = 0


def main(settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(settings.seed)

    # Without autoreset, each update plays whole episodes.
    def make_envs(split: str, num_envs: int) -> gym.vector.VectorEnv:
        return gym.make_vec(
            settings.env_id,
            num_envs=num_envs,
            dataset=settings.dataset,
            split=split,
            autoreset_mode="Disabled",
        )

    envs = make_envs("train", settings.batch_size)
    agent = RAMAgent(envs.single_observation_space, envs.single_action_space)
    optimizer = torch.optim.Adam(agent.parameters(), lr=settings.learning_rate)
    # The learning rate falls to 0 along half a cosine.
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.num_updates)

    for update in range(settings.num_updates):
        agent.location_std.fill_(0.2 - 0.1 * update / settings.num_updates)
        seed = int(rng.integers(2**31))
        rollout = collect_rollout(agent, envs, seed=seed)  # (T, B), with the forward graph
        assert rollout.labels is not None

        # The label is supervised: cross-entropy after every glimpse.
        weights = supervision_weights(len(rollout.rewards), every_step=True)
        loss = label_loss(rollout.choice_logits, rollout.labels, weights)

        # Locations are trained by REINFORCE. The reward of a location is how much the next glimpses
        # raise the true label's probability; the advantage is that minus the baseline. The last
        # location shows nothing, so it has no loss.
        probs = rollout.choice_logits.detach().softmax(-1)
        true_label = rollout.labels.expand(len(probs), -1).unsqueeze(-1)
        label_probs = probs.gather(-1, true_label).squeeze(-1)
        returns = label_gains(label_probs, discount=0.5)[:-1]
        advantages = returns - rollout.baselines[:-1]
        advantages = advantages / (advantages.std() + 1e-8)
        loss = loss + 0.25 * policy_loss(rollout.location_log_probs[:-1], advantages)
        loss = loss + baseline_loss(rollout.baselines[:-1], returns)

        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(agent.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (update + 1) % 250 == 0:
            accuracy = rollout.rewards.sum(0).mean()
            print(f"update {update + 1:5}  training accuracy {accuracy:.1%}")

    test_envs = make_envs("test", 100)
    for gaze in ("learned", "random"):
        result = evaluate(agent, test_envs, gaze=gaze)
        print(f"test error with {gaze} gaze: {result.error:.1f}%")


if __name__ == "__main__":
    main(tyro.cli(Settings))
