"""What a queue can tell about batches and money, for both faces."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from jobq import _batch_verbs as batch_verbs
from jobq import _spend_verbs as spend_verbs
from jobq._batch import BatchInfo
from jobq._spend import SpendTotal
from jobq._verbs import Verb

T = TypeVar("T")


class Reports:
    """For `Queue`."""

    def _do(self, verb: Callable[..., Verb[T]], *args: Any, **kwargs: Any) -> T:
        raise NotImplementedError

    def batch(self, batch_id: Any) -> BatchInfo:
        """A batch as it stands: how many of its jobs have ended, and how.

        `batch_id` is text, `uuid.UUID` or the `Batch`. Raises `BatchNotFound`.
        """
        return self._do(batch_verbs.batch, batch_id)

    def spend(
        self,
        by: str = "type",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        tz: str = "UTC",
        owner: str | None = None,
        type: str | None = None,
        job: Any = None,
    ) -> list[SpendTotal]:
        """What jobs have spent, added up: the largest sums first, or the latest days.

        - `by`: "type", "owner", "day", "provider", "model", "queue" or "job"; of more than a
          thousand groups the largest thousand, of days those of the last year.
        - `since`, `until`: aware datetimes; `until` itself is not among them.
        - `tz`: the time zone whose days these are.
        - `owner`, `type`, `job`: only of these. Jobs that are deleted by now count.

        >>> for total in queue.spend("owner"):
        ...     print(total.key, total.usd, total.requests)
        """
        return self._do(
            spend_verbs.spend, by, since=since, until=until, tz=tz, owner=owner, type=type, job=job
        )


class AsyncReports:
    """The same for `AsyncQueue`."""

    async def _do(self, verb: Callable[..., Verb[T]], *args: Any, **kwargs: Any) -> T:
        raise NotImplementedError

    async def batch(self, batch_id: Any) -> BatchInfo:
        """A batch as it stands. See `Queue.batch`."""
        return await self._do(batch_verbs.batch, batch_id)

    async def spend(
        self,
        by: str = "type",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        tz: str = "UTC",
        owner: str | None = None,
        type: str | None = None,
        job: Any = None,
    ) -> list[SpendTotal]:
        """What jobs have spent, by group; see `Queue.spend`."""
        return await self._do(
            spend_verbs.spend, by, since=since, until=until, tz=tz, owner=owner, type=type, job=job
        )
