"""Video operations: started, asked for, cancelled, downloaded. Their time is the clock's."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from examples.fakegemini.outcomes import Outcome


@dataclass
class Operation:
    """One video in the making."""

    name: str
    """models/MODEL/operations/ID."""
    file: str
    """The id under which its video can be downloaded."""
    project: str
    prompt: str
    count: int
    started: float
    ready: float
    outcome: Outcome

    def done(self, now: float) -> bool:
        return self.outcome is Outcome.CANCELLED or now >= self.ready

    def makes_video(self, now: float) -> bool:
        return self.outcome is Outcome.OK and self.done(now)


class Operations:
    """All operations of a provider."""

    def __init__(self, seconds: float, seed: int) -> None:
        self._seconds = seconds
        self._seed = seed
        self._by_name: dict[str, Operation] = {}
        self._by_file: dict[str, Operation] = {}

    def start(
        self, project: str, model: str, prompt: str, *, count: int, outcome: Outcome, now: float
    ) -> Operation:
        """A new operation; its video is ready after the provider's time."""
        number = len(self._by_name)
        id_ = sha256(f"{self._seed}/{number}/{prompt}".encode()).hexdigest()[:12]
        found = Operation(
            name=f"models/{model}/operations/{id_}",
            file=id_,
            project=project,
            prompt=prompt,
            count=count,
            started=now,
            ready=now + self._seconds,
            outcome=outcome,
        )
        self._by_name[found.name] = self._by_file[found.file] = found
        return found

    def get(self, name: str) -> Operation | None:
        return self._by_name.get(name)

    def of_file(self, file: str) -> Operation | None:
        """The operation that made a file; a file's id may end in a number, one for each video."""
        return self._by_file.get(file.partition("v")[0])

    def cancel(self, operation: Operation, now: float) -> None:
        """Stop it, unless it is done."""
        if not operation.done(now):
            operation.outcome = Outcome.CANCELLED
