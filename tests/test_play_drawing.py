"""What a game shows: the glimpse, fog where the retina does not look, and afterwards all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pygame = pytest.importorskip("pygame")

from stages import ROW, StillAgent, begun, catch, draw, fall, point, press, quiz  # noqa: E402

from ram_envs.datasets import ImageDataset  # noqa: E402
from ram_envs.play.game import Phase  # noqa: E402
from ram_envs.play.quiz_game import QuizGame  # noqa: E402
from ram_envs.play.screen import board_view, gaze_at  # noqa: E402
from ram_envs.play.seat import AgentPilot, Deal, Seat  # noqa: E402
from ram_envs.play.session import make_env  # noqa: E402
from ram_envs.play.sheet import SHEET_SIZE, Sheet  # noqa: E402
from ram_envs.play.window import Stage  # noqa: E402
from ram_envs.rendering import FOG, to_rgb_array  # noqa: E402
from ram_envs.views import spread_glimpse  # noqa: E402


def test_a_glimpse_is_spread_over_the_pixels_it_is_the_mean_of() -> None:
    glimpse = np.array([[[0.0, 0.2], [0.4, 0.6]], [[1.0, 0.8], [0.6, 0.4]]], np.float32)
    grays, is_seen = spread_glimpse(glimpse, 2, (2, 1), (4, 5))
    # The fine patch covers columns 1–2 of rows 0–1, the coarse one columns 0–3 of rows −1 to 2.
    assert grays[..., 0].tolist() == [
        [255, 0, 51, 204, 0],
        [153, 102, 153, 102, 0],
        [153, 153, 102, 102, 0],
        [0, 0, 0, 0, 0],
    ]
    assert is_seen.tolist() == [[True] * 4 + [False]] * 3 + [[False] * 5]


def test_the_board_shows_exactly_the_glimpse_and_fog_elsewhere() -> None:
    stage = begun(catch(keywords={"initial_location": (-0.5, -0.75)}))  # the edge (6, 3)
    state = stage.game.player.env.batch.state
    state.x[:], state.v[:] = 11.0, 0.0
    point(stage, 24 + 23 * 6, 24 + 23 * 3)
    stage.tick(ROW)  # the ball is now at column 11, row 1
    frame = draw(stage)

    def pixel(column: int, line: int) -> tuple[int, ...]:
        return tuple(int(v) for v in frame[24 + 23 * line + 5, 24 + 23 * column + 5])

    # Scale 1 has cells of 2 × 2 from column 0, row −3: the ball's cell is columns 10–11, rows 1–2.
    assert pixel(11, 1) == pixel(10, 2) == (64, 64, 64)
    # Scale 2 has cells of 4 × 4 from column −6 to 17, row −9 to 14: the ball's is 10–13, −1–2.
    assert pixel(12, 1) == pixel(13, 2) == (16, 16, 16)
    assert pixel(14, 1) == pixel(17, 14) == (0, 0, 0)
    assert pixel(18, 1) == pixel(17, 15) == FOG
    press(stage, pygame.K_f)
    frame = draw(stage)
    assert pixel(11, 1) == (255, 255, 255)
    assert pixel(10, 2) == pixel(18, 1) == (0, 0, 0)


def test_contrast_brightens_faint_grays_only_on_the_screen() -> None:
    stage = begun(catch(keywords={"initial_location": (-0.5, -0.75)}))
    state = stage.game.player.env.batch.state
    state.x[:], state.v[:] = 11.0, 0.0
    stage.game.move_gaze_to((6, 3))
    stage.tick(ROW)
    press(stage, pygame.K_c)
    assert draw(stage)[24 + 23 + 5, 24 + 23 * 11 + 5].tolist() == [128, 128, 128]  # 64 before


def test_lifting_the_fog_is_told_at_the_end() -> None:
    stage = begun(catch())
    press(stage, pygame.K_f)
    press(stage, pygame.K_f)
    fall(stage)
    assert stage.game.summary().splitlines()[1].split()[-3] == "1"


def test_afterwards_the_ball_and_the_gaze_are_drawn_where_they_were() -> None:
    stage = begun(catch())
    stage.game.move_gaze_to((3, 20))
    fall(stage)
    frame = draw(stage)
    column, line = stage.game.player.ball_path[4]
    assert frame[24 + 23 * line + 11, 24 + 23 * column + 11].tolist() == [230, 159, 0]
    assert frame[24 + 23 * 20, 24 + 23 * 3].tolist() == [86, 180, 233]


@pytest.mark.parametrize("size", [(960, 640), (333, 777), (1, 1), (2000, 300)])
def test_every_screen_is_drawn_in_any_window(size: tuple[int, int]) -> None:
    for game in (catch(), quiz()):
        stage = Stage(game)
        draw(stage, size)
        press(stage, pygame.K_SPACE)
        for key in (pygame.K_h, pygame.K_h, pygame.K_p, pygame.K_p, pygame.K_f, pygame.K_f):
            press(stage, key)
            draw(stage, size)
        if isinstance(game, QuizGame):
            game.look((0, 60))
            draw(stage, size)
        else:
            fall(stage)
            draw(stage, size)
            press(stage, pygame.K_n)
            fall(stage)
            press(stage, pygame.K_n)
            assert game.phase is Phase.FINISHED
            draw(stage, size)


def test_what_is_drawn_is_where_the_mouse_finds_it() -> None:
    game = quiz()
    for size in ((960, 640), (700, 900), (401, 299)):
        view = board_view(game, size)
        for edge in ((0, 0), (31, 8), (60, 60)):
            assert gaze_at(game, size, view.to_frame(*edge)) == edge


def test_the_opponents_eye_is_hidden_until_the_ball_has_landed() -> None:
    opponent = Seat("agent", make_env("RAMCatch-v0", {}), AgentPilot(StillAgent()))
    stage = begun(catch(opponent=opponent))
    view = board_view(stage.game, SHEET_SIZE, 1)
    corner = view.to_frame(1, 1)
    assert tuple(draw(stage)[corner[1], corner[0]]) == FOG
    paddle_row = [view.to_frame(column + 0.5, 23.5) for column in range(24)]
    picture = draw(stage)
    assert all(tuple(picture[y, x]) == FOG for x, y in paddle_row)
    fall(stage)
    picture = draw(stage)
    assert sum(tuple(picture[y, x]) == (255, 255, 255) for x, y in paddle_row) >= 1


def test_the_numbers_along_the_path_have_a_dark_rim() -> None:
    darkest = {}
    for halo in (False, True):
        surface = pygame.Surface(SHEET_SIZE, depth=32)
        sheet = Sheet(surface)
        surface.fill("white")
        sheet.text_at("1", (300, 300), 20, (86, 180, 233), halo=halo)
        darkest[halo] = to_rgb_array(surface).max(-1).min()
    assert darkest[False] >= 233  # from the words' own color to white
    assert darkest[True] < 100


def test_images_of_two_channels_are_shown_gray() -> None:
    images = np.zeros((2, 4, 4, 2), np.uint8)
    images[..., 0] = 100  # and the other channel 0: 50 on the average
    keywords: dict[str, Any] = {
        "dataset": ImageDataset(images, np.arange(2)),
        "glimpse_size": 4,
        "num_scales": 1,
    }
    env = make_env("RAMClassification-v0", {**keywords, "initial_location": (0, 0)})
    stage = begun(QuizGame(Seat("you", env), [Deal(0, 0)]))
    view = board_view(stage.game, SHEET_SIZE)
    x, y = view.to_frame(0.6, 0.6)
    assert draw(stage)[y, x].tolist() == [50, 50, 50]


def test_what_was_seen_remains_faded() -> None:
    game = quiz()
    stage = begun(game)
    game.look((5, 5))
    game.look((55, 55))
    memory = game.player.remembered()
    assert memory is not None
    seen_before = memory[1] & ~game.player.seen()[1]
    assert seen_before.any()
    picture = draw(stage)
    assert (picture == np.array(FOG)).all(-1).any()
    assert catch().player.remembered() is None
