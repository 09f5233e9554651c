"""Files: what is written comes back, what is damaged is refused, and nothing loaded runs code."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium import spaces

from ram_agent.agent import RAMAgent
from ram_agent.checkpoint import (
    CheckpointError,
    RunFolder,
    load_agent,
    read_json,
    save_agent,
)
from ram_agent.config import AgentConfig
from ram_envs.files import write_whole


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
    for mine, theirs in zip(outputs[0][0], outputs[1][0], strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(outputs[0][1], outputs[1][1])
    assert loaded.location_std.item() == 0.0625
    assert loaded.observation_space == agent.observation_space
    assert loaded.action_space == agent.action_space


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
            "initialisation": "he",
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
        ({"glimpse_shape": [3, 3]}, "agent.json is damaged"),
        ({"num_choices": "four"}, "agent.json is damaged"),
        ({"facts": None}, "agent.json is damaged"),
        ({"num_choices": 5}, "does not hold the weights that agent.json describes"),
        ({"glimpse_shape": [1, 3, 3]}, "does not hold the weights that agent.json describes"),
        ({"agent": {"hidden_size": 9}}, "does not hold the weights that agent.json describes"),
    ],
)
def test_a_description_that_does_not_fit(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = saved(tmp_path)
    change_description(path, **changes)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        RAMAgent.load(path)


@pytest.mark.parametrize("text", ["", "{", '{"format": "ram-agent", "ver', "[1, 2]", "\xff\xfe"])
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


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"not the folder of a run: it has no config.json"):
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
