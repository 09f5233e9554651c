"""The core f_h, which remembers what was seen (paper, section 3, figure 1)."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_HEADS = 4  # of the transformer
MEMORY_SIZE = 16  # M, the earlier steps that the transformer attends to

State = tuple[Tensor, ...]
"""The state of a core, B rows each: first h_t, the input of the heads."""


class Core(nn.Module, ABC):
    """f_h: the recurrent network.

    Args:
        input_size: D', width of the glimpse feature.
        hidden_size: D, width of h_t.

    Attributes:
        state_shapes: of the parts of the state, without B.
    """

    state_shapes: tuple[tuple[int, ...], ...]

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size

    def initial_state(self, batch_size: int, device: torch.device) -> State:
        """Return zeros, (B, …) each."""
        return tuple(
            torch.zeros(batch_size, *shape, dtype=torch.float32, device=device)
            for shape in self.state_shapes
        )

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


class LinearCore(Core):
    """A core whose next state follows from one linear layer of (h_{t−1}, g_t) and the state."""

    @property
    @abstractmethod
    def layer(self) -> nn.Linear:
        """The layer, of which the first inputs are h_{t−1}."""

    @abstractmethod
    def advance(self, outputs: Tensor, state: State) -> State:
        """Return the next state, given the layer's outputs, (B, …), and the state."""

    def forward(self, features: Tensor, state: State) -> State:
        """Return the next state, given features (B, D') and the state."""
        return self.advance(self.layer(torch.cat([state[0], features], dim=1)), state)

    def unroll(self, features: Tensor, state: State, begins: Tensor) -> Tensor:
        recurrent = self.layer.weight[:, : self.hidden_size]
        inputs = F.linear(features, self.layer.weight[:, self.hidden_size :], self.layer.bias)
        state, steps = like(features, state), []
        for now, begin in zip(inputs, unbind_begins(begins), strict=True):
            state = state if begin is None else forget(state, begin)
            state = self.advance(torch.addmm(now, state[0], recurrent.t()), state)
            steps.append(state[0])
        return torch.stack(steps)


class RectifierCore(LinearCore):
    """h_t = ReLU(Linear(h_{t−1}) + Linear(g_t)), the paper's core for classification."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.state_shapes = ((hidden_size,),)
        self.state_and_input = nn.Linear(hidden_size + input_size, hidden_size)

    @property
    def layer(self) -> nn.Linear:
        return self.state_and_input

    def advance(self, outputs: Tensor, state: State) -> State:
        return (torch.relu(outputs),)

    def initialize_he(self) -> None:
        """Set 0.9 · I from state to state (Le, Jaitly & Hinton 2015, arXiv 1504.00941)."""
        recurrent = self.state_and_input.weight[:, : self.hidden_size]
        from_input = self.state_and_input.weight[:, self.hidden_size :]
        nn.init.kaiming_normal_(self.state_and_input.weight, nonlinearity="relu")
        with torch.no_grad():
            recurrent.copy_(0.9 * torch.eye(self.hidden_size))
            from_input.normal_(0, (2 / self.input_size) ** 0.5)
        nn.init.zeros_(self.state_and_input.bias)


class LSTMCore(LinearCore):
    """LSTM (Hochreiter & Schmidhuber 1997), the paper's core for Catch.

    i, f, g, o = Linear(h_{t−1}) + Linear(g_t)
    c_t = σ(f) · c_{t−1} + σ(i) · tanh(g)
    h_t = σ(o) · tanh(c_t)
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.state_shapes = ((hidden_size,), (hidden_size,))
        # One matrix product for all gates; nn.LSTMCell takes two.
        self.gates = nn.Linear(hidden_size + input_size, 4 * hidden_size)

    @property
    def layer(self) -> nn.Linear:
        return self.gates

    def advance(self, outputs: Tensor, state: State) -> State:
        input_gate, forget_gate, candidate, output_gate = outputs.chunk(4, dim=1)
        cell = forget_gate.sigmoid() * state[1] + input_gate.sigmoid() * tanh(candidate)
        return output_gate.sigmoid() * tanh(cell), cell

    def initialize_he(self) -> None:
        """Set He-normal weights, so that states differ from the start, and open forget gates."""
        nn.init.kaiming_normal_(self.gates.weight, nonlinearity="relu")
        nn.init.zeros_(self.gates.bias)
        with torch.no_grad():
            self.gates.bias[self.hidden_size : 2 * self.hidden_size] = 1


