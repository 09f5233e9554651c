"""Keys, mouse and the loop. A `Stage` takes events and draws, with or without a window."""

from __future__ import annotations

import time
from collections.abc import Callable

import pygame

from ram_envs.display import open_window
from ram_envs.play.arcade_game import ArcadeGame
from ram_envs.play.catch_game import LEFT, RIGHT, STAY, CatchGame
from ram_envs.play.extras import label_at
from ram_envs.play.game import Game, Phase
from ram_envs.play.menu import Menu
from ram_envs.play.quiz_game import QuizGame
from ram_envs.play.screen import draw_game, gaze_at
from ram_envs.play.search_game import SearchGame
from ram_envs.play.seat import Edge
from ram_envs.play.sheet import SHEET_SIZE

FRAME_SECONDS = 1 / 60
MAX_FRAME_SECONDS = 0.25  # while a window is dragged, time stands still
FASTER = 2**0.5  # + and −

PADDLE_KEYS = {
    pygame.K_LEFT: LEFT,
    pygame.K_a: LEFT,
    pygame.K_RIGHT: RIGHT,
    pygame.K_d: RIGHT,
    pygame.K_DOWN: STAY,
    pygame.K_s: STAY,
}
GAZE_KEYS: dict[int, Edge] = {
    pygame.K_i: (0, -1),
    pygame.K_j: (-1, 0),
    pygame.K_k: (0, 1),
    pygame.K_l: (1, 0),
}
GAZE_ARROWS: dict[int, Edge] = {
    pygame.K_UP: (0, -1),
    pygame.K_LEFT: (-1, 0),
    pygame.K_DOWN: (0, 1),
    pygame.K_RIGHT: (1, 0),
}
ARCADE_DIRECTIONS = {
    pygame.K_UP: "up",
    pygame.K_w: "up",
    pygame.K_DOWN: "down",
    pygame.K_s: "down",
    pygame.K_LEFT: "left",
    pygame.K_a: "left",
    pygame.K_RIGHT: "right",
    pygame.K_d: "right",
    pygame.K_SPACE: "fire",
}
NEXT_KEYS = (pygame.K_n, pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_SPACE)
CONFIRM_KEYS = (pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_SPACE)


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
            self._release(event.key)
        elif event.type == pygame.WINDOWFOCUSLOST:  # releases of its keys will not arrive
            self._release_all()
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
        elif isinstance(game, QuizGame) and letter.isdecimal() and letter.isascii():
            game.type_digit(int(letter))  # before + and −, which some keyboards have on these keys
        elif isinstance(game, ArcadeGame) and letter.isdecimal() and letter.isascii():
            game.choose(int(letter))
        elif letter == "+" or key in (pygame.K_PLUS, pygame.K_KP_PLUS, pygame.K_EQUALS):
            game.change_speed(FASTER)
        elif letter in ("-", "−") or key in (pygame.K_MINUS, pygame.K_KP_MINUS):
            game.change_speed(1 / FASTER)
        elif key in GAZE_KEYS:
            game.hold_gaze(GAZE_KEYS[key], key)
        elif isinstance(game, ArcadeGame):
            self._press_in_arcade(game, event)
        elif isinstance(game, CatchGame):
            self._press_in_catch(game, event)
        elif isinstance(game, QuizGame):
            self._press_in_quiz(game, event)
        elif isinstance(game, SearchGame):
            self._press_in_search(game, event)

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
        elif key == pygame.K_g and self.game.can_be_drawn:
            self.note = self.save_gif()

    def _press_in_arcade(self, game: ArcadeGame, event: pygame.event.Event) -> None:
        if game.phase is Phase.PLAYING and event.key in ARCADE_DIRECTIONS:
            game.hold(ARCADE_DIRECTIONS[event.key], event.key)
        elif event.key in NEXT_KEYS and not game.paused:
            if game.phase is not Phase.PLAYING or event.key == pygame.K_n:
                game.proceed()
        elif event.key == pygame.K_r and not game.paused:
            game.again()

    def _press_in_catch(self, game: CatchGame, event: pygame.event.Event) -> None:
        shift = getattr(event, "mod", 0) & pygame.KMOD_SHIFT
        if shift and event.key in GAZE_ARROWS:
            game.hold_gaze(GAZE_ARROWS[event.key], event.key)
        elif event.key in PADDLE_KEYS:
            game.hold(PADDLE_KEYS[event.key], event.key)
        elif event.key == pygame.K_SPACE and game.turns and game.time_runs:
            game.hold(STAY, event.key)
        elif event.key in NEXT_KEYS and not game.paused:
            game.proceed()
        elif event.key == pygame.K_r and not game.paused:
            game.again()
        elif event.key == pygame.K_t:
            game.toggle_turns()

    def _press_in_quiz(self, game: QuizGame, event: pygame.event.Event) -> None:
        if event.key in GAZE_ARROWS:
            game.hold_gaze(GAZE_ARROWS[event.key], event.key)
        elif event.key in CONFIRM_KEYS and game.time_runs:
            game.confirm()
        elif event.key in NEXT_KEYS:
            game.proceed()

    def _press_in_search(self, game: SearchGame, event: pygame.event.Event) -> None:
        if event.key in GAZE_ARROWS:
            game.hold_gaze(GAZE_ARROWS[event.key], event.key)
        elif event.key == pygame.K_SPACE and game.time_runs:
            game.take()
        elif event.key in CONFIRM_KEYS and game.time_runs:
            game.look(game.gaze)
        elif event.key in NEXT_KEYS and not game.paused:
            game.proceed()
        elif event.key == pygame.K_r and not game.paused:
            game.again()

    def _release(self, key: int) -> None:
        self.game.release_gaze(key)
        if isinstance(self.game, (ArcadeGame, CatchGame)):
            self.game.release(key)

    def _release_all(self) -> None:
        self.game.release_gaze()
        if isinstance(self.game, (ArcadeGame, CatchGame)):
            self.game.release()

    def _point(self, pixel: tuple[int, int]) -> None:
        if self.game.player.pilot is None:
            self.game.move_gaze_to(gaze_at(self.game, self.size, pixel))

    def _click(self, pixel: tuple[int, int]) -> None:
        label = label_at(self.game, self.size, pixel)
        if label is not None and isinstance(self.game, QuizGame):
            self.game.typed = ""
            self.game.type_digit(label)
            return
        if isinstance(self.game, (QuizGame, SearchGame)) and self.game.time_runs:
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
