"""The notebook for teaching: its cells are run, one after another."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")
pytest.importorskip("tyro", reason="the extra agent is not installed")

NOTEBOOK = Path(__file__).parent.parent / "examples" / "teaching.ipynb"


def read_cells() -> list[dict[str, Any]]:
    notebook: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    return notebook["cells"]  # type: ignore[no-any-return]


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = read_cells()
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 7
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in cells}) == len(cells)


@pytest.mark.slow
def test_the_notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    pytest.importorskip("pygame", reason="the extra play is not installed")
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for cell in read_cells():
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
    learned, random = (names["results"][gaze].error for gaze in ("learned", "random"))
    assert learned < 30 < random
    assert "image/gif" in names["seen"]._repr_html_()
    assert not list(tmp_path.iterdir())
