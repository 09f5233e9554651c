"""The weights of a trained agent with which another training begins."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from ram_agent.agent import OWN_NETWORK, RAMAgent
from ram_agent.config import AgentConfig, config_from_json
from ram_agent.player import learned_shifts
from ram_agent.pretrained_agents import pretrained_name
from ram_agent.weights import check_tensors, find_weights, load_weights

# Settings on which the meaning of an agent's weights depends; others concern its training alone.
MEANINGS = (
    *("glimpse_network", "core", "hidden_size", "feature_size", "num_channels"),
    *("location_mean", "pixel_mean", "pixel_scale", "scale_factor"),
)


def resolve_start(start_from: str | Path) -> str:
    """Return pretrained:NAME, or the absolute path of the weights that were found.

    Raises:
        FileNotFoundError: if there are no weights.
    """
    found = os.path.abspath(find_weights(start_from))
    return found if pretrained_name(start_from) is None else str(start_from)


def fit_start(path: str, agent: AgentConfig, max_shift: float | None) -> AgentConfig:
    """Return the settings with each None of MEANINGS replaced by the trained agent's value.

    Args:
        path: of the weights.
        agent: the settings of the new agent.
        max_shift: of `RelativeGaze`, with which it will be trained; None without.

    Raises:
        ValueError: if the weights were trained with settings that give them another meaning, or
            with a custom glimpse network.
    """
    description = load_weights(path)[1]
    if OWN_NETWORK in description:
        raise ValueError(
            f"start_from={path!r} was made with a custom glimpse network, "
            f"{description[OWN_NETWORK]}, and a run makes its own. Load it with RAMAgent.load, and "
            "train it with Trainer."
        )
    before = config_from_json(AgentConfig, description.get("agent"))
    missing = {name: getattr(before, name) for name in MEANINGS if getattr(agent, name) is None}
    agent = dataclasses.replace(agent, **missing)
    differing = [name for name in MEANINGS if getattr(before, name) != getattr(agent, name)]
    if differing:
        theirs, ours = (
            ", ".join(f"{name}={getattr(config, name)!r}" for name in differing)
            for config in (before, agent)
        )
        way = "Give the settings with which it was trained."
        if "num_channels" in differing:
            way = f"Use {'gray' if before.num_channels == 1 else 'color'} images."
        raise ValueError(
            f"start_from={path!r} was trained with {theirs}; the new agent has {ours}. {way}"
        )
    if learned_shifts(description.get("info", {})) not in (None, max_shift is not None):
        theirs, way = ("with", "Give it, too") if max_shift is None else ("without", "Leave it out")
        raise ValueError(
            f"start_from={path!r} was trained {theirs} max_shift, and the new agent has "
            f"max_shift={max_shift}. {way}."
        )
    return agent


def copy_weights(agent: RAMAgent, path: str | Path) -> None:
    """Copy the weights of another agent, but not its choice head if the classes differ in number.

    Args:
        agent: is changed in place.
        path: as for `RAMAgent.load`.

    Raises:
        FileNotFoundError, CheckpointError: if there are no weights, or they are damaged.
        ValueError: if any other weights have other names or shapes.
    """
    own, (tensors, _) = agent.state_dict(), load_weights(path)
    for name in ("choice_head.weight", "choice_head.bias"):
        if name in tensors and tensors[name].shape != own[name].shape:
            tensors[name] = own[name]
    try:
        check_tensors(tensors, own)
    except ValueError as error:
        raise ValueError(
            f"start_from={str(path)!r} does not fit the new agent: {error} Give the settings with "
            "which it was trained, such as glimpse_size and num_scales."
        ) from None
    agent.load_state_dict(tensors)
