"""How a moment of an episode looks: the canvas, where the retina rests on it, what it sees there.

`draw_frame` turns a `Scene` into a picture. It is made of plain pygame surfaces, so it needs
neither a display nor a window; `to_rgb_array` gives its pixels and `Window` puts it on the screen.

Coordinates. A *canvas position* (x, y) is a pixel edge: (0, 0) is the canvas's top-left corner and
(W, H) its bottom-right one. The retina at the edge c sees, in scale k, the square of
w = G · 2^k canvas pixels that starts at c − ⌊w/2⌋. A *frame position* is a pixel of the picture.

pygame is imported where it is used, so that importing this file does not need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ram_envs.display import import_pygame
from ram_envs.fonts import Color, draw_text, find_font
from ram_envs.views import patch_boxes

if TYPE_CHECKING:
    import pygame

UInt8Array = npt.NDArray[np.uint8]
FRAME_SIZE = (768, 560)  # (width, height); both even, as video codecs want

# Colors that color-blind people tell apart (Okabe & Ito 2008), on a dark ground.
BACKGROUND: Color = (22, 24, 29)
PANEL: Color = (36, 39, 47)
BORDER: Color = (92, 97, 110)
TEXT: Color = (232, 234, 238)
FAINT_TEXT: Color = (160, 165, 176)
FOG: Color = (36, 41, 54)  # where the retina has not looked
SCALE_COLORS: tuple[Color, ...] = (
    (86, 180, 233),  # sky blue
    (230, 159, 0),  # orange
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (213, 94, 0),  # vermillion
)
PATH: Color = (240, 228, 66)  # yellow
RIGHT: Color = (0, 158, 115)  # bluish green
WRONG: Color = (213, 94, 0)  # vermillion
BALL: Color = (255, 92, 92)  # red, beside a white paddle
TARGET = BALL

_GAP = 16  # between the parts of a frame
_COLUMN = 176  # width of the column of patches
_FOOTER = 40  # height of the line of text
# The part of a frame that the canvas has to itself: (left, top, width, height).
_PANEL_AREA = (_GAP, _GAP, FRAME_SIZE[0] - _COLUMN - 3 * _GAP, FRAME_SIZE[1] - _FOOTER - 3 * _GAP)
_MARGIN = 24  # at least this much of the panel shows around the canvas
_FONT_SIZES = {"tiny": 15, "small": 16, "normal": 22}
_NUMBERED = 8  # of a longer path only the newest fixations carry their number


@dataclass(frozen=True)
class Scene:
    """One moment of one episode, all that a frame shows.

    canvas: (H, W) or (H, W, C) uint8. Three channels are a color image; of other numbers of
        channels the mean is shown.
    fixations: (n, 2) int, n ≥ 1, the pixel edges (x, y) where the retina looked so far, oldest
        first; the last is where it looks now.
    glimpse: (K·C, G, G) float32 in [0, 1], scale-major, what it sees now.
    num_scales: K.
    caption: for instance "glimpse 3 of 6".
    choice: the label or the move given last, in words; None before the first.
    truth: the true class; None if the world has none.
    reward: of the last step; None while the episode has none.
    over: whether the episode has ended.
    ball: the pixel (x, y) of the canvas that is drawn in color; None in a world without a ball.
    target: a box (left, top, right, bottom) of pixel edges that is outlined; None if there is none.
    verdict: the result in words, such as "missed by 1 column"; None for the truth or the reward.
    num_older: fixations before the first one here. If there are any, none is numbered.
    """

    canvas: np.ndarray
    fixations: np.ndarray
    glimpse: np.ndarray
    num_scales: int
    caption: str
    choice: str | None
    truth: str | None
    reward: float | None
    over: bool
    ball: tuple[int, int] | None = None
    target: tuple[int, int, int, int] | None = None
    verdict: str | None = None
    num_older: int = 0


@dataclass(frozen=True)
class CanvasView:
    """Where a frame shows the canvas: its top-left frame pixel and frame pixels per canvas pixel.

    The scale is a whole number unless the canvas is too large for the frame.
    """

    left: int
    top: int
    scale: float

    def to_frame(self, x: float, y: float) -> tuple[int, int]:
        """Return the frame position of a canvas position."""
        return self.left + round(x * self.scale), self.top + round(y * self.scale)


def canvas_view(canvas_shape: tuple[int, ...]) -> CanvasView:
    """Return where a frame shows a canvas of shape (H, W[, C])."""
    left, top, width, height = _PANEL_AREA
    canvas_height, canvas_width = canvas_shape[:2]
    room = (width - 2 * _MARGIN, height - 2 * _MARGIN)
    scale = fitting_scale((canvas_width, canvas_height), room)
    return CanvasView(
        left=left + (width - round(canvas_width * scale)) // 2,
        top=top + (height - round(canvas_height * scale)) // 2,
        scale=scale,
    )


def draw_frame(scene: Scene) -> pygame.Surface:
    """Return a picture of a scene: a new surface of `FRAME_SIZE`, for any canvas.

    On the left is the canvas with the path of fixations and the retina's squares; on the right is
    what each square sees, framed in its color; below are the chosen label or move and the outcome.
    """
    frame = _Frame()
    _draw_canvas(frame, scene, canvas_view(scene.canvas.shape))
    _draw_patches(frame, scene)
    _draw_footer(frame, scene)
    return frame.surface


def to_rgb_array(surface: pygame.Surface) -> UInt8Array:
    """Return a copy of a surface's pixels, (height, width, 3) uint8."""
    pg = import_pygame()
    return np.ascontiguousarray(pg.surfarray.array3d(surface).transpose(1, 0, 2))


