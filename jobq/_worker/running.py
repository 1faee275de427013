"""One job in a worker's hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from jobq._clock import SECOND
from jobq._durable import Book
from jobq._handler import Handler
from jobq._limits import DailyQuota, KeyPool, Lane, RateLimit
from jobq._limits.admit import Permit
from jobq._outcome import Standing
from jobq._payload import loads
from jobq._saving import Uploads
from jobq._showing import Shown
from jobq._spend import Budget
from jobq._worker.recorder import Place, Recorder, ThreadPlace

if TYPE_CHECKING:
    from anyio import CapacityLimiter

    from jobq._worker.calls import Call
    from jobq._worker.corrections import Corrections
    from jobq.artifacts import Storage
    from jobq.backends.ops.claim import Claimed


@frozen
class Start:
    """When a job with limits may start, by the monotonic clock, and what it was debited."""

    not_before: float
    not_after: float
    permit: Permit
    debits: dict[str, int] = field(init=False)

    @debits.default
    def _copy(self) -> dict[str, int]:
        return {k: units for k, units in self.permit.debits.items() if not k.startswith("@")}


class NotNow(Exception):
    """A start that its limits do not allow any more: the job goes back, and asks again."""


Stop = Literal["cancel", "timeout", "lease", "shutdown", "budget"]


def _nothing(*_: Any) -> None:
    """Nobody is told."""


@frozen(kw_only=True)
class Host:
    """What a worker's jobs have in common."""

    worker: str = ""
    """The worker's id."""
    state: Any = None
    """What the lifespan yielded."""
    lease: float = float("inf")
    """For how many seconds a claim or a renewal is good."""
    keep: int | None = None
    dialect: Any = None
    result_limit: int | None = None
    partial_limit: int = 0
    is_closed: Callable[[Iterable[str]], bool] = lambda _: False
    """Whether one of these limits is known to be closed."""
    reported: Callable[[Running], None] = _nothing
    stopped: Callable[[Running, asyncio.Task[None]], None] = _nothing
    """Told when the task of a handler that was asked to stop has ended."""
    corrections: Corrections | None = None
    recorder: Recorder | None = None
    """What steps are written through."""
    step_limit: int | None = None
    leaving: Callable[[], str | None] = lambda: None
    """Why nothing more should be begun, where the worker is about to end."""
    lost: Callable[[Running], None] = _nothing
    """Told of a job that is no longer ours."""
    budget: Budget | None = None
    """The queue's."""
    from_thread: Callable[[Coroutine[Any, Any, Any]], Any] = _nothing
    """Does something in the worker's loop, for a thread."""
    storage: Callable[[], Storage] | None = None
    """Finds out where artifacts are kept, when the first one is saved."""
    upload_threads: CapacityLimiter | None = None


