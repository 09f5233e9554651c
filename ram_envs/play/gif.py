"""A game as an animation, without a window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pygame

from ram_envs.atomic_files import write_whole
from ram_envs.gif_files import write_gif
from ram_envs.play.game import PILOT_REST, Game, Phase
from ram_envs.play.screen import draw_game
from ram_envs.rendering import UInt8Array, to_rgb_array

SIZE = (720, 480)
COLORS = 64


def save_gif(game: Game, path: Path) -> None:
    """Run a game of an agent or a recording to its end, and write it as an animation.

    Raises:
        DependencyNotInstalled: if Pillow is missing.
    """
    write_whole(path, lambda file: write_gif(file, _run(game), COLORS))


def _run(game: Game) -> Iterator[tuple[UInt8Array, int]]:
    """Run a game to its end; yield each frame and for how many milliseconds it is shown."""
    surface = pygame.Surface(SIZE, depth=32)
    step = max(1 / game.speed, 0.02)  # seconds: GIFs count in hundredths, from 2
    game.proceed()
    while True:
        draw_game(game, surface, with_keys=False)
        rests = game.phase is not Phase.PLAYING
        yield to_rgb_array(surface), int(1000 * (PILOT_REST if rests else step))
        if game.phase is Phase.FINISHED:
            return
        game.tick(PILOT_REST if rests else 1 / game.speed)
