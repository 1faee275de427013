"""What became of jobs that were enqueued together."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

from attrs import define, field

from jobq._errors import JobqError
from jobq._model import Job
from jobq._series import BLOCK, Series

KEPT = 10_000
"""Of how many items at most the jobs themselves are kept; and as many are stored at once."""


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


class Looked(Sequence[Outcome]):
    """Outcomes that are made when they are looked at.

    Thousands of objects that nobody may ask for would have Python collect its garbage.
    """

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
        return self._at(place)

    @abstractmethod
    def _at(self, place: int) -> Outcome:
        """The outcome of one item."""


class Outcomes(Looked):
    """The outcomes of many items. Nothing is remembered of those that simply were stored."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._series: list[Series] = []
        self._count = 0
        self._special: dict[int, Outcome] = {}
        """By their places: errors, and jobs that were there already."""
        self._named: tuple[range, list[str]] = (range(0), [])
        """The places that were looked at last, and the ids there."""

    def extend(self, series: Series, count: int, special: Iterable[tuple[int, Outcome]]) -> None:
        """Add so many items, which have the ids of a series but for those that are special."""
        self._special |= {self._count + place: outcome for place, outcome in special}
        self._begins.append(self._count)
        self._series.append(series)
        self._count += count

    def __len__(self) -> int:
        return self._count

    def _at(self, place: int) -> Outcome:
        return self._special.get(place) or Outcome(id=self._id(place), created=True)

    def _id(self, place: int) -> str:
        places, ids = self._named
        if place not in places:
            at = bisect_right(self._begins, place) - 1
            number = (place - self._begins[at]) // BLOCK
            ids = self._series[at].block(number)
            begin = self._begins[at] + number * BLOCK
            places = range(begin, begin + BLOCK)
            if at + 1 < len(self._begins):
                places = places[: self._begins[at + 1] - begin]
            self._named = (places, ids)
        return ids[place - places.start]

    def __repr__(self) -> str:
        return f"<Outcomes of {len(self)} items>"
