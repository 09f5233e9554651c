"""Compiled kernels of the retina: windows are read and pooled, one after another.

Eight pixels at a time are added as one word of 64 bits: its bytes are first added in pairs, which
makes lanes of 16 bits, then these in pairs, and so on. A line of sums thus stays as long as its
line of pixels. From 64 bits on, sums are added one by one.

A sum is divided by its maximum, 255 · 4^k, as a product with the float64 inverse. Rounded to
float32 this is the quotient's nearest float32: a quotient of so small integers is never so close
to the middle between two of them that the product's error could matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ram_envs import retina
from ram_envs.kernels.compiler import (
    BYTES,
    INTEGER,
    INTEGERS,
    LOCATIONS,
    OUT_GLIMPSES,
    compiled,
    inlined,
    prefetch,
    read,
    write,
)

_8, _16, _32 = np.uint64(8), np.uint64(16), np.uint64(32)
_BYTES, _SHORTS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_INTS = np.uint64(0xFFFFFFFF)
_AHEAD = 4  # windows


def look_at_padded(sensor: retina.Retina, padded: retina.Padded, locations: Any) -> Any:
    """See `ram_envs.retina.look_at_padded`."""
    rows, shape = np.arange(len(padded.pixels)), padded.image_shape
    return _glimpses(sensor, padded.pixels, shape, sensor.patch_widths[-1], rows, locations)


def look_at_rows(sensor: retina.Retina, source: Any, rows: Any, locations: Any) -> Any:
    """See `ram_envs.retina.look_at_rows`."""
    if type(source) is not np.ndarray or not source.flags.c_contiguous:
        return retina.look_at_rows.numpy(sensor, source, rows, locations)
    return _glimpses(sensor, source, source.shape[1:], 0, rows, locations)


def _glimpses(
    sensor: retina.Retina, pixels: Any, shape: Any, padding: int, rows: Any, locations: Any
) -> Any:
    height, width, channels = shape if len(shape) == 3 else (*shape, 1)
    size, num_scales = sensor.glimpse_size, sensor.num_scales
    glimpses = np.empty((len(rows), num_scales * channels, size, size), np.float32)
    sizes = (height, width, channels, padding, size, num_scales)
    try:
        wrong = _look(pixels.reshape(-1), rows, locations, *sizes, glimpses)
    except TypeError:  # rows or locations of another type, or with gaps
        rows = np.ascontiguousarray(rows, np.int64)
        locations = np.ascontiguousarray(locations, np.float32)
        wrong = _look(pixels.reshape(-1), rows, locations, *sizes, glimpses)
    if wrong >= 0:
        raise IndexError(f"row {rows[wrong]} is out of range: there are {len(pixels)} images.")
    return glimpses


@inlined
def _edge(location, side):
    """Return the pixel edge, as `ram_envs.retina.pixel_edges` does."""
    place = np.float64(location)
    if not place > -1.0:
        place = np.float64(-1.0)
    if place > 1.0:
        place = np.float64(1.0)
    return np.int64((place + 1.0) * (side / 2) + 0.5)


@inlined
def _prefetch(place, line_step, pixel_step, region):
    """Begin to read a region of a window that will be copied soon."""
    top, bottom, left, right = region
    for y in range(top, bottom):
        line = place + y * line_step
        for x in range(left * pixel_step, right * pixel_step, 64):
            prefetch(line + x)
        prefetch(line + right * pixel_step - 1)


@inlined
def _find(b, rows, locations, height, width, widest):
    """Return the row, top and left of window b, and the region of it that lies on the image."""
    left = _edge(locations[b, 0], width) - (widest >> 1)
    top = _edge(locations[b, 1], height) - (widest >> 1)
    region = max(0, -top), min(widest, height - top), max(0, -left), min(widest, width - left)
    return rows[b], top, left, region


@inlined
def _copy_window(pixels, line_step, pixel_step, region, window, line):
    """Copy the region (top, bottom, left, right) of a window that lies on the image."""
    top, bottom, left, right = region
    length = right - left
    for y in range(top, bottom):
        source, target = pixels + y * line_step + left * pixel_step, window + y * line + left
        if pixel_step == 1 and length >= 8:
            for _ in range((length - 1) >> 3):
                write(target, read(source, np.uint64))
                source += 8
                target += 8
            rest = ((length - 1) & 7) - 7  # the last 8 pixels overlap those before
            write(target + rest, read(source + rest, np.uint64))
        else:
            for i in range(length):
                write(target + i, read(source + i * pixel_step, np.uint8))


@inlined
def _add_pairs(before, lines, words, lanes, shift, after):
    """Add 2 × 2 lanes: lines in pairs, and in each the lanes that are neighbors."""
    for _ in range(lines >> 1):
        for i in range(0, 8 * words, 8):
            upper = read(before + i, np.uint64)
            lower = read(before + 8 * words + i, np.uint64)
            sums = (upper & lanes) + ((upper >> shift) & lanes)
            write(after + i, sums + (lower & lanes) + ((lower >> shift) & lanes))
        before += 16 * words
        after += 8 * words


@inlined
def _add_words(before, lines, after):
    """Add 2 × 2 words of lines × lines."""
    for y in range(lines >> 1):
        for x in range(lines >> 1):
            upper = before + 16 * (y * lines + x)
            lower = upper + 8 * lines
            sums = read(upper, np.uint64) + read(upper + 8, np.uint64)
            write(after, sums + read(lower, np.uint64) + read(lower + 8, np.uint64))
            after += 8


@inlined
def _write(sums, kind, width, step, margin, scale, size, glimpse):
    """Write the size × size sums within a margin as floats.

    A sum takes `width` bytes, and lines of sums are `step` bytes apart.
    """
    inverse = 1.0 / (255 << (2 * scale))
    sums += margin * (step + width)
    for _ in range(size):
        for x in range(size):
            value = np.float64(read(sums + width * x, kind)) * inverse
            write(glimpse + 4 * x, np.float32(value))
        sums += step
        glimpse += 4 * size


@inlined
def _pool(window, spare, size, num_scales, glimpse, stride):
    """Write a window's glimpse, scale after scale, where each patch's cells nest in the next's."""
    width = size << (num_scales - 1)
    words = (width + 7) >> 3
    _write(window, np.uint8, 1, 8 * words, (width >> 1) - (size >> 1), 0, size, glimpse)
    for scale in range(1, num_scales):
        glimpse += stride
        lines = width >> scale
        margin = (lines - size) >> 1
        if scale == 1:
            _add_pairs(window, 2 * lines, words, _BYTES, _8, spare)
            _write(spare, np.uint16, 2, 8 * words, margin, 1, size, glimpse)
        elif scale == 2:
            _add_pairs(spare, 2 * lines, words, _SHORTS, _16, window)
            _write(window, np.uint32, 4, 8 * words, margin, 2, size, glimpse)
        else:
            if scale == 3:
                _add_pairs(window, 2 * lines, words, _INTS, _32, spare)
            else:
                window, spare = spare, window
                _add_words(window, 2 * lines, spare)
            _write(spare, np.uint64, 8, 8 * lines, margin, scale, size, glimpse)


