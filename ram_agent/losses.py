"""The hybrid loss (paper, section 3.1), as pure functions: tensors in, tensor out.

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


def generalized_advantages(rewards: Tensor, baselines: Tensor, lambda_: float) -> Tensor:
    """Return the advantages A_t, (T, B), without discount (Schulman et al. 2016, 1506.02438).

    A_t = δ_t + λ A_{t+1} and δ_t = r_t + b_{t+1} − b_t, with zeros after the last step. With λ = 1
    this is the return minus the baseline; a smaller λ gives later rewards less weight.
    """
    following = torch.cat([baselines[1:], torch.zeros_like(baselines[:1])])
    deltas = rewards + following - baselines
    advantages = torch.empty_like(deltas)
    later = torch.zeros_like(deltas[0])
    for t in range(len(deltas) - 1, -1, -1):
        later = deltas[t] + lambda_ * later
        advantages[t] = later
    return advantages


def label_gains(label_probs: Tensor, discount: float) -> Tensor:
    """Return how much each look raised the true label's probability, (T, B); the last row is 0.

    gain_t = Σ_{s>t} γ^{s−t−1} p_s / Σ_{s>t} γ^{s−t−1} − p_t, where p_t (T, B) is the probability
    after the t-th glimpse.
    """
    later = torch.zeros_like(label_probs)
    weight = 0.0
    for t in range(len(label_probs) - 2, -1, -1):
        later[t] = label_probs[t + 1] + discount * weight * later[t + 1]
        weight = 1 + discount * weight
        later[t] /= weight
    gains = later - label_probs
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


def mean_entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy of choices under logits (T, B, n), in nats: from 0 to log n."""
    log_probs = logits.log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1).mean()


def policy_loss(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """Return −mean(log π(a_t) · A_t) over (T, B) (REINFORCE); advantages get no gradient."""
    return -mean(log_probs * advantages.detach())


def baseline_loss(baselines: Tensor, returns: Tensor) -> Tensor:
    """Return the mean squared error of baselines against returns (T, B), without their gradient."""
    return mean((baselines - returns.detach()).square())
