"""Changes to a file that its format survives, so that a fuzzer gets past a reader's first check.

Bytes that are changed at random seldom pass a checksum, or a length that is said twice. So `mutate`
takes a file apart as far as its format is known, changes a part, and puts it together again, with
new lengths and checksums. What is no known format is changed by `change`, the fuzzer's own.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from fuzz_targets import Refused, pack, parts_of

Change = Callable[[bytes], bytes]

SHARE_OF_RAW = 0.15  # how often a file is changed as if its format were not known
MOST_UNPACKED = 2**22  # of what is taken apart
MOST_REPEATED = 2**24  # of zeros that are packed, which is what a file is that fills the memory

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, 7, 2**16, 2**31, 2**63, 10**30, 10**400),
    *(0.5, -1.5, 1e308, float("inf"), float("nan")),
    *("", "0", "RAMCatch-v0", "mnist", "digits", "/", "os:x", "\x1b[31m", "\ud800", "x" * 5000),
    *([], {}, [[]], [0], [1, 2, 3], {"0": 0}),
)
PICKLED = (
    *(b"cbuiltins\nbytearray\n", b"ccollections\nCounter\n", b"ccollections\nOrderedDict\n"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nTensor\n", b"ctorch\nSize\n"),
    *(b"ctorch\nFloatStorage\n", b"c_codecs\nencode\n", b"cos\nsystem\n"),
    *(b"J\xff\xff\xff\x7f", b"J\x00\x00\x00\x80", b"\x8a\x08" + b"\x7f" * 8, b"K\x00", b"G" * 9),
    *(b"\x85", b"\x86", b"\x87", b"R", b"\x81", b"b", b"Q", b"t", b"(", b"}", b"]", b"s", b"u"),
    *(b"N", b"\x88", b"2", b"0", b".", b"q\x00", b"h\x00", b"r\xff\xff\xff\x7f", b"\x8e"),
)
HEADER_WORDS = (
    *("(", ")", "[", "]", "{", "}", "'", '"', ",", ":", "\\", "#", "\n", "L", "-", "1j", "None"),
    *("True", "'|u1'", "'<i8'", "'|O'", "'|V0'", "'<f8'", "'<U9'", "'<M8[s]'", "'|u1,(2,3)i4'"),
    *("[('a', '<i4')]", "'|S999999999'", "0", "1", "2", "-1", "4294967296", "9" * 30, "9" * 5000),
    *("()", "(0,)", "(1,)", "(2, 2)", "('shape',)", "set()", "'shape'", "'descr'", "\x00", "ü"),
)
METHODS = (
    *(zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
    *(zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA),
)


def mutate(content: bytes, rng: random.Random, change: Change) -> bytes:
    """A file that differs from `content` in one place or a few."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = _mutate_once(content, rng, change)
    return content


def _mutate_once(content: bytes, rng: random.Random, change: Change) -> bytes:
    if rng.random() < SHARE_OF_RAW:
        return change(content)
    otherwise = _mutate_header if _is_safetensors(content) else _mutate_json
    known = (FORMATS[beginning] for beginning in FORMATS if content.startswith(beginning))
    mutate_format = next(known, otherwise)
    try:
        return mutate_format(content, rng, change)
    except Exception:  # a format that is damaged already
        return change(content)


# --- archives --------------------------------------------------------------------------------


