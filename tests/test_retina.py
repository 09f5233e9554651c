"""The retina sees the pixels that the geometry names: by hand on small images, then in general."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lazy_images import LazyImages

from ram_envs import kernels
from ram_envs.glimpse_env import GlimpseEnv, GlimpseVectorEnv
from ram_envs.retina import Retina, pixel_edges
from ram_envs.tasks.catch import Catch

try:
    import torch
except ImportError:  # the environments need none: test_tensors_are_looked_at_too says so
    torch = None  # type: ignore[assignment]

NUMBERED = np.arange(1, 17, dtype=np.uint8).reshape(1, 4, 4)
#  1  2  3  4
#  5  6  7  8
#  9 10 11 12
# 13 14 15 16


def see(images: np.ndarray, locations: np.ndarray, size: int, scales: int) -> np.ndarray:
    """Glimpses of images in memory, of a source that reads windows, and of tensors: they agree."""
    retina = Retina(size, scales)
    glimpses = retina(images, locations)
    for source in (images, LazyImages(images)):
        windowed = retina.look_by_window(source, np.arange(len(images)), locations)
        assert np.array_equal(windowed, glimpses)
    if torch is not None:
        tensors = torch.tensor(images.copy()), torch.tensor(locations)
        seen = retina(*tensors)  # type: ignore[arg-type]
        assert seen.dtype == torch.float32
        assert seen.shape == glimpses.shape
        assert np.array_equal(seen.numpy(), glimpses)  # type: ignore[attr-defined]
    return glimpses


def look(images: np.ndarray, location: tuple[float, float], size: int, scales: int) -> np.ndarray:
    """One glimpse (K · C, G, G) of the first image."""
    return see(images[:1], np.array([location], np.float32), size, scales)[0]  # type: ignore[no-any-return]


def glimpse_of(*sums: Any) -> np.ndarray:
    """The glimpse whose cells of scale k hold these sums of 4^k pixels."""
    scales = [np.array(cells, np.float32) / np.float32(255 * 4**k) for k, cells in enumerate(sums)]
    return np.stack(scales)


# --- by hand ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "fine", "coarse"),
    [
        # the top-left corner: only the last cell of each patch lies on the image
        ((-1, -1), [[0, 0], [0, 1]], [[0, 0], [0, 1 + 2 + 5 + 6]]),
        ((1, 1), [[16, 0], [0, 0]], [[11 + 12 + 15 + 16, 0], [0, 0]]),
        # x first: (−1, 1) is the bottom-left corner, (1, −1) the top-right one
        ((-1, 1), [[0, 13], [0, 0]], [[0, 9 + 10 + 13 + 14], [0, 0]]),
        ((1, -1), [[0, 0], [4, 0]], [[0, 0], [3 + 4 + 7 + 8, 0]]),
        ((0, 0), [[6, 7], [10, 11]], [[14, 22], [46, 54]]),
        # the pixel edge (3, 1)
        ((0.5, -0.5), [[3, 4], [7, 8]], [[2 + 3, 4], [6 + 7 + 10 + 11, 8 + 12]]),
    ],
)
def test_two_scales_on_a_numbered_image(location: Any, fine: Any, coarse: Any) -> None:
    assert np.array_equal(look(NUMBERED, location, 2, 2), glimpse_of(fine, coarse))


def test_patch_of_odd_width_starts_at_the_edge_less_half_its_width_rounded_down() -> None:
    assert np.array_equal(
        look(NUMBERED, (0, 0), 3, 2),
        glimpse_of(
            [[6, 7, 8], [10, 11, 12], [14, 15, 16]],  # 3 wide, from pixel 2 − 1
            [[1, 2 + 3, 4], [5 + 9, 6 + 7 + 10 + 11, 8 + 12], [13, 14 + 15, 16]],  # 6, from −1
        ),
    )


def test_whole_image_in_one_patch() -> None:
    assert np.array_equal(look(NUMBERED, (0, 0), 4, 1), glimpse_of(NUMBERED[0]))


def test_one_cell_and_one_pixel() -> None:
    image = np.array([[[200]]], np.uint8)
    # ⌊(0 + 1)/2 · 1 + ½⌋ = 1: the middle of a single pixel rounds to its right and lower edge.
    assert look(image, (0, 0), 1, 1).tolist() == [[[0.0]]]
    assert look(image, (-1, -1), 1, 1) == np.float32(200 / 255)
    assert look(image, (0, 0), 1, 2)[1] == np.float32(200 / 1020)


def test_image_that_is_not_square() -> None:
    image = np.arange(1, 13, dtype=np.uint8).reshape(1, 2, 6)  # 2 high, 6 wide
    assert np.array_equal(look(image, (1 / 3, 0), 2, 1), glimpse_of([[4, 5], [10, 11]]))
    assert np.array_equal(look(image, (0, 1), 2, 1), glimpse_of([[9, 10], [0, 0]]))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.uint64])
def test_row_numbers_of_any_integer_type(kind: Any) -> None:
    images = np.zeros((120, 300, 4), np.uint8)
    images[:, 150, 2] = np.arange(120)
    images.flags.writeable = False
    rows = np.array([0, 119], kind)
    seen = Retina(1).look_by_window(images, rows, np.zeros((2, 2), np.float32))
    assert seen.ravel().tolist() == [0, np.float32(119 / 255)]


def test_channels_of_the_innermost_patch_come_first() -> None:
    image = np.array([[[[1, 10, 100], [2, 20, 110]], [[3, 30, 120], [4, 40, 130]]]], np.uint8)
    glimpse = look(image, (0, 0), 1, 2)  # (2 · 3, 1, 1)
    assert np.array_equal(
        glimpse.ravel(),
        np.float32([4 / 255, 40 / 255, 130 / 255, 10 / 1020, 100 / 1020, 460 / 1020]),  # type: ignore[arg-type]
    )


def test_locations_are_rounded_to_float32() -> None:
    canvas = np.arange(100, dtype=np.uint8).reshape(1, 10, 10)
    # In float64, (−0.1 + 1)/2 · 10 + ½ is 5; of the float32 nearest to −0.1 it is less.
    locations = np.array([[-0.1, 0.3]])
    glimpse = glimpse_of([[63, 64], [73, 74]])
    for form in ("numpy", "numba") if kernels.form_in_use() == "numba" else ("numpy",):
        with kernels.using(form):
            assert np.array_equal(see(canvas, locations, 2, 1)[0], glimpse)
            assert np.array_equal(see(canvas, locations.astype(np.float32), 2, 1)[0], glimpse)


def test_one_channel_is_as_none() -> None:
    assert np.array_equal(look(NUMBERED[..., None], (0.5, 0), 2, 2), look(NUMBERED, (0.5, 0), 2, 2))


@pytest.mark.parametrize("num_scales", [1, 4, 5, 6, 8])
def test_white_is_one_and_black_zero_at_every_scale(num_scales: int) -> None:
    side = 2 << num_scales  # twice the widest patch of G = 2
    white = np.full((1, side, side), 255, np.uint8)
    assert (look(white, (0, 0), 2, num_scales) == 1).all()
    assert (look(white * 0, (0, 0), 2, num_scales) == 0).all()
    # At a corner a quarter of each patch is on the image: the last of its four cells.
    assert (look(white, (-1, -1), 2, num_scales) == [[0, 0], [0, 1]]).all()


def test_wide_boxes_are_summed_exactly() -> None:
    # One black pixel in 128 × 128 changes the sum of the last cell by 1 in 16,384.
    image = np.full((1, 256, 256), 255, np.uint8)
    image[0, 255, 255] = 0
    coarsest = look(image, (0, 0), 2, 8)[7]
    assert coarsest.tolist() == [[1, 1], [1, np.float32(1 - 2**-14)]]
    image[0, 255, 255] = 254  # the smallest difference there is: 255 · 4^7 − 1
    assert look(image, (0, 0), 2, 8)[7, 1, 1] == np.float32(4_177_919 / 4_177_920)


# --- the pixel edge of a location ------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "edges"),
    [
        # the locations    −1  −0.75  −0.5  −0.25  0  0.25  0.5  0.75  1
        (1, [0, 0, 0, 0, 1, 1, 1, 1, 1]),
        (2, [0, 0, 1, 1, 1, 1, 2, 2, 2]),
        (3, [0, 0, 1, 1, 2, 2, 2, 3, 3]),
        (4, [0, 1, 1, 2, 2, 3, 3, 4, 4]),
        (28, [0, 4, 7, 11, 14, 18, 21, 25, 28]),
    ],
)
def test_pixel_edges(width: int, edges: list[int]) -> None:
    steps = np.linspace(-1, 1, 9, dtype=np.float32)
    locations = np.stack([steps, np.full(9, -1, np.float32)], axis=-1)
    assert pixel_edges(locations, 5, width).tolist() == [[edge, 0] for edge in edges]
    assert pixel_edges(locations[:, ::-1], width, 5).tolist() == [[0, edge] for edge in edges]


def test_pixel_edge_changes_at_the_very_location_where_it_should() -> None:
    below = np.nextafter(np.float32(-0.75), np.float32(-1))
    assert pixel_edges(np.array([below, -0.75], np.float32), 4, 4).tolist() == [0, 1]
    # In float32 the first would be rounded to 0, whose edge is 3.
    assert pixel_edges(np.array([-(2.0**-30), 0], np.float32), 5, 5).tolist() == [2, 3]


def test_pixel_edges_keep_leading_axes() -> None:
    locations = np.zeros((2, 3, 2), np.float32)
    assert pixel_edges(locations, 60, 100).tolist() == [[[50, 30]] * 3] * 2


def test_a_location_outside_the_box_names_the_border() -> None:
    locations = np.array([[-1.5, 0], [1.5, -np.inf], [np.inf, 3]], np.float32)
    assert pixel_edges(locations, 4, 6).tolist() == [[0, 2], [6, 0], [6, 4]]


# --- tensors ---------------------------------------------------------------------------------


def test_tensors_are_looked_at_too() -> None:
    # Everything that `see` and `look` above look at is also given as tensors, if there is torch.
    torch = pytest.importorskip("torch")
    images, locations = torch.tensor(NUMBERED), torch.tensor([[0.5, -0.5]])
    glimpse = glimpse_of([[3, 4], [7, 8]], [[2 + 3, 4], [6 + 7 + 10 + 11, 8 + 12]])
    assert torch.equal(Retina(2, 2)(images, locations)[0], torch.tensor(glimpse))
    assert pixel_edges(torch.tensor([[-1.5, 0.0], [1, 0.5]]), 4, 6).tolist() == [[0, 2], [6, 3]]
    assert pixel_edges(torch.tensor([[2.5, -9.0]]), 4, 6).tolist() == [[6, 0]]


def test_tensors_of_which_rows_are_looked_at() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    images, rows = rng.integers(0, 256, (5, 6, 8, 3), np.uint8), np.array([4, 0, 0, 2, 4, 3])
    locations = rng.uniform(-1, 1, (6, 2)).astype(np.float32)
    tensors = map(torch.tensor, (images, rows, locations))
    seen = Retina(2, 3).look_by_window(*tensors)
    assert np.array_equal(seen.numpy(), Retina(2, 3)(images[rows], locations))  # type: ignore[attr-defined]


def test_many_tensors_are_looked_at_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (7, 9, 9), np.uint8)
    locations = rng.uniform(-1, 1, (7, 2)).astype(np.float32)
    monkeypatch.setattr("ram_envs.retina._TENSOR_BLOCK_BYTES", 2 * 12 * 12)  # two windows
    seen = Retina(3, 3)(torch.tensor(images), torch.tensor(locations))
    assert np.array_equal(seen.numpy(), Retina(3, 3)(images, locations))  # type: ignore[attr-defined]


# --- in general ------------------------------------------------------------------------------


def glimpse_pixel_by_pixel(
    image: np.ndarray, location: np.ndarray, size: int, scales: int
) -> np.ndarray:
    """A glimpse (K · C, G, G) of one image (H, W, C), with nothing but loops."""
    height, width, channels = image.shape
    pixels = image.tolist()
    x, y = (float(coordinate) for coordinate in location)
    edge_x, edge_y = math.floor((x + 1) / 2 * width + 0.5), math.floor((y + 1) / 2 * height + 0.5)
    glimpse = np.zeros((scales * channels, size, size), np.float32)
    for scale in range(scales):
        side = 2**scale
        left, top = edge_x - size * side // 2, edge_y - size * side // 2
        for row in range(size):
            for column in range(size):
                sums = [0] * channels
                for y in range(top + row * side, top + (row + 1) * side):
                    for x in range(left + column * side, left + (column + 1) * side):
                        if 0 <= y < height and 0 <= x < width:
                            sums = [s + p for s, p in zip(sums, pixels[y][x], strict=True)]
                cells = [np.float32(total / (255 * side * side)) for total in sums]
                glimpse[scale * channels : (scale + 1) * channels, row, column] = cells
    return glimpse


special = [-1.0, 0.0, 1.0, -0.5, 0.25]
neighbors = [
    float(np.nextafter(np.float32(value), np.float32(way))) for value in special for way in (-1, 1)
]
coordinates = st.one_of(st.floats(-1, 1, width=32), st.sampled_from(special + neighbors))


@st.composite
def views(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Images (B, H, W, C), locations (B, 2), G and K; narrow patches where there are many."""
    scales = draw(st.integers(1, 6))
    size = draw(st.integers(1, max(1, 16 >> scales)))
    shape = draw(st.tuples(st.integers(1, 3), *[st.integers(1, 40)] * 2, st.integers(1, 3)))
    images = draw(hnp.arrays(np.uint8, shape, fill=st.integers(0, 255)))
    pairs = st.lists(coordinates, min_size=2, max_size=2)
    locations = draw(st.lists(pairs, min_size=shape[0], max_size=shape[0]))
    return images, np.array(locations, np.float32), size, scales


