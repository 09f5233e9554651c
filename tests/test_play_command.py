"""The command ram play: its options, the window, the menu and the end of a game."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pygame = pytest.importorskip("pygame")

from stages import QUIZ, answer_quiz, catch, click, fall, press, quiz_env  # noqa: E402

from ram_envs.display import NoDisplay  # noqa: E402
from ram_envs.play import main, session  # noqa: E402
from ram_envs.play.game import Phase  # noqa: E402
from ram_envs.play.menu import ENTRIES, Menu  # noqa: E402
from ram_envs.play.session import Options, make_env  # noqa: E402
from ram_envs.play.sheet import SHEET_SIZE  # noqa: E402
from ram_envs.play.window import Stage, run  # noqa: E402
from ram_envs.tasks.catch import Catch  # noqa: E402
from ram_envs.tasks.classification import ImageClassification  # noqa: E402


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["RAMCatch-v0", "--paddle-width", "30"], "paddle_width=30"),
        (["RAMCatch-v0", "--glimpse-size", "25"], "glimpse_size=25"),
        (["RAMCatch-v0", "--num-clutter", "2"], "num_clutter"),
        (["RAMCatch-v0", "--speed", "0"], "--speed 0"),
        (["RAMCatch-v0", "--speed", "nan"], "--speed nan"),
        (["RAMCatch-v0", "--episodes", "0"], "--episodes 0"),
        (["RAMCatch-v0", "--seed", "-1"], "--seed -1"),
        (["RAMCatch-v0", "--gif", "a.gif"], "--agent"),
        (["RAMCatch-v0", "--save", "a.json"], "--record"),
        (["RAMCatch-v0", "--replay", "nowhere.json"], "nowhere.json"),
        (["RAMCatch-v0", "--record", "."], "a folder"),
        (["RAMCatch-v0", "--turns", "--agent", "run"], "--turns"),
        (["RAMMNIST-v0", "--dataset", "digits", "--turns"], "--turns"),
        (["CartPole-v1"], "--source render"),
        (["RAMCach-v0"], "RAMC"),
        (["PongNoFrameskip-v4"], "'ALE/Pong-v5'"),
        (["RAMMNIST-v0", "--dataset", "digits", "--levels"], "--levels"),
        (["--levels"], "ENV_ID"),
        (["--seed", "0"], "--seed"),
        (["--num-clutter", "0"], "--num-clutter"),
    ],
)
def test_what_cannot_be_played_is_refused_in_a_line(
    args: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(args)
    assert exit_info.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("ram play: ")
    assert words in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("moment", ["ready", "playing", "paused", "help", "shown"])
@pytest.mark.parametrize("event_type", ["quit", "escape"])
def test_leaving_at_any_moment_ends_with_the_summary(
    moment: str, event_type: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    keys = {"ready": [], "playing": [32], "paused": [32, pygame.K_p], "help": [32, pygame.K_h]}
    frames: list[int] = []
    tick = Stage.tick

    def scripted_tick(stage: Stage, seconds: float) -> None:
        if not frames:
            for key in keys.get(moment, [32]):
                press(stage, key)
            if moment == "shown":
                fall(stage)
        if len(frames) in (2, 4):  # the first shows the result, if something was played
            kind = (
                pygame.event.Event(pygame.QUIT)
                if event_type == "quit"
                else pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE, unicode="", mod=0)
            )
            pygame.event.post(kind)
        frames.append(1)
        assert len(frames) < 100
        tick(stage, seconds)

    monkeypatch.setattr(Stage, "tick", scripted_tick)
    main(["RAMCatch-v0", "--seed", "3"])
    assert not pygame.display.get_init()
    balls = 1 if moment == "shown" else 0
    assert f"of {balls} balls" in capsys.readouterr().out


def test_a_posted_key_reaches_the_game_through_the_window() -> None:
    stage = Stage(catch())
    tick = stage.tick

    def post(seconds: float) -> None:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_n, unicode="", mod=0))
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        tick(seconds)

    stage.tick = post  # type: ignore[method-assign]
    run(stage, "test")
    assert stage.game.phase is Phase.PLAYING


def test_a_game_without_a_display_says_what_else_to_do(tmp_path: Path) -> None:
    blind = {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"}
    environment = {key: value for key, value in os.environ.items() if key not in blind}
    if sys.platform != "linux":
        pytest.skip("only Linux has machines without a display")
    result = subprocess.run(
        [sys.executable, "-m", "ram_envs.play", "RAMCatch-v0"],
        env={**environment, "SDL_VIDEODRIVER": "x11"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "--gif" in result.stderr
    assert "ram watch RUN --save" in result.stderr


def test_without_pygame_the_command_names_it_and_the_package_imports() -> None:
    program = (
        "import sys\n"
        "sys.modules['pygame'] = None\n"
        "import ram_envs.play\n"
        "ram_envs.play.main(['RAMCatch-v0'])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert 'pip install "ram-gym[play]"' in result.stderr
    assert "Traceback" not in result.stderr


def test_importing_the_command_imports_neither_pygame_nor_torch() -> None:
    program = "import sys, ram_envs.play\nassert not {'pygame', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_games_are_the_environments_themselves() -> None:
    assert isinstance(make_env("RAMCatch-v0", {}).batch.task, Catch)
    assert isinstance(quiz_env().batch.task, ImageClassification)


def test_ids_are_understood_without_version_and_with_their_package() -> None:
    for env_id in ("RAMMNIST", "ram_envs:RAMMNIST-v0"):
        table = session.set_up(Options(env_id, {"dataset": "digits"}))
        assert (table.env_id, table.keywords["split"]) == ("RAMMNIST-v0", "test")


@pytest.mark.parametrize("args", [["--num-balls", "1" + "0" * 15], ["--size", "9" * 20]])
def test_settings_beyond_the_machine_are_refused_in_a_line(args: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["RAMCatch-v0", *args])
    assert capsys.readouterr().err.startswith("ram play: ")


def test_a_match_from_the_command_line_ends_with_the_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from ram_agent import RAMAgent

    def play_it(stage: Stage, seconds: float) -> None:
        press(stage, pygame.K_SPACE)
        answer_quiz(stage, stage.game.label)  # type: ignore[attr-defined]
        press(stage, pygame.K_SPACE)
        stage.closed = True

    env = quiz_env()
    RAMAgent(env.observation_space, env.action_space).save(tmp_path / "agent")
    monkeypatch.setattr(Stage, "tick", play_it)
    path = tmp_path / "me.json"
    options = ["--dataset", "digits", "--episodes", "1", "--save", str(path)]
    main([QUIZ, *options, "--versus", str(tmp_path / "agent")])
    saved = json.loads(path.read_text())
    assert (saved["num_answered"], saved["num_right"]) == (1, 1)
    words = "A draw." if saved["opponent_num_right"] else "You win."
    assert capsys.readouterr().out.endswith(f"{words}\nResults in {path}\n")


def test_a_screen_that_nobody_sees_is_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.setattr(pygame.display, "init", lambda: None)
    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")
    with pytest.raises(NoDisplay):
        run(Stage(catch()), "test")


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        ([pygame.K_RETURN], 0),
        ([pygame.K_DOWN, pygame.K_DOWN, pygame.K_SPACE], 2),
        ([pygame.K_UP, pygame.K_SPACE], len(ENTRIES) - 1),
        ([pygame.K_4], 3),
        ([pygame.K_9], None),
        ([pygame.K_ESCAPE], None),
    ],
)
def test_the_menu(keys: list[int], chosen: int | None) -> None:
    menu = Menu()
    menu.draw(pygame.Surface(SHEET_SIZE, depth=32))
    for key in keys:
        press(menu, key, chr(key) if key in range(pygame.K_0, pygame.K_9 + 1) else "")
    assert menu.chosen == (None if chosen is None else ENTRIES[chosen].options)


@pytest.mark.parametrize(("y", "chosen"), [(120 + 52, 1), (10, None)])
def test_the_menu_by_mouse(y: int, chosen: int | None) -> None:
    menu = Menu()
    menu.draw(pygame.Surface(SHEET_SIZE, depth=32))
    click(menu, 100, y)
    assert menu.chosen == (None if chosen is None else ENTRIES[chosen].options)


def test_every_entry_of_the_menu_can_be_played() -> None:
    pytest.importorskip("torch", reason="the extra agent is not installed")
    for entry in ENTRIES:
        assert entry.options.env_id is not None
        is_game = entry.options.env_id in ("RAMCatch-v0", "RAMSearch-v0")
        keywords = {} if is_game else {"dataset": "digits"}
        stage = Stage(session.set_up(replace(entry.options, keywords=keywords)).game)
        press(stage, pygame.K_SPACE)
        stage.draw(pygame.Surface(SHEET_SIZE, depth=32))
        assert stage.game.phase is Phase.PLAYING


def test_play_without_an_id_plays_what_the_menu_chooses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    titles: list[str] = []

    def choose(stage: Stage | Menu, title: str) -> None:
        titles.append(title)
        if isinstance(stage, Menu):
            press(stage, pygame.K_1, "1")

    monkeypatch.setattr("ram_envs.play.window.run", choose)
    main([])
    assert titles == ["ram play", "ram play RAMCatch-v0"]
    assert "0 of 0 balls" in capsys.readouterr().out


def test_what_can_be_done_at_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the extra agent is not installed")
    monkeypatch.chdir(tmp_path)
    played: list[str | None] = []

    def play_one(stage: Stage, title: str) -> None:
        opponent = stage.game.opponent
        played.append(None if opponent is None else opponent.name)
        if len(played) > 2:
            return
        assert stage.challenger == (None if len(played) == 2 else "pretrained:catch")
        press(stage, pygame.K_SPACE)
        fall(stage)
        press(stage, pygame.K_ESCAPE)
        assert (stage.closed, stage.game.phase) == (False, Phase.FINISHED)
        press(stage, pygame.K_g)
        assert "ram-play-" in stage.note
        stage.draw(pygame.Surface(SHEET_SIZE, depth=32))
        press(stage, pygame.K_v if len(played) == 1 else pygame.K_r)
        assert stage.closed

    monkeypatch.setattr("ram_envs.play.window.run", play_one)
    main(["RAMCatch-v0", "--seed", "3"])
    assert played == [None, "agent", "agent"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ram-play-1.gif", "ram-play-2.gif"]


def test_a_fault_of_the_program_is_not_put_into_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(stage: Stage, title: str) -> None:
        raise TypeError("a fault")

    monkeypatch.setattr("ram_envs.play.window.run", fail)
    with pytest.raises(TypeError):
        main(["RAMCatch-v0"])


@pytest.mark.parametrize(
    ("env_id", "options", "expected"),
    [
        ("RAMCatch-v0", {}, (4.0, False, False)),
        ("RAMCatch-v0", {"speed": 7.0, "turns": True, "levels": True}, (7.0, True, True)),
        ("RAMSearch-v0", {"speed": 2.0}, (2.0, True, False)),
        (QUIZ, {"keywords": {"dataset": "digits"}}, (1.0, True, False)),
    ],
)
def test_the_options_of_a_game(env_id: str, options: Any, expected: Any) -> None:
    game = session.set_up(Options(env_id, seed=0, **options)).game
    assert (game.speed, game.turns, game.levels) == expected


def test_a_misspelled_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["RAMCatch-v0", "--recrod", "a"])
    assert "--record?" in capsys.readouterr().err
