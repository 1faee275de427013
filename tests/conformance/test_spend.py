"""The ledger: every request that cost money counts once, and budgets stop what goes on and on."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

import jobq
from jobq._model import new_id
from jobq.backends import ops
from jobq.testing import drain, perform
from tests.conformance.situations import run, sql

DAY = 86_400.0
PRICE = Decimal("0.039")


def row(job_id: str, **options: Any) -> ops.SpendRow:
    facts: dict[str, Any] = {
        "id": new_id(),
        "provider": "gemini",
        "request_id": None,
        "micros": 39_000,
        "model": None,
        "units": None,
        "job_id": job_id,
        "type": "work",
        "queue": "default",
        "owner": None,
        "attempt": 1,
        "fence": 1,
        "worker": "worker-1",
    }
    return ops.SpendRow(**facts | options)


def spent(queue: jobq.Queue, by: str = "type", **which: Any) -> dict[str | None, Decimal]:
    return {total.key: total.usd for total in queue.spend(by, **which)}


def painter(router: jobq.Router, calls: int = 1, **options: Any) -> jobq.Handler[dict, list]:
    """A handler that pays for so many images; the request ids are its payload's, or none."""

    @router.handler("paint", **options)
    async def paint(payload: dict, job: jobq.JobContext) -> list:
        said = []
        for n in range(calls):
            ids = payload.get("requests")
            one = await job.spend(
                usd=PRICE, provider="gemini", model="image", request_id=ids[n] if ids else None
            )
            said.append([str(one.usd), one.recorded, str(one.job), one.over])
        return said

    return paint


# --- recording ---------------------------------------------------------------------------------


def test_what_a_handler_spends_is_in_the_ledger(queue, router):
    painter(router, calls=2)
    job = queue.enqueue("paint", {}, owner="ada")
    drain(queue)
    assert queue.get(job.id).result == [
        ["0.039000", True, "0.039000", False],
        ["0.039000", True, "0.078000", False],
    ]
    [total] = queue.spend()
    assert (total.key, total.usd, total.requests) == ("paint", Decimal("0.078"), 2)
    assert total.retried_micros == 0
    [stored] = sql(queue, "SELECT DISTINCT job_id, owner, model, attempt, queue FROM jobq_spend")
    assert (str(stored[0]), *stored[1:]) == (job.id, "ada", "image", 1, "default")


def test_a_handler_in_a_thread_spends_as_well(queue, router):
    @router.handler("paint", budget=jobq.Budget(per_job=1))
    def paint(payload: dict, job: jobq.SyncJobContext) -> str:
        job.afford("0.039")
        return str(job.spend(usd=0.039, provider="gemini", units={"images": 1}).job)

    job = queue.enqueue("paint", {})
    drain(queue)
    assert queue.get(job.id).result == "0.039000"
    assert spent(queue) == {"paint": PRICE}


def test_each_job_of_a_batch_call_spends_for_itself(queue, router):
    @router.handler("embed", batch=10, budget=jobq.Budget(per_job="0.5"))
    async def embed(texts: list[str], jobs: list[jobq.JobContext]) -> list[str]:
        return [str((await job.spend(usd="0.2", provider="x")).job) for job in jobs]

    jobs = [queue.enqueue("embed", "a") for _ in range(3)]
    drain(queue)
    assert [queue.get(job.id).result for job in jobs] == ["0.200000"] * 3
    assert spent(queue, "job") == {job.id: Decimal("0.2") for job in jobs}


def test_one_request_of_a_provider_counts_once_whoever_records_it(queue, router):
    painter(router, calls=2)
    first = queue.enqueue("paint", {"requests": ["r1", "r1"]})
    drain(queue)
    assert [one[1] for one in queue.get(first.id).result] == [True, False]
    queue.enqueue("paint", {"requests": ["r1", "r2"]})
    drain(queue)
    assert spent(queue) == {"paint": 2 * PRICE}


def test_the_same_id_of_another_provider_is_another_request(queue):
    for provider in ("gemini", "openai", "gemini"):
        run(queue, ops.record, row(new_id(), provider=provider, request_id="r1"), budget=None)
    assert spent(queue, "provider") == {"gemini": PRICE, "openai": PRICE}


def test_a_repeat_with_another_amount_changes_nothing_and_is_told(queue, router, caplog):
    @router.handler("paint")
    async def paint(payload: dict, job: jobq.JobContext) -> bool:
        await job.spend(usd=1, provider="gemini", request_id="r1")
        return (await job.spend(usd=2, provider="gemini", request_id="r1")).recorded

    job = queue.enqueue("paint", {})
    drain(queue)
    assert queue.get(job.id).result is False
    assert spent(queue) == {"paint": 1}
    assert "recorded with 1000000 micro-dollars, not 2000000" in caplog.text


