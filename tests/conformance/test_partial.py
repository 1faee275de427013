"""Partial results: seen while the job runs, kept when it fails, gone when there is a result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import attrs
import pytest

import jobq
from jobq.backends import ops
from jobq.testing import adrain, drain, perform
from tests.conformance.situations import claim, finish, run

ONE_TRY = jobq.Retry(max_attempts=1)


async def until(queue: jobq.AsyncQueue, job: jobq.Job, partial: Any) -> jobq.Job:
    """The job when it shows that."""
    async with asyncio.timeout(20):
        while (found := await queue.get(job)).partial != partial:
            await asyncio.sleep(0.01)
    return found


async def test_what_a_handler_shows_is_seen_before_it_ends(aqueue, router):
    go = asyncio.Event()

    @router.handler("paint")
    async def paint(payload: dict, job: jobq.JobContext) -> dict:
        await job.partial("image:1", {"url": "a.png"})
        await go.wait()
        await job.partial("image:2", None)
        await job.partial("image:1", {"url": "b.png"})
        await asyncio.Event().wait()

    job = await aqueue.enqueue("paint", {})
    async with jobq.Worker(aqueue, grace=0).running():
        first = await until(aqueue, job, {"image:1": {"url": "a.png"}})
        go.set()
        both = {"image:1": {"url": "b.png"}, "image:2": None}
        second = await until(aqueue, job, both)
    assert (first.status, second.status) == ("processing", "processing")
    assert second.version > first.version > job.version
    assert second.to_dict()["partial"] == both


async def test_a_handler_in_a_thread_shows_parts_as_well(aqueue, router):
    loop, go = asyncio.get_running_loop(), asyncio.Event()

    @router.handler("paint")
    def paint(payload: dict, job: jobq.SyncJobContext) -> None:
        job.partial("image", [1, 2])
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result()

    job = await aqueue.enqueue("paint", {})
    async with jobq.Worker(aqueue).running():
        await until(aqueue, job, {"image": [1, 2]})
        go.set()


@pytest.mark.parametrize("error", [jobq.Permanent("no"), jobq.Cancel("no"), ValueError("no")])
def test_parts_of_a_job_that_does_not_complete_stay(queue, router, error):
    @router.handler("paint", retry=ONE_TRY)
    async def paint(payload: dict, job: jobq.JobContext) -> None:
        await job.partial("image", "a.png")
        raise error

    job = queue.enqueue("paint", {})
    drain(queue)
    found = queue.get(job.id)
    assert found.status in ("failed", "cancelled")
    assert found.partial == {"image": "a.png"}


def test_the_result_takes_the_place_of_the_parts(queue, router):
    @router.handler("paint")
    async def paint(payload: dict, job: jobq.JobContext) -> list:
        await job.partial("image", "a.png")
        return ["a.png"]

    job = queue.enqueue("paint", {})
    drain(queue)
    found = queue.get(job.id)
    assert (found.partial, found.result) == (None, ["a.png"])


def shown(queue: jobq.Queue, claimed: Any, text: str) -> list[str]:
    """Store parts as a worker does; the ids of the jobs where that was accepted."""
    facts = {"id": claimed.id, "fence": claimed.fence, "progress": 0, "message": None}
    stored: list[str] = run(queue, ops.progress, [facts | {"partial": text}])
    return stored


@pytest.mark.parametrize(
    "ends",
    [
        finish,
        lambda queue, claimed: queue.set_status(claimed.id, "completed", result=1),
        lambda queue, claimed: queue.retry(claimed.id),
    ],
    ids=["completed", "completed by hand", "retried"],
)
def test_stored_parts_are_gone_when_a_job_completes_or_begins_anew(
    queue, known, ends: Callable[[jobq.Queue, Any], object]
):
    job = queue.enqueue("work", {})
    (claimed,) = claim(queue)
    assert shown(queue, claimed, '{"a":1}') == [job.id]
    assert queue.get(job.id).partial == {"a": 1}
    ends(queue, claimed)
    assert queue.get(job.id).partial is None


def test_parts_of_an_attempt_that_has_lost_its_job_are_refused(queue, known):
    job = queue.enqueue("work", {})
    (claimed,) = claim(queue)
    queue.retry(job.id)
    assert shown(queue, claimed, '{"late":1}') == []
    assert queue.get(job.id).partial is None


async def test_parts_stay_until_the_next_attempt_shows_its_own(aqueue, router):
    @router.handler("paint", retry=jobq.Retry(backoff=jobq.Fixed(0)))
    async def paint(payload: dict, job: jobq.JobContext) -> None:
        seen.append((await aqueue.get(job.id)).partial)
        await job.partial(f"try {job.attempt}", True)
        if job.attempt < 3:
            raise ValueError("again")
        raise jobq.Permanent("enough")

    seen: list[Any] = []
    job = await aqueue.enqueue("paint", {})
    await adrain(aqueue)
    assert seen == [None, {"try 1": True}, {"try 2": True}]
    assert (await aqueue.get(job.id)).partial == {"try 3": True}


@pytest.mark.parametrize(
    "key, value, says",
    [
        ("", 1, "key must be text"),
        (None, 1, "the key is text"),
        (5, 1, "key must be text"),
        ("a\x00b", 1, "NUL"),
        ("image", {1, 2}, "partial 'image'"),
        ("image", float("nan"), "partial 'image'"),
        ("image", "x" * 70_000, r"Bounds\(partial=…\)"),
    ],
)
def test_what_cannot_be_shown_is_the_handlers_error_and_says_why(key, value, says):
    router = jobq.Router()

    @router.handler("paint")
    async def paint(payload: dict, job: jobq.JobContext) -> None:
        await job.partial("fine", 1)
        await job.partial(key, value)

    partials: dict[str, Any] = {}
    with pytest.raises(jobq.OptionError, match=says):
        perform(paint, {}, partials=partials)
    assert partials == {"fine": 1}


def test_all_parts_together_have_a_bound(url, router):
    @router.handler("paint")
    async def paint(payload: dict, job: jobq.JobContext) -> None:
        for n in range(7):
            await job.partial(f"{n}", "1234567")
        with pytest.raises(jobq.OptionError, match="105 bytes"):
            await job.partial("7", "1234567")
        raise jobq.Permanent("done")

    bounds = jobq.Bounds(partial=100)
    with jobq.Queue(url, router=router, bounds=bounds) as queue:
        job = queue.enqueue("paint", {})
        drain(queue)
        assert queue.get(job.id).partial == {f"{n}": "1234567" for n in range(7)}


def test_parts_may_be_what_results_may_be():
    @attrs.frozen
    class Image:
        url: str

    router = jobq.Router()

    @router.handler("paint")
    def paint(payload: dict, job: jobq.SyncJobContext) -> None:
        job.partial("image", Image("a.png"))

    shown: dict[str, Any] = {}
    perform(paint, {}, partials=shown)
    assert shown == {"image": Image("a.png")}
