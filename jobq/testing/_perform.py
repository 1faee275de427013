"""Run one handler, without a database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypedDict, TypeVar, Unpack, overload

from anyio import to_thread
from attrs import Factory, define, field, frozen

from jobq._clock import SystemClock
from jobq._config import Bounds
from jobq._context import JobContext, SyncJobContext, one_connection
from jobq._durable import Book
from jobq._enqueue import milliseconds
from jobq._errors import OptionError, UnknownType
from jobq._handler import Handler, Middleware, WithoutPayload
from jobq._limits import KeyPool
from jobq._model import new_id
from jobq._payload import encode_json, encode_result, loads
from jobq._queue import AsyncQueue, Queue
from jobq._routing import default_router
from jobq._saving import Uploads
from jobq._showing import Shown
from jobq._spend import Budget, Request
from jobq.observe import current_job, name_jobs_in_log_records
from jobq.testing._drain import run_outside_a_loop
from jobq.testing._nowhere import Nowhere, ThreadNowhere, book_of, told
from jobq.testing._spending import Purse, PursedSpending, PursedSyncSpending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

P = TypeVar("P")
R = TypeVar("R")

Reports = list[tuple[int, str | None]]


class PerformOptions(TypedDict, total=False):
    """The options of `perform`."""

    queue: Queue | AsyncQueue
    attempt: int
    max_attempts: int
    owner: str
    metadata: Mapping[str, Any]
    state: Any
    progress: Reports
    cancelled: bool
    keys: Mapping[str, str]
    waits: Mapping[str, Any]
    spends: list[Request]
    partials: dict[str, Any]
    saved: dict[str, bytes]


@overload
def perform(
    handler: WithoutPayload[R], payload: None = None, **options: Unpack[PerformOptions]
) -> R: ...
@overload
def perform(handler: Handler[P, R], payload: P, **options: Unpack[PerformOptions]) -> R: ...
def perform(handler: Handler[Any, Any], payload: Any = None, **options: Any) -> Any:
    """Run a handler on a payload as a worker would, but without a database; its result.

    The payload is checked and goes through JSON, the middleware is around the handler, and the
    result is checked to be one that can be stored. What the handler raises is raised here:
    `RetryAfter`, `Snooze`, `Permanent` and `Cancel` too. `job.complete(…)` writes nothing, and
    its result becomes this one's. There is no timeout.

    - `queue`: the queue whose router and `lifespan` apply; by default the default router's.
    - `state`: what `job.state` is; then no lifespan is opened.
    - `attempt`, `max_attempts`, `owner`, `metadata`: what the context says of the job.
    - `progress`: a list that gets a `(percent, message)` for each call of `job.progress`.
    - `keys`: the secrets that `job.key(…)` gives, by pool; by default the first of each.
    - `partials`: a dictionary that gets what `job.partial` shows.
    - `waits`: what comes of what the handler waits for, by name. Steps are called, nobody sleeps.
    - `spends`: a list that gets what each call of `job.spend` was told. The job's budget holds.
    - `saved`: a dictionary that gets the bytes of what `job.save` keeps, by their names.
    - `cancelled`: whether `job.cancelled` says that the handler should stop.

    A `def` handler runs in the calling thread, unless there is middleware or a lifespan. In
    asynchronous tests `await aperform(…)`. Raises `PayloadError`, `ResultError`, and
    `UnknownType` where the queue has another handler for the type, or none.

    >>> def test_an_edit_needs_a_prompt():
    ...     with pytest.raises(jobq.Permanent, match="prompt"):
    ...         perform(image_edit, {"prompt": ""}, attempt=2, state=FakeClient())
    """
    performance = Performance(handler=handler, payload=payload, **options)
    if performance.needs_no_loop:
        return performance.in_this_thread()
    return run_outside_a_loop("perform", performance.run())


@overload
async def aperform(
    handler: WithoutPayload[R], payload: None = None, **options: Unpack[PerformOptions]
) -> R: ...
@overload
async def aperform(handler: Handler[P, R], payload: P, **options: Unpack[PerformOptions]) -> R: ...
async def aperform(handler: Handler[Any, Any], payload: Any = None, **options: Any) -> Any:
    """Run a handler on a payload without a database; its result. See `perform`.

    >>> async def test_an_edit_reports_its_progress():
    ...     seen = []
    ...     await aperform(image_edit, {"prompt": "a red door"}, progress=seen)
    ...     assert seen == [(10, "fetching"), (90, None)]
    """
    return await Performance(handler=handler, payload=payload, **options).run()


@frozen(kw_only=True)
class Facts:
    """What a context knows of its job; as in a claimed one, instants in microseconds."""

    id: str = Factory(new_id)
    type: str
    queue: str
    attempts: int
    max_attempts: int
    owner: str | None
    metadata: str
    created_at: int
    started_at: int
    timeout_ms: int
    fence: int = 0


@frozen
class Kept:
    """A storage of what one handler saves, under its name."""

    saved: dict[str, bytes]
    prefix = ""

    def put(self, key: str, content: BinaryIO, *, size: int, content_type: str) -> None:
        del size, content_type
        self.saved[key] = content.read()

    def read(self, key: str, start: int, length: int) -> bytes:
        return self.saved[key][start : start + length]

    def delete(self, key: str) -> None:
        self.saved.pop(key, None)

    def public_url(self, key: str) -> None:
        """There is none."""

    def signed_url(self, key: str, *, seconds: int) -> None:
        """Nor such a one."""


@define(kw_only=True)
class Record:
    """Stands behind a context in a worker's place, and remembers what it is told."""

    job: Facts
    state: Any
    progress: Reports
    stopping: str | None
    worker: str | None = None
    keep: int | None = None
    result_limit: int | None = None
    dialect: Any = None
    message: str | None = None
    committed: str | None = None
    keys: Mapping[str, str] = Factory(dict)
    debits: dict[str, int] = Factory(dict)
    saved: dict[str, bytes] = Factory(dict)
    uploads: Uploads = Factory(Uploads)
    upload_threads: Any = None
    heeded: tuple[str, ...] = ()
    book: Book
    place: Nowhere = Factory(Nowhere)
    thread_place: ThreadNowhere = Factory(ThreadNowhere)
    resumed: bool = False
    leaving: str | None = None
    can_wait: bool = True
    step_limit: int | None = None

    @property
    def now(self) -> int:
        return self.job.started_at

    def lose(self) -> None:
        """There is nobody to lose it to."""

    purse: Purse = Factory(Purse)
    partials: dict[str, Any] = Factory(dict)
    shown: Shown = Factory(lambda: Shown(Bounds().partial))

    @property
    def budget(self) -> Budget | None:
        return self.purse.budget

    @property
    def storage(self) -> Kept:
        return Kept(self.saved)

    def show(self, key: str, value: Any) -> None:
        self.shown.put(key, value)
        self.partials[key] = value

    def limit_key(self, name: str) -> str:
        return name

    def settle(self, limit: str, units: int) -> None:
        self.debits[limit] = units

    def close(self, limit: str, seconds: float) -> None:
        """There is no limit to close."""

    def report(self, progress: int, message: str | None) -> None:
        self.progress.append((progress, message))


