"""Every registered id: Gymnasium's contract, reproducible play, and the vector twin bit for bit."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

import ram_envs
from ram_envs import GlimpseVectorEnv, Retina, wrappers
from ram_envs.tasks.canvas import Canvas
from ram_envs.tasks.catch import Catch
from ram_envs.tasks.pairs import PairCanvas
from ram_envs.tasks.search import Search

ENV_IDS = sorted(
    spec.id for spec in gym.registry.values() if str(spec.entry_point).startswith("ram_envs.")
)
every_id = pytest.mark.parametrize("env_id", ENV_IDS)
every_mode = pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)


def keywords(env_id: str) -> dict[str, Any]:
    """What keeps an id from wanting MNIST; a game takes no data set."""
    return {"dataset": "digits"} if "dataset" in parameters(env_id, "entry_point") else {}


def parameters(env_id: str, entry_point: str) -> dict[str, inspect.Parameter]:
    creator = load_env_creator(getattr(gym.spec(env_id), entry_point))
    return dict(inspect.signature(creator).parameters)


def make(env_id: str, **changes: Any) -> Any:
    return gym.make(env_id, **(keywords(env_id) | changes))


def make_native(env_id: str, num_envs: int, **changes: Any) -> Any:
    return gym.make_vec(env_id, num_envs=num_envs, **(keywords(env_id) | changes))


def make_sync(
    env_id: str,
    num_envs: int,
    autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP,
    **changes: Any,
) -> SyncVectorEnv:
    make_one = functools.partial(make, env_id, disable_env_checker=True, **changes)
    return SyncVectorEnv([make_one] * num_envs, autoreset_mode=autoreset_mode)


def assert_identical(first: Any, second: Any, where: str = "") -> None:
    """The same types, keys, dtypes, shapes and bits."""
    assert type(first) is type(second), where
    if isinstance(first, dict):
        assert set(first) == set(second), where
        for key in first:
            assert_identical(first[key], second[key], f"{where}[{key!r}]")
    elif isinstance(first, (tuple, list)) or (
        isinstance(first, np.ndarray) and first.dtype == object
    ):
        assert len(first) == len(second), where
        for i, (left, right) in enumerate(zip(first, second, strict=True)):
            assert_identical(left, right, f"{where}[{i}]")
    elif isinstance(first, np.ndarray):
        assert (first.dtype, first.shape) == (second.dtype, second.shape), where
        assert first.tobytes() == second.tobytes(), f"{where}: {first} and {second}"
    else:
        assert first == second, where


def trajectory(env: gym.Env, num_steps: int = 30) -> list[Any]:
    """What an env says to random actions that are always the same, from where it stands."""
    env.action_space.seed(0)
    said: list[Any] = []
    for _ in range(num_steps):
        said.append(env.step(env.action_space.sample()))
        if said[-1][2] or said[-1][3]:
            said.append(env.reset())
    return said


def arrays_in(data: Any) -> list[np.ndarray]:
    if isinstance(data, np.ndarray) and data.dtype != object:
        return [data]
    parts = data.values() if isinstance(data, dict) else data
    is_nested = isinstance(data, (dict, tuple, list, np.ndarray))
    return [array for part in parts for array in arrays_in(part)] if is_nested else []


# --- the ids ---------------------------------------------------------------------------------


def test_ids() -> None:
    assert {
        "RAMMNIST-v0",
        "RAMTranslatedMNIST-v0",
        "RAMClutteredMNIST-v0",
        "RAMClutteredMNIST100-v0",
        "RAMClassification-v0",
        "RAMCIFAR10-v0",
        "RAMPairsMNIST-v0",
        "RAMAdditionMNIST-v0",
        "RAMMovingMNIST-v0",
        "RAMCatch-v0",
        "RAMSearch-v0",
    } == set(ENV_IDS)


@pytest.mark.parametrize(
    ("env_id", "canvas", "glimpse", "num_glimpses", "num_labels"),
    [
        ("RAMMNIST-v0", Canvas((28, 28), (28, 28)), (1, 8, 8), 6, 10),
        ("RAMTranslatedMNIST-v0", Canvas((60, 60), (28, 28)), (3, 12, 12), 6, 10),
        ("RAMClutteredMNIST-v0", Canvas((60, 60), (28, 28), 4, 8), (3, 12, 12), 6, 10),
        ("RAMClutteredMNIST100-v0", Canvas((100, 100), (28, 28), 8, 8), (4, 12, 12), 8, 10),
        ("RAMClassification-v0", Canvas((28, 28), (28, 28)), (1, 8, 8), 6, 10),
        ("RAMCIFAR10-v0", Canvas((28, 28), (28, 28)), (2, 8, 8), 8, 10),  # of the digits here
        ("RAMPairsMNIST-v0", PairCanvas((100, 100), (28, 28), 8, 8), (4, 12, 12), 4, 55),
        ("RAMAdditionMNIST-v0", PairCanvas((100, 100), (28, 28), 8, 8), (4, 12, 12), 4, 19),
        ("RAMMovingMNIST-v0", Canvas((60, 60), (28, 28), 4, 8), (3, 12, 12), 8, 10),
    ],
)
def test_settings_of_the_classification_ids(
    env_id: str,
    canvas: Canvas,
    glimpse: tuple[int, int, int],
    num_glimpses: int,
    num_labels: int,
) -> None:
    env = make(env_id)
    env.reset(seed=0)
    assert env.unwrapped.batch.task.canvas == canvas
    assert env.unwrapped.canvas.shape == canvas.shape
    assert env.unwrapped.canvas.dtype == np.uint8
    assert env.observation_space["glimpse"].shape == glimpse
    assert env.action_space[1].n == num_labels
    ends = [env.step(((0, 0), 0))[2] for _ in range(num_glimpses)]
    assert ends == [False] * (num_glimpses - 1) + [True]


@every_id
def test_both_ways_of_making(env_id: str) -> None:
    by_name, by_module = make(env_id), gym.make(f"ram_envs:{env_id}", **keywords(env_id))
    assert_identical(by_name.reset(seed=3), by_module.reset(seed=3))


@every_id
def test_spec_makes_the_same_environment_again(env_id: str) -> None:
    env = make(env_id, initial_location=(0.5, 0))
    for spec in (env.spec, EnvSpec.from_json(env.spec.to_json())):
        again: Any = gym.make(spec)
        assert_identical(env.reset(seed=3), again.reset(seed=3))
        assert_identical(trajectory(env), trajectory(again))


def test_a_spec_has_pythons_numbers() -> None:
    keywords: dict[str, Any] = {"glimpse_size": np.int64(5), "initial_location": np.array([0.5, 0])}
    for env_id, more, expected in (
        ("RAMCatch-v0", {"size": np.int64(20)}, {"size": 20}),
        ("RAMSearch-v0", {"canvas_size": np.int64(70)}, {"canvas_size": 70}),
        (
            "RAMClassification-v0",
            {"dataset": "digits", "canvas_size": (np.int64(70), 60)},
            {"dataset": "digits", "canvas_size": [70, 60]},
        ),
    ):
        env: Any = gym.make(env_id, **keywords, **more)
        written = EnvSpec.from_json(env.spec.to_json())
        assert written.kwargs.items() >= {**expected, "glimpse_size": 5}.items()
        assert written.kwargs["initial_location"] == [0.5, 0]
        assert_identical(env.reset(seed=3), gym.make(written).reset(seed=3))
        envs: Any = gym.make_vec(env_id, num_envs=2, **keywords, **more)
        assert json.loads(json.dumps(envs.spec.kwargs))["glimpse_size"] == 5


def test_a_spec_keeps_the_arrays_of_an_environment_of_ones_own() -> None:
    class Own(ram_envs.GlimpseEnv):
        def __init__(self, images: Any, render_mode: str | None = None) -> None:
            super().__init__(Search(canvas_size=images.shape[1:]), ram_envs.Retina(4, 2))

    images = np.zeros((5, 60, 60), np.uint8)
    own: Any = Own
    gym.register("Own-v0", own)
    try:
        env = gym.make("Own-v0", images=images)
        assert env.spec is not None
        np.testing.assert_array_equal(env.spec.kwargs["images"], images)
        assert isinstance(env.spec.kwargs["images"], np.ndarray)
        gym.make(env.spec).reset(seed=0)
    finally:
        del gym.registry["Own-v0"]


@every_id
def test_vector_spec_makes_the_same_environment_again(env_id: str) -> None:
    envs = make_native(env_id, 3, autoreset_mode="SameStep")
    again: Any = gym.make_vec(envs.spec)
    assert again.num_envs == 3
    assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert_identical(envs.reset(seed=3), again.reset(seed=3))


def test_images_of_ones_own_are_not_copied() -> None:
    images = np.zeros((4, 9, 9), np.uint8)
    dataset = ram_envs.ImageDataset(images, np.array([0, 1, 0, 1]))
    env: Any = gym.make("RAMClassification-v0", dataset=dataset)
    envs: Any = gym.make_vec("RAMClassification-v0", num_envs=2, dataset=dataset)
    for made in (env, envs, gym.make(env.spec), gym.make_vec(envs.spec)):
        assert made.unwrapped.batch.task.dataset is dataset  # type: ignore[union-attr]
        made.reset(seed=0)


# --- one environment -------------------------------------------------------------------------


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window shows its frames without keeping its rate."""
    pygame = pytest.importorskip("pygame")

    class Clock:
        def tick(self, rate: float) -> int:
            return 0

    monkeypatch.setattr(pygame.time, "Clock", Clock)


