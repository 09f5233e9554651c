"""The native vector environments as a `VecEnv` of Stable-Baselines3, and features for its agents.

    torch.set_num_threads(1)  # with several threads, small networks are many times slower
    envs = gym.make_vec("RAMCatch-v0", num_envs=64, autoreset_mode="SameStep")
    policy_kwargs = {"features_extractor_class": GlimpseFeatures, "net_arch": [128]}
    envs = VecMonitor(SB3VecEnv(vector.GridAction(envs)))
    model = PPO("MultiInputPolicy", envs, policy_kwargs=policy_kwargs)

Needs Stable-Baselines3: pip install "ram-gym[sb3]".
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

try:
    import torch
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise gym.error.DependencyNotInstalled(
        'ram_envs.sb3 needs Stable-Baselines3: run `pip install "ram-gym[sb3]"`.'
    ) from error

from ram_envs.aliases import VectorEnv
from ram_envs.arguments import check_arguments
from ram_envs.checks import checked_integer, checked_number, find_autoreset_mode
from ram_envs.glimpse_env import GlimpseVectorEnv

SMALL_BATCH = 512  # environments; below, one thread is faster


class SB3VecEnv(VecEnv):
    """A vector environment of ram_envs as a `VecEnv` of Stable-Baselines3.

    All sub-environments share one object, so `get_attr` and `env_method` return the same value for
    each index; `set_attr` and `env_method` raise ValueError for indices that are not all of them.

    The first `reset` warns if torch uses several threads, which slow small networks down.

    Args:
        envs: a vector environment of ram_envs, made with autoreset_mode=SAME_STEP, inside a wrapper
            of `ram_envs.wrappers.vector` whose actions are neither Tuple nor Dict.

    Raises:
        TypeError: if it is not a vector environment, or its actions are not supported.
        ValueError: if the environment does not reset itself in the same step.
    """

    def __init__(self, envs: VectorEnv) -> None:
        if not isinstance(envs, gym.vector.VectorEnv):
            raise TypeError(
                f"{envs} is not a vector environment as gym.make_vec returns. Stable-Baselines3 "
                "takes a single environment directly, wrapped in ram_envs.wrappers.GridAction or "
                "FlatBoxAction."
            )
        if isinstance(envs.single_action_space, (spaces.Tuple, spaces.Dict)):
            raise TypeError(
                f"Stable-Baselines3 does not support the action space {envs.single_action_space}. "
                "Wrap the environment: ram_envs.wrappers.vector.GridAction(envs) for PPO, A2C and "
                "TRPO, FlatBoxAction(envs) for SAC and TD3, FixedGaze or RandomGaze for controls."
            )
        mode = find_autoreset_mode(envs)
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"autoreset_mode={mode.value}, but Stable-Baselines3 expects a reset in the same "
                'step. Make the environment with autoreset_mode="SameStep".'
            )
        self.envs: Any = envs
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self.metadata = envs.metadata
        self._actions: Any = None
        self._threads_checked = False

    def reset(self) -> Any:
        """Return the first observations, with the seeds and options set before."""
        if not self._threads_checked:
            self._threads_checked = True
            _warn_of_threads(self.num_envs)
        seeds = None if self._seeds[0] is None else list(self._seeds)
        observations: Any = None
        groups = list(self._groups_of_options())
        if len(groups) > 1 and not self._takes_arrays:
            self.envs.reset(seed=seeds)  # Gymnasium's reset some rows only after all
        for options, mask in groups:
            if not mask.all():
                options["reset_mask"] = mask
            observations, infos = self.envs.reset(seed=seeds, options=options)
            for row, info in enumerate(_one_by_one(infos, self.num_envs)):
                if mask[row]:
                    self.reset_infos[row] = info
        self._reset_seeds()
        self._reset_options()
        return observations

    @property
    def _takes_arrays(self) -> bool:
        return isinstance(self.envs.unwrapped, GlimpseVectorEnv)

    def _groups_of_options(self) -> Iterator[tuple[dict[str, Any], npt.NDArray[np.bool_]]]:
        """Yield the options of each reset, and the rows (num_envs,) that it resets.

        Environments of ram_envs take an array with an entry for each row, so rows with the same
        option names share a reset. Others take one dict, so only rows with equal options do.
        """
        done = np.zeros(self.num_envs, np.bool_)
        for row, first in enumerate(self._options):
            if done[row]:
                continue
            if self._takes_arrays:
                mask = np.array([each.keys() == first.keys() for each in self._options])
                rows = [{**first, **each} for each in self._options]
                options = {name: np.array([each[name] for each in rows]) for name in first}
            else:
                mask = np.array([data_equivalence(each, first) for each in self._options])
                options = dict(first)
            done |= mask
            yield options, mask

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(self) -> Any:
        observations, rewards, terminations, truncations, batched = self.envs.step(self._actions)
        final_obs, final_infos = batched.pop("final_obs", None), batched.pop("final_info", {})
        dones = terminations | truncations
        infos = _one_by_one(batched, self.num_envs)
        if final_obs is not None:
            final = _one_by_one(final_infos, self.num_envs)
            for row in np.flatnonzero(dones):
                # The infos of a step are those of the episode that it belongs to.
                self.reset_infos[row] = infos[row]
                infos[row] = {**final[row], "terminal_observation": final_obs[row]}
                # RecordEpisodeStatistics describes the episode that is over.
                if (statistics := self.reset_infos[row].pop("episode", None)) is not None:
                    infos[row]["episode"] = statistics
        cut_short = (truncations & ~terminations).tolist()
        for info, truncated in zip(infos, cut_short, strict=True):
            info["TimeLimit.truncated"] = truncated
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        self.envs.close()

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        frames = self.envs.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        holder = self.envs if hasattr(self.envs, attr_name) else self.envs.unwrapped
        return [getattr(holder, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        self._check_all(f"set_attr({attr_name!r})", indices)
        setattr(self.envs.unwrapped, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        self._check_all(f"env_method({method_name!r})", indices)
        result = getattr(self.envs, method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]

    def _check_all(self, call: str, indices: Any) -> None:
        chosen = sorted(self._get_indices(indices))
        if chosen != list(range(self.num_envs)):
            raise ValueError(
                f"{call} acts on all sub-environments at once, not on {chosen} alone. "
                'Leave indices out; .envs.reset(options={"reset_mask": mask}) resets some.'
            )


def _warn_of_threads(num_envs: int) -> None:
    threads = torch.get_num_threads()
    if threads > 1 and num_envs <= SMALL_BATCH:
        warnings.warn(
            f"torch uses {threads} threads, which make small networks on {num_envs} environments "
            "many times slower. Call torch.set_num_threads(1) before learning.",
            stacklevel=3,
        )


class GlimpseFeatures(BaseFeaturesExtractor):
    """A features extractor: glimpse and location, concatenated as in RAM's glimpse network.

    Args:
        observation_space: Dict(glimpse=…, location=…), or a stack of these.
        size: the number of features of the glimpse, and of the location.
        pixel_scale: factor on the pixels, most of which are near 0.
        scale_factor: further factor on each scale of a glimpse, relative to the finer one; with 4 a
            coarse cell is the sum of its pixels, so that the ball of Catch stays visible.
        num_scales, num_channels: K and C of the environment, which scale_factor needs.

    Raises:
        ValueError: if the glimpse's channels are not a multiple of num_scales · num_channels.
    """

    scales: torch.Tensor

    @check_arguments
    def __init__(
        self,
        observation_space: spaces.Dict,
        size: int = 128,
        pixel_scale: float = 3.0,
        scale_factor: float = 1.0,
        num_scales: int = 1,
        num_channels: int = 1,
    ) -> None:
        size = checked_integer("size", size, 1)
        super().__init__(observation_space, features_dim=2 * size)
        num_scales = checked_integer("num_scales", num_scales, 1)
        channels = (observation_space["glimpse"].shape or (1,))[0]
        num_channels = checked_integer("num_channels", num_channels, 1)
        if channels % (num_scales * num_channels):
            raise ValueError(
                f"num_scales={num_scales} times num_channels={num_channels} does not divide the "
                f"{channels} channels of a glimpse. Give those of the environment: num_channels is "
                "1 for gray images, 3 for color."
            )
        pixel_scale = checked_number("pixel_scale", pixel_scale, 0, 1e6)
        scale_factor = checked_number("scale_factor", scale_factor, 0, 1e6)
        scales = torch.arange(channels) // num_channels % num_scales
        factors = pixel_scale * scale_factor**scales
        self.register_buffer("scales", factors.view(-1, 1, 1), persistent=False)
        self.what = torch.nn.Linear(math.prod(observation_space["glimpse"].shape or ()), size)
        self.where = torch.nn.Linear(math.prod(observation_space["location"].shape or ()), size)

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Map observations of B environments to features (B, 2 · size)."""
        what = self.what((self.scales * observations["glimpse"]).flatten(1))
        where = self.where(observations["location"])
        return torch.relu(torch.cat([what, where], dim=1))


def _one_by_one(infos: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Split batched infos, key and _key, into one dict per environment.

    ale-py's environments give no masks, and wrappers give infos within infos.
    """
    listed: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for key, values in infos.items():
        if key.startswith("_"):
            continue
        present = infos.get(f"_{key}", np.ones(num_envs, np.bool_))
        each = _one_by_one(values, num_envs) if isinstance(values, dict) else values.tolist()
        for info, value, holds in zip(listed, each, present, strict=True):
            if holds:
                info[key] = value
    return listed
