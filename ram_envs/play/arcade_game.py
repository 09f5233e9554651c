"""Any environment with pictures, and custom tasks, played by a person.

Held keys are the move, the mouse is the gaze.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ram_envs.play.game import ARROWS, COMMON_KEYS, RETINA_IN_WORDS, Game, KeyTable, Phase
from ram_envs.play.seat import Action, Deal, Seat
from ram_envs.task import Task

PATH_LENGTH = 24  # fixations that are shown after a game
NUM_NUMBER_KEYS = 10  # 0 to 9
# Letters that fit beside the board, on the start card and in the help.
MAX_NAME, MAX_SENTENCE, MAX_NAMES = 26, 80, 62

KEYS: KeyTable = (
    ("arrows or W, A, S, D", "move; Space fires"),
    ("mouse or I, J, K, L", "look"),
    ("N", "next game"),
    ("R", "begin this game again"),
    ("+, −", "faster, slower"),
    ("F", "lift the fog"),
    *COMMON_KEYS,
)
DIRECTION_KEYS = {"w": "up", "a": "left", "s": "down", "d": "right", "space": "fire"}
DIRECTION_KEYS |= {arrow: arrow for arrow in ARROWS}

Directions = frozenset[str]  # of "up", "down", "left", "right", "fire"

_DIRECTIONS = re.compile("(up|down)?(left|right)?(fire)?")
_OTHER_NAMES: dict[str, Directions] = {
    **dict.fromkeys(("noop", "stay", "still", "none", "idle"), frozenset()),
    "forward": frozenset({"up"}),
    "backward": frozenset({"down"}),
}


class ArcadeSeat(Seat):
    """A person in an environment through the retina; episodes are scored by their return.

    Args:
        name: "you".
        env: a `ThroughRetina`, or a `GlimpseEnv` of any task.
        max_steps: of an episode, where a wrapper would end it; None if the task ends it alone.

    Attributes:
        total: the return of the present episode.
        totals: those of the finished ones.
    """

    numbered = False

    def __init__(self, name: str, env: Any, max_steps: int | None = None) -> None:
        super().__init__(name, env)
        self.max_steps = max_steps
        self.num_steps = 0
        self.total = 0.0
        self.totals: list[float] = []

    @property
    def task(self) -> Task[Any] | None:
        """The task; None in an environment of another package."""
        return getattr(self.env.batch, "task", None)

    @property
    def frames_change(self) -> bool:
        return self.task is None or self.task.frames_change

    def begin(self, deal: Deal) -> None:
        self.total, self.num_steps = 0.0, 0
        super().begin(deal)

    def step(self, action: Action) -> None:
        (x, y), move = action
        self.observation, reward, terminated, truncated, _ = self.env.step(
            (np.array([x, y], np.float32), move)
        )
        self.total += float(reward)
        self.num_steps += 1
        self.over = terminated or truncated or self.num_steps == self.max_steps
        self._note_path()

    def _note_path(self) -> None:
        self.trail = [*self.trail[1 - PATH_LENGTH :], self.edge]
        if not self.frames_change:
            self._remember()


class ArcadeGame(Game):
    """A game of moves, scored by its return.

    It runs in real time if the screen changes and one of the moves is to wait; otherwise each key
    press is a step.

    Args:
        player: the person.
        deals: the episodes, in order.
        title: what the game is called.
        speed: steps per second.

    Attributes:
        names: what the moves are called; their numbers where they have no names.
        turns: whether the game waits for the player.
    """

    takes_digits = True

    def __init__(
        self, player: ArcadeSeat, deals: Iterable[Deal], *, title: str, speed: float
    ) -> None:
        super().__init__(player, deals)
        self.title, self.speed = title, speed
        env: Any = player.env
        named_by: Any = env.batch if player.task is None else player.task
        names = named_by.choice_names
        num_moves = int(env.action_space[1].n)
        self.names: Sequence[str] = names or [str(number) for number in range(num_moves)]
        self._first = int(env.action_space[1].start)
        self._moves = find_moves(names or ())
        self.turns = frozenset() not in self._moves or not player.frames_change
        self._tapped: set[str] = set()  # directions since the last step, even if released again

    @property
    def arcade_seat(self) -> ArcadeSeat:
        assert isinstance(self.player, ArcadeSeat)
        return self.player

    @property
    def has_directions(self) -> bool:
        """Whether arrow keys or Space are moves."""
        return any(self._moves)

    def press(self, key: str, shift: bool = False) -> None:
        if self.phase is Phase.PLAYING and key in DIRECTION_KEYS:
            self.hold(DIRECTION_KEYS[key], key)
        elif self.phase is not Phase.PLAYING or key != "enter":  # which would leave the game
            super().press(key, shift)

    def hold(self, direction: str, key: str) -> None:
        """Press a key of a direction. Where the game waits for the player, this is a step."""
        if not self.turns:
            self._held[key] = direction
            self._tapped |= {direction} if self.time_runs else set()
        elif self.time_runs and frozenset({direction}) in self._moves:
            self.advance(self._moves[frozenset({direction})])

    def choose(self, number: int) -> None:
        """Make the move of a number, at once."""
        if self.time_runs and number < len(self.names):
            self.advance(number)

    def advance(self, move: int) -> None:
        """Take one step, with the gaze where it is."""
        self.arcade_seat.step((self.location, move + self._first))
        self._tapped.clear()
        if self.player.over:
            self._end_episode()
            self.phase = Phase.SHOWN

    def again(self) -> None:
        """Begin the present game again."""
        if self.phase in (Phase.PLAYING, Phase.SHOWN):
            self._begin()

    def _step_in_time(self) -> None:
        """Make the move of the directions that are held, or of as many of them as possible."""
        held = self._tapped | set(self._held.values())
        known = [directions for directions in self._moves if directions <= held]
        self.advance(self._moves[max(known, key=len)])

    def _resume(self) -> None:
        super()._resume()
        self._tapped.clear()

    def _end_episode(self) -> None:
        self.arcade_seat.totals.append(self.arcade_seat.total)

    def _unanswered(self) -> int:
        return 0

    # What is shown ------------------------------------------------------------------------------

    @property
    def keys(self) -> KeyTable:
        numbers = f"0 … {min(9, len(self.names) - 1)}"
        unused = ("+, −" if self.turns else "", "" if self.has_directions else KEYS[0][0])
        used = [row for row in KEYS if row[0] not in unused]
        return ((numbers, shorten(", ".join(self.names), MAX_NAMES)), *used)

    @property
    def introduction(self) -> list[str]:
        keys = "The numbers choose a move; H lists them."
        if self.has_directions:
            keys = "Arrow keys or W, A, S, D move; Space fires; numbers choose a move."
        lines = [
            RETINA_IN_WORDS,
            "The mouse moves your gaze. You get a new glimpse with every step.",
            f"{keys} Each key is a step." if self.turns else keys,
        ]
        about = (self.arcade_seat.task.__doc__ or "").strip() if self.arcade_seat.task else ""
        return [shorten(about.splitlines()[0], MAX_SENTENCE), *lines] if about else lines

    @property
    def scores(self) -> list[tuple[str, object]]:
        seat = self.arcade_seat
        best = f"{max(seat.totals):.4g}" if seat.totals else "–"
        return [("score", f"{seat.total:.4g}"), ("best", best), ("games", len(seat.totals))]

    @property
    def status(self) -> list[str]:
        """The pace; where the game waits and there is room, the number of each move."""
        if not self.turns:
            return [f"{self.speed:.3g} steps per second", *super().status]
        listed = self.names if len(self.names) <= NUM_NUMBER_KEYS else ()
        moves = [f"{number}  {shorten(name, MAX_NAME)}" for number, name in enumerate(listed)]
        return ["each key is a step", *moves, *super().status]

    @property
    def hint(self) -> str:
        if self.phase is Phase.SHOWN:
            return "Space: next game     R: this one again     H: help     Esc: stop"
        if self.turns:
            return "Mouse: look     a key: a step     F: fog     H: help     Esc: stop"
        return super().hint

    def summary(self) -> str:
        totals = self.arcade_seat.totals
        if not totals:
            return "You finished no game."
        games = f"{len(totals)} games" if len(totals) > 1 else "1 game"
        mean = sum(totals) / len(totals)
        return f"You played {games}: mean score {mean:.4g}, best {max(totals):.4g}."


def shorten(words: str, length: int) -> str:
    """Return words, cut to a number of letters."""
    return words if len(words) <= length else f"{words[: length - 1]}…"


def find_moves(names: Sequence[str]) -> dict[Directions, int]:
    """Return the move of each set of directions, from names such as "UPRIGHTFIRE" or "forward".

    Where nothing goes up or down, these keys are right and left: the paddle of Pong moves so.
    """
    moves: dict[Directions, int] = {}
    for number, name in enumerate(name.lower() for name in names):
        if name in _OTHER_NAMES:
            moves.setdefault(_OTHER_NAMES[name], number)
        elif name and (match := _DIRECTIONS.fullmatch(name)):
            moves[frozenset(filter(None, match.groups()))] = number
    if not any({"up", "down"} & directions for directions in moves):
        turned = {"right": "up", "left": "down"}
        for directions, move in list(moves.items()):
            moves[frozenset(turned.get(one, one) for one in directions)] = move
    return moves
