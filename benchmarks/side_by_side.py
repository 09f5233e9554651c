"""Run trainings in processes at the same time; put tables into pages."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from ram_envs.atomic_files import write_bytes

MARK = "<!-- table -->"


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


def put_table(page: Path, table: str, mark: str = MARK) -> None:
    """Replace the text between the two marks of a page.

    Raises:
        ValueError: if the page does not have two marks.
    """
    text = page.read_text(encoding="utf-8")
    if text.count(mark) != 2:
        raise ValueError(f"{page} has {text.count(mark)} lines {mark!r}. Add two.")
    before, _, after = text.split(mark)
    write_bytes(page, f"{before}{mark}\n{table}{mark}{after}".encode())
