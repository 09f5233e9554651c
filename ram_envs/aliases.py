"""Short names of Gymnasium's generic types."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

Env = gym.Env[Any, Any]
VectorEnv = gym.vector.VectorEnv[Any, Any, Any]
