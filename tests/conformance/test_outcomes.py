"""What becomes of a job when its handler has ended, or does not end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pydantic
import pytest

import jobq
from jobq._worker.finisher import Finisher
from jobq._worker.upkeep import Upkeep
from jobq.testing import FrozenClock, adrain
from tests.conformance.situations import sql

NOON = datetime(2031, 1, 1, 12, tzinfo=UTC)
KILOBYTE = 1024


async def outcomes(aqueue: jobq.AsyncQueue, job: jobq.Job) -> list[tuple[int, str, str | None]]:
    history = await aqueue.history(job.id)
    return [(attempt.number, attempt.outcome, attempt.error_code) for attempt in history]


# --- retries ------------------------------------------------------------------------------------


async def test_a_job_that_fails_is_tried_again_after_its_backoff(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    backoff = jobq.Exponential(base=10, factor=3, cap=60, jitter="none")

    @router.handler("h", retry=jobq.Retry(max_attempts=5, backoff=backoff))
    async def handle(job: jobq.JobContext) -> str:
        if job.attempt < 5:
            raise ConnectionError(f"attempt {job.attempt}")
        return "at last"

    job = await afrozen.enqueue(handle)
    rests = []
    for attempt in range(1, 5):
        assert await adrain(afrozen) == 1
        again = await afrozen.get(job.id)
        assert (again.status, again.attempts) == ("pending", attempt)
        assert (again.error_code, again.error) == (
            "ConnectionError",
            f"ConnectionError: attempt {attempt}",
        )
        assert again.retry_at == again.run_at
        rest = again.run_at - clock.time
        rests.append(rest.total_seconds())
        clock.advance(rest - timedelta(microseconds=1))
        assert await adrain(afrozen) == 0
        clock.advance(timedelta(microseconds=1))
    assert rests == [10, 30, 60, 60]
    assert await adrain(afrozen) == 1
    done = await afrozen.get(job.id)
    assert (done.status, done.result, done.attempts) == ("completed", "at last", 5)
    assert (done.error, done.error_code) == (None, None)
    assert await outcomes(afrozen, job) == [
        *((n, "retried", "ConnectionError") for n in range(1, 5)),
        (5, "completed", None),
    ]


async def test_the_backoff_of_the_default_policy_has_full_jitter(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    @router.handler("h")
    async def handle() -> None:
        raise OSError

    await afrozen.enqueue_many((handle, None) for _ in range(40))
    await adrain(afrozen, concurrency=40)
    rests = [(job.run_at - clock.time).total_seconds() for job in await afrozen.pending(limit=40)]
    assert len(set(rests)) > 30
    assert min(rests) >= 0
    assert max(rests) <= 5


async def test_a_job_out_of_attempts_fails_with_its_last_error(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    @router.handler("h", retry=jobq.Retry(max_attempts=2, backoff=jobq.Fixed(1)))
    async def handle(job: jobq.JobContext) -> None:
        raise RuntimeError(f"attempt {job.attempt}")

    job = await afrozen.enqueue(handle)
    assert await adrain(afrozen, with_scheduled=True, max_jobs=9) == 2
    failed = await afrozen.get(job.id)
    assert (failed.status, failed.attempts) == ("failed", 2)
    assert (failed.error_code, failed.error) == ("RuntimeError", "RuntimeError: attempt 2")
    assert failed.completed_at == clock.time
    assert await outcomes(afrozen, job) == [
        (1, "retried", "RuntimeError"),
        (2, "failed", "RuntimeError"),
    ]


async def test_rules_for_exceptions_win_over_the_policy(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    rules = {OSError: jobq.Fixed(7), ConnectionError: jobq.Fixed(70), ValueError: None}
    errors = {
        "timeout": TimeoutError(),
        "reset": ConnectionResetError(),
        "unicode": UnicodeError(),
        "key": KeyError("k"),
    }

    @router.handler("h", retry=jobq.Retry(backoff=jobq.Fixed(700), rules=rules))
    async def handle(payload: str) -> None:
        raise errors[payload]

    jobs = {name: await afrozen.enqueue(handle, name) for name in errors}
    assert await adrain(afrozen) == 4
    found = {name: await afrozen.get(job.id) for name, job in jobs.items()}
    rests = {name: (job.run_at - clock.time).total_seconds() for name, job in found.items()}
    assert {name: rests[name] for name in ("timeout", "reset", "key")} == {
        "timeout": 7,
        "reset": 70,
        "key": 700,
    }
    assert (found["unicode"].status, found["unicode"].attempts) == ("failed", 1)


# --- what a handler may say ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "when",
    [90, 90.0, timedelta(seconds=90), NOON + timedelta(seconds=90)],
    ids=["int", "float", "timedelta", "datetime"],
)
async def test_retry_after_names_the_time_and_uses_an_attempt(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock, when: Any
) -> None:
    @router.handler("h", retry=jobq.Retry(max_attempts=2))
    async def handle() -> None:
        raise jobq.RetryAfter(when, "still being scanned")

    job = await afrozen.enqueue(handle)
    await adrain(afrozen)
    again = await afrozen.get(job.id)
    assert (again.status, again.attempts) == ("pending", 1)
    assert again.run_at == NOON + timedelta(seconds=90)
    assert again.error == "RetryAfter: still being scanned"
    clock.advance(90)
    await adrain(afrozen)
    assert (await afrozen.get(job.id)).status == "failed"


async def test_a_snooze_gives_the_attempt_back_and_is_counted(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    @router.handler("h", retry=jobq.Retry(max_attempts=1))
    async def handle(job: jobq.JobContext) -> str:
        if clock.time < NOON + timedelta(minutes=15):
            raise jobq.Snooze(timedelta(minutes=5))
        return "awake"

    job = await afrozen.enqueue(handle)
    for count in (1, 2, 3):
        await adrain(afrozen)
        asleep = await afrozen.get(job.id)
        assert (asleep.status, asleep.attempts, asleep.snoozed_count) == ("pending", 0, count)
        assert asleep.run_at == clock.advance(300)
    await adrain(afrozen)
    done = await afrozen.get(job.id)
    assert (done.status, done.attempts, done.snoozed_count) == ("completed", 1, 3)
    assert [(n, word) for n, word, _ in await outcomes(afrozen, job)] == [
        (1, "snoozed"),
        (1, "snoozed"),
        (1, "snoozed"),
        (1, "completed"),
    ]


async def test_a_snooze_may_name_an_instant(afrozen: jobq.AsyncQueue, router: jobq.Router) -> None:
    @router.handler("h")
    async def handle() -> None:
        raise jobq.Snooze(NOON + timedelta(hours=1), "too early")

    job = await afrozen.enqueue(handle)
    await adrain(afrozen)
    asleep = await afrozen.get(job.id)
    assert (asleep.run_at, asleep.error) == (NOON + timedelta(hours=1), "Snooze: too early")


async def test_permanent_fails_at_once_with_its_code(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    def handle() -> None:
        raise jobq.Permanent("unsafe_prompt", "the provider refused the prompt")

    job = await aqueue.enqueue(handle)
    await jobq.Worker(aqueue).run_once()
    failed = await aqueue.get(job.id)
    assert (failed.status, failed.attempts) == ("failed", 1)
    assert (failed.error_code, failed.error) == ("unsafe_prompt", "the provider refused the prompt")


async def test_cancel_ends_the_job_as_cancelled(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle() -> None:
        raise jobq.Cancel("the photo was deleted")

    job = await aqueue.enqueue(handle)
    await jobq.Worker(aqueue).run_once()
    ended = await aqueue.get(job.id)
    assert (ended.status, ended.error) == ("cancelled", "Cancel: the photo was deleted")
    assert [word for _, word, _ in await outcomes(aqueue, job)] == ["cancelled"]


@pytest.mark.parametrize(
    "when, reason",
    [
        (datetime(2040, 1, 1), "has no time zone"),  # noqa: DTZ001  the point
        ("soon", "must be seconds or a timedelta"),
        (float("nan"), "is not a number of seconds"),
    ],
)
@pytest.mark.parametrize("signal", [jobq.RetryAfter, jobq.Snooze])
def test_a_time_that_cannot_be_used_is_refused_where_it_is_said(
    signal: Any, when: Any, reason: str
) -> None:
    with pytest.raises(jobq.OptionError, match=reason):
        signal(when)


# --- exceptions of every kind -------------------------------------------------------------------


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


STRANGE: list[BaseException] = [
    SystemExit(1),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopIteration(),
    StopAsyncIteration(),
    asyncio.CancelledError(),
    Unprintable(),
    ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
    BaseExceptionGroup("several", [SystemExit(1)]),
    TimeoutError(),
    RecursionError(),
]


@pytest.mark.parametrize("error", STRANGE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_whatever_a_handler_raises_ends_its_attempt_only(
    aqueue: jobq.AsyncQueue, router: jobq.Router, kind: str, error: BaseException
) -> None:
    @router.handler("async")
    async def handle() -> None:
        raise error

    @router.handler("sync")
    def handle_too() -> None:
        raise error

    @router.handler("fine")
    async def fine() -> None: ...

    bad, good = await aqueue.enqueue(kind, max_attempts=1), await aqueue.enqueue(fine)
    assert await jobq.Worker(aqueue).run_once() == 2
    failed, done = await aqueue.get_many([bad, good])
    assert (failed.status, done.status) == ("failed", "completed")
    if not isinstance(error, StopIteration | StopAsyncIteration):
        assert failed.error_code == type(error).__name__
    assert failed.attempts == 1


async def test_the_traceback_is_kept_in_the_history_and_leads_to_the_handler(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    def handle() -> None:
        try:
            raise KeyError("the cause")
        except KeyError as error:
            raise ValueError("the effect") from error

    job = await aqueue.enqueue(handle, max_attempts=1)
    await jobq.Worker(aqueue, label="worker-a").run_once()
    (attempt,) = await aqueue.history(job.id)
    trace = attempt.traceback or ""
    assert "in handle" in trace
    assert "KeyError: 'the cause'" in trace
    assert trace.rstrip().endswith("ValueError: the effect")
    assert (attempt.outcome, attempt.error) == ("failed", "ValueError: the effect")


async def test_secrets_are_masked_in_errors_and_tracebacks(
    aqueue: jobq.AsyncQueue, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "PROVIDER_API_KEY"
    monkeypatch.setenv(name, "sk-env-0123456789")

    @router.handler("h")
    async def handle() -> None:
        raise RuntimeError(
            f"GET https://api.example/v1?api_key=sk-query-123 with {os.environ[name]}, "
            f"Authorization: Bearer sk-header-123, token='sk-token-123', "
            f"postgresql://user:dsn-password@host/db failed"
        )

    job = await aqueue.enqueue(handle, max_attempts=1)
    await jobq.Worker(aqueue).run_once()
    failed = await aqueue.get(job.id)
    (attempt,) = await aqueue.history(job.id)
    stored = f"{failed.error} {attempt.error} {attempt.traceback}"
    for secret in ("sk-env", "sk-query", "sk-header", "sk-token", "dsn-password"):
        assert secret not in stored
    assert (failed.error or "").startswith("RuntimeError: GET https://api.example/v1?api_key=***")


async def test_long_errors_and_tracebacks_are_shortened(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle() -> None:
        raise RuntimeError("ü" * 20 * KILOBYTE + "the end")

    job = await aqueue.enqueue(handle, max_attempts=1)
    await jobq.Worker(aqueue).run_once()
    failed = await aqueue.get(job.id)
    (attempt,) = await aqueue.history(job.id)
    error, trace = failed.error or "", attempt.traceback or ""
    assert len(error.encode()) <= 16 * KILOBYTE
    assert error.startswith("RuntimeError: üü")
    assert error.endswith("[… shortened]")
    assert len(trace.encode()) <= 16 * KILOBYTE
    assert trace.startswith("[… shortened]")
    assert trace.rstrip().endswith("the end")


async def test_an_error_text_that_databases_refuse_is_stored_without_what_they_refuse(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle() -> None:
        raise RuntimeError("a\x00b\ud800c")

    job = await aqueue.enqueue(handle, max_attempts=1)
    await jobq.Worker(aqueue).run_once()
    assert (await aqueue.get(job.id)).error == "RuntimeError: ab?c"


class Broken:
    """A backoff of an app."""

    def __init__(self, delay: Any) -> None:
        self._delay = delay

    def delay(self, attempt: int, rand: float) -> float:
        return self._delay() if callable(self._delay) else self._delay  # type: ignore[no-any-return]


@pytest.mark.parametrize("delay", [lambda: 1 / 0, float("nan"), float("inf"), None])
async def test_a_broken_backoff_costs_neither_its_job_nor_another_one_the_outcome(
    sqlite: str, router: jobq.Router, delay: Any
) -> None:
    @router.handler("h", retry=jobq.Retry(backoff=Broken(delay)))
    async def handle() -> None:
        raise KeyError("k")

    @router.handler("rule", retry=jobq.Retry(rules={LookupError: Broken(delay)}))
    async def by_rule() -> None:
        raise KeyError("k")

    @router.handler("good")
    async def good() -> None: ...

    # Time stands still: however short the usual rest is drawn, nothing is tried again here.
    async with jobq.AsyncQueue(sqlite, router=router, clock=FrozenClock()) as queue:
        jobs = await queue.enqueue_many([(handle, None), (by_rule, None), (good, None)])
        assert await jobq.Worker(queue).run_once() == 3
        for job, status in zip(jobs, ("pending", "pending", "completed"), strict=True):
            assert (await queue.get(job.id)).status == status
        assert (await queue.get(jobs[0].id)).error == "KeyError: 'k'"


async def test_an_exception_that_cannot_be_shown_ends_its_attempt_all_the_same(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle() -> None:
        raise SyntaxError("bad", ("file", 1, 1, 42))  # type: ignore[arg-type]  as C code may

    job = await aqueue.enqueue(handle, max_attempts=1)
    await jobq.Worker(aqueue).run_once()
    failed = await aqueue.get(job.id)
    assert (failed.status, failed.error_code) == ("failed", "SyntaxError")
    assert (failed.error or "").startswith("SyntaxError: bad")


# --- results ------------------------------------------------------------------------------------


class Share(pydantic.BaseModel):
    of: int

    @pydantic.computed_field
    @property
    def share(self) -> float:
        return 1 / self.of


UNSTORABLE: dict[str, tuple[Any, str]] = {
    "set": ({"a": {1}}, "result: {1} is a set, which JSON has not (at $.a)"),
    "object": (object, "result: <class 'object'> is a type, which JSON has not (at $)"),
    "NaN": ([float("nan")], "result: nan is not a JSON number (at $[0])"),
    "NUL": ("\x00", "result: text contains a NUL character, which PostgreSQL cannot store (at $)"),
    "surrogate": ("\ud800", r"result: text contains a lone surrogate: '\ud800' (at $)"),
    "broken": (Share(of=0), "result: ZeroDivisionError('division by zero') (at $)"),
    "too large": (
        "x" * 1024 * KILOBYTE,
        (
            "result: 1048578 bytes of JSON are more than the 1048576 allowed; store the data "
            "elsewhere and return its address, or raise Queue(bounds=Bounds(result=…)) (at $)"
        ),
    ),
}


@pytest.mark.parametrize("case", UNSTORABLE)
async def test_a_result_that_cannot_be_stored_fails_the_job_without_another_try(
    aqueue: jobq.AsyncQueue, router: jobq.Router, case: str
) -> None:
    returned, reason = UNSTORABLE[case]

    @router.handler("h")
    async def handle() -> Any:
        return returned

    job = await aqueue.enqueue(handle)
    assert await jobq.Worker(aqueue).run_once() == 1
    failed = await aqueue.get(job.id)
    assert (failed.status, failed.error_code) == ("failed", "result_unstorable")
    assert (failed.error, failed.attempts) == (reason, 1)
    assert await outcomes(aqueue, job) == [(1, "failed", "result_unstorable")]


async def test_jobs_that_end_together_do_not_share_the_fate_of_a_bad_result(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle(payload: int) -> Any:
        return {1} if payload == 3 else payload

    jobs = [await aqueue.enqueue(handle, n) for n in range(6)]
    assert await jobq.Worker(aqueue).run_once() == 6
    statuses = [str(job.status) for job in await aqueue.get_many(jobs)]
    assert statuses == ["completed"] * 3 + ["failed"] + ["completed"] * 2


async def test_an_expired_job_is_not_started(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    started = []

    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        started.append(job.id)
        raise jobq.Snooze(60)

    expires_at = clock.time + timedelta(seconds=60)
    job = await afrozen.enqueue(handle, expires_at=expires_at)
    await jobq.Worker(afrozen).run_once()
    assert started == [job.id]
    clock.advance(60)
    await jobq.Worker(afrozen).run_once()
    failed = await afrozen.get(job.id)
    assert started == [job.id]
    assert (failed.status, failed.error_code, failed.attempts) == ("failed", "expired", 0)


async def test_a_job_that_expires_between_two_rounds_of_upkeep_is_not_started_either(
    afrozen: jobq.AsyncQueue,
    router: jobq.Router,
    clock: FrozenClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = []

    async def not_yet(_: Upkeep) -> None:
        """The last round was just before."""

    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        started.append(job.id)

    monkeypatch.setattr(Upkeep, "expire", not_yet)
    job = await afrozen.enqueue(handle, expires_at=clock.time + timedelta(seconds=60))
    clock.advance(60)
    await jobq.Worker(afrozen).run_once()
    failed = await afrozen.get(job.id)
    assert started == []
    assert (failed.status, failed.error_code, failed.attempts) == ("failed", "expired", 0)


# --- the database is away -----------------------------------------------------------------------


class Unreachable:
    """A store that cannot be reached for longer than it is patient, three times."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.dialect = store.dialect
        self.left = 3

    async def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        if self.left:
            self.left -= 1
            raise jobq.BackendUnavailable("the server is not there")
        return await self._store.run(op, *args, **kwargs)


