"""Other arrangements of the glimpse network with convolutions, for `ablations.py`."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ram_agent.networks import GlimpseNetwork, initialize_he


class Product(nn.Module):
    """g = ReLU(Linear(h_g)) · ReLU(Linear(h_l)), as in DRAM (Ba et al. 2015)."""

    def __init__(self, network: GlimpseNetwork) -> None:
        super().__init__()
        self.pixel_scales = network.pixel_scales
        self.eyes, self.what, self.where = network.eyes, network.what, network.where
        width = network.what_and_where.out_features
        self.of_what = nn.Linear(self.what.out_features, width)
        self.of_where = nn.Linear(self.where.out_features, width)

    def forward(self, glimpses: Tensor, locations: Tensor) -> Tensor:
        what = torch.relu(self.what(self.eyes(glimpses * self.pixel_scales)))
        where = torch.relu(self.where(locations))
        return torch.relu(self.of_what(what)) * torch.relu(self.of_where(where))


class SeparateScales(nn.Module):
    """Convolutions of its own for each of the scales (B, K, G, G) of a gray glimpse."""

    def __init__(self, shared: nn.Module, num_scales: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(copy.deepcopy(shared) for _ in range(num_scales))

    def forward(self, glimpses: Tensor) -> Tensor:
        parts = zip(self.scales, torch.split(glimpses, 1, dim=1), strict=True)
        return torch.cat([convolutions(part) for convolutions, part in parts], dim=1)


def use_large_kernels(network: GlimpseNetwork) -> nn.Module:
    """Replace the kernels of 3 × 3 by 5 × 5."""
    for name in ("first", "second"):
        layer = getattr(network.eyes, name)
        larger = nn.Conv2d(layer.in_channels, layer.out_channels, 5, layer.stride, padding=2)
        setattr(network.eyes, name, larger)
    return network


def separate_scales(network: GlimpseNetwork) -> nn.Module:
    """Give each scale convolutions of its own."""
    network.eyes = SeparateScales(network.eyes, num_scales=len(network.pixel_scales))
    return network


ARRANGEMENTS: dict[str, Callable[[GlimpseNetwork], nn.Module]] = {
    "kernels of 5 × 5": use_large_kernels,
    "of each scale": separate_scales,
    "product": Product,
}


def rearrange(network: nn.Module, name: str) -> nn.Module:
    """Return the glimpse network in another arrangement, with new weights."""
    assert isinstance(network, GlimpseNetwork)
    other = ARRANGEMENTS[name](network)
    initialize_he(other.modules())
    return other
