"""Signals that ask a training to stop, so that it can save before it does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@contextmanager
def calling_on_stop(request_stop: Callable[[], None]) -> Iterator[None]:
    """Call `request_stop` for SIGINT, SIGTERM or SIGHUP; a second Ctrl-C interrupts at once.

    Outside of the main thread, where signals cannot be handled, nothing changes.
    """

    def handle(signum: int, frame: FrameType | None) -> None:
        request_stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
