"""The training objective: the loss of a rollout with labels, or of a segment without.

With labels it is the hybrid loss (paper, section 3.1): cross-entropy of the labels, REINFORCE for
the locations, squared error of the baseline. Without labels choices and locations are trained by
the clipped policy loss of PPO, whose first gradient is REINFORCE's.

A location moves the next glimpse. The last one moves only an observation that nobody acts on, so it
has no loss.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ram_agent.agent import RAMAgent
from ram_agent.config import TrainConfig
from ram_agent.losses import (
    baseline_loss,
    choice_log_probs,
    clipped_policy_loss,
    entropies,
    gaussian_log_prob,
    label_gains,
    label_loss,
    masked_mean,
    mean,
    policy_loss,
    returns_to_go,
    supervision_weights,
)
from ram_agent.rollout import Rollout
from ram_agent.segment import Segment, unroll

# The lower bound of log-probabilities for "log_gain": confident errors would dominate otherwise.
LEAST_LOG_PROB = -6.0


def training_loss(
    rollout: Rollout, config: TrainConfig, progress: float, advantage_square: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return cross-entropy + location_weight · REINFORCE + baseline_weight · squared error.

    Args:
        rollout: T steps of B episodes, with the forward graph.
        config: the settings of the training.
        progress: fraction of the training that is done, from 0 to 1.
        advantage_square: running mean square of advantages; 0 where there is none yet.

    Returns:
        The loss and the metrics, all scalars, among them "advantage_square" of this rollout.

    Raises:
        ValueError: if the rollout has no labels.
    """
    if (labels := rollout.labels) is None:
        raise ValueError("The rollout has no labels. Learn from segments instead: `segment_loss`.")
    objective = config.objective
    weights = supervision_weights(len(rollout.rewards), objective.supervision == "every_step")
    labels_loss = label_loss(rollout.choice_logits, labels, weights.to(labels.device))
    returns = location_returns(rollout, labels, config)[:-1]
    advantages = returns - rollout.baselines[:-1].detach()
    scaled = scale_advantages(advantages, config, advantage_square)
    location_loss = policy_loss(rollout.location_log_probs[:-1], scaled)
    baselines_loss = baseline_loss(rollout.baselines[:-1], returns)
    loss = (
        labels_loss
        + location_weight(config, progress) * location_loss
        + objective.baseline_weight * baselines_loss
    )
    return loss, {
        "loss": loss,
        "train_error": 100 * (rollout.choices[-1] != labels).double().mean(),
        "label_loss": labels_loss,
        "location_loss": location_loss,
        "baseline_loss": baselines_loss,
        "location_reward": mean(returns),
        "advantage_square": mean(advantages.square()),
        **gaze_metrics(rollout.location_means[:-1].detach()),
    }


def gaze_metrics(means: Tensor) -> dict[str, Tensor]:
    """Return what shows that a gaze has collapsed: no spread, or means (T, B, 2) at the border."""
    return {
        "location_spread": mean((means - means.mean(1, keepdim=True)).square()).sqrt(),
        "location_at_border": mean((means.abs() > 0.95).float()),
    }


def segment_loss(
    agent: RAMAgent,
    segment: Segment,
    config: TrainConfig,
    progress: float,
    advantage_square: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the clipped policy losses of choices and looks + baseline's loss − entropy.

    Raises:
        ValueError: if the baseline is to be a probability and a return is not from 0 to 1.
    """
    objective, clip_range = config.objective, config.segments.clip_range
    output = unroll(agent, segment)
    acts, returns = segment.acts, segment.returns
    looks_on = acts & ~segment.ended
    if objective.baseline_loss == "cross_entropy":
        if returns.min() < -1e-4 or returns.max() > 1 + 1e-4:
            raise ValueError(
                "baseline_loss='cross_entropy' needs returns from 0 to 1, and this environment "
                f"gave {returns.min():g} to {returns.max():g}. Set baseline_loss='squared_error'."
            )
        errors = F.binary_cross_entropy_with_logits(
            output.baseline, returns.clamp(0, 1), reduction="none"
        )
    else:
        errors = (output.baseline - returns).square()
    baselines_loss = masked_mean(errors, acts)
    advantages = scale_advantages(segment.advantages, config, advantage_square)
    choice_log_prob = choice_log_probs(output.choice_logits, segment.choices)
    choice_loss = clipped_policy_loss(
        choice_log_prob, segment.choice_log_probs, advantages, clip_range, acts
    )
    if config.gaze.locations == "learned":
        look_log_prob = gaussian_log_prob(segment.looks, output.location_mean, agent.location_std)
    else:  # a control: log π of its locations may be so low that the ratio would overflow
        look_log_prob = segment.look_log_probs + 0 * output.location_mean.sum(-1)
    location_loss = clipped_policy_loss(
        look_log_prob, segment.look_log_probs, advantages, clip_range, looks_on
    )
    entropy = masked_mean(entropies(output.choice_logits), acts)
    loss = (
        choice_loss
        + location_weight(config, progress) * location_loss
        + objective.baseline_weight * baselines_loss
        - objective.entropy_weight * (1 - progress) * entropy
    )
    with torch.no_grad():
        ratios = (choice_log_prob - segment.choice_log_probs).exp()
        look_ratios = (look_log_prob - segment.look_log_probs).exp()
        metrics = {
            "loss": loss,
            "choice_loss": choice_loss,
            "location_loss": location_loss,
            "baseline_loss": baselines_loss,
            "entropy": entropy,
            "choices_clipped": masked_mean(((ratios - 1).abs() > clip_range).float(), acts),
            "locations_clipped": masked_mean(
                ((look_ratios - 1).abs() > clip_range).float(), looks_on
            ),
            "advantage_square": masked_mean(segment.advantages.square(), acts),
            **gaze_metrics(output.location_mean),
        }
    return loss, metrics


def location_returns(rollout: Rollout, labels: Tensor, config: TrainConfig) -> Tensor:
    """Return the reward of each location, (T, B)."""
    if config.objective.location_reward == "reward":
        return returns_to_go(rollout.rewards)
    labels = labels.expand(len(rollout.choice_logits), -1)
    log_probs = choice_log_probs(rollout.choice_logits.detach(), labels)
    is_log = config.objective.location_reward == "log_gain"
    values = log_probs.clamp(min=LEAST_LOG_PROB) if is_log else log_probs.exp()
    return label_gains(values, config.objective.gain_discount)


def location_weight(config: TrainConfig, progress: float) -> float:
    """Return the weight of the locations' REINFORCE loss: rising at first; 0 for a control."""
    if config.gaze.locations != "learned":
        return 0.0
    return warm_up(progress, config.gaze.location_warmup) * config.gaze.location_weight


def scale_advantages(advantages: Tensor, config: TrainConfig, advantage_square: float) -> Tensor:
    """Return advantages over their running root mean square, clipped at ±4, if so configured."""
    if not config.objective.normalize_advantages:
        return advantages
    square = advantage_square or float(mean(advantages.square()))
    return (advantages / (math.sqrt(square) + 1e-8)).clamp(-4, 4)


def warm_up(progress: float, warmup: float) -> float:
    """Return a factor that rises from 0 to 1 over the first fraction `warmup` of the training."""
    return min(1.0, progress / warmup) if warmup > 0 else 1.0
