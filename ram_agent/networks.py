"""The paper's networks (section 3, figure 1): glimpse network, core, and the heads on its state."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
    ) -> None:
        super().__init__()
        if glimpse_shape[0] % num_channels:
            raise ValueError(
                f"num_channels={num_channels} does not divide the {glimpse_shape[0]} channels of a "
                "glimpse. Give 1 for gray images, 3 for color."
            )
        scales = pixel_scale * scale_factor ** (torch.arange(glimpse_shape[0]) // num_channels)
        self.register_buffer("pixel_scales", scales.view(-1, 1, 1), persistent=False)
        self.what = nn.Linear(torch.Size(glimpse_shape).numel(), feature_size)
        self.where = nn.Linear(2, feature_size)
        # Linear(h_g) + Linear(h_l) is one Linear over both side by side: one matrix product.
        self.what_and_where = nn.Linear(2 * feature_size, output_size)

    def forward(self, glimpses: Tensor, locations: Tensor) -> Tensor:
        """Return the features (B, D) of glimpses (B, K · C, G, G) at locations (B, 2)."""
        what = self.what((glimpses * self.pixel_scales).flatten(1))
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


def initialize_he(glimpse_network: GlimpseNetwork, core: Core, heads: list[nn.Linear]) -> None:
    """Set He-normal weights before rectifiers, zero biases, and a core that keeps its state."""
    for layer in glimpse_network.children():
        assert isinstance(layer, nn.Linear)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    core.initialize_he()
    for head in heads:
        nn.init.normal_(head.weight, 0, head.in_features**-0.5)
        nn.init.zeros_(head.bias)
