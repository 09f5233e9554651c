"""Catch for a person: in real time, one row after another, or turn by turn."""

from __future__ import annotations

from collections.abc import Iterable

from ram_envs.play.game import Game, Phase
from ram_envs.play.seat import Action, Deal, Seat
from ram_envs.tasks.catch import Catch

LEFT, STAY, RIGHT = 0, 1, 2
BALLS_PER_LEVEL = 5
FASTER = 1.2  # each level
MAX_ROWS = 2  # per tick: on a slow computer the game is slower, and does not jump


class CatchGame(Game):
    """The paddle follows held keys, the retina the gaze; a row is one step.

    Args:
        player, deals, opponent: as in `Game`.
        speed: rows per second.
        turns: whether the ball waits for the player's move instead.
        levels: whether balls fall faster from level to level.

    Attributes:
        level: from 1; five balls in a row are a level, and a miss takes the player back one.
    """

    noun, verb = "balls", "caught"

    def __init__(
        self,
        player: Seat,
        deals: Iterable[Deal],
        opponent: Seat | None = None,
        *,
        speed: float = 4.0,
        turns: bool = False,
        levels: bool = False,
    ) -> None:
        super().__init__(player, deals, opponent)
        self.speed = speed
        self.turns = turns
        self.levels = levels
        self.level = 1
        self._held: dict[int, int] = {}  # keys that are down, the newest last, and their moves
        self._tapped: int | None = None  # the newest since the last row, even if it is up again
        self._rows_due = 0.0

    def hold(self, move: int, key: int) -> None:
        """Press a key of the paddle. Turn by turn, this is the step."""
        if self.turns and self.player.pilot is None:
            if self.time_runs:
                self.advance(move)
            return
        self._held.pop(key, None)
        self._held[key] = move
        if self.time_runs:
            self._tapped = move

    def release(self, key: int | None = None) -> None:
        """Release a key of the paddle; all of them if None."""
        if key is None:
            self._held.clear()
        else:
            self._held.pop(key, None)

    def toggle_turns(self) -> None:
        self.turns = not self.turns
        self.release()
        self._forget_taps()

    def advance(self, move: int) -> None:
        """Play one row: every player moves, then looks."""
        action: Action | None = self.location, move
        if self.player.pilot is not None:
            action = self.player.pilot.act(self.player.observation)
        if action is None:
            self._leave()
            return
        right = self.player.step(action)
        if self.player.pilot is not None:
            self.move_gaze_to(self.player.edge)
        if self.opponent is not None and self.opponent.pilot is not None:
            answer = self.opponent.pilot.act(self.opponent.observation)
            assert answer is not None, "an opponent is an agent, which does not give up"
            opponent_right = self.opponent.step(answer)
            if opponent_right is not None:
                self._count(self.opponent, opponent_right)
        if right is not None:
            self._count(self.player, right)
            self._change_level(right)
            self.phase = Phase.SHOWN
            self._shown_for = 0.0
        if self.player.over:
            self._end_episode()

    def _change_level(self, right: bool) -> None:
        """Go up after every fifth ball in a row, down after a miss; the speed follows."""
        if not self.levels or self.is_practice:
            return
        streak, before = self.player.streak, self.level
        if right and streak % BALLS_PER_LEVEL == 0:
            self.level += 1
        elif not right:
            self.level = max(1, self.level - 1)
        self.change_speed(FASTER ** (self.level - before))

    def _play(self, seconds: float) -> None:
        if self.turns and self.player.pilot is None:
            return
        self._rows_due += seconds * self.speed
        for _ in range(MAX_ROWS):
            # A little less than a row is enough: sums of clock steps are rarely exact.
            if self._rows_due < 1 - 1e-9 or self.phase is not Phase.PLAYING:
                break
            self._rows_due -= 1
            held = next(reversed(self._held.values()), STAY)
            move = held if self._tapped is None else self._tapped
            self._tapped = None
            self.advance(move)
        self._rows_due = min(self._rows_due, 1.0)

    def _begin(self) -> None:
        super()._begin()
        self._forget_taps()

    def _next_ball(self) -> None:
        super()._next_ball()
        self._forget_taps()

    def _forget_taps(self) -> None:
        self._rows_due = 0.0
        self._tapped = None

    def _unanswered(self) -> int:
        task = self.player.env.batch.task
        assert isinstance(task, Catch)
        return task.num_balls - len(self.player.verdicts)
