"""Which images a command uses: environments of a split, and the data set that was found.

The environment says which splits it has (`env.unwrapped.splits`): so an id of a user's own that is
built on a classification environment is trained, validated and tested on different images, too.
"""

from __future__ import annotations

import dataclasses
import os
import reprlib
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from ram_agent.config import AgentConfig
from ram_agent.spaces import channels_of, check_spaces
from ram_envs.aliases import VectorEnv
from ram_envs.datasets import DatasetUnavailableError, Split
from ram_envs.datasets.source import is_lazy
from ram_envs.device_env import place_envs
from ram_envs.making import (
    find_keywords,
    find_spec,
    has_dataset,
    is_atari,
    make_env,
    make_vector_env,
    shows_glimpses,
)
from ram_envs.picture_batch import IN_COMMANDS, NoPictureError
from ram_envs.tasks.classification import ImageClassification
from ram_envs.wrappers import find_seen

EVALUATION_ENVS = 500  # sub-environments: divides every split of MNIST
FOREIGN_ENVS = 20  # of other packages, which are slower and play longer
FOREIGN_EPISODES = 100  # of an evaluation there
LEAST_SPREAD = 0.01  # lower bound of the measured root mean square, which may be 0
MEASURED_STEPS = 300  # of random play, to measure pixels
MEASURED_PIXELS = 4096  # sampled from each glimpse; all of them may not fit into memory
DATASETS = ("mnist", "digits", "cifar10")  # that are found by name
GPU = "cuda"  # the type of the devices on which environments can be


def find_splits(env_id: str, keywords: dict[str, Any]) -> tuple[str, ...]:
    """Return an environment's splits: three names, ("all",), or () where it has no data set.

    Raises:
        ValueError: if it shows neither glimpses nor pictures, cannot be made with the keywords, or
            has spaces that an agent does not support.
    """
    env = _make(env_id, keywords, make_env)
    actions = env.action_space
    if isinstance(actions, gym.spaces.Tuple) and not isinstance(actions[1], gym.spaces.Discrete):
        raise ValueError(
            f"{env_id} has the action space {actions[1]}, but RAM needs Discrete actions. Some "
            "environments also have these: --env-kwargs continuous=False."
        )
    try:
        check_spaces(env.observation_space, actions)
    except TypeError as error:
        raise ValueError(f"{env_id}: {error}") from None
    splits: tuple[str, ...] = getattr(env.unwrapped, "splits", ())
    return splits


def has_splits(env_id: str, keywords: dict[str, Any]) -> bool:
    """Return whether an environment has images in splits; where its class says so, without it."""
    return has_dataset(env_id) or bool(find_splits(env_id, keywords))


def has_labels(env_id: str, keywords: dict[str, Any]) -> bool:
    """Return whether an environment gives true labels: those of its images, or of its task."""
    if has_splits(env_id, keywords):
        return True
    env = _make(env_id, keywords, make_env)
    _, info = env.reset(seed=0)
    env.close()
    return "label" in info


def is_foreign(env_id: str, keywords: dict[str, Any]) -> bool:
    """Return whether an environment shows pictures, which are looked at through the retina."""
    return not _make(env_id, keywords, lambda name, **own: shows_glimpses(name, own))


def count_evaluation_envs(env_id: str, keywords: dict[str, Any]) -> int:
    """Return the number of sub-environments that are evaluated side by side."""
    return FOREIGN_ENVS if is_foreign(env_id, keywords) else EVALUATION_ENVS


def keywords_in_training(env_id: str, keywords: dict[str, Any]) -> dict[str, Any]:
    """Return keywords of the training environments alone: Atari's rewards are clipped there.

    Those among the keywords of all environments are left as they are.
    """
    clips = is_atari(find_spec(env_id)) and "reward_clipping" not in keywords
    return {"reward_clipping": True} if clips else {}


def count_channels(env_id: str, keywords: dict[str, Any]) -> int | None:
    """Return the channels of an environment's image, 1 or 3; None if it does not say."""
    env = _make(env_id, keywords, make_env)
    if is_foreign(env_id, keywords):
        return (*find_seen(env).batch.image_shape, 1)[2]
    return channels_of(env)


