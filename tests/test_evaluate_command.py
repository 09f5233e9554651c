"""The commands `ram evaluate`, `ram watch` and `ram figures`, on a tiny run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image
from ram_commands import BRIEF, fail, frame_count

import ram_envs.rendering
from ram_agent.agent import RAMAgent
from ram_agent.cli import main
from ram_agent.commands.trained import name_run
from ram_agent.measure import print_results
from ram_agent.run_config import RunConfig
from ram_agent.run_env import RunEnv
from ram_agent.run_folder import RunFolder
from ram_agent.runs import make_trainer


def test_evaluate_prints_learned_gaze_beside_the_controls(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["evaluate", str(run)])  # prints what the end of the training printed
    said = capsys.readouterr().out
    assert "RAMMNIST-v0, digits, num_glimpses=2, test split" in said
    assert " 300 images" in said
    results = json.loads((run / "evaluation.json").read_text())["results"]
    rows = [line.split() for line in said.splitlines() if "after each glimpse:" in line]
    assert [" ".join(row[: row.index("±") - 1]) for row in rows] == list(results)
    for row, result in zip(rows, results.values(), strict=True):
        first, last = row[-2:]
        assert float(row[row.index("±") - 1]) == float(last) == pytest.approx(result["error"], 1e-3)
        assert float(first) == pytest.approx(result["errors_after_each_glimpse"][0], abs=0.01)


def test_evaluate_saves_what_is_needed_to_repeat_it(
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
    assert " 10 images" in capsys.readouterr().out


def test_evaluate_on_larger_canvases_with_early_answers(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "far.json"
    options = ["--canvas-size", "40", "--num-clutter", "2", "--num-episodes", "50"]
    main(["evaluate", str(run), *options, "--stop-when-sure", "0", "1", "--save", str(path)])
    said = capsys.readouterr().out
    assert "digits, num_glimpses=2, canvas_size=40, num_clutter=2, test split" in said
    assert "if 0% sure" in said
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


def test_watch_saves_an_animation(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.gif"
    main(["watch", str(run), "--save", str(path), "--episodes", "2", "--start", "7"])
    with Image.open(path) as picture:
        assert picture.format == "GIF"
        assert picture.size == ram_envs.rendering.FRAME_SIZE
        assert picture.info["loop"] == 0
        durations = []
        for frame in range(picture.n_frames):  # type: ignore[attr-defined]
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
    for options in ([], [], ["--sampled"], ["--sampled"]):
        path = tmp_path / "fixations.png"
        main(["watch", str(run), "--save", str(path), "--episodes", "6", *options])
        pictures.append(np.asarray(Image.open(path)))
    mean, again, sampled, sampled_again = pictures
    assert np.array_equal(mean, again)
    assert np.array_equal(sampled, sampled_again)
    assert not np.array_equal(mean, sampled)


class FakeWindow:
    """Takes the frames that a window would show; a second of it takes two of them."""

    shown: list[int]
    closes_after = 99
    keys: dict[int, int] = {}

    def __init__(self, title: str, render_fps: int) -> None:
        self.closed = False
        self.render_fps = 2
        FakeWindow.shown = []

    def open(self, size: tuple[int, int]) -> None:
        assert size == ram_envs.rendering.FRAME_SIZE

    def show(self, surface: Any) -> list[Any]:
        import pygame

        pixels = pygame.surfarray.array3d(surface)
        FakeWindow.shown.append(hash(pixels.tobytes()))
        count = len(FakeWindow.shown)
        self.closed = count == FakeWindow.closes_after
        keys = [FakeWindow.keys[count]] if count in FakeWindow.keys else []
        return [pygame.event.Event(pygame.KEYDOWN, key=key) for key in keys]

    def close(self) -> None:
        self.closed = True


def numbered(frames: list[int]) -> list[int]:
    """Return equal frames as equal numbers, from 0 in the order in which they come."""
    order = list(dict.fromkeys(frames))
    return [order.index(frame) for frame in frames]


@pytest.mark.parametrize(
    ("keys", "closes_after", "frames"),
    [
        ({}, 99, [0, 1, 2, 2, 2, 3, 4, 5, 5, 5]),  # the last frame rests for 1.5 seconds
        ({}, 3, [0, 1, 2]),
        ({2: "n"}, 99, [0, 1, 2, 3, 4, 4, 4]),  # the next episode
        ({2: "r", 3: "n", 4: "n"}, 99, [0, 1, 0, 2]),  # again
        ({2: "SPACE", 4: "SPACE", 5: "n", 6: "q"}, 99, [0, 1, 1, 1, 2, 3]),  # a pause
        ({1: "RIGHT", 2: "RIGHT", 3: "RIGHT", 4: "LEFT", 5: "ESCAPE"}, 99, [0, 1, 2, 2, 1]),
        ({1: "MINUS", 3: "ESCAPE"}, 99, [0, 0, 1]),
    ],
)
def test_watch_in_a_window(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[int, str],
    closes_after: int,
    frames: list[int],
) -> None:
    pygame = pytest.importorskip("pygame", reason="the extra play is not installed")
    monkeypatch.setattr("ram_agent.commands.watch.Window", FakeWindow)
    pressed = {count: getattr(pygame, f"K_{name}") for count, name in keys.items()}
    monkeypatch.setattr(FakeWindow, "keys", pressed)
    monkeypatch.setattr(FakeWindow, "closes_after", closes_after)
    main(["watch", str(run), "--episodes", "2"])
    assert numbered(FakeWindow.shown) == frames


def test_watch_without_a_file_name(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["watch", str(run), "--save", "--episodes", "1", "--fps", "10"])
    with Image.open(tmp_path / f"{run.stem}.gif") as picture:
        assert picture.info["duration"] == 100


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/lr0.01", "lr0.01"),
        ("agents/lr0.02", "lr0.02"),  # a file whose ending was left out
        ("runs/lr0.01.safetensors", "lr0.01"),
        ("runs/lr0.01/best.safetensors", "lr0.01-best"),
        ("runs/lr0.01/last", "lr0.01-last"),
        ("runs/best", "best"),
        ("pretrained:mnist-6", "mnist-6"),
    ],
)
def test_each_agent_has_a_name_of_its_own(
    path: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("lr0.01", "best"):
        (tmp_path / "runs" / folder).mkdir(parents=True)
    assert name_run(path) == name


def test_the_place_of_a_picture_is_checked_first(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(RAMAgent, "load", None)  # nothing is loaded, and so nothing drawn
    place = tmp_path / "file" / "x.gif"
    assert f"{tmp_path / 'file'} is not a folder" in fail(capsys, "watch", run, "--save", place)


def test_watch_a_picture(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (28, 28), 255).save(tmp_path / "white.png")
    path = tmp_path / "look.gif"
    main(
        ["watch", str(run), "--image", str(tmp_path / "white.png"), "--invert", "--save", str(path)]
    )
    assert re.search(r"\d \(\d+%\)", capsys.readouterr().out)
    with Image.open(path) as picture:
        assert picture.size == (960, 560)


def test_evaluate_elsewhere(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = fail(capsys, "evaluate", run, "--env-id", "RAMClutteredMNIST-v0")
    assert "(1, 8, 8)" in said
    assert "(3, 12, 12)" in said
    assert "Nope" in fail(capsys, "evaluate", run, "--env-id", "Nope-v0")
    for number in (301, 0):
        said = fail(capsys, "evaluate", run, "--num-episodes", number)
        assert f"num_episodes={number}" in said
    assert "1.5" in fail(capsys, "evaluate", run, "--stop-when-sure", "1.5")
    assert "num_clutter=-1" in fail(capsys, "evaluate", run, "--num-clutter", "-1")


def test_evaluate_weights_of_an_unknown_environment(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RAMAgent.load(run).save(tmp_path / "agent", info={})
    assert "environment" in fail(capsys, "evaluate", tmp_path / "agent")


def test_watch_what_cannot_be_shown(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    movie = tmp_path / "movie.avi"
    said = fail(capsys, "watch", run, "--save", movie, "--episodes", "1")
    assert str(movie) in said
    assert ".gif" in said
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = fail(capsys, "watch", run, "--save", tmp_path / "movie.mp4")
    assert "ram-gym[video]" in said
    for options in (["--start", "300"], ["--start", "299", "--episodes", "2"]):
        said = fail(capsys, "watch", run, "--save", tmp_path / "a.gif", *options)
        assert f"start={options[1]}" in said
    said = fail(capsys, "watch", run, "--save", tmp_path / "a.gif", "--episodes", "0")
    assert "episodes=0" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("env_id", "env_kwargs", "named"),
    [
        ("hostile:RAMMNIST-v0", {}, "'hostile:RAMMNIST-v0'"),
        (["RAMMNIST-v0"], {}, "['RAMMNIST-v0']"),
        ("RAMMNIST-v0", {"wrappers": []}, "wrappers"),
        ("RAMMNIST-v0", {"dataset": 3}, "dataset"),
        ("RAMMNIST-v0", {"dataset": "digits", "canvas_size": 10**9}, "PiB"),
        ("RAMMNIST-v0", {"dataset": "digits", "initial_location": [0]}, "initial_location"),
        ("RAMMNIST-v0", {"dataset": "digits", "initial_location": "0,0"}, "initial_location"),
        ("RAMMNIST-v0", {"dataset": "digits", "initial_location": [0, 2]}, "initial_location"),
        ("RAMMNIST-v0", None, "env_kwargs=None"),
    ],
)
def test_the_environment_in_a_strangers_file_runs_no_code(
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
    changes = {"env_id": env_id, "env_kwargs": env_kwargs}
    agent = RAMAgent.load(copied_run)
    agent.save(copied_run / "best", {**agent.info, **changes})
    config = json.loads((copied_run / "config.json").read_text())
    (copied_run / "config.json").write_text(json.dumps({**config, **changes}))
    for command in (
        ["evaluate", copied_run],
        ["watch", copied_run, "--save", copied_run / "a.png"],
    ):
        assert named in fail(capsys, *command)
    assert named in fail(capsys, "train", "--resume", copied_run)
    assert not harm.exists()


def trained_envs(folder: Path) -> list[Any]:
    """Return a training and the validation environment of a run."""
    trainer = make_trainer(RunConfig.read(RunFolder(folder)), None)
    return [trainer.shards[0].envs, trainer.validation_envs]


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
    title = "own_module:Own-v0, digits, num_glimpses=2, test split"
    said = capsys.readouterr().out
    assert title in said
    assert " 300 images" in said  # not the 1,297 of training
    sizes = [envs.unwrapped.num_images for envs in trained_envs(out)]
    assert sizes == [1297, 200]

    monkeypatch.delitem(sys.modules, "own_module")  # as in another process
    gym.registry.pop("Own-v0")
    for command in (
        ["evaluate", out],
        ["watch", out, "--save", "a.png"],
        ["train", "--resume", out],
    ):
        assert repr(own) in fail(capsys, *command)
    assert "Own-v0" not in gym.registry
    main(["evaluate", str(out), "--env-id", own])
    main(["watch", str(out), "--env-id", own, "--save", str(tmp_path / "a.png")])
    main(["train", own, "--resume", str(out)])
    assert capsys.readouterr().out.count(title) == 2
    assert frame_count(tmp_path / "a.png") == 1


def test_figures_without_matplotlib(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "ram-gym[figures]"' in fail(capsys, "figures", run)


def test_the_returns_of_several_balls_are_no_percentages(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = {"learned gaze": {"mean_return": 1.25, "standard_error": 0.5, "episodes": 4}}
    print_results(results, RunEnv("RAMCatch-v0", {"num_balls": 3}), None)
    assert "1.2500 ± 0.5000" in capsys.readouterr().out
    print_results(results, RunEnv("RAMCatch-v0"), None)
    assert "125.00 ± 50.00" in capsys.readouterr().out


def test_watch_without_a_file_name_after_an_option(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["watch", "--episodes", "2", str(run), "--save"])
    assert [path.name for path in tmp_path.iterdir()] == [f"{run.stem}.gif"]
