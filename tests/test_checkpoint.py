"""Files: what is written comes back, what is damaged is refused, and nothing loaded runs code."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium import spaces

import ram_agent
from ram_agent.agent import RAMAgent
from ram_agent.checkpoint import (
    CheckpointError,
    RunFolder,
    load_agent,
    pretrained_names,
    read_json,
    save_agent,
)
from ram_agent.config import AgentConfig
from ram_envs.atomic_files import tame, write_bytes, write_json, write_whole


def make_agent(**settings: Any) -> RAMAgent:
    torch.manual_seed(0)
    location = spaces.Box(-1, 1, (2,), np.float32)
    agent = RAMAgent(
        spaces.Dict(glimpse=spaces.Box(0, 1, (2, 3, 3), np.float32), location=location),
        spaces.Tuple((location, spaces.Discrete(4))),
        AgentConfig(**{"hidden_size": 8, "feature_size": 6, **settings}),
    )
    agent.location_std.fill_(0.0625)
    return agent


def saved(folder: Path) -> Path:
    make_agent().save(folder / "agent")
    return folder / "agent"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- an agent's weights ----------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ".safetensors", ".json"])
def test_a_loaded_agent_plays_as_the_saved_one(tmp_path: Path, ending: str) -> None:
    agent = make_agent(location_mean="linear", pixel_scale=2.0)
    agent.save(tmp_path / f"seed.1{ending}")
    assert files_in(tmp_path) == ["seed.1.json", "seed.1.safetensors"]
    loaded = RAMAgent.load(tmp_path / f"seed.1{ending}")

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


def test_packed_weights_have_8_bits_and_a_factor_for_each_row(tmp_path: Path) -> None:
    agent = make_agent(core="lstm", hidden_size=64, feature_size=64)
    row = torch.full((64,), 0.0)
    row[:3] = torch.tensor([-1.27, 0.504, 0.506])
    agent.choice_head.weight.data = torch.stack([row, 100 * row, 0 * row, 1e-40 * row])
    agent.choice_head.bias.data[0] = 1 / 3
    save_agent(agent, tmp_path / "whole")
    save_agent(agent, tmp_path / "packed", {"seed": 3}, packed=True)

    tensors = safetensors.torch.load_file(tmp_path / "packed.safetensors")
    assert tensors["choice_head.weight"].dtype == torch.int8
    assert tensors["choice_head.weight"][:, :4].tolist() == [
        [-127, 50, 51, 0],
        [-127, 50, 51, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],  # too small for a factor
    ]
    assert tensors["choice_head.weight.scale"][:2].tolist() == pytest.approx([0.01, 1.0])
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "packed")]
    assert sizes[1] < 0.3 * sizes[0]

    loaded, facts = load_agent(tmp_path / "packed")
    assert facts == {"seed": 3}
    assert loaded.choice_head.weight[:2, 1].tolist() == pytest.approx([0.5, 50])
    assert loaded.choice_head.bias[0] == agent.choice_head.bias[0]  # vectors are as they were
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        exact = agent.state_dict()[name]
        half_a_step = exact.abs().amax(-1, keepdim=True) / 254 if exact.ndim == 2 else 0
        assert ((value - exact).abs() <= 1.001 * half_a_step + 1e-38).all()


@pytest.mark.parametrize("packed", [False, True])
def test_weights_of_other_kinds_are_saved_with_32_bits(tmp_path: Path, packed: bool) -> None:
    save_agent(make_agent().double(), tmp_path / "agent", packed=packed)
    for value in load_agent(tmp_path / "agent")[0].state_dict().values():
        assert value.dtype == torch.float32


def test_weights_that_are_packed_twice_stay_as_they_were(tmp_path: Path) -> None:
    agent, path = make_agent(), tmp_path / "agent.safetensors"
    save_agent(agent, path, packed=True)
    before = load_agent(path)[0].state_dict()
    save_agent(load_agent(path)[0], path, packed=True)
    for name, value in load_agent(path)[0].state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=1e-6, atol=0)


def test_what_cannot_be_packed_leaves_what_was_there(tmp_path: Path) -> None:
    agent = make_agent()
    save_agent(agent, tmp_path / "agent", packed=True)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    agent.choice_head.weight.data[0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"choice_head\.weight has values that are NaN or infin"):
        save_agent(agent, tmp_path / "agent", {"seed": 4}, packed=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_files_are_safetensors_and_json(tmp_path: Path) -> None:
    agent = make_agent()
    save_agent(agent, tmp_path / "agent", {"env_id": "RAMMNIST-v0"})
    tensors = safetensors.torch.load_file(tmp_path / "agent.safetensors")
    assert set(tensors) == set(agent.state_dict())
    assert torch.equal(tensors["core.state_and_input.weight"], agent.core.state_and_input.weight)
    assert json.loads((tmp_path / "agent.json").read_text()) == {
        "format": "ram-agent",
        "version": 1,
        "agent": {
            "core": "rectifier",
            "hidden_size": 8,
            "feature_size": 6,
            "location_mean": "tanh",
            "initialization": "he",
            "location_start": 1.0,
            "pixel_scale": 3.0,
            "scale_factor": 1.0,
            "num_channels": 1,
            "baseline_shapes_state": False,
        },
        "glimpse_shape": [2, 3, 3],
        "num_choices": 4,
        "facts": {"env_id": "RAMMNIST-v0"},
    }


def test_facts_come_back(tmp_path: Path) -> None:
    save_agent(make_agent(), tmp_path / "agent", {"dataset": "digits", "update": 7})
    assert load_agent(tmp_path / "agent")[1] == {"dataset": "digits", "update": 7}
    assert load_agent(saved(tmp_path))[1] == {}


def test_best_weights_of_a_run_are_preferred(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create({"env_id": "RAMMNIST-v0"})
    with pytest.raises(FileNotFoundError, match=r"has no best.safetensors .* --resume"):
        load_agent(tmp_path)
    folder.save_agent("last", make_agent(), update=9)
    assert load_agent(tmp_path)[1] == {
        "env_id": "RAMMNIST-v0",
        "update": 9,
        "validation_error": None,
    }
    folder.save_agent("best", make_agent(), update=5, validation_error=2.5)
    assert load_agent(tmp_path)[1] == {
        "env_id": "RAMMNIST-v0",
        "update": 5,
        "validation_error": 2.5,
    }


@pytest.mark.parametrize("missing", ["agent.safetensors", "agent.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    path = saved(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"{missing} does not exist"):
        RAMAgent.load(path)


def change_description(path: Path, **changes: Any) -> None:
    file = path.with_name("agent.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version 2; this ram-gym reads version 1. Upgrade"),
        ({"format": "other"}, "does not describe an agent of ram-gym"),
        ({"agent": {"hiden_size": 8}}, "no setting 'hiden_size'. Did you mean 'hidden_size'"),
        ({"glimpse_shape": [3, 3]}, "agent.json is damaged: glimpse_shape is not (K · C, G, G)."),
        ({"num_choices": 0}, "damaged: size 0: expected a whole number to 1,048,576."),
        ({"num_choices": "four"}, "agent.json is damaged"),
        ({"facts": None}, "agent.json is damaged"),
        ({"num_choices": 5}, "does not hold the weights that agent.json describes"),
        ({"glimpse_shape": [1, 3, 3]}, "does not hold the weights that agent.json describes"),
        ({"agent": {"hidden_size": 9}}, "does not hold the weights that agent.json describes"),
        ({"agent": {"hidden_size": 8.0}}, "damaged: hidden_size=8.0: expected int"),
        ({"agent": {"hidden_size": True}}, "damaged: hidden_size=True: expected int"),
        ({"agent": {"hidden_size": "8"}}, "damaged: hidden_size='8': expected int"),
        ({"agent": {"hidden_size": 10**400}}, "damaged: "),
        ({"agent": {"pixel_scale": float("inf")}}, "damaged: pixel_scale=inf: expected float"),
        ({"agent": {"location_mean": "than"}}, "location_mean='than': expected Literal['tanh', "),
        ({"agent": {"baseline_shapes_state": 1}}, "baseline_shapes_state=1: expected bool"),
        ({"agent": [8]}, "damaged: [8]: expected the settings of AgentConfig"),
        ({"glimpse_shape": [2.0, 3, 3]}, "damaged: size 2.0: expected a whole number"),
        ({"version": None}, "version None; this ram-gym reads version 1"),
    ],
)
def test_a_description_that_does_not_fit(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = saved(tmp_path)
    change_description(path, **changes)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        RAMAgent.load(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"format": "ram-agent", "ver',
        "[1, 2]",
        "\xff\xfe",
        '{"version": 1' + "0" * 5000 + "}",
        pytest.param("[" * 10**6, id="deep"),
        pytest.param('{"format": "' + "x" * 2**24 + '"}', id="long"),
    ],
)
def test_a_damaged_description(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path)
    (tmp_path / "agent.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"agent\.json is damaged"):
        RAMAgent.load(path)


def test_a_description_that_lacks_a_part(tmp_path: Path) -> None:
    path = saved(tmp_path)
    description = read_json(tmp_path / "agent.json")
    del description["num_choices"]
    (tmp_path / "agent.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=r"agent\.json is damaged: 'num_choices'"):
        RAMAgent.load(path)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_weights_cut_short(tmp_path: Path, length: int) -> None:
    path = saved(tmp_path)
    weights = tmp_path / "agent.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"agent\.safetensors does not hold the weights"):
        RAMAgent.load(path)


def write_weights(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    safetensors.torch.save_file(tensors, path.with_name("agent.safetensors"))


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    path = saved(tmp_path)
    for value in (float("nan"), float("inf")):
        tensors = make_agent().state_dict()
        tensors["choice_head.weight"][1, 2] = value
        write_weights(path, tensors)
        with pytest.raises(
            CheckpointError, match=r"choice_head\.weight has values that are NaN or"
        ):
            RAMAgent.load(path)


def test_weights_of_other_names_and_kinds(tmp_path: Path) -> None:
    path, tensors = saved(tmp_path), make_agent().state_dict()
    write_weights(path, {**tensors, "more": torch.ones(3)})
    with pytest.raises(CheckpointError, match="other tensors than expected: more"):
        RAMAgent.load(path)
    write_weights(path, {name: tensor.double() for name, tensor in tensors.items()})
    with pytest.raises(CheckpointError, match=r"is F64 .*: expected F32"):
        RAMAgent.load(path)
    write_weights(path, {name: tensor.to(torch.int8) for name, tensor in tensors.items()})
    with pytest.raises(CheckpointError, match=r"is I8 .*: expected F32"):
        RAMAgent.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choice_head.weight": torch.ones(4, 8)}, "weight is F32 [4, 8]: expected I8 [4, 8]"),
        ({"choice_head.weight.scale": torch.ones(3)}, "scale is F32 [3]: expected F32 [4]"),
        ({"choice_head.weight.scale": torch.ones(4).half()}, "is F16 [4]: expected F32 [4]"),
        ({"choice_head.weight.scale": torch.full((4,), torch.inf)}, "are NaN or infinite"),
        ({"choice_head.bias.scale": torch.ones(4)}, "than expected: choice_head.bias.scale"),
        ({"more.scale": torch.ones(4)}, "other tensors than expected: more.scale"),
    ],
)
def test_packed_weights_that_do_not_fit(
    tmp_path: Path, changes: dict[str, torch.Tensor], message: str
) -> None:
    path = tmp_path / "agent.safetensors"
    save_agent(make_agent(), path, packed=True)
    write_weights(path, {**safetensors.torch.load_file(path), **changes})
    with pytest.raises(CheckpointError, match=re.escape(message)):
        RAMAgent.load(path)


def test_weights_and_facts_belong_together_where_a_crash_fell_between_their_files(
    tmp_path: Path,
) -> None:
    for number in (1, 2):
        moment = {"update": number, "validation_error": 0.5}
        save_agent(make_agent(), tmp_path / str(number), {"dataset": "digits"}, moment)
    (tmp_path / "2.json").replace(tmp_path / "1.json")  # the description is written first
    assert load_agent(tmp_path / "1")[1] == {
        "dataset": "digits",
        "update": 1,
        "validation_error": 0.5,
    }


# --- nothing that is loaded fills the memory -------------------------------------------------


def most_memory() -> int:
    """Megabytes that this process ever had."""
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
    change_description(path, **changes)
    before = most_memory()
    with pytest.raises(CheckpointError, match=r"is damaged|does not hold the weights"):
        RAMAgent.load(path)
    assert most_memory() - before < 200


def test_a_header_of_4_gigabytes(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (tmp_path / "agent.safetensors").write_bytes((2**32).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="its header would be 4,294,967,296 bytes long"):
        RAMAgent.load(path)


def test_a_header_that_claims_what_is_not_there(tmp_path: Path) -> None:
    path = saved(tmp_path)
    change_description(path, agent={"hidden_size": 12_000, "feature_size": 6})
    with torch.device("meta"):
        expected = make_agent(hidden_size=12_000).state_dict()
    header, end = {}, 0
    for name, tensor in expected.items():
        start, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    (tmp_path / "agent.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    before = most_memory()
    with pytest.raises(CheckpointError, match=r"bytes long: expected 1,153,"):
        RAMAgent.load(path)
    assert most_memory() - before < 200


@pytest.mark.parametrize(
    "text", ["[" * 10**5, "[]", '{"__metadata__": 3}', '{"a": 3}', "{", "\xff"]
)
def test_a_header_that_is_none(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path)
    content = text.encode("latin-1")
    (tmp_path / "agent.safetensors").write_bytes(len(content).to_bytes(8, "little") + content)
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        RAMAgent.load(path)


def test_a_state_that_unpacks_to_more_than_it_is(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state({"weights": torch.zeros(10**6)})
    with zipfile.ZipFile(folder.state_path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(folder.state_path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert folder.state_path.stat().st_size < 10_000
    with pytest.raises(CheckpointError, match=r"resume\.pt is damaged .* it is compressed"):
        folder.load_state()


def test_a_state_in_the_format_before_zip(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    torch.save({"w": torch.zeros(3)}, folder.state_path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"resume\.pt is damaged"):
        folder.load_state()


def test_a_state_that_names_more_than_tensors(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    # weights_only=True would make it: 1 GB of zeros, of a file of 400 bytes.
    pickled = b"\x80\x02}X\x01\x00\x00\x00acbuiltins\nbytearray\nJ\x00\x00\x00\x40\x85Rs."
    with zipfile.ZipFile(folder.state_path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    before = most_memory()
    with pytest.raises(CheckpointError, match=r"resume\.pt .* it names builtins bytearray, which"):
        folder.load_state()
    assert most_memory() - before < 200


def test_a_state_with_two_parts_of_one_name(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state({"update": 3})
    with zipfile.ZipFile(folder.state_path, "a") as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(name, b"\x80\x02}.")
    with pytest.raises(CheckpointError, match=r": two of its parts have one name\.$"):
        folder.load_state()


def test_a_state_whose_parts_would_be_longer_than_itself(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state({"update": 3})
    content = folder.state_path.read_bytes()
    first = content.index(b"PK\x01\x02")  # an entry of the zip's list of parts
    claimed = (10**9).to_bytes(4, "little")  # its length, packed and unpacked
    folder.state_path.write_bytes(content[: first + 20] + 2 * claimed + content[first + 28 :])
    with pytest.raises(CheckpointError, match=r": its parts would be longer than itself\.$"):
        folder.load_state()


def test_a_state_that_names_something_by_what_was_made_before(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    torch.save({"weights": torch.ones(2)}, folder.state_path, pickle_protocol=4)
    with pytest.raises(CheckpointError, match=r"it has STACK_GLOBAL, which no state needs"):
        folder.load_state()


def test_what_is_no_tensor_is_not_made_even_where_our_own_check_has_a_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ram_agent.checkpoint._check_pickle", lambda content: None)
    folder = RunFolder(tmp_path)
    torch.save({"folder": Path("here")}, folder.state_path)
    with pytest.raises(CheckpointError, match=r"resume\.pt is damaged .* Weights only load failed"):
        folder.load_state()


def test_a_state_that_is_shorter_than_the_agent_of_its_config(tmp_path: Path) -> None:
    folder, config = RunFolder(tmp_path), AgentConfig(hidden_size=8, feature_size=6)
    folder.check_fits(config)  # nothing was trained yet
    folder.append_metrics({"update": 1})
    folder.check_fits(config)  # `load_state` says that there is none
    folder.state_path.write_bytes(bytes(896))  # 4 bytes · 8 · 2 · (8 + 6) weights
    folder.check_fits(config)
    folder.state_path.write_bytes(bytes(895))
    message = (
        r"^.*/resume\.pt is too short for hidden_size=8 and feature_size=6, which config\.json"
    )
    with pytest.raises(CheckpointError, match=rf"{message} names\.$"):
        folder.check_fits(config)


def test_a_refusal_is_short_and_plain(tmp_path: Path) -> None:
    path = saved(tmp_path)
    change_description(path, version="\x1b]0;owned\x07\ud800" + "x" * 10**5)
    with pytest.raises(CheckpointError) as caught:
        RAMAgent.load(path)
    assert len(str(caught.value)) < 1_100
    assert str(caught.value).isprintable()
    assert "this ram-gym reads version 1. Upgrade" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("a ball, 3 × 3\nü", "a ball, 3 × 3\nü"),
        ("\x1b[31mred\r\x00", "\\x1b[31mred\\r\\x00"),
        ("\ud800\u202e", "\\ud800\\u202e"),  # half a letter; what turns the direction of a line
        ("abcdefghijk", "abcde … ghijk"),
    ],
)
def test_words_of_strangers_are_tamed(words: str, shown: str) -> None:
    assert tame(words, 10 if words[0] == "a" and " " not in words else 1000) == shown


def test_a_state_of_a_later_version(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state({"version": 2, "update": 3})
    with pytest.raises(CheckpointError, match="version 2; this ram-gym reads version 1"):
        folder.load_state()
    torch.save({"update": 3}, folder.state_path)  # as the first ones were
    assert folder.load_state() == {"update": 3}


def test_metrics_that_are_none(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for line in (b"[" * 10**5, b"3", b'{"update": "3"}', b"\xff\xfe", b'"' + b"x" * 10**6):
        folder.metrics_path.write_bytes(b'{"update": 10}\n' + line + b'\n{"update": 20}\n')
        assert folder.read_metrics() == [{"update": 10}]


# --- nothing that is loaded leads elsewhere --------------------------------------------------


@pytest.mark.parametrize(
    "name", ["config.json", "best.json", "best.safetensors", "resume.pt", "metrics.jsonl"]
)
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({})
    folder.save_agent("best", make_agent(), update=3)
    folder.append_metrics({"update": 3})
    folder.save_state({"update": 3})
    secret = tmp_path / "secret"
    (folder.path / name).rename(secret)
    (folder.path / name).symlink_to(secret)
    content = secret.read_bytes()

    def use() -> None:
        folder.read_config()
        load_agent(folder.path)
        folder.append_metrics({"update": 6})
        folder.load_state()

    message = (
        rf"{name} is a link to .*secret, outside .* if you trust it, put a copy in its place\.$"
    )
    with pytest.raises(CheckpointError, match=message):
        use()
    assert secret.read_bytes() == content


def test_weights_that_do_not_come_with_the_package() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load_agent("pretrained:mnist-9")
    assert str(caught.value) == (
        "there are no pretrained weights 'mnist-9': expected one of "
        f"{', '.join(pretrained_names())}."
    )


def test_pretrained_weights_have_no_other_place() -> None:
    with pytest.raises(FileNotFoundError, match="no pretrained weights"):
        RAMAgent.load("pretrained:../pretrained/catch")


def test_what_is_written_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "mine").write_text("mine")
    temporary = f".config.json.{os.getpid()}-{threading.get_ident()}.tmp"
    for name in ("config.json", temporary):
        (tmp_path / "run" / name).symlink_to(tmp_path / "mine")
    write_json(tmp_path / "run" / "config.json", {"seed": 3})
    assert (tmp_path / "mine").read_text() == "mine"
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == {"seed": 3}
    assert files_in(tmp_path / "run") == ["config.json"]

    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=r"\.lock cannot be written"):
        RunFolder(tmp_path / "run").lock()
    assert (tmp_path / "mine").read_text() == "mine"


# --- nothing that is loaded runs code --------------------------------------------------------


class Hostile:
    """Whoever unpickles this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def test_a_hostile_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({})
    torch.save({"update": 1, "agent": Hostile(tmp_path / "harm")}, folder.state_path)
    with pytest.raises(CheckpointError, match=r"resume\.pt is damaged"):
        folder.load_state()
    assert not (tmp_path / "harm").exists()
    torch.load(folder.state_path, weights_only=False)  # as others would
    assert (tmp_path / "harm").exists()


