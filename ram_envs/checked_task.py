"""A task with one state, whose verbs check all that the task gives back; for `ram_envs.testing`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.streams import Streams, UInt64Array
from ram_envs.task import Outcome, Rows, Task

VERBS = ("allocate", "begin", "advance", "images", "infos")


class TaskError(AssertionError):
    """A task breaks a rule of the protocol; the message says which."""


def require(holds: bool, message: str) -> None:
    """Raise TaskError with `message` unless the rule holds."""
    if not holds:
        raise TaskError(message)


def check_attributes(task: Any) -> None:
    """What a task says of itself."""
    for name in ("image_shape", "choice_names", "frames_change"):
        require(hasattr(task, name), f"the task has no attribute {name}.")
    for name in VERBS:
        require(callable(getattr(task, name, None)), f"the task has no method {name}().")
    shape, names, changes = task.image_shape, task.choice_names, task.frames_change
    require(
        isinstance(shape, tuple)
        and len(shape) in (2, 3)
        and all(isinstance(side, (int, np.integer)) and side >= 1 for side in shape),
        f"image_shape is {shape!r}: expected a tuple (H, W) or (H, W, C) of integers from 1.",
    )
    require(
        isinstance(names, tuple) and all(isinstance(name, str) for name in names),
        f"choice_names is {names!r}: expected a tuple of strings, one for each choice.",
    )
    require(len(names) > 0, "choice_names is empty: expected at least one choice.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    require(not repeated, f"choice_names repeats {repeated}: expected each name once.")
    require(
        isinstance(changes, (bool, np.bool_)),
        f"frames_change is {changes!r}: expected True (a game) or False (a picture).",
    )


@dataclass
class Moment:
    """What one episode shows, and what the step to it gave (None after `begin`)."""

    image: npt.NDArray[np.uint8]
    infos: dict[str, Any]
    reward: float | None = None
    over: bool = False

    def difference(self, other: Moment) -> str | None:
        """In words: what is otherwise in `other`, or None."""
        if not np.array_equal(self.image, other.image):
            place = tuple(np.argwhere(self.image != other.image)[0].tolist())
            return f"pixel {place} of its image is {other.image[place]}, not {self.image[place]}"
        for what in ("reward", "over", "infos"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if repr(mine) != repr(theirs):
                name = {"over": "termination", "infos": "info"}.get(what, what)
                return f"its {name} is {theirs!r}, not {mine!r}"
        return None


Story = list[Moment]  # of one episode: after `begin`, and after each step


class CheckedTask:
    """A task with a state of `num_envs` rows; each verb checks what can be seen at once."""

    def __init__(self, task: Task[Any], num_envs: int) -> None:
        self.task = task
        self.num_envs = num_envs
        self.begun = np.zeros(num_envs, np.bool_)
        self.state = _call("allocate()", task.allocate, num_envs)

    def begin(self, rows: Rows, keys: UInt64Array) -> list[Moment]:
        before = self._look() if self.begun.any() else {}
        name = f"begin() of the rows {rows.tolist()}"
        _call(name, self.task.begin, self.state, rows.copy(), Streams(keys), {})
        self.begun[rows] = True
        return self._look_at("begin", rows, before)

    def advance(self, rows: Rows, choices: npt.NDArray[np.int64]) -> list[Moment]:
        before = self._look()
        name = f"advance() of the rows {rows.tolist()}"
        outcome = _call(name, self.task.advance, self.state, rows.copy(), choices.copy())
        self._check_outcome(outcome, len(rows))
        moments = self._look_at("advance", rows, before)
        for row, moment, reward, over in zip(
            rows.tolist(), moments, outcome.rewards, outcome.terminations, strict=True
        ):
            moment.reward, moment.over = float(reward), bool(over)
            require(
                self.task.frames_change or np.array_equal(before[row].image, moment.image),
                f"frames_change is False, but a step changed the image of row {row}. Set it to "
                "True, or show the same image until the next episode begins.",
            )
        return moments

    def _look_at(self, verb: str, rows: Rows, before: dict[int, Moment]) -> list[Moment]:
        """What `rows` show after a verb, which must have left the others as they were."""
        after, again = self._look(), self._look()
        for row in before.keys() - set(rows.tolist()):
            difference = before[row].difference(after[row])
            require(
                difference is None,
                f"{verb}() was given the rows {rows.tolist()} and changed row {row}: {difference}. "
                "It may write to state[rows] alone.",
            )
        for row, moment in after.items():
            difference = moment.difference(again[row])
            require(
                difference is None,
                f"images() or infos() changed row {row}: asked again, {difference}. They may only "
                "tell what is, whenever and however often they are asked.",
            )
        return [after[row] for row in rows.tolist()]

    def _look(self) -> dict[int, Moment]:
        """What each row that has begun shows now."""
        source, source_rows = self._checked_images()
        infos = self._checked_infos()
        return {
            row: Moment(
                source[source_rows[row]].copy(),
                {key: values[row].item() for key, (values, held) in infos.items() if held[row]},
            )
            for row in np.flatnonzero(self.begun).tolist()
        }

    def _checked_images(self) -> tuple[npt.NDArray[np.uint8], Rows]:
        found = _call("images()", self.task.images, self.state)
        require(
            isinstance(found, tuple) and len(found) == 2,
            f"images() gave a {type(found).__name__}: expected a pair (source, rows).",
        )
        source, rows = found
        shape = tuple(self.task.image_shape)
        _require_array("the source of images()", source, np.uint8)
        require(
            source.shape[1:] == shape and len(source) > 0,
            f"the source of images() has shape {source.shape}: expected (N, "
            f"{', '.join(map(str, shape))}), as image_shape says.",
        )
        require(
            isinstance(rows, np.ndarray)
            and rows.dtype.kind in "iu"
            and rows.shape == (self.num_envs,),
            f"the rows of images() are {_describe(rows)}: expected integers of shape "
            f"({self.num_envs},), one for each episode, begun or not.",
        )
        wrong = rows[(rows < 0) | (rows >= len(source))]
        if wrong.size:
            raise TaskError(
                f"the rows of images() contain {wrong[0]}: expected 0 to {len(source) - 1}, the "
                "rows of the source."
            )
        return source, rows

    def _checked_infos(self) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]:
        infos: dict[str, Any] = _call("infos()", self.task.infos, self.state)
        require(isinstance(infos, dict), f"infos() gave {_describe(infos)}: expected a dict.")
        for key, pair in infos.items():
            require(
                isinstance(key, str) and not key.startswith(("_", "final_")),
                f"infos() has the key {key!r}: expected a string that begins with neither '_' nor "
                "'final_', which are Gymnasium's.",
            )
            is_pair = isinstance(pair, tuple) and len(pair) == 2
            require(is_pair, f"infos()[{key!r}] is {_describe(pair)}: expected (values, present).")
            values, present = pair
            require(
                isinstance(values, np.ndarray)
                and values.shape == (self.num_envs,)
                and values.dtype != object,
                f"the values of infos()[{key!r}] are {_describe(values)}: expected an array of "
                f"numbers or strings of shape ({self.num_envs},), one for each episode.",
            )
            name = f"the second of infos()[{key!r}], where the values hold"
            _require_array(name, present, np.bool_, (self.num_envs,))
        if "label" in infos:
            self._check_labels(*infos["label"])
        return infos

    def _check_labels(self, values: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> None:
        labels, most = values[present & self.begun], len(self.task.choice_names) - 1
        require(
            labels.dtype.kind in "iu" and bool(((labels >= 0) & (labels <= most)).all()),
            f"infos()['label'] holds {labels[:4].tolist()}: the true label is a choice, an integer "
            f"from 0 to {most}. Give another key to what is none.",
        )

    def _check_outcome(self, outcome: Outcome, count: int) -> None:
        for name, dtype in (("rewards", np.float64), ("terminations", np.bool_)):
            require(
                hasattr(outcome, name),
                f"advance() gave {_describe(outcome)}: expected Outcome(rewards, terminations).",
            )
            _require_array(f"the {name} of advance()", getattr(outcome, name), dtype, (count,))
        strange = outcome.rewards[~np.isfinite(outcome.rewards)]
        if strange.size:
            raise TaskError(
                f"the rewards of advance() contain {strange[0]}: expected finite numbers."
            )


def _call(name: str, method: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return method(*arguments)
    except Exception as error:
        raise TaskError(f"{name} raised {type(error).__name__}: {error}") from error


def _require_array(name: str, array: Any, dtype: Any, shape: tuple[int, ...] | None = None) -> None:
    wanted = np.dtype(dtype).name + ("" if shape is None else f" of shape {shape}")
    require(
        isinstance(array, np.ndarray)
        and array.dtype == dtype
        and shape in (None, getattr(array, "shape", None)),
        f"{name}: found {_describe(array)}, expected a numpy array, {wanted}.",
    )


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"{value!r} ({type(value).__name__})"
