"""Jobs in the caller's transaction: enqueued in it, and completed in it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

import jobq
from jobq.backends._statement import Call, atomic
from tests.conformance.callers import ASYNC, SYNC
from tests.conformance.situations import sql

DATABASES = {"sqlite": "sqlite", "postgresql": "postgres"}


def matrix(kinds: list[Any], *, flavours: bool = True) -> list[Any]:
    """Every kind of connection on every database that it has, in every flavour."""
    return [
        pytest.param(database, open_caller, flavour, id=f"{name}-{database}-{flavour}")
        for name, open_caller, database, known in kinds
        for flavour in (known if flavours else known[:1])
    ]


@pytest.fixture
def url(request: pytest.FixtureRequest, database: str) -> str:
    """The URL of an empty queue on the database of the kind of connection."""
    return str(request.getfixturevalue(DATABASES[database]))


@pytest.fixture(autouse=True)
def app_rows(queue: jobq.Queue) -> Iterator[None]:
    """A table of the application's, beside jobq's."""
    sql(queue, "CREATE TABLE app_rows (name TEXT)")
    yield
    sql(queue, "DROP TABLE app_rows")


def rows(queue: jobq.Queue) -> list[str]:
    return [row[0] for row in sql(queue, "SELECT name FROM app_rows ORDER BY name")]


def insert(name: str) -> str:
    return f"INSERT INTO app_rows (name) VALUES ('{name}')"


sync_kinds = pytest.mark.parametrize("database, open_caller, flavour", matrix(SYNC))
async_kinds = pytest.mark.parametrize("database, open_caller, flavour", matrix(ASYNC))


# --- enqueue, synchronously ---------------------------------------------------------------------


@sync_kinds
def test_a_job_appears_with_the_commit_of_its_transaction(
    queue: jobq.Queue, url: str, open_caller: Any, flavour: str
) -> None:
    with open_caller(url, flavour, autocommit=False) as caller:
        caller.execute(insert("before"))
        job = queue.enqueue("t", {"a": "ü"}, owner="me", metadata={"m": 1}, **caller.option)
        keyed = queue.enqueue("t", {}, unique_key="k", **caller.option)
        many = queue.enqueue_many([("t", {"n": 1}), ("t", {"n": 2})], **caller.option)
        caller.execute(insert("after"))
        assert queue.list().jobs == ()
        assert rows(queue) == []
        caller.commit()
        assert queue.get_many([job, keyed]) == [job, keyed]
        assert queue.get_many([outcome.job for outcome in many]) == [o.job for o in many]
    assert (job.payload, job.owner, job.metadata, job.created) == ({"a": "ü"}, "me", {"m": 1}, True)
    assert rows(queue) == ["after", "before"]


@sync_kinds
def test_a_job_vanishes_with_the_rollback_of_its_transaction(
    queue: jobq.Queue, url: str, open_caller: Any, flavour: str
) -> None:
    with open_caller(url, flavour, autocommit=False) as caller:
        caller.execute(insert("row"))
        queue.enqueue("t", {}, unique_key="k", **caller.option)
        queue.enqueue_many([("t", {"n": 1})], **caller.option)
        caller.rollback()
        assert queue.list().jobs == ()
        assert rows(queue) == []
        assert queue.enqueue("t", {"other": 1}, unique_key="k").created


@sync_kinds
def test_a_job_is_there_at_once_in_autocommit(
    queue: jobq.Queue, url: str, open_caller: Any, flavour: str
) -> None:
    if flavour == "repeatable read":  # a level of transactions: AUTOCOMMIT takes its place
        flavour = "default"
    with open_caller(url, flavour, autocommit=True) as caller:
        job = queue.enqueue("t", {"a": 1}, **caller.option)
        (outcome,) = queue.enqueue_many([("t", {})], **caller.option)
        assert queue.get_many([job, outcome.job]) == [job, outcome.job]


@sync_kinds
def test_a_held_key_answers_within_the_transaction_and_leaves_it_usable(
    queue: jobq.Queue, url: str, open_caller: Any, flavour: str
) -> None:
    holder = queue.enqueue("t", {"a": 1}, unique_key="k")
    with open_caller(url, flavour, autocommit=False) as caller:
        same = queue.enqueue("t", {"a": 1}, unique_key="k", **caller.option)
        assert (same, same.created) == (holder, False)
        with pytest.raises(jobq.DuplicateJob) as caught:
            queue.enqueue("t", {"a": 2}, unique_key="k", **caller.option)
        assert caught.value.existing_id == holder.id
        first, second, third = queue.enqueue_many(
            [
                ("t", {"a": 1}, {"unique_key": "k"}),
                ("t", {"a": 2}, {"unique_key": "k"}),
                ("t", {"a": 3}, {"unique_key": "l"}),
            ],
            **caller.option,
        )
        assert (first.job, first.created) == (holder, False)
        assert isinstance(second.error, jobq.DuplicateJob)
        assert third.created
        caller.execute(insert("row"))
        caller.commit()
    assert rows(queue) == ["row"]
    assert queue.counts()["pending"] == 2


@pytest.mark.parametrize(
    "database, open_caller, flavour",
    [case for case in matrix(SYNC) if case.values[2] == "repeatable read"],
)
def test_a_serialization_failure_passes_through_unchanged(
    queue: jobq.Queue, url: str, open_caller: Any, flavour: str
) -> None:
    with open_caller(url, flavour, autocommit=False) as caller:
        caller.execute("SELECT count(*) FROM app_rows")
        holder = queue.enqueue("t", {"a": 1}, unique_key="k")
        with pytest.raises((psycopg.errors.SerializationFailure, DBAPIError)) as caught:
            queue.enqueue("t", {"a": 1}, unique_key="k", **caller.option)
        error = getattr(caught.value, "orig", caught.value)
        assert isinstance(error, psycopg.errors.SerializationFailure)
        caller.rollback()
        again = queue.enqueue("t", {"a": 1}, unique_key="k", **caller.option)
        assert (again, again.created) == (holder, False)
        caller.commit()


# --- enqueue, asynchronously --------------------------------------------------------------------


@async_kinds
async def test_a_job_appears_with_the_commit_of_its_async_transaction(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, url: str, open_caller: Any, flavour: str
) -> None:
    async with open_caller(url, flavour, autocommit=False) as caller:
        await caller.execute(insert("before"))
        job = await aqueue.enqueue("t", {"a": "ü"}, owner="me", metadata={"m": 1}, **caller.option)
        keyed = await aqueue.enqueue("t", {}, unique_key="k", **caller.option)
        items = [("t", {"n": 1}), ("t", {"n": 2})]
        many = await aqueue.enqueue_many(items, **caller.option)
        await caller.execute(insert("after"))
        assert (await aqueue.list()).jobs == ()
        assert rows(queue) == []
        await caller.commit()
        jobs = [job, keyed, *(outcome.job for outcome in many)]
        assert await aqueue.get_many(jobs) == jobs
    assert (job.payload, job.owner, job.metadata, job.created) == ({"a": "ü"}, "me", {"m": 1}, True)
    assert rows(queue) == ["after", "before"]


@async_kinds
async def test_a_job_vanishes_with_the_rollback_of_its_async_transaction(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, url: str, open_caller: Any, flavour: str
) -> None:
    async with open_caller(url, flavour, autocommit=False) as caller:
        await caller.execute(insert("row"))
        await aqueue.enqueue("t", {}, unique_key="k", **caller.option)
        await aqueue.enqueue_many([("t", {"n": 1})], **caller.option)
        await caller.rollback()
        assert (await aqueue.list()).jobs == ()
        assert rows(queue) == []


@async_kinds
async def test_a_job_is_there_at_once_in_async_autocommit(
    aqueue: jobq.AsyncQueue, url: str, open_caller: Any, flavour: str
) -> None:
    if flavour == "repeatable read":
        flavour = "default"
    async with open_caller(url, flavour, autocommit=True) as caller:
        job = await aqueue.enqueue("t", {"a": 1}, **caller.option)
        (outcome,) = await aqueue.enqueue_many([("t", {})], **caller.option)
        assert await aqueue.get_many([job, outcome.job]) == [job, outcome.job]


@async_kinds
async def test_a_held_key_answers_within_the_async_transaction_and_leaves_it_usable(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, url: str, open_caller: Any, flavour: str
) -> None:
    holder = await aqueue.enqueue("t", {"a": 1}, unique_key="k")
    async with open_caller(url, flavour, autocommit=False) as caller:
        same = await aqueue.enqueue("t", {"a": 1}, unique_key="k", **caller.option)
        assert (same, same.created) == (holder, False)
        with pytest.raises(jobq.DuplicateJob) as caught:
            await aqueue.enqueue("t", {"a": 2}, unique_key="k", **caller.option)
        assert caught.value.existing_id == holder.id
        await caller.execute(insert("row"))
        await caller.commit()
    assert rows(queue) == ["row"]


@pytest.mark.parametrize(
    "database, open_caller, flavour",
    [case for case in matrix(ASYNC) if case.values[2] == "repeatable read"],
)
async def test_an_async_serialization_failure_passes_through_unchanged(
    aqueue: jobq.AsyncQueue, url: str, open_caller: Any, flavour: str
) -> None:
    async with open_caller(url, flavour, autocommit=False) as caller:
        await caller.execute("SELECT count(*) FROM app_rows")
        await aqueue.enqueue("t", {"a": 1}, unique_key="k")
        with pytest.raises((psycopg.errors.SerializationFailure, DBAPIError)) as caught:
            await aqueue.enqueue("t", {"a": 1}, unique_key="k", **caller.option)
        error = getattr(caught.value, "orig", caught.value)
        assert isinstance(error, psycopg.errors.SerializationFailure)
        await caller.rollback()


# --- complete -----------------------------------------------------------------------------------


class Handling:
    """What a handler does with a transaction of its own, attempt by attempt."""

    def __init__(self, queue: jobq.Queue, url: str, open_caller: Any, flavour: str) -> None:
        self.queue = queue
        self.url = url
        self.open_caller = open_caller
        self.flavour = flavour
        self.runs = 0
        self.errors: list[str] = []
        self.heartbeat = threading.Event()
        self.heartbeat.set()
        self.ended = False

    def handle(self, payload: list[str], job: jobq.SyncJobContext) -> str:
        step = payload[self.runs]
        self.runs += 1
        if step == "lose":
            self.queue.retry(job.id)
        with self.open_caller(self.url, self.flavour, autocommit=step == "autocommit") as caller:
            try:
                caller.execute(insert(step))
                job.complete({"by": step}, **caller.option)
            except jobq.LeaseLost as error:
                self.errors.append(str(error))
                caller.rollback()
                raise
            if step == "roll back":
                caller.rollback()
            else:
                caller.commit()
        self.heartbeat.wait(30)
        self.ended = True
        if step == "commit and fail":
            raise RuntimeError("after the commit")
        return "what a handler returns after its completion counts for nothing"

    async def ahandle(self, payload: list[str], job: jobq.JobContext) -> str:
        step = payload[self.runs]
        self.runs += 1
        if step == "lose":
            await self.queue.aio.retry(job.id)
        autocommit = step == "autocommit"
        async with self.open_caller(self.url, self.flavour, autocommit=autocommit) as caller:
            try:
                await caller.execute(insert(step))
                await job.complete({"by": step}, **caller.option)
            except jobq.LeaseLost as error:
                self.errors.append(str(error))
                await caller.rollback()
                raise
            if step == "roll back":
                await caller.rollback()
            else:
                await caller.commit()
        await asyncio.to_thread(self.heartbeat.wait, 30)
        self.ended = True
        if step == "commit and fail":
            raise RuntimeError("after the commit")
        return "what a handler returns after its completion counts for nothing"


class Heartbeats(jobq.Observer):
    """Tells when a renewal has come that found the job completed."""

    def __init__(self, second: threading.Event) -> None:
        self._second = second
        self._renewals = 0

    def database_called(self, op: str, seconds: float, error: BaseException | None) -> None:
        self._renewals += op == "renew"
        if self._renewals == 2:
            self._second.set()


@pytest.fixture
def handling(
    request: pytest.FixtureRequest,
    queue: jobq.Queue,
    router: jobq.Router,
    url: str,
    open_caller: Any,
    flavour: str,
) -> Handling:
    """A handler of the type `h` that follows its payload on one kind of connection."""
    handling = Handling(queue, url, open_caller, flavour)
    is_async = open_caller in [kind[1] for kind in ASYNC]
    function: Any = handling.ahandle if is_async else handling.handle
    router.handler("h", retry=jobq.Retry(backoff=jobq.Fixed(0)))(function)
    return handling


completing = pytest.mark.parametrize(
    "database, open_caller, flavour", [*matrix(SYNC), *matrix(ASYNC)]
)
completing_by_default = pytest.mark.parametrize(
    "database, open_caller, flavour",
    [*matrix(SYNC, flavours=False), *matrix(ASYNC, flavours=False)],
)


async def run_one(aqueue: jobq.AsyncQueue, steps: list[str], **options: Any) -> jobq.Job:
    """Run one job to its end, between two heartbeats: in a long transaction one may come first."""
    async with jobq.Worker(aqueue).running():
        while not await aqueue.workers():
            await asyncio.sleep(0)
        job = await aqueue.enqueue("h", steps, **options)
        with suppress(jobq.JobNotFound):
            await aqueue.wait(job.id, timeout=30)
    return job


async def words(aqueue: jobq.AsyncQueue, job: jobq.Job) -> list[tuple[str, str | None]]:
    return [(a.outcome, a.error_code) for a in await aqueue.history(job.id)]


@completing
async def test_an_outcome_commits_together_with_the_rows_of_the_handler(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, handling: Handling
) -> None:
    job = await run_one(aqueue, ["commit"])
    done = await aqueue.get(job.id)
    assert (done.status, done.result, done.progress) == ("completed", {"by": "commit"}, 100)
    assert (done.worker, done.lease_until, done.completed_at is None) == (None, None, False)
    assert rows(queue) == ["commit"]
    assert await words(aqueue, job) == [("completed", None)]


@completing_by_default
async def test_an_outcome_stands_at_once_in_autocommit(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, handling: Handling
) -> None:
    job = await run_one(aqueue, ["autocommit"])
    assert (await aqueue.get(job.id)).result == {"by": "autocommit"}


@completing
async def test_a_lost_job_takes_the_rows_of_its_handler_along(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, handling: Handling
) -> None:
    job = await run_one(aqueue, ["lose", "commit"])
    done = await aqueue.get(job.id)
    assert (done.status, done.result) == ("completed", {"by": "commit"})
    assert rows(queue) == ["commit"]
    assert handling.errors == [
        f"job {job.id} is no longer held by this claim; its write was refused"
    ]
    assert await words(aqueue, job) == [("disowned", None), ("completed", None)]


@completing
async def test_a_completion_that_was_rolled_back_is_tried_again(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, handling: Handling
) -> None:
    job = await run_one(aqueue, ["roll back", "commit"])
    assert (await aqueue.get(job.id)).result == {"by": "commit"}
    assert rows(queue) == ["commit"]
    assert await words(aqueue, job) == [("retried", "not_committed"), ("completed", None)]


@completing_by_default
async def test_a_handler_that_fails_after_its_commit_has_completed_its_job(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, handling: Handling
) -> None:
    job = await run_one(aqueue, ["commit and fail"])
    done = await aqueue.get(job.id)
    assert (done.status, done.result) == ("completed", {"by": "commit and fail"})
    assert rows(queue) == ["commit and fail"]
    assert await words(aqueue, job) == [("completed", None)]


@pytest.mark.parametrize(
    "database, open_caller, flavour",
    [
        case
        for case in completing_by_default.args[1]
        if str(case.id).startswith(("sqlite3", "psycopg"))
    ],
)
async def test_a_heartbeat_does_not_disturb_a_handler_that_has_completed_its_job(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, handling: Handling
) -> None:
    handling.heartbeat.clear()
    aqueue._config.observers._observers = (Heartbeats(handling.heartbeat),)
    job = await aqueue.enqueue("h", ["commit"])
    assert await jobq.Worker(aqueue, lease=1.5).run_once() == 1
    assert (await aqueue.get(job.id)).result == {"by": "commit"}
    assert handling.ended
    assert await words(aqueue, job) == [("completed", None)]


@completing_by_default
async def test_a_job_that_is_not_kept_is_gone_after_its_own_completion(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, handling: Handling
) -> None:
    job = await run_one(aqueue, ["commit"], keep=False)
    with pytest.raises(jobq.JobNotFound):
        await aqueue.get(job.id)
    assert rows(queue) == ["commit"]
    assert sql(queue, "SELECT count(*) FROM jobq_attempt") == [(0,)]


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("result", [{1}, "x" * 2_000_000], ids=["not JSON", "too large"])
async def test_an_unstorable_result_of_a_completion_fails_the_job_without_another_try(
    aqueue: jobq.AsyncQueue, router: jobq.Router, result: Any
) -> None:
    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        await job.complete(result, connection=object())

    job = await aqueue.enqueue(handle)
    assert await jobq.Worker(aqueue).run_once() == 1
    failed = await aqueue.get(job.id)
    assert (failed.status, failed.error_code, failed.attempts) == ("failed", "result_unstorable", 1)


# --- in jobq's own transactions -----------------------------------------------------------------


@pytest.mark.parametrize("database", DATABASES)
async def test_a_unit_of_work_that_fails_half_way_leaves_nothing_behind(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue
) -> None:
    @atomic
    def half(_: Any) -> Any:
        yield Call(insert("first half"), {})
        raise LookupError("no second half")

    with pytest.raises(LookupError):
        queue._store().run(half)
    assert rows(queue) == []
    with pytest.raises(LookupError):
        await aqueue._store().run(half)
    assert rows(queue) == []
    await asyncio.gather(*(aqueue.enqueue("t", {}) for _ in range(3)))
    assert (await aqueue.counts())["pending"] == 3


# --- what is no connection ----------------------------------------------------------------------

SUPPORTED = "sqlite3, aiosqlite and psycopg connections, SQLAlchemy's Connection and Session"


@pytest.mark.parametrize("database", DATABASES)
def test_what_is_no_connection_is_refused_with_what_would_be(
    queue: jobq.Queue, url: str, database: str
) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    for thing in (object(), "sqlite:///jobs.db", engine, queue):
        with pytest.raises(
            jobq.OptionError, match=f"^cannot enqueue on .*: give one of {SUPPORTED}"
        ):
            queue.enqueue("t", {}, connection=thing)
    engine.dispose()
    assert queue.list().jobs == ()


@pytest.mark.parametrize("database, open_caller, flavour", matrix(SYNC, flavours=False))
def test_a_synchronous_connection_belongs_to_the_synchronous_face(
    queue: jobq.Queue, url: str, open_caller: Any, flavour: str
) -> None:
    with open_caller(url, flavour, autocommit=False) as caller:

        async def enqueue() -> None:
            async with jobq.AsyncQueue(url) as aqueue:
                await aqueue.enqueue("t", {}, **caller.option)

        with pytest.raises(jobq.OptionError, match=r"belongs to Queue \(queue\.sync\)"):
            asyncio.run(enqueue())


@pytest.mark.parametrize("database, open_caller, flavour", matrix(ASYNC, flavours=False))
async def test_an_asynchronous_connection_belongs_to_the_asynchronous_face(
    queue: jobq.Queue, url: str, open_caller: Any, flavour: str
) -> None:
    async with open_caller(url, flavour, autocommit=False) as caller:

        def enqueue() -> None:
            queue.enqueue("t", {}, **caller.option)

        with pytest.raises(jobq.OptionError, match=r"belongs to AsyncQueue \(queue\.aio\)"):
            await asyncio.to_thread(enqueue)


@pytest.mark.parametrize("database, open_caller, flavour", matrix(SYNC, flavours=False))
def test_a_connection_to_another_kind_of_database_is_refused(
    queue: jobq.Queue,
    url: str,
    open_caller: Any,
    flavour: str,
    database: str,
    request: pytest.FixtureRequest,
    tmp_path: Any,
) -> None:
    del url
    other = "postgres" if database == "sqlite" else "sqlite"
    with (
        jobq.Queue(request.getfixturevalue(other)) as elsewhere,
        open_caller(queue._config.url, flavour, autocommit=False) as caller,
        pytest.raises(jobq.OptionError, match=f"{database}, but this queue lives in"),
    ):
        elsewhere.enqueue("t", {}, **caller.option)


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_subclass_of_a_connection_is_one(queue: jobq.Queue, url: str) -> None:
    class Traced(sqlite3.Connection):
        pass

    connection = sqlite3.connect(url.removeprefix("sqlite:///"), factory=Traced)
    job = queue.enqueue("t", {}, connection=connection)
    assert queue.list().jobs == ()
    connection.commit()
    connection.close()
    assert queue.get(job) == job