class TransformerCore(Core):
    """One layer of a transformer (Vaswani et al. 2017, 1706.03762) over the episode's glimpses.

    A glimpse attends to itself and to the MEMORY_SIZE steps before it. Normalization comes first
    (Xiong et al. 2020, 2002.04745), and a learned term for each age of a step tells their order.
    The state is h_t; which of the last M steps belong to the episode, (B, M); and their keys and
    values, (B, M, 2 · D).
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        if hidden_size % NUM_HEADS:
            raise ValueError(
                f"hidden_size={hidden_size} cannot be divided among the {NUM_HEADS} heads of "
                f"core='transformer'. Give a multiple of {NUM_HEADS}."
            )
        self.state_shapes = ((hidden_size,), (MEMORY_SIZE,), (MEMORY_SIZE, 2 * hidden_size))
        self.input_norm, self.found_norm, self.output_norm = (
            nn.LayerNorm(hidden_size) for _ in range(3)
        )
        self.queries_keys_values = nn.Linear(hidden_size, 3 * hidden_size)
        self.found = nn.Linear(hidden_size, hidden_size)
        self.widen = nn.Linear(hidden_size, 2 * hidden_size)
        self.narrow = nn.Linear(2 * hidden_size, hidden_size)
        self.age = nn.Parameter(torch.zeros(NUM_HEADS, MEMORY_SIZE + 1))

    def forward(self, features: Tensor, state: State) -> State:
        """Return the next state, given features (B, D) and the state."""
        _, belongs, _ = state
        begins = torch.zeros(1, len(features), dtype=torch.bool, device=features.device)
        hidden, memory = self._attend(features[None], state, begins)
        belongs = torch.cat([belongs[:, 1:], torch.ones_like(belongs[:, :1])], 1)
        return hidden[0], belongs, memory[:, 1:]

    def unroll(self, features: Tensor, state: State, begins: Tensor) -> Tensor:
        return self._attend(features, like(features, state), begins)[0]

    def _attend(self, features: Tensor, state: State, begins: Tensor) -> tuple[Tensor, Tensor]:
        """Return h of each step, (T, B, D), and the keys and values of the memory and the steps."""
        _, belongs, memory = state
        num_steps, size = len(features), self.hidden_size
        steps = features.transpose(0, 1)
        queries, fresh = self.queries_keys_values(self.input_norm(steps)).split((size, 2 * size), 2)
        memory = torch.cat([memory, fresh], 1)
        # Steps see each other in the same episode; that of the state is number 0.
        episode = begins.t().cumsum(1)
        episodes = torch.cat([belongs.long() - 1, episode], 1)
        mask = self._ages(num_steps) + torch.where(
            episode[:, :, None] == episodes[:, None], 0, -torch.inf
        ).unsqueeze(1)
        queries, keys, values = (
            part.unflatten(2, (NUM_HEADS, -1)).transpose(1, 2)
            for part in (queries, *memory.chunk(2, 2))
        )
        found = F.scaled_dot_product_attention(queries, keys, values, mask)
        steps = steps + self.found(found.transpose(1, 2).flatten(2))
        steps = steps + self.narrow(torch.relu(self.widen(self.found_norm(steps))))
        return self.output_norm(steps).transpose(0, 1), memory

    def _ages(self, num_steps: int) -> Tensor:
        """Return what each age adds to the logits of T steps, (heads, T, M + T)."""
        now = torch.arange(MEMORY_SIZE, MEMORY_SIZE + num_steps, device=self.age.device)
        ages = now[:, None] - torch.arange(MEMORY_SIZE + num_steps, device=self.age.device)
        is_seen = (ages >= 0) & (ages <= MEMORY_SIZE)
        return self.age[:, ages.clamp(0, MEMORY_SIZE)].masked_fill(~is_seen, -torch.inf)

    def initialize_he(self) -> None:
        """Set weights that keep the variance, and zero biases; h_t begins as small as an LSTM's."""
        nn.init.constant_(self.output_norm.weight, 0.3)
        for layer in (self.queries_keys_values, self.found, self.widen, self.narrow):
            nn.init.normal_(layer.weight, 0, layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)


def forget(state: State, begins: Tensor) -> State:
    """Return the state with zeros where an episode begins, (B,) bool."""
    return tuple(part * (~begins).view(-1, *[1] * (part.ndim - 1)) for part in state)


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


CORES: dict[str, type[Core]] = {
    "rectifier": RectifierCore,
    "lstm": LSTMCore,
    "transformer": TransformerCore,
}