@every_id
@pytest.mark.usefixtures("no_waiting")
def test_gymnasium_finds_nothing_to_complain_about(env_id: str) -> None:
    check_env(make(env_id).unwrapped)  # its warnings are errors here


@every_id
def test_gymnasium_watches_every_step_without_complaint(env_id: str) -> None:
    env = make(env_id, disable_env_checker=False)
    env.reset(seed=0)
    for observation, *_ in trajectory(env, 60):
        assert observation in env.observation_space


@every_id
def test_same_seed_same_play_and_other_seed_other_play(env_id: str) -> None:
    env, twin = make(env_id), make(env_id)
    assert_identical(env.reset(seed=7), twin.reset(seed=7))
    played = trajectory(env)
    assert_identical(played, trajectory(twin))

    env.reset(seed=7)  # again, whatever was played before
    assert_identical(trajectory(env), played)

    places = [make(env_id).reset(seed=seed)[0]["location"].tobytes() for seed in range(50)]
    assert len(set(places)) == 50


@every_id
def test_episodes_differ_and_do_not_depend_on_what_was_done_before(env_id: str) -> None:
    env = make(env_id)
    begun = [env.reset(seed=7)] + [env.reset() for _ in range(9)]
    assert len({observation["location"].tobytes() for observation, _ in begun}) == 10

    env.reset(seed=7)
    trajectory(env, 3)
    assert_identical(env.reset(), begun[1])


