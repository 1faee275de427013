"""What a handler gets of its job: facts, and a few verbs.

`JobContext` is for `async def` handlers, `SyncJobContext` for `def` ones, which run in a thread.
The verbs are the same, with one body underneath.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from jobq import _saving, backends
from jobq._clock import to_datetime
from jobq._durable.context import DurableVerbs, SyncDurableVerbs
from jobq._errors import LeaseLost, OptionError
from jobq._payload import encode_result, loads
from jobq._showing import Showing, SyncShowing
from jobq._signals import Cancel
from jobq._spending import Spending, SyncSpending

if TYPE_CHECKING:
    from jobq.artifacts import Artifact


class Attempt(_saving.Saver, Protocol):
    """The running attempt behind a context; the worker and the testing kit each have one."""

    job: Any
    """The claimed job's facts."""
    message: str | None
    committed: str | None
    """The result that the handler wrote in its own transaction."""

    @property
    def state(self) -> Any:
        """What the lifespan yielded."""

    @property
    def worker(self) -> str | None:
        """The id of the worker."""

    @property
    def keep(self) -> int | None:
        """How long a finished job stays by default, in microseconds."""

    @property
    def result_limit(self) -> int | None:
        """How large a result may be, in bytes of JSON."""

    @property
    def dialect(self) -> Any: ...

    @property
    def keys(self) -> Mapping[str, str]:
        """The secrets of the keys that it was started with, by pool."""

    @property
    def debits(self) -> Mapping[str, int]:
        """The units that its limits were debited, by key."""

    @property
    def resumed(self) -> bool:
        """Whether it has returned from waiting, and was debited when it started."""

    @property
    def stopping(self) -> str | None:
        """Why the handler should stop: "cancel", "timeout", "lease", "shutdown", or not at all."""

    def report(self, progress: int, message: str | None) -> None: ...
    def limit_key(self, name: str) -> str:
        """The key of a limit of this job, named as declared, as filled in, or by its pool."""

    def settle(self, limit: str, units: int) -> None: ...
    def close(self, limit: str, seconds: float) -> None: ...

    @property
    def heeded(self) -> Sequence[str]:
        """The limits that are closed when nothing remains of them."""


MESSAGE = 1000
"""How many letters of a progress message are kept."""


def _storable(message: str) -> str:
    return message[:MESSAGE].replace("\x00", "").encode(errors="replace").decode()


