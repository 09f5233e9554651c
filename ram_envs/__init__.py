"""Gymnasium environments that an agent sees through a retina, one glimpse at a time.

After `import ram_envs`, `gymnasium.make("RAMClutteredMNIST-v0")` works; so does, in one line,
`gymnasium.make("ram_envs:RAMClutteredMNIST-v0")`. `ram_envs.registration` lists every id.
"""

from ram_envs.datasets import ImageDataset
from ram_envs.glimpse_env import GlimpseEnv, GlimpseVectorEnv
from ram_envs.registration import register_envs
from ram_envs.retina import Retina
from ram_envs.task import Outcome, Task
from ram_envs.testing import check_task

__version__ = "0.1.0"
__all__ = [
    "GlimpseEnv",
    "GlimpseVectorEnv",
    "ImageDataset",
    "Outcome",
    "Retina",
    "Task",
    "__version__",
    "check_task",
]

register_envs()
