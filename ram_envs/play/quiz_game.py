"""The glimpse quiz: look as often as the agent may, then type the label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ram_envs.play.game import Game, Phase
from ram_envs.play.seat import Action, Deal, Edge, Seat, location_of
from ram_envs.tasks.classification import Classification
from ram_envs.tasks.pairs import PairClassification


@dataclass(frozen=True)
class QuizAnswer:
    """One canvas: its index, the true label, the answers of player and opponent, the time."""

    index: int
    label: int
    answer: int
    opponent_answer: int | None
    seconds: float


class QuizGame(Game):
    """T glimpses of a canvas, the first at a random location; the T-th step decides.

    Args:
        player, deals, opponent: as in `Game`; each deal has an image's index.
        speed: glimpses per second of an agent or a recording.

    Attributes:
        guess: the label that was typed last; before the T-th glimpse it is provisional.
        typed: the digits that were typed since the last glimpse.
        answers: one for each answered canvas that counts.
    """

    noun, verb = "canvases", "named"

    def __init__(
        self,
        player: Seat,
        deals: Iterable[Deal],
        opponent: Seat | None = None,
        *,
        speed: float = 1.0,
    ) -> None:
        super().__init__(player, deals, opponent)
        self.speed = speed
        self.guess: int | None = None
        self.typed = ""
        self._codes = label_codes(self.task)
        self.answers: list[QuizAnswer] = []
        self._seconds = 0.0
        self._glimpses_due = 0.0

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
    def question(self) -> str:
        """What is to be typed after the last glimpse."""
        if isinstance(self.task, PairClassification):
            return "both digits" if self.task.answer == "pair" else "the sum, then Enter"
        return "the number of the class" if self.legend else "the digit"

    @property
    def legend(self) -> list[str]:
        """The number to type for each class, where the classes have other names."""
        names = self.task.choice_names
        is_named = any(name != str(label) for label, name in enumerate(names))
        if isinstance(self.task, PairClassification) or not is_named:
            return []
        return [f"{label}  {name}" for label, name in enumerate(names)]

    @property
    def introduction(self) -> list[str]:
        """What is played, in a few lines."""
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
    def glimpses_taken(self) -> int:
        return min(len(self.player.actions) + 1, self.task.num_glimpses)

    @property
    def must_answer(self) -> bool:
        """Whether all glimpses have been taken."""
        return self.phase is Phase.PLAYING and self.glimpses_taken == self.task.num_glimpses

    def look(self, edge: Edge) -> None:
        """Take the next glimpse, if one is left."""
        self.move_gaze_to(edge)
        if self.time_runs and not self.must_answer and self.player.pilot is None:
            self.typed = ""
            self._step((self.location, self.guess or 0))

    def type_digit(self, digit: int) -> None:
        """Add a digit to the guess, or begin another; after the last glimpse it is the answer.

        A guess that could go on, such as 1 where 18 is a label, becomes the answer by `confirm`.
        """
        if not self.time_runs or self.player.pilot is not None:
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
            self.look(self.gaze)
        elif self.time_runs and self.player.pilot is None:
            self._answer()

    def _answer(self) -> None:
        if self.guess is not None:  # the gaze stays where it was
            shape = self.player.env.batch.task.image_shape
            self._step((location_of(self.player.edge, shape), self.guess))

    def proceed(self) -> None:
        """Start, or continue after the answer; no canvas is skipped."""
        if self.phase is not Phase.PLAYING:
            super().proceed()

    def again(self) -> None:
        """Do nothing: a canvas that was seen is known."""

    def toggle_fog(self) -> None:
        """Lift or lower the fog; for a person only after the answer."""
        if self.phase is not Phase.PLAYING or self.player.pilot is not None:
            super().toggle_fog()

    def _begin(self) -> None:
        self.fog_lifted = False
        super()._begin()
        self.guess, self.typed = None, ""
        self._seconds = self._glimpses_due = 0.0

    def _play(self, seconds: float) -> None:
        self._seconds += seconds
        if self.player.pilot is None:
            return
        self._glimpses_due = min(self._glimpses_due + seconds * self.speed, 2.0)
        if self._glimpses_due >= 1 - 1e-9:
            self._glimpses_due -= 1
            action = self.player.pilot.act(self.player.observation)
            if action is None:
                self._leave()
            else:
                self._step(action)

    def _step(self, action: Action) -> None:
        self.guess = action[1] if self.player.pilot is not None else self.guess
        right = self.player.step(action)
        if right is None:
            self.move_gaze_to(self.player.edge)
            return
        if self.opponent is not None:
            self._finish_opponent()
        if not self.is_practice:
            self.answers.append(
                QuizAnswer(
                    index=int(self.player.env.batch.state.index[0]),
                    label=self.label,
                    answer=action[1],
                    opponent_answer=_answer(self.opponent),
                    seconds=round(self._seconds, 2),
                )
            )
        self._count(self.player, right)
        self._end_episode()
        self.phase = Phase.SHOWN
        self.fog_lifted = True
        self._shown_for = 0.0


def label_codes(task: Classification[Any]) -> dict[str, int]:
    """Return the digits to type for each label: the label's own, both of a pair, or the sum."""
    if not isinstance(task, PairClassification):
        return {str(label): label for label in range(len(task.choice_names))}
    if task.answer == "sum":
        return {name: label for label, name in enumerate(task.choice_names)}
    return {f"{a}{b}": int(label) for (a, b), label in np.ndenumerate(task.answers)}


def _answer(seat: Seat | None) -> int | None:
    return None if seat is None else _last_choice(seat.actions)


def _last_choice(actions: Sequence[Action]) -> int:
    return actions[-1][1]
