"""The guides of docs/: their Python blocks are run as they stand, one after another."""

from __future__ import annotations

import builtins
import re
import sys
import types
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from ram_envs.testing import TaskError, check_task

DOCS = Path(__file__).parent.parent / "docs"
OWN_TASK = (DOCS / "own_task.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run_blocks(text: str, name: str, blocks: slice = slice(None)) -> dict[str, Any]:
    """Run the blocks of a guide in a module called `name`; returns what they defined."""
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses ask for it
    for block in list(BLOCK.finditer(text))[blocks]:
        lines_before = text[: block.start(1)].count("\n")  # so that an error names the guide's line
        exec(compile("\n" * lines_before + block[1], "own_task.md", "exec"), vars(module))
    return vars(module)


@pytest.fixture
def own_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The name of a module for the guide's blocks, which may register ids and write files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    monkeypatch.setitem(sys.modules, "brighter_square", None)  # and forget it afterwards
    return "brighter_square"


def test_the_guide_to_a_task_of_ones_own(
    own_task: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    typed = ["-0.5 0 0", "0.5 -0.5 0", "0.5 0.5 1", "0 0 1"]
    monkeypatch.setattr(builtins, "input", lambda prompt: typed.pop(0))
    defined = run_blocks(OWN_TASK, own_task)

    assert not typed
    said = capsys.readouterr().out.splitlines()
    assert said[-1] in ("right", "wrong")
    assert len(said[-2].split()) == 8  # the last line of what was seen
    assert defined["errors"]["learned"] < 6  # as the guide says, with some room
    assert defined["errors"]["random"] > 6
    assert Path("brighter_square.safetensors").exists()
    again = defined["RAMAgent"].load("brighter_square")
    assert again.num_choices == 2


def test_the_complaint_that_the_guide_shows(own_task: str) -> None:
    line = "        state.steps[rows] += 1\n"
    assert line in OWN_TASK
    careless = run_blocks(OWN_TASK.replace(line, line.replace("[rows]", "")), own_task, slice(1))
    with pytest.raises(TaskError) as caught:
        check_task(careless["BrighterSquare"]())
    assert f"> {caught.value}\n".replace("1.0. It", "1.0.\n> It") in OWN_TASK


def test_every_guide_is_run() -> None:
    with_blocks = {path.name for path in DOCS.glob("*.md") if BLOCK.search(path.read_text("utf-8"))}
    assert with_blocks == {"own_task.md"}
