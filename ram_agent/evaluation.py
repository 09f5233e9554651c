"""How good an agent is: the error after each glimpse, under its own gaze or a control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from ram_agent.agent import RAMAgent
from ram_agent.distributed import Ranks
from ram_agent.rollout import Gaze, collect_rollout, noise_source


@dataclass(frozen=True)
class EarlyAnswers:
    """What comes of answering as soon as the likeliest label's probability reaches a threshold.

    threshold       from 0 to 1; who is never so sure answers after the last glimpse
    error           percent of wrong answers
    mean_glimpses   how many were looked at, on average
    """

    threshold: float
    error: float
    mean_glimpses: float


@dataclass(frozen=True)
class Evaluation:
    """What came of a number of episodes.

    episodes        how many
    mean_return     mean sum of rewards
    return_spread   standard deviation of the sum of rewards
    errors          percent of wrong labels after each glimpse, T of them; empty without labels
    early_answers   one for each threshold that was asked for
    """

    episodes: int
    mean_return: float
    return_spread: float
    errors: tuple[float, ...]
    early_answers: tuple[EarlyAnswers, ...] = ()

    @property
    def error(self) -> float:
        """Percent of wrong decisions.

        Raises:
            ValueError: if the environment has no labels.
        """
        if not self.errors:
            raise ValueError(
                "This environment has no labels, so there is no error. Use mean_return, here "
                f"{self.mean_return:g}."
            )
        return self.errors[-1]

    @property
    def measure(self) -> Literal["error", "return"]:
        """What is measured: the error where there are labels, else the return."""
        return "error" if self.errors else "return"

    @property
    def value(self) -> float:
        """The error in percent, or the mean return."""
        return self.error if self.errors else self.mean_return

    @property
    def score(self) -> float:
        """What validation maximizes: minus the error in percent, or the mean return."""
        return -self.error if self.errors else self.mean_return

    @property
    def standard_error(self) -> float:
        """Standard error of `value` over the episodes, in the same unit."""
        if not self.errors:
            return float(self.return_spread / np.sqrt(self.episodes))
        rate = self.error / 100
        return float(100 * np.sqrt(rate * (1 - rate)) / np.sqrt(self.episodes))


@torch.no_grad()
def evaluate(
    agent: RAMAgent,
    envs: gym.vector.VectorEnv[Any, Any, Any],
    *,
    num_episodes: int | None = None,
    deterministic: bool = True,
    gaze: Gaze = "learned",
    seed: int = 0,
    stop_when_sure: Sequence[float] = (),
    ranks: Ranks | None = None,
) -> Evaluation:
    """Play `num_episodes`, each image of the split once and in order where there are images.

    Args:
        agent: who plays.
        envs: a vector environment with autoreset DISABLED, any number of sub-environments.
        num_episodes: how many; the whole split if None, or 10,000 where there is none.
        deterministic: the mean location and the likeliest choice, or drawn ones.
        gaze: whose gaze; see `collect_rollout`.
        seed: of first locations, and of the agent's noise.
        stop_when_sure: thresholds from 0 to 1, for `Evaluation.early_answers`.
        ranks: processes that share the batches of episodes, and all get the result; where nothing
            is drawn it is that of one process.

    Raises:
        ValueError: if no episode is asked for, or more than the split has images; or there are
            no labels to be sure of.
    """
    num_images: int | None = getattr(envs.unwrapped, "num_images", None)
    if num_episodes is None:
        num_episodes = num_images or 10_000
    if num_episodes < 1:
        raise ValueError(f"num_episodes={num_episodes}: expected 1 or more.")
    if num_images is not None and num_episodes > num_images:
        raise ValueError(f"num_episodes={num_episodes}: this split has {num_images} images.")
    generator = noise_source(envs, seed)
    ranks = ranks or Ranks()
    returns, wrong, confidences = [], [], []
    for start in ranks.share(range(0, num_episodes, envs.num_envs)):
        index = np.arange(start, start + envs.num_envs)
        rollout = collect_rollout(
            agent,
            envs,
            seed=seed + start,
            # The last batch is filled up with images that are not counted.
            options=None if num_images is None else {"index": index % num_images},
            deterministic=deterministic,
            gaze=gaze,
            generator=generator,
        )
        counted = slice(0, min(envs.num_envs, num_episodes - start))
        returns.append(rollout.rewards.sum(0)[counted].cpu())
        if rollout.labels is not None:
            wrong.append((rollout.choices != rollout.labels)[:, counted].cpu())
            probs = rollout.choice_logits.softmax(-1)
            confidences.append(probs.amax(-1)[:, counted].cpu())
        elif stop_when_sure:
            raise ValueError("stop_when_sure: this environment has no labels to be sure of.")
    returns, wrong, confidences = (
        ranks.gather(results) for results in (returns, wrong, confidences)
    )
    errors = 100 * torch.cat(wrong, dim=1).double().mean(1) if wrong else torch.zeros(0)
    all_returns = torch.cat(returns).double()
    return Evaluation(
        episodes=num_episodes,
        mean_return=float(all_returns.mean()),
        return_spread=float(all_returns.std(correction=0)),
        errors=tuple(errors.tolist()),
        early_answers=tuple(
            answer_early(torch.cat(confidences, dim=1), torch.cat(wrong, dim=1), threshold)
            for threshold in stop_when_sure
        ),
    )


def answer_early(confidences: Tensor, wrong: Tensor, threshold: float) -> EarlyAnswers:
    """Answer at the first glimpse after which one is so sure, or at the last.

    Args:
        confidences: (T, N), probability of the likeliest label after each glimpse.
        wrong: (T, N) bool, whether that label is wrong.
        threshold: from 0 to 1.

    Raises:
        ValueError: if the threshold is not from 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"stop_when_sure contains {threshold}: expected probabilities, 0 to 1.")
    sure = confidences >= threshold
    sure[-1] = True
    step = sure.int().argmax(0)  # the first of the largest
    return EarlyAnswers(
        threshold=threshold,
        error=100 * float(wrong.gather(0, step[None]).double().mean()),
        mean_glimpses=1 + float(step.double().mean()),
    )
