"""A game as an animation, without a window."""

from __future__ import annotations

from pathlib import Path

import pygame
from gymnasium.error import DependencyNotInstalled

from ram_envs.atomic_files import write_whole
from ram_envs.play.game import PILOT_REST, Game, Phase
from ram_envs.play.screen import draw_game
from ram_envs.rendering import to_rgb_array

SIZE = (720, 480)
COLORS = 64


def save_gif(game: Game, path: Path) -> None:
    """Run a game of an agent or a recording to its end, and write it as an animation.

    Raises:
        DependencyNotInstalled: if Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise DependencyNotInstalled(
            'Writing a GIF needs Pillow: run `pip install "ram-gym[play]"`.'
        ) from error

    surface = pygame.Surface(SIZE, depth=32)
    frames, durations = [], []
    step = max(1 / game.speed, 0.02)  # seconds: GIFs count in hundredths, from 2
    game.proceed()
    while True:
        draw_game(game, surface, with_keys=False)
        frames.append(Image.fromarray(to_rgb_array(surface)).quantize(COLORS))
        rests = game.phase is not Phase.PLAYING
        durations.append(int(1000 * (PILOT_REST if rests else step)))
        if game.phase is Phase.FINISHED:
            break
        game.tick(PILOT_REST if rests else 1 / game.speed)
    write_whole(
        path,
        lambda file: frames[0].save(
            file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        ),
    )