async def test_an_outcome_is_written_until_the_database_has_taken_it(
    aqueue: jobq.AsyncQueue, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, stores = Finisher.__init__, []

    def begin_unlucky(self: Finisher, store: Any, **options: Any) -> None:
        stores.append(Unreachable(store))
        begin(self, stores[-1], **options)

    @router.handler("h")
    async def handle(job: jobq.JobContext) -> int:
        return job.attempt

    monkeypatch.setattr(Finisher, "__init__", begin_unlucky)
    job = await aqueue.enqueue(handle)
    assert await jobq.Worker(aqueue).run_once() == 1
    done = await aqueue.get(job.id)
    assert [store.left for store in stores] == [0]
    assert (done.status, done.result, done.attempts) == ("completed", 1, 1)


# --- timeouts -----------------------------------------------------------------------------------


async def test_a_timeout_cancels_an_async_handler(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    cleaned = asyncio.Event()

    @router.handler("h", timeout=0.02)
    async def handle() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    job = await aqueue.enqueue(handle, max_attempts=1)
    await jobq.Worker(aqueue).run_once()
    failed = await aqueue.get(job.id)
    assert cleaned.is_set()
    assert (failed.status, failed.error_code) == ("failed", "timeout")
    assert failed.error == "it took longer than its timeout of 0.02 s"


async def test_a_timeout_is_an_attempt_like_any_other(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h", timeout=0.02, retry=jobq.Retry(backoff=jobq.Fixed(0)))
    async def handle(job: jobq.JobContext) -> str:
        if job.attempt == 1:
            await asyncio.Event().wait()
        return "in time"

    job = await aqueue.enqueue(handle)
    await jobq.Worker(aqueue).run_once()
    assert (await aqueue.get(job.id)).result == "in time"
    assert await outcomes(aqueue, job) == [(1, "retried", "timeout"), (2, "completed", None)]


async def test_a_timeout_asks_a_thread_to_stop(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h", timeout=0.02)
    def handle(job: jobq.SyncJobContext) -> None:
        while not job.cancelled:
            threading.Event().wait(0.001)
        job.check()

    job = await aqueue.enqueue(handle, max_attempts=1)
    await jobq.Worker(aqueue).run_once()
    failed = await aqueue.get(job.id)
    assert (failed.status, failed.error_code) == ("failed", "timeout")


async def test_a_handler_that_ends_in_spite_of_its_cancellation_has_its_result_stored(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h", timeout=0.02)
    async def handle() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done anyway"
        return "never"

    job = await aqueue.enqueue(handle)
    await jobq.Worker(aqueue).run_once()
    assert (await aqueue.get(job.id)).result == "done anyway"


class Stubborn:
    """A handler that ignores its cancellation until it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self) -> str:
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        self.gone.set()
        return "too late"


@pytest.fixture
async def stubborn() -> AsyncIterator[Stubborn]:
    handler = Stubborn()
    yield handler
    handler.let_go.set()
    await asyncio.sleep(0)


async def test_a_handler_that_ignores_its_cancellation_loses_its_job_and_its_slot(
    aqueue: jobq.AsyncQueue, router: jobq.Router, stubborn: Stubborn
) -> None:
    failed, most, now = asyncio.Event(), 0, 0
    both: Any = router.handler("stubborn", timeout=0.02)(stubborn)

    class Watching(jobq.Observer):
        def job_moved(self, job_id: str, type: str, transition: Any, seconds: float) -> None:
            if type == "stubborn":
                failed.set()

    @router.handler("other")
    async def other() -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    aqueue._config.observers._observers = (Watching(),)
    job = await aqueue.enqueue(both, max_attempts=1, priority="urgent")
    worker = jobq.Worker(aqueue, concurrency=2, margin=1.0)
    async with worker.running():
        await failed.wait()
        lost = await aqueue.get(job.id)
        assert (lost.status, lost.error_code) == ("failed", "timeout")
        (name,) = worker.hanging
        assert name.startswith("stubborn (")
        outcomes = await aqueue.enqueue_many((other, None) for _ in range(10))
        for outcome in outcomes:
            await aqueue.wait(outcome.job.id, timeout=30)  # type: ignore[union-attr]
        assert most == 1
        stubborn.let_go.set()
        await stubborn.gone.wait()
    assert worker.hanging == []
    assert await aqueue.get(job.id) == lost


async def test_a_worker_whose_slots_all_hang_ends_and_names_the_handlers(
    aqueue: jobq.AsyncQueue, router: jobq.Router, stubborn: Stubborn
) -> None:
    handler: Any = router.handler("stubborn", timeout=0.02)(stubborn)
    job = await aqueue.enqueue(handler, max_attempts=1)
    with pytest.raises(jobq.WorkerFailed, match=r"stubborn \("):
        await jobq.Worker(aqueue, concurrency=1, margin=0.6).run()
    failed = await aqueue.get(job.id)
    assert (failed.status, failed.error_code) == ("failed", "timeout")
    assert sql(aqueue.sync, "SELECT count(*) FROM jobq_job WHERE worker IS NOT NULL") == [(0,)]
    stubborn.let_go.set()
    await stubborn.gone.wait()


async def test_a_thread_that_does_not_stop_loses_its_job_and_its_slot(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    let_go = threading.Event()

    @router.handler("stubborn", timeout=0.3)
    def stubborn() -> None:
        let_go.wait(30)

    job = await aqueue.enqueue(stubborn, max_attempts=1)
    with pytest.raises(jobq.WorkerFailed, match=r"stubborn \("):
        await jobq.Worker(aqueue, concurrency=1, margin=0.6).run()
    failed = await aqueue.get(job.id)
    assert (failed.status, failed.error_code) == ("failed", "timeout")
    let_go.set()


# --- cancellation of running jobs ---------------------------------------------------------------


async def test_a_running_async_job_is_cancelled_within_a_heartbeat(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    @router.handler("h")
    async def handle() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async with jobq.Worker(aqueue, lease=1.5).running():
        job = await aqueue.enqueue(handle)
        await begun.wait()
        asked = await aqueue.cancel(job.id)
        assert (asked.status, asked.cancel_requested) == ("processing", True)
        ended = await aqueue.wait(job.id, timeout=30)
    assert cleaned.is_set()
    assert (ended.status, ended.error_code) == ("cancelled", "cancelled")
    assert await outcomes(aqueue, job) == [(1, "cancelled", "cancelled")]


async def test_a_running_thread_sees_that_it_is_cancelled(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun = threading.Event()

    @router.handler("h")
    def handle(job: jobq.SyncJobContext) -> None:
        begun.set()
        while not job.cancelled:
            threading.Event().wait(0.001)
        job.check()

    async with jobq.Worker(aqueue, lease=1.5).running():
        job = await aqueue.enqueue(handle)
        await asyncio.to_thread(begun.wait, 30)
        await aqueue.cancel(job.id)
        assert (await aqueue.wait(job.id, timeout=30)).status == "cancelled"


async def test_a_running_job_that_is_retried_from_outside_runs_anew_and_its_old_attempt_stops(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()
    runs = 0

    @router.handler("h")
    async def handle() -> str:
        nonlocal runs
        runs += 1
        if runs > 1:
            return f"run {runs}"
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    async with jobq.Worker(aqueue, lease=1.5).running():
        job = await aqueue.enqueue(handle)
        await begun.wait()
        await aqueue.retry(job.id)
        done = await aqueue.wait(job.id, timeout=30)
        await stopped.wait()
    assert (done.status, done.result, done.attempts) == ("completed", "run 2", 1)
    assert [word for _, word, _ in await outcomes(aqueue, job)] == ["disowned", "completed"]