@every_id
def test_without_a_seed_play_is_random(env_id: str) -> None:
    env, twin = make(env_id), make(env_id)
    assert (env.reset()[0]["location"] != twin.reset()[0]["location"]).any()
    # ... but follows from np_random, as Gymnasium wants it.
    env, twin = make(env_id), make(env_id)
    env.unwrapped.np_random = np.random.default_rng(5)
    twin.unwrapped.np_random = np.random.default_rng(5)
    assert_identical(env.reset(), twin.reset())
    assert_identical(env.reset(), twin.reset())


@every_id
def test_what_is_returned_belongs_to_the_caller(env_id: str) -> None:
    env, untouched = make(env_id).unwrapped, make(env_id).unwrapped
    env.reset(seed=1)
    untouched.reset(seed=1)
    kept: list[np.ndarray] = []
    rng = np.random.default_rng(0)
    for _ in range(60):
        location = rng.uniform(-1, 1, 2).astype(np.float32)
        choice = rng.integers(env.action_space[1].n)
        told = location.copy()
        said, expected = env.step((told, choice)), untouched.step((location, choice))
        if said[2]:
            said, expected = env.reset(), untouched.reset()
        assert_identical(said, expected)
        arrays = [*arrays_in(said), told, env.canvas]
        assert not any(np.shares_memory(array, other) for array in arrays for other in kept)
        for array in arrays:  # what the caller does with them is not seen by the environment
            array.fill(99)
        kept += arrays


@every_id
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copy_in_the_middle_of_an_episode_plays_on_alike(env_id: str, copied: Any) -> None:
    env = make(env_id).unwrapped
    env.reset(seed=2)
    env.step(((0.5, 0.5), 1))
    twin = copied(env)
    expected = trajectory(twin)
    assert_identical(trajectory(env), expected)  # the copy's steps did not move the original


