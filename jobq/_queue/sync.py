"""The synchronous face of a queue."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from jobq import _stat_verbs as stat_verbs
from jobq import _steps
from jobq import _verbs as verbs
from jobq._batch import Batch
from jobq._config import Config
from jobq._enqueue_many import enqueue_many
from jobq._enqueued import Outcome
from jobq._handler import Handler, WithoutPayload
from jobq._model import Attempt, Counts, Job, Page, Stat, WorkerInfo
from jobq._queue.controls import Controls
from jobq._queue.events import Events
from jobq._queue.face import Face
from jobq._queue.options import EnqueueOptions, Where, job_item, one_connection, warn_in_a_loop
from jobq._queue.reports import Reports

if TYPE_CHECKING:
    from jobq import backends
    from jobq._queue.aio import AsyncQueue

P = TypeVar("P")
T = TypeVar("T")


class Queue(Face, Controls, Reports, Events):
    """A queue, for synchronous code. `queue.aio` is its asynchronous face.

    Constructing one opens nothing; connections are made when they are needed, for each process,
    and may be shared by threads. `close` it, or use it as a context manager; a process ends
    without that too.

    - `url`: `sqlite:///jobs.db` or `postgresql://user:password@host/database`.
    - `router`: its handlers; by default those of `@jobq.handler`.
    - `strict_types`: whether enqueueing a type that has no handler here is an error.
    - `lifespan`: an async context manager, opened once in each worker; what it yields is
      `job.state`.
    - `keep`: how long finished jobs stay, in seconds or a timedelta; `None` is for ever.
    - `limits`: those of whole queues, `{queue: [limit, …]}`, on top of the handlers'.
    - `bounds`: how large payloads, results, errors and metadata may be.
    - `budget`: how much money jobs may spend whose handlers have no budget of their own.
    - `per_owner`: how many jobs each owner may have, waiting and running.
    - `observers`: see `jobq.observe`.
    - `artifacts`: where `job.save` keeps things: a folder, `s3://bucket`, or a storage, see
      `jobq.artifacts`; by default what the environment says, else the folder `artifacts`.
    - `webhooks`: endpoints that are told how jobs ended, `{name: jobq.Webhook(…)}`, or a function
      (async or not) that finds one by its name.
    - `pool_size`, `prepare`, `listen_url`, `patience`, `statement_timeout`: PostgreSQL only, see
      the reference.

    >>> queue = Queue("sqlite:///jobs.db")
    >>> job = queue.enqueue("image_edit", {"prompt": "a red door"}, priority="urgent")
    >>> queue.get(job.id).status
    <JobStatus.PENDING: 'pending'>
    """

    def _adopt(self, config: Config) -> None:
        super()._adopt(config)
        self._aio: AsyncQueue | None = None
        self._opened: backends.Store | None = None
        self._opening = threading.Lock()

    @property
    def aio(self) -> AsyncQueue:
        """The same queue for asynchronous code."""
        if self._aio is None:
            from jobq._queue.aio import AsyncQueue  # each face makes the other

            face = AsyncQueue._face_of(self._config)  # noqa: SLF001
            face._sync, self._aio = self, face  # noqa: SLF001
        return self._aio

    @overload
    def enqueue(
        self, type: WithoutPayload[Any], payload: None = None, **options: Unpack[EnqueueOptions]
    ) -> Job: ...
    @overload
    def enqueue(
        self, type: Handler[P, Any], payload: P, **options: Unpack[EnqueueOptions]
    ) -> Job: ...
    @overload
    def enqueue(self, type: str, payload: Any = None, **options: Unpack[EnqueueOptions]) -> Job: ...
    def enqueue(self, type: Any, payload: Any = None, **options: Any) -> Job:
        """Store a job; when this returns it is durable, and workers know.

        `type` is a handler or the name of one. The payload is checked against the handler's
        annotation where the handler is known here; otherwise a worker that knows it checks the
        payload before the job may start.

        - `queue`, `priority` (`urgent`, `normal`, `batch` or an integer, larger first).
        - `run_at` (an aware datetime) or `delay` (seconds or a timedelta): not before then.
        - `max_attempts`; `timeout` of one attempt (seconds, a timedelta, or `None`).
        - `expires_at`: fail it, code `expired`, if it has not started by then.
        - `unique_key`: while a job of this type and key is unfinished, the same payload returns
          that job (`job.created` is false), another payload raises `DuplicateJob`.
        - `idempotency_key`: as long as the job is kept, finished or not, the same key of the same
          owner returns that job; with another type or payload it raises `DuplicateJob`.
        - `owner`: whose job it is. `metadata`: a mapping that the handler sees.
        - `cost`: units of its limits, `{key: units}`; otherwise what the handler says, or 1.
        - `keep`: how long it stays when finished; `False` deletes it when it completes.
        - `connection` or `session`: store it in that open transaction, to commit or vanish with
          it.

        Raises `PayloadError`, `OptionError`, `DuplicateJob`, `UnknownType` (where types are
        strict), `BackendUnavailable`.

        >>> job = queue.enqueue("image_edit", {"width": 512}, priority="urgent", owner="user-7")
        """
        item, connection = job_item(type, payload, options)
        return self._do(verbs.enqueue, item, connection)

    def enqueue_many(
        self,
        items: Iterable[Any],
        *,
        batch: Batch | None = None,
        connection: Any = None,
        session: Any = None,
    ) -> Sequence[Outcome]:
        """Store many jobs; an outcome for each item, in order.

        An item is `(handler or type, payload)`, `(handler or type, payload, options)` or a
        `NewJob`. A bad item keeps only itself out: its outcome has the error. Any iterable will
        do; a generator is read as it is stored, in transactions of some thousands. With a `batch`
        all are stored in one, or none, and `queue.batch(batch.id)` tells how far they are.

        The memory that it takes hardly grows with their number: of more than 10,000 items an
        outcome knows the job's `id`, and no longer the `job`.

        >>> outcomes = queue.enqueue_many(("image_edit", {"n": n}) for n in range(10_000))
        """
        target = one_connection(connection, session)
        return self._do(enqueue_many, items, target, batch)

    def get(self, job_id: Any) -> Job:
        """The job with this id (text, `uuid.UUID` or a `Job`). Raises `JobNotFound`."""
        return self._do(verbs.get, job_id)

    def get_many(self, job_ids: Iterable[Any]) -> builtins.list[Job]:
        """The jobs with these ids, in this order; unknown ids are left out."""
        return self._do(verbs.get_many, job_ids)

    def list(
        self,
        *,
        status: str | Iterable[str] | None = None,
        type: str | None = None,
        queue: str | None = None,
        owner: str | None = None,
        batch: Any = None,
        limit: int = 50,
        after: Any = None,
    ) -> Page:
        """Jobs that fit, newest first, and the cursor of the page after (`page.next`).

        >>> page = queue.list(status="failed")
        >>> while page.next:
        ...     page = queue.list(status="failed", after=page.next)
        """
        return self._do(
            verbs.page,
            status=status,
            type=type,
            queue=queue,
            owner=owner,
            batch=batch,
            limit=limit,
            after=after,
        )

    def pending(
        self,
        *,
        type: str | None = None,
        queue: str | None = None,
        owner: str | None = None,
        limit: int = 50,
    ) -> builtins.list[Job]:
        """The jobs that are waiting to be run, oldest first."""
        found = self._do(
            verbs.page,
            status=("pending", "rate_limited"),
            type=type,
            queue=queue,
            owner=owner,
            limit=limit,
            oldest=True,
        )
        return [*found.jobs]

    def counts(
        self, *, type: str | None = None, queue: str | None = None, owner: str | None = None
    ) -> Counts:
        """How many jobs are in each status.

        Never a full scan: of each status at most `cap` jobs are looked at, so a number means
        "among the first 10,000".

        >>> queue.counts()["pending"]
        0
        """
        return self._do(verbs.counts, type=type, queue=queue, owner=owner)

    def history(self, job_id: Any) -> builtins.list[Attempt]:
        """The ended attempts of a job, oldest first, with errors and tracebacks."""
        return self._do(verbs.history, job_id)

    def workers(self) -> builtins.list[WorkerInfo]:
        """The workers that are alive, or were within the last hour."""
        return self._do(verbs.workers)

    def stats(
        self,
        *,
        minutes: int = 60,
        step: int = 1,
        by: stat_verbs.By | None = None,
        queue: str | None = None,
        type: str | None = None,
        worker: str | None = None,
    ) -> builtins.list[Stat]:
        """What became of attempts in the last minutes, minute by minute, oldest first.

        From what workers counted, never from jobs. Each point sums up `step` minutes; the last is
        the one that still runs. With `by` ("queue", "type" or "worker") each that had any has a
        series of its own, under its name; `queue`, `type` and `worker` leave out others. Seven
        days are kept. Raises `OptionError` for more than 1440 points.

        >>> sum(one.completed for one in queue.stats(minutes=60))
        0
        """
        return self._do(
            stat_verbs.stats,
            minutes=minutes,
            step=step,
            by=by,
            queue=queue,
            type=type,
            worker=worker,
        )

    def queues(self) -> builtins.list[backends.QueueState]:
        """The queues in use: their live jobs (capped) and whether they are paused."""
        return self._do(verbs.queues)

    def wait(self, job_id: Any, timeout: float | None = None) -> Job:
        """Wait until a job is finished, and return it; look at its status.

        Raises `WaitTimeout` after `timeout` seconds, `JobNotFound` where the job was deleted on
        completion (`keep=False`).
        """
        return self._do(verbs.wait, job_id, timeout)

    def cancel(self, job_id: Any) -> Job:
        """Cancel a job.

        One that is running is asked to stop, and is `cancelled` when its handler has. Raises
        `JobNotFound`, or `IllegalMove` where it is finished.
        """
        return self._do(verbs.cancel, job_id)

    def retry(self, job_id: Any) -> Job:
        """Run a job again, now, with all its attempts.

        A running attempt is disowned: its late outcome is refused. Raises `IllegalMove` for
        pending and completed jobs, `DuplicateJob` where a live job holds its unique key.
        """
        return self._do(verbs.retry, job_id)

    def reschedule(
        self,
        job_id: Any,
        *,
        run_at: datetime | None = None,
        delay: float | timedelta | None = None,
        priority: int | str | None = None,
        queue: str | None = None,
    ) -> Job:
        """Give a job that has not started another time, priority or queue."""
        return self._do(
            verbs.reschedule, job_id, run_at=run_at, delay=delay, priority=priority, queue=queue
        )

    def set_status(
        self,
        job_id: Any,
        status: str,
        *,
        result: Any = None,
        error: str | None = None,
        error_code: str | None = None,
    ) -> Job:
        """Set the status of an unfinished job by hand, under the legal moves (`jobq.MOVES`)."""
        return self._do(
            verbs.set_status, job_id, status, result=result, error=error, error_code=error_code
        )

    def set_progress(self, job_id: Any, progress: int, message: str | None = None) -> Job:
        """Set the progress (0 to 100) of an unfinished job from outside its handler."""
        return self._do(verbs.set_progress, job_id, progress, message)

    def delete(self, job_id: Any) -> None:
        """Delete a finished job and its history. Raises `IllegalMove` where it is not finished."""
        self._do(verbs.delete, job_id)

    def cancel_where(self, *, dry_run: bool = False, **where: Unpack[Where]) -> int:
        """Cancel all jobs that fit; how many were, or with `dry_run` would be."""
        return self._do(verbs.for_each, "cancel", dry_run=dry_run, **where)

    def retry_where(self, *, dry_run: bool = False, **where: Unpack[Where]) -> int:
        """Retry all jobs that fit; how many were, or with `dry_run` would be.

        >>> queue.retry_where(status="failed", type="image_edit", dry_run=True)
        0
        """
        return self._do(verbs.for_each, "retry", dry_run=dry_run, **where)

    def delete_where(self, *, dry_run: bool = False, **where: Unpack[Where]) -> int:
        """Delete all finished jobs that fit; how many were, or with `dry_run` would be."""
        return self._do(verbs.for_each, "delete", dry_run=dry_run, **where)

    def cleanup_old_jobs(self, days: float = 30) -> int:
        """Delete jobs that finished more than `days` ago; how many.

        Workers do this by themselves after each job's retention (`keep`).
        """
        return self._do(verbs.cleanup_old_jobs, days)

    def pause(self, queue: str = "default", until: datetime | None = None) -> None:
        """Let no job of a queue start, until an instant or until `resume`. Running jobs go on."""
        self._do(verbs.pause, queue, until)

    def resume(self, queue: str = "default") -> None:
        """Let the jobs of a queue start again."""
        self._do(verbs.resume, queue)

    def migrate(self) -> builtins.list[int]:
        """Bring the schema up to date; the numbers of the steps that were run.

        `jobq migrate` does the same. On SQLite it happens by itself.
        """
        return self._store().migrate()

    def close(self) -> None:
        """Close this process's connections. The queue may be used again."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _store(self) -> backends.Store:
        if self._opened is None:
            with self._opening:
                if self._opened is None:
                    self._opened = self._config.store()
        return self._opened

    def _do(self, verb: Callable[..., verbs.Verb[T]], *args: Any, **kwargs: Any) -> T:
        """Run a verb to its end, step by step."""
        warn_in_a_loop()
        return _steps.run(verb(self._config, *args, **kwargs), self._store())
