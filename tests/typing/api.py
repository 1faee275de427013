"""How jobq's calls are typed. Never run: mypy and pyright check it.

A line that must be an error carries `# type: ignore[…]`, and both complain about one that is not
needed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, assert_type

import jobq
from jobq.testing import (
    FrozenClock,
    adrain,
    aperform,
    assert_enqueued,
    assert_not_enqueued,
    drain,
    perform,
)


@dataclass
class Photo:
    url: str


@dataclass
class Edited:
    url: str


class Order(TypedDict):
    item: str


@asynccontextmanager
async def lifespan() -> AsyncIterator[str]:
    yield "a client"


router = jobq.Router()
queue = jobq.Queue("sqlite:///jobs.db", router=router, lifespan=lifespan, keep=timedelta(days=1))
aqueue = jobq.AsyncQueue("sqlite:///jobs.db", clock=FrozenClock(), observers=[jobq.Observer()])
assert_type(queue.aio, jobq.AsyncQueue)
assert_type(aqueue.sync, jobq.Queue)


# --- every shape of a handler keeps the type of its payload and of its result ---------------------


@jobq.handler("edit", retry=jobq.Retry(max_attempts=5, backoff=jobq.Fixed(1)), timeout=60)
async def edit(payload: Photo, job: jobq.JobContext) -> Edited:
    await job.progress(10, "fetching")
    return Edited(payload.url)


@router.handler("edit_alone", priority="urgent", keep=False)
async def edit_alone(payload: Photo) -> Edited:
    return Edited(payload.url)


@router.handler("resize", queue="images", timeout=None)
def resize(payload: Photo, job: jobq.SyncJobContext) -> Edited:
    job.progress(10)
    return Edited(payload.url)


@router.handler("resize_alone")
def resize_alone(payload: Photo) -> Edited:
    return Edited(payload.url)


@router.handler("tick")
async def tick() -> int:
    return 1


@router.handler("tock")
def tock() -> int:
    return 1


@router.handler("look")
async def look(job: jobq.JobContext) -> int:
    return job.attempt


@router.handler("glance")
def glance(job: jobq.SyncJobContext) -> int:
    return job.attempt


@router.handler("swapped")
async def swapped(job: jobq.JobContext, payload: Photo) -> Edited:
    return Edited(payload.url)


@router.handler("order")
def order(payload: Order) -> None: ...


@router.handler("free")
async def free(payload: dict[str, Any], job: jobq.JobContext) -> dict[str, Any]:
    return payload


@router.handler("whatever")
async def whatever(payload: Any, job: jobq.JobContext) -> Any:
    return payload


@router.handler("anything")
def anything(payload: Any) -> None: ...


assert_type(edit, jobq.Handler[Photo, Edited])
assert_type(edit_alone, jobq.Handler[Photo, Edited])
assert_type(resize, jobq.Handler[Photo, Edited])
assert_type(resize_alone, jobq.Handler[Photo, Edited])
assert_type(tick, jobq.Handler[None, int])
assert_type(tock, jobq.Handler[None, int])
assert_type(look, jobq.Handler[jobq.JobContext, int])
assert_type(glance, jobq.Handler[jobq.SyncJobContext, int])
assert_type(swapped, jobq.Handler[Photo, Edited])
assert_type(order, jobq.Handler[Order, None])
assert_type(free, jobq.Handler[dict[str, Any], dict[str, Any]])


@router.middleware
async def timed(job: jobq.JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
    return await call_next()


# --- enqueue --------------------------------------------------------------------------------------


def enqueues() -> None:
    assert_type(queue.enqueue(edit, Photo("u")), jobq.Job)
    queue.enqueue(resize_alone, Photo("u"))
    queue.enqueue(swapped, Photo("u"))
    queue.enqueue(order, Order(item="door"))
    queue.enqueue(free, {"a": 1})
    queue.enqueue(whatever, {"a": 1})
    queue.enqueue(anything, 5)
    queue.enqueue(tick)
    queue.enqueue(look)
    queue.enqueue(glance, None)
    queue.enqueue("by_name", {"a": 1})
    queue.enqueue("by_name")
    queue.enqueue(
        edit,
        Photo("u"),
        queue="images",
        priority="urgent",
        run_at=datetime.now(UTC),
        max_attempts=3,
        timeout=timedelta(minutes=1),
        expires_at=datetime.now(UTC),
        unique_key="k",
        owner="ada",
        keep=False,
        metadata={"trace": 1},
        connection=object(),
    )
    queue.enqueue(edit, Photo("u"), delay=5.0, priority=7, session=object())


def refused() -> None:
    queue.enqueue(edit, Edited("u"))  # type: ignore[misc]
    queue.enqueue(edit, {"url": "u"})  # type: ignore[misc]
    queue.enqueue(edit)  # type: ignore[arg-type]
    queue.enqueue(order, {"thing": "door"})  # type: ignore[misc]
    queue.enqueue(tick, {"a": 1})  # type: ignore[misc]
    queue.enqueue(look, {"a": 1})  # type: ignore[misc]
    queue.enqueue(5, {})  # type: ignore[call-overload]
    queue.enqueue(edit, Photo("u"), colour="red")  # type: ignore[call-overload]
    queue.enqueue(edit, Photo("u"), priority=1.5)  # type: ignore[call-overload]
    queue.enqueue("by_name", {}, delay="5")  # type: ignore[call-overload]


async def asynchronous() -> None:
    assert_type(await aqueue.enqueue(edit, Photo("u"), priority="batch"), jobq.Job)
    await aqueue.enqueue(tick)
    await aqueue.enqueue("by_name", {"a": 1})
    await aqueue.enqueue(edit, Edited("u"))  # type: ignore[misc]
    await aqueue.enqueue(tick, 5)  # type: ignore[misc]
    await aqueue.enqueue(edit, Photo("u"), colour="red")  # type: ignore[call-overload]


# --- the other verbs ------------------------------------------------------------------------------


def verbs() -> None:
    job = queue.enqueue("t")
    assert_type(queue.get(job.id), jobq.Job)
    assert_type(queue.get_many([job]), list[jobq.Job])
    assert_type(queue.list(status=["failed", jobq.JobStatus.PENDING]), jobq.Page)
    assert_type(queue.pending(), list[jobq.Job])
    assert_type(queue.counts()["pending"], int)
    assert_type(queue.history(job), list[jobq.Attempt])
    assert_type(queue.wait(job, timeout=1), jobq.Job)
    assert_type(queue.cancel_where(type="t", dry_run=True), int)
    assert_type(queue.enqueue_many([("t", {}), jobq.NewJob(type=edit)]), Sequence[jobq.Outcome])
    assert_type(job.status, jobq.JobStatus)
    assert_type(job.retry_at, datetime | None)


# --- batch handlers -------------------------------------------------------------------------------


@jobq.handler("embed", batch=100)
async def embed(texts: list[str], jobs: list[jobq.JobContext]) -> list[list[float] | Exception]:
    return [[0.0]] * len(jobs)


@jobq.handler("measure", batch=10)
def measure(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


@jobq.handler("note", batch=10)
async def note(texts: list[str]) -> None: ...


queue.enqueue(embed, "a text")
queue.enqueue(measure, "a text")
queue.enqueue(note, "a text")
queue.enqueue(embed, ["a text"])  # type: ignore[misc]
queue.enqueue(measure, 7)  # type: ignore[misc]


@jobq.handler("plain", batch=10)  # type: ignore[arg-type]
async def plain(text: str) -> list[int]:
    return [len(text)]


# --- schedules ------------------------------------------------------------------------------------


@jobq.cron("0 3 * * *", tz="Europe/Berlin", catch_up="skip", overlap=False)
@jobq.cron("0 15 * * *", name="afternoon", payload={"url": "u"}, priority="batch", owner="ada")
@jobq.handler("scheduled")
async def scheduled(payload: Photo, job: jobq.JobContext) -> Edited:
    return Edited(payload.url)


assert_type(scheduled, jobq.Handler[Photo, Edited])
assert_type(queue.schedules(), list[jobq.ScheduleInfo])
assert_type(queue.stats(minutes=5, by="queue"), list[jobq.Stat])
jobq.cron("0 3 * * *", catch_up="some")  # type: ignore[arg-type]
jobq.cron("0 3 * * *", zone="UTC")  # type: ignore[call-arg]

# --- wrong options of a handler -------------------------------------------------------------------

jobq.handler("t", colour="red")  # type: ignore[call-overload]
jobq.handler("t", retry=3)  # type: ignore[call-overload]
jobq.handler("t", batch="all")  # type: ignore[call-overload]
jobq.Retry(rules={ValueError: None, OSError: jobq.Exponential(jitter="equal")})
jobq.Exponential(jitter="some")  # type: ignore[arg-type]


# --- the worker and the testing kit ---------------------------------------------------------------


async def workers() -> None:
    assert_type(await jobq.Worker(queue, queues=["a"]).run_once(), int)
    assert_type(await jobq.Worker(aqueue).run(burst=True), int)
    async with jobq.Worker(queue).running() as worker:
        assert_type(worker, jobq.Worker)


async def testing() -> None:
    clock: jobq.Clock = FrozenClock(datetime.now(UTC))
    assert_type(drain(aqueue, max_jobs=3), int)
    assert_type(await adrain(queue, with_scheduled=True), int)
    seen: list[tuple[int, str | None]] = []
    assert_type(perform(edit, Photo("u"), attempt=2, progress=seen, queue=queue), Edited)
    assert_type(await aperform(resize, Photo("u"), state="s", cancelled=True), Edited)
    assert_type(perform(tick), int)
    assert_type(assert_enqueued(queue, edit, {"url": "u"}, count=1, owner="ada"), list[jobq.Job])
    assert_not_enqueued(aqueue, "by_name", queue="images", delay=timedelta(hours=1))
    perform(edit, Edited("u"))  # type: ignore[misc]
    perform(edit, Photo("u"), colour="red")  # type: ignore[call-overload]
    assert_enqueued(queue, edit, colour="red")  # type: ignore[call-arg]
    print(clock)
