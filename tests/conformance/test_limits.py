"""Limits on both databases: what is claimed, what is held back, and what a refusal does."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

import jobq
from jobq import Concurrency, DailyQuota, KeyPool, RateLimit, backends
from jobq._limits import Lane
from jobq._limits.declared import to_spec
from jobq._payload import dumps
from jobq.testing import FrozenClock, adrain, drain
from tests.conformance.situations import sql

MINUTE = timedelta(minutes=1)


@pytest.fixture
def started() -> list[datetime]:
    """When handlers were entered, by the frozen clock."""
    return []


@pytest.fixture
def note(clock: FrozenClock, started: list[datetime]) -> Any:
    """A handler's body that notes when it was entered."""

    async def note() -> None:
        started.append(datetime.fromtimestamp(clock.now() / 1e6, UTC))

    return note


def most_in_any(window: timedelta, starts: list[datetime]) -> int:
    """The most starts that a half-open window of that length holds."""
    return max(sum(first <= other < first + window for other in starts) for first in starts)


def test_no_window_holds_more_than_its_limit_and_nothing_is_lost(
    frozen: jobq.Queue, router: jobq.Router, started: list[datetime], note: Any
) -> None:
    handler = router.handler("t", limits=[RateLimit("p", 5, per=60, max_cost=2)])(note)
    frozen.enqueue_many((handler, None) for _ in range(30))
    assert drain(frozen, with_scheduled=True) == 30
    assert frozen.counts()["completed"] == 30
    assert most_in_any(MINUTE, started) == 5
    rate = (len(started) - 2) / (started[-1] - started[0]).total_seconds()
    assert rate == pytest.approx(4 / 60 * 0.99, rel=0.01)


def test_claims_of_several_processes_at_the_same_time_stay_within_a_limit(
    url: str, router: jobq.Router
) -> None:
    limit = RateLimit("p", 20, per=3600, max_cost=20)
    handler = router.handler("t", limits=[limit])(lambda payload: None)
    begin = threading.Barrier(4)

    def hammer(worker: int) -> int:
        with jobq.Queue(url, router=router) as queue:
            store = queue._store()
            ready = store.run(backends.ops.ready)
            request = backends.ops.Request(
                lanes=ready.lanes,
                slots=1,
                ahead=0,
                look_ahead=0,
                worker=f"worker-{worker}",
                lease=30_000_000,
                margin=10_000_000,
                keep=None,
                pools={},
                rivals=([], []),
            )
            begin.wait(30)
            taken = 0
            while jobs := store.run(backends.ops.claim_limited, request).jobs:
                taken += len(jobs)
            return taken

    with jobq.Queue(url, router=router) as queue:
        queue.enqueue_many((handler, None) for _ in range(60))
        spec = dumps(to_spec(limit))
        queue._store().run(backends.ops.declare_limits, {"p": spec}, worker="worker")
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(hammer, range(4))) == 20
        (info,) = queue.limits()
        assert info.started == queue.counts()["processing"] == 20


def test_a_job_that_may_not_start_is_not_claimed_and_keeps_nobody_waiting(
    frozen: jobq.Queue, router: jobq.Router, started: list[datetime], note: Any
) -> None:
    limited = router.handler("limited", limits=[RateLimit("p", 1, per=60)])(note)

    @router.handler("free")
    async def free() -> None: ...

    first, second = frozen.enqueue(limited), frozen.enqueue(limited)
    others = [frozen.enqueue(free).id for _ in range(5)]
    assert drain(frozen) == 6
    assert all(job.status == "completed" for job in frozen.get_many([first.id, *others]))
    held = frozen.get(second.id)
    assert (held.status, held.attempts, held.position) == ("pending", 0, 1)
    assert held.waiting_for is not None
    assert held.waiting_for.limit == "p"
    assert held.waiting_for.until == started[0] + timedelta(seconds=60.606061)
    shape = held.to_dict()
    assert shape["waitingFor"] == {"limit": "p", "until": shape["retryAt"]}
    assert shape["etaSeconds"] == 60.6


