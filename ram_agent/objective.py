"""The training objective: the loss of a rollout, with labels and without (paper, section 3.1).

With labels it is the hybrid loss: cross-entropy of the labels, REINFORCE for the locations, squared
error of the baseline. Without labels the choices are trained by REINFORCE, too.

A location moves the next glimpse. The last one moves only an observation that nobody acts on, so it
has no loss.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import torch.nn.functional as F
from torch import Tensor

from ram_agent.config import ObjectiveConfig, TrainConfig
from ram_agent.losses import (
    baseline_loss,
    choice_log_probs,
    generalized_advantages,
    label_gains,
    label_loss,
    mean,
    mean_entropy,
    policy_loss,
    returns_to_go,
    supervision_weights,
)
from ram_agent.rollout import Rollout

Metrics = dict[str, Tensor]  # scalars

# Settings that only one of the objectives reads.
WITH_LABELS = ("gain_discount",)
WITHOUT_LABELS = ("gae_lambda", "entropy_weight", "baseline_loss")


def training_loss(
    rollout: Rollout, config: TrainConfig, progress: float, advantage_square: float
) -> tuple[Tensor, Metrics]:
    """Return the loss of a rollout and its metrics.

    Args:
        rollout: T steps of B episodes, with the forward graph.
        config: the settings of the training.
        progress: fraction of the training that is done, from 0 to 1.
        advantage_square: running mean square of advantages; 0 where there is none yet.

    Returns:
        The loss, a scalar, and the metrics, among them "advantage_square" of this rollout.

    Raises:
        ValueError: if a setting was changed that this objective never reads; or the baseline is to
            be a probability and a return is not from 0 to 1.
    """
    check_used(config.objective, rollout.labels is not None)
    if rollout.labels is None or config.objective.supervision == "none":
        loss, metrics = reinforcement_loss(rollout, config, progress, advantage_square)
    else:
        loss, metrics = hybrid_loss(rollout, rollout.labels, config, progress, advantage_square)
    mean_return = rollout.rewards.sum(0).mean().double()
    means = rollout.location_means[:-1].detach()
    return loss, {
        "loss": loss,
        **(
            {"train_return": mean_return}
            if rollout.labels is None
            else {"train_error": 100 * (1 - mean_return)}
        ),
        **metrics,
        # These show a gaze that has collapsed: no spread, or means at the border.
        "location_spread": mean((means - means.mean(1, keepdim=True)).square()).sqrt(),
        "location_at_border": mean((means.abs() > 0.95).float()),
    }


@functools.cache
def check_used(objective: ObjectiveConfig, has_labels: bool) -> None:
    """Raise ValueError if a setting was changed that the objective never reads."""
    unused: tuple[str, ...] = WITH_LABELS
    if not has_labels:
        how = "in an environment without labels"
    elif objective.supervision == "none":
        how = "with supervision='none'"
    else:
        how, unused = "where labels are supervised", WITHOUT_LABELS
        if objective.location_reward == "reward":
            how, unused = f"{how} and location_reward='reward'", (*WITHOUT_LABELS, *WITH_LABELS)
    for field in dataclasses.fields(objective):
        value = getattr(objective, field.name)
        if field.name in unused and value != field.default:
            raise ValueError(
                f"{field.name}={value!r} has no effect {how}. Leave it at {field.default!r}."
            )


def hybrid_loss(
    rollout: Rollout, labels: Tensor, config: TrainConfig, progress: float, advantage_square: float
) -> tuple[Tensor, Metrics]:
    """Return cross-entropy + location_weight · REINFORCE + baseline_weight · squared error."""
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
        "label_loss": labels_loss,
        "location_loss": location_loss,
        "baseline_loss": baselines_loss,
        "location_reward": mean(returns),
        "advantage_square": mean(advantages.square()),
    }


def reinforcement_loss(
    rollout: Rollout, config: TrainConfig, progress: float, advantage_square: float
) -> tuple[Tensor, Metrics]:
    """Return the REINFORCE loss of choices and locations + baseline's loss − entropy."""
    objective = config.objective
    returns = returns_to_go(rollout.rewards)
    baselines = rollout.baselines
    if objective.baseline_loss == "cross_entropy":
        if returns.min() < 0 or returns.max() > 1:
            raise ValueError(
                "baseline_loss='cross_entropy' needs returns from 0 to 1, and this environment "
                f"gave {returns.min():g} to {returns.max():g}. Set baseline_loss='squared_error'."
            )
        baselines_loss = F.binary_cross_entropy_with_logits(baselines, returns)
        baselines = baselines.sigmoid()
    else:
        baselines_loss = baseline_loss(baselines, returns)
    advantages = generalized_advantages(rollout.rewards, baselines.detach(), objective.gae_lambda)
    scaled = scale_advantages(advantages, config, advantage_square)
    choice_loss = policy_loss(choice_log_probs(rollout.choice_logits, rollout.choices), scaled)
    location_loss = policy_loss(rollout.location_log_probs[:-1], scaled[:-1])
    entropy = mean_entropy(rollout.choice_logits)
    loss = (
        choice_loss
        + location_weight(config, progress) * location_loss
        + objective.baseline_weight * baselines_loss
        - objective.entropy_weight * (1 - progress) * entropy
    )
    return loss, {
        "choice_loss": choice_loss,
        "location_loss": location_loss,
        "baseline_loss": baselines_loss,
        "entropy": entropy,
        "advantage_square": mean(advantages.square()),
    }


def location_returns(rollout: Rollout, labels: Tensor, config: TrainConfig) -> Tensor:
    """Return the reward of each location, (T, B)."""
    if config.objective.location_reward == "reward":
        return returns_to_go(rollout.rewards)
    probs = rollout.choice_logits.detach().softmax(-1)
    index = labels.expand(len(probs), -1).unsqueeze(-1)
    return label_gains(probs.gather(-1, index).squeeze(-1), config.objective.gain_discount)


def location_weight(config: TrainConfig, progress: float) -> float:
    """Return the weight of the locations' REINFORCE loss, which rises at the beginning."""
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
