"""Gymnasium environments that an agent sees through a retina, one glimpse at a time.

After `import ram_envs`, `gymnasium.make("RAMClutteredMNIST-v0")` works; so does, in one line,
`gymnasium.make("ram_envs:RAMClutteredMNIST-v0")`. `ram_envs.registration` lists every id.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ram_envs.registration import register_envs

if TYPE_CHECKING:
    from ram_envs.datasets import ImageDataset
    from ram_envs.glimpse_env import GlimpseEnv, GlimpseVectorEnv
    from ram_envs.retina import Retina
    from ram_envs.task import Outcome, Task
    from ram_envs.testing import check_task
    from ram_envs.wrappers import (
        DictAction,
        FixedGaze,
        FlatBoxAction,
        GlimpseStack,
        GridAction,
        RandomGaze,
        RelativeGaze,
        ThroughRetina,
        WholeCanvas,
    )

__version__ = "0.1.0"
__all__ = [
    "DictAction",
    "FixedGaze",
    "FlatBoxAction",
    "GlimpseEnv",
    "GlimpseStack",
    "GlimpseVectorEnv",
    "GridAction",
    "ImageDataset",
    "Outcome",
    "RandomGaze",
    "RelativeGaze",
    "Retina",
    "Task",
    "ThroughRetina",
    "WholeCanvas",
    "__version__",
    "check_task",
]

# The module of each public name that is not a wrapper. It is imported at the name's first use, so
# that `import ram_envs` costs hardly more than `import gymnasium`.
_MODULES = {
    "GlimpseEnv": "glimpse_env",
    "GlimpseVectorEnv": "glimpse_env",
    "ImageDataset": "datasets",
    "Outcome": "task",
    "Retina": "retina",
    "Task": "task",
    "check_task": "testing",
    "SB3VecEnv": "sb3",  # needs the extra sb3, so it is not in __all__
}
_SUBMODULES = ("datasets", "making", "sb3", "testing", "wrappers")


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"ram_envs.{name}")
    if name not in (*__all__, *_MODULES):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES.get(name, "wrappers")
    value = getattr(importlib.import_module(f"ram_envs.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES, *_SUBMODULES})


register_envs()
