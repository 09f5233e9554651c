"""What the quiz and Search share: each look is a step, without a time limit."""

from __future__ import annotations

from ram_envs.play.game import ARROWS, Game, Phase
from ram_envs.play.seat import Action, location_of


class LookGame(Game):
    """A look is a step; agents and recordings take `speed` of them per second.

    The fog lifts after the last step; a person cannot lift it earlier.
    """

    turns = True
    max_steps_per_tick = 1

    @property
    def shows_canvas(self) -> bool:
        return self.fog_lifted

    def press(self, key: str, shift: bool = False) -> None:
        if key in ARROWS:
            self._hold_gaze(ARROWS[key], key)
        elif key in ("enter", "space") and self.time_runs:
            self.confirm()
        else:
            super().press(key, shift)

    def confirm(self) -> None:
        """Look where the gaze is."""
        self.look(self.gaze)

    def toggle_fog(self) -> None:
        """Lift or lower the fog; for a person only after the episode."""
        if self.phase is not Phase.PLAYING or self.player.pilot is not None:
            super().toggle_fog()

    def _begin(self) -> None:
        self.fog_lifted = False
        super()._begin()

    def _step_in_time(self) -> None:
        assert self.player.pilot is not None
        action = self.player.pilot.act(self.player.observation)
        if action is None:
            self._leave()
        else:
            self._step(action)

    def _stay(self, choice: int) -> None:
        """Take a step without moving the eye."""
        shape = self.player.env.batch.image_shape
        self._step((location_of(self.player.edge, shape), choice))

    def _step(self, action: Action) -> None:
        """Take a step; after the last one the opponent takes its own, and the truth is shown."""
        right = self.player.step(action)
        self.move_gaze_to(self.player.edge)
        if right is not None:
            self._finish_opponent()
            self._count(self.player, right)
            self._end_episode()
            self.phase, self.fog_lifted = Phase.SHOWN, True
