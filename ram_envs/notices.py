"""Notices to the user on stderr."""

from __future__ import annotations

import sys


def print_notice(text: str) -> None:
    """Print one line on stderr, in any encoding, in the main process only."""
    import multiprocessing  # slow to import

    if multiprocessing.parent_process() is None and sys.stderr is not None:
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        line = " ".join(part.strip() for part in text.splitlines())
        print(line.encode(encoding, "replace").decode(encoding), file=sys.stderr)
