"""Segments: T steps of B environments, in which episodes begin and end at any step.

Without labels an agent learns from segments. The recurrent state is carried over from the
segment before. Where a segment or a time limit cuts an episode, the baseline's prediction replaces
the rewards that follow (bootstrapping).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ram_agent.agent import AgentOutput, RAMAgent
from ram_agent.config import TrainConfig
from ram_agent.cores import State
from ram_agent.losses import (
    choice_log_probs,
    gaussian_log_prob,
    segment_advantages,
)
from ram_agent.player import Player, Step, check_locations


@dataclass(frozen=True)
class Segment:
    """T steps of B environments, time first, as the agent played them; without gradients.

    glimpses, locations     (T, B, K·C, G, G) and (T, B, 2), the observations
    begins                  (T, B) bool, where an episode begins
    acts                    (T, B) bool, where the action counts; see `Step`
    ended                   (T, B) bool, where an episode is over, so that no action follows the
                            glimpse at this location
    looks, choices          (T, B, 2) and (T, B), the locations and choices that were drawn
    look_log_probs, choice_log_probs    (T, B), of what was drawn, when it was drawn
    rewards                 (T, B)
    advantages, returns     (T, B), generalized advantages, and the baseline's targets
    state                   the recurrent state before the first step
    """

    glimpses: Tensor
    locations: Tensor
    begins: Tensor
    acts: Tensor
    ended: Tensor
    looks: Tensor
    choices: Tensor
    look_log_probs: Tensor
    choice_log_probs: Tensor
    rewards: Tensor
    advantages: Tensor
    returns: Tensor
    state: State

    def rows(self, index: Tensor) -> Segment:
        """Return the same steps of some of the environments."""
        values = {
            field.name: getattr(self, field.name).index_select(1, index)
            for field in dataclasses.fields(self)
            if field.name != "state"
        }
        return Segment(**values, state=tuple(part[index] for part in self.state))


@torch.no_grad()
def collect_segment(
    player: Player, length: int, config: TrainConfig, generator: torch.Generator | None = None
) -> Segment:
    """Play `length` steps, from where the player is.

    Args:
        player: the agent in its environments.
        length: T.
        config: the settings of the training: discount, λ, the baseline's loss.
        generator: source of the agent's noise.
    """
    agent = player.agent
    state, steps, finals = player.state, [], []
    for _ in range(length):
        steps.append(player.step(generator=generator))
        finals.append(final_values(agent, steps[-1], player.state, config))
    last, _ = agent.step(player.observation, player.state)

    device = agent.device
    outputs, actions = [step.output for step in steps], [step.action for step in steps]
    means = torch.stack([output.location_mean for output in outputs])
    looks = torch.stack([action.location for action in actions])
    check_locations(looks)
    choices = torch.stack([action.choice for action in actions])
    ended = torch.from_numpy(np.stack([step.ended for step in steps])).to(device)
    rewards = torch.stack([step.rewards for step in steps]).to(device)
    values = as_value(torch.stack([output.baseline for output in outputs]), config)
    following = torch.cat([values[1:], as_value(last.baseline, config)[None]])
    following = torch.where(ended, torch.stack(finals), following)
    segments = config.segments
    advantages, returns = (
        segment_advantages(rewards, values, following, ended, segments.discount, lambda_)
        for lambda_ in (config.objective.gae_lambda, segments.return_lambda)
    )
    return Segment(
        glimpses=_stack(steps, "glimpse").to(device),
        locations=_stack(steps, "location").to(device),
        begins=torch.from_numpy(np.stack([step.begins for step in steps])).to(device),
        acts=torch.from_numpy(np.stack([step.acts for step in steps])).to(device),
        ended=ended,
        looks=looks,
        choices=choices,
        look_log_probs=gaussian_log_prob(looks, means, agent.location_std),
        choice_log_probs=choice_log_probs(
            torch.stack([output.choice_logits for output in outputs]), choices
        ),
        rewards=rewards,
        advantages=advantages,
        returns=values + returns,
        state=state,
    )


def unroll(agent: RAMAgent, segment: Segment) -> AgentOutput:
    """Return the agent's outputs, (T, B, …), as `agent.step` does one after another."""
    features = agent.glimpse_network(
        segment.glimpses.flatten(0, 1), segment.locations.flatten(0, 1)
    )
    features = features.view(*segment.begins.shape, -1)
    return agent.heads(agent.core.unroll(features, segment.state, segment.begins))


def final_values(agent: RAMAgent, step: Step, state: State, config: TrainConfig) -> Tensor:
    """Return the values of the last observations of truncated episodes, (B,); 0 elsewhere.

    Args:
        agent, step, config: the agent, its step, the settings of the training.
        state: the recurrent state after the step.
    """
    values = torch.zeros(len(step.rewards), device=agent.device)
    if step.final_observation is not None:
        rows = torch.from_numpy(step.truncated).to(agent.device)
        output, _ = agent.step(step.final_observation, tuple(part[rows] for part in state))
        values[rows] = as_value(output.baseline, config)
    return values


def as_value(baseline: Tensor, config: TrainConfig) -> Tensor:
    """Return the predicted return: the baseline, or its probability if it is a logit."""
    is_logit = config.objective.baseline_loss == "cross_entropy"
    return baseline.sigmoid() if is_logit else baseline


def _stack(steps: list[Step], key: str) -> Tensor:
    return torch.stack([torch.as_tensor(step.observation[key]) for step in steps])
