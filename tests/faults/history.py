"""What each actor saw, in files of its own outside the tested database.

An actor appends one JSON object a line and has it on the disk before it goes on, so a killed
process leaves everything it did. Instants are those of the machine's monotonic clock, which all
its processes share.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import Factory, define, field, frozen


class History:
    """The record that one actor writes; any of its threads may."""

    def __init__(self, folder: Path, actor: str) -> None:
        self.actor = actor
        self.path = folder / f"{actor}.jsonl"
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._lock = threading.Lock()

    def note(self, event: str, **facts: Any) -> None:
        """Append an event; when this returns it is on the disk."""
        line = json.dumps({"event": event, "at": time.monotonic(), **facts}) + "\n"
        with self._lock:
            os.write(self._file, line.encode())
            os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


@frozen
class Event:
    """One line of a history."""

    actor: str
    event: str
    at: float
    facts: dict[str, Any] = field(eq=False)

    def __getitem__(self, fact: str) -> Any:
        return self.facts[fact]


@define
class Histories:
    """All records of a folder, read as they grow."""

    folder: Path
    events: list[Event] = Factory(list)
    _read: dict[Path, int] = Factory(dict)

    def refresh(self) -> list[Event]:
        """Read what is new, and return everything in the order of time."""
        for path in self.folder.glob("*.jsonl"):
            self.events += self._new_lines(path)
        self.events.sort(key=lambda event: event.at)
        return self.events

    def _new_lines(self, path: Path) -> Iterator[Event]:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]  # a killed actor may leave half a line
        self._read[path] = self._read.get(path, 0) + len(whole)
        for line in whole.splitlines():
            facts = json.loads(line)
            yield Event(path.stem, facts.pop("event"), facts.pop("at"), facts)

    def of(self, *names: str, where: Callable[[Event], bool] = lambda _: True) -> list[Event]:
        """The events with one of these names that were read so far."""
        return [event for event in self.events if event.event in names and where(event)]
