"""Batch handlers: one call for many jobs, an outcome for each."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import jobq
from jobq.testing import aperform, perform
from tests.conformance.situations import sql


async def statuses(aqueue: jobq.AsyncQueue, jobs: list[jobq.Job]) -> list[tuple[str, Any]]:
    found = await aqueue.get_many([job.id for job in jobs])
    return [(job.status.value, job.result) for job in found]


async def enqueue(aqueue: jobq.AsyncQueue, handler: Any, *payloads: Any) -> list[jobq.Job]:
    return [await aqueue.enqueue(handler, payload) for payload in payloads]


@pytest.mark.parametrize("is_async", [True, False])
async def test_one_call_takes_many_jobs_and_gives_each_its_result(
    aqueue: jobq.AsyncQueue, router: jobq.Router, is_async: bool
) -> None:
    calls: list[list[str]] = []

    def double(texts: list[str]) -> list[str]:
        calls.append(texts)
        return [text * 2 for text in texts]

    async def adouble(texts: list[str]) -> list[str]:
        return double(texts)

    handler: Any = router.handler("double", batch=4)(adouble if is_async else double)
    jobs = await enqueue(aqueue, handler, *"abcdefghij")
    assert await jobq.Worker(aqueue, concurrency=2).run_once() == 10
    assert sorted(len(call) for call in calls) == [2, 4, 4]
    assert await statuses(aqueue, jobs) == [("completed", 2 * letter) for letter in "abcdefghij"]


async def test_each_job_of_a_batch_has_a_context_of_its_own(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("batch", batch=10)
    async def batch(payloads: list[int], jobs: list[jobq.JobContext]) -> list[str]:
        for payload, job in zip(payloads, jobs, strict=True):
            await job.progress(payload, f"at {payload}")
        return [job.id for job in jobs]

    jobs = await enqueue(aqueue, batch, 10, 20, 30)
    await jobq.Worker(aqueue).run_once()
    assert await statuses(aqueue, jobs) == [("completed", job.id) for job in jobs]
    found = await aqueue.get_many([job.id for job in jobs])
    assert [job.message for job in found] == ["at 10", "at 20", "at 30"]


async def test_an_exception_in_the_list_is_the_outcome_of_that_job_alone(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    seen: list[list[str]] = []

    @router.handler("batch", batch=10, retry=jobq.Retry(max_attempts=2, backoff=jobq.Fixed(0.0)))
    async def batch(texts: list[str]) -> list[str | Exception]:
        seen.append(texts)
        answers: dict[str, Exception] = {
            "bad": jobq.Permanent("bad_text", "no"),
            "flaky": ValueError("again"),
            "late": jobq.Snooze(3600),
        }
        return [answers.get(text, text) for text in texts]

    jobs = await enqueue(aqueue, batch, "good", "bad", "flaky", "late")
    await jobq.Worker(aqueue).run_once()
    assert seen == [["good", "bad", "flaky", "late"], ["flaky"]]
    found = await aqueue.get_many([job.id for job in jobs])
    assert [(job.status.value, job.error_code) for job in found] == [
        ("completed", None),
        ("failed", "bad_text"),
        ("failed", "ValueError"),
        ("pending", None),
    ]


async def test_what_the_call_raises_counts_for_all_its_jobs(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("batch", batch=10)
    async def batch(texts: list[str]) -> None:
        raise jobq.Permanent("gone", "the service is no more")

    jobs = await enqueue(aqueue, batch, "a", "b")
    await jobq.Worker(aqueue).run_once()
    found = await aqueue.get_many([job.id for job in jobs])
    assert [(job.status.value, job.error_code) for job in found] == [("failed", "gone")] * 2


async def test_a_payload_that_does_not_fit_fails_alone(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    got: list[list[int]] = []

    @router.handler("batch", batch=10)
    async def batch(numbers: list[int]) -> None:
        got.append(numbers)

    jobs = [await aqueue.enqueue("batch", payload) for payload in (1, 2, 3)]
    sql(
        aqueue.sync,
        "UPDATE jobq_job SET payload = '\"two\"' WHERE CAST(payload AS text) = '2'",
    )
    await jobq.Worker(aqueue).run_once()
    assert got == [[1, 3]]
    found = await aqueue.get_many([job.id for job in jobs])
    assert [(job.status.value, job.error_code) for job in found] == [
        ("completed", None),
        ("failed", "invalid_payload"),
        ("completed", None),
    ]


@pytest.mark.parametrize("answer", [["one"], ["1", "2", "3"], "ab", {"a": 1}, 7])
async def test_a_batch_must_return_as_many_results_as_it_got_jobs(
    aqueue: jobq.AsyncQueue, router: jobq.Router, answer: Any
) -> None:
    @router.handler("batch", batch=10)
    async def batch(texts: list[str]) -> Any:
        return answer

    jobs = await enqueue(aqueue, batch, "a", "b")
    await jobq.Worker(aqueue).run_once()
    for job in await aqueue.get_many([job.id for job in jobs]):
        assert (job.status, job.error_code) == ("failed", "result_unstorable")
        assert "a result for each job" in (job.error or "")
        assert "got 2 jobs" in (job.error or "")


async def test_a_call_takes_one_slot(aqueue: jobq.AsyncQueue, router: jobq.Router) -> None:
    running, most, go_on = 0, 0, asyncio.Event()

    @router.handler("batch", batch=3)
    async def batch(numbers: list[int]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            counts = await aqueue.counts()
            assert (counts["processing"], counts["pending"]) == (6, 4)
            go_on.set()
        await go_on.wait()
        running -= 1

    jobs = await enqueue(aqueue, batch, *range(10))
    assert await jobq.Worker(aqueue, concurrency=2).run_once() == 10
    assert most == 2
    assert await statuses(aqueue, jobs) == [("completed", None)] * 10


async def test_a_job_whose_worker_died_has_a_call_alone_and_nothing_waits_beside_it(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    """It may have been the reason: the others must not fail with it."""
    calls: list[list[str]] = []
    running = most = held = 0

    @router.handler("batch", batch=9)
    async def batch(names: list[str]) -> None:
        nonlocal running, most, held
        calls.append(names)
        running += 1
        most = max(most, running)
        if "crashed" in names:
            held = max(held, (await aqueue.counts())["processing"])
        running -= 1

    jobs = await enqueue(aqueue, batch, *(["new"] * 4 + ["crashed"] * 12 + ["new"] * 4))
    crashed = "crash_count = 1, ambiguous = true WHERE CAST(payload AS text) = '\"crashed\"'"
    sql(aqueue.sync, f"UPDATE jobq_job SET {crashed}")
    assert await jobq.Worker(aqueue, concurrency=2).run_once() == 20
    assert most <= 2
    assert held <= 2
    assert [names for names in calls if "crashed" in names] == [["crashed"]] * 12
    found = await aqueue.get_many([job.id for job in jobs])
    assert {(job.status.value, job.attempts, job.released_count) for job in found} == {
        ("completed", 1, 0)
    }


async def test_plain_jobs_and_batches_do_not_starve_each_other(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    order: list[str] = []

    @router.handler("batch", batch=5)
    async def batch(numbers: list[int]) -> None:
        order.append("batch")

    @router.handler("plain")
    async def plain(number: int) -> None:
        order.append("plain")

    await aqueue.enqueue_many([(plain, n) for n in range(60)] + [(batch, n) for n in range(20)])
    assert await jobq.Worker(aqueue, concurrency=1).run_once() == 80
    assert order.count("batch") == 4
    assert order.index("batch") < 20
    assert order.index("plain") < 20


async def test_a_cancelled_job_of_a_batch_is_told_and_the_others_go_on(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun = asyncio.Event()

    @router.handler("batch", batch=5)
    async def batch(names: list[str], jobs: list[jobq.JobContext]) -> list[str | Exception]:
        begun.set()
        while not jobs[0].cancelled:
            await asyncio.sleep(0.01)
        return [jobq.Cancel("as asked") if job.cancelled else "done" for job in jobs]

    jobs = await enqueue(aqueue, batch, "a", "b")
    async with jobq.Worker(aqueue, lease=0.6).running():
        await begun.wait()
        await aqueue.cancel(jobs[0].id)
        await aqueue.wait(jobs[1].id, timeout=30)
    assert await statuses(aqueue, jobs) == [("cancelled", None), ("completed", "done")]


async def test_a_call_ends_when_all_its_jobs_are_cancelled(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun = asyncio.Event()

    @router.handler("batch", batch=5)
    async def batch(names: list[str]) -> None:
        begun.set()
        await asyncio.Event().wait()

    jobs = await enqueue(aqueue, batch, "a", "b")
    async with jobq.Worker(aqueue, lease=0.6).running():
        await begun.wait()
        for job in jobs:
            await aqueue.cancel(job.id)
        for job in jobs:
            await aqueue.wait(job.id, timeout=30)
    assert await statuses(aqueue, jobs) == [("cancelled", None)] * 2


async def test_the_shortest_timeout_ends_a_call(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("batch", batch=5, retry=jobq.Retry(max_attempts=1))
    async def batch(names: list[str]) -> None:
        await asyncio.Event().wait()

    jobs = [
        await aqueue.enqueue(batch, "a", timeout=0.2),
        await aqueue.enqueue(batch, "b", timeout=60),
    ]
    await jobq.Worker(aqueue).run_once()
    found = await aqueue.get_many([job.id for job in jobs])
    assert [(job.status.value, job.error_code) for job in found] == [("failed", "timeout")] * 2


async def test_a_batch_that_is_running_at_shutdown_goes_back(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    begun = asyncio.Event()

    @router.handler("batch", batch=5)
    async def batch(names: list[str]) -> None:
        begun.set()
        await asyncio.Event().wait()

    jobs = await enqueue(aqueue, batch, "a", "b")
    async with jobq.Worker(aqueue, grace=0).running():
        await begun.wait()
    found = await aqueue.get_many([job.id for job in jobs])
    assert [(job.status.value, job.attempts) for job in found] == [("pending", 0)] * 2


async def test_a_thread_of_a_batch_that_does_not_stop_loses_its_jobs_and_one_slot(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    let_go = threading.Event()

    @router.handler("stubborn", batch=5, timeout=0.3)
    def stubborn(names: list[str]) -> None:
        let_go.wait(30)

    @router.handler("other")
    async def other() -> None: ...

    for name in ("a", "b"):
        await aqueue.enqueue(stubborn, name, max_attempts=1)
    worker = jobq.Worker(aqueue, concurrency=2, margin=0.4)
    async with worker.running():
        while not worker.hanging:
            await asyncio.sleep(0.01)
        done = await aqueue.wait((await aqueue.enqueue(other)).id, timeout=30)
        let_go.set()
    assert done.status == "completed"
    assert (await aqueue.counts())["failed"] == 2


async def test_jobs_of_a_batch_with_a_limit_start_together_as_far_as_it_allows(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    calls: list[int] = []

    @router.handler("batch", batch=100, limits=[jobq.Concurrency("gpu", 3)])
    async def batch(names: list[str]) -> None:
        calls.append(len(names))

    jobs = await enqueue(aqueue, batch, *"abcdefg")
    assert await jobq.Worker(aqueue).run_once() == 7
    assert max(calls) <= 3
    assert sum(calls) == 7
    assert await statuses(aqueue, jobs) == [("completed", None)] * 7


# --- declarations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, -1, 1001, True, 2.5, "all"])
def test_the_size_of_a_batch_is_a_number_from_1_to_1000(router: jobq.Router, size: Any) -> None:
    with pytest.raises(jobq.ConfigurationError, match="batch="):
        router.handler("batch", batch=size)


def test_a_batch_handler_is_annotated_to_take_lists(router: jobq.Router) -> None:
    def wrong(text: str) -> None: ...

    decorate: Any = router.handler("batch", batch=10)
    with pytest.raises(jobq.HandlerError, match=r"annotate 'text' as list\[…\]"):
        decorate(wrong)


def test_a_verifier_and_batches_do_not_go_together(router: jobq.Router) -> None:
    with pytest.raises(jobq.ConfigurationError, match="verify="):
        router.handler("batch", batch=10, on_ambiguous="verify", verify=lambda: None)


async def test_a_worker_refuses_middleware_around_batches(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.middleware
    async def around(job: jobq.JobContext, call_next: Any) -> Any:
        return await call_next()

    @router.handler("batch", batch=10)
    async def batch(names: list[str]) -> None: ...

    with pytest.raises(jobq.ConfigurationError, match="middleware is around one job"):
        await jobq.Worker(aqueue).run_once()


# --- the testing kit ------------------------------------------------------------------------------


async def test_perform_gives_a_batch_handler_lists_of_one(router: jobq.Router) -> None:
    @router.handler("batch", batch=10)
    def batch(texts: list[str], jobs: list[jobq.SyncJobContext]) -> list[str | Exception]:
        return [
            ValueError(text) if text == "bad" else f"{text} {job.attempt}"
            for text, job in zip(texts, jobs, strict=True)
        ]

    assert perform(batch, "good", attempt=2) == "good 2"
    with pytest.raises(ValueError, match="bad"):
        await aperform(batch, "bad")
