"""The one function that opens windows: for `render_mode="human"`, `ram watch` and `ram play`.

pygame is imported where it is used, so that importing this file does not need it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gymnasium.error import Error

if TYPE_CHECKING:
    import pygame


class NoDisplay(Error):
    """There is no display to open a window on."""


def open_window(title: str, size: tuple[int, int], resizable: bool = False) -> pygame.Surface:
    """Open a window of (width, height) pixels and return its surface.

    Raises:
        NoDisplay: if there is no display. SDL would draw to memory and show nothing.
    """
    import pygame

    try:
        pygame.display.init()
        if pygame.display.get_driver() == "offscreen" and not os.environ.get("SDL_VIDEODRIVER"):
            raise pygame.error("no display found")
        pygame.display.set_caption(title)
        return pygame.display.set_mode(size, pygame.RESIZABLE if resizable else 0)
    except pygame.error as error:
        pygame.display.quit()
        raise NoDisplay(
            f"No window can be opened: {error}. On a machine without a display write a file "
            "instead: `ram watch RUN --save FILE`, or `ram play ENV_ID --gif FILE --agent RUN`. In "
            "Python use render_mode='rgb_array'."
        ) from None
