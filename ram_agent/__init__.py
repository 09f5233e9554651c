"""The recurrent attention model (Mnih et al. 2014): an agent that looks, glimpse by glimpse.

The public names are imported on first use, so that `ram --help` does not wait for PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ram_agent.agent import AgentOutput as AgentOutput
    from ram_agent.agent import RAMAgent as RAMAgent
    from ram_agent.config import AgentConfig as AgentConfig
    from ram_agent.config import GazeConfig as GazeConfig
    from ram_agent.config import ObjectiveConfig as ObjectiveConfig
    from ram_agent.config import OptimizerConfig as OptimizerConfig
    from ram_agent.config import ScheduleConfig as ScheduleConfig
    from ram_agent.config import SegmentConfig as SegmentConfig
    from ram_agent.config import TrainConfig as TrainConfig
    from ram_agent.config import replace_settings as replace_settings
    from ram_agent.evaluation import Evaluation as Evaluation
    from ram_agent.evaluation import evaluate as evaluate
    from ram_agent.looking import Look as Look
    from ram_agent.looking import look as look
    from ram_agent.rollout import Rollout as Rollout
    from ram_agent.rollout import collect_rollout as collect_rollout
    from ram_agent.trainer import Trainer as Trainer
    from ram_agent.training import train as train
    from ram_envs import __version__ as __version__

_MODULES = {
    "AgentConfig": "ram_agent.config",
    "AgentOutput": "ram_agent.agent",
    "Evaluation": "ram_agent.evaluation",
    "GazeConfig": "ram_agent.config",
    "Look": "ram_agent.looking",
    "ObjectiveConfig": "ram_agent.config",
    "OptimizerConfig": "ram_agent.config",
    "RAMAgent": "ram_agent.agent",
    "Rollout": "ram_agent.rollout",
    "ScheduleConfig": "ram_agent.config",
    "SegmentConfig": "ram_agent.config",
    "TrainConfig": "ram_agent.config",
    "Trainer": "ram_agent.trainer",
    "__version__": "ram_envs",
    "collect_rollout": "ram_agent.rollout",
    "evaluate": "ram_agent.evaluation",
    "look": "ram_agent.looking",
    "replace_settings": "ram_agent.config",
    "train": "ram_agent.training",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
