"""Weights: what is saved comes back, what is damaged is refused, and nothing loaded runs code."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers import files_in, make_agent

from ram_agent.agent import RAMAgent
from ram_agent.pretrained_agents import pretrained_names
from ram_agent.weights import CheckpointError, read_tensors, write_tensors

KIND = "ram-agent"


def saved(folder: Path) -> Path:
    return make_agent().save(folder / "agent")


# --- what is saved comes back ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["seed.1", "seed.1.safetensors"])
def test_a_loaded_agent_plays_like_the_saved_one(tmp_path: Path, name: str) -> None:
    agent = make_agent(location_mean="linear", pixel_scale=2.0)
    assert agent.save(tmp_path / name) == tmp_path / "seed.1.safetensors"
    assert files_in(tmp_path) == ["seed.1.safetensors"]
    loaded = RAMAgent.load(tmp_path / name)

    assert loaded.config == agent.config
    rng = np.random.default_rng(0)
    observation = {
        "glimpse": rng.random((5, 2, 3, 3), np.float32),
        "location": rng.random((5, 2), np.float32),
    }
    outputs = [player.step(observation, player.initial_state(5)) for player in (agent, loaded)]
    (mine, my_state), (theirs, their_state) = outputs
    for one, other in zip((*mine, *my_state), (*theirs, *their_state), strict=True):
        assert torch.equal(one, other)
    assert loaded.location_std.item() == 0.0625
    assert loaded.observation_space == agent.observation_space
    assert loaded.action_space == agent.action_space


def test_info_comes_back_and_is_kept_when_the_agent_is_saved_again(tmp_path: Path) -> None:
    info = {"dataset": "digits", "update": 7, "class_names": ["é", "square"]}
    first = RAMAgent.load(make_agent().save(tmp_path / "first", info))
    assert first.info == info
    assert RAMAgent.load(first.save(tmp_path / "second")).info == info
    assert RAMAgent.load(first.save(tmp_path / "third", {})).info == {}
    assert RAMAgent.load(saved(tmp_path)).info == {}


def test_the_file_is_safetensors_with_a_description_in_its_header(tmp_path: Path) -> None:
    agent = make_agent()
    path = agent.save(tmp_path / "agent", {"env_id": "RAMMNIST-v0"})
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    description = {
        "agent": {
            "glimpse_network": "linear",
            "conv_maps": 16,
            "core": "rectifier",
            "hidden_size": 8,
            "feature_size": 6,
            "location_mean": "tanh",
            "initialization": "he",
            "location_start": 1.0,
            "pixel_mean": 0.0,
            "pixel_scale": 3.0,
            "scale_factor": 1.0,
            "num_channels": 1,
            "baseline_shapes_state": False,
        },
        "glimpse_shape": [2, 3, 3],
        "num_choices": 4,
        "info": {"env_id": "RAMMNIST-v0"},
    }
    assert {**metadata, "description": json.loads(metadata["description"])} == {
        "format": "ram-agent",
        "version": "2",
        "description": description,
    }
    tensors = safetensors.torch.load_file(path)
    assert set(tensors) == set(agent.state_dict())
    for name, tensor in agent.state_dict().items():
        assert torch.equal(tensors[name], tensor)


def test_equal_weights_are_equal_files(tmp_path: Path) -> None:
    contents = {make_agent().save(tmp_path / str(n)).read_bytes() for n in range(20)}
    assert len(contents) == 1  # safetensors itself orders the header at random


@pytest.mark.parametrize("packed", [False, True])
def test_weights_of_other_types_are_saved_as_float32(tmp_path: Path, packed: bool) -> None:
    path = make_agent().double().save(tmp_path / "agent", packed=packed)
    for value in RAMAgent.load(path).state_dict().values():
        assert value.dtype == torch.float32


# --- where a file is written -------------------------------------------------------------------


def test_the_ending_is_appended_to_any_other(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"mine")
    assert make_agent().save(tmp_path / "model.pt").name == "model.pt.safetensors"
    assert (tmp_path / "model.pt").read_bytes() == b"mine"
    assert RAMAgent.load(tmp_path / "model.pt").num_choices == 4


def test_an_ending_in_capitals_is_one(tmp_path: Path) -> None:
    path = make_agent().save(tmp_path / "A.SAFETENSORS")
    assert path.name == "A.SAFETENSORS"
    assert RAMAgent.load(path).num_choices == 4


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert RAMAgent.load(make_agent().save(tmp_path / "new" / "here" / "agent")).num_choices == 4


def test_a_folder_is_no_place_for_weights(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(IsADirectoryError, match="runs"):
        make_agent().save(tmp_path / "runs")
    assert files_in(tmp_path) == ["runs"]


@pytest.mark.parametrize("spoil", ["info", "disk", "weights"])
def test_a_failed_save_leaves_the_old_file(
    tmp_path: Path, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, agent = saved(tmp_path), make_agent()
    before = path.read_bytes()
    info: dict[str, Any] = {"folder": tmp_path} if spoil == "info" else {"seed": 4}
    errors = {"info": "PosixPath|WindowsPath", "disk": "agent", "weights": "choice_head.weight"}
    if spoil == "weights":
        agent.choice_head.weight.data[0, 0] = float("inf")

    def fail(descriptor: int) -> None:
        raise OSError("No space left on device")

    if spoil == "disk":
        monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((TypeError, OSError, ValueError), match=errors[spoil]):
        agent.save(path, info)
    assert path.read_bytes() == before
    assert files_in(tmp_path) == ["agent.safetensors"]


# --- packed weights ----------------------------------------------------------------------------


def test_packed_weights_have_8_bits_and_a_factor_for_each_row(tmp_path: Path) -> None:
    agent = make_agent(core="lstm", hidden_size=64, feature_size=64)
    row = torch.full((64,), 0.0)
    row[:3] = torch.tensor([-1.27, 0.504, 0.506])
    agent.choice_head.weight.data = torch.stack([row, 100 * row, 0 * row, 1e-40 * row])
    agent.choice_head.bias.data[0] = 1 / 3
    full = agent.save(tmp_path / "full")
    packed = agent.save(tmp_path / "packed", {"seed": 3}, packed=True)

    tensors = safetensors.torch.load_file(packed)
    assert tensors["choice_head.weight"].dtype == torch.int8
    assert tensors["choice_head.weight"][:, :4].tolist() == [
        [-127, 50, 51, 0],
        [-127, 50, 51, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],  # too small for a factor
    ]
    assert tensors["choice_head.weight.scale"][:2].tolist() == pytest.approx([0.01, 1.0])
    assert packed.stat().st_size < 0.3 * full.stat().st_size

    loaded = RAMAgent.load(packed)
    assert loaded.info == {"seed": 3}
    assert loaded.choice_head.weight[:2, 1].tolist() == pytest.approx([0.5, 50])
    assert loaded.choice_head.bias[0] == agent.choice_head.bias[0]  # vectors are not rounded
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        exact = agent.state_dict()[name]
        half_a_step = exact.abs().amax(-1, keepdim=True) / 254 if exact.ndim == 2 else 0
        assert ((value - exact).abs() <= 1.001 * half_a_step + 1e-38).all()


def test_weights_that_are_packed_twice_do_not_change(tmp_path: Path) -> None:
    first = RAMAgent.load(make_agent().save(tmp_path / "agent", packed=True))
    second = RAMAgent.load(first.save(tmp_path / "agent", packed=True))
    for name, value in second.state_dict().items():
        torch.testing.assert_close(value, first.state_dict()[name], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"choice_head.weight": torch.ones(4, 8)}, "choice_head.weight.scale"),
        ({"choice_head.weight.scale": torch.ones(3)}, "choice_head.weight"),
        ({"choice_head.weight.scale": torch.ones(4).half()}, "torch.float16"),
        ({"choice_head.weight.scale": torch.full((4,), torch.inf)}, "choice_head.weight"),
        ({"choice_head.bias.scale": torch.ones(4)}, "choice_head.bias.scale"),
        ({"more.scale": torch.ones(4)}, "more.scale"),
        ({"choice_head.bias": torch.ones(4, dtype=torch.int8)}, "choice_head.bias"),
    ],
)
def test_packed_weights_that_do_not_fit(
    tmp_path: Path, changes: dict[str, torch.Tensor], named: str
) -> None:
    path = make_agent().save(tmp_path / "agent", packed=True)
    tensors, description = read_tensors(path, KIND)
    write_tensors(path, {**tensors, **changes}, KIND, description)
    with pytest.raises(CheckpointError, match=re.escape(named)):
        RAMAgent.load(path)


# --- what is not there -------------------------------------------------------------------------


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "a.safetensors"))):
        RAMAgent.load(tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="pretrained:mnist-6"):
        RAMAgent.load("mnist-6")
    other = tmp_path / "agent.pt"
    other.write_bytes(b"mine")
    with pytest.raises(FileNotFoundError, match=re.escape(str(other))):
        RAMAgent.load(other)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path))) as caught:
        RAMAgent.load(tmp_path)
    assert "--resume" not in str(caught.value)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="--resume"):
        RAMAgent.load(tmp_path)


def test_a_pretrained_name_may_have_its_prefix() -> None:
    assert RAMAgent.pretrained("pretrained:catch").num_choices == 3


@pytest.mark.parametrize("name", ["mnist-9", "../pretrained/catch"])
def test_an_unknown_pretrained_name_lists_all(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(repr(name))) as caught:
        RAMAgent.load(f"pretrained:{name}")
    assert RAMAgent.load(Path("pretrained:catch")).num_choices == 3
    assert all(name in str(caught.value) for name in pretrained_names())


# --- what is damaged or of another kind --------------------------------------------------------


def rewrite(path: Path, **changes: Any) -> None:
    """Change the description of a file."""
    tensors, description = read_tensors(path, KIND)
    write_tensors(path, tensors, KIND, {**description, **changes})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"agent": {"hiden_size": 8}}, "'hiden_size'"),
        ({"agent": {"hidden_size": 9, "feature_size": 6}}, "(9, 12)"),
        ({"agent": {"hidden_size": 8.0}}, "8.0"),
        ({"agent": {"hidden_size": True}}, "True"),
        ({"agent": {"hidden_size": "8"}}, "'8'"),
        ({"agent": {"hidden_size": 10**400}}, "agent"),
        ({"agent": {"pixel_scale": float("inf")}}, "inf"),
        ({"agent": {"location_mean": "than"}}, "'than'"),
        ({"agent": {"baseline_shapes_state": 1}}, "baseline_shapes_state"),
        ({"agent": [8]}, "[8]"),
        ({"glimpse_shape": [3, 3]}, "[3, 3, 4]"),
        ({"glimpse_shape": [1, 3, 3]}, "(6, 9)"),
        ({"glimpse_shape": [2.0, 3, 3]}, "2.0"),
        ({"glimpse_shape": 3}, "int"),
        ({"num_choices": 0}, "0"),
        ({"num_choices": 5}, "(5, 8)"),
        ({"num_choices": "four"}, "'four'"),
        ({"info": None}, "None"),
    ],
)
def test_a_description_that_does_not_fit(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    path = saved(tmp_path)
    rewrite(path, **changes)
    with pytest.raises(CheckpointError, match=re.escape(named)):
        RAMAgent.load(path)


def test_a_description_that_lacks_a_field(tmp_path: Path) -> None:
    path = saved(tmp_path)
    tensors, description = read_tensors(path, KIND)
    del description["num_choices"]
    write_tensors(path, tensors, KIND, description)
    with pytest.raises(CheckpointError, match="num_choices"):
        RAMAgent.load(path)


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        (None, "None"),
        ({"format": "pt"}, "'pt'"),
        ({"format": "ram-agent", "version": "3", "description": "{}"}, "'3'"),
        ({"format": "ram-agent", "version": "2", "description": "[]"}, "object"),
        ({"format": "ram-agent", "version": "2", "description": "{"}, "damaged"),
        ({"format": "ram-agent", "version": "2", "description": "[" * 10**6}, "damaged"),
        ({"format": "ram-agent", "version": "2"}, "glimpse_shape"),
    ],
)
def test_metadata_of_another_kind(
    tmp_path: Path, metadata: dict[str, str] | None, named: str
) -> None:
    path = tmp_path / "agent.safetensors"
    safetensors.torch.save_file(make_agent().state_dict(), path, metadata)
    with pytest.raises(CheckpointError, match=named):
        RAMAgent.load(path)


def test_the_older_format_of_two_files_is_named_with_a_way_out(tmp_path: Path) -> None:
    safetensors.torch.save_file(make_agent().state_dict(), tmp_path / "agent.safetensors")
    (tmp_path / "agent.json").write_text('{"format": "ram-agent", "version": 1}')
    for name in ("agent", "agent.safetensors"):
        with pytest.raises(CheckpointError, match="older"):
            RAMAgent.load(tmp_path / name)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_weights_cut_short(tmp_path: Path, length: int) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="damaged"):
        RAMAgent.load(path)


@pytest.mark.parametrize(
    "text", ["[" * 10**5, "[]", '{"__metadata__": 3}', '{"a": 3}', "{", "\xff"]
)
def test_a_damaged_header(tmp_path: Path, text: str) -> None:
    content = text.encode("latin-1")
    path = tmp_path / "agent.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content)
    with pytest.raises(CheckpointError, match="damaged"):
        RAMAgent.load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    path, agent = saved(tmp_path), make_agent()
    before = path.read_bytes()
    tensors, description = read_tensors(path, KIND)
    agent.choice_head.weight.data[1, 2] = value
    for packed in (False, True):
        with pytest.raises(ValueError, match=r"choice_head\.weight"):
            agent.save(path, packed=packed)
    assert path.read_bytes() == before
    write_tensors(path, {**tensors, **agent.state_dict()}, KIND, description)
    with pytest.raises(CheckpointError, match=r"choice_head\.weight"):
        RAMAgent.load(path)


def test_weights_of_other_names_and_types(tmp_path: Path) -> None:
    path, named = saved(tmp_path), make_agent().state_dict()
    _, description = read_tensors(path, KIND)
    write_tensors(path, {**named, "more": torch.ones(3)}, KIND, description)
    with pytest.raises(CheckpointError, match="more"):
        RAMAgent.load(path)
    for kind in (torch.float64, torch.int8):
        tensors = {name: tensor.to(kind) for name, tensor in named.items()}
        write_tensors(path, tensors, KIND, description)
        with pytest.raises(CheckpointError, match=r"torch.float64|factor"):
            RAMAgent.load(path)


def test_a_refusal_is_short_and_printable(tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    words = "\x1b]0;owned\x07" + "x" * 10**5
    for metadata, tensors in (
        ({"format": words}, {"a": torch.ones(1)}),
        ({"format": "ram-agent", "version": words}, {"a": torch.ones(1)}),
        ({"format": "ram-agent", "version": "2"}, {words: torch.full((1,), torch.nan)}),
    ):
        safetensors.torch.save_file(tensors, path, metadata)
        with pytest.raises(CheckpointError) as caught:
            RAMAgent.load(path)
        assert len(str(caught.value)) < 1_000
        assert str(caught.value).isprintable()


# --- nothing that is loaded fills the memory ---------------------------------------------------


def most_memory() -> int:
    """Return the megabytes that this process ever had."""
    resource = pytest.importorskip("resource")
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) >> (
        20 if sys.platform == "darwin" else 10
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": {"hidden_size": 12_000}},  # a gigabyte
        {"agent": {"hidden_size": 10**9}},
        {"agent": {"feature_size": 10**12}},
        {"glimpse_shape": [1, 2**14, 2**14]},
        {"glimpse_shape": [1, 10**30, 1]},
        {"num_choices": 10**18},
        {"glimpse_shape": [2**14, 2**14, "x"]},
    ],
)
def test_sizes_without_weights_take_no_memory(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = saved(tmp_path)
    rewrite(path, **changes)
    before = most_memory()
    with pytest.raises(CheckpointError, match="agent"):
        RAMAgent.load(path)
    assert most_memory() - before < 200


def test_a_header_of_4_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    path.write_bytes((2**32).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="damaged"):
        RAMAgent.load(path)


def test_a_header_that_claims_what_is_not_there(tmp_path: Path) -> None:
    with torch.device("meta"):
        expected = make_agent(hidden_size=12_000).state_dict()
    header, end = {}, 0
    for name, tensor in expected.items():
        start, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path = tmp_path / "agent.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    before = most_memory()
    with pytest.raises(CheckpointError, match="damaged"):
        RAMAgent.load(path)
    assert most_memory() - before < 200


def test_a_large_file_of_another_format_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    length = 2**31
    header = {"a": {"dtype": "F32", "shape": [length // 4], "data_offsets": [0, length]}}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + length)  # without blocks on the disk
    before = most_memory()
    with pytest.raises(CheckpointError, match="None"):
        RAMAgent.load(path)
    assert most_memory() - before < 200


# --- nothing that is loaded runs code ----------------------------------------------------------


class Hostile:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def test_hostile_weights_are_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    torch.save({"weight": Hostile(tmp_path / "harm")}, path)
    with pytest.raises(CheckpointError, match="damaged"):
        RAMAgent.load(path)
    assert not (tmp_path / "harm").exists()
    torch.load(path.rename(tmp_path / "a.pt"), weights_only=False)  # as other readers do
    assert (tmp_path / "harm").exists()
