"""An agent that plays a vector environment step by step, in every autoreset mode.

Whole episodes (`rollout.py`), segments (`segment.py`) and evaluations are made of these steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from ram_agent.agent import Action, AgentOutput, RAMAgent
from ram_agent.cores import State, forget
from ram_envs.aliases import VectorEnv
from ram_envs.checks import checked_integer, find_autoreset_mode
from ram_envs.wrappers.codes import has_relative_gaze

Gaze = Literal["learned", "random", "center"]
Flags = npt.NDArray[np.bool_]
Observation = Mapping[str, Any]  # "glimpse" and "location", arrays or tensors of B rows


@dataclass(frozen=True)
class Step:
    """One step of B environments: what was seen and done, and what followed.

    observation         what the agent acted on
    begins              (B,), whether that observation begins an episode
    acts                (B,), whether the action counts; False where it only began a new episode
                        (autoreset NEXT_STEP)
    output              of the agent
    action              of the agent, with the locations of the gaze
    rewards             (B,) float32
    ended, truncated    (B,), whether the episode is over, and whether by a time limit alone
    final_observation   the last observations of the episodes that were truncated, in the order of
                        their rows; None if there are none
    """

    observation: Observation
    begins: Flags
    acts: Flags
    output: AgentOutput
    action: Action
    rewards: Tensor
    ended: Flags
    truncated: Flags
    final_observation: Observation | None


class Player:
    """An agent in B environments: their observations, and the agent's recurrent state.

    Where an episode begins the state is forgotten. Environments that do not reset themselves are
    reset one by one, before the step that follows an end.

    Args:
        agent: the agent.
        envs: a vector environment with any autoreset mode.
        gaze: the locations: "learned", the agent's; "random", uniform; "center", always (0, 0).
            With RelativeGaze, "random" shifts the gaze at random and "center" never shifts it.

    Attributes:
        observation: what the agent will act on next.
        state: its recurrent state, before it looks.
        begins: (B,), whether the observation begins an episode, which forgets the state.
        ended: (B,), whether the episode was over after the last step.
    """

    def __init__(self, agent: RAMAgent, envs: VectorEnv, gaze: Gaze = "learned") -> None:
        self.agent = agent
        self.envs = envs
        self.gaze = gaze
        self.mode = find_autoreset_mode(envs)
        self.state = agent.initial_state(envs.num_envs)
        self.observation: Observation = {}
        self.begins = self.ended = np.ones(envs.num_envs, np.bool_)

    @property
    def on_device(self) -> bool:
        """Whether the environments are on the agent's device."""
        return isinstance(self.observation["glimpse"], Tensor)

    def begin(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Begin an episode in every environment, and return their info."""
        self.observation, info = self.envs.reset(seed=seed, options=options)
        self.state = self.agent.initial_state(self.envs.num_envs)
        self.begins = np.ones(self.envs.num_envs, np.bool_)
        self.ended = ~self.begins
        return info

    def step(
        self,
        deterministic: bool = False,
        sample_choice: bool = True,
        generator: torch.Generator | None = None,
    ) -> Step:
        """Look, act in every environment, and return what came of it.

        Args:
            deterministic, sample_choice, generator: as for `RAMAgent.act`.

        Raises:
            FloatingPointError: if a location of the agent is not finite.
        """
        self._reset_ended()
        output, self.state = self.agent.step(self.observation, self._remembered())
        action = self.agent.act(output, deterministic, sample_choice, generator)
        if not self.on_device:
            check_locations(action.location)
        action = self._look(action, generator)
        seen, begins = self.observation, self.begins
        acts = ~self.ended if self.mode is AutoresetMode.NEXT_STEP else np.ones_like(begins)
        played = action if self.on_device else (part.cpu().numpy() for part in action)
        rewards, truncated, final = self.advance(*played)
        return Step(seen, begins, acts, output, action, rewards, self.ended, truncated, final)

    def advance(self, locations: Any, choices: Any) -> tuple[Tensor, Flags, Observation | None]:
        """Take one step with given actions.

        Returns:
            Of `Step`: rewards, truncated, final_observation.
        """
        self._reset_ended()
        had_ended = self.ended
        self.observation, rewards, terminations, truncations, info = self.envs.step(
            (locations, choices)
        )
        self.ended = np.asarray(terminations | truncations)
        truncated = np.asarray(truncations & ~terminations)
        if self.mode is AutoresetMode.NEXT_STEP:
            self.begins = had_ended
        elif self.mode is AutoresetMode.SAME_STEP:
            self.begins = self.ended
        else:
            self.begins = np.zeros_like(self.ended)
        final = self._final_observation(info, truncated) if truncated.any() else None
        return torch.as_tensor(rewards).float(), truncated, final

    def _reset_ended(self) -> None:
        """Begin new episodes where the last ones are over, if the environments do not."""
        if self.mode is AutoresetMode.DISABLED and self.ended.any():
            mask = self.ended
            options = None if mask.all() else {"reset_mask": mask}
            self.observation, _ = self.envs.reset(options=options)
            self.begins, self.ended = mask, np.zeros_like(mask)

    def _remembered(self) -> State:
        """Return the state before this step: zeros where an episode begins."""
        if self.begins.all():
            return self.agent.initial_state(self.envs.num_envs)
        if self.begins.any():
            return forget(self.state, torch.from_numpy(self.begins).to(self.agent.device))
        return self.state

    def _look(self, action: Action, generator: torch.Generator | None) -> Action:
        """Return the action with the locations of the gaze."""
        location, choice = action
        if self.gaze == "random":
            source = None if generator is None else generator.device
            noise = torch.rand(
                location.shape, generator=generator, device=source, dtype=location.dtype
            )
            location = (2 * noise - 1).to(location.device)
        elif self.gaze == "center":
            location = torch.zeros_like(location)
        return Action(location, choice)

    def _final_observation(self, info: dict[str, Any], truncated: Flags) -> Observation:
        """Return the last observations of the episodes that were truncated."""
        rows = np.flatnonzero(truncated)
        if self.mode is not AutoresetMode.SAME_STEP:
            return {key: value[rows] for key, value in self.observation.items()}
        final = info["final_obs"]
        if isinstance(final, Mapping):
            return {key: np.asarray(final[key])[rows] for key in self.observation}
        return {key: np.stack([final[row][key] for row in rows]) for key in self.observation}


def check_envs(agent: RAMAgent, envs: VectorEnv, any_mode: bool = False) -> None:
    """Raise an error unless the agent can play these environments.

    Args:
        agent: the agent.
        envs: the environments.
        any_mode: whether environments without images may reset themselves.

    Raises:
        TypeError: if it is a single environment, or its spaces are not those of glimpses.
        ValueError: if it resets itself and may not, or does not state whether it does, its spaces
            are not those of the agent, its images have other channels, or locations are shifts
            (RelativeGaze) either for it or for the agent.
    """
    if not isinstance(envs, gym.vector.VectorEnv):
        raise TypeError(
            f"{envs} is not a vector environment. Make one: gym.make_vec(ENV_ID, num_envs=…, "
            'autoreset_mode="Disabled").'
        )
    agent.check_fits(envs)
    _check_shifts(agent, envs)
    mode = find_autoreset_mode(envs)
    has_images = count_images(envs) is not None
    if mode is not AutoresetMode.DISABLED and (has_images or not any_mode):
        way = "" if has_images else ', or learn from rewards alone: supervision="none"'
        raise ValueError(
            f"These environments reset themselves (autoreset_mode={mode.value}). Make them with "
            f'autoreset_mode="Disabled"{way}.'
        )


def _check_shifts(agent: RAMAgent, envs: VectorEnv) -> None:
    """Raise ValueError if locations are shifts of the gaze either for the agent or for `envs`."""
    learned, needed = learned_shifts(agent.info), find_relative_gaze(envs)
    if learned is not None and needed is not None and learned != needed:
        kinds = ("locations", "shifts of the gaze, as in RelativeGaze")
        raise ValueError(
            f"The agent was trained to choose {kinds[learned]}, and these environments take "
            f"{kinds[needed]}. Make them as in training, such as by agent.make_envs()."
        )


def learned_shifts(info: Mapping[str, Any]) -> bool | None:
    """Return whether the agent of these facts learned shifts of its gaze; None if unknown."""
    if isinstance(fact := info.get("relative_gaze"), bool):
        return fact
    keywords = info.get("env_kwargs")
    return keywords.get("max_shift") is not None if isinstance(keywords, Mapping) else None


def find_relative_gaze(envs: VectorEnv) -> bool | None:
    """Return whether locations are shifts of the gaze; None if the environments do not say."""
    return has_relative_gaze(envs) if hasattr(envs.unwrapped, "batch") else None


def count_images(envs: VectorEnv) -> int | None:
    """Return the number of images in the split that environments show; None without images."""
    num_images: int | None = getattr(envs.unwrapped, "num_images", None)
    return num_images


def noise_source(envs: VectorEnv, seed: int) -> torch.Generator:
    """Return a source of noise on the environments' device, or on the CPU.

    Raises:
        ValueError: if the seed is not an integer from 0 to 2^63 − 1.
    """
    seed = checked_integer("seed", seed, 0, 2**63 - 1)
    return torch.Generator(getattr(envs.unwrapped, "device", "cpu")).manual_seed(seed)


def check_locations(locations: Tensor) -> None:
    """Raise FloatingPointError unless all locations of an agent are finite."""
    if not locations.isfinite().all():
        raise FloatingPointError(
            "The agent's location is not finite: its weights have diverged. In training, lower "
            "learning_rate or set max_grad_norm; the last checkpoint is intact."
        )
