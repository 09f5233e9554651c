"""The recurrent attention model (Mnih et al. 2014): an agent that looks, glimpse by glimpse."""

from ram_agent.agent import AgentOutput, RAMAgent
from ram_agent.config import AgentConfig, TrainConfig
from ram_agent.evaluation import Evaluation, evaluate
from ram_agent.rollout import Rollout, collect_rollout
from ram_agent.trainer import Trainer

__all__ = [
    "AgentConfig",
    "AgentOutput",
    "Evaluation",
    "RAMAgent",
    "Rollout",
    "TrainConfig",
    "Trainer",
    "collect_rollout",
    "evaluate",
]
