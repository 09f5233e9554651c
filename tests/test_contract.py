"""The environments' contract, whatever is called in whatever order: a model of it plays along.

Hypothesis drives an environment with resets, steps good and bad, pictures and closings. The model
is small: for each sub-environment how far its episode is, and a twin, an environment of its own
that hears the good calls alone. What the contract leaves open it does not look at.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import ram_envs  # noqa: F401  (registers the ids)

# Each id small, with the length of its episodes; a search is cut off then, if it has not ended.
IDS: dict[str, tuple[dict[str, Any], int]] = {
    "RAMMNIST-v0": ({"dataset": "digits", "num_glimpses": 3}, 3),
    "RAMClutteredMNIST-v0": ({"dataset": "digits", "num_glimpses": 2, "split": "test"}, 2),
    "RAMPairsMNIST-v0": ({"dataset": "digits", "num_glimpses": 2, "split": "validation"}, 2),
    "RAMMovingMNIST-v0": ({"dataset": "digits", "num_glimpses": 1}, 1),
    "RAMCatch-v0": ({"size": 5, "glimpse_size": 2}, 4),
    "RAMSearch-v0": (
        {"canvas_size": 32, "num_distractors": 0, "num_scales": 2, "time_limit": 5},
        5,
    ),
}
RENDER_MODES = [None, "rgb_array"] if importlib.util.find_spec("pygame") else [None]
NUM_ENVS = 3

seeds = st.none() | st.integers(0, 2**64)
indices = st.none() | st.integers(0, 199)
numbers = st.floats(-1.5, 1.5, width=32) | st.sampled_from([-np.inf, np.inf, 1.0, -1.0])
locations = st.tuples(numbers, numbers)
shares = st.floats(0, 1, exclude_max=True)  # of the choices, whatever their number is


class Row:
    """What the contract says of one sub-environment: None where it says nothing."""

    def __init__(self, env_id: str) -> None:
        self.env_id = env_id
        self.keywords, self.length = IDS[env_id]
        self.has_labels = "dataset" in self.keywords
        self.twin: gym.Env | None = None  # None until a seed is given: what is drawn is unknown
        self.begun, self.steps, self.found = False, 0, False
        self.label: int | None = None

    @property
    def running(self) -> bool:
        return self.begun and self.steps < self.length and not self.found

    def begin(self, seed: int | None, index: int | None, found: Any, info: dict[str, Any]) -> None:
        """An episode has begun, and showed `found` with `info`."""
        self.begun, self.steps, self.found = True, 0, False
        if seed is not None and self.twin is None:
            self.twin = gym.make(self.env_id, disable_env_checker=True, **self.keywords).unwrapped
        if self.twin is not None:
            options = {} if index is None else {"index": index}
            assert_same((found, info), self.twin.reset(seed=seed, options=options))
        if self.has_labels:
            assert set(info) == {"label", "index"}
            assert index in (None, info["index"])
            self.label = info["label"]
        else:
            assert info == {}

    def step(
        self, action: Any, found: Any, reward: float, ends: tuple[bool, bool], info: Any
    ) -> None:
        """A step was taken; `ends` says whether it terminated the episode, and truncated it."""
        location, choice = action
        self.steps += 1
        over = any(ends)
        if self.env_id == "RAMSearch-v0":
            self.found = info.get("found", False)
            late = self.steps == self.length and not self.found
            assert ends == (self.found, late)
        else:
            assert ends == (self.steps == self.length, False)
        assert found["location"].tolist() == np.clip(location, -1, 1).astype(np.float32).tolist()
        if self.has_labels:
            assert info["label"] == self.label
            assert reward == (over and choice == self.label)
        elif self.env_id == "RAMSearch-v0":
            assert (reward > 0) == self.found
            assert info == ({"found": self.found} if over else {})
        else:
            assert reward in ((0, 1) if over else (0,))
            assert info == ({"caught": reward} if over else {})
        if self.twin is not None:
            expected = self.twin.step(action)
            assert_same((found, reward, *ends, info), expected)


def assert_same(found: Any, expected: Any) -> None:
    """Equal to the last bit."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, tuple):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert np.array_equal(found, expected), f"{found} and {expected}"


