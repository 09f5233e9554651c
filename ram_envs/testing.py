"""`check_task`: check a task against the protocol; the error names the rule and the value.

    from ram_envs import check_task

    check_task(MyTask())  # raises TaskError, or returns

It plays a few short episodes of random choices and checks everything the task returns. Then it
plays the same episodes again in circumstances that must not matter: a second time, next to another
state, in rows that were used before, while other rows begin or step, and alone. `ram_envs.task`
states the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ram_envs.checked_task import (
    CheckedTask,
    EpisodeRecord,
    Snapshot,
    TaskError,
    check_attributes,
    require,
)
from ram_envs.checks import checked_integer
from ram_envs.streams import UInt64Array, combine_keys, key_from_seed
from ram_envs.task import Rows, Task

__all__ = ["TaskError", "check_task"]

DEPEND_ON_STREAM = (
    "A row may depend only on its stream and choices, not on the other rows, their number or its "
    "own index."
)


def check_task(task: Task[Any], num_envs: int = 4, seed: int = 0, max_steps: int = 1000) -> None:
    """Check a task against the protocol `ram_envs.task.Task`.

    Args:
        task: an instance of the task, as small as you like.
        num_envs: the number of episodes played side by side, at least 2, since rows are compared.
        seed: seed of the episodes and of the choices made in them.
        max_steps: the maximum number of steps of an episode of random choices.

    Raises:
        TaskError: for the first rule that is broken.
        ValueError: if an argument is out of range.
    """
    checked_integer("num_envs", num_envs, 2)
    checked_integer("max_steps", max_steps, 1)
    key = key_from_seed(seed)
    check_attributes(task)
    checks = _Checks(task, num_envs, key, max_steps)
    for check in (
        checks.every_choice,
        checks.first_time,
        checks.second_time,
        checks.next_to_another_state,
        checks.in_used_rows,
        checks.while_others_begin,
        checks.while_others_step,
        checks.alone,
    ):
        try:
            check()
        except TaskError as error:
            error.check = check.__name__
            raise


class _Checks:
    """One episode per row: row r draws from the stream keys[r], which decides its choices, too."""

    def __init__(self, task: Task[Any], num_envs: int, key: np.uint64, max_steps: int) -> None:
        self.task = task
        self.num_envs = num_envs
        self.max_steps = max_steps
        self.rows = np.arange(num_envs)
        self.even, self.odd = self.rows[::2], self.rows[1::2]
        self.keys = combine_keys(key, 0, self.rows)
        self.other_keys = combine_keys(key, 1, self.rows)
        self.expected: list[EpisodeRecord] = []

    def every_choice(self) -> None:
        """Check that every choice is accepted, and an empty batch, as when all rows have ended."""
        for choice in range(len(self.task.choice_names)):
            checked = self._new_checked()
            checked.begin(self.rows, self.keys)
            checked.advance(self.rows, np.full(self.num_envs, choice))
            checked.advance(self.rows[:0], np.zeros(0, np.int64))

    def first_time(self) -> None:
        self.expected = self._play(self._new_checked(), self.rows)
        for row, record in enumerate(self.expected):
            require(
                record[-1].over,
                f"the episode in row {row} has not ended after {self.max_steps} steps of random "
                "choices. End it, or raise max_steps if episodes may last longer.",
            )
        self.max_steps = max(len(record) for record in self.expected) - 1

    def second_time(self) -> None:
        self._compare(
            self._play(self._new_checked(), self.rows),
            self.rows,
            "the same streams and choices led to another episode the second time",
            "Draw only from the streams given to begin(), and store nothing in the task.",
        )

    def next_to_another_state(self) -> None:
        other = self._new_checked()

        def disturb(step: int) -> None:
            other.begin(self.rows, combine_keys(self.other_keys, step))
            other.advance(self.rows, np.zeros(self.num_envs, np.int64))

        self._compare(
            self._play(self._new_checked(), self.rows, disturb),
            self.rows,
            "two states of the task interfere: an episode changes next to another state",
            "Store everything that changes in what allocate() returns, nothing in the task.",
        )

    def in_used_rows(self) -> None:
        checked = self._new_checked()
        self._play_on(checked, self.rows, checked.begin(self.rows, self.other_keys))
        self._compare(
            self._play(checked, self.rows),
            self.rows,
            "an earlier episode leaves traces: an episode changes in a row that was used before",
            "Let begin() set everything that the episode needs in its rows.",
        )

    def while_others_begin(self) -> None:
        checked = self._new_checked()

        def disturb(step: int) -> None:
            checked.begin(self.odd, combine_keys(self.other_keys[self.odd], step))

        begun = checked.begin(self.even, self.keys[self.even])
        self._compare(
            [[snapshot] for snapshot in begun],
            self.even,
            f"an episode begins differently among {len(self.even)} and among {self.num_envs}",
            DEPEND_ON_STREAM,
        )
        self._compare(
            self._play_on(checked, self.even, begun, None, disturb),
            self.even,
            f"begin() was given the rows {self.odd.tolist()} and changed another episode",
            "Write only to state[rows].",
        )

    def while_others_step(self) -> None:
        """Begin all; play the odd rows to their end before the even ones take a step."""
        checked = self._new_checked()
        begun = checked.begin(self.even, self.keys[self.even])
        self._play(checked, self.odd)
        self._compare(
            self._play_on(checked, self.even, begun),
            self.even,
            f"advance() was given the rows {self.odd.tolist()} and changed another episode",
            "Write only to state[rows].",
        )

    def alone(self) -> None:
        for row in self.rows:
            checked = CheckedTask(self.task, 1)
            begun = checked.begin(self.rows[:1], self.keys[row : row + 1])
            self._compare(
                self._play_on(checked, self.rows[:1], begun, self.keys[row : row + 1]),
                self.rows[row : row + 1],
                f"an episode differs between playing alone and among {self.num_envs}",
                DEPEND_ON_STREAM,
            )

    def _new_checked(self) -> CheckedTask:
        return CheckedTask(self.task, self.num_envs)

    def _play(
        self, checked: CheckedTask, rows: Rows, after_step: Callable[[int], None] | None = None
    ) -> list[EpisodeRecord]:
        """Play an episode in each of `rows`."""
        return self._play_on(checked, rows, checked.begin(rows, self.keys[rows]), None, after_step)

    def _play_on(
        self,
        checked: CheckedTask,
        rows: Rows,
        begun: list[Snapshot],
        keys: UInt64Array | None = None,
        after_step: Callable[[int], None] | None = None,
    ) -> list[EpisodeRecord]:
        """Play the episodes begun in `rows` to their ends; the keys decide the choices."""
        keys = self.keys[rows] if keys is None else keys
        records = [[snapshot] for snapshot in begun]
        for step in range(1, self.max_steps + 1):
            running = np.flatnonzero([not record[-1].over for record in records])
            if not running.size:
                break
            choices = combine_keys(keys[running], step) % np.uint64(len(self.task.choice_names))
            snapshots = checked.advance(rows[running], choices.astype(np.int64))
            for place, snapshot in zip(running.tolist(), snapshots, strict=True):
                records[place].append(snapshot)
            if after_step is not None:
                after_step(step)
        return records

    def _compare(self, found: list[EpisodeRecord], rows: Rows, problem: str, remedy: str) -> None:
        for row, record in zip(rows.tolist(), found, strict=True):
            for step, (snapshot, same) in enumerate(zip(self.expected[row], record, strict=False)):
                difference = snapshot.difference(same)
                if difference is not None:
                    when = f"after step {step}" if step else "when it begins"
                    raise TaskError(f"{problem}: row {row}, {when}: {difference}. {remedy}")
