"""The hands of `ram play` in tests: keys, the mouse, and what is drawn then."""

from __future__ import annotations

import numpy as np
import pygame

from ram_envs.play.menu import Menu
from ram_envs.play.sheet import SHEET_SIZE
from ram_envs.play.window import Stage
from ram_envs.rendering import to_rgb_array


def press(stage: Stage | Menu, key: int, letter: str = "", mod: int = 0) -> None:
    """Press a key that types a letter, and hold it."""
    stage.handle(pygame.event.Event(pygame.KEYDOWN, key=key, unicode=letter, mod=mod))


def release(stage: Stage, key: int) -> None:
    stage.handle(pygame.event.Event(pygame.KEYUP, key=key, mod=0))


def tap(stage: Stage, key: int, letter: str = "") -> None:
    """Press a key and release it."""
    press(stage, key, letter)
    release(stage, key)


def point(stage: Stage, x: int, y: int) -> None:
    """Move the mouse to a pixel of the window."""
    stage.handle(pygame.event.Event(pygame.MOUSEMOTION, pos=(x, y), rel=(0, 0), buttons=(0, 0, 0)))


def click(stage: Stage | Menu, x: int, y: int) -> None:
    stage.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=(x, y), button=1))


def draw(stage: Stage, size: tuple[int, int] = SHEET_SIZE) -> np.ndarray:
    """Return the pixels of a window of `size`, (height, width, 3)."""
    surface = pygame.Surface(size, depth=32)
    stage.draw(surface)
    return to_rgb_array(surface)
