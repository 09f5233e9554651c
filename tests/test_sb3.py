"""Stable-Baselines3: our adapter equals its own DummyVecEnv, and its agents train on it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from picture_envs import Numbers

pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")

import torch
from stable_baselines3 import A2C
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import ram_envs
from ram_envs import wrappers
from ram_envs.sb3 import GlimpseFeatures, SB3VecEnv
from ram_envs.wrappers import vector

pytestmark = pytest.mark.usefixtures("one_thread")  # SB3VecEnv warns of more

IDS: dict[str, dict[str, Any]] = {
    "RAMClutteredMNIST-v0": {"dataset": "digits", "num_glimpses": 3},
    "RAMCatch-v0": {"size": 8, "glimpse_size": 3},
    "RAMSearch-v0": {"canvas_size": 48, "time_limit": 4},
}
NAMES = ["GridAction", "FlatBoxAction", "FixedGaze", "RandomGaze"]


def make(env_id: str, num_envs: int, name: str = "GridAction", **keywords: Any) -> SB3VecEnv:
    mode = {"autoreset_mode": AutoresetMode.SAME_STEP, **keywords}
    envs: Any = gym.make_vec(env_id, num_envs=num_envs, **mode, **IDS[env_id])
    return SB3VecEnv(getattr(vector, name)(envs))


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("name", NAMES)
def test_it_equals_dummy_vec_env(env_id: str, name: str) -> None:
    def make_one() -> Any:
        return getattr(wrappers, name)(gym.make(env_id, **IDS[env_id]))

    ours, theirs = make(env_id, 3, name), DummyVecEnv([make_one] * 3)
    assert ours.action_space == theirs.action_space
    assert ours.observation_space == theirs.observation_space
    assert ours.seed(7) == theirs.seed(7) == [7, 8, 9]
    assert data_equivalence(dict(ours.reset()), dict(theirs.reset()))  # type: ignore[arg-type]
    assert ours.reset_infos == theirs.reset_infos
    for step in range(20):
        ours.action_space.seed(step)
        actions = np.stack([ours.action_space.sample() for _ in range(3)])
        observation, rewards, dones, infos = ours.step(actions)
        same, same_rewards, same_dones, same_infos = theirs.step(actions)
        assert data_equivalence(dict(observation), dict(same))  # type: ignore[arg-type]
        assert np.array_equal(rewards, same_rewards)
        assert rewards.dtype == same_rewards.dtype
        assert np.array_equal(dones, same_dones)
        for info, same_info in zip(infos, same_infos, strict=True):
            assert info.keys() == same_info.keys()
            assert all(data_equivalence(info[key], same_info[key]) for key in info)
        assert ours.reset_infos == theirs.reset_infos


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("name", NAMES)
# Its advice for images concerns agents that bring a network for images along.
@pytest.mark.filterwarnings("ignore:.*image", "ignore:We recommend you to use a symmetric")
def test_wrapped_environments_pass_the_librarys_checks(env_id: str, name: str) -> None:
    check_env(getattr(wrappers, name)(gym.make(env_id, **IDS[env_id])))


def test_options_of_each_reach_the_environment() -> None:
    envs = make("RAMClutteredMNIST-v0", 3)
    envs.seed(0)
    envs.set_options([{"index": 5}, {"index": 2}, {"index": 9}])
    envs.reset()
    assert [info["index"] for info in envs.reset_infos] == [5, 2, 9]
    envs.reset()  # once
    assert [info["index"] for info in envs.reset_infos] != [5, 2, 9]


@pytest.mark.parametrize(
    "options", [[{"index": 1}, {}, {"index": 4}], [{}, {}, {"index": 2}], {"index": 3}, [{}] * 3]
)
def test_options_of_some_are_those_of_dummy_vec_env(options: Any) -> None:
    def make_one() -> Any:
        return wrappers.GlimpseStack(
            wrappers.GridAction(gym.make("RAMClutteredMNIST-v0", **IDS["RAMClutteredMNIST-v0"]))
        )

    ours, theirs = make("RAMClutteredMNIST-v0", 3), DummyVecEnv([make_one] * 3)
    ours = SB3VecEnv(vector.GlimpseStack(ours.envs))
    for envs in (ours, theirs):
        envs.seed(5)
        envs.set_options(options)
    assert data_equivalence(dict(ours.reset()), dict(theirs.reset()))  # type: ignore[arg-type]
    assert ours.reset_infos == theirs.reset_infos
    assert data_equivalence(dict(ours.reset()), dict(theirs.reset()))  # type: ignore[arg-type]
    assert ours.reset_infos == theirs.reset_infos


class Noting(Numbers):
    """Keeps the options of its last reset."""

    options: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.options = options
        return super().reset(seed=seed, options=options)


def test_options_of_other_packages_are_their_own_values() -> None:
    games = SyncVectorEnv([Noting] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    envs = SB3VecEnv(vector.FixedGaze(vector.ThroughRetina(games, 2, 1)))
    hard, easy = {"level": "hard", "lives": 3}, {"level": "easy", "lives": 3}
    envs.set_options([hard, easy, hard])
    envs.reset()
    given = [{key: env.options[key] for key in hard} for env in games.envs]  # type: ignore[attr-defined]
    assert given == [hard, easy, hard]


@pytest.mark.parametrize("is_inside", [False, True])
def test_statistics_stand_beside_the_end_of_their_episode(is_inside: bool) -> None:
    envs: Any = gym.make_vec(
        "RAMCatch-v0", num_envs=2, autoreset_mode="SameStep", **IDS["RAMCatch-v0"]
    )
    first, second = (RecordEpisodeStatistics, vector.GridAction)
    ours = SB3VecEnv(second(first(envs)) if is_inside else first(second(envs)))
    ours.reset()
    infos: Any = [{}]
    while "terminal_observation" not in infos[0]:
        assert "episode" not in infos[0]
        _, rewards, _, infos = ours.step(np.zeros((2, 3), np.int64))
    assert [info["episode"]["r"] for info in infos] == rewards.tolist()
    assert "episode" not in ours.reset_infos[0]


def test_several_threads_are_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    envs = make("RAMCatch-v0", 2)
    with pytest.warns(UserWarning, match="7 threads"):
        envs.reset()
    envs.reset()
    make("RAMCatch-v0", 600).reset()  # large batches keep several threads busy


def test_some_of_the_sub_environments_cannot_be_changed_alone() -> None:
    envs = make("RAMCatch-v0", 3)
    envs.reset()
    before = envs.envs.unwrapped.canvases
    for indices in (0, [0], [1, 2]):
        with pytest.raises(ValueError, match="reset"):
            envs.env_method("reset", indices=indices)
        with pytest.raises(ValueError, match="note"):
            envs.set_attr("note", "kept", indices=indices)
    assert np.array_equal(before, envs.envs.unwrapped.canvases)
    assert not hasattr(envs.envs.unwrapped, "note")
    envs.set_attr("note", "kept", indices=[2, 0, 1])
    assert envs.get_attr("note", indices=1) == ["kept"]


def test_attributes_and_methods_reach_the_native_environment() -> None:
    envs = make("RAMCatch-v0", 3, render_mode="rgb_array")
    envs.reset()
    assert envs.get_attr("num_envs") == [3, 3, 3]
    assert envs.get_attr("canvases", indices=1)[0].shape == (3, 8, 8)
    assert len(envs.env_method("render")[0]) == 3
    assert envs.env_is_wrapped(gym.Wrapper) == [False] * 3
    envs.set_attr("note", "kept")
    assert envs.get_attr("note") == ["kept"] * 3
    assert [frame.shape for frame in envs.get_images()] == [envs.get_images()[0].shape] * 3  # type: ignore[union-attr]
    envs.close()


@pytest.mark.parametrize("name", ["DictAction", None])
def test_actions_that_the_library_cannot_say(name: str | None) -> None:
    envs: Any = gym.make_vec("RAMCatch-v0", num_envs=2, autoreset_mode=AutoresetMode.SAME_STEP)
    if name is not None:
        envs = getattr(vector, name)(envs)
    with pytest.raises(TypeError, match="GridAction"):
        SB3VecEnv(envs)


def test_a_single_environment_is_refused() -> None:
    with pytest.raises(TypeError, match="vector"):
        SB3VecEnv(gym.make("RAMCatch-v0"))  # type: ignore[arg-type]


def test_other_auto_reset_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="autoreset_mode="):
        make("RAMCatch-v0", 2, autoreset_mode=AutoresetMode.NEXT_STEP)


def test_an_agent_learns_and_its_episodes_are_counted() -> None:
    """One glimpse of one of two plain images: naming it is all there is to learn."""
    images = np.zeros((20, 8, 8), np.uint8)
    images[10:] = 255
    envs: Any = gym.make_vec(
        "RAMClassification-v0",
        num_envs=16,
        autoreset_mode=AutoresetMode.SAME_STEP,
        dataset=ram_envs.ImageDataset(images, np.repeat([0, 1], 10)),
        num_glimpses=1,
        glimpse_size=4,
    )
    envs = VecMonitor(SB3VecEnv(vector.FixedGaze(envs)))
    model = A2C("MultiInputPolicy", envs, seed=0, n_steps=4, learning_rate=0.01, device="cpu")
    model.learn(64 * 150)
    recent = [episode["r"] for episode in model.ep_info_buffer or []]
    assert len(recent) == 100
    assert np.mean(recent) > 0.95
    assert {episode["l"] for episode in model.ep_info_buffer or []} == {1}


def test_features_are_what_and_where_side_by_side() -> None:
    space = gym.spaces.Dict(
        glimpse=gym.spaces.Box(0, 1, (2, 1, 1), np.float32),
        location=gym.spaces.Box(-1, 1, (2,), np.float32),
    )
    features = GlimpseFeatures(space, size=1, pixel_scale=10.0)
    assert features.features_dim == 2
    with torch.no_grad():
        features.what.weight.copy_(torch.tensor([[1.0, 2.0]]))
        features.where.weight.copy_(torch.tensor([[1.0, -1.0]]))
        features.what.bias.fill_(0.5)
        features.where.bias.fill_(0.25)
    seen = {
        "glimpse": torch.tensor([0.1, 0.2, 0.0, 0.0]).view(2, 2, 1, 1),
        "location": torch.tensor([[0.5, 0.25], [-1.0, 1.0]]),
    }
    # 10 · 0.1 + 2 · 10 · 0.2 + 0.5 and 0.5 − 0.25 + 0.25; 0.5, and −1 − 1 + 0.25 cut off at 0
    expected = torch.tensor([[5.5, 0.5], [0.5, 0.0]])
    torch.testing.assert_close(features(seen), expected)
    features = GlimpseFeatures(space, size=1, pixel_scale=10.0, scale_factor=4.0, num_scales=2)
    assert features.scales.flatten().tolist() == [10.0, 40.0]
    with pytest.raises(ValueError, match="num_scales=3"):
        GlimpseFeatures(space, num_scales=3)


def test_the_colors_of_a_scale_have_the_same_factor() -> None:
    space = gym.spaces.Dict(  # two glimpses of two scales
        glimpse=gym.spaces.Box(0, 1, (2 * 2 * 3, 1, 1), np.float32),
        location=gym.spaces.Box(-1, 1, (4,), np.float32),
    )
    settings: dict[str, Any] = {"pixel_scale": 10.0, "scale_factor": 4.0, "num_scales": 2}
    features = GlimpseFeatures(space, num_channels=3, **settings)
    assert features.scales.flatten().tolist() == [10, 10, 10, 40, 40, 40] * 2
    with pytest.raises(ValueError, match="num_channels=4"):
        GlimpseFeatures(space, num_channels=4, **settings)


def test_without_stable_baselines3_it_is_named() -> None:
    program = "import sys\nsys.modules['stable_baselines3'] = None\nimport ram_envs.sb3"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'pip install "ram-gym[sb3]"' in done.stderr
