"""Files: written wholly or not at all, so that a crash leaves the old one; read to a size.

What a stranger's file says is shown with `tame`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

# No JSON of ram-gym's comes near it, but for a recording of months of play.
MOST_JSON_BYTES = 2**24
MOST_UNPACKED = 2**26  # of a short file that is compressed


def write_whole(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Call `write` with a new file and put it in the place of `path`, wholly or not at all.

    Once this returns the file outlives a loss of power.

    Raises:
        OSError: if there is no room, say, or no permission; the old file is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        try:
            with temporary.open("xb") as file:  # never through a link that lies in wait
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise _unwritten(path, error) from error


@contextlib.contextmanager
def appending(path: Path) -> Iterator[IO[bytes]]:
    """A file to add to; what was added outlives a loss of power, but may be cut short by it."""
    try:
        with path.open("ab") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> OSError:
    return OSError(
        f"{path} cannot be written: {error.strerror or error}. What was there before is intact. "
        "Make room, or choose a place that can be written."
    )


def _sync_folder(folder: Path) -> None:
    """Make a renaming last: it is a change of the folder, not of the file."""
    if sys.platform == "win32":  # where a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has no such thing
            raise
    finally:
        os.close(descriptor)


def unfinished(folder: Path) -> list[Path]:
    """What `write_whole` is writing in a folder, or was writing when it was killed."""
    return list(folder.glob(".*.*-*.tmp"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, wholly or not at all."""

    def write(file: IO[bytes]) -> None:
        file.write(content)

    write_whole(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, wholly or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The value in a JSON file, which may be a stranger's.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no JSON, too long, or nested too deeply.
    """
    with path.open("rb") as file:
        content = file.read(MOST_JSON_BYTES + 1)
    if len(content) > MOST_JSON_BYTES:
        raise ValueError(f"it is longer than {MOST_JSON_BYTES:,} bytes")
    try:
        return json.loads(content.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def most_unpacked(num_bytes: int) -> int:
    """How long a compressed file's content may be: images shrink, but seldom to a hundredth."""
    return max(MOST_UNPACKED, 100 * num_bytes)


def tame(words: object, most: int = 1000) -> str:
    """Words that a stranger's file had a part in, fit for a screen: few, and no control characters.

    A terminal obeys such characters: they can hide what is said, or rename the window.
    """
    text = str(words)
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-most // 2 :]}"
    return "".join(
        letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text
    )