@every_id
def test_pickled_recipe_makes_the_environment(env_id: str) -> None:
    recipe = cloudpickle.dumps(lambda: make(env_id))
    assert_identical(cloudpickle.loads(recipe)().reset(seed=0), make(env_id).reset(seed=0))


@every_id
def test_options_are_left_as_they_were(env_id: str) -> None:
    known = {"index": 0} if keywords(env_id) else {}
    options: dict[str, Any] = dict(known)
    make(env_id).reset(seed=0, options=options)
    assert options == known
    mask = np.array([True, False])
    options: dict[str, Any] = {"reset_mask": mask, **known}  # type: ignore[no-redef]
    make_native(env_id, 2).reset(seed=0, options=options)
    assert options == {"reset_mask": mask, **known}
    assert mask.tolist() == [True, False]


@every_id
def test_an_unknown_option_is_refused_with_the_closest_one(env_id: str) -> None:
    known = "'index'" if keywords(env_id) else ""
    for env, name in ((make(env_id), "idx"), (make_native(env_id, 2), "idx")):
        with pytest.raises(ValueError, match=rf"'{name}'.*{known}"):
            env.reset(options={name: 3})
    with pytest.raises(ValueError, match=r"'rest_mask'.* 'reset_mask'"):
        make_native(env_id, 2).reset(options={"rest_mask": np.array([True, False])})


# --- pictures --------------------------------------------------------------------------------


@every_id
def test_rgb_array(env_id: str) -> None:
    pytest.importorskip("pygame")
    env = make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    frames = [env.render()]
    for location in ((1, 1), (-1, 0)):
        env.step((location, 0))
        frames.append(env.render())
        assert np.array_equal(env.render(), frames[-1])  # drawing changes nothing
    for frame in frames:
        assert frame.shape == (560, 768, 3)
        assert frame.dtype == np.uint8
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[1], frames[2])


@every_id
def test_pictures_do_not_change_the_play(env_id: str) -> None:
    pytest.importorskip("pygame")
    env, drawn = make(env_id), make(env_id, render_mode="rgb_array")
    assert_identical(env.reset(seed=4), drawn.reset(seed=4))
    drawn.render()
    assert_identical(trajectory(env), trajectory(drawn))


@every_id
@pytest.mark.usefixtures("no_waiting")
def test_window_shows_what_rgb_array_gives(env_id: str) -> None:
    import pygame

    from ram_envs.rendering import to_rgb_array

    env, drawn = make(env_id, render_mode="human"), make(env_id, render_mode="rgb_array")
    try:
        assert_identical(env.reset(seed=0), drawn.reset(seed=0))
        assert np.array_equal(to_rgb_array(pygame.display.get_surface()), drawn.render())  # type: ignore[arg-type]
        assert_identical(env.step(((1, 1), 0)), drawn.step(((1, 1), 0)))
        assert env.render() is None
        assert np.array_equal(to_rgb_array(pygame.display.get_surface()), drawn.render())  # type: ignore[arg-type]
    finally:
        env.close()
    assert not pygame.display.get_init()
    env.close()


@every_id
def test_vector_pictures_are_those_of_the_single_environments(env_id: str) -> None:
    pytest.importorskip("pygame")
    envs = make_native(env_id, 2, render_mode="rgb_array", autoreset_mode="Disabled")
    singles = [make(env_id, render_mode="rgb_array") for _ in range(2)]

    def assert_same_pictures() -> None:
        frames = envs.render()
        assert len(frames) == 2
        for frame, env in zip(frames, singles, strict=True):
            assert np.array_equal(frame, env.render())

    envs.reset(seed=5)
    for i, env in enumerate(singles):
        env.reset(seed=5 + i)
    assert_same_pictures()
    envs.step((np.array([[1, 0], [0, -1]]), np.array([0, 1])))
    singles[0].step(((1, 0), 0))
    singles[1].step(((0, -1), 1))
    assert_same_pictures()
    envs.reset(options={"reset_mask": np.array([False, True])})  # the other's path stays as it is
    singles[1].reset()
    assert_same_pictures()
    over, last = False, envs.single_action_space[1].n - 1
    while not over:
        over = bool(np.any(envs.step((np.full((2, 2), 0.5), np.array([last] * 2)))[2:4]))
        for env in singles:
            env.step(((0.5, 0.5), last))
    assert_same_pictures()


