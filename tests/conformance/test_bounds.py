"""PostgreSQL behind a network that breaks: whoever waits for an answer is freed in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

import jobq
from jobq._worker.claimer import Claimer
from jobq._worker.finisher import Finisher
from jobq._worker.lease import LeaseKeeper
from jobq._worker.progress import ProgressWriter
from jobq._worker.upkeep import Upkeep
from jobq.backends import _migrations, ops
from jobq.backends._statement import Call, reading
from tests.conformance.situations import COMPLETED as DONE
from tests.conformance.situations import LEASE, MARGIN, claim, ending, sql
from tests.faults.proxy import Proxy

BOUND = 0.3
GENEROUS = 30.0
"""Seconds after which a call that should have been freed counts as one that never returns."""


@pytest.fixture
def proxy(postgres: str) -> Iterator[Proxy]:
    with Proxy(postgres) as proxy:
        yield proxy


@pytest.fixture
def far(proxy: Proxy, router: jobq.Router, known: jobq.Handler[dict, dict]) -> Iterator[jobq.Queue]:
    """A queue beyond the network."""
    del known
    with jobq.Queue(
        proxy.url, router=router, patience=BOUND, statement_timeout=BOUND, pool_size=4
    ) as queue:
        yield queue


def freed(work: Callable[[], Any]) -> Any:
    """What a call returns; an error if it never does."""
    answer: list[Any] = []

    def call() -> None:
        try:
            answer.append(work())
        except jobq.BackendUnavailable as error:
            answer.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(GENEROUS)
    assert answer, "the call never returns"
    return answer[0]


def goes_on(work: Callable[[], Any]) -> Any:
    """What a call returns once the network is there again."""
    while isinstance(answer := freed(work), jobq.BackendUnavailable):
        pass
    return answer


async def afreed(work: Awaitable[Any]) -> Any:
    """`freed`, for what is awaited."""
    done, _ = await asyncio.wait([asyncio.ensure_future(work)], timeout=GENEROUS)
    assert done, "the call never returns"
    try:
        return await done.pop()
    except jobq.BackendUnavailable as error:
        return error


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "enqueue": lambda face, _: face.enqueue("work", {}),
    "enqueue of a megabyte": lambda face, _: face.enqueue("work", {"text": "x" * 1_000_000}),
    "enqueue_many": lambda face, _: face.enqueue_many([("work", {})] * 2000),
    "get": lambda face, job: face.get(job),
    "cancel": lambda face, job: face.cancel(job),
    "counts": lambda face, _: face.counts(),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_on_a_frozen_connection_is_freed(far: jobq.Queue, proxy: Proxy, name: str) -> None:
    id = far.enqueue("work", {}).id
    proxy.freeze()
    assert isinstance(freed(lambda: CALLS[name](far, id)), jobq.BackendUnavailable)
    proxy.thaw()
    assert goes_on(lambda: far.get(id)).id == id


@pytest.mark.parametrize("name", CALLS)
async def test_an_awaited_call_on_a_frozen_connection_is_freed(
    far: jobq.Queue, proxy: Proxy, name: str
) -> None:
    async with far.aio as afar:
        id = (await afar.enqueue("work", {})).id
        proxy.freeze()
        assert isinstance(await afreed(CALLS[name](afar, id)), jobq.BackendUnavailable)
        proxy.thaw()
        while isinstance(job := await afreed(afar.get(id)), jobq.BackendUnavailable):
            pass
        assert job.id == id


async def test_a_crowd_without_connections_is_told_why_and_asks_the_server_nothing(
    far: jobq.Queue, proxy: Proxy
) -> None:
    crowd = 40
    async with far.aio as afar:
        await afar.counts()
        proxy.freeze()
        answers = await asyncio.gather(*(afreed(afar.counts()) for _ in range(crowd)))
        told = [str(answer) for answer in answers]
        assert all("no answer" in one or "the server has not answered" in one for one in told)
        assert proxy.accepted < crowd / 2  # the pool's own, and no connection for each that asks


def test_a_server_that_falls_silent_on_a_new_connection_is_told_of(
    far: jobq.Queue, proxy: Proxy
) -> None:
    trap = proxy.hold_reply("pg_backend_pid")
    answer = str(freed(far.counts))
    assert trap.happened.is_set()
    assert "no answer" in answer or "the server has not answered" in answer


async def test_who_waits_for_a_connection_that_all_have_is_told_so(far: jobq.Queue) -> None:
    async with far.aio as afar:
        await afar.counts()
        store: Any = afar._store()
        pool = store._pool
        held = [await store._take(pool) for _ in range(4)]
        answer = await afreed(afar.counts())
        assert str(answer) == "PostgreSQL: no connection: all 4 of the pool are in use"
        for connection in held:
            await pool.putconn(connection)


async def test_a_cancelled_call_on_a_frozen_connection_ends(proxy: Proxy) -> None:
    async with jobq.AsyncQueue(proxy.url, statement_timeout=3600.0) as far:
        await far.counts()
        proxy.freeze()
        asked = proxy.held
        call = asyncio.ensure_future(far.counts())
        while proxy.held == asked:
            await asyncio.sleep(0)
        call.cancel()
        done, _ = await asyncio.wait([call], timeout=GENEROUS)
        assert done
        assert call.cancelled()


def call_of_a_worker(queue: jobq.Queue, name: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """A unit of work, and its arguments."""
    queue.enqueue("work", {})
    (job,) = claim(queue)
    lease = {"lease": LEASE, "margin": MARGIN}
    match name:
        case "claim":
            queues: dict[str, Any] = {"queues": ["default"], "types": ["work"]}
            return ops.claim, (), queues | lease | {"slots": 1, "worker": "w"}
        case "renew":
            return ops.renew, ([(job.id, job.fence)],), lease
        case _:
            return ops.finish, ([ending(job, DONE)],), {"keep": None}


@pytest.mark.parametrize("name", ["claim", "renew", "finish"])
def test_a_call_of_a_worker_is_freed(far: jobq.Queue, proxy: Proxy, name: str) -> None:
    op, args, kwargs = call_of_a_worker(far, name)
    store = far._config.lease_store(within=BOUND)
    store.run(ops.survey, types=[])
    proxy.freeze()
    assert isinstance(freed(lambda: store.run(op, *args, **kwargs)), jobq.BackendUnavailable)
    store.close()


@pytest.mark.parametrize("name", ["claim", "renew", "finish"])
async def test_an_awaited_call_of_a_worker_is_freed(
    far: jobq.Queue, proxy: Proxy, name: str
) -> None:
    op, args, kwargs = await asyncio.to_thread(call_of_a_worker, far, name)
    store = far._config.outcome_store(within=BOUND)
    assert store is not None
    await store.run(ops.survey, types=[])
    proxy.freeze()
    assert isinstance(await afreed(store.run(op, *args, **kwargs)), jobq.BackendUnavailable)
    await store.aclose()


def test_what_one_dead_connection_cost_the_others_of_its_pool_do_not_cost_again(
    far: jobq.Queue, proxy: Proxy
) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: far.counts(), range(100)))
    connected = proxy.names().count("jobq")
    proxy.forget()
    answers = [freed(far.counts) for _ in range(connected + 1)]
    assert sum(isinstance(answer, jobq.BackendUnavailable) for answer in answers) == 1


def test_an_enqueue_whose_answer_is_lost_is_stored_once(proxy: Proxy) -> None:
    with jobq.Queue(proxy.url) as far:
        far.enqueue("work", {"n": 0})
        trap = proxy.drop_reply("INSERT INTO jobq_job")
        job = far.enqueue("work", {"n": 1})
        assert trap.caught == 1
        assert far.get(job.id) == job
        assert far.counts()["pending"] == 2


async def test_an_awaited_enqueue_whose_answer_is_lost_is_stored_once(proxy: Proxy) -> None:
    async with jobq.AsyncQueue(proxy.url) as far:
        await far.enqueue("work", {"n": 0})
        trap = proxy.drop_reply("INSERT INTO jobq_job")
        job = await far.enqueue("work", {"n": 1}, unique_key="k")
        assert trap.caught == 1
        assert await far.get(job.id) == job
        assert (await far.counts())["pending"] == 2


def test_an_enqueue_that_was_given_up_on_while_the_server_was_at_it_is_stored_once(
    postgres: str, proxy: Proxy
) -> None:
    """The first try waits for a lock, on a connection that is closed; so does the next one."""
    with psycopg.connect(postgres) as other, ThreadPoolExecutor(2) as threads:
        lasting = f"{proxy.url}?options=-cstatement_timeout%3D3600s"  # the server does not give up
        with jobq.Queue(lasting, patience=GENEROUS, statement_timeout=1.0) as far:
            far.enqueue("work", {"n": 0})
            other.execute("LOCK TABLE jobq_job IN SHARE MODE")
            one = threads.submit(far.enqueue, "work", {"n": 1})
            many = threads.submit(far.enqueue_many, [("work", {"n": 2}), ("work", {"n": 3})])
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted"
            while other.execute(waiting).fetchone() != (4,):
                pass
            other.rollback()
            stored = [one.result(GENEROUS).id, *(o.job.id for o in many.result(GENEROUS) if o.job)]
            assert len(far.get_many(stored)) == 3
            assert far.counts()["pending"] == 4


def test_an_enqueue_of_which_nobody_knows_whether_it_is_stored_says_so(
    postgres: str, proxy: Proxy
) -> None:
    with jobq.Queue(proxy.url, patience=BOUND) as far, jobq.Queue(postgres) as near:
        far.enqueue("work", {"n": 0})
        proxy.drop_reply("INSERT INTO jobq_job", then_refuse=True)
        with pytest.raises(jobq.OutcomeUnknown, match="whether the write was done is unknown"):
            far.enqueue("work", {"n": 1}, unique_key="k")
        assert not near.enqueue("work", {"n": 1}, unique_key="k").created
        assert near.counts()["pending"] == 2


async def test_an_awaited_enqueue_of_which_nobody_knows_whether_it_is_stored_says_so(
    postgres: str, proxy: Proxy
) -> None:
    async with jobq.AsyncQueue(proxy.url, patience=BOUND) as far:
        await far.enqueue("work", {"n": 0})
        proxy.drop_reply("INSERT INTO jobq_job", then_refuse=True)
        with pytest.raises(jobq.OutcomeUnknown, match="whether the write was done is unknown"):
            await far.enqueue_many([("work", {"n": 1}, {"unique_key": "k"})])
    async with jobq.AsyncQueue(postgres) as near:
        assert not (await near.enqueue("work", {"n": 1}, unique_key="k")).created


def test_an_enqueue_that_was_never_sent_is_known_not_to_be_stored(proxy: Proxy) -> None:
    with jobq.Queue(proxy.url, patience=BOUND) as far:
        far.counts()
        proxy.refuse()
        proxy.reset()
        with pytest.raises(jobq.BackendUnavailable) as caught:
            far.counts()
        assert not isinstance(caught.value, jobq.OutcomeUnknown)
        with pytest.raises(jobq.BackendUnavailable) as caught:
            far.enqueue("work", {})
        assert not isinstance(caught.value, jobq.OutcomeUnknown)


def test_the_server_ends_by_itself_what_nobody_waits_for(postgres: str) -> None:
    with jobq.Queue(postgres, statement_timeout=10.0) as queue:
        assert _setting(queue, "statement_timeout") == "9s"
        assert _setting(queue, "idle_in_transaction_session_timeout") == "9s"


def test_a_statement_timeout_that_is_set_already_stays(postgres: str) -> None:
    with jobq.Queue(f"{postgres}?options=-cstatement_timeout%3D7s") as queue:
        assert _setting(queue, "statement_timeout") == "7s"


def _setting(queue: jobq.Queue, name: str) -> str:
    def op(_: Any) -> Any:
        return (yield Call(f"SELECT current_setting('{name}')", {}))

    [(value,)] = queue._store().run(reading(op))
    return str(value)


def test_a_slow_statement_is_ended_by_the_server_and_the_connection_kept(postgres: str) -> None:
    def slow(_: Any) -> Any:
        return (yield Call("SELECT pg_sleep(3600)", {}))

    with jobq.Queue(postgres, patience=1.0, statement_timeout=1.0) as queue:
        before = _pid(queue)
        answer = freed(lambda: queue._store().run(reading(slow)))
        assert "statement timeout" in str(answer)
        assert _pid(queue) == before


def _pid(queue: jobq.Queue) -> int:
    def op(_: Any) -> Any:
        return (yield Call("SELECT pg_backend_pid()", {}))

    [(pid,)] = queue._store().run(reading(op))
    return int(pid)


def test_a_migration_may_take_longer_than_a_statement(postgres: str) -> None:
    with psycopg.connect(postgres) as other, jobq.Queue(postgres, statement_timeout=0.1) as queue:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [_migrations.LOCK])
        with ThreadPoolExecutor(1) as threads:
            migrating = threads.submit(queue.migrate)
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while other.execute(waiting).fetchone() != (1,):
                pass
            other.execute("SELECT pg_sleep(0.5)")
            other.rollback()
            assert migrating.result(GENEROUS) == []


@pytest.mark.parametrize("wrong", [0, -1, "5", True, float("nan"), float("inf")])
def test_a_statement_timeout_that_is_none_is_refused(postgres: str, wrong: Any) -> None:
    with pytest.raises(jobq.ConfigurationError, match="statement_timeout"):
        jobq.Queue(postgres, statement_timeout=wrong)


async def test_a_worker_waits_no_longer_for_an_answer_than_its_lease_allows(
    postgres: str, router: jobq.Router
) -> None:
    """Every connection that it has falls silent for ever, before its claim and its outcome."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    @router.handler("work")
    async def work(payload: dict) -> None:
        if payload:
            begun.set()
            await go_on.wait()

    with Proxy(postgres) as proxy, jobq.Queue(postgres, router=router) as near:
        async with jobq.AsyncQueue(proxy.url, router=router, statement_timeout=3600) as far:
            worker = jobq.Worker(far, lease=2.0)
            running = asyncio.create_task(worker.run())
            await near.aio.wait(await near.aio.enqueue("work", {}), timeout=GENEROUS)
            proxy.forget()
            job = await near.aio.enqueue("work", {"waits": True})
            await asyncio.wait_for(begun.wait(), GENEROUS)
            proxy.forget()
            go_on.set()
            assert (await near.aio.wait(job.id, timeout=GENEROUS)).status == "completed"
            worker.stop()
            await asyncio.wait_for(running, GENEROUS)
        await near.aio.aclose()


