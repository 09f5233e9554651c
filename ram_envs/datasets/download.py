"""Where the files of a known data set lie, and downloads of those that are missing.

A download goes over HTTPS, is bounded in size, and is kept only once it is verified.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from ram_envs.datasets.errors import CorruptDatasetError, DatasetUnavailableError

DATA_DIR_VARIABLE = "RAM_ENVS_DATA_DIR"
CONNECT_SECONDS, READ_SECONDS = 3.0, 30.0


@dataclass(frozen=True)
class KnownFile:
    """A file of a data set: its name, and the size and hash of its contents."""

    name: str
    num_bytes: int
    sha256: str


def cache_folder(name: str) -> Path:
    """Return a folder in the user's cache; it may be deleted at any time."""
    import pooch  # slow to import, and seldom needed

    return Path(pooch.os_cache("ram-gym")) / name


def find_folder(name: str, data_dir: str | None) -> tuple[Path, str]:
    """Return the folder of a data set, in `data_dir` or the cache, and how to mend a file there."""
    if data_dir is None:
        return cache_folder(name), "Delete it; it is then downloaded again."
    remedy = f"Replace it with the original file, or unset {DATA_DIR_VARIABLE}."
    return Path(data_dir).expanduser() / name, remedy


def download(
    name: str,
    mirrors: Sequence[str],
    folder: Path,
    max_bytes: int,
    verify: Callable[[bytes], object],
    problem: str,
    advice: str,
) -> Path:
    """Fetch a file into a folder; nothing appears there before it is verified.

    Args:
        name: the file's name, on the mirrors and in the folder.
        mirrors: the addresses to try in turn, each with a final slash.
        folder: where the file is kept.
        max_bytes: the most that are accepted.
        verify: called with the contents; raises `CorruptDatasetError` for wrong ones.
        problem, advice: what an error says before and after the reasons.

    Raises:
        DatasetUnavailableError: if no mirror has the file, or it could not be written.
    """
    import pooch

    failures = []
    for mirror in mirrors:
        fetcher = pooch.create(folder, mirror, registry={name: None}, retry_if_failed=1)
        try:
            return Path(fetcher.fetch(name, downloader=_Downloader(max_bytes, verify)))
        except (OSError, ValueError) as error:  # the errors of requests are OSErrors
            failures.append(f"\n  {mirror}{name}: {_describe_root(error)}")
    raise DatasetUnavailableError(f"{problem}:{''.join(failures)}\n{advice}")


class _Downloader:
    """Downloads a file for pooch and verifies it, so that pooch keeps only a right one."""

    def __init__(self, max_bytes: int, verify: Callable[[bytes], object]) -> None:
        self._max_bytes = max_bytes
        self._verify = verify

    def __call__(self, url: str, output_file: str, fetcher: Any) -> None:
        import pooch
        from requests.exceptions import ConnectionError, HTTPError

        download = pooch.HTTPDownloader(
            progressbar=sys.stderr is not None and sys.stderr.isatty(),
            chunk_size=2**16,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            hooks={"response": _refuse_insecure},
        )
        body = _BoundedBytes(self._max_bytes)
        try:
            download(url, body, fetcher)
        except (ConnectionError, HTTPError) as error:
            if error.response is None or error.response.status_code < 500:
                raise OSError("not worth another attempt") from error  # for pooch
            raise
        self._verify(body.getvalue())
        Path(output_file).write_bytes(body.getvalue())


class _BoundedBytes(io.BytesIO):
    """Bytes in memory that refuse to grow beyond what the file can be."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._max_bytes:
            raise CorruptDatasetError(f"more than {self._max_bytes:,} bytes were sent")
        return super().write(data)


def _refuse_insecure(response: Any, **keywords: Any) -> None:
    """Refuse a redirection that leaves HTTPS."""
    if response.is_redirect:
        target = urljoin(response.url, response.headers["location"])
        if not target.startswith("https://"):
            response.close()
            raise OSError(f"it redirects to {target}, which is not https://")


def _describe_root(error: BaseException) -> str:
    """Return what really happened, such as a refused connection, below the errors around it."""
    while below := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = below
    return f"{type(error).__name__}: {error}"
