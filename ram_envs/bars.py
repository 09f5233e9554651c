"""The probabilities of labels as bars, at the right of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ram_envs.display import import_pygame
from ram_envs.fonts import find_font
from ram_envs.rendering import BACKGROUND, FAINT_TEXT, PANEL, PATH, TEXT

if TYPE_CHECKING:
    import pygame

WIDTH = 192
MAX_BARS = 12  # of more labels, the most probable are shown
_MARGIN, _FONT_SIZE = 16, 20


def draw_bars(
    frame: pygame.Surface, probabilities: npt.NDArray[np.floating], names: Sequence[str]
) -> pygame.Surface:
    """Return a frame that is wider by `WIDTH`, with a bar for each label.

    Args:
        frame: what `draw_frame` returned.
        probabilities: (n,), of the labels.
        names: the n labels' names.
    """
    pg = import_pygame()
    width, height = frame.get_size()
    surface: pygame.Surface = pg.Surface((width + WIDTH, height), depth=32)
    surface.fill(BACKGROUND)
    surface.blit(frame, (0, 0))
    best = int(np.argmax(probabilities))
    shown = list(range(len(names)))
    if len(names) > MAX_BARS:
        shown = np.argsort(-probabilities, kind="stable")[:MAX_BARS].tolist()
    font = find_font(_FONT_SIZE)
    label_width = 0
    if font is not None:
        label_width = min(max(font.size(names[n])[0] for n in shown), WIDTH // 2) + 8
    room = WIDTH - _MARGIN - label_width
    pitch = min(44, (height - 2 * _MARGIN) // len(shown))
    for row, n in enumerate(shown):
        top = _MARGIN + row * pitch
        color = PATH if n == best else FAINT_TEXT
        if font is not None:
            words = font.render(names[n], True, TEXT if n == best else FAINT_TEXT)
            area = pg.Rect(0, 0, label_width - 8, words.get_height())
            surface.blit(words, (width, top + (pitch - words.get_height()) // 2), area)
        bar = pg.Rect(width + label_width, top + pitch // 4, room, pitch // 2)
        pg.draw.rect(surface, PANEL, bar, border_radius=3)
        bar.width = round(room * float(probabilities[n]))
        if bar.width:
            pg.draw.rect(surface, color, bar, border_radius=3)
    return surface
