"""Weights: one safetensors file with an agent's tensors, and their description in its header.

Reading a file runs no code. It takes as much memory as the file is long, and four times as much
for packed weights.
"""

from __future__ import annotations

import json
import reprlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from ram_agent.pretrained_agents import ENDING, PRETRAINED, pretrained_name, pretrained_names
from ram_envs.atomic_files import write_bytes
from ram_envs.checks import suggest

VERSION = "2"
SCALE = ".scale"  # suffix of the factors that belong to a packed matrix
RUN_WEIGHTS = ("best", "last")  # in a run folder, in order of preference

BRIEF = reprlib.Repr()  # values of files in messages: short, without control characters
BRIEF.maxstring = 200

# What Python, PyTorch and safetensors raise for a damaged file.
DAMAGE = (
    AttributeError,
    LookupError,
    OverflowError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)


class CheckpointError(ValueError):
    """A file is damaged, has another format, or belongs to another agent or run."""


def save_weights(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    description: dict[str, Any],
    packed: bool = False,
) -> Path:
    """Write tensors, numbers as float32, with their description; see `RAMAgent.save`.

    `packed` stores each matrix as 8-bit integers with a float32 factor for each row.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Give the name of a file in it.")
    path = _with_ending(path)
    stored = as_stored(tensors)
    try:
        check_finite(stored)  # `load_weights` would refuse the file
    except ValueError as error:
        raise ValueError(f"{path} was not written: {error} Restore an earlier agent.") from None
    if packed:
        stored = _pack(stored)
    write_tensors(path, stored, "ram-agent", description)
    return path


def as_stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as a file has them: on the CPU, numbers as float32.

    Counters of a custom module, such as those of batch normalization, keep their type.
    """
    return {
        name: value.detach().to("cpu", torch.float32 if value.is_floating_point() else value.dtype)
        for name, value in tensors.items()
    }


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the float32 tensors and the description that `save_weights` wrote.

    Raises:
        FileNotFoundError: if there are no weights; see `find_weights`.
        CheckpointError: if the file is damaged or has another format or version.
    """
    path = find_weights(path)
    tensors, description = read_tensors(path, "ram-agent")
    try:
        return _unpack(tensors), description
    except ValueError as error:
        raise _damaged(path, error) from None


def find_weights(path: str | Path) -> Path:
    """Return the weights file that a path or name stands for.

    Args:
        path: a weights file, with or without its extension; a run folder, for its best weights, or
            its last ones if it has no best; or "pretrained:NAME".

    Raises:
        FileNotFoundError: if there are no weights.
    """
    if (name := pretrained_name(path)) is not None:
        if name not in pretrained_names():
            raise FileNotFoundError(
                f"The pretrained weights {name!r} do not exist. {suggest(name, pretrained_names())}"
            )
        return PRETRAINED / f"{name}{ENDING}"
    path = Path(path)
    if path.is_dir():
        for name in RUN_WEIGHTS:
            if (path / f"{name}{ENDING}").is_file():
                return path / f"{name}{ENDING}"
        wanted = "Give a folder that `ram train` wrote, a .safetensors file, or pretrained:NAME."
        if (path / "config.json").is_file():
            wanted = (
                "A run writes them at its first validation; continue it: ram train --resume "
                f"{shlex.quote(str(path))}"
            )
        raise FileNotFoundError(
            f"{path} contains no best.safetensors or last.safetensors. {wanted}"
        )
    hint = f" Did you mean pretrained:{path}?" if str(path) in pretrained_names() else ""
    given, path = path, _with_ending(path)
    if not path.is_file():
        if given.is_file():
            raise FileNotFoundError(
                f"{given} is not a weights file, and {path} does not exist. Give a run folder, a "
                ".safetensors file, or pretrained:NAME."
            )
        raise FileNotFoundError(
            f"{path} does not exist. Give a run folder, a .safetensors file, or "
            f"pretrained:NAME.{hint}"
        )
    return path


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], kind: str, facts: dict[str, Any]
) -> None:
    """Write a safetensors file of this project: tensors, and a JSON object in the header."""
    try:
        metadata = {"format": kind, "version": VERSION, "description": json.dumps(facts)}
    except TypeError as error:
        raise TypeError(
            f"{path} was not written: {error}. Store text, numbers, lists and dicts."
        ) from None
    # safetensors refuses tensors that share memory, as a custom module's tied weights do.
    copies = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    content = save(copies, metadata)
    # safetensors orders the metadata at random; equal weights are to be equal files.
    header, data = _split(content)
    text = json.dumps(json.loads(header), sort_keys=True, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # tensors are aligned
    write_bytes(path, len(text).to_bytes(8, "little") + text + data)


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the facts that `write_tensors` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is damaged or has another format or version.
    """
    try:
        with safe_open(path, "pt") as file:  # reads the header, and compares it with the length
            metadata = file.metadata() or {}
        found, version = metadata.get("format"), metadata.get("version")
        facts = json.loads(metadata.get("description", "{}"))
    except DAMAGE as error:
        raise _damaged(path, error) from None
    if found is None and path.with_suffix(".json").is_file():
        raise CheckpointError(
            f"{path} has the older format of two files, which this version of ram-gym does not "
            "read. Load it with the version that wrote it, or train again."
        )
    if found != kind:
        raise CheckpointError(
            f"{path} has the format {BRIEF.repr(found)}, not {kind!r}. Give a file that ram-gym "
            "wrote for this purpose."
        )
    if version != VERSION:
        raise CheckpointError(
            f"{path} has version {BRIEF.repr(version)}; this ram-gym reads version {VERSION}. "
            "Upgrade ram-gym to read it."
        )
    if not isinstance(facts, dict):
        raise _damaged(path, "its description is not a JSON object")
    try:
        return load(path.read_bytes()), facts
    except DAMAGE as error:  # a type that PyTorch lacks
        raise _damaged(path, error) from None


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless names, shapes and types are as expected and all values are finite."""
    if tensors.keys() != expected.keys():
        names = BRIEF.repr(sorted(tensors.keys() ^ expected.keys()))
        raise ValueError(f"the tensors {names} are missing or unknown.")
    for name, like in expected.items():
        tensor = tensors[name]
        if (tensor.dtype, tensor.shape) != (like.dtype, like.shape):
            raise ValueError(
                f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, not {like.dtype} of "
                f"shape {tuple(like.shape)}."
            )
    check_finite(tensors)


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError if a value is NaN or infinite."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{BRIEF.repr(name)} contains NaN or infinite values.")


def _damaged(path: Path, reason: object) -> CheckpointError:
    words = BRIEF.repr(str(reason).rstrip("."))[1:-1]  # a file's own words may contain escapes
    return CheckpointError(f"{path} is damaged: {words}. Restore it, or train again.")


def _split(content: bytes) -> tuple[bytes, bytes]:
    """Return the header and the data of a safetensors file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]


def _with_ending(path: Path) -> Path:
    return path if path.suffix.lower() == ENDING else path.with_name(path.name + ENDING)


def _pack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Round matrices (R, C) to integers in [−127, 127], and add a factor (R,) for their rows."""
    packed = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            scale = (tensor.abs().amax(1) / 127).clamp(min=torch.finfo(tensor.dtype).tiny)
            packed[name + SCALE] = scale
            tensor = (tensor / scale.unsqueeze(1)).round().to(torch.int8)
        packed[name] = tensor
    return packed


def _unpack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with the matrices of `_pack` as float32."""
    unpacked = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.dtype != torch.int8:
            continue
        scale = unpacked.pop(name + SCALE, None)
        if tensor.ndim != 2 or scale is None or scale.shape != tensor.shape[:1]:
            raise ValueError(f"{BRIEF.repr(name)} has no factor for each of its rows")
        unpacked[name] = tensor * scale.unsqueeze(1)
    return unpacked
