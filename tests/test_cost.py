"""The cost of a decision, counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")
pytest.importorskip("matplotlib", reason="the extra figures is not installed")

import cost

from ram_agent.config import AgentConfig

ROOT = Path(__file__).parent.parent


def test_the_retina_gets_one_more_scale_for_each_doubling_of_the_canvas() -> None:
    # as in the paper, up to 100 × 100
    assert [cost.choose_retina(side)[:2] for side in (28, 60, 100, 200, 400)] == [
        (8, 1),
        (12, 3),
        (12, 4),
        (12, 5),
        (12, 6),
    ]


def test_the_multiply_adds_of_ram() -> None:
    # what 3 · 144 · 128, where 2 · 128, both 256 · 256, core 512 · 256, heads 256 · (2 + 10 + 1)
    step = 55_296 + 256 + 65_536 + 131_072 + 3_328
    row = cost.count_ram(60, AgentConfig())
    assert row["multiply_adds"] == 8 * step
    assert row["inputs"] == 8 * 3 * 144
    assert row["pixels_read"] == 8 * 48 * 48
    # LSTM, 224 wide, and 256: where 2 · 256, both 512 · 224, four gates, heads 224 · 13
    rest = 512 + 512 * 224 + 4 * 224 * 448 + 224 * 13
    # Three scales: 16 maps of 6 × 6, 32 of 3 × 3; then what.
    step = 3 * (36 * 16 * 9 + 9 * 32 * 16 * 9) + 3 * 288 * 256 + rest
    ram = [row["multiply_adds"] for side in (28, 60) for row in cost.count(side)][:: 2 + 4]
    assert ram == [6 * (64 * 256 + rest), 8 * step]


def test_the_multiply_adds_of_networks_on_whole_canvases() -> None:
    counts = {row["name"]: row["multiply_adds"] for row in cost.count(28)}
    assert counts["FC 2 × 256"] == 784 * 256 + 256 * 256 + 256 * 10
    # 8 filters of 10 × 10 at 4 × 4 places, then 128 · 256 and 256 · 10
    assert counts["the paper's conv"] == 8 * 100 * 16 + 128 * 256 + 2_560


def test_the_page_shows_the_counts(tmp_path: Path) -> None:
    rows = [row for side in cost.Settings().sides for row in cost.count(side)]
    assert cost.to_table(rows) in (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    cost.main(cost.Settings(sides=(28, 60), save=tmp_path / "cost.json"))
    assert (tmp_path / "cost.png").read_bytes()[:4] == b"\x89PNG"
