"""The parts of the hybrid loss (paper, section 3.1) and of PPO's, as pure functions of tensors.

Time comes first: (T, B). A location chosen at step t decides what is seen at step t + 1, so the
last one decides nothing and has no loss.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def mean(values: Tensor) -> Tensor:
    """Return the mean; 0 for no values, as there are no location losses with one glimpse."""
    return values.sum() / max(values.numel(), 1)


def gaussian_log_prob(samples: Tensor, means: Tensor, std: Tensor | float) -> Tensor:
    """Return log π of locations (…, 2) under a Gaussian with independent coordinates, (…)."""
    std = torch.as_tensor(std, dtype=means.dtype, device=means.device)
    squares = ((samples - means) / std).square().sum(-1)
    return -0.5 * squares - samples.shape[-1] * (torch.log(std) + 0.5 * math.log(2 * math.pi))


def returns_to_go(rewards: Tensor) -> Tensor:
    """Return R_t = r_t + r_{t+1} + … + r_{T−1}, (T, B), without discount, as in the paper."""
    return rewards.flip(0).cumsum(0).flip(0)


def segment_advantages(
    rewards: Tensor,
    values: Tensor,
    following: Tensor,
    ended: Tensor,
    discount: float,
    lambda_: float,
) -> Tensor:
    """Return the advantages A_t, (T, B), of a segment in which episodes end (GAE, 1506.02438).

    A_t = δ_t + γ λ A_{t+1} and δ_t = r_t + γ v'_t − v_t; where an episode ends, and after the last
    step, A_{t+1} counts as 0.

    Args:
        rewards, values: r_t and v_t, (T, B).
        following: v'_t, (T, B), the value of what follows in the same episode: v_{t+1}; at a cut
            or a time limit that of the next observation; 0 where the episode terminates.
        ended: (T, B) bool.
        discount, lambda_: γ and λ.
    """
    deltas = rewards + discount * following - values
    decays = discount * lambda_ * (~ended).to(deltas.dtype)
    advantages = torch.empty_like(deltas)
    later = torch.zeros_like(deltas[0])
    for t in range(len(deltas) - 1, -1, -1):
        later = deltas[t] + decays[t] * later
        advantages[t] = later
    return advantages


def clipped_policy_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip_range: float, counts: Tensor
) -> Tensor:
    """Return −mean(min(ρ A, clip(ρ, 1 − ε, 1 + ε) A)) (PPO, Schulman et al. 2017, 1707.06347).

    Args:
        log_probs: log π(a_t), (T, B), with gradients.
        old_log_probs: the same when a_t was drawn; ρ = π / π_old.
        advantages: A_t, (T, B), without gradients.
        clip_range: ε.
        counts: (T, B) bool, the steps that count.
    """
    ratios = (log_probs - old_log_probs).exp()
    clipped = ratios.clamp(1 - clip_range, 1 + clip_range)
    return -masked_mean(torch.minimum(ratios * advantages, clipped * advantages), counts)


def masked_mean(values: Tensor, counts: Tensor) -> Tensor:
    """Return the mean of the values that count (bool); 0 if there are none."""
    return (values * counts).sum() / counts.sum().clamp(min=1)


def label_gains(label_values: Tensor, discount: float) -> Tensor:
    """Return how much each look raised the value of the true label, (T, B); the last row is 0.

    gain_t = Σ_{s>t} γ^{s−t−1} v_s / Σ_{s>t} γ^{s−t−1} − v_t, where v_t (T, B) is the label's
    probability after the t-th glimpse, or the logarithm of it.
    """
    later = torch.zeros_like(label_values)
    weight = 0.0
    for t in range(len(label_values) - 2, -1, -1):
        later[t] = label_values[t + 1] + discount * weight * later[t + 1]
        weight = 1 + discount * weight
        later[t] /= weight
    gains = later - label_values
    gains[-1] = 0
    return gains


def label_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the cross-entropy of labels (B,) under logits (T, B, n), weighted by step (T,)."""
    num_steps = len(logits)
    losses = F.cross_entropy(logits.flatten(0, 1), labels.repeat(num_steps), reduction="none")
    return weights @ losses.view(num_steps, -1).mean(1)


def supervision_weights(num_steps: int, every_step: bool) -> Tensor:
    """Return the weight of each step's label, (T,), sum 1: the last has all of it, or half."""
    weights = torch.zeros(num_steps, dtype=torch.float32)
    weights[-1] = 1
    if every_step and num_steps > 1:
        weights[:-1] = 0.5 / (num_steps - 1)
        weights[-1] = 0.5
    return weights


def choice_log_probs(logits: Tensor, choices: Tensor) -> Tensor:
    """Return log π of choices (T, B) under logits (T, B, n), (T, B)."""
    return logits.log_softmax(-1).gather(-1, choices.unsqueeze(-1)).squeeze(-1)


def entropies(logits: Tensor) -> Tensor:
    """Return the entropy of choices under logits (…, n), in nats: from 0 to log n."""
    log_probs = logits.log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1)


def policy_loss(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """Return −mean(log π(a_t) · A_t) over (T, B) (REINFORCE); advantages get no gradient."""
    return -mean(log_probs * advantages.detach())


def baseline_loss(baselines: Tensor, returns: Tensor) -> Tensor:
    """Return the mean squared error of baselines against returns (T, B), without their gradient."""
    return mean((baselines - returns.detach()).square())
