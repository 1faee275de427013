"""Watch what jobq does: observer hooks, and log records that name their job.

Pass observers to a queue: `Queue(url, observers=[MyObserver()])`.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from jobq._masking import mask

if TYPE_CHECKING:
    from jobq._model import Job
    from jobq._outcome import Transition

logger = logging.getLogger("jobq")


class _Masked(logging.Filter):
    """Takes secrets out of jobq's own records, before any handler of the app sees them."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_masked, record.args))
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            lines = "".join(traceback.format_exception(record.exc_info[1]))
            record.exc_text = mask(lines.rstrip("\n"))
        return True


def _masked(value: object) -> object:
    if isinstance(value, BaseException):
        return mask(str(value))
    return mask(value) if isinstance(value, str) else value


logger.addFilter(_Masked())

current_job: ContextVar[tuple[str, str] | None] = ContextVar("jobq_current_job", default=None)
"""The id and type of the job whose handler is running here."""


class Enqueuing:
    """A job that is about to be stored. Where one with its unique key exists, `id` becomes that."""

    def __init__(self, *, id: str, type: str, queue: str) -> None:
        self.id = id
        self.type = type
        self.queue = queue
        self.carries: dict[str, str] = {}
        """What is put here is stored with the job's metadata; what the caller gave there stays."""


class Attempting(NamedTuple):
    """An attempt whose handler is about to be called."""

    job_id: str
    type: str
    queue: str
    attempt: int
    worker: str
    metadata: Mapping[str, Any]
    waited: float
    """Seconds for which the job was due before it was claimed."""


class Attempted(NamedTuple):
    """An attempt whose outcome was stored."""

    job_id: str
    type: str
    queue: str
    attempt: int
    outcome: str
    """As in the history: `completed`, `failed`, `retried`, `rate_limited`, `snoozed`, and so on."""
    status: str
    """What the job became."""
    error_code: str | None
    seconds: float
    """How long the attempt took."""
    waited: float
    """Seconds for which the job was due before it was claimed."""
    error: str | None = None
    """What went wrong, as the job's `error` says."""


class Gauges(NamedTuple):
    """How a queue stands, for a scraper: from the first 10,000 jobs of each status."""

    live: Mapping[tuple[str, str], int]
    """Unfinished jobs, by queue and status."""
    paused: frozenset[str]
    """The queues that are paused."""
    due: Mapping[str, float]
    """Seconds for which the pending job has been due that is due longest, by queue."""
    workers: int
    """Those that are alive; `slots`, `busy` and `hanging` are theirs."""
    slots: int
    busy: int
    hanging: int


class Observer:
    """Override the hooks that you need; each is called after the fact, and must not block.

    Two are called before, `enqueuing` and `attempting`: what they return is entered then, and left
    afterwards. An exception in a hook is logged and goes no further.
    """

    def enqueuing(self, jobs: Sequence[Enqueuing]) -> AbstractContextManager[object]:  # noqa: ARG002
        """Jobs are about to be stored together; `job.carries` goes with each."""
        return nullcontext()

    def attempting(self, attempts: Sequence[Attempting]) -> AbstractContextManager[object]:  # noqa: ARG002
        """A handler is about to be called: for one job, or for several where it takes batches.

        What is entered is left with the exception that the handler raised, and cannot hide it.
        """
        return nullcontext()

    def attempted(self, attempt: Attempted) -> None:
        """An attempt's outcome was stored; what `job_moved` tells, and more."""

    def exposition(self, gauges: Gauges) -> tuple[str, bytes] | None:  # noqa: ARG002
        """What `/metrics` answers: a content type and the text; `None` where this tells nothing."""
        return None

    def job_enqueued(self, job: Job) -> None:
        """A job was stored, or an existing one returned (`job.created` tells)."""

    def job_claimed(self, job_id: str, type: str, attempt: int, worker: str) -> None:
        """A worker took a job."""

    def job_started(self, job_id: str, type: str, attempt: int) -> None:
        """A handler is about to be called."""

    def job_progressed(self, job_id: str, type: str, progress: int, message: str | None) -> None:
        """A job's progress was stored."""

    def job_moved(self, job_id: str, type: str, transition: Transition, seconds: float) -> None:
        """An attempt's outcome was stored; `seconds` is how long its handler ran."""

    def lease_lost(self, job_id: str, type: str) -> None:
        """A late write was refused: the job had a new owner, or had been moved."""

    def jobs_changed(self, verb: str, job_ids: Iterable[str]) -> None:
        """A verb has moved jobs: the name of a move (`jobq.MOVES`), or another of these.

        `cancel`, `retry`, `reschedule`, `set_status`, `set_progress`, `delete`, `rescue`, and
        `declare` (a worker knows the handler), `refuse`, `expire` (both ended them), `prune`.
        """

    def queue_changed(self, verb: str, queue: str) -> None:
        """A queue was paused or resumed: `pause`, `resume`."""

    def database_called(self, op: str, seconds: float, error: BaseException | None) -> None:
        """A unit of work ran on the database."""


