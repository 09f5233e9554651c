"""The contest of benchmarks/: all agents train and are measured alike, and nothing is repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")
pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")
pytest.importorskip("matplotlib", reason="the extra figures is not installed")

import contest
from contestants import FOR_GAMES, FOR_IMAGES, PaperRAM, contestants
from pages import put_table
from side_by_side import read_rows, run_side_by_side

from ram_agent.run_env import RunEnv


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env_id", "name"),
    [("RAMMNIST-v0", name) for name in FOR_IMAGES] + [("RAMCatch-v0", name) for name in FOR_GAMES],
)
def test_every_contestant_trains_for_its_budget_and_acts(env_id: str, name: str) -> None:
    contestant = contestants(env_id)[name](env_id, 3_000, 0, "digits")
    contestant.learn_until(1)
    first = contestant.steps
    assert 0 < first < 3_000
    contestant.learn_until(3_000)
    assert first < contestant.steps <= 3_000 + first
    error = contest.measure_error(contestant, contestant.make_envs(20, "test"), "test", 40)
    assert error in np.arange(0, 100.1, 2.5)  # of 40 episodes


class Oracle:
    """Knows the labels of the images from `first_known` on, and no others."""

    def __init__(self, labels: Any, first_known: int) -> None:
        self.labels = np.where(np.arange(len(labels)) < first_known, (labels + 1) % 10, labels)
        self.index = 0

    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> Any:
        assert deterministic
        if state is None:
            assert episode_start.all()
            state = self.index
            self.index += len(episode_start)
        rows = np.arange(state, state + len(episode_start)) % len(self.labels)
        return (np.zeros((len(rows), 2), np.float32), self.labels[rows]), state


def test_each_image_counts_once() -> None:
    # 300 test images in batches of 70: the last batch is filled up with images that do not count.
    envs: Any = gym.make_vec(
        "RAMMNIST-v0", num_envs=70, dataset="digits", split="test", autoreset_mode="Disabled"
    )
    oracle: Any = Oracle(envs.unwrapped.batch.task.dataset.labels, first_known=30)
    assert contest.measure_error(oracle, envs, "test", 10_000) == 10.0


def run_here(run: Any, waiting: Any, jobs: int) -> Any:
    """Stand in for `run_side_by_side`, whose processes import PyTorch first."""
    return [(arguments, run(*arguments)) for arguments in waiting]


@pytest.mark.slow
def test_an_interrupted_contest_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contest, "run_side_by_side", run_here)

    def hold(*agents: str, steps: int = 1_000, dataset: str = "digits") -> list[dict[str, Any]]:
        contest.main(
            contest.Settings(
                env_ids=("RAMMNIST-v0",),
                agents=agents,
                seeds=(0,),
                image_steps=steps,
                dataset=dataset,
                jobs=1,
                out=tmp_path,
            )
        )
        rows: list[dict[str, Any]] = json.loads((tmp_path / "RAMMNIST-v0.json").read_text())
        return rows

    first = hold("RAM")
    assert [row["agent"] for row in first] == ["RAM"]
    assert (first[0]["dataset"], first[0]["budget"]) == ("digits", 1_000)
    assert [point["steps"] for point in first[0]["curve"]][-1] >= 1_000
    assert {"command", "commit", "machine", "date"} <= set(first[0])
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    capsys.readouterr()

    both = hold("RAM", "A2C")
    assert both[0] == first[0]
    assert [row["agent"] for row in both] == ["RAM", "A2C"]
    printed = capsys.readouterr().out
    assert "RAMMNIST-v0, A2C, seed 0" in printed
    assert "RAMMNIST-v0, RAM, seed 0" not in printed
    with pytest.raises(ValueError, match=r"budget=2000"):
        hold("RAM", steps=2_000)
    monkeypatch.setattr(RunEnv, "with_found_dataset", lambda env: env)
    with pytest.raises(ValueError, match=r"dataset='mnist'"):
        hold("RAM", dataset="mnist")


def test_a_diverged_training_is_a_result() -> None:
    settings = contest.Settings(image_steps=12_000, dataset="digits")
    with mock.patch.object(PaperRAM, "changes", {"learning_rate": 1e9}):
        row = contest.train_and_test("RAMMNIST-v0", "RAM, paper preset", 0, settings)
    assert row["test_error"] is None
    assert "diverged" in row["diverged"]
    diverged = {"RAMMNIST-v0": [row, {**row, "seed": 1}]}
    assert "| RAM, paper preset | 2 of 2 diverged |" in contest.to_table(diverged).splitlines()


def test_the_table() -> None:
    def row(agent: str, seed: int, error: float, seconds: float) -> dict[str, Any]:
        curve = [{"steps": 10, "cpu_seconds": seconds, "error": 50.0}]
        return {"agent": agent, "seed": seed, "curve": curve, "test_error": error}

    games = [row("RAM", 0, 10.0, 20.0), row("RAM", 1, 14.0, 21.0), row("TRPO", 0, 91.25, 300.4)]
    games += [row("A2C", 0, 90.0, 5.0), {**row("A2C", 1, 0.0, 0.0), "test_error": None}]
    lines = contest.to_table({"RAMCatch-v0": games, "RAMMNIST-v0": []}).splitlines()
    assert lines[:3] == [
        "| agent | `RAMCatch-v0` |",
        "|---|---|",
        "| RAM | 12.0 ± 2.8 (20 s) |",
    ]
    assert "| TRPO | 91.2 (300 s) |" in lines
    assert "| A2C | 90.0 (5 s, 1 of 2 diverged) |" in lines
    assert "| PPO | – |" in lines


def test_a_failed_call_is_raised_after_all_others_are_done() -> None:
    done: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        done.extend(run_side_by_side(divmod, [(9, 0), (9, 2), (7, 2)], 2))
    assert sorted(done) == [((7, 2), (3, 1)), ((9, 2), (4, 1))]


def test_the_table_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Above.\n\n<!-- table -->\nold\n<!-- table -->\n\nBelow.\n")
    put_table(page, "| new |\n")
    expected = "Above.\n\n<!-- table -->\n| new |\n<!-- table -->\n\nBelow.\n"
    assert page.read_text() == expected
    put_table(page, "| new |\n", facts={"machine": "2 × Z80", "commit": "abc", "date": "now"})
    place = "\nMeasured on 2 × Z80, at commit abc.\n"
    assert page.read_text() == expected.replace("| new |\n", f"| new |\n{place}")
    page.write_text("Above.\n")
    with pytest.raises(ValueError, match=r"page\.md .* 0 "):
        put_table(page, "| new |\n")
    assert page.read_text() == "Above.\n"


def test_the_guide_shows_the_table_of_the_results() -> None:
    root = Path(__file__).parent.parent
    folder = root / "results" / "contest"
    results = {
        env_id: read_rows(folder / f"{env_id}.json") for env_id in contest.Settings().env_ids
    }
    table = contest.to_table(results)
    assert (folder / "table.md").read_text() == table
    assert table in (root / "docs" / "contest.md").read_text()
    for env_id, rows in results.items():
        everybody = {(name, seed) for name in contestants(env_id) for seed in (0, 1, 2)}
        assert {(row["agent"], row["seed"]) for row in rows} >= everybody
        assert {row["dataset"] for row in rows} <= {"mnist", None}
