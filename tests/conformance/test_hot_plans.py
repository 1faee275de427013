"""What a worker and an enqueuer do all day costs the same, however much lies in the tables.

Whole units of work, on both databases: their pages on PostgreSQL, the steps of its virtual machine
on SQLite. No plan may walk a table of jobs or attempts.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from attrs import evolve

import jobq
from jobq._model import JobStatus
from jobq._outcome import Transition
from jobq.backends import _tables as t
from jobq.backends import ops
from jobq.backends._statement import Call, drive
from jobq.backends.ops.batches import NewBatch
from jobq.backends.ops.insert import NewRow, Terms
from jobq.backends.postgres.plans import ANEW, AS_USUAL, KEPT, Plans
from tests.conformance.explained import Explainer
from tests.conformance.situations import COMPLETED, FAILED, LEASE, MARGIN, SECOND, ending, run, sql

SLOTS = 10
MANY = 10_000
TABLES = ("jobq_job", "jobq_attempt", "jobq_step", "jobq_batch")
CLAIM: dict[str, Any] = {
    "queues": ["default"],
    "types": ["work"],
    "slots": SLOTS,
    "worker": "worker-1",
    "lease": LEASE,
    "margin": MARGIN,
}


# --- the units of work ---------------------------------------------------------------------------


def row(number: int) -> NewRow:
    id = f"01900000-0000-7000-8000-{number:012x}"
    return NewRow(id=id, payload="{}", terms=Terms(type="work"))


def enqueue(d: Any) -> Any:
    return (yield from ops.insert(d, row(1)))


def enqueue_with_unique_key(d: Any) -> Any:
    unique = evolve(row(1).terms, unique_key="one")
    return (yield from ops.insert(d, evolve(row(1), terms=unique)))


def enqueue_many(d: Any) -> Any:
    return (yield from ops.insert_many(d, [row(n) for n in range(SLOTS)]))


def claim(d: Any) -> Any:
    claimed = yield from ops.claim(d, **CLAIM)
    assert len(claimed) == SLOTS
    return [ending(job, COMPLETED) for job in claimed]


def finish(d: Any) -> Any:
    done = yield from ops.finish(d, (yield from claim(d)), keep=86_400 * SECOND)
    assert len(done) == SLOTS
    return done


def finish_again(d: Any) -> Any:
    endings = yield from claim(d)
    yield from ops.finish(d, endings, keep=None)
    done = yield from ops.finish(d, endings, keep=None, again=True)
    assert len(done) == SLOTS
    return done


def fail(d: Any) -> Any:
    endings = [ending._replace(transition=FAILED) for ending in (yield from claim(d))]
    done = yield from ops.finish(d, endings, keep=None)
    assert list(done.values()) == ["failed"] * SLOTS
    return done


def wait(d: Any) -> Any:
    parked = Transition(status=JobStatus.WAITING, outcome="waiting", waits=("event",))
    endings = [ending._replace(transition=parked) for ending in (yield from claim(d))]
    done = yield from ops.finish_with_more(d, endings, keep=None)
    assert list(done.values()) == ["waiting"] * SLOTS
    return done


def end_batches(d: Any) -> Any:
    batch = NewBatch(id=row(2).id, owner=None, then=None)
    yield from ops.insert_batch(d, batch, [row(1)], keep=None)
    return (yield from ops.end_batches(d, [batch.id], keep=None))


def finish_and_delete(d: Any) -> Any:
    endings = [ending._replace(deletes=True) for ending in (yield from claim(d))]
    done = yield from ops.finish(d, endings, keep=None)
    assert len(done) == SLOTS
    return done


def finish_with_more(d: Any) -> Any:
    saved = ("01900000-0000-7000-8000-00000000000a",)
    more = {"deletes": True, "artifacts": saved}
    endings = [ending._replace(**more) for ending in (yield from claim(d))]
    done = yield from ops.finish_with_more(d, endings, keep=None)
    assert len(done) == SLOTS
    return done


def finish_and_claim(d: Any) -> Any:
    done, claimed = yield from ops.joined(d)(d, (yield from claim(d)), CLAIM, keep=None)
    assert len(done) == len(claimed) == SLOTS
    return claimed


def nothing(d: Any) -> Any:
    """What is kept of plans, before there is any job."""
    missing = ops.Ending(row(1).id, 5, 1, 0, "worker-1", COMPLETED)
    yield from ops.claim(d, **CLAIM)
    yield from ops.finish(d, [missing], keep=None)
    yield from ops.finish(d, [missing._replace(deletes=True)], keep=None)
    yield from ops.joined(d)(d, [missing], CLAIM, keep=None)


def claim_limited(d: Any) -> Any:
    ready = yield from ops.ready(d)
    request = ops.Request(
        lanes=ready.lanes,
        slots=SLOTS,
        ahead=SLOTS // 2,
        look_ahead=SECOND,
        worker="worker-1",
        lease=LEASE,
        margin=MARGIN,
        keep=None,
        pools={},
        rivals=([], []),
    )
    grant = yield from ops.claim_limited(d, request)
    assert len(grant.jobs) == SLOTS
    return grant


def survey(d: Any) -> Any:
    return (yield from ops.survey(d, types=["work", "limited"], unfit=[("default", "limited")]))


def untold(d: Any) -> Any:
    return (yield from ops.untold(d, ["shop"]))


UNITS: dict[str, Callable[[Any], Any]] = {
    unit.__name__: unit
    for unit in (
        enqueue,
        enqueue_with_unique_key,
        enqueue_many,
        claim,
        finish,
        finish_again,
        fail,
        wait,
        end_batches,
        finish_and_delete,
        finish_with_more,
        finish_and_claim,
        claim_limited,
        survey,
        untold,
        ops.ready,
        ops.overdue,
    )
}
LOOKS = {"survey", "untold", "overdue"}
"""Those that look whether there is something to do."""
RARE = {"finish_again", "wait", "end_batches"}
"""What is done seldom, and only in the session of outcomes."""


# --- what they cost ------------------------------------------------------------------------------


class Meter:
    """Runs units of work whose changes are taken back, and says what they cost."""

    def __init__(self, url: str, queue: jobq.Queue, plans: Plans) -> None:
        self.url = url
        self.is_postgres = url.startswith("postgresql")
        self._dialect = queue._store().dialect
        self.walks: list[str] = []
        self._prepares = bool(plans)
        if self.is_postgres:  # one session: a new one reads catalogs first
            self._session = psycopg.connect(url, autocommit=True, prepare_threshold=None)
            for table in TABLES:  # nobody else looks what is in them
                self._session.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
            self._explainer = Explainer(self._session, plans)

    def close(self) -> None:
        if self.is_postgres:
            self._session.close()

    def of(self, unit: Callable[[Any], Any]) -> int:
        # The first time also pays for what others left to be tidied.
        return min(self._once(unit) for _ in range(2))

    def _once(self, unit: Callable[[Any], Any]) -> int:
        made = unit(self._dialect)
        return self._on_postgres(made) if self.is_postgres else self._on_sqlite(made)

    def settle(self) -> None:
        """Let the planner know the tables, unless it is to go by what it has prepared."""
        if not self._prepares:
            self.look()

    def look(self) -> None:
        """Let the planner know the tables."""
        if self.is_postgres:
            self._session.execute("VACUUM (ANALYZE)")
        else:
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
                connection.execute("ANALYZE")

    def _on_postgres(self, made: Any) -> int:
        pages = 0

        def execute(call: Call) -> list[Any]:
            nonlocal pages
            with self._session.transaction(force_rollback=True):
                top = self._explainer.plan(call)
            pages += top["Shared Hit Blocks"] + top["Shared Read Blocks"]
            self.walks += [f"{name}: {call.sql}" for name in walked(top)]
            sent: Any = call.sql
            cursor = self._session.execute(sent, call.params)
            return cursor.fetchall() if cursor.description else []

        with self._session.transaction(force_rollback=True):
            drive(made, execute)
        return pages

    def _on_sqlite(self, made: Any) -> int:
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        path = self.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:

            def execute(call: Call) -> list[Any]:
                plan = connection.execute(f"EXPLAIN QUERY PLAN {call.sql}", call.params)
                scans = (line[3] for line in plan if line[3].startswith("SCAN"))
                self.walks += [f"{scan}: {call.sql}" for scan in scans if scan.endswith(TABLES)]
                connection.set_progress_handler(step, 1)
                found = connection.execute(call.sql, call.params).fetchall()
                connection.set_progress_handler(None, 0)
                return found

            connection.execute("BEGIN IMMEDIATE")
            drive(made, execute)
            connection.execute("ROLLBACK")
        return steps


def walked(plan: dict[str, Any]) -> Iterator[str]:
    """The tables of jobs that a plan reads from end to end."""
    if plan["Node Type"] == "Seq Scan" and plan["Relation Name"] in TABLES:
        yield json.dumps(plan["Relation Name"])
    for part in plan.get("Plans", ()):
        yield from walked(part)


def fill(queue: jobq.Queue) -> None:
    """As many jobs that are finished, that are to come and that nobody knows."""
    for owner in ("finished", "future"):
        options = {"owner": owner, "delay": 3600}
        queue.enqueue_many(("work", {}, options) for _ in range(MANY))
    queue.enqueue_many(("stranger", {}) for _ in range(MANY))
    sql(
        queue,
        "UPDATE jobq_job SET status = 'completed', completed_at = created_at, prune_at = run_at, "
        "webhook = 'shop', webhook_sent = (1 = 1) WHERE owner = 'finished'",
    )
    sql(
        queue,
        "INSERT INTO jobq_attempt (job_id, fence, number, outcome, started_at, ended_at) "
        "SELECT id, 1, 1, 'completed', created_at, created_at FROM jobq_job "
        "WHERE owner = 'finished'",
    )
    sql(
        queue,
        "INSERT INTO jobq_step (job_id, name, status, fence, started_at) "
        "SELECT id, 'event', 'waiting', 1, created_at FROM jobq_job WHERE owner = 'future'",
    )
    sql(
        queue,
        "INSERT INTO jobq_batch (id, total, ended_at) "
        "SELECT id, 1, created_at FROM jobq_job WHERE owner = 'finished'",
    )


@pytest.mark.timeout(240)
def test_units_of_work_cost_the_same_however_full_the_tables_are(
    url: str,
    queue: jobq.Queue,
    router: jobq.Router,
    record_property: Callable[[str, object], None],
) -> None:
    few, many, walks = measured(url, queue, router, AS_USUAL)
    found = {name: (few[name], many[name]) for name in few}
    record_property("costs", found)
    assert walks == []
    # Indexes are a level or two deeper, and each level is a page.
    assert all(after <= 2 * before + 10 for before, after in found.values()), found


@pytest.mark.timeout(240)
@pytest.mark.parametrize("plans", [ANEW, KEPT], ids=["anew", "kept"])
@pytest.mark.parametrize("looked_at", ["", "nothing", "few"])
def test_what_was_prepared_for_empty_tables_costs_the_same_in_full_ones(
    postgres: str,
    router: jobq.Router,
    record_property: Callable[[str, object], None],
    plans: Plans,
    looked_at: str,
) -> None:
    """Where PostgreSQL has not looked into them, or when there was nothing, or little, in them."""
    with jobq.Queue(postgres, router=router) as queue:
        few, many, walks = measured(postgres, queue, router, plans, looked_at)
    found = {name: (few[name], many[name]) for name in few}
    record_property("costs", found)
    assert walks == []
    assert {name: costs for name, costs in found.items() if costs[1] > 2 * costs[0] + 10} == {}


def test_a_job_can_be_looked_up_by_the_primary_key_only() -> None:
    """Else a plan that was made for empty tables may walk another index for each id."""
    others = [index for index in t.job.indexes if "id" in (str(part) for part in index.expressions)]
    assert others
    assert [index.name for index in others if "postgresql" not in index.info] == []


def measured(
    url: str, queue: jobq.Queue, router: jobq.Router, plans: Plans, looked_at: str = ""
) -> tuple[dict[str, int], dict[str, int], list[str]]:
    """What units cost in few jobs and in many, and which tables are walked for them."""
    router.handler("work")(lambda payload: None)
    limit = jobq.RateLimit("provider", 1_000, per=1)
    router.handler("limited", limits=[limit])(lambda payload: None)
    run(queue, ops.ensure_limits, ["provider"])
    # The best plans for looks depend on what is in the columns: of how many types jobs are.
    left_out = (LOOKS if plans else set()) | (set() if plans == KEPT else RARE)
    units = {name: unit for name, unit in UNITS.items() if name not in left_out}
    with closing(Meter(url, queue, plans)) as meter:
        if looked_at == "nothing":
            meter.look()
            meter.of(nothing)
        for type in ("work", "limited"):
            queue.enqueue_many((type, {}) for _ in range(3 * SLOTS))
        if looked_at == "few":
            meter.look()
        few = {name: meter.of(unit) for name, unit in units.items()}
        fill(queue)
        meter.settle()
        meter.walks.clear()  # a table of one page is best read whole
        many = {name: meter.of(unit) for name, unit in units.items()}
        return few, many, meter.walks


def test_sqlite_returns_nothing_from_what_it_writes_for_most_jobs(
    sqlite: str, router: jobq.Router
) -> None:
    """It takes twice as long where it does."""
    router.handler("work")(lambda payload: None)
    sent: list[str] = []
    with jobq.Queue(sqlite, router=router) as queue:
        connection = queue._store()._ready().connection
        connection.set_trace_callback(sent.append)
        queue.enqueue("work", {})
        jobs = run(queue, ops.claim, **CLAIM)
        done = run(queue, ops.finish, [ending(job, COMPLETED) for job in jobs], keep=None)
        connection.set_trace_callback(None)
    assert len(done) == 1
    writes = [text for text in sent if text.startswith(("INSERT", "UPDATE"))]
    assert [text.split()[0] for text in writes] == ["INSERT", "UPDATE", "UPDATE", "INSERT"]
    assert [text for text in sent if "RETURNING" in text] == []
