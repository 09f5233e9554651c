"""Evaluation: the error after each glimpse, or the return, with the learned gaze or a control."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ram_agent.agent import RAMAgent
from ram_agent.distributed import Ranks
from ram_agent.play_mode import play_mode
from ram_agent.player import Gaze, Player, check_envs, count_images, noise_source
from ram_agent.rollout import finish_episodes, finish_games
from ram_envs.aliases import VectorEnv
from ram_envs.arguments import check_arguments
from ram_envs.checks import checked_number


@dataclass(frozen=True)
class EarlyAnswers:
    """The result of answering once the most probable label's probability reaches a threshold.

    threshold       from 0 to 1; below it, the answer comes after the last glimpse
    error           percent of wrong answers
    mean_glimpses   mean number of glimpses
    """

    threshold: float
    error: float
    mean_glimpses: float


@dataclass(frozen=True)
class Evaluation:
    """The result of a number of episodes.

    episodes        number of episodes
    mean_return     mean sum of rewards
    return_spread   standard deviation of the sum of rewards
    errors          percent of wrong labels after each glimpse, T of them; empty without labels
    early_answers   one for each threshold of `stop_when_sure`
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
@check_arguments
def evaluate(
    agent: RAMAgent,
    envs: VectorEnv,
    *,
    num_episodes: int | None = None,
    deterministic: bool | None = None,
    gaze: Gaze | None = None,
    seed: int = 0,
    stop_when_sure: Sequence[float] = (),
    ranks: Ranks | None = None,
) -> Evaluation:
    """Play `num_episodes`; where there are images, each of the split once and in order.

    Args:
        agent: the agent.
        envs: a vector environment with any number of sub-environments; with images, a native one
            (`gym.make_vec` without vectorization_mode) that does not reset itself (autoreset
            DISABLED). Without labels episodes may have any length: each sub-environment plays one
            of every `envs.num_envs` episodes, so that short ones do not count more often.
        num_episodes: if None, the whole split, or 10,000 where there are no images.
        deterministic: whether to take mean locations instead of samples and, without labels, the
            most probable choices; if None, what validations did in its training, or True for an
            agent that was not trained. With labels the answer is always the most probable choice.
        gaze: "learned", "random" or "center", see `collect_rollout`; if None, that of its training.
        seed: seed of the first locations and of the agent's noise. Without images, the seed of the
            first episode, and the next ones follow: two evaluations of N episodes have none in
            common if their seeds are at least N apart.
        stop_when_sure: thresholds from 0 to 1, for `Evaluation.early_answers`.
        ranks: processes that share the batches of episodes, and all get the result, which equals
            that of one process.

    Raises:
        TypeError: if `envs` is a single environment.
        ValueError: if the number of episodes is not from 1 to the size of the split, the gaze does
            not exist, or thresholds are given and there are no labels.
    """
    check_envs(agent, envs, any_mode=True)
    deterministic, gaze = play_mode(agent.info, deterministic, gaze)
    seed = int(seed)  # NumPy's would overflow
    num_images = count_images(envs)
    if num_images is None:
        _warn_of_random_images(envs)
    if num_episodes is None:
        num_episodes = num_images or 10_000
    _check_counts(num_episodes, num_images, stop_when_sure)
    player, generator = Player(agent, envs, gaze), noise_source(envs, seed)
    ranks = ranks or Ranks()
    batches = []
    for start in ranks.share(range(0, num_episodes, envs.num_envs)):
        index = None if num_images is None else np.arange(start, start + envs.num_envs) % num_images
        played = _play_batch(player, seed + start, index, deterministic, generator, stop_when_sure)
        # The last batch is filled up with episodes, or images, that do not count.
        batches.append([results[..., : num_episodes - start] for results in played])
    returns, wrong, confidences = (
        torch.cat(results, -1) for results in zip(*ranks.gather(batches), strict=True)
    )
    returns = returns.double()
    return Evaluation(
        episodes=num_episodes,
        mean_return=float(returns.mean()),
        return_spread=float(returns.std(correction=0)),
        errors=tuple((100 * wrong.double().mean(1)).tolist()),
        early_answers=tuple(
            answer_early(confidences, wrong, threshold) for threshold in stop_when_sure
        ),
    )


def _warn_of_random_images(envs: VectorEnv) -> None:
    """Warn if environments of images draw them at random."""
    if any(getattr(env.unwrapped, "splits", ()) for env in getattr(envs.unwrapped, "envs", ())):
        warnings.warn(
            "These environments draw their images at random, some twice and others never. Make "
            "them with gym.make_vec(ENV_ID, num_envs=…) without vectorization_mode, to see each "
            "image once.",
            stacklevel=5,  # the caller of `evaluate`, past the decorators
        )


def _play_batch(
    player: Player,
    seed: int,
    index: npt.NDArray[np.int64] | None,
    deterministic: bool,
    generator: torch.Generator,
    stop_when_sure: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor]:
    """Play an episode in each of B environments, with given images if there are any.

    Returns:
        (B,), the returns; (T, B), whether the most probable label after each glimpse is wrong;
        (T, B), its probability. Without labels T is 0.

    Raises:
        ValueError: without labels, if early answers are asked for.
    """
    info = player.begin(seed, None if index is None else {"index": index})
    generator.manual_seed(seed)  # the same noise on any rank
    if "label" not in info:
        if stop_when_sure:
            raise ValueError(
                f"stop_when_sure={tuple(stop_when_sure)} needs labels, which this environment does "
                "not have. Leave it out."
            )
        returns = finish_games(player, deterministic, generator).cpu()
        nothing = torch.zeros(0, len(returns))
        return returns, nothing, nothing
    rollout = finish_episodes(player, info, deterministic, generator=generator)
    assert rollout.labels is not None
    confidences = rollout.choice_logits.softmax(-1).amax(-1)
    wrong = rollout.choices != rollout.labels
    return rollout.rewards.sum(0).cpu(), wrong.cpu(), confidences.cpu()


def _check_counts(
    num_episodes: int, num_images: int | None, stop_when_sure: Sequence[float]
) -> None:
    """Raise ValueError for a number of episodes, or a threshold, that is out of range."""
    if not 1 <= num_episodes <= (num_images or math.inf):
        raise ValueError(
            f"num_episodes={num_episodes!r} is not valid. Give an integer of at least 1"
            + (f" and at most {num_images}, the images of this split." if num_images else ".")
        )
    for threshold in stop_when_sure:
        checked_number("stop_when_sure", threshold, 0, 1)


def answer_early(confidences: Tensor, wrong: Tensor, threshold: float) -> EarlyAnswers:
    """Return the result of answering at the first glimpse that reaches the threshold.

    Args:
        confidences: (T, N), probability of the most probable label after each glimpse.
        wrong: (T, N) bool, whether that label is wrong.
        threshold: from 0 to 1.
    """
    sure = confidences >= threshold
    sure[-1] = True
    step = sure.int().argmax(0)  # the first of the largest
    return EarlyAnswers(
        threshold=threshold,
        error=100 * float(wrong.gather(0, step[None]).double().mean()),
        mean_glimpses=1 + float(step.double().mean()),
    )