@given(views())
@settings(max_examples=150)
def test_glimpse_is_what_counting_pixel_by_pixel_gives(view: Any) -> None:
    images, locations, size, scales = view
    glimpses = see(images, locations, size, scales)
    assert glimpses.dtype == np.float32
    for image, location, glimpse in zip(images, locations, glimpses, strict=True):
        expected = glimpse_pixel_by_pixel(image, location, size, scales)
        assert np.array_equal(glimpse, expected)


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
    coordinates,
    coordinates,
)
def test_glimpse_of_noise_is_what_counting_gives(
    shape: tuple[int, int], size: int, scales: int, seed: int, x: float, y: float
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 1), np.uint8)
    location = np.array([x, y], np.float32)
    glimpse = see(image[None, ..., 0], location[None], size, scales)[0]
    assert np.array_equal(glimpse, glimpse_pixel_by_pixel(image, location, size, scales))


def test_rows_of_a_batch_do_not_touch() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (70, 9, 7, 2), np.uint8)  # more than are summed at once
    locations = rng.uniform(-1, 1, (70, 2)).astype(np.float32)
    together = see(images, locations, 3, 3)
    assert together.shape == (70, 6, 3, 3)
    for row in (0, 1, 31, 32, 63, 64, 69):
        alone = Retina(3, 3)(images[row : row + 1], locations[row : row + 1])
        assert np.array_equal(together[row], alone[0])


