"""Other arrangements of the glimpse network with convolutions, for `ablations.py`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ram_agent.networks import Convolutions, GlimpseNetwork, initialize_he


class Product(nn.Module):
    """g = ReLU(Linear(h_g)) · ReLU(Linear(h_l)), as in DRAM (Ba et al. 2015)."""

    def __init__(self, network: GlimpseNetwork) -> None:
        super().__init__()
        self.pixel_scale = network.pixel_scales
        self.eyes, self.what, self.where = network.eyes, network.what, network.where
        width = network.what_and_where.out_features
        self.of_what = nn.Linear(self.what.out_features, width)
        self.of_where = nn.Linear(self.where.out_features, width)

    def forward(self, glimpses: Tensor, locations: Tensor) -> Tensor:
        what = torch.relu(self.what(self.eyes(glimpses * self.pixel_scale)))
        where = torch.relu(self.where(locations))
        return torch.relu(self.of_what(what)) * torch.relu(self.of_where(where))


class SeparateScales(nn.Module):
    """Convolutions of its own for each of the scales (B, K, G, G) of a gray glimpse."""

    def __init__(self, shared: Convolutions, glimpse_shape: tuple[int, ...]) -> None:
        super().__init__()
        num_scales, *size = glimpse_shape
        maps = shared.first.out_channels
        self.scales = nn.ModuleList(Convolutions((1, *size), 1, maps) for _ in range(num_scales))

    def forward(self, glimpses: Tensor) -> Tensor:
        parts = zip(self.scales, torch.split(glimpses, 1, dim=1), strict=True)
        return torch.cat([convolutions(part) for convolutions, part in parts], dim=1)


def use_large_kernels(network: GlimpseNetwork, glimpse_shape: tuple[int, ...]) -> nn.Module:
    """Replace the kernels of 3 × 3 by 5 × 5."""
    for name in ("first", "second"):
        layer = getattr(network.eyes, name)
        larger = nn.Conv2d(layer.in_channels, layer.out_channels, 5, layer.stride, padding=2)
        setattr(network.eyes, name, larger)
    return network


def separate_scales(network: GlimpseNetwork, glimpse_shape: tuple[int, ...]) -> nn.Module:
    """Give each scale convolutions of its own."""
    assert isinstance(network.eyes, Convolutions)
    network.eyes = SeparateScales(network.eyes, glimpse_shape)
    return network


def multiply(network: GlimpseNetwork, glimpse_shape: tuple[int, ...]) -> nn.Module:
    """Multiply what and where instead of adding them."""
    return Product(network)


ARRANGEMENTS: dict[str, Callable[[GlimpseNetwork, tuple[int, ...]], nn.Module]] = {
    "kernels of 5 × 5": use_large_kernels,
    "of each scale": separate_scales,
    "product": multiply,
}


def rearrange(network: nn.Module, name: str, glimpse_shape: tuple[int, ...]) -> nn.Module:
    """Return the glimpse network in another arrangement, with new weights."""
    assert isinstance(network, GlimpseNetwork)
    other = ARRANGEMENTS[name](network, glimpse_shape)
    initialize_he(other.modules())
    return other
