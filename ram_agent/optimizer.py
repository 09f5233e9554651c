"""The optimizer of an agent: learning rates over the training, and the average of its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ram_agent.agent import RAMAgent
from ram_agent.config import OptimizerConfig, TrainConfig
from ram_agent.objective import warm_up


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a module that are not frozen (`requires_grad`)."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def make_optimizer(agent: RAMAgent, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimizer of an agent, with groups for the location and baseline heads."""
    location_head = trained_parameters(agent.location_head)
    baseline_head = trained_parameters(agent.baseline_head)
    heads = {id(parameter) for parameter in (*location_head, *baseline_head)}
    others = [parameter for parameter in trained_parameters(agent) if id(parameter) not in heads]
    # "rate" is a group's own factor on the schedule's learning rate.
    groups = [
        {"params": others, "rate": 1.0, "is_location_head": False},
        {"params": location_head, "rate": config.head_rate, "is_location_head": True},
        {"params": baseline_head, "rate": config.head_rate, "is_location_head": False},
    ]
    if config.update_rule == "adam":
        return torch.optim.AdamW(
            groups, config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
    return torch.optim.SGD(
        groups, config.learning_rate, momentum=0.9, weight_decay=config.weight_decay
    )


def set_learning_rates(
    optimizer: torch.optim.Optimizer, config: TrainConfig, update: int, num_updates: int
) -> None:
    """Set each group's learning rate for update `update`, from 0, of `num_updates`."""
    progress = update / num_updates
    if config.schedule.learning_rate_schedule == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * progress))
    else:
        factor = 1 - progress
    # A short run reaches its highest rate, too: at most a tenth of it is warm-up.
    warmup = min(config.schedule.warmup_updates, num_updates // 10)
    factor *= min(1.0, (update + 1) / (warmup + 1))
    for group in optimizer.param_groups:
        group["lr"] = config.optimizer.learning_rate * group["rate"] * factor
        if group["is_location_head"]:
            group["lr"] *= warm_up(progress, config.gaze.head_warmup)


def take_step(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    loss: float,
    config: OptimizerConfig,
) -> None:
    """Take a step along gradients, shortened to config.max_grad_norm.

    Raises:
        FloatingPointError: if the loss or its gradient is not finite.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    # A finite loss can have an infinite gradient, so both are checked.
    norm = torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm or math.inf)
    if not math.isfinite(loss) or not math.isfinite(norm):
        raise FloatingPointError(
            f"Training has diverged: the loss is {loss} and the norm of its gradient "
            f"{norm.item()}. Lower learning_rate (now {config.learning_rate}) or set "
            "max_grad_norm; the last checkpoint is intact."
        )
    optimizer.step()


def update_average(
    averaged: tuple[Tensor, ...] | list[Tensor],
    current: tuple[Tensor, ...] | list[Tensor],
    num_averaged: Tensor | int,
    average_decay: float,
) -> None:
    """Move averaged weights towards the current ones, in place."""
    n = float(num_averaged)
    # Early on the average is short, so that it forgets the initial weights.
    decay = min(average_decay, (1 + n) / (10 + n))
    torch._foreach_lerp_(averaged, current, 1 - decay)
