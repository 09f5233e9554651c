"""Keys, mouse and the loop. A `Stage` takes events and draws, with or without a window."""

from __future__ import annotations

import time
from collections.abc import Callable

import pygame

from ram_envs.display import open_window
from ram_envs.play.extras import label_at
from ram_envs.play.game import Game, Phase
from ram_envs.play.menu import Menu
from ram_envs.play.screen import draw_game, gaze_at
from ram_envs.play.sheet import SHEET_SIZE

FRAME_SECONDS = 1 / 60
MAX_FRAME_SECONDS = 0.25  # while a window is dragged, time stands still
FASTER = 2**0.5  # + and −

KEY_NAMES = {
    pygame.K_LEFT: "left",
    pygame.K_RIGHT: "right",
    pygame.K_UP: "up",
    pygame.K_DOWN: "down",
    pygame.K_SPACE: "space",
    pygame.K_RETURN: "enter",
    pygame.K_KP_ENTER: "enter",
    **{ord(letter): letter for letter in "adijklnrstw"},  # their codes are ASCII
}


class Stage:
    """A game with its keys, its mouse and its picture.

    Keys and mouse are known from events only, not from a window, so that tests can make events.

    Attributes:
        closed: whether the player wants to leave.
        size: of the window, in which mouse positions are given.
        challenger: an agent that can be challenged at the end; None if there is none.
        wish: what the player wants next: "again" or "challenge"; None to leave.
        save_gif: writes what was played as an animation, and returns a line about it.
        note: that line.
    """

    def __init__(self, game: Game, size: tuple[int, int] = SHEET_SIZE) -> None:
        self.game = game
        self.size = size
        self.closed = False
        self.challenger: str | None = None
        self.wish: str | None = None
        self.save_gif: Callable[[], str] = lambda: ""
        self.note = ""

    def handle(self, event: pygame.event.Event) -> None:
        """Handle an event."""
        if event.type == pygame.QUIT:
            self.closed = True
        elif event.type == pygame.VIDEORESIZE:
            self.size = (event.w, event.h)
        elif event.type == pygame.KEYDOWN:
            self._press(event)
        elif event.type == pygame.KEYUP:
            self.game.release(KEY_NAMES.get(event.key, ""))
        elif event.type == pygame.WINDOWFOCUSLOST:  # releases of its keys will not arrive
            self.game.release()
        elif event.type == pygame.MOUSEMOTION:
            self._point(event.pos)
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            self._click(event.pos)

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self.game.tick(min(seconds, MAX_FRAME_SECONDS))

    def draw(self, surface: pygame.Surface) -> None:
        """Draw the game on a window's surface, whose size mouse positions refer to."""
        self.size = surface.get_size()
        draw_game(self.game, surface, challenger=self.challenger, note=self.note)

    def _press(self, event: pygame.event.Event) -> None:
        game, key, letter = self.game, event.key, getattr(event, "unicode", "")
        if key == pygame.K_ESCAPE:
            self._escape()
        elif game.phase is Phase.FINISHED:
            self._press_at_end(key)
        elif key == pygame.K_h or letter == "?":
            game.toggle_help()
        elif game.help_shown:
            return  # the other keys do nothing under the help
        elif key == pygame.K_p:
            game.toggle_pause()
        elif key == pygame.K_f:
            game.toggle_fog()
        elif key == pygame.K_c:
            game.toggle_brightness()
        elif game.takes_digits and letter.isdecimal() and letter.isascii():
            game.type_digit(int(letter))  # before + and −, which some keyboards have on these keys
        elif letter == "+" or key in (pygame.K_PLUS, pygame.K_KP_PLUS, pygame.K_EQUALS):
            game.change_speed(FASTER)
        elif letter in ("-", "−") or key in (pygame.K_MINUS, pygame.K_KP_MINUS):
            game.change_speed(1 / FASTER)
        elif key in KEY_NAMES:
            game.press(KEY_NAMES[key], bool(getattr(event, "mod", 0) & pygame.KMOD_SHIFT))

    def _escape(self) -> None:
        """Show the result of what was played; leave where it is shown already."""
        if self.game.phase is Phase.FINISHED or not self.game.played:
            self.closed = True
        else:
            self.game.stop()

    def _press_at_end(self, key: int) -> None:
        if key == pygame.K_r:
            self.wish, self.closed = "again", True
        elif key == pygame.K_v and self.challenger is not None:
            self.wish, self.closed = "challenge", True
        elif key == pygame.K_g and self.game.played:
            self.note = self.save_gif()

    def _point(self, pixel: tuple[int, int]) -> None:
        if self.game.player.pilot is None:
            self.game.move_gaze_to(gaze_at(self.game, self.size, pixel))

    def _click(self, pixel: tuple[int, int]) -> None:
        label = label_at(self.game, self.size, pixel)
        if label is not None:
            self.game.choose(label)
        elif self.game.time_runs:
            width, height = self.game.canvas_size
            x, y = edge = gaze_at(self.game, self.size, pixel)
            if 0 <= x <= width and 0 <= y <= height:  # beside the board it may be a slip
                self.game.look(edge)


def run(stage: Stage | Menu, title: str) -> None:
    """Open a window and play until it is closed.

    Raises:
        NoDisplay: if no window can be opened.
    """
    open_window(title, stage.size, resizable=True)
    try:
        last_frame = next_frame = time.perf_counter()
        while not stage.closed:
            _handle_events_until(stage, next_frame)
            now = time.perf_counter()
            stage.tick(now - last_frame)
            # A frame that is a little late does not delay the next ones.
            last_frame, next_frame = now, max(next_frame, now - FRAME_SECONDS) + FRAME_SECONDS
            screen = pygame.display.get_surface()  # a new one whenever the window was resized
            assert screen is not None
            stage.draw(screen)
            pygame.display.flip()
    finally:
        pygame.display.quit()


def _handle_events_until(stage: Stage | Menu, next_frame: float) -> None:
    """Handle events as they come, not once a frame, until the next one is due."""
    for event in pygame.event.get():
        stage.handle(event)
    while not stage.closed and (left := next_frame - time.perf_counter()) > 0:
        stage.handle(pygame.event.wait(max(1, int(1000 * left))))  # 0 would wait for ever
