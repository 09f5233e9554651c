"""Networks on the whole canvas: their shapes, their input, and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")

import torch
from gymnasium.vector import AutoresetMode
from torch import nn

import ram_envs
from ram_agent.paper.controls import (
    NETWORKS,
    ControlConfig,
    ControlTrainer,
    describe_control,
    measure_error,
    see_canvases,
)
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder

# 12 images, each with the brightness of its class; 5 are of class 0.
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 0])
IMAGES = np.broadcast_to((LABELS * 51 + 51).astype(np.uint8)[:, None, None], (12, 8, 8)).copy()


def make_envs(num_envs: int) -> Any:
    return gym.make_vec(
        "RAMClassification-v0",
        num_envs=num_envs,
        autoreset_mode=AutoresetMode.DISABLED,
        dataset=ram_envs.ImageDataset(IMAGES, LABELS),
        glimpse_size=4,
    )


def make_trainer(path: Path, env_id: str = "RAMMNIST-v0", **settings: Any) -> ControlTrainer:
    """Return a training of 22 updates on the digits, validated after each epoch of 11."""
    training = ControlConfig(
        **{"network": "fc-64", "seed": 0, "episodes": 2816, "validate_every": 1, **settings}
    )
    run = describe_control(RunEnv(env_id, {"dataset": "digits"}), training, {})
    folder = RunFolder(path)
    if not path.exists():
        folder.create(run)
    return ControlTrainer(run, folder)


# Weights and biases, computed by hand: fc-256 on 28 × 28 has 784 · 256 + 256, 256 · 256 + 256 and
# 256 · 10 + 10; conv has 8 · 100 + 8, then 256 rectifiers on 8 maps of 4 × 4, 11 × 11 or 19 × 19;
# cnn has 25 · 16 + 9 · (16 · 32 + 32 · 64 + 64 · 128) weights, 2 · 240 to normalize, 128 · 10 + 10.
@pytest.mark.parametrize(
    ("network", "side", "num_parameters"),
    [
        ("fc-256", 28, 269_322),
        ("fc-64", 28, 55_050),
        ("fc-64", 60, 235_274),
        ("conv", 28, 808 + 33_024 + 2_570),
        ("conv", 60, 808 + 248_064 + 2_570),
        ("conv", 100, 808 + 739_584 + 2_570),
        ("cnn", 28, 98_938),
        ("cnn", 100, 98_938),
    ],
)
def test_networks_are_those_of_the_paper(network: str, side: int, num_parameters: int) -> None:
    made = NETWORKS[network]((side, side), 10)
    assert made(torch.zeros(2, 1, side, side)).shape == (2, 10)
    assert sum(parameter.numel() for parameter in made.parameters()) == num_parameters


@pytest.mark.parametrize("network", [*NETWORKS])
def test_networks_see_colors(network: str) -> None:
    images = np.zeros((2, 32, 40, 3), np.uint8)
    images[..., 1] = 51
    envs = gym.make_vec(
        "RAMCIFAR10-v0", num_envs=2, dataset=ram_envs.ImageDataset(images, np.arange(2))
    )
    pixels, _ = see_canvases(envs, np.arange(2), 0)
    assert pixels.shape == (2, 3, 32, 40)
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.tensor([0, 0.2, 0]))
    assert NETWORKS[network]((32, 40, 3), 10)(pixels).shape == (2, 10)


def test_whole_canvases_and_their_labels() -> None:
    pixels, labels = see_canvases(make_envs(3), np.array([1, 0, 5]), 0)
    assert pixels.shape == (3, 1, 8, 8)
    assert labels.tolist() == [1, 0, 2]
    for image, brightness in zip(pixels, (0.4, 0.2, 0.6), strict=True):
        torch.testing.assert_close(image, torch.full((1, 8, 8), brightness))


class Zero(nn.Module):
    """A network that answers 0 and counts its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = 0

    def forward(self, pixels: Any) -> Any:
        self.shown += len(pixels)
        return torch.tensor([1.0, 0.0, 0.0]).expand(len(pixels), 3)


@pytest.mark.parametrize(("num_envs", "shown"), [(12, 12), (5, 15)])
def test_each_image_counts_once(num_envs: int, shown: int) -> None:
    network = Zero()
    assert measure_error(network, make_envs(num_envs)) == pytest.approx(700 / 12)
    assert network.shown == shown


def test_every_epoch_shows_every_image_on_a_new_canvas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[np.ndarray, Any]] = []

    def watch(envs: Any, index: np.ndarray, seed: int) -> Any:
        canvases, labels = see_canvases(envs, index, seed)
        shown.append((index, canvases))
        return canvases, labels

    monkeypatch.setattr("ram_agent.paper.controls.see_canvases", watch)
    trainer = make_trainer(tmp_path / "run", "RAMTranslatedMNIST-v0")
    for _ in range(21):
        trainer.train_one_update()
    index = np.concatenate([index for index, _ in shown])
    assert sorted(index[:1297]) == list(range(1297))
    assert sorted(index[1297:2594]) == list(range(1297))
    canvases = torch.cat([canvases for _, canvases in shown])
    first, second = (canvases[place] for place in np.flatnonzero(index == 7)[:2])
    assert first.sum() == pytest.approx(second.sum())
    assert not torch.equal(first, second)  # the same digit at another place


def test_it_learns_and_keeps_the_best_weights(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run")
    trainer.train()
    rows = RunFolder(tmp_path / "run").read_metrics()
    assert [row["update"] for row in rows] == [11, 22]
    assert trainer.best_error == min(row["validation_error"] for row in rows) < 40
    assert measure_error(trainer.best, trainer.validation_envs) == trainer.best_error


def test_training_stops_when_patience_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ram_agent.paper.controls.measure_error", lambda network, envs: 50.0)
    trainer = make_trainer(tmp_path / "run", episodes=128 * 100, patience=2)
    trainer.train()
    assert trainer.update == 33  # the best validation and two others


def test_a_resumed_training_equals_one_without_interruption(tmp_path: Path) -> None:
    whole = make_trainer(tmp_path / "whole", network="cnn")
    whole.train()

    stopped = make_trainer(tmp_path / "stopped", network="cnn")
    train_one_update = stopped.train_one_update

    def interrupt() -> float:
        if stopped.update == 15:
            raise KeyboardInterrupt
        return train_one_update()

    stopped.train_one_update = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    resumed = make_trainer(tmp_path / "stopped", network="cnn")
    resumed.resume()
    assert resumed.update == 11
    resumed.train()
    assert resumed.best_error == whole.best_error
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name])
    assert len(RunFolder(tmp_path / "stopped").read_metrics()) == 2


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"network": "vgg"}, "vgg"), ({"episodes": 0}, "episodes=0"), ({"seed": 2**64}, str(2**64))],
)
def test_bad_settings_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ControlConfig(**{"network": "conv", "seed": 0, "episodes": 1, **settings})


def test_a_training_that_was_killed_before_its_first_state_starts_again(tmp_path: Path) -> None:
    make_trainer(tmp_path / "run").train()
    (tmp_path / "run" / "resume.safetensors").unlink()  # the metrics are written before it
    begun = make_trainer(tmp_path / "run")
    begun.resume()
    assert begun.update == 0
    assert begun.folder.read_metrics() == []
