"""Text in pictures, in pygame's own font."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ram_envs.display import import_pygame

if TYPE_CHECKING:
    import pygame

Color = tuple[int, int, int]

_fonts: dict[int, pygame.font.Font] = {}


def find_font(size: int) -> pygame.font.Font | None:
    """Return pygame's own font; None where pygame was built without fonts.

    Fonts are kept, since a font remembers the letters it has drawn: a new one takes 5 ms a frame.
    """
    pg = import_pygame()
    try:
        pg.font.init()
    except (ImportError, NotImplementedError):  # what pygame's stand-in for a missing part raises
        return None
    try:
        _fonts[size].get_height()
    except (KeyError, pg.error):  # not loaded yet, or dead since a call of `pygame.font.quit`
        _fonts[size] = pg.font.Font(None, size)
    return _fonts[size]


def draw_text(
    surface: pygame.Surface,
    font: pygame.font.Font,
    words: str,
    top_left: tuple[int, int],
    color: Color,
    halo: Color | None = None,
) -> int:
    """Draw text and return its width; a halo of another color keeps it legible on any ground."""
    x, y = top_left
    if halo is not None:
        shadow = font.render(words, True, halo)
        for shift_x, shift_y in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            surface.blit(shadow, (x + shift_x, y + shift_y))
    written = font.render(words, True, color)
    surface.blit(written, top_left)
    return int(written.get_width())
