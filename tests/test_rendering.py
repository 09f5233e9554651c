"""A frame shows the canvas, the retina's squares and what they see where the geometry says."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from ram_envs import rendering
from ram_envs.bars import draw_bars
from ram_envs.display import Window
from ram_envs.rendering import (
    BACKGROUND,
    BALL,
    PANEL,
    PATH,
    RIGHT,
    SCALE_COLORS,
    WRONG,
    Scene,
    canvas_view,
    draw_frame,
    to_rgb_array,
)

pygame = pytest.importorskip("pygame")

WHITE = (255, 255, 255)
VERDICT = (slice(500, 548), slice(576, 598))  # where a frame has its mark


def make_scene(**changes: Any) -> Scene:
    """A black 60 × 60 canvas seen in 3 scales of 12 × 12, before anything is said."""
    fields: dict[str, Any] = {
        "canvas": np.zeros((60, 60), np.uint8),
        "fixations": np.array([[30, 30]]),
        "glimpse": np.zeros((3, 12, 12), np.float32),
        "num_scales": 3,
        "caption": "glimpse 1 of 6",
        "choice": None,
        "truth": None,
        "reward": None,
        "over": False,
    }
    return Scene(**(fields | changes))


def draw(**changes: Any) -> np.ndarray:
    return to_rgb_array(draw_frame(make_scene(**changes)))


def color_at(frame: np.ndarray, x: int, y: int) -> tuple[int, ...]:
    return tuple(int(value) for value in frame[y, x])


def shows(part: np.ndarray, color: tuple[int, ...]) -> bool:
    return bool((part == color).all(axis=-1).any())


def test_frame_is_an_rgb_array_of_its_own() -> None:
    surface = draw_frame(make_scene())
    frame = to_rgb_array(surface)
    assert frame.shape == (560, 768, 3)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    surface.fill(WHITE)
    assert color_at(frame, 0, 0) == BACKGROUND


def test_size_stays_the_same_over_an_episode() -> None:
    moments = [
        make_scene(),
        make_scene(fixations=np.array([[30, 30], [0, 60]]), choice="3", reward=0.0),
        make_scene(
            fixations=np.tile([[60, 0], [5, 9]], (40, 1)),
            caption="glimpse 80 of 80, and a caption much too long for any frame " * 3,
            choice="an answer that is too long for the frame " * 5,
            truth="a truth that is too long for the frame " * 5,
            reward=1.0,
            over=True,
        ),
    ]
    assert {draw_frame(scene).get_size() for scene in moments} == {(768, 560)}


def test_canvas_is_enlarged_by_a_whole_factor_in_the_middle_of_its_panel() -> None:
    view = canvas_view((60, 60))
    assert (view.left, view.top, view.scale) == (78, 42, 7.0)
    assert view.to_frame(30, 60) == (288, 462)


def test_canvas_pixels_are_crisp_blocks() -> None:
    canvas = np.zeros((60, 60), np.uint8)
    canvas[50, 3] = 200  # the block of 7 × 7 frame pixels that starts at (78 + 21, 42 + 350)
    frame = draw(canvas=canvas)
    assert (frame[392:399, 99:106] == 200).all()
    for x, y in [(98, 395), (106, 395), (102, 391), (102, 399)]:
        assert color_at(frame, x, y) == (0, 0, 0)


def test_squares_lie_where_the_retina_looks() -> None:
    frame = draw(fixations=np.array([[20, 30]]))
    # Scale 0 covers canvas x from 14 to 26, scale 1 from 8 to 32, scale 2 from −4 to 44; with 7
    # frame pixels each, the lines of two pixels are centered on these frame positions.
    for k, (left, right) in enumerate([(176, 260), (134, 302), (50, 386)]):
        for x in (left - 1, left, right - 1, right):
            assert color_at(frame, x, 240) == SCALE_COLORS[k]
        for x in (left - 2, left + 1, right - 2, right + 1):
            assert color_at(frame, x, 240) == BACKGROUND  # the dark rim
    for k, (top, bottom) in enumerate([(210, 294), (168, 336), (84, 420)]):
        for y in (top - 1, top, bottom - 1, bottom):
            assert color_at(frame, 200, y) == SCALE_COLORS[k]


def test_patch_of_odd_width_starts_at_the_edge_less_half_its_width_rounded_down() -> None:
    frame = draw(glimpse=np.zeros((1, 5, 5), np.float32), num_scales=1)
    # From canvas pixel 30 − 2 = 28 to 33.
    assert color_at(frame, 78 + 28 * 7, 252) == SCALE_COLORS[0]
    assert color_at(frame, 78 + 33 * 7, 252) == SCALE_COLORS[0]


def test_square_beyond_the_canvas_is_cut_off_at_the_panel() -> None:
    frame = draw(fixations=np.array([[0, 60]]))
    # The finest square begins at canvas x = −6: frame position 36, in the panel's margin.
    assert color_at(frame, 36, 450) == SCALE_COLORS[0]
    # The coarsest would begin at −24, left of the panel; below the panel nothing is drawn.
    assert color_at(frame, 40, 400) == PANEL
    assert shows(frame[487:488], SCALE_COLORS[2])
    assert (frame[488:495] == BACKGROUND).all()


def test_patches_show_what_each_scale_sees_framed_in_its_color() -> None:
    glimpse = np.zeros((3, 12, 12), np.float32)
    glimpse[0, 0, 0] = 1.0
    glimpse[1, 11, 11] = 0.5
    glimpse[2] = 1.0
    frame = draw(glimpse=glimpse)
    # The patches start at x = 576 and y = 32, 192, 352 and are 12 · 11 frame pixels wide.
    assert (frame[32:43, 576:587] == 255).all()
    assert color_at(frame, 587, 32) == (0, 0, 0)
    assert color_at(frame, 700, 316) == (128, 128, 128)
    assert color_at(frame, 600, 450) == WHITE
    for k, top in enumerate([32, 192, 352]):
        for x in (574, 575, 708, 709):
            assert color_at(frame, x, top + 60) == SCALE_COLORS[k]


def test_color_canvas_and_glimpse_keep_their_colors() -> None:
    canvas = np.zeros((60, 60, 3), np.uint8)
    canvas[50, 3] = (10, 20, 200)
    glimpse = np.zeros((6, 12, 12), np.float32)  # 2 scales of 3 channels, scale-major
    glimpse[4] = 1.0  # the green of scale 1
    frame = draw(canvas=canvas, glimpse=glimpse, num_scales=2)
    assert color_at(frame, 102, 395) == (10, 20, 200)
    assert shows(frame[:, 576:], (0, 255, 0))
    assert not shows(frame[:, 576:], (255, 0, 0))


def test_other_numbers_of_channels_are_shown_as_their_mean() -> None:
    canvas = np.zeros((60, 60, 2), np.uint8)
    canvas[50, 3] = (100, 200)
    frame = draw(canvas=canvas, glimpse=np.zeros((6, 12, 12), np.float32))
    assert color_at(frame, 102, 395) == (150, 150, 150)


def test_path_leads_from_the_first_fixation_to_the_last() -> None:
    frame = draw(fixations=np.array([[10, 10], [50, 10], [50, 50]]))
    # At the last a ring that leaves the middle open, at the others a dot; newer ones are brighter.
    assert color_at(frame, 428 + 6, 392) == PATH
    assert color_at(frame, 428 + 2, 392) != PATH
    first, second = color_at(frame, 148, 112), color_at(frame, 428, 112)
    assert sum(first) < sum(second) < sum(PATH)
    assert shows(frame[112:114, 250:251], second)  # the line between the two


@pytest.mark.parametrize(
    ("truth", "choice", "reward", "color"),
    [
        ("3", "3", 1.0, RIGHT),
        ("3", "8", 0.0, WRONG),
        ("3", None, None, WRONG),
        (None, "left", 1.0, RIGHT),
        (None, "left", 0.0, WRONG),
    ],
)
def test_verdict_is_given_at_the_end(
    truth: str | None, choice: str | None, reward: float | None, color: tuple[int, int, int]
) -> None:
    said: dict[str, Any] = {"truth": truth, "choice": choice, "reward": reward}
    during, after = draw(**said)[VERDICT], draw(**said, over=True)[VERDICT]
    assert shows(after, color)
    assert not shows(during, RIGHT)
    assert not shows(during, WRONG)


def test_a_ball_is_drawn_in_color() -> None:
    canvas = np.zeros((60, 60), np.uint8)
    assert not shows(draw(canvas=canvas), BALL)
    assert color_at(draw(canvas=canvas, ball=(3, 50)), 102, 395) == BALL


def test_the_verdict_of_a_task_replaces_the_reward() -> None:
    end: dict[str, Any] = {"truth": None, "choice": "left", "over": True}
    missed = draw(**end, reward=0.0, verdict="missed by 1 column")
    assert shows(missed[VERDICT], WRONG)
    assert not np.array_equal(missed, draw(**end, reward=0.0))
    assert shows(draw(**end, reward=1.0, verdict="caught")[VERDICT], RIGHT)


def test_truth_is_not_told_before_the_end() -> None:
    assert (draw(truth="3") == draw(truth=None)).all()


@pytest.mark.parametrize(
    ("canvas_shape", "glimpse_shape", "num_scales"),
    [
        ((8, 8), (1, 4, 4), 1),
        ((24, 24), (3, 6, 6), 3),
        ((1, 1), (1, 1, 1), 1),
        ((100, 100), (4, 12, 12), 4),
        ((768, 1024), (5, 16, 16), 5),
        ((3000, 8), (2, 300, 300), 2),
        ((8, 3000, 3), (6, 7, 7), 2),
        ((61, 47, 1), (40, 3, 3), 40),
    ],
)
def test_any_canvas_fits(
    canvas_shape: tuple[int, ...], glimpse_shape: tuple[int, int, int], num_scales: int
) -> None:
    height, width = canvas_shape[:2]
    frame = draw(
        canvas=np.full(canvas_shape, 255, np.uint8),
        fixations=np.array([[0, 0], [width, height]]),
        glimpse=np.ones(glimpse_shape, np.float32),
        num_scales=num_scales,
    )
    assert frame.shape == (560, 768, 3)
    view = canvas_view(canvas_shape)
    left, top = view.to_frame(0, 0)
    right, bottom = view.to_frame(width, height)
    assert 40 <= left <= right <= 536  # the panel less its margin
    assert 40 <= top <= bottom <= 464


def test_large_canvas_is_reduced_by_averaging() -> None:
    canvas = np.zeros((768, 1024), np.uint8)
    canvas[:, ::2] = 200  # lines of one pixel: 100 on average, 0 or 200 where pixels are skipped
    frame = draw(canvas=canvas)
    assert canvas_view(canvas.shape).scale == 496 / 1024
    part = frame[300:400, 300:500].astype(int)
    assert part.min() >= 80
    assert part.max() <= 120


def test_drawing_leaves_the_scene_alone_and_remembers_nothing() -> None:
    scene = make_scene(canvas=np.arange(3600).reshape(60, 60).astype(np.uint8), choice="3")
    kept = scene.canvas.copy()
    first = to_rgb_array(draw_frame(scene))
    draw(choice="8", over=True, truth="3")
    pygame.font.quit()  # fonts loaded before are dead from here on
    assert (to_rgb_array(draw_frame(scene)) == first).all()
    pygame.font.quit()
    pygame.font.init()
    assert (to_rgb_array(draw_frame(scene)) == first).all()
    assert (scene.canvas == kept).all()


def test_drawing_needs_no_display() -> None:
    program = (
        "import os, sys; os.environ['SDL_VIDEODRIVER'] = 'none'\n"
        "import numpy as np; from ram_envs.rendering import *\n"
        "assert 'pygame' not in sys.modules\n"
        "scene = Scene(np.zeros((60, 60), np.uint8), np.array([[30, 30]]),\n"
        "    np.zeros((3, 12, 12), np.float32), 3, 'glimpse', '7', None, None, False)\n"
        "assert to_rgb_array(draw_frame(scene)).shape == (560, 768, 3)\n"
        "import pygame; assert not pygame.display.get_init()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_without_fonts_the_frame_has_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class MissingPart:
        """As pygame's stand-in for a part it was built without."""

        def __getattr__(self, name: str) -> None:
            raise NotImplementedError(f"font module not available: {name}")

    def with_bars() -> Any:
        bars = draw_bars(draw_frame(make_scene()), np.array([0.25, 0.75]), ["cat", "dog"])
        return to_rgb_array(bars)[:, 768:]

    assert shows(draw(choice="3")[500:548], rendering.TEXT)
    assert shows(with_bars(), rendering.TEXT)
    monkeypatch.setattr(pygame, "font", MissingPart())
    assert (draw(choice="3")[488:] == BACKGROUND).all()
    assert shows(with_bars(), rendering.PATH)
    assert not shows(with_bars(), rendering.TEXT)


