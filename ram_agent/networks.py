"""The paper's networks (section 3, figure 1): glimpse network, core, and the heads on its state."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
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
        *,
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
    """Raise ValueError unless a module makes finite float32 features (B, output_size).

    It is tried on two black glimpses at location (0, 0).
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    glimpses = torch.zeros(2, *glimpse_shape, device=device)
    was_training = network.training
    try:
        with torch.no_grad():
            features = network.eval()(glimpses, torch.zeros(2, 2, device=device))
    except Exception as error:  # of any kind: the module is the user's
        raise ValueError(
            f"glimpse_network cannot read glimpses of shape {(2, *glimpse_shape)} and locations of "
            f"shape (2, 2): {error!r}. Correct it, or change the environment's glimpse_size."
        ) from error
    finally:
        network.train(was_training)
    found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    if found != (2, output_size):
        raise ValueError(
            f"glimpse_network made {found} of two glimpses; the core expects (2, {output_size}). "
            "Make the module's output as wide as hidden_size."
        )
    if features.dtype != torch.float32:
        raise ValueError(
            f"glimpse_network made {features.dtype}; the core expects torch.float32. Convert its "
            "output with .float()."
        )
    if not features.isfinite().all():
        raise ValueError(
            "glimpse_network made NaN or infinite features of black glimpses at location (0, 0), "
            "which occur in play. Look for a division by zero, or for NaN among its weights."
        )
