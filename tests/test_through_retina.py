"""ThroughRetina: environments that were not written for a retina, seen through it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from picture_envs import LAYOUTS, Numbers

from ram_envs import Retina, wrappers
from ram_envs.aliases import VectorEnv
from ram_envs.picture_batch import find_layout
from ram_envs.wrappers import ThroughRetina, vector

RETINA: dict[str, Any] = {"glimpse_size": 4, "num_scales": 2}
MODES = list(AutoresetMode)


def make(shape: tuple[int, ...] = (9, 12, 3), mode: str | None = None, **keywords: Any) -> Any:
    return ThroughRetina(Numbers(shape, mode), **RETINA, **keywords)


def make_vec(
    shape: tuple[int, ...], mode: AutoresetMode, num_envs: int = 3, kind: Any = SyncVectorEnv
) -> Any:
    envs = kind([lambda: Numbers(shape)] * num_envs, autoreset_mode=mode)
    return vector.ThroughRetina(envs, **RETINA)


def equal_infos(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    if ours.keys() != theirs.keys():
        return False
    return all(
        equal_infos(ours[key], theirs[key])
        if isinstance(ours[key], dict)
        else all(data_equivalence(*pair) for pair in zip(ours[key], theirs[key], strict=True))
        for key in ours
    )


def play_side_by_side(ours: Any, theirs: Any, mode: AutoresetMode, steps: int = 16) -> None:
    """Check that two vector environments are equal bit for bit, over several episodes."""
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] is mode
    assert data_equivalence(ours.reset(seed=5), theirs.reset(seed=5))
    ours.action_space.seed(1)
    num_ended = 0
    for _ in range(steps):
        actions = ours.action_space.sample()
        first, second = ours.step(actions), theirs.step(actions)
        assert data_equivalence(first[:4], second[:4])
        assert equal_infos(first[4], second[4])
        ended = first[2] | first[3]
        num_ended += ended.sum()
        if mode is AutoresetMode.SAME_STEP and ended.any():
            assert first[4]["_final_obs"].tolist() == ended.tolist()
        if mode is AutoresetMode.DISABLED and ended.any():
            mask = {"reset_mask": ended}
            again = ours.reset(options=dict(mask)), theirs.reset(options=dict(mask))
            assert data_equivalence(again[0][0], again[1][0])
    assert num_ended >= 5


# --- what is seen --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", LAYOUTS.values(), ids=LAYOUTS)
def test_a_glimpse_is_the_retinas_of_the_new_picture(shape: tuple[int, ...]) -> None:
    env = make(shape)
    channels = int(np.prod(shape)) // (9 * 12)
    assert env.observation_space["glimpse"].shape == (2 * channels, 4, 4)
    env.reset(seed=0)
    observation, *_ = env.step((np.array([0.5, -0.25]), 2))
    assert observation["location"].tolist() == [0.5, -0.25]
    picture = env.unwrapped.picture
    if shape == (9, 12):
        image = picture
    elif len(shape) == 3:
        image = picture if shape[-1] == 3 else picture.transpose(1, 2, 0)
    else:
        frames = picture if shape[-1] == 3 else picture.transpose(0, 2, 3, 1)
        image = np.concatenate(list(frames), axis=2)
    assert np.array_equal(env.canvas, image)
    expected = Retina(4, 2)(image[None], np.array([[0.5, -0.25]], np.float32))[0]
    assert np.array_equal(observation["glimpse"], expected)


def test_a_glimpse_by_hand() -> None:
    env: Any = ThroughRetina(Numbers((9, 12)), 2, 2, initial_location=(0, 0))
    observation, _ = env.reset(seed=0)
    # The center is the pixel edge (6, 5): ⌊12 / 2 + ½⌋ and ⌊9 / 2 + ½⌋.
    picture = env.unwrapped.picture
    assert (
        observation["glimpse"][0].tolist()
        == (picture[4:6, 5:7].astype(np.float32) / np.float32(255)).tolist()
    )
    assert observation["glimpse"][1, 0, 0] == np.float32(picture[3:5, 4:6].sum()) / np.float32(1020)


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [
        ((84, 84), (84, 84)),
        ((210, 160, 3), (210, 160, 3)),
        ((4, 84, 84), (84, 84, 4)),
        ((96, 96, 12), (96, 96, 12)),
        ((84, 84, 1), (84, 84, 1)),
        ((4, 84, 84, 3), (84, 84, 12)),
        ((4, 84, 84, 1), (84, 84, 4)),
        ((84, 3, 84), None),
        ((128,), None),
        ((1, 2, 84, 84, 3), None),
    ],
)
def test_layouts(shape: tuple[int, ...], image_shape: tuple[int, ...] | None) -> None:
    layout = find_layout(shape)
    assert (layout and layout.image_shape) == image_shape


def test_rendered_frames() -> None:
    env = make((2,), "rgb_array", source="render", initial_location=(0, 0))
    assert env.observation_space["glimpse"].shape == (6, 4, 4)
    assert env.reset(seed=0)[0]["glimpse"][0, 0, 0] == 0
    observation, *_ = env.step((np.zeros(2), 0))
    assert observation["glimpse"][:, 1, 1].tolist() == pytest.approx(
        [10 / 255, 7 / 255, 7 / 255, 10 / 255, 7 / 255, 7 / 255]
    )


def test_rewards_ends_and_infos_pass_through() -> None:
    env, bare = make(), Numbers()
    env.reset(seed=8), bare.reset(seed=8)
    for action in (2, 1, 0, 2, 1):
        _, *ours = env.step((np.zeros(2), action))
        picture, *theirs = bare.step(action)
        assert ours == theirs
        assert np.array_equal(env.canvas, picture)
        if ours[1] or ours[2]:
            break
    with pytest.raises(ResetNeeded):
        env.step((np.zeros(2), 0))


# --- seeds ---------------------------------------------------------------------------------------


def test_first_locations_follow_from_the_seed() -> None:
    first = make()
    begun = [first.reset(seed=3)[0]["location"], first.reset()[0]["location"]]
    again = make((4, 9, 12))
    assert np.array_equal(again.reset(seed=3)[0]["location"], begun[0])
    assert np.array_equal(again.reset()[0]["location"], begun[1])
    assert len({tuple(place.tolist()) for place in begun}) == 2
    many = [make().reset()[0]["location"] for _ in range(3)]  # without a seed: at random
    assert len({tuple(place.tolist()) for place in many}) == 3


def test_the_game_is_the_same_as_without_the_retina() -> None:
    env, bare = make(), Numbers()
    for seed in (3, None, None):
        env.reset(seed=seed)
        assert np.array_equal(env.canvas, bare.reset(seed=seed)[0])


# --- one and many are the same -------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", LAYOUTS.values(), ids=LAYOUTS)
def test_the_twin_equals_sync_vector_env(shape: tuple[int, ...], mode: AutoresetMode) -> None:
    sync = SyncVectorEnv([lambda: make(shape)] * 3, autoreset_mode=mode)
    play_side_by_side(make_vec(shape, mode), sync, mode)


@pytest.mark.parametrize("mode", MODES)
def test_the_twin_around_async(mode: AutoresetMode) -> None:
    envs = make_vec((9, 12, 3), mode, 2, AsyncVectorEnv)
    sync = SyncVectorEnv([make] * 2, autoreset_mode=mode)
    try:
        play_side_by_side(envs, sync, mode, 12)
    finally:
        envs.close()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_the_twin_of_rendered_frames(mode: AutoresetMode) -> None:
    pytest.importorskip("pygame", reason="the extra play is not installed")

    def make_one() -> Any:
        return make((2,), "rgb_array", source="render")

    envs = SyncVectorEnv([lambda: Numbers((2,), "rgb_array")] * 3, autoreset_mode=mode)
    ours = vector.ThroughRetina(envs, 4, 2, source="render")
    play_side_by_side(ours, SyncVectorEnv([make_one] * 3, autoreset_mode=mode), mode)
    frames = ours.render()
    assert frames is not None
    assert [frame.shape for frame in frames] == [(560, 768, 3)] * 3


WRAPPERS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "grid": (("GridAction", {"columns": 3, "rows": 5}),),
    "flat": (("FlatBoxAction", {}),),
    "dict": (("DictAction", {"choice": "move"}),),
    "relative": (("RelativeGaze", {"max_shift": 0.3}), ("GridAction", {})),
    "fixed": (("FixedGaze", {"location": (0.5, -0.5)}),),
    "random": (("RandomGaze", {}), ("GlimpseStack", {"num_glimpses": 3})),
    "whole": (("FixedGaze", {}), ("WholeCanvas", {})),
}


def wrap(env: Any, names: tuple[tuple[str, dict[str, Any]], ...], module: Any) -> Any:
    for name, keywords in names:
        env = getattr(module, name)(env, **keywords)
    return env


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("names", WRAPPERS.values(), ids=WRAPPERS)
def test_all_other_wrappers_work_on_top(
    names: tuple[tuple[str, dict[str, Any]], ...], mode: AutoresetMode
) -> None:
    def make_one() -> Any:
        return wrap(make(), names, wrappers)

    ours = wrap(make_vec((9, 12, 3), mode), names, vector)
    play_side_by_side(ours, SyncVectorEnv([make_one] * 3, autoreset_mode=mode), mode)


def test_actions_of_a_reset_row_are_ignored() -> None:
    envs = make_vec((9, 12), AutoresetMode.NEXT_STEP, 1)
    envs.reset(seed=0)
    ended = False
    while not ended:
        _, _, terminated, truncated, _ = envs.step((np.zeros((1, 2)), np.array([1])))
        ended = terminated[0] or truncated[0]
    nonsense = np.full((1, 2), np.nan), np.array([99])
    assert envs.step(nonsense)[1].tolist() == [0]
    with pytest.raises(ValueError, match="nan"):
        envs.step(nonsense)
    with pytest.raises(ValueError, match="99"):
        envs.step((np.zeros((1, 2)), np.array([99])))


# --- Gymnasium's own tools -----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.parametrize("names", [(), *WRAPPERS.values()], ids=["alone", *WRAPPERS])
def test_check_env(names: tuple[tuple[str, dict[str, Any]], ...]) -> None:
    pytest.importorskip("pygame", reason="the extra play is not installed")
    env = ThroughRetina(gym.make("Numbers-v0", render_mode="rgb_array"), 4, 2)
    check_env(wrap(env, names, wrappers))


def test_each_action_space_has_a_generator_of_its_own() -> None:
    one, other = make().action_space, make().action_space
    one.seed(0)
    (x, y), _ = one.sample()
    one.seed(0)
    other.seed(1)
    assert one.sample()[0].tolist() == [x, y]


def test_the_spec_makes_it_again() -> None:
    env: Any = ThroughRetina(gym.make("Numbers-v0"), 4, 2, initial_location=(0.5, 0))
    assert env.spec is not None
    again = gym.make(pickle.loads(pickle.dumps(env.spec)))
    assert data_equivalence(env.reset(seed=3)[0], again.reset(seed=3)[0])
    assert env.reset()[0]["location"].tolist() == [0.5, 0]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("twin", [False, True])
def test_a_copy_plays_on(duplicate: Callable[[Any], Any], twin: bool) -> None:
    env: Any = make((4, 9, 12))
    if twin:
        env = vector.ThroughRetina(SyncVectorEnv([Numbers] * 2), 4, 2)
    if twin and duplicate is not copy.deepcopy:
        env = vector.ThroughRetina(_Plain(), 4, 2)
    env.reset(seed=2)
    env.action_space.seed(0)
    env.step(env.action_space.sample())
    other = duplicate(env)
    for _ in range(4):
        action = env.action_space.sample()
        if not twin and not env.batch.running[0]:
            assert data_equivalence(env.reset(), other.reset())
        assert data_equivalence(env.step(action)[:4], other.step(action)[:4])


class _Plain(VectorEnv):
    """A native vector environment that resets itself in the same step, as ale-py's does."""

    def __init__(self, mode: Any = AutoresetMode.SAME_STEP) -> None:
        self.num_envs = 2
        self.single_observation_space = spaces.Box(0, 255, (9, 12), np.uint8)
        self.observation_space = spaces.Box(0, 255, (2, 9, 12), np.uint8)
        self.single_action_space = spaces.Discrete(3, start=1)
        self.action_space = spaces.MultiDiscrete([3, 3], start=np.array([1, 1]))
        self.metadata = {"autoreset_mode": mode}
        self.steps = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.steps = 0
        return np.full((2, 9, 12), 100, np.uint8), {}

    def step(self, actions: Any) -> Any:
        assert actions.dtype == np.int64
        self.steps += 1
        pictures = np.full((2, 9, 12), self.steps, np.uint8)
        ended = np.array([False, self.steps % 3 == 0])
        infos = {"lives": np.array([3, 2])}
        if ended.any():
            infos["final_obs"] = pictures.copy()
            pictures[1] = 100
        return pictures, actions.astype(np.int32), ended, np.zeros(2, np.bool_), infos


