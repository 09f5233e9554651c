"""What all games share: phases, score, repeating an episode or going to the next, the summary."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from enum import Enum, auto

from ram_envs.play.recording import RecordedEpisode
from ram_envs.play.seat import Deal, Edge, Seat, location_of

PILOT_REST = 1.5  # seconds for which a finished episode of an agent is shown
SPEEDS = 0.25, 64.0  # the slowest and the fastest, in rows or glimpses per second
GAZE_DELAY, GAZE_RATE = 0.25, 24.0  # a held gaze key: seconds to its first repeat, steps per second


class Phase(Enum):
    """The phase of a game."""

    READY = auto()  # before the first episode
    PLAYING = auto()
    SHOWN = auto()  # a ball has landed or an answer was given; the truth is shown
    FINISHED = auto()  # the last episode is over; the result is shown


class Game(ABC):
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
        brightened: whether faint grays are drawn brighter.
        peeked: number of counted verdicts with the fog lifted.
        gaze: the pixel edge of the next fixation.
        episodes: the finished episodes.
        age, num_looks: seconds since it was made; the player's looks in finished episodes.
        on_episode_end: called after each episode, for example to save it.
    """

    noun, verb = "episodes", "won"

    def __init__(self, player: Seat, deals: Iterable[Deal], opponent: Seat | None = None) -> None:
        self.player = player
        self.opponent = opponent
        self.phase = Phase.READY
        self.paused = self.help_shown = False
        self.fog_lifted, self.brightened, self.peeked = False, False, 0
        self.gaze: Edge = (0, 0)
        self.episodes: list[RecordedEpisode] = []
        self.on_episode_end: Callable[[], None] = lambda: None
        self.speed = 1.0
        self.age, self.num_looks = 0.0, 0
        self._deals: Iterator[Deal] = iter(deals)
        self._deal = next(self._deals)
        self._counted: set[Deal] = set()
        self._fog_was_lifted = False
        self._gaze_held: dict[int, tuple[Edge, float]] = {}  # key to direction, seconds it is down
        self._shown_for = 0.0

    @property
    def seats(self) -> list[Seat]:
        return [self.player] if self.opponent is None else [self.player, self.opponent]

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
    def played(self) -> list[RecordedEpisode]:
        """The episodes of a recording: the finished ones, and the present one if a ball counted."""
        if self.player.over or not self.player.verdicts:
            return list(self.episodes)
        return [*self.episodes, RecordedEpisode(self._deal, list(self.player.actions))]

    @property
    def is_practice(self) -> bool:
        """Whether this episode was counted before."""
        return self._deal in self._counted

    @property
    def time_runs(self) -> bool:
        return self.phase is Phase.PLAYING and not self.paused and not self.help_shown

    # What the player does -----------------------------------------------------------------------

    def proceed(self) -> None:
        """Start; or continue, when the truth is shown; or leave this episode for the next."""
        if self.phase is Phase.READY:
            self._begin()
        elif self.phase is Phase.PLAYING and self.player.pilot is None:
            self._leave()
        elif self.phase is Phase.SHOWN and self.player.over:
            self._next()
        elif self.phase is Phase.SHOWN:
            self._next_ball()

    def again(self) -> None:
        """Repeat the episode; for a person."""
        if self.player.pilot is None and self.phase in (Phase.PLAYING, Phase.SHOWN):
            if not self.player.over:
                self._give_up()
            self._begin()

    def toggle_pause(self) -> None:
        rests = self.phase is Phase.SHOWN and self.player.pilot is not None
        if self.phase is Phase.PLAYING or rests:
            self.paused = not self.paused

    def toggle_help(self) -> None:
        self.help_shown = not self.help_shown

    def toggle_fog(self) -> None:
        self.fog_lifted = not self.fog_lifted
        self._fog_was_lifted |= self.fog_lifted and self.phase is Phase.PLAYING

    def toggle_brightness(self) -> None:
        self.brightened = not self.brightened

    def change_speed(self, factor: float) -> None:
        slowest, fastest = SPEEDS
        self.speed = min(max(self.speed * factor, slowest), fastest)

    def move_gaze_to(self, edge: Edge) -> None:
        """Look at a pixel edge next; it is clipped to the canvas."""
        width, height = self.canvas_size
        self.gaze = min(max(edge[0], 0), width), min(max(edge[1], 0), height)

    def hold_gaze(self, direction: Edge, key: int) -> None:
        """Press a gaze key: one step in a direction such as (1, 0), more while it is held."""
        self._gaze_held[key] = direction, 0.0
        self._step_gaze(direction)

    def release_gaze(self, key: int | None = None) -> None:
        """Release a gaze key; all of them if None."""
        for held in [key] if key is not None else list(self._gaze_held):
            self._gaze_held.pop(held, None)

    # What happens by itself ---------------------------------------------------------------------

    @property
    def can_be_drawn(self) -> bool:
        """Whether what was played can be drawn as an animation."""
        return bool(self.played)

    def stop(self) -> None:
        """End the game before its last episode; the present one does not count."""
        self.phase, self.paused, self.help_shown = Phase.FINISHED, False, False

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
        names = self.player.name, self.opponent.name
        if lead == 0:
            return "A draw."
        winner = names[0] if lead > 0 else names[1]
        return "You win." if winner == "you" else f"The {winner} wins."

    @abstractmethod
    def _play(self, seconds: float) -> None:
        """Let time pass while an episode is played."""

    def _unanswered(self) -> int:
        """Return how many verdicts of this episode are open."""
        return 0 if self.player.over else 1

    def _result(self, seat: Seat) -> str:
        name = "You" if seat.name == "you" else f"The {seat.name}"
        return (
            f"{name} {self.verb} {seat.score} of {seat.count} {self.noun} "
            f"(longest streak {seat.best})."
        )

    def _begin(self) -> None:
        for seat in self.seats:
            seat.begin(self._deal)
        self.phase = Phase.PLAYING
        self.paused = False
        self._fog_was_lifted = self.fog_lifted
        self._shown_for = 0.0
        self.move_gaze_to(self.player.edge)

    def _next_ball(self) -> None:
        """Continue an episode of several balls."""
        self.phase = Phase.PLAYING
        self._fog_was_lifted = self.fog_lifted

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
        if self.opponent is not None:
            self._finish_opponent()
        self._end_episode()

    def _finish_opponent(self) -> None:
        """Let the opponent play to the end of the episode."""
        seat = self.opponent
        assert seat is not None
        assert seat.pilot is not None
        while not seat.over:
            action = seat.pilot.act(seat.observation)
            assert action is not None, "an opponent is an agent, which does not give up"
            right = seat.step(action)
            if right is not None:
                self._count(seat, right)

    def _end_episode(self) -> None:
        self.episodes.append(RecordedEpisode(self._deal, list(self.player.actions)))
        self._counted.add(self._deal)
        self.num_looks += len(self.player.trail)
        self.on_episode_end()

    def _next(self) -> None:
        deal = next(self._deals, None)
        if deal is None:
            self.phase = Phase.FINISHED
        else:
            self._deal = deal
            self._begin()

    def _step_gaze(self, direction: Edge) -> None:
        step = max(1, round(max(self.canvas_size) / 24))
        x, y = self.gaze
        self.move_gaze_to((x + step * direction[0], y + step * direction[1]))
