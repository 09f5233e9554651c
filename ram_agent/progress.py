"""The progress of a training on stderr: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

SECONDS_PER_LINE = 30


@contextmanager
def show_progress(num_updates: int, done: int, visible: bool) -> Iterator[Callable[[], object]]:
    """Show how many updates of a training are done.

    Args:
        num_updates: number of updates in all.
        done: how many are done at the beginning.
        visible: whether to show anything.

    Yields:
        A function to call after each update.
    """
    if not visible or sys.stderr.isatty():
        options = {"unit": "update", "leave": False, "disable": not visible}
        with tqdm(total=num_updates, initial=done, **options) as bar:
            yield bar.update
        return
    started = last_line = time.monotonic()
    update = done

    def advance() -> None:
        nonlocal last_line, update
        update += 1
        now = time.monotonic()
        if now - last_line >= SECONDS_PER_LINE:
            last_line = now
            minutes = (now - started) / (update - done) * (num_updates - update) / 60
            print(
                f"update {update:,} of {num_updates:,}, {minutes:.0f} minutes left",
                file=sys.stderr,
                flush=True,
            )

    yield advance