def _mutate_zip(content: bytes, rng: random.Random, change: Change) -> bytes:
    try:
        parts = parts_of(content)
        is_several_files = not any(name.startswith("archive/") for name in parts)
    except Refused:
        is_several_files = False
    members: list[tuple[str, int, bytes]] = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            if member.file_size < MOST_UNPACKED:
                part = archive.read(member)
                members.append((member.filename, member.compress_type, part))
    place = rng.randrange(len(members))
    name, method, part = members[place]
    choice = rng.random()
    if choice < 0.85:
        mutate_part = _mutate_pickle if name.endswith(".pkl") else _mutate_once
        members[place] = (name, method, mutate_part(part, rng, change))
    elif choice < 0.89:
        del members[place]
    elif choice < 0.93:
        other, _, _ = rng.choice(members)
        members[place] = (rng.choice((other, name[:-1], name + "x", name * 2)), method, part)
    elif choice < 0.96:
        members.append((rng.choice(("a/b.png", "c.npy", name + ".png", name)), method, part))
    elif choice < 0.999 or is_several_files:
        members[place] = (name, rng.choice(METHODS), part)
    else:
        zeros = bytes(rng.randrange(MOST_REPEATED))
        members[place] = (name, zipfile.ZIP_DEFLATED, part + zeros)
    if is_several_files:
        return pack({name: part for name, _, part in members})
    packed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w") as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, method, part in members:
            archive.writestr(zipfile.ZipInfo(name), part, method)
    return packed.getvalue()


def _mutate_gzip(content: bytes, rng: random.Random, change: Change) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        inner = stream.read(MOST_UNPACKED)
    if rng.random() < 0.001:
        return gzip.compress(inner + bytes(rng.randrange(MOST_REPEATED)), mtime=0)
    return gzip.compress(_mutate_once(inner, rng, change), mtime=0)


# --- arrays and weights ----------------------------------------------------------------------


def _mutate_npy(content: bytes, rng: random.Random, change: Change) -> bytes:
    """Another header, of the right length, or another body."""
    length_bytes = 2 if content[6] == 1 else 4
    start = 8 + length_bytes
    end = start + int.from_bytes(content[8:start], "little")
    header, body = content[start:end], content[end:]
    if rng.random() < 0.2:
        return content[:end] + change(body)
    if rng.random() < 0.2:
        header = change(header)
    else:
        text = header.decode("latin-1")
        spans = [found.span() for found in re.finditer(r"[\w|<>]+|[^\w\s]", text)]
        first, last = rng.choice(spans)
        if rng.random() < 0.3:  # put in, not in its place
            last = first
        text = text[:first] + rng.choice(HEADER_WORDS) + text[last:]
        header = text.encode("latin-1", "replace").rstrip(b" \n")
        header += b" " * (-(len(header) + start + 1) % 64) + b"\n"
    beginning = content[:6] + rng.choice((content[6:8], b"\x01\x00", b"\x02\x00", b"\x03\x00"))
    length_bytes = 2 if beginning[6] == 1 else 4
    return beginning + len(header).to_bytes(length_bytes, "little") + header + body


def _mutate_idx(content: bytes, rng: random.Random, change: Change) -> bytes:
    """Other sizes, mostly with as many values as they say."""
    header = 4 + 4 * content[3]
    sizes = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    body = content[header:]
    choice = rng.random()
    if choice < 0.3:
        return content[:header] + change(body)
    place = rng.randrange(len(sizes))
    if choice < 0.7:
        sizes[place] = rng.choice((0, 1, 2, 3, 5, 2**31, 2**32 - 1))
    elif choice < 0.85:
        del sizes[place]
    else:
        sizes.insert(place, rng.choice((0, 1, 2)))
    count = 1
    for size in sizes:
        count *= size
    if count < 2**12 and rng.random() < 0.8:
        body = (body + bytes(count))[:count]
    beginning = content[:3] + bytes([len(sizes)])
    return beginning + b"".join(size.to_bytes(4, "big") for size in sizes) + body


def _is_safetensors(content: bytes) -> bool:
    return content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content) - 8


def _mutate_header(content: bytes, rng: random.Random, change: Change) -> bytes:
    """Another header, of the right length, or other weights."""
    end = 8 + int.from_bytes(content[:8], "little")
    header, body = content[8:end], content[end:]
    if rng.random() < 0.2:
        return content[:end] + change(body)
    header = _mutate_json(header, rng, change)
    return len(header).to_bytes(8, "little") + header + body


