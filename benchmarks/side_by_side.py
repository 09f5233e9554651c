"""Trainings side by side, each in a process of its own; tables that are put into a page."""

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
    """Pairs of arguments and what `run(*arguments)` returned, as each is done, `jobs` at a time.

    One that fails takes nothing from the others: its error is raised after all are done.
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


def put_table(page: Path, table: str) -> None:
    """Replace what stands between the marks of a page."""
    text = page.read_text(encoding="utf-8")
    if text.count(MARK) != 2:
        raise ValueError(f"{page} has {text.count(MARK)} lines {MARK}: expected two.")
    before, _, after = text.split(MARK)
    write_bytes(page, f"{before}{MARK}\n{table}{MARK}{after}".encode())