@every_id
def test_vector_environment_without_render_mode_has_no_pictures(env_id: str) -> None:
    envs = make_native(env_id, 2)
    envs.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert envs.render() is None


@every_id
def test_closing_twice_does_no_harm(env_id: str) -> None:
    for made in (make(env_id), make_native(env_id, 2)):
        made.reset(seed=0)
        made.close()
        made.close()


# --- the native vector environment -----------------------------------------------------------


@every_id
def test_vector_spaces_are_those_of_sync_vector_env(env_id: str) -> None:
    native, sync = make_native(env_id, 3), make_sync(env_id, 3)
    assert native.num_envs == 3
    for name in (
        "observation_space",
        "action_space",
        "single_observation_space",
        "single_action_space",
    ):
        assert getattr(native, name) == getattr(sync, name)
    observations, _ = native.reset(seed=0)
    assert observations in native.observation_space
    native.step(native.action_space.sample())


@every_id
@every_mode
def test_autoreset_mode_is_told_in_metadata_and_attribute(env_id: str, mode: AutoresetMode) -> None:
    for given_as in (mode, mode.value):
        envs = make_native(env_id, 2, autoreset_mode=given_as)
        assert envs.metadata["autoreset_mode"] is mode
        assert envs.unwrapped.autoreset_mode is mode
    assert "autoreset_mode" not in type(envs.unwrapped).metadata  # the class's own is untouched


@every_id
def test_next_step_is_the_default(env_id: str) -> None:
    assert make_native(env_id, 2).metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


