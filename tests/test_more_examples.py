"""The examples for TorchRL, Tianshou, skrl and Atari; `make test-examples` installs them all."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from unittest import mock

import pytest

torch = pytest.importorskip("torch", reason="the extra agent is not installed")

from test_examples import ENV_IDS, EXAMPLES, run_example  # noqa: E402
from torch.distributions import Categorical  # noqa: E402


def check(name: str, settings: str) -> None:
    steps, mean_returns = run_example(name, f"{settings} --num-envs 20 --total-steps 1920")
    assert steps == [480, 960, 1440, 1920]
    assert all(0 <= mean_return <= 1 for mean_return in mean_returns)


@pytest.mark.parametrize("env_id", ENV_IDS)
# Its own classes warn of their base class when they are imported.
@pytest.mark.filterwarnings("ignore:Creating .* inherits from WeightUpdaterBase is deprecated")
def test_torchrl(env_id: str) -> None:
    pytest.importorskip("torchrl", reason="the extra examples is not installed")
    check("torchrl_ppo.py", f"--env-id {env_id} --eval-envs 20")


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_tianshou(env_id: str) -> None:
    pytest.importorskip("tianshou", reason="the extra examples is not installed")
    check("tianshou_ppo.py", f"--env-id {env_id} --num-steps 24 --eval-episodes 20")


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_skrl(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skrl", reason="the extra examples is not installed")
    # skrl switches a check of torch off for everyone; what follows shall have it.
    monkeypatch.setattr(Categorical, "_validate_args", Categorical._validate_args)
    check("skrl_ppo.py", f"--env-id {env_id} --eval-envs 20")


@pytest.mark.parametrize("view", ["learned-gaze", "center-gaze", "whole-frame"])
def test_atari_with_stable_baselines3(
    view: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")
    num_threads = torch.get_num_threads()
    path = tmp_path / "ppo.json"
    command = f"sb3_atari.py --quick --view {view} --num-envs 2 --validation-games 2"
    command += f" --validate-every 128 --eval-episodes 3 --save {path}"
    try:
        with mock.patch("sys.argv", command.split()):
            runpy.run_path(str(EXAMPLES / "sb3_atari.py"), run_name="__main__")
    finally:
        torch.set_num_threads(num_threads)
    ((name, result),) = json.loads(path.read_text())["results"].items()
    assert name == f"PPO of Stable-Baselines3, {view.replace('-', ' ')}"
    assert result["episodes"] == 3
    said = f"mean return {result['mean_return']:.2f} ± {result['standard_error']:.2f} over 3 games"
    assert capsys.readouterr().out.endswith(f"{said}\n")
    rows = path.with_suffix(".metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["steps"] for row in rows] == [128, 256]


def test_ram_in_atari(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    with mock.patch("sys.argv", ["ram_atari.py", "--quick"]):
        runpy.run_path(str(EXAMPLES / "ram_atari.py"), run_name="__main__")
    said = capsys.readouterr().out
    returns = re.findall(r"(\w+) gaze: mean return (-?\d+\.\d\d) ± ", said)
    assert [gaze for gaze, _ in returns] == ["learned", "random", "center"]
    assert all(-21 <= float(mean_return) <= 21 for _, mean_return in returns)