def test_a_record_that_is_sent_again_after_a_lost_connection_counts_once(queue):
    sent = row(new_id())
    first = run(queue, ops.record, sent, budget=None)
    again = run(queue, ops.record, sent, budget=None, again=True)
    assert first == again
    assert (again.earlier, again.sums.job) == (None, 39_000)


def test_the_same_request_recorded_by_many_at_once_counts_once(queue):
    def record() -> None:
        with jobq.Queue(queue._config.url) as other:
            for n in range(5):
                run(other, ops.record, row(new_id(), request_id=f"r{n}"), budget=None)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [total] = queue.spend()
    assert (total.requests, total.usd) == (5, 5 * PRICE)


async def test_what_a_handler_spends_that_has_lost_its_job_is_spent_all_the_same(aqueue, router):
    asked, started = asyncio.Event(), asyncio.Event()

    @router.handler("paint")
    async def paint(payload: dict, job: jobq.JobContext) -> None:
        started.set()
        try:
            await asked.wait()
        finally:
            await job.spend(usd=PRICE, provider="gemini", request_id="r1")

    job = await aqueue.enqueue("paint", {})
    async with jobq.Worker(aqueue, lease=1.0).running():
        await started.wait()
        await aqueue.set_status(job.id, "failed", error="by hand")
        while not await aqueue.spend("job"):
            await asyncio.sleep(0.01)
    assert (await aqueue.get(job.id)).error == "by hand"


async def test_what_a_handler_records_as_it_is_cancelled_is_spent_all_the_same(postgres, router):
    release = asyncio.Event()

    @router.handler("h", timeout=0.2, retry=jobq.Retry(max_attempts=1))
    async def handle(job: jobq.JobContext) -> None:
        watch = asyncio.create_task(until_cancelled(job))
        await job.spend(usd="0.04", provider="p")
        await watch

    async def until_cancelled(job: jobq.JobContext) -> None:
        while not job.cancelled:
            await asyncio.sleep(0)
        release.set()

    with psycopg.connect(postgres) as other:
        async with jobq.AsyncQueue(postgres, router=router) as queue:
            job = await queue.enqueue(handle)
            other.execute("LOCK TABLE jobq_spend IN EXCLUSIVE MODE")
            working = asyncio.create_task(jobq.Worker(queue).run_once())
            await release.wait()
            other.rollback()
            assert await working == 1
            assert (await queue.get(job.id)).error_code == "timeout"
            [total] = await queue.spend()
    assert (total.micros, total.requests) == (40_000, 1)


def test_failed_and_repeated_attempts_count_and_are_told_apart(queue, router):
    @router.handler("paint", retry=jobq.Retry(max_attempts=3, backoff=jobq.Fixed(0)))
    async def paint(payload: dict, job: jobq.JobContext) -> None:
        await job.spend(usd=PRICE, provider="gemini")
        if job.attempt < 3:
            raise ValueError("no image in the answer")

    queue.enqueue("paint", {})
    drain(queue)
    [total] = queue.spend()
    assert (total.requests, total.usd, total.retried_usd) == (3, 3 * PRICE, 2 * PRICE)


def test_the_ledger_outlives_its_jobs(queue, router):
    painter(router)
    job = queue.enqueue("paint", {}, owner="ada")
    drain(queue)
    queue.delete(job.id)
    assert spent(queue, "owner") == {"ada": PRICE}


# --- budgets -----------------------------------------------------------------------------------


def loops(router: jobq.Router, made: list[str], **options: Any) -> None:
    """A handler that never stops by itself."""

    @router.handler("loop", **options)
    async def loop(payload: dict, job: jobq.JobContext) -> None:
        while True:
            made.append(job.id)
            await job.spend(usd="0.10", provider="gemini")


def test_a_runaway_loop_is_stopped_by_its_budget(queue, router):
    made: list[str] = []
    loops(router, made, budget=jobq.Budget(per_job="0.50"))
    job = queue.enqueue("loop", {})
    drain(queue)
    found = queue.get(job.id)
    assert (found.status, found.error_code, found.attempts) == ("failed", "budget_exceeded", 1)
    assert found.error == "the job has spent $0.60 of the budget of $0.50"
    assert len(made) == 6  # the sixth was told that there should have been none
    assert spent(queue) == {"loop": Decimal("0.60")}


def test_asked_before_each_call_not_a_cent_more_is_spent(queue, router):
    @router.handler("loop", budget=jobq.Budget(per_job="0.50"))
    async def loop(payload: dict, job: jobq.JobContext) -> None:
        while True:
            await job.afford("0.15")
            await job.spend(usd="0.15", provider="gemini")

    job = queue.enqueue("loop", {})
    drain(queue)
    assert queue.get(job.id).error_code == "budget_exceeded"
    assert spent(queue) == {"loop": Decimal("0.45")}


