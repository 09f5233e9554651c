"""The paper's networks (section 3, figure 1): glimpse network, core, and the heads on its state."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolutions(nn.Module):
    """Two convolutions, ReLU after each, which all scales of a glimpse share.

    Each is 3 × 3 with zero padding, so that a glimpse may be as small as one pixel. The second one
    halves the resolution, and so does the first where a glimpse is at least 12 wide.

    Args:
        glimpse_shape: (K · C, G, G).
        num_channels: C.
        num_maps: of the first convolution; the second has twice as many.

    Attributes:
        out_features: how many values all scales have together.
    """

    def __init__(self, glimpse_shape: tuple[int, ...], num_channels: int, num_maps: int) -> None:
        super().__init__()
        channels, side, _ = glimpse_shape
        stride = 2 if side >= 12 else 1
        self.num_channels = num_channels
        self.first = nn.Conv2d(num_channels, num_maps, 3, stride, padding=1)
        self.second = nn.Conv2d(num_maps, 2 * num_maps, 3, stride=2, padding=1)
        side = math.ceil(side / (2 * stride))
        self.out_features = channels // num_channels * 2 * num_maps * side**2

    def forward(self, glimpses: Tensor) -> Tensor:
        """Return the maps (B, out_features) of glimpses (B, K · C, G, G), scales in one batch."""
        batch_size, _, height, width = glimpses.shape
        maps = glimpses.reshape(-1, self.num_channels, height, width)
        maps = maps.contiguous(memory_format=torch.channels_last)  # the faster one on a CPU
        maps = torch.relu(self.second(torch.relu(self.first(maps))))
        return maps.permute(0, 2, 3, 1).reshape(batch_size, -1)


class GlimpseNetwork(nn.Module):
    """f_g: from a glimpse and its location to the glimpse feature g_t.

    h_g = ReLU(Linear(glimpse)), h_l = ReLU(Linear(location)), g = ReLU(Linear(h_g) + Linear(h_l)).

    Args:
        glimpse_shape: (K · C, G, G).
        feature_size: width of h_g and of h_l.
        output_size: width of g.
        pixel_scale: factor on the pixels at the input.
        scale_factor: further factor on each scale, relative to the finer one before it.
        num_channels: C, so that the first C channels are the finest scale.
        pixel_mean: subtracted from the pixels before they are scaled.
        num_maps: of the first of two convolutions before h_g; None for no convolutions.

    Raises:
        ValueError: if num_channels does not divide K · C.
    """

    pixel_scales: Tensor

    def __init__(
        self,
        glimpse_shape: tuple[int, ...],
        feature_size: int,
        output_size: int,
        pixel_scale: float,
        scale_factor: float = 1.0,
        num_channels: int = 1,
        pixel_mean: float = 0.0,
        num_maps: int | None = None,
    ) -> None:
        super().__init__()
        if glimpse_shape[0] % num_channels:
            raise ValueError(
                f"num_channels={num_channels} does not divide the {glimpse_shape[0]} channels of a "
                "glimpse. Give 1 for gray images, 3 for color."
            )
        self.pixel_mean = pixel_mean
        scales = pixel_scale * scale_factor ** (torch.arange(glimpse_shape[0]) // num_channels)
        self.register_buffer("pixel_scales", scales.view(-1, 1, 1), persistent=False)
        num_inputs = math.prod(glimpse_shape)
        self.eyes: nn.Module = nn.Flatten()
        if num_maps is not None:
            self.eyes = Convolutions(glimpse_shape, num_channels, num_maps)
            num_inputs = self.eyes.out_features
        self.what = nn.Linear(num_inputs, feature_size)
        self.where = nn.Linear(2, feature_size)
        # Linear(h_g) + Linear(h_l) is one Linear over both side by side: one matrix product.
        self.what_and_where = nn.Linear(2 * feature_size, output_size)

    def forward(self, glimpses: Tensor, locations: Tensor) -> Tensor:
        """Return the features (B, D) of glimpses (B, K · C, G, G) at locations (B, 2)."""
        if self.pixel_mean:
            glimpses = glimpses - self.pixel_mean
        what = self.what(self.eyes(glimpses * self.pixel_scales))
        both = torch.cat([what, self.where(locations)], dim=1)
        return torch.relu(self.what_and_where(torch.relu(both)))


State = tuple[Tensor, ...]
"""The state of a core, B rows each: h_t, the input of the heads, and c_t of an LSTM."""


class Core(nn.Module, ABC):
    """f_h: the recurrent network.

    Args:
        input_size: D', width of the glimpse feature.
        hidden_size: D, width of h_t, and of c_t where there is one.
    """

    state_parts: int

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size

    def initial_state(self, batch_size: int, device: torch.device) -> State:
        """Return zeros, (B, D) each."""
        zeros = torch.zeros(batch_size, self.hidden_size, dtype=torch.float32, device=device)
        return (zeros,) * self.state_parts

    @abstractmethod
    def unroll(self, features: Tensor, state: State, begins: Tensor) -> Tensor:
        """Return h_t of T steps, (T, B, D): as T calls, with fewer and larger matrix products.

        Args:
            features: (T, B, D').
            state: before the first step.
            begins: (T, B) bool, where an episode begins, which forgets the state.
        """

    @abstractmethod
    def initialize_he(self) -> None:
        """Set weights with which a new core keeps its state, and zero biases."""


class RectifierCore(Core):
    """h_t = ReLU(Linear(h_{t−1}) + Linear(g_t)), the paper's core for classification."""

    state_parts = 1

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.state_and_input = nn.Linear(hidden_size + input_size, hidden_size)

    def forward(self, features: Tensor, state: State) -> State:
        """Return the next state, given features (B, D') and the state."""
        return (torch.relu(self.state_and_input(torch.cat([*state, features], dim=1))),)

    def unroll(self, features: Tensor, state: State, begins: Tensor) -> Tensor:
        layer, size = self.state_and_input, self.hidden_size
        recurrent = layer.weight[:, :size]
        state, steps = like(features, state), []
        for now, begin in zip(
            F.linear(features, layer.weight[:, size:], layer.bias),
            unbind_begins(begins),
            strict=True,
        ):
            (hidden,) = state if begin is None else forget(state, begin)
            state = (torch.relu(torch.addmm(now, hidden, recurrent.t())),)
            steps.append(state[0])
        return torch.stack(steps)

    def initialize_he(self) -> None:
        """Set 0.9 · I from state to state (Le, Jaitly & Hinton 2015, arXiv 1504.00941)."""
        recurrent = self.state_and_input.weight[:, : self.hidden_size]
        from_input = self.state_and_input.weight[:, self.hidden_size :]
        nn.init.kaiming_normal_(self.state_and_input.weight, nonlinearity="relu")
        with torch.no_grad():
            recurrent.copy_(0.9 * torch.eye(self.hidden_size))
            from_input.normal_(0, (2 / self.input_size) ** 0.5)
        nn.init.zeros_(self.state_and_input.bias)


class LSTMCore(Core):
    """LSTM (Hochreiter & Schmidhuber 1997), the paper's core for Catch.

    i, f, g, o = Linear(h_{t−1}) + Linear(g_t)
    c_t = σ(f) · c_{t−1} + σ(i) · tanh(g)
    h_t = σ(o) · tanh(c_t)
    """

    state_parts = 2

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        # One matrix product for all gates; nn.LSTMCell takes two.
        self.gates = nn.Linear(hidden_size + input_size, 4 * hidden_size)

    def forward(self, features: Tensor, state: State) -> State:
        """Return the next state, given features (B, D') and the state."""
        hidden, cell = state
        return self._apply_gates(self.gates(torch.cat([hidden, features], dim=1)), cell)

    def unroll(self, features: Tensor, state: State, begins: Tensor) -> Tensor:
        recurrent = self.gates.weight[:, : self.hidden_size]
        inputs = F.linear(features, self.gates.weight[:, self.hidden_size :], self.gates.bias)
        state, steps = like(features, state), []
        for now, begin in zip(inputs, unbind_begins(begins), strict=True):
            hidden, cell = state if begin is None else forget(state, begin)
            state = self._apply_gates(torch.addmm(now, hidden, recurrent.t()), cell)
            steps.append(state[0])
        return torch.stack(steps)

    @staticmethod
    def _apply_gates(gates: Tensor, cell: Tensor) -> State:
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)
        cell = forget_gate.sigmoid() * cell + input_gate.sigmoid() * tanh(candidate)
        return output_gate.sigmoid() * tanh(cell), cell

    def initialize_he(self) -> None:
        """Set He-normal weights, so that states differ from the start, and open forget gates."""
        nn.init.kaiming_normal_(self.gates.weight, nonlinearity="relu")
        nn.init.zeros_(self.gates.bias)
        with torch.no_grad():
            self.gates.bias[self.hidden_size : 2 * self.hidden_size] = 1