def measure_pixels(env_id: str, keywords: dict[str, Any], agent: AgentConfig) -> AgentConfig:
    """Return the settings with pixel_mean and pixel_scale measured where they are None.

    In random play, the normalized pixels have median 0 and root mean square 1. The median maps a
    uniform background to exactly 0; the mean would not.
    """
    if agent.pixel_mean is not None and agent.pixel_scale is not None:
        return agent
    env = _make(env_id, keywords, make_env)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    places = np.random.default_rng(0).permutation(observation["glimpse"].size)[:MEASURED_PIXELS]
    seen = []
    for _ in range(MEASURED_STEPS):
        seen.append(observation["glimpse"].flat[places])
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            observation, _ = env.reset()
    env.close()
    pixels = np.stack(seen)
    mean = float(np.median(pixels)) if agent.pixel_mean is None else agent.pixel_mean
    spread = max(float(np.sqrt(np.mean((pixels - mean) ** 2))), LEAST_SPREAD)
    scale = 1 / spread if agent.pixel_scale is None else agent.pixel_scale
    return dataclasses.replace(agent, pixel_mean=_round(mean), pixel_scale=_round(scale))


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def name_split(env_id: str, keywords: dict[str, Any], split: Split) -> str | None:
    """Return the name of the images that `split` stands for: "all" where there is one split only.

    None for a game, which has no images.
    """
    splits = find_splits(env_id, keywords)
    return split if split in splits else next(iter(splits), None)


def make_split(env_id: str, num_envs: int, split: Split, **keywords: Any) -> VectorEnv:
    """Make a vector environment of a split; a game has no splits.

    It does not reset itself. One of another package does, unless it is drawn: in the same step,
    which ale-py's many games can do, or in the next one where rendered frames are looked at.
    """
    found = split if has_splits(env_id, keywords) else None
    return _make_vector(env_id, num_envs, found, keywords)


def _make_vector(
    env_id: str, num_envs: int, split: Split | None, keywords: dict[str, Any]
) -> VectorEnv:
    mode = AutoresetMode.DISABLED
    if split is not None:
        keywords = {**keywords, "split": split}
        if gym.spec(env_id.rpartition(":")[2]).vector_entry_point is None:
            raise ValueError(
                f"{env_id} has no vector environment, which images in splits need. Register it "
                "with vector_entry_point, such as a subclass of "
                "ram_envs.envs.classification.ClassificationVectorEnv."
            )
    elif keywords.get("render_mode") is None and is_foreign(env_id, keywords):
        is_rendered = keywords.get("source") == "render"
        mode = AutoresetMode.NEXT_STEP if is_rendered else AutoresetMode.SAME_STEP
    envs: VectorEnv = _make(
        env_id, keywords, make_vector_env, num_envs=num_envs, autoreset_mode=mode
    )
    return envs


def shows_still_images(envs: VectorEnv) -> bool:
    """Return whether the environments show an image that does not change during an episode."""
    batch = getattr(envs.unwrapped, "batch", None)
    return batch is not None and isinstance(batch.task, ImageClassification)


def place_split(
    device: torch.device, env_id: str, num_envs: int, split: Split, **keywords: Any
) -> VectorEnv:
    """Make a vector environment of a split, on the device if that is a GPU and it can be there."""
    envs = make_split(env_id, num_envs, split, **keywords)
    return place_envs(envs, device) if device.type == GPU else envs


