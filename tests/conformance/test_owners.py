"""No owner has more jobs than he may: waiting, however many enqueue at once, or running."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import jobq
from jobq._enqueue import new_row
from jobq.backends import ops
from jobq.testing import adrain, drain
from tests.conformance.situations import claim, finish, run


@pytest.fixture
def bounded(url: str, router: jobq.Router) -> Iterator[jobq.Queue]:
    """A queue where each owner may have three jobs waiting."""

    @router.handler("work")
    async def work(payload: dict) -> None: ...

    per_owner = jobq.PerOwner(queued=3)
    with jobq.Queue(url, router=router, per_owner=per_owner) as queue:
        yield queue


def fill(queue: jobq.Queue, owner: str = "ada", type: str = "work", jobs: int = 3) -> None:
    for _ in range(jobs):
        queue.enqueue(type, {}, owner=owner)


# --- waiting -----------------------------------------------------------------------------------


def test_one_job_more_than_an_owner_may_have_waiting_is_refused(bounded):
    fill(bounded)
    with pytest.raises(jobq.OwnerLimitExceeded, match="3 jobs of owner 'ada' are waiting") as error:
        bounded.enqueue("work", {}, owner="ada")
    assert (error.value.owner, error.value.limit, error.value.type) == ("ada", 3, None)
    bounded.enqueue("work", {}, owner="bob")
    bounded.enqueue("work", {})
    assert len(bounded.list(owner="ada").jobs) == 3


async def test_the_asynchronous_face_refuses_it_too(bounded):
    for _ in range(3):
        await bounded.aio.enqueue("work", {}, owner="ada")
    with pytest.raises(jobq.OwnerLimitExceeded):
        await bounded.aio.enqueue("work", {}, owner="ada")
    await bounded.aio.aclose()


def test_jobs_that_have_started_or_ended_make_room(bounded):
    fill(bounded)
    running, ended = claim(bounded, slots=2)
    finish(bounded, ended)
    fill(bounded, jobs=2)
    with pytest.raises(jobq.OwnerLimitExceeded):
        bounded.enqueue("work", {}, owner="ada")
    bounded.cancel(bounded.list(status="pending", owner="ada").jobs[0].id)
    fill(bounded, jobs=1)
    assert running.owner == "ada"


def test_a_handlers_bound_is_about_its_own_type_and_both_hold(bounded, router):
    @router.handler("slow", per_owner=jobq.PerOwner(queued=1))
    async def slow(payload: dict) -> None: ...

    bounded.enqueue("slow", {}, owner="ada")
    with pytest.raises(jobq.OwnerLimitExceeded, match="of type 'slow'"):
        bounded.enqueue("slow", {}, owner="ada")
    fill(bounded, jobs=2)
    with pytest.raises(jobq.OwnerLimitExceeded, match="3 jobs of owner"):
        bounded.enqueue("work", {}, owner="ada")


def test_asking_again_for_a_job_that_is_there_is_no_job_more(bounded):
    keyed = bounded.enqueue("work", {}, owner="ada", unique_key="k")
    asked = bounded.enqueue("work", {}, owner="ada", idempotency_key="i")
    fill(bounded, jobs=1)
    assert bounded.enqueue("work", {}, owner="ada", unique_key="k").id == keyed.id
    assert bounded.enqueue("work", {}, owner="ada", idempotency_key="i").id == asked.id
    with pytest.raises(jobq.DuplicateJob):
        bounded.enqueue("work", {"n": 1}, owner="ada", idempotency_key="i")
    [again, more] = bounded.enqueue_many(
        [("work", {}, {"owner": "ada", "unique_key": key}) for key in ("k", "l")]
    )
    assert again.job is not None
    assert again.job.id == keyed.id
    assert isinstance(more.error, jobq.OwnerLimitExceeded)


def test_many_at_once_are_stored_as_far_as_they_may(bounded):
    bounded.enqueue("work", {}, owner="ada")
    owners = ["ada", "bob", None, "ada", "ada", "bob", "ada"]
    items = [("work", {}, {"owner": owner} if owner else {}) for owner in owners]
    outcomes = bounded.enqueue_many(items)
    assert [outcome.created for outcome in outcomes] == [True, True, True, True, False, True, False]
    refused = [outcome.error for outcome in outcomes if not outcome.created]
    assert all(isinstance(error, jobq.OwnerLimitExceeded) for error in refused)
    assert Counter(job.owner for job in bounded.list().jobs) == {"ada": 3, "bob": 2, None: 1}


def test_a_batch_has_the_jobs_that_its_owner_may_have(bounded):
    batch = jobq.Batch(owner="ada")
    outcomes = bounded.enqueue_many([("work", {}, {"owner": "ada"})] * 5, batch=batch)
    assert sum(outcome.created for outcome in outcomes) == 3
    assert bounded.batch(batch).total == 3


def test_however_many_enqueue_at_once_no_owner_gets_more(bounded):
    together = threading.Barrier(6)
    refused: list[Exception] = []

    def enqueue(n: int) -> None:
        with jobq.Queue(
            bounded._config.url, router=bounded.router, per_owner=jobq.PerOwner(queued=3)
        ) as queue:
            queue.list()
            together.wait()
            for _ in range(4):
                try:
                    if n % 2:
                        queue.enqueue("work", {}, owner="ada")
                    else:
                        queue.enqueue_many([("work", {}, {"owner": "ada"})] * 2)
                except jobq.OwnerLimitExceeded as error:
                    refused.append(error)

    threads = [threading.Thread(target=enqueue, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bounded.list(owner="ada").jobs) == 3
    assert len(refused) >= 9


def test_a_callers_transaction_counts_what_it_has_stored_itself(bounded, url):
    bounded.list()
    connect = psycopg.connect if url.startswith("postgresql") else sqlite3.connect
    connection = connect(url.removeprefix("sqlite:///"))
    try:
        for _ in range(3):
            bounded.enqueue("work", {}, owner="ada", connection=connection)
        with pytest.raises(jobq.OwnerLimitExceeded):
            bounded.enqueue("work", {}, owner="ada", connection=connection)
        [refused] = bounded.enqueue_many([("work", {}, {"owner": "ada"})], connection=connection)
        assert isinstance(refused.error, jobq.OwnerLimitExceeded)
        connection.commit()
    finally:
        connection.close()
    assert len(bounded.list(owner="ada").jobs) == 3


def test_an_insert_that_is_sent_again_is_recognised_although_the_owner_has_no_room_left(bounded):
    row = new_row(bounded._config, jobq.NewJob(type="work", payload={}, owner="ada"))
    bounds = bounded._config.bounds_of("work")
    run(bounded, ops.insert_within, row, bounds)
    fill(bounded, jobs=2)
    assert run(bounded, ops.insert_within, row, bounds, again=True).id == row.id
    [job] = run(bounded, ops.insert_many_within, [row], {"work": bounds}, again=True)
    assert job.id == row.id


# --- running -----------------------------------------------------------------------------------


class Crowd:
    """A handler that tells how many jobs run for each owner, and waits to be let go."""

    def __init__(self) -> None:
        self.running: Counter[str | None] = Counter()
        self.most: Counter[str | None] = Counter()
        self.changed = asyncio.Condition()
        self.go = asyncio.Event()

    async def __call__(self, payload: dict, job: jobq.JobContext) -> None:
        self.running[job.owner] += 1
        self.most[job.owner] = max(self.most[job.owner], self.running[job.owner])
        async with self.changed:
            self.changed.notify_all()
        await self.go.wait()
        self.running[job.owner] -= 1

    async def until(self, **running: int) -> None:
        async with asyncio.timeout(20), self.changed:
            wanted = {None if owner == "nobody" else owner: n for owner, n in running.items()}
            await self.changed.wait_for(lambda: +self.running == wanted)


@pytest.mark.parametrize("where", ["queue", "handler"])
async def test_an_owner_has_so_many_jobs_running_and_nobody_waits_behind_them(url, where):
    router, crowd = jobq.Router(), Crowd()
    per_owner = jobq.PerOwner(running=2)

    @router.handler("work", per_owner=per_owner if where == "handler" else None)
    async def work(payload: dict, job: jobq.JobContext) -> None:
        await crowd(payload, job)

    options: dict[str, Any] = {"per_owner": per_owner} if where == "queue" else {}
    async with jobq.AsyncQueue(url, router=router, **options) as queue:
        owners = ["ada"] * 4 + ["bob"] * 2 + [None] * 3
        for owner in owners:
            await queue.enqueue("work", {}, **({"owner": owner} if owner else {}))
        async with jobq.Worker(queue, concurrency=10).running():
            await crowd.until(ada=2, bob=2, nobody=3)
            crowd.go.set()
            while (await queue.counts())["completed"] < len(owners):
                await asyncio.sleep(0.01)
    assert crowd.most == {"ada": 2, "bob": 2, None: 3}


def test_jobs_without_an_owner_are_limited_by_nothing(url, router):
    @router.handler("work", per_owner=jobq.PerOwner(running=1))
    async def work(payload: dict) -> None: ...

    with jobq.Queue(url, router=router, per_owner=jobq.PerOwner(running=1)) as queue:
        jobs = [queue.enqueue("work", {}) for _ in range(3)]
        with jobq.Queue(url, router=jobq.Router()) as stranger:
            jobs.append(stranger.enqueue("work", {}))
        assert drain(queue) == 4
        assert {str(queue.get(job.id).status) for job in jobs} == {"completed"}


async def test_a_job_that_waits_for_its_owners_other_jobs_says_so(aqueue, router):
    @router.handler("work", per_owner=jobq.PerOwner(running=1))
    async def work(payload: dict, job: jobq.JobContext) -> list:
        others = (await aqueue.list(status="pending")).jobs
        return [other.waiting_for and other.waiting_for.limit for other in others]

    first, _ = [await aqueue.enqueue("work", {}, owner="ada") for _ in range(2)]
    await adrain(aqueue)
    assert (await aqueue.get(first)).result == ["owner:ada:work"]
