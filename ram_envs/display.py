"""Windows, for `render_mode="human"`, `ram watch` and `ram play`.

pygame is imported where it is used, so that importing this file does not need it.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING

from gymnasium.error import DependencyNotInstalled, Error

if TYPE_CHECKING:
    import pygame


class NoDisplay(Error):
    """There is no display to open a window on."""


def open_window(title: str, size: tuple[int, int], resizable: bool = False) -> pygame.Surface:
    """Open a window of (width, height) pixels and return its surface.

    Raises:
        NoDisplay: if there is no display. SDL would draw to memory and show nothing.
    """
    pg = import_pygame()
    try:
        pg.display.init()
        if pg.display.get_driver() == "offscreen" and not os.environ.get("SDL_VIDEODRIVER"):
            raise pg.error("no display found")
        pg.display.set_caption(title)
        screen: pygame.Surface = pg.display.set_mode(size, pg.RESIZABLE if resizable else 0)
        return screen
    except pg.error as error:
        pg.display.quit()
        raise NoDisplay(
            f"No window can be opened: {error}. On a machine without a display write a file "
            "instead: `ram watch RUN --save FILE`, or `ram play ENV_ID --gif FILE --agent RUN`. In "
            "Python use render_mode='rgb_array'."
        ) from None


class Window:
    """A window that shows frames at a steady rate.

    It opens with the first frame and takes that frame's size. ``closed`` becomes true when the
    user closes it or `close` is called; it then stays closed.
    """

    def __init__(self, title: str = "ram_envs", render_fps: float = 4) -> None:
        pg = import_pygame()
        self.title = title
        self.render_fps = render_fps
        self.closed = False
        self._opened = False
        self._clock = pg.time.Clock()

    def show(self, surface: pygame.Surface) -> list[pygame.event.Event]:
        """Show a frame, wait until the next one is due, and return the user's events since then.

        Keys and mouse are the caller's to read from what is returned; closing the window is
        handled here. Once closed, a window shows nothing and returns no events.
        """
        pg = import_pygame()
        if self.closed:
            return []
        screen = pg.display.get_surface() if pg.display.get_init() else None
        if screen is None or screen.get_size() != surface.get_size():
            screen = self.open(surface.get_size())
        screen.blit(surface, (0, 0))
        pg.display.flip()
        self._clock.tick(self.render_fps)

        events: list[pygame.event.Event] = pg.event.get()
        if any(event.type == pg.QUIT for event in events):
            self.close()
        return events

    def close(self) -> None:
        """Close the window; harmless if it is closed or was never opened."""
        pg = import_pygame()
        if self._opened and not self.closed:
            pg.display.quit()
        self.closed = True

    def open(self, size: tuple[int, int]) -> pygame.Surface:
        """Open the window before its first frame, of (width, height) pixels.

        Raises:
            NoDisplay: if there is no display.
        """
        screen = open_window(self.title, size)
        self._opened = True
        return screen


def import_pygame() -> ModuleType:
    """Return pygame.

    Raises:
        DependencyNotInstalled: if it is missing.
    """
    try:
        import pygame
    except ImportError as error:
        raise DependencyNotInstalled(
            'Drawing needs pygame. Run: pip install "ram-gym[play]"'
        ) from error
    return pygame