@inlined
def _pool_patches(window, size, num_scales, glimpse, stride):
    """Do the same where the cells of one patch straddle those of the next, from the pixels."""
    width = size << (num_scales - 1)
    step = (width + 7) & ~7
    for scale in range(num_scales):
        cell = 1 << scale
        inverse = 1.0 / (255 << (2 * scale))
        margin = (width >> 1) - ((size << scale) >> 1)
        for y in range(size):
            for x in range(size):
                total = 0
                corner = window + (margin + y * cell) * step + margin + x * cell
                for line in range(cell):
                    for i in range(cell):
                        total += read(corner + line * step + i, np.uint8)
                write(glimpse + 4 * (y * size + x), np.float32(total * inverse))
        glimpse += stride


@compiled(INTEGER, BYTES, INTEGERS, LOCATIONS, *[INTEGER] * 6, OUT_GLIMPSES)
def _look(pixels, rows, locations, height, width, channels, padding, size, num_scales, glimpses):
    """Write all glimpses; return the place of a row that does not exist, or -1.

    The pixels are those of images (N, H, W, C), or, with padding, (N, C, H + padding, W + padding).
    """
    line_step, channel_step, pixel_step = width * channels, 1, channels
    image_step = height * line_step
    source = np.int64(pixels.ctypes.data)
    if padding > 0:
        line_step, pixel_step = width + padding, 1
        channel_step = (height + padding) * line_step
        image_step = channels * channel_step
        source += (padding >> 1) * (line_step + 1)
    num_images = pixels.size // image_step
    widest = size << (num_scales - 1)
    line = (widest + 7) & ~7  # whole words
    scratch = np.empty(line * (widest + ((widest + 1) >> 1)), np.uint8)
    window = np.int64(scratch.ctypes.data)
    spare = window + line * widest
    glimpse = np.int64(glimpses.ctypes.data)
    stride = 4 * channels * size * size
    nests = size % 2 == 0 or num_scales <= 2
    for b in range(rows.size):
        if rows[b] < 0 or rows[b] >= num_images:
            return b
        ahead = b + _AHEAD
        if ahead < rows.size:
            row, top, left, region = _find(ahead, rows, locations, height, width, widest)
            place = source + row * image_step + top * line_step + left * pixel_step
            _prefetch(place, line_step, pixel_step, region)
        row, top, left, region = _find(b, rows, locations, height, width, widest)
        place = source + row * image_step + top * line_step + left * pixel_step
        leaves_image = left < 0 or top < 0 or left + widest > width or top + widest > height
        for _ in range(channels):
            if leaves_image:
                scratch[: line * widest] = 0
            _copy_window(place, line_step, pixel_step, region, window, line)
            if nests:
                _pool(window, spare, size, num_scales, glimpse, stride)
            else:
                _pool_patches(window, size, num_scales, glimpse, stride)
            place += channel_step
            glimpse += 4 * size * size
        glimpse += (num_scales - 1) * stride
    # Numba frees an array after its last use, and does not see that addresses are uses.
    return -1 if scratch.size else -2
