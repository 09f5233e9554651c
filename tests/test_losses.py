"""Each loss against numbers worked out by hand, and where its gradient flows."""

from __future__ import annotations

import pytest
import torch

from ram_agent.config import TrainConfig, replace_settings
from ram_agent.losses import (
    baseline_loss,
    choice_log_probs,
    clipped_policy_loss,
    entropies,
    gaussian_log_prob,
    label_gains,
    label_loss,
    masked_mean,
    policy_loss,
    returns_to_go,
    segment_advantages,
    supervision_weights,
)
from ram_agent.objective import location_returns
from ram_agent.rollout import Rollout


def close(tensor: torch.Tensor, expected: object) -> None:
    torch.testing.assert_close(tensor, torch.tensor(expected), rtol=1e-5, atol=1e-6)


# --- the log-prob of locations ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "std", "expected"),
    [
        ((0.0, 0.0), 1.0, -1.8378771),  # −log 2π
        ((1.0, 0.0), 1.0, -2.3378771),  # one standard deviation off: ½ less
        ((0.5, -1.0), 0.5, -2.9515827),  # −½ (1² + 2²) − 2 log 0.5 − log 2π
        ((0.0, 0.0), 0.1, 2.7672931),  # a density may be larger than 1
    ],
)
def test_gaussian_log_prob(sample: tuple[float, float], std: float, expected: float) -> None:
    close(gaussian_log_prob(torch.tensor([sample]), torch.zeros(1, 2), std), [expected])


def test_gaussian_log_prob_is_of_the_distance_to_the_mean_row_by_row() -> None:
    samples = torch.tensor([[0.3, 0.4], [2.0, -1.0]])
    means = torch.tensor([[0.3, 0.4], [1.0, -1.0]])
    close(gaussian_log_prob(samples, means, torch.tensor(1.0)), [-1.8378771, -2.3378771])


def test_gaussian_log_prob_keeps_time_and_batch_apart() -> None:
    samples = torch.zeros(3, 4, 2)  # (T, B, 2)
    samples[2, 1] = torch.tensor([1.0, 1.0])
    log_probs = gaussian_log_prob(samples, torch.zeros(3, 4, 2), 1.0)
    expected = torch.full((3, 4), -1.8378771)
    expected[2, 1] -= 1
    torch.testing.assert_close(log_probs, expected)


def test_gaussian_log_prob_is_as_exact_as_the_means() -> None:
    samples = torch.tensor([[0.1, 0.0]], dtype=torch.float64)
    log_prob = gaussian_log_prob(samples, torch.zeros_like(samples), 0.1)
    assert log_prob.dtype == torch.float64
    # −½ − 2 log 0.1 − log 2π; in float32 the eighth digit would differ
    assert log_prob.item() == pytest.approx(2.26729311958, abs=1e-10)


def test_gaussian_density_integrates_to_one() -> None:
    side = torch.linspace(-2, 2, 201, dtype=torch.float64)
    samples = torch.cartesian_prod(side, side)
    means = torch.tensor([0.2, -0.4], dtype=torch.float64).expand_as(samples)
    total = gaussian_log_prob(samples, means, 0.2).exp().sum() * 0.02**2
    assert total.item() == pytest.approx(1, abs=1e-6)


# --- what a location is paid -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("lambda_", "expected"),
    [
        # One game of three steps that pays 1 at the end; the baseline said 0.5, 0.25, 0.75.
        (0.0, [-0.25, 0.5, 0.25]),  # what each step changed: 0.25 − 0.5, 0.75 − 0.25, 1 − 0.75
        (0.5, [0.0625, 0.625, 0.25]),  # −0.25 + ½ (0.5 + ½ · 0.25), 0.5 + ½ · 0.25
        (1.0, [0.5, 0.75, 0.25]),  # the return less the baseline
    ],
)
def test_advantages_of_a_whole_game(lambda_: float, expected: list[float]) -> None:
    rewards = torch.tensor([[0.0, 9.0], [0.0, 9.0], [1.0, 9.0]])  # the second game is another's
    values = torch.tensor([[0.5, 1.0], [0.25, 2.0], [0.75, 3.0]])
    following = torch.tensor([[0.25, 2.0], [0.75, 3.0], [0.0, 0.0]])
    ended = torch.tensor([[False, False], [False, False], [True, True]])
    advantages = segment_advantages(rewards, values, following, ended, 1.0, lambda_)
    close(advantages[:, 0], expected)


def test_advantages_where_an_episode_ends_and_another_is_cut() -> None:
    # r = 1, 0, 2; the first episode ends after the first step, the second is cut after the third.
    rewards, values = torch.tensor([[1.0], [0.0], [2.0]]), torch.tensor([[0.5], [0.25], [1.0]])
    following = torch.tensor([[0.0], [1.0], [4.0]])
    ended = torch.tensor([[True], [False], [False]])
    # γ = ½: δ = 1 − 0.5, ½ · 1 − 0.25, 2 + ½ · 4 − 1; with λ = ½ the third counts a quarter.
    advantages = segment_advantages(rewards, values, following, ended, 0.5, 0.5)
    close(advantages, [[0.5], [1.0], [3.0]])


