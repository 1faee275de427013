"""Many who wait cost the database no more than one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest

import jobq
from jobq.http import JobsApi, Request, Response, Scope, Stream
from jobq.http.watch import Watcher, watcher_of

WAITERS = 1000
JOBS = 100


class Calls(jobq.Observer):
    """Counts the calls of the database, by what they were for."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()

    def database_called(self, op: str, seconds: float, error: BaseException | None) -> None:
        self.made[op] += 1


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def sessions(url: str) -> int:
    """How many connections the queue has, where that can be asked."""
    if url.startswith("sqlite"):
        return 0
    with psycopg.connect(url) as connection:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'jobq%'"
        [(count,)] = connection.execute(sql).fetchall()
        return int(count)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["polls", "streams"])
async def test_a_thousand_waiters_share_one_look_at_the_database(url: str, how: str) -> None:
    calls = Calls()
    with jobq.Queue(url, router=jobq.Router(), observers=[calls]) as queue:
        jobs = [await queue.aio.enqueue("outside", {}) for _ in range(JOBS)]
        times = {"longest_wait": 120, "longest_stream": 120, "heartbeat": 60}
        api = JobsApi(queue, access=Everybody(), **times)
        begin = poll if how == "polls" else follow
        watcher = watcher_of(queue._config)
        waiting: list[asyncio.Task[str]] = []
        while len(waiting) < WAITERS:  # each asks for its job once, and that takes a connection
            waiting += [asyncio.create_task(begin(api, job.id)) for job in jobs]
            await until(partial(all_wait, watcher, len(waiting)))

        before = Counter(calls.made)
        await until(lambda: calls.made["versions"] >= before["versions"] + 3)
        meanwhile = calls.made - before
        assert set(meanwhile) == {"versions"}, "who waits asks nothing himself"
        assert sessions(url) <= 10 + 1  # the pool's, and the watcher's

        before = Counter(calls.made)
        await queue.aio.set_status(jobs[0], "completed", result="here")
        told = [task for n, task in enumerate(waiting) if n % JOBS == 0]
        assert {*await asyncio.gather(*told)} == {"completed"}
        assert (calls.made - before)["get_many"] == 1, "they are told from one answer"

        assert await queue.aio.cancel_where() == JOBS - 1
        assert Counter(await asyncio.gather(*waiting)) == {
            "completed": WAITERS // JOBS,
            "cancelled": WAITERS - WAITERS // JOBS,
        }
        assert watcher.waiting == 0
        await queue.aio.aclose()


def all_wait(watcher: Watcher, many: int) -> bool:
    return watcher.waiting == many


class Everybody:
    """Lets everybody see everything."""

    def decide(self, request: Any, action: str) -> Any:
        return Scope()
        yield


async def poll(api: JobsApi, id: str) -> str:
    answer = await api.ahandle("/{id}", ask(id, "", "wait=120"), id=id)
    assert isinstance(answer, Response)
    return status_in(answer.body)


async def follow(api: JobsApi, id: str) -> str:
    answer = await api.ahandle("/{id}/events", ask(id, "/events"), id=id)
    assert isinstance(answer, Stream)
    last = b""
    async for chunk in api.achunks(answer):
        last = chunk
    assert b"event: end" in last
    return status_in(last)


def ask(id: str, tail: str, query: str = "") -> Request:
    return Request(method="GET", path=f"/jobs/{id}{tail}", query=query)


def status_in(body: bytes) -> str:
    return body.partition(b'"status":"')[2].partition(b'"')[0].decode()