def random_actions(
    rng: np.random.Generator, num_choices: int, infos: dict[str, Any], ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Locations in and out of the box, choices that are often right, nonsense where ignored."""
    num_envs = len(ignored)
    locations = rng.normal(0, 0.8, (num_envs, 2)).astype(np.float32)
    locations[rng.random((num_envs, 2)) < 0.05] = np.inf
    choices = rng.integers(num_choices, size=num_envs)
    if "label" in infos:
        choices = np.where(rng.random(num_envs) < 0.5, infos["label"], choices)
    locations[ignored], choices[ignored] = np.nan, num_choices + 5
    return locations, choices


@every_id
@every_mode
def test_native_is_sync_bit_for_bit(env_id: str, mode: AutoresetMode) -> None:
    num_envs = 4
    # A search that random actions end, some of them before they are cut off.
    small = {"canvas_size": 48, "time_limit": 9} if env_id == "RAMSearch-v0" else {}
    native = make_native(env_id, num_envs, autoreset_mode=mode, **small)
    sync = make_sync(env_id, num_envs, mode, **small)
    num_choices = native.single_action_space[1].n
    rng = np.random.default_rng(0)

    def reset_both(seed: Any = None, options: dict[str, Any] | None = None) -> dict[str, Any]:
        # Each its own dict, since SyncVectorEnv takes the mask out of it.
        said = native.reset(seed=seed, options=None if options is None else dict(options))
        expected = sync.reset(seed=seed, options=None if options is None else dict(options))
        assert_identical(said, expected, f"reset({seed}, {options})")
        return said[1]  # type: ignore[no-any-return]

    infos = reset_both(seed=11)
    over = np.zeros(num_envs, np.bool_)
    total_reward, out_of_step = 0.0, 0
    for step in range(300):
        must_reset = over if mode is AutoresetMode.DISABLED else np.zeros(num_envs, np.bool_)
        mask = must_reset | ((rng.random(num_envs) < 0.3) & (rng.random() < 0.15))
        if step % 100 == 99:  # everything anew, with and without seeds
            seed = [None, 5, [3, None, 2**40, 0]][step // 100]
            infos = reset_both(seed=seed)
            over[:] = False
        elif mask.any():
            seed = [7, None, None, 2**63] if rng.random() < 0.2 else None
            infos = reset_both(seed=seed, options={"reset_mask": mask})
            over &= ~mask
        if mode is not AutoresetMode.NEXT_STEP:
            assert mode is AutoresetMode.SAME_STEP or not over.any()
            over[:] = False
        actions = random_actions(rng, num_choices, infos, ignored=over)
        said, expected = native.step(actions), sync.step(actions)
        assert_identical(said, expected, f"step {step}")
        _, rewards, terminated, truncated, infos = said
        over = terminated | truncated
        total_reward += rewards.sum()
        out_of_step += over.any() and not over.all()
    assert total_reward > 0
    assert out_of_step > 5  # the episodes did end at different times


@every_id
def test_first_reset_may_be_masked(env_id: str) -> None:
    envs, single = make_native(env_id, 3), make(env_id)
    envs.reset(seed=4, options={"reset_mask": np.array([False, True, False])})
    observations, _ = envs.reset(options={"reset_mask": np.array([True, False, True])})
    expected, _ = single.reset(seed=5)
    assert_identical({key: value[1] for key, value in observations.items()}, expected)


@every_id
def test_vector_observations_belong_to_the_caller(env_id: str) -> None:
    envs = make_native(env_id, 2, autoreset_mode="SameStep")
    untouched = make_native(env_id, 2, autoreset_mode="SameStep")
    kept = []  # type: ignore[var-annotated]
    for either in (envs, untouched):
        either.reset(seed=1)
        either.action_space.seed(0)
    for _ in range(30):
        actions = envs.action_space.sample()
        said, expected = envs.step(actions), untouched.step(untouched.action_space.sample())
        assert_identical(said, expected)
        arrays = [*arrays_in(said), *arrays_in(actions), envs.unwrapped.canvases]
        for i, array in enumerate(arrays):
            assert not any(np.shares_memory(array, other) for other in kept + arrays[:i])
            array.fill(1)
        kept += arrays


@pytest.mark.parametrize("env_id", ["RAMMNIST-v0", "RAMClutteredMNIST-v0"])
@given(
    seed=st.integers(0, 2**70) | st.sampled_from([2**32 - 1, 2**63 - 1, 2**64 - 2, 2**64 - 1]),
    num_envs=st.integers(1, 5),
    data=st.data(),
)
@settings(max_examples=40)
def test_sub_environment_i_plays_what_the_single_one_of_seed_plus_i_plays(
    env_id: str, seed: int, num_envs: int, data: st.DataObject
) -> None:
    i = data.draw(st.integers(0, num_envs - 1))
    episodes = data.draw(st.integers(1, 3))
    envs, env = make_native(env_id, num_envs), make(env_id, disable_env_checker=True)
    observations, infos = envs.reset(seed=seed)
    observation, info = env.reset(seed=seed + i)
    for _ in range(episodes):
        assert_identical({key: value[i] for key, value in observations.items()}, observation)
        assert (infos["index"][i], infos["label"][i]) == (info["index"], info["label"])
        assert np.array_equal(envs.unwrapped.canvases[i], env.unwrapped.canvas)
        observations, infos = envs.reset()
        observation, info = env.reset()


def test_async_vector_env_is_sync_vector_env() -> None:
    recipe = functools.partial(gym.make, "ram_envs:RAMClutteredMNIST-v0", dataset="digits")
    sync = SyncVectorEnv([recipe] * 2)
    workers = AsyncVectorEnv([recipe] * 2, context="spawn")
    try:
        assert_identical(workers.reset(seed=3), sync.reset(seed=3))
        sync.action_space.seed(0)
        for _ in range(10):
            actions = sync.action_space.sample()
            assert_identical(workers.step(actions), sync.step(actions))
    finally:
        workers.close()


# --- what an import brings -------------------------------------------------------------------

FIRST_STEPS = """
import sys
import gymnasium as gym

env = gym.make("ram_envs:RAMMNIST-v0", dataset="digits")  # imports ram_envs
envs = gym.make_vec("RAMClutteredMNIST-v0", num_envs=2, dataset="digits")
for made in (env, envs):
    made.reset(seed=0)
    made.step(made.action_space.sample())
"""


@pytest.mark.parametrize("program", ["import sys, ram_envs", FIRST_STEPS])
def test_import_is_light(program: str, tmp_path: Path) -> None:
    heavy = {"torch", "pygame", "pooch", "PIL", "matplotlib", "zarr"}
    program += f"\nassert not {heavy} & set(sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(ram_envs.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, cwd=tmp_path)


@every_id
def test_keywords_are_written_out_and_agree_with_the_manual_page(env_id: str) -> None:
    single, vector = parameters(env_id, "entry_point"), parameters(env_id, "vector_entry_point")
    assert all(found.kind is inspect.Parameter.KEYWORD_ONLY for found in single.values())
    assert next(iter(vector)) == "num_envs"
    assert list(vector)[-2:] == ["autoreset_mode", "max_episode_steps"]
    assert single == {name: vector[name] for name in list(vector)[1:-2]}
    page = load_env_creator(gym.spec(env_id).entry_point).__doc__  # type: ignore[arg-type]
    arguments = page[page.index("## Arguments") : page.index("## Version history")]  # type: ignore[index, union-attr]
    documented = {
        name: ast.literal_eval(default)
        for name, default in re.findall(r"`(\w+)=([^`]+)`", arguments)
    }
    assert documented == {name: found.default for name, found in single.items()}
    assert set(gym.spec(env_id).kwargs) <= set(single)


@every_id
@pytest.mark.parametrize("make_it", [gym.make, gym.make_vec])
def test_an_unknown_keyword_is_refused_with_the_closest_one(env_id: str, make_it: Any) -> None:
    with pytest.raises(TypeError, match=r"'glimpse_sise'.* 'glimpse_size'"):
        make_it(env_id, glimpse_sise=8, **keywords(env_id))


@every_id
def test_splits_are_those_of_the_data_set(env_id: str) -> None:
    has_images = bool(keywords(env_id))
    expected = ("train", "validation", "test") if has_images else ()
    for env in (make(env_id), make_native(env_id, 2)):
        assert env.unwrapped.splits == expected
    if has_images:
        images = np.zeros((3, 28, 28), np.uint8)
        datasets = [ram_envs.ImageDataset(images, np.arange(3)) for _ in range(3)]
        for env in (make(env_id, dataset=datasets[0]), make_native(env_id, 2, dataset=datasets[0])):
            assert env.unwrapped.splits == ("all",)
        assert make(env_id, dataset=datasets).unwrapped.splits == expected


@every_mode
@every_id
def test_max_episode_steps_truncates_as_in_sync(env_id: str, mode: AutoresetMode) -> None:
    """Limits below, at and above the length of an episode, and none."""
    length = 8 if env_id == "RAMCatch-v0" else 2
    small = {
        "RAMCatch-v0": {"size": 9, "glimpse_size": 4},
        "RAMSearch-v0": {"time_limit": 2},
    }.get(env_id, {"num_glimpses": 2})
    cuts_off = env_id == "RAMSearch-v0"  # the task itself
    for limit in (1, length, length + 1, -1):
        keys = {**keywords(env_id), **small, "max_episode_steps": limit}
        native: Any = gym.make_vec(env_id, num_envs=3, autoreset_mode=mode, **keys)
        make_one = functools.partial(gym.make, env_id, disable_env_checker=True, **keys)
        sync = SyncVectorEnv([make_one] * 3, autoreset_mode=mode)
        assert_identical(native.reset(seed=4), sync.reset(seed=4))
        native.action_space.seed(4)
        truncated = 0
        for step in range(2 * length + 3):
            actions = native.action_space.sample()
            found, expected = native.step(actions), sync.step(actions)
            assert_identical(found, expected, f"step {step} of limit {limit}")
            truncated += int(found[3].sum())
            ended = found[2] | found[3]
            if mode is AutoresetMode.DISABLED and ended.any():
                with pytest.raises(gym.error.ResetNeeded):
                    native.step(actions)
                options = {"reset_mask": ended}
                assert_identical(native.reset(options=options), sync.reset(options=options))
        assert (truncated > 0) == (cuts_off or limit in (1, length))


def test_max_episode_steps_of_a_spec() -> None:
    spec = copy.deepcopy(gym.spec("RAMCatch-v0"))
    spec.max_episode_steps = 2
    envs: Any = gym.make_vec(spec, num_envs=2)
    envs.reset(seed=0)
    ends = [envs.step(envs.action_space.sample())[3].tolist() for _ in range(3)]
    assert ends == [[False, False], [True, True], [False, False]]
    with pytest.raises(ValueError, match="max_episode_steps=0"):
        gym.make_vec("RAMCatch-v0", num_envs=2, max_episode_steps=0)


@every_id
def test_where_no_episode_has_begun_nothing_is_seen(env_id: str) -> None:
    for chosen in ([True, False, False], [False, False, True]):
        options = {"reset_mask": np.array(chosen)}
        observations, infos = make_native(env_id, 3).reset(seed=2, options=options)
        whole, _ = make_native(env_id, 3).reset(seed=2)
        for key, values in observations.items():
            assert np.array_equal(values[chosen], whole[key][chosen])
            assert not values[~options["reset_mask"]].any()
        assert all(infos[key].tolist() == chosen for key in infos if key.startswith("_"))


def test_rows_advance_in_any_order() -> None:
    """All rows of a batch, given in another order, are looked at where each of them was told."""
    rows = np.array([2, 0, 1])
    locations = np.array([[0.5, 0], [-0.5, 0], [0, 0.25]], np.float32)
    batch = make_native("RAMCatch-v0", 3).unwrapped.batch
    batch.seed(batch.all_rows, [0, 1, 2])
    batch.begin(batch.all_rows, {})
    batch.advance(rows, locations, np.array([0, 1, 2]))
    assert batch.observe()["location"][rows].tolist() == locations.tolist()
    assert batch.steps.tolist() == [1, 1, 1]


# --- what a picture shows at the end ---------------------------------------------------------


@pytest.mark.parametrize(("env_id", "looks"), [("RAMCatch-v0", 24), ("RAMMovingMNIST-v0", 8)])
def test_the_last_picture_shows_glimpse_and_canvas_of_one_frame(env_id: str, looks: int) -> None:
    """The frame in which the ball lands; and the last one that the label rests on."""
    env = make(env_id, render_mode="rgb_array")
    batch = env.unwrapped.batch
    env.reset(seed=3)
    frames, glimpses, over = [batch.canvases[0]], [batch.observe()["glimpse"][0]], False
    while not over:
        observation, _, over, _, _ = env.step(((0.0, 1.0), 1))
        frames.append(batch.canvases[0])
        glimpses.append(observation["glimpse"])
    scene = batch.scene(0)
    assert scene.over
    assert len(scene.fixations) == looks
    assert np.array_equal(scene.canvas, frames[looks - 1])
    assert np.array_equal(scene.glimpse, glimpses[looks - 1])
    assert not np.array_equal(frames[looks - 2], frames[looks - 1])


def test_a_picture_shows_the_glimpse_after_which_a_time_limit_ends_the_episode() -> None:
    """The label may rest on it: the task has not ended."""
    envs: Any = gym.make_vec(
        "RAMMNIST-v0", num_envs=1, dataset="digits", render_mode="rgb_array", max_episode_steps=2
    )
    envs.reset(seed=3)
    for looks in (2, 3):
        envs.step((np.zeros((1, 2), np.float32), np.zeros(1, np.int64)))
        assert len(envs.unwrapped.batch.scene(0).fixations) == looks


class _Unlabeled(Catch):
    """A task in which the second of two episodes has a label."""

    def infos(self, state: Any) -> Any:
        return {"label": (np.array([0, 2]), np.array([False, True]))}


def test_a_picture_shows_no_truth_where_there_is_no_label() -> None:
    envs = GlimpseVectorEnv(_Unlabeled(), Retina(6), 2, render_mode="rgb_array")
    envs.reset(seed=0)
    assert [envs.batch.scene(row).truth for row in range(2)] == [None, "right"]


@pytest.mark.parametrize("wrapper", [None, wrappers.FlatBoxAction, wrappers.GridAction])
@pytest.mark.parametrize("kind", [{"device": "meta"}, {"requires_grad": True}])
def test_a_tensor_that_numpy_does_not_read(kind: dict[str, Any], wrapper: Any) -> None:
    torch = pytest.importorskip("torch")
    env: Any = gym.make("RAMCatch-v0", disable_env_checker=True)
    env = env if wrapper is None else wrapper(env)
    env.reset(seed=0)
    tensor = torch.zeros(2 if wrapper is None else env.action_space.shape, **kind)
    with pytest.raises(TypeError, match=r"action=tensor.*(cpu|detach)\(\)"):
        env.step(tensor if wrapper else (tensor, 1))