def test_a_limit_is_shared_by_all_types_and_queues_that_name_it(
    frozen: jobq.Queue, router: jobq.Router, note: Any
) -> None:
    one = router.handler("one", limits=[RateLimit("p", 1, per=60)])(note)

    @router.handler("two", queue="other", limits=[RateLimit("p", 1, per=60)])
    async def two() -> None: ...

    frozen.enqueue(one)
    frozen.enqueue(two)
    assert drain(frozen) == 1
    assert drain(frozen) == 0


def test_each_owner_has_a_bucket_of_their_own(
    frozen: jobq.Queue, router: jobq.Router, note: Any
) -> None:
    handler = router.handler("t", limits=[RateLimit("tenant:{owner}", 1, per=60)])(note)
    for owner in ("a", "a", "b", "c", "c"):
        frozen.enqueue(handler, owner=owner)
    assert drain(frozen) == 3
    done = {job.owner for job in frozen.list(status="completed").jobs}
    assert done == {"a", "b", "c"}


def test_lanes_are_served_in_turn_and_a_long_one_does_not_starve_a_short_one(
    frozen: jobq.Queue, router: jobq.Router, note: Any
) -> None:
    limits = [RateLimit("p", 60, per=60), RateLimit("tenant:{owner}", 1000, per=60)]
    handler = router.handler("t", limits=limits)(note)
    frozen.enqueue_many((handler, None, {"owner": "long"}) for _ in range(200))
    for _ in range(3):
        frozen.enqueue(handler, owner="short")
    drain(frozen, with_scheduled=True, max_jobs=6)
    done = [job.owner for job in frozen.list(status="completed").jobs]
    assert sorted(done) == ["long"] * 3 + ["short"] * 3


