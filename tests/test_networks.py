"""The networks compute the paper's formulas, and begin as their docstrings say."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import linear

from ram_agent.networks import Core, GlimpseNetwork, initialise_he


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def glimpse_network(pixel_scale: float = 1.0) -> GlimpseNetwork:
    return GlimpseNetwork((3, 4, 4), feature_size=8, output_size=16, pixel_scale=pixel_scale)


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


def test_core_is_the_formula_of_the_paper() -> None:
    core = Core(input_size=6, hidden_size=4)
    features, state = torch.randn(5, 6), torch.randn(5, 4)
    next_state = core(features, state)

    weight, bias = core.state_and_input.weight, core.state_and_input.bias
    expected = (linear(state, weight[:, :4]) + linear(features, weight[:, 4:]) + bias).relu()
    assert next_state.shape == (5, 4)
    torch.testing.assert_close(next_state, expected)


def test_state_begins_at_zero() -> None:
    state = Core(input_size=6, hidden_size=4).initial_state(3, torch.device("cpu"))
    assert state.tolist() == [[0.0] * 4] * 3


def test_he_initialisation() -> None:
    network = GlimpseNetwork((2, 10, 10), feature_size=100, output_size=200, pixel_scale=1.0)
    core = Core(input_size=200, hidden_size=300)
    head = torch.nn.Linear(400, 1000)
    initialise_he(network, core, [head])

    layers = [network.what, network.where, network.what_and_where, core.state_and_input, head]
    assert all(not layer.bias.any() for layer in layers)
    # Variance 2 / fan-in before a rectifier: 200 pixels, 100 + 100 features, 200 inputs.
    assert network.what.weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert network.where.weight.std().item() == pytest.approx(1.0, rel=0.2)
    assert network.what_and_where.weight.std().item() == pytest.approx(0.1, rel=0.05)
    recurrent, from_input = core.state_and_input.weight.split([300, 200], dim=1)
    assert torch.equal(recurrent, torch.tensor(0.9) * torch.eye(300))
    assert from_input.std().item() == pytest.approx(0.1, rel=0.05)
    # Variance 1 / fan-in before a head's output.
    assert head.weight.std().item() == pytest.approx(0.05, rel=0.05)


def test_a_new_core_remembers() -> None:
    network, core = glimpse_network(), Core(input_size=16, hidden_size=4)
    initialise_he(network, core, [])
    state = torch.tensor([[1.0, 0.5, 0.0, 2.0]])
    with torch.no_grad():
        seen_nothing = core(torch.zeros(1, 16), state)
    torch.testing.assert_close(seen_nothing, torch.tensor([[0.9, 0.45, 0.0, 1.8]]))