def to_surface(frame: UInt8Array) -> pygame.Surface:
    """Return a surface with the pixels of a frame (height, width, 3) uint8.

    This is the inverse of `to_rgb_array`.
    """
    pg = import_pygame()
    surface: pygame.Surface = pg.surfarray.make_surface(frame.transpose(1, 0, 2))
    return surface


# The parts of a frame ---------------------------------------------------------------------------


def _draw_canvas(frame: _Frame, scene: Scene, view: CanvasView) -> None:
    """Draw the canvas in its panel, the path so far, and the retina's squares where it looks."""
    frame.surface.fill(PANEL, _PANEL_AREA)
    canvas_height, canvas_width = scene.canvas.shape[:2]
    left, top, right, bottom = *view.to_frame(0, 0), *view.to_frame(canvas_width, canvas_height)
    canvas = scene.canvas
    if scene.ball is not None:
        canvas = to_rgb(canvas).copy()
        canvas[scene.ball[1], scene.ball[0]] = BALL
    frame.image(canvas, (left, top, max(1, right - left), max(1, bottom - top)))
    frame.outline((left - 1, top - 1, right + 1, bottom + 1), BORDER, width=1)

    if scene.target is not None:
        left, top, right, bottom = scene.target
        corners = (*view.to_frame(left, top), *view.to_frame(right, bottom))
        frame.square(corners, TARGET)

    frame.surface.set_clip(_PANEL_AREA)  # squares may reach beyond the canvas, not beyond the panel
    boxes = patch_boxes(scene.fixations[-1], _patch_widths(scene))
    for k, (left, top, right, bottom) in reversed(list(enumerate(boxes))):
        corners = (*view.to_frame(left, top), *view.to_frame(right, bottom))
        frame.square(corners, _scale_color(k))
    points = [view.to_frame(int(x), int(y)) for x, y in scene.fixations]
    _draw_path(frame, points, begins=scene.num_older == 0)
    frame.surface.set_clip(None)


def _draw_path(frame: _Frame, points: list[tuple[int, int]], begins: bool) -> None:
    """Draw a line through the fixations, the older the fainter, from a square to a ring.

    A path that does not begin with the first fixation has neither the square nor numbers.
    """
    last = len(points) - 1
    # 1 for the newest, falling to 0.35 for those six or more fixations ago.
    colors = [_mix(PANEL, PATH, max(0.35, 1 - 0.11 * (last - i))) for i in range(len(points))]
    for i in range(last):
        frame.line(points[i], points[i + 1], colors[i + 1])
    for i, point in enumerate(points):
        if i == last:
            frame.ring(point, colors[i])
        elif i == 0 and begins:
            frame.small_square(point, colors[i])
        else:
            frame.dot(point, colors[i])
    for i, (x, y) in enumerate(points):
        if begins and (i == 0 or i > last - _NUMBERED):
            distance = 10 if i == last else 7
            # Above the point, or below it where the path goes up from here.
            side = 1 if points[i + 1 if i < last else i - 1][1] < y else -1
            beside = (x + distance, y + side * distance)
            frame.text(str(i + 1), beside, colors[i], "tiny", halo=True)


