"""Runs that are killed with SIGKILL: resumed, they end like an undisturbed run."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import kill_runs
import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_two_kills(tmp_path: Path) -> None:
    path = tmp_path / "kills.json"
    with pytest.raises(SystemExit) as exit_info:
        kill_runs.main(["--kills", "2", "--epochs", "5", "--save", str(path)])
    result = json.loads(path.read_text())
    assert (result["kills"], result["differences"]) == (2, [])
    assert exit_info.value.code == 0
    assert len(result["moments"]) == 2
    assert result["commit"] is not None
