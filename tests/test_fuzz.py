"""Untrusted files: what a fuzzer found once, and files that are damaged at random.

Each is accepted or refused with a documented error, in little memory; `tools/nightly/fuzz.py` looks
for more of them.
"""

from __future__ import annotations

import io
import json
import math
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("PIL", reason="Pillow is not installed")
import fuzz
import fuzz_mutations
import fuzz_targets
from fuzz_targets import MAX_MESSAGE, TARGETS, Fault, attempt, check_input, pack

CORPUS = Path(__file__).parent / "fuzz_corpus"
KEPT = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*"))


def check(name: str, content: bytes) -> bool:
    return check_input(name, content, max_seconds=math.inf)  # a test must not depend on a clock


def test_every_target_has_inputs() -> None:
    assert {path.parent.name for path in CORPUS.glob("*/valid_*")} == {*TARGETS}


@pytest.mark.parametrize("kept", KEPT)
def test_what_is_kept(kept: str) -> None:
    """Valid files are accepted; all others are refused, and most of them once crashed a reader."""
    path = CORPUS / kept
    assert check(path.parent.name, path.read_bytes()) == path.name.startswith("valid_")


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_file(name: str, data: st.DataObject) -> None:
    """Cut the file short or flip a bit, in the whole or in a part with a corrected checksum."""
    kept = data.draw(st.sampled_from([path for path in KEPT if path.startswith(f"{name}/")]))

    def change(content: bytes) -> bytes:
        place = data.draw(st.integers(0, max(0, len(content) - 1)))
        if not content or data.draw(st.booleans()):
            return content[:place]
        wrong = content[place] ^ 1 << data.draw(st.integers(0, 7))
        return content[:place] + bytes([wrong]) + content[place + 1 :]

    content = (CORPUS / kept).read_bytes()
    if data.draw(st.booleans()):
        check(name, change(content))
        return
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    check(name, fuzz_mutations.mutate(content, rng, change))


# --- the check itself ------------------------------------------------------------------------


def read_wrongly(content: bytes, folder: Path) -> None:
    what = content.decode()
    if what == "escapes":
        raise KeyError("labels")
    if what == "fills the memory":
        bytearray(2**28)
    if what == "takes its time":
        sum(range(10**6))
    if what == "says too much":
        attempt(ValueError, refuse, "x" * (MAX_MESSAGE + 1))
    if what == "paints the terminal red":
        attempt(ValueError, refuse, "\x1b[31m")
    if what == "refuses":
        attempt(ValueError, refuse, "two words")


def refuse(words: str) -> None:
    raise ValueError(words)


def test_what_no_reader_may_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "wrong", read_wrongly)
    assert check("wrong", b"takes it")
    assert not check("wrong", b"refuses")
    with pytest.raises(KeyError):
        check("wrong", b"escapes")
    for what, message in (
        ("says too much", "2,001"),
        ("paints the terminal red", "control"),
    ):
        with pytest.raises(Fault, match=message):
            check("wrong", what.encode())
    with pytest.raises(Fault, match=r"0 s"):
        check_input("wrong", b"takes its time", max_seconds=0)


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux forgets a peak"
)
def test_memory_that_no_reader_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "wrong", read_wrongly)
    with pytest.raises(Fault, match=r"25\d MB.* 100 MB"):
        check("wrong", b"fills the memory")
    assert check("wrong", b"and the next does not")


@pytest.mark.parametrize("names", [("../a",), ("/a",), ("a", "a/b"), ("a/b/c/d",)])
def test_an_input_has_no_file_elsewhere(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(fuzz_targets.Refused):
        fuzz_targets.write_input(pack(dict.fromkeys(names, b"harm")), tmp_path / "folder")
    assert not list(tmp_path.iterdir())


def test_a_changed_file_is_of_the_same_format() -> None:
    """Most changes keep checksums and lengths right, so that they reach what is behind them."""

    def change(content: bytes) -> bytes:
        return content[:-1] + b"?"

    rng, read = random.Random(0), 0
    original = (CORPUS / "npz" / "valid_whole").read_bytes()
    for _ in range(100):
        content = fuzz_mutations.mutate(original, rng, change)
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                read += archive.testzip() is None
        except (zipfile.BadZipFile, NotImplementedError):  # an unknown way to compress
            pass  # some are to be damaged; most are counted
    assert read > 60


def test_the_figures_of_several_runs_add_up(tmp_path: Path) -> None:
    path = tmp_path / "fuzz.json"
    fuzz.save(path, {"target": "idx", "inputs": 300, "failure": None})
    fuzz.save(path, {"target": "npz", "inputs": 20, "failure": "runs/a/npz-crash-1"})
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["inputs"] == 320
    assert [run["failure"] for run in found["runs"]] == [None, "npz-crash-1"]  # no path of ours
    assert all({"command", "commit", "machine"} <= run.keys() for run in found["runs"])


def test_the_command(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="it has wheels for few systems")
    tool: Any = Path(__file__).parents[1] / "tools" / "nightly" / "fuzz.py"
    command = [sys.executable, tool, "idx", "--runs", "50", "--failures", tmp_path]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "0 of 1 targets failed" in said
