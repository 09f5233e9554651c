"""Search for a person: look where you click, and take what you look at."""

from __future__ import annotations

from collections.abc import Iterable

from ram_envs.play.game import Game, Phase
from ram_envs.play.seat import Action, Deal, Edge, Seat, location_of
from ram_envs.tasks.search import LOOK, TAKE, Search


class SearchGame(Game):
    """Every look is a step, and so is taking what the last look showed; time does not press.

    Args:
        player, deals, opponent: as in `Game`.
        speed: steps per second of an agent or a recording.

    Attributes:
        is_mistaken: whether the last step took something other than the target.
    """

    noun, verb = "targets", "found"

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
        self.is_mistaken = False
        self._steps_due = 0.0

    @property
    def task(self) -> Search:
        task = self.player.env.batch.task
        assert isinstance(task, Search)
        return task

    @property
    def worth(self) -> float:
        """The return if the target is taken in the next step."""
        state, task = self.player.env.batch.state, self.task
        looks, mistakes = int(state.steps[0]) + 1, int(state.mistakes[0])
        return 1 - task.look_cost * looks - task.mistake_cost * mistakes

    def look(self, edge: Edge) -> None:
        """Look at a pixel edge."""
        self.move_gaze_to(edge)
        if self.time_runs and self.player.pilot is None:
            self._step((self.location, LOOK))

    def take(self) -> None:
        """Take what the last look showed; the eye stays where it is."""
        if self.time_runs and self.player.pilot is None:
            self._step((location_of(self.player.edge, self.task.image_shape), TAKE))

    def toggle_fog(self) -> None:
        """Lift or lower the fog; for a person only after the search."""
        if self.phase is not Phase.PLAYING or self.player.pilot is not None:
            super().toggle_fog()

    def _begin(self) -> None:
        self.fog_lifted = self.is_mistaken = False
        super()._begin()
        self._steps_due = 0.0

    def _play(self, seconds: float) -> None:
        if self.player.pilot is None:
            return
        self._steps_due = min(self._steps_due + seconds * self.speed, 2.0)
        if self._steps_due >= 1 - 1e-9:
            self._steps_due -= 1
            action = self.player.pilot.act(self.player.observation)
            if action is None:
                self._leave()
            else:
                self._step(action)

    def _step(self, action: Action) -> None:
        right = self.player.step(action)
        self.move_gaze_to(self.player.edge)
        self.is_mistaken = action[1] == TAKE and not right
        if right is None:
            return
        if self.opponent is not None:
            self._finish_opponent()
        self._count(self.player, right)
        self._end_episode()
        self.phase = Phase.SHOWN
        self.fog_lifted = True
        self._shown_for = 0.0
