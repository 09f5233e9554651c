"""The glimpse quiz: look as often as the agent may, then type the label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ram_envs.play.game import COMMON_KEYS, NEXT_KEYS, Phase
from ram_envs.play.look_game import LookGame
from ram_envs.play.seat import Action, Deal, Edge, Seat
from ram_envs.tasks.classification import Classification
from ram_envs.tasks.pairs import PairClassification

MAX_BUTTONS = 10  # labels that can be clicked


@dataclass(frozen=True)
class QuizAnswer:
    """One canvas: its index, the true label, the answers of player and opponent, the time."""

    index: int
    label: int
    answer: int
    opponent_answer: int | None
    seconds: float


class QuizGame(LookGame):
    """T glimpses of a canvas, the first at a random location; the T-th step decides.

    Args:
        player, deals, opponent: as in `Game`; each deal has an image's index.

    Attributes:
        guess: the label that was typed last; before the T-th glimpse it is provisional.
        typed: the digits that were typed since the last glimpse.
        answers: one for each answered canvas that counts.
        legend: the number to type for each class, where the classes have other names.
    """

    title = "Glimpse quiz"
    noun, verb = "canvases", "named"
    keys = (
        ("mouse click", "look there"),
        ("I, J, K, L, then Enter", "look without a mouse (also the arrow keys)"),
        ("0 … 9", "a guess; after the last glimpse, your answer (two digits for pairs, sums)"),
        ("Enter", "after the last glimpse: answer with your guess"),
        ("N, Enter or Space", "next canvas"),
        ("F", "after the answer: your last glimpse, or the whole canvas"),
        *COMMON_KEYS,
    )
    takes_digits = True
    trail_start = 0  # all of them
    typed = ""

    def __init__(self, player: Seat, deals: Iterable[Deal], opponent: Seat | None = None) -> None:
        super().__init__(player, deals, opponent)
        self.answers: list[QuizAnswer] = []
        self._codes = label_codes(self.task)
        self._seconds = 0.0
        names = self.task.choice_names
        if not isinstance(self.task, PairClassification):
            self.labels = range(len(names)) if len(names) <= MAX_BUTTONS else ()
            if any(name != str(label) for label, name in enumerate(names)):
                self.legend = [f"{label}  {name}" for label, name in enumerate(names)]

    @property
    def task(self) -> Classification[Any]:
        task = self.player.env.batch.task
        assert isinstance(task, Classification)
        return task

    @property
    def label(self) -> int:
        """The true label, which is shown after the answer."""
        return int(self.player.env.batch.state.labels[0])

    def name(self, label: int) -> str:
        """Return what a label means."""
        return self.task.choice_names[label]

    @property
    def glimpses_taken(self) -> int:
        return min(len(self.player.actions) + 1, self.task.num_glimpses)

    @property
    def must_answer(self) -> bool:
        """Whether all glimpses have been taken."""
        return self.phase is Phase.PLAYING and self.glimpses_taken == self.task.num_glimpses

    def press(self, key: str, shift: bool = False) -> None:
        if key in NEXT_KEYS and not self.time_runs:
            self.proceed()
        else:
            super().press(key, shift)

    def look(self, edge: Edge) -> None:
        """Take the next glimpse, if one is left."""
        self.move_gaze_to(edge)
        if self.time_runs and not self.must_answer and self.waits:
            self.typed = ""
            self._step((self.location, self.guess or 0))

    def choose(self, number: int) -> None:
        """Choose a label as the guess; after the last glimpse it is the answer."""
        self.typed = ""
        self.type_digit(number)

    def type_digit(self, digit: int) -> None:
        """Add a digit to the guess, or begin another; after the last glimpse it is the answer.

        A guess that could go on, such as 1 where 18 is a label, becomes the answer by `confirm`.
        """
        if not self.time_runs or not self.waits:
            return
        for typed in (f"{self.typed}{digit}", str(digit)):
            longer = [code for code in self._codes if code.startswith(typed)]
            if longer:
                self.typed, self.guess = typed, self._codes.get(typed)
                if self.must_answer and longer == [typed]:
                    self._answer()
                return

    def confirm(self) -> None:
        """Look where the gaze is; after the last glimpse, answer with the guess."""
        if not self.must_answer:
            super().confirm()
        elif self.time_runs and self.waits:
            self._answer()

    def _answer(self) -> None:
        if self.guess is not None:
            self._stay(self.guess)

    def proceed(self) -> None:
        """Start, or continue after the answer; no canvas is skipped."""
        if self.phase is not Phase.PLAYING:
            super().proceed()

    def again(self) -> None:
        """Do nothing: a canvas that was seen is known."""

    def _begin(self) -> None:
        super()._begin()
        self.guess, self.typed, self._seconds = None, "", 0.0

    def _play(self, seconds: float) -> None:
        self._seconds += seconds
        super()._play(seconds)

    def _step(self, action: Action) -> None:
        if self.player.pilot is not None:
            self.guess = action[1]
        super()._step(action)

    def _end_episode(self) -> None:
        if self.player.verdicts and not self.is_practice:
            self.answers.append(
                QuizAnswer(
                    index=int(self.player.env.batch.state.index[0]),
                    label=self.label,
                    answer=self.player.actions[-1][1],
                    opponent_answer=None if self.opponent is None else self.opponent.actions[-1][1],
                    seconds=round(self._seconds, 2),
                )
            )
        super()._end_episode()
        self.num_looks += len(self.player.trail)

    # What is shown ------------------------------------------------------------------------------

    @property
    def question(self) -> str:
        """What is to be typed after the last glimpse."""
        if isinstance(self.task, PairClassification):
            return "both digits" if self.task.answer == "pair" else "the sum, then Enter"
        return "the number of the class" if self.legend else "the digit"

    @property
    def introduction(self) -> list[str]:
        what = "An image is" if self.legend else "A digit is"
        if isinstance(self.task, PairClassification):
            what = "Two digits are"
        legend = [self.legend[start : start + 5] for start in range(0, len(self.legend), 5)]
        return [
            f"{what} hidden in the fog, perhaps among clutter.",
            f"You have {self.task.num_glimpses} glimpses; the first is at a random location.",
            f"Click to look. After the last glimpse, type {self.question}.",
            *("    ".join(line) for line in legend),
        ]

    @property
    def looks_left(self) -> tuple[int, int]:
        return self.task.num_glimpses - self.glimpses_taken, self.task.num_glimpses

    @property
    def status(self) -> list[str]:
        lines = [f"glimpse {self.glimpses_taken} of {self.task.num_glimpses}"]
        if self.phase is Phase.PLAYING and self.guess is not None:
            lines.append(f"guess: {self.name(self.guess)}")
        elif self.phase is Phase.PLAYING and self.typed:
            lines.append(f"guess: {self.typed} …")
        return [*lines, *super().status]

    @property
    def hint(self) -> str:
        if not self.waits:
            return super().hint
        if self.phase is Phase.SHOWN:
            return "Space: next canvas     F: your last glimpse     H: help     Esc: stop"
        if self.must_answer:
            return f"No glimpse left: type {self.question}.     H: help     Esc: stop"
        return "Click to look.     Type digits to note a guess.     H: help     Esc: stop"

    def outcome(self, seat: Seat) -> str:
        said = self.name(seat.actions[-1][1])
        return f"{said} is right" if seat.verdicts[-1] else f"{said}; it is {self.name(self.label)}"


def label_codes(task: Classification[Any]) -> dict[str, int]:
    """Return the digits to type for each label: the label's own, both of a pair, or the sum."""
    if not isinstance(task, PairClassification):
        return {str(label): label for label in range(len(task.choice_names))}
    if task.answer == "sum":
        return {name: label for label, name in enumerate(task.choice_names)}
    return {f"{a}{b}": int(label) for (a, b), label in np.ndenumerate(task.answers)}