def test_without_pygame_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    for attempt in (lambda: draw_frame(make_scene()), Window):
        with pytest.raises(DependencyNotInstalled, match=r'pip install "ram-gym\[play\]"'):
            attempt()


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window("a test", render_fps=100)
    yield window
    window.close()
    pygame.display.quit()


def test_window_opens_with_its_first_frame_and_shows_it(window: Window) -> None:
    assert not pygame.display.get_init()
    surface = draw_frame(make_scene())
    window.show(surface)
    window.show(surface)
    assert not window.closed
    assert pygame.display.get_caption()[0] == "a test"
    assert (to_rgb_array(pygame.display.get_surface()) == to_rgb_array(surface)).all()


def test_window_keeps_its_rate(window: Window) -> None:
    surface = draw_frame(make_scene())
    window.show(surface)
    start = pygame.time.get_ticks()
    for _ in range(5):
        window.show(surface)
    assert pygame.time.get_ticks() - start >= 45


def test_window_hands_on_keys(window: Window) -> None:
    surface = draw_frame(make_scene())
    window.show(surface)
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_LEFT))
    keys = [event.key for event in window.show(surface) if event.type == pygame.KEYDOWN]
    assert keys == [pygame.K_LEFT]


def test_window_stays_closed_when_the_user_closes_it(window: Window) -> None:
    surface = draw_frame(make_scene())
    window.show(surface)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    window.show(surface)
    assert window.closed
    assert window.show(surface) == []
    assert not pygame.display.get_init()


def test_window_that_never_opened_can_be_closed(window: Window) -> None:
    window.close()
    window.close()
    assert window.closed
    assert not pygame.display.get_init()
