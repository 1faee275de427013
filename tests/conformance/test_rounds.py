"""When a worker asks the database for jobs, and when it knows that there are none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import wraps
from typing import Any

import pytest

import jobq
from jobq import backends
from jobq._worker import ahead
from jobq._worker.claimer import Claimer
from jobq._worker.lanes import Lanes
from jobq.backends import ops

PATIENCE = 10.0


class Listening:
    """A store that writes down what it is asked."""

    def __init__(self, store: backends.AsyncStore) -> None:
        self._store = store
        self.dialect = store.dialect
        self.asked: list[str] = []
        self._answered = asyncio.Condition()
        self._answers = 0

    async def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.asked.append(op.__name__)
        try:
            return await self._store.run(op, *args, **kwargs)
        finally:
            self._answers += 1
            async with self._answered:
                self._answered.notify_all()

    async def quiet(self) -> None:
        """Until every question is answered and none has followed."""
        async with asyncio.timeout(PATIENCE), self._answered:
            while True:
                await self._answered.wait_for(lambda: self._answers == len(self.asked) > 0)
                before = len(self.asked)
                self._answered.release()
                await turns()
                await self._answered.acquire()
                if len(self.asked) == before == self._answers:
                    return


async def turns() -> None:
    """Let everybody go on who can without an answer from outside."""
    for _ in range(20):
        await asyncio.sleep(0)


class Place:
    """Slots of a worker that begins jobs and never ends any."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.jobs: list[Any] = []

    @property
    def free(self) -> int:
        return self.slots - len(self.jobs)

    def start(self, claimed: Any, *_: Any, **__: Any) -> bool:
        self.jobs += claimed
        return False


@asynccontextmanager
async def claiming(
    queue: jobq.AsyncQueue, place: Place
) -> AsyncIterator[tuple[Claimer, Listening]]:
    """A claimer at work, woken by nobody but the test."""
    config = queue._config
    store = config.backend.async_store(within=PATIENCE)
    listening = Listening(store)

    async def learned() -> None: ...

    claimer = Claimer(
        listening,  # type: ignore[arg-type]
        listening,  # type: ignore[arg-type]
        config,
        Lanes(config, None),
        worker="w",
        queues=None,
        lease=lambda: 30.0,
        margin=10.0,
        free=lambda: place.free,
        room=lambda freed: place.free + freed,
        singly=lambda: False,
        holds_ahead=lambda: False,
        waiting=lambda: 0,
        start=place.start,
        busy=lambda: True,
        fallback=lambda: 60.0,
        learned=learned,
    )
    task = asyncio.create_task(claimer.run())
    try:
        await listening.quiet()
        yield claimer, listening
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await store.aclose()


@pytest.fixture
def plain(router: jobq.Router) -> None:
    @router.handler("plain")
    async def plain() -> None: ...


@pytest.mark.usefixtures("plain")
async def test_a_free_slot_asks_nothing_where_nothing_was_left(aqueue: jobq.AsyncQueue) -> None:
    await aqueue.enqueue("plain")
    place = Place(3)
    async with claiming(aqueue, place) as (claimer, store):
        assert len(place.jobs) == 1
        place.jobs.clear()
        asked = len(store.asked)
        claimer.slot_freed()
        await turns()
        assert store.asked[asked:] == []
        claimer.wake()
        await store.quiet()
        assert store.asked[asked:][0] == "claim"


async def a_free_slot_takes_what_was_left(queue: jobq.AsyncQueue, type: str) -> None:
    await queue.enqueue_many([(type, {})] * 5)
    place = Place(3)
    async with claiming(queue, place) as (claimer, store):
        assert len(place.jobs) == 3
        place.jobs.clear()
        claimer.slot_freed()
        await store.quiet()
        assert len(place.jobs) == 2


@pytest.mark.usefixtures("plain")
async def test_a_free_slot_takes_what_was_left_for_want_of_it(aqueue: jobq.AsyncQueue) -> None:
    await a_free_slot_takes_what_was_left(aqueue, "plain")


