"""Every kind of picture becomes the pixels that a viewer shows, or is refused."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from ram_envs import ImageDataset
from ram_envs.datasets.pixels import Notes, PictureWarning, check_background, to_pixels

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

INK = np.zeros((2, 3, 4), np.uint8)  # black ink, one pixel, on nothing
INK[1, 2, 3] = 255


def reopened(image: Any, file_format: str, **options: Any) -> Any:
    """Return an image as it comes out of a file."""
    content = io.BytesIO()
    image.save(content, file_format, **options)
    content.seek(0)
    return Image.open(content)


def pixels_of(picture: Any, background: Any = 255) -> list[Any]:
    notes = Notes()
    pixels = to_pixels(picture, background, notes)
    assert pixels.dtype == np.uint8
    assert notes.lines() == ()
    return pixels.tolist()  # type: ignore[no-any-return]


def palette_image(colors: list[tuple[int, int, int]]) -> Any:
    """Return an image whose pixel i has color i."""
    image = Image.new("P", (len(colors), 1))
    image.putdata(range(len(colors)))
    image.putpalette([value for color in colors for value in color])
    return image


# --- transparency ----------------------------------------------------------------------------

INK_ON_WHITE = [[255, 255, 255], [255, 255, 0]]


@pytest.mark.parametrize(
    "picture",
    [
        reopened(Image.fromarray(INK), "PNG"),
        reopened(Image.fromarray(INK), "WEBP", lossless=True),
        reopened(Image.fromarray(INK), "TIFF"),
        Image.fromarray(INK).convert("RGBa"),
        INK,
        INK / 255,
    ],
)
def test_black_ink_on_nothing_is_seen_on_white(picture: Any) -> None:
    assert np.array_equal(pixels_of(picture), np.repeat(np.array(INK_ON_WHITE)[..., None], 3, 2))


@pytest.mark.parametrize(
    "picture",
    [
        reopened(Image.fromarray(INK).convert("LA"), "PNG"),
        Image.fromarray(INK).convert("LA").convert("La"),
        reopened(Image.fromarray(INK).quantize(2), "PNG"),
    ],
)
def test_gray_ink_on_nothing_stays_gray(picture: Any) -> None:
    assert pixels_of(picture) == INK_ON_WHITE


def test_a_transparent_value_of_a_palette_of_gray_and_of_16_bits() -> None:
    palette = palette_image([(0, 0, 0), (10, 20, 30), (255, 0, 0)])
    assert pixels_of(reopened(palette, "PNG", transparency=0)) == [
        [[255, 255, 255], [10, 20, 30], [255, 0, 0]]
    ]
    gray = Image.fromarray(np.array([[7, 8]], np.uint8))
    assert pixels_of(reopened(gray, "PNG", transparency=7)) == [[255, 8]]
    color = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert pixels_of(reopened(color, "PNG", transparency=(1, 2, 3))) == [[[255] * 3, [4, 5, 6]]]
    deep = Image.fromarray(np.array([[0x1234, 0xFF00]], np.uint16))
    deep.info["transparency"] = 0x1234
    assert pixels_of(deep, 9) == [[9, 255]]


@pytest.mark.parametrize(
    ("background", "expected"),
    [
        (np.uint8(7), 7),
        ([1, np.int64(2), 3], (1, 2, 3)),
        (np.array([1, 2, 3], np.uint8), (1, 2, 3)),
        (np.array(7), 7),
        ((7,), 7),
    ],
)
def test_the_background_in_numpys_numbers(background: Any, expected: Any) -> None:
    assert repr(check_background(background)) == repr(expected)


def test_the_background_shows_through_in_proportion() -> None:
    fifth = np.array([[[200, 100, 0, 51], [200, 100, 0, 255]]], np.uint8)  # is opaque
    assert pixels_of(fifth, 0) == [[[40, 20, 0], [200, 100, 0]]]
    assert pixels_of(fifth, (0, 100, 255)) == [[[40, 100, 204], [200, 100, 0]]]
    assert pixels_of(fifth) == [[[244, 224, 204], [200, 100, 0]]]
    data = ImageDataset.from_dataset([(Image.fromarray(INK), 0)], background=(1, 2, 3))
    assert data.array[0, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "background", [256, -1, "white", 1.0, True, (1, 2), (1, 2, 300), None, np.ones(3), []]
)
def test_a_background_is_a_color(background: Any) -> None:
    with pytest.raises(ValueError, match="background"):
        check_background(background)
    with pytest.raises(ValueError, match="background"):
        ImageDataset.from_dataset([(INK, 0)], background=background)


# --- orientation, color, depth ---------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[0, 40, 80], [120, 160, 200]]),
        (2, [[80, 40, 0], [200, 160, 120]]),
        (3, [[200, 160, 120], [80, 40, 0]]),
        (6, [[120, 0], [160, 40], [200, 80]]),
        (8, [[80, 200], [40, 160], [0, 120]]),
    ],
)
def test_photos_are_upright(file_format: str, orientation: int, expected: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    assert pixels_of(reopened(image, file_format, exif=exif)) == expected
    data = ImageDataset.from_dataset([(reopened(image, file_format, exif=exif), 0)])
    assert data.array[0].tolist() == expected


def test_jpeg_photos_are_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    image = Image.fromarray(np.repeat(np.repeat([[0, 255]], 8, 1), 8, 0).astype(np.uint8))
    pixels = np.array(pixels_of(reopened(image, "JPEG", exif=exif)))
    assert pixels.shape == (16, 8)
    assert (pixels[:8].max(), pixels[8:].min()) == (0, 255)


def test_palettes_are_applied_and_gray_ones_stay_gray() -> None:
    colors = palette_image([(255, 0, 0), (1, 2, 3)])
    assert pixels_of(reopened(colors, "PNG")) == [[[255, 0, 0], [1, 2, 3]]]
    gray = palette_image([(200, 200, 200), (0, 0, 0), (9, 9, 9)])
    for file_format in ("PNG", "GIF", "BMP"):
        assert pixels_of(reopened(gray, file_format)) == [[200, 0, 9]]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "PPM"])
def test_one_bit_is_black_and_white(file_format: str) -> None:
    image = Image.fromarray(np.array([[True, False, True]]))
    assert pixels_of(reopened(image, file_format)) == [[255, 0, 255]]


def test_other_color_spaces_become_red_green_and_blue() -> None:
    red = Image.new("RGB", (1, 1), (255, 0, 0))
    assert pixels_of(red.convert("CMYK")) == [[[255, 0, 0]]]
    assert pixels_of(red.convert("RGBX")) == [[[255, 0, 0]]]
    assert np.abs(np.array(pixels_of(red.convert("YCbCr"))) - [[[255, 0, 0]]]).max() <= 1
    assert np.abs(np.array(pixels_of(red.convert("HSV"))) - [[[255, 0, 0]]]).max() <= 1


DEEP = np.array([[0, 0x1234, 0xFFFF]])


@pytest.mark.parametrize(
    ("pixels", "file_format"),
    [
        (DEEP.astype(np.uint16), "PNG"),
        (DEEP.astype(np.uint16), "TIFF"),
        (DEEP.astype(np.uint16), "PPM"),
        (DEEP.astype(np.int32), "TIFF"),
    ],
)
def test_16_bits_are_scaled(pixels: Any, file_format: str) -> None:
    assert pixels_of(reopened(Image.fromarray(pixels), file_format)) == [[0, 0x12, 255]]


def test_a_netpbm_file_is_scaled_by_the_value_it_calls_white() -> None:
    def netpbm(white: int, values: bytes) -> Any:
        return Image.open(io.BytesIO(b"P5\n3 1\n%d\n" % white + values))

    assert pixels_of(netpbm(15, bytes([0, 8, 15]))) == [[0, 136, 255]]
    assert pixels_of(netpbm(4095, np.array([0, 2048, 4095], ">u2").tobytes())) == [[0, 128, 255]]


def test_floats_from_0_to_1_are_scaled() -> None:
    image = Image.fromarray(np.array([[0, 0.5, 1]], np.float32))
    assert pixels_of(reopened(image, "TIFF")) == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("pixels", "value"),
    [
        (np.array([[0, 1.5]], np.float32), "1.5"),
        (np.array([[-0.5, 1]], np.float32), "-0.5"),
        (np.array([[0, np.nan]], np.float32), "NaN"),
        (np.array([[0, np.inf]], np.float32), "inf"),
        (np.array([[0, 65536]], np.int32), "65536"),
        (np.array([[-1, 9]], np.int32), "-1"),
    ],
)
def test_values_without_a_known_range_are_refused(pixels: Any, value: str) -> None:
    with pytest.raises(ValueError, match=value):
        to_pixels(reopened(Image.fromarray(pixels), "TIFF"))


# --- arrays and tensors ----------------------------------------------------------------------


def test_channels_are_found_first_or_last() -> None:
    torch = pytest.importorskip("torch")
    for shape in ((5, 6, 3), (3, 5, 6)):
        assert to_pixels(np.zeros(shape, np.uint8)).shape == (5, 6, 3)
        assert to_pixels(torch.zeros(shape)).shape == (5, 6, 3)
    for shape in ((5, 6, 1), (1, 5, 6), (5, 6)):  # type: ignore[assignment]
        assert to_pixels(np.zeros(shape, np.uint8)).shape == (5, 6)
        assert to_pixels(torch.zeros(shape)).shape == (5, 6)
    assert to_pixels(torch.ones(3, 4, 3)).shape == (4, 3, 3)  # channels first, where both may be


@pytest.mark.parametrize("shape", [(28, 30, 30), (2, 30, 30), (30, 30, 2), (1, 3, 5, 5), (0, 5)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    for picture in (np.zeros(shape, np.uint8), torch.zeros(shape)):
        with pytest.raises(ValueError, match=str(shape[0])):
            to_pixels(picture)


# --- what is remarked on ---------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "PNG", "WEBP"])
def test_only_the_first_page_or_frame_is_read_and_that_is_warned_of(file_format: str) -> None:
    first, second = (Image.new("RGB", (2, 2), color) for color in ((9, 9, 9), (200, 0, 0)))
    options: dict[str, Any] = {"lossless": True} if file_format == "WEBP" else {}
    picture = reopened(first, file_format, save_all=True, append_images=[second], **options)
    with pytest.warns(PictureWarning, match="image 0"):
        data = ImageDataset.from_dataset([(picture, 0)])
    assert data.array.max() == 9


def test_the_preview_in_a_phones_photo_is_no_page() -> None:
    photo = Image.new("RGB", (8, 8), (255, 255, 255))
    picture = reopened(photo, "MPO", save_all=True, append_images=[photo])
    assert np.array(pixels_of(picture)).min() == 255


def test_8_bits_in_a_16_bit_picture_are_warned_of() -> None:
    dark = reopened(Image.fromarray(np.array([[0, 200, 255]], np.uint16)), "PNG")
    black = reopened(Image.fromarray(np.zeros((1, 3), np.uint16)), "PNG")
    with pytest.warns(PictureWarning, match="image 1") as caught:
        ImageDataset.from_dataset([(black, 0), (dark, 0), (dark, 0)])
    assert len(caught) == 1
    assert ": 2," in str(caught[0].message)


def png_of_16_bits(pixels: Any, color_type: int) -> Any:
    """Return a picture (H, W, C) of 16 bits, which Pillow does not write in color."""
    pixels = np.asarray(pixels, ">u2")
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")):
        content += struct.pack(">I", len(body)) + kind + body
        content += struct.pack(">I", zlib.crc32(kind + body))
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize(
    ("color_type", "pixel"), [(2, [0, 200, 255]), (4, [255, 65535]), (6, [9, 200, 255, 65535])]
)
def test_8_bits_in_a_16_bit_picture_with_color_or_alpha(color_type: int, pixel: Any) -> None:
    dark = png_of_16_bits([[pixel, pixel]], color_type)
    bright = png_of_16_bits([[[*np.array(pixel[:-1]) * 256, 65535]]], color_type)
    with pytest.warns(PictureWarning, match=r"16.*4096: 1,.*image 1"):
        data = ImageDataset.from_dataset([(bright, 0), (dark, 0)], background=0)
    assert data.array[1].max() == 0


@pytest.mark.parametrize("kind", ["int64", "uint8", "tensor", "L"])
def test_masks_of_0_and_1_are_warned_of(kind: str) -> None:
    mask: Any = np.eye(3, dtype=np.int64 if kind == "int64" else np.uint8)
    if kind == "tensor":
        mask = pytest.importorskip("torch").from_numpy(mask)
    elif kind == "L":
        mask = Image.fromarray(mask)
    with pytest.warns(PictureWarning, match="255") as caught:
        data = ImageDataset.from_dataset([(mask, 0), (mask, 1)])
    assert len(caught) == 1
    assert data.array[1].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_an_array_of_0_and_1_is_warned_of() -> None:
    images, labels = np.zeros((3, 4, 4), np.uint8), np.zeros(3, np.int64)
    ImageDataset(images, labels)  # black
    images[1, 2, 2] = 1
    with pytest.warns(PictureWarning, match="255") as caught:
        ImageDataset(images, labels)
    assert caught[0].filename == __file__
    images[0, 0, 0] = 2
    ImageDataset(images, labels)


def test_ink_that_is_not_seen_on_the_background_is_warned_of() -> None:
    white_ink = INK.copy()
    white_ink[..., :3] = 255
    with pytest.warns(PictureWarning, match="255"):
        ImageDataset.from_dataset([(white_ink, 0)])
    assert ImageDataset.from_dataset([(white_ink, 0)], background=0).array.max() == 255