def test_hostile_weights_are_refused_and_not_run(tmp_path: Path) -> None:
    path = saved(tmp_path)
    torch.save({"weight": Hostile(tmp_path / "harm")}, tmp_path / "agent.safetensors")
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        RAMAgent.load(path)
    assert not (tmp_path / "harm").exists()


# --- a run's folder --------------------------------------------------------------------------


def test_a_new_run_takes_no_folder_with_files(tmp_path: Path) -> None:
    RunFolder(tmp_path / "new" / "run").create({"seed": 3})
    assert RunFolder(tmp_path / "new" / "run").read_config() == {"seed": 3}
    with pytest.raises(FileExistsError, match=r"run is not empty.* --resume"):
        RunFolder(tmp_path / "new" / "run").create({"seed": 4})
    assert RunFolder(tmp_path / "new" / "run").read_config() == {"seed": 3}

    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").create({"seed": 5})
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="file is not empty"):
        RunFolder(tmp_path / "file").create({})
    assert (tmp_path / "file").read_text() == "mine"


HOLDER = """
import sys
from ram_agent.checkpoint import RunFolder
folder = RunFolder(sys.argv[1])
folder.lock()
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_locked_until_its_process_ends(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(ram_agent.__file__).parent.parent)},
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        message = rf"{tmp_path} is being written by another run: process {other.pid} on .*--out"
        for use in (folder.lock, lambda: folder.create({})):
            with pytest.raises(BlockingIOError, match=message):
                use()
        other.kill()
    folder.lock()
    folder.lock()  # again
    with pytest.raises(BlockingIOError, match=f"process {os.getpid()} on "):
        RunFolder(tmp_path).lock()
    folder.unlock()
    RunFolder(tmp_path).create({"seed": 3})


def test_a_file_system_without_locks_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", refuse)
    folder = RunFolder(tmp_path)
    folder.create({"seed": 3})
    assert folder.read_config() == {"seed": 3}
    assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    assert not (tmp_path / ".lock").stat().st_mode & 0o111


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    message = r"gone/\.lock cannot be written: No such file or directory\.$"
    with pytest.raises(OSError, match=message):
        RunFolder(tmp_path / "gone").lock()


def test_what_a_killed_run_left_unfinished_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".config.json.12-345.tmp").write_text("{")  # killed as it began
    folder = RunFolder(tmp_path)
    folder.create({"seed": 3})
    folder.unlock()
    (tmp_path / ".resume.pt.12-345.tmp").write_bytes(b"half")
    (tmp_path / ".notes.tmp").write_text("mine")
    RunFolder(tmp_path).lock()
    assert files_in(tmp_path) == [".lock", ".notes.tmp", "config.json"]


def test_a_new_run_beside_others(tmp_path: Path) -> None:
    folders = [RunFolder(tmp_path / "run") for _ in range(3)]
    for number, folder in enumerate(folders):
        folder.create({"seed": number}, or_beside=True)
    assert [folder.path.name for folder in folders] == ["run", "run-2", "run-3"]
    assert [folder.read_config()["seed"] for folder in folders] == [0, 1, 2]


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    message = r"it has no config\.json\. Expected a folder that `ram train` wrote\.$"
    with pytest.raises(FileNotFoundError, match=message):
        RunFolder(tmp_path).read_config()
    with pytest.raises(FileNotFoundError, match=r"has no resume.pt, .* Put it back"):
        RunFolder(tmp_path).load_state()


def test_state_comes_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    state = {"update": 3, "seconds": 1.5, "_sums": {"count": 2.0}, "agent": {"w": torch.ones(2)}}
    folder.save_state(state)
    torch.testing.assert_close(folder.load_state(), state, rtol=0, atol=0)


@pytest.mark.parametrize("length", [0, 10, -10])
def test_a_state_cut_short(tmp_path: Path, length: int) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state({"update": 3, "weights": torch.ones(100)})
    folder.state_path.write_bytes(folder.state_path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"resume\.pt is damaged and cannot be resumed"):
        folder.load_state()


def test_a_state_that_is_none(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    torch.save([1, 2], folder.state_path)
    with pytest.raises(CheckpointError, match="expected a dict"):
        folder.load_state()


def test_metrics_come_back_but_for_a_row_that_a_crash_cut_short(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_metrics() == []
    folder.append_metrics({"update": 10, "validation_error": 12.5})
    folder.append_metrics({"update": 20, "validation_error": 11.0})
    with folder.metrics_path.open("a") as file:
        file.write('{"update": 30, "validati')
    assert folder.read_metrics() == [
        {"update": 10, "validation_error": 12.5},
        {"update": 20, "validation_error": 11.0},
    ]


def test_a_row_of_metrics_that_is_too_long_is_damaged(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for length in (65_000, 65_536):
        folder.append_metrics({"update": 1, "note": "x" * length})  # type: ignore[dict-item]
    assert [len(row["note"]) for row in folder.read_metrics()] == [65_000]  # type: ignore[arg-type]


def test_metrics_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for update in (10, 20, 30):
        folder.append_metrics({"update": update})
    with folder.metrics_path.open("a") as file:
        file.write('{"upd')
    folder.forget_metrics_after(20)
    assert folder.metrics_path.read_text() == '{"update": 10}\n{"update": 20}\n'
    folder.append_metrics({"update": 30})
    assert [row["update"] for row in folder.read_metrics()] == [10, 20, 30]


# --- whole or not at all ---------------------------------------------------------------------


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"new, but only ha")
        assert path.read_bytes() == b"old"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert files_in(tmp_path) == ["weights"]


@pytest.mark.skipif(sys.platform == "win32", reason="a folder cannot be synced there")
def test_a_renamed_file_outlives_a_loss_of_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        done.append(f"sync the {kind}")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_whole(tmp_path / "file", lambda file: None)
    assert done == ["sync the file", "rename", "sync the folder"]
    RunFolder(tmp_path).append_metrics({"update": 1})
    assert done[3:] == ["sync the file"]


@pytest.mark.skipif(sys.platform == "win32", reason="a folder cannot be synced there")
def test_a_file_system_whose_folders_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = {"folder": errno.EINVAL}

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(codes["folder"], "of a folder")

    monkeypatch.setattr(os, "fsync", fsync)
    write_bytes(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
    codes["folder"] = errno.EIO  # a disk that fails is another matter
    with pytest.raises(OSError, match="of a folder"):
        write_bytes(tmp_path / "file", b"new")


def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    folder = RunFolder(tmp_path / "run")
    folder.create({})
    folder.save_agent("last", make_agent(), update=1)
    folder.save_state({"update": 1})
    folder.append_metrics({"update": 1})
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))  # no file may be longer
    try:
        for write in (
            lambda: folder.save_agent("last", make_agent(), update=2),
            lambda: folder.save_state({"update": 2}),
            lambda: folder.append_metrics({"update": 2}),
        ):
            with pytest.raises(OSError, match=r"cannot be written: .* last checkpoint is usable"):
                write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert folder.load_state() == {"update": 1}
    assert load_agent(folder.path)[1]["update"] == 1
    assert folder.read_metrics() == [{"update": 1}]
    after = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    assert {**after, "metrics.jsonl": before["metrics.jsonl"]} == before


def test_a_checkpoint_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state({"update": 1})
    with pytest.raises(Exception, match="pickle"):
        folder.save_state({"update": 2, "cannot": lambda: None})
    assert folder.load_state() == {"update": 1}
    assert files_in(tmp_path) == ["resume.pt"]


def test_a_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "made" / "here" / "file"
    for content in (b"first", b"second"):
        write_whole(path, lambda file, content=content: file.write(content))  # type: ignore[misc]
        assert path.read_bytes() == content
    assert files_in(path.parent) == ["file"]