async def test_a_free_slot_takes_a_limited_job_that_was_left(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    @router.handler("limited", limits=[jobq.DailyQuota("p", 1000)])
    async def limited() -> None: ...

    await a_free_slot_takes_what_was_left(aqueue, "limited")


async def test_a_batch_that_found_no_slot_is_taken_when_one_is_free(
    aqueue: jobq.AsyncQueue, router: jobq.Router
) -> None:
    """Whatever else was looked for meanwhile, and not found."""

    @router.handler("plain")
    async def plain() -> None: ...

    @router.handler("together", batch=2)
    async def together(payloads: list[dict]) -> list[None]:
        return [None] * len(payloads)

    await aqueue.enqueue_many([("plain", {})] * 2)
    place = Place(2)
    async with claiming(aqueue, place) as (claimer, store):
        assert len(place.jobs) == 2
        await aqueue.enqueue_many([("together", {})] * 2)
        claimer.wake()
        await turns()
        place.jobs.clear()
        claimer.slot_freed()
        await store.quiet()
        assert [job.type for job in place.jobs] == ["together"] * 2


class Asked(jobq.Observer):
    """Counts what the database is asked."""

    def __init__(self) -> None:
        self.ops: Counter[str] = Counter()

    def database_called(self, op: str, seconds: float, error: BaseException | None) -> None:
        self.ops[op] += 1


JOINED = {"sqlite": "finish_and_claim", "postgresql": "complete_and_claim"}


async def test_where_nothing_is_held_ahead_the_next_claim_goes_with_the_outcome(
    url: str, router: jobq.Router
) -> None:
    router.handler("h")(do_nothing)
    asked = Asked()
    async with jobq.AsyncQueue(url, router=router, observers=[asked]) as aqueue:
        await aqueue.enqueue_many(("h", None) for _ in range(20))
        assert await jobq.Worker(aqueue, concurrency=1, ahead=0).run_once() == 20
        assert (await aqueue.counts())["completed"] == 20
        history = [await aqueue.history(job.id) for job in (await aqueue.list()).jobs]
    assert [[attempt.outcome for attempt in attempts] for attempts in history] == [
        ["completed"]
    ] * 20
    # The last one finds nothing, and then it is looked once more.
    joined = asked.ops[JOINED[url.partition(":")[0]]]
    assert (joined, asked.ops["finish"]) == (20, 0)
    assert asked.ops["claim"] <= 4


async def test_slow_jobs_are_claimed_for_half_of_the_slots_at_a_time(
    url: str, router: jobq.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    router.handler("h")(do_nothing)
    monkeypatch.setattr(ahead, "SHORT", 0.0)
    wanted: list[int] = []
    claim, joined = ops.claim, ops.joined

    @wraps(claim)
    def claims(d: Any, **asked: Any) -> Any:
        wanted.append(asked["slots"])
        return (yield from claim(d, **asked))

    def joins(d: Any) -> Any:
        @wraps(joined(d))
        def joint(d: Any, endings: Any, asked: Any, **rest: Any) -> Any:
            wanted.append(asked["slots"])
            return (yield from joined(d)(d, endings, asked, **rest))

        return joint

    monkeypatch.setattr(ops, "claim", claims)
    monkeypatch.setattr(ops, "joined", joins)
    async with jobq.AsyncQueue(url, router=router) as aqueue:
        await aqueue.enqueue_many(("h", None) for _ in range(300))
        assert await jobq.Worker(aqueue, concurrency=60).run_once() == 300
    assert wanted[0] == 60  # nothing is known yet
    assert max(wanted[1:]) == 30


async def test_outcomes_of_every_kind_are_written_beside_claims(
    url: str, router: jobq.Router
) -> None:
    @router.handler("h", retry=jobq.Retry(max_attempts=2, backoff=jobq.Fixed(0)))
    async def h(number: int) -> None:
        if number % 3 == 0:
            raise RuntimeError

    async with jobq.AsyncQueue(url, router=router) as aqueue:
        await aqueue.enqueue_many(("h", number) for number in range(30))
        await jobq.Worker(aqueue, concurrency=3, ahead=0).run_once()
        counts = await aqueue.counts()
    assert (counts["completed"], counts["failed"], counts["processing"]) == (20, 10, 0)


async def do_nothing() -> None: ...
