"""Files: an agent's weights, and a run's folder with all that is needed to go on.

Everything is written beside its place and then renamed, so a file is whole or it is the old one.
Weights are safetensors, the rest is JSON; only the state for resuming is PyTorch's format, read
with `weights_only=True`. So nothing that is loaded can run code.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig, config_from_json
from ram_envs.files import write_bytes, write_json, write_whole

FORMAT_VERSION = 1
PRETRAINED = Path(__file__).parent / "pretrained"
WEIGHT_FILES = ("best", "last")  # in a run's folder, in the order in which they are preferred


class CheckpointError(ValueError):
    """A file does not hold what it should, or not for this environment."""


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. Expected JSON.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: expected a JSON object.")
    return value


def save_agent(agent: RAMAgent, path: str | Path, facts: dict[str, Any] | None = None) -> None:
    """Write `path`.safetensors, the weights, and beside it `path`.json, what they belong to.

    Args:
        agent: whose weights.
        path: with or without the ending .safetensors.
        facts: JSON values to keep with them: environment, data set, how they were trained.
    """
    stem = _stem(path)
    description = {
        "format": "ram-agent",
        "version": FORMAT_VERSION,
        "agent": asdict(agent.config),
        "glimpse_shape": list(agent.glimpse_shape),
        "num_choices": agent.num_choices,
        "facts": facts or {},
    }
    write_json(_with_ending(stem, ".json"), description)
    tensors = {name: value.detach().cpu() for name, value in agent.state_dict().items()}
    content = save_tensors(tensors)
    write_bytes(_with_ending(stem, ".safetensors"), content)


def load_agent(path: str | Path) -> tuple[RAMAgent, dict[str, Any]]:
    """The agent that `save_agent` wrote, and its facts.

    Args:
        path: what was given to `save_agent`, a run's folder (best weights, else last), or
            "pretrained:NAME" for weights that come with the package.

    Raises:
        FileNotFoundError: if there are no weights.
        CheckpointError: if a file is damaged, or of a newer version, or the two don't fit.
    """
    stem = _find_weights(path)
    description_path = _with_ending(stem, ".json")
    weights_path = _with_ending(stem, ".safetensors")
    description = read_json(description_path)
    if description.get("format") != "ram-agent":
        raise CheckpointError(f"{description_path} does not describe an agent of ram-gym.")
    if description.get("version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{description_path} has version {description.get('version')!r}; this ram-gym reads "
            f"version {FORMAT_VERSION}. Upgrade ram-gym to use it."
        )
    try:
        config = config_from_json(AgentConfig, description["agent"])
        observation_space, action_space = _spaces(
            description["glimpse_shape"], description["num_choices"]
        )
        agent = RAMAgent(observation_space, action_space, config)
        facts = dict(description["facts"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{description_path} is damaged: {error}") from None
    try:
        agent.load_state_dict(load_tensors(weights_path.read_bytes()))
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{weights_path} does not hold the weights that {description_path.name} describes: "
            f"{error}"
        ) from None
    return agent, facts


class RunFolder:
    """The folder of one training run.

    config.json      the command, environment, agent and training settings
    metrics.jsonl    a row for each validation
    best.*, last.*   weights (safetensors) and what they belong to (JSON)
    resume.pt        all that is needed to go on

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def state_path(self) -> Path:
        return self.path / "resume.pt"

    def create(self, config: dict[str, Any]) -> None:
        """Make the folder for a new run.

        Raises:
            FileExistsError: if it already holds a run, or any other files.
        """
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise FileExistsError(
                f"{self.path} is not empty. Choose another --out, or go on with that run: "
                f"ram train --resume {self.path}"
            )
        write_json(self.config_path, config)

    def read_config(self) -> dict[str, Any]:
        """What `create` wrote.

        Raises:
            FileNotFoundError: if this is not the folder of a run.
        """
        if not self.config_path.is_file():
            raise FileNotFoundError(
                f"{self.path} is not the folder of a run: it has no config.json. Expected a "
                "folder that `ram train` wrote."
            )
        return read_json(self.config_path)

    def save_agent(
        self, name: str, agent: RAMAgent, update: int, validation_error: float | None = None
    ) -> None:
        """Write weights `name` with the facts of the run that made them."""
        facts = {**self.read_config(), "update": update, "validation_error": validation_error}
        save_agent(agent, self.path / name, facts)

    def append_metrics(self, row: dict[str, float]) -> None:
        """Add a row to the metrics file."""
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def read_metrics(self) -> list[dict[str, float]]:
        """All rows; a last line that a crash cut short is left out."""
        if not self.metrics_path.is_file():
            return []
        rows = []
        for line in self.metrics_path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def forget_metrics_after(self, update: int) -> None:
        """Drop rows of updates that the checkpoint does not know of; they will be made again."""
        rows = [row for row in self.read_metrics() if row["update"] <= update]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_bytes(self.metrics_path, text.encode())

    def save_state(self, state: dict[str, Any]) -> None:
        """Write all that is needed to go on."""
        write_whole(self.state_path, lambda file: torch.save(state, file))

    def load_state(self) -> dict[str, Any]:
        """What `save_state` wrote.

        Raises:
            FileNotFoundError: if the run was stopped before its first checkpoint.
            CheckpointError: if the file is damaged.
        """
        if not self.state_path.is_file():
            raise FileNotFoundError(
                f"{self.path} has no resume.pt: the run stopped before its first checkpoint. "
                "Remove the folder and start it again."
            )
        try:
            state = torch.load(self.state_path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise CheckpointError(
                f"{self.state_path} is damaged and cannot be resumed from: {error}"
            ) from None
        if not isinstance(state, dict):
            raise CheckpointError(f"{self.state_path} is damaged: expected a dict.")
        return state


def pretrained_names() -> list[str]:
    """The weights that come with the package."""
    return sorted(path.stem for path in PRETRAINED.glob("*.safetensors"))


def _find_weights(path: str | Path) -> Path:
    if isinstance(path, str) and path.startswith("pretrained:"):
        name = path.removeprefix("pretrained:")
        if name not in pretrained_names():
            raise FileNotFoundError(
                f"there are no pretrained weights {name!r}: expected one of "
                f"{', '.join(pretrained_names())}."
            )
        return PRETRAINED / name
    path = Path(path)
    if path.is_dir():
        for name in WEIGHT_FILES:
            if (path / f"{name}.safetensors").is_file():
                return path / name
        raise FileNotFoundError(
            f"{path} has no best.safetensors or last.safetensors: its run has not validated yet. "
            f"Go on with it: ram train --resume {path}"
        )
    stem = _stem(path)
    for ending in (".safetensors", ".json"):
        if not _with_ending(stem, ending).is_file():
            raise FileNotFoundError(
                f"{_with_ending(stem, ending)} does not exist. Expected the folder of a run, or "
                "the path of weights: NAME.safetensors with NAME.json beside it."
            )
    return stem


def _stem(path: str | Path) -> Path:
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".safetensors", ".json") else path


def _with_ending(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)


def _spaces(glimpse_shape: list[int], num_choices: int) -> tuple[gym.Space[Any], gym.Space[Any]]:
    spaces = gym.spaces
    location = spaces.Box(-1, 1, (2,), np.float32)
    glimpse = spaces.Box(0, 1, tuple(glimpse_shape), np.float32)
    return spaces.Dict(glimpse=glimpse, location=location), spaces.Tuple(
        (location, spaces.Discrete(num_choices))
    )
