"""Trainings that begin with the weights of a trained agent."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ram_commands import BRIEF, fail

import ram_agent
import ram_envs
from ram_agent.agent import RAMAgent
from ram_agent.cli import main
from ram_agent.config import TrainConfig
from ram_agent.presets import Preset
from ram_agent.run_config import RunConfig
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.runs import describe_run, make_trainer


def begins_as(run: Path, agent: RAMAgent) -> dict[str, bool]:
    """Return of each tensor of a run's first agent whether it is that of another agent."""
    first = make_trainer(RunConfig.read(RunFolder(run)), None).agent.state_dict()
    return {
        name: tensor.shape == first[name].shape and torch.equal(tensor, first[name])
        for name, tensor in agent.state_dict().items()
    }


def test_a_training_begins_with_the_weights(run: Path, tmp_path: Path) -> None:
    main(["train", *BRIEF, "--start-from", str(run), "--out", str(tmp_path / "run")])
    assert RunFolder(tmp_path / "run").read_config()["start_from"] == str(run / "best.safetensors")
    assert all(begins_as(tmp_path / "run", RAMAgent.load(run)).values())
    assert not any(begins_as(run, RAMAgent.load(run)).values())


def test_other_labels_begin_anew(tmp_path: Path) -> None:
    source = ram_agent.train("RAMMNIST-v0", dataset="digits", num_glimpses=2, episodes=256)
    source.save(tmp_path / "source")
    ram_agent.train(
        "RAMPairsMNIST-v0",
        dataset="digits",
        num_glimpses=2,
        glimpse_size=8,
        num_scales=1,
        glimpse_network="linear",
        episodes=512,
        start_from=tmp_path / "source",
        out=tmp_path / "run",
    )
    same = begins_as(tmp_path / "run", source)
    assert {name for name, is_same in same.items() if not is_same} == {
        "choice_head.weight",
        "choice_head.bias",
    }


@pytest.mark.parametrize(
    ("option", "value", "before"),
    [
        ("hidden_size", "17", "16"),
        ("core", "rectifier", "'lstm'"),
        ("location_mean", "linear", "'tanh'"),  # these have no weights
        ("pixel_mean", "0.5", "0.0"),
        ("scale_factor", "4", "1.0"),
    ],
)
def test_other_networks_are_refused(
    option: str,
    value: str,
    before: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ["--start-from", str(run), "--out", str(tmp_path / "run")]
    line = fail(capsys, "train", *BRIEF, f"--{option.replace('_', '-')}", value, *out)
    assert "start_from=" in line
    assert f" {option}={before};" in line
    assert not (tmp_path / "run").exists()


def test_other_glimpses_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--start-from", str(run), "--out", str(tmp_path / "run")]
    line = fail(capsys, "train", *BRIEF, "--num-scales", "2", *out)
    assert "start_from=" in line
    assert "num_scales" in line


COLORS = ram_envs.ImageDataset(np.zeros((60, 28, 28, 3), np.uint8), np.arange(60) % 3)


@pytest.mark.parametrize(
    ("env", "named"),
    [
        (RunEnv("RAMMNIST-v0", {"dataset": "digits", "max_shift": 0.2}), r"max_shift=0\.2"),
        (RunEnv("RAMClassification-v0", {"dataset": COLORS}), "num_channels=1.*num_channels=3"),
    ],
)
def test_environments_in_which_weights_mean_something_else(
    env: RunEnv, named: str, run: Path
) -> None:
    settings = Preset(RAMAgent.load(run).config, TrainConfig(), 2)
    with pytest.raises(ValueError, match=f"start_from=.*{named}"):
        describe_run(env, "default", settings, start_from=run)


class Blind(torch.nn.Module):
    def forward(self, glimpses: torch.Tensor, locations: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(glimpses), 16)


def test_custom_networks_are_refused(run: Path, tmp_path: Path) -> None:
    agent = RAMAgent.load(run)
    spaces = agent.observation_space, agent.action_space
    own = RAMAgent(*spaces, agent.config, glimpse_network=Blind())
    env = RunEnv("RAMMNIST-v0", {"dataset": "digits", "num_glimpses": 3})
    settings = Preset(agent.config, TrainConfig(), 2)
    with pytest.raises(ValueError, match=r"start_from=.*Blind"):
        describe_run(env, "default", settings, start_from=own.save(tmp_path / "own"))


def test_settings_of_the_training_may_differ(run: Path) -> None:
    agent = dataclasses.replace(
        RAMAgent.load(run).config, baseline_shapes_state=True, initialization="torch"
    )
    env = RunEnv("RAMMNIST-v0", {"dataset": "digits", "num_glimpses": 3})
    described = describe_run(env, "default", Preset(agent, TrainConfig(), 2), start_from=run)
    assert described.start_from == str(run / "best.safetensors")


def test_a_run_that_continues_does_not_need_them(run: Path, tmp_path: Path) -> None:
    source = shutil.copy(run / "best.safetensors", tmp_path / "source.safetensors")
    folder = tmp_path / "run"
    main(["train", *BRIEF, "--start-from", str(source), "--out", str(folder)])
    after = RAMAgent.load(folder / "last.safetensors").state_dict()
    (tmp_path / "source.safetensors").unlink()
    main(["train", "--resume", str(folder)])
    resumed = RAMAgent.load(folder / "last.safetensors").state_dict()
    assert all(torch.equal(after[name], resumed[name]) for name in after)


def test_a_damaged_start_is_named(copied_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(copied_run)
    text = folder.config_path.read_text()
    folder.config_path.write_text(text.replace('"start_from": null', '"start_from": 3'))
    assert "start_from=3" in fail(capsys, "train", "--resume", copied_run)
