"""The provider's own book: every request, what became of it, what it costs."""

from __future__ import annotations

import json
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from examples.fakegemini.outcomes import Outcome


@dataclass(frozen=True)
class Entry:
    """One request. Instants in seconds since 1970 (UTC), money in millionths of a dollar."""

    number: int
    """From 1, in order of arrival."""
    arrived: float
    key: str
    project: str
    model: str
    endpoint: str
    """generateContent, predictLongRunning, getOperation, cancelOperation, download, images,
    messages."""
    prompt: str
    """The start of the prompt's SHA-256, as `prompt_hash` gives it."""
    idempotency_key: str | None = None
    outcome: Outcome = Outcome.WORKING
    status: int | None = None
    """The status of the answer; None if there was none, or is none yet."""
    finished: float | None = None
    billed: int = 0
    operation: str | None = None
    """The name of the video operation that was started, asked for or cancelled."""

    @property
    def generates(self) -> bool:
        """Whether it asks for paid work, and counts for the limits."""
        return self.endpoint in {"generateContent", "predictLongRunning", "images", "messages"}

    @property
    def let_in(self) -> bool:
        """Whether the limits let this paid work in."""
        kept_out = {Outcome.RATE_LIMITED, Outcome.DAY_LIMITED, Outcome.NO_CREDIT}
        wrong = {Outcome.BAD_KEY, Outcome.FORBIDDEN, Outcome.BAD_REQUEST, Outcome.NOT_FOUND}
        return self.generates and self.outcome not in kept_out | wrong


class Ledger:
    """All requests so far; may be read from any thread. With a file, each finished request is one
    line of JSON in it at once.

        with FakeGemini(Options(rpm=60)) as fake:
            …
            assert fake.ledger.outcomes()["rate_limited"] == 0
            assert fake.ledger.billed() == 8 * 39_000
    """

    def __init__(self, path: Path | None = None) -> None:
        self._entries: list[Entry] = []
        self._changed = threading.Condition()
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        self._file = self._path.open("a", encoding="utf-8") if self._path else None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def arrive(self, **known: Any) -> Entry:
        """Write a new request down."""
        with self._changed:
            entry = Entry(number=len(self._entries) + 1, **known)
            self._entries.append(entry)
            self._changed.notify_all()
            return entry

    def finish(self, entry: Entry, **known: Any) -> Entry:
        """Write down what became of it."""
        with self._changed:
            done = replace(self._entries[entry.number - 1], **known)
            self._entries[entry.number - 1] = done
            if self._file:
                self._file.write(json.dumps(asdict(done)) + "\n")
                self._file.flush()
            self._changed.notify_all()
            return done

    @property
    def entries(self) -> list[Entry]:
        """A copy, in order of arrival."""
        with self._changed:
            return list(self._entries)

    def wait_for(self, done: Callable[[list[Entry]], bool], timeout: float = 30.0) -> list[Entry]:
        """The entries, as soon as `done` says so of them. Blocks: async code calls it in a thread.

        Raises:
            TimeoutError: it did not say so within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: done(list(self._entries)), timeout):
                raise TimeoutError(f"not within {timeout:g} s; the ledger has {self._counted()}")
            return list(self._entries)

    def outcomes(self) -> Counter[str]:
        """How often each outcome came about, of the requests for paid work."""
        return Counter(str(entry.outcome) for entry in self.entries if entry.generates)

    def billed(self) -> int:
        """The bill of all requests, in millionths of a dollar."""
        return sum(entry.billed for entry in self.entries)

    def most_within(self, seconds: float, project: str | None = None) -> int:
        """The most requests that were let in within any span of `seconds`."""
        return most_within(
            seconds,
            (
                entry.arrived
                for entry in self.entries
                if entry.let_in and project in {None, entry.project}
            ),
        )

    def as_json(self) -> dict[str, Any]:
        """What GET /ledger answers."""
        return {
            "entries": [asdict(entry) for entry in self.entries],
            "outcomes": dict(self.outcomes()),
            "billed": self.billed(),
        }

    def _counted(self) -> str:
        return ", ".join(f"{n} {what}" for what, n in self.outcomes().items()) or "no entries"


def most_within(seconds: float, instants: Iterable[float]) -> int:
    """The most instants in any half-open span of this length."""
    ordered = sorted(instants)
    return max(
        (bisect_left(ordered, at + seconds) - index for index, at in enumerate(ordered)), default=0
    )


def prompt_hash(prompt: str) -> str:
    """The name of a prompt in the ledger."""
    return sha256(prompt.encode()).hexdigest()[:16]


def read(path: Path) -> list[Entry]:
    """The entries of a ledger's file, by arrival.

        billed = sum(entry.billed for entry in read(Path("ledger.jsonl")))

    A file to which several runs have written has several entries of a number.
    """
    found = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    entries = [Entry(**{**one, "outcome": Outcome(one["outcome"])}) for one in found]
    return sorted(entries, key=lambda entry: entry.arrived)
