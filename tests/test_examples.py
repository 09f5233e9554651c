"""The examples that train agents run as a reader would run them, and say what they reached."""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import sys
import types
from pathlib import Path
from unittest import mock

import pytest

torch = pytest.importorskip("torch", reason="the extra agent is not installed")

EXAMPLES = Path(__file__).parent.parent / "examples"
ENV_IDS = ["RAMMNIST-v0", "RAMCatch-v0"]
SLOW = pytest.mark.slow


def run_example(name: str, arguments: str) -> tuple[list[int], list[float]]:
    """Run it; the steps it reported, and the mean returns, of which the last is the evaluation's.

    The evaluation must be one of 20 episodes.
    """
    printed, num_threads = io.StringIO(), torch.get_num_threads()
    try:
        command = [name, *arguments.split()]
        with mock.patch("sys.argv", command), contextlib.redirect_stdout(printed):
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    finally:
        torch.set_num_threads(num_threads)
    reports = re.findall(r"(\d+) steps  mean return (\d\.\d+)\n", printed.getvalue())
    [greedy] = re.findall(
        r"greedy: mean return (\d\.\d+) over 20 test episodes\n", printed.getvalue()
    )
    mean_returns = [float(mean_return) for _, mean_return in reports]
    return [int(steps) for steps, _ in reports], [*mean_returns, float(greedy)]


@pytest.mark.parametrize("env_id", ENV_IDS)
@pytest.mark.parametrize(
    "agent",
    ["ppo", "a2c", "sac", *(pytest.param(it, marks=SLOW) for it in ("recurrent-ppo", "trpo"))],
)
def test_agents_of_stable_baselines3(agent: str, env_id: str) -> None:
    for library in ("stable_baselines3", "sb3_contrib"):
        pytest.importorskip(library, reason="the extra sb3 is not installed")
    settings = f"--agent {agent} --env-id {env_id} --num-envs 20 --total-steps 1440"
    steps, mean_returns = run_example("sb3_agents.py", f"{settings} --eval-episodes 20")
    assert steps[-1] == 1440
    assert steps == sorted(set(steps))
    assert all(0 <= mean_return <= 1 for mean_return in mean_returns)


