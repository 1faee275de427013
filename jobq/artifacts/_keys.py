"""Names, keys and types of artifacts: decisions about values."""

from __future__ import annotations

import mimetypes
import re
from typing import Any

from jobq._checks import short_text
from jobq._errors import OptionError

UNKNOWN = "application/octet-stream"
LONGEST_NAME = 200
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\xff\x0a", "image/jxl"),
    (b"\x00\x00\x00\x0cJXL ", "image/jxl"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
}
_RIFFS = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_EXTENSIONS = {
    "image/avif": "avif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/jpeg": "jpg",
    "image/jxl": "jxl",
    "image/webp": "webp",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "application/gzip": "gz",
    "text/markdown": "md",
    "text/plain": "txt",
    UNKNOWN: "bin",
}
_TYPE = re.compile(
    r"[a-z0-9][\w.+-]{0,60}/[a-z0-9][\w.+-]{0,100}(; ?[\w-]+=[\w.+-]{1,60})?",
    re.ASCII | re.IGNORECASE,
)
# Formats of other programs are ZIP files inside.
_CONTAINERS = ("application/zip",)


def sniffed(head: bytes) -> str | None:
    """The type that bytes begin like, if it is one of those known here."""
    for start, found in _STARTS:
        if head.startswith(start):
            return found
    if head[:4] == b"RIFF":
        return _RIFFS.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    return None


def checked_type(said: Any) -> str | None:
    """A content type that a caller gave."""
    if said is None:
        return None
    if not isinstance(said, str) or not _TYPE.fullmatch(said):
        raise OptionError(f"content_type={said!r:.100} must be a type such as 'image/png'")
    return said.lower()


def type_of(head: bytes, said: str | None = None, name: str | None = None) -> str:
    """The content type: by the first bytes where they tell, else as it was said, or by the name."""
    guessed = said or mimetypes.guess_type(name or "", strict=False)[0]
    found = sniffed(head)
    if found is None or (found in _CONTAINERS and guessed is not None):
        return guessed or UNKNOWN
    return found


def extension_of(content_type: str) -> str:
    """The ending of a key or of a name, without its dot."""
    bare = content_type.partition(";")[0].strip()
    guessed = mimetypes.guess_extension(bare, strict=False) or ".bin"
    return _EXTENSIONS.get(bare) or guessed[1:]


def key_of(prefix: str, sha256: str, content_type: str, *, apart: str | None = None) -> str:
    """Where content is stored: the same content always at the same place, unless `apart`."""
    name = sha256 if apart is None else f"{sha256}-{apart}"
    return f"{prefix}{sha256[:2]}/{name}.{extension_of(content_type)}"


def checked_name(name: Any) -> str | None:
    """The name of an artifact, which is a part of a path."""
    text = short_text(name, "name", limit=LONGEST_NAME)
    if text is None:
        return None
    if text in (".", "..") or not text.isprintable() or any(mark in text for mark in "/\\"):
        raise OptionError(f"name={text!r:.100} must be one part of a path, without / or \\")
    return text


def checked_prefix(prefix: Any) -> str:
    """What all keys of a storage begin with."""
    if not isinstance(prefix, str) or not re.fullmatch(r"([\w-][\w.-]*/)*", prefix, re.ASCII):
        raise OptionError(f"prefix={prefix!r:.100} must be as 'app/images/', or empty")
    return prefix