def with_found_dataset(
    env_id: str, keywords: dict[str, Any], in_training: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the keywords with the data set that was found: its name, or an absolute path.

    Args:
        env_id: the environment.
        keywords: those of every split.
        in_training: those of the training environments alone, which are checked too.

    Raises:
        TypeError: if the data set is not a name or a path.
        ValueError: if the environment cannot be made with them.
    """
    given = keywords.get("dataset", "")
    if not isinstance(given, str | Path):
        raise TypeError(
            f"dataset={reprlib.repr(given)} is not a name or a path, from which a run can be "
            "resumed. Save the images as an .npz file (docs/own_images.md) and give its path."
        )
    envs = make_split(env_id, 1, "train", **keywords, **(in_training or {})).unwrapped
    found, names = getattr(envs, "dataset_name", None), find_keywords(env_id)
    if found in DATASETS and (given or names is None or "dataset" in names):
        return {**keywords, "dataset": found}
    path = Path(given).expanduser()
    is_own = "dataset" in keywords and path.exists()
    return {**keywords, "dataset": os.path.abspath(path)} if is_own else keywords


def with_other_dataset(env_id: str, keywords: dict[str, Any], dataset: str) -> dict[str, Any]:
    """Return a run's keywords with another data set, without those that only a path supports."""
    of_paths = () if dataset not in (*DATASETS, "auto") else ("splits", "background")
    kept = {name: value for name, value in keywords.items() if name not in of_paths}
    return with_found_dataset(env_id, {**kept, "dataset": dataset})


def describe_images(env_id: str, keywords: dict[str, Any]) -> dict[str, Any] | None:
    """Return class names, and each split's size and fingerprint of its contents, as JSON values.

    None for a game. Images that are read by window, which may exceed memory, have no fingerprint.
    """
    if not has_splits(env_id, keywords):
        return None
    first: Any = _make_vector(env_id, 1, "train", keywords).unwrapped
    datasets = {first.splits[0]: first.batch.task.dataset}  # "train", or "all"
    for split in first.splits[1:]:
        envs: Any = _make_vector(env_id, 1, split, keywords).unwrapped
        datasets[split] = envs.batch.task.dataset
    facts: dict[str, Any] = {"class_names": list(first.batch.task.dataset.class_names)}
    for name, dataset in datasets.items():
        fingerprint = None if is_lazy(dataset.images) else dataset.fingerprint
        facts[name] = {"num_images": len(dataset), "fingerprint": fingerprint}
    return facts


def lacks_mnist(env_id: str, keywords: dict[str, Any]) -> bool:
    """Return whether MNIST is asked for, but neither here nor to be downloaded."""
    if keywords.get("dataset") != "mnist":
        return False
    try:
        find_splits(env_id, keywords)
    except DatasetUnavailableError:
        return True
    return False


def pick_episodes(env_id: str, keywords: dict[str, Any], split: Split, count: int) -> list[int]:
    """Return the first image of each class, then the second, …, as many as there are; or seeds."""
    envs = make_split(env_id, 1, split, **keywords).unwrapped
    if getattr(envs, "num_images", None) is None:
        return list(range(count))
    labels = envs.batch.task.dataset.labels  # type: ignore[attr-defined]
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    nth = np.arange(len(labels)) - np.repeat(starts, np.diff([*starts, len(labels)]))
    picked: list[int] = order[np.lexsort((order, nth))][:count].tolist()
    return picked


def check_run_images(info: dict[str, Any], env_id: str, keywords: dict[str, Any]) -> None:
    """Raise unless the images are those that a run was trained and is measured with.

    Args:
        info: config.json of the run, or the facts stored with its weights.
        env_id: the run's environment.
        keywords: the run's keywords.

    Raises:
        FileNotFoundError: if the run's own data set is gone.
        ValueError: if its contents have changed.
    """
    advice = "Restore it, or name the data set to use: --dataset PATH, or dataset=… in Python."
    path = str(keywords.get("dataset", ""))
    if os.path.isabs(path) and not os.path.exists(path):
        raise FileNotFoundError(f"{path}, the run's own data set, does not exist. {advice}")
    before = info.get("images")
    if not isinstance(before, dict):  # an agent of the package: MNIST is verified when it is read
        return
    now = describe_images(env_id, keywords) or {}
    for name, was in before.items():
        if was != now.get(name):
            change = _describe_change(name, was, now.get(name))
            raise ValueError(f"{path}, the run's own data set, has changed: {change}. {advice}")


def _describe_change(name: str, was: Any, now: Any) -> str:
    """Return in words how a split, or the class names, of `describe_images` differ."""
    if name == "class_names" or not isinstance(was, dict) or not isinstance(now, dict):
        return f"{name} was {reprlib.repr(was)} and is {reprlib.repr(now)}"
    if was["num_images"] != now["num_images"]:
        return f"{name} had {was['num_images']:,} images and has {now['num_images']:,}"
    return f"{name} has other images or labels"


def _make(env_id: str, keywords: dict[str, Any], make: Any, **options: Any) -> Any:
    """Make an environment; an error that is not meant for users is named with its cause."""
    try:
        return make(env_id, **options, **keywords)
    except (OSError, ValueError, MemoryError, gym.error.Error):
        raise
    except NoPictureError as error:
        raise ValueError(f"{env_id} shows no glimpses, and {error} {IN_COMMANDS}") from error
    except Exception as error:
        reason: BaseException = error
        if "raised from the environment creator" in str(error) and error.__cause__ is not None:
            reason = error.__cause__  # without the keywords, which Gymnasium repeats
        raise ValueError(
            f"{env_id} cannot be made with {keywords}: {type(error).__name__}: {reason}"
        ) from error
