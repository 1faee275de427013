"""SQLite's write-ahead log, as a file beside the database."""

from __future__ import annotations

import os


def log_size(path: str) -> int:
    """Bytes of a database's write-ahead log."""
    return log_state(path)[0]


def log_state(path: str) -> tuple[int, int]:
    """The size of a database's write-ahead log, and when it was last written (nanoseconds).

    The log is written over and over: a commit often shows in nothing but the time.
    """
    try:
        found = os.stat(f"{path}-wal")  # noqa: PTH116  a worker looks fifty times a second
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