class RecordingJobContext(PursedSpending, JobContext):
    """Completes nothing but its record."""

    async def complete(
        self, result: Any = None, *, session: Any = None, connection: Any = None
    ) -> None:
        one_connection(session, connection)
        self._completed(self._completion(result), accepted=True)


class RecordingSyncJobContext(PursedSyncSpending, SyncJobContext):
    """Completes nothing but its record."""

    def complete(self, result: Any = None, *, session: Any = None, connection: Any = None) -> None:
        one_connection(session, connection)
        self._completed(self._completion(result), accepted=True)


def _count(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"attempts are counted from 1, not {value!r}")
    return value


@frozen(kw_only=True)
class Performance:
    """One call of `perform`."""

    handler: Handler[Any, Any]
    payload: Any
    queue: Queue | AsyncQueue | None = None
    attempt: int = field(default=1, converter=_count)
    max_attempts: int | None = None
    owner: str | None = None
    metadata: Mapping[str, Any] = Factory(dict)
    state: Any = None
    progress: Reports = Factory(list)
    cancelled: bool = False
    keys: Mapping[str, str] = Factory(dict)
    waits: Mapping[str, Any] = Factory(dict)
    spends: list[Request] = Factory(list)
    partials: dict[str, Any] = Factory(dict)
    saved: dict[str, bytes] = Factory(dict)

    @property
    def _config(self) -> Any:
        return None if self.queue is None else self.queue._config  # noqa: SLF001  the same house

    @property
    def _middleware(self) -> tuple[Middleware, ...]:
        router = default_router if self.queue is None else self.queue.router
        known = router.get(self.handler.type)
        if known is not None and known.function is self.handler.function:
            return router.chain(known)
        if self.queue is not None:
            raise UnknownType(self.handler.type, router.types)
        return self.handler.middleware

    @property
    def _lifespan(self) -> Any:
        return None if self._config is None or self.state is not None else self._config.lifespan

    @property
    def needs_no_loop(self) -> bool:
        """Whether nothing here is asynchronous."""
        return not (self.handler.is_async or self._middleware or self._lifespan)

    def in_this_thread(self) -> Any:
        payload, record = self._prepared(self.state)
        with _named(record.job), told():
            result = self.handler.function(*self._arguments(payload, record))
        return _outcome(self._own(result), record)

    def _arguments(self, payload: Any, record: Record) -> list[Any]:
        handler = self.handler
        kind = RecordingJobContext if handler.is_async else RecordingSyncJobContext
        given = (payload, kind(record))
        return handler.arguments(*(([one] for one in given) if handler.batch else given))

    def _own(self, result: Any) -> Any:
        """The job's own result, of those of a batch of one."""
        if not self.handler.batch or result is None:
            return result
        [own] = result
        if isinstance(own, BaseException):
            raise own
        return own

    async def run(self) -> Any:
        async with self._opened() as state:
            payload, record = self._prepared(state)
            call: Callable[[], Awaitable[Any]] = partial(self._call, payload, record)
            for around in reversed(self._middleware):
                call = partial(around, RecordingJobContext(record), call)
            with _named(record.job), told():
                result = await call()
        return _outcome(self._own(result), record)

    async def _call(self, payload: Any, record: Record) -> Any:
        arguments = self._arguments(payload, record)
        if self.handler.is_async:
            return await self.handler.function(*arguments)
        return await to_thread.run_sync(self.handler.function, *arguments)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Any]:
        """The state: given, or what the queue's lifespan yields."""
        if self._lifespan is None:
            yield self.state
            return
        async with self._lifespan() as state:
            yield state

    def _prepared(self, state: Any) -> tuple[Any, Record]:
        handler = self.handler
        payload = handler.codec.decode(handler.codec.encode(self.payload))
        clock = SystemClock() if self._config is None else self._config.clock
        facts = Facts(
            type=handler.type,
            queue=handler.queue or "default",
            attempts=self.attempt,
            max_attempts=self.max_attempts or handler.retry.max_attempts,
            owner=self.owner,
            metadata=encode_json(dict(self.metadata), what="metadata"),
            created_at=clock.now(),
            started_at=clock.now(),
            timeout_ms=milliseconds(handler.timeout),
        )
        record = Record(
            job=facts,
            state=state,
            progress=self.progress,
            stopping="cancel" if self.cancelled else None,
            keys={**_first_keys(handler), **self.keys},
            debits=_debits(handler, payload),
            book=book_of(self.waits),
            purse=self._purse(),
            partials=self.partials,
            saved=self.saved,
        )
        return payload, record

    def _purse(self) -> Purse:
        general = None if self._config is None else self._config.budget
        budget = self.handler.budget or general
        return Purse(budget=budget, has_owner=self.owner is not None, requests=self.spends)


def _debits(handler: Handler[Any, Any], payload: Any) -> dict[str, int]:
    """What the limits cost, under their keys as declared."""
    costs = {}
    for limit in handler.limits:
        cost: Any = limit.cost
        cost = cost(payload) if callable(cost) else cost
        costs[limit.name if isinstance(limit, KeyPool) else limit.key] = 1 if cost is None else cost
    return costs


def _first_keys(handler: Handler[Any, Any]) -> dict[str, str]:
    pools = [limit for limit in handler.limits if isinstance(limit, KeyPool)]
    return {pool.name: next(iter(pool.keys.values()), "") for pool in pools}


@contextmanager
def _named(job: Facts) -> Iterator[None]:
    """Log records carry the job's id and type, as in a worker."""
    name_jobs_in_log_records()
    token = current_job.set((job.id, job.type))
    try:
        yield
    finally:
        current_job.reset(token)


def _outcome(result: Any, record: Record) -> Any:
    if record.committed is not None:
        return loads(record.committed)
    encode_result(result)
    return result