class Running:
    """A claimed job and its handler's state; what stands behind a job context."""

    task: asyncio.Task[None] | None = None
    call: Call | None = None
    """The batch that it is a part of."""
    stopping: Stop | None = None
    abandoned = False
    in_thread = False
    """Whether a thread is running the handler: it cannot be cancelled, only asked."""
    begun = False
    """Whether its task has taken its first step."""
    entered = False
    """Whether the handler has begun."""
    finishing = False
    """Whether the handler is done and only its outcome is still to be written."""
    committed: str | None = None
    progress = 0
    message: str | None = None
    _book: Book | None = None
    shown: Shown | None = None
    """What the handler has shown of its result."""
    shown_before: str | None = None
    """What of that is stored."""
    deadline: float | None = None
    """When the timeout, or then the patience with a handler that goes on, ends (loop time)."""
    _uploads: Uploads | None = None

    def __init__(
        self,
        job: Claimed,
        handler: Handler[Any, Any],
        host: Host,
        start: Start | None = None,
        *,
        claimed_at: float | None = None,
    ) -> None:
        self.job = job
        self.handler = handler
        self.host = host
        self.start = start
        self.started_at = time.monotonic()
        self.renewed_at = self.started_at if claimed_at is None else claimed_at
        """When the lease began anew, at the earliest: it was asked for then (monotonic)."""
        self.waits = start is not None and start.not_before > self.started_at
        """Whether its start is still to come."""
        self.unverified = bool(job.ambiguous)
        """Whether an earlier attempt may have done the work, and the verifier has not said yet."""

    @property
    def runs_since(self) -> float:
        """When its handler could begin, by the monotonic clock."""
        return (
            self.started_at if self.start is None else max(self.started_at, self.start.not_before)
        )

    @property
    def state(self) -> Any:
        return self.host.state

    @property
    def worker(self) -> str | None:
        return self.host.worker

    @property
    def keep(self) -> int | None:
        return self.host.keep

    @property
    def dialect(self) -> Any:
        return self.host.dialect

    @property
    def result_limit(self) -> int | None:
        return self.host.result_limit

    @property
    def step_limit(self) -> int | None:
        return self.host.step_limit

    @property
    def book(self) -> Book:
        """What is known of the job's steps."""
        if self._book is None:
            self._book = Book()
        return self._book

    @property
    def place(self) -> Place:
        """Where steps are recorded."""
        assert self.host.recorder is not None
        return Place(self.host.recorder, self)

    @property
    def thread_place(self) -> ThreadPlace:
        """The same, from a thread."""
        assert self.host.recorder is not None
        return ThreadPlace(self.host.recorder, self)

    @property
    def can_wait(self) -> bool:
        """Whether the job can wait: not where it shares its handler's call with others."""
        return self.call is None

    @property
    def leaving(self) -> str | None:
        return self.host.leaving()

    def lose(self) -> None:
        """A write was refused: the job is no longer ours. Any thread may call."""
        if self.host.recorder is not None:
            self.host.recorder.loop.call_soon_threadsafe(self.host.lost, self)

    @property
    def now(self) -> int:
        """The database's clock, as far as it is known here, in microseconds."""
        clock = getattr(self.host.dialect, "clock", None)
        if clock is not None and clock.frozen:
            return int(clock.now())
        return self.job.started_at + round((time.monotonic() - self.started_at) * SECOND)

    @property
    def resumed(self) -> bool:
        """Whether it has returned from waiting, and was debited when it started."""
        return self.job.start_lane is not None

    @property
    def lane(self) -> Lane | None:
        """The lane that it was started in."""
        return Lane.parse(self.job.start_lane or self.job.lane or "")

    @property
    def chosen(self) -> dict[str, str]:
        """The names of the keys that it was started with, by pool."""
        kept = loads(self.job.start_keys) if self.job.start_keys else {}
        return {**kept, **(self.start.permit.keys if self.start is not None else {})}

    @property
    def budget(self) -> Budget | None:
        return self.handler.budget or self.host.budget

    @property
    def run(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        return self.place.run

    def run_here(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run an op from a thread."""
        return self.thread_place.run(op, *args, **kwargs)

    @property
    def storage(self) -> Storage:
        assert self.host.storage is not None
        return self.host.storage()

    @property
    def upload_threads(self) -> CapacityLimiter | None:
        return self.host.upload_threads

    @property
    def uploads(self) -> Uploads:
        if self._uploads is None:
            self._uploads = Uploads()
        return self._uploads

    @property
    def uploaded(self) -> tuple[str, ...]:
        """The artifacts that are stored along with the job's outcome."""
        return () if self._uploads is None else self._uploads.of()

    @property
    def standing(self) -> Standing:
        return Standing(
            attempts=self.job.attempts,
            max_attempts=self.job.max_attempts,
            crash_count=self.job.crash_count,
            rate_limited_count=self.job.rate_limited_count,
            released_count=self.job.released_count,
            overrun_count=self.job.overrun_count,
            started_at=self.job.started_at,
            limited_for=self.limited_for,
            on_ambiguous=self.handler.on_ambiguous,
            unverified=self.unverified,
        )

    @property
    def limited_for(self) -> int:
        """For how long providers have refused this job, in microseconds."""
        since = self.job.limited_since
        return 0 if since is None else max(0, self.job.started_at - int(since))

    @property
    def debits(self) -> dict[str, int]:
        """Units by limit key; what it is settled to counts from then on."""
        return {} if self.start is None else self.start.debits

    @property
    def keys(self) -> dict[str, str]:
        """The secrets of the keys that it was started with, by pool."""
        pools = [limit for limit in self.handler.limits if isinstance(limit, KeyPool)]
        chosen = self.chosen
        held = {pool.name: pool.keys for pool in pools if pool.name in chosen and pool.keys}
        # Another worker may have started it with a key that is not known here.
        return {
            name: keys.get(chosen[name], next(iter(keys.values()))) for name, keys in held.items()
        }

    def limit_key(self, name: str) -> str:
        """The key of a limit, named as declared, as filled in, or by its pool."""
        lane = self.lane
        for ref in () if lane is None else lane.refs:
            if ref.pool is not None and ref.pool == name:
                chosen = self.chosen
                pools = {one.name: one for one in self.handler.limits if isinstance(one, KeyPool)}
                return dict(pools[name].options).get(chosen.get(name, ""), name)
            if name == ref.template:
                return ref.key
        return name

    def settle(self, limit: str, units: int) -> None:
        """Correct a debit."""
        correction, self.debits[limit] = units - self.debits[limit], units
        if self.host.corrections is not None:
            self.host.corrections.settle(self, limit, correction)

    def close(self, limit: str, seconds: float) -> None:
        """A limit is used up."""
        if self.host.corrections is not None:
            self.host.corrections.close(limit, seconds, "nothing remains")

    @property
    def heeded(self) -> list[str]:
        """The keys of the rate limits that are closed when nothing remains of them."""
        lane = self.lane
        refs = {} if lane is None else {ref.template: ref.key for ref in lane.refs}
        rates = [limit for limit in self.handler.limits if isinstance(limit, RateLimit)]
        return [refs[one.key] for one in rates if one.heed_remaining and one.key in refs]

    async def wait_for_start(self) -> None:
        """Wait until the limits allow the start."""
        if self.start is None:
            return
        await asyncio.sleep(max(0.0, self.start.not_before - time.monotonic()))
        self.waits = False

    def check_start(self) -> None:
        """Raise `NotNow` where the start comes too late, or a limit has been closed meanwhile.

        Then it has used nothing of a day. Of a rate it has: what is given back late would be used
        beside what was granted meanwhile.
        """
        if (reason := self._why_not_now()) is not None:
            for limit in self.handler.limits:
                if isinstance(limit, DailyQuota) and self.limit_key(limit.key) in self.debits:
                    self.settle(self.limit_key(limit.key), 0)
            raise NotNow(reason)

    def _why_not_now(self) -> str | None:
        if time.monotonic() > self.renewed_at + self.host.lease:
            return "its lease ended before it could start"
        if self.start is None:
            return None
        late = time.monotonic() - self.start.not_after
        if late > 0:
            return f"its start came {late:.3f} s too late for its limits"
        if self.host.is_closed(self.start.permit.debits):
            return "a limit was closed before it started"
        return None

    @property
    def name(self) -> str:
        """The handler, for people."""
        function = self.handler.function
        where = getattr(function, "__qualname__", repr(function))
        return f"{self.job.type} ({getattr(function, '__module__', '?')}.{where})"

    def report(self, progress: int, message: str | None) -> None:
        """Note progress; it never falls within an attempt."""
        self.progress = max(self.progress, progress)
        self.message = message if message is not None else self.message
        self.host.reported(self)

    def show(self, key: str, value: Any) -> None:
        """Note a part of the result."""
        if self.shown is None:
            self.shown = Shown(self.host.partial_limit)
        self.shown.put(key, value)
        self.host.reported(self)

    @property
    def newly_shown(self) -> str | None:
        """The text of what was shown, if there is something new in it."""
        text = None if self.shown is None else self.shown.text
        return None if text == self.shown_before else text

    def stop(self, reason: Stop) -> None:
        """Ask the handler to stop: an async one is cancelled, a thread has to look."""
        if self.finishing or self.stopping == "lease":
            return
        asked_before, self.stopping = self.stopping is not None, reason
        if self.task is None:
            return
        shared = () if self.call is None else self.call.members
        if reason in ("timeout", "shutdown", "budget"):  # it ends the whole call
            for other in shared:
                if other.stopping is None:
                    other.stop(reason)
        if not asked_before:
            self.task.add_done_callback(partial(self.host.stopped, self))
        if not self.in_thread and all(one.stopping is not None for one in shared):
            self.task.cancel()
