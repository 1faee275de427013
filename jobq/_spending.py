"""What handlers say of money: what a request has cost, and whether there is any left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from jobq import backends
from jobq._model import new_id
from jobq._spend import (
    Budget,
    Dollars,
    Recorded,
    Request,
    Spent,
    Sums,
    afford,
    dollars,
    micros,
    question,
    refusal,
    request,
)
from jobq.observe import logger


class Payer(Protocol):
    """The running attempt, as far as it can spend money."""

    job: Any

    @property
    def worker(self) -> str | None: ...

    @property
    def budget(self) -> Budget | None:
        """The handler's, or the queue's."""

    @property
    def run(self) -> Callable[..., Awaitable[Any]]:
        """Runs an op, in a transaction of its own, on the worker's event loop."""

    def run_here(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The same, for a thread."""


class _Spending:
    """The body of the verbs."""

    _attempt: Any

    def _record(self, asked: Request) -> dict[str, Any]:
        """The arguments of the op that records a request."""
        payer: Payer = self._attempt
        job = payer.job
        row = backends.ops.SpendRow(
            id=new_id(),
            provider=asked.provider,
            request_id=asked.request_id,
            micros=asked.micros,
            model=asked.model,
            units=asked.units,
            job_id=job.id,
            type=job.type,
            queue=job.queue,
            owner=job.owner,
            attempt=job.attempts,
            fence=job.fence,
            worker=payer.worker,
        )
        return {"row": row, "budget": payer.budget}

    def _spent(self, asked: Request, recorded: Recorded) -> Spent:
        earlier, sums = recorded.earlier, recorded.sums
        budget = self._attempt.budget
        if earlier not in (None, asked.micros):
            text = "request %r of %s was recorded with %s micro-dollars, not %s: the first holds"
            logger.warning(text, asked.request_id, asked.provider, earlier, asked.micros)
        over = refusal(budget, sums)
        if earlier is None and refusal(budget, sums.less(asked.micros)) is not None and over:
            raise over  # it should not have been made any more
        today = sums.owner_day
        return Spent(
            usd=dollars(asked.micros),
            recorded=earlier is None,
            job=dollars(sums.job),
            owner_day=None if today is None else dollars(today),
            over=over is not None,
        )


class Spending(_Spending):
    """Verbs of an `async def` handler's context."""

    async def spend(
        self,
        *,
        usd: Dollars,
        provider: str,
        model: str | None = None,
        units: Mapping[str, int | float] | None = None,
        request_id: str | None = None,
    ) -> Spent:
        """Record what one request to a provider has cost; durable when this returns.

        Call it for each request that is billed, also where its answer is of no use. It is stored
        whoever holds the job by now, and stays when the job is deleted.

        - `usd`: dollars, as a `Decimal`, text or number; rounded to the nearest micro-dollar.
        - `request_id`: the provider's own; the same one is recorded once, so repeating is safe.
        - `units`: what was used, as in `{"input_tokens": 812}`, for people to look at.

        Raises `BudgetExceeded` where a budget had been used up before this request, and
        `OptionError` for an amount that is none. `Spent.over` says that this one was the last.

        >>> spent = await job.spend(  # doctest: +SKIP
        ...     usd="0.039", provider="gemini", model=model, request_id=response.response_id
        ... )
        """
        asked = request(usd=usd, provider=provider, model=model, units=units, request_id=request_id)
        return self._spent(asked, await self._recorded(asked))

    async def afford(self, usd: Dollars = 0) -> None:
        """Raise `BudgetExceeded` where a budget is used up, or so many dollars are too much.

        Costs nothing where the handler and the queue have no budget.

        >>> await job.afford("0.039")  # doctest: +SKIP
        """
        micros(usd)
        if self._attempt.budget is not None:
            afford(self._attempt.budget, await self._sums(), micros(usd))

    async def _recorded(self, asked: Request) -> Recorded:
        return await self._attempt.run(backends.ops.record, **self._record(asked))  # type: ignore[no-any-return]

    async def _sums(self) -> Sums:
        payer = self._attempt
        return await payer.run(backends.ops.spent, **question(payer.job, payer.budget))  # type: ignore[no-any-return]


class SyncSpending(_Spending):
    """Verbs of a `def` handler's context."""

    def spend(
        self,
        *,
        usd: Dollars,
        provider: str,
        model: str | None = None,
        units: Mapping[str, int | float] | None = None,
        request_id: str | None = None,
    ) -> Spent:
        """Record what one request to a provider has cost; see `JobContext.spend`."""
        asked = request(usd=usd, provider=provider, model=model, units=units, request_id=request_id)
        return self._spent(asked, self._recorded(asked))

    def afford(self, usd: Dollars = 0) -> None:
        """Raise `BudgetExceeded` where a budget is used up; see `JobContext.afford`."""
        micros(usd)
        if self._attempt.budget is not None:
            afford(self._attempt.budget, self._sums(), micros(usd))

    def _recorded(self, asked: Request) -> Recorded:
        return self._attempt.run_here(backends.ops.record, **self._record(asked))  # type: ignore[no-any-return]

    def _sums(self) -> Sums:
        payer = self._attempt
        return payer.run_here(backends.ops.spent, **question(payer.job, payer.budget))  # type: ignore[no-any-return]
