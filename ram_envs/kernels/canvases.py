"""Compiled kernels of the canvas: clutter is cut, and pieces and image are added up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from ram_envs.kernels.compiler import (
    BYTES,
    FLAG,
    INTEGER,
    INTEGERS,
    OUT_BYTES,
    compiled,
    flat,
    inlined,
    prefetch,
)
from ram_envs.tasks import canvas

_AHEAD = 8  # pieces


def cut_windows(images: Any, places: Any, size: int) -> Any:
    """See `ram_envs.tasks.canvas.cut_windows`."""
    batch_size, number = places.shape[:2]
    pieces = np.empty((batch_size, number, size, size, *images.shape[3:]), np.uint8)
    height, line = images.shape[1], math.prod(images.shape[2:])
    channels = images.shape[3] if images.ndim == 4 else 1
    if not images.flags.c_contiguous or not _cut_windows(
        images.reshape(-1), flat(places), height, line, size, channels, pieces.reshape(-1)
    ):
        return canvas.cut_windows.numpy(images, places, size)
    return pieces


def add_clipped(shape: tuple[int, ...], pieces: Any, images: Any, places: Any) -> Any:
    """See `ram_envs.tasks.canvas.add_clipped`."""
    canvases = np.zeros((len(images), *shape), np.uint8)
    if _add(canvases, pieces, images, places):
        return canvases
    return canvas.add_clipped.numpy(shape, pieces, images, places)


def add_images(canvases: Any, images: Any, places: Any) -> None:
    """See `ram_envs.tasks.canvas.add_images`."""
    no_pieces = np.empty((len(images), 0, 0, 0), np.uint8)
    if not canvases.flags.c_contiguous or not _add(canvases, no_pieces, images, places):
        canvas.add_images.numpy(canvases, images, places)


def _add(canvases: Any, pieces: Any, images: Any, places: Any) -> bool:
    """Add pieces, then images, to canvases, or return False and leave them as they were."""
    shape = canvases.shape[1:]
    sizes = (
        *(pieces.shape[1], pieces.shape[2], math.prod(pieces.shape[3:])),
        *(images.shape[1], math.prod(images.shape[2:])),
        *(shape[0], math.prod(shape[1:]), shape[2] if len(shape) == 3 else 1),
    )
    arrays = (flat(pieces), flat(images), flat(places))
    is_done: bool = _add_clipped(*arrays, sizes, canvases.reshape(-1))
    return is_done


@compiled(FLAG, BYTES, INTEGERS, *[INTEGER] * 4, OUT_BYTES)
def _cut_windows(pixels, places, height, line, size, channels, pieces):
    """Write all pieces; return whether they lie on the images."""
    length = size * channels
    num_images = pixels.size // (height * line)
    out, number = 0, places.size // 3
    first = np.int64(pixels.ctypes.data)
    for piece in range(number):
        ahead = piece + _AHEAD
        if ahead < number:
            start = (places[3 * ahead] * height + places[3 * ahead + 1]) * line
            start += places[3 * ahead + 2] * channels
            for y in range(size):
                prefetch(first + start + y * line)
        row, top = places[3 * piece], places[3 * piece + 1]
        left = places[3 * piece + 2] * channels
        is_inside = 0 <= row < num_images and 0 <= top <= height - size
        if not is_inside or left < 0 or left > line - length:
            return False
        start = (row * height + top) * line + left
        for _ in range(size):
            for i in range(length):
                pieces[np.uintp(out + i)] = pixels[np.uintp(start + i)]
            start += line
            out += length
    return True


@inlined
def _add_lines(pixels, source, lines, length, canvases, place, line):
    for _ in range(lines):
        for i in range(length):
            under = canvases[np.uintp(place + i)]
            over = pixels[np.uintp(source + i)]
            canvases[np.uintp(place + i)] = under + min(over, np.uint8(~under))
        source += length
        place += line


@compiled(FLAG, BYTES, BYTES, INTEGERS, types.UniTuple(INTEGER, 8), OUT_BYTES)
def _add_clipped(pieces, images, places, sizes, canvases):
    """Add everything; return False, with nothing changed, if something leaves its canvas."""
    number, piece_lines, piece_line, image_lines, image_line, lines, line, channels = sizes
    batch_size = places.size // (2 * (number + 1))
    for b in range(batch_size):
        for j in range(number + 1):
            at = 2 * (b * (number + 1) + j)
            height, length = (piece_lines, piece_line) if j < number else (image_lines, image_line)
            top, left = places[at], places[at + 1] * channels
            if top < 0 or top > lines - height or left < 0 or left > line - length:
                return False
    for b in range(batch_size):
        for j in range(number + 1):
            at = 2 * (b * (number + 1) + j)
            place = (b * lines + places[at]) * line + places[at + 1] * channels
            if j < number:
                source = (b * number + j) * piece_lines * piece_line
                _add_lines(pieces, source, piece_lines, piece_line, canvases, place, line)
            else:
                source = b * image_lines * image_line
                _add_lines(images, source, image_lines, image_line, canvases, place, line)
    return True
