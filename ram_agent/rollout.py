"""The one loop of agent and environment: for training, evaluation and watching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ram_agent.agent import RAMAgent
from ram_agent.losses import gaussian_log_prob
from ram_agent.play_mode import play_mode
from ram_agent.player import (
    Gaze,
    Observation,
    Player,
    Step,
    check_envs,
    check_locations,
    noise_source,
)
from ram_envs.aliases import VectorEnv
from ram_envs.arguments import check_arguments

MAX_STEPS = 200_000  # of an episode in an evaluation; those of Atari have up to 27,000


@dataclass(frozen=True)
class Rollout:
    """B whole episodes of T steps, time first; with the forward graph if gradients were on.

    choice_logits       (T, B, n)
    location_means      (T, B, 2)
    location_log_probs  (T, B), of the locations that the agent drew
    baselines           (T, B)
    choices             (T, B)
    rewards             (T, B)
    labels              (B,), the true classes; None if the environment has no labels
    observations        T mappings of arrays or tensors with B rows, on which the agent acted
    """

    choice_logits: Tensor
    location_means: Tensor
    location_log_probs: Tensor
    baselines: Tensor
    choices: Tensor
    rewards: Tensor
    labels: Tensor | None
    observations: Sequence[Observation]


@check_arguments
def collect_rollout(
    agent: RAMAgent,
    envs: VectorEnv,
    *,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
    deterministic: bool = False,
    sample_choice: bool | None = None,
    gaze: Gaze = "learned",
    generator: torch.Generator | None = None,
    on_step: Callable[[], None] | None = None,
) -> Rollout:
    """Play one episode in every sub-environment.

    Args:
        agent: the agent; gradients are kept unless the caller turned them off.
        envs: a vector environment that does not reset itself (autoreset DISABLED) and whose
            episodes are of equal length. One on the agent's device (`ram_envs.device_env`) does
            not synchronize with that device before the end.
        seed, options: for `envs.reset`.
        deterministic: mean locations and most probable choices, instead of samples.
        sample_choice: whether choices are sampled, too; if None, only where there are no labels:
            under supervision the most probable label is the decision.
        gaze: the locations: "learned", the agent's; "random", uniform; "center", always (0, 0).
            With RelativeGaze, "random" shifts the gaze at random and "center" never shifts it.
        generator: source of the agent's noise; PyTorch's global one if None. See `noise_source`.
        on_step: called after reset and after every step, for example to draw a frame.

    Raises:
        TypeError, ValueError: if the agent cannot play these environments, some episodes end before
            others, or the gaze does not exist.
        FloatingPointError: if a location of the agent is not finite.
    """
    check_envs(agent, envs)
    player = Player(agent, envs, gaze)
    info = player.begin(seed, options)
    return finish_episodes(player, info, deterministic, sample_choice, generator, on_step)


def play_as_validated(
    agent: RAMAgent,
    envs: VectorEnv,
    seed: int,
    *,
    options: dict[str, Any] | None = None,
    deterministic: bool | None = None,
    gaze: Gaze | None = None,
    on_step: Callable[[], None] | None = None,
) -> Rollout:
    """Play the episodes of `seed`, the agent's noise included; see `collect_rollout`.

    `deterministic` and `gaze` are those of the agent's validations if None.
    """
    deterministic, gaze = play_mode(agent.info, deterministic, gaze)
    return collect_rollout(
        agent,
        envs,
        seed=seed,
        options=options,
        deterministic=deterministic,
        gaze=gaze,
        generator=noise_source(envs, seed),
        on_step=on_step,
    )


def finish_episodes(
    player: Player,
    info: dict[str, Any],
    deterministic: bool = False,
    sample_choice: bool | None = None,
    generator: torch.Generator | None = None,
    on_step: Callable[[], None] | None = None,
) -> Rollout:
    """Play the episodes that a player has begun, with that info; see `collect_rollout`."""
    agent, has_labels = player.agent, "label" in info
    if sample_choice is None:
        sample_choice = not has_labels
    if on_step is not None:
        on_step()
    steps: list[Step] = []
    over = False
    while not over:
        steps.append(player.step(deterministic, sample_choice, generator))
        if on_step is not None:
            on_step()
        ended = steps[-1].ended
        over = bool(ended.all())
        if ended.any() and not over:
            raise ValueError(
                f"Sub-environments {ended.nonzero()[0].tolist()} ended after {len(steps)} steps, "
                "and others did not. Use an environment whose episodes have equal length."
            )
    outputs = [step.output for step in steps]
    location_means = torch.stack([output.location_mean for output in outputs])
    locations = torch.stack([step.action.location for step in steps])
    if player.on_device:
        check_locations(locations)
    return Rollout(
        choice_logits=torch.stack([output.choice_logits for output in outputs]),
        location_means=location_means,
        location_log_probs=gaussian_log_prob(locations, location_means, agent.location_std),
        baselines=torch.stack([output.baseline for output in outputs]),
        choices=torch.stack([step.action.choice for step in steps]),
        rewards=torch.stack([step.rewards for step in steps]).to(agent.device),
        labels=read_labels(info, agent) if has_labels else None,
        observations=[step.observation for step in steps],
    )


def read_labels(info: dict[str, Any], agent: RAMAgent) -> Tensor:
    """Return the labels (B,) of the episodes that have begun, int64 on the agent's device.

    Raises:
        ValueError: if some episodes have none, or one that is not a choice of the agent.
    """
    labels, known = info["label"], info.get("_label")
    if isinstance(labels, Tensor) and labels.device.type != "cpu":
        return labels  # of ram_envs, whose labels are right; a check would wait for the GPU
    if known is not None and not np.all(known):
        raise ValueError(
            f"{np.size(known) - np.count_nonzero(known)} of {np.size(known)} episodes have no "
            "label. Give infos a 'label' for every episode, or for none."
        )
    labels, last = np.asarray(labels), agent.num_choices - 1
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"The labels have dtype {labels.dtype}. Give integers from 0 to {last}.")
    if not (labels.min() >= 0 and labels.max() <= last):
        raise ValueError(
            f"The labels go from {labels.min()} to {labels.max()}. Give choices of the agent, from "
            f"0 to {last}."
        )
    return torch.as_tensor(labels.astype(np.int64), device=agent.device)


def finish_games(
    player: Player, deterministic: bool = False, generator: torch.Generator | None = None
) -> Tensor:
    """Return the sum of rewards of each episode that a player has begun, (B,); of any length.

    Raises:
        ValueError: if an episode does not end within MAX_STEPS.
    """
    returns = torch.zeros(player.envs.num_envs, device=player.agent.device)
    running = torch.ones(player.envs.num_envs, dtype=torch.bool, device=returns.device)
    for _ in range(MAX_STEPS):
        step = player.step(deterministic, True, generator)
        returns += step.rewards.to(returns.device) * running
        running &= ~torch.from_numpy(step.ended).to(returns.device)
        if not running.any():
            return returns
    raise ValueError(
        f"{int(running.sum())} of {len(running)} episodes have not ended after {MAX_STEPS:,} "
        "steps. Give the environment a time limit: max_episode_steps=…"
    )
