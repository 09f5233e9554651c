"""Other packages' environments by hand: keys move, the mouse looks, fog hides the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

pygame = pytest.importorskip("pygame", reason="the extra play is not installed")

from picture_envs import Numbers  # noqa: E402
from stages import draw, point, press, release, tap  # noqa: E402

from ram_envs.play import main  # noqa: E402
from ram_envs.play.arcade_game import ArcadeGame, ArcadeSeat, find_moves  # noqa: E402
from ram_envs.play.game import Phase  # noqa: E402
from ram_envs.play.screen import board_view  # noqa: E402
from ram_envs.play.seat import Deal  # noqa: E402
from ram_envs.play.session import Options, set_up  # noqa: E402
from ram_envs.play.sheet import SHEET_SIZE  # noqa: E402
from ram_envs.play.window import Stage  # noqa: E402
from ram_envs.rendering import FOG  # noqa: E402
from ram_envs.wrappers import ThroughRetina  # noqa: E402

ATARI = ("NOOP", "FIRE", "UP", "RIGHT", "UPRIGHT", "UPRIGHTFIRE")
TOY = ["picture_envs:Numbers-v0", "--glimpse-size", "4", "--num-scales", "2"]
STEP = 0.1  # seconds


class Named(Numbers):
    """Numbers whose moves have names; notes the moves, and ends after `last` of them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__((9, 12, 3))
        self.names = names
        self.action_space = spaces.Discrete(len(names))
        self.moves: list[int] = []
        self.last = 10_000

    def get_action_meanings(self) -> tuple[str, ...]:
        return self.names

    def step(self, action: Any) -> Any:
        self.moves.append(int(action))
        self.length = self.last
        return super().step(action)


def play(names: tuple[str, ...] = ATARI) -> tuple[Stage, ArcadeGame, Named]:
    inner = Named(names)
    seat = ArcadeSeat("you", ThroughRetina(inner, 4, 1))
    game = ArcadeGame(seat, [Deal(0), Deal(1)], title="Toy", speed=10)
    stage = Stage(game)
    tap(stage, pygame.K_SPACE)
    assert game.phase is Phase.PLAYING
    return stage, game, inner


def test_moves_are_found_by_their_names() -> None:
    assert find_moves(ATARI) == {
        frozenset(): 0,
        frozenset({"fire"}): 1,
        frozenset({"up"}): 2,
        frozenset({"right"}): 3,
        frozenset({"up", "right"}): 4,
        frozenset({"up", "right", "fire"}): 5,
    }
    pong = find_moves(("NOOP", "FIRE", "RIGHT", "LEFT"))
    assert (pong[frozenset({"up"})], pong[frozenset({"left"})], pong[frozenset({"down"})]) == (
        2, 3, 3,
    )  # fmt: skip
    assert find_moves(("forward", "pickup", "toggle")) == {frozenset({"up"}): 0}


def test_held_keys_are_the_move() -> None:
    stage, _, env = play()
    stage.tick(STEP)
    press(stage, pygame.K_UP)
    stage.tick(STEP)
    press(stage, pygame.K_d)
    stage.tick(STEP)
    press(stage, pygame.K_SPACE)
    stage.tick(STEP)
    for key in (pygame.K_UP, pygame.K_d, pygame.K_SPACE):
        release(stage, key)
    stage.tick(STEP)
    tap(stage, pygame.K_RIGHT)  # shorter than a step
    stage.tick(STEP)
    press(stage, pygame.K_LEFT)  # which this game does not have
    stage.tick(STEP)
    press(stage, pygame.K_5, "5")  # at once
    assert env.moves == [0, 2, 4, 5, 0, 3, 0, 5]
    press(stage, pygame.K_9, "9")
    assert len(env.moves) == 8


def test_where_no_move_means_to_wait_each_key_is_a_step() -> None:
    stage, game, env = play(("left", "right", "forward", "toggle"))
    assert game.turns
    stage.tick(STEP)
    for key in (pygame.K_UP, pygame.K_LEFT, pygame.K_SPACE):
        tap(stage, key)
    press(stage, pygame.K_3, "3")
    assert env.moves == [2, 0, 3]


def test_the_mouse_looks_and_fog_hides_the_rest() -> None:
    stage, game, _ = play()
    view = board_view(game, SHEET_SIZE)
    point(stage, *view.to_frame(3, 7))
    stage.tick(STEP)
    assert game.player.edge == (3, 7)
    inside, outside = view.to_frame(1.5, 5.5), view.to_frame(8, 1)
    drawn = draw(stage)
    canvas = game.player.env.canvas
    assert drawn[inside[1], inside[0]].tolist() == canvas[5, 1].tolist()
    assert tuple(drawn[outside[1], outside[0]]) == FOG
    press(stage, pygame.K_f)
    drawn = draw(stage)
    assert drawn[outside[1], outside[0]].tolist() == canvas[1, 8].tolist()


def test_scores_of_games() -> None:
    stage, game, env = play()
    press(stage, pygame.K_4, "4")
    press(stage, pygame.K_n)  # leaves the game
    assert game.arcade_seat.totals == [4]
    press(stage, pygame.K_5, "5")
    press(stage, pygame.K_r)  # begins the second game again
    assert game.arcade_seat.total == 0
    press(stage, pygame.K_2, "2")
    env.last = 2
    press(stage, pygame.K_3, "3")
    assert game.phase is Phase.SHOWN
    assert game.arcade_seat.totals == [4, 5]
    assert "4.5" in game.summary()
    draw(stage)
    press(stage, pygame.K_SPACE)
    assert stage.game.phase is Phase.FINISHED
    draw(stage)


def test_help_and_every_phase_are_drawn() -> None:
    stage, game, _ = play(("left", "right", "forward"))
    press(stage, pygame.K_h)
    with_help = draw(stage)
    press(stage, pygame.K_h)
    assert not np.array_equal(with_help, draw(stage))
    assert len(game.names) == 3


def test_an_id_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    session = set_up(Options("picture_envs:Numbers-v0", {"glimpse_size": 4, "num_scales": 2}, 3))
    game: Any = session.game
    assert (game.title, game.speed, session.seed) == ("Numbers", 7, 3)
    game.proceed()
    game.choose(2)
    assert game.arcade_seat.total == 2
    rendered = set_up(
        Options("picture_envs:Numbers-v0", {"glimpse_size": 4, "source": "render"}, episodes=1)
    )
    assert rendered.game.canvas_size == (14, 10)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["CartPole-v1"], "picture"),
        (["picture_envs:Numbers-v0", "--glimpse-size", "99"], "glimpse_size=99"),
        (["picture_envs:Numbers-v0", "--agent", "run"], "--agent"),
        (["picture_envs:Numbers-v0", "--env-kwargs", "shape"], "'shape'"),
        (["picture_envs:Numbers-v0", "--env-kwargs", "shape=(9,9)", "--speed", "0"], "speed"),
        ([*TOY, "--env-kwargs", "continuous=True"], "Discrete"),
        ([*TOY, "--num-scales", "2", "--env-kwargs", "num_scales=3"], "num_scales=3"),
    ],
)
def test_what_cannot_be_played(args: list[str], message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as left:
        main(args)
    assert left.value.code == 1
    assert message in capsys.readouterr().err
