"""The tables of the README and docs/ match results/."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")

import game_curves
import matplotlib.pyplot as plt
import publish

from ram_agent.pretrained_agents import PRETRAINED
from ram_envs.atomic_files import write_json

ROOT = Path(__file__).parent.parent


def test_readme_and_page_show_the_results() -> None:
    tables = publish.read_tables(ROOT / "results")
    assert {"mnist", "translated", "catch"} <= tables.keys()
    assert publish.make_headlines(publish.find_headlines(tables)) in (ROOT / "README.md").read_text(
        encoding="utf-8"
    )
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert publish.make_summary(tables) in page
    assert publish.make_page(tables) in page
    agents = (PRETRAINED / "README.md").read_text(encoding="utf-8")
    assert publish.make_agents(ROOT / "results" / "pretrained") in agents
    beyond = publish.read_beyond(ROOT / "results" / "beyond")
    assert len(beyond) == 4
    results = ROOT / "results"
    assert publish.make_games(results) in (ROOT / "README.md").read_text(encoding="utf-8")
    for game in publish.GAMES:
        page = game.page.read_text(encoding="utf-8")
        assert publish.make_learned(game, results) in page
    page = (ROOT / "docs" / "beyond.md").read_text(encoding="utf-8")
    assert publish.make_beyond(beyond) in page


def test_the_summary(tmp_path: Path) -> None:
    shared = {
        "kind": "ram",
        "quick": False,
        "dataset": "mnist",
        "seconds": 3600.0,
        "train_episodes": 1_000_000,
        "test_episodes": 10_000,
        "command": "ram reproduce",
        "commit": "abc",
        "machine": "2 × A",
    }
    middle = {
        **shared,
        "name": "RAM, 2 glimpses, the first in the middle",
        "env": "RAMMNIST-v0",
        "num_glimpses": 2,
        "error_mean": 2.71,
        "error_std": None,
        "random_gaze_error": 39.0,
        "seeds": [0],
    }
    eight = {
        **shared,
        "name": "RAM, 8 glimpses",
        "env": "RAMClutteredMNIST-v0",
        "num_glimpses": 8,
        "error_mean": 2.814,
        "error_std": 0.1,
        "random_gaze_error": 25.04,
        "seeds": [0, 1, 2],
    }
    one_seed = {**eight, "name": "RAM, 6 glimpses", "num_glimpses": 6, "seeds": [0]}
    one_seed["error_std"] = None
    quick = {**eight, "quick": True}
    control = {**eight, "kind": "control", "name": "RAM, 8 glimpses, random gaze"}
    game = {
        **shared,
        "name": "RAM",
        "env": "RAMCatch-v0",
        "num_glimpses": None,
        "error_mean": 0.5,
        "error_std": 0.1,
        "catch_rate_mean": 99.5,
        "random_gaze_error": 83.6,
        "seeds": [0, 1, 2],
    }
    write_json(tmp_path / "cluttered.json", [one_seed, eight, quick, control])
    write_json(tmp_path / "mnist.json", [middle])
    write_json(tmp_path / "catch.json", [game])
    tables = publish.read_tables(tmp_path)
    headlines = publish.find_headlines(tables)
    assert [headline[1:] for headline in headlines] == [(2.814, 25.04, None), (0.5, 83.6, None)]
    assert [headline.paper for headline in headlines] == [4.04, 15.0]
    publish.draw_headlines(headlines, tmp_path / "headlines.png")
    assert plt.imread(tmp_path / "headlines.png").shape[1] == 900
    assert publish.make_headlines(headlines).splitlines()[2:] == [
        "| [RAMClutteredMNIST-v0](docs/environments/RAMClutteredMNIST-v0.md) | 8 | **2.81** | 25.0 "
        "| – | 4.04 |",
        "| [RAMCatch-v0](docs/environments/RAMCatch-v0.md), caught | – | **99.5** | 16.4 | – "
        "| ≈ 85 |",
    ]
    lines = publish.make_summary(tables).splitlines()[2:]
    assert lines == [
        "| `RAMMNIST-v0` | 2, the first in the middle | **2.71** | 1 | 39.0 | 60 min | 6.27 / 3.79 "
        "| – |",
        "| `RAMClutteredMNIST-v0` | 6 | **2.81** | 1 | 25.0 | 60 min | 5.88* / 4.08 "
        "| 2.75 (DRAM) |",
        "| `RAMClutteredMNIST-v0` | 8 | **2.81** ± 0.10 | 3 | 25.0 | 20 min | 5.23 / 4.04 "
        "| 2.63 (tfRAM) |",
        "| `RAMCatch-v0`, balls caught | – | **99.50** ± 0.10 | 3 | 16.4 | 20 min | ≈ 85 / ≈ 85 "
        "| ≈ 89 (samrudhdhirangrej) |",
    ]


def test_the_curve_of_a_training(tmp_path: Path) -> None:
    path = ROOT / "results" / "games" / "RoadRunner-learned-seed-0.metrics.jsonl"
    steps, returns = game_curves.read_validations(path)
    assert (len(steps), steps[-1], returns[-1]) == (11, 1_001_472, 4109.375)
    game_curves.main(game_curves.Settings((path,), tmp_path / "curve.png"))
    assert plt.imread(tmp_path / "curve.png").shape == (420, 1080, 4)
