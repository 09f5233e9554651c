"""The help of `ram train`: the options that most people need, before all of them in groups."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from typing import Any

from ram_agent.config import flatten_settings
from ram_envs.registration import CLASSIFICATION, ENVS

COMMON = {  # option: what it does, in a few words
    "dataset": "mnist, digits (embedded, no download), or a path of your own images",
    "num_glimpses": "number of glimpses",
    "glimpse_size": "side of the finest patch, in pixels",
    "num_scales": "number of patches, each twice as wide as the one before",
    "episodes": "number of training episodes, with labels",
    "steps": "number of training steps, in games",
    "seed": "seed of weights, images and noise",
    "batch_size": "episodes per update",
    "learning_rate": "peak learning rate",
    "preset": "default (best results) or paper (the paper's settings)",
    "out": "the run's folder",
    "resume": "continue the run in this folder",
    "device": "cpu or cuda",
    "tensorboard": "log to TensorBoard",
}
# Those that have no effect in the other environments of this package.
WITH_LABELS = {"dataset", "num_glimpses", "episodes"}
IN_GAMES = {"steps"}


def describe_common(command: Any, env_id: str | None, keywords: dict[str, Any]) -> str:
    """Return the common options with their defaults, a line each.

    Args:
        command: the settings of the command, in groups.
        env_id: the environment whose defaults they are; None if none was named.
        keywords: the defaults of its own keywords.
    """
    values = flatten_settings(dataclasses.asdict(command)) | keywords
    if env_id is None:
        whose = "`ram train ENV_ID --help` shows the defaults of ENV_ID"
    else:
        whose = f"defaults of {env_id}"
    unused: set[str] = set()
    if env_id in ENVS:
        unused = IN_GAMES if env_id in CLASSIFICATION else WITH_LABELS
    width = shutil.get_terminal_size().columns
    lines = [f"Common options ({whose}):"]
    for name, what in COMMON.items():
        if name in unused:
            continue
        value = values.get(name)
        shown = value not in (None, "", False) and env_id is not None
        text = f"{what} ({value})" if shown else what
        option = f"--{name.replace('_', '-')}"
        lines += textwrap.wrap(f"  {option:<17}{text}", max(40, width), subsequent_indent=" " * 19)
    return "\n".join(lines)