def test_a_more_urgent_head_goes_first_whatever_its_lane(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    order: list[str] = []

    @router.handler("t", limits=[RateLimit("p", 60, per=60), RateLimit("t:{owner}", 60, per=60)])
    async def handler(payload: dict[str, str]) -> None:
        order.append(payload["name"])

    frozen.enqueue(handler, {"name": "normal"}, owner="a")
    frozen.enqueue(handler, {"name": "batch"}, owner="b", priority="batch")
    frozen.enqueue(handler, {"name": "urgent"}, owner="c", priority="urgent")
    assert drain(frozen, with_scheduled=True) == 3
    assert order == ["urgent", "normal", "batch"]


def test_an_urgent_job_without_limits_goes_before_limited_ones(
    frozen: jobq.Queue, router: jobq.Router
) -> None:
    order: list[str] = []

    @router.handler("limited", limits=[RateLimit("p", 600, per=60, max_cost=10)])
    async def limited() -> None:
        order.append("limited")

    @router.handler("free")
    async def free() -> None:
        order.append("free")

    for _ in range(3):
        frozen.enqueue(limited)
    drain(frozen, max_jobs=1)  # now the worker knows that there are lanes
    for _ in range(3):
        frozen.enqueue(free, priority="urgent")
    drain(frozen)
    assert order[1:4] == ["free"] * 3


def test_all_limits_or_none_are_debited(
    frozen: jobq.Queue, router: jobq.Router, note: Any, clock: FrozenClock
) -> None:
    rpm = RateLimit("rpm", 60, per=60)
    tpm = RateLimit("tpm", 1000, per=60, max_cost=900)
    handler = router.handler("t", limits=[rpm, tpm, DailyQuota("rpd", 100)])(note)
    frozen.enqueue(handler, cost={"tpm": 900})
    frozen.enqueue(handler, cost={"tpm": 900})
    assert drain(frozen) == 1
    before = {info.key: info for info in frozen.limits()}
    clock.advance(timedelta(seconds=2))
    assert drain(frozen) == 0
    after = {info.key: info for info in frozen.limits()}
    assert after["rpd"].used == before["rpd"].used == 1
    assert after["rpm"].started == before["rpm"].started == 1
    assert after["rpm"].free == 1
    assert (after["tpm"].free or 0) < 900


def test_costs_come_from_the_call_the_handler_or_are_one(
    frozen: jobq.Queue, router: jobq.Router, note: Any
) -> None:
    limits = [RateLimit("tpm", 1000, per=60, max_cost=500, cost=lambda p: p["tokens"])]

    @router.handler("t", limits=limits)
    async def handler(payload: dict[str, int]) -> None: ...

    frozen.enqueue(handler, {"tokens": 20})
    drain(frozen)
    assert frozen.limits()[0].used == 20
    frozen.enqueue(handler, {"tokens": 20}, cost={"tpm": 400})
    drain(frozen)
    assert frozen.limits()[0].used == 420


@pytest.mark.parametrize(
    "cost, reason",
    [
        ({"tpm": 501}, "a cost of 501 is above the max_cost=500 of limit 'tpm'"),
        ({"tpm": -1}, "must be an integer from 0"),
        ({"tpm": 1.5}, "must be an integer from 0"),
        ({"tmp": 1}, r"\['tmp'\] are no limits of this job \(which has 'tpm'\)"),
        ("tpm", "cost must be {key of a limit: units}"),
    ],
)
def test_a_cost_that_can_never_be_met_is_refused_at_once(
    frozen: jobq.Queue, router: jobq.Router, note: Any, cost: Any, reason: str
) -> None:
    handler = router.handler("t", limits=[RateLimit("tpm", 1000, per=60, max_cost=500)])(note)
    with pytest.raises(jobq.OptionError, match=reason):
        frozen.enqueue(handler, cost=cost)
    assert frozen.counts()["pending"] == 0


def test_a_job_whose_limit_was_lowered_below_its_cost_fails_and_says_so(
    frozen: jobq.Queue, router: jobq.Router, note: Any
) -> None:
    limit = RateLimit("tpm", 1000, per=60, max_cost=500)
    handler = router.handler("t", limits=[limit])(note)
    id = frozen.enqueue(handler, cost={"tpm": 400}).id
    frozen.set_limit(RateLimit("tpm", 1000, per=60, max_cost=300))
    drain(frozen)
    job = frozen.get(id)
    assert (job.status, job.error_code, job.attempts) == ("failed", "cost_above_limit", 0)
    assert job.error == "its cost of 400 is above the 300 that limit 'tpm' allows at once"


def test_no_more_jobs_than_its_places_run_at_a_time_and_a_dead_holder_frees_its_own(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    running, most = 0, 0

    @router.handler("t", limits=[Concurrency("gpu", 2)])
    async def handler() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1

    frozen.enqueue_many((handler, None) for _ in range(9))
    assert drain(frozen, concurrency=8) == 9
    assert most == 2


def test_a_dead_holder_frees_its_place_when_it_is_rescued(
    frozen: jobq.Queue, router: jobq.Router, note: Any, clock: FrozenClock
) -> None:
    handler = router.handler("t", limits=[Concurrency("gpu", 1)])(note)
    frozen.enqueue(handler)
    frozen.enqueue(handler)
    lane = ("default", Lane("t", _refs("gpu")).text)
    grant = _claim(frozen, lane)
    assert len(grant.jobs) == 1
    assert drain(frozen) == 0
    clock.advance(timedelta(seconds=31))
    assert drain(frozen) == 2


def test_a_lease_that_is_renewed_late_has_kept_its_place(
    frozen: jobq.Queue, router: jobq.Router, note: Any, clock: FrozenClock
) -> None:
    handler = router.handler("t", limits=[Concurrency("gpu", 1)])(note)
    frozen.enqueue(handler)
    frozen.enqueue(handler)
    lane = ("default", Lane("t", _refs("gpu")).text)
    [(job, _)] = _claim(frozen, lane).jobs
    clock.advance(timedelta(seconds=31))
    grant = _claim(frozen, lane)
    assert (grant.jobs, grant.openings) == ([], {lane: grant.now + 1_000_000})
    held = [(job.id, job.fence)]
    [renewal] = frozen._store().run(backends.ops.renew, held, lease=30_000_000, margin=0)
    assert renewal.held
    assert _claim(frozen, lane).jobs == []


def _refs(*keys: str) -> Any:
    from jobq._limits.lanes import Ref

    return tuple(Ref(key, key) for key in keys)


def _claim(queue: jobq.Queue, *lanes: tuple[str, str], slots: int = 10) -> Any:
    """Claim as a worker does that never runs anything."""
    store = queue._store()
    request = backends.ops.Request(
        lanes=lanes,
        slots=slots,
        ahead=0,
        look_ahead=0,
        worker="dead",
        lease=30_000_000,
        margin=10_000_000,
        keep=None,
        pools={},
        rivals=([], []),
    )
    specs = {"gpu": '{"kind":"concurrency","n":1}'}
    store.run(backends.ops.declare_limits, specs, worker="dead")
    return store.run(backends.ops.claim_limited, request)


def test_a_daily_quota_counts_calendar_days_and_starts_half_a_minute_late(
    frozen: jobq.Queue,
    router: jobq.Router,
    clock: FrozenClock,
    started: list[datetime],
    note: Any,
) -> None:
    handler = router.handler("t", limits=[DailyQuota("rpd", 2, tz="America/Los_Angeles")])(note)
    frozen.enqueue_many((handler, None) for _ in range(5))
    assert drain(frozen, with_scheduled=True) == 5
    clock_start = datetime(2031, 1, 1, 12, tzinfo=UTC)
    midnight = datetime(2031, 1, 2, 8, 0, 30, tzinfo=UTC)
    days = [clock_start, clock_start, midnight, midnight, midnight + timedelta(days=1)]
    assert [abs(a - b) < timedelta(seconds=1) for a, b in zip(started, days, strict=True)] == [
        True
    ] * 5


# --- undeclared jobs, and jobs from before ------------------------------------------------------


def test_a_job_from_a_process_without_handlers_gets_its_limits_before_it_is_claimed(
    frozen: jobq.Queue, router: jobq.Router, started: list[datetime], note: Any
) -> None:
    for _ in range(3):
        frozen.enqueue("t", None, owner="a", cost={"p": 2})
    router.handler("t", limits=[RateLimit("p", 5, per=60, max_cost=2)])(note)
    assert drain(frozen) == 1
    costs = sql(frozen, "SELECT costs FROM jobq_job LIMIT 1")
    assert costs in ([({"p": 2},)], [('{"p":2}',)])


def test_an_undeclared_job_with_unknown_costs_or_a_missing_owner_fails_and_says_why(
    frozen: jobq.Queue, router: jobq.Router, note: Any
) -> None:
    wrong = frozen.enqueue("t", None, owner="a", cost={"x": 2}).id
    ownerless = frozen.enqueue("t", None).id
    router.handler("t", limits=[RateLimit("tenant:{owner}", 5, per=60)])(note)
    drain(frozen)
    for id, reason in ((wrong, "are no limits"), (ownerless, "needs {owner}")):
        job = frozen.get(id)
        assert (job.status, job.error_code) == ("failed", "invalid_options")
        assert reason in (job.error or "")


def test_jobs_stored_before_their_handler_had_limits_are_held_to_them(
    frozen: jobq.Queue, router: jobq.Router, note: Any
) -> None:
    before = jobq.Router()
    before.handler("t")(note)
    with jobq.Queue(frozen._config.url, router=before, clock=frozen._config.clock) as old:
        old.enqueue_many(("t", None) for _ in range(4))
    router.handler("t", limits=[RateLimit("p", 1, per=60)])(note)
    assert drain(frozen) == 1
    assert frozen.counts()["pending"] == 3


def test_a_whole_queue_can_have_a_limit(
    frozen: jobq.Queue, router: jobq.Router, note: Any, clock: FrozenClock
) -> None:
    router.handler("t")(note)
    limits = {"slow": [RateLimit("slow", 1, per=60)]}
    with jobq.Queue(frozen._config.url, router=router, clock=clock, limits=limits) as queue:
        for name in ("slow", "slow", "default", "default"):
            queue.enqueue("t", None, queue=name)
        assert drain(queue) == 3


def test_a_job_that_is_moved_takes_on_the_limits_of_its_new_queue(
    frozen: jobq.Queue, router: jobq.Router, note: Any, clock: FrozenClock
) -> None:
    router.handler("t")(note)
    limits = {
        "slow": [RateLimit("slow", 1, per=60)],
        "fast": [RateLimit("fast", 600, per=60, max_cost=9)],
    }
    with jobq.Queue(frozen._config.url, router=router, clock=clock, limits=limits) as queue:
        jobs = [queue.enqueue("t", None, queue="fast", cost={"fast": 3}) for _ in range(3)]
        for job in jobs:
            queue.reschedule(job.id, queue="slow")
        assert drain(queue) == 1
        left = queue.list(status="pending").jobs
        assert {job.waiting_for.limit for job in left if job.waiting_for} == {"slow"}


# --- refusals -----------------------------------------------------------------------------------


def test_a_refusal_closes_the_limit_and_gives_the_attempt_back(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    calls = 0

    @router.handler("t", limits=[RateLimit("p", 600, per=60, max_cost=5)])
    async def handler() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise jobq.RateLimited(30)

    first, second = frozen.enqueue(handler), frozen.enqueue(handler)
    assert drain(frozen) == 1
    job = frozen.get(first.id)
    assert (job.status, job.attempts, job.rate_limited_count) == ("rate_limited", 0, 1)
    behind = frozen.get(second.id)
    assert behind.status == "pending"
    assert behind.waiting_for is not None
    assert behind.waiting_for.limit == "p"
    clock.advance(timedelta(seconds=29))
    assert drain(frozen) == 0
    clock.advance(timedelta(seconds=2))
    assert drain(frozen) == 2
    assert frozen.get(first.id).attempts == 1


def test_a_resume_frees_the_jobs_that_a_refusal_held_back_at_once(
    frozen: jobq.Queue, router: jobq.Router
) -> None:
    refuse = [True]

    @router.handler("t", limits=[RateLimit("p", 600, per=60, max_cost=5)])
    async def handler() -> None:
        if refuse.pop() if refuse else False:
            raise jobq.RateLimited(timedelta(hours=5))

    frozen.enqueue(handler)
    frozen.enqueue(handler)
    drain(frozen)
    [info] = frozen.limits()
    assert info.blocked_until is not None
    frozen.resume_limit("p")
    assert drain(frozen) == 2


def test_a_pause_is_never_shortened_by_a_refusal(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    waits = [100, 10]

    @router.handler("t", limits=[RateLimit("p", 600, per=60, max_cost=5)])
    async def handler() -> None:
        raise jobq.RateLimited(waits.pop(0))

    frozen.enqueue_many((handler, None) for _ in range(2))
    drain(frozen, concurrency=2)
    [info] = frozen.limits()
    assert info.refused == 2
    now = datetime.fromtimestamp(clock.now() / 1e6, UTC)
    assert info.blocked_until == now + timedelta(seconds=100)


def test_refusals_without_an_end_fail_the_job_after_a_day(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock
) -> None:
    @router.handler("t", limits=[RateLimit("p", 600, per=60)])
    async def handler() -> None:
        raise jobq.RateLimited(3600)

    id = frozen.enqueue(handler).id
    drain(frozen, with_scheduled=True, max_jobs=40)
    job = frozen.get(id)
    assert (job.status, job.error_code) == ("failed", "rate_limit_timeout")
    assert job.rate_limited_count == 24


# --- operators ----------------------------------------------------------------------------------


def test_what_an_operator_sets_holds_instead_of_what_code_declares_until_a_reset(
    frozen: jobq.Queue, router: jobq.Router, note: Any
) -> None:
    limit = RateLimit("p", 60, per=60)
    handler = router.handler("t", limits=[limit])(note)
    frozen.set_limit(evolve(limit, n=5, max_cost=5))
    frozen.enqueue_many((handler, None) for _ in range(10))
    assert drain(frozen) == 5
    [info] = frozen.limits()
    assert (info.n, info.overridden) == (5, True)
    frozen.reset_limit("p")
    assert drain(frozen) == 1
    [info] = frozen.limits()
    assert (info.n, info.overridden) == (60, False)


def test_a_reset_limit_is_held_for_nobody(
    frozen: jobq.Queue, router: jobq.Router, note: Any
) -> None:
    limit = RateLimit("p", 60, per=60, max_cost=30)
    dear = router.handler("dear", limits=[limit])(note)
    cheap = router.handler("cheap", limits=[limit])(note)
    frozen.enqueue(dear, {}, cost={"p": 30})
    saving = frozen.enqueue(dear, {}, cost={"p": 30})
    assert drain(frozen) == 1
    frozen.enqueue(cheap, {})
    assert drain(frozen) == 0
    frozen.cancel(saving.id)
    frozen.reset_limit("p")
    assert drain(frozen) == 1


def test_a_paused_limit_starts_nothing_until_its_time_or_a_resume(
    frozen: jobq.Queue, router: jobq.Router, note: Any, clock: FrozenClock
) -> None:
    handler = router.handler("t", limits=[RateLimit("p", 60, per=60)])(note)
    frozen.enqueue(handler)
    frozen.pause_limit("p", reason="maintenance")
    assert drain(frozen) == 0
    [info] = frozen.limits()
    assert (info.paused, info.reason, info.waiting) == (True, "maintenance", 1)
    frozen.resume_limit("p")
    until = datetime.fromtimestamp(clock.now() / 1e6, UTC) + MINUTE
    frozen.pause_limit("p", until=until)
    assert drain(frozen) == 0
    clock.advance(MINUTE)
    assert drain(frozen) == 1
    with pytest.raises(jobq.OptionError, match="there is no limit 'q'"):
        frozen.resume_limit("q")


def test_of_two_living_declarations_the_slower_holds_and_the_faster_returns_after_it(
    frozen: jobq.Queue, clock: FrozenClock
) -> None:
    store = frozen._store()

    def declares(worker: str, n: int) -> Any:
        spec = {"p": f'{{"kind":"rate","n":{n},"per":60.0,"max_cost":1,"headroom":0.01}}'}
        store.run(backends.ops.heartbeat, **_worker_row(worker, spec))
        [declaration] = store.run(backends.ops.declare_limits, spec, worker=worker)
        return declaration

    assert not declares("fast", 60).differs
    assert not declares("slow", 10).differs
    assert declares("fast", 60).differs
    assert frozen.limits()[0].n == 10
    clock.advance(MINUTE)  # the slow one's lease has ended
    assert not declares("fast", 60).differs
    assert frozen.limits()[0].n == 60


def _worker_row(name: str, limits: dict[str, str]) -> dict[str, Any]:
    from jobq._payload import dumps

    row: dict[str, Any] = dict.fromkeys(("label", "host"), name)
    return row | {
        "id": name,
        "pid": 1,
        "queues": "[]",
        "types": "[]",
        "limits": dumps(limits),
        "pools": "{}",
        "slots": 1,
        "busy": 0,
        "abandoned": 0,
        "lease": 30_000_000,
    }


# --- key pools, settling ------------------------------------------------------------------------


@pytest.fixture
def pool() -> KeyPool:
    keys = {"a": "secret-a", "b": "secret-b"}
    return KeyPool("gemini", keys=keys, limit=RateLimit("gemini:{key}", 1, per=60))


def test_the_keys_of_a_pool_are_used_in_turn_and_only_their_names_are_stored(
    frozen: jobq.Queue, router: jobq.Router, pool: KeyPool
) -> None:
    used: list[str] = []

    @router.handler("t", limits=[pool])
    async def handler(payload: None, job: jobq.JobContext) -> None:
        used.append(job.key("gemini"))

    frozen.enqueue_many((handler, None) for _ in range(4))
    assert drain(frozen) == 2
    assert sorted(used) == ["secret-a", "secret-b"]
    held = frozen.list(status="pending").jobs[0]
    assert held.waiting_for is None or held.waiting_for.limit == "@gemini"
    assert drain(frozen, with_scheduled=True) == 2
    for table in ("jobq_job", "jobq_limit", "jobq_lane", "jobq_worker"):
        assert "secret" not in str(sql(frozen, f"SELECT * FROM {table}"))


class Unauthorized(Exception):
    status_code = 401


def test_a_key_that_is_refused_is_benched_and_its_jobs_move_on(
    frozen: jobq.Queue, router: jobq.Router, pool: KeyPool
) -> None:
    used: list[str] = []

    @router.handler("t", limits=[pool])
    async def handler(payload: None, job: jobq.JobContext) -> None:
        used.append(job.key("gemini"))
        if used[-1] == "secret-a":
            raise Unauthorized("the key is invalid")

    frozen.enqueue_many((handler, None) for _ in range(3))
    drain(frozen, with_scheduled=True)
    assert frozen.counts()["completed"] == 3
    assert used.count("secret-a") == 1
    benched = {info.key: info for info in frozen.limits()}["@gemini/a"]
    assert benched.blocked_until is not None


@pytest.mark.parametrize("real, used", [(10, 10), (900, 900), (500, 500)])
async def test_a_handler_settles_what_its_job_really_cost(
    afrozen: jobq.AsyncQueue, router: jobq.Router, real: int, used: int
) -> None:
    limits = [RateLimit("tpm", 10_000, per=60, max_cost=1000, cost=500)]

    @router.handler("t", limits=limits)
    async def handler(payload: None, job: jobq.JobContext) -> None:
        await job.settle(real)

    await afrozen.enqueue(handler)
    await adrain(afrozen)
    [info] = await afrozen.limits()
    assert info.used == used


@pytest.mark.parametrize(
    "limit", [RateLimit("tpm", 10_000, per=60, max_cost=1000), DailyQuota("tpm", 1000)]
)
@pytest.mark.parametrize("units, used", [(-400, 100), (400, 1300)])
def test_a_correction_that_is_sent_again_never_gives_units_back_twice(
    frozen: jobq.Queue,
    router: jobq.Router,
    note: Any,
    clock: FrozenClock,
    limit: Any,
    units: int,
    used: int,
) -> None:
    handler = router.handler("t", limits=[limit])(note)
    frozen.enqueue(handler, cost={"tpm": 500})
    assert drain(frozen, with_scheduled=True) == 1
    correction = {"key": "tpm", "template": "tpm", "units": units, "start": clock.now()}
    for again in (False, True):
        frozen._store().run(backends.ops.settle, **correction, again=again)
    assert [info.used for info in frozen.limits()] == [used]


# --- what may have been done already ------------------------------------------------------------


def _crash(queue: jobq.Queue, clock: FrozenClock) -> None:
    store = queue._store()
    store.run(
        backends.ops.claim,
        queues=["default"],
        types=["t"],
        slots=1,
        worker="dead",
        lease=1_000_000,
        margin=0,
    )
    clock.advance(MINUTE)


def test_a_crash_fails_a_job_that_must_not_be_done_twice(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock, note: Any
) -> None:
    handler = router.handler("t", on_ambiguous="fail")(note)
    id = frozen.enqueue(handler).id
    _crash(frozen, clock)
    assert drain(frozen) == 0
    job = frozen.get(id)
    assert (job.status, job.error_code, job.crash_count) == ("failed", "ambiguous_crash", 1)


@pytest.mark.parametrize("found", [{"url": "u"}, None])
def test_after_a_crash_the_verifier_is_asked_first(
    frozen: jobq.Queue, router: jobq.Router, clock: FrozenClock, found: Any
) -> None:
    asked: list[int] = []

    async def verify(payload: None, job: jobq.JobContext) -> Any:
        asked.append(job.attempt)
        return found

    @router.handler("t", on_ambiguous="verify", verify=verify)
    async def handler(payload: None, job: jobq.JobContext) -> str:
        return "done again"

    id = frozen.enqueue(handler).id
    _crash(frozen, clock)
    assert drain(frozen) == 1
    assert asked == [2]
    assert frozen.get(id).result == (found or "done again")


def test_a_pause_is_never_shortened(frozen: jobq.Queue, clock: FrozenClock) -> None:
    store = frozen._store()
    for seconds in (100, 10):
        row = {"key": "p", "delay": seconds * 1_000_000, "until": None, "reason": f"{seconds}"}
        store.run(backends.ops.block, [row])
    [info] = frozen.limits()
    assert info.blocked_until == clock.time + timedelta(seconds=100)
    assert (info.reason, info.refused) == ("100", 2)


def test_jobs_that_were_stored_with_limits_keep_them_when_the_handler_has_none_any_more(
    frozen: jobq.Queue, router: jobq.Router, note: Any
) -> None:
    before = jobq.Router()
    handler = before.handler("t", limits=[RateLimit("p", 1, per=60)])(note)
    with jobq.Queue(frozen._config.url, router=before, clock=frozen._config.clock) as old:
        old.enqueue_many((handler, None) for _ in range(3))
        assert drain(old) == 1
    router.handler("t")(note)
    assert drain(frozen) == 0
    frozen.enqueue("t", None)
    assert drain(frozen) == 1


def test_a_worker_says_that_an_operator_s_numbers_hold(
    frozen: jobq.Queue, router: jobq.Router, note: Any, caplog: pytest.LogCaptureFixture
) -> None:
    router.handler("t", limits=[RateLimit("p", 60, per=60)])(note)
    frozen.set_limit(RateLimit("p", 5, per=60))
    drain(frozen)
    assert "limit 'p': an operator has set" in caplog.text


def test_a_job_whose_handler_is_not_known_is_not_ready_to_be_claimed(frozen: jobq.Queue) -> None:
    frozen.enqueue("t", None)
    frozen.enqueue_many([("t", None)])
    ready = sql(frozen, "SELECT ready FROM jobq_job")
    assert [bool(row[0]) for row in ready] == [False, False]


# --- a clock that is set back: F21 ---------------------------------------------------------------


class Slipping(FrozenClock):
    """A clock that is set back by an hour once it has been read so many times."""

    reads_left = 0

    def now(self) -> int:
        self.reads_left -= 1
        if self.reads_left == 0:
            self.set(self.time - timedelta(hours=1))
        return super().now()


def test_a_clock_that_is_set_back_at_any_moment_locks_no_limit(
    url: str, router: jobq.Router
) -> None:
    clock = Slipping()
    with jobq.Queue(url, router=router, clock=clock) as queue:
        for reads in range(1, 45, 3):
            limit = RateLimit(f"p{reads}", 60, per=60)
            handler = router.handler(f"t{reads}", limits=[limit])(lambda payload: None)
            queue.enqueue_many((handler, None) for _ in range(3))
            clock.reads_left = reads
            drain(queue)
            for _ in range(5):
                clock.advance(1)
                drain(queue)
            assert queue.counts()["pending"] == 0, f"set back at read {reads}"


def test_a_refusal_just_after_the_clock_was_set_back_locks_no_limit(
    frozen: jobq.Queue, clock: FrozenClock, router: jobq.Router
) -> None:
    refusals = [jobq.RateLimited(2.0), None, None]

    @router.handler("t", limits=[RateLimit("p", 60, per=60)])
    async def refused() -> None:
        if (refusal := refusals.pop(0)) is not None:
            clock.set(clock.time - timedelta(hours=1))
            raise refusal

    frozen.enqueue_many((refused, None) for _ in range(2))
    drain(frozen)
    for _ in range(5):
        clock.advance(1.5)
        drain(frozen)
    assert frozen.counts()["completed"] == 2
