"""What all games share: phases, score, the same or the next episode, keys, gaze and words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from typing import Any

from ram_envs.play.recording import RecordedEpisode
from ram_envs.play.seat import Deal, Edge, Seat, location_of

PILOT_REST = 1.5  # seconds for which a finished episode of an agent is shown
SPEEDS = 0.25, 64.0  # the slowest and the fastest, in rows or glimpses per second
GAZE_DELAY, GAZE_RATE = 0.25, 24.0  # a held gaze key: seconds to its first repeat, steps per second

# Keys have names: those of their letters, and "left", "right", "up", "down", "space", "enter".
ARROWS: dict[str, Edge] = {"up": (0, -1), "left": (-1, 0), "down": (0, 1), "right": (1, 0)}
GAZE_KEYS: dict[str, Edge] = {"i": (0, -1), "j": (-1, 0), "k": (0, 1), "l": (1, 0)}
NEXT_KEYS = ("n", "enter", "space")

KeyTable = tuple[tuple[str, str], ...]  # keys, and what they do
COMMON_KEYS: KeyTable = (
    ("C", "contrast: faint grays brighter, or as they are"),
    ("P", "pause"),
    ("H or ?", "this help"),
    ("Esc", "stop, and show the result"),
)
RETINA_IN_WORDS = "You see through a retina: sharp where you look, coarse around it."


class Phase(Enum):
    """The phase of a game."""

    READY = auto()  # before the first episode
    PLAYING = auto()
    SHOWN = auto()  # a ball has landed or an answer was given; the truth is shown
    FINISHED = auto()  # the last episode is over; the result is shown


class Series:
    """One player, perhaps with an opponent, plays one episode after another.

    An episode counts the first time it is played or left; repeating it is practice.

    Args:
        player: the player.
        deals: the episodes, in order; may be unlimited.
        opponent: another player of the same episodes.

    Attributes:
        phase: the present phase.
        paused, help_shown: each stops time.
        fog_lifted: whether the whole canvas is visible.
        peeked: number of counted verdicts with the fog lifted.
        episodes: the finished episodes.
        on_episode_end: called after each episode, for example to save it.
    """

    def __init__(self, player: Seat, deals: Iterable[Deal], opponent: Seat | None = None) -> None:
        self.player = player
        self.opponent = opponent
        self.phase = Phase.READY
        self.paused = self.help_shown = False
        self.fog_lifted, self.peeked = False, 0
        self.episodes: list[RecordedEpisode] = []
        self.on_episode_end: Callable[[], None] = lambda: None
        self._deals: Iterator[Deal] = iter(deals)
        self._deal = next(self._deals)
        self._counted: set[Deal] = set()
        self._fog_was_lifted = False

    @property
    def seats(self) -> list[Seat]:
        return [self.player] if self.opponent is None else [self.player, self.opponent]

    @property
    def played(self) -> list[RecordedEpisode]:
        """The episodes of a recording: the finished ones, and the present one if a ball counted."""
        if self.player.over or not self.player.verdicts:
            return list(self.episodes)
        return [*self.episodes, RecordedEpisode(self._deal, list(self.player.actions))]

    @property
    def is_practice(self) -> bool:
        """Whether this episode was counted before."""
        return self._deal in self._counted

    def proceed(self) -> None:
        """Start; or continue, when the truth is shown; or leave this episode for the next."""
        if self.phase is Phase.READY:
            self._begin()
        elif self.phase is Phase.PLAYING and self.player.pilot is None:
            self._leave()
        elif self.phase is Phase.SHOWN and self.player.over:
            self._next()
        elif self.phase is Phase.SHOWN:
            self._resume()

    def again(self) -> None:
        """Repeat the episode; for a person."""
        if self.player.pilot is None and self.phase in (Phase.PLAYING, Phase.SHOWN):
            if not self.player.over:
                self._give_up()
            self._begin()

    def stop(self) -> None:
        """End the game before its last episode; the present one does not count."""
        self.phase, self.paused, self.help_shown = Phase.FINISHED, False, False

    def toggle_fog(self) -> None:
        self.fog_lifted = not self.fog_lifted
        self._fog_was_lifted |= self.fog_lifted and self.phase is Phase.PLAYING

    def _begin(self) -> None:
        for seat in self.seats:
            seat.begin(self._deal)
        self.paused = False
        self._resume()

    def _resume(self) -> None:
        """Let the first or the next ball fall, or the canvas be looked at."""
        self.phase = Phase.PLAYING
        self._fog_was_lifted = self.fog_lifted

    def _unanswered(self) -> int:
        """Return how many verdicts of this episode are open."""
        return 0 if self.player.over else 1

    def _count(self, seat: Seat, right: bool) -> None:
        if not self.is_practice:
            seat.count_verdict(right)
            self.peeked += seat.pilot is None and self._fog_was_lifted

    def _leave(self) -> None:
        """Go to the next episode before the end of this one."""
        self._give_up()
        self._next()

    def _give_up(self) -> None:
        """Leave an episode before its end: open verdicts are lost; the opponent finishes it."""
        for _ in range(self._unanswered()):
            self._count(self.player, False)
        self._finish_opponent()
        self._end_episode()

    def _finish_opponent(self) -> None:
        """Let the opponent, if there is one, play to the end of the episode."""
        while self.opponent is not None and not self.opponent.over:
            self._step_opponent(self.opponent)

    def _step_opponent(self, seat: Seat) -> None:
        assert seat.pilot is not None
        action = seat.pilot.act(seat.observation)
        assert action is not None, "an opponent is an agent, which does not give up"
        right = seat.step(action)
        if right is not None:
            self._count(seat, right)

    def _end_episode(self) -> None:
        self.episodes.append(RecordedEpisode(self._deal, list(self.player.actions)))
        self._counted.add(self._deal)
        self.on_episode_end()

    def _next(self) -> None:
        deal = next(self._deals, None)
        if deal is None:
            self.phase = Phase.FINISHED
        else:
            self._deal = deal
            self._begin()


class Game(Series, ABC):
    """A series of episodes with what a person does, and what the screen shows of it.

    Args:
        player, deals, opponent: as in `Series`.

    Attributes:
        title: what the game is called.
        speed: steps per second, where time runs.
        noun, verb: for the result, such as "balls" and "caught".
        opponent_in_words: stands on the opponent's board while it is hidden.
        takes_digits: whether digits are typed.
        trail_start: index in the trail of the first fixation that is drawn during an episode.
        has_demo: whether the start card shows a falling ball.
        turns: whether the game waits for a person's steps.
        levels, level: whether there are levels, and the present one.
        legend: lines about what can be typed.
        labels, guess: the labels that can be clicked, and the one that was chosen.
        brightened: whether faint grays are drawn brighter.
        gaze: the pixel edge of the next fixation.
        age, num_looks: seconds since it was made; looks in finished episodes of a quiz.
    """

    title: str
    speed = 1.0
    noun, verb = "episodes", "won"
    opponent_in_words = "plays after you"
    max_steps_per_tick = 2  # on a slow computer the game is slower, and does not jump
    takes_digits = has_demo = turns = levels = False
    trail_start, level = -5, 1
    legend: Sequence[str] = ()
    labels: Sequence[int] = ()
    guess: int | None = None

    def __init__(self, player: Seat, deals: Iterable[Deal], opponent: Seat | None = None) -> None:
        super().__init__(player, deals, opponent)
        self.brightened = False
        self.gaze: Edge = (0, 0)
        self.age, self.num_looks = 0.0, 0
        self._steps_due = self._shown_for = 0.0
        self._held: dict[str, Any] = {}  # keys that are down, the newest last, and their moves
        self._gaze_held: dict[str, tuple[Edge, float]] = {}  # to direction, seconds it is down

    @property
    def canvas_size(self) -> tuple[int, int]:
        """(width, height)."""
        height, width = self.player.env.canvas.shape[:2]
        return width, height

    @property
    def location(self) -> tuple[float, float]:
        """The location of the gaze."""
        return location_of(self.gaze, self.player.env.batch.image_shape)

    @property
    def time_runs(self) -> bool:
        return self.phase is Phase.PLAYING and not self.paused and not self.help_shown

    @property
    def waits(self) -> bool:
        """Whether steps are a person's keys and clicks, and time does not press."""
        return self.turns and self.player.pilot is None

    # What the player does -----------------------------------------------------------------------

    def press(self, key: str, shift: bool = False) -> None:
        """Press a key that has a name, perhaps together with Shift."""
        if key in GAZE_KEYS:
            self._hold_gaze(GAZE_KEYS[key], key)
        elif key in NEXT_KEYS and not self.paused:
            self.proceed()
        elif key == "r" and not self.paused:
            self.again()

    def release(self, key: str | None = None) -> None:
        """Release a key; all of them if None."""
        held: dict[str, Any]
        for held in (self._held, self._gaze_held):
            if key is None:
                held.clear()
            else:
                held.pop(key, None)

    def type_digit(self, digit: int) -> None:
        """Type a digit, in games that take them."""
        self.choose(digit)

    def choose(self, number: int) -> None:
        """Choose a label or a move, in games that number them."""

    def look(self, edge: Edge) -> None:
        """Look at a pixel edge, in games where a look is a step."""

    def toggle_pause(self) -> None:
        rests = self.phase is Phase.SHOWN and self.player.pilot is not None
        if self.phase is Phase.PLAYING or rests:
            self.paused = not self.paused

    def toggle_help(self) -> None:
        self.help_shown = not self.help_shown

    def toggle_brightness(self) -> None:
        self.brightened = not self.brightened

    def change_speed(self, factor: float) -> None:
        slowest, fastest = SPEEDS
        self.speed = min(max(self.speed * factor, slowest), fastest)

    def move_gaze_to(self, edge: Edge) -> None:
        """Look at a pixel edge next; it is clipped to the canvas."""
        width, height = self.canvas_size
        self.gaze = min(max(edge[0], 0), width), min(max(edge[1], 0), height)

    def _hold_gaze(self, direction: Edge, key: str) -> None:
        """Take one step of the gaze in a direction such as (1, 0), more while the key is held."""
        self._gaze_held[key] = direction, 0.0
        self._step_gaze(direction)

    def _step_gaze(self, direction: Edge) -> None:
        step = max(1, round(max(self.canvas_size) / 24))
        x, y = self.gaze
        self.move_gaze_to((x + step * direction[0], y + step * direction[1]))

    # What happens by itself ---------------------------------------------------------------------

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self.age += seconds
        for key, (direction, held) in self._gaze_held.items():
            before, after = (max(0.0, t - GAZE_DELAY) for t in (held, held + seconds))
            for _ in range(int(after * GAZE_RATE) - int(before * GAZE_RATE)):
                self._step_gaze(direction)
            self._gaze_held[key] = direction, held + seconds
        if self.paused or self.help_shown:
            return
        if self.phase is Phase.PLAYING:
            self._play(seconds)
        elif self.phase is Phase.SHOWN and self.player.pilot is not None:
            self._shown_for += seconds
            if self._shown_for >= PILOT_REST:
                self.proceed()

    def _play(self, seconds: float) -> None:
        """Take the steps that fall due, unless the game waits for a person."""
        if self.waits:
            return
        self._steps_due += seconds * self.speed
        for _ in range(self.max_steps_per_tick):
            # A little less than a step is enough: sums of clock steps are rarely exact.
            if self._steps_due < 1 - 1e-9 or self.phase is not Phase.PLAYING:
                break
            self._steps_due -= 1
            self._step_in_time()
        self._steps_due = min(self._steps_due, 1.0)

    @abstractmethod
    def _step_in_time(self) -> None:
        """Take a step that is due."""

    def _begin(self) -> None:
        super()._begin()
        self.move_gaze_to(self.player.edge)

    def _resume(self) -> None:
        super()._resume()
        self._steps_due = self._shown_for = 0.0

    # What is shown ------------------------------------------------------------------------------

    @property
    @abstractmethod
    def keys(self) -> KeyTable:
        """The table of the help."""

    @property
    @abstractmethod
    def introduction(self) -> list[str]:
        """What is played, in a few lines."""

    @property
    def shows_canvas(self) -> bool:
        """Whether the whole canvas is drawn: after an episode always."""
        return self.fog_lifted or self.phase in (Phase.SHOWN, Phase.FINISHED)

    @property
    def looks_left(self) -> tuple[int, int] | None:
        """The looks that are left, and all of them; None where they are not limited."""
        return None

    @property
    def scores(self) -> list[tuple[str, object]]:
        """The numbers beside a single board."""
        seat = self.player
        score = f"{seat.score} of {seat.count}"
        return [("score", score), ("streak", seat.streak), ("best", seat.best)]

    @property
    def status(self) -> list[str]:
        """A few lines about the present state."""
        if self.phase is not Phase.PLAYING:
            return []
        lines = ["fog lifted"] if self.fog_lifted else []
        return [*lines, "practice, does not count"] if self.is_practice else lines

    @property
    def hint(self) -> str:
        """The keys that are useful now, in a line."""
        return "+, −: speed     F: fog     P: pause     H: help     Esc: stop"

    def target(self, seat: Seat) -> tuple[int, int, int, int] | None:
        """Return the box (left, top, right, bottom) that is outlined afterwards, if any."""
        return None

    def outcome(self, seat: Seat) -> str:
        """Return in words whether a ball was caught, or an answer right."""
        batch: Any = seat.env.batch
        words: str = batch.task.verdict(batch.state, 0)
        return words

    def summary(self) -> str:
        """Return the result in a few lines."""
        lines = [self._result(seat) for seat in self.seats]
        if self.peeked:
            lines.append(f"The fog was lifted for {self.peeked} of them.")
        return "\n".join(lines)

    def verdict_words(self) -> str:
        """Return who won a match."""
        if self.opponent is None:
            return ""
        lead = self.player.score - self.opponent.score
        if lead == 0:
            return "A draw."
        winner = self.player.name if lead > 0 else self.opponent.name
        return "You win." if winner == "you" else f"The {winner} wins."

    def _result(self, seat: Seat) -> str:
        name = "You" if seat.name == "you" else f"The {seat.name}"
        return (
            f"{name} {self.verb} {seat.score} of {seat.count} {self.noun} "
            f"(longest streak {seat.best})."
        )
