"""What tests of several files write, read and make; torch is imported only where it is needed."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from ram_envs.datasets.own_images import Datasets, find_source, read_source
from ram_envs.datasets.pixels import WHITE

if TYPE_CHECKING:
    from ram_agent.agent import RAMAgent
    from ram_agent.config import AgentConfig
    from ram_agent.run_folder import RunFolder


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read_images(path: Path, splits: Literal["all"] | None = None) -> Datasets:
    """Read all splits at a path, as `load_dataset` does for one that it has not read before."""
    return read_source(find_source(path), splits, WHITE)


def to_idx(values: Any) -> bytes:
    """Return bytes of any shape as the contents of an IDX file."""
    array = np.asarray(values, np.uint8)
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_idx(path: Path, values: Any) -> None:
    """Write an IDX file, compressed if its name ends in .gz."""
    content = to_idx(values)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def without_seconds(folder: RunFolder) -> list[dict[str, float]]:
    """Return the metrics of a run, without those of the clock."""
    return [{**row, "seconds": 0} for row in folder.read_metrics()]


def make_agent(**settings: Any) -> RAMAgent:
    """Return an untrained agent for two scales of 3 × 3 and four choices."""
    import torch

    from ram_agent.agent import RAMAgent
    from ram_agent.config import AgentConfig

    torch.manual_seed(0)
    location = spaces.Box(-1, 1, (2,), np.float32)
    agent = RAMAgent(
        spaces.Dict(glimpse=spaces.Box(0, 1, (2, 3, 3), np.float32), location=location),
        spaces.Tuple((location, spaces.Discrete(4))),
        AgentConfig(**{"hidden_size": 8, "feature_size": 6, **settings}),
    )
    agent.location_std.fill_(0.0625)
    return agent


def make_agent_for(envs: VectorEnv, config: AgentConfig) -> RAMAgent:
    """Return an untrained agent for a vector environment."""
    import torch

    from ram_agent.agent import RAMAgent

    torch.manual_seed(0)
    return RAMAgent(envs.single_observation_space, envs.single_action_space, config)
