"""Changes that keep a file's format intact, so that a fuzzer gets past a reader's first check.

Randomly changed bytes rarely pass a checksum or a redundant length. So `mutate` parses a file as
far as its format is known, changes one part, and writes it again with new lengths and checksums.
Unknown formats are left to `change`, the fuzzer's own mutation.
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

from fuzz_targets import Refused, pack, unpack_input

Change = Callable[[bytes], bytes]

RAW_SHARE = 0.15  # of changes that ignore the format
MAX_UNPACKED = 2**22  # bytes of a member that is parsed
MAX_ZEROS = 2**24  # bytes of zeros that are compressed, to exhaust memory

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, 7, 2**16, 2**31, 2**63, 10**30, 10**400),
    *(0.5, -1.5, 1e308, float("inf"), float("nan")),
    *("", "0", "RAMCatch-v0", "mnist", "digits", "/", "os:x", "\x1b[31m", "\ud800", "x" * 5000),
    *([], {}, [[]], [0], [1, 2, 3], {"0": 0}),
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
    """Return `content` with one to three changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = _mutate_once(content, rng, change)
    return content


def _mutate_once(content: bytes, rng: random.Random, change: Change) -> bytes:
    if rng.random() < RAW_SHARE:
        return change(content)
    otherwise = _mutate_header if _is_safetensors(content) else _mutate_json
    known = (FORMATS[beginning] for beginning in FORMATS if content.startswith(beginning))
    mutate_format = next(known, otherwise)
    try:
        return mutate_format(content, rng, change)
    except Exception:  # the format is damaged already
        return change(content)


# --- archives --------------------------------------------------------------------------------


def _mutate_zip(content: bytes, rng: random.Random, change: Change) -> bytes:
    try:
        unpack_input(content)
        is_input = True
    except Refused:  # another zip, such as an .npz
        is_input = False
    members: list[tuple[str, int, bytes]] = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            if member.file_size < MAX_UNPACKED:
                part = archive.read(member)
                members.append((member.filename, member.compress_type, part))
    place = rng.randrange(len(members))
    name, method, part = members[place]
    choice = rng.random()
    if choice < 0.85:
        members[place] = (name, method, _mutate_once(part, rng, change))
    elif choice < 0.89:
        del members[place]
    elif choice < 0.93:
        other, _, _ = rng.choice(members)
        members[place] = (rng.choice((other, name[:-1], name + "x", name * 2)), method, part)
    elif choice < 0.96:
        members.append((rng.choice(("a/b.png", "c.npy", name + ".png", name)), method, part))
    elif choice < 0.999 or is_input:
        members[place] = (name, rng.choice(METHODS), part)
    else:
        zeros = bytes(rng.randrange(MAX_ZEROS))
        members[place] = (name, zipfile.ZIP_DEFLATED, part + zeros)
    if is_input:
        return pack({name: part for name, _, part in members})
    packed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w") as archive:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, method, part in members:
            archive.writestr(zipfile.ZipInfo(name), part, method)
    return packed.getvalue()


def _mutate_gzip(content: bytes, rng: random.Random, change: Change) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        inner = stream.read(MAX_UNPACKED)
    if rng.random() < 0.001:
        return gzip.compress(inner + bytes(rng.randrange(MAX_ZEROS)), mtime=0)
    return gzip.compress(_mutate_once(inner, rng, change), mtime=0)


# --- arrays and weights ----------------------------------------------------------------------


def _mutate_npy(content: bytes, rng: random.Random, change: Change) -> bytes:
    """Change the header, keeping its length right, or the body."""
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
        if rng.random() < 0.3:  # insert, do not replace
            last = first
        text = text[:first] + rng.choice(HEADER_WORDS) + text[last:]
        header = text.encode("latin-1", "replace").rstrip(b" \n")
        header += b" " * (-(len(header) + start + 1) % 64) + b"\n"
    beginning = content[:6] + rng.choice((content[6:8], b"\x01\x00", b"\x02\x00", b"\x03\x00"))
    length_bytes = 2 if beginning[6] == 1 else 4
    return beginning + len(header).to_bytes(length_bytes, "little") + header + body


def _mutate_idx(content: bytes, rng: random.Random, change: Change) -> bytes:
    """Change the sizes, mostly with the right number of values."""
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
    """Change the header, keeping its length right, or the weights."""
    end = 8 + int.from_bytes(content[:8], "little")
    header, body = content[8:end], content[end:]
    if rng.random() < 0.2:
        return content[:end] + change(body)
    text = json.loads(header).get("__metadata__", {}).get("description")
    if text is not None and rng.random() < 0.6:
        described = _mutate_json(text.encode(), rng, change).decode()
        header = header.replace(json.dumps(text).encode(), json.dumps(described).encode())
    else:
        header = _mutate_json(header, rng, change)
    return len(header).to_bytes(8, "little") + header + body


# --- pictures --------------------------------------------------------------------------------


def _mutate_png(content: bytes, rng: random.Random, change: Change) -> bytes:
    """Change a chunk, keeping lengths and checksums right."""
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
    """Replace a value, or add or remove a name; each line may be a document of its own."""
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
    """Nest a value so deeply that a recursive reader fails."""
    deep, place = rng.choice((100, 900, 5000)), content.find(b":") + 1
    return content[:place] + b"[" * deep + b"]" * deep + b"," + content[place:]


def _changed(value: Any, rng: random.Random) -> Any:
    """Return `value` with one change somewhere in it."""
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
