"""Search for people: clicks look, Space takes; against a player without hands; recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

pygame = pytest.importorskip("pygame")

from stages import click, draw, tap  # noqa: E402

from ram_envs.play.command import main  # noqa: E402
from ram_envs.play.game import Phase  # noqa: E402
from ram_envs.play.screen import board_view  # noqa: E402
from ram_envs.play.search_game import SearchGame  # noqa: E402
from ram_envs.play.seat import Deal, Seat  # noqa: E402
from ram_envs.play.session import Options, make_env, set_up  # noqa: E402
from ram_envs.play.window import Stage  # noqa: E402
from ram_envs.rendering import FOG  # noqa: E402
from ram_envs.searcher import Searcher  # noqa: E402


class ScriptedPilot:
    """The scripted searcher."""

    def __init__(self) -> None:
        self.searcher, self.state = Searcher((200, 200)), cast("Any", None)

    def begin(self) -> None:
        self.state = None

    def act(self, observation: Mapping[str, Any]) -> Any:
        (location, choice), self.state = self.searcher.predict(observation, self.state)
        return tuple(location.tolist()), int(choice)


def search(num_episodes: int = 2, versus: bool = False, **keywords: Any) -> Stage:
    """A search that has begun."""
    seats = [Seat(name, make_env("RAMSearch-v0", keywords)) for name in ("you", "agent")]
    seats[1].pilot = ScriptedPilot()
    opponent = seats[1] if versus else None
    stage = Stage(SearchGame(seats[0], list(map(Deal, range(num_episodes))), opponent))
    tap(stage, pygame.K_SPACE)
    return stage


def look_at_item(stage: Stage, item: int) -> None:
    """Click on the center of an item; the target is item 0."""
    top, left = stage.game.player.env.batch.state.places[0, item]
    click(stage, *board_view(stage.game, stage.size).to_frame(left + 6, top + 6))


def test_a_click_looks_and_space_takes() -> None:
    stage = search()
    game: Any = stage.game
    look_at_item(stage, 2)
    tap(stage, pygame.K_SPACE)  # a mistake
    assert (game.is_mistaken, game.phase, round(game.worth, 9)) == (True, Phase.PLAYING, 0.96)
    look_at_item(stage, 0)
    assert not game.is_mistaken
    tap(stage, pygame.K_SPACE)
    assert [action[1] for action in game.player.actions] == [0, 1, 0, 1]
    assert game.player.actions[3][0] == game.player.actions[2][0]  # the eye stays
    assert (game.phase, game.player.verdicts, game.player.score) == (Phase.SHOWN, [True], 1)
    tap(stage, pygame.K_n)
    assert (game.phase, game.player.actions) == (Phase.PLAYING, [])


def test_a_search_that_takes_too_long_is_over() -> None:
    stage = search(time_limit=2)
    for key in (pygame.K_RETURN, pygame.K_SPACE):
        tap(stage, key)
    assert stage.game.player.verdicts == [False]
    assert stage.game.phase is Phase.SHOWN


def test_fog_hides_the_canvas_until_the_search_is_over() -> None:
    stage = search()
    tap(stage, pygame.K_f)
    assert not stage.game.fog_lifted
    fog = (draw(stage) == np.array(FOG)).all(axis=-1).sum()
    assert fog > 50_000
    look_at_item(stage, 0)
    tap(stage, pygame.K_SPACE)
    assert (draw(stage) == np.array(FOG)).all(axis=-1).sum() == 0
    tap(stage, pygame.K_f)
    assert (draw(stage) == np.array(FOG)).all(axis=-1).sum() > 50_000


def test_the_introduction_states_the_costs_of_the_task() -> None:
    stage = search(look_cost=0.05, mistake_cost=0.5)
    costs = [re.findall(r"0\.\d+", line) for line in stage.game.introduction]
    assert costs == [[], [], [], ["0.05", "0.5"]]


def test_a_match_against_the_scripted_player() -> None:
    stage = search(1, versus=True)
    look_at_item(stage, 0)
    draw(stage)
    tap(stage, pygame.K_SPACE)
    assert [seat.score for seat in stage.game.seats] == [1, 1]
    assert len(stage.game.seats[1].actions) > 2
    tap(stage, pygame.K_n)
    assert stage.game.phase is Phase.FINISHED
    draw(stage)


def test_a_recording_comes_to_its_score_again(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    options = Options("RAMSearch", keywords={"canvas_size": 100}, seed=4, record=path)
    session = set_up(options)
    stage = Stage(session.game)
    tap(stage, pygame.K_SPACE)
    look_at_item(stage, 0)
    tap(stage, pygame.K_SPACE)
    session.save(options)
    watched = set_up(Options("RAMSearch-v0", replay=path)).game
    watched.proceed()
    while watched.phase is not Phase.FINISHED:
        watched.tick(2.0)
    assert (watched.player.score, watched.player.count) == (1, 1)


def test_turns_are_for_catch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["RAMSearch-v0", "--turns"])
    assert "--turns" in capsys.readouterr().err
