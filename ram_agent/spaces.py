"""The spaces that an agent supports, and what `RAMAgent.predict` is given, checked."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch

from ram_agent.cores import State
from ram_envs.actions import check_first_choice, is_glimpse_action
from ram_envs.aliases import Env, VectorEnv

MAX_GLIMPSE_VALUES = 2**20  # of an agent in a file, so that its spaces fit into memory


def read_observation(
    observation: Any, glimpse_shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the glimpse and the location of an observation, as float32 arrays."""
    try:
        glimpse, location = observation["glimpse"], observation["location"]
    except (LookupError, TypeError):
        is_dict = isinstance(observation, Mapping)
        found = f"a dict of {sorted(observation)}" if is_dict else type(observation).__name__
        raise TypeError(
            f"The observation is {found}. Pass a dict with 'glimpse' and 'location', as the "
            "environments of ram_envs return it."
        ) from None
    glimpse, location = np.asarray(glimpse), np.asarray(location)
    if not np.issubdtype(glimpse.dtype, np.floating):
        raise TypeError(
            f"The glimpse has dtype {glimpse.dtype}. Pass floats from 0 to 1: divide 8-bit pixels "
            "by 255."
        )
    batch_shape = glimpse.shape[:-3]
    shapes = (*batch_shape, *glimpse_shape), (*batch_shape, 2)
    if len(batch_shape) > 1 or (glimpse.shape, location.shape) != shapes:
        raise ValueError(
            f"The glimpse has shape {glimpse.shape} and the location {location.shape}; the agent "
            f"expects {glimpse_shape} and (2,), or batches of them. Use an environment like the "
            "one it was trained in."
        )
    if not (glimpse.size == 0 or (glimpse.min() >= 0 and glimpse.max() <= 1)):
        raise ValueError(
            f"The glimpse has values from {glimpse.min():g} to {glimpse.max():g}. Pass floats from "
            "0 to 1: divide 8-bit pixels by 255."
        )
    if not (np.abs(location) <= 1).all():  # nor NaN
        raise ValueError(f"location={location!r} is out of range. Pass numbers from -1 to 1.")
    return glimpse.astype(np.float32), location.astype(np.float32)


def read_starts(episode_start: Any, count: int) -> npt.NDArray[np.bool_]:
    """Return which episodes have just begun, (B,)."""
    begun = np.asarray(episode_start, np.bool_)
    if begun.shape not in ((), (count,)):
        raise ValueError(f"episode_start has shape {begun.shape}. Give one bool, or ({count},).")
    return np.broadcast_to(begun, (count,))


def read_state(state: tuple[npt.NDArray[np.float32], ...] | None, like: State) -> State:
    """Return the state of an earlier call as tensors like those of `like`; `like` if None."""
    if state is None:
        return like
    shapes, expected = [tuple(part.shape) for part in state], [tuple(part.shape) for part in like]
    if shapes != expected:
        raise ValueError(
            f"The state has shapes {shapes}; this batch needs {expected}. Pass the state of the "
            "last call, or None at the start of an episode."
        )
    return tuple(torch.from_numpy(part).to(like[0].device) for part in state)


def check_spaces(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
    """Raise TypeError unless an agent supports the spaces, ValueError for a first choice not 0."""
    spaces = gym.spaces
    if not (
        isinstance(observation_space, spaces.Dict)
        and set(observation_space.keys()) >= {"glimpse", "location"}
        and len(observation_space["glimpse"].shape or ()) == 3
        and observation_space["location"].shape == (2,)
    ):
        raise TypeError(
            f"The agent does not support the observation space {observation_space}. It needs "
            "Dict(glimpse=Box (K·C, G, G), location=Box (2,)): use an environment of ram_envs "
            "without WholeCanvas or GlimpseStack. For a vector environment, give its "
            "single_observation_space."
        )
    if not is_glimpse_action(action_space):
        raise TypeError(
            f"The agent does not support the action space {action_space}. It needs "
            "Tuple(Box (2,), Discrete(n)): use an environment of ram_envs without GridAction, "
            "FlatBoxAction, DictAction, FixedGaze or RandomGaze. For a vector environment, give "
            "its single_action_space."
        )
    check_first_choice(action_space[1])  # type: ignore[index]


def single_spaces(env: Env | VectorEnv) -> tuple[gym.Space[Any], gym.Space[Any]]:
    """Return the observation and action space of an environment, or of one in a vector."""
    if isinstance(env, gym.vector.VectorEnv):
        return env.single_observation_space, env.single_action_space
    return env.observation_space, env.action_space


def channels_of(env: Env | VectorEnv) -> int | None:
    """Return the channels of each scale of an environment's glimpses; None if it does not say."""
    retina = getattr(getattr(env.unwrapped, "batch", None), "retina", None)
    if retina is None:
        return None
    space, _ = single_spaces(env)
    return int(space["glimpse"].shape[0]) // int(retina.num_scales)  # type: ignore[index]


def check_channels(env: Env | VectorEnv, known: int) -> None:
    """Raise ValueError if an environment's images have other channels than the agent knows.

    Shapes do not tell: one scale in color has that of three in gray.
    """
    channels = channels_of(env)
    if channels not in (None, known):
        raise ValueError(
            f"The images have num_channels={channels}, and the agent has num_channels={known}. Use "
            f"{'gray' if known == 1 else 'color'} images, or train an agent for these, with "
            f"AgentConfig(num_channels={channels})."
        )


def make_spaces(glimpse_shape: Any, num_choices: Any) -> tuple[gym.Space[Any], gym.Space[Any]]:
    """Return the spaces of an agent that a file describes, or raise ValueError."""
    sizes = [*glimpse_shape, num_choices]
    if (
        len(sizes) != 4
        or not all(type(size) is int and 0 < size <= MAX_GLIMPSE_VALUES for size in sizes)
        or math.prod(glimpse_shape) > MAX_GLIMPSE_VALUES
    ):
        raise ValueError(f"the sizes {reprlib.repr(sizes)} are not four positive integers.")
    location = gym.spaces.Box(-1, 1, (2,), np.float32)
    glimpse = gym.spaces.Box(0, 1, tuple(glimpse_shape), np.float32)
    action_space = gym.spaces.Tuple((location, gym.spaces.Discrete(num_choices)))
    return gym.spaces.Dict(glimpse=glimpse, location=location), action_space
