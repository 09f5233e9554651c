"""Classification played by hand: what is seen, what is paid, when it is over, what is refused."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import Error, ResetNeeded
from gymnasium.vector import AutoresetMode

import ram_envs  # noqa: F401  (registers the ids)
from ram_envs import ImageDataset
from ram_envs.envs.classification import ClassificationEnv, ClassificationVectorEnv

# Three images of 4 × 4, each of one brightness, of the classes 0, 1 and 2.
IMAGES = np.repeat(np.array([51, 102, 255], np.uint8), 16).reshape(3, 4, 4)
DATASET = ImageDataset(IMAGES, np.array([0, 1, 2]), name="three")
SETTINGS: dict[str, Any] = {"dataset": DATASET, "num_glimpses": 3, "glimpse_size": 2}

LEFT, MIDDLE = (-1.0, -1.0), (0.0, 0.0)


def make(**changes: Any) -> ClassificationEnv:
    return ClassificationEnv(**(SETTINGS | changes))


def make_vec(num_envs: int = 2, **changes: Any) -> ClassificationVectorEnv:
    return ClassificationVectorEnv(num_envs, **(SETTINGS | changes))


def floats(values: Any) -> list[Any]:
    """What float32 makes of these numbers."""
    return np.asarray(values, np.float32).tolist()  # type: ignore[no-any-return]


# --- one episode -----------------------------------------------------------------------------


def test_an_episode_by_hand() -> None:
    env = make(initial_location=(-1, -1))
    observation, info = env.reset(seed=0, options={"index": 1})
    assert observation["glimpse"].tolist() == floats([[[0, 0], [0, 0.4]]])
    assert observation["location"].tolist() == [-1, -1]
    assert info == {"label": 1, "index": 1}

    observation, *rest = env.step(((0, 0), 0))
    assert observation["glimpse"].tolist() == floats([[[0.4, 0.4], [0.4, 0.4]]])
    assert observation["location"].tolist() == [0, 0]
    assert rest == [0.0, False, False, {"label": 1, "index": 1}]

    observation, *rest = env.step(((1, 0), 2))
    assert observation["glimpse"].tolist() == floats([[[0.4, 0], [0.4, 0]]])
    assert rest == [0.0, False, False, {"label": 1, "index": 1}]

    # The third label is the decision; the third location moves only what is seen at the end.
    observation, *rest = env.step(((0.5, 1), 1))
    assert observation["glimpse"].tolist() == floats([[[0.4, 0.4], [0, 0]]])
    assert observation["location"].tolist() == [0.5, 1]
    assert rest == [1.0, True, False, {"label": 1, "index": 1}]


@pytest.mark.parametrize(
    ("labels", "rewards"),
    [
        ([2, 2, 2], [0, 0, 1]),
        ([2, 2, 1], [0, 0, 0]),  # right before the decision is not paid
        ([0, 1, 2], [0, 0, 1]),  # wrong before it costs nothing
        ([1, 0, 0], [0, 0, 0]),
    ],
)
def test_only_the_decision_is_paid(labels: list[int], rewards: list[float]) -> None:
    env = make()
    env.reset(seed=0, options={"index": 2})
    steps = [env.step((MIDDLE, label)) for label in labels]
    assert [step[1] for step in steps] == rewards
    assert [step[2] for step in steps] == [False, False, True]


@pytest.mark.parametrize("num_glimpses", [1, 2, 6])
def test_episode_takes_as_many_steps_as_glimpses(num_glimpses: int) -> None:
    env = make(num_glimpses=num_glimpses)
    for _ in range(2):
        env.reset(seed=0, options={"index": 0})
        for _ in range(num_glimpses - 1):
            assert not env.step((MIDDLE, 0))[2]
        _, reward, terminated, truncated, _ = env.step((MIDDLE, 0))
        assert (reward, terminated, truncated) == (1.0, True, False)


def test_types_are_those_of_gymnasium() -> None:
    env = make()
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space  # type: ignore[comparison-overlap]
    for _ in range(3):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert observation in env.observation_space  # type: ignore[comparison-overlap]
        assert [type(part) for part in (reward, terminated, truncated)] == [float, bool, bool]
        assert [type(value) for value in info.values()] == [int, int]


def test_spaces() -> None:
    env = make(num_scales=2, canvas_size=(8, 6))
    assert env.observation_space == gym.spaces.Dict(
        glimpse=gym.spaces.Box(0, 1, (2, 2, 2), np.float32),
        location=gym.spaces.Box(-1, 1, (2,), np.float32),
    )
    assert env.action_space == gym.spaces.Tuple(
        (gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.Discrete(3))
    )
    env.reset(seed=0)
    assert env.canvas.shape == (8, 6)


@pytest.mark.parametrize(
    ("given", "clipped"),
    [
        ((7.5, -1.001), (1, -1)),
        ((np.inf, -np.inf), (1, -1)),
        ((-np.inf, 0.25), (-1, 0.25)),
        (np.array([0.5, 3], np.float64), (0.5, 1)),
        ([2, -2], (1, -1)),
        ((1e300, -1e300), (1, -1)),  # beyond what float32 can hold
    ],
)
def test_location_outside_the_box_is_clipped(given: Any, clipped: tuple[float, float]) -> None:
    there, inside = make(), make()
    for env in (there, inside):
        env.reset(seed=0, options={"index": 2})
    observation = there.step((given, 0))[0]
    expected = inside.step((clipped, 0))[0]
    assert observation["location"].tolist() == list(clipped)
    assert np.array_equal(observation["glimpse"], expected["glimpse"])


def test_color_images() -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1] = (51, 102, 255)
    env = make(dataset=ImageDataset(images, np.array([0, 1])), initial_location=MIDDLE)
    observation, _ = env.reset(options={"index": 1})
    assert observation["glimpse"].shape == (3, 2, 2)
    assert observation["glimpse"][:, 0, 0].tolist() == floats([0.2, 0.4, 1])
    assert env.canvas.shape == (4, 4, 3)


# --- how an episode starts -------------------------------------------------------------------


def test_initial_location_is_where_every_episode_starts() -> None:
    env = make(initial_location=(0.25, -0.5))
    for _ in range(3):
        assert env.reset()[0]["location"].tolist() == [0.25, -0.5]
    locations = make_vec(3, initial_location=(0.25, -0.5)).reset()[0]["location"]
    assert locations.tolist() == [[0.25, -0.5]] * 3


def test_first_location_is_uniformly_random_without_it() -> None:
    envs = make_vec(4000)
    locations = envs.reset(seed=0)[0]["location"]
    counts, _, _ = np.histogram2d(*locations.T, bins=4, range=[[-1, 1], [-1, 1]])  # type: ignore[call-overload]
    assert counts.sum() == 4000
    assert counts.min() > 190  # 250 ± 15 in each of the 16 squares
    assert counts.max() < 310
    again = envs.reset()[0]["location"]
    assert not (locations == again).any()


def test_images_are_drawn_with_replacement() -> None:
    env = make()
    env.reset(seed=0)
    indices = [env.reset()[1]["index"] for _ in range(600)]
    assert abs(np.bincount(indices, minlength=3) - 200).max() < 50
    threes = [len(set(indices[i : i + 3])) for i in range(0, 600, 3)]
    assert set(threes) == {1, 2, 3}


def test_image_does_not_tell_where_the_first_location_is() -> None:
    envs = make_vec(6000)
    observations, infos = envs.reset(seed=0)
    means = [observations["location"][infos["index"] == i].mean(axis=0) for i in range(3)]
    assert np.abs(means).max() < 0.06  # 0 ± 0.013


@pytest.mark.parametrize("index", [2, np.int64(2), np.array(2), np.array([2]), [2], np.uint8(2)])
def test_index_chooses_the_image(index: Any) -> None:
    env = make()
    for _ in range(4):
        _, info = env.reset(options={"index": index})
        assert info == {"label": 2, "index": 2}
        assert (env.canvas == 255).all()


def test_index_does_not_change_what_else_is_drawn() -> None:
    chosen, drawn = make(), make()
    for _ in range(3):
        first, _ = chosen.reset(seed=5, options={"index": 0})
        second, _ = drawn.reset(seed=5)
        assert first["location"].tolist() == second["location"].tolist()


def test_index_array_gives_each_sub_environment_its_image() -> None:
    envs = make_vec(4)
    _, infos = envs.reset(seed=0, options={"index": np.array([2, 0, 0, 1])})
    assert infos["index"].tolist() == [2, 0, 0, 1]
    assert infos["label"].tolist() == [2, 0, 0, 1]
    assert envs.canvases[:, 0, 0].tolist() == [255, 51, 51, 102]
    _, infos = envs.reset(options={"index": 1})  # one number serves all
    assert infos["index"].tolist() == [1, 1, 1, 1]
    _, infos = envs.reset(options={"index": None})
    assert infos["_index"].all()


def test_index_array_under_a_mask_keeps_its_rows() -> None:
    envs = make_vec(3, autoreset_mode="Disabled")
    envs.reset(seed=0, options={"index": np.array([0, 0, 0])})
    mask = np.array([False, True, True])
    _, infos = envs.reset(options={"reset_mask": mask, "index": np.array([2, 1, 2])})
    assert infos["index"].tolist() == [0, 1, 2]
    assert infos["_index"].tolist() == [False, True, True]
    assert envs.canvases[:, 0, 0].tolist() == [51, 102, 255]


def test_index_is_chosen_once_and_then_drawn_again() -> None:
    env = make()
    env.reset(seed=0)
    env.reset(options={"index": 1})
    assert len({env.reset()[1]["index"] for _ in range(50)}) == 3


# --- splits ----------------------------------------------------------------------------------


def test_splits_are_what_was_given() -> None:
    three = [
        ImageDataset(np.full((n, 4, 4), n, np.uint8), np.arange(n) % 2, f"{n}") for n in (5, 3, 2)
    ]
    for split, count in [("train", 5), ("validation", 3), ("test", 2)]:
        env = make(dataset=three, split=split)
        env.reset(seed=0)
        assert (env.num_images, env.dataset_name) == (count, str(count))
        assert (env.canvas == count).all()
        envs = make_vec(dataset=three, split=split)
        assert (envs.num_images, envs.dataset_name) == (count, str(count))


def test_named_dataset() -> None:
    env = make(dataset="digits", split="validation")
    assert (env.dataset_name, env.num_images) == ("digits", 200)
    assert env.action_space[1].n == 10  # type: ignore[index]


# --- what bad input gets ---------------------------------------------------------------------

IMPOSSIBLE: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"dataset": "minst"}, ValueError, "dataset='minst'.* 'mnist'"),
    ({"dataset": 3}, TypeError, "int.*ImageDataset"),
    ({"split": "valid"}, ValueError, "split='valid'.* 'validation'"),
    ({"num_glimpse": 6}, TypeError, "'num_glimpse'.* 'num_glimpses'"),
    ({"rendermode": None}, TypeError, "'rendermode'.* 'render_mode'"),
    ({"xyz": 1}, TypeError, "'xyz'.* 'canvas_size'"),
    ({"num_glimpses": 0}, ValueError, "num_glimpses=0"),
    ({"num_glimpses": -2}, ValueError, "num_glimpses=-2"),
    ({"num_glimpses": 2.5}, ValueError, r"num_glimpses=2\.5"),
    ({"num_glimpses": "6"}, ValueError, "num_glimpses='6'"),
    ({"glimpse_size": 0}, ValueError, "glimpse_size=0"),
    ({"glimpse_size": 5}, ValueError, "glimpse_size=5.* 4 × 4.* 4"),
    ({"glimpse_size": 5, "canvas_size": (9, 4)}, ValueError, "glimpse_size=5.* 9 × 4"),
    ({"num_scales": 0}, ValueError, "num_scales=0"),
    ({"num_scales": 4}, ValueError, "num_scales=4.* 16"),
    ({"canvas_size": 3}, ValueError, r"canvas_size=\(3, 3\).*\(4, 4\)"),
    ({"canvas_size": (8, 3)}, ValueError, r"canvas_size=\(8, 3\).*\(4, 4\)"),
    ({"canvas_size": (8, 8, 8)}, ValueError, r"canvas_size=\(8, 8, 8\)"),
    ({"canvas_size": (8.0, 8)}, ValueError, r"canvas_size=\(8\.0, 8\)"),
    ({"canvas_size": 8.0}, ValueError, r"canvas_size=8\.0"),
    ({"canvas_size": True}, ValueError, "canvas_size=True"),
    ({"num_glimpses": True}, ValueError, "num_glimpses=True"),
    ({"distortion": True}, ValueError, "distortion=True"),
    ({"canvas_size": "60"}, ValueError, "canvas_size='60'"),
    ({"num_clutter": 2.5}, ValueError, r"num_clutter=2\.5"),
    ({"num_clutter": 1, "clutter_size": 2.5}, ValueError, r"clutter_size=2\.5.* 4"),
    ({"num_clutter": -1}, ValueError, "num_clutter=-1"),
    ({"num_clutter": 1, "clutter_size": 5}, ValueError, "clutter_size=5.* 4"),
    ({"num_clutter": 1, "clutter_size": 0}, ValueError, "clutter_size=0.* 4"),
    ({"initial_location": (0, 1.5)}, ValueError, r"initial_location=\(0, 1\.5\)"),
    ({"initial_location": (0, np.nan)}, ValueError, r"initial_location=\(0, nan\)"),
    ({"initial_location": (0, 0, 0)}, ValueError, r"initial_location=\(0, 0, 0\)"),
    ({"initial_location": "ab"}, ValueError, "initial_location='ab'"),
    ({"initial_location": (0, "x")}, ValueError, r"initial_location=\(0, 'x'\)"),
    ({"render_mode": "ansi"}, ValueError, "render_mode='ansi'.*'rgb_array'"),
]


@pytest.mark.parametrize(("changes", "error", "message"), IMPOSSIBLE)
def test_impossible_settings_are_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    for build in (make, make_vec):
        with pytest.raises(error, match=message):
            build(**changes)


def test_message_reaches_those_who_use_gymnasium_make() -> None:
    with pytest.raises(TypeError, match=r"'num_glimpse'.* 'num_glimpses'"):
        gym.make("RAMMNIST-v0", dataset="digits", num_glimpse=3)
    with pytest.raises(TypeError, match=r"'num_glimpse'.* 'num_glimpses'"):
        gym.make_vec("RAMMNIST-v0", dataset="digits", num_glimpse=3)


def test_numpy_integers_are_integers() -> None:
    changes = {"canvas_size": (8, 6), "num_clutter": 2, "clutter_size": 3, "num_glimpses": 2}
    as_numpy = {name: np.int64(value) for name, value in changes.items() if name != "canvas_size"}  # type: ignore[arg-type]
    env = make(split="test", **changes)
    twin = make(split="test", canvas_size=(np.int64(8), np.int32(6)), **as_numpy)
    for either in (env, twin):
        either.reset(seed=0, options={"index": 2})
    assert np.array_equal(env.canvas, twin.canvas)
    assert make(canvas_size=np.int64(8)).batch.task.image_shape == (8, 8)


def test_impossible_vector_environments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"autoreset_mode='NEXT'.* 'NextStep'"):
        make_vec(autoreset_mode="NEXT")
    with pytest.raises(ValueError, match="num_envs=0"):
        make_vec(0)
    with pytest.raises(ValueError, match="num_envs=True"):
        make_vec(True)
    with pytest.raises(ValueError, match=r"render_mode='human'.* 'rgb_array'"):
        make_vec(render_mode="human")
    with pytest.raises(TypeError, match=r"'autoreset'.* 'autoreset_mode'"):
        make_vec(autoreset="Disabled")


BAD_ACTIONS: list[tuple[Any, type[Exception], str]] = [
    (((np.nan, 0), 1), ValueError, r"location=\(nan, 0\).*NaN"),
    ((MIDDLE, 3), ValueError, "choice=3.* 2"),
    ((MIDDLE, -1), ValueError, "choice=-1.* 2"),
    ((MIDDLE, 1.0), TypeError, r"choice=1\.0.*float64.* 2"),
    ((MIDDLE, True), TypeError, "choice=True.*bool"),
    ((MIDDLE, None), TypeError, "choice=None"),
    ((MIDDLE, np.array([1])), TypeError, r"choice=array.*\(1,\).* 2"),
    (((0, 0, 0), 1), ValueError, r"location.*\(3,\).*\(2,\)"),
    ((0.5, 1), ValueError, r"location.*\(\).*\(2,\)"),
    ((None, 1), ValueError, r"location.*\(\).*\(2,\)"),
    ((("a", 0), 1), TypeError, r"location=\('a', 0\)"),
    (([0, [0]], 1), TypeError, r"location=\[0, \[0\]\]"),
    ((np.zeros((1, 2)), 1), ValueError, r"location.*\(1, 2\).*\(2,\)"),
    (1, TypeError, r"action=1 .*action_space\.sample"),
    (None, TypeError, "action=None.*pair"),
    ((MIDDLE, 1, 1), TypeError, "pair"),
    (np.zeros(3), TypeError, r"pair.*GridAction"),
    ({"location": MIDDLE, "label": 1}, TypeError, "pair"),
]


@pytest.mark.parametrize(("action", "error", "message"), BAD_ACTIONS)
def test_bad_actions_are_refused_and_change_nothing(
    action: Any, error: type[Exception], message: str
) -> None:
    env, untouched = make(), make()
    for either in (env, untouched):
        either.reset(seed=0, options={"index": 2})
    for turn in range(3):
        with pytest.raises(error, match=message):
            env.step(action)
        observation, *rest = env.step((LEFT, 2))
        expected, *expected_rest = untouched.step((LEFT, 2))
        assert rest == expected_rest
        assert rest == [float(turn == 2), turn == 2, False, {"label": 2, "index": 2}]
        assert np.array_equal(observation["glimpse"], expected["glimpse"])


ZEROS = np.zeros((2, 2), np.float32)
BAD_BATCHES: list[tuple[Any, type[Exception], str]] = [
    ((np.array([[0, 0], [np.nan, 0]]), np.zeros(2, int)), ValueError, "NaN"),
    ((ZEROS, np.array([0, 3])), ValueError, "choice=3.* 2"),
    ((ZEROS, np.array([-1, 5])), ValueError, "choice=-1.* 2"),
    ((ZEROS, np.zeros(2)), TypeError, r"float64.*\(2,\).* 2"),
    ((ZEROS, 0), TypeError, r"\(\).*\(2,\).* 2"),
    ((ZEROS, np.zeros(3, int)), TypeError, r"\(3,\).*\(2,\)"),
    ((ZEROS[0], np.zeros(2, int)), ValueError, r"location.*\(2,\).*\(2, 2\)"),
    ([(MIDDLE, 0), (MIDDLE, 0), (MIDDLE, 0)], TypeError, "pair"),
]


@pytest.mark.parametrize(("actions", "error", "message"), BAD_BATCHES)
def test_bad_actions_of_vector_environments_are_refused(
    actions: Any, error: type[Exception], message: str
) -> None:
    envs = make_vec(2)
    envs.reset(seed=0, options={"index": 1})
    with pytest.raises(error, match=message):
        envs.step(actions)
    for rewards in ([0, 0], [0, 0], [1, 1]):  # the refused step did not count
        assert envs.step((ZEROS, np.array([1, 1])))[1].tolist() == rewards


@pytest.mark.parametrize("label", [1, np.int32(1), np.uint8(1), np.array(1)])
def test_any_integer_is_a_label(label: Any) -> None:
    env = make(num_glimpses=1)
    env.reset(options={"index": 1})
    assert env.step(([0.0, 0.0], label))[1] == 1


def test_step_needs_a_reset_first() -> None:
    env, envs = make(), make_vec(2)
    with pytest.raises(ResetNeeded, match=r"reset\(\)"):
        env.step((MIDDLE, 0))
    with pytest.raises(ResetNeeded, match=r"\[0, 1\].*'reset_mask'"):
        envs.step((ZEROS, np.array([0, 0])))
    envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ResetNeeded, match=r"\[1\]"):
        envs.step((ZEROS, np.array([0, 0])))


def test_step_after_the_end_needs_a_reset() -> None:
    env = make(num_glimpses=1)
    env.reset(seed=0)
    env.step((MIDDLE, 0))
    for _ in range(2):
        with pytest.raises(ResetNeeded, match=r"reset\(\)"):
            env.step((MIDDLE, 0))
    env.reset()
    assert env.step((MIDDLE, 0))[2]


def test_disabled_autoreset_names_those_that_ended() -> None:
    envs = make_vec(2, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.step((ZEROS, np.array([0, 0])))
    envs.reset(options={"reset_mask": np.array([True, False])})  # one step behind from here on
    for _ in range(2):
        terminations = envs.step((ZEROS, np.array([0, 0])))[2]
    assert terminations.tolist() == [False, True]
    with pytest.raises(ResetNeeded, match=r"\[1\]"):
        envs.step((ZEROS, np.array([0, 0])))
    envs.reset(options={"reset_mask": np.array([False, True])})
    assert envs.step((ZEROS, np.array([0, 0])))[2].tolist() == [True, False]


def test_actions_of_a_reset_row_are_ignored() -> None:
    envs = make_vec(2, num_glimpses=1)
    envs.reset(seed=0)
    assert envs.step((ZEROS, np.array([0, 0])))[2].all()
    nonsense = (np.full((2, 2), np.nan), np.array([99, -1]))
    observations, rewards, terminations, truncations, _ = envs.step(nonsense)
    assert observations in envs.observation_space
    assert rewards.tolist() == [0, 0]
    assert not terminations.any()
    assert not truncations.any()
    with pytest.raises(ValueError, match="NaN"):  # now they are played
        envs.step(nonsense)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (3, r"'index'.* 3\..* 2,.*'three'"),
        (-1, r"'index'.* -1\..* 2,"),
        (1.0, r"'index'\]=1\.0"),
        (True, r"'index'\]=True"),
        ("1", r"'index'\]='1'"),
        (np.array([0, 1, 2]), r"'index'\]=array"),
        (2**70, r"'index'\]=1180591620717411303424"),
    ],
)
def test_bad_index_is_refused(index: Any, message: str) -> None:
    for env in (make(), make_vec(2)):
        with pytest.raises(ValueError, match=message):
            env.reset(options={"index": index})
        with pytest.raises(ResetNeeded):  # and nothing began
            env.step((ZEROS, np.zeros(2, int)))


def test_bad_index_arrays_are_refused() -> None:
    envs = make_vec(2)
    with pytest.raises(ValueError, match=r"'index'.* -5\."):
        envs.reset(options={"index": np.array([-5, 7])})
    with pytest.raises(ValueError, match=r"'index'\]=array.* 2 integers"):
        envs.reset(options={"index": np.array([0.0, 1.0])})


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([True, False], r"'reset_mask'\]=\[True, False\].* 2 "),
        (np.array([1, 0]), r"'reset_mask'\]=array.* 2 "),
        (np.array([True]), r"'reset_mask'\]=array.* 2 "),
        (np.array([False, False]), r"'reset_mask'\]=\[False False\]"),
    ],
)
def test_bad_reset_mask_is_refused(mask: Any, message: str) -> None:
    envs = make_vec(2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.reset(options={"reset_mask": mask})


def test_bad_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 .* 2 "):
        make_vec(2).reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match=r"seed.* -1"):
        make_vec(2).reset(seed=[3, -1])
    with pytest.raises(ValueError, match=r"seed.* 1\.5"):
        make_vec(2).reset(seed=[1.5, None])  # type: ignore[list-item]
    for seed in (np.int64(3), 1.5, "ab", np.array([1, 2])):
        with pytest.raises(TypeError, match=r"seed=.*list"):
            make_vec(2).reset(seed=seed)  # type: ignore[arg-type]
    with pytest.raises(Error, match="-1"):
        make().reset(seed=-1)
    with pytest.raises(Error, match="-1"):
        make_vec(2).reset(seed=-1)


# --- the vector environment by hand ----------------------------------------------------------


def test_next_step_by_hand() -> None:
    envs = make_vec(2, num_glimpses=2, initial_location=MIDDLE)
    envs.reset(seed=0, options={"index": np.array([1, 2])})
    labels = np.array([1, 1])
    played = [envs.step((ZEROS, labels)) for _ in range(4)]
    assert [step[1].tolist() for step in played] == [[0, 0], [1, 0], [0, 0], [0, 0]]
    # The third step begins new episodes, and the fourth is their first.
    assert [step[2].tolist() for step in played] == [[False] * 2, [True] * 2] + [[False] * 2] * 2
    assert not any(step[3].any() for step in played)
    assert played[1][4]["label"].tolist() == [1, 2]
    assert all(set(step[4]) == {"label", "_label", "index", "_index"} for step in played)


def test_same_step_by_hand() -> None:
    envs = make_vec(
        2, num_glimpses=1, initial_location=LEFT, autoreset_mode=AutoresetMode.SAME_STEP
    )
    envs.reset(seed=0, options={"index": np.array([1, 2])})
    observations, rewards, terminations, _, infos = envs.step((ZEROS, np.array([1, 1])))
    assert rewards.tolist() == [1, 0]
    assert terminations.tolist() == [True, True]
    assert observations["location"].tolist() == [[-1, -1], [-1, -1]]  # of the new episodes
    assert infos["_final_obs"].tolist() == [True, True]
    assert infos["final_obs"][0]["location"].tolist() == [0, 0]
    assert infos["final_obs"][0]["glimpse"].tolist() == floats([[[0.4, 0.4], [0.4, 0.4]]])
    assert infos["final_obs"][1]["glimpse"].tolist() == [[[1, 1], [1, 1]]]
    assert infos["final_info"]["label"].tolist() == [1, 2]
    assert infos["final_info"]["_label"].tolist() == [True, True]
    assert infos["label"].tolist() == infos["index"].tolist()
    assert (envs.canvases[:, 0, 0] == IMAGES[infos["index"], 0, 0]).all()


@pytest.mark.parametrize("env_id", ["RAMClassification-v0", "RAMMovingMNIST-v0"])
def test_a_size_of_pieces_without_pieces_is_refused(env_id: str) -> None:
    keywords: dict[str, Any] = {"dataset": "digits", "num_clutter": 0}
    for make in (gym.make, gym.make_vec):
        with pytest.raises(ValueError, match="clutter_size=12"):
            make(env_id, **keywords, clutter_size=12)
        make(env_id, **keywords, clutter_size=8).close()
