"""Recordings, animations and answers of games: written, replayed and refused."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pygame = pytest.importorskip("pygame")

from stages import (  # noqa: E402
    QUIZ,
    ROW,
    answer_quiz,
    begun,
    best_move,
    catch,
    fall,
    press,
    quiz,
    release,
)

from ram_envs.datasets import ImageDataset  # noqa: E402
from ram_envs.play import main, session  # noqa: E402
from ram_envs.play.game import Phase  # noqa: E402
from ram_envs.play.recording import Recording, load_recording, save_recording  # noqa: E402
from ram_envs.play.seat import Deal  # noqa: E402
from ram_envs.play.session import Options  # noqa: E402
from ram_envs.play.window import Stage  # noqa: E402


@pytest.fixture
def recording_path(tmp_path: Path) -> Path:
    """Three balls: one followed well, one practiced and left, one missed or not."""
    stage = begun(catch(map(Deal, range(7, 10))))
    keys = [pygame.K_LEFT, pygame.K_DOWN, pygame.K_RIGHT]
    while stage.game.phase is Phase.PLAYING:
        press(stage, keys[best_move(stage.game.player.env)])
        stage.tick(ROW)
        release(stage, pygame.K_LEFT)
        release(stage, pygame.K_RIGHT)
    press(stage, pygame.K_r)
    stage.tick(ROW)
    press(stage, pygame.K_n)
    stage.tick(ROW)
    press(stage, pygame.K_n)
    fall(stage)
    game = stage.game
    assert game.player.score >= 1
    assert len(game.episodes) == 4
    path = tmp_path / "game.json"
    save_recording(Recording("RAMCatch-v0", {}, 7, game.player.score, game.episodes), path)
    return path


def test_a_recorded_game_replays_to_the_same_score(recording_path: Path) -> None:
    recording = load_recording(recording_path, "RAMCatch-v0")
    assert session.replayed_score(recording) == recording.score
    game = session.set_up(Options("RAMCatch-v0", replay=recording_path)).game
    game.proceed()
    while game.phase is not Phase.FINISHED:
        game.tick(2.0)
    assert (game.player.score, game.player.count) == (recording.score, 3)
    assert [episode.actions for episode in game.episodes] == [
        episode.actions for episode in recording.episodes
    ]


def test_a_recorded_quiz_replays_to_the_same_score(tmp_path: Path) -> None:
    game = quiz()
    stage = begun(game)
    answer_quiz(stage, game.label)
    press(stage, pygame.K_SPACE)
    answer_quiz(stage, (game.label + 1) % 10)
    keywords: dict[str, Any] = {"dataset": "digits", "split": "test"}
    path = tmp_path / "quiz.json"
    save_recording(Recording(QUIZ, keywords, 0, game.player.score, game.episodes), path)
    assert session.replayed_score(load_recording(path, QUIZ)) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:-40], "JSON"),
        (lambda content: "[" * 10**6, "nested"),
        (lambda content: '{"seed": ' + "9" * 5000 + "}", "JSON"),
        (lambda content: content + " " * 2**24, "16,777,216"),
        (lambda content: "[]", "recorded"),
        (lambda content: content.replace('"version": 1', '"version": 2'), "version 2"),
        (lambda content: content.replace("RAMCatch-v0", "RAMMNIST-v0"), "RAMMNIST-v0"),
        (lambda content: content.replace('"score": ', '"score": 1'), "score"),
        (lambda content: content.replace('"seed": 8', '"seed": "8"'), "damaged"),
        (lambda content: content.replace('"keywords": {}', '"keywords": {"sise": 9}'), "sise"),
    ],
)
def test_a_damaged_or_foreign_recording_is_refused(
    recording_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Any,
    words: str,
) -> None:
    recording_path.write_text(change(recording_path.read_text()))
    with pytest.raises(SystemExit) as exit_info:
        main(["RAMCatch-v0", "--replay", str(recording_path)])
    assert exit_info.value.code == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "game.json" in message
    assert words in message


def test_a_gif_is_written_without_a_window(recording_path: Path, tmp_path: Path) -> None:
    from PIL import Image, ImageSequence

    path = tmp_path / "game.gif"
    main(["RAMCatch-v0", "--replay", str(recording_path), "--gif", str(path)])
    with Image.open(path) as image:
        assert image.size == (720, 480)
        # 48 rows at a quarter of a second and some rests; frames that look alike are merged.
        assert sum(frame.info["duration"] for frame in ImageSequence.Iterator(image)) >= 12_000
    assert not pygame.display.get_init()


def test_record_and_replay_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def play_one(stage: Stage, seconds: float) -> None:
        press(stage, pygame.K_SPACE)
        while stage.game.phase is Phase.PLAYING:
            stage.game.tick(ROW)
        stage.closed = True

    monkeypatch.setattr(Stage, "tick", play_one)
    path = str(tmp_path / "game.json")
    main(["RAMCatch-v0", "--seed", "3", "--size", "12", "--record", path])
    content = json.loads(Path(path).read_text())
    assert (content["env_id"], content["keywords"]) == ("RAMCatch-v0", {"size": 12})
    assert len(content["episodes"][0]["actions"]) == 11
    main(["RAMCatch-v0", "--replay", path])
    assert f"caught {content['score']} of 1 balls" in capsys.readouterr().out


def test_what_was_played_outlives_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def play_two_and_crash(stage: Stage, seconds: float) -> None:
        for _ in range(2):
            press(stage, pygame.K_SPACE)
            while stage.game.phase is Phase.PLAYING:
                stage.game.tick(ROW)
        press(stage, pygame.K_SPACE)
        stage.game.tick(ROW)
        raise RuntimeError("power cut")

    monkeypatch.setattr(Stage, "tick", play_two_and_crash)
    path = tmp_path / "game.json"
    with pytest.raises(RuntimeError, match="power cut"):
        main(["RAMCatch-v0", "--size", "12", "--record", str(path)])
    recording = load_recording(path, "RAMCatch-v0")
    assert [len(episode.actions) for episode in recording.episodes] == [11, 11]
    assert session.replayed_score(recording) == recording.score


def test_a_game_left_between_two_balls_replays_to_its_score(tmp_path: Path) -> None:
    keywords: dict[str, Any] = {
        "num_balls": 3,
        "size": 6,
        "glimpse_size": 3,
        "num_scales": 1,
        "paddle_width": 6,
    }
    stage = begun(catch(keywords=keywords))
    fall(stage)
    press(stage, pygame.K_SPACE)
    fall(stage)
    game = stage.game
    assert (game.player.score, len(game.episodes), len(game.played)) == (2, 0, 1)
    recording = Recording("RAMCatch-v0", keywords, 0, game.player.score, game.played)
    save_recording(recording, tmp_path / "left.json")
    again = load_recording(tmp_path / "left.json", "RAMCatch-v0")
    assert session.replayed_score(again) == 2


@pytest.mark.parametrize("option", ["--record", "--save"])
def test_a_file_that_is_there_is_kept(option: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "mine.json"
    path.write_text("precious")
    env = ["RAMCatch-v0"] if option == "--record" else ["RAMMNIST-v0", "--dataset", "digits"]
    with pytest.raises(SystemExit):
        main([*env, option, str(path)])
    assert str(path) in capsys.readouterr().err
    assert path.read_text() == "precious"


def test_one_file_cannot_be_two_things(tmp_path: Path, capsys: Any) -> None:
    path = str(tmp_path / "a.json")
    with pytest.raises(SystemExit):
        main(["RAMMNIST-v0", "--dataset", "digits", "--record", path, "--save", path])
    assert path in capsys.readouterr().err


def test_a_full_disk_does_not_end_the_game(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def play_one(stage: Stage, seconds: float) -> None:
        press(stage, pygame.K_SPACE)
        fall(stage)
        stage.closed = True

    attempts: list[Path] = []

    def save(recording: Recording, path: Path) -> None:
        attempts.append(path)
        if len(attempts) == 1:
            raise OSError("disk full")
        save_recording(recording, path)

    monkeypatch.setattr(Stage, "tick", play_one)
    monkeypatch.setattr(session, "save_recording", save)
    path = tmp_path / "game.json"
    main(["RAMCatch-v0", "--record", str(path)])
    said = capsys.readouterr()
    assert "disk full" in said.err
    assert f"Recorded in {path}" in said.out
    assert load_recording(path, "RAMCatch-v0").episodes


@pytest.mark.parametrize(
    "change",
    [
        {"render_mode": [1]},
        {"size": 10**30},
        {"num_balls": 10**15},
    ],
)
def test_a_recording_with_strange_settings_is_refused(
    change: dict[str, Any], recording_path: Path, capsys: Any
) -> None:
    content = json.loads(recording_path.read_text())
    content["keywords"].update(change)
    recording_path.write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        main(["RAMCatch-v0", "--replay", str(recording_path)])
    said = capsys.readouterr().err
    assert str(recording_path) in said
    assert said.count("\n") == 1


def test_a_game_that_cannot_be_replayed_is_not_recorded(tmp_path: Path) -> None:
    options = Options("RAMSearch-v0", {"canvas_size": 3000})
    session.set_up(options)
    with pytest.raises(ValueError, match="canvas_size"):
        session.set_up(dataclasses.replace(options, record=tmp_path / "a.json"))


def test_a_recording_that_cannot_be_played(
    recording_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*options: str) -> str:
        with pytest.raises(SystemExit):
            main(["RAMCatch-v0", "--replay", str(recording_path), *options])
        return capsys.readouterr().err.removeprefix("ram play: ")

    said = refusal("--seed", "3", "--size", "9")
    assert "--size, --seed" in said
    assert "a.png" in refusal("--gif", "a.png")
    content = json.loads(recording_path.read_text())
    content["episodes"][0]["actions"][0][0] = "left"
    recording_path.write_text(json.dumps(content))
    assert "left" in refusal()
    recording_path.write_text(json.dumps({**content, "episodes": []}))
    assert str(recording_path) in refusal()


def test_a_folder_that_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write there
    path = tmp_path / "game.json"
    with pytest.raises(SystemExit):
        main(["RAMCatch-v0", "--record", str(path)])
    assert f"{path} " in capsys.readouterr().err


def test_a_gif_without_pillow(
    recording_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(SystemExit):
        main(["RAMCatch-v0", "--replay", str(recording_path), "--gif", "a.gif"])
    said = capsys.readouterr().err
    assert said.startswith("ram play: ")
    assert 'pip install "ram-gym[play]"' in said
    assert said.count("\n") == 1


def test_after_a_replay_the_same_game_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keywords = {"size": 9, "glimpse_size": 3, "paddle_width": 3}
    game = session.set_up(Options("RAMCatch-v0", keywords, seed=8)).game
    game.proceed()
    while game.phase is Phase.PLAYING:
        game.tick(1.0)
    path = tmp_path / "game.json"
    save_recording(Recording("RAMCatch-v0", keywords, 8, game.player.score, game.played), path)
    played: list[tuple[str, int]] = []

    def play_one(stage: Stage, title: str) -> None:
        played.append((stage.game.player.name, stage.game.canvas_size[0]))
        stage.wish = "again" if len(played) == 1 else None

    monkeypatch.setattr("ram_envs.play.window.run", play_one)
    main(["RAMCatch-v0", "--replay", str(path)])
    assert played == [("recording", 9), ("you", 9)]


def test_images_in_memory_are_played_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    dataset = ImageDataset(np.zeros((4, 12, 12), np.uint8), np.arange(4) % 2)
    gym.register(
        "InMemory-v0",
        "ram_envs.envs.classification:ClassificationEnv",
        kwargs={"dataset": dataset, "glimpse_size": 4},
    )
    played: list[str] = []

    def play_one(stage: Stage, title: str) -> None:
        played.append(title)
        stage.wish = "again" if len(played) == 1 else None

    monkeypatch.setattr("ram_envs.play.window.run", play_one)
    main(["InMemory-v0"])
    assert len(played) == 2
