"""The asynchronous face of a queue."""

from __future__ import annotations

import builtins
import weakref
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
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
from jobq._queue.controls import AsyncControls
from jobq._queue.events import AsyncEvents
from jobq._queue.face import Face
from jobq._queue.options import EnqueueOptions, Where, job_item, one_connection
from jobq._queue.reports import AsyncReports
from jobq._queue.sync import Queue

if TYPE_CHECKING:
    import asyncio

    from jobq import backends

P = TypeVar("P")
T = TypeVar("T")


class AsyncQueue(Face, AsyncControls, AsyncReports, AsyncEvents):
    """A queue, for asynchronous code; the same verbs as `Queue`. `aqueue.sync` is the other face.

    >>> queue = AsyncQueue("postgresql://localhost/app")  # doctest: +SKIP
    >>> job = await queue.enqueue("image_edit", {"prompt": "…"})  # doctest: +SKIP
    """

    def _adopt(self, config: Config) -> None:
        super()._adopt(config)
        self._sync: Queue | None = None
        self._opened: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, backends.AsyncStore]
        self._opened = weakref.WeakKeyDictionary()

    @property
    def sync(self) -> Queue:
        """The same queue for synchronous code."""
        if self._sync is None:
            face = Queue._face_of(self._config)  # noqa: SLF001
            face._aio, self._sync = self, face  # noqa: SLF001
        return self._sync

    @overload
    async def enqueue(
        self, type: WithoutPayload[Any], payload: None = None, **options: Unpack[EnqueueOptions]
    ) -> Job: ...
    @overload
    async def enqueue(
        self, type: Handler[P, Any], payload: P, **options: Unpack[EnqueueOptions]
    ) -> Job: ...
    @overload
    async def enqueue(
        self, type: str, payload: Any = None, **options: Unpack[EnqueueOptions]
    ) -> Job: ...
    async def enqueue(self, type: Any, payload: Any = None, **options: Any) -> Job:
        """Store a job; when this returns it is durable, and workers know. See `Queue.enqueue`."""
        item, connection = job_item(type, payload, options)
        return await self._do(verbs.enqueue, item, connection)

    async def enqueue_many(
        self,
        items: Iterable[Any],
        *,
        batch: Batch | None = None,
        connection: Any = None,
        session: Any = None,
    ) -> Sequence[Outcome]:
        """Store many jobs; an outcome for each item, in order. See `Queue.enqueue_many`."""
        target = one_connection(connection, session)
        return await self._do(enqueue_many, items, target, batch)

    async def get(self, job_id: Any) -> Job:
        """The job with this id (text, `uuid.UUID` or a `Job`). See `Queue.get`."""
        return await self._do(verbs.get, job_id)

    async def get_many(self, job_ids: Iterable[Any]) -> builtins.list[Job]:
        """The jobs with these ids, in this order; unknown ids are left out.

        See `Queue.get_many`.
        """
        return await self._do(verbs.get_many, job_ids)

    async def list(
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

        See `Queue.list`.
        """
        return await self._do(
            verbs.page,
            status=status,
            type=type,
            queue=queue,
            owner=owner,
            batch=batch,
            limit=limit,
            after=after,
        )

    async def pending(
        self,
        *,
        type: str | None = None,
        queue: str | None = None,
        owner: str | None = None,
        limit: int = 50,
    ) -> builtins.list[Job]:
        """The jobs that are waiting to be run, oldest first. See `Queue.pending`."""
        found = await self._do(
            verbs.page,
            status=("pending", "rate_limited"),
            type=type,
            queue=queue,
            owner=owner,
            limit=limit,
            oldest=True,
        )
        return [*found.jobs]

    async def counts(
        self, *, type: str | None = None, queue: str | None = None, owner: str | None = None
    ) -> Counts:
        """How many jobs are in each status. See `Queue.counts`."""
        return await self._do(verbs.counts, type=type, queue=queue, owner=owner)

    async def history(self, job_id: Any) -> builtins.list[Attempt]:
        """The ended attempts of a job, oldest first, with errors and tracebacks.

        See `Queue.history`.
        """
        return await self._do(verbs.history, job_id)

    async def workers(self) -> builtins.list[WorkerInfo]:
        """The workers that are alive, or were within the last hour. See `Queue.workers`."""
        return await self._do(verbs.workers)

    async def stats(
        self,
        *,
        minutes: int = 60,
        step: int = 1,
        by: stat_verbs.By | None = None,
        queue: str | None = None,
        type: str | None = None,
        worker: str | None = None,
    ) -> builtins.list[Stat]:
        """What became of attempts in the last minutes, oldest first. See `Queue.stats`."""
        return await self._do(
            stat_verbs.stats,
            minutes=minutes,
            step=step,
            by=by,
            queue=queue,
            type=type,
            worker=worker,
        )

    async def queues(self) -> builtins.list[backends.QueueState]:
        """The queues in use: their live jobs (capped) and whether they are paused.

        See `Queue.queues`.
        """
        return await self._do(verbs.queues)

    async def wait(self, job_id: Any, timeout: float | None = None) -> Job:  # noqa: ASYNC109  seconds that a wait may take
        """Wait until a job is finished, and return it; look at its status. See `Queue.wait`."""
        return await self._do(verbs.wait, job_id, timeout)

    async def cancel(self, job_id: Any) -> Job:
        """Cancel a job. See `Queue.cancel`."""
        return await self._do(verbs.cancel, job_id)

    async def retry(self, job_id: Any) -> Job:
        """Run a job again, now, with all its attempts. See `Queue.retry`."""
        return await self._do(verbs.retry, job_id)

    async def reschedule(
        self,
        job_id: Any,
        *,
        run_at: datetime | None = None,
        delay: float | timedelta | None = None,
        priority: int | str | None = None,
        queue: str | None = None,
    ) -> Job:
        """Give a job that has not started another time, priority or queue.

        See `Queue.reschedule`.
        """
        return await self._do(
            verbs.reschedule, job_id, run_at=run_at, delay=delay, priority=priority, queue=queue
        )

    async def set_status(
        self,
        job_id: Any,
        status: str,
        *,
        result: Any = None,
        error: str | None = None,
        error_code: str | None = None,
    ) -> Job:
        """Set the status of an unfinished job by hand, under the legal moves (`jobq.MOVES`).

        See `Queue.set_status`.
        """
        return await self._do(
            verbs.set_status, job_id, status, result=result, error=error, error_code=error_code
        )

    async def set_progress(self, job_id: Any, progress: int, message: str | None = None) -> Job:
        """Set the progress (0 to 100) of an unfinished job from outside its handler.

        See `Queue.set_progress`.
        """
        return await self._do(verbs.set_progress, job_id, progress, message)

    async def delete(self, job_id: Any) -> None:
        """Delete a finished job and its history. See `Queue.delete`."""
        await self._do(verbs.delete, job_id)

    async def cancel_where(self, *, dry_run: bool = False, **where: Unpack[Where]) -> int:
        """Cancel all jobs that fit; how many were, or with `dry_run` would be.

        See `Queue.cancel_where`.
        """
        return await self._do(verbs.for_each, "cancel", dry_run=dry_run, **where)

    async def retry_where(self, *, dry_run: bool = False, **where: Unpack[Where]) -> int:
        """Retry all jobs that fit; how many were, or with `dry_run` would be.

        See `Queue.retry_where`.
        """
        return await self._do(verbs.for_each, "retry", dry_run=dry_run, **where)

    async def delete_where(self, *, dry_run: bool = False, **where: Unpack[Where]) -> int:
        """Delete all finished jobs that fit; how many were, or with `dry_run` would be.

        See `Queue.delete_where`.
        """
        return await self._do(verbs.for_each, "delete", dry_run=dry_run, **where)

    async def cleanup_old_jobs(self, days: float = 30) -> int:
        """Delete jobs that finished long ago; how many. See `Queue.cleanup_old_jobs`."""
        return await self._do(verbs.cleanup_old_jobs, days)

    async def pause(self, queue: str = "default", until: datetime | None = None) -> None:
        """Let no job of a queue start, until an instant or until `resume`. See `Queue.pause`."""
        await self._do(verbs.pause, queue, until)

    async def resume(self, queue: str = "default") -> None:
        """Let the jobs of a queue start again. See `Queue.resume`."""
        await self._do(verbs.resume, queue)

    async def migrate(self) -> builtins.list[int]:
        """Bring the schema up to date. See `Queue.migrate`."""
        return await self._store().migrate()

    async def aclose(self) -> None:
        """Close this event loop's connections. The queue may be used again."""
        store = self._opened.pop(_asyncio().get_running_loop(), None)
        if store is not None:
            await store.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _store(self) -> backends.AsyncStore:
        loop = _asyncio().get_running_loop()
        store = self._opened.get(loop)
        if store is None:
            store = self._opened[loop] = self._config.async_store()
        return store

    async def _do(self, verb: Callable[..., verbs.Verb[T]], *args: Any, **kwargs: Any) -> T:
        """Run a verb to its end, step by step."""
        return await _steps.run_async(verb(self._config, *args, **kwargs), self._store())


@cache
def _asyncio() -> Any:
    """Imported when an event loop needs it, and looked up once."""
    import asyncio

    return asyncio
