"""A task with one state, whose methods check all that the task returns; for `ram_envs.testing`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.actions import as_array
from ram_envs.datasets.source import ImageSource, is_lazy, read_pixels
from ram_envs.streams import Streams, UInt64Array, combine_keys
from ram_envs.task import Outcome, Rows, Task

VERBS = ("allocate", "begin", "advance", "images", "infos")


class TaskError(AssertionError):
    """A task breaks a rule of the protocol; the message names it.

    Attributes:
        check: which check of `check_task` found it, such as "second_time" or "alone".
    """

    check = "attributes"  # the first; `check_task` sets the others


def require(holds: bool, message: str) -> None:
    """Raise TaskError with `message` unless the rule holds."""
    if not holds:
        raise TaskError(message)


def check_attributes(task: Any) -> None:
    """Check a task's attributes and that it has the methods."""
    if isinstance(task, type):
        raise TaskError(f"the task is a class. Give an instance, {task.__name__}(…).")
    for name in ("image_shape", "choice_names", "frames_change"):
        require(hasattr(task, name), f"the task has no attribute {name}.")
    for name in VERBS:
        require(callable(getattr(task, name, None)), f"the task has no method {name}().")
    shape, names, changes = task.image_shape, task.choice_names, task.frames_change
    require(
        isinstance(shape, tuple)
        and len(shape) in (2, 3)
        and all(isinstance(side, (int, np.integer)) and side >= 1 for side in shape),
        f"image_shape is {shape!r}. Make it a tuple (H, W) or (H, W, C) of integers from 1.",
    )
    require(
        isinstance(names, tuple) and all(isinstance(name, str) for name in names),
        f"choice_names is {names!r}. Make it a tuple of strings, one for each choice.",
    )
    require(len(names) > 0, "choice_names is empty. Name at least one choice.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    require(not repeated, f"choice_names repeats {repeated}. Give every choice its own name.")
    require(
        isinstance(changes, (bool, np.bool_)),
        f"frames_change is {changes!r}. Make it True (a game) or False (a picture).",
    )
    options = getattr(task, "option_names", None)
    require(
        options is None
        or (isinstance(options, (tuple, list)) and all(isinstance(name, str) for name in options)),
        f"option_names is {options!r}. Make it a tuple of strings, such as ('size',), or None.",
    )


@dataclass
class Snapshot:
    """What one episode shows, and the result of the last step (None after `begin`)."""

    image: npt.NDArray[np.uint8]
    infos: dict[str, Any]
    reward: float | None = None
    terminated: bool = False
    truncated: bool = False

    @property
    def over(self) -> bool:
        return self.terminated or self.truncated

    def difference(self, other: Snapshot) -> str | None:
        """Return in words how `other` differs, or None."""
        if not np.array_equal(self.image, other.image):
            place = tuple(np.argwhere(self.image != other.image)[0].tolist())
            return f"pixel {place} of its image is {other.image[place]}, not {self.image[place]}"
        for name, mine, theirs in (
            ("reward", self.reward, other.reward),
            ("termination", self.terminated, other.terminated),
            ("truncation", self.truncated, other.truncated),
            ("info", self.infos, other.infos),
        ):
            if repr(mine) != repr(theirs):
                return f"its {name} is {theirs!r}, not {mine!r}"
        return None


EpisodeRecord = list[Snapshot]  # after `begin`, and after each step


class CheckedTask:
    """A task with a state of `num_envs` rows; each verb checks what can be seen at once.

    A task with `look_at` gets random locations, which are a function of a row's key.
    """

    def __init__(self, task: Task[Any], num_envs: int) -> None:
        self.task = task
        self.num_envs = num_envs
        self.begun = np.zeros(num_envs, np.bool_)
        self._keys = np.zeros(num_envs, np.uint64)
        self._steps = np.zeros(num_envs, np.int64)
        self.state = _call("allocate()", task.allocate, num_envs)
        _call("images() before the first begin()", task.images, self.state)
        _call("infos() before the first begin()", task.infos, self.state)

    def begin(self, rows: Rows, keys: UInt64Array) -> list[Snapshot]:
        before = self._look() if self.begun.any() else {}
        name = f"begin() of the rows {rows.tolist()}"
        _call(name, self.task.begin, self.state, rows.copy(), Streams(keys), {})
        self.begun[rows] = True
        self._keys[rows], self._steps[rows] = keys, 0
        self._pass_gaze(rows)
        return self._look_at("begin", rows, before)

    def advance(self, rows: Rows, choices: npt.NDArray[np.int64]) -> list[Snapshot]:
        before = self._look()
        name = f"advance() of the rows {rows.tolist()}"
        outcome = _call(name, self.task.advance, self.state, rows.copy(), choices.copy())
        self._check_outcome(outcome, len(rows))
        self._steps[rows] += 1
        self._pass_gaze(rows)
        snapshots = self._look_at("advance", rows, before)
        truncations = outcome.truncations
        for place, (row, snapshot) in enumerate(zip(rows.tolist(), snapshots, strict=True)):
            snapshot.reward = float(outcome.rewards[place])
            snapshot.terminated = bool(outcome.terminations[place])
            snapshot.truncated = truncations is not None and bool(truncations[place])
            require(
                self.task.frames_change or np.array_equal(before[row].image, snapshot.image),
                f"frames_change is False, but a step changed the image of row {row}. Set it to "
                "True, or show the same image until the next episode begins.",
            )
        return snapshots

    def _pass_gaze(self, rows: Rows) -> None:
        if hasattr(self.task, "look_at"):
            streams = Streams(combine_keys(self._keys[rows], self._steps[rows], 3))
            locations = streams.uniform(2, -1, 1).astype(np.float32)
            name = f"look_at() of the rows {rows.tolist()}"
            _call(name, self.task.look_at, self.state, rows.copy(), locations)

    def _look_at(self, verb: str, rows: Rows, before: dict[int, Snapshot]) -> list[Snapshot]:
        """Return snapshots of `rows` after a verb, which must not have changed the others."""
        after, again = self._look(), self._look()
        for row in before.keys() - set(rows.tolist()):
            difference = before[row].difference(after[row])
            require(
                difference is None,
                f"{verb}() was given the rows {rows.tolist()} and changed row {row}: {difference}. "
                "Write only to state[rows].",
            )
        for row, snapshot in after.items():
            difference = snapshot.difference(again[row])
            require(
                difference is None,
                f"images() or infos() changed row {row}: on a second call {difference}. Let them "
                "only read the state.",
            )
        return [after[row] for row in rows.tolist()]

    def _look(self) -> dict[int, Snapshot]:
        """Return a snapshot of each row that has begun."""
        source, source_rows = self._checked_images()
        name, shape = "reading the source of images()", tuple(self.task.image_shape)
        infos = self._checked_infos()
        for row in np.flatnonzero(self.begun).tolist():
            self._check_pictures(row)
        return {
            row: Snapshot(
                _call(name, read_pixels, source, int(source_rows[row]), shape).copy(),
                {
                    key: values[row].item()
                    for key, (values, present) in infos.items()
                    if present[row]
                },
            )
            for row in np.flatnonzero(self.begun).tolist()
        }

    def _checked_images(self) -> tuple[npt.NDArray[np.uint8] | ImageSource, Rows]:
        found = _call("images()", self.task.images, self.state)
        require(
            isinstance(found, tuple) and len(found) == 2,
            f"images() returned a {type(found).__name__}. Return a pair (source, rows).",
        )
        source, rows = found
        shape = tuple(self.task.image_shape)
        if not (is_lazy(source) and source.dtype == np.uint8):
            _require_array("the source of images()", source, np.uint8)
        require(
            tuple(source.shape[1:]) == shape and source.shape[0] > 0,
            f"the source of images() has shape {source.shape}, but image_shape is {shape}. Return "
            f"(N, {', '.join(map(str, shape))}).",
        )
        require(
            isinstance(rows, np.ndarray)
            and rows.dtype.kind in "iu"
            and rows.shape == (self.num_envs,),
            f"the rows of images() are {_describe(rows)}. Return integers of shape "
            f"({self.num_envs},), one for each episode, begun or not.",
        )
        wrong = rows[(rows < 0) | (rows >= source.shape[0])]
        if wrong.size:
            raise TaskError(
                f"the rows of images() contain {wrong[0]}. Return rows of the source, from 0 to "
                f"{source.shape[0] - 1}."
            )
        return source, rows

    def _checked_infos(self) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]:
        infos: dict[str, Any] = _call("infos()", self.task.infos, self.state)
        require(isinstance(infos, dict), f"infos() returned {_describe(infos)}. Return a dict.")
        for key, pair in infos.items():
            require(
                isinstance(key, str) and not key.startswith(("_", "final_")),
                f"infos() has the key {key!r}. Use strings that begin with neither '_' nor "
                "'final_', which Gymnasium reserves.",
            )
            is_pair = isinstance(pair, tuple) and len(pair) == 2
            require(is_pair, f"infos()[{key!r}] is {_describe(pair)}. Return (values, present).")
            values, present = pair
            require(
                isinstance(values, np.ndarray)
                and values.shape == (self.num_envs,)
                and values.dtype != object,
                f"the values of infos()[{key!r}] are {_describe(values)}. Return an array of "
                f"numbers or strings of shape ({self.num_envs},), one for each episode.",
            )
            name = f"the second array of infos()[{key!r}], where the values exist"
            _require_array(name, present, np.bool_, (self.num_envs,))
        if "label" in infos:
            self._check_labels(*infos["label"])
        return infos

    def _check_labels(self, values: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> None:
        labels, most = values[present & self.begun], len(self.task.choice_names) - 1
        require(
            labels.dtype.kind in "iu" and bool(((labels >= 0) & (labels <= most)).all()),
            f"infos()['label'] contains {labels[:4].tolist()}. The true label is a choice, an "
            f"integer from 0 to {most}; use another key for anything else.",
        )

    def _check_pictures(self, row: int) -> None:
        """Check what the methods for pictures return; a task need not have them."""
        height, width = self.task.image_shape[:2]
        ball, target, verdict = (
            _call(f"{name}() of row {row}", method, self.state, row)
            if (method := getattr(self.task, name, None)) is not None
            else None
            for name in ("ball", "target", "verdict")
        )
        require(
            ball is None
            or (_are_integers(ball, 2) and 0 <= ball[0] < width and 0 <= ball[1] < height),
            f"ball() of row {row} returned {ball!r}. Return None or a pixel (x, y), integers from "
            f"(0, 0) to ({width - 1}, {height - 1}).",
        )
        require(
            target is None or _are_integers(target, 4),
            f"target() of row {row} returned {target!r}. Return None or a box of integers, (left, "
            "top, right, bottom).",
        )
        require(
            verdict is None or isinstance(verdict, str),
            f"verdict() of row {row} returned {verdict!r}. Return None or the result in words.",
        )

    def _check_outcome(self, outcome: Outcome, count: int) -> None:
        require(
            isinstance(outcome, Outcome),
            f"advance() returned {_describe(outcome)}. Return Outcome(rewards, terminations).",
        )
        for name, dtype in (("rewards", np.float64), ("terminations", np.bool_)):
            _require_array(f"the {name} of advance()", getattr(outcome, name), dtype, (count,))
        if outcome.truncations is not None:
            _require_array("the truncations of advance()", outcome.truncations, np.bool_, (count,))
        infinite = outcome.rewards[~np.isfinite(outcome.rewards)]
        if infinite.size:
            raise TaskError(
                f"the rewards of advance() contain {infinite[0]}. Return finite numbers."
            )


def _call(name: str, method: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return method(*arguments)
    except Exception as error:
        raise TaskError(f"{name} raised {type(error).__name__}: {error}") from error


def _are_integers(values: Any, count: int) -> bool:
    array = as_array(values)
    return array.shape == (count,) and array.dtype.kind in "iu"


def _require_array(name: str, array: Any, dtype: Any, shape: tuple[int, ...] | None = None) -> None:
    wanted = np.dtype(dtype).name + ("" if shape is None else f" of shape {shape}")
    require(
        isinstance(array, np.ndarray)
        and array.dtype == dtype
        and shape in (None, getattr(array, "shape", None)),
        f"{name}: found {_describe(array)}. Return a numpy array, {wanted}.",
    )


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"{value!r} ({type(value).__name__})"
