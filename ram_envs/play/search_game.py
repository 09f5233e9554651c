"""Search for a person: look where you click, and take what you look at."""

from __future__ import annotations

from ram_envs.play.game import COMMON_KEYS, RETINA_IN_WORDS, Phase
from ram_envs.play.look_game import LookGame
from ram_envs.play.seat import Edge, Seat
from ram_envs.tasks.search import LOOK, TAKE, Search


class SearchGame(LookGame):
    """Every look is a step, and so is taking what the last look showed."""

    title = "Search"
    noun, verb = "targets", "found"
    keys = (
        ("mouse click", "look there"),
        ("Space", "take what you look at, if its bars are vertical"),
        ("I, J, K, L, then Enter", "look without a mouse (also the arrow keys)"),
        ("N", "next search"),
        ("R", "repeat the search, for practice"),
        ("F", "after the search: your last glimpse, or the whole canvas"),
        *COMMON_KEYS,
    )

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

    @property
    def is_mistaken(self) -> bool:
        """Whether the last step took something other than the target."""
        actions = self.player.actions
        return bool(actions) and actions[-1][1] == TAKE and self.player.verdicts != [True]

    def press(self, key: str, shift: bool = False) -> None:
        if key == "space" and self.time_runs:
            self.take()
        else:
            super().press(key, shift)

    def look(self, edge: Edge) -> None:
        self.move_gaze_to(edge)
        if self.time_runs and self.waits:
            self._step((self.location, LOOK))

    def take(self) -> None:
        """Take what the last look showed; the eye stays where it is."""
        if self.time_runs and self.waits:
            self._stay(TAKE)

    @property
    def introduction(self) -> list[str]:
        task = self.task
        return [
            f"{task.num_items} striped squares lie in the fog. One has vertical bars: find it.",
            RETINA_IN_WORDS,
            "Click to look; press Space to take what you look at.",
            f"Every look costs {task.look_cost:g}, and a mistake {task.mistake_cost:g} more.",
        ]

    @property
    def status(self) -> list[str]:
        if self.phase is Phase.READY:
            return []
        lines = [f"look {len(self.player.actions) + 1} of {self.task.time_limit}"]
        if self.phase is Phase.PLAYING:
            lines.append(f"worth {self.worth:.2f}")
            lines += ["that is not it"] if self.is_mistaken else []
        return [*lines, *super().status]

    @property
    def hint(self) -> str:
        if self.phase is Phase.SHOWN and self.waits:
            return "N: next search     R: repeat it     F: your last glimpse     Esc: stop"
        if self.phase is Phase.PLAYING:
            return "Click to look.     Space: take what you look at.     H: help     Esc: stop"
        return super().hint

    def target(self, seat: Seat) -> tuple[int, int, int, int]:
        return self.task.target(seat.env.batch.state, 0)
