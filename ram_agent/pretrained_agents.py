"""The trained agents that come with the package: their files, and what their headers say.

Neither PyTorch nor safetensors is needed to list them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_envs.catalog import SCORES

ENDING = ".safetensors"
PRETRAINED = Path(__file__).parent / "pretrained"
PREFIX = "pretrained:"  # begins the names of the package's agents


@dataclass(frozen=True)
class PretrainedAgent:
    """An agent of the package.

    name          as in pretrained:NAME
    env_id        the environment that it was trained in
    num_glimpses  T; None in a game
    result        how good it is, in words
    at_random     the same with random gaze
    """

    name: str
    env_id: str
    num_glimpses: int | None
    result: str
    at_random: str


def pretrained_names() -> list[str]:
    """Return the names of the weights that come with the package."""
    return sorted(path.stem for path in PRETRAINED.glob(f"*{ENDING}"))


def pretrained_name(run: str | Path) -> str | None:
    """Return NAME of "pretrained:NAME"; None for a path."""
    return str(run).removeprefix(PREFIX) if str(run).startswith(PREFIX) else None


def describe_agents() -> list[PretrainedAgent]:
    """Return the agents of the package by environment, those with the fewest glimpses first."""
    agents = [_describe(name) for name in pretrained_names()]
    return sorted(agents, key=lambda agent: (agent.env_id, agent.num_glimpses or 0, agent.name))


def read_info(path: Path) -> dict[str, Any]:
    """Return the facts in the header of a weights file of the package, `agent.info`."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    info: dict[str, Any] = json.loads(header["__metadata__"]["description"])["info"]
    return info


def _describe(name: str) -> PretrainedAgent:
    info = read_info(PRETRAINED / f"{name}{ENDING}")
    number = info["env_kwargs"].get("num_glimpses")
    if number is None and (found := re.search(r"-(\d+)(-|$)", name)):
        number = int(found[1])
    test = info["test"]  # the result on the test split, which `tools/pack_agent.py` stores
    if "error" in test:
        result = f"{test['error']:.2f}% wrong"
        at_random = f"{test['random_gaze_error']:.1f}% wrong"
    else:
        result = format_score(info["env_id"], test["return"])
        at_random = format_score(info["env_id"], test["random_gaze_return"])
    return PretrainedAgent(name, info["env_id"], number, result, at_random)


def format_score(env_id: str, mean_return: float) -> str:
    """Return the score of a game in words."""
    words = SCORES.get(env_id)
    return f"return {mean_return:.4g}" if words is None else f"{100 * mean_return:.2f}% {words}"
