"""check_task: our tasks pass, and a task that breaks one rule is told which, with the value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from lazy_images import LazyImages

from ram_envs import GlimpseEnv, Retina
from ram_envs.envs.classification import ClassificationEnv
from ram_envs.envs.moving import MovingEnv
from ram_envs.envs.pairs import PairsEnv
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


def complaint(task: Any, check: str | None = None, **settings: Any) -> str:
    """Return what `check_task` reports, in the check of this name."""
    with pytest.raises(TaskError) as caught:
        check_task(task, **settings)
    assert check in (None, caught.value.check)
    return str(caught.value)


# --- what keeps the rules --------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2, np.uint8(3), np.int64(4), 2**64])
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
        PairsEnv(dataset="digits").batch.task,
        PairsEnv(dataset="digits", split="test", answer="sum").batch.task,
        MovingEnv(dataset="digits").batch.task,
        MovingEnv(dataset="digits", split="validation", num_glimpses=3).batch.task,
    ],
    ids=[
        "catch",
        "three balls",
        "image",
        "test canvas",
        "pair",
        "sum, fixed",
        "moving",
        "moving, fixed",
    ],
)
def test_our_own_tasks_pass(task: Any) -> None:
    check_task(task)


# --- attributes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("image_shape", [2, 3], r"image_shape is \[2, 3\]"),
        ("image_shape", (6,), r"image_shape is \(6,\)"),
        ("image_shape", (1, 2, 3, 4), r"image_shape is \(1, 2, 3, 4\)"),
        ("image_shape", (2, 3.0), r"image_shape is \(2, 3\.0\)"),
        ("image_shape", (0, 3), r"image_shape is \(0, 3\)"),
        ("choice_names", "ab", "choice_names is 'ab'"),
        ("choice_names", (0, 1), r"choice_names is \(0, 1\)"),
        ("choice_names", (), "choice_names.*empty"),
        ("choice_names", ("a", "b", "a"), r"choice_names.*\['a'\]"),
        ("frames_change", None, "frames_change is None.*False"),
        ("advance", 3, r"advance\(\)"),
        ("option_names", "side", "option_names is 'side'"),
        ("option_names", ("side", 3), r"option_names is \('side', 3\)"),
    ],
)
def test_attributes_of_the_wrong_kind(name: str, value: Any, words: str) -> None:
    task = Lamp()
    setattr(task, name, value)
    assert re.search(words, complaint(task))


@pytest.mark.parametrize("name", ["image_shape", "choice_names", "frames_change"])
def test_a_missing_attribute(name: str) -> None:
    class Bare:
        pass

    bare = Bare()
    for kept in {"image_shape", "choice_names", "frames_change"} - {name}:
        setattr(bare, kept, getattr(Lamp, kept))
    assert name in complaint(bare, "attributes")


def test_a_class_instead_of_a_task() -> None:
    assert "Lamp(" in complaint(Lamp)
    with pytest.raises(TypeError, match="task="):
        GlimpseEnv(Lamp, Retina(1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="retina="):
        GlimpseEnv(Lamp(), Retina)  # type: ignore[arg-type]


def test_a_missing_method() -> None:
    class Blind(Lamp):
        images = None  # type: ignore[assignment]

    assert "images()" in complaint(Blind())


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
        (lambda source, rows: source, r"images\(\).*ndarray"),
        (
            lambda source, rows: (source / 255, rows),
            r"source of images\(\).*float64.*\(4, 2, 3\).*uint8",
        ),
        (lambda source, rows: (source.tolist(), rows), r"source of images\(\).*uint8"),
        (
            lambda source, rows: (source[:, :, :2], rows),
            r"source of images\(\).*\(4, 2, 2\).*\(N, 2, 3\)",
        ),
        (lambda source, rows: (source[0], rows), r"\(2, 3\).*\(N, 2, 3\)"),
        (
            lambda source, rows: (source, rows[:3]),
            r"rows of images\(\).*\(3,\).*\(4,\)",
        ),
        (lambda source, rows: (source, rows * 1.0), r"rows of images\(\).*float64.*\(4,\)"),
        (lambda source, rows: (source, rows + 1), r"rows of images\(\).* 4\..* 3"),
        (lambda source, rows: (source, rows - 1), r"rows of images\(\).* -1\..* 3"),
    ],
)
def test_images_of_another_kind(change: Any, words: str) -> None:
    assert re.search(words, complaint(change_images(change)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rewards, over: None, r"advance\(\).*None.*Outcome"),
        (lambda rewards, over: (rewards, over), "tuple.*Outcome"),
        (
            lambda rewards, over: Outcome(rewards[:3], over),
            r"rewards of advance\(\).*\(3,\).*\(4,\)",
        ),
        (
            lambda rewards, over: Outcome(rewards.astype(np.float32), over),
            r"rewards of advance\(\).*float32.*float64",
        ),
        (
            lambda rewards, over: Outcome(rewards * np.nan, over),
            r"rewards of advance\(\).*nan",
        ),
        (lambda rewards, over: Outcome(rewards - np.inf, over), r"rewards of advance\(\).*-inf"),
        (
            lambda rewards, over: Outcome(rewards, bool(over.all())),  # type: ignore[arg-type]
            r"terminations of advance\(\).*False \(bool\)",
        ),
        (
            lambda rewards, over: Outcome(rewards, over.astype(np.int64)),
            r"terminations of advance\(\).*int64.*bool of shape \(4,\)",
        ),
        (
            lambda rewards, over: Outcome(rewards, over[1:]),
            r"terminations of advance\(\).*\(3,\)",
        ),
    ],
)
def test_outcomes_of_another_kind(change: Any, words: str) -> None:
    assert re.search(words, complaint(change_outcome(change)))


@pytest.mark.parametrize(
    ("infos", "words"),
    [
        ({"a": lambda steps: steps}, r"infos\(\)\['a'\].*int64.*\(values, present\)"),
        (
            {"a": lambda steps: (steps.tolist(), FOUR)},
            r"values of infos\(\)\['a'\].*\[0, 0, 0, 0\] \(list\).*\(4,\)",
        ),
        ({"a": lambda steps: (steps[:2], FOUR)}, r"values of infos\(\)\['a'\].*\(2,\)"),
        ({"a": lambda steps: (steps.astype(object), FOUR)}, r"values of infos\(\)\['a'\].*object"),
        (
            {"a": lambda steps: (steps, True)},
            r"second.*infos\(\)\['a'\].*True \(bool\).*\(4,\)",
        ),
        ({"a": lambda steps: (steps, steps)}, r"second.*infos\(\)\['a'\].*int64"),
        (
            {"_a": lambda steps: (steps, FOUR)},
            r"infos\(\).*'_a'",
        ),
        ({"final_obs": lambda steps: (steps, FOUR)}, r"infos\(\).*'final_obs'"),
        (
            {"label": lambda steps: (steps + 5, FOUR)},
            r"infos\(\)\['label'\].*\[5, 5, 5, 5\].* 1",
        ),
        ({"label": lambda steps: (steps * 0.0, FOUR)}, r"infos\(\)\['label'\].*\[0\.0, 0"),
    ],
)
def test_infos_of_another_kind(infos: Any, words: str) -> None:
    assert re.search(words, complaint(change_infos(**infos)))


def test_infos_that_are_no_dict() -> None:
    class Silent(Lamp):
        def infos(self, state: LampState) -> Any:
            return None

    assert re.search(r"infos\(\).*None.*dict", complaint(Silent()))


def test_an_episode_without_end() -> None:
    task = change_outcome(lambda rewards, over: Outcome(rewards, over & False))
    assert re.search("row 0 .* 50 ", complaint(task, "first_time", max_steps=50))
    assert " 2 " in complaint(Lamp(), "first_time", max_steps=2)


def test_an_exception_names_the_verb_and_keeps_its_cause() -> None:
    class TwoPassengers(Lamp):
        choice_names = ("dark", "lit", "broken")

        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            if (choices == 2).any():
                raise KeyError("broken")
            return super().advance(state, rows, choices)

    with pytest.raises(TaskError, match=r"^advance.*\[0, 1, 2, 3\].*KeyError"):
        check_task(TwoPassengers())  # type: ignore[arg-type]
    with pytest.raises(TaskError) as caught:
        check_task(TwoPassengers())  # type: ignore[arg-type]
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

    assert re.search(r"rows of images\(\).* 99\..* 3", complaint(Hasty()))


@pytest.mark.parametrize("verb", ["images", "infos"])
def test_a_state_in_which_nothing_has_begun_is_shown_too(verb: str) -> None:
    task = Lamp()
    shown = getattr(task, verb)

    def late(state: LampState) -> Any:
        if not state.length.any():
            raise KeyError("nothing")
        return shown(state)

    setattr(task, verb, late)
    assert re.match(rf"{verb}\(\) before .*begin\(\) raised KeyError", complaint(task))


class Drawn(Lamp):
    """With everything that pictures may show."""

    option_names: Any = ("side",)

    def ball(self, state: LampState, row: int) -> Any:
        return state.place[row], 1

    def target(self, state: LampState, row: int) -> Any:
        return None if state.lit[row] else (0, 0, 1, 1)

    def verdict(self, state: LampState, row: int) -> Any:
        return "over" if state.steps[row] == state.length[row] else None


def test_a_task_with_pictures() -> None:
    check_task(Drawn())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ball", (3, 0), r"\(3, 0\).*\(2, 1\)"),
        ("ball", (0, -1), r"\(0, -1\)"),
        ("ball", (0.5, 0), r"\(0\.5, 0\)"),
        ("ball", 1, "1"),
        ("target", (0, 0, 1), r"\(0, 0, 1\)"),
        ("verdict", True, "True"),
    ],
)
def test_pictures_of_another_kind(name: str, value: Any, words: str) -> None:
    task = Drawn()
    setattr(task, name, lambda state, row: value)
    assert re.match(rf"{name}\(\) of row 0 returned {words}", complaint(task))


# --- what must not matter --------------------------------------------------------------------


def test_a_picture_that_changes() -> None:
    class Wandering(Lamp):
        frames_change = False

    assert re.search("frames_change is False.* row 0", complaint(Wandering()))


def test_looking_that_changes_what_is_seen() -> None:
    class Shy(Lamp):
        def images(self, state: LampState) -> Any:
            state.place[:] = (state.place + 1) % 3
            return super().images(state)

    assert re.search(r"images\(\) or infos\(\).* row 0: .*pixel \(0, ", complaint(Shy()))


def test_randomness_from_elsewhere() -> None:
    generator = np.random.default_rng(0)

    class Diced(Lamp):
        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            state.place[rows] = generator.integers(3, size=len(rows))

    assert "begin()" in complaint(Diced(), "second_time")

    class Noisy(Lamp):
        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            outcome = super().advance(state, rows, choices)
            return Outcome(outcome.rewards + generator.random(len(rows)), outcome.terminations)

    message = complaint(Noisy(), "second_time")
    assert "row 0, after step 1: its reward is 0." in message


def test_a_count_kept_in_the_task() -> None:
    class Counting(Lamp):
        count = 0

        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            self.count += 1
            state.length[rows] = 2 + self.count % 2

    complaint(Counting(), "second_time")


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

    message = complaint(Forgetful(), "next_to_another_state")
    assert re.search(r"step 3: its termination is False, not True.*allocate\(\)", message)


def test_one_state_for_all() -> None:
    class Shared(Lamp):
        def __init__(self) -> None:
            self.state = super().allocate(4)

        def allocate(self, num_envs: int) -> LampState:
            return self.state

    complaint(Shared(), "next_to_another_state")


def test_something_left_of_an_earlier_episode() -> None:
    class Tired(Lamp):
        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            steps = state.steps[rows]
            super().begin(state, rows, streams, options)
            state.steps[rows] = steps

    message = complaint(Tired(), "in_used_rows")
    assert "its info is {'label': 0, 'steps': 4}, not {'label': 0}." in message


def test_a_start_that_depends_on_the_number_of_rows() -> None:
    class Lined(Lamp):
        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            state.place[rows] = np.arange(len(rows)) % 3

    message = complaint(Lined(), "while_others_begin")
    assert re.search(r" 2 and among 4: row 2, .*stream", message)


def test_begin_that_shows_in_other_rows() -> None:
    class Sweeping(Lamp):
        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            state.lit[:] = state.lit[rows[0]]

    message = complaint(Sweeping(), seed=1)
    assert re.match(r"begin\(\).* \[1, 3\] .* row \d: .*image.*state\[rows\]", message)


def test_begin_that_changes_other_rows_unseen() -> None:
    class Restarting(Lamp):
        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            state.steps[:] = 0

    message = complaint(Restarting(), "while_others_begin")
    assert re.match(r"begin\(\).* \[1, 3\] ", message)
    assert "row 0, after step 4: its reward is 0.0, not 1.0" in message


def test_advance_that_shows_in_other_rows() -> None:
    class Pushing(Lamp):
        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            outcome = super().advance(state, rows, choices)
            others = np.setdiff1d(np.arange(len(state.place)), rows)
            state.place[others] = (state.place[others] + 1) % 3
            return outcome

    message = complaint(Pushing())
    assert re.match(r"advance\(\).*\] .* row \d: .*pixel \(0, ", message)


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

    message = complaint(AgeingAlike(), "while_others_step")
    assert re.match(r"advance\(\).* \[1, 3\] ", message)
    assert "row 0, after step 3: its reward is 0.0, not 1.0" in message


def test_truncations() -> None:
    class Impatient(Lamp):
        """Episodes are cut off after three steps."""

        truncations: Any = None

        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            outcome = super().advance(state, rows, choices)
            late = state.steps[rows] == 3
            truncations = late if self.truncations is None else self.truncations
            return Outcome(outcome.rewards, outcome.terminations & ~late, truncations)

    check_task(Impatient())

    class Wrong(Impatient):
        truncations = np.zeros(4)

    assert re.search(r"truncations of advance\(\).*float64.* bool", complaint(Wrong()))

    class Unlike(Impatient):
        """An episode is cut off if it is alone."""

        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            outcome = super().advance(state, rows, choices)
            late = np.full(len(rows), len(state.lit) == 1)
            return Outcome(outcome.rewards, outcome.terminations, outcome.truncations | late)

    assert re.search(r"truncation.*True.*False", complaint(Unlike()))


def test_a_task_that_follows_the_gaze() -> None:
    class Followed(Lamp):
        """The lamp is where the agent looks."""

        def look_at(self, state: LampState, rows: Any, locations: Any) -> None:
            assert (locations.dtype, locations.shape) == (np.float32, (len(rows), 2))
            state.place[rows] = ((locations[:, 0] + 1) * 1.5).astype(np.int64).clip(0, 2)

    check_task(Followed())

    class Careless(Followed):
        def look_at(self, state: LampState, rows: Any, locations: Any) -> None:
            state.place[:] = (state.place + len(rows)) % 3

    assert "state[rows]" in complaint(Careless())

    class Fragile(Followed):
        def look_at(self, state: LampState, rows: Any, locations: Any) -> None:
            raise KeyError("gaze")

    assert re.match(r"look_at\(\) of the rows .* raised KeyError", complaint(Fragile()))


def test_images_that_are_read_by_window() -> None:
    class Far(Lamp):
        dtype: Any = np.uint8

        def images(self, state: LampState) -> Any:
            source, rows = super().images(state)
            return LazyImages(source.astype(self.dtype)), rows

    check_task(Far())

    class Floating(Far):
        dtype = np.float32

    assert re.search(r"source of images\(\).*uint8", complaint(Floating()))

    class Misstated(Far):
        def images(self, state: LampState) -> Any:
            source, rows = super().images(state)
            source.stored = source.stored.astype(np.int64)  # it still states uint8
            return source, rows

    assert re.search(r"images\(\) raised TypeError.*int64", complaint(Misstated()))


def test_a_row_that_depends_on_the_others() -> None:
    class Jealous(Lamp):
        def advance(self, state: LampState, rows: Any, choices: Any) -> Outcome:
            outcome = super().advance(state, rows, choices)
            return Outcome(outcome.rewards / len(state.lit), outcome.terminations)

    message = complaint(Jealous(), "alone")
    assert re.search(r" 4: row \d.*its reward is 1\.0, not 0\.25", message)


def test_a_row_that_depends_on_its_number() -> None:
    class Ranked(Lamp):
        def begin(self, state: LampState, rows: Any, streams: Streams, options: Any) -> None:
            super().begin(state, rows, streams, options)
            state.place[rows] = rows % 3

    assert " 4: row 1, " in complaint(Ranked(), "alone")


def test_one_episode_is_not_enough() -> None:
    with pytest.raises(ValueError, match=r"num_envs=1.* 2"):
        check_task(Lamp(), num_envs=1)
