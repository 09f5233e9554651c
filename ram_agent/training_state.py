"""The state of a training, as named tensors and a JSON object, so that it can be continued."""

from __future__ import annotations

import copy
import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ram_agent.weights import check_tensors

OPTIMIZER = "optimizer"


class TrainingState(NamedTuple):
    """All that is needed to continue a training.

    tensors   weights, buffers and the optimizer's moments: "agent.core.gates.weight", …
    counters  JSON values: updates done, best error, …
    """

    tensors: dict[str, Tensor]
    counters: dict[str, Any]


def collect_state(
    modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, counters: dict[str, Any]
) -> TrainingState:
    """Return the state of modules and their optimizer, without copying tensors."""
    tensors = {
        f"{prefix}.{name}": tensor
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    return TrainingState({**tensors, **_optimizer_tensors(optimizer)}, counters)


def restore_state(
    state: TrainingState,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    counters: dict[str, Any],
) -> None:
    """Put the state that `collect_state` returned into modules and optimizer.

    Args:
        state: which state.
        modules: the same modules, by the same names.
        optimizer: an optimizer of the same parameters.
        counters: values of the same types, for comparison.

    Raises:
        ValueError: if names, shapes or types differ, or a value is NaN or infinite.
    """
    tensors = dict(state.tensors)
    expected = collect_state(modules, optimizer, {}).tensors
    if any(name.startswith(f"{OPTIMIZER}.") for name in tensors):  # none before the first update
        expected |= _optimizer_tensors(_stepped_copy(optimizer))
    check_tensors(tensors, expected)
    _check_counters(state.counters, counters)
    for prefix, module in modules.items():
        module.load_state_dict({name: tensors[f"{prefix}.{name}"] for name in module.state_dict()})
    buffers: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        prefix, number, *key = name.split(".", 2)
        if prefix == OPTIMIZER:
            buffers.setdefault(int(number), {})[key[0]] = tensor
    groups = optimizer.state_dict()["param_groups"]  # the configuration's, not the file's
    optimizer.load_state_dict({"state": buffers, "param_groups": groups})


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{OPTIMIZER}.{number}.{key}": buffer
        for number, buffers in optimizer.state_dict()["state"].items()
        for key, buffer in buffers.items()
        if buffer is not None
    }


def _stepped_copy(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return a copy with all its buffers: optimizers make them at the first step."""
    stepped = copy.deepcopy(optimizer)
    for group in stepped.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    stepped.step()
    return stepped


def _check_counters(counters: dict[str, Any], expected: dict[str, Any]) -> None:
    if counters.keys() != expected.keys():
        names = reprlib.repr(sorted(counters.keys() ^ expected.keys()))
        raise ValueError(f"the counters {names} are missing or unknown.")
    for name, value in expected.items():
        if type(counters[name]) is not type(value):
            raise ValueError(f"the counter {name} is {reprlib.repr(counters[name])}.")
