"""Wrappers: each action and observation means what it says, alone and in batches alike."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from picture_envs import Numbers

import ram_envs
from ram_envs import wrappers
from ram_envs.wrappers import vector

DIGITS = {"dataset": "digits", "num_glimpses": 3}
IDS: dict[str, dict[str, Any]] = {
    "RAMClutteredMNIST-v0": DIGITS,
    "RAMCatch-v0": {"size": 8, "glimpse_size": 3},
    "RAMSearch-v0": {"canvas_size": 48, "time_limit": 4},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "GridAction": {"columns": 3, "rows": 5},
    "FlatBoxAction": {},
    "DictAction": {"choice": "label"},
    "RelativeGaze": {"max_shift": 0.3},
    "FixedGaze": {"location": (0.5, -0.5)},
    "RandomGaze": {},
    "WholeCanvas": {},
    "GlimpseStack": {"num_glimpses": 2},
}


def make(env_id: str, *names: str) -> Any:
    env = gym.make(env_id, disable_env_checker=True, **IDS[env_id])
    for name in names:
        env = getattr(wrappers, name)(env, **ARGUMENTS[name])
    return env


def make_vec(env_id: str, num_envs: int, mode: AutoresetMode, *names: str) -> Any:
    envs: Any = gym.make_vec(env_id, num_envs=num_envs, autoreset_mode=mode, **IDS[env_id])
    for name in names:
        envs = getattr(vector, name)(envs, **ARGUMENTS[name])
    return envs


def test_every_wrapper_has_its_twin() -> None:
    assert set(wrappers.__all__) == set(vector.__all__) == {*ARGUMENTS, "ThroughRetina"}


def test_importing_the_package_is_enough() -> None:
    program = (
        "import sys, ram_envs\n"
        "assert 'ram_envs.wrappers' not in sys.modules\n"
        "assert ram_envs.GridAction is ram_envs.wrappers.GridAction\n"
        "assert ram_envs.wrappers.vector.GridAction is not ram_envs.GridAction\n"
        "assert {'SB3VecEnv', 'datasets', *ram_envs.__all__} <= {*dir(ram_envs)}\n"
        "assert not hasattr(ram_envs, 'GridActions')\n"
        "assert not hasattr(ram_envs.wrappers, 'vectors')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# --- each wrapper passes Gymnasium's checks --------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_check_env(env_id: str, name: str) -> None:
    check_env(make(env_id, name), skip_render_check=True)


@pytest.mark.parametrize(
    ("name", "arguments", "recorded"),
    [
        ("FixedGaze", {"location": np.array([0.5, -0.5])}, {"location": [0.5, -0.5]}),
        ("FixedGaze", {"location": (np.float64(0.5), 0)}, {"location": [0.5, 0]}),
        ("RelativeGaze", {"max_shift": np.float32(0.25)}, {"max_shift": 0.25}),
        ("GridAction", {"columns": np.int64(3)}, {"columns": 3, "rows": 8}),
        ("GlimpseStack", {"num_glimpses": np.int64(3)}, {"num_glimpses": 3}),
    ],
)
def test_arguments_in_numpys_numbers_are_recorded_as_pythons(
    name: str, arguments: dict[str, Any], recorded: dict[str, Any]
) -> None:
    env = getattr(wrappers, name)(make("RAMCatch-v0"), **arguments)
    written = EnvSpec.from_json(env.spec.to_json())
    assert written.additional_wrappers[-1].kwargs == recorded
    again = gym.make(written)
    assert data_equivalence(env.reset(seed=3)[0], again.reset(seed=3)[0])


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_wrapped_environment_is_made_again_from_its_spec(name: str) -> None:
    env = make("RAMCatch-v0", name)
    assert env.spec is not None
    again = gym.make(pickle.loads(pickle.dumps(env.spec)))
    assert again.action_space == env.action_space
    assert again.observation_space == env.observation_space
    first, second = env.reset(seed=3)[0], again.reset(seed=3)[0]
    assert data_equivalence(first, second)


# --- one and many are the same ---------------------------------------------------------------


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize(
    "names",
    [
        *((name,) for name in ARGUMENTS),
        ("FixedGaze", "WholeCanvas"),
        ("GridAction", "GlimpseStack"),
        ("RelativeGaze", "GridAction"),
    ],
)
def test_vector_twin_equals_sync_vector_env(
    env_id: str, names: tuple[str, ...], mode: AutoresetMode
) -> None:
    native = make_vec(env_id, 3, mode, *names)
    sync = SyncVectorEnv([lambda: make(env_id, *names)] * 3, autoreset_mode=mode)
    assert native.autoreset_mode is mode
    assert native.single_action_space == sync.single_action_space
    assert native.action_space == sync.action_space
    assert native.observation_space == sync.observation_space
    assert data_equivalence(native.reset(seed=5), sync.reset(seed=5))
    native.action_space.seed(5)
    for _ in range(20):
        actions = native.action_space.sample()
        ours, theirs = native.step(actions), sync.step(actions)
        assert data_equivalence(ours[:4], theirs[:4])
        assert ours[4].keys() == theirs[4].keys()
        for key in ours[4]:
            if key == "final_info":
                continue
            for ours_row, theirs_row in zip(ours[4][key], theirs[4][key], strict=True):
                assert data_equivalence(ours_row, theirs_row), key
        ended = ours[2] | ours[3]
        if mode is AutoresetMode.DISABLED and ended.any():
            options = {"reset_mask": ended}
            again, same = native.reset(options=options), sync.reset(options=options)
            assert data_equivalence(again[0], same[0])


def test_wrappers_take_no_other_environments() -> None:
    envs, env = gym.make_vec("CartPole-v1", num_envs=2), gym.make("CartPole-v1")
    for name in ("WholeCanvas", "GlimpseStack"):
        with pytest.raises(TypeError, match="ram_envs"):
            getattr(vector, name)(envs)
        with pytest.raises(TypeError, match="ram_envs"):
            getattr(wrappers, name)(env)


# --- actions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "location"),
    [
        ((0, 0, 7), (-2 / 3, -0.8)),  # the middle of the top-left cell of 3 × 5
        ((1, 2, 7), (0.0, 0.0)),
        ((2, 4, 7), (2 / 3, 0.8)),
    ],
)
def test_grid_action_looks_at_the_middle_of_a_cell(
    action: tuple[int, int, int], location: tuple[float, float]
) -> None:
    env = make("RAMClutteredMNIST-v0", "GridAction")
    assert env.action_space == spaces.MultiDiscrete([3, 5, 10])
    env.reset(seed=0)
    observation, *_ = env.step(np.array(action))
    assert observation["location"].tolist() == pytest.approx(location)


def decide(env: gym.Env, make_action: Any) -> tuple[float, float]:
    """The rewards of naming the right class, and a wrong one, at the end of an episode."""
    rewards = []
    for wrong in (0, 1):
        _, info = env.reset(seed=0)
        terminated, reward = False, 0.0
        while not terminated:
            action = make_action((info["label"] + wrong) % 10)
            _, reward, terminated, _, _ = env.step(action)  # type: ignore[assignment]
        rewards.append(float(reward))
    return rewards[0], rewards[1]


def test_the_choice_arrives() -> None:
    scores = np.full((10, 12), -0.5, np.float32)
    scores[np.arange(10), 2 + np.arange(10)] = 0.5
    location = np.zeros(2, np.float32)
    makers: dict[str, Any] = {
        "GridAction": lambda label: np.array([0, 0, label]),
        "FlatBoxAction": lambda label: scores[label],
        "DictAction": lambda label: {"location": location, "label": label},
        "RelativeGaze": lambda label: (location, label),
        "FixedGaze": lambda label: label,
        "RandomGaze": lambda label: label,
    }
    for name, make_action in makers.items():
        assert decide(make("RAMClutteredMNIST-v0", name), make_action) == (1.0, 0.0), name


def test_flat_box_action_moves_the_gaze() -> None:
    env = make("RAMCatch-v0", "FlatBoxAction")
    assert env.action_space == spaces.Box(-1, 1, (5,), np.float32)
    env.reset(seed=0)
    observation, *_ = env.step(np.array([0.25, -0.75, 0, 1, 0], np.float32))
    assert observation["location"].tolist() == [0.25, -0.75]


@pytest.mark.parametrize(
    ("shift", "moved"),
    [
        ((1, 0), (0.25, 0)),
        ((0.5, -0.5), (0.125, -0.125)),
        ((3, 4), (0.15, 0.2)),  # on the unit disc: (0.6, 0.8)
        ((-np.inf, 0), (-0.25, 0)),
        ((0, 0), (0, 0)),
    ],
)
def test_relative_gaze_moves_by_at_most_max_shift(
    shift: tuple[float, float], moved: tuple[float, float]
) -> None:
    env = wrappers.RelativeGaze(gym.make("RAMCatch-v0", initial_location=(0.9, 0)), max_shift=0.25)
    env.reset(seed=0)
    x, y = 0.9, 0.0
    for _ in range(3):
        x, y = min(x + moved[0], 1), y + moved[1]
        observation, *_ = env.step((shift, 1))
        assert observation["location"].tolist() == pytest.approx([x, y], abs=1e-6)


def test_relative_gaze_begins_each_episode_where_the_environment_does() -> None:
    keys = {**IDS["RAMCatch-v0"], "autoreset_mode": AutoresetMode.SAME_STEP}
    plain = gym.make_vec("RAMCatch-v0", num_envs=2, **keys)
    moved = vector.RelativeGaze(gym.make_vec("RAMCatch-v0", num_envs=2, **keys))
    stay = np.zeros((2, 2), np.float32), np.ones(2, np.int64)
    begun = plain.reset(seed=1)[0]["location"]
    assert np.array_equal(moved.reset(seed=1)[0]["location"], begun)
    for _ in range(7):
        begun = plain.step(stay)[0]["location"]
        ended = moved.step(stay)[2]
    assert ended.all()
    assert np.array_equal(moved.native.batch.locations, begun)


def test_wrappers_that_set_locations_take_no_shifts() -> None:
    for name in ("FixedGaze", "RandomGaze", "RelativeGaze"):
        with pytest.raises(TypeError, match="RelativeGaze"):
            make("RAMCatch-v0", "RelativeGaze", name)
        with pytest.raises(TypeError, match="RelativeGaze"):
            make_vec("RAMCatch-v0", 2, AutoresetMode.NEXT_STEP, "RelativeGaze", name)
    for shift in (-0.1, 2.5, np.nan, True):
        with pytest.raises(ValueError, match="max_shift="):
            wrappers.RelativeGaze(make("RAMCatch-v0"), shift)


@pytest.mark.parametrize(
    ("name", "action", "message"),
    [
        ("GridAction", [3, 0, 0], r"\[3, 0, 0\].*\[2, 4, 9\]"),
        ("GridAction", [0, -1, 0], "-1"),
        ("GridAction", [0.5, 1, 0], r"0\.5"),
        ("GridAction", [0, 0], r"=\[0, 0\].*\(3,\)"),
        ("GridAction", [[0, 0, 1]], r"=\[\[0, 0, 1\]\].*\(3,\)"),
        ("FlatBoxAction", [0.0] * 11, r"\(12,\)"),
        ("FlatBoxAction", [0.0] * 11 + [np.nan], "nan"),
        ("DictAction", {"location": [0, 0], "choice": 1}, "'choice'.*'label'"),
        ("DictAction", {"location": [np.nan, 0], "label": 1}, "nan"),
        ("RelativeGaze", ((np.nan, 0), 1), "nan"),
        ("RelativeGaze", ((0, 0, 0), 1), r"\(3,\)"),
        ("RelativeGaze", ((0, 0), 10), "10"),
        ("FixedGaze", 10, "10"),
        ("RandomGaze", -1, "-1"),
    ],
)
def test_impossible_actions_are_refused(name: str, action: Any, message: str) -> None:
    env = make("RAMClutteredMNIST-v0", name)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)


@pytest.mark.parametrize("action", [((0.1, 0.2), 3), {"location": (0.1, 0.2), "key": 3}])
@pytest.mark.parametrize(
    "name", ["GridAction", "FlatBoxAction", "DictAction", "FixedGaze", "RandomGaze"]
)
def test_an_action_of_another_space_is_named_as_it_was_given(name: str, action: Any) -> None:
    one, two = make("RAMCatch-v0", name), make_vec("RAMCatch-v0", 2, AutoresetMode.NEXT_STEP, name)
    for env in (one, two):
        env.reset(seed=0)
        with pytest.raises((ValueError, TypeError), match=re.escape(f"={action!r}")):
            env.step(action)


def test_only_one_wrapper_changes_the_actions() -> None:
    with pytest.raises(TypeError, match="action_space="):
        make("RAMCatch-v0", "FixedGaze", "GridAction")
    with pytest.raises(TypeError, match="action_space="):
        make_vec("RAMCatch-v0", 2, AutoresetMode.NEXT_STEP, "GridAction", "RandomGaze")


@pytest.mark.parametrize(("columns", "rows"), [(0, 4), (4, -1)])
def test_a_grid_without_cells(columns: int, rows: int) -> None:
    with pytest.raises(ValueError, match=r"columns=0|rows=-1"):
        wrappers.GridAction(make("RAMCatch-v0"), columns, rows)


# --- controls --------------------------------------------------------------------------------


def test_fixed_gaze_rests_from_the_first_glimpse_on() -> None:
    env = make("RAMClutteredMNIST-v0", "FixedGaze")
    assert env.action_space == spaces.Discrete(10)
    observation, _ = env.reset(seed=0)
    for _ in range(3):
        assert observation["location"].tolist() == [0.5, -0.5]
        observation, *_ = env.step(0)
    with pytest.raises(ValueError, match="location"):
        wrappers.FixedGaze(make("RAMCatch-v0"), location=(2.0, 0.0))


def test_random_gaze_is_seeded_and_uniform() -> None:
    envs = make_vec("RAMCatch-v0", 500, AutoresetMode.DISABLED, "RandomGaze")
    stay = np.ones(500, np.int64)
    paths = []
    for seed in (1, 1, 2):
        envs.reset(seed=seed)
        paths.append(np.stack([envs.step(stay)[0]["location"] for _ in range(7)]))
    assert np.array_equal(paths[0], paths[1])
    assert (paths[0][:, 1:] == paths[2][:, :-1]).all()  # seed 2 is sub-environment 1 of seed 1
    assert len(np.unique(paths[0][..., 0])) == 3500
    assert abs(paths[0].mean()) < 0.05
    assert paths[0].std() == pytest.approx(3**-0.5, abs=0.03)


def test_fixed_gaze_leaves_the_environment_that_it_wraps_as_it_is() -> None:
    env, alone = make("RAMCatch-v0"), make("RAMCatch-v0")
    wrapped = wrappers.FixedGaze(env, (0.5, -0.5))
    assert wrapped.reset(seed=3)[0]["location"].tolist() == [0.5, -0.5]
    assert data_equivalence(env.reset(seed=3), alone.reset(seed=3))
    envs: Any = make_vec("RAMCatch-v0", 2, AutoresetMode.SAME_STEP)
    around = vector.FixedGaze(envs, (0.5, -0.5))
    around.reset(seed=3)
    with pytest.raises(ValueError, match="99"):
        around.step(np.array([1, 99]))
    assert envs.unwrapped.batch.initial_location is None
    assert (np.abs(envs.reset(seed=3)[0]["location"]) != 0.5).all()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_random_gaze_begins_at_random_too(mode: AutoresetMode) -> None:
    options: Any = {"dataset": "digits", "num_glimpses": 2}
    single = wrappers.RandomGaze(gym.make("RAMMNIST-v0", initial_location=(0, 0), **options))
    free = gym.make("RAMMNIST-v0", **options)
    found = single.reset(seed=3)[0]["location"]
    assert found.tolist() == free.reset(seed=3)[0]["location"].tolist()
    options.update(initial_location=(0, 0), autoreset_mode=mode)
    envs: Any = vector.RandomGaze(gym.make_vec("RAMMNIST-v0", 2, **options))
    observations = [envs.reset(seed=3)[0]]
    observations += [envs.step(np.zeros(2, np.int64))[0] for _ in range(6)]
    assert observations[0]["location"][0].tolist() == found.tolist()
    assert all(observation["location"].all() for observation in observations)
    assert envs.unwrapped.batch.initial_location.tolist() == [0, 0]


# --- rows that wait for their reset ----------------------------------------------------------

NONSENSE: dict[str, Any] = {
    "GridAction": np.array([[99, -1, 50]] * 2),
    "FlatBoxAction": np.full((2, 5), np.nan, np.float32),
    "DictAction": {"location": np.full((2, 2), np.nan), "label": np.array([99, -1])},
    "RelativeGaze": (np.full((2, 2), np.nan), np.array([99, -1])),
    "FixedGaze": np.array([99, -1]),
    "RandomGaze": np.array([99, -1]),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_actions_of_a_reset_row_are_ignored(name: str) -> None:
    envs = make_vec("RAMCatch-v0", 2, AutoresetMode.NEXT_STEP, name)
    envs.reset(seed=0)
    ended = np.zeros(2, np.bool_)
    while not ended.all():
        ended = envs.step(envs.action_space.sample())[2]
    assert not envs.step(NONSENSE[name])[2].any()
    with pytest.raises(ValueError, match=r"99|nan|-1"):  # the next step plays them
        envs.step(NONSENSE[name])


def test_a_stack_forgets_an_episode_that_was_truncated() -> None:
    for mode in AutoresetMode:
        keys = {**IDS["RAMCatch-v0"], "max_episode_steps": 2}
        native = vector.GlimpseStack(
            gym.make_vec("RAMCatch-v0", num_envs=2, autoreset_mode=mode, **keys)
        )
        sync = SyncVectorEnv(
            [lambda: wrappers.GlimpseStack(gym.make("RAMCatch-v0", **keys))] * 2,  # noqa: B023
            autoreset_mode=mode,
        )
        native.action_space.seed(1)
        assert data_equivalence(native.reset(seed=1)[0], sync.reset(seed=1)[0])
        for _ in range(7):
            actions = native.action_space.sample()
            ours, theirs = native.step(actions), sync.step(actions)
            assert data_equivalence(ours[:4], theirs[:4])
            if mode is AutoresetMode.DISABLED and ours[3].any():
                options = {"reset_mask": ours[3]}
                native.reset(options=options), sync.reset(options=options)


# --- observations ----------------------------------------------------------------------------


def test_whole_canvas_is_the_canvas() -> None:
    env = make("RAMClutteredMNIST-v0", "WholeCanvas")
    assert env.observation_space == spaces.Box(0, 255, (60, 60, 1), np.uint8)
    observation, _ = env.reset(seed=0)
    assert np.array_equal(observation[..., 0], env.unwrapped.canvas)
    assert observation.max() > 100


def test_whole_canvas_in_color() -> None:
    dataset = ram_envs.ImageDataset(np.full((4, 9, 7, 3), 8, np.uint8), np.arange(4))
    env = wrappers.WholeCanvas(gym.make("RAMClassification-v0", dataset=dataset, glimpse_size=3))
    assert env.reset(seed=0)[0].shape == (9, 7, 3)


def test_glimpse_stack_holds_the_newest_last_and_zeros_before() -> None:
    env, plain = make("RAMClutteredMNIST-v0", "GlimpseStack"), make("RAMClutteredMNIST-v0")
    assert env.observation_space["glimpse"].shape == (6, 12, 12)
    assert env.observation_space["location"].shape == (4,)
    for _ in range(2):  # the second episode remembers nothing of the first
        seen = [plain.reset(seed=0)[0]]
        stacked, _ = env.reset(seed=0)
        assert not stacked["glimpse"][:3].any()
        assert not stacked["location"][:2].any()
        assert np.array_equal(stacked["glimpse"][3:], seen[0]["glimpse"])
        for x in (-0.5, 0.25, 0.75):
            action = (np.array([x, 0], np.float32), 0)
            seen.append(plain.step(action)[0])
            stacked, *_ = env.step(action)
            expected = np.concatenate([seen[-2]["glimpse"], seen[-1]["glimpse"]])
            assert np.array_equal(stacked["glimpse"], expected)
            assert stacked["location"].tolist() == [*seen[-2]["location"], *seen[-1]["location"]]


def test_a_mask_of_none_resets_all_stacks() -> None:
    envs = make_vec("RAMCatch-v0", 3, AutoresetMode.DISABLED, "GlimpseStack")
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
    observation, _ = envs.reset(options={"reset_mask": None})
    assert not observation["location"][:, :2].any()
    assert observation["location"][:, 2:].all()


def test_glimpse_stack_needs_glimpses() -> None:
    with pytest.raises(ValueError, match="num_glimpses=0"):
        wrappers.GlimpseStack(make("RAMCatch-v0"), num_glimpses=0)
    with pytest.raises(TypeError, match="observation_space="):
        wrappers.GlimpseStack(make("RAMCatch-v0", "WholeCanvas"))


def test_a_player_who_sees_the_whole_canvas_catches_every_ball_that_falls_straight() -> None:
    env = wrappers.WholeCanvas(
        wrappers.FixedGaze(gym.make("RAMCatch-v0", size=8, glimpse_size=3, max_speed=0.0))
    )
    for seed in range(20):
        screen, _ = env.reset(seed=seed)
        reward, terminated = 0.0, False
        while not terminated:
            ball = screen[:-1].max(0)[:, 0].argmax()
            paddle = screen[-1, :, 0].argmax()
            move = 0 if ball < paddle else 2 if ball > paddle + 1 else 1
            screen, reward, terminated, _, _ = env.step(move)  # type: ignore[assignment]
        assert reward == 1


def test_choices_that_do_not_begin_at_0() -> None:
    env = gym.make("RAMCatch-v0")
    env.action_space = spaces.Tuple((env.action_space[0], spaces.Discrete(3, start=1)))  # type: ignore[index]
    for wrapper in (wrappers.GridAction, wrappers.FlatBoxAction):
        with pytest.raises(ValueError, match=r"start=1.*TransformAction.*choice \+ 1"):
            wrapper(env)


@pytest.mark.parametrize("name", ["FixedGaze", "GlimpseStack", "RandomGaze"])
def test_what_begins_with_an_episode_is_inside_of_autoreset(name: str) -> None:
    wrap = getattr(wrappers, name)
    with pytest.raises(TypeError, match="Autoreset"):
        wrap(gym.wrappers.TimeLimit(gym.wrappers.Autoreset(make("RAMCatch-v0")), 99))
    env = gym.wrappers.Autoreset(wrap(make("RAMCatch-v0")))
    env.reset(seed=0)
    env.step(env.action_space.sample())


def test_a_retina_is_inside_of_autoreset() -> None:
    with pytest.raises(TypeError, match="Autoreset"):
        wrappers.ThroughRetina(gym.wrappers.Autoreset(Numbers()), 2, 1)
