"""Artifacts in a folder of this machine."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from jobq._errors import ConfigurationError, OptionError, StorageError, StorageUnavailable
from jobq.artifacts._content import CHUNK
from jobq.artifacts._keys import checked_prefix
from jobq.artifacts._urls import base_url_of, below

_PASSING = {"ENOSPC", "EDQUOT", "EIO", "EAGAIN", "EMFILE", "ENFILE", "ESTALE", "ETIMEDOUT"}

_OPENED = "/proc/self/fd"


class FileStorage:
    """A folder, made when something is saved. It needs nothing installed.

    Every process that saves or serves artifacts has to see the same folder.

    - `folder`: a relative one counts from the current folder of now.
    - `base_url`: where a web server serves the folder, if one does; without it the HTTP API of
      jobq serves what is in it to whoever may see the job.
    - `prefix`: what all keys begin with, as in `images/`.

    >>> storage = FileStorage("artifacts", base_url="https://example.com/media")
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, base_url: str | None = None, prefix: str = ""
    ) -> None:
        if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
            raise ConfigurationError(f"FileStorage: {folder!r} must be the path of a folder")
        self.folder = Path(folder).absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigurationError(f"FileStorage: {str(folder)!r} is not a folder")
        self.prefix = checked_prefix(prefix)
        self._base_url = base_url_of(base_url)

    def __repr__(self) -> str:
        return f"FileStorage({str(self.folder)!r})"

    def put(self, key: str, content: BinaryIO, *, size: int, content_type: str) -> None:
        """Write it without a name, and give it its name once it is safe on the disk."""
        del size, content_type
        target = self._path(key)
        with _explained(f"cannot store {key}"):
            if target.exists():
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            nameless = _open_nameless(target.parent)
            if nameless is None:
                _write_aside(target, content)
            else:
                _write_nameless(nameless, target, content)
            _sync_folder(target.parent)

    def read(self, key: str, start: int, length: int) -> bytes:
        """Some of the bytes, fewer at the end. Raises `FileNotFoundError` where there are none."""
        with _explained(f"cannot read {key}"), self._path(key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def delete(self, key: str) -> None:
        """Remove it, and what an upload that was cut off has left of it."""
        target = self._path(key)
        with _explained(f"cannot delete {key}"):
            target.unlink(missing_ok=True)
            for part in target.parent.glob(f"{target.name}.*.part"):
                part.unlink(missing_ok=True)

    def public_url(self, key: str) -> str | None:
        """The address below `base_url`."""
        return below(self._base_url, key)

    def signed_url(self, key: str, *, seconds: int) -> str | None:  # noqa: ARG002  a storage's arguments
        """Files have no address of their own."""
        return None

    def _path(self, key: str) -> Path:
        target = Path(os.path.normpath(self.folder / key))
        if "\x00" in key or not target.is_relative_to(self.folder) or target == self.folder:
            raise OptionError(f"{key!r:.100} is no key of an artifact")
        return target


def _open_nameless(folder: Path) -> int | None:
    """A file that is gone with the process that writes it, where the system has such."""
    if not hasattr(os, "O_TMPFILE") or not Path(_OPENED).is_dir():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o644)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            return None
        raise


def _write_nameless(opened: int, target: Path, content: BinaryIO) -> None:
    with os.fdopen(opened, "wb") as file:
        _write(file, content)
        folder = os.open(target.parent, os.O_RDONLY)
        try:  # with a `dst_dir_fd`, as Python follows the link to the file only then
            os.link(f"{_OPENED}/{opened}", target.name, dst_dir_fd=folder, follow_symlinks=True)
        except FileExistsError:
            pass  # another was faster, with the same bytes
        finally:
            os.close(folder)


def _write_aside(target: Path, content: BinaryIO) -> None:
    part = target.with_name(f"{target.name}.{secrets.token_hex(6)}.part")
    try:
        with part.open("xb") as file:
            _write(file, content)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _write(file: BinaryIO, content: BinaryIO) -> None:
    shutil.copyfileobj(content, file, CHUNK)
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Have the name itself on the disk; some systems cannot, and need not."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        passing = errno.errorcode.get(error.errno or 0) in _PASSING
        kind = StorageUnavailable if passing else StorageError
        raise kind(f"{what}: {error.strerror or error}") from error
