"""Atomic writes: a file is complete, or it is the old one."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import threading
from pathlib import Path
from typing import IO

import pytest
from helpers import files_in

from ram_envs.atomic_files import appending, write_bytes, write_json, write_whole


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"new, but only ha")
        assert path.read_bytes() == b"old"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert files_in(tmp_path) == ["weights"]


@pytest.mark.skipif(sys.platform == "win32", reason="a folder cannot be synced there")
def test_a_renamed_file_outlives_a_loss_of_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        done.append(f"sync the {kind}")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_whole(tmp_path / "file", lambda file: None)
    assert done == ["sync the file", "rename", "sync the folder"]
    with appending(tmp_path / "file") as file:
        file.write(b"more")
    assert done[3:] == ["sync the file"]


@pytest.mark.skipif(sys.platform == "win32", reason="a folder cannot be synced there")
def test_a_file_system_whose_folders_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = {"folder": errno.EINVAL}

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(codes["folder"], "of a folder")

    monkeypatch.setattr(os, "fsync", fsync)
    write_bytes(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
    codes["folder"] = errno.EIO  # a disk that fails is another matter
    with pytest.raises(OSError, match="of a folder"):
        write_bytes(tmp_path / "file", b"new")


def test_a_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "made" / "here" / "file"
    for content in (b"first", b"second"):
        write_whole(path, lambda file, content=content: file.write(content))  # type: ignore[misc]
        assert path.read_bytes() == content
    assert files_in(path.parent) == ["file"]


def test_what_is_written_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "mine").write_text("mine")
    temporary = f".config.json.{os.getpid()}-{threading.get_ident()}.tmp"
    for name in ("config.json", temporary):
        (tmp_path / "run" / name).symlink_to(tmp_path / "mine")
    write_json(tmp_path / "run" / "config.json", {"seed": 3})
    assert (tmp_path / "mine").read_text() == "mine"
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == {"seed": 3}
    assert files_in(tmp_path / "run") == ["config.json"]
