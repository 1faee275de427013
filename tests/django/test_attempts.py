"""Whatever an attempt runs, it uses the ORM on connections that are looked after."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db import connections

import jobq
from jobq.contrib.django import DjangoQueue
from jobq.contrib.django._worker import worker_queue
from tests.django.shop.models import Order

Seen = list[Any]


@pytest.fixture
def router() -> jobq.Router:
    return jobq.Router()


@pytest.fixture
def own(alias: str, router: jobq.Router) -> DjangoQueue:
    """A queue with handlers of its own."""
    Order.objects.using(alias).create(total=5)
    return DjangoQueue(alias, router=router)


@pytest.fixture
def used(alias: str) -> Seen:
    """The connections that the ORM has used, each with the thread that it was used in."""
    return []


def note_connection(alias: str, used: Seen) -> None:
    """Use the ORM."""
    assert Order.objects.using(alias).count() == 1
    used.append((threading.get_ident(), connections[alias]))


def expect_own_and_closed(used: Seen, attempts: int) -> None:
    assert len({id(connection) for _, connection in used}) == attempts
    assert threading.get_ident() not in {thread for thread, _ in used}
    assert [connection.connection for _, connection in used] == [None] * len(used)


def work_off(queue: DjangoQueue) -> int:
    return asyncio.run(jobq.Worker(worker_queue(queue), concurrency=2).run_once())


def test_two_batches_at_a_time_have_a_connection_each(
    own: DjangoQueue, router: jobq.Router, alias: str, used: Seen
) -> None:
    meeting = threading.Barrier(2, timeout=20)

    @router.handler("batch", batch=2)
    async def batch(numbers: list[int]) -> list[int]:
        await sync_to_async(note_connection)(alias, used)
        await sync_to_async(meeting.wait)()  # they would stand in line for one thread
        return numbers

    jobs = [own.enqueue("batch", number) for number in range(4)]
    assert work_off(own) == 4
    assert [job.result for job in own.get_many(jobs)] == [0, 1, 2, 3]
    expect_own_and_closed(used, attempts=2)


def test_a_batch_handler_in_a_thread_uses_the_orm(
    own: DjangoQueue, router: jobq.Router, alias: str
) -> None:
    @router.handler("batch", batch=10)
    def batch(numbers: list[int], jobs: list[jobq.SyncJobContext]) -> list[int]:
        return [number + Order.objects.using(alias).count() for number in numbers]

    jobs = [own.enqueue("batch", number) for number in range(3)]
    assert work_off(own) == 3
    assert [job.result for job in own.get_many(jobs)] == [1, 2, 3]


@pytest.mark.parametrize("is_async", [True, False])
def test_middleware_uses_the_orm_around_handlers_of_both_kinds(
    own: DjangoQueue, router: jobq.Router, alias: str, used: Seen, is_async: bool
) -> None:
    @router.middleware
    async def around(job: jobq.JobContext, call_next: Any) -> Any:
        await sync_to_async(note_connection)(alias, used)
        return await call_next()

    if is_async:

        @router.handler("count")
        async def count(payload: None) -> int:
            return await Order.objects.using(alias).acount()
    else:

        @router.handler("count")
        def count_in_thread(payload: None) -> int:
            return Order.objects.using(alias).count()

    jobs = [own.enqueue("count") for _ in range(2)]
    assert work_off(own) == 2
    assert [job.result for job in own.get_many(jobs)] == [1, 1]
    expect_own_and_closed(used, attempts=2)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_verifier_uses_the_orm(
    own: DjangoQueue, router: jobq.Router, alias: str, used: Seen, is_async: bool
) -> None:
    async def verify(payload: None) -> str:
        await sync_to_async(note_connection)(alias, used)
        return "found"

    def verify_in_thread(payload: None) -> str:
        assert Order.objects.using(alias).count() == 1
        return "found"

    verifier = verify if is_async else verify_in_thread

    at_once = jobq.Retry(backoff=jobq.Fixed(0))

    @router.handler("pay", on_ambiguous="verify", verify=verifier, retry=at_once)
    def pay(payload: None) -> str:
        raise httpx.ReadTimeout("whether it was paid, nobody can tell")

    job = own.enqueue("pay")
    assert work_off(own) == 2
    assert own.get(job).result == "found"
    expect_own_and_closed(used, attempts=1 if is_async else 0)
