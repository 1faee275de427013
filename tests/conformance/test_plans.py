"""How often PostgreSQL plans what a worker prepares: at each call, or once and for all."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest

import jobq
from jobq import backends
from jobq.backends import ops
from jobq.backends._statement import Call, reading
from jobq.backends.postgres.aio import AsyncPostgresStore
from tests.conformance.situations import COMPLETED, LEASE, MARGIN, ending

CLAIM: dict[str, Any] = {
    "queues": ["default"],
    "types": ["work"],
    "slots": 10,
    "worker": "worker-1",
    "lease": LEASE,
    "margin": MARGIN,
}
BEFORE_ONE_IS_KEPT = 5
"""So many plans PostgreSQL makes before it asks itself whether one would do."""


def a_queue(url: str) -> jobq.AsyncQueue:
    router = jobq.Router()
    router.handler("work")(lambda payload: None)
    return jobq.AsyncQueue(url, router=router)


def backend_of(queue: jobq.AsyncQueue) -> backends.Backend:
    return queue._config.backend


@reading
def prepared(_: Any) -> Any:
    """The text of what a session has prepared, and how it was planned."""
    columns = "statement, generic_plans, custom_plans"
    return (yield Call(f"SELECT {columns} FROM pg_prepared_statements", {}))


async def work(
    queue: jobq.AsyncQueue, claims: backends.AsyncStore, outcomes: backends.AsyncStore
) -> None:
    """Jobs one by one, from when there was none."""
    for _ in range(2 * BEFORE_ONE_IS_KEPT):
        await queue.enqueue("work", {})
        [job] = await claims.run(ops.claim, **CLAIM)
        assert await outcomes.run(ops.finish, [ending(job, COMPLETED)], keep=None)


async def test_claims_are_planned_for_the_tables_as_they_are_and_outcomes_once(
    postgres: str,
) -> None:
    async with a_queue(postgres) as queue, aclosing(backend_of(queue).async_store(5)) as claims:
        outcomes = backend_of(queue).outcome_store(5)
        assert outcomes is not None
        async with aclosing(outcomes):
            await work(queue, claims, outcomes)
            anew, kept = await claims.run(prepared), await outcomes.run(prepared)
    times = 2 * BEFORE_ONE_IS_KEPT
    assert [plans for text, *plans in anew if "SKIP LOCKED" in text] == [[0, times]]
    assert [plans for text, *plans in kept if "jobq_attempt" in text] == [[times, 0]]


async def test_a_worker_with_free_slots_claims_by_a_plan_that_is_kept(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    run = AsyncPostgresStore.run

    async def watched(store: AsyncPostgresStore, op: Any, *args: Any, **kwargs: Any) -> Any:
        if op is ops.claim:
            asked.append(store._reserved)
        return await run(store, op, *args, **kwargs)

    monkeypatch.setattr(AsyncPostgresStore, "run", watched)
    async with a_queue(postgres) as queue:
        await queue.enqueue("work", {})
        assert await jobq.Worker(queue).run_once() == 1
    assert asked[0] == "jobq outcomes"


async def test_where_the_server_chooses_nothing_is_prepared_that_needs_it_planned_anew(
    postgres: str,
) -> None:
    async with a_queue(postgres) as queue, aclosing(backend_of(queue).async_store()) as store:
        await work(queue, store, store)
        texts = [text for text, *_ in await store.run(prepared)]
    assert not [text for text in texts if "SKIP LOCKED" in text or "jobq_attempt" in text]
