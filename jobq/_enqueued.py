"""What became of jobs that were enqueued together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload
from uuid import UUID

from attrs import define, field

from jobq._errors import JobqError
from jobq._model import Job

KEPT = 10_000
"""Of how many items at most the jobs themselves are kept."""
_WIDTH = 16


@define(kw_only=True, eq=False)
class Outcome:
    """What became of one item of `enqueue_many`: a job, or the error that kept it out."""

    id: str | None = None
    """The id of the job that was stored, or of the live one that holds its unique key."""
    error: Exception | None = None
    created: bool = False
    """Whether a new job was stored for this item."""
    _read: Callable[[], Job] | None = field(default=None, repr=False, alias="read")

    @property
    def job(self) -> Job | None:
        """The job with this id, as it was stored or found.

        Of more than 10,000 items together only the ids are kept: then this raises `JobqError`.
        """
        if self._read is None and self.id is not None:
            raise JobqError(
                f"of more than {KEPT:,} jobs that are enqueued together only the ids are kept; "
                "queue.get_many([outcome.id, …]) reads jobs"
            )
        return None if self._read is None else self._read()


class Outcomes(Sequence[Outcome]):
    """The outcomes of many items, in 16 bytes each but for those that went wrong."""

    def __init__(self) -> None:
        self._ids = bytearray()
        self._special: dict[int, Outcome] = {}
        """By their places: errors, and jobs that were there already."""

    def extend(self, outcomes: Iterable[Outcome]) -> None:
        """Add outcomes, and forget the jobs."""
        for outcome in outcomes:
            if outcome.error is not None or not outcome.created:
                bare = Outcome(id=outcome.id, error=outcome.error)
                self._special[len(self)] = bare
            text = outcome.id or "0" * 2 * _WIDTH
            self._ids += bytes.fromhex(text.replace("-", ""))

    def __len__(self) -> int:
        return len(self._ids) // _WIDTH

    @overload
    def __getitem__(self, index: int) -> Outcome: ...
    @overload
    def __getitem__(self, index: slice) -> list[Outcome]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = index if index >= 0 else index + len(self)
        if not 0 <= place < len(self):
            raise IndexError(f"there are {len(self)} outcomes, and no number {index}")
        if place in self._special:
            return self._special[place]
        stored = bytes(self._ids[place * _WIDTH : (place + 1) * _WIDTH])
        return Outcome(id=str(UUID(bytes=stored)), created=True)

    def __repr__(self) -> str:
        return f"<Outcomes of {len(self)} items>"


def gathered(so_far: list[Outcome] | Outcomes, more: list[Outcome]) -> list[Outcome] | Outcomes:
    """Outcomes and those that follow: a list, as long as they are not too many."""
    if isinstance(so_far, list):
        if len(so_far) + len(more) <= KEPT:
            return so_far + more
        compact = Outcomes()
        compact.extend(so_far)
        so_far = compact
    so_far.extend(more)
    return so_far
