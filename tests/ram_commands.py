"""Settings of small runs of `ram`, and how a test reads a command's failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ram_agent.cli import main

# 41 updates are an epoch of the 1,297 training digits; two glimpses.
TINY = ["RAMMNIST-v0", "--dataset", "digits", "--num-glimpses", "2", "--batch-size", "32"]
TINY_AGENT = ["--hidden-size", "16", "--feature-size", "8"]
BRIEF = [*TINY, *TINY_AGENT, "--episodes", "256"]  # 8 updates


def fail(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """Return the line on stderr with which a command exits, with code 1.

    A data set may have been announced on the lines before.
    """
    with pytest.raises(SystemExit) as exit_info:
        main([str(arg) for arg in args])
    assert exit_info.value.code == 1
    *notes, line = capsys.readouterr().err.splitlines()
    assert line.startswith("ram: ")
    assert all(" images: " in note for note in notes)
    return line


def frame_count(path: Path) -> int:
    """Return how many frames a picture has."""
    with Image.open(path) as picture:
        return int(getattr(picture, "n_frames", 1))
