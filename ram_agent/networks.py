"""The paper's networks (section 3, figure 1): glimpse network, core, and the heads on its state."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GlimpseNetwork(nn.Module):
    """f_g: what was seen and where, into the glimpse feature g_t.

    h_g = ReLU(Linear(glimpse)), h_l = ReLU(Linear(location)), g = ReLU(Linear(h_g) + Linear(h_l)).

    Args:
        glimpse_shape: (K · C, G, G).
        feature_size: width of h_g and of h_l.
        output_size: width of g.
        pixel_scale: factor on the pixels at the input.
    """

    def __init__(
        self,
        glimpse_shape: tuple[int, ...],
        feature_size: int,
        output_size: int,
        pixel_scale: float,
    ) -> None:
        super().__init__()
        self.pixel_scale = pixel_scale
        self.what = nn.Linear(torch.Size(glimpse_shape).numel(), feature_size)
        self.where = nn.Linear(2, feature_size)
        # Linear(h_g) + Linear(h_l) is one Linear over both side by side: one matrix product.
        self.what_and_where = nn.Linear(2 * feature_size, output_size)

    def forward(self, glimpses: Tensor, locations: Tensor) -> Tensor:
        """Glimpses (B, K · C, G, G) and locations (B, 2) to features (B, D)."""
        what = self.what(glimpses.flatten(1) * self.pixel_scale)
        both = torch.cat([what, self.where(locations)], dim=1)
        return torch.relu(self.what_and_where(torch.relu(both)))


class Core(nn.Module):
    """f_h: h_t = ReLU(Linear(h_{t−1}) + Linear(g_t)), the paper's core for classification."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.state_and_input = nn.Linear(hidden_size + input_size, hidden_size)

    def initial_state(self, batch_size: int, device: torch.device) -> Tensor:
        """h_0 = 0, (B, D)."""
        return torch.zeros(batch_size, self.hidden_size, device=device)

    def forward(self, features: Tensor, state: Tensor) -> Tensor:
        """Features (B, D') and state (B, D) to the next state (B, D)."""
        return torch.relu(self.state_and_input(torch.cat([state, features], dim=1)))


def initialise_he(glimpse_network: GlimpseNetwork, core: Core, heads: list[nn.Linear]) -> None:
    """He-normal weights before rectifiers, zero biases, 0.9 · I from state to state.

    The identity (Le, Jaitly & Hinton 2015, arXiv 1504.00941) lets a new core remember what it saw
    several glimpses ago, and so lets gradients reach back.
    """
    for layer in (*glimpse_network.children(), core.state_and_input):
        assert isinstance(layer, nn.Linear)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    recurrent = core.state_and_input.weight[:, : core.hidden_size]
    from_input = core.state_and_input.weight[:, core.hidden_size :]
    with torch.no_grad():
        recurrent.copy_(0.9 * torch.eye(core.hidden_size))
        from_input.normal_(0, (2 / from_input.shape[1]) ** 0.5)
    for head in heads:
        nn.init.normal_(head.weight, 0, head.in_features**-0.5)
        nn.init.zeros_(head.bias)