class _Context:
    """The facts, and the body of the verbs."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._job = attempt.job

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.type} {self.id} attempt {self.attempt}>"

    @property
    def id(self) -> str:
        return str(self._job.id)

    @property
    def type(self) -> str:
        return str(self._job.type)

    @property
    def queue(self) -> str:
        return str(self._job.queue)

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return int(self._job.attempts)

    @property
    def max_attempts(self) -> int:
        return int(self._job.max_attempts)

    @property
    def owner(self) -> str | None:
        return self._job.owner  # type: ignore[no-any-return]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the enqueuer said about the job with `metadata=`."""
        return loads(self._job.metadata) if self._job.metadata else {}

    @property
    def created_at(self) -> datetime:
        return to_datetime(self._job.created_at)

    @property
    def started_at(self) -> datetime:
        """When this attempt was claimed."""
        return to_datetime(self._job.started_at)

    @property
    def deadline(self) -> datetime | None:
        """When this attempt's timeout ends it."""
        timeout = self._job.timeout_ms
        return to_datetime(self._job.started_at + timeout * 1000) if timeout else None

    @property
    def state(self) -> Any:
        """What the queue's `lifespan` yielded: a client, an engine, a model."""
        return self._attempt.state

    @property
    def cancelled(self) -> bool:
        """Whether the handler should stop, because of a cancellation, timeout, shutdown or loss."""
        return self._attempt.stopping is not None

    def key(self, pool: str) -> str:
        """The secret of the key of a `KeyPool` that this attempt is to use.

        Raises `OptionError` where the handler has no such pool.
        """
        if pool not in self._attempt.keys:
            known = ", ".join(map(repr, self._attempt.keys)) or "none"
            raise OptionError(f"{pool!r} is no key pool of {self.type!r}; it has {known}")
        return self._attempt.keys[pool]

    def _settle(self, units: int, limit: str | None) -> None:
        if isinstance(units, bool) or not isinstance(units, int) or units < 0:
            raise OptionError(f"units must be an integer from 0, not {units!r}")
        debits = self._attempt.debits
        if self._attempt.resumed and not debits:
            return  # what it costs was debited when it started
        named = _only(debits) if limit is None else self._attempt.limit_key(limit)
        if named not in debits:
            known = ", ".join(map(repr, debits)) or "none"
            raise OptionError(f"settle: limit={limit!r} is none of this job's limits: {known}")
        if units != debits[named]:
            self._attempt.settle(named, units)

    def _heed(self, headers: Mapping[str, str]) -> None:
        from jobq._classify.waits import used_up_for

        seconds = used_up_for(headers)
        for key in self._attempt.heeded if seconds is not None else ():
            self._attempt.close(key, seconds or 0.0)

    def _check(self) -> None:
        reason = self._attempt.stopping
        if reason == "lease":
            raise LeaseLost(self.id)
        if reason is not None:
            raise Cancel(reason)

    def _progress(self, percent: float, message: str | None) -> None:
        if isinstance(percent, bool) or not isinstance(percent, int | float):
            raise OptionError(f"progress is a number from 0 to 100, not {percent!r}")
        if not 0 <= percent <= 100:
            raise OptionError(f"progress={percent!r} is not from 0 to 100")
        if message is not None and not isinstance(message, str):
            raise OptionError(f"a progress message is text, not {message!r}")
        self._attempt.report(int(percent), _storable(message) if message else message)

    def _completion(self, result: Any) -> dict[str, Any]:
        """The arguments of the op that completes this job."""
        return {
            "id": self.id,
            "fence": self._job.fence,
            "message": self._attempt.message,
            "result": encode_result(result, limit=self._attempt.result_limit),
            "keep": self._attempt.keep,
            "worker": self._attempt.worker,
            "artifacts": self._attempt.uploads.of(),
        }

    def _completed(self, completion: dict[str, Any], *, accepted: bool) -> None:
        if not accepted:
            raise LeaseLost(self.id)
        self._attempt.committed = completion["result"]


def _only(debits: Mapping[str, int]) -> str:
    """The limit whose cost was an estimate, where there is just one."""
    estimated = [key for key, units in debits.items() if units != 1] or list(debits)
    if len(estimated) != 1:
        raise OptionError(f"settle: name the limit=, one of {', '.join(map(repr, debits))}")
    return estimated[0]


def one_connection(session: Any, connection: Any) -> Any:
    """The transaction that `complete` was given."""
    if (session is None) == (connection is None):
        raise OptionError("give either session= or connection=")
    return connection if session is None else session