def forget(state: State, begins: Tensor) -> State:
    """Return the state with zeros where an episode begins, (B,) bool."""
    keep = (~begins).unsqueeze(1)
    return tuple(part * keep for part in state)


def like(features: Tensor, state: State) -> State:
    """Return the state in the type of the features."""
    return tuple(part.to(features.dtype) for part in state)


def unbind_begins(begins: Tensor) -> list[Tensor | None]:
    """Return where episodes begin, (B,) bool for each step of (T, B); None if none begins."""
    return [
        begin if any_begins else None
        for begin, any_begins in zip(begins, begins.any(1).tolist(), strict=True)
    ]


def tanh(values: Tensor) -> Tensor:
    """Return tanh; on a CPU as 2 σ(2 x) − 1, which takes PyTorch a third of the time."""
    return 2 * torch.sigmoid(2 * values) - 1 if values.is_cpu else values.tanh()


CORES: dict[str, type[RectifierCore | LSTMCore]] = {"rectifier": RectifierCore, "lstm": LSTMCore}


def initialize_he(layers: Iterable[nn.Module]) -> None:
    """Set He-normal weights before rectifiers, and zero biases, where a layer has them."""
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


def initialize_heads(heads: Iterable[nn.Linear]) -> None:
    """Set weights with which outputs have the variance of the state, and zero biases."""
    for head in heads:
        nn.init.normal_(head.weight, 0, head.in_features**-0.5)
        nn.init.zeros_(head.bias)


def check_glimpse_network(
    network: nn.Module, glimpse_shape: tuple[int, ...], output_size: int
) -> None:
    """Raise ValueError unless a module makes features (B, output_size) of glimpses and locations.

    It is tried on two black glimpses.
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    glimpses = torch.zeros(2, *glimpse_shape, device=device)
    was_training = network.training
    try:
        with torch.no_grad():
            features = network.eval()(glimpses, torch.zeros(2, 2, device=device))
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"glimpse_network cannot read glimpses of shape {(2, *glimpse_shape)} and locations of "
            f"shape (2, 2): {error} Change its layers, or the environment's glimpse_size."
        ) from error
    finally:
        network.train(was_training)
    found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    if found != (2, output_size):
        raise ValueError(
            f"glimpse_network made {found} of two glimpses; the core expects (2, {output_size}). "
            "Set hidden_size to the width of the module's output, or end it with a Linear of that "
            "width."
        )
