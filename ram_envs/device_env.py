"""Environments on a GPU: images, canvases, glimpses, actions and rewards are tensors there.

Tasks, random streams and retina are the same code, given tensors. So the episodes are those of the
vector environment, bit for bit, and no step waits for the device.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from torch import Tensor

from ram_envs.actions import checked_pair
from ram_envs.aliases import VectorEnv
from ram_envs.arguments import check_arguments
from ram_envs.checks import check_options
from ram_envs.datasets import ImageDataset
from ram_envs.datasets.sharing import find_mapped
from ram_envs.gaze import episode_streams
from ram_envs.glimpse_env import GlimpseVectorEnv
from ram_envs.streams import as_signed
from ram_envs.tasks.classification import ImageClassification
from ram_envs.tasks.pairs import PairClassification

Observation = dict[str, Tensor]
Infos = dict[str, Tensor]


class DeviceVectorEnv(VectorEnv):
    """The episodes of a native vector environment of still images, on a device.

    Observations, actions, rewards and infos are tensors on the device. The ends of episodes are
    known beforehand and returned as numpy arrays. All sub-environments begin together, with `reset`
    (autoreset DISABLED). An integer seed and the option "index" have their usual meaning.

    Args:
        envs: the environment to play; it is not changed.
        device: such as "cuda".

    Raises:
        ValueError: if the environment runs on the CPU only.
    """

    @check_arguments
    def __init__(self, envs: VectorEnv, device: torch.device | str) -> None:
        reason = why_on_host(envs)
        if reason is not None:
            raise ValueError(f"device={str(device)!r} is not supported here: {reason}.")
        assert isinstance(envs, GlimpseVectorEnv)
        self.num_envs = envs.num_envs
        self._rows: Any = torch.arange(self.num_envs, device=device)
        self.device: torch.device = self._rows.device  # with its index, as the tensors have it
        self.metadata = {**envs.metadata, "autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = envs.single_observation_space
        self.single_action_space = envs.single_action_space
        self.observation_space = envs.observation_space
        self.action_space = envs.action_space
        self.retina = envs.batch.retina
        self.task = _with_tensors(envs.batch.task, self.device)
        self.dataset_name: str = self.task.dataset.name
        self.num_images = len(self.task.dataset)
        self.splits = envs.splits
        self._state = _as_tensors(self.task.allocate(self.num_envs), self.device)
        first = envs.batch.initial_location
        self._initial_location = None if first is None else torch.from_numpy(first).to(self.device)
        self._locations: Any = torch.zeros(self.num_envs, 2, device=self.device)
        self._keys: Any = None
        self._episode = 0  # since seeding
        self._steps = -1  # in this episode; before the first

    @property
    def canvases(self) -> Tensor:
        """The whole images (B, H, W[, C])."""
        images, rows = self.task.images(self._state)
        canvases: Tensor = images[rows]
        return canvases

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Infos]:
        """Begin an episode in every sub-environment."""
        super().reset(seed=seed)
        options = options or {}
        if "reset_mask" in options:
            raise ValueError(
                "options['reset_mask'] is not supported on a device: all sub-environments begin "
                "together. Leave it out, or use the CPU."
            )
        check_options(options, self.task.option_names)
        if seed is None and self._keys is None:
            seed = int(self.np_random.integers(2**63))
        if seed is not None:
            self._keys = self._rows + as_signed(seed)
            self._episode = 0
        gaze_streams, task_streams = episode_streams(self._keys, self._episode)
        self.task.begin(self._state, self._rows, task_streams, options)
        if self._initial_location is None:
            self._locations = torch.as_tensor(gaze_streams.uniform(2, -1, 1)).float()
        else:
            self._locations = self._initial_location.repeat(self.num_envs, 1)
        self._episode += 1
        self._steps = 0
        return self._observe(), self._infos()

    def step(self, actions: Any) -> tuple[Observation, Tensor, Any, Any, Infos]:
        """Step every sub-environment; `actions` is a pair of tensors (B, 2) and (B,) on the device.

        NaN in a location is replaced by 0: checking for it would force a synchronization.
        """
        num_glimpses = self.task.num_glimpses
        if not 0 <= self._steps < num_glimpses:
            raise ResetNeeded(
                "step() was called before reset() or after the end. Call reset() first."
            )
        locations, choices = checked_pair(actions)
        self._check(locations, "location", (self.num_envs, 2))
        self._check(choices, "choice", (self.num_envs,))
        outcome = self.task.advance(self._state, self._rows, choices)
        self._locations = locations.detach().float().nan_to_num(0, 1, -1).clip(-1, 1)
        self._steps += 1
        ended = np.full(self.num_envs, self._steps == num_glimpses)
        return self._observe(), outcome.rewards, ended, np.zeros_like(ended), self._infos()

    def _observe(self) -> Observation:
        images, rows = self.task.images(self._state)
        glimpses: Any = self.retina.look_by_window(images, rows, self._locations)
        return {"glimpse": glimpses, "location": self._locations}

    def _infos(self) -> Infos:
        return {key: values.clone() for key, (values, _) in self.task.infos(self._state).items()}

    def _check(self, tensor: Any, name: str, shape: tuple[int, ...]) -> None:
        if not isinstance(tensor, Tensor) or tensor.device != self.device or tensor.shape != shape:
            found = f"{type(tensor).__name__} {tuple(getattr(tensor, 'shape', ()))}"
            if isinstance(tensor, Tensor):
                found += f" on {tensor.device}"
            raise TypeError(f"{name} is a {found}. Give a Tensor {shape} on {self.device}.")


@check_arguments
def place_envs(envs: VectorEnv, device: torch.device) -> VectorEnv:
    """Return the environments on a device, or unchanged where they run on the CPU only."""
    return envs if why_on_host(envs) is not None else DeviceVectorEnv(envs, device)


def why_on_host(envs: VectorEnv) -> str | None:
    """Return why environments run on the CPU only; None if they can run on a device."""
    task = envs.batch.task if isinstance(envs, GlimpseVectorEnv) else None
    is_known = type(task) in (ImageClassification, PairClassification)  # a user's may use numpy
    if not isinstance(task, ImageClassification) or not is_known:
        return "only environments of still images, without wrappers, run on a GPU"
    if envs.unwrapped.max_episode_steps is not None:  # type: ignore[attr-defined]
        return "episodes with max_episode_steps run on the CPU"
    images = task.dataset.images
    if not isinstance(images, np.ndarray) or find_mapped(images) is not None:
        return f"the images of {task.dataset.name!r} are read by window, which needs the CPU"
    return None


def _with_tensors(task: Any, device: torch.device) -> Any:
    """Return the same task with tensors: images, labels and tables."""
    task = copy.copy(task)
    for name, value in vars(task).items():
        if isinstance(value, np.ndarray):
            setattr(task, name, torch.from_numpy(value).to(device))
    task.dataset = _upload(task.dataset, device)
    return task


def _as_tensors(state: Any, device: torch.device) -> Any:
    """Return the same state of episodes in tensors."""
    arrays = {name: array for name, array in vars(state).items() if array is not None}
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    return dataclasses.replace(state, **tensors)


@dataclass(frozen=True)
class _Uploaded:
    """An `ImageDataset` whose images and labels are tensors."""

    images: Tensor
    labels: Tensor
    name: str

    @property
    def array(self) -> Tensor:
        return self.images

    def __len__(self) -> int:
        return len(self.images)


@functools.lru_cache(maxsize=2)  # of training and validation
def _upload(dataset: ImageDataset, device: torch.device) -> _Uploaded:
    images, labels = (
        torch.from_numpy(array.copy()).to(device)  # may be read-only, or have negative strides
        for array in (dataset.array, dataset.labels)
    )
    return _Uploaded(images, labels, dataset.name)
