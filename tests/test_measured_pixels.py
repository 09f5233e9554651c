"""Images without a preset: pixel_mean and pixel_scale are measured before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import ram_agent
from ram_agent.agent import RAMAgent
from ram_agent.config import AgentConfig
from ram_agent.measured_pixels import measure_pixels
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_envs.envs.catch import CatchEnv

MEASURED = AgentConfig(pixel_mean=None, pixel_scale=None)


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    """Large images: three columns of four have brightness 0.2, the fourth is white."""
    images = np.full((40, 200, 200), 51, np.uint8)
    images[:, :, ::4] = 255
    np.savez(tmp_path / "stripes.npz", images=images, labels=np.arange(40) % 2)
    return tmp_path / "stripes.npz"


def test_the_background_becomes_0_and_the_spread_1(stripes: Path) -> None:
    keywords = {"dataset": str(stripes), "glimpse_size": 4, "num_scales": 1}
    env = RunEnv("RAMClassification-v0", keywords)
    config = measure_pixels(env, MEASURED)
    assert config.pixel_mean == 0.2
    assert config.pixel_scale == pytest.approx(1 / (0.8**2 / 4) ** 0.5, rel=0.05)  # 2.5


def test_what_is_given_is_not_measured(stripes: Path) -> None:
    keywords = {"dataset": str(stripes), "glimpse_size": 4, "num_scales": 1}
    env = RunEnv("RAMClassification-v0", keywords)
    mean = measure_pixels(env, AgentConfig(pixel_mean=None))
    assert (mean.pixel_mean, mean.pixel_scale) == (0.2, 3)
    scale = measure_pixels(env, AgentConfig(pixel_scale=None))
    assert scale.pixel_mean == 0
    assert scale.pixel_scale == pytest.approx(1 / (0.75 * 0.2**2 + 0.25) ** 0.5, rel=0.05)  # 1.9
    assert measure_pixels(env, AgentConfig()) == AgentConfig()


def test_an_empty_picture_is_not_scaled_without_limit(tmp_path: Path) -> None:
    np.savez(tmp_path / "black.npz", images=np.zeros((20, 9, 9), np.uint8), labels=[0, 1] * 10)
    env = RunEnv("RAMClassification-v0", {"dataset": str(tmp_path / "black.npz")})
    config = measure_pixels(env, MEASURED)
    assert (config.pixel_mean, config.pixel_scale) == (0, 100)


def test_an_environment_that_fails_while_pixels_are_measured_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[bool] = []

    def fail(self: CatchEnv, action: Any) -> Any:
        raise KeyError("a fault of the environment")

    monkeypatch.setattr(CatchEnv, "step", fail)
    monkeypatch.setattr(CatchEnv, "close", lambda self: closed.append(True))
    with pytest.raises(KeyError):
        measure_pixels(RunEnv("RAMCatch-v0", {}), MEASURED)
    assert closed == [True]


def test_a_run_stores_what_was_measured(stripes: Path, tmp_path: Path) -> None:
    small: dict[str, Any] = {"hidden_size": 8, "feature_size": 8, "episodes": 256}
    small |= {"dataset": str(stripes), "glimpse_size": 4, "num_scales": 1}
    # The second begins with the weights of the first, and so with its scaling of pixels.
    for name, changes in (
        ("first", {"pixel_scale": 7.0}),
        ("second", {"start_from": tmp_path / "first"}),
    ):
        ram_agent.train("RAMClassification-v0", out=tmp_path / name, **small, **changes)
        agent = RunFolder(tmp_path / name).read_config()["agent"]
        assert (agent["pixel_mean"], agent["pixel_scale"]) == (0.2, 7.0)
        loaded = RAMAgent.load(tmp_path / name).config
        assert (loaded.pixel_mean, loaded.pixel_scale) == (0.2, 7.0)


def test_an_agent_that_is_made_directly_needs_numbers() -> None:
    env = gym.make("RAMMNIST-v0", dataset="digits")
    with pytest.raises(ValueError, match=r"pixel_mean=None .*pixel_scale=3"):
        RAMAgent(env.observation_space, env.action_space, AgentConfig(pixel_mean=None))
