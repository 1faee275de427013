"""Batches: jobs that are enqueued together, and what is done when all of them have ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import Factory, field, frozen

from jobq._checks import short_text
from jobq._model import LIVE, JobStatus, iso, new_id


def _owner(value: str | None) -> str | None:
    return short_text(value, "owner")


@frozen(kw_only=True)
class Batch:
    """A batch to be: `enqueue_many(items, batch=…)` stores all its jobs in one transaction.

    - `then`: the job to enqueue once all of them have ended, whichever way: `(handler or type,
      payload)`, `(handler or type, payload, options)` or a `NewJob`. Its metadata has the
      `batch`.
    - `owner`: whose it is, for the status route.

    Not to be confused with a batch handler (`handler(batch=…)`), which takes many jobs in one
    call.

    >>> batch = Batch(then=("album_ready", {"album": 7}))
    >>> outcomes = queue.enqueue_many((("image", {"n": n}) for n in range(50)), batch=batch)
    >>> queue.batch(batch.id).total
    50
    """

    then: Any = field(default=None, repr=False)
    owner: str | None = field(default=None, converter=_owner)
    id: str = field(factory=new_id, init=False)


@frozen(kw_only=True)
class BatchInfo:
    """A batch as it stands."""

    id: str
    owner: str | None
    total: int
    """How many jobs it was enqueued with."""
    by_status: Mapping[JobStatus, int] = Factory(dict)
    """Its jobs by status, of those that are still kept."""
    created_at: datetime
    ended_at: datetime | None = None
    """When all had ended for the first time."""
    then_id: str | None = None
    """The job that follows: it exists from `ended_at` on."""

    @property
    def deleted(self) -> int:
        """Its jobs that were deleted or pruned, or completed with `keep=False`."""
        return self.total - sum(self.by_status.values())

    @property
    def unfinished(self) -> int:
        """Its jobs that have not ended."""
        return sum(self.by_status.get(status, 0) for status in LIVE)

    @property
    def progress(self) -> int:
        """How many of a hundred of its jobs have ended; 100 only when all have."""
        return 100 if self.total == 0 else (self.total - self.unfinished) * 100 // self.total

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape that HTTP shows: camelCase, ISO 8601 in UTC."""
        return {
            "id": self.id,
            "total": self.total,
            "progress": self.progress,
            "jobs": {str(status): self.by_status.get(status, 0) for status in JobStatus},
            "deleted": self.deleted,
            "createdAt": iso(self.created_at),
            "endedAt": iso(self.ended_at),
            "thenJobId": self.then_id,
        }
