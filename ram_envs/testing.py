"""`check_task`: tells the author of a task which rule of the protocol it breaks, and by what value.

    from ram_envs.testing import check_task

    check_task(MyTask())  # raises TaskError in plain words, or returns

It plays a few short episodes of random choices and looks at all that the task gives back. Then it
plays the same episodes again under other circumstances, which must not matter: a second time,
beside another state, in rows that were used before, while other rows begin or step, and alone.
`ram_envs.task` states the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ram_envs.checked_task import (
    CheckedTask,
    Moment,
    Story,
    TaskError,
    check_attributes,
    require,
)
from ram_envs.streams import UInt64Array, combine_keys
from ram_envs.task import Rows, Task

__all__ = ["TaskError", "check_task"]


def check_task(task: Task[Any], num_envs: int = 4, seed: int = 0, max_steps: int = 1000) -> None:
    """Check a task against what `ram_envs.task.Task` promises.

    Args:
        task: an instance of the task, as small as you like.
        num_envs: how many episodes are played side by side, at least 2.
        seed: of what the episodes draw, and of the choices made in them.
        max_steps: how many steps an episode of random choices may take.

    Raises:
        TaskError: for the first rule that is broken.
    """
    if num_envs < 2:
        raise ValueError(f"num_envs={num_envs!r}: expected 2 or more; rows are compared.")
    check_attributes(task)
    check = _Check(task, num_envs, seed, max_steps)
    check.every_choice()
    check.first_time()
    check.second_time()
    check.beside_another_state()
    check.in_used_rows()
    check.while_others_begin()
    check.while_others_step()
    check.alone()


class _Check:
    """One episode for each row: row r draws from the stream keys[r], and chooses by it too."""

    def __init__(self, task: Task[Any], num_envs: int, seed: int, max_steps: int) -> None:
        self.task = task
        self.num_envs = num_envs
        self.max_steps = max_steps
        self.rows = np.arange(num_envs)
        self.even, self.odd = self.rows[::2], self.rows[1::2]
        self.keys = combine_keys(seed, 0, self.rows)
        self.other_keys = combine_keys(seed, 1, self.rows)
        self.expected: list[Story] = []

    def every_choice(self) -> None:
        """No choice is refused, nor an empty batch, as when all rows wait for a new episode."""
        for choice in range(len(self.task.choice_names)):
            checked = self._new_checked()
            checked.begin(self.rows, self.keys)
            checked.advance(self.rows, np.full(self.num_envs, choice))
            checked.advance(self.rows[:0], np.zeros(0, np.int64))

    def first_time(self) -> None:
        self.expected = self._play(self._new_checked(), self.rows)
        for row, story in enumerate(self.expected):
            require(
                story[-1].over,
                f"the episode in row {row} has not ended after {self.max_steps} steps of random "
                "choices: expected a termination. If it may last longer, raise max_steps.",
            )
        self.max_steps = max(len(story) for story in self.expected) - 1

    def second_time(self) -> None:
        self._compare(
            self._play(self._new_checked(), self.rows),
            self.rows,
            "the same streams and choices gave another episode the second time",
            "Draw from the streams given to begin() alone, and remember nothing in the task.",
        )

    def beside_another_state(self) -> None:
        other = self._new_checked()

        def disturb(step: int) -> None:
            other.begin(self.rows, combine_keys(self.other_keys, step))
            other.advance(self.rows, np.zeros(self.num_envs, np.int64))

        self._compare(
            self._play(self._new_checked(), self.rows, disturb),
            self.rows,
            "two states of the task interfere: beside another state an episode goes otherwise",
            "Keep all that changes in what allocate() returns, nothing in the task itself.",
        )

    def in_used_rows(self) -> None:
        checked = self._new_checked()
        self._play_on(checked, self.rows, checked.begin(self.rows, self.other_keys))
        self._compare(
            self._play(checked, self.rows),
            self.rows,
            "something is left of an earlier episode: in a used row an episode goes otherwise",
            "Let begin() set all that the episode needs in its rows anew.",
        )

    def while_others_begin(self) -> None:
        checked = self._new_checked()

        def disturb(step: int) -> None:
            checked.begin(self.odd, combine_keys(self.other_keys[self.odd], step))

        self._compare(
            self._play(checked, self.even, disturb),
            self.even,
            f"begin() was given the rows {self.odd.tolist()} and changed how another goes on",
            "It may write to state[rows] alone.",
        )

    def while_others_step(self) -> None:
        """All begin; the odd rows play to their end before the even ones take a step."""
        checked = self._new_checked()
        begun = checked.begin(self.even, self.keys[self.even])
        self._play(checked, self.odd)
        self._compare(
            self._play_on(checked, self.even, begun),
            self.even,
            f"advance() was given the rows {self.odd.tolist()} and changed how another goes on",
            "It may write to state[rows] alone.",
        )

    def alone(self) -> None:
        for row in self.rows:
            checked = CheckedTask(self.task, 1)
            begun = checked.begin(self.rows[:1], self.keys[row : row + 1])
            self._compare(
                self._play_on(checked, self.rows[:1], begun, self.keys[row : row + 1]),
                self.rows[row : row + 1],
                f"an episode goes otherwise alone than among {self.num_envs}",
                "What happens in a row may depend on its stream and choices alone: not on the "
                "other rows, how many there are, or which it is.",
            )

    def _new_checked(self) -> CheckedTask:
        return CheckedTask(self.task, self.num_envs)

    def _play(
        self, checked: CheckedTask, rows: Rows, after_step: Callable[[int], None] | None = None
    ) -> list[Story]:
        """Play an episode in each of `rows`."""
        return self._play_on(checked, rows, checked.begin(rows, self.keys[rows]), None, after_step)

    def _play_on(
        self,
        checked: CheckedTask,
        rows: Rows,
        begun: list[Moment],
        keys: UInt64Array | None = None,
        after_step: Callable[[int], None] | None = None,
    ) -> list[Story]:
        """Play what has begun in `rows` to its end, with choices that follow from the keys."""
        keys = self.keys[rows] if keys is None else keys
        stories = [[moment] for moment in begun]
        for step in range(1, self.max_steps + 1):
            running = np.flatnonzero([not story[-1].over for story in stories])
            if not running.size:
                break
            choices = combine_keys(keys[running], step) % np.uint64(len(self.task.choice_names))
            moments = checked.advance(rows[running], choices.astype(np.int64))
            for place, moment in zip(running.tolist(), moments, strict=True):
                stories[place].append(moment)
            if after_step is not None:
                after_step(step)
        return stories

    def _compare(self, found: list[Story], rows: Rows, problem: str, remedy: str) -> None:
        for row, story in zip(rows.tolist(), found, strict=True):
            for step, (moment, same) in enumerate(zip(self.expected[row], story, strict=False)):
                difference = moment.difference(same)
                if difference is not None:
                    when = f"after step {step}" if step else "when it begins"
                    raise TaskError(f"{problem}: row {row}, {when}: {difference}. {remedy}")
