"""What is to be saved, read bit by bit: its bytes in a temporary file, its sum and its size."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from attrs import frozen

from jobq._errors import OptionError

CHUNK = 1024 * 1024
KEPT_IN_MEMORY = 4 * 1024 * 1024
"""Bytes above which the temporary file is one on disk."""
HEAD = 4096
_FORMS = (
    "bytes, a pathlib.Path, a file that was opened in binary mode, or an iterator of bytes "
    "(an asynchronous one in `async def` handlers)"
)


@frozen(kw_only=True)
class Content:
    """Bytes to be stored."""

    file: BinaryIO
    size: int
    sha256: str
    head: bytes
    """The first of them."""


class Spool:
    """Takes the bytes as they come."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=KEPT_IN_MEMORY)  # noqa: SIM115  `close` is ours
        self._sum = hashlib.sha256()
        self._head = b""
        self._size = 0

    def add(self, chunk: Any) -> None:
        """Take some more bytes. Raises `OptionError` for anything else."""
        if not isinstance(chunk, bytes | bytearray | memoryview):
            raise OptionError(f"save: {_shown(chunk)} among the data is not bytes")
        some = bytes(chunk) if isinstance(chunk, memoryview) else chunk
        if len(self._head) < HEAD:
            self._head += some[: HEAD - len(self._head)]
        self._sum.update(some)
        self._file.write(some)
        self._size += len(some)

    def add_all(self, chunks: Iterable[Any]) -> None:
        """Take several pieces."""
        for chunk in chunks:
            self.add(chunk)

    def content(self) -> Content:
        """All that was taken, from its beginning. Raises `OptionError` where nothing was."""
        if not self._size:
            raise OptionError("save: the data is empty; there is nothing to store")
        self._file.seek(0)
        return Content(
            file=cast("BinaryIO", self._file),
            size=self._size,
            sha256=self._sum.hexdigest(),
            head=self._head,
        )

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()


@contextmanager
def spooled() -> Iterator[Spool]:
    """A spool that is closed at the end."""
    spool = Spool()
    try:
        yield spool
    finally:
        spool.close()


def take(spool: Spool, data: Any) -> None:
    """Read data that needs no event loop. May block."""
    if isinstance(data, bytes | bytearray | memoryview):
        spool.add(data)
    elif isinstance(data, os.PathLike):
        with _opened(Path(data)) as file:
            _take_file(spool, file)
    elif isinstance(data, AsyncIterable):
        raise OptionError("save: an asynchronous iterator needs an `async def` handler")
    elif callable(getattr(data, "read", None)):
        _take_file(spool, data)
    elif isinstance(data, Iterable) and not isinstance(data, str | dict):
        spool.add_all(data)
    else:
        raise OptionError(f"save: {_shown(data)} cannot be saved: give {_FORMS}")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise OptionError(f"save: {os.fspath(path)!r} is no file: {error.strerror}") from None


def _take_file(spool: Spool, file: Any) -> None:
    while chunk := file.read(CHUNK):
        spool.add(chunk)


def _shown(value: Any) -> str:
    return f"{value!r:.60} ({type(value).__name__})"