def _draw_patches(frame: _Frame, scene: Scene) -> None:
    """Draw each scale of the glimpse, the finest on top, with its width on the canvas."""
    frame_width, frame_height = FRAME_SIZE
    label_height, space = 16, 8  # above and below a patch
    cell_height = (frame_height - _FOOTER - 3 * _GAP + space) // scene.num_scales
    left = frame_width - _GAP - _COLUMN
    glimpse_size = scene.glimpse.shape[-1]
    room = (_COLUMN, cell_height - label_height - space)
    side = max(1, round(glimpse_size * fitting_scale((glimpse_size, glimpse_size), room)))

    for k, width in enumerate(_patch_widths(scene)):
        top = _GAP + k * cell_height
        color = _scale_color(k)
        frame.text(f"{width} × {width} px", (left, top + label_height // 2 - 3), color, "small")
        top += label_height
        frame.image(_glimpse_patch(scene, k), (left, top, side, side))
        frame.outline((left - 2, top - 2, left + side + 2, top + side + 2), color, width=2)


def _draw_footer(frame: _Frame, scene: Scene) -> None:
    """Draw one line: the caption, the last choice and, once it is known, the verdict."""
    frame_width, frame_height = FRAME_SIZE
    middle = frame_height - _GAP - _FOOTER // 2
    column = frame_width - _GAP - _COLUMN
    x = frame.text(scene.caption, (_GAP, middle), FAINT_TEXT, "normal", until=column - _GAP)
    if scene.choice is not None:
        words = f"says {scene.choice}"
        frame.text(words, (x + _GAP, middle), TEXT, "normal", until=column - _GAP)

    words, good = _verdict(scene)
    if good is not None:
        frame.mark(good, (column + 8, middle))
        column += 28
    frame.text(words, (column, middle), TEXT, "normal", until=frame_width - _GAP)


def _verdict(scene: Scene) -> tuple[str, bool | None]:
    """Return the outcome in words and whether it is good; None while it is open."""
    if scene.over and scene.truth is not None:
        good = scene.choice == scene.truth
        return ("right" if good else f"it is {scene.truth}"), good
    if scene.over and scene.verdict is not None:
        return scene.verdict, bool(scene.reward and scene.reward > 0)
    if scene.reward is None or not (scene.over or scene.reward):
        return "", None
    return f"reward {scene.reward:g}", scene.reward > 0 if scene.over else None


# Strokes ----------------------------------------------------------------------------------------


class _Frame:
    """A surface and the few kinds of strokes a frame is made of."""

    def __init__(self) -> None:
        self._pg = import_pygame()
        self.surface: pygame.Surface = self._pg.Surface(FRAME_SIZE, depth=32)
        self.surface.fill(BACKGROUND)

    def image(self, pixels: np.ndarray, rect: tuple[int, int, int, int]) -> None:
        """Stretch an image (H, W) or (H, W, C) over a rectangle (left, top, width, height).

        It is enlarged in crisp blocks, and reduced by averaging.
        """
        # Of a vast image every n-th pixel is enough: four for each of the picture's.
        step = max(1, min(pixels.shape[0] // rect[3], pixels.shape[1] // rect[2]) // 4)
        pixels = pixels[::step, ::step]
        source = to_surface(to_rgb(pixels))
        enlarged = rect[2] >= source.get_width() and rect[3] >= source.get_height()
        transform = self._pg.transform
        stretch = transform.scale if enlarged else transform.smoothscale
        self.surface.blit(stretch(source, rect[2:]), rect[:2])

    def outline(self, corners: tuple[int, int, int, int], color: Color, width: int) -> None:
        """Draw the rim inside the rectangle from (left, top) to (right, bottom)."""
        left, top, right, bottom = corners
        rect = (left, top, right - left, bottom - top)
        self._pg.draw.rect(self.surface, color, rect, width)

    def square(self, corners: tuple[int, int, int, int], color: Color) -> None:
        """Draw a line of two pixels on the edges, one on each side, with a dark rim."""
        # Brought nearer, where it is still out of sight: pygame takes seconds for vast squares.
        reach = max(FRAME_SIZE) + 8
        left, top, right, bottom = (min(max(corner, -8), reach) for corner in corners)
        self.outline((left - 2, top - 2, right + 2, bottom + 2), BACKGROUND, width=4)
        self.outline((left - 1, top - 1, right + 1, bottom + 1), color, width=2)

    def line(self, start: tuple[int, int], end: tuple[int, int], color: Color) -> None:
        self._pg.draw.line(self.surface, BACKGROUND, start, end, 4)
        self._pg.draw.aaline(self.surface, color, start, end, 2)

    def dot(self, center: tuple[int, int], color: Color) -> None:
        self._pg.draw.aacircle(self.surface, BACKGROUND, center, 5)
        self._pg.draw.aacircle(self.surface, color, center, 4)

    def ring(self, center: tuple[int, int], color: Color) -> None:
        self._pg.draw.aacircle(self.surface, BACKGROUND, center, 8, 5)
        self._pg.draw.aacircle(self.surface, color, center, 7, 3)

    def small_square(self, center: tuple[int, int], color: Color) -> None:
        self._pg.draw.rect(self.surface, BACKGROUND, (center[0] - 5, center[1] - 5, 10, 10))
        self._pg.draw.rect(self.surface, color, (center[0] - 4, center[1] - 4, 8, 8))

    def mark(self, good: bool, center: tuple[int, int]) -> None:
        """Draw a tick or a cross, which the font does not have."""
        x, y = center
        if good:
            strokes = [[(x - 8, y), (x - 3, y + 6), (x + 8, y - 7)]]
        else:
            strokes = [[(x - 7, y - 7), (x + 7, y + 7)], [(x - 7, y + 7), (x + 7, y - 7)]]
        for stroke in strokes:
            for start, end in pairwise(stroke):
                self._pg.draw.aaline(self.surface, RIGHT if good else WRONG, start, end, 4)

    def text(
        self,
        words: str,
        middle_left: tuple[int, int],
        color: Color,
        font_name: str,
        *,
        until: int | None = None,
        halo: bool = False,
    ) -> int:
        """Write words from a point to the right; return the x at which they end.

        They are cut off at x = `until`. A halo keeps them legible on a bright canvas. Nothing is
        written where pygame was built without fonts.
        """
        x, y = middle_left
        if (font := find_font(_FONT_SIZES[font_name])) is None:
            return x
        if until is not None and font.size(words)[0] > until - x:
            while words and font.size(words + "…")[0] > until - x:
                words = words[:-1]
            words += "…"
        top = y - font.get_height() // 2
        shadow = BACKGROUND if halo else None
        return x + draw_text(self.surface, font, words, (x, top), color, shadow)


# Geometry and colors ---------------------------------------------------------------------------


def fitting_scale(size: tuple[int, int], room: tuple[float, float]) -> float:
    """Return the largest whole factor at which an image fits the room, or a fraction below 1.

    A whole factor makes every pixel a block of one size.
    """
    scale = min(room[0] / size[0], room[1] / size[1])
    return float(int(scale)) if scale >= 1 else scale


def _patch_widths(scene: Scene) -> list[int]:
    """Return the width G · 2^k of each scale in canvas pixels, the finest first."""
    return [scene.glimpse.shape[-1] * 2**k for k in range(scene.num_scales)]


def _glimpse_patch(scene: Scene, k: int) -> UInt8Array:
    """Return scale k of the glimpse as an image, (G, G, C) uint8."""
    channels, *patch_shape = scene.glimpse.shape
    patches = scene.glimpse.reshape(scene.num_scales, channels // scene.num_scales, *patch_shape)
    patch: UInt8Array = np.round(patches[k].transpose(1, 2, 0) * 255).astype(np.uint8)
    return patch


def to_rgb(image: np.ndarray) -> UInt8Array:
    """Return an image (H, W) or (H, W, C) as (H, W, 3) uint8, read-only.

    Three channels are kept. One channel, or the mean of any other number, is repeated.
    """
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[-1] not in (1, 3):
        image = image.mean(axis=-1, keepdims=True)
    pixels: UInt8Array = image.astype(np.uint8)
    return np.broadcast_to(pixels, (*image.shape[:2], 3))


def _scale_color(k: int) -> Color:
    return SCALE_COLORS[k % len(SCALE_COLORS)]


def _mix(ground: Color, color: Color, strength: float) -> Color:
    """Return a color at a strength from 0, which is the ground alone, to 1."""
    red, green, blue = (round(g + (c - g) * strength) for g, c in zip(ground, color, strict=True))
    return red, green, blue
