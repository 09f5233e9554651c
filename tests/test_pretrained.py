"""The agents that come with the package: they load, are small, and say how they were trained."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode

from ram_agent import RAMAgent
from ram_agent.cli import main
from ram_agent.evaluation import evaluate
from ram_agent.pretrained_agents import PRETRAINED, pretrained_names
from ram_agent.run_env import RunEnv

ROOT = Path(__file__).parent.parent
RENAMED = {"initialisation": "initialization"}  # in files of results


def test_the_cluttered_agent_says_how_it_was_trained() -> None:
    agent = RAMAgent.pretrained("cluttered-mnist-8")
    facts = agent.info
    assert agent.glimpse_shape == (3, 12, 12)
    assert agent.num_choices == 10
    assert (facts["env_id"], facts["dataset"]) == ("RAMClutteredMNIST-v0", "mnist")
    assert facts["command"].startswith("ram reproduce cluttered --num-glimpses 8 ")
    assert facts["commit"]
    assert facts["validation_error"] < 2


def test_the_catch_agent_says_how_it_was_trained_and_watches_the_ball() -> None:
    agent = RAMAgent.pretrained("catch")
    facts = agent.info
    assert agent.config.core == "lstm"
    assert facts["command"] == "ram reproduce catch --seeds 0 1 2"
    assert facts["commit"]
    envs = gym.make_vec("RAMCatch-v0", num_envs=500, autoreset_mode=AutoresetMode.DISABLED)
    rates = {
        gaze: evaluate(agent, envs, num_episodes=500, gaze=gaze).mean_return
        for gaze in ("learned", "random", "center")
    }
    assert rates["learned"] > 0.98
    assert max(rates["random"], rates["center"]) < 0.3


def test_an_agent_that_starts_at_the_center_does_so_with_other_images_too() -> None:
    agent = RAMAgent.pretrained("mnist-2-middle")
    envs = RunEnv.named_in(agent.info).make_split(300, "test", dataset="digits")
    observation, _ = envs.reset(seed=0)
    assert not observation["location"].any()
    assert evaluate(agent, envs).error < 50  # chance is 90%


def test_all_load_by_name_and_are_small() -> None:
    names = ["addition-mnist-4", "catch"]
    names += [f"cluttered-mnist-{number}" for number in (4, 6, 8)]
    names += [f"cluttered100-mnist-{number}" for number in (4, 6, 8)]
    names += ["mnist-2", "mnist-2-middle", "mnist-3", "mnist-3-middle"]
    names += [f"mnist-{number}" for number in (4, 5, 6, 7)]
    names += ["moving-mnist-8", "pairs-mnist-4", "pong"]
    names += [f"translated-mnist-{number}" for number in (4, 6, 8)]
    assert pretrained_names() == names
    for name in names:
        facts = RAMAgent.pretrained(name).info
        # An id of ale-py is ALE/…; no other word has a folder.
        program = r"(ram|torchrun [\w -]+ -m ram_agent)"
        assert re.fullmatch(rf"{program} (reproduce|train) (ALE/)?[\w .=-]+", facts["command"])
        assert (PRETRAINED / f"{name}.safetensors").stat().st_size < 3_000_000
    assert sum(path.stat().st_size for path in PRETRAINED.iterdir()) < 16_000_000


@pytest.mark.parametrize("name", pretrained_names())
def test_these_weights_were_measured(name: str) -> None:
    file = f"results/pretrained/{name}.json"
    measured = json.loads((ROOT / file).read_text(encoding="utf-8"))
    assert measured["command"] == f"ram evaluate pretrained:{name} --save {file}"
    trained_by = measured["trained_by"]
    settings: dict[str, Any] = {
        RENAMED.get(name, name): value for name, value in trained_by["agent"].items()
    }
    # These very weights were measured, not earlier ones.
    assert {**trained_by, "agent": settings} == RAMAgent.pretrained(name).info


def test_it_classifies_digits_it_was_not_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", "pretrained:cluttered-mnist-8", "--dataset", "digits"])
    said = capsys.readouterr().out
    learned = next(line for line in said.splitlines() if line.strip().startswith("learned gaze "))
    assert float(learned.split()[2]) < 50  # chance is 90%


def test_it_can_be_watched_without_mnist(tmp_path: Path) -> None:
    run = ["pretrained:mnist-6", "--dataset", "digits"]
    main(["watch", *run, "--save", str(tmp_path / "looks.png"), "--episodes", "1"])
    main(["figures", *run, "--out", str(tmp_path), "--num-images", "20"])
    assert {"looks.png", "paths.png"} <= {path.name for path in tmp_path.iterdir()}


def test_an_unknown_name_lists_all_names() -> None:
    with pytest.raises(FileNotFoundError, match="cluttered-mnist-8"):
        RAMAgent.pretrained("clutterd")


def test_a_run_is_packed_to_a_third_of_its_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "my run"
    small = ["--dataset", "digits", "--hidden-size", "64", "--feature-size", "64"]
    command = ["train", "RAMMNIST-v0", *small, "--episodes", "512", "--out", str(run)]
    monkeypatch.setattr(sys, "argv", ["ram", *command])
    main(command)
    tool: Any = runpy.run_path(str(ROOT / "tools" / "pack_agent.py"))
    capsys.readouterr()
    tool["main"]([str(run), "tiny", "--out", str(tmp_path)])
    assert re.fullmatch(r"tiny: error \d+\.\d\d%, packed \d+\.\d\d%\n", capsys.readouterr().out)
    before, after = (RAMAgent.load(path).info for path in (run, tmp_path / "tiny"))
    assert before["command"].endswith(f" --episodes 512 --out '{run}'")
    test = after.pop("test")
    assert set(test) == {"error", "random_gaze_error"}
    assert after == {**before, "command": before["command"].removesuffix(f" --out '{run}'")}
    packed, whole = (
        path.stat().st_size for path in (tmp_path / "tiny.safetensors", run / "best.safetensors")
    )
    assert packed < whole / 3
