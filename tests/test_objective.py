"""The loss of a rollout with labels: which of its tensors get a gradient, and how much."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ram_agent.config import TrainConfig, replace_settings
from ram_agent.objective import training_loss
from ram_agent.rollout import Rollout

# The paper's objective, of three glimpses: the rewards of the last step are those of all before.
PAPER = replace_settings(
    TrainConfig(),
    supervision="last_step",
    location_reward="reward",
    location_weight=1.0,
    normalize_advantages=False,
)


def close(tensor: torch.Tensor | None, expected: object) -> None:
    assert tensor is not None
    torch.testing.assert_close(tensor, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def make_rollout() -> Rollout:
    """Return three glimpses of two images of three classes, of which the first is named right."""
    return Rollout(
        choice_logits=torch.zeros(3, 2, 3, requires_grad=True),  # each class is as probable
        location_means=torch.zeros(3, 2, 2),
        location_log_probs=torch.zeros(3, 2, requires_grad=True),
        baselines=torch.full((3, 2), 0.25, requires_grad=True),
        choices=torch.tensor([[0, 0], [0, 0], [0, 0]]),
        rewards=torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]),
        labels=torch.tensor([0, 2]),
        observations=[],
    )


def differentiate(
    config: TrainConfig, advantage_square: float = 0.0
) -> tuple[Rollout, dict[str, torch.Tensor]]:
    """Return a rollout with the gradients of its loss at the end of training, and its metrics."""
    rollout = make_rollout()
    loss, metrics = training_loss(rollout, config, 1.0, advantage_square)
    loss.backward()  # type: ignore[no-untyped-call]
    return rollout, metrics


@pytest.mark.parametrize(
    ("supervision", "weights"), [("last_step", [0.0, 0.0, 1.0]), ("every_step", [0.25, 0.25, 0.5])]
)
def test_which_labels_are_supervised(supervision: Any, weights: list[float]) -> None:
    rollout, _ = differentiate(replace_settings(PAPER, supervision=supervision))
    gradient = rollout.choice_logits.grad
    # weight · (probability − 1 for the true class) / 2 episodes
    close(gradient, [[[-w / 3, w / 6, w / 6], [w / 6, w / 6, -w / 3]] for w in weights])


def test_locations_are_trained_by_their_advantage_and_the_last_one_is_not() -> None:
    rollout, metrics = differentiate(PAPER)
    # −(return − baseline) / 4 locations: the returns are 1 and 0, the baselines 0.25
    close(rollout.location_log_probs.grad, [[-0.1875, 0.0625], [-0.1875, 0.0625], [0.0, 0.0]])
    close(metrics["advantage_square"].detach(), 0.3125)  # (0.75² + 0.25²) / 2


def test_baselines_are_trained_toward_the_return_and_the_last_one_is_not() -> None:
    rollout, _ = differentiate(replace_settings(PAPER, baseline_weight=2.0))
    # 2 · 2 · (baseline − return) / 4 locations, and nothing through the advantage
    close(rollout.baselines.grad, [[-0.75, 0.25], [-0.75, 0.25], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("advantage_square", "gradient"),
    [
        (0.0, [-0.3354102, 0.1118034]),  # none before: over √0.3125, their own
        (0.25, [-0.375, 0.125]),  # over 0.5
        (0.01, [-1.0, 0.625]),  # 7.5, clipped to 4, and −2.5
    ],
)
def test_advantages_are_divided_by_their_running_size(
    advantage_square: float, gradient: list[float]
) -> None:
    config = replace_settings(PAPER, normalize_advantages=True)
    rollout, metrics = differentiate(config, advantage_square)
    close(rollout.location_log_probs.grad, [gradient, gradient, [0.0, 0.0]])
    close(metrics["advantage_square"].detach(), 0.3125)
