"""Waiting without a slot: for work outside, for a time, for an event."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from jobq import backends
from jobq._checks import short_text
from jobq._clock import SECOND, to_span
from jobq._durable.book import Run, Verb, checked_name, known, use, write
from jobq._durable.large import fetched, put_away
from jobq._durable.prints import args_hash
from jobq._durable.signals import Halted, Park
from jobq._durable.step import Invoke, may_begin
from jobq._errors import ConfigurationError, OptionError
from jobq._payload import encode_step
from jobq._signals import WaitExpired
from jobq.observe import logger

if TYPE_CHECKING:
    from jobq.backends.ops.steps import StepRow

Span = float | timedelta
LONGEST = 366 * 86400 * SECOND
HOOK = "hook:"
"""What the stored token of a hook begins with; that of a provider begins with its name."""
_WAITING = ("waiting", "resumed")


class Poll(Invoke):
    """Ask how far the work is; it is cancelled where the job is, while it is being asked."""

    def __init__(
        self,
        run: Run,
        name: str,
        poll: Callable[[Any], Any],
        operation: Any,
        cancel: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__(poll, (operation,), {}, name)
        self.run, self.cancel = run, cancel

    async def ado(self, store: Any) -> Any:
        try:
            return await super().ado(store)
        except asyncio.CancelledError:
            if self.run.stopping == "cancel" and self.cancel is not None:
                await _cancelled(self.cancel, self.args[0]).ado(store)
            raise


def wait(
    run: Run,
    name: str,
    operation: Any,
    *,
    poll: Callable[[Any], Any] | None,
    every: Span,
    timeout: Span,
    cancel: Callable[[Any], Any] | None,
    webhook: str | None,
) -> Verb[Any]:
    """What came of work that goes on outside: what `poll` found, or the event that told."""
    rows, within = yield from _begin(run, name, timeout)
    rest = _span(every, "every")
    if poll is None and webhook is None:
        raise OptionError("wait needs poll=, a function of the operation, or webhook=, or both")
    asked = args_hash((operation,), {})
    row = rows.get(name)
    if row is None or row.args_hash not in (None, asked):
        if run.stopping == "cancel" or run.book.halting:
            yield from _halt(cancel, operation)
        new = backends.ops.StepRow(
            name,
            "waiting",
            args_hash=asked,
            token=None if webhook is None else token_of(webhook, operation),
            cancels=int(cancel is not None),
        )
        row = yield from write(run, new, timeout=within)
        _park(run, row, None if poll is None else rest)
    if row.status in _WAITING and (run.stopping == "cancel" or run.book.halting):
        yield from _halt(cancel, operation)
    if row.status not in _WAITING or poll is None:
        return (yield from _of_event(run, row, within))
    found, rest = yield from _polled(run, row, Poll(run, name, poll, operation, cancel), rest)
    if found is not None:
        kept = yield from put_away(run, name, encode_step(found))
        return (yield from _came(run, row, kept))
    yield from _expire(run, row, within)
    if row.status == "resumed":
        row = yield from write(run, row._replace(status="waiting", result=None))
        run.book.wrote = False
    _park(run, row, rest)


def _polled(run: Run, row: StepRow, poll: Poll, rest: int) -> Verb[tuple[Any, int]]:
    """What asking has found, and how long to rest otherwise: to ask again is safe."""
    from jobq._classify.classifier import classify
    from jobq._classify.failure import FailureKind
    from jobq._signals import RateLimited, Signal

    try:
        return (yield poll), rest
    except Exception as error:
        if isinstance(error, RateLimited):
            return None, max(rest, error.delay or 0)
        failure = None if isinstance(error, Signal) else classify(error)
        settled = (FailureKind.PERMANENT, FailureKind.BUG, FailureKind.QUOTA_EXHAUSTED)
        if failure is None or failure.kind in settled:
            raise
        logger.info("job %s: asking for %r failed: %s", run.job.id, row.name, error)
        return None, max(rest, round((failure.retry_after or 0) * SECOND))


def sleep(run: Run, seconds: Span, name: str) -> Verb[None]:
    """Let time pass."""
    span = to_span(seconds, name="seconds")
    rows, within = yield from _begin(run, name, timedelta(microseconds=max(1, span)))
    row = rows.get(name)
    if row is None:
        _halt_now(run)
        row = yield from write(run, backends.ops.StepRow(name, "waiting"), timeout=within)
    elif row.status == "waiting" and _is_over(run, row):
        row = yield from write(run, row._replace(status="done"))
    if row.status == "waiting" and run.book.sleeps:
        _halt_now(run)
        _park(run, row, None)
    run.book.used.add(name)


def hook(run: Run, name: str, timeout: Span) -> Verb[str]:
    """The token by which this job, and no other, can be sent one event."""
    rows, within = yield from _begin(run, name, timeout)
    row = rows.get(name)
    if row is None:
        yield from may_begin(run)
        token = HOOK + secrets.token_urlsafe(32)
        new = backends.ops.StepRow(name, "waiting", token=token)
        row = yield from write(run, new, timeout=within)
    run.book.used.add(name)
    return (row.token or "").removeprefix(HOOK)


def wait_for_event(run: Run, token: str) -> Verb[Any]:
    """What was sent to a token."""
    _check_can_wait(run)
    rows = yield from known(run)
    row = next((row for row in rows.values() if row.token == f"{HOOK}{token}"), None)
    if row is None:
        raise OptionError("no hook of this job has this token; await job.hook(name) makes one")
    return (yield from _of_event(run, row, LONGEST))


def token_of(webhook: str, reference: object) -> str:
    """Under which the event of a provider is expected."""
    if not isinstance(reference, str):
        raise OptionError(
            f"with webhook= the operation is the provider's id of it, as text, not {reference!r}"
        )
    return f"{short_text(webhook, 'webhook', limit=50)}:{short_text(reference, 'operation')}"


# --- parts --------------------------------------------------------------------------------------


def _begin(run: Run, name: str, timeout: Span) -> Verb[tuple[dict[str, StepRow], int]]:
    checked_name(name)
    _check_can_wait(run)
    within = _span(timeout, "timeout")
    rows = yield from known(run)
    if name in run.book.used:
        use(run, name)
    return rows, within


def _check_can_wait(run: Run) -> None:
    if not run.can_wait:
        raise ConfigurationError(
            f"the handler of {run.job.type!r} takes a batch: its jobs cannot wait each for itself"
        )


def _span(value: Span, name: str) -> int:
    span = to_span(value, name=name)
    if not 0 < span <= LONGEST:
        raise OptionError(f"{name}={value!r} must be more than 0 s and at most a year")
    return span


def _of_event(run: Run, row: StepRow, within: int) -> Verb[Any]:
    if row.status == "resumed":
        return (yield from _came(run, row, row.result or "null"))
    if row.status == "waiting":
        yield from _expire(run, row, within)
        _halt_now(run)
        _park(run, row, None)
    if row.status == "expired":
        raise WaitExpired(row.name)
    run.book.used.add(row.name)
    return (yield from fetched(run, row.result))


def _came(run: Run, row: StepRow, result: str) -> Verb[Any]:
    yield from write(run, row._replace(status="done", result=result))
    run.book.used.add(row.name)
    return (yield from fetched(run, result))


def _is_over(run: Run, row: StepRow) -> bool:
    return row.deadline is not None and run.now >= row.deadline


def _expire(run: Run, row: StepRow, within: int) -> Verb[None]:
    if _is_over(run, row):
        yield from write(run, row._replace(status="expired", result=None))
        raise WaitExpired(row.name, within / SECOND)


def _halt_now(run: Run) -> None:
    if run.book.halting or run.stopping == "cancel":
        raise Halted


def _halt(cancel: Callable[[Any], Any] | None, operation: Any) -> Verb[None]:
    """The job is cancelled: so is what it waits for, where the handler said how."""
    if cancel is not None:
        yield _cancelled(cancel, operation)
    raise Halted


class _Cancel(Invoke):
    """Cancel work at its provider; where that fails, the job is cancelled all the same."""

    def do(self, store: Any) -> Any:
        try:
            return super().do(store)
        except Exception:  # noqa: BLE001  the job is cancelled all the same
            logger.exception("cannot cancel %r at its provider", self.args[0])

    async def ado(self, store: Any) -> Any:
        try:
            return await super().ado(store)
        except Exception:  # noqa: BLE001  the job is cancelled all the same
            logger.exception("cannot cancel %r at its provider", self.args[0])


def _cancelled(cancel: Callable[[Any], Any], operation: Any) -> _Cancel:
    return _Cancel(cancel, (operation,), {})


def _park(run: Run, row: StepRow, rest: int | None) -> NoReturn:
    """Leave the slot to others until there is something to look at."""
    deadline = row.deadline or run.now
    run.book.waits[row.name] = deadline if rest is None else min(run.now + rest, deadline)
    run.book.cancels = run.book.cancels or bool(row.cancels)
    raise Park(row.name)
