"""ThroughRetina around environments of other packages, where these are installed."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from test_through_retina import play_side_by_side

from ram_envs import Retina
from ram_envs.wrappers import ThroughRetina, vector

MODES = list(AutoresetMode)
CUT = 40  # frames after which a game of the native vector environment is over


def import_ale() -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")


def make_pong(**keywords: Any) -> Any:
    import ale_py

    gym.register_envs(ale_py)  # in the processes of AsyncVectorEnv, too
    return gym.make("ALE/Pong-v5", max_episode_steps=4, **keywords)


def see_pong() -> Any:
    return ThroughRetina(make_pong(), 12, 3)


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_check_env_of_pong() -> None:
    import_ale()
    env = see_pong()
    assert env.observation_space["glimpse"].shape == (9, 12, 12)
    check_env(env, skip_render_check=True)
    env.close()


def test_moves_of_pong_have_names() -> None:
    import_ale()
    pytest.importorskip("pygame", reason="the extra play is not installed")
    env = ThroughRetina(make_pong(render_mode="rgb_array"), 12, 3)
    env.reset(seed=0)
    env.step((np.zeros(2), 2))
    assert env.scene().choice == "right"
    assert env.render().shape == (560, 768, 3)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        (AsyncVectorEnv, AutoresetMode.NEXT_STEP),
        (SyncVectorEnv, AutoresetMode.SAME_STEP),
        (SyncVectorEnv, AutoresetMode.DISABLED),
    ],
)
def test_pong_in_vector_environments(kind: Any, mode: AutoresetMode) -> None:
    import_ale()
    ours = vector.ThroughRetina(kind([make_pong] * 2, autoreset_mode=mode), 12, 3)
    theirs = SyncVectorEnv([see_pong] * 2, autoreset_mode=mode)
    try:
        play_side_by_side(ours, theirs, mode, 16)
    finally:
        ours.close()
        theirs.close()


@pytest.mark.parametrize(
    ("mode", "keywords"),
    [
        (AutoresetMode.NEXT_STEP, {}),
        (AutoresetMode.SAME_STEP, {"grayscale": False, "stack_num": 2}),
    ],
)
def test_the_native_vector_environment_of_pong(
    mode: AutoresetMode, keywords: dict[str, Any]
) -> None:
    import_ale()
    bare, inner = (
        gym.make_vec(
            "ALE/Pong-v5",
            num_envs=2,
            autoreset_mode=mode,
            max_num_frames_per_episode=CUT,
            num_threads=1,
            **keywords,
        )
        for _ in range(2)
    )
    envs: Any = vector.ThroughRetina(inner, 12, 2)
    retina, num_ended = Retina(12, 2), 0
    pictures, _ = bare.reset(seed=3)
    observations, _ = envs.reset(seed=3)
    envs.action_space.seed(0)
    for _ in range(25):
        images = envs.batch.layout.images(pictures)
        assert np.array_equal(
            observations["glimpse"], retina(np.ascontiguousarray(images), observations["location"])
        )
        locations, choices = envs.action_space.sample()
        pictures, rewards, terminations, truncations, theirs = bare.step(choices)
        observations, *others, ours = envs.step((locations, choices))
        for one, other in zip(others, (rewards, terminations, truncations), strict=True):
            assert np.array_equal(one, other)
        assert np.array_equal(ours["lives"], theirs["lives"])
        ended = terminations | truncations
        num_ended += ended.sum()
        if mode is AutoresetMode.SAME_STEP and ended.any():
            row = int(ended.argmax())
            final = envs.batch.layout.images(theirs["final_obs"][row][None])
            expected = retina(np.ascontiguousarray(final), locations[row][None])[0]
            assert np.array_equal(ours["final_obs"][row]["glimpse"], expected)
    assert num_ended >= 2
    with pytest.raises(ValueError, match="99"):
        envs.step((locations, np.full(2, 99)))


def test_two_native_environments_keep_their_own_modes() -> None:
    import_ale()
    keywords: dict[str, Any] = {"num_envs": 1, "num_threads": 1}
    first, second = (
        gym.make_vec("ALE/Pong-v5", autoreset_mode=mode, **keywords) for mode in MODES[:2]
    )
    assert vector.ThroughRetina(first).metadata["autoreset_mode"] is MODES[0]
    assert vector.ThroughRetina(second).metadata["autoreset_mode"] is MODES[1]


def test_some_of_the_games_at_a_time() -> None:
    import_ale()
    envs = gym.make_vec("ALE/Pong-v5", num_envs=4, batch_size=2, num_threads=1)
    with pytest.raises(ValueError, match="batch_size"):
        vector.ThroughRetina(envs)


def test_the_memory_of_pong_is_no_picture() -> None:
    import_ale()
    with pytest.raises(TypeError, match="128"):
        ThroughRetina(make_pong(obs_type="ram"))


def test_stable_baselines_plays_the_native_environment() -> None:
    import_ale()
    pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecMonitor

    from ram_envs.sb3 import GlimpseFeatures, SB3VecEnv

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    native = gym.make_vec(
        "ALE/Pong-v5",
        num_envs=2,
        autoreset_mode="SameStep",
        num_threads=1,
        max_num_frames_per_episode=CUT,
        stack_num=1,
    )
    seen = vector.GlimpseStack(vector.GridAction(vector.ThroughRetina(native, 12, 2)), 2)
    envs = VecMonitor(SB3VecEnv(seen))
    model = PPO(
        "MultiInputPolicy",
        envs,
        n_steps=16,
        batch_size=32,
        n_epochs=1,
        policy_kwargs={"features_extractor_class": GlimpseFeatures, "net_arch": [8]},
    )
    model.learn(64)
    assert len(model.ep_info_buffer or ()) >= 2
    torch.set_num_threads(threads)


# --- other packages ------------------------------------------------------------------------------


@functools.cache
def import_minigrid() -> Any:
    return pytest.importorskip("minigrid", reason="the extra examples is not installed")


def test_minigrid() -> None:
    import_minigrid()
    from minigrid.wrappers import ImgObsWrapper, RGBImgObsWrapper

    def make(**keywords: Any) -> Any:
        return gym.make("MiniGrid-Empty-5x5-v0", max_steps=4, **keywords)

    with pytest.raises(TypeError, match="'image'"):
        ThroughRetina(make())
    rendered = ThroughRetina(make(render_mode="rgb_array"), 16, source="render")
    pictures = ThroughRetina(ImgObsWrapper(RGBImgObsWrapper(make(render_mode="rgb_array"))), 8)
    for env in (rendered, pictures):
        env.reset(seed=0)
        env.step((np.zeros(2), 2))
        assert env.scene().choice == "forward"
        assert env.observation_space.contains(env.reset()[0])
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
        keywords: dict[str, Any] = {"source": "render"}
        envs = SyncVectorEnv([lambda: make(render_mode="rgb_array")] * 2, autoreset_mode=mode)
        sync = SyncVectorEnv(
            [lambda: ThroughRetina(make(render_mode="rgb_array"), 8, **keywords)] * 2,  # noqa: B023
            autoreset_mode=mode,
        )
        play_side_by_side(vector.ThroughRetina(envs, 8, **keywords), sync, mode, 15)


def test_car_racing() -> None:
    pytest.importorskip("Box2D", reason="the extra examples is not installed")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Box2D's own types
        env = ThroughRetina(gym.make("CarRacing-v3"), 12, 3)
        first, _ = env.reset(seed=0)
        assert first["glimpse"].shape == (9, 12, 12)
        gas = np.array([0, 1, 0], np.float32)
        for _ in range(3):
            observation, *_ = env.step((np.array([0, 0.5], np.float32), gas))
        assert observation["glimpse"].max() > 0
        env.close()
