"""The sheet on which everything is drawn: 960 × 640 units, fitted into the window; and strokes.

So lines and letters stay sharp in a window of any size, and a mouse position can be found again.
"""

from __future__ import annotations

from dataclasses import dataclass

import pygame

from ram_envs.fonts import Color, draw_text, find_font
from ram_envs.rendering import BACKGROUND, BORDER, PANEL, RIGHT, SCALE_COLORS, WRONG

SHEET_SIZE = (960, 640)
TITLE, BODY, SMALL = 40, 26, 21  # heights of letters
GAZE_PATH, BALL_PATH = SCALE_COLORS[:2]  # sky blue, in squares; orange, in dots

Box = tuple[int, int, int, int]  # left, top, width, height, in units of the sheet


@dataclass(frozen=True)
class Fit:
    """The place of the sheet in a window: pixels per unit, and its top-left corner."""

    scale: float
    left: float
    top: float

    def __call__(self, x: float, y: float) -> tuple[int, int]:
        """Return the window pixel of a point of the sheet."""
        return round(self.left + x * self.scale), round(self.top + y * self.scale)


def fit_sheet(window_size: tuple[int, int]) -> Fit:
    """Return the largest sheet in the middle of the window."""
    width, height = window_size
    scale = max(min(width / SHEET_SIZE[0], height / SHEET_SIZE[1]), 0.05)
    left, top = (width - SHEET_SIZE[0] * scale) / 2, (height - SHEET_SIZE[1] * scale) / 2
    return Fit(scale, left, top)


class Sheet:
    """A surface and strokes in units of the sheet, sharp at any size of window."""

    def __init__(self, surface: pygame.Surface) -> None:
        self.surface = surface
        self.fit = fit_sheet(surface.get_size())
        surface.fill(BACKGROUND)

    def pixels(self, units: float) -> int:
        """Return a length in window pixels, at least one."""
        return max(1, round(units * self.fit.scale))

    def line(
        self, start: tuple[int, int], end: tuple[int, int], color: Color, thin: bool = False
    ) -> None:
        """Draw a line between two window pixels, with a dark rim unless thin."""
        if not thin:
            pygame.draw.line(self.surface, BACKGROUND, start, end, self.pixels(5))
        pygame.draw.line(self.surface, color, start, end, self.pixels(2))

    def rect(self, box: Box) -> pygame.Rect:
        """Return a box in window pixels."""
        left, top, width, height = box
        return pygame.Rect(self.fit(left, top), (self.pixels(width), self.pixels(height)))

    def card(self, box: Box, radius: int = 10) -> None:
        """Draw a panel for text, above everything."""
        rect = self.rect(box)
        pygame.draw.rect(self.surface, PANEL, rect, border_radius=self.pixels(radius))
        pygame.draw.rect(self.surface, BORDER, rect, 1, border_radius=self.pixels(radius))

    def mark(self, good: bool, center: tuple[int, int]) -> None:
        """Draw a tick or a cross."""
        x, y = center
        tick = [[(x - 12, y), (x - 4, y + 9), (x + 12, y - 11)]]
        cross = [[(x - 10, y - 10), (x + 10, y + 10)], [(x - 10, y + 10), (x + 10, y - 10)]]
        for stroke in tick if good else cross:
            points = [self.fit(*point) for point in stroke]
            pygame.draw.lines(self.surface, RIGHT if good else WRONG, False, points, self.pixels(6))

    def text(
        self,
        words: str,
        middle_left: tuple[int, int],
        size: int,
        color: Color,
        align_right: bool = False,
    ) -> None:
        """Draw text from a point of the sheet to the right, or to the left."""
        self.text_at(words, self.fit(*middle_left), size, color, align_right=align_right)

    def text_at(
        self,
        words: str,
        middle_left: tuple[int, int],
        size: int,
        color: Color,
        *,
        align_right: bool = False,
        halo: bool = False,
    ) -> None:
        """Draw text at a window pixel; a halo keeps it legible on a bright canvas."""
        font = find_font(self.pixels(size))
        if font is None or not words:
            return
        left = middle_left[0] - (font.size(words)[0] if align_right else 0)
        top_left = left, middle_left[1] - font.get_linesize() // 2
        draw_text(self.surface, font, words, top_left, color, BACKGROUND if halo else None)
