"""What handlers note: when the first began and the last ended, or when each began.

Only the standard library is imported here: peers run this in environments of their own.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


class Tally:
    """Counts handler calls of one process, and says so in files of a folder."""

    def __init__(self, folder: str, expected: int) -> None:
        self._folder = Path(folder)
        self._expected = expected
        self._begun = self._ended = 0
        file = self._folder / "began"
        self._entries = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._notes_all = expected == 0

    def begin(self) -> None:
        """A handler was entered. All are noted where no number was expected."""
        self._begun += 1
        if self._begun == 1 or self._notes_all:
            os.write(self._entries, f"{time.time()} {time.process_time()}\n".encode())

    def end(self) -> None:
        """A handler is about to return."""
        self._ended += 1
        if self._ended == self._expected:
            noted = self._folder / "ended.new"
            noted.write_text(f"{time.time()} {time.process_time()}")
            noted.rename(self._folder / "ended")
