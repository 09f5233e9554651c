"""Environments of glimpses from any id, for the commands: one or many, in every autoreset mode."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode
from picture_envs import Numbers

from ram_envs.making import (
    MAX_EPISODE_STEPS,
    make_env,
    make_vector_env,
    parse_keywords,
    resolve_env_id,
    shows_glimpses,
)
from ram_envs.picture_batch import NoPictureError

TOY: dict[str, Any] = {"glimpse_size": 4, "num_scales": 2}
CATCH: dict[str, Any] = {"size": 8, "glimpse_size": 3}


@pytest.mark.parametrize("name", ["vector_kwargs", "vectorization_mode", "wrappers"])
@pytest.mark.parametrize("env_id", ["RAMCatch-v0", "Numbers-v0"])
def test_no_keyword_is_swallowed_on_the_way(env_id: str, name: str) -> None:
    keywords: dict[str, Any] = {name: None}
    with pytest.raises(TypeError, match=name):
        make_vector_env(env_id, 2, **keywords)


@pytest.mark.parametrize(
    ("env_id", "keywords", "channels"),
    [
        ("Numbers-v0", TOY, 6),
        ("picture_envs:Numbers-v0", {**TOY, "shape": (4, 9, 12)}, 8),
        ("Numbers-v0", {**TOY, "source": "render"}, 6),
        ("Numbers-v0", {**TOY, "max_shift": 0.3}, 6),
        ("RAMCatch-v0", CATCH, 3),
        ("ram_envs:RAMCatch-v0", {**CATCH, "max_shift": 0.3}, 3),
    ],
)
def test_one_and_many(env_id: str, keywords: dict[str, Any], channels: int) -> None:
    env = make_env(env_id, **keywords)
    assert env.observation_space["glimpse"].shape[0] == channels
    first = env.reset(seed=4)[0]
    assert env.observation_space.contains(first)
    for mode in AutoresetMode:
        if mode is AutoresetMode.SAME_STEP and "source" in keywords:
            continue
        envs = make_vector_env(env_id, 2, autoreset_mode=mode, **keywords)
        assert envs.metadata["autoreset_mode"] is mode
        many = envs.reset(seed=4)[0]
        assert np.array_equal(many["glimpse"][0], first["glimpse"])
        envs.step(envs.action_space.sample())


def test_only_glimpses_are_left_as_they_are() -> None:
    assert shows_glimpses("RAMCatch-v0", {})
    assert shows_glimpses("RAMClassification-v0", {})  # is not made, so that it needs no images
    assert not shows_glimpses("Numbers-v0", TOY)


def test_environments_are_asked_once_for_their_glimpses(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = gym.make

    def noting(env_id: str, **keywords: Any) -> Any:
        made.append(env_id)
        return make(env_id, **keywords)

    monkeypatch.setattr(gym, "make", noting)
    for _ in range(2):
        assert not shows_glimpses("Numbers-v0", {**TOY, "shape": (7, 7)})
    assert made == ["Numbers-v0"]

    class Glimpses(Numbers):
        observation_space: Any

        def __init__(self, **keywords: Any) -> None:
            super().__init__(**keywords)
            self.observation_space = spaces.Dict(glimpse=self.observation_space)

    # Another class may take the name, as in a notebook.
    monkeypatch.setitem(gym.registry, "Numbers-v0", EnvSpec("Numbers-v0", Glimpses))
    assert shows_glimpses("Numbers-v0", {**TOY, "shape": (7, 7)})


def test_there_is_a_time_limit() -> None:
    assert make_env("Numbers-v0", **TOY).spec.max_episode_steps == MAX_EPISODE_STEPS
    env = make_env("Numbers-v0", **TOY, max_episode_steps=1)
    env.reset(seed=0)
    assert env.step((np.zeros(2), 0))[3]


def test_keywords_of_the_command_line() -> None:
    given = ["continuous=False", "size=(3,4)", "rate=0.5", "name=plain text", "mode=None"]
    assert parse_keywords(given, {"num_glimpses": 4}) == {
        "num_glimpses": 4,
        "continuous": False,
        "size": (3, 4),
        "rate": 0.5,
        "name": "plain text",
        "mode": None,
    }
    for wrong in ("continuous", "=3", "a-b=3"):
        with pytest.raises(ValueError, match=wrong):
            parse_keywords([wrong], {})


def test_a_keyword_that_is_given_twice() -> None:
    with pytest.raises(ValueError, match=r"num_glimpses.*4.*num_glimpses=8"):
        parse_keywords(["num_glimpses=8"], {"num_glimpses": 4})
    with pytest.raises(ValueError, match=r"glimpse_size.*9.*glimpse_size=10"):
        parse_keywords(["glimpse_size=9", "glimpse_size=10"], {})


def test_a_keyword_of_make_vec_in_make() -> None:
    with pytest.raises(TypeError, match=r"'num_envs'.*gym\.make_vec"):
        gym.make("RAMCatch-v0", num_envs=4)


@pytest.mark.parametrize("num_envs", [0, -1, 2.0, "2", True])
@pytest.mark.parametrize("env_id", ["RAMCatch-v0", "Numbers-v0", "ALE/Pong-v5"])
def test_wrong_numbers_of_environments(env_id: str, num_envs: Any) -> None:
    with pytest.raises(ValueError, match="num_envs="):
        make_vector_env(env_id, num_envs)


def test_what_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoPictureError, match="CartPole"):
        make_env("CartPole-v1")
    with pytest.raises(gym.error.NameNotFound):
        make_env("Nombers-v0")
    for package in ("ale_py", "minigrid"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it was not installed
    for env_id, install in (("ALE/Pong-v5", "atari"), ("MiniGrid-Empty-5x5-v0", "minigrid")):
        with pytest.raises(gym.error.DependencyNotInstalled, match=install):
            make_env(env_id)


# --- Atari ---------------------------------------------------------------------------------------


def test_a_missing_rom_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    for make in (lambda: make_env("ALE/Pong-v5"), lambda: make_vector_env("ALE/Pong-v5", 2)):
        with pytest.raises(FileNotFoundError, match=r"ALE_ROMS_DIR.*pong\.bin"):
            make()
        monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path / "nowhere"))
        with pytest.raises(OSError, match=r"ALE_ROMS_DIR.*nowhere"):
            make()
        monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    (tmp_path / "pong.bin").write_bytes(b"not a game")
    with pytest.raises(OSError, match=r"ALE_ROMS_DIR.*pong\.bin"):
        make_env("ALE/Pong-v5")


@pytest.mark.parametrize("given", ["ALE/Pong", "ALE/Pong-v9", "ALE/pong-v5"])
def test_almost_an_id_of_atari(given: str) -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    with pytest.raises(gym.error.NameNotFound, match=f"'{given}'.*'ALE/Pong-v5'"):
        resolve_env_id(given)


@pytest.mark.parametrize("name", ["stack_num", "img_height", "img_width", "frameskip"])
def test_atari_without_pixels(name: str) -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    nothing: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name}=0"):
        make_env("ALE/Pong-v5", **nothing)


def test_drawn_frames_of_atari() -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    one = make_env("ALE/Pong-v5", source="render", num_scales=1)
    many = make_vector_env("ALE/Pong-v5", 2, source="render", num_scales=1)
    assert one.observation_space["glimpse"].shape == (3, 12, 12)
    assert many.single_observation_space == one.observation_space
    glimpse = one.reset(seed=3)[0]["glimpse"]
    assert np.array_equal(many.reset(seed=3)[0]["glimpse"][0], glimpse)


@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "ALE/Breakout-v5"])
def test_many_games_of_atari_are_as_one(env_id: str) -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    keywords: dict[str, Any] = {"num_scales": 2, "max_episode_steps": 10}
    mode = AutoresetMode.SAME_STEP
    many: Any = make_vector_env(env_id, 2, autoreset_mode=mode, **keywords)
    drawn: Any = make_vector_env(
        env_id, 2, autoreset_mode=mode, render_mode="rgb_array", **keywords
    )
    assert many.single_observation_space["glimpse"].shape == (2, 12, 12)
    assert drawn.metadata["render_fps"] == 15
    for seed in (2**40, [5, 2**31 - 1], 2**31 - 1, 3):  # ale-py's own seeds are C's integers
        assert data_equivalence(many.reset(seed=seed)[0], drawn.reset(seed=seed)[0])
    many.action_space.seed(1)
    num_ended = 0
    for step in range(22):
        actions = many.action_space.sample()
        ours, theirs = many.step(actions), drawn.step(actions)
        assert data_equivalence(ours[0], theirs[0])
        assert ours[1].tolist() == theirs[1].tolist()
        ended = ours[2] | ours[3]
        assert ended.tolist() == (theirs[2] | theirs[3]).tolist()
        num_ended += ended.sum()
        for row in np.flatnonzero(ended):
            assert data_equivalence(ours[4]["final_obs"][row], theirs[4]["final_obs"][row])
        if step in (9, 19):  # no game is over by itself in ten steps
            assert ended.all()
    assert num_ended == 4
    limits: dict[str, Any] = {"max_episode_steps": 10, "max_num_frames_per_episode": 40}
    with pytest.raises(ValueError, match="max_num_frames_per_episode=40"):
        make_env(env_id, **limits)


def test_one_game_of_atari() -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    env = make_env("ALE/Pong-v5", render_mode="rgb_array", max_episode_steps=3, stack_num=2)
    assert env.unwrapped.get_action_meanings()[2:4] == ["RIGHT", "LEFT"]
    env.reset(seed=0)
    for step in range(3):
        _, _, terminated, truncated, info = env.step((np.zeros(2), 0))
        assert (terminated, truncated) == (False, step == 2)
    assert info["lives"] == 0
    assert env.unwrapped.render().shape == (84, 84, 3)
    first = env.reset(seed=0)[0]
    assert not np.array_equal(env.reset()[0]["glimpse"], first["glimpse"])
    assert data_equivalence(env.reset(seed=0)[0], first)


def test_time_limits_of_atari() -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    for wrong in (0, -2, 1.5):
        for make in (make_env, partial(make_vector_env, num_envs=2)):
            with pytest.raises(ValueError, match="max_episode_steps="):
                make("ALE/Pong-v5", max_episode_steps=wrong)
    envs = make_vector_env("ALE/Pong-v5", 2, max_episode_steps=-1)  # none
    envs.reset(seed=0)
    for _ in range(3):
        assert not envs.step((np.zeros((2, 2)), np.zeros(2, np.int64)))[3].any()


def test_atari_has_a_keyword_mode() -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    with pytest.raises(TypeError, match="'mode'"):
        make_env("ALE/Breakout-v5", mode=1)


def test_a_game_whose_rom_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    pytest.importorskip("torch", reason="the extra agent is not installed")
    from ram_agent.run_env import RunEnv

    with (
        pytest.raises(ValueError, match="no_such_game"),
        pytest.warns(UserWarning, match="no_such_game"),
    ):
        RunEnv("ALE/Pong-v5", {"game": "no_such_game"}).check()