def _mutate_pickle(content: bytes, rng: random.Random, change: Change) -> bytes:
    if rng.random() < 0.4:
        return change(content)
    place = rng.randrange(len(content))
    until = place + rng.choice((0, 0, 0, 1, 2, 5))
    put_in = b"".join(rng.choice(PICKLED) for _ in range(rng.choice((1, 1, 2, 3, 4))))
    return content[:place] + put_in + content[until:]


# --- pictures --------------------------------------------------------------------------------


def _mutate_png(content: bytes, rng: random.Random, change: Change) -> bytes:
    """Chunks with right lengths and checksums."""
    chunks, at = [], 8
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    place = rng.randrange(len(chunks))
    kind, body = chunks[place]
    choice = rng.random()
    if kind == b"IHDR" and choice < 0.5:
        width, height, *rest = struct.unpack(">IIBBBBB", body)
        sides = (0, 1, 2, 3, 600, 4000, 9000, 2**16, 2**31, 2**32 - 1)
        width, height = (rng.choice((side, *sides)) for side in (width, height))
        rest[:2] = rng.choice(((1, 0), (8, 0), (16, 0), (8, 2), (16, 2), (2, 3), (8, 4), (8, 6)))
        body = struct.pack(">IIBBBBB", width, height, *rest)
    elif kind == b"IDAT" and choice < 0.4:
        body = zlib.compress(change(zlib.decompress(body)))
    elif choice < 0.8:
        body = change(body)
    elif choice < 0.9:
        chunks.append((kind, body))
    else:
        kind = rng.choice((b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"PLTE", b"tRNS", b"acTL", b"fcTL"))
    chunks[place] = (kind, body)
    written = b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in chunks
    )
    return content[:8] + written


# --- JSON ------------------------------------------------------------------------------------


def _mutate_json(content: bytes, rng: random.Random, change: Change) -> bytes:
    """A value in the place of another, a name more or less; each line is a text of its own."""
    lines = content.splitlines()
    try:
        whole = json.loads(content)
    except ValueError:
        place = rng.randrange(len(lines))
        lines[place] = json.dumps(_changed(json.loads(lines[place]), rng)).encode()
        return b"\n".join(lines) + b"\n"
    if rng.random() < 0.01:
        return _nested(content, rng)
    return json.dumps(_changed(whole, rng)).encode()


def _nested(content: bytes, rng: random.Random) -> bytes:
    """So deep that a reader which calls itself comes to its end."""
    deep, place = rng.choice((100, 900, 5000)), content.find(b":") + 1
    return content[:place] + b"[" * deep + b"]" * deep + b"," + content[place:]


def _changed(value: Any, rng: random.Random) -> Any:
    """The same with one change, somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(list(value))
        choice = rng.random()
        if choice < 0.1:
            return {key: one for key, one in value.items() if key != name}
        if choice < 0.2:
            more = rng.choice((name + "x", "\x1b[31m", "x" * 5000, *value))
            return {**value, more: value[name]}
        return {**value, name: _changed(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        choice = rng.random()
        if choice < 0.1:
            return value[:place] + value[place + 1 :]
        if choice < 0.2:
            return [*value, value[place]]
        return [*value[:place], _changed(value[place], rng), *value[place + 1 :]]
    if type(value) in (int, float) and rng.random() < 0.4:
        return rng.choice((value + 1, value - 1, -value, value * 1000, str(value), float(value)))
    if isinstance(value, str) and rng.random() < 0.3:
        return rng.choice((value + "x", value[:-1], value * 2, value.upper()))
    return rng.choice((*VALUES, [value], {"": value}))


FORMATS: dict[bytes, Callable[[bytes, random.Random, Change], bytes]] = {
    b"PK": _mutate_zip,
    b"\x1f\x8b": _mutate_gzip,
    b"\x93NUMPY": _mutate_npy,
    b"\x00\x00\x08": _mutate_idx,
    b"\x89PNG": _mutate_png,
}