def test_retries_begin_no_attempt_that_there_is_no_money_for(queue, router):
    begun = []
    forever = jobq.Retry(max_attempts=1000, backoff=jobq.Fixed(0))

    @router.handler("paint", retry=forever, budget=jobq.Budget(per_job="0.10"))
    async def paint(payload: dict, job: jobq.JobContext) -> None:
        begun.append(job.attempt)
        await job.spend(usd="0.04", provider="gemini")
        raise ValueError("no image")

    job = queue.enqueue("paint", {})
    drain(queue)
    found = queue.get(job.id)
    assert (found.status, found.error_code) == ("failed", "budget_exceeded")
    assert begun == [1, 2, 3]
    assert spent(queue) == {"paint": Decimal("0.12")}


def test_a_handler_may_keep_what_it_has_when_its_budget_is_used_up(queue, router):
    @router.handler("paint", budget=jobq.Budget(per_job="0.10"))
    async def paint(payload: dict, job: jobq.JobContext) -> int:
        images = 0
        while not (await job.spend(usd="0.04", provider="gemini")).over:
            images += 1
        try:
            await job.afford()
        except jobq.BudgetExceeded:
            return images + 1
        return 0

    job = queue.enqueue("paint", {})
    drain(queue)
    assert (queue.get(job.id).status, queue.get(job.id).result) == ("completed", 3)


def test_an_owner_has_so_much_a_day_over_all_types_and_jobs(frozen, clock, router):
    budget = jobq.Budget(per_owner_day="0.10")
    painter(router, budget=budget)

    @router.handler("write", budget=budget)
    async def write(payload: dict, job: jobq.JobContext) -> None:
        await job.spend(usd="0.07", provider="openai")

    def outcome(type: str, **options: Any) -> str:
        job = frozen.enqueue(type, {}, **options)
        drain(frozen)
        found = frozen.get(job.id)
        return found.error_code or found.status.value

    assert outcome("paint", owner="ada") == outcome("write", owner="ada") == "completed"
    assert outcome("paint", owner="ada") == outcome("write", owner="ada") == "budget_exceeded"
    assert outcome("paint", owner="bob") == outcome("paint") == "completed"
    clock.advance(DAY)
    assert outcome("paint", owner="ada") == "completed"
    assert spent(frozen, "owner") == {"ada": Decimal("0.148"), "bob": PRICE, None: PRICE}


def test_an_owners_day_is_that_of_the_budgets_time_zone(frozen, clock, router):
    painter(router, budget=jobq.Budget(per_owner_day="0.01", tz="Europe/Berlin"))

    def code() -> str | None:
        job = frozen.enqueue("paint", {}, owner="ada")
        drain(frozen)
        return frozen.get(job.id).error_code

    clock.set(datetime(2031, 6, 1, 21, 59, tzinfo=UTC))
    assert [code(), code()] == [None, "budget_exceeded"]
    clock.set(datetime(2031, 6, 1, 22, 0, tzinfo=UTC))
    assert [code(), code()] == [None, "budget_exceeded"]


def test_a_queue_has_a_budget_for_handlers_that_have_none(url, router):
    made: list[str] = []
    loops(router, made)
    painter(router, calls=5, budget=jobq.Budget(per_job=1))
    budget = jobq.Budget(per_job="0.05")
    with jobq.Queue(url, router=router, budget=budget) as queue:
        stopped, painted = queue.enqueue("loop", {}), queue.enqueue("paint", {})
        drain(queue)
        assert queue.get(stopped.id).error_code == "budget_exceeded"
        assert queue.get(painted.id).status == "completed"


def test_a_job_of_a_batch_call_that_has_no_money_left_does_not_take_part(queue, router):
    @router.handler("embed", batch=10, budget=jobq.Budget(per_owner_day="0.10"))
    async def embed(texts: list[str], jobs: list[jobq.JobContext]) -> list[str]:
        return [job.owner or "" for job in jobs]

    run(queue, ops.record, row(new_id(), owner="ada", micros=100_000), budget=None)
    jobs = [queue.enqueue("embed", "a", owner=owner) for owner in ("ada", "bob")]
    drain(queue)
    ended = [queue.get(job.id) for job in jobs]
    assert [job.error_code for job in ended] == ["budget_exceeded", None]
    assert ended[1].result == "bob"


def test_without_a_budget_nothing_is_looked_up(queue, router, monkeypatch):
    @router.handler("work")
    async def work(payload: dict, job: jobq.JobContext) -> None:
        await job.afford(5)

    monkeypatch.delattr("jobq._spending.Spending._sums")
    job = queue.enqueue("work", {})
    drain(queue)
    assert queue.get(job.id).status == "completed"


