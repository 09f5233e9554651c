"""Files that are replaced at once or not at all, so that a crash leaves the old one intact."""

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

MAX_JSON_BYTES = 2**24  # far more than any file of ram-gym except months of recorded play
MAX_UNPACKED_BYTES = 2**26  # of a short file that is compressed


def write_whole(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Call `write` with a new file and then atomically replace `path` with it.

    After the return the file survives a loss of power.

    Raises:
        OSError: if the file cannot be written, as on a full disk; the old file is kept.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        try:
            with temporary.open("xb") as file:  # never through an existing link
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):  # keep the first error
                temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise _unwritten(path, error) from error


@contextlib.contextmanager
def appending(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to append to; afterwards the addition survives a loss of power."""
    try:
        with path.open("ab") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> OSError:
    return OSError(
        f"{path} cannot be written: {error.strerror or error}. Its previous contents are intact. "
        "Make room, or choose another place."
    )


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: it changes the folder, not the file."""
    if sys.platform == "win32":  # which cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def unfinished(folder: Path) -> list[Path]:
    """Return the temporary files of `write_whole` in a folder, as a killed process leaves them."""
    return list(folder.glob(".*.*-*.tmp"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, wholly or not at all."""

    def write(file: IO[bytes]) -> None:
        file.write(content)

    write_whole(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, wholly or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def check_writable(path: Path) -> None:
    """Raise OSError unless a file can be written at `path`: call it before hours of work."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Give the name of a file.")
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {existing} is not a folder.")
    if not os.access(existing, os.W_OK):
        raise PermissionError(f"{path} cannot be written: its folder is read-only.")


def read_json(path: Path) -> Any:
    """Return the value in a JSON file, which may come from an untrusted source.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is not JSON, too long, or nested too deeply.
    """
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"it is longer than {MAX_JSON_BYTES:,} bytes")
    try:
        return json.loads(content.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def max_unpacked(num_bytes: int) -> int:
    """Return how long a compressed file's content may be: images seldom shrink to a hundredth."""
    return max(MAX_UNPACKED_BYTES, 100 * num_bytes)
