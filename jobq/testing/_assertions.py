"""Assert what was enqueued."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypedDict, TypeVar, Unpack

from attrs import frozen

from jobq._checks import priority_number
from jobq._clock import to_span
from jobq._errors import OptionError
from jobq._handler import Handler
from jobq._loops import in_event_loop
from jobq._model import Job
from jobq._payload import as_builtins
from jobq._queue import AsyncQueue, Queue
from jobq._routing import timeout_seconds

T = TypeVar("T")

SHOWN = 20
WIDTH = 200


class EnqueuedOptions(TypedDict, total=False):
    """What else `assert_enqueued` may ask of a job."""

    queue: str
    status: str
    priority: int | str
    run_at: datetime
    delay: float | timedelta
    max_attempts: int
    timeout: float | timedelta | None
    expires_at: datetime
    unique_key: str
    owner: str
    metadata: Mapping[str, Any]


def assert_enqueued(
    queue: Queue | AsyncQueue,
    type: Handler[Any, Any] | str,
    /,
    payload: Any = ...,
    *,
    count: int | None = None,
    **options: Unpack[EnqueuedOptions],
) -> list[Job]:
    """Assert that a job was enqueued, and return the jobs that fit, newest first.

    A mapping fits a payload that has all its keys with values that fit, at every level; a list
    fits item by item; any other value fits its equal. `metadata` fits in the same way, the other
    options as they were given to `enqueue`. Jobs count in every status, finished ones too, unless
    `status` says otherwise.

    - `count`: how many jobs must fit; by default at least one.

    Works in synchronous and asynchronous tests alike: there is nothing to await. The failure's
    message says what was enqueued instead.

    >>> def test_a_signup_enqueues_a_mail(jobq_queue):
    ...     sign_up("ada@example.com", queue=jobq_queue)
    ...     assert_enqueued(jobq_queue, "send_mail", {"to": "ada@example.com"}, priority="urgent")
    """
    __tracebackhide__ = True
    wanted = Wanted.of(type, payload, options)
    jobs = _jobs(queue)
    found = [job for job in jobs if wanted.difference(job) is None]
    if len(found) == count or (count is None and found):
        return found
    raise AssertionError(wanted.failure(jobs, found, count))


def assert_not_enqueued(
    queue: Queue | AsyncQueue,
    type: Handler[Any, Any] | str,
    /,
    payload: Any = ...,
    **options: Unpack[EnqueuedOptions],
) -> None:
    """Assert that no such job was enqueued; what fits is told in `assert_enqueued`.

    >>> def test_a_refused_signup_sends_no_mail(jobq_queue):
    ...     sign_up("not an address", queue=jobq_queue)
    ...     assert_not_enqueued(jobq_queue, "send_mail")
    """
    __tracebackhide__ = True
    assert_enqueued(queue, type, payload, count=0, **options)


_AS_THEY_ARE = ("queue", "status", "run_at", "max_attempts", "expires_at", "unique_key", "owner")
_CONVERTED: dict[str, Callable[[Any], Any]] = {
    "priority": priority_number,
    "timeout": timeout_seconds,
    "delay": lambda value: timedelta(microseconds=to_span(value, name="delay")),
    "metadata": lambda value: value,
}


@frozen
class Wanted:
    """What a job must be like."""

    type: str
    payload: Any
    options: dict[str, Any]

    @classmethod
    def of(cls, type: Handler[Any, Any] | str, payload: Any, options: Mapping[str, Any]) -> Wanted:
        for name in options:
            if name not in EnqueuedOptions.__annotations__:
                known = ", ".join(EnqueuedOptions.__annotations__)
                raise OptionError(f"{name!r} is no option of assert_enqueued; they are {known}")
        wanted = {name: _CONVERTED.get(name, _same)(value) for name, value in options.items()}
        return cls(type.type if isinstance(type, Handler) else type, payload, wanted)

    def difference(self, job: Job) -> str | None:
        """The first thing in which a job is not as wanted."""
        if job.type != self.type:
            return f"its type is {job.type!r}"
        return next(self._differences(job), None)

    def _differences(self, job: Job) -> Iterator[str]:
        if self.payload is not ...:
            yield from differences({} if self.payload is None else self.payload, job.payload)
        for name, value in self.options.items():
            if name == "metadata":
                yield from differences(value, dict(job.metadata), "metadata")
                continue
            actual = job.run_at - job.created_at if name == "delay" else getattr(job, name)
            if actual != value:
                yield f"{name} is {actual!r}, not {value!r}"

    def failure(self, jobs: list[Job], found: list[Job], count: int | None) -> str:
        """The message of an assertion that does not hold."""
        asked = [f"{name}={value!r}" for name, value in self.options.items()]
        if self.payload is not ...:
            asked.insert(0, f"payload {self.payload!r:.{WIDTH}}")
        like = f" with {', '.join(asked)}" if asked else ""
        instead = "" if count is None else f", not {count}"
        first = f"{_jobs_of(len(found), self.type)} enqueued{like}{instead}"
        if not jobs:
            return f"{first}; nothing was enqueued at all"
        # Jobs of the same type first: they are the likely ones.
        jobs = sorted(jobs, key=lambda job: job.type != self.type)
        lines = [self._line(job) for job in jobs[:SHOWN]]
        more = [f"  … and {len(jobs) - SHOWN} more"] if len(jobs) > SHOWN else []
        return "\n".join([f"{first}. These were enqueued:", *lines, *more])

    def _line(self, job: Job) -> str:
        difference = self.difference(job) if job.type == self.type else None
        why = f"  ← {difference}" if difference else ""
        return f"  {job.type} ({job.status}) {job.payload!r:.{WIDTH}}{why}"


def _jobs_of(count: int, type: str) -> str:
    match count:
        case 0:
            return f"no job of type {type!r} was"
        case 1:
            return f"one job of type {type!r} was"
        case _:
            return f"{count} jobs of type {type!r} were"


def _same(value: Any) -> Any:
    return value


def differences(wanted: Any, actual: Any, path: str = "payload") -> Iterator[str]:
    """Where a value does not have what is wanted of it."""
    wanted = as_builtins(wanted)
    if isinstance(wanted, Mapping) and isinstance(actual, dict):
        for key, value in wanted.items():
            if key in actual:
                yield from differences(value, actual[key], f"{path}.{key}")
            else:
                yield f"{path}.{key} is missing"
    elif isinstance(wanted, list | tuple) and isinstance(actual, list):
        if len(wanted) != len(actual):
            yield f"{path} has {len(actual)} items, not {len(wanted)}"
            return
        for index, (one, other) in enumerate(zip(wanted, actual, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif wanted != actual:
        yield f"{path} is {actual!r:.{WIDTH}}, not {wanted!r:.{WIDTH}}"


def _jobs(queue: Queue | AsyncQueue) -> list[Job]:
    """All jobs, newest first."""
    face = queue if isinstance(queue, Queue) else queue.sync

    def read() -> list[Job]:
        page = face.list(limit=1000)
        jobs = [*page.jobs]
        while page.next:
            page = face.list(limit=1000, after=page.next)
            jobs += page.jobs
        return jobs

    return _outside_of_loops(read)


def _outside_of_loops(call: Callable[[], T]) -> T:
    """Call something synchronous, in another thread where this one has a running event loop."""
    if not in_event_loop():
        return call()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()
