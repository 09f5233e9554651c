"""The rules of Search, played by hand; what its windows show; what a scripted player scores."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import ram_envs  # noqa: F401  registers the ids
from ram_envs import GlimpseVectorEnv, Retina, check_task
from ram_envs.searcher import Searcher
from ram_envs.streams import Streams, combine_keys
from ram_envs.tasks.search import Search, SearchState

LOOK, TAKE = 0, 1
ONE = np.array([0])


def begin(task: Search, num_searches: int = 1, seed: int = 0) -> SearchState:
    state = task.allocate(num_searches)
    rows = np.arange(num_searches)
    task.begin(state, rows, Streams(combine_keys(seed, rows)), {})
    return state


def look_at(task: Search, state: SearchState, x: int, y: int) -> None:
    """Look at a pixel edge with the only retina."""
    height, width = task.image_shape
    task.look_at(state, ONE, np.array([[2 * x / width - 1, 2 * y / height - 1]], np.float32))


def play(task: Search, state: SearchState, choice: int) -> tuple[float, bool, bool]:
    outcome = task.advance(state, ONE, np.array([choice]))
    assert outcome.truncations is not None
    return (
        round(float(outcome.rewards[0]), 9),
        bool(outcome.terminations[0]),
        bool(outcome.truncations[0]),
    )


def searched(**keywords: Any) -> tuple[Search, SearchState]:
    """A search of which the target's center is (20, 30), and a distractor's (60, 70)."""
    task = Search(100, num_distractors=1, **keywords)
    state = begin(task)
    state.places[0] = [[24, 14], [64, 54]]
    look_at(task, state, 0, 0)
    return task, state


# --- the rules -------------------------------------------------------------------------------


def test_every_look_and_every_mistake_costs() -> None:
    task, state = searched()
    assert play(task, state, LOOK) == (-0.01, False, False)
    look_at(task, state, 60, 70)
    assert play(task, state, TAKE) == (-0.02, False, False)  # a distractor
    look_at(task, state, 20, 30)
    assert task.verdict(state, 0) is None
    assert play(task, state, TAKE) == (0.99, True, False)
    found, over = task.infos(state)["found"]
    assert (found.tolist(), over.tolist()) == ([True], [True])
    assert "3" in str(task.verdict(state, 0))
    assert task.target(state, 0) == (14, 24, 26, 36)


@pytest.mark.parametrize(
    ("x", "y", "in_reach"),
    [(12, 22, True), (28, 38, True), (11, 30, False), (29, 30, False), (20, 39, False)],
)
def test_the_target_can_be_reached_from_eight_pixels(x: int, y: int, in_reach: bool) -> None:
    task, state = searched()
    look_at(task, state, x, y)
    assert play(task, state, TAKE)[1] == in_reach
    assert state.mistakes[0] == (not in_reach)


def test_a_search_is_cut_off_at_its_limit() -> None:
    task, state = searched(time_limit=2)
    assert play(task, state, LOOK) == (-0.01, False, False)
    assert play(task, state, LOOK) == (-0.01, False, True)
    found, over = task.infos(state)["found"]
    assert (found.tolist(), over.tolist()) == ([False], [True])
    assert task.verdict(state, 0)


def test_a_target_found_in_the_last_step_is_found() -> None:
    task, state = searched(time_limit=1)
    look_at(task, state, 20, 30)
    assert play(task, state, TAKE) == (0.99, True, False)


def test_a_search_that_begins_again_has_forgotten_the_last_one() -> None:
    task, state = searched(time_limit=1)
    play(task, state, TAKE)
    task.begin(state, ONE, Streams(combine_keys(1, ONE)), {})
    assert [state.steps[0], state.mistakes[0], state.found[0], state.over[0]] == [0, 0, 0, 0]


def test_items_lie_in_cells_of_their_own_inside_the_canvas() -> None:
    task = Search((90, 130), num_distractors=4)
    places = begin(task, 2000).places
    cells = places * 3 // (90, 130)
    assert all(len(np.unique(one, axis=0)) == 5 for one in cells)
    assert np.array_equal(cells, (places + 11) * 3 // (90, 130))  # none crosses a border
    assert (places.min((0, 1)).tolist(), places.max((0, 1)).tolist()) == ([2, 2], [76, 115])
    # Every cell is as likely as the others for the target: 2,000 / 9, four times sqrt(2,000 / 9).
    counts = np.unique(cells[:, 0] @ [3, 1], return_counts=True)[1]
    assert counts.shape == (9,)
    assert abs(counts - 222).max() < 60


def test_the_protocol() -> None:
    check_task(Search(60, num_distractors=2, time_limit=9))


@pytest.mark.parametrize(
    "keywords",
    [
        {"canvas_size": 47},
        {"canvas_size": (60, 40)},
        {"canvas_size": (60, 60, 1)},
        {"canvas_size": 60.0},
        {"num_distractors": -1},
        {"num_distractors": 200},
        {"look_cost": -0.1},
        {"mistake_cost": float("nan")},
        {"time_limit": 0},
    ],
)
def test_bad_settings_are_named(keywords: dict[str, Any]) -> None:
    (name,) = keywords
    with pytest.raises(ValueError, match=name):
        gym.make("RAMSearch-v0", **keywords)


# --- what is seen ----------------------------------------------------------------------------


def test_vertical_and_horizontal_bars() -> None:
    task, state = searched()
    source, rows = task.images(state)
    canvas = source[rows[0]]
    assert canvas[24:36, 14:26].tolist() == [[255, 0] * 6] * 12
    assert canvas[64:76, 54:66].tolist() == [[255] * 12, [0] * 12] * 6
    assert np.count_nonzero(canvas) == 144
    state.places[0] = [[25, 15], [65, 55]]  # the bars stay where they are
    source, rows = task.images(state)
    assert source[rows[0], 25, 15:19].tolist() == [0, 255, 0, 255]
    assert source[rows[0]][65:69, 55].tolist() == [0, 255, 0, 255]


def test_items_are_equally_bright_in_all_but_the_sharp_patch() -> None:
    task, state = searched()
    glimpses = Retina(12, 3).look_by_window(
        task.images(state)[0], np.array([0, 0]), np.array([[-0.6, -0.4], [0.2, 0.4]], np.float32)
    )
    assert not np.array_equal(glimpses[0, 0], glimpses[1, 0])
    assert np.array_equal(glimpses[0, 1:], glimpses[1, 1:])


@pytest.mark.parametrize("size", [60, 200, (48, 300)])
def test_windows_are_drawn_as_the_canvas_shows_them(size: Any) -> None:
    task = Search(size)
    state = begin(task, 40, seed=3)
    source, rows = task.images(state)
    canvases = np.stack([source[row] for row in rows])
    rng = np.random.default_rng(0)
    for num_scales in (1, 3):
        retina = Retina(12, num_scales)
        for _ in range(5):
            locations = rng.uniform(-1.1, 1.1, (40, 2)).astype(np.float32)
            found = retina.look_by_window(source, rows, locations)
            assert np.array_equal(found, retina(canvases, locations))
    places = np.array([3, 3, 1])  # some canvases, one of them twice
    locations = locations[:3]
    expected = retina(canvases[places], locations)
    assert np.array_equal(retina.look_by_window(source, places, locations), expected)


def test_the_last_canvas_is_kept_when_the_next_search_begins() -> None:
    task = Search(60, num_distractors=1, time_limit=2)
    envs = GlimpseVectorEnv(task, Retina(12, 1), 3, autoreset_mode="SameStep")
    envs.reset(seed=0)
    first = envs.canvases
    for _ in range(2):
        _, _, _, truncated, _ = envs.step((np.zeros((3, 2)), np.zeros(3, np.int64)))
    assert truncated.all()
    assert np.array_equal(envs.final_canvases, first)
    assert not np.array_equal(envs.canvases, first)


def test_a_canvas_is_not_stored() -> None:
    """Ten thousand canvases of 10,000 × 10,000 pixels, a terabyte, in one step."""
    envs = GlimpseVectorEnv(Search(10_000), Retina(12, 2), 10_000, autoreset_mode="SameStep")
    envs.reset(seed=0)
    observations, *_ = envs.step((np.zeros((10_000, 2)), np.zeros(10_000, np.int64)))
    assert observations["glimpse"].shape == (10_000, 2, 12, 12)


# --- a game of one's own ---------------------------------------------------------------------


def test_the_example_of_a_game_that_ends_early(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    example = Path(__file__).parent.parent / "examples" / "own_game.py"
    runpy.run_path(str(example), run_name="__main__")
    random, by_rules = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
    assert 0.25 < random < 0.4
    assert 0.9 < by_rules < 0.97


# --- how well it can be played ---------------------------------------------------------------


def mean_return(envs: Any, num_episodes: int, act: Any) -> float:
    """The mean return of the first episode in each of the sub-environments."""
    observations, _ = envs.reset(seed=0)
    returns, running, state = np.zeros(num_episodes), np.ones(num_episodes, np.bool_), None
    while running.any():
        action, state = act(observations, state)
        observations, rewards, terminated, truncated, _ = envs.step(action)
        returns += rewards * running
        running &= ~(terminated | truncated)
    return float(returns.mean())


def test_the_reward_threshold() -> None:
    assert gym.spec("RAMSearch-v0").reward_threshold == 0.85


@pytest.mark.parametrize(("size", "least"), [(60, 0.955), (200, 0.935)])
def test_a_scripted_player_finds_the_target_soon(size: int, least: float) -> None:
    envs: Any = gym.make_vec("RAMSearch-v0", num_envs=60, canvas_size=size)
    searcher = Searcher((size, size))
    assert least < mean_return(envs, 60, searcher.predict) < 0.98


def test_looking_at_random_places_finds_it_late() -> None:
    """Even if whatever is in reach is recognized."""
    envs: Any = gym.make_vec("RAMSearch-v0", num_envs=300, num_distractors=4)
    rng = np.random.default_rng(0)
    task, state = envs.unwrapped.batch.task, envs.unwrapped.batch.state

    def act(observations: Any, _: None) -> tuple[Any, None]:
        centers = state.places[:, 0, ::-1] + 6
        choices = (np.abs(centers - state.gaze) <= 8).all(axis=1).astype(np.int64)
        return (rng.uniform(-1, 1, (300, 2)).astype(np.float32), choices), None

    assert task.image_shape == (200, 200)
    assert -0.3 < mean_return(envs, 300, act) < -0.1


def test_the_searcher_plays_one_environment_as_it_plays_many() -> None:
    searcher = Searcher((100, 100))
    envs: Any = gym.make_vec("RAMSearch-v0", num_envs=2, canvas_size=100)
    observations, _ = envs.reset(seed=5)
    env = gym.make("RAMSearch-v0", canvas_size=100)
    observation, _ = env.reset(seed=6)
    state, state_of_one = None, None
    for _ in range(3):
        action, state = searcher.predict(observations, state)
        one, state_of_one = searcher.predict(observation, state_of_one, episode_start=False)
        assert one[0].tolist() == action[0][1].tolist()
        assert one[1] == action[1][1]
        if one[1] == TAKE:
            break
        observations, *_ = envs.step(action)
        observation, *_ = env.step(one)
    # An episode that starts is remembered nothing of.
    afresh, _ = searcher.predict(observation, None)
    again, _ = searcher.predict(observation, state_of_one, episode_start=True)
    assert again[0].tolist() == afresh[0].tolist()


def test_the_searcher_needs_eight_pixels() -> None:
    searcher = Searcher((200, 200))
    for size, sees in ((8, True), (7, False)):
        env = gym.make("RAMSearch-v0", glimpse_size=size, num_scales=1)
        observation, _ = env.reset(seed=0)
        if sees:
            searcher.predict(observation)
            continue
        with pytest.raises(ValueError, match=r"7.*glimpse_size"):
            searcher.predict(observation)
