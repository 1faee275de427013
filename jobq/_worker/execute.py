"""Run one attempt: from the payload to an outcome. No database work is done here."""

from __future__ import annotations

import inspect
import traceback as tracebacks
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from jobq import backends
from jobq._classify.classifier import classify
from jobq._classify.failure import Failure, FailureKind
from jobq._config import Bounds
from jobq._context import JobContext, SyncJobContext
from jobq._durable.signals import Halted, Interruption, Leaving, Park, interruption
from jobq._errors import (
    JobqError,
    LeaseLost,
    PayloadError,
    ResultError,
    StorageError,
    StorageUnavailable,
)
from jobq._handler import Handler, Middleware
from jobq._masking import mask
from jobq._outcome import Outcome, Parked, Raised, Refused, Released, Stopped, Succeeded
from jobq._payload import encode_result
from jobq._signals import Permanent, Signal
from jobq._worker.running import NotNow, Running
from jobq.observe import current_job

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]
InLoop = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
Around = Callable[[Sequence[Running]], AbstractContextManager[object]]
"""What observers have around the call of a handler."""


class JobTimeout(Exception):
    """The attempt took longer than the job's timeout."""


class Escaped(Exception):
    """Carries what a thread raised but an awaiting task could not take: GeneratorExit and such."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class NotStarted(Exception):
    """The job was asked to stop before a thread was free for it."""


class NotCommitted(Exception):
    """The handler completed the job in a transaction that did not commit."""


async def attempt(
    running: Running,
    middleware: tuple[Middleware, ...],
    *,
    in_thread: InThread,
    in_loop: InLoop,
    bounds: Bounds,
    around: Around,
) -> Outcome | None:
    """Run a job's handler; what came of it, or `None` where the job is no longer ours."""
    current_job.set((running.job.id, running.job.type))
    try:
        payload = running.handler.codec.decode(running.job.payload)
    except PayloadError as error:
        return Refused("invalid_payload", bounded(str(error), bounds))
    try:
        if running.budget is not None:
            await JobContext(running).afford()
        work = partial(_work, running, payload, middleware, in_thread)
        with around([running]):
            result = await (in_loop(work) if _awaits(running, middleware) else work())
    except BaseException as error:  # noqa: BLE001  neither a cancellation nor SystemExit ends the worker
        return ended(running, error, bounds)
    return stored(running, result, bounds)


async def halts(running: Running) -> bool:
    """Whether a job that is to be cancelled waits for work that its handler can cancel."""
    rows = await running.place.run(backends.ops.read_steps, running.job.id)
    running.book.rows = {row.name: row for row in rows}
    running.book.halting = any(row.cancels and row.status in ("waiting", "resumed") for row in rows)
    return running.book.halting


def _awaits(running: Running, middleware: tuple[Middleware, ...]) -> bool:
    """Whether an attempt runs asynchronous functions of the app."""
    handler = running.handler
    verifies = running.unverified and inspect.iscoroutinefunction(handler.verify)
    return handler.is_async or bool(middleware) or verifies


async def _work(
    running: Running,
    payload: Any,
    middleware: tuple[Middleware, ...],
    in_thread: InThread,
) -> Any:
    found = await _verified(running, payload, in_thread) if running.unverified else None
    return await _call(running, payload, middleware, in_thread) if found is None else found


async def _verified(running: Running, payload: Any, in_thread: InThread) -> Any:
    """What the work came to that an earlier attempt may have done, or `None`."""
    verify, handler = running.handler.verify, running.handler
    if verify is None:
        return None
    found = await _verify(verify, handler, running, payload, in_thread)
    running.unverified = False
    if found is None and running.job.attempts > running.job.max_attempts:
        raise Permanent("crashed", "its worker crashed, and the work was not done")
    return found


async def _verify(
    verify: Callable[..., Any],
    handler: Handler[Any, Any],
    running: Running,
    payload: Any,
    in_thread: InThread,
) -> Any:
    if inspect.iscoroutinefunction(verify):
        return await verify(*handler.arguments(payload, JobContext(running)))
    arguments = handler.arguments(payload, SyncJobContext(running))
    return await in_thread(partial(verify, *arguments))


async def _call(
    running: Running,
    payload: Any,
    middleware: tuple[Middleware, ...],
    in_thread: InThread,
) -> Any:
    if not middleware:
        return await _handle(running, payload, in_thread)
    call_next: Callable[[], Awaitable[Any]] = partial(_handle, running, payload, in_thread)
    for around in reversed(middleware):
        call_next = _around(around, JobContext(running), call_next)
    return await call_next()


async def _handle(running: Running, payload: Any, in_thread: InThread) -> Any:
    handler = running.handler
    running.check_start()
    if handler.is_async:
        running.entered = True
        return await handler.function(*handler.arguments(payload, JobContext(running)))
    arguments = handler.arguments(payload, SyncJobContext(running))

    def call() -> Any:
        running.in_thread = True
        if running.stopping is not None:  # while it waited for a thread
            raise NotStarted
        running.check_start()
        running.entered = True
        try:
            return catching(handler.function, arguments)
        finally:
            running.in_thread = False

    return await in_thread(call)


