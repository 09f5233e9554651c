"""The one loop of agent and environment: for training, evaluation and watching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from ram_agent.agent import RAMAgent
from ram_agent.losses import gaussian_log_prob
from ram_agent.settings import SEED, is_a
from ram_envs.arguments import check_arguments

Gaze = Literal["learned", "random", "center"]


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
    """

    choice_logits: Tensor
    location_means: Tensor
    location_log_probs: Tensor
    baselines: Tensor
    choices: Tensor
    rewards: Tensor
    labels: Tensor | None


@check_arguments
def collect_rollout(
    agent: RAMAgent,
    envs: gym.vector.VectorEnv[Any, Any, Any],
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
        generator: source of the agent's noise; PyTorch's global one if None. See `noise_source`.
        on_step: called after reset and after every step, for example to draw a frame.

    Raises:
        TypeError, ValueError: if the agent cannot play these environments, some episodes end before
            others, or the gaze does not exist.
        FloatingPointError: if a location of the agent is not finite.
    """
    check_envs(agent, envs)
    observation, info = envs.reset(seed=seed, options=options)
    on_device = isinstance(observation["glimpse"], Tensor)
    has_labels = "label" in info
    if sample_choice is None:
        sample_choice = not has_labels
    state = agent.initial_state(envs.num_envs)
    outputs, actions, rewards = [], [], []
    over = False
    if on_step is not None:
        on_step()
    while not over:
        output, state = agent.step(observation, state)
        action = agent.act(output, deterministic, sample_choice, generator)
        location, choice = action
        if not on_device:
            _check_finite(location)
        if gaze == "random":
            source = None if generator is None else generator.device
            noise = torch.rand(
                location.shape, generator=generator, device=source, dtype=location.dtype
            )
            location = 2 * noise - 1
        elif gaze == "center":
            location = torch.zeros_like(location)
        observation, reward, terminated, truncated, _ = envs.step(
            (location.to(agent.device), choice)
            if on_device
            else (location.cpu().numpy(), choice.cpu().numpy())
        )
        if on_step is not None:
            on_step()
        outputs.append(output)
        actions.append(action)
        rewards.append(torch.as_tensor(reward).float())
        ended = terminated | truncated
        over = bool(ended.all())
        if ended.any() and not over:
            raise ValueError(
                f"Sub-environments {ended.nonzero()[0].tolist()} ended after {len(rewards)} steps, "
                "and others did not. Use an environment whose episodes have equal length."
            )
    location_means = torch.stack([output.location_mean for output in outputs])
    locations = torch.stack([action.location for action in actions])
    if on_device:
        _check_finite(locations)
    return Rollout(
        choice_logits=torch.stack([output.choice_logits for output in outputs]),
        location_means=location_means,
        location_log_probs=gaussian_log_prob(locations, location_means, agent.location_std),
        baselines=torch.stack([output.baseline for output in outputs]),
        choices=torch.stack([action.choice for action in actions]),
        rewards=torch.stack(rewards).to(agent.device),
        labels=torch.as_tensor(info["label"], device=agent.device) if has_labels else None,
    )


def check_envs(agent: RAMAgent, envs: gym.vector.VectorEnv[Any, Any, Any]) -> None:
    """Raise an error unless the agent can play these environments episode by episode.

    Raises:
        TypeError: if it is a single environment, or its spaces are not those of glimpses.
        ValueError: if it resets itself, its spaces are not those of the agent, or its images have
            other channels.
    """
    if not isinstance(envs, gym.vector.VectorEnv):
        raise TypeError(
            f"{envs} is not a vector environment. Make one: gym.make_vec(ENV_ID, num_envs=…, "
            'autoreset_mode="Disabled").'
        )
    agent.check_fits(envs.single_observation_space, envs.single_action_space)
    mode = AutoresetMode(envs.metadata.get("autoreset_mode", AutoresetMode.DISABLED))
    if mode is not AutoresetMode.DISABLED:
        raise ValueError(
            f"These environments reset themselves (autoreset_mode={mode.value}). Make them with "
            'autoreset_mode="Disabled".'
        )
    channels, config = channels_of(envs), agent.config
    told = config.glimpse_network == "conv" or config.scale_factor != 1
    if told and channels not in (None, config.num_channels):
        raise ValueError(
            f"The environments show images of {channels} channels, and the agent has "
            f"num_channels={config.num_channels}. Make it with AgentConfig(num_channels="
            f"{channels}, …)."
        )


def channels_of(env: gym.Env[Any, Any] | gym.vector.VectorEnv[Any, Any, Any]) -> int | None:
    """Return the channels of each scale of an environment's glimpses; None if it does not say."""
    retina = getattr(getattr(env.unwrapped, "batch", None), "retina", None)
    if retina is None:
        return None
    space = getattr(env, "single_observation_space", env.observation_space)
    return int(space["glimpse"].shape[0]) // int(retina.num_scales)  # type: ignore[index]


def noise_source(envs: gym.vector.VectorEnv[Any, Any, Any], seed: int) -> torch.Generator:
    """Return a source of noise on the environments' device, or on the CPU.

    Raises:
        ValueError: if the seed is not an integer from 0, below 2^63.
    """
    if not is_a(seed, int) or not SEED.has(seed):
        raise ValueError(f"seed={seed!r} is not a valid seed. Give {SEED.words}.")
    return torch.Generator(getattr(envs.unwrapped, "device", "cpu")).manual_seed(int(seed))


def _check_finite(locations: Tensor) -> None:
    if not locations.isfinite().all():
        raise FloatingPointError(
            "The agent's location is not finite: its weights have diverged. In training, lower "
            "learning_rate or set max_grad_norm; the last checkpoint is intact."
        )