async def test_outcomes_and_renewals_need_nobody_elses_connections(
    postgres: str, router: jobq.Router
) -> None:
    """Every connection of the worker's pool is dead, and no other can be made."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    @router.handler("work")
    async def work(_: dict) -> None:
        begun.set()
        await go_on.wait()

    with Proxy(postgres) as proxy, jobq.Queue(postgres, router=router) as near:
        async with jobq.AsyncQueue(proxy.url, router=router, statement_timeout=3600) as far:
            worker = jobq.Worker(far, lease=3.0, grace=0.0)
            running = asyncio.create_task(worker.run())
            job = await near.aio.enqueue("work", {})
            await begun.wait()
            proxy.freeze("jobq")
            proxy.refuse()
            renewed = await _lease(near, job.id)
            while await _lease(near, job.id) == renewed:
                await asyncio.sleep(0.01)
            go_on.set()
            assert (await near.aio.wait(job.id, timeout=GENEROUS)).status == "completed"
            proxy.accept()
            proxy.thaw()
            worker.stop()
            await running
        await near.aio.aclose()


async def _lease(queue: jobq.Queue, id: str) -> Any:
    text = f"SELECT CAST(lease_until AS text) FROM jobq_job WHERE id = '{id}'"
    return await asyncio.to_thread(sql, queue, text)


PARTS = [Finisher, ProgressWriter, Upkeep]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("end", ["raises", "returns"])
async def test_a_part_of_a_worker_that_ends_ends_the_worker_loudly(
    aqueue: jobq.AsyncQueue,
    known: jobq.Handler[dict, dict],
    monkeypatch: pytest.MonkeyPatch,
    part: type[Any],
    end: str,
) -> None:
    del known

    async def run(_: Any) -> None:
        if end == "raises":
            raise ZeroDivisionError

    monkeypatch.setattr(part, "run", run)
    with pytest.raises(jobq.WorkerFailed, match=r"jobq .* failed"):
        await asyncio.wait_for(jobq.Worker(aqueue).run(), GENEROUS)


async def test_a_lease_keeper_that_ends_ends_the_worker_loudly(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    del known

    def fail(_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(LeaseKeeper, "_watch_the_loop", fail)
    with pytest.raises(jobq.WorkerFailed, match="jobq lease keeper failed"):
        await asyncio.wait_for(jobq.Worker(aqueue).run(), GENEROUS)


async def test_a_claimer_that_ends_ends_the_worker_loudly(
    aqueue: jobq.AsyncQueue, known: jobq.Handler[dict, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    del known

    async def fail(_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Claimer, "_round", fail)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(jobq.Worker(aqueue).run(), GENEROUS)


def test_a_unit_of_work_on_sqlite_waits_no_longer_than_its_patience(sqlite: str) -> None:
    import sqlite3

    with jobq.Queue(f"{sqlite}?patience={BOUND}") as queue:
        job = queue.enqueue("work", {})
        other = sqlite3.connect(sqlite.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writing: list[Callable[[], Any]] = [
            lambda: queue.enqueue("work", {}),
            lambda: queue.cancel(job.id),
            lambda: claim(queue),
        ]
        for call in writing:
            assert isinstance(freed(call), jobq.BackendUnavailable)
        other.execute("ROLLBACK")
        other.close()
        assert queue.get(job.id).status == "pending"
