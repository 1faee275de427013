"""Results out of nothing: small pictures, a video file, texts. The same name gives the same."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

_WORDS = (
    "amber birch cloud dune ember fjord grove harbour island juniper kelp lantern meadow north "
    "orchard pebble quarry river shore thistle umber valley willow yarrow"
)


def png(name: str, width: int = 64, height: int = 64) -> bytes:
    """A picture in its name's colour, darker towards its foot."""
    red, green, blue = sha256(name.encode()).digest()[:3]
    rows = bytearray()
    for y in range(height):
        light = 1 - 0.6 * y / height
        pixel = bytes(int(colour * light) for colour in (red, green, blue))
        rows += b"\0" + pixel * width  # 0: no filter
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, red green blue
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def mp4(prompt: str) -> bytes:
    """A file that is recognised as MP4; it shows nothing."""
    return _box(b"ftyp", b"isom\0\0\2\0isomiso2mp41") + _box(
        b"mdat", sha256(prompt.encode()).digest() * 32
    )


def _box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + name + data


def words(prompt: str, count: int = 12) -> str:
    """A sentence of so many words."""
    digest = sha256(prompt.encode()).digest()
    known = _WORDS.split()
    chosen = [known[digest[n % len(digest)] % len(known)] for n in range(count)]
    return " ".join(chosen).capitalize() + "."


def fitting(schema: Mapping[str, Any], prompt: str) -> Any:
    """A value that fits a JSON schema, as far as types, enums, items and properties go."""
    type_ = _type(schema)
    if choices := schema.get("enum"):
        return choices[_number(prompt) % len(choices)]
    if type_ == "object":
        properties = schema.get("properties", {})
        return {name: fitting(part, f"{prompt}/{name}") for name, part in properties.items()}
    if type_ == "array":
        count = max(int(schema.get("minItems", 3)), 1)
        return [fitting(schema.get("items", {}), f"{prompt}/{n}") for n in range(count)]
    if type_ in {"integer", "number"}:
        return _number(prompt) % 100
    if type_ == "boolean":
        return _number(prompt) % 2 == 0
    return words(prompt, 3)


def _type(schema: Mapping[str, Any]) -> str:
    found = schema.get("type", "string")
    first = (
        next((one for one in found if one != "null"), "string")
        if isinstance(found, list)
        else found
    )
    return str(first).lower()


def _number(prompt: str) -> int:
    return int.from_bytes(sha256(prompt.encode()).digest()[:4])
