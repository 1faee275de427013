"""What a handler gets: its payload, its job's context, middleware, a lifespan, progress, logs."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypedDict

import attrs
import msgspec
import pytest
from pydantic import BaseModel

import jobq
from jobq.testing import FrozenClock
from tests.conformance.situations import claim, run

# --- signatures ---------------------------------------------------------------------------------


async def test_a_handler_gets_what_its_signature_asks_for(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("nothing")
    async def nothing() -> str:
        return "nothing"

    @router.handler("payload")
    async def payload(payload: dict) -> dict:
        return payload

    @router.handler("both")
    async def both(payload: dict, job: jobq.JobContext) -> list:
        return [payload, job.id]

    @router.handler("unannotated")
    async def unannotated(payload, job):
        return [payload, type(job).__name__]

    @router.handler("context first")
    async def context_first(job: jobq.JobContext, payload: dict) -> list:
        return [payload, job.id]

    @router.handler("context only")
    async def context_only(job: jobq.JobContext) -> str:
        return job.id

    @router.handler("default")
    async def default(payload: dict, *, size: int = 3, more: int = 4) -> int:
        return size + more

    jobs = [await aqueue.enqueue(name, {"a": 1}) for name in router.types]
    assert await jobq.Worker(aqueue).run_once() == len(jobs)
    results = {job.type: job.result for job in await aqueue.get_many(jobs)}
    ids = {job.type: job.id for job in jobs}
    assert results == {
        "nothing": "nothing",
        "payload": {"a": 1},
        "both": [{"a": 1}, ids["both"]],
        "unannotated": [{"a": 1}, "JobContext"],
        "context first": [{"a": 1}, ids["context first"]],
        "context only": ids["context only"],
        "default": 7,
    }


async def test_a_def_handler_runs_in_a_thread_and_gets_the_synchronous_context(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("both")
    def both(payload: dict, job: jobq.SyncJobContext) -> list:
        return [payload, type(job).__name__, threading.current_thread() is threading.main_thread()]

    @router.handler("nothing")
    def nothing() -> None:
        pass

    a, b = await aqueue.enqueue(both, {"a": 1}), await aqueue.enqueue(nothing)
    assert await jobq.Worker(aqueue).run_once() == 2
    first, second = await aqueue.get_many([a, b])
    assert first.result == [{"a": 1}, "SyncJobContext", False]
    assert (second.status, second.result) == ("completed", None)


async def test_threads_have_a_capacity_of_their_own(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    running, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2, timeout=30)

    @router.handler("thread")
    def thread() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait()
        with lock:
            running -= 1

    await aqueue.enqueue_many((thread, None) for _ in range(8))
    assert await jobq.Worker(aqueue, concurrency=8, threads=2).run_once() == 8
    assert most == 2
    assert (await aqueue.counts())["completed"] == 8


async def test_partials_and_callable_objects_are_handlers(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    class Editor:
        async def __call__(self, payload: dict, job: jobq.JobContext) -> str:
            return f"edited {payload['n']}"

    async def scaled(factor: int, payload: dict) -> int:
        return factor * int(payload["n"])

    editor: Any = router.handler("object")(Editor())
    partial: Any = router.handler("partial")(functools.partial(scaled, 3))
    a, b = await aqueue.enqueue(editor, {"n": 2}), await aqueue.enqueue(partial, {"n": 2})
    assert await jobq.Worker(aqueue).run_once() == 2
    assert [job.result for job in await aqueue.get_many([a, b])] == ["edited 2", 6]


def test_a_handler_is_still_the_function_that_it_was(known: jobq.Handler[dict, dict]) -> None:
    assert asyncio.run(known({"a": 1})) == {"a": 1}


# --- payloads -----------------------------------------------------------------------------------


@dataclass
class Point:
    x: int
    tags: list[str] = field(default_factory=list)


@attrs.frozen
class Frozen:
    x: int
    at: Point


class Struct(msgspec.Struct):
    x: int
    wait: float = 1.5


class Model(BaseModel):
    x: int
    wait: timedelta = timedelta(seconds=1)


class Typed(TypedDict):
    x: int


PAYLOADS: list[tuple[Any, Any, Any]] = [
    (dict, {"x": 1}, {"x": 1}),
    (Any, [1, "a"], [1, "a"]),
    (None, {"x": 1}, {"x": 1}),
    (Point, Point(1, ["a"]), Point(1, ["a"])),
    (Point, {"x": 1}, Point(1)),
    (Frozen, Frozen(1, Point(2)), Frozen(1, Point(2))),
    (Frozen, {"x": 1, "at": {"x": 2, "tags": []}}, Frozen(1, Point(2))),
    (Struct, Struct(1, 2.5), Struct(1, 2.5)),
    (Model, Model(x=1), Model(x=1)),
    (Model, {"x": 1, "wait": "PT5S"}, Model(x=1, wait=timedelta(seconds=5))),
    (Typed, {"x": 1}, {"x": 1}),
    (list[Point], [Point(1), {"x": 2}], [Point(1), Point(2)]),
    (int, 5, 5),
]


@pytest.mark.parametrize("annotation, given, received", PAYLOADS, ids=str)
async def test_a_payload_arrives_as_its_annotation_says(
    aqueue: jobq.AsyncQueue, router: jobq.Router, annotation: Any, given: Any, received: Any
) -> None:
    arrived: list[Any] = []

    async def handle(payload: Any) -> None:
        arrived.append(payload)

    if annotation is None:
        handle.__annotations__.clear()
    else:
        handle.__annotations__["payload"] = annotation
    handler: Any = router.handler("h")(handle)
    await aqueue.enqueue(handler, given)
    assert await jobq.Worker(aqueue).run_once() == 1
    assert arrived == [received]
    assert type(arrived[0]) is type(received)


async def test_a_payload_that_no_longer_fits_fails_at_its_run(
    aqueue: jobq.AsyncQueue, url: str
) -> None:
    old, new = jobq.Router(), jobq.Router()
    old.handler("h")(_takes_anything)
    new.handler("h")(_takes_a_point)
    async with jobq.AsyncQueue(url, router=old) as before:
        job = await before.enqueue("h", {"y": 1})
    async with jobq.AsyncQueue(url, router=new) as after:
        assert await jobq.Worker(after).run_once() == 1
        failed = await after.get(job.id)
    assert (failed.status, failed.error_code, failed.attempts) == ("failed", "invalid_payload", 1)
    assert failed.error == "payload of 'h': Object missing required field `x` (at $)"


async def _takes_anything(payload: dict) -> None: ...
async def _takes_a_point(payload: Point) -> None: ...


RESULTS: list[tuple[Any, Any]] = [
    (None, None),
    (0, 0),
    ("text ü", "text ü"),
    ([1, {"a": None}], [1, {"a": None}]),
    (Point(1), {"x": 1, "tags": []}),
    (Struct(1), {"x": 1, "wait": 1.5}),
    (Model(x=1), {"x": 1, "wait": "PT1S"}),
]


@pytest.mark.parametrize("returned, stored", RESULTS, ids=str)
async def test_a_result_is_stored_as_json(
    aqueue: jobq.AsyncQueue, router: jobq.Router, returned: Any, stored: Any
) -> None:
    @router.handler("h")
    async def handle() -> Any:
        return returned

    job = await aqueue.enqueue(handle)
    assert await jobq.Worker(aqueue).run_once() == 1
    done = await aqueue.get(job.id)
    assert (done.status, done.result, done.progress) == ("completed", stored, 100)


# --- context ------------------------------------------------------------------------------------


async def test_the_context_tells_the_facts_of_the_job(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    seen: dict[str, Any] = {}

    @router.handler("h", timeout=60)
    async def handle(payload: dict, job: jobq.JobContext) -> None:
        names = "id type queue attempt max_attempts owner metadata created_at started_at deadline"
        seen.update({name: getattr(job, name) for name in names.split()})
        seen["cancelled"], seen["state"] = job.cancelled, job.state
        await job.check()

    created = clock.time
    job = await afrozen.enqueue(handle, {}, queue="q", owner="ada", metadata={"a": [1]})
    started = clock.advance(5)
    assert await jobq.Worker(afrozen).run_once() == 1
    assert seen == {
        "id": job.id,
        "type": "h",
        "queue": "q",
        "attempt": 1,
        "max_attempts": 3,
        "owner": "ada",
        "metadata": {"a": [1]},
        "created_at": created,
        "started_at": started,
        "deadline": started + timedelta(seconds=60),
        "cancelled": False,
        "state": None,
    }


async def test_a_job_without_timeout_has_no_deadline(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle(job: jobq.JobContext) -> bool:
        return job.deadline is None

    job = await aqueue.enqueue(handle, timeout=None)
    assert await jobq.Worker(aqueue).run_once() == 1
    assert (await aqueue.get(job.id)).result is True


# --- middleware and lifespan --------------------------------------------------------------------


async def test_middleware_runs_around_handlers_outermost_first(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    inner, calls = jobq.Router(), []

    def noting(name: str) -> Callable[[jobq.JobContext, Callable[[], Awaitable[Any]]], Any]:
        async def middleware(job: jobq.JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
            calls.append(f"{name} before {job.type}")
            result = await call_next()
            calls.append(f"{name} after")
            return f"{name}({result})"

        return middleware

    router.middleware(noting("outer"))
    inner.middleware(noting("inner"))

    @inner.handler("async")
    async def handle() -> str:
        return "a"

    @router.handler("sync")
    def handle_too() -> str:
        return "s"

    router.include(inner)
    first, second = await aqueue.enqueue("async"), await aqueue.enqueue("sync")
    assert await jobq.Worker(aqueue, concurrency=1).run_once() == 2
    results = [job.result for job in await aqueue.get_many([first, second])]
    assert results == ["outer(inner(a))", "outer(s)"]
    assert calls == [
        "outer before async",
        "inner before async",
        "inner after",
        "outer after",
        "outer before sync",
        "outer after",
    ]


async def test_middleware_sees_what_a_handler_raises_and_may_answer_for_it(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.middleware
    async def forgiving(job: jobq.JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call_next()
        except KeyError as error:
            return f"forgiven {error}"

    @router.handler("h")
    def handle() -> None:
        raise KeyError("x")

    job = await aqueue.enqueue(handle)
    assert await jobq.Worker(aqueue).run_once() == 1
    assert (await aqueue.get(job.id)).result == "forgiven 'x'"


async def test_a_lifespan_is_opened_once_for_a_worker_and_closed_after_its_last_job(
    url: str, router: jobq.Router
) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        events.append("opened")
        yield "the state"
        events.append("closed")

    @router.handler("async")
    async def handle(job: jobq.JobContext) -> str:
        events.append("ran")
        return str(job.state)

    @router.handler("sync")
    def handle_too(job: jobq.SyncJobContext) -> str:
        events.append("ran")
        return str(job.state)

    async with jobq.AsyncQueue(url, router=router, lifespan=lifespan) as aqueue:
        jobs = [await aqueue.enqueue(type) for type in ("async", "sync", "async")]
        assert events == []
        assert await jobq.Worker(aqueue).run_once() == 3
        assert [job.result for job in await aqueue.get_many(jobs)] == ["the state"] * 3
    assert events == ["opened", "ran", "ran", "ran", "closed"]


async def test_a_lifespan_that_fails_ends_the_worker_before_it_claims(
    url: str, router: jobq.Router, known: jobq.Handler[dict, dict]
) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        raise RuntimeError("no model")
        yield

    async with jobq.AsyncQueue(url, router=router, lifespan=lifespan) as aqueue:
        job = await aqueue.enqueue(known, {})
        with pytest.raises(RuntimeError, match="no model"):
            await jobq.Worker(aqueue).run_once()
        assert await aqueue.get(job.id) == job


# --- progress -----------------------------------------------------------------------------------


class Progress(jobq.Observer):
    """What was stored, and an event at each."""

    def __init__(self) -> None:
        self.stored: list[tuple[int, str | None]] = []
        self.more = asyncio.Event()

    def job_progressed(self, job_id: str, type: str, progress: int, message: str | None) -> None:
        self.stored.append((progress, message))
        self.more.set()


async def test_progress_is_stored_while_the_handler_runs(url: str, router: jobq.Router) -> None:
    seen = Progress()

    @router.handler("h")
    async def handle(job: jobq.JobContext) -> list:
        await job.progress(40, "rendering")
        await seen.more.wait()
        current = await aqueue.get(job.id)
        return [current.progress, current.message]

    async with jobq.AsyncQueue(url, router=router, observers=[seen]) as aqueue:
        job = await aqueue.enqueue(handle)
        assert await jobq.Worker(aqueue).run_once() == 1
        done = await aqueue.get(job.id)
    assert done.result == [40, "rendering"]
    assert (done.progress, done.message) == (100, "rendering")


async def test_many_reports_are_stored_as_few_and_never_fall(url: str, router: jobq.Router) -> None:
    seen = Progress()

    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        for percent in [*range(90), 50, 3]:
            await job.progress(percent)
        await seen.more.wait()

    async with jobq.AsyncQueue(url, router=router, observers=[seen]) as aqueue:
        await aqueue.enqueue(handle)
        assert await jobq.Worker(aqueue).run_once() == 1
    assert seen.stored == [(89, None)]


async def test_a_thread_reports_progress_too(url: str, router: jobq.Router) -> None:
    seen, stored = Progress(), threading.Event()

    class Telling(Progress):
        def job_progressed(
            self, job_id: str, type: str, progress: int, message: str | None
        ) -> None:
            seen.stored.append((progress, message))
            stored.set()

    @router.handler("h")
    def handle(job: jobq.SyncJobContext) -> bool:
        job.progress(55.7, "half")
        return stored.wait(30)

    async with jobq.AsyncQueue(url, router=router, observers=[Telling()]) as aqueue:
        job = await aqueue.enqueue(handle)
        assert await jobq.Worker(aqueue).run_once() == 1
        assert (await aqueue.get(job.id)).result is True
    assert seen.stored == [(55, "half")]


@pytest.mark.parametrize(
    "percent, message, reason",
    [
        (101, None, "progress=101 is not from 0 to 100"),
        (-1, None, "progress=-1 is not from 0 to 100"),
        (float("nan"), None, "progress=nan is not from 0 to 100"),
        ("50", None, "progress is a number from 0 to 100, not '50'"),
        (50, 5, "a progress message is text, not 5"),
    ],
)
async def test_progress_that_is_none_is_an_error_of_the_handler(
    aqueue: jobq.AsyncQueue, router: jobq.Router, percent: Any, message: Any, reason: str
) -> None:
    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        await job.progress(percent, message)

    job = await aqueue.enqueue(handle, max_attempts=1)
    assert await jobq.Worker(aqueue).run_once() == 1
    failed = await aqueue.get(job.id)
    assert (failed.error_code, failed.error) == ("OptionError", f"OptionError: {reason}")


async def test_a_progress_message_that_cannot_be_stored_does_not_cost_the_job(
    url: str, router: jobq.Router
) -> None:
    seen = Progress()

    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        await job.progress(5, "a\x00b\ud800c" + "x" * 2000)
        await seen.more.wait()

    async with jobq.AsyncQueue(url, router=router, observers=[seen]) as aqueue:
        job = await aqueue.enqueue(handle)
        assert await jobq.Worker(aqueue).run_once() == 1
        assert (await aqueue.get(job.id)).message == "ab?c" + "x" * 995


def test_progress_at_rest_never_falls_within_an_attempt_and_begins_anew_in_the_next(
    frozen: jobq.Queue, known: jobq.Handler[dict, dict]
) -> None:
    from jobq.backends import ops
    from tests.conformance.situations import RETRIED, finish

    job = frozen.enqueue(known, {})
    (claimed,) = claim(frozen)
    for percent in (60, 20):
        row = {"id": job.id, "fence": claimed.fence, "progress": percent, "message": f"{percent}"}
        assert run(frozen, ops.progress, [row]) == [job.id]
    assert (frozen.get(job).progress, frozen.get(job).message) == (60, "20")
    finish(frozen, claimed, RETRIED)
    claim(frozen)
    assert (frozen.get(job).progress, frozen.get(job).message) == (0, None)


# --- surroundings -------------------------------------------------------------------------------

trace: ContextVar[str] = ContextVar("trace", default="none")


async def test_context_variables_reach_threads_and_stay_within_their_job(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.middleware
    async def tracing(job: jobq.JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
        before = trace.get()
        trace.set(job.id)
        return [before, await call_next()]

    @router.handler("async")
    async def handle() -> str:
        return trace.get()

    @router.handler("sync")
    def handle_too() -> str:
        return trace.get()

    jobs = [await aqueue.enqueue(type) for type in ("async", "sync", "async", "sync")]
    assert await jobq.Worker(aqueue, concurrency=2).run_once() == 4
    assert [job.result for job in await aqueue.get_many(jobs)] == [["none", j.id] for j in jobs]


async def test_log_records_made_inside_a_handler_name_its_job(
    aqueue: jobq.AsyncQueue, router: jobq.Router, caplog: pytest.LogCaptureFixture
) -> None:
    library = logging.getLogger("some.library")

    @router.handler("async")
    async def handle() -> None:
        library.warning("in a coroutine")
        await asyncio.create_task(child())

    async def child() -> None:
        library.warning("in a task")

    @router.handler("sync")
    def handle_too() -> None:
        library.warning("in a thread")

    a, b = await aqueue.enqueue(handle), await aqueue.enqueue(handle_too)
    assert await jobq.Worker(aqueue).run_once() == 2
    library.warning("outside", extra={"job_id": "given"})
    library.warning("elsewhere")
    named = {
        record.message: (record.job_id, record.job_type)  # type: ignore[attr-defined]
        for record in caplog.records
        if record.name == "some.library"
    }
    assert named == {
        "in a coroutine": (a.id, "async"),
        "in a task": (a.id, "async"),
        "in a thread": (b.id, "sync"),
        "outside": ("given", None),
        "elsewhere": (None, None),
    }


async def test_observers_see_every_step_of_a_job_and_may_fail(
    url: str, router: jobq.Router, known: jobq.Handler[dict, dict]
) -> None:
    steps: list[str] = []
    ops: set[str] = set()

    class Watching(jobq.Observer):
        def job_enqueued(self, job: jobq.Job) -> None:
            steps.append("enqueued")

        def job_claimed(self, job_id: str, type: str, attempt: int, worker: str) -> None:
            steps.append(f"claimed {attempt}")

        def job_started(self, job_id: str, type: str, attempt: int) -> None:
            steps.append(f"started {attempt}")

        def job_moved(self, job_id: str, type: str, transition: Any, seconds: float) -> None:
            steps.append(transition.outcome)
            assert seconds >= 0

        def jobs_changed(self, verb: str, job_ids: Any) -> None:
            steps.append(f"{verb} {len(list(job_ids))}")

        def database_called(self, op: str, seconds: float, error: BaseException | None) -> None:
            ops.add(op)

    class Failing(jobq.Observer):
        def job_enqueued(self, job: jobq.Job) -> None:
            raise RuntimeError("an observer must not break anything")

    observers = [Failing(), Watching()]
    async with jobq.AsyncQueue(url, router=router, observers=observers) as aqueue:
        job = await aqueue.enqueue(known, {})
        assert await jobq.Worker(aqueue).run_once() == 1
        other = await aqueue.enqueue(known, {})
        await aqueue.cancel(other.id)
        await aqueue.retry(other.id)
        await aqueue.set_status(other.id, "failed")
        await aqueue.delete(job.id)
    assert steps == [
        "enqueued",
        "claimed 1",
        "started 1",
        "completed",
        "enqueued",
        "cancel 1",
        "retry 1",
        "set_status 1",
        "delete 1",
    ]
    assert {"insert", "claim", "cancel", "retry", "set_status", "delete"} <= ops
