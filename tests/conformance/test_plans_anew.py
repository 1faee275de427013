"""What a worker prepares on PostgreSQL is planned anew, whatever the tables held before."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import jobq
from jobq import backends
from jobq.backends import ops
from jobq.backends._statement import Call, reading
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


async def test_what_a_worker_prepares_is_planned_for_the_tables_as_they_are(postgres: str) -> None:
    async with a_queue(postgres) as queue, aclosing(backend_of(queue).async_store(5)) as claims:
        outcomes = backend_of(queue).outcome_store(5)
        assert outcomes is not None
        async with aclosing(outcomes):
            await work(queue, claims, outcomes)
            asked = {
                "SKIP LOCKED": await claims.run(prepared),
                "jobq_attempt": await outcomes.run(prepared),
            }
    for word, found in asked.items():
        plans = [plans for text, *plans in found if word in text]
        assert plans == [[0, 2 * BEFORE_ONE_IS_KEPT]]


async def test_where_the_server_chooses_nothing_is_prepared_that_needs_it_planned_anew(
    postgres: str,
) -> None:
    async with a_queue(postgres) as queue, aclosing(backend_of(queue).async_store()) as store:
        await work(queue, store, store)
        texts = [text for text, *_ in await store.run(prepared)]
    assert not [text for text in texts if "SKIP LOCKED" in text or "jobq_attempt" in text]