def test_advantages_after_a_time_limit_rest_on_what_would_have_come() -> None:
    rewards, values = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.5], [0.25]])
    following, ended = torch.tensor([[2.0], [0.0]]), torch.tensor([[True], [True]])
    advantages = segment_advantages(rewards, values, following, ended, 1.0, 1.0)
    close(advantages, [[2.5], [-0.25]])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # The slope is that of the loss in log π: −ρ A where nothing is cut off.
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # far enough: 1.2 · 2
        (0.5, 2.0, -1.0, -1.0),  # back towards what was good
        (1.5, -2.0, 3.0, 3.0),  # away from what was bad
        (0.5, -2.0, 1.6, 0.0),  # far enough: 0.8 · 2
    ],
)
def test_clipped_policy_loss(ratio: float, advantage: float, loss: float, slope: float) -> None:
    old = torch.tensor([[-1.0, -2.0]])
    log_probs = (old + torch.tensor([[ratio, 9.0]]).log()).requires_grad_()
    advantages, counts = torch.tensor([[advantage, 5.0]]), torch.tensor([[True, False]])
    found = clipped_policy_loss(log_probs, old, advantages, 0.2, counts)
    found.backward()  # type: ignore[no-untyped-call]
    close(found.detach(), loss)
    assert log_probs.grad is not None
    close(log_probs.grad, [[slope, 0.0]])


def test_mean_of_what_counts() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    close(masked_mean(values, torch.tensor([[True, False], [True, False]])), 2.0)
    close(masked_mean(values, torch.zeros(2, 2, dtype=torch.bool)), 0.0)


def test_choice_log_probs_of_several_steps_and_episodes() -> None:
    probs = torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.875, 0.125]])  # of each of three episodes
    logits = torch.stack([probs, probs.flip(1)]).log()  # (T, B, n) = (2, 3, 2)
    log_probs = choice_log_probs(logits, torch.tensor([[0, 1, 0], [0, 1, 1]]))
    close(log_probs.exp(), [[0.25, 0.5, 0.875], [0.75, 0.5, 0.875]])


def test_choice_log_probs() -> None:
    logits = torch.tensor([[[0.0, 0.0, 0.0]], [[2.0, 0.0, 1.0]]])  # (T, B, n) = (2, 1, 3)
    close(choice_log_probs(logits, torch.tensor([[1], [2]])), [[-1.0986123], [-1.4076059]])


def test_entropies() -> None:
    even, sure = [0.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0]
    close(entropies(torch.tensor([[even, sure]])), [[1.3862944, 0.0]])  # log 4
    assert entropies(torch.tensor([[[-1e9, 0.0]]])).item() == 0  # not NaN