def test_rows_say_which_image_is_looked_at() -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (5, 6, 8, 3), np.uint8)
    retina, rows = Retina(2, 3), np.array([4, 0, 0, 2, 4, 3])
    locations = rng.uniform(-1, 1, (6, 2)).astype(np.float32)
    expected = retina(images[rows], locations)
    assert np.array_equal(retina.look_by_window(images, rows, locations), expected)
    assert np.array_equal(retina.look_by_window(LazyImages(images), rows, locations), expected)


def test_looking_changes_nothing_and_gives_arrays_of_its_own() -> None:
    images, locations = NUMBERED.copy(), np.array([[0.3, -0.2]], np.float32)
    retina = Retina(2, 2)
    first = retina(images, locations)
    kept = first.copy()
    first[:] = -1
    assert np.array_equal(retina(images, locations), kept)
    assert np.array_equal(images, NUMBERED)
    assert locations.tolist() == np.float32([[0.3, -0.2]]).tolist()  # type: ignore[arg-type]


def test_images_may_be_read_only_and_strided() -> None:
    big = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8)
    view = big[:, ::2, ::-2]
    view.flags.writeable = False
    locations = np.zeros((2, 2), np.float32)
    assert np.array_equal(see(view, locations, 2, 2), see(view.copy(), locations, 2, 2))