class Observers:
    """Calls each observer's hook, and survives those that raise."""

    def joined(self, observer: Observer) -> Observers:
        """These, and one more."""
        return Observers([*self._observers, observer])

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def have(self, hook: str) -> bool:
        """Whether any of them overrides this hook."""
        return any(_overrides(observer, hook) for observer in self._observers)

    def around(self, hook: str, values: Sequence[Any]) -> AbstractContextManager[object]:
        """Enter what the observers' hooks return, and leave it with what happens."""
        return _Around([one for one in self._observers if _overrides(one, hook)], hook, values)

    def exposition(self, gauges: Gauges) -> tuple[str, bytes] | None:
        """What the first observer tells a scraper that tells anything."""
        told = (observer.exposition(gauges) for observer in self._observers)
        return next((one for one in told if one is not None), None)

    def __getattr__(self, hook: str) -> Callable[..., None]:
        def call(*args: Any) -> None:
            for observer in self._observers:
                try:
                    getattr(observer, hook)(*args)
                except Exception:
                    logger.exception("observer %r failed in %s", observer, hook)

        return call


def _overrides(observer: Observer, hook: str) -> bool:
    return getattr(type(observer), hook, None) is not getattr(Observer, hook)


class _Around(AbstractContextManager[object]):
    """Context managers of observers: none of them may fail, or hide, what happens inside."""

    def __init__(self, observers: Sequence[Observer], hook: str, values: Sequence[Any]) -> None:
        self._observers, self._hook, self._values = observers, hook, values
        self._entered: list[tuple[Observer, AbstractContextManager[object]]] = []

    def __enter__(self) -> None:
        for observer in self._observers:
            try:
                manager = getattr(observer, self._hook)(self._values)
                manager.__enter__()
            except Exception:
                logger.exception("observer %r failed in %s", observer, self._hook)
            else:
                self._entered.append((observer, manager))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for observer, manager in reversed(self._entered):
            try:
                manager.__exit__(kind, error, traceback)
            except Exception as raised:
                if raised is not error:
                    logger.exception("observer %r failed after %s", observer, self._hook)


class _OfTheJob:
    """A record's attribute that falls back to the job it was made in; `extra=` may set it."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __get__(self, record: Any, owner: type) -> Any:
        job = getattr(record, "_jobq_job", None)
        return None if job is None else job[self._index]


class _NamesItsJob:
    """A mixin of log records."""

    job_id = _OfTheJob(0)
    job_type = _OfTheJob(1)

    def getMessage(self) -> str:  # noqa: N802  logging's own name
        self._tell()
        return super().getMessage()  # type: ignore[misc,no-any-return]

    def __reduce__(self) -> Any:
        self._tell()
        return logging.makeLogRecord, (self.__dict__.copy(),)

    def _tell(self) -> None:
        # Formatters look into __dict__. Not from the start: logging refuses an `extra` that would
        # overwrite what is there.
        self.__dict__.setdefault("job_id", self.job_id)
        self.__dict__.setdefault("job_type", self.job_type)


@cache
def _naming(kind: type[logging.LogRecord]) -> type[logging.LogRecord]:
    if issubclass(kind, _NamesItsJob):
        return kind
    return type(kind.__name__, (_NamesItsJob, kind), {})


def name_jobs_in_log_records() -> None:
    """Give each log record made inside a handler the attributes `job_id` and `job_type`.

    It wraps the process's record factory, once; records made elsewhere get `None`.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "names_jobs", False):
        return

    def make_with_job(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record._jobq_job = current_job.get()  # noqa: SLF001
        kind: Any = type(record)
        record.__class__ = _naming(kind)
        return record

    make_with_job.names_jobs = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_with_job)