def test_bad_amounts_are_the_handlers_error(queue, router):
    @router.handler("work", retry=jobq.Retry(max_attempts=1))
    async def work(payload: dict, job: jobq.JobContext) -> None:
        await job.spend(usd=-1, provider="gemini")

    job = queue.enqueue("work", {})
    drain(queue)
    assert "usd=-1 is negative" in (queue.get(job.id).error or "")
    assert queue.spend() == []


# --- adding up ---------------------------------------------------------------------------------


@pytest.fixture
def ledger(frozen: jobq.Queue, clock: Any) -> tuple[str, str]:
    """Two jobs' requests over two days and a half."""
    one, two = new_id(), new_id()
    for hours, job_id, owner, model in (
        (0, one, "ada", "image"),
        (11, one, "ada", "text"),
        (13, two, None, "image"),
        (36, two, None, None),
    ):
        clock.set(datetime(2031, 1, 1, 12, tzinfo=UTC) + timedelta(hours=hours))
        attempt = 1 if owner else 2
        type = "paint" if owner else "write"
        facts = row(job_id, owner=owner, model=model, attempt=attempt, type=type)
        run(frozen, ops.record, facts, budget=None)
    return one, two


def test_the_ledger_adds_up_by_anything(frozen, ledger):
    one, two = ledger
    both = {"paint": 2 * PRICE, "write": 2 * PRICE}
    assert spent(frozen) == both
    assert spent(frozen, "owner") == {"ada": 2 * PRICE, None: 2 * PRICE}
    assert spent(frozen, "model") == {"image": 2 * PRICE, "text": PRICE, None: PRICE}
    assert spent(frozen, "provider") == {"gemini": 4 * PRICE}
    assert spent(frozen, "queue") == {"default": 4 * PRICE}
    assert spent(frozen, "job") == {one: 2 * PRICE, two: 2 * PRICE}
    assert {total.key: total.retried_usd for total in frozen.spend()} == {
        "paint": 0,
        "write": 2 * PRICE,
    }


def test_days_are_those_of_a_time_zone_the_latest_first(frozen, ledger):
    assert list(spent(frozen, "day").items()) == [
        ("2031-01-03", PRICE),
        ("2031-01-02", PRICE),
        ("2031-01-01", 2 * PRICE),
    ]
    assert spent(frozen, "day", tz="Asia/Kathmandu") == {
        "2031-01-01": PRICE,
        "2031-01-02": 2 * PRICE,
        "2031-01-03": PRICE,
    }


def test_a_part_of_the_ledger_adds_up_as_well(frozen, ledger):
    _, two = ledger
    second = datetime(2031, 1, 2, tzinfo=UTC)
    assert spent(frozen, since=second) == {"write": 2 * PRICE}
    assert spent(frozen, until=second) == {"paint": 2 * PRICE}
    assert spent(frozen, since=second, until=second + timedelta(days=1)) == {"write": PRICE}
    assert spent(frozen, "model", owner="ada") == {"image": PRICE, "text": PRICE}
    assert spent(frozen, "model", type="write") == {"image": PRICE, None: PRICE}
    assert spent(frozen, "owner", job=two) == {None: 2 * PRICE}


async def test_the_asynchronous_face_adds_up_the_same(afrozen, ledger):
    sums = {total.key: total.usd for total in await afrozen.spend("owner")}
    assert sums == {"ada": 2 * PRICE, None: 2 * PRICE}


@pytest.mark.parametrize(
    "bad",
    [
        {"by": "colour"},
        {"tz": "Mars/Olympus"},
        {"since": datetime(2031, 1, 1)},  # noqa: DTZ001  what is refused
        {"until": "today"},
        {"owner": 5},
        {"type": ""},
        {"job": "x"},
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(queue, bad):
    with pytest.raises(jobq.OptionError):
        queue.spend(**bad)


# --- without a database ------------------------------------------------------------------------


def test_what_a_performed_handler_spends_is_noted_and_held_against_its_budget(router):
    made: list[str] = []
    loops(router, made, budget=jobq.Budget(per_job="0.25"))
    handler = router.get("loop")
    requests: list[Any] = []
    with pytest.raises(jobq.BudgetExceeded):
        perform(handler, {}, spends=requests)
    assert [one.micros for one in requests] == [100_000] * 4


def test_a_performed_sync_handler_spends_too():
    router = jobq.Router()

    @router.handler("paint")
    def paint(payload: dict, job: jobq.SyncJobContext) -> list:
        job.afford(1)
        told = [job.spend(usd=1, provider="x", request_id="r") for _ in range(2)]
        return [one.recorded for one in told]

    assert perform(paint, {}) == [True, False]
