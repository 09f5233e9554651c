"""check_task: our tasks pass, and a task that breaks one rule is told which, with the value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ram_envs.envs.classification import ClassificationEnv
from ram_envs.envs.moving import MovingEnv
from ram_envs.streams import Streams
from ram_envs.task import Outcome
from ram_envs.tasks.catch import Catch
from ram_envs.testing import TaskError, check_task


@dataclass
class LampState:
    """B episodes: lit (B,) bool, place, length and steps (B,) int64."""

    lit: np.ndarray
    place: np.ndarray
    length: np.ndarray
    steps: np.ndarray


class Lamp:
    """A task that keeps every rule: a lamp wanders for 3 or 4 steps; say whether it is lit."""

    image_shape: Any = (2, 3)
    choice_names: Any = ("dark", "lit")
    frames_change: Any = True

    def allocate(self, num_envs: int) -> LampState:
        lit = np.zeros(num_envs, np.bool_)
        return LampState(lit, *np.zeros((3, num_envs), np.int64))

    def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
        draws = streams.integers(2, 3, 2)
        state.lit[rows] = draws[:, 0] == 1
        state.place[rows] = draws[:, 1]
        state.length[rows] = 3 + draws[:, 2]
        state.steps[rows] = 0

    def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
        state.steps[rows] += 1
        state.place[rows] = (state.place[rows] + 1) % 3
        over = state.steps[rows] == state.length[rows]
        right = (choices == 1) == state.lit[rows]
        return Outcome((over & right).astype(np.float64), over)

    def images(self, state: LampState) -> Any:
        rows = np.arange(len(state.lit))
        source = np.zeros((len(rows), *self.image_shape), np.uint8)
        source[rows, 0, state.place] = np.where(state.lit, 255, 51)
        return source, rows

    def infos(self, state: LampState) -> Any:
        always = np.ones(len(state.lit), np.bool_)
        return {
            "label": (state.lit.astype(np.int64), always),
            "steps": (state.steps, state.steps == state.length),
        }


def complaint(task: Any, **settings: Any) -> str:
    with pytest.raises(TaskError) as caught:
        check_task(task, **settings)
    return str(caught.value)


# --- what keeps the rules --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_envs", [2, 4, 5])
def test_a_task_that_keeps_every_rule_passes(num_envs: int, seed: int) -> None:
    check_task(Lamp(), num_envs, seed)


@pytest.mark.parametrize(
    "task",
    [
        Catch(),
        Catch(size=5, num_balls=3),
        ClassificationEnv(dataset="digits").batch.task,
        ClassificationEnv(
            dataset="digits", split="test", canvas_size=(40, 50), num_clutter=2
        ).batch.task,
        MovingEnv(dataset="digits").batch.task,
        MovingEnv(dataset="digits", split="validation", num_glimpses=3).batch.task,
    ],
    ids=["catch", "three balls", "image", "test canvas", "moving", "moving, fixed"],
)
def test_our_own_tasks_pass(task: Any) -> None:
    check_task(task)


# --- attributes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("image_shape", [2, 3], "image_shape is [2, 3]: expected a tuple (H, W) or (H, W, C)"),
        ("image_shape", (6,), "image_shape is (6,): expected"),
        ("image_shape", (1, 2, 3, 4), "image_shape is (1, 2, 3, 4): expected"),
        ("image_shape", (2, 3.0), "image_shape is (2, 3.0): expected"),
        ("image_shape", (0, 3), "image_shape is (0, 3): expected"),
        ("choice_names", "ab", "choice_names is 'ab': expected a tuple of strings"),
        ("choice_names", (0, 1), "choice_names is (0, 1): expected a tuple of strings"),
        ("choice_names", (), "choice_names is empty: expected at least one choice"),
        ("choice_names", ("a", "b", "a"), "choice_names repeats ['a']: expected each name once"),
        ("frames_change", None, "frames_change is None: expected True (a game) or False"),
        ("advance", 3, "the task has no method advance()"),
    ],
)
def test_attributes_of_the_wrong_kind(name: str, value: Any, words: str) -> None:
    task = Lamp()
    setattr(task, name, value)
    assert words in complaint(task)


@pytest.mark.parametrize("name", ["image_shape", "choice_names", "frames_change"])
def test_a_missing_attribute(name: str) -> None:
    class Bare:
        pass

    bare = Bare()
    for kept in {"image_shape", "choice_names", "frames_change"} - {name}:
        setattr(bare, kept, getattr(Lamp, kept))
    assert complaint(bare) == f"the task has no attribute {name}."


def test_a_missing_method() -> None:
    class Blind(Lamp):
        images = None  # type: ignore[assignment]

    assert complaint(Blind()) == "the task has no method images()."


# --- what the verbs give back ----------------------------------------------------------------


def change_images(change: Any) -> Any:
    class Changed(Lamp):
        def images(self, state: LampState) -> Any:
            return change(*super().images(state))

    return Changed()


def change_outcome(change: Any) -> Any:
    class Changed(Lamp):
        def advance(self, state: LampState, rows: Any, choices: Any) -> Any:
            outcome = super().advance(state, rows, choices)
            return change(outcome.rewards, outcome.terminations)

    return Changed()


def change_infos(**infos: Any) -> Any:
    class Changed(Lamp):
        def infos(self, state: LampState) -> Any:
            return {key: make(state.steps) for key, make in infos.items()}

    return Changed()


FOUR = np.ones(4, np.bool_)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda source, rows: source, "images() gave a ndarray: expected a pair (source, rows)"),
        (
            lambda source, rows: (source / 255, rows),
            "the source of images(): found float64 of shape (4, 2, 3), expected a numpy array, uin",
        ),
        (lambda source, rows: (source.tolist(), rows), "expected a numpy array, uint8"),
        (
            lambda source, rows: (source[:, :, :2], rows),
            "the source of images() has shape (4, 2, 2): expected (N, 2, 3), as image_shape says",
        ),
        (lambda source, rows: (source[0], rows), "has shape (2, 3): expected (N, 2, 3)"),
        (
            lambda source, rows: (source, rows[:3]),
            "the rows of images() are int64 of shape (3,): expected integers of shape (4,), one "
            "for each episode",
        ),
        (lambda source, rows: (source, rows * 1.0), "rows of images() are float64 of shape (4,)"),
        (lambda source, rows: (source, rows + 1), "rows of images() contain 4: expected 0 to 3"),
        (lambda source, rows: (source, rows - 1), "rows of images() contain -1: expected 0 to 3"),
    ],
)
def test_images_of_another_kind(change: Any, words: str) -> None:
    assert words in complaint(change_images(change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rewards, over: None, "advance() gave None (NoneType): expected Outcome(rewards, t"),
        (lambda rewards, over: (rewards, over), "(tuple): expected Outcome(rewards, terminations)"),
        (
            lambda rewards, over: Outcome(rewards[:3], over),
            "the rewards of advance(): found float64 of shape (3,), expected a numpy array, "
            "float64 of shape (4,)",
        ),
        (
            lambda rewards, over: Outcome(rewards.astype(np.float32), over),
            "the rewards of advance(): found float32 of shape (4,), expected a numpy array, float",
        ),
        (
            lambda rewards, over: Outcome(rewards * np.nan, over),
            "the rewards of advance() contain nan: expected finite numbers",
        ),
        (lambda rewards, over: Outcome(rewards - np.inf, over), "advance() contain -inf: expected"),
        (
            lambda rewards, over: Outcome(rewards, bool(over.all())),
            "of advance(): found False (bool), ex",
        ),
        (
            lambda rewards, over: Outcome(rewards, over.astype(np.int64)),
            "the terminations of advance(): found int64 of shape (4,), expected a numpy array, "
            "bool of shape (4,)",
        ),
        (
            lambda rewards, over: Outcome(rewards, over[1:]),
            "terminations of advance(): found bool of",
        ),
    ],
)
def test_outcomes_of_another_kind(change: Any, words: str) -> None:
    assert words in complaint(change_outcome(change))


@pytest.mark.parametrize(
    ("infos", "words"),
    [
        ({"a": lambda steps: steps}, "infos()['a'] is int64 of shape (4,): expected (values, pres"),
        (
            {"a": lambda steps: (steps.tolist(), FOUR)},
            "the values of infos()['a'] are [0, 0, 0, 0] (list): expected an array of numbers or "
            "strings of shape (4,)",
        ),
        ({"a": lambda steps: (steps[:2], FOUR)}, "infos()['a'] are int64 of shape (2,): expected"),
        ({"a": lambda steps: (steps.astype(object), FOUR)}, "are object of shape (4,): expected"),
        (
            {"a": lambda steps: (steps, True)},
            "the second of infos()['a'], where the values hold: found True (bool), expected a "
            "numpy array, bool of shape (4,)",
        ),
        ({"a": lambda steps: (steps, steps)}, "where the values hold: found int64 of shape (4,)"),
        (
            {"_a": lambda steps: (steps, FOUR)},
            "infos() has the key '_a': expected a string that begins with neither '_' nor 'final_'",
        ),
        ({"final_obs": lambda steps: (steps, FOUR)}, "infos() has the key 'final_obs': expected"),
        (
            {"label": lambda steps: (steps + 5, FOUR)},
            "infos()['label'] holds [5, 5, 5, 5]: the true label is a choice, an integer from 0 to",
        ),
        ({"label": lambda steps: (steps * 0.0, FOUR)}, "infos()['label'] holds [0.0, 0.0, 0.0, 0."),
    ],
)
def test_infos_of_another_kind(infos: Any, words: str) -> None:
    assert words in complaint(change_infos(**infos))


def test_infos_that_are_no_dict() -> None:
    class Silent(Lamp):
        def infos(self, state: LampState) -> Any:
            return None

    assert complaint(Silent()) == "infos() gave None (NoneType): expected a dict."


def test_an_episode_without_end() -> None:
    task = change_outcome(lambda rewards, over: Outcome(rewards, over & False))
    words = "the episode in row 0 has not ended after 50 steps of random choices: expected a termi"
    assert words in complaint(task, max_steps=50)
    assert "after 2 steps" in complaint(Lamp(), max_steps=2)


def test_an_exception_names_the_verb_and_keeps_its_cause() -> None:
    class TwoPassengers(Lamp):
        choice_names = ("dark", "lit", "broken")

        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            if (choices == 2).any():
                raise KeyError("broken")
            return super().advance(state, rows, choices)

    with pytest.raises(TaskError, match=r"^advance\(\) of the rows \[0, 1, 2, 3\] raised KeyError"):
        check_task(TwoPassengers())
    with pytest.raises(TaskError) as caught:
        check_task(TwoPassengers())
    assert isinstance(caught.value.__cause__, KeyError)


def test_no_rows_are_rows_too() -> None:
    class Crowded(Lamp):
        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            choices.max()
            return super().advance(state, rows, choices)

    assert complaint(Crowded()).startswith("advance() of the rows [] raised ValueError: zero-size")


def test_rows_that_have_not_begun_have_an_image_too() -> None:
    class Hasty(Lamp):
        def images(self, state: LampState) -> Any:
            source, rows = super().images(state)
            return source, np.where(state.length > 0, rows, 99)

    words = "the rows of images() contain 99: expected 0 to 3, the rows of the source"
    assert words in complaint(Hasty())


# --- what must not matter --------------------------------------------------------------------


def test_a_picture_that_changes() -> None:
    class Wandering(Lamp):
        frames_change = False

    words = "frames_change is False, but a step changed the image of row 0. Set it to True"
    assert words in complaint(Wandering())


def test_looking_that_changes_what_is_seen() -> None:
    class Shy(Lamp):
        def images(self, state: LampState) -> Any:
            state.place[:] = (state.place + 1) % 3
            return super().images(state)

    assert "images() or infos() changed row 0: asked again, pixel (0, " in complaint(Shy())


def test_randomness_from_elsewhere() -> None:
    generator = np.random.default_rng(0)

    class Diced(Lamp):
        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            state.place[rows] = generator.integers(3, size=len(rows))

    message = complaint(Diced())
    assert message.startswith("the same streams and choices gave another episode the second time: ")
    assert "Draw from the streams given to begin() alone" in message

    class Noisy(Lamp):
        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            outcome = super().advance(state, rows, choices)
            return Outcome(outcome.rewards + generator.random(len(rows)), outcome.terminations)

    message = complaint(Noisy())
    assert "the second time: row 0, after step 1: its reward is 0." in message


def test_a_count_kept_in_the_task() -> None:
    class Counting(Lamp):
        count = 0

        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            self.count += 1
            state.length[rows] = 2 + self.count % 2

    message = complaint(Counting())
    assert "another episode the second time" in message
    assert "remember nothing in the task" in message


def test_state_kept_in_the_task() -> None:
    class Forgetful(Lamp):
        steps: np.ndarray

        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            self.steps = np.zeros(len(state.steps), np.int64)

        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            outcome = super().advance(state, rows, choices)
            self.steps[rows] += 1
            return Outcome(outcome.rewards, self.steps[rows] == 3)

    message = complaint(Forgetful())
    assert message.startswith("two states of the task interfere: beside another state an episode g")
    assert "after step 3: its termination is False, not True. Keep all that changes in" in message


def test_one_state_for_all() -> None:
    class Shared(Lamp):
        def __init__(self) -> None:
            self.state = super().allocate(4)

        def allocate(self, num_envs: int) -> LampState:
            return self.state

    assert complaint(Shared()).startswith("two states of the task interfere")


def test_something_left_of_an_earlier_episode() -> None:
    class Tired(Lamp):
        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            steps = state.steps[rows]
            super().begin(state, rows, streams, options)
            state.steps[rows] = steps

    message = complaint(Tired())
    assert message.startswith("something is left of an earlier episode: in a used row an episode g")
    assert (
        "when it begins: its info is {'label': 0, 'steps': 4}, not {'label': 0}. Let be" in message
    )


def test_begin_that_shows_in_other_rows() -> None:
    class Sweeping(Lamp):
        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            state.lit[:] = state.lit[rows[0]]

    message = complaint(Sweeping(), seed=1)
    assert message.startswith("begin() was given the rows [1, 3] and changed row ")
    assert "its image is " in message
    assert message.endswith("It may write to state[rows] alone.")


def test_begin_that_changes_other_rows_unseen() -> None:
    class Restarting(Lamp):
        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            state.steps[:] = 0

    message = complaint(Restarting())
    assert message.startswith("begin() was given the rows [1, 3] and changed how another goes on: ")
    assert "row 0, after step 4: its reward is 0.0, not 1.0" in message


def test_advance_that_shows_in_other_rows() -> None:
    class Pushing(Lamp):
        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            outcome = super().advance(state, rows, choices)
            others = np.setdiff1d(np.arange(len(state.place)), rows)
            state.place[others] = (state.place[others] + 1) % 3
            return outcome

    message = complaint(Pushing())
    assert message.startswith("advance() was given the rows [")
    assert "] and changed row " in message
    assert "pixel (0, " in message


def test_advance_that_changes_other_rows_unseen() -> None:
    class Ageing(Lamp):
        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            state.steps += 1
            state.steps[rows] -= 1
            return super().advance(state, rows, choices)

        def infos(self, state: LampState) -> Any:
            return {}

    class AgeingAlike(Ageing):
        """All episodes are of one length, so that all step together until some wait."""

        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            state.length[rows] = 3

    message = complaint(AgeingAlike())
    assert message.startswith("advance() was given the rows [1, 3] and changed how another goes on")
    assert "row 0, after step 3: its reward is 0.0, not 1.0" in message


def test_a_row_that_depends_on_the_others() -> None:
    class Jealous(Lamp):
        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            outcome = super().advance(state, rows, choices)
            return Outcome(outcome.rewards / len(state.lit), outcome.terminations)

    message = complaint(Jealous())
    assert message.startswith("an episode goes otherwise alone than among 4: row ")
    assert "its reward is 1.0, not 0.25" in message
    assert "may depend on its stream and choices alone" in message


def test_a_row_that_depends_on_its_number() -> None:
    class Ranked(Lamp):
        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            state.place[rows] = rows % 3

    message = complaint(Ranked())
    assert message.startswith(
        "an episode goes otherwise alone than among 4: row 1, when it begins:"
    )


def test_one_episode_is_not_enough() -> None:
    with pytest.raises(ValueError, match="num_envs=1: expected 2 or more; rows are compared"):
        check_task(Lamp(), num_envs=1)
