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
    """The mean, 0 of nothing: with a single glimpse no location is ever paid."""
    return values.sum() / max(values.numel(), 1)


def gaussian_log_prob(samples: Tensor, means: Tensor, std: Tensor | float) -> Tensor:
    """log π of locations (…, 2) under a Gaussian with independent coordinates, (…)."""
    std = torch.as_tensor(std, dtype=means.dtype, device=means.device)
    squares = ((samples - means) / std).square().sum(-1)
    return -0.5 * squares - samples.shape[-1] * (torch.log(std) + 0.5 * math.log(2 * math.pi))


def returns_to_go(rewards: Tensor) -> Tensor:
    """R_t = r_t + r_{t+1} + … + r_{T−1}, (T, B), without discount, as in the paper."""
    return rewards.flip(0).cumsum(0).flip(0)


def generalized_advantages(rewards: Tensor, baselines: Tensor, lambda_: float) -> Tensor:
    """A_t of what was done at step t, (T, B), without discount (Schulman et al. 2016, 1506.02438).

    A_t = δ_t + λ A_{t+1}, δ_t = r_t + b_{t+1} − b_t, and nothing after the last step. With λ = 1
    that is the return less the baseline; a smaller λ blames a step less for what comes much later.
    """
    following = torch.cat([baselines[1:], torch.zeros_like(baselines[:1])])
    surprises = rewards + following - baselines
    advantages = torch.empty_like(surprises)
    later = torch.zeros_like(surprises[0])
    for t in range(len(surprises) - 1, -1, -1):
        later = surprises[t] + lambda_ * later
        advantages[t] = later
    return advantages


def label_gains(label_probs: Tensor, discount: float) -> Tensor:
    """What each look added to the true label's probability, (T, B); the last row is 0.

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
    """Cross-entropy of labels (B,) under logits (T, B, n), steps weighted by `weights` (T,)."""
    num_steps = len(logits)
    losses = F.cross_entropy(logits.flatten(0, 1), labels.repeat(num_steps), reduction="none")
    return weights @ losses.view(num_steps, -1).mean(1)


def supervision_weights(num_steps: int, every_step: bool) -> Tensor:
    """How much each step's label counts, (T,), sum 1: the last alone, or half with the others."""
    weights = torch.zeros(num_steps, dtype=torch.float32)
    weights[-1] = 1
    if every_step and num_steps > 1:
        weights[:-1] = 0.5 / (num_steps - 1)
        weights[-1] = 0.5
    return weights


def choice_log_probs(logits: Tensor, choices: Tensor) -> Tensor:
    """log π of choices (T, B) under logits (T, B, n), (T, B)."""
    return logits.log_softmax(-1).gather(-1, choices.unsqueeze(-1)).squeeze(-1)


def mean_entropy(logits: Tensor) -> Tensor:
    """The mean entropy of choices under logits (T, B, n), in nats: from 0 to log n."""
    log_probs = logits.log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1).mean()


def policy_loss(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """REINFORCE: −mean(log π(a_t) · A_t) over (T, B), no gradient through the advantage."""
    return -mean(log_probs * advantages.detach())


def baseline_loss(baselines: Tensor, pays: Tensor) -> Tensor:
    """Mean squared error of baselines against what was paid, (T, B)."""
    return mean((baselines - pays.detach()).square())