class _WithoutFinal(_Plain):
    """Names the last observation as Gymnasium did before version 1."""

    def step(self, actions: Any) -> Any:
        *others, infos = super().step(actions)
        if "final_obs" in infos:
            infos["final_observation"] = infos.pop("final_obs")
        return *others, infos


def test_last_observations_under_another_name() -> None:
    envs: Any = vector.ThroughRetina(_WithoutFinal(), 2, 1)
    envs.reset(seed=0)
    actions = (np.zeros((2, 2), np.float32), np.array([1, 3]))
    for _ in range(2):
        envs.step(actions)
    with pytest.raises(TypeError, match="final_obs"):
        envs.step(actions)


def test_a_native_vector_environment_that_has_no_masks() -> None:
    envs: Any = vector.ThroughRetina(_Plain(), 2, 1)
    envs.reset(seed=0)
    locations = np.array([[0, 0], [0.25, 0.5]], np.float32)
    for _ in range(3):
        observation, rewards, ended, _, infos = envs.step((locations, np.array([1, 3])))
    assert rewards.tolist() == [1, 3]
    assert infos["_final_obs"].tolist() == ended.tolist() == [False, True]
    assert infos["final_obs"][0] is None
    assert infos["final_obs"][1]["glimpse"].tolist() == [[[np.float32(3 / 255)] * 2] * 2]
    assert infos["final_obs"][1]["location"].tolist() == [0.25, 0.5]
    assert observation["location"][0].tolist() == [0, 0]
    assert observation["location"][1].tolist() != [0.25, 0.5]  # a new episode's first location
    assert envs.final_canvases.tolist() == [[[3] * 12] * 9] * 2
    assert envs.canvases[1].tolist() == [[100] * 12] * 9


