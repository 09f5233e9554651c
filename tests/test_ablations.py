"""The ablations of benchmarks/: one change each, nothing repeated, and the table of the guide."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("torch", reason="the extra agent is not installed")

import ablations
import torch
from ablations import CHANGES, DEFAULT, Change, Settings
from glimpse_networks import ARRANGEMENTS, Product, rearrange

from ram_agent import RAMAgent
from ram_agent.config import flatten_settings, replace_settings
from ram_agent.networks import GlimpseNetwork
from ram_agent.presets import preset
from ram_agent.run_env import RunEnv
from ram_agent.trainer import Trainer

ROOT = Path(__file__).parent.parent


def test_each_change_differs_from_the_preset_and_has_a_unique_name() -> None:
    agent, training, _ = preset("default", Settings().env_id)
    present = flatten_settings(dataclasses.asdict(agent) | dataclasses.asdict(training))
    for change in CHANGES[1:]:
        changed = {**change.agent, **change.training}
        assert bool(changed) != bool(change.network)
        assert all(present[name] != value for name, value in changed.items())
        replace_settings(agent, **change.agent)
        replace_settings(training, **change.training)
    assert len({(change.part, change.instead) for change in CHANGES}) == len(CHANGES)


def run_here(run: Any, waiting: Any, jobs: int) -> Any:
    """Stand in for `run_side_by_side`, whose processes import PyTorch first."""
    return [(arguments, run(*arguments)) for arguments in waiting]


@pytest.mark.slow
def test_interrupted_ablations_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablations, "run_side_by_side", run_here)
    page = tmp_path / "page.md"
    page.write_text("<!-- table -->\n<!-- table -->\n")
    settings = Settings(
        episodes=600,
        seeds=(0,),
        dataset="digits",
        jobs=1,
        out=tmp_path / "ablations.json",
        page=page,
    )
    with mock.patch.object(ablations, "CHANGES", (DEFAULT,)):
        ablations.main(settings)
    first = json.loads(settings.out.read_text())
    assert [(row["part"], row["seed"]) for row in first] == [("none", 0)]
    assert {"command", "commit", "machine", "date"} <= set(first[0])
    assert (first[0]["dataset"], first[0]["episodes"]) == ("digits", 600)

    wider = Change("width of the core", "256", "8", {"hidden_size": 8})
    with mock.patch.object(ablations, "CHANGES", (DEFAULT, wider)):
        ablations.main(settings)
    rows = json.loads(settings.out.read_text())
    assert rows[0] == first[0]
    assert rows[1]["agent"] == {"hidden_size": 8}
    assert [(row["part"], row["instead"], row["seed"]) for row in rows] == [
        ("none", "", 0),  # not trained again
        ("width of the core", "8", 0),
    ]
    assert "| width of the core | 256 | 8 | " in page.read_text()
    monkeypatch.setattr(RunEnv, "with_found_dataset", lambda env: env)
    changes: dict[str, Any] = {"env_id": "RAMMNIST-v0", "episodes": 700, "dataset": "mnist"}
    for name, value in changes.items():
        with pytest.raises(ValueError, match=f"{name}={value!r}"):
            ablations.main(dataclasses.replace(settings, **{name: value}))
    assert json.loads(settings.out.read_text()) == rows


def test_another_arrangement_is_what_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Trainer] = []
    monkeypatch.setattr(Trainer, "train", lambda trainer: trained.append(trainer))
    product = Change("what and where", "sum", "product", network="product")
    for change in (DEFAULT, product):
        ablations.train(change, 0, Settings(episodes=100_000, dataset="digits"))
    networks = [type(trainer.averaged_agent.glimpse_network) for trainer in trained]
    assert networks == [GlimpseNetwork, Product]
    assert trained[0].validation_interval == trained[1].validation_interval


def test_a_diverged_training_is_a_row() -> None:
    wild = Change("rate", "", "huge", {}, {"learning_rate": 1e30})
    settings = Settings(episodes=3_000, dataset="digits")
    row = ablations.train(wild, 0, settings)
    assert row["validation_error"] is None
    with mock.patch.object(ablations, "CHANGES", (wild,)):
        table = ablations.to_table([{"part": "rate", "instead": "huge", "seed": 0, **row}])
    assert table.splitlines()[-1] == "| rate |  | huge | diverged | – |"


def test_other_arrangements_of_the_glimpse_network() -> None:
    agent = RAMAgent.pretrained("cluttered-mnist-4")
    config, spaces = agent.config, (agent.observation_space, agent.action_space)
    glimpses, locations = torch.rand(2, 3, 12, 12), torch.zeros(2, 2)
    sizes = {}
    for name in ARRANGEMENTS:
        network = RAMAgent(*spaces, config).glimpse_network
        other = rearrange(network, name)
        assert other(glimpses, locations).shape == (2, 224)
        sizes[name] = sum(parameter.numel() for parameter in other.parameters())
    before = sum(parameter.numel() for parameter in agent.glimpse_network.parameters())
    convolutions = 16 * 9 + 16 + 32 * 16 * 9 + 32
    assert sizes == {
        "kernels of 5 × 5": before + 16 * 16 + 32 * 16 * 16,
        "of each scale": before + 2 * convolutions,
        "product": before + 224,  # a second bias
    }


def test_the_table() -> None:
    def row(change: Change, seed: int, error: float) -> ablations.Row:
        name = {"part": change.part, "instead": change.instead}
        return {**name, "seed": seed, "validation_error": error, "cpu_seconds": 76.4}

    linear = CHANGES[1]
    rows = [row(linear, 0, 8.5), row(DEFAULT, 0, 11.0), row(DEFAULT, 1, 13.0)]
    table = ablations.to_table(rows)
    assert table.splitlines()[2:] == [
        "| none |  |  | 12.0 ± 1.4 | 76 |",
        "| glimpse network | conv | linear (the paper) | 8.5 | 76 |",
    ]


def test_the_page_shows_the_results() -> None:
    rows = json.loads((ROOT / "results" / "ablations.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    assert ablations.to_table(rows) in page
    names = {(row["part"], row["instead"]) for row in rows}
    assert names == {(change.part, change.instead) for change in CHANGES}
