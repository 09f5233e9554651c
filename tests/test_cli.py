"""Each command once with tiny settings, and one clear line where it can't go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image

import ram_agent
import ram_envs.rendering
from ram_agent.agent import RAMAgent
from ram_agent.cli import main
from ram_agent.run_folder import RunFolder
from ram_agent.runs import make_trainer
from ram_envs.tasks.distortion import Distortion

# 41 updates are an epoch of the 1,297 training digits; two glimpses.
TINY = ["RAMMNIST-v0", "--dataset", "digits", "--num-glimpses", "2", "--batch-size", "32"]
TINY_AGENT = ["--hidden-size", "16", "--feature-size", "8"]
BRIEF = [*TINY, *TINY_AGENT, "--episodes", "256"]  # 8 updates


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of 8 updates."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    main(["train", *BRIEF, "--seed", "4", "--out", str(path)])
    return path


@pytest.fixture
def copied_run(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def frame_count(path: Path) -> int:
    with Image.open(path) as picture:
        return int(getattr(picture, "n_frames", 1))


# --- train -----------------------------------------------------------------------------------


def test_train_leaves_all_that_is_needed(run: Path) -> None:
    assert sorted(path.name for path in run.iterdir()) == [
        ".lock",
        "best.json",
        "best.safetensors",
        "config.json",
        "evaluation.json",
        "fixations.png",
        "last.json",
        "last.safetensors",
        "metrics.jsonl",
        "resume.safetensors",
    ]
    config = json.loads((run / "config.json").read_text())
    assert config["env_id"] == "RAMMNIST-v0"
    assert config["env_kwargs"] == {"dataset": "digits", "num_glimpses": 2}
    assert config["dataset"] == "digits"
    assert config["preset"] == "default"
    assert config["agent"]["hidden_size"] == 16
    assert (config["training"]["seed"], config["training"]["episodes"]) == (4, 256)
    assert config["command"]
    assert config["machine"]
    (row,) = RunFolder(run).read_metrics()
    assert (row["update"], row["episodes"]) == (8, 256)
    assert 50 < row["validation_error"] <= 100

    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["split"] == "test"
    assert evaluation["env_id"] == "RAMMNIST-v0"
    assert evaluation["training"]["seed"] == 4
    assert set(evaluation["results"]) == {
        "learned gaze",
        "learned gaze, sampled",
        "random gaze",
        "center gaze",
    }
    with Image.open(run / "fixations.png") as picture:
        assert picture.format == "PNG"
        assert picture.width == 1536


def test_only_training_is_distorted(tmp_path: Path) -> None:
    settings = [*BRIEF, "--distortion", "0.5", "--elastic", "2", "--hidden-size", "8"]
    main(["train", *settings, "--out", str(tmp_path / "run")])
    config = RunFolder(tmp_path / "run").read_config()
    assert config["training"]["distortion"] == 0.5
    assert config["training"]["elastic"] == 2.0
    assert config["env_kwargs"] == {"dataset": "digits", "num_glimpses": 2}
    trainer = make_trainer(config, None)
    for envs in trainer.train_envs:
        assert envs.batch.task.canvas.distortion == Distortion(0.5, 2.0)  # type: ignore[attr-defined]
    validation = trainer.validation_envs.batch.task  # type: ignore[attr-defined]
    assert validation.canvas.distortion is None


def test_a_game_has_nothing_to_distort(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    said = fail(capsys, "train", "RAMCatch-v0", "--distortion", "1", "--out", str(out))
    assert "RAMCatch-v0 cannot be made with {'distortion': 1.0}: " in said
    assert not out.exists()


def test_train_says_how_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    main(["train", *TINY, *TINY_AGENT, "--preset", "paper", "--epochs", "0.05", "--out", str(out)])
    said = capsys.readouterr().out
    # 64.85 episodes of 1,297, in batches of 32
    assert f"RAMMNIST-v0, digits, num_glimpses=2: 3 updates, in {out}" in said
    assert "96 episodes" in said
    assert (
        "RAMMNIST-v0, digits, num_glimpses=2, test split: percent wrong of 300 images, one pass"
        in said
    )
    config = json.loads((out / "config.json").read_text())
    assert config["preset"] == "paper"
    assert config["training"]["optimizer"] == "sgd"  # the preset's
    assert config["training"]["batch_size"] == 32  # but for what was given
    assert RAMAgent.load(out).config.location_mean == "linear"


def test_train_ends_well_where_nothing_can_be_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    main(["train", *BRIEF, "--out", str(tmp_path / "run")])
    assert (tmp_path / "run" / "evaluation.json").is_file()
    assert not (tmp_path / "run" / "fixations.png").exists()
    said = capsys.readouterr().out
    assert "What it looked at is not drawn. Drawing needs pygame, which is not installed" in said


def test_train_the_same_twice(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    main(["train", *BRIEF, "--seed", "4", "--out", str(out)])
    assert (out / "last.safetensors").read_bytes() == (run / "last.safetensors").read_bytes()
    results = [json.loads((path / "evaluation.json").read_text())["results"] for path in (out, run)]
    assert results[0] == results[1]


def test_resuming_a_finished_run_leaves_it_as_it_is(copied_run: Path) -> None:
    before = (copied_run / "last.safetensors").read_bytes()
    main(["train", "--resume", str(copied_run)])
    assert (copied_run / "last.safetensors").read_bytes() == before
    assert len(RunFolder(copied_run).read_metrics()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to a child")
def test_interrupted_training_saves_says_how_to_go_on_and_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    settings = [*TINY, *TINY_AGENT, "--episodes", "12800", "--validate-every", "1"]  # 400 updates
    root = Path(ram_agent.__file__).parent.parent
    said = ""
    with subprocess.Popen(
        [sys.executable, "-m", "ram_agent", "train", *settings, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"},
    ) as training:
        assert training.stdout is not None
        for line in training.stdout:
            if "validation error" in line and "validation error" not in said:  # the first of 10
                training.send_signal(signal.SIGINT)
            said += line
    assert training.returncode == 0, said
    assert f"Go on: ram train --resume {out}" in said
    update = RunFolder(out).load_state()["update"]
    assert 41 <= update < 400
    assert f"Stopped after {update} updates." in said
    assert not (out / "evaluation.json").exists()

    main(["train", "--resume", str(out)])
    assert "Trained for" in capsys.readouterr().out
    assert RunFolder(out).load_state()["update"] == 400
    rows = RunFolder(out).read_metrics()
    assert [row["update"] for row in rows] == [*range(41, 400, 41), 400]
    assert rows[-1]["label_loss"] < rows[0]["label_loss"]  # it learned something
    assert (out / "evaluation.json").is_file()


# --- evaluate --------------------------------------------------------------------------------


def test_evaluate_prints_learned_gaze_beside_the_controls(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["evaluate", str(run)])  # says again what the end of the training said
    said = capsys.readouterr().out
    assert (
        "RAMMNIST-v0, digits, num_glimpses=2, test split: percent wrong of 300 images, one pass"
        in said
    )
    results = json.loads((run / "evaluation.json").read_text())["results"]
    rows = [line.split() for line in said.splitlines() if "after each glimpse:" in line]
    assert [" ".join(row[: row.index("±") - 1]) for row in rows] == list(results)
    for row, result in zip(rows, results.values(), strict=True):
        first, last = row[-2:]
        assert float(row[row.index("±") - 1]) == float(last) == pytest.approx(result["error"], 1e-3)
        assert float(first) == pytest.approx(result["errors_after_each_glimpse"][0], abs=0.01)


def test_evaluate_saves_with_what_is_needed_to_do_it_again(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results" / "validation.json"
    options = ["--split", "validation", "--seed", "5", "--num-episodes", "50", "--num-glimpses"]
    main(["evaluate", str(run), *options, "3", "--save", str(path)])
    assert f"Written to {path}" in capsys.readouterr().out
    saved = json.loads(path.read_text())
    assert saved["env_id"] == "RAMMNIST-v0"
    assert saved["env_kwargs"] == {"dataset": "digits", "num_glimpses": 3}
    assert (saved["split"], saved["seed"]) == ("validation", 5)
    assert saved["trained_by"]["training"]["seed"] == 4
    for fact in ("command", "machine", "date", "version", "software"):
        assert saved[fact]
    assert "commit" in saved
    for result in saved["results"].values():
        assert result["episodes"] == 50
        assert result["passes"] == 1
        assert len(result["errors_after_each_glimpse"]) == 3
        assert result["errors_after_each_glimpse"][-1] == result["error"]


def test_evaluate_weights_by_their_path(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", str(run / "last.safetensors"), "--num-episodes", "10"])
    assert "percent wrong of 10 images" in capsys.readouterr().out


def test_evaluate_on_larger_canvases_with_early_answers(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "far.json"
    options = ["--canvas-size", "40", "--num-clutter", "2", "--num-episodes", "50"]
    main(["evaluate", str(run), *options, "--stop-when-sure", "0", "1", "--save", str(path)])
    said = capsys.readouterr().out
    assert "digits, num_glimpses=2, canvas_size=40, num_clutter=2, test split" in said
    assert "if 0 % sure" in said
    saved = json.loads(path.read_text())
    larger = {"canvas_size": 40, "num_clutter": 2}
    assert saved["env_kwargs"] == {"dataset": "digits", "num_glimpses": 2, **larger}
    result = saved["results"]["learned gaze"]
    first, *_, last = result["errors_after_each_glimpse"]
    assert result["early_answers"] == [
        {"threshold": 0.0, "error": first, "mean_glimpses": 1.0},
        {"threshold": 1.0, "error": last, "mean_glimpses": 2.0},
    ]
    assert "early_answers" not in saved["results"]["random gaze"]


# --- watch -----------------------------------------------------------------------------------


def test_watch_saves_an_animation(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.gif"
    main(["watch", str(run), "--save", str(path), "--episodes", "2", "--start", "7"])
    with Image.open(path) as picture:
        assert picture.format == "GIF"
        assert picture.size == ram_envs.rendering.FRAME_SIZE
        assert picture.info["loop"] == 0
        durations = []
        for frame in range(picture.n_frames):
            picture.seek(frame)
            durations.append(picture.info["duration"])
    # reset and two steps of each of two episodes; the last frame of each stays longer
    assert durations == [500, 500, 1500] * 2


def test_watch_saves_last_frames_side_by_side(run: Path, tmp_path: Path) -> None:
    width, height = ram_envs.rendering.FRAME_SIZE
    for episodes, columns, rows in ((1, 1, 1), (2, 2, 1), (4, 3, 2)):
        path = tmp_path / f"{episodes}.png"
        main(["watch", str(run), "--save", str(path), "--episodes", str(episodes)])
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            cell = 1536 // columns
            assert picture.size == (1536, rows * (height * cell // width))


def test_watch_sampled_is_not_the_mean(run: Path, tmp_path: Path) -> None:
    pictures = []
    for name, options in (("mean", []), ("again", []), ("sampled", ["--sampled"])):
        path = tmp_path / f"{name}.png"
        torch.manual_seed(0)
        main(["watch", str(run), "--save", str(path), "--episodes", "6", *options])
        pictures.append(np.asarray(Image.open(path)))
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


class FakeWindow:
    """Takes the frames that a window would show, and is closed by the user after some."""

    shown: list[tuple[int, int]]
    closes_after: int

    def __init__(self, **keywords: Any) -> None:
        self.closed = False
        FakeWindow.shown = []

    def show(self, surface: Any) -> None:
        FakeWindow.shown.append(surface.get_size())
        self.closed = len(FakeWindow.shown) == FakeWindow.closes_after

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("closes_after", "num_frames"), [(99, 8), (3, 3)])
def test_watch_in_a_window(
    run: Path, monkeypatch: pytest.MonkeyPatch, closes_after: int, num_frames: int
) -> None:
    monkeypatch.setattr(ram_envs.rendering, "Window", FakeWindow)
    FakeWindow.closes_after = closes_after
    main(["watch", str(run), "--episodes", "2"])
    # three frames of each episode, the last shown twice
    assert FakeWindow.shown == [ram_envs.rendering.FRAME_SIZE] * num_frames


# --- images of your own ----------------------------------------------------------------------


def test_a_folder_of_images_is_trained_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, name in enumerate(("dark", "bright")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            image = Image.fromarray(np.full((10, 8 + number), 40 + 180 * label, np.uint8))
            image.save(tmp_path / "photos" / name / f"{number}.png")
    out, photos = str(tmp_path / "run"), str(tmp_path / "photos")
    settings = ["--glimpse-size", "4", "--num-scales", "2", "--canvas-size", "16"]
    brief = [
        "--num-glimpses",
        "2",
        "--episodes",
        "64",
        "--batch-size",
        "16",
        "--validate-every",
        "64",
    ]
    main(["train", "RAMClassification-v0", "--dataset", photos, *settings, *brief, "--out", out])
    assert (
        f"RAMClassification-v0, {photos}, num_glimpses=2, glimpse_size=" in capsys.readouterr().out
    )
    agent = RAMAgent.load(out)
    assert (agent.glimpse_shape, agent.num_choices) == ((2, 4, 4), 2)
    assert agent.info["env_kwargs"]["canvas_size"] == 16
    main(["evaluate", out, "--num-episodes", "10"])
    assert "percent wrong of 10 images" in capsys.readouterr().out


# --- a game ----------------------------------------------------------------------------------


def test_a_game_is_trained_measured_and_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "catch"
    brief = ["--episodes", "64", "--batch-size", "16", "--validate-every", "32"]
    main(["train", "RAMCatch-v0", *TINY_AGENT, *brief, "--out", str(out)])
    assert "RAMCatch-v0, test split: mean return of 10000 games" in capsys.readouterr().out
    config = json.loads((out / "config.json").read_text())
    assert (config["env_kwargs"], config["dataset"]) == ({}, None)
    assert config["agent"]["core"] == "lstm"
    results = json.loads((out / "evaluation.json").read_text())["results"]
    assert list(results) == ["learned gaze", "learned gaze, sampled", "random gaze", "center gaze"]
    assert results["learned gaze"].keys() == {"mean_return", "standard_error", "episodes"}
    assert 0 < results["learned gaze"]["mean_return"] < 0.4  # chance is 0.08
    assert len(RunFolder(out).read_metrics()) == 2

    main(["evaluate", str(out), "--num-episodes", "50", "--save", str(tmp_path / "all.json")])
    assert "mean return of 50 games" in capsys.readouterr().out
    assert (
        json.loads((tmp_path / "all.json").read_text())["results"]["random gaze"]["episodes"] == 50
    )
    main(["watch", str(out), "--save", str(tmp_path / "game.gif"), "--episodes", "1"])
    assert frame_count(tmp_path / "game.gif") == 24


def test_moving_digits_are_trained_measured_and_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "moving"
    env = ["RAMMovingMNIST-v0", "--dataset", "digits", "--num-glimpses", "3"]
    main(["train", *env, *TINY_AGENT, "--episodes", "64", "--batch-size", "32", "--out", str(out)])
    said = capsys.readouterr().out
    said = said.partition("RAMMovingMNIST-v0, digits, num_glimpses=3, test split: ")[2]
    assert said.startswith("percent wrong of 300 images")
    results = json.loads((out / "evaluation.json").read_text())["results"]
    assert len(results["learned gaze"]["errors_after_each_glimpse"]) == 3

    main(["evaluate", str(out), "--num-episodes", "50"])
    assert "percent wrong of 50 images" in capsys.readouterr().out
    main(["watch", str(out), "--save", str(tmp_path / "moving.gif"), "--episodes", "2"])
    assert frame_count(tmp_path / "moving.gif") == 8  # two episodes of four frames


# --- list and help ---------------------------------------------------------------------------


def test_list_shows_every_environment(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    rows = {
        line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines()
    }
    assert rows["RAMMNIST-v0"] == "RAMMNIST-v0 28 × 28 0 8 × 8, 1 scale 6"
    assert rows["RAMTranslatedMNIST-v0"] == "RAMTranslatedMNIST-v0 60 × 60 0 12 × 12, 3 scales 6"
    assert rows["RAMClutteredMNIST-v0"] == "RAMClutteredMNIST-v0 60 × 60 4 12 × 12, 3 scales 6"
    assert (
        rows["RAMClutteredMNIST100-v0"] == "RAMClutteredMNIST100-v0 100 × 100 8 12 × 12, 4 scales 8"
    )
    assert rows["RAMMovingMNIST-v0"] == "RAMMovingMNIST-v0 60 × 60 4 12 × 12, 3 scales 8"
    assert rows["RAMCatch-v0"] == "RAMCatch-v0 24 × 24 a game 6 × 6, 3 scales 23"


@pytest.mark.parametrize(
    "command", [[], ["train"], ["evaluate"], ["watch"], ["reproduce"], ["list"]]
)
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([*command, "--help"])
    assert exit_info.value.code == 0
    said = capsys.readouterr().out
    assert "usage: ram" in said
    if command == ["train"]:
        for option in ("--resume", "--learning-rate", "--hidden-size", "--num-glimpses"):
            assert option in said


# --- where it can't go on --------------------------------------------------------------------


def fail(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """The line that the command says before it exits with 1."""
    with pytest.raises(SystemExit) as exit_info:
        main([str(arg) for arg in args])
    assert exit_info.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("ram: ")
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["train"], "which environment? Expected ram train ENV_ID, one of: RAMMNIST-v0"),
        (["train", "RAMNIST-v0"], "RAMNIST"),
        (["train", "RAMCatch-v0", "--dataset", "digits"], "dataset"),
        (["train", "RAMCatch-v0", "--num-glimpses", "6"], "num_glimpses"),
        (["train", "RAMMNIST-v0", "--preset", "papr"], "'papr': expected one of default, paper"),
        (["train", "RAMMNIST-v0", "--preset=papr"], "'papr': expected one of default, paper"),
        (["train", "RAMMNIST-v0", "--dataset", "mnits"], "'mnits' does not exist"),
        (["train", *TINY[:3], "--num-glimpses", "0"], "num_glimpses=0"),
        (["train", "RAMMNIST-v0", "--episodes", "-5"], "episodes=-5"),
        (["train", *BRIEF, "--seed", "-1"], "seed=-1"),
        (["train", *BRIEF, "--device", "abacus"], "device='abacus' cannot be used"),
        (["train", *BRIEF, "--threads", "0"], "threads=0: expected 1 or more"),
        (["train", "CartPole-v1"], "CartPole-v1 cannot be made"),
        (["train", "--resume", "nowhere"], "nowhere is not the folder of a run"),
        (["evaluate", "nowhere"], "nowhere.safetensors does not exist"),
        (["watch", "nowhere", "--save", "a.gif"], "nowhere.safetensors does not exist"),
    ],
)
def test_what_is_not_there_is_named(
    args: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert named in fail(capsys, *args)
    assert not list(tmp_path.iterdir())  # nothing half made is left behind


def test_a_folder_with_files_is_not_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").write_text("mine")
    said = fail(capsys, "train", *BRIEF, "--out", tmp_path)
    assert f"{tmp_path} is not empty" in said
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    "others",
    [
        ["--seed", "7"],
        ["--hidden-size", "7"],
        ["--num-glimpses", "7"],
        ["--out", "elsewhere"],
        ["--preset", "paper"],
        ["RAMClutteredMNIST-v0"],
    ],
)
def test_resume_takes_no_other_settings(
    copied_run: Path, others: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = fail(capsys, "train", *others, "--resume", copied_run)
    assert f"--resume {copied_run}" in said
    assert "takes no others" in said


def test_resume_without_a_checkpoint(copied_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied_run / "resume.safetensors").unlink()
    assert "has no resume.safetensors" in fail(capsys, "train", "--resume", copied_run)


@pytest.mark.parametrize("name", ["config.json", "resume.safetensors"])
def test_resume_from_a_damaged_file(
    copied_run: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = (copied_run / name).read_bytes()[:-20]
    (copied_run / name).write_bytes(damaged)
    assert f"{name} is damaged" in fail(capsys, "train", "--resume", copied_run)


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("env_id", "env_kwargs", "named"),
    [
        ("hostile:RAMMNIST-v0", {}, "environment 'hostile:RAMMNIST-v0': expected one that is reg"),
        (["RAMMNIST-v0"], {}, "environment ['RAMMNIST-v0']: expected one"),
        ("RAMMNIST-v0", {"wrappers": []}, "expected only dataset, initial_location"),
        ("RAMMNIST-v0", {"dataset": 3}, "dataset=3: expected a name or a path"),
        ("RAMMNIST-v0", {"canvas_size": 10**9}, "canvas_size=1000000000: expected a whole number"),
        ("RAMMNIST-v0", {"num_scales": True}, "num_scales=True: expected"),
        ("RAMMNIST-v0", {"initial_location": [0]}, "initial_location=[0]: expected two numbers"),
        ("RAMMNIST-v0", {"initial_location": "0,0"}, "initial_location='0,0': expected two"),
        (
            "RAMMNIST-v0",
            {"dataset": "digits", "initial_location": [0, 2]},
            "initial_location=",
        ),
        ("RAMMNIST-v0", None, "env_kwargs are None"),
    ],
)
def test_a_strangers_environment_is_checked_before_it_is_made(
    copied_run: Path,
    env_id: Any,
    env_kwargs: Any,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    harm = copied_run / "harm"
    (copied_run / "hostile.py").write_text(f"open({str(harm)!r}, 'w')")
    monkeypatch.syspath_prepend(copied_run)
    description = json.loads((copied_run / "best.json").read_text())
    description["facts"] |= {"env_id": env_id, "env_kwargs": env_kwargs}
    (copied_run / "best.json").write_text(json.dumps(description))
    change_json(copied_run / "config.json", env_id=env_id, env_kwargs=env_kwargs)
    for command in (
        ["evaluate", copied_run],
        ["watch", copied_run, "--save", copied_run / "a.png"],
    ):
        assert named in fail(capsys, *command)
    assert named in fail(capsys, "train", "--resume", copied_run)
    assert not harm.exists()


def test_an_environment_of_ones_own_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_module.py").write_text(
        "import gymnasium, ram_envs.envs.classification as made\n"
        "env, vector = made.ClassificationEnv, made.ClassificationVectorEnv\n"
        "gymnasium.register('Own-v0', env, vector_entry_point=vector)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    monkeypatch.setattr(gym, "registry", gym.envs.registration.registry)
    out, own = tmp_path / "run", "own_module:Own-v0"
    main(["train", own, *BRIEF[1:], "--out", str(out)])
    assert (out / "evaluation.json").is_file()  # to the end, its module being imported

    monkeypatch.delitem(sys.modules, "own_module")  # as in another process
    gym.registry.pop("Own-v0")
    for command in (
        ["evaluate", out],
        ["watch", out, "--save", "a.png"],
        ["train", "--resume", out],
    ):
        said = fail(capsys, *command)
        assert f"{own!r}: expected one that is registered" in said
        assert "name the id on the command line too" in said
    assert "Own-v0" not in gym.registry
    main(["evaluate", str(out), "--env-id", own])
    main(["watch", str(out), "--env-id", own, "--save", str(tmp_path / "a.png")])
    main(["train", own, "--resume", str(out)])
    title = "own_module:Own-v0, digits, num_glimpses=2, test split"
    assert capsys.readouterr().out.count(title) == 2
    assert frame_count(tmp_path / "a.png") == 1


def test_settings_that_do_not_fit_the_checkpoint_are_refused_before_a_network_is_made(
    copied_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = json.loads((copied_run / "config.json").read_text())["agent"]
    change_json(copied_run / "config.json", agent={**agent, "hidden_size": 10**9})
    said = fail(capsys, "train", "--resume", copied_run)
    assert "resume.safetensors is too short for hidden_size=1000000000" in said


def test_a_run_that_is_going_on_is_not_written_by_another(
    copied_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = RunFolder(copied_run)
    other.lock()
    said = fail(capsys, "train", "--resume", copied_run)
    assert f"{copied_run} is being written by another run: process {os.getpid()} on " in said
    other.unlock()
    main(["train", "--resume", str(copied_run)])


def test_runs_that_start_in_the_same_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ram_agent.cli._new_folder", lambda env_id: Path("runs") / "now")
    for _ in range(3):
        main(["train", *BRIEF])
    assert sorted(path.name for path in Path("runs").iterdir()) == ["now", "now-2", "now-3"]
    assert "in runs/now-3" in capsys.readouterr().out.replace("\\", "/")


def test_a_run_that_was_killed_before_its_first_checkpoint_begins(
    copied_run: Path, run: Path
) -> None:
    for path in copied_run.iterdir():
        if path.name != "config.json":
            path.unlink()
    main(["train", "--resume", str(copied_run)])
    for name in ("best.safetensors", "last.safetensors"):
        assert (copied_run / name).read_bytes() == (run / name).read_bytes()


def test_resume_where_another_program_wrote_config_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"env_id": "RAMMNIST-v0"}')
    said = fail(capsys, "train", "--resume", tmp_path)
    assert "config.json is damaged: it lacks" in said


def test_evaluate_elsewhere(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = fail(capsys, "evaluate", run, "--env-id", "RAMClutteredMNIST-v0")
    assert "(1, 8, 8)" in said
    assert "(3, 12, 12)" in said
    assert "Nope" in fail(capsys, "evaluate", run, "--env-id", "Nope-v0")
    for number in (301, 0):
        said = fail(capsys, "evaluate", run, "--num-episodes", number)
        assert f"num_episodes={number}: " in said
    assert "contains 1.5: expected" in fail(capsys, "evaluate", run, "--stop-when-sure", "1.5")
    assert "num_clutter=-1: " in fail(capsys, "evaluate", run, "--num-clutter", "-1")


def test_evaluate_weights_that_do_not_say_what_they_are_for(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RAMAgent.load(run).save(tmp_path / "agent")
    assert "don't say which environment" in fail(capsys, "evaluate", tmp_path / "agent")


def test_watch_what_cannot_be_shown(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = tmp_path / "movie.mp4"
    said = fail(capsys, "watch", run, "--save", movie, "--episodes", "1")
    assert f"{movie}: expected a name that ends in .gif or .png" in said
    said = fail(capsys, "watch", run, "--save", tmp_path / "a.gif", "--start", "299")
    assert "images 0 to 299" in said
    said = fail(capsys, "watch", run, "--save", tmp_path / "a.gif", "--episodes", "0")
    assert "episodes=0: expected 1 or more" in said
    assert not list(tmp_path.iterdir())


def test_tensorboard_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    said = fail(capsys, "train", *BRIEF, "--tensorboard", "--out", tmp_path / "run")
    assert 'pip install "ram-gym[tensorboard]"' in said
    assert not (tmp_path / "run").exists()


def test_tensorboard_shows_the_metrics(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    main(["train", *BRIEF, "--tensorboard", "--out", str(tmp_path / "run")])
    (row,) = RunFolder(tmp_path / "run").read_metrics()
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(row)
    (error,) = events.Scalars("validation_error")
    assert (error.step, error.value) == (8, pytest.approx(row["validation_error"]))


def test_figures_without_matplotlib(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = fail(capsys, "figures", run)
    assert said == 'ram: matplotlib is not installed: pip install "ram-gym[figures]".\n'


def test_play_is_the_other_command(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pygame", reason="the extra play is not installed")
    with pytest.raises(SystemExit) as exit_info:
        main(["play", "RAMCatch-v0", "--episodes", "0"])
    assert exit_info.value.code == 1
    assert capsys.readouterr().err == "ram play: --episodes 0: expected 1 or more.\n"


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["train", "RAMMNIST-v0", "--learning-rat", "1"])
    assert exit_info.value.code == 2
    assert "--learning-rat" in capsys.readouterr().err
