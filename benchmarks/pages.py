"""The places of tables in the pages of docs/ and in the README."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ram_envs.atomic_files import write_bytes

MARK = "<!-- table -->"


def put_table(
    page: Path, table: str, mark: str = MARK, facts: Mapping[str, str] | None = None
) -> None:
    """Replace the text between the two marks of a page.

    Args:
        page: the page.
        table: the text.
        mark: the line before and after it.
        facts: those of `provenance`, to name machine and commit below the table.

    Raises:
        ValueError: if the page does not have two marks.
    """
    text = page.read_text(encoding="utf-8")
    if text.count(mark) != 2:
        raise ValueError(f"{page} has {text.count(mark)} lines {mark!r}. Add two.")
    before, _, after = text.split(mark)
    if facts is not None:
        table += f"\nMeasured on {facts['machine']}, at commit {facts['commit']}.\n"
    write_bytes(page, f"{before}{mark}\n{table}{mark}{after}".encode())
