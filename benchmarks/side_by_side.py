"""Run trainings at the same time, each in a process of its own, and keep what was done."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from ram_envs.atomic_files import read_json


def read_rows(path: Path, **settings: Any) -> list[dict[str, Any]]:
    """Return the rows of trainings in a file; none if it does not exist.

    Raises:
        ValueError: if one of them was trained with other settings.
    """
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = read_json(path)
    for row in rows:
        for name, value in settings.items():
            if row.get(name) != value:
                raise ValueError(
                    f"{path} contains trainings with {name}={row.get(name)!r}, and this command "
                    f"has {name}={value!r}. Give another --out."
                )
    return rows


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
