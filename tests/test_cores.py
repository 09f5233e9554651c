"""The cores: the formulas, what they remember, and what they forget."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from ram_agent.cores import MEMORY_SIZE, NUM_HEADS, LSTMCore, RectifierCore, TransformerCore, forget


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_rectifier_core_is_the_formula_of_the_paper() -> None:
    core = RectifierCore(input_size=6, hidden_size=4)
    features, state = torch.randn(5, 6), torch.randn(5, 4)
    (next_state,) = core(features, (state,))

    weight, bias = core.state_and_input.weight, core.state_and_input.bias
    expected = (linear(state, weight[:, :4]) + linear(features, weight[:, 4:]) + bias).relu()
    assert next_state.shape == (5, 4)
    torch.testing.assert_close(next_state, expected)


def test_lstm_core_is_pytorchs() -> None:
    core, cell = LSTMCore(input_size=6, hidden_size=4), torch.nn.LSTMCell(6, 4)
    with torch.no_grad():
        cell.weight_hh.copy_(core.gates.weight[:, :4])
        cell.weight_ih.copy_(core.gates.weight[:, 4:])
        cell.bias_ih.copy_(core.gates.bias)
        cell.bias_hh.zero_()
    features, state = torch.randn(5, 6), (torch.randn(5, 4), torch.randn(5, 4))
    torch.testing.assert_close(core(features, state), cell(features, state))


def test_state_begins_at_zero() -> None:
    for core, shapes in (
        (RectifierCore(6, 4), [(3, 4)]),
        (LSTMCore(6, 4), [(3, 4), (3, 4)]),
        (TransformerCore(4, 4), [(3, 4), (3, 16), (3, 16, 8)]),
    ):
        state = core.initial_state(3, torch.device("cpu"))
        assert [part.shape for part in state] == shapes
        assert not any(part.any() for part in state)


def test_a_new_core_remembers() -> None:
    core = RectifierCore(input_size=16, hidden_size=4)
    core.initialize_he()
    state = torch.tensor([[1.0, 0.5, 0.0, 2.0]])
    with torch.no_grad():
        (seen_nothing,) = core(torch.zeros(1, 16), (state,))
    torch.testing.assert_close(seen_nothing, torch.tensor([[0.9, 0.45, 0.0, 1.8]]))


def test_a_new_lstm_keeps_most_of_what_it_knows() -> None:
    core = LSTMCore(input_size=100, hidden_size=100)
    core.initialize_he()
    assert core.gates.weight.std().item() == pytest.approx(0.1, rel=0.05)  # √(2 / 200)
    with torch.no_grad():
        hidden, cell = core(torch.zeros(1, 100), (torch.zeros(1, 100), torch.ones(1, 100)))
    # The forget gate's bias is 1, the others' 0: c = σ(1) · 1, h = σ(0) · tanh(c).
    assert hidden[0, [0, 99]].tolist() == pytest.approx([0.3119, 0.3119], abs=1e-4)
    assert cell[0, [0, 99]].tolist() == pytest.approx([0.7311, 0.7311], abs=1e-4)


def make_transformer(size: int = 8) -> TransformerCore:
    core = TransformerCore(size, size)
    core.initialize_he()
    torch.nn.init.normal_(core.age)
    return core


def play(core: TransformerCore, features: Tensor) -> Tensor:
    """Return h of each step of features (T, B, D), one call after another."""
    state, steps = core.initial_state(features.shape[1], torch.device("cpu")), []
    for feature in features:
        state = core(feature, state)
        steps.append(state[0])
    return torch.stack(steps)


def test_transformer_core_is_the_formula() -> None:
    core, features = make_transformer(), torch.randn(5, 1, 8)

    def norm(values: Tensor) -> Tensor:
        return layer_norm(values, (8,))

    steps = features[:, 0]
    queries, keys, values = core.queries_keys_values(norm(steps)).chunk(3, 1)
    expected = []
    for t in range(5):
        found = torch.zeros(8)
        for head in range(NUM_HEADS):
            of_head = slice(2 * head, 2 * head + 2)
            logits = keys[: t + 1, of_head] @ queries[t, of_head] / 2**0.5
            logits = logits + core.age[head, : t + 1].flip(0)
            found[of_head] = logits.softmax(0) @ values[: t + 1, of_head]
        step = steps[t] + core.found(found)
        expected.append(0.3 * norm(step + core.narrow(core.widen(norm(step)).relu())))
    torch.testing.assert_close(play(core, features)[:, 0], torch.stack(expected))


def test_a_new_transformer_has_states_as_small_as_an_lstms() -> None:
    # With larger ones the first locations of tanh means would lie in the corners.
    hidden = play(make_transformer(64), torch.randn(5, 100, 64))
    assert hidden.std().item() == pytest.approx(0.3, rel=0.02)


def test_transformer_core_remembers_its_last_steps_alone() -> None:
    core, features = make_transformer(), torch.randn(MEMORY_SIZE + 3, 1, 8)
    hidden = play(core, features)
    for forgotten in (1, 2):
        changed = features.clone()
        changed[:forgotten] = torch.randn(forgotten, 1, 8)
        same = torch.isclose(play(core, changed), hidden).all(2)[:, 0]
        # A step is seen by itself and by the MEMORY_SIZE steps after it.
        assert same.tolist() == [t >= MEMORY_SIZE + forgotten for t in range(len(features))]


def test_transformer_core_unrolls_as_it_steps() -> None:
    core, features, begins = make_transformer(), torch.randn(40, 6, 8), torch.zeros(40, 6).bool()
    state = core.initial_state(6, torch.device("cpu"))
    for _ in range(3):
        state = core(torch.randn(6, 8), state)
    begins[0, 0] = begins[1, 1] = begins[20, :3] = begins[30:33, 2] = begins[39, 3] = True
    unrolled, now = core.unroll(features, state, begins), state
    for t in range(40):
        now = core(features[t], forget(now, begins[t]))
        torch.testing.assert_close(unrolled[t], now[0])


def test_transformer_core_with_a_width_that_its_heads_cannot_share() -> None:
    with pytest.raises(ValueError, match=r"hidden_size=30 .* 4"):
        TransformerCore(30, 30)