# --- pictures of it ------------------------------------------------------------------------------


def test_render_draws_the_picture_and_where_the_retina_is() -> None:
    pytest.importorskip("pygame", reason="the extra play is not installed")
    env = make((4, 9, 12), "rgb_array", initial_location=(0, 0))
    assert (env.metadata["render_modes"], env.metadata["render_fps"]) == (["rgb_array"], 7)
    with pytest.raises(ResetNeeded):
        env.render()
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (560, 768, 3)
    assert frame.dtype == np.uint8
    env.step((np.array([0.5, 0.5]), 2))
    scene = env.scene()
    assert scene.fixations.tolist() == [[6, 5], [9, 7]]
    assert np.array_equal(scene.canvas[..., 0], env.unwrapped.picture[3])  # the newest frame
    assert scene.glimpse.shape == (2, 4, 4)
    assert (scene.choice, scene.reward, scene.caption) == ("2", 2.0, "step 1, return 2")
    assert not np.array_equal(env.render(), frame)
    for _ in range(40):
        env.reset()
        env.step((np.zeros(2), 0))
    assert env.scene().num_older == 0


def test_a_long_path_is_drawn_from_its_last_part_on() -> None:
    pytest.importorskip("pygame", reason="the extra play is not installed")
    env = make((9, 12, 3), "rgb_array")
    env.reset(seed=0)
    env.unwrapped.length = 100
    for _ in range(30):
        env.step((np.zeros(2), 1))
    scene = env.scene()
    assert (len(scene.fixations), scene.num_older, scene.caption) == (12, 19, "step 30, return 30")
    assert env.render().shape == (560, 768, 3)


