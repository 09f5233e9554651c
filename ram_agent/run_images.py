"""The images of a run: their description in config.json, and whether they are still the same."""

from __future__ import annotations

import contextlib
import os
import reprlib
from typing import Any

import numpy as np

from ram_agent.run_env import RunEnv
from ram_envs.aliases import VectorEnv
from ram_envs.datasets import DatasetUnavailableError, Split
from ram_envs.datasets.source import is_lazy
from ram_envs.tasks.classification import ImageClassification


def describe_images(env: RunEnv) -> dict[str, Any] | None:
    """Return class names, and each split's size and fingerprint of its contents, as JSON values.

    None for a game. Images that are read by window, which may exceed memory, have no fingerprint.
    """
    if not env.has_splits:
        return None
    first: Any = env.make_split(1, "train")
    with contextlib.closing(first):
        splits, dataset = first.unwrapped.splits, first.unwrapped.batch.task.dataset
    datasets = {splits[0]: dataset}  # of "train", or "all"
    for split in splits[1:]:
        envs: Any = env.make_split(1, split)
        with contextlib.closing(envs):
            datasets[split] = envs.unwrapped.batch.task.dataset
    facts: dict[str, Any] = {"class_names": list(dataset.class_names)}
    for name, dataset in datasets.items():
        fingerprint = None if is_lazy(dataset.images) else dataset.fingerprint
        facts[name] = {"num_images": len(dataset), "fingerprint": fingerprint}
    return facts


def check_run_images(info: dict[str, Any], env: RunEnv) -> None:
    """Raise unless the images are those that a run was trained and is measured with.

    Args:
        info: config.json of the run, or the facts stored with its weights.
        env: the run's environment.

    Raises:
        FileNotFoundError: if the run's own data set is gone.
        ValueError: if its contents have changed.
    """
    advice = "Restore it, or name the data set to use: --dataset PATH, or dataset=… in Python."
    path = str(env.keywords.get("dataset", ""))
    if os.path.isabs(path) and not os.path.exists(path):
        raise FileNotFoundError(f"{path}, the run's own data set, does not exist. {advice}")
    before = info.get("images")
    if not isinstance(before, dict):  # an agent of the package: MNIST is verified when it is read
        return
    now = describe_images(env) or {}
    for name, was in before.items():
        if was != now.get(name):
            change = _describe_change(name, was, now.get(name))
            raise ValueError(f"{path}, the run's own data set, has changed: {change}. {advice}")


def lacks_mnist(env: RunEnv) -> bool:
    """Return whether MNIST is asked for, but neither here nor to be downloaded."""
    if env.keywords.get("dataset") != "mnist":
        return False
    try:
        env.check()
    except DatasetUnavailableError:
        return True
    return False


def pick_episodes(env: RunEnv, split: Split, count: int) -> list[int]:
    """Return the first image of each class, then the second, …, as many as there are; or seeds."""
    envs: Any = env.make_split(1, split)
    with contextlib.closing(envs):
        if getattr(envs.unwrapped, "num_images", None) is None:
            return list(range(count))
        labels = envs.unwrapped.batch.task.dataset.labels
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    nth = np.arange(len(labels)) - np.repeat(starts, np.diff([*starts, len(labels)]))
    picked: list[int] = order[np.lexsort((order, nth))][:count].tolist()
    return picked


def shows_still_images(envs: VectorEnv) -> bool:
    """Return whether the environments show an image that does not change during an episode."""
    batch = getattr(envs.unwrapped, "batch", None)
    return batch is not None and isinstance(batch.task, ImageClassification)


def _describe_change(name: str, was: Any, now: Any) -> str:
    """Return in words how a split, or the class names, of `describe_images` differ."""
    if name == "class_names" or not isinstance(was, dict) or not isinstance(now, dict):
        return f"{name} was {reprlib.repr(was)} and is {reprlib.repr(now)}"
    if was["num_images"] != now["num_images"]:
        return f"{name} had {was['num_images']:,} images and has {now['num_images']:,}"
    return f"{name} has other images or labels"