# --- the retina itself -----------------------------------------------------------------------


def test_shapes_and_widths() -> None:
    retina = Retina(12, 4)
    assert retina.patch_widths == (12, 24, 48, 96)
    assert retina.glimpse_shape((100, 100)) == (4, 12, 12)
    assert retina.glimpse_shape((100, 100, 3)) == (12, 12, 12)
    assert Retina(8).patch_widths == (8,)
    assert repr(retina) == "Retina(glimpse_size=12, num_scales=4)"
    assert Retina(np.int64(5), np.uint8(2)).patch_widths == (5, 10)  # type: ignore[arg-type]
    assert Retina(65_536).patch_widths == (65_536,)
    assert Retina(1, 13).patch_widths[-1] == 4096


def test_images_up_to_sixteen_windows_are_laid_out_amid_black() -> None:
    retina = Retina(12, 3)  # a window of 48 × 48, sixteen of which are 192 × 192
    assert retina.pads((192, 192))
    assert retina.pads((96, 384))
    assert retina.pads((384, 96, 3))
    assert not retina.pads((192, 193))
    assert not retina.pads((193, 192))


@pytest.mark.parametrize(
    ("size", "scales", "message"),
    [
        (0, 1, "glimpse_size=0.* 65536"),
        (-3, 1, "glimpse_size=-3"),
        (2.0, 1, r"glimpse_size=2\.0"),
        ("8", 1, "glimpse_size='8'"),
        (65_537, 1, "glimpse_size=65537"),
        (8, 0, "num_scales=0.* 13"),
        (8, 14, "num_scales=14.* 13"),
        (8, 1.5, r"num_scales=1\.5"),
        (8, None, "num_scales=None"),
    ],
)
def test_impossible_retinas_are_refused(size: Any, scales: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Retina(size, scales)


# --- what the retina is given ----------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, *([torch.as_tensor] if torch is not None else [])])
@pytest.mark.parametrize("side", [8, 200])  # padded, and by window
def test_a_location_that_is_nan_is_refused(kind: Any, side: int) -> None:
    images = kind(np.zeros((2, side, side), np.uint8))
    locations = kind(np.array([[0, 0.5], [np.nan, 0]], np.float32))
    with pytest.raises(ValueError, match="nan"):
        Retina(4)(images, locations)
    locations[1, 0] = np.inf  # clipped
    assert Retina(4)(images, locations).shape == (2, 1, 4, 4)


@pytest.mark.parametrize("kind", [np.asarray, *([torch.as_tensor] if torch is not None else [])])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bool", "int64"])
def test_images_that_are_not_uint8_are_refused(kind: Any, dtype: str) -> None:
    images = kind(np.ones((1, 8, 8), dtype))
    with pytest.raises(TypeError, match=rf"{dtype}.*uint8"):
        Retina(4)(images, kind(np.zeros((1, 2), np.float32)))


@pytest.mark.parametrize(
    ("images", "locations"), [((8, 8), (1, 2)), ((1, 8, 8), (2,)), ((2, 8, 8), (1, 2))]
)
def test_shapes_that_do_not_fit_are_refused(
    images: tuple[int, ...], locations: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="shape"):
        Retina(4)(np.zeros(images, np.uint8), np.zeros(locations, np.float32))


@pytest.mark.parametrize("shape", [(2, 0, 0), (2, 8, 0), (2, 8, 8, 0)])
def test_images_without_pixels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        Retina(4)(np.zeros(shape, np.uint8), np.zeros((2, 2), np.float32))
    assert Retina(4)(np.zeros((0, 8, 8), np.uint8), np.zeros((0, 2), np.float32)).shape[0] == 0


def test_a_task_whose_images_are_floats_is_refused_at_its_first_reset() -> None:
    class Bright(Catch):
        def images(self, state: Any) -> Any:
            screens, rows = super().images(state)
            return screens / 255, rows

    class Narrow(Catch):
        def images(self, state: Any) -> Any:
            screens, rows = super().images(state)
            return screens[:, :, 1:], rows

    for make_env in (GlimpseEnv, GlimpseVectorEnv):
        with pytest.raises(TypeError, match=r"Bright.*float64.*uint8"):
            make_env(Bright(), Retina(4)).reset(seed=0)
        with pytest.raises(ValueError, match=r"Narrow.*\(24, 23\).*\(24, 24\)"):
            make_env(Narrow(), Retina(4)).reset(seed=0)