class Machine(RuleBasedStateMachine):
    """What is common to one environment and to many."""

    num_rows = 1
    env: Any

    def start(self, env_id: str, render_mode: str | None) -> None:
        self.rows = [Row(env_id) for _ in range(self.num_rows)]
        self.render_mode, self.closed = render_mode, False

    def fix_noise(self) -> None:
        """Let a play without a seed be the same whenever hypothesis repeats it."""
        self.env.np_random = np.random.default_rng(0)

    def choose(self, share: float) -> int:
        return int(share * self.num_choices)

    @property
    def num_choices(self) -> int:
        return len(self.env.unwrapped.batch.task.choice_names)

    def bad_actions(self, location: Any, choice: Any) -> list[Any]:
        """Actions that are none, made of one that is; of many, the first row's is wrong."""
        nan = np.array(location, np.float64)
        nan.flat[1] = np.nan
        wrong = [np.array(choice) for _ in range(3)]
        for one, value in zip(wrong, (-1, self.num_choices, 2**40), strict=True):
            one.flat[0] = value
        return [
            (nan, choice),
            *((location, one) for one in wrong),
            (location, np.array(choice, np.float64)),
            (np.zeros(3), choice),
            (location, np.zeros((2, 2), np.int64)),
            (location,),
            location,
            None,
            "left",
        ]

    @rule()
    def close(self) -> None:
        self.env.close()
        self.closed = True  # what comes next is a reset, or another close

    @invariant()
    def canvas_is_the_twins(self) -> None:
        batch = self.env.unwrapped.batch
        canvases = batch.canvases
        assert canvases.dtype == np.uint8
        assert canvases.shape == (self.num_rows, *batch.task.image_shape)
        for canvas, row in zip(canvases, self.rows, strict=True):
            if row.twin is not None:
                assert np.array_equal(canvas, row.twin.unwrapped.canvas)  # type: ignore[attr-defined]

    def teardown(self) -> None:
        if hasattr(self, "env"):
            self.env.close()


class SingleMachine(Machine):
    """One environment."""

    @initialize(env_id=st.sampled_from(sorted(IDS)), render_mode=st.sampled_from(RENDER_MODES))
    def make(self, env_id: str, render_mode: str | None) -> None:
        self.start(env_id, render_mode)
        (self.row,) = self.rows
        made: Any = gym.make(
            env_id, disable_env_checker=True, render_mode=render_mode, **self.row.keywords
        )
        self.env = made.unwrapped  # without Gymnasium's own check of the order
        self.fix_noise()

    @rule(seed=seeds, index=indices)
    def reset(self, seed: int | None, index: int | None) -> None:
        index = index if self.row.has_labels else None
        options = None if index is None else {"index": index}
        found, info = self.env.reset(seed=seed, options=options)
        assert found in self.env.observation_space
        self.row.begin(seed, index, found, info)
        self.closed = False

    @rule(index=st.sampled_from([-1, 10**6, 0.5, "first", [1, 2]]))
    @precondition(lambda self: self.row.has_labels)
    def reset_to_no_image(self, index: Any) -> None:
        with pytest.raises(ValueError, match="index"):
            self.env.reset(options={"index": index})  # and nothing has happened

    @rule(location=locations, share=shares, times=st.integers(1, 5))
    @precondition(lambda self: not self.closed)
    def step(self, location: tuple[float, float], share: float, times: int) -> None:
        for _ in range(times):
            self.step_once(location, share)

    def step_once(self, location: tuple[float, float], share: float) -> None:
        action = (np.array(location, np.float32), self.choose(share))
        if not self.row.running:
            with pytest.raises(ResetNeeded, match=r"reset\(\)"):
                self.env.step(action)
            return
        found, reward, terminated, truncated, info = self.env.step(action)
        assert found in self.env.observation_space
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        self.row.step(action, found, reward, (terminated, truncated), info)

    @rule(share=shares)
    @precondition(lambda self: self.row.running and not self.closed)
    def step_badly(self, share: float) -> None:
        for action in self.bad_actions(np.zeros(2, np.float32), self.choose(share)):
            with pytest.raises((TypeError, ValueError)):
                self.env.step(action)  # and nothing has happened, as the twin says

    @rule()
    @precondition(lambda self: not self.closed)
    def render(self) -> None:
        if self.render_mode is None:
            with pytest.warns(UserWarning, match="render_mode"):
                assert self.env.render() is None
        elif not self.row.begun:
            with pytest.raises(ResetNeeded, match=r"reset\(\)"):
                self.env.render()
        else:
            assert self.env.render().shape == (560, 768, 3)


