"""What a handler spends while it is only performed: noted, and held against its budget."""

from __future__ import annotations

from typing import Any

from attrs import Factory, define

from jobq._spend import Budget, Recorded, Request, Sums


@define(kw_only=True)
class Purse:
    """What one performance has spent."""

    budget: Budget | None = None
    has_owner: bool = False
    requests: list[Request] = Factory(list)

    def record(self, asked: Request) -> Recorded:
        """Note a request, unless it is known."""
        same = (asked.provider, asked.request_id)
        known = [one for one in self.requests if (one.provider, one.request_id) == same]
        if known and asked.request_id is not None:
            return Recorded(self.sums, known[0].micros)
        self.requests.append(asked)
        return Recorded(self.sums)

    @property
    def sums(self) -> Sums:
        """What was spent by now."""
        total = sum(one.micros for one in self.requests)
        return Sums(job=total, owner_day=total if self.has_owner else None)


class PursedSpending:
    """In front of `JobContext`: spends from a purse."""

    _attempt: Any

    async def _recorded(self, asked: Request) -> Recorded:
        return self._attempt.purse.record(asked)  # type: ignore[no-any-return]

    async def _sums(self) -> Sums:
        return self._attempt.purse.sums  # type: ignore[no-any-return]


class PursedSyncSpending:
    """In front of `SyncJobContext`: the same."""

    _attempt: Any

    def _recorded(self, asked: Request) -> Recorded:
        return self._attempt.purse.record(asked)  # type: ignore[no-any-return]

    def _sums(self) -> Sums:
        return self._attempt.purse.sums  # type: ignore[no-any-return]