@pytest.mark.parametrize("gaze", ["fixed", "learned"])
def test_catch_of_stable_baselines3(gaze: str, tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")
    brief = ["--num-envs", "8", "--total-steps", "368", "--eval-episodes", "8"]
    save = ["--gaze", gaze, "--save", str(tmp_path / "catch.json")]
    num_threads = torch.get_num_threads()
    with mock.patch("sys.argv", ["sb3_catch.py", *brief, *save]):
        runpy.run_path(str(EXAMPLES / "sb3_catch.py"), run_name="__main__")
    torch.set_num_threads(num_threads)
    result = json.loads((tmp_path / "catch.json").read_text())
    assert (result["games"], result["gaze"], result["env_steps"]) == (8, gaze, 368)
    assert 0 <= result["caught_percent"] <= 100


def test_a_trial_of_ray_tune_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the example does in a trial, under a stand-in for Ray that stops it once."""
    reported: list[dict[str, float]] = []

    def report(row: dict[str, float]) -> None:
        reported.append(row)
        if len(reported) == 1:
            raise KeyboardInterrupt

    tune = types.SimpleNamespace(
        report=report, get_context=lambda: types.SimpleNamespace(get_trial_id=lambda: "first")
    )
    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(tune=tune))
    example = runpy.run_path(str(EXAMPLES / "ray_tune_sweep.py"))
    settings = example["Settings"](env_id="RAMMNIST-v0", episodes=256)
    trial = {"learning_rate": 5e-4, "weight_decay": 0.1}
    num_threads = torch.get_num_threads()
    try:
        with pytest.raises(KeyboardInterrupt):
            example["train"](trial, settings, tmp_path)
        example["train"](trial, settings, tmp_path)
    finally:
        torch.set_num_threads(num_threads)
    assert reported[0] == reported[1]  # a trial that is restored reports what it has reached before
    assert len(reported) == 2
    config = json.loads((tmp_path / "first" / "config.json").read_text())
    assert config["training"]["optimizer"]["learning_rate"] == 5e-4
    assert config["training"]["optimizer"]["weight_decay"] == 0.1


def test_a_task_of_the_sweep_goes_on_until_it_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def sweep(*arguments: str) -> str:
        command = ["sweep.py", "--env-id", "RAMMNIST-v0", "--episodes", "256", "--out"]
        with mock.patch("sys.argv", [*command, str(tmp_path), *arguments]):
            runpy.run_path(str(EXAMPLES / "sweep.py"), run_name="__main__")
        return capsys.readouterr().out

    num_threads = torch.get_num_threads()
    try:
        folder = tmp_path / "RAMMNIST-v0-digits-256-rate-0.004-seed-1"  # the last of four tasks
        assert f"1 updates, in {folder}" in sweep("--task", "3")
        config = json.loads((folder / "config.json").read_text())["training"]
        assert (config["optimizer"]["learning_rate"], config["seed"]) == (0.004, 1)
        (folder / "evaluation.json").unlink()  # as if it had been stopped
        assert "Trained for" in sweep("--task", "3")
        assert sweep("--task", "3") == f"{folder} is done\n"
    finally:
        torch.set_num_threads(num_threads)
    error = json.loads((folder / "evaluation.json").read_text())["validation_error"]
    nothing, line = sweep().splitlines()
    assert nothing.endswith(" of 0 seeds")
    assert line.split() == f"learning rate 0.004 validation_error {error:.4g} of 1 seeds".split()
    for other in (("--episodes", "512"), ("--dataset", "mnist"), ("--env-id", "RAMPairsMNIST-v0")):
        assert sweep(*other).count(" of 0 seeds") == 2  # other runs, which were not trained
    with pytest.raises(SystemExit, match=r"task=4.* 3"):
        sweep("--task", "4")


def test_a_sweep_of_a_game(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def sweep(*arguments: str) -> None:
        command = ["sweep.py", "--env-id", "RAMCatch-v0", "--dataset", "None", "--episodes", "None"]
        command += ["--steps", "5888", "--out", str(tmp_path), *arguments]
        with mock.patch("sys.argv", command):
            runpy.run_path(str(EXAMPLES / "sweep.py"), run_name="__main__")

    folder = tmp_path / "RAMCatch-v0-5888-rate-0.002-seed-0"
    with mock.patch("ram_agent.cli.main") as ram:
        sweep("--task", "0")
    settings = ["--steps=5888", "--learning-rate=0.002", "--seed=0", f"--out={folder}"]
    ram.assert_called_once_with(["train", "RAMCatch-v0", *settings])
    folder.mkdir()
    (folder / "evaluation.json").write_text('{"validation_return": 0.75}')
    sweep()
    line, _ = capsys.readouterr().out.splitlines()
    assert re.search(r"0\.002 +validation_return +0\.75 ", line)


def test_trials_of_ray_tune_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    def trial(metrics: dict[str, float] | None) -> types.SimpleNamespace:
        return types.SimpleNamespace(metrics=metrics, config={"learning_rate": 0.001})

    ended = [trial({"validation_error": error, "training_iteration": 2}) for error in (9.5, 7.25)]
    show_results = runpy.run_path(str(EXAMPLES / "ray_tune_sweep.py"))["show_results"]
    show_results([trial({}), ended[0], trial(None), ended[1]])
    best, other, failed = capsys.readouterr().out.splitlines()
    assert best.split()[:3] == ["7.25%", "after", "2"]
    assert other.split()[:3] == ["9.50%", "after", "2"]
    assert failed.split()[:2] == ["2", "failed"]


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_ppo_in_one_file(env_id: str) -> None:
    pytest.importorskip("tyro", reason="the extra agent is not installed")
    settings = f"--env-id {env_id} --num-envs 20 --total-steps 1920 --eval-envs 20"
    steps, mean_returns = run_example("cleanrl_ppo.py", settings)
    assert steps == [480, 960, 1440, 1920]
    assert all(0 <= mean_return <= 1 for mean_return in mean_returns)
