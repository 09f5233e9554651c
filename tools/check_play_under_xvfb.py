"""Play Catch in a real window on a virtual display, with real key presses and a real mouse.

`python tools/check_play_under_xvfb.py [SCREENSHOT.png]` starts Xvfb, opens the game on it, and
presses keys and moves the mouse through the X server (its XTEST extension), as a person would. It
checks what came of that, and how many frames a second were drawn and how long an event took. It
says so and ends well where Xvfb or the libraries are not installed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from typing import Any

DISPLAY = ":87"
FEWEST_FRAMES = 55.0  # a second; the game asks for 60
LONGEST_EVENT = 0.005  # seconds from an event to the state it changes


class Hands:
    """Presses keys and moves the mouse on an X display.

    Raises:
        OSError: if the libraries are not installed.
    """

    def __init__(self, display: str) -> None:
        self._x11 = ctypes.CDLL("libX11.so.6")
        self._xtst = ctypes.CDLL("libXtst.so.6")
        self._x11.XOpenDisplay.restype = ctypes.c_void_p
        self._x11.XStringToKeysym.restype = ctypes.c_ulong
        self._x11.XKeysymToKeycode.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
        self._x11.XFlush.argtypes = [ctypes.c_void_p]
        self._xtst.XTestFakeKeyEvent.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_ulong,
        ]
        self._xtst.XTestFakeMotionEvent.argtypes = [
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_ulong,
        ]
        self._display = self._x11.XOpenDisplay(display.encode())

    def key(self, name: str, is_down: bool) -> None:
        code = self._x11.XKeysymToKeycode(self._display, self._x11.XStringToKeysym(name.encode()))
        self._xtst.XTestFakeKeyEvent(self._display, code, is_down, 0)
        self._x11.XFlush(self._display)

    def tap(self, name: str) -> None:
        self.key(name, True)
        self.key(name, False)

    def move_mouse(self, x: int, y: int) -> None:
        self._xtst.XTestFakeMotionEvent(self._display, -1, x, y, 0)
        self._x11.XFlush(self._display)


def main() -> None:
    if shutil.which("Xvfb") is None:
        print("Skipped: Xvfb is not installed.")
        return
    server = subprocess.Popen(
        ["Xvfb", DISPLAY, "-screen", "0", "1280x1024x24"], stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(lambda: os.path.exists(f"/tmp/.X11-unix/X{DISPLAY[1:]}"))
        try:
            hands = Hands(DISPLAY)
        except OSError as error:
            print(f"Skipped: {error}.")
            return
        os.environ.update(DISPLAY=DISPLAY, SDL_VIDEODRIVER="x11", SDL_RENDER_DRIVER="software")
        _play(hands, sys.argv[1] if len(sys.argv) > 1 else None)
    finally:
        server.terminate()
        server.wait()


def _play(hands: Hands, screenshot: str | None) -> None:
    import pygame

    from ram_envs.play.catch_game import CatchGame
    from ram_envs.play.command import make_env
    from ram_envs.play.game import Phase
    from ram_envs.play.seat import Deal, Seat
    from ram_envs.play.window import Stage, run

    game = CatchGame(Seat("you", make_env("RAMCatch-v0", {})), map(Deal, range(3, 5)))
    state = game.player.env.batch.state
    facts: dict[str, Any] = {"handling": [], "frames": 0}

    class Script(Stage):
        """Between frames, do the next thing and look what came of the one before."""

        def handle(self, event: pygame.event.Event) -> None:
            before = time.perf_counter()
            super().handle(event)
            facts["handling"].append(time.perf_counter() - before)

        def tick(self, seconds: float) -> None:
            super().tick(seconds)
            facts["frames"] += 1
            next(self.script, None)

        def __init__(self) -> None:
            super().__init__(game)
            self.script = self._steps()

        def _steps(self) -> Any:
            yield from self._until(lambda: facts["frames"] > 30)  # the window is up
            hands.tap("space")
            yield from self._until(lambda: game.phase is Phase.PLAYING)
            state.paddle[:] = 10
            hands.key("Left", True)
            yield from self._until(lambda: state.paddle[0] == 7)
            hands.key("Left", False)
            hands.key("d", True)
            yield from self._until(lambda: state.paddle[0] == 9)
            hands.key("d", False)

            # Edge (6, 18) of the canvas: 24 pixels of 23 from (24, 24), in a window without frame.
            place = pygame.display.get_window_position()
            hands.move_mouse(place[0] + 24 + 23 * 6, place[1] + 24 + 23 * 18)
            yield from self._until(lambda: game.gaze == (6, 18))
            shown_from = facts["frames"] + 30  # half a second: the ball has fallen by two rows
            yield from self._until(lambda: facts["frames"] > shown_from)
            if screenshot is not None:
                screen = pygame.display.get_surface()
                assert screen is not None
                pygame.image.save(screen, screenshot)
            facts["start"] = time.perf_counter(), facts["frames"]
            yield from self._until(lambda: game.phase is Phase.SHOWN)
            seconds = time.perf_counter() - facts["start"][0]
            facts["rate"] = (facts["frames"] - facts["start"][1]) / seconds
            assert game.player.observation["location"].tolist() == [-0.5, 0.5]
            hands.tap("n")
            yield from self._until(lambda: game.phase is Phase.PLAYING)
            facts["reached the end"] = True
            hands.tap("Escape")

        def _until(self, done: Any) -> Any:
            deadline = time.monotonic() + 20
            while not done():
                assert time.monotonic() < deadline, "nothing came of a key or the mouse"
                yield

    run(Script(), "ram play")
    print(game.summary())
    assert facts.get("reached the end"), "the window closed too early"
    slowest = max(facts["handling"])
    print(f"{facts['rate']:.1f} frames a second; slowest event {1000 * slowest:.2f} ms")
    assert facts["rate"] >= FEWEST_FRAMES, "too slow"
    assert slowest < LONGEST_EVENT, "events take too long"
    print("Real keys and a real mouse play the game.")


def _wait_for(done: Any) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline, "Xvfb did not start"
        time.sleep(0.05)


if __name__ == "__main__":
    main()
