"""The places of tables in the pages of docs/ and in the README."""

from __future__ import annotations

from pathlib import Path

from ram_envs.atomic_files import write_bytes

MARK = "<!-- table -->"


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
