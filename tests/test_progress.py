"""The progress of a training, on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys
import time

import pytest

pytest.importorskip("tqdm", reason="the extra agent is not installed")

from ram_agent.progress import SECONDS_PER_LINE, show_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(monkeypatch: pytest.MonkeyPatch, seconds: float, visible: bool = True) -> list[str]:
    """Return what is written during ten updates of `seconds` each, the last of 20 that are done."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with show_progress(20, 10, visible) as advance:
        for _ in range(10):
            now += seconds
            advance()
    assert isinstance(sys.stderr, io.StringIO)
    return sys.stderr.getvalue().splitlines()


def test_a_line_every_30_seconds_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    lines = run(monkeypatch, SECONDS_PER_LINE / 3)
    assert [line.split()[1] for line in lines] == ["13", "16", "19"]
    assert all("20" in line for line in lines)


def test_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert "9 minutes" in run(monkeypatch, 60)[0]  # after one update, nine of a minute are left


def test_a_short_training_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert run(monkeypatch, 1) == []


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert "10/20" in "".join(run(monkeypatch, 60))


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_other_ranks_show_nothing(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    assert run(monkeypatch, 60, visible=False) == []
