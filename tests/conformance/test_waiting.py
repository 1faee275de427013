"""Waiting without a slot: for work outside, for a time, for an event; and the way back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

import jobq
import jobq.testing
from jobq._clock import SECOND
from jobq._limits.lanes import Lane
from jobq._outcome import Parked, Standing, decide
from jobq._worker.upkeep import after_crash
from jobq.backends import ops
from jobq.testing import FrozenClock, adrain
from tests.conformance.situations import LEASE, claim, run, sql

AT_ONCE = jobq.Retry(max_attempts=3, backoff=jobq.Fixed(0))


class Studio:
    """Makes videos, which takes it some looks."""

    def __init__(self, looks: int = 3) -> None:
        self.looks = looks
        self.asked: list[str] = []
        self.begun: list[str] = []
        self.cancelled: list[str] = []

    async def begin(self, prompt: str) -> str:
        self.begun.append(prompt)
        return f"operation of {prompt}"

    async def look(self, operation: str) -> str | None:
        self.asked.append(operation)
        return f"{operation}.mp4" if self.asked.count(operation) >= self.looks else None

    async def cancel(self, operation: str) -> None:
        self.cancelled.append(operation)


@pytest.fixture
def studio() -> Studio:
    return Studio()


def video_handler(router: jobq.Router, studio: Studio, **options: Any) -> Any:
    """A job that begins a video and waits for it."""

    @router.handler("video", retry=AT_ONCE, **options)
    async def video(prompt: str, job: jobq.JobContext) -> str:
        await job.progress(50)
        operation = await job.step("begin", studio.begin, prompt)
        found = await job.wait(
            "video", operation, poll=studio.look, every=10, timeout=60, cancel=studio.cancel
        )
        await job.progress(90)
        return str(found)

    return video


async def outcomes(aqueue: jobq.AsyncQueue, job: jobq.Job) -> list[str]:
    return [attempt.outcome for attempt in await aqueue.history(job.id)]


# --- work outside -------------------------------------------------------------------------------


async def test_a_job_waits_for_work_outside_without_a_slot_and_looks_when_it_is_time(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock, studio: Studio
) -> None:
    job = await afrozen.enqueue(video_handler(router, studio), "a cat")
    assert await adrain(afrozen) == 1
    waiting = await afrozen.get(job.id)
    assert (waiting.status, waiting.attempts, waiting.worker) == ("waiting", 0, None)
    assert (waiting.progress, waiting.lease_until) == (50, None)
    assert waiting.run_at == clock.time + timedelta(seconds=10)
    for _ in range(2):
        clock.advance(timedelta(seconds=10) - timedelta(microseconds=1))
        assert await adrain(afrozen) == 0
        clock.advance(timedelta(microseconds=1))
        assert await adrain(afrozen) == 1
        assert (await afrozen.get(job.id)).status == "waiting"
    clock.advance(10)
    await adrain(afrozen)
    done = await afrozen.get(job.id)
    assert (done.status, done.result) == ("completed", "operation of a cat.mp4")
    assert (done.attempts, done.progress, done.crash_count) == (1, 100, 0)
    assert (studio.begun, len(studio.asked)) == (["a cat"], 3)
    # Looking in vain is nothing to tell of.
    assert await outcomes(afrozen, job) == ["waiting", "completed"]


async def test_what_does_not_come_in_time_fails_the_job_once_it_was_looked_for_again(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    studio = Studio(looks=100)
    job = await afrozen.enqueue(video_handler(router, studio), "a cat")
    await adrain(afrozen, with_scheduled=True)
    failed = await afrozen.get(job.id)
    assert (failed.status, failed.error_code) == ("failed", "wait_expired")
    assert failed.error == "'video', which it waited for, did not come within 60 s"
    assert len(studio.asked) == 6
    await afrozen.retry(job.id)  # by hand: then it is waited for anew
    studio.looks = 0
    await adrain(afrozen, with_scheduled=True)
    assert (await afrozen.get(job.id)).status == "completed"
    assert studio.begun == ["a cat"]


async def test_a_handler_may_know_what_to_do_when_nothing_comes(
    afrozen: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle(job: jobq.JobContext) -> str:
        try:
            return str(await job.wait("video", 7, poll=lambda _: None, every=5, timeout=12))
        except jobq.WaitExpired as error:
            await job.sleep(5)
            return f"no {error.name}"

    job = await afrozen.enqueue(handle)
    await adrain(afrozen, with_scheduled=True)
    assert (await afrozen.get(job.id)).result == "no video"


async def test_asking_is_repeated_where_the_provider_cannot_be_reached(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    errors = iter([ConnectionResetError(), jobq.RateLimited(25), TimeoutError(), None])
    asked: list[Any] = []

    async def look(_: str) -> str:
        asked.append(clock.time)
        error = next(errors)
        if error is not None:
            raise error
        return "video"

    @router.handler("h", retry=jobq.Retry(max_attempts=1))
    async def handle(job: jobq.JobContext) -> str:
        return str(await job.wait("video", "op", poll=look, every=10, timeout=600))

    job = await afrozen.enqueue(handle)
    await adrain(afrozen, with_scheduled=True)
    done = await afrozen.get(job.id)
    assert (done.result, done.attempts) == ("video", 1)
    gaps = [(b - a).total_seconds() for a, b in pairwise(asked)]
    assert gaps == [10, 25, 10]


async def test_an_answer_that_is_final_fails_the_attempt(
    afrozen: jobq.AsyncQueue, router: jobq.Router
) -> None:
    async def look(_: str) -> None:
        raise jobq.Permanent("unsafe", "the provider refused the prompt")

    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        await job.wait("video", "op", poll=look, every=10)

    job = await afrozen.enqueue(handle)
    await adrain(afrozen, with_scheduled=True)
    assert (await afrozen.get(job.id)).error_code == "unsafe"


async def test_a_def_handler_waits_alike(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    looks = iter([None, "video"])

    @router.handler("h")
    def handle(job: jobq.SyncJobContext) -> list[Any]:
        job.sleep(60)
        token = job.hook("approval")
        tokens.append(token)
        return [
            job.wait("video", "op", poll=lambda _: next(looks), every=10),
            job.wait_for_event(token),
        ]

    tokens: list[str] = []
    job = await afrozen.enqueue(handle)
    for _ in range(4):
        await adrain(afrozen)
        clock.advance(60)
    assert (await afrozen.get(job.id)).status == "waiting"
    assert await afrozen.send_event(tokens[0], {"ok": True})
    await adrain(afrozen)
    assert (await afrozen.get(job.id)).result == ["video", {"ok": True}]
    assert len(set(tokens)) == 1


async def test_a_sleep_lasts_as_long_as_it_was_asked_to(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    @router.handler("h")
    async def handle(job: jobq.JobContext) -> str:
        await job.sleep(3600)
        await job.sleep(timedelta(days=2), name="weekend")
        return "awake"

    started = clock.time
    job = await afrozen.enqueue(handle)
    await adrain(afrozen, with_scheduled=True)
    assert (await afrozen.get(job.id)).result == "awake"
    assert clock.time - started == timedelta(days=2, hours=1)


async def test_a_job_that_waits_has_started_and_does_not_expire(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        await job.sleep(3600)

    job = await afrozen.enqueue(handle, expires_at=clock.time + timedelta(minutes=1))
    await adrain(afrozen, with_scheduled=True)
    assert (await afrozen.get(job.id)).status == "completed"


async def test_except_exception_in_a_handler_and_task_groups_let_it_wait(
    afrozen: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle(job: jobq.JobContext) -> str:
        try:
            async with asyncio.TaskGroup() as group:
                slept = group.create_task(job.sleep(60))
        except Exception:  # noqa: BLE001  as handlers do
            return "swallowed"
        return str(slept.result())

    job = await afrozen.enqueue(handle)
    await adrain(afrozen, with_scheduled=True)
    assert (await afrozen.get(job.id)).result == "None"


BAD: dict[str, Any] = {
    "nothing that could tell": lambda job: job.wait("video", "op"),
    "no time between looks": lambda job: job.wait("video", "op", poll=print, every=0),
    "no time at all": lambda job: job.wait("video", "op", poll=print, timeout=-1),
    "an id that is no text": lambda job: job.wait("video", 7, webhook="openai"),
    "a name that is none": lambda job: job.sleep(1, name=""),
    "a token that is none": lambda job: job.wait_for_event("guessed"),
}


@pytest.mark.parametrize("what", BAD)
def test_waiting_that_cannot_be_is_refused(what: str) -> None:
    @jobq.Router().handler("h")
    def handle(job: jobq.SyncJobContext) -> None:
        BAD[what](job)

    with pytest.raises(jobq.OptionError):
        jobq.testing.perform(handle)


# --- events -------------------------------------------------------------------------------------


async def test_an_event_resumes_the_one_job_that_made_the_hook(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    tokens: dict[str, str] = {}

    @router.handler("h")
    async def handle(payload: str, job: jobq.JobContext) -> Any:
        tokens[payload] = await job.hook("approval", timeout=60)
        return await job.wait_for_event(tokens[payload])

    jobs = {name: await afrozen.enqueue(handle, name) for name in "ab"}
    await adrain(afrozen)
    assert len(tokens["a"]) >= 43
    assert await afrozen.send_event(tokens["a"], {"approved": True})
    assert not await afrozen.send_event(tokens["a"], {"approved": False})  # it has one already
    assert not await afrozen.send_event("guessed")
    assert await adrain(afrozen) == 1
    assert (await afrozen.get(jobs["a"].id)).result == {"approved": True}
    assert (await afrozen.get(jobs["b"].id)).status == "waiting"
    clock.advance(60)
    assert not await afrozen.send_event(tokens["b"])  # too late
    await adrain(afrozen)
    assert (await afrozen.get(jobs["b"].id)).error_code == "wait_expired"


async def test_an_event_that_comes_before_its_job_waits_is_not_lost(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle(job: jobq.JobContext) -> Any:
        token = await job.hook("approval")
        if job.attempt == 1 and not sent:
            sent.append(await aqueue.send_event(token, "early"))
        return await job.wait_for_event(token)

    sent: list[bool] = []
    job = await aqueue.enqueue(handle)
    await adrain(aqueue)
    assert ((await aqueue.get(job.id)).result, sent) == ("early", [True])


def test_an_event_between_the_last_look_and_the_waiting_makes_the_job_due(
    frozen: jobq.Queue, known: Any
) -> None:
    """The claim has read what is recorded, the event comes, and only then the job is parked."""
    job = frozen.enqueue(known, {})
    (held,) = claim(frozen)
    row = ops.StepRow("approval", "waiting", token="hook:t")
    run(frozen, ops.write_step, id=job.id, fence=held.fence, row=row, timeout=60_000_000)
    delivery = run(frozen, ops.deliver_event, token="hook:t", payload='"now"')
    assert delivery == ops.Delivery(job.id, "default", resumed=True)
    parked = decide(
        Parked(held.started_at + 60_000_000, ("approval",)), _standing(), jobq.Retry(), 0
    )
    ending = ops.Ending(job.id, held.fence, held.attempts, held.started_at, "worker-1", parked)
    assert run(frozen, ops.finish_with_more, [ending], keep=None) == {job.id: "waiting"}
    (again,) = claim(frozen)
    assert (again.id, again.attempts) == (job.id, 1)


def _standing() -> Standing:
    return Standing(attempts=1, max_attempts=3)


async def test_a_webhook_with_polling_makes_the_job_look_at_once(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock, studio: Studio
) -> None:
    @router.handler("h")
    async def handle(job: jobq.JobContext) -> Any:
        return await job.wait(
            "video", "resp_1", poll=studio.look, every=600, timeout=3600, webhook="openai"
        )

    studio.looks = 2
    job = await afrozen.enqueue(handle)
    await adrain(afrozen)
    for n in range(2):
        assert await afrozen.send_event("resp_1", {"n": n}, provider="openai", event_id=f"e{n}")
        assert not await afrozen.send_event("resp_1", {}, provider="openai", event_id=f"e{n}")
        await adrain(afrozen)
    assert (await afrozen.get(job.id)).result == "resp_1.mp4"


async def test_a_webhook_without_polling_is_the_result(
    afrozen: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle(job: jobq.JobContext) -> Any:
        return await job.wait("video", "resp_1", webhook="openai")

    job = await afrozen.enqueue(handle)
    await adrain(afrozen)
    assert not await afrozen.send_event("resp_1", {})  # by no hook of a job
    assert not await afrozen.send_event("resp_1", {}, provider="replicate")
    assert await afrozen.send_event("resp_1", {"status": "done"}, provider="openai")
    await adrain(afrozen)
    assert (await afrozen.get(job.id)).result == {"status": "done"}


# --- cancelling ---------------------------------------------------------------------------------


async def test_a_job_that_is_cancelled_while_it_waits_cancels_the_work_once(
    afrozen: jobq.AsyncQueue, router: jobq.Router, studio: Studio
) -> None:
    job = await afrozen.enqueue(video_handler(router, studio), "a cat")
    await adrain(afrozen)
    asked = await afrozen.cancel(job.id)
    assert (asked.status, asked.cancel_requested) == ("waiting", True)
    await afrozen.cancel(job.id)
    await adrain(afrozen)
    done = await afrozen.get(job.id)
    assert (done.status, done.error_code) == ("cancelled", "cancelled")
    assert studio.cancelled == ["operation of a cat"]
    assert (studio.begun, studio.asked) == (["a cat"], [])


async def test_a_worker_that_dies_on_its_way_to_cancel_the_work_leaves_that_to_the_next(
    frozen: jobq.Queue,
    afrozen: jobq.AsyncQueue,
    router: jobq.Router,
    clock: FrozenClock,
    studio: Studio,
) -> None:
    job = await afrozen.enqueue(video_handler(router, studio), "a cat")
    await adrain(afrozen)
    await afrozen.cancel(job.id)
    (dead,) = claim(frozen, types=("video",))
    assert dead.cancel_requested
    clock.advance(LEASE / SECOND + 1)
    run(frozen, ops.rescue, after_crash, keep=None)
    await adrain(afrozen)
    assert (await afrozen.get(job.id)).status == "cancelled"
    assert studio.cancelled == ["operation of a cat"]


async def test_a_lease_that_is_renewed_meanwhile_does_not_interrupt_the_cancellation(
    queue: jobq.Queue, aqueue: jobq.AsyncQueue, router: jobq.Router, studio: Studio
) -> None:
    async def cancel_slowly(operation: str) -> None:
        first = sql(queue, "SELECT lease_until FROM jobq_job")
        while sql(queue, "SELECT lease_until FROM jobq_job") == first:
            await asyncio.sleep(0.01)
        for _ in range(20):  # what a renewal tells takes a few turns of the loop
            await asyncio.sleep(0.001)
        studio.cancelled.append(operation)

    @router.handler("video")
    async def video(prompt: str, job: jobq.JobContext) -> None:
        await job.wait("video", prompt, poll=studio.look, every=60, cancel=cancel_slowly)

    job = await aqueue.enqueue(video, "a cat")
    await jobq.Worker(aqueue).run(burst=True)
    await aqueue.cancel(job.id)
    await jobq.Worker(aqueue, lease=1.0).run(burst=True)
    assert (await aqueue.get(job.id)).status == "cancelled"
    assert studio.cancelled == ["a cat"]


async def test_a_job_whose_steps_cannot_be_read_before_it_begins_is_tried_again(
    aqueue: jobq.AsyncQueue,
    router: jobq.Router,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = await aqueue.enqueue(video_handler(router, studio), "a cat")
    await jobq.Worker(aqueue).run(burst=True)
    await aqueue.cancel(job.id)

    def fail(_: Any, id: str) -> Any:
        monkeypatch.undo()
        raise jobq.BackendError(f"the steps of {id} cannot be read")

    monkeypatch.setattr(ops, "read_steps", fail)
    await jobq.Worker(aqueue).run(burst=True)
    assert (await aqueue.get(job.id)).status == "cancelled"
    assert studio.cancelled == ["operation of a cat"]


async def test_a_job_that_sleeps_is_cancelled_at_once(
    afrozen: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("h")
    async def handle(job: jobq.JobContext) -> None:
        await job.sleep(3600)

    job = await afrozen.enqueue(handle)
    await adrain(afrozen)
    assert (await afrozen.cancel(job.id)).status == "cancelled"
    assert await adrain(afrozen) == 0


async def test_a_provider_that_cannot_cancel_does_not_keep_the_job(
    afrozen: jobq.AsyncQueue, router: jobq.Router, studio: Studio
) -> None:
    async def refuse(_: str) -> None:
        raise OSError

    studio.cancel = refuse  # type: ignore[method-assign]
    job = await afrozen.enqueue(video_handler(router, studio), "a cat")
    await adrain(afrozen)
    await afrozen.cancel(job.id)
    await adrain(afrozen)
    assert (await afrozen.get(job.id)).status == "cancelled"


async def test_a_cancellation_that_comes_as_the_job_begins_to_wait_cancels_the_work(
    afrozen: jobq.AsyncQueue, router: jobq.Router, studio: Studio
) -> None:
    begin = studio.begin

    async def begin_and_cancel(prompt: str) -> str:
        await afrozen.cancel(job.id)  # the worker has not heard of it when the job parks
        return await begin(prompt)

    studio.begin = begin_and_cancel  # type: ignore[method-assign]
    job = await afrozen.enqueue(video_handler(router, studio), "a cat")
    await adrain(afrozen)
    assert (await afrozen.get(job.id)).status == "cancelled"
    assert studio.cancelled == ["operation of a cat"]


# --- limits -------------------------------------------------------------------------------------


async def used(aqueue: jobq.AsyncQueue) -> dict[str, int | None]:
    return {limit.key: limit.started for limit in await aqueue.limits()}


async def test_the_way_back_debits_no_rate_and_no_quota_and_a_retry_does(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock, studio: Studio
) -> None:
    limits = [jobq.RateLimit("gemini", 10, per=3600), jobq.DailyQuota("day", 3)]
    fails = [True]

    @router.handler("h", limits=limits, retry=AT_ONCE)
    async def handle(job: jobq.JobContext) -> str:
        found = await job.wait("video", "op", poll=studio.look, every=10, timeout=600)
        await job.settle(1, limit="gemini")
        if fails:
            fails.pop()
            raise RuntimeError("the upload failed")
        return str(found)

    job = await afrozen.enqueue(handle)
    await adrain(afrozen)
    for looked in range(1, 4):
        assert await used(afrozen) == {"gemini": 1, "day": 1}
        clock.advance(10)
        await adrain(afrozen)
        assert len(studio.asked) == looked
    # It has failed, and waits for a start of its own.
    again = await afrozen.get(job.id)
    assert (again.status, again.attempts) == ("pending", 1)
    assert await used(afrozen) == {"gemini": 1, "day": 1}
    clock.advance(3600)
    await adrain(afrozen)
    assert (await afrozen.get(job.id)).result == "op.mp4"
    assert await used(afrozen) == {"gemini": 2, "day": 2}


async def test_a_closed_limit_does_not_keep_a_job_from_looking(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock, studio: Studio
) -> None:
    limit = jobq.RateLimit("gemini", 1, per=3600)
    handler = video_handler(router, studio, limits=[limit])
    job = await afrozen.enqueue(handler, "a cat")
    others = [await afrozen.enqueue(handler, f"dog {n}", priority="urgent") for n in range(2)]
    await afrozen.cancel(others[0].id)
    await adrain(afrozen)
    started = await afrozen.get(others[1].id)
    assert (started.status, (await afrozen.get(job.id)).status) == ("waiting", "pending")
    await afrozen.pause_limit("gemini")
    for _ in range(3):
        clock.advance(10)
        await adrain(afrozen)
    assert (await afrozen.get(others[1].id)).status == "completed"
    assert studio.begun == ["dog 1"]


@pytest.mark.parametrize("keeps", [False, True])
async def test_a_place_is_free_while_its_job_waits_unless_it_is_kept(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock, studio: Studio, keeps: bool
) -> None:
    limit = jobq.Concurrency("studio", 1, while_waiting=keeps)
    handler = video_handler(router, studio, limits=[limit])
    jobs = [await afrozen.enqueue(handler, name) for name in ("a", "b")]
    await adrain(afrozen)
    statuses = [str((await afrozen.get(job.id)).status) for job in jobs]
    assert statuses == ["waiting", "pending" if keeps else "waiting"]
    await adrain(afrozen, with_scheduled=True)
    assert [str((await afrozen.get(job.id)).status) for job in jobs] == ["completed"] * 2


async def test_a_job_that_is_given_back_on_its_way_back_keeps_its_place_and_is_not_debited(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    limits = [
        jobq.RateLimit("gemini", 10, per=3600),
        jobq.Concurrency("studio", 1, while_waiting=True),
    ]

    @router.handler("h", limits=limits)
    async def handle(job: jobq.JobContext) -> str:
        await job.sleep(10)
        if not stopped:
            stopped.append(True)
            begun.set()
            await asyncio.Event().wait()
        return "done"

    stopped: list[bool] = []
    begun = asyncio.Event()
    job = await afrozen.enqueue(handle)
    await adrain(afrozen)
    clock.advance(10)
    async with jobq.Worker(afrozen, grace=0).running():
        await begun.wait()
    left = await afrozen.get(job.id)
    assert (left.status, left.attempts) == ("waiting", 0)
    assert left.released_count >= 1
    await adrain(afrozen)
    assert (await afrozen.get(job.id)).result == "done"
    assert (await used(afrozen))["gemini"] == 1


async def test_the_key_of_a_pool_is_the_same_on_the_way_back(
    afrozen: jobq.AsyncQueue, router: jobq.Router, clock: FrozenClock
) -> None:
    limit = jobq.RateLimit("gemini:{key}", 1, per=60)
    pool = jobq.KeyPool("gemini", keys={"a": "secret-of-a", "b": "secret-of-b"}, limit=limit)
    keys: dict[str, list[str]] = {"x": [], "y": []}

    @router.handler("h", limits=[pool])
    async def handle(payload: str, job: jobq.JobContext) -> None:
        keys[payload].append(job.key("gemini"))
        await job.sleep(10)

    for payload in keys:
        await afrozen.enqueue(handle, payload)
    await adrain(afrozen)
    clock.advance(10)
    await adrain(afrozen)
    assert {len(set(some)) for some in keys.values()} == {1}
    assert {len(some) for some in keys.values()} == {2}
    assert len({*keys["x"], *keys["y"]}) == 2


def test_a_retry_by_hand_of_a_waiting_job_needs_all_its_limits_again(
    frozen: jobq.Queue, router: jobq.Router
) -> None:
    lane = Lane.parse('["h",["gemini"]]')
    assert lane is not None

    @router.handler("h", limits=[jobq.RateLimit("gemini", 10, per=60)])
    async def handle() -> None: ...

    job = frozen.enqueue(handle)
    lanes = "SELECT lane, start_lane FROM jobq_job"
    sql(frozen, "UPDATE jobq_job SET lane = '[\"h\",[]]', start_lane = lane")
    sql(frozen, "UPDATE jobq_job SET status = 'waiting'")
    frozen.retry(job)
    assert sql(frozen, lanes) == [(lane.text, None)]


def test_a_crash_on_the_way_back_uses_an_attempt_and_needs_the_limits_again(
    frozen: jobq.Queue, known: Any, clock: FrozenClock
) -> None:
    job = frozen.enqueue(known, {})
    claim(frozen)
    sql(frozen, "UPDATE jobq_job SET lane = 'less', start_lane = 'all'")
    clock.advance(LEASE / 1_000_000 + 1)
    run(frozen, ops.rescue, after_crash, keep=None)
    rescued = frozen.get(job)
    assert (rescued.status, rescued.attempts, rescued.crash_count) == ("pending", 1, 1)
    assert sql(frozen, "SELECT lane, start_lane FROM jobq_job") == [("all", None)]


def test_lanes_of_a_paused_queue_are_not_looked_for_until_it_is_resumed(
    frozen: jobq.Queue, router: jobq.Router
) -> None:
    @router.handler("h", limits=[jobq.RateLimit("gemini", 10, per=60)])
    async def handle() -> None: ...

    frozen.enqueue(handle)
    lane = ("default", '["h",["gemini"]]')
    assert run(frozen, ops.ready).lanes == (lane,)
    frozen.pause("default")
    assert run(frozen, ops.ready).lanes == ()
    frozen.resume("default")
    assert run(frozen, ops.ready).lanes == (lane,)
