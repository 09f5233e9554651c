"""Catch for a person: in real time, one row after another, or turn by turn."""

from __future__ import annotations

from ram_envs.play.game import ARROWS, COMMON_KEYS, RETINA_IN_WORDS, Game, Phase
from ram_envs.play.seat import Action
from ram_envs.tasks.catch import Catch

LEFT, STAY, RIGHT = 0, 1, 2
PADDLE_KEYS = {"left": LEFT, "a": LEFT, "right": RIGHT, "d": RIGHT, "down": STAY, "s": STAY}
BALLS_PER_LEVEL = 5
FASTER = 1.2  # each level


class CatchGame(Game):
    """The paddle follows held keys, the retina the gaze; a row is one step.

    Attributes:
        speed: rows per second.
        turns: whether the ball waits for the player's move instead.
        levels: whether balls fall faster from level to level.
        level: from 1; five balls in a row are a level, and a miss takes the player back one.
    """

    title = "Catch"
    noun, verb = "balls", "caught"
    opponent_in_words = "plays the same ball"
    has_demo = True
    speed = 4.0
    keys = (
        ("Left, Right or A, D", "move the paddle"),
        ("mouse or I, J, K, L", "look (also Shift with the arrow keys)"),
        ("N, Enter or Space", "next ball"),
        ("R", "repeat the ball, for practice"),
        ("+, −", "faster, slower"),
        ("T", "turn by turn: the ball waits for your move (Down: stay)"),
        ("F", "lift the fog"),
        *COMMON_KEYS,
    )
    introduction = [
        "Catch the falling ball with your paddle on the bottom row.",
        RETINA_IN_WORDS,
        "Arrow keys move the paddle; the mouse moves your gaze.",
        "You get a new glimpse with every row that the ball falls.",
    ]

    _tapped: int | None = None  # the newest move since the last row, even if its key is up again

    def press(self, key: str, shift: bool = False) -> None:
        if shift and key in ARROWS:
            self._hold_gaze(ARROWS[key], key)
        elif key in PADDLE_KEYS:
            self.hold(PADDLE_KEYS[key], key)
        elif key == "space" and self.turns and self.time_runs:
            self.hold(STAY, key)
        elif key == "t":
            self.toggle_turns()
        else:
            super().press(key, shift)

    def hold(self, move: int, key: str) -> None:
        """Press a key of the paddle. Turn by turn, this is the step."""
        if self.waits:
            if self.time_runs:
                self.advance(move)
            return
        self._held.pop(key, None)
        self._held[key] = move
        if self.time_runs:
            self._tapped = move

    def toggle_turns(self) -> None:
        self.turns = not self.turns
        self._held.clear()
        self._steps_due, self._tapped = 0.0, None

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
            self._step_opponent(self.opponent)
        if right is not None:
            self._count(self.player, right)
            self._change_level(right)
            self.phase = Phase.SHOWN
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

    def _step_in_time(self) -> None:
        held = next(reversed(self._held.values()), STAY)
        move = held if self._tapped is None else self._tapped
        self._tapped = None
        self.advance(move)

    def _resume(self) -> None:
        super()._resume()
        self._tapped = None

    def _unanswered(self) -> int:
        task = self.player.env.batch.task
        assert isinstance(task, Catch)
        return task.num_balls - len(self.player.verdicts)

    @property
    def status(self) -> list[str]:
        pace = "turn by turn" if self.waits else f"{self.speed:.3g} rows per second"
        return [pace, *super().status]

    @property
    def hint(self) -> str:
        if self.phase is Phase.SHOWN and self.player.pilot is None:
            return "Space: next ball     R: repeat it     H: help     Esc: stop"
        if self.waits:
            return "Left, Right, Down (stay): one row     T: real time     H: help     Esc: stop"
        return super().hint