def test_without_a_render_mode_nothing_is_drawn() -> None:
    env = make()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None
    envs = vector.ThroughRetina(gym.vector.SyncVectorEnv([Numbers, Numbers]), 4)
    envs.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert envs.render() is None


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0, 1, (9, 12, 3), np.float32),
        spaces.Box(0, 255, (128,), np.uint8),
        spaces.Box(0, 255, (9, 3, 12), np.uint8),
        spaces.Box(0, 255, (0, 9, 12), np.uint8),
        spaces.Box(0, 1, (9, 12), np.int8),
        spaces.MultiBinary((9, 12)),
        spaces.Dict(image=spaces.Box(0, 255, (9, 12, 3), np.uint8), mission=spaces.Text(9)),
    ],
    ids=str,
)
def test_an_environment_without_pictures(space: spaces.Space[Any]) -> None:
    env = Numbers()
    env.observation_space = space
    with pytest.raises(TypeError, match="observations"):
        ThroughRetina(env, 4)
    if isinstance(space, spaces.Dict):
        with pytest.raises(TypeError, match="'image'"):
            ThroughRetina(env, 4)


def test_pictures_of_another_kind_than_the_space_says() -> None:
    env = make()
    for wrong in (np.zeros((9, 12, 3), np.float32), [[1]], None):
        env.unwrapped._look = lambda wrong=wrong: wrong
        with pytest.raises(TypeError, match="picture"):
            env.reset()
    env.unwrapped._look = lambda: np.zeros((9, 12, 1), np.uint8)
    with pytest.raises(ValueError, match="shape"):
        env.reset()