def test_returns_to_go() -> None:
    rewards = torch.tensor([[0.0, 1.0], [2.0, 0.0], [3.0, 4.0]])
    close(returns_to_go(rewards), [[5.0, 5.0], [5.0, 4.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("probs", "discount", "gains"),
    [
        # (0.2 + 0.3/2 + 0.9/4) / 1.75 − 0.1; (0.3 + 0.9/2) / 1.5 − 0.2; 0.9 − 0.3
        ([0.1, 0.2, 0.3, 0.9], 0.5, [0.22857143, 0.3, 0.6, 0.0]),
        ([0.1, 0.2, 0.3, 0.9], 0.0, [0.1, 0.1, 0.6, 0.0]),  # the next glimpse alone
        ([0.1, 0.2, 0.3, 0.9], 1.0, [0.36666667, 0.4, 0.6, 0.0]),  # the mean of all later ones
        ([0.75, 0.25], 0.5, [-0.5, 0.0]),
        ([0.7], 0.5, [0.0]),
    ],
)
def test_label_gains(probs: list[float], discount: float, gains: list[float]) -> None:
    close(label_gains(torch.tensor(probs)[:, None], discount)[:, 0], gains)


@pytest.mark.parametrize(
    ("location_reward", "rewards"),
    [
        ("gain", [0.7, 0.0]),
        ("log_gain", [2.0794415, 0.0]),  # log 8
        ("reward", [1.0, 1.0]),
    ],
)
def test_the_reward_of_a_location(location_reward: str, rewards: list[float]) -> None:
    probs = torch.tensor([[[0.1, 0.9]], [[0.8, 0.2]]])  # (T, B, n)
    zeros = torch.zeros(2, 1)
    rollout = Rollout(
        choice_logits=probs.log(),
        location_means=torch.zeros(2, 1, 2),
        location_log_probs=zeros,
        baselines=zeros,
        choices=torch.tensor([[1], [0]]),
        rewards=torch.tensor([[0.0], [1.0]]),
        labels=torch.tensor([0]),
        observations=[],
    )
    config = replace_settings(TrainConfig(), location_reward=location_reward)
    close(location_returns(rollout, torch.tensor([0]), config)[:, 0], rewards)


def test_a_sure_and_wrong_answer_counts_no_more_than_a_limit() -> None:
    logits = torch.tensor([[[-100.0, 0.0]], [[0.0, -100.0]]])
    zeros = torch.zeros(2, 1)
    rollout = Rollout(logits, torch.zeros(2, 1, 2), zeros, zeros, zeros.long(), zeros, None, [])
    config = replace_settings(TrainConfig(), location_reward="log_gain")
    close(location_returns(rollout, torch.tensor([0]), config)[:, 0], [6.0, 0.0])


def test_label_gains_of_one_episode_do_not_depend_on_the_others() -> None:
    probs = torch.tensor([[0.1, 0.5], [0.2, 0.5], [0.9, 0.25]])
    close(label_gains(probs, 0.5), [[0.33333333, -0.08333333], [0.7, -0.25], [0.0, 0.0]])
    close(probs, [[0.1, 0.5], [0.2, 0.5], [0.9, 0.25]])  # what was given is left as it was


# --- the label -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_steps", "every_step", "expected"),
    [
        (1, True, [1.0]),
        (2, True, [0.5, 0.5]),
        (5, True, [0.125, 0.125, 0.125, 0.125, 0.5]),
        (1, False, [1.0]),
        (4, False, [0.0, 0.0, 0.0, 1.0]),
    ],
)
def test_supervision_weights(num_steps: int, every_step: bool, expected: list[float]) -> None:
    close(supervision_weights(num_steps, every_step), expected)


def test_label_loss() -> None:
    # After the first glimpse the true classes have probability 1/2 and 1/4, then 1/8 and 1/2.
    probs = torch.tensor([[[0.5, 0.5], [0.75, 0.25]], [[0.125, 0.875], [0.5, 0.5]]])
    labels = torch.tensor([0, 1])
    # mean surprise: 1.5 bits, then 2 bits
    for weights, expected in (
        ([1.0, 0.0], 1.0397208),
        ([0.0, 1.0], 1.3862944),
        ([0.25, 0.75], 1.2996510),
    ):
        close(label_loss(probs.log(), labels, torch.tensor(weights)), expected)


def test_label_loss_of_a_step_without_weight_has_no_gradient() -> None:
    logits = torch.zeros(2, 3, 4, requires_grad=True)
    label_loss(logits, torch.tensor([0, 1, 2]), torch.tensor([0.0, 1.0])).backward()  # type: ignore[no-untyped-call]
    close(logits.grad[0], [[0.0] * 4] * 3)  # type: ignore[index]
    # softmax − one-hot, over 3 episodes
    close(logits.grad[1, 1], [0.08333333, -0.25, 0.08333333, 0.08333333])  # type: ignore[index]


# --- REINFORCE and its baseline --------------------------------------------------------------


def test_policy_loss_and_its_gradient() -> None:
    log_probs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    loss = policy_loss(log_probs, torch.tensor([[3.0, -1.0]]))
    loss.backward()  # type: ignore[no-untyped-call]
    close(loss.detach(), 0.5)  # −(−1 · 3 + −2 · −1) / 2
    close(log_probs.grad, [[-1.5, 0.5]])  # type: ignore[arg-type]


@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_policy_loss_moves_the_mean_to_what_was_better_than_expected(advantage: float) -> None:
    mean = torch.tensor([[0.0, 0.0]], requires_grad=True)
    sample = torch.tensor([[0.1, -0.2]])
    policy_loss(gaussian_log_prob(sample, mean, 0.1), torch.tensor([advantage])).backward()  # type: ignore[no-untyped-call]
    # against the gradient, by advantage · distance / 0.1²: towards the sample or away from it
    close(-mean.grad, [[10 * advantage, -20 * advantage]])  # type: ignore[operator]


def test_no_gradient_through_the_advantage() -> None:
    log_probs = torch.tensor([[-1.0]], requires_grad=True)
    advantages = torch.tensor([[3.0]], requires_grad=True)
    policy_loss(log_probs, advantages).backward()  # type: ignore[no-untyped-call]
    assert advantages.grad is None


def test_baseline_loss_and_its_gradient() -> None:
    baselines = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    pays = torch.tensor([[0.0, 2.0], [3.0, 2.0]], requires_grad=True)
    loss = baseline_loss(baselines, pays)
    loss.backward()  # type: ignore[no-untyped-call]
    close(loss.detach(), 1.25)  # (1² + 0 + 0 + 2²) / 4
    close(baselines.grad, [[0.5, 0.0], [0.0, 1.0]])  # type: ignore[arg-type]
    assert pays.grad is None
