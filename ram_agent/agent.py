"""The agent: from a glimpse and its location to the next location and a choice (section 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ram_agent.agent_env import MakesItsEnv
from ram_agent.config import AgentConfig, config_from_json
from ram_agent.cores import CORES, State, forget
from ram_agent.networks import (
    GlimpseNetwork,
    check_glimpse_network,
    initialize_he,
    initialize_heads,
)
from ram_agent.pretrained_agents import PREFIX, pretrained_name
from ram_agent.spaces import (
    check_channels,
    check_spaces,
    make_spaces,
    read_observation,
    read_starts,
    read_state,
    single_spaces,
)
from ram_agent.weights import (
    DAMAGE,
    CheckpointError,
    as_stored,
    check_finite,
    check_tensors,
    find_weights,
    load_weights,
    save_weights,
)
from ram_envs.aliases import Env, VectorEnv
from ram_envs.arguments import check_arguments
from ram_envs.checks import checked_integer

OWN_NETWORK = "own_glimpse_network"  # in a file: the class of a glimpse network of the user's


class AgentOutput(NamedTuple):
    """The outputs of the heads for one state.

    location_mean   (B, 2), the mean of the next location
    choice_logits   (B, n), logits of the labels or moves
    baseline        (B,), the predicted return of the next location; its logit if the baseline is a
                    probability
    """

    location_mean: Tensor
    choice_logits: Tensor
    baseline: Tensor


class Action(NamedTuple):
    """An action drawn from an output: a location (B, 2) and a choice (B,)."""

    location: Tensor
    choice: Tensor


class RAMAgent(MakesItsEnv, nn.Module):
    """The recurrent attention model, for any environment that shows a glimpse and its location.

    It is in evaluation mode, except while `Trainer` takes a step.

    Args:
        observation_space: Dict with "glimpse", Box (K·C, G, G), and "location", Box (2,).
        action_space: Tuple(Box (2,), Discrete(n)).
        config: the shape of the networks.
        glimpse_network: a custom module, which replaces config.glimpse_network and keeps its
            weights: from glimpses (B, K·C, G, G) in [0, 1] and their locations (B, 2) to features
            (B, hidden_size).

    Raises:
        TypeError: if the spaces have another form, or config is not an AgentConfig.
        ValueError: if the choices do not begin at 0, the glimpse's channels are not a multiple of
            config.num_channels, the module fails or its output is not finite float32 of that shape,
            or pixel_mean or pixel_scale is None, which only training measures.

    Attributes:
        location_std: standard deviation of sampled locations, in half canvases; training sets it.
        info: the facts that were saved with the weights, such as "env_id", "dataset", "training"
            and "validation_error"; empty for a new agent. `Trainer.averaged_agent` has "training"
            and "relative_gaze", whether its locations are shifts.
    """

    location_std: Tensor

    @check_arguments
    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        config: AgentConfig | None = None,
        glimpse_network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        check_spaces(observation_space, action_space)
        config = AgentConfig() if config is None else config
        self.observation_space = observation_space
        self.action_space = action_space
        self.config = config
        self.glimpse_shape: tuple[int, ...] = observation_space["glimpse"].shape  # type: ignore[index]
        self.num_choices = int(action_space[1].n)  # type: ignore[index]
        self.info: dict[str, Any] = {}

        with _default_dtype(torch.float32):
            if glimpse_network is None:
                self.glimpse_network = _make_glimpse_network(config, self.glimpse_shape)
            else:
                check_glimpse_network(glimpse_network, self.glimpse_shape, config.hidden_size)
                self.glimpse_network = glimpse_network
            self.core = CORES[config.core](config.hidden_size, config.hidden_size)
            self.location_head = nn.Linear(config.hidden_size, 2)
            self.choice_head = nn.Linear(config.hidden_size, self.num_choices)
            self.baseline_head = nn.Linear(config.hidden_size, 1)
            self.register_buffer("location_std", torch.tensor(0.1))
            if config.initialization == "he":
                if glimpse_network is None:
                    initialize_he(self.glimpse_network.modules())
                self.core.initialize_he()
                initialize_heads([self.location_head, self.choice_head, self.baseline_head])
            with torch.no_grad():
                self.location_head.weight *= config.location_start
        self.eval()

    @classmethod
    @check_arguments
    def load(cls, path: str | Path, glimpse_network: nn.Module | None = None) -> RAMAgent:
        """Return a saved agent; its `info` holds the facts that were saved with it.

        Args:
            path: a run folder (its best weights, or else its last), what was given to `save`, or
                "pretrained:NAME".
            glimpse_network: a module like the one that the saved agent was made with, if it was.

        Raises:
            FileNotFoundError: if there are no weights.
            CheckpointError: if the file is damaged or has another format or version.
            ValueError: if a glimpse_network is needed, is not, or is unlike the saved one.
        """
        path = find_weights(path)
        tensors, description = load_weights(path)
        own_network = description.get(OWN_NETWORK)
        _check_network_given(path, own_network, glimpse_network)
        with _blaming(path):
            check_finite(tensors)
            spaces = make_spaces(description["glimpse_shape"], description["num_choices"])
            config = config_from_json(AgentConfig, description["agent"])
            info = dict(description["info"])
            if glimpse_network is None:  # compare the sizes before memory is allocated
                with torch.device("meta"):
                    check_tensors(tensors, cls(*spaces, config).state_dict())
        if glimpse_network is not None:
            _load_own_network(glimpse_network, tensors, path, own_network)
        agent = cls(*spaces, config, glimpse_network)
        with _blaming(path):
            check_tensors(tensors, as_stored(agent.state_dict()))
        agent.load_state_dict(tensors)
        agent.info = info
        return agent

    @classmethod
    @check_arguments
    def pretrained(cls, name: str) -> RAMAgent:
        """Return an agent that comes with the package, for example "cluttered-mnist-8".

        Raises:
            FileNotFoundError: if there is none of that name; the message lists all names.
        """
        return cls.load(PREFIX + (pretrained_name(name) or name))

    @check_arguments
    def save(
        self, path: str | Path, info: dict[str, Any] | None = None, packed: bool = False
    ) -> Path:
        """Write one safetensors file: the weights, and their description in its header.

        A file of that name is replaced, once the new one is complete. Missing folders are made.

        Args:
            path: the file; the extension .safetensors is appended if it is missing.
            info: JSON values to store as `info`; the agent's own if None.
            packed: store matrices as 8-bit integers: a quarter of the size, rounded weights.

        Returns:
            The path that was written.

        Raises:
            IsADirectoryError: if the path is a folder.
            OSError: if the file cannot be written; an older one stays as it is.
            TypeError: if `info` contains values that JSON does not have.
            ValueError: if a weight is NaN or infinite.
        """
        description = {
            "agent": dataclasses.asdict(self.config),
            "glimpse_shape": list(self.glimpse_shape),
            "num_choices": self.num_choices,
            "info": self.info if info is None else info,
        }
        if not isinstance(self.glimpse_network, GlimpseNetwork):
            description[OWN_NETWORK] = type(self.glimpse_network).__name__
        return save_weights(path, self.state_dict(), description, packed)

    @check_arguments
    def check_fits(self, env: Env | VectorEnv) -> None:
        """Raise TypeError for spaces of another form, ValueError for those of another agent."""
        observation_space, action_space = single_spaces(env)
        check_spaces(observation_space, action_space)
        check_channels(env, self.config.num_channels)
        glimpse_shape = observation_space["glimpse"].shape  # type: ignore[index]
        num_choices = int(action_space[1].n)  # type: ignore[index]
        if (glimpse_shape, num_choices) != (self.glimpse_shape, self.num_choices):
            raise ValueError(
                f"The agent expects glimpses of shape {self.glimpse_shape} and has "
                f"{self.num_choices} choices; the environment has glimpses of shape "
                f"{glimpse_shape} and {num_choices} choices. Use an environment with the same "
                "glimpse_size, num_scales and classes as in training."
            )

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.location_std.device

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first glimpse: h (B, D), and for an LSTM c (B, D)."""
        return self.core.initial_state(checked_integer("batch_size", batch_size, 1), self.device)

    def step(
        self, observation: Mapping[str, npt.NDArray[np.float32] | Tensor], state: State
    ) -> tuple[AgentOutput, State]:
        """Process one glimpse each: B observations and states to B outputs and next states."""
        glimpses = torch.as_tensor(observation["glimpse"], device=self.device)
        locations = torch.as_tensor(observation["location"], device=self.device)
        state = self.core(self.glimpse_network(glimpses, locations), state)
        return self.heads(state[0]), state

    def heads(self, hidden: Tensor) -> AgentOutput:
        """Return the outputs for hidden states h_t, (…, D)."""
        mean = self.location_head(hidden)
        watched = hidden if self.config.baseline_shapes_state else hidden.detach()
        return AgentOutput(
            location_mean=torch.tanh(mean) if self.config.location_mean == "tanh" else mean,
            choice_logits=self.choice_head(hidden),
            baseline=self.baseline_head(watched).squeeze(-1),
        )

    def act(
        self,
        output: AgentOutput,
        deterministic: bool = False,
        sample_choice: bool = False,
        generator: torch.Generator | None = None,
    ) -> Action:
        """Return an action. No gradient flows through a sampled location (paper, section 3.1).

        Args:
            output: outputs of the heads, B rows.
            deterministic: use the mean location and the most probable choice.
            sample_choice: sample the choice too, unless deterministic.
            generator: source of the noise, on its own device; PyTorch's global one if None.
        """
        mean, logits = output.location_mean.detach(), output.choice_logits
        if deterministic:
            return Action(mean, logits.argmax(1))
        location = mean + self.location_std * _draw_noise(mean, generator)
        return Action(location, _sample(logits, generator) if sample_choice else logits.argmax(1))

    @torch.no_grad()
    @check_arguments
    def predict(
        self,
        observation: Mapping[str, npt.NDArray[np.float32]],
        state: tuple[npt.NDArray[np.float32], ...] | None = None,
        episode_start: npt.NDArray[np.bool_] | bool | None = None,
        deterministic: bool = False,
    ) -> tuple[tuple[Any, Any], tuple[npt.NDArray[np.float32], ...]]:
        """Return the action for one observation, or for a batch, as in Stable-Baselines3.

        Args:
            observation: {"glimpse": (K·C, G, G) or (B, K·C, G, G), "location": (2,) or (B, 2)},
                floats: pixels in [0, 1], locations in [−1, 1].
            state: the state that the last call returned; None at the start.
            episode_start: whether an episode has just begun, (B,) or one bool; its state is reset.
            deterministic: use the mean location and the most probable choice instead of sampling.

        Returns:
            An action for `env.step`, (location, choice), and the next state.

        Raises:
            TypeError: if the observation is not such a dict, or the glimpse contains integers.
            ValueError: if a shape does not fit the agent, the state or `episode_start` does not fit
                the observation, or pixels or locations are NaN or out of range.
        """
        glimpse, location = read_observation(observation, self.glimpse_shape)
        if single := glimpse.ndim == 3:
            glimpse, location = glimpse[None], location[None]
        tensors = read_state(state, like=self.initial_state(len(glimpse)))
        if episode_start is not None:
            begun = read_starts(episode_start, len(glimpse))
            tensors = forget(tensors, torch.tensor(begun, device=self.device))
        output, tensors = self.step({"glimpse": glimpse, "location": location}, tensors)
        action = self.act(output, deterministic, sample_choice=True)
        locations = action.location.clamp(-1, 1).cpu().numpy()
        choices = action.choice.cpu().numpy()
        decided = (locations[0], int(choices[0])) if single else (locations, choices)
        return decided, tuple(part.cpu().numpy() for part in tensors)


