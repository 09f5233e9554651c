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
    with show_progress(20, 10, {"episodes": 100}, visible) as advance:
        for error in range(50, 40, -1):
            now += seconds
            advance({"train_error": error, "loss": 1.0})
    assert isinstance(sys.stderr, io.StringIO)
    return sys.stderr.getvalue().splitlines()


def test_a_line_every_30_seconds_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    lines = run(monkeypatch, SECONDS_PER_LINE / 3)
    assert [line.split()[0] for line in lines] == ["1,300", "1,600", "1,900"]
    assert all("2,000" in line for line in lines)
    assert all("10 per second" in line for line in lines)
    assert "49.9%" in lines[0]  # 50, 49 and 48, of which the first weighs most


def test_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert "9 min" in run(monkeypatch, 60)[0]  # after one update, nine of a minute are left


def test_a_short_training_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert run(monkeypatch, 1) == []


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    shown = "".join(run(monkeypatch, 60))
    assert "1000/2000" in shown


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_other_ranks_show_nothing(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    assert run(monkeypatch, 60, visible=False) == []
