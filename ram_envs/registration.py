"""Every environment id, with its keywords."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

_RETINA_60 = {"glimpse_size": 12, "num_scales": 3}
_MNIST = {"dataset": "auto", "num_glimpses": 6}

IMAGES: dict[str, dict[str, Any]] = {
    "RAMMNIST-v0": {**_MNIST, "glimpse_size": 8, "num_scales": 1},
    "RAMTranslatedMNIST-v0": {**_MNIST, **_RETINA_60, "canvas_size": 60},
    "RAMClutteredMNIST-v0": {**_MNIST, **_RETINA_60, "canvas_size": 60, "num_clutter": 4},
    "RAMClutteredMNIST100-v0": {
        **_MNIST,
        "num_glimpses": 8,
        "glimpse_size": 12,
        "num_scales": 4,
        "canvas_size": 100,
        "num_clutter": 8,
    },
    "RAMCIFAR10-v0": {
        "dataset": "cifar10",
        "num_glimpses": 8,
        "glimpse_size": 8,
        "num_scales": 2,
    },
    "RAMClassification-v0": {},
}
PAIRS: dict[str, dict[str, Any]] = {
    "RAMPairsMNIST-v0": {"answer": "pair"},
    "RAMAdditionMNIST-v0": {"answer": "sum"},
}
MOVING: dict[str, dict[str, Any]] = {"RAMMovingMNIST-v0": {}}
CATCH: dict[str, dict[str, Any]] = {"RAMCatch-v0": {}}
SEARCH: dict[str, dict[str, Any]] = {"RAMSearch-v0": {}}

CLASSIFICATION = {**IMAGES, **PAIRS, **MOVING}  # the ids with a data set
ENVS = {**CLASSIFICATION, **CATCH, **SEARCH}

# The paper's own results (NIPS version, on MNIST): 1.12, 1.22, 4.08 and 8.11% wrong; 85% caught. Of
# Search nine tenths of what a scripted player scores.
REWARD_THRESHOLDS = {
    "RAMMNIST-v0": 0.9888,
    "RAMTranslatedMNIST-v0": 0.9878,
    "RAMClutteredMNIST-v0": 0.9592,
    "RAMClutteredMNIST100-v0": 0.9189,
    "RAMCatch-v0": 0.85,
    "RAMSearch-v0": 0.85,
}

_KINDS = {
    "classification:Classification": IMAGES,
    "pairs:Pairs": PAIRS,
    "moving:Moving": MOVING,
    "catch:Catch": CATCH,
    "search:Search": SEARCH,
}


def dataset_keywords(env_id: str, dataset: str) -> dict[str, Any]:
    """Return the keyword that chooses the data set of an environment; none for games."""
    return {"dataset": dataset} if env_id in CLASSIFICATION else {}


def check_registered(env_id: str) -> None:
    """Raise NameNotFound unless an environment is registered, with the ids that may be meant.

    Those are this package's, or for an id in a namespace the closest one.
    """
    try:
        gym.spec(env_id)
    except gym.error.Error as error:
        # Imported here, so that `import ram_envs` imports little.
        from ram_envs.checks import find_close, suggest

        if "/" in env_id:
            close = find_close(env_id, gym.registry)
            if close is None:
                raise
            raise gym.error.NameNotFound(
                f"The environment {env_id!r} does not exist. Did you mean {close!r}?"
            ) from error
        atari = "Atari's games have names like 'ALE/Pong-v5'. " if is_old_atari(env_id) else ""
        raise gym.error.NameNotFound(
            f"The environment {env_id!r} does not exist. {atari}{suggest(env_id, ENVS)}"
        ) from error


def is_old_atari(env_id: str) -> bool:
    """Return whether an id is like those that Atari's games once had: PongNoFrameskip-v4."""
    name, _, version = env_id.rpartition("-")
    return version in ("v0", "v4") and name.endswith(("NoFrameskip", "Deterministic"))


def register_envs() -> None:
    """Register the ids with Gymnasium; `import ram_envs` calls it."""
    for kind, envs in _KINDS.items():
        for env_id, keywords in envs.items():
            gym.register(
                id=env_id,
                entry_point=f"ram_envs.envs.{kind}Env",
                vector_entry_point=f"ram_envs.envs.{kind}VectorEnv",
                reward_threshold=REWARD_THRESHOLDS.get(env_id),
                kwargs=keywords,
            )