def _make_glimpse_network(config: AgentConfig, glimpse_shape: tuple[int, ...]) -> nn.Module:
    pixel_mean, pixel_scale = config.pixel_mean, config.pixel_scale
    if pixel_mean is None or pixel_scale is None:
        raise ValueError(
            f"The config has {pixel_mean=} and {pixel_scale=}; `ram train` and `ram_agent.train` "
            "measure None. Give numbers: AgentConfig(pixel_mean=0, pixel_scale=3)."
        )
    return GlimpseNetwork(
        glimpse_shape,
        feature_size=config.feature_size,
        output_size=config.hidden_size,
        pixel_scale=pixel_scale,
        scale_factor=config.scale_factor,
        num_channels=config.num_channels,
        pixel_mean=pixel_mean,
        num_maps=config.conv_maps if config.glimpse_network == "conv" else None,
    )


def _draw_noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    source = torch.device("cpu") if generator is None else generator.device
    noise = torch.randn(like.shape, generator=generator, device=source, dtype=like.dtype)
    return noise.to(like.device)


def _sample(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return one choice, (B,), of each row of logits (B, n)."""
    probs = logits.detach().softmax(1)
    source = torch.device("cpu") if generator is None else generator.device
    # The same as torch.multinomial on the CPU, which on a GPU synchronizes to check probs.
    arrivals = torch.empty(probs.shape, device=source, dtype=probs.dtype)
    arrivals.exponential_(generator=generator)
    return (probs / arrivals.to(logits.device)).argmax(1)


def _check_network_given(path: Path, saved: str | None, given: nn.Module | None) -> None:
    """Raise ValueError unless a module is given where the saved agent has a custom one."""
    if saved is None and given is not None:
        raise ValueError(
            f"The agent in {path} has no custom glimpse network. Leave glimpse_network out."
        )
    if saved is not None and given is None:
        raise ValueError(
            f"The agent in {path} was made with a custom glimpse network, {saved}. Pass one of the "
            f"same sizes: RAMAgent.load(path, glimpse_network={saved}(…))."
        )


def _load_own_network(
    network: nn.Module, tensors: Mapping[str, Tensor], path: Path, saved: str | None
) -> None:
    """Give a module the weights of the saved glimpse network; raise ValueError if it differs."""
    prefix = "glimpse_network."
    own = {name[len(prefix) :]: own for name, own in tensors.items() if name.startswith(prefix)}
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(
            f"glimpse_network is unlike the {saved} that the agent in {path} was made with: "
            f"{' '.join(str(error).split())} Pass one with the same layers."
        ) from None


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Call a file damaged if its contents cause an error."""
    try:
        yield
    except DAMAGE as error:
        raise CheckpointError(
            f"{path} is damaged, or of another version: {error} Restore it, or train again."
        ) from None


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
