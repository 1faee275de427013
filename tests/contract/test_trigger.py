"""Jobs that the app's own process runs on the side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import jobq
from jobq.http import atrigger_worker, trigger_worker

ADD = {"a": 1, "b": 2}


@pytest.fixture(autouse=True)
def _leaves_nothing_running() -> Iterator[None]:
    yield
    for thread in sides():
        thread.join()


def sides() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "jobq trigger"]


def test_who_waits_for_a_job_is_told_its_result(queue: jobq.Queue) -> None:
    job = queue.enqueue("add", ADD)
    told = trigger_worker(queue, wait_for_job_id=job.id)
    assert told == {"success": True, "message": "completed", "jobId": job.id, "result": 3}


def test_who_waits_for_a_job_that_fails_is_told_why(queue: jobq.Queue) -> None:
    job = queue.enqueue("fail", {})
    told = trigger_worker(queue, wait_for_job_id=job.id)
    assert (told["success"], told["jobId"], told["result"]) == (False, job.id, None)
    assert told["message"] == "failed: ValueError: the paper is jammed"


def test_who_waits_too_long_is_told_so(queue: jobq.Queue) -> None:
    job = queue.enqueue("add", ADD, delay=3600)
    told = trigger_worker(queue, wait_for_job_id=job.id, timeout_ms=10)
    assert told == {"success": False, "message": "timeout", "jobId": job.id, "result": None}


def test_who_does_not_wait_is_answered_at_once(queue: jobq.Queue, router: jobq.Router) -> None:
    going = threading.Event()

    @router.handler("held")
    def held(payload: Any) -> None:
        going.wait(20)

    job = queue.enqueue("held", {})
    told = trigger_worker(queue)
    assert told == {"success": True, "message": "triggered", "jobId": None, "result": None}
    assert not queue.get(job).status.finished
    going.set()
    assert queue.wait(job, 20).status == "completed"


def test_all_who_ask_share_one_thread_and_nobodys_job_is_left(
    queue: jobq.Queue, router: jobq.Router
) -> None:
    ran: list[int] = []

    @router.handler("count")
    def count(payload: dict[str, int]) -> None:
        ran.append(payload["n"])

    for n in range(10):
        queue.enqueue("count", {"n": n})
        trigger_worker(queue)
        assert len(sides()) == 1
    for thread in sides():
        thread.join()
    assert sorted(ran) == list(range(10))


async def test_asynchronous_code_awaits_it(aqueue: jobq.AsyncQueue) -> None:
    job = await aqueue.enqueue("add", ADD)
    assert (await atrigger_worker(aqueue, wait_for_job_id=job.id))["result"] == 3
    late = await aqueue.enqueue("add", ADD, delay=3600)
    told = await atrigger_worker(aqueue, wait_for_job_id=late.id, timeout_ms=10)
    assert (told["success"], told["message"]) == (False, "timeout")
    assert (await atrigger_worker(aqueue))["message"] == "triggered"