def catching(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Call a function in a thread; what no awaiting task could take is raised as `Escaped`."""
    try:
        return function(*arguments)
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise
        raise Escaped(error) from error


def _around(
    middleware: Middleware, job: JobContext, inner: Callable[[], Awaitable[Any]]
) -> Callable[[], Awaitable[Any]]:
    async def call() -> Any:
        return await middleware(job, inner)

    return call


def ended(running: Running, error: BaseException, bounds: Bounds) -> Outcome | None:
    """The outcome of an attempt that ended with an exception."""
    stopped = interruption(error.error if isinstance(error, Escaped) else error)
    if stopped is not None:
        return None if running.stopping == "lease" else _interrupted_by(stopped, running)
    match error:
        case ResultError():  # of job.complete(): trying again would pay again
            return Refused("result_unstorable", bounded(str(error), bounds))
        case NotNow():
            return Released(str(error))
        case LeaseLost():
            return None if running.stopping == "lease" else raised(error, bounds)
        case Escaped():
            return _interrupted(running, error.error, bounds)
    return _interrupted(running, error, bounds)


def _interrupted_by(error: Interruption, running: Running) -> Outcome:
    """The outcome of an attempt whose handler has come as far as it can for now."""
    book = running.book
    match error:
        case Park():
            return Parked(
                min(book.waits.values()),
                tuple(book.waits),
                cancels=book.cancels,
                polled=not book.wrote,
            )
        case Leaving():
            return Released(str(error))
        case Halted():
            return Stopped("cancelled while it was waiting")
    raise error


def _interrupted(running: Running, error: BaseException, bounds: Bounds) -> Outcome | None:
    """A handler that was asked to stop may do so by raising what it likes."""
    match running.stopping:
        case "timeout":
            return timed_out(running, bounds)
        case "cancel":
            return Stopped("cancelled while it was running")
        case "shutdown" | "budget":
            return given_back(running)
        case "lease":
            return None
        case None:
            return raised(error, bounds)


def given_back(running: Running) -> Released:
    """The outcome of an attempt that its worker has no more time for."""
    if running.stopping == "budget":
        reason = "the time budget was used up"
        overran = running.entered and not running.book.advanced
        return Released(reason, entered=running.entered, overran=overran)
    return Released("the worker was shutting down", entered=running.entered)


def timed_out(running: Running, bounds: Bounds) -> Raised:
    """The outcome of an attempt that its deadline ended."""
    seconds = running.job.timeout_ms / 1000
    error = JobTimeout(f"it took longer than its timeout of {seconds:g} s")
    unknown = Failure(kind=FailureKind.AMBIGUOUS, code="timeout") if running.entered else None
    return Raised(error, bounded(str(error), bounds), "timeout", failure=unknown)


def not_committed(bounds: Bounds) -> Raised:
    """The outcome of an attempt that completed its job in a transaction that vanished."""
    error = NotCommitted("job.complete() was called in a transaction that did not commit")
    return Raised(error, bounded(str(error), bounds), "not_committed")


def stored(running: Running, result: Any, bounds: Bounds) -> Outcome:
    """The outcome of an attempt whose handler returned."""
    if running.committed is not None:
        return Succeeded(running.committed, committed=True)
    try:
        return Succeeded(encode_result(result, limit=bounds.result))
    except ResultError as error:
        return Refused("result_unstorable", bounded(str(error), bounds))


def raised(error: BaseException, bounds: Bounds) -> Raised:
    """An exception as it is stored: without secrets, and not too long."""
    code = error.code if isinstance(error, Permanent) else type(error).__name__
    text = _text(error)
    named = text if isinstance(error, Permanent) else f"{type(error).__name__}: {text}"
    lines = _lines(error)
    failure = _own_failure(error) if isinstance(error, Signal | JobqError) else classify(error)
    return Raised(error, bounded(named, bounds), code, bounded(lines, bounds, tail=True), failure)


def _own_failure(error: Signal | JobqError) -> Failure | None:
    """What jobq's own exceptions say beyond what the retry policy says of all."""
    refused = isinstance(error, StorageError) and not isinstance(error, StorageUnavailable)
    return Failure(kind=FailureKind.PERMANENT, code="storage_refused") if refused else None


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  a broken __str__ must not cost the job its outcome
        return "(its text cannot be shown)"


def _lines(error: BaseException) -> str:
    try:
        return "".join(tracebacks.format_exception(error))
    except Exception:  # noqa: BLE001  as above: a SyntaxError may have a line that is no text
        return "".join(tracebacks.format_tb(error.__traceback__))


def bounded(text: str, bounds: Bounds, *, tail: bool = False) -> str:
    """An error's text as it is stored: without secrets, and not too long."""
    text = mask(text).replace("\x00", "").encode(errors="replace").decode()
    if len(text.encode()) <= bounds.error:
        return text
    room = bounds.error - 40
    cut = text.encode()[-room:] if tail else text.encode()[:room]
    kept = cut.decode(errors="ignore")
    return f"[… shortened]\n{kept}" if tail else f"{kept}\n[… shortened]"
