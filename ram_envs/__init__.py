"""Gymnasium environments that are looked at through a retina, one glimpse at a time.

After `import ram_envs`, `gymnasium.make("RAMClutteredMNIST-v0")` works; so does, in one line,
`gymnasium.make("ram_envs:RAMClutteredMNIST-v0")`. See `ram_envs.registration` for every id.
"""

from ram_envs.datasets import ImageDataset
from ram_envs.registration import register_envs
from ram_envs.retina import Retina

__version__ = "0.1.0"
__all__ = ["ImageDataset", "Retina", "__version__"]

register_envs()
