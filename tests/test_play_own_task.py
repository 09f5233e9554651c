"""Tasks of a user's own by hand: `ram play MODULE:ID`, keys choose and the mouse looks."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pygame = pytest.importorskip("pygame", reason="the extra play is not installed")

from stages import draw, point, tap  # noqa: E402

from ram_envs import GlimpseEnv, Outcome, Retina, check_task  # noqa: E402
from ram_envs.datasets import load_dataset  # noqa: E402
from ram_envs.envs.classification import ClassificationEnv  # noqa: E402
from ram_envs.play import main, window  # noqa: E402
from ram_envs.play.arcade_game import ArcadeGame  # noqa: E402
from ram_envs.play.game import Phase  # noqa: E402
from ram_envs.play.quiz_game import QuizGame  # noqa: E402
from ram_envs.play.screen import board_view  # noqa: E402
from ram_envs.play.session import Options, save_results, set_up  # noqa: E402
from ram_envs.play.sheet import SHEET_SIZE  # noqa: E402
from ram_envs.play.window import Stage  # noqa: E402
from ram_envs.rendering import FOG  # noqa: E402
from ram_envs.tasks.canvas import Canvas  # noqa: E402
from ram_envs.tasks.classification import ImageClassification  # noqa: E402

EXAMPLES = Path(__file__).parent.parent / "examples"


class Half:
    """In which half is the light?

    Three looks on a black screen with one bright column.
    """

    image_shape: tuple[int, ...] = (16, 16)
    choice_names: tuple[str, ...] = ("left", "right", "a name that is far too long for the column")
    frames_change = False

    def allocate(self, num_envs: int) -> dict[str, np.ndarray]:
        return {
            "screens": np.zeros((num_envs, *self.image_shape), np.uint8),
            "columns": np.zeros(num_envs, np.int64),
            "steps": np.zeros(num_envs, np.int64),
        }

    def begin(self, state: Any, rows: Any, streams: Any, options: Any) -> None:
        state["columns"][rows] = streams.integers(16)[:, 0]
        state["screens"][rows] = 0
        state["screens"][rows, :, state["columns"][rows]] = 200
        state["steps"][rows] = 0

    def advance(self, state: Any, rows: Any, choices: Any) -> Outcome:
        state["steps"][rows] += 1
        over = state["steps"][rows] == 3
        right = choices == state["columns"][rows] // 8
        return Outcome((over & right).astype(np.float64), over)

    def images(self, state: Any) -> tuple[np.ndarray, np.ndarray]:
        return state["screens"], np.arange(len(state["steps"]))

    def infos(self, state: Any) -> dict[str, Any]:
        return {}


class Ticking(Half):
    """The same on a screen that changes."""

    frames_change = True
    choice_names = ("left", "right", "stay")


def make_half(task: Any = Half, **keywords: Any) -> GlimpseEnv:
    return GlimpseEnv(task(), Retina(glimpse_size=4, num_scales=1), **keywords)


@pytest.fixture(autouse=True)
def ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    gym.register("Half-v0", make_half)
    gym.register("ShortHalf-v0", make_half, max_episode_steps=2)
    gym.register("Ticking-v0", make_half, kwargs={"task": Ticking})


def begin(env_id: str, **options: Any) -> tuple[Stage, ArcadeGame]:
    """Return a stage on which the first episode has begun."""
    game = set_up(Options(f"{__name__}:{env_id}", seed=0, **options)).game
    assert isinstance(game, ArcadeGame)
    stage = Stage(game)
    draw(stage)
    tap(stage, pygame.K_SPACE)
    return stage, game


def aim(stage: Stage, x: int, y: int) -> None:
    """Point at a position of the canvas."""
    point(stage, *board_view(stage.game, stage.size).to_frame(x, y))


def column_of(game: ArcadeGame) -> int:
    state: Any = game.player.env.batch.state
    return int(state["columns"][0])


def test_the_tasks_keep_the_rules() -> None:
    check_task(Half())


def test_keys_choose_and_the_mouse_looks_to_the_end_of_a_task() -> None:
    stage, game = begin("Half-v0", episodes=2)
    assert (game.title, game.turns) == ("Half", True)
    stage.tick(5.0)  # no step without a key
    aim(stage, 3, 12)
    tap(stage, pygame.K_2, "2")
    assert game.player.edge == (3, 12)
    tap(stage, pygame.K_3, "3")  # there are three choices, from 0
    assert game.arcade_seat.num_steps == 1
    aim(stage, 12, 4)
    tap(stage, pygame.K_LEFT)
    answer = column_of(game) // 8
    tap(stage, pygame.K_0 + answer, str(answer))
    assert (game.phase, game.arcade_seat.totals) == (Phase.SHOWN, [1])

    tap(stage, pygame.K_SPACE)
    answer = 1 - column_of(game) // 8  # wrong
    for _ in range(3):
        tap(stage, pygame.K_0 + answer, str(answer))
    assert game.arcade_seat.totals == [1, 0]
    tap(stage, pygame.K_SPACE)
    assert game.phase is Phase.FINISHED
    assert re.findall(r"\d[.\d]*\b", game.summary()) == ["2", "0.5", "1"]
    draw(stage)


def test_what_was_seen_of_a_still_screen_remains() -> None:
    stage, game = begin("Half-v0")
    x = min(max(column_of(game), 2), 14)
    aim(stage, x, 4)
    tap(stage, pygame.K_2, "2")
    pixel = board_view(game, SHEET_SIZE).to_frame(column_of(game) + 0.5, 3.5)
    bright = draw(stage)[pixel[1], pixel[0]].astype(int)
    aim(stage, (x + 8) % 16, 12)
    tap(stage, pygame.K_2, "2")
    faded = draw(stage)[pixel[1], pixel[0]].astype(int)
    assert bright.tolist() == [200, 200, 200]
    assert (faded < bright).all()
    assert (faded > np.array(FOG)).all()


def test_words_about_a_task() -> None:
    _, game = begin("Half-v0")
    assert game.introduction[0] == "In which half is the light?"
    assert game.status[1:] == ["0  left", "1  right", "2  a name that is far too lo…"]


def test_a_screen_that_changes_runs_in_real_time() -> None:
    stage, game = begin("Ticking-v0")
    assert not game.turns
    stage.tick(0.25)
    stage.tick(0.25)  # render_fps is 2
    assert game.arcade_seat.num_steps == 1


def test_a_time_limit_of_gymnasium_ends_an_episode() -> None:
    stage, game = begin("ShortHalf-v0")
    for _ in range(2):
        tap(stage, pygame.K_0, "0")
    assert game.phase is Phase.SHOWN


def test_the_command_plays_a_module_of_this_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setitem(sys.modules, "own_game", None)  # and forget it afterwards
    del sys.modules["own_game"]
    stages: list[Stage] = []

    def play(stage: Stage, title: str) -> None:
        assert title == "ram play own_game:Touch-v0"
        stages.append(stage)
        tap(stage, pygame.K_SPACE)
        top, left = stage.game.player.env.batch.state.corners[0]
        aim(stage, left + 4, top + 4)
        tap(stage, pygame.K_0, "0")  # look
        tap(stage, pygame.K_1, "1")  # touch
        tap(stage, pygame.K_SPACE)

    monkeypatch.setattr(window, "run", play)
    main(["own_game:Touch-v0", "--episodes", "1"])
    assert stages[0].game.phase is Phase.FINISHED
    assert capsys.readouterr().out.count(" 0.9333") == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["no_such_module:Own-v0"], "no_such_module.py"),
        ([f"{__name__}:Half-v0", "--agent", "pretrained:catch"], "--agent"),
        ([f"{__name__}:Half-v0", "--record", "half.json"], "--record"),
        ([f"{__name__}:Half-v0", "--num-clutter", "3"], "num_clutter"),
    ],
)
def test_what_cannot_be_played(
    args: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(args)
    assert left.value.code == 1
    assert message in capsys.readouterr().err


class Inverted(ImageClassification):
    """Black digits on white."""

    def images(self, state: Any) -> Any:
        canvases: Any
        canvases, rows = super().images(state)
        return 255 - canvases, rows


def make_inverted(**keywords: Any) -> GlimpseEnv:
    canvas = Canvas((28, 28), (28, 28))
    task = Inverted(load_dataset("digits", "test"), canvas, 2, fixed_canvases=True)
    return GlimpseEnv(task, Retina(8, 1), **keywords)


gym.register("Inverted-v0", make_inverted)


def test_a_classification_of_ones_own_is_a_quiz(tmp_path: Path) -> None:
    table = set_up(Options("Inverted-v0", seed=0, save=tmp_path / "answers.json"))
    assert isinstance(table.game, QuizGame)
    save_results(table, tmp_path / "answers.json")
    assert json.loads((tmp_path / "answers.json").read_text())["dataset"] == "digits"


class OwnDigits(ClassificationEnv):
    """Digits with the keywords of every data set."""


class TrainingDigits(ClassificationEnv):
    """Digits without a choice of the split."""

    def __init__(self) -> None:
        super().__init__(dataset="digits")


def test_the_quiz_of_an_own_class_shows_the_test_split_if_there_is_a_choice() -> None:
    gym.register("OwnDigits-v0", f"{__name__}:OwnDigits", kwargs={"dataset": "digits"})
    gym.register("TrainingDigits-v0", f"{__name__}:TrainingDigits")
    own, training = (set_up(Options(f"{name}-v0")) for name in ("OwnDigits", "TrainingDigits"))
    assert own.keywords == {"split": "test", "dataset": "digits"}
    assert training.keywords == {}  # its class takes none
    tasks: list[Any] = [one.game.player.env.batch.task for one in (own, training)]
    assert [len(task.dataset) for task in tasks] == [300, 1297]
