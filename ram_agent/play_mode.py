"""How an agent plays by default: as in the validations of its training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ram_agent.player import Gaze


def trained_gaze(info: Mapping[str, Any]) -> Gaze:
    """Return the gaze that `agent.info` names: "learned", or that of a control."""
    training = info.get("training")
    gaze = training.get("gaze") if isinstance(training, dict) else None
    locations = gaze.get("locations") if isinstance(gaze, dict) else None
    return locations if locations in ("random", "center") else "learned"


def compared_gazes(info: Mapping[str, Any]) -> list[Gaze]:
    """Return the gazes that are compared: first the agent's own, then random and center."""
    return list(dict.fromkeys((trained_gaze(info), "random", "center")))


def is_sampled(info: Mapping[str, Any]) -> bool:
    """Return whether the validations that `agent.info` names sampled locations and choices."""
    training = info.get("training")
    return isinstance(training, dict) and training.get("validation_sampled") is True


def play_mode(
    info: Mapping[str, Any], deterministic: bool | None = None, gaze: Gaze | None = None
) -> tuple[bool, Gaze]:
    """Return `deterministic` and the gaze; None stands for what the agent's validations used."""
    if deterministic is None:
        deterministic = not is_sampled(info)
    return deterministic, gaze or trained_gaze(info)