class JobContext(_Context, DurableVerbs, Spending, Showing):
    """The job of an `async def` handler.

    >>> async def image_edit(payload: dict, job: JobContext) -> dict:
    ...     await job.progress(10, "fetching")
    ...     return {}
    """

    async def progress(self, percent: float, message: str | None = None) -> None:
        """Say how far the job is, from 0 to 100. Never falls within an attempt.

        Cheap to call often: what is stored is the newest, about twice a second.
        """
        self._progress(percent, message)

    async def settle(self, units: int, *, limit: str | None = None) -> None:
        """Correct what this job was debited: say how many units it really cost.

        The difference is taken from the limit, or given back as far as the bucket has not been
        full since. `limit` is its key, as declared or filled in, or a pool's name; it may be
        left out where one cost was an estimate.

        >>> await job.settle(response.usage.total_tokens, limit="openai:tpm")  # doctest: +SKIP
        """
        self._settle(units, limit)

    async def heed(self, headers: Mapping[str, str]) -> None:
        """Close limits that a response says are used up (`x-ratelimit-remaining: 0`).

        Those with `RateLimit(heed_remaining=True)`, until the reset that the headers name.

        >>> await job.heed(response.headers)  # doctest: +SKIP
        """
        self._heed(headers)

    async def save(
        self, data: Any, *, content_type: str | None = None, name: str | None = None
    ) -> Artifact:
        """Keep something that is too large for a result: an image, a video; where it is then.

        - `data`: bytes, a `pathlib.Path`, an open binary file, or an iterator of bytes, which may
          be asynchronous. It is read bit by bit, so it may be larger than memory.
        - `content_type`: what it is; its first bytes are believed more where they tell.
        - `name`: the last part of its address, unique in its step or job: what a later attempt
          saves under it replaces this. Without one they are counted.

        It is `stored` when the step or the job that saves it has ended. Raises `OptionError` for
        what cannot be saved, `LeaseLost`, `StorageUnavailable` where another attempt may help,
        else `StorageError`.

        >>> image = await job.save(response.content, name="front.png")  # doctest: +SKIP
        >>> return {"imageUrls": [image.url], "imageIds": [image.id]}  # doctest: +SKIP
        """
        return await _saving.save_async(self._attempt, data, content_type, name)

    async def check(self) -> None:
        """Raise `LeaseLost` or `Cancel` if the handler should stop."""
        self._check()

    async def complete(
        self, result: Any = None, *, session: Any = None, connection: Any = None
    ) -> None:
        """Complete the job in a transaction of your own, beside the rows that it produced.

        Takes what `enqueue` takes: a SQLAlchemy session or connection, a driver's connection,
        asynchronous or not. Nothing is committed here. If the job is no longer this attempt's it
        raises `LeaseLost`: let it roll your transaction back. Return from the handler afterwards.

        >>> async with Session.begin() as session:  # doctest: +SKIP
        ...     session.add(Image(url=url))
        ...     await job.complete({"url": url}, session=session)
        """
        target = one_connection(session, connection)
        completion = self._completion(result)
        run = backends.callers
        op, dialect = backends.ops.complete, self._attempt.dialect
        if run.is_awaitable(target):
            accepted = await run.run_async(dialect, target, op, **completion)
        else:
            accepted = run.run(dialect, target, op, **completion)
        self._completed(completion, accepted=accepted)


class SyncJobContext(_Context, SyncDurableVerbs, SyncSpending, SyncShowing):
    """The job of a `def` handler, which runs in a thread. Cancellation is cooperative.

    >>> def resize(payload: dict, job: SyncJobContext) -> dict:
    ...     for n in range(100):
    ...         if job.cancelled:
    ...             break
    ...         job.progress(n)
    ...     return {}
    """

    def progress(self, percent: float, message: str | None = None) -> None:
        """Say how far the job is, from 0 to 100; see `JobContext.progress`."""
        self._progress(percent, message)

    def settle(self, units: int, *, limit: str | None = None) -> None:
        """Correct what this job was debited; see `JobContext.settle`."""
        self._settle(units, limit)

    def heed(self, headers: Mapping[str, str]) -> None:
        """Close limits that a response says are used up; see `JobContext.heed`."""
        self._heed(headers)

    def save(
        self, data: Any, *, content_type: str | None = None, name: str | None = None
    ) -> Artifact:
        """Keep something that is too large for a result; see `JobContext.save`."""
        return _saving.save(self._attempt, data, content_type, name)

    def check(self) -> None:
        """Raise `LeaseLost` or `Cancel` if the handler should stop."""
        self._check()

    def complete(self, result: Any = None, *, session: Any = None, connection: Any = None) -> None:
        """Complete the job in a transaction of your own; see `JobContext.complete`."""
        target = one_connection(session, connection)
        completion = self._completion(result)
        accepted = backends.callers.run(
            self._attempt.dialect, target, backends.ops.complete, **completion
        )
        self._completed(completion, accepted=accepted)
