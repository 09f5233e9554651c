"""Catch as a person plays it: in real time, one row after another, or turn by turn."""

from __future__ import annotations

from collections.abc import Iterable

from ram_envs.catch import Catch
from ram_envs.play.game import Game, Phase
from ram_envs.play.seat import Action, Deal, Seat

LEFT, STAY, RIGHT = 0, 1, 2
MOST_ROWS_BEHIND = 1.0  # a computer that can't keep up makes the game slower, not jumpy


class CatchGame(Game):
    """The player's paddle follows held keys, the player's eye the gaze; a row is one step.

    Args:
        player, deals, opponent: as in `Game`.
        speed: rows a second.
        turns: whether the ball waits for the player's move instead.
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
    ) -> None:
        super().__init__(player, deals, opponent)
        self.speed = speed
        self.turns = turns
        self._held: list[int] = []  # moves whose keys are down, the newest last
        self._tapped = STAY  # a key that went down since the last row, even if it is up again
        self._rows_due = 0.0

    def hold(self, move: int) -> None:
        """A key of the paddle goes down. Turn by turn, that is the step."""
        if self.turns and self.player.pilot is None:
            if self.time_runs:
                self.advance(move)
            return
        if move not in self._held:
            self._held.append(move)
        self._tapped = move

    def release(self, move: int | None = None) -> None:
        """A key of the paddle goes up; all of them if None."""
        self._held = [held for held in self._held if move is not None and held != move]

    def toggle_turns(self) -> None:
        self.turns = not self.turns
        self.release()
        self._rows_due = 0.0

    def advance(self, move: int) -> None:
        """One row: everyone moves, then looks."""
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
            self.phase = Phase.SHOWN
            self._shown_for = 0.0
        if self.player.over:
            self._end_episode()

    def _play(self, seconds: float) -> None:
        if self.turns and self.player.pilot is None:
            return
        self._rows_due = min(self._rows_due + seconds * self.speed, MOST_ROWS_BEHIND)
        if self._rows_due >= 1:
            self._rows_due -= 1
            move = self._held[-1] if self._held else self._tapped
            self._tapped = STAY
            self.advance(move)

    def _begin(self) -> None:
        super()._begin()
        self._rows_due = 0.0
        self._tapped = STAY

    def _unanswered(self) -> int:
        task = self.player.env.batch.task
        assert isinstance(task, Catch)
        return task.num_balls - len(self.player.verdicts)
