"""Figures of what an agent record at: what they show is what was looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra agent is not installed")
pytest.importorskip("matplotlib", reason="the extra figures is not installed")

from PIL import Image  # noqa: E402

from ram_agent.agent import RAMAgent  # noqa: E402
from ram_agent.cli import main  # noqa: E402
from ram_agent.evaluation import evaluate  # noqa: E402
from ram_agent.figures import (  # noqa: E402
    compose_views,
    draw_errors,
    draw_heat_maps,
    find_images,
    record_gaze,
    save_figures,
)
from ram_agent.game_figures import record_catch  # noqa: E402


def make_record(num_images: int, env_id: str = "RAMClutteredMNIST-v0", **keywords: Any) -> Any:
    settings: dict[str, Any] = {"dataset": "digits", "split": "test", "num_glimpses": 3, **keywords}
    envs: Any = gym.make_vec(env_id, num_envs=5, autoreset_mode="Disabled", **settings)
    torch.manual_seed(0)
    agent = RAMAgent(envs.single_observation_space, envs.single_action_space)
    return record_gaze(agent, envs, num_images)


def test_what_was_looked_at() -> None:
    record = make_record(7, initial_location=(-1, 0.5))
    assert record.canvases.shape == (7, 60, 60)
    assert record.edges.shape == (3, 7, 2)
    assert record.edges[0].tolist() == [[0, 45]] * 7  # of 60 pixels
    assert record.probs.shape == (3, 7, 10)
    assert record.probs.sum(-1) == pytest.approx(1)
    assert record.views.shape == (3, 4, 48, 48)
    # The middle of a view is the canvas itself: the pixels around the second fixation.
    x, y = record.edges[1, 2]
    around = np.pad(record.canvases[2], 6)[y : y + 12, x : x + 12]
    assert record.views[1, 2, 18:30, 18:30] == pytest.approx(around / 255)
    assert record.is_wrong.tolist() == (record.probs[-1].argmax(-1) != record.labels).tolist()


def test_an_agent_is_recorded_as_it_was_validated() -> None:
    settings: dict[str, Any] = {"dataset": "digits", "split": "test", "num_glimpses": 3}
    envs: Any = gym.make_vec("RAMMNIST-v0", num_envs=50, autoreset_mode="Disabled", **settings)
    torch.manual_seed(0)
    agent = RAMAgent(envs.single_observation_space, envs.single_action_space)
    mean = record_gaze(agent, envs, 120)
    agent.info = {"training": {"validation_sampled": True}}
    sampled = record_gaze(agent, envs, 120)
    assert (sampled.edges[0] == mean.edges[0]).all()  # the environment's
    assert (sampled.edges[1] != mean.edges[1]).mean() > 0.5
    for record, deterministic in ((mean, True), (sampled, None)):
        result = evaluate(agent, envs, num_episodes=120, deterministic=deterministic)
        assert result.error == pytest.approx(100 * record.is_wrong.mean())


def test_games_of_catch_are_recorded_as_they_were_validated() -> None:
    envs: Any = gym.make_vec("RAMCatch-v0", num_envs=20, autoreset_mode="Disabled")
    torch.manual_seed(0)
    agent = RAMAgent(envs.single_observation_space, envs.single_action_space)
    mean = record_catch(agent, envs)
    agent.info = {"training": {"validation_sampled": True, "gaze": {"locations": "center"}}}
    center, again = (record_catch(agent, envs) for _ in range(2))
    assert (center.gazes[1:] == 12).all()  # of 24 pixels
    assert not (center.paddles == mean.paddles).all()
    assert (center.paddles == again.paddles).all()
    learned = record_catch(agent, envs, gaze="learned")
    assert (learned.gazes[1] != mean.gazes[1]).any()


def test_images_are_found_among_clutter() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 5, 6), np.uint8)
    images[random.random(images.shape) < 0.5] = 0
    corners = np.array([[0, 0], [14, 15], [3, 9], [7, 0]])
    canvases = np.zeros((4, 20, 20), np.uint8)
    for canvas, image, (x, y) in zip(canvases, images, corners, strict=True):
        canvas[10:14, 2:6] = 200
        window = canvas[y : y + 5, x : x + 6]
        window[...] = np.minimum(window.astype(int) + image, 255)
    assert find_images(canvases, images).tolist() == corners.tolist()


def test_images_are_found_on_large_canvases() -> None:
    random = np.random.default_rng(0)
    images = random.integers(100, 256, (20, 28, 28), np.uint8)
    corners = random.integers(0, 972, (20, 2))
    canvases = np.zeros((20, 1000, 1000), np.uint8)
    for canvas, image, (x, y) in zip(canvases, images, corners, strict=True):
        canvas[y : y + 28, x : x + 28] = image
    assert find_images(canvases, images).tolist() == corners.tolist()


def test_both_images_of_a_pair_are_found() -> None:
    record = make_record(6, "RAMAdditionMNIST-v0", canvas_size=70, num_clutter=2)
    env: Any = gym.make(
        "RAMAdditionMNIST-v0", dataset="digits", split="test", canvas_size=70, num_clutter=2
    )
    digits = env.unwrapped.batch.task.dataset
    for index in range(6):
        _, info = env.reset(options={"index": index})
        assert record.labels[index] == info["label"]
        first, second = env.unwrapped.batch.task.image_rows(env.unwrapped.batch.state)[0]
        assert digits.labels[first] + digits.labels[second] == info["label"]
        for row, (x, y) in zip((first, second), record.corners[index], strict=True):
            window = env.unwrapped.canvas[y : y + 28, x : x + 28]
            assert (window >= digits.images[row]).all()
    assert record.names[18] == "18"
    draw_heat_maps(record)


def test_an_image_that_fills_its_canvas_is_found_in_the_corner() -> None:
    images = np.full((2, 4, 4, 3), 9, np.uint8)
    assert find_images(images, images).tolist() == [[0, 0], [0, 0]]
    assert find_images(images - 1, images).tolist() == [[0, 0], [0, 0]]  # it is not there


def test_a_view_is_coarse_around_and_sharp_in_the_middle() -> None:
    glimpses = np.array([[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]], np.float32) / 10
    view = [[5, 5, 6, 6], [5, 1, 2, 6], [7, 3, 4, 8], [7, 7, 8, 8]]
    assert compose_views(glimpses, 2)[0] == pytest.approx(np.array(view) / 10)  # type: ignore[arg-type]
    color = compose_views(np.repeat(glimpses, 3, axis=1), 2)
    assert color.shape == (1, 4, 4, 3)
    assert color[0, ..., 2] == pytest.approx(np.array(view) / 10)


def test_more_images_than_there_are() -> None:
    with pytest.raises(ValueError, match="num_images=301"):
        make_record(301)


def test_figures_of_few_images_and_of_one_glimpse(tmp_path: Path) -> None:
    record = make_record(1, num_glimpses=1)
    paths = save_figures(record, {"learned gaze": (50.0,)}, tmp_path / "new")
    names = {path.name for path in paths}
    expected = {"paths.png", "glimpses.png", "heat_maps.png", "errors.png"}
    assert names == expected | ({"failures.png"} if record.is_wrong.any() else set())
    for path in paths:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width > 200


def test_the_command_draws_an_agent_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["train", "RAMMNIST-v0", "--dataset", "digits", "--episodes", "64", "--out", "run"])
    main(["figures", "run", "--num-images", "20", "--out", "slides"])
    assert sorted(path.name for path in Path("slides").iterdir()) == [
        "errors.png",
        "failures.png",
        "glimpses.png",
        "heat_maps.png",
        "paths.png",
        "report.html",
    ]
    report = Path("slides", "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/png;base64,") == 5
    assert "<td>Figures of</td><td>RAMMNIST-v0, digits, test split</td>" in report
    main(["figures", "run", "--num-images", "20", "--split", "train", "--out", "seen"])
    seen = Path("seen", "report.html").read_text(encoding="utf-8")
    assert "<td>Figures of</td><td>RAMMNIST-v0, digits, train split</td>" in seen
    assert "test canvases" not in seen
    assert f"Written to {Path('slides', 'paths.png')}" in capsys.readouterr().out
    monkeypatch.setattr("ram_agent.commands.figures.NUM_GAMES", 100)
    main(["figures", "pretrained:catch", "--format", "svg"])
    with Image.open("figures/catch/episodes.gif") as picture:
        assert picture.n_frames == 6 * 24  # type: ignore[attr-defined]
    for name in ("gaze_and_ball", "caught_by_speed", "poster"):
        assert Path("figures", "catch", f"{name}.svg").read_bytes().startswith(b"<?xml")
    assert "data:image/svg+xml;base64," in Path("figures/catch/report.html").read_text("utf-8")


@pytest.mark.parametrize("errors", [(90.0, 50.0, 3.0), (89.0, 88.0, 90.5), (0.0, 0.0, 0.0)])
def test_the_errors_have_an_axis_with_numbers(errors: tuple[float, ...]) -> None:
    figure = draw_errors({"learned gaze": errors})
    (axis,) = figure.axes
    figure.canvas.draw()
    low, high = sorted(axis.get_ylim())
    shown = [
        label.get_text()
        for place, label in zip(axis.get_yticks(), axis.get_yticklabels(), strict=True)
        if low <= place <= high
    ]
    assert len(list(filter(None, shown))) >= 2
