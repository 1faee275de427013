"""`perform`: one handler, as a worker would call it, without a database."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

import jobq
from jobq.testing import FrozenClock, aperform, perform


@dataclass
class Order:
    item: str
    pieces: int = 1


@pytest.fixture
def queue(router: jobq.Router) -> Iterator[jobq.Queue]:
    """A queue that is never opened: `perform` needs no database."""
    return jobq.Queue("sqlite:////nowhere/at/all.db", router=router)


def test_it_calls_an_async_handler_and_returns_its_result(router):
    @router.handler("double")
    async def double(payload: dict, job: jobq.JobContext) -> dict:
        return {"n": payload["n"] * 2}

    assert perform(double, {"n": 21}) == {"n": 42}


def test_a_plain_handler_runs_in_the_thread_of_the_test(router):
    @router.handler("where")
    def where(payload: dict, job: jobq.SyncJobContext) -> int:
        return threading.get_ident()

    assert perform(where, {}) == threading.get_ident()


async def test_aperform_runs_both_kinds_of_handlers(router):
    @router.handler("a")
    async def a(payload: dict) -> bool:
        return asyncio.get_running_loop() is loop

    @router.handler("b")
    def b(payload: dict) -> bool:
        return threading.get_ident() == thread

    loop, thread = asyncio.get_running_loop(), threading.get_ident()
    assert await aperform(a, {})
    assert not await aperform(b, {})


async def test_perform_of_an_async_handler_in_a_loop_points_to_its_twin(router):
    @router.handler("a")
    async def a(payload: dict) -> None: ...

    with pytest.raises(RuntimeError, match=r"use `await aperform"):
        perform(a, {})


def test_the_payload_is_checked_and_arrives_in_its_type(router):
    seen = []

    @router.handler("order")
    def order(payload: Order) -> None:
        seen.append(payload)

    perform(order, Order("door", 2))
    perform(order, {"item": "key"})
    assert seen == [Order("door", 2), Order("key", 1)]
    with pytest.raises(jobq.PayloadError, match=r"Expected `int`, got `str` \(at \$\.pieces\)"):
        perform(order, {"item": "door", "pieces": "two"})


def test_a_handler_without_parameters_needs_no_payload(router):
    @router.handler("tick")
    def tick() -> str:
        return "tock"

    assert perform(tick) == "tock"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("broken"),
        jobq.RetryAfter(5),
        jobq.Snooze(5),
        jobq.Permanent("unsafe"),
        jobq.Cancel(),
    ],
)
def test_what_the_handler_raises_is_raised(router, error):
    @router.handler("broken")
    async def broken(payload: dict) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        perform(broken, {})
    assert caught.value is error


def test_a_result_that_could_not_be_stored_is_an_error(router):
    @router.handler("bad")
    def bad(payload: dict) -> dict:
        return {"when": [{1, 2}]}

    with pytest.raises(jobq.ResultError, match=r"a set, which JSON has not \(at \$\.when\[0\]\)"):
        perform(bad, {})


def test_the_context_says_what_it_was_told(router):
    clock = FrozenClock()
    queue = jobq.Queue("sqlite:///none.db", router=router, clock=clock)

    @router.handler("facts", queue="images", retry=jobq.Retry(max_attempts=7), timeout=60)
    def facts(payload: dict, job: jobq.SyncJobContext) -> None:
        assert (job.type, job.queue, job.attempt, job.max_attempts) == ("facts", "images", 2, 7)
        assert (job.owner, job.metadata, job.state) == ("ada", {"trace": "t1"}, "a client")
        assert job.created_at == job.started_at == clock.time
        assert job.deadline is not None
        assert (job.deadline - clock.time).total_seconds() == 60
        assert not job.cancelled

    perform(
        facts,
        {},
        attempt=2,
        owner="ada",
        metadata={"trace": "t1"},
        state="a client",
        queue=queue,
    )


def test_progress_is_recorded(router):
    @router.handler("steps")
    async def steps(payload: dict, job: jobq.JobContext) -> None:
        await job.progress(10, "fetching")
        await job.progress(90.7)

    seen: list[tuple[int, str | None]] = []
    perform(steps, {}, progress=seen)
    assert seen == [(10, "fetching"), (90, None)]


def test_a_cancellation_can_be_played(router):
    @router.handler("long")
    def long(payload: dict, job: jobq.SyncJobContext) -> str:
        if payload["polite"]:
            return "stopped" if job.cancelled else "done"
        job.check()
        return "done"

    assert perform(long, {"polite": True}, cancelled=True) == "stopped"
    assert perform(long, {"polite": False}) == "done"
    with pytest.raises(jobq.Cancel):
        perform(long, {"polite": False}, cancelled=True)


def test_middleware_is_around_the_handler_outermost_first(queue, router):
    calls = []

    @router.handler("inner")
    def inner(payload: dict) -> str:
        calls.append("handler")
        return "result"

    @router.middleware
    async def first(job, call_next):
        calls.append(f"first {job.type}")
        return await call_next()

    @router.middleware
    async def second(job, call_next):
        calls.append("second")
        return f"{await call_next()}, wrapped"

    assert perform(inner, {}, queue=queue) == "result, wrapped"
    assert calls == ["first inner", "second", "handler"]


def test_the_default_routers_middleware_needs_no_queue(monkeypatch):
    fresh = jobq.Router()
    monkeypatch.setattr("jobq.testing._perform.default_router", fresh)

    @fresh.handler("inner")
    async def inner(payload: dict) -> str:
        return "result"

    @fresh.middleware
    async def wrap(job, call_next):
        return [await call_next()]

    assert perform(inner, {}) == ["result"]


def test_a_queue_that_does_not_know_the_handler_says_so(queue, router):
    @jobq.Router().handler("stranger")
    def stranger(payload: dict) -> None: ...

    @router.handler("known")
    def known(payload: dict) -> None: ...

    with pytest.raises(jobq.UnknownType, match=r"'stranger' \(registered: 'known'\)"):
        perform(stranger, {}, queue=queue)


def test_the_lifespan_is_opened_around_it_unless_a_state_is_given(router):
    opened = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        opened.append("opened")
        yield "real"
        opened.append("closed")

    @router.handler("use")
    def use(payload: dict, job: jobq.SyncJobContext) -> str:
        return str(job.state)

    queue = jobq.Queue("sqlite:///none.db", router=router, lifespan=lifespan)
    assert perform(use, {}, queue=queue, state="fake") == "fake"
    assert opened == []
    assert perform(use, {}, queue=queue) == "real"
    assert opened == ["opened", "closed"]


async def test_complete_gives_the_result_and_writes_nothing(router):
    @router.handler("async")
    async def in_loop(payload: dict, job: jobq.JobContext) -> None:
        await job.complete({"n": 1}, connection=connection)

    @router.handler("sync")
    def in_thread(payload: dict, job: jobq.SyncJobContext) -> None:
        job.complete({"n": 2}, session=connection)

    @router.handler("neither")
    async def neither(payload: dict, job: jobq.JobContext) -> None:
        await job.complete({"n": 3})

    connection = sqlite3.connect(":memory:")
    try:
        assert await aperform(in_loop, {}) == {"n": 1}
        assert await aperform(in_thread, {}) == {"n": 2}
        with pytest.raises(jobq.OptionError, match="either session= or connection="):
            await aperform(neither, {})
    finally:
        connection.close()


def test_log_records_carry_the_job(router, caplog):
    @router.handler("talk")
    def talk(payload: dict, job: jobq.SyncJobContext) -> str:
        logging.getLogger("app").warning("inside")
        return job.id

    id = perform(talk, {})
    logging.getLogger("app").warning("outside")
    said = [(record.message, record.job_id, record.job_type) for record in caplog.records]
    assert said == [("inside", id, "talk"), ("outside", None, None)]


@pytest.mark.parametrize("attempt", [0, -1, True, 1.5])
def test_attempts_are_counted_from_one(router, attempt):
    @router.handler("a")
    def a(payload: dict) -> None: ...

    with pytest.raises(jobq.OptionError, match="counted from 1"):
        perform(a, {}, attempt=attempt)
