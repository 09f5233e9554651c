"""Choose in the menu and play Catch in a real window on a virtual display, by real keys and mouse.

`python tools/check_play_under_xvfb.py` starts Xvfb, opens the game on it, and presses keys and
moves the mouse through the X server (its XTEST extension), as a person would. It checks the effects
and prints how many frames were drawn per second and how long a key press took to change the game.
Without Xvfb or the X libraries it prints that and exits with 0.

    --screenshot FILE.png   write a picture of the game
    --save FILE.json        write the measurements; fail if frames are too few or keys too slow
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import statistics
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

DISPLAY = ":87"
MIN_FRAMES = 59.0  # per second; the game asks for 60
MAX_DELAY_MS = 5.0  # milliseconds from a key press to the state it changes, in the median


class Hands:
    """A simulated keyboard and mouse on an X display.

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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--screenshot", type=Path)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
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
        _choose(hands)
        _report(_play(hands, options.screenshot), options.save)
    finally:
        server.terminate()
        server.wait()


def _choose(hands: Hands) -> None:
    """Choose a game in the menu, by keys."""
    import pygame

    from ram_envs.play.menu import ENTRIES, Menu
    from ram_envs.play.window import run

    class Script(Menu):
        """Run the next step of the script between frames."""

        def __init__(self) -> None:
            super().__init__()
            self.script = self._steps()
            self.frames = 0

        def tick(self, seconds: float) -> None:
            self.frames += 1
            next(self.script, None)

        def _steps(self) -> Any:
            yield from _until(lambda: self.frames > 30)  # the window is up
            before = self.place  # the mouse may lie on any entry
            hands.tap("Down")
            yield from _until(lambda: self.place == (before + 1) % len(ENTRIES))
            place = pygame.display.get_window_position()
            hands.move_mouse(place[0] + 100, place[1] + 120 + 52 * 3)
            yield from _until(lambda: self.place == 3)
            hands.tap("Return")

    menu = Script()
    run(menu, "ram play")
    assert menu.chosen == ENTRIES[3].options


def _until(done: Any) -> Any:
    """Wait, frame by frame, until a key or the mouse has had its effect."""
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline, "a key or the mouse had no effect"
        yield


def _play(hands: Hands, screenshot: Path | None) -> dict[str, float]:
    """Play a ball; return the frames per second and the delays of key presses."""
    import pygame

    from ram_envs.play.catch_game import CatchGame
    from ram_envs.play.game import Phase
    from ram_envs.play.seat import Deal, Seat
    from ram_envs.play.session import make_env
    from ram_envs.play.window import Stage, run

    game = CatchGame(Seat("you", make_env("RAMCatch-v0", {})), map(Deal, range(3, 5)))
    state = game.player.env.batch.state
    pressed: list[float] = []
    changed: list[float] = []
    ball_is_down = threading.Event()

    def press_now_and_then() -> None:
        """Press a key repeatedly, at any moment of a frame, since a thread runs this."""
        while not ball_is_down.wait(0.0731):
            pressed.append(time.perf_counter())
            hands.tap("c")

    class Script(Stage):
        """Run the next step of the script between frames; note when a key press takes effect."""

        def __init__(self) -> None:
            super().__init__(game)
            self.script = self._steps()
            self.frames = 0
            self.frame_rate = 0.0

        def handle(self, event: pygame.event.Event) -> None:
            before = game.brightened
            super().handle(event)
            if game.brightened is not before:
                changed.append(time.perf_counter())

        def tick(self, seconds: float) -> None:
            super().tick(seconds)
            self.frames += 1
            next(self.script, None)

        def _steps(self) -> Any:
            yield from _until(lambda: self.frames > 30)  # the window is up
            hands.tap("space")
            yield from _until(lambda: game.phase is Phase.PLAYING)
            state.paddle[:] = 10
            hands.key("Left", True)
            yield from _until(lambda: state.paddle[0] == 7)
            hands.key("Left", False)
            hands.key("d", True)
            yield from _until(lambda: state.paddle[0] == 9)
            hands.key("d", False)

            # Edge (6, 18) of the canvas: 24 pixels of 23 from (24, 24), in a window without frame.
            place = pygame.display.get_window_position()
            hands.move_mouse(place[0] + 24 + 23 * 6, place[1] + 24 + 23 * 18)
            yield from _until(lambda: game.gaze == (6, 18))
            shown_from = self.frames + 30  # half a second: the ball has fallen by two rows
            yield from _until(lambda: self.frames > shown_from)
            if screenshot is not None:
                screen = pygame.display.get_surface()
                assert screen is not None
                pygame.image.save(screen, screenshot)
            started, first_frame = time.perf_counter(), self.frames
            presses = threading.Thread(target=press_now_and_then)
            presses.start()
            yield from _until(lambda: game.phase is Phase.SHOWN)
            seconds = time.perf_counter() - started
            self.frame_rate = (self.frames - first_frame) / seconds
            ball_is_down.set()
            presses.join()
            yield from _until(lambda: len(changed) == len(pressed))
            assert game.player.observation["location"].tolist() == [-0.5, 0.5]
            hands.tap("n")
            yield from _until(lambda: game.phase is Phase.PLAYING)
            hands.tap("Escape")
            yield from _until(lambda: game.phase is Phase.FINISHED)  # the card at the end
            hands.tap("Escape")

    stage = Script()
    run(stage, "ram play")
    assert stage.closed, "the script did not reach its end"
    print(game.summary())
    delays = [1000 * (after - before) for before, after in zip(pressed, changed, strict=True)]
    return {
        "frames_per_second": round(stage.frame_rate, 1),
        "key_presses": len(delays),
        "median_delay_ms": round(statistics.median(delays), 2),
        "longest_delay_ms": round(max(delays), 2),
    }


def _report(measurements: dict[str, float], save: Path | None) -> None:
    print("The game reacts to keys and the mouse.")
    print(", ".join(f"{name} {value}" for name, value in measurements.items()))
    if save is None:
        return
    from ram_agent.provenance import provenance
    from ram_envs.atomic_files import write_json

    assert measurements["frames_per_second"] >= MIN_FRAMES, "too slow"
    assert measurements["median_delay_ms"] < MAX_DELAY_MS, "keys take too long"
    write_json(save, {**provenance(), **measurements})
    print(f"Written to {save}")


def _wait_for(done: Any) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline, "Xvfb did not start"
        time.sleep(0.05)


if __name__ == "__main__":
    main()
