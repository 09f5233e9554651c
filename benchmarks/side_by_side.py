"""Run trainings at the same time, each in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any


def run_side_by_side(
    run: Callable[..., Any], waiting: Sequence[tuple[Any, ...]], jobs: int
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield (arguments, run(*arguments)) of each call as it ends, with `jobs` calls at a time.

    The error of a failed call is raised after all others are done.
    """
    failures: list[BaseException] = []
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        runs = {pool.submit(run, *arguments): arguments for arguments in waiting}
        for done in as_completed(runs):
            if (failure := done.exception()) is not None:
                failures.append(failure)
            else:
                yield runs[done], done.result()
    if failures:
        raise failures[0]
