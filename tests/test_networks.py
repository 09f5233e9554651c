"""The networks compute the paper's formulas, and begin as their docstrings say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import conv2d, linear

from ram_agent.cores import RectifierCore
from ram_agent.networks import Convolutions, GlimpseNetwork, initialize_he, initialize_heads


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


SIZES: dict[str, Any] = {"feature_size": 8, "output_size": 16}


def glimpse_network(pixel_scale: float = 1.0, scale_factor: float = 1.0) -> GlimpseNetwork:
    return GlimpseNetwork((3, 4, 4), **SIZES, pixel_scale=pixel_scale, scale_factor=scale_factor)


def test_glimpse_network_is_the_formula_of_the_paper() -> None:
    network = glimpse_network()
    glimpses, locations = torch.rand(5, 3, 4, 4), torch.rand(5, 2) * 2 - 1
    features = network(glimpses, locations)

    h_g = linear(glimpses.reshape(5, 48), network.what.weight, network.what.bias).relu()
    h_l = linear(locations, network.where.weight, network.where.bias).relu()
    weight, bias = network.what_and_where.weight, network.what_and_where.bias
    expected = (linear(h_g, weight[:, :8]) + linear(h_l, weight[:, 8:]) + bias).relu()
    assert features.shape == (5, 16)
    assert 0 < (features > 0).float().mean() < 1
    torch.testing.assert_close(features, expected)


def test_pixel_scale_multiplies_the_glimpse_and_not_the_location() -> None:
    scaled, plain = glimpse_network(pixel_scale=3.0), glimpse_network()
    plain.load_state_dict(scaled.state_dict())
    glimpses, locations = torch.rand(5, 3, 4, 4), torch.rand(5, 2)
    torch.testing.assert_close(scaled(glimpses, locations), plain(3 * glimpses, locations))


def test_pixel_mean_is_subtracted_first() -> None:
    centered = GlimpseNetwork((3, 4, 4), **SIZES, pixel_scale=3.0, pixel_mean=0.5)
    plain = glimpse_network()
    plain.load_state_dict(centered.state_dict())
    glimpses, locations = torch.rand(5, 3, 4, 4), torch.rand(5, 2)
    expected = plain(3 * (glimpses - 0.5), locations)
    torch.testing.assert_close(centered(glimpses, locations), expected)


def test_scale_factor_makes_means_sums() -> None:
    summed, plain = glimpse_network(scale_factor=4.0), glimpse_network()
    plain.load_state_dict(summed.state_dict())
    glimpses, locations = torch.rand(5, 3, 4, 4), torch.rand(5, 2)
    sums = glimpses * torch.tensor([1.0, 4.0, 16.0]).view(3, 1, 1)
    torch.testing.assert_close(summed(glimpses, locations), plain(sums, locations))


def test_scale_factor_takes_the_channels_of_a_scale_together() -> None:
    summed = GlimpseNetwork((6, 4, 4), **SIZES, pixel_scale=1.0, scale_factor=4.0, num_channels=3)
    plain = GlimpseNetwork((6, 4, 4), **SIZES, pixel_scale=1.0)
    plain.load_state_dict(summed.state_dict())
    glimpses, locations = torch.rand(5, 6, 4, 4), torch.rand(5, 2)
    sums = glimpses * torch.tensor([1.0, 1.0, 1.0, 4.0, 4.0, 4.0]).view(6, 1, 1)
    torch.testing.assert_close(summed(glimpses, locations), plain(sums, locations))
    with pytest.raises(ValueError, match="num_channels=3"):
        GlimpseNetwork((4, 4, 4), **SIZES, pixel_scale=1.0, num_channels=3)


@pytest.mark.parametrize(
    ("shape", "num_channels", "strides", "out_features"),
    [
        ((3, 12, 12), 1, (2, 2), 3 * 8 * 9),
        ((6, 5, 5), 3, (1, 2), 2 * 8 * 9),
        ((1, 1, 1), 1, (1, 2), 8),
    ],
)
def test_convolutions_are_shared_by_the_scales(
    shape: tuple[int, int, int], num_channels: int, strides: tuple[int, int], out_features: int
) -> None:
    eyes = Convolutions(shape, num_channels, num_maps=4)
    glimpses = torch.rand(5, *shape)
    seen = []
    for channel in range(0, shape[0], num_channels):
        maps = glimpses[:, channel : channel + num_channels]
        for layer, stride in zip((eyes.first, eyes.second), strides, strict=True):
            maps = conv2d(maps, layer.weight, layer.bias, stride, padding=1).relu()
        seen.append(maps.permute(0, 2, 3, 1).reshape(5, -1))
    assert eyes.out_features == out_features
    torch.testing.assert_close(eyes(glimpses), torch.cat(seen, 1), rtol=1e-4, atol=1e-5)


def test_a_glimpse_network_with_convolutions() -> None:
    network = GlimpseNetwork((3, 4, 4), **SIZES, pixel_scale=3.0, num_maps=4)
    glimpses, locations = torch.rand(5, 3, 4, 4), torch.rand(5, 2) * 2 - 1
    both = torch.cat([network.what(network.eyes(3 * glimpses)), network.where(locations)], 1)
    expected = network.what_and_where(both.relu()).relu()
    torch.testing.assert_close(network(glimpses, locations), expected)


def test_he_initialization_of_convolutions() -> None:
    eyes = Convolutions((2, 8, 8), 1, num_maps=16)
    initialize_he(eyes.modules())
    for layer, fan_in in ((eyes.first, 9), (eyes.second, 9 * 16)):
        assert layer.bias is not None
        assert not layer.bias.any()
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.2)


def test_he_initialization() -> None:
    network = GlimpseNetwork((2, 10, 10), feature_size=100, output_size=200, pixel_scale=1.0)
    core = RectifierCore(input_size=200, hidden_size=300)
    head = torch.nn.Linear(400, 1000)
    initialize_he(network.modules())
    core.initialize_he()
    initialize_heads([head])

    layers = [network.what, network.where, network.what_and_where, core.state_and_input, head]
    assert all(not layer.bias.any() for layer in layers)
    # Variance 2 / fan-in before a rectifier: 200 pixels, 100 + 100 features, 200 inputs.
    assert network.what.weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert network.where.weight.std().item() == pytest.approx(1.0, rel=0.2)
    assert network.what_and_where.weight.std().item() == pytest.approx(0.1, rel=0.05)
    recurrent, from_input = core.state_and_input.weight.split([300, 200], dim=1)  # type: ignore[no-untyped-call]
    assert torch.equal(recurrent, torch.tensor(0.9) * torch.eye(300))
    assert from_input.std().item() == pytest.approx(0.1, rel=0.05)
    # Variance 1 / fan-in before a head's output.
    assert head.weight.std().item() == pytest.approx(0.05, rel=0.05)
