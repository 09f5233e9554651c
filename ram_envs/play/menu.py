"""The menu of `ram play` without an id: a list of games, chosen by key or mouse."""

from __future__ import annotations

from dataclasses import dataclass

import pygame

from ram_envs.play.session import Options
from ram_envs.play.sheet import BODY, SHEET_SIZE, SMALL, TITLE, Sheet, fit_sheet
from ram_envs.rendering import FAINT_TEXT, PATH, TEXT

TOP, PITCH = 120, 52  # of the list, in units of the sheet


@dataclass(frozen=True)
class Entry:
    """A game of the menu: its name, a sentence, and what is played."""

    name: str
    sentence: str
    options: Options


ENTRIES = (
    Entry("Catch", "Move your gaze and your paddle at the same time.", Options("RAMCatch-v0")),
    Entry(
        "Catch, faster and faster",
        "Five balls in a row are a level; a miss takes you back one.",
        Options("RAMCatch-v0", levels=True),
    ),
    Entry(
        "Catch against the agent",
        "The same balls for both of you.",
        Options("RAMCatch-v0", versus="pretrained:catch"),
    ),
    Entry(
        "Glimpse quiz",
        "Six looks at a digit among clutter: which is it?",
        Options("RAMClutteredMNIST-v0"),
    ),
    Entry(
        "Glimpse quiz against the agent",
        "The same canvases, the same number of looks.",
        Options("RAMClutteredMNIST-v0", versus="pretrained:cluttered-mnist-6"),
    ),
    Entry(
        "Moving digits",
        "The digit drifts away while you look.",
        Options("RAMMovingMNIST-v0"),
    ),
    Entry("Search", "Find the square with vertical bars.", Options("RAMSearch-v0")),
    Entry(
        "Watch the agent play Catch",
        "And see where it looks.",
        Options("RAMCatch-v0", agent="pretrained:catch", episodes=10),
    ),
)


class Menu:
    """A list of games, of which one is chosen. Like a `Stage`, it takes events and draws.

    Attributes:
        closed: whether a game was chosen, or the player wants to leave.
        chosen: the options of the game that was chosen; None if none was.
        place: the number of the marked entry.
    """

    def __init__(self, size: tuple[int, int] = SHEET_SIZE) -> None:
        self.size = size
        self.closed = False
        self.chosen: Options | None = None
        self.place = 0

    def handle(self, event: pygame.event.Event) -> None:
        """Handle an event."""
        if event.type == pygame.QUIT:
            self.closed = True
        elif event.type == pygame.VIDEORESIZE:
            self.size = (event.w, event.h)
        elif event.type == pygame.MOUSEMOTION:
            self.place = self._entry_at(event.pos, self.place)
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            if (place := self._entry_at(event.pos, -1)) >= 0:
                self._choose(place)
        elif event.type == pygame.KEYDOWN:
            self._press(event)

    def tick(self, seconds: float) -> None:
        """Let time pass: nothing moves."""

    def draw(self, surface: pygame.Surface) -> None:
        """Draw the list on a window's surface."""
        self.size = surface.get_size()
        sheet = Sheet(surface)
        sheet.text("See only what you look at", (48, 64), TITLE, TEXT)
        for place, entry in enumerate(ENTRIES):
            y = TOP + PITCH * place
            if place == self.place:
                sheet.card((36, y - PITCH // 2 + 3, 888, PITCH - 6), radius=8)
            sheet.text(str(place + 1), (54, y), BODY, PATH)
            sheet.text(entry.name, (90, y), BODY, TEXT)
            sheet.text(entry.sentence, (430, y), SMALL, FAINT_TEXT)
        words = "Choose with Up, Down and Enter, a number, or the mouse.     Esc: leave"
        sheet.text(words, (48, 600), SMALL, FAINT_TEXT)

    def _press(self, event: pygame.event.Event) -> None:
        letter = getattr(event, "unicode", "")
        if event.key == pygame.K_ESCAPE:
            self.closed = True
        elif event.key in (pygame.K_DOWN, pygame.K_UP):
            step = 1 if event.key == pygame.K_DOWN else -1
            self.place = (self.place + step) % len(ENTRIES)
        elif event.key in (pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_SPACE):
            self._choose(self.place)
        elif letter.isdecimal() and letter.isascii() and 0 < int(letter) <= len(ENTRIES):
            self._choose(int(letter) - 1)

    def _choose(self, place: int) -> None:
        self.place, self.chosen, self.closed = place, ENTRIES[place].options, True

    def _entry_at(self, pixel: tuple[int, int], otherwise: int) -> int:
        """Return the number of the entry at a window pixel."""
        fit = fit_sheet(self.size)
        y = (pixel[1] - fit.top) / fit.scale
        place = int((y - TOP + PITCH / 2) // PITCH)
        return place if 0 <= place < len(ENTRIES) else otherwise
