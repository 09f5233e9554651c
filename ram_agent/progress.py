"""The progress of a training on stderr: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm

SECONDS_PER_LINE = 30
MEMORY = 0.95  # decay per update of the running error
SHOWN = {  # metric: how it is shown
    "train_error": "training error {:.1f}%",
    "train_return": "training return {:.3f}",
}

Metrics = Mapping[str, float]


@contextmanager
def show_progress(
    num_updates: int, done: int, batch: Mapping[str, int], visible: bool
) -> Iterator[Callable[[Metrics], object]]:
    """Show how much of a training is done, and its running error or return.

    Args:
        num_updates: total number of updates.
        done: how many are done at the beginning.
        batch: what an update plays: {"episodes": N} or {"steps": N}.
        visible: whether to show anything.

    Yields:
        A function to call after each update, with its metrics.
    """
    ((unit, batch_size),) = batch.items()
    running: dict[str, float] = {}

    def describe(metrics: Metrics) -> str:
        for name in SHOWN.keys() & metrics.keys():
            before = running.get(name, metrics[name])
            running[name] = MEMORY * before + (1 - MEMORY) * metrics[name]
        return ", ".join(SHOWN[name].format(value) for name, value in running.items())

    if not visible or sys.stderr.isatty() or "ipykernel" in sys.modules:
        options = {"unit": unit.removesuffix("s"), "unit_scale": batch_size, "leave": False}
        with tqdm(total=num_updates, initial=done, disable=not visible, **options) as bar:

            def move_bar(metrics: Metrics) -> None:
                bar.set_postfix_str(describe(metrics), refresh=False)
                bar.update()

            yield move_bar
        return
    started = last_line = time.monotonic()
    update = done

    def advance(metrics: Metrics) -> None:
        nonlocal last_line, update
        update += 1
        words, now = describe(metrics), time.monotonic()
        if now - last_line >= SECONDS_PER_LINE:
            last_line = now
            rate = (update - done) / (now - started)
            print(
                f"{update * batch_size:,} of {num_updates * batch_size:,} {unit}, "
                f"{rate * batch_size:,.0f} per second, "
                f"{describe_time((num_updates - update) / rate)} left"
                + (f", {words}" if words else ""),
                file=sys.stderr,
                flush=True,
            )

    yield advance


def print_metrics(row: Metrics) -> None:
    """Print the metrics of a validation as a line on stdout."""
    unit = "steps" if "steps" in row else "episodes"
    tqdm.write(
        f"{row[unit]:>10,} {unit} {row['seconds']:7.0f} s   "
        + "   ".join(
            f"{split} error {row[f'{split}_error']:6.2f}%"
            if f"{split}_error" in row
            else f"{split} return {row[f'{split}_return']:8.4f}"
            for split in ("train", "validation")
            if f"{split}_error" in row or f"{split}_return" in row
        )
    )


def describe_time(seconds: float) -> str:
    """Return a duration in words: "40 s", "9 min" or "2.5 h"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
