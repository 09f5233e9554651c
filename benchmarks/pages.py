"""Markdown tables, and their places in the pages of docs/ and in the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ram_envs.atomic_files import write_bytes

MARK = "<!-- table -->"


def make_table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    first, *others = ("| " + " | ".join(cells) + " |" for cells in (head, *body))
    return "\n".join([first, "|---" * len(head) + "|", *others]) + "\n"


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