@pytest.mark.parametrize(
    ("mode", "source"),
    [(None, "render"), ("ansi", "render"), ("ansi", "observation"), ("human", "observation")],
)
def test_render_modes(mode: str | None, source: str) -> None:
    with pytest.raises(ValueError, match="render_mode"):
        make((9, 12, 3), mode, source=source)


def test_vector_environments_that_do_not_fit() -> None:
    for mode in (None, "later"):
        with pytest.raises(ValueError, match=r"autoreset_mode'\] is"):
            vector.ThroughRetina(_Plain(mode), 2)
    some = _Plain()
    some.action_space = spaces.MultiDiscrete([3])
    with pytest.raises(ValueError, match="batch_size"):
        vector.ThroughRetina(some, 2)
    same = SyncVectorEnv(
        [lambda: Numbers((2,), "rgb_array")] * 2, autoreset_mode=AutoresetMode.SAME_STEP
    )
    with pytest.raises(ValueError, match=r"source=.*NEXT_STEP"):
        vector.ThroughRetina(same, 4, source="render")
    with pytest.raises(TypeError, match="env="):
        vector.ThroughRetina(Numbers(), 4)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"env=.*ram_envs\.wrappers\.vector"):
        ThroughRetina(SyncVectorEnv([Numbers]), 4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"glimpse_size": 12}, "glimpse_size=12"),  # the picture has 9 rows
        ({"glimpse_size": 4, "num_scales": 9}, "num_scales=9"),
        ({"glimpse_size": 4, "source": "pixels"}, "source='pixels'"),
        ({"glimpse_size": 4, "initial_location": (2, 0)}, "initial_location"),
        ({"glimpse_size": 2.5}, "glimpse_size=2.5"),
    ],
)
def test_arguments(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThroughRetina(Numbers(), **keywords)


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (1, TypeError),
        ((np.zeros(2), 1.5), TypeError),
        ((np.zeros(2), 3), ValueError),
        ((np.array([np.nan, 0]), 1), ValueError),
        ((np.zeros(3), 1), ValueError),
    ],
)
def test_actions(action: Any, error: type[Exception]) -> None:
    env = make()
    with pytest.raises(ResetNeeded):
        env.step((np.zeros(2), 1))
    env.reset(seed=0)
    with pytest.raises(error):
        env.step(action)
    assert env.step((np.array([np.inf, -3]), 1))[0]["location"].tolist() == [1, -1]


@pytest.mark.parametrize(
    ("seed", "error", "named"),
    [
        (np.int64(3), TypeError, r"seed=.*3"),
        (3.5, TypeError, r"seed=3\.5"),
        (True, TypeError, "seed=True"),
        ([1], ValueError, "2"),
        ([4, -2], ValueError, "-2"),
    ],
)
def test_seeds_of_another_kind(seed: Any, error: type[Exception], named: str) -> None:
    envs = make_vec((9, 12), AutoresetMode.NEXT_STEP, num_envs=2)
    with pytest.raises(error, match=named):
        envs.reset(seed=seed)
    assert not envs.batch.running.any()


def test_actions_that_are_not_discrete() -> None:
    env = Numbers()
    env.action_space = spaces.Box(-1, 1, (2,), np.float32)
    seen = ThroughRetina(env, 4, 2)
    seen.reset(seed=0)
    _, reward, *_ = seen.step((np.zeros(2), np.array([0.25, 0.5], np.float32)))
    assert reward == 0.75
    with pytest.raises(TypeError, match=r"Discrete.*Box\(-1\.0, 1\.0"):
        wrappers.GridAction(seen)