class VectorMachine(Machine):
    """Many environments in one."""

    num_rows = NUM_ENVS
    mode: AutoresetMode

    @initialize(env_id=st.sampled_from(sorted(IDS)), render_mode=st.sampled_from(RENDER_MODES))
    def make(self, env_id: str, render_mode: str | None) -> None:
        self.start(env_id, render_mode)
        self.env = gym.make_vec(
            env_id,
            num_envs=NUM_ENVS,
            render_mode=render_mode,
            autoreset_mode=self.mode,
            **IDS[env_id][0],
        ).unwrapped
        self.fix_noise()

    @rule(
        seed=seeds | st.lists(seeds, min_size=NUM_ENVS, max_size=NUM_ENVS),
        index=indices | st.lists(st.integers(0, 199), min_size=NUM_ENVS, max_size=NUM_ENVS),
        mask=st.none() | st.lists(st.booleans(), min_size=NUM_ENVS, max_size=NUM_ENVS).filter(any),
    )
    def reset(self, seed: Any, index: Any, mask: list[bool] | None) -> None:
        options: dict[str, Any] = {}
        if self.closed:
            mask = None
        if mask is not None:
            options["reset_mask"] = np.array(mask)
        if index is not None and self.rows[0].has_labels:
            options["index"] = np.array(index)
        found, infos = self.env.reset(seed=seed, options=options or None)
        assert found in self.env.observation_space
        row_seeds = (
            seed
            if isinstance(seed, list)
            else [None if seed is None else seed + i for i in range(NUM_ENVS)]
        )
        row_indices = np.broadcast_to(options.get("index", -1), NUM_ENVS).tolist()
        for i, row in enumerate(self.rows):
            if mask is not None and not mask[i]:
                assert info_of(infos, i) == {}
                continue
            row_index = row_indices[i] if "index" in options else None
            row.begin(row_seeds[i], row_index, part(found, i), info_of(infos, i))
        self.closed = False

    @rule(mask=st.sampled_from([[True] * NUM_ENVS, np.zeros(NUM_ENVS, bool), np.ones(2, bool)]))
    def reset_with_a_bad_mask(self, mask: Any) -> None:
        with pytest.raises(ValueError, match="reset_mask"):
            self.env.reset(options={"reset_mask": mask})

    @property
    def may_step(self) -> bool:
        if self.mode is AutoresetMode.NEXT_STEP:
            return all(row.begun for row in self.rows)
        return all(row.running for row in self.rows)

    @rule(
        where=st.lists(locations, min_size=NUM_ENVS, max_size=NUM_ENVS),
        what=st.lists(shares, min_size=NUM_ENVS, max_size=NUM_ENVS),
        times=st.integers(1, 5),
    )
    @precondition(lambda self: not self.closed)
    def step(self, where: list[tuple[float, float]], what: list[float], times: int) -> None:
        for _ in range(times):
            self.step_once(where, what)

    def step_once(self, where: list[tuple[float, float]], what: list[float]) -> None:
        looks, choices = np.array(where, np.float32), np.array([self.choose(one) for one in what])
        stopped = [not row.running for row in self.rows]
        looks[stopped], choices[stopped] = np.nan, 99  # nobody reads them
        if not self.may_step:
            with pytest.raises(ResetNeeded, match=r"reset\(\)"):
                self.env.step((looks, choices))
            return
        found, rewards, terminations, truncations, infos = self.env.step((looks, choices))
        assert found in self.env.observation_space
        assert (rewards.dtype, terminations.dtype) == (np.float64, np.bool_)
        assert truncations.dtype == np.bool_
        for i, row in enumerate(self.rows):
            if stopped[i]:  # NEXT_STEP: it begins anew, whatever it was told
                assert (rewards[i], terminations[i], truncations[i]) == (0, False, False)
                row.begin(None, None, part(found, i), info_of(infos, i))
                continue
            seen, info = part(found, i), info_of(infos, i)
            ends = bool(terminations[i]), bool(truncations[i])
            is_final = self.mode is AutoresetMode.SAME_STEP and any(ends)
            assert infos.get("_final_obs", np.zeros(NUM_ENVS, bool))[i] == is_final
            if is_final:
                final = infos["final_obs"][i], info_of(infos["final_info"], i)
                row.step((looks[i], choices[i]), final[0], rewards[i], ends, final[1])
                row.begin(None, None, seen, info)
            else:
                row.step((looks[i], choices[i]), seen, rewards[i], ends, info)

    @rule()
    @precondition(lambda self: self.may_step and self.rows[0].running and not self.closed)
    def step_badly(self) -> None:
        good = np.zeros((NUM_ENVS, 2), np.float32), np.zeros(NUM_ENVS, np.int64)
        for actions in self.bad_actions(*good):
            with pytest.raises((TypeError, ValueError)):
                self.env.step(actions)

    @rule()
    @precondition(lambda self: not self.closed)
    def render(self) -> None:
        if self.render_mode is None:
            with pytest.warns(UserWarning, match="render_mode"):
                assert self.env.render() is None
        elif not any(row.begun for row in self.rows):
            with pytest.raises(ResetNeeded, match=r"reset\(\)"):
                self.env.render()
        elif all(row.begun for row in self.rows):  # a picture of some is promised to nobody
            assert [frame.shape for frame in self.env.render()] == [(560, 768, 3)] * NUM_ENVS


def part(observations: dict[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    return {key: value[i] for key, value in observations.items()}


def info_of(infos: dict[str, Any], i: int) -> dict[str, Any]:
    """The info of sub-environment i, as Gymnasium batches them."""
    keys = [key for key in infos if not key.startswith(("_", "final_"))]
    return {key: infos[key][i].item() for key in keys if infos[f"_{key}"][i]}


class NextStepMachine(VectorMachine):
    mode = AutoresetMode.NEXT_STEP


class SameStepMachine(VectorMachine):
    mode = AutoresetMode.SAME_STEP


class DisabledMachine(VectorMachine):
    mode = AutoresetMode.DISABLED


TestSingle = SingleMachine.TestCase
TestNextStep = NextStepMachine.TestCase
TestSameStep = SameStepMachine.TestCase
TestDisabled = DisabledMachine.TestCase

LIMITS = settings(max_examples=30, stateful_step_count=30)
TestSingle.settings = TestNextStep.settings = LIMITS
TestSameStep.settings = TestDisabled.settings = LIMITS
