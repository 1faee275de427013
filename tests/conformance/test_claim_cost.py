"""A claim reads the rows that it can take, however many there are that it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from attrs import asdict, frozen

import jobq
from jobq._payload import dumps
from jobq.backends import ops
from jobq.backends._statement import Call, reading
from jobq.backends.ops.heads import heads_of
from jobq.backends.postgres.plans import AS_USUAL
from tests.conformance.explained import Explainer
from tests.conformance.situations import LEASE, MARGIN, SECOND, run, sql

TYPES = ("work", "resize", "caption")
QUEUES = ("default", "images")
SLOTS = 10

Op = Callable[[Any], Any]


def claim(dialect: Any) -> Any:
    return ops.claim(
        dialect, queues=QUEUES, types=TYPES, slots=SLOTS, worker="w", lease=LEASE, margin=MARGIN
    )


def survey(dialect: Any) -> Any:
    return ops.survey(dialect, types=TYPES)


def due_within(dialect: Any) -> Any:
    return ops.due_within(dialect, types=TYPES, queues=None, within=5 * SECOND)


def expire(dialect: Any) -> Any:
    return ops.expire(dialect, keep=None)


def rescue(dialect: Any) -> Any:
    return ops.rescue(dialect, lambda orphan: None, keep=None)  # type: ignore[arg-type, return-value]


LANE = '["work",[["tenant:{owner}","tenant:7"]]]'


def heads(dialect: Any) -> Any:
    """The look of a limited claim at the heads of one lane."""
    lanes = dumps([{"queue": "default", "lane": LANE}])
    rows = yield heads_of(dialect, True, True, lanes=lanes, queues="[]", types="[]", each=SLOTS)
    return rows


IDLE: dict[str, Op] = {
    "claim": claim,
    "survey": survey,
    "promote": ops.promote,
    "due_within": due_within,
    "ready": ops.ready,
    "heads": heads,
    "expire": expire,
    "rescue": rescue,
    "prune": ops.prune,
    "overdue": ops.overdue,
}
"""What a worker asks for while there is nothing to do."""

SEED = """
    INSERT INTO jobq_job (id, type, payload, queue, declared, ready, priority, run_at, status,
                          completed_at, prune_at, lane)
    SELECT lpad(to_hex({first} + n), 32, '0')::uuid,
           (ARRAY['work', 'resize', 'caption', 'stranger'])[1 + {type}], '{{}}', '{queue}',
           {declared}, {ready}, {priority}, now() + ({rest}) * interval '1 second',
           '{status}', {ended}, {ended} + interval '30 days', {lane}
    FROM generate_series(1, {count}) n
"""


@frozen(kw_only=True)
class Seed:
    """Many jobs of one kind; SQL expressions of their number `n`."""

    count: int
    first: int = 0
    type: str = "n % 3"
    queue: str = "default"
    declared: bool = True
    ready: bool = True
    priority: int = 0
    rest: str = "-1"
    status: str = "pending"
    ended: str = "NULL::timestamptz"
    lane: str = "NULL"

    @property
    def sql(self) -> str:
        return SEED.format(**asdict(self))


BACKLOGS = {
    "future jobs, more urgent than those that are due": Seed(
        count=150_000, ready=False, priority=100, rest="3600 + n % 86400"
    ),
    "jobs of an unknown type": Seed(count=50_000, type="3", declared=False, ready=False),
    "jobs of a type that only other workers know": Seed(count=50_000, type="3", priority=100),
    "jobs of a paused queue": Seed(count=50_000, queue="images", priority=100),
    "jobs of another owner whose limit is closed": Seed(
        count=50_000, priority=100, lane=f"'{LANE.replace('7', '8')}'"
    ),
    "finished jobs": Seed(
        count=150_000,
        ready=False,
        status="completed",
        rest="-n",
        ended="now() - n * interval '1 second'",
    ),
}


class Costs:
    """Counts the pages that ops read and write on a PostgreSQL queue."""

    def __init__(self, connection: psycopg.Connection[Any], queue: jobq.Queue) -> None:
        self._connection = connection
        self._explainer = Explainer(connection, AS_USUAL)
        self._dialect = queue._store().dialect

    def settle(self) -> None:
        """Let the planner know the tables as they are."""
        self._connection.execute("VACUUM (ANALYZE) jobq_job")
        self._connection.execute("VACUUM (ANALYZE) jobq_queue")

    def add(self, seed: Seed) -> None:
        self._connection.execute(seed.sql)

    def clear(self, how: str) -> None:
        self._connection.execute(how)
        self.settle()

    def of(self, op: Op, *, rows: int = 0, seqscan: bool = True) -> int:
        """The pages that an op touches; nothing of it stays."""
        call: Call = next(op(self._dialect))
        costs = []
        for _ in range(2):  # the first reading also pays for what others left to be tidied
            with self._connection.transaction(force_rollback=True):
                if not seqscan:
                    self._connection.execute("SET LOCAL enable_seqscan = off")
                top = self._explainer.plan(call)
            if rows:
                assert top["Actual Rows"] == rows
            costs.append(top["Shared Hit Blocks"] + top["Shared Read Blocks"])
        return min(costs)


@pytest.fixture
def costs(postgres: str, router: jobq.Router) -> Iterator[Costs]:
    for name in TYPES:
        router.handler(name)(lambda payload: None)
    with (
        psycopg.connect(postgres, autocommit=True) as connection,
        jobq.Queue(postgres, router=router) as queue,
    ):
        queue.pause("images")
        yield Costs(connection, queue)
        connection.execute("TRUNCATE jobq_job")


@pytest.mark.timeout(180)
def test_a_backlog_that_cannot_be_taken_costs_a_claim_next_to_nothing(
    costs: Costs, record_property: Callable[[str, object], None]
) -> None:
    due = Seed(count=2 * SLOTS, first=2**40)
    costs.add(due)
    costs.settle()
    taking = costs.of(claim, rows=SLOTS)
    costs.clear("DELETE FROM jobq_job")
    # Of a table without a single page PostgreSQL reads none, and no index either.
    idle = {name: costs.of(op, seqscan=False) for name, op in IDLE.items()}
    for name, backlog in BACKLOGS.items():
        costs.clear("TRUNCATE jobq_job")
        costs.add(backlog)
        costs.settle()
        found = {op: costs.of(IDLE[op]) for op in IDLE}
        costs.add(due)
        record_property(name, found)
        assert found["claim"] <= 2 * idle["claim"], name
        # Each index that a job moves in is a level or two deeper.
        assert costs.of(claim, rows=SLOTS) <= 2.5 * taking, name
        assert max(found.values()) <= 20, f"{name}: {found}"


def from_edges(since: int) -> Op:
    """A claim that begins where earlier ones have come to."""
    edges = [("default", name, 0, since) for name in TYPES]

    def claim_from_edges(dialect: Any) -> Any:
        return ops.claim(
            dialect,
            queues=QUEUES,
            types=TYPES,
            slots=SLOTS,
            worker="w",
            lease=LEASE,
            margin=MARGIN,
            edges=edges,
        )

    return claim_from_edges


def test_a_claim_from_an_edge_does_not_walk_over_what_a_held_snapshot_keeps(
    costs: Costs, postgres: str, record_property: Callable[[str, object], None]
) -> None:
    due = Seed(count=2 * SLOTS, first=2**40)
    costs.add(due)
    costs.settle()
    taking = costs.of(claim, rows=SLOTS)
    costs.clear("TRUNCATE jobq_job")
    costs.add(Seed(count=30_000, rest="-60"))
    with psycopg.connect(postgres) as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT count(*) FROM jobq_job")
        costs.clear("UPDATE jobq_job SET status = 'completed', ready = false")
        costs.add(due)
        since = holder.execute(
            "SELECT extract(epoch FROM now() - interval '30 seconds')"
        ).fetchone()
        assert since is not None
        edged = costs.of(from_edges(int(since[0]) * 1_000_000), rows=SLOTS)
        full = costs.of(claim, rows=SLOTS)
    record_property("pages", {"empty": taking, "from the edge": edged, "full": full})
    assert edged <= 2 * taking
    assert full > 10 * taking, "nothing was kept, so nothing was shown"


# --- SQLite: the plan ---------------------------------------------------------------------------


def plan(queue: jobq.Queue, op: Op) -> list[str]:
    """What SQLite says that it does for an op."""
    call: Call = next(op(queue._store().dialect))

    @reading
    def explain(_: Any) -> Any:
        return (yield Call(f"EXPLAIN QUERY PLAN {call.sql}", call.params))

    return [row[3] for row in run(queue, explain)]


RANGES = {
    "claim": ["head USING INDEX jobq_job_ready (queue=? AND type=?)"],
    "survey": [
        "jobq_job USING INDEX jobq_job_undeclared (type=?)",
        "jobq_job USING INDEX jobq_job_scheduled",
    ],
    "promote": ["jobq_job USING INDEX jobq_job_scheduled (run_at<?)"],
    "due_within": ["jobq_job USING INDEX jobq_job_scheduled (run_at<?)"],
    "ready": [
        "jobq_job USING INDEX jobq_job_ready (queue>?)",
        "jobq_job USING INDEX jobq_job_lane (queue>?)",
        "jobq_job USING INDEX jobq_job_lane (queue=? AND lane>?)",
        "jobq_job USING INDEX jobq_job_lane (queue=? AND lane>?)",
    ],
    "heads": [
        "head USING INDEX jobq_job_lane (queue=? AND lane=?)",
        "jobq_lane USING INDEX sqlite_autoindex_jobq_lane_1 (queue=? AND lane=?) LEFT-JOIN",
        "rival USING INDEX jobq_job_ready (queue=? AND type=?)",
        "jobq_job USING INDEX jobq_job_holding (lane>?)",
    ],
    "expire": ["jobq_job USING INDEX jobq_job_expiry (expires_at>? AND expires_at<?)"],
    "rescue": ["jobq_job USING INDEX jobq_job_status (status=?)"],
    "prune": ["jobq_job USING INDEX jobq_job_prune (prune_at>? AND prune_at<?)"],
    "overdue": [
        "jobq_job USING INDEX jobq_job_status (status=?)",
        "jobq_job USING INDEX jobq_job_expiry (expires_at>? AND expires_at<?)",
        "jobq_job USING INDEX jobq_job_prune (prune_at>? AND prune_at<?)",
        "jobq_batch USING INDEX jobq_batch_prune (prune_at>? AND prune_at<?)",
        "jobq_job USING COVERING INDEX jobq_job_batch (batch_id=? AND status=?)",  # of each batch
        "jobq_stat USING PRIMARY KEY (minute<?)",
    ],
}
BY_ID = (
    "jobq_job USING COVERING INDEX sqlite_autoindex_jobq_job_1 (id=?)",
    "candidate USING INDEX sqlite_autoindex_jobq_job_1 (id=?)",
)


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("op", RANGES)
def test_sqlite_searches_the_range_that_can_be_taken(
    sqlite: str, router: jobq.Router, op: str, analyzed: bool
) -> None:
    with jobq.Queue(sqlite, router=router) as queue:
        queue.enqueue_many(("stranger", {"n": n}) for n in range(2000))
        if analyzed:
            sql(queue, "ANALYZE")
        steps = plan(queue, IDLE[op])
    searches = [step.removeprefix("SEARCH ") for step in steps if step.startswith("SEARCH ")]
    ranges = [s for s in searches if not s.startswith((*BY_ID, "jobq_queue", "types", "queues"))]
    assert ranges == RANGES[op]
    jobs = ("SCAN jobq_job", "SCAN head", "SCAN candidate")
    firsts = ("INDEX jobq_job_ready", "INDEX jobq_job_lane")  # of a LIMIT 1, in the index's order
    walks = [s for s in steps if s.startswith(jobs) and not any(first in s for first in firsts)]
    assert walks == []
    # The claim sorts the few heads of its ranges, the look at the lanes their names.
    assert ("USE TEMP B-TREE FOR ORDER BY" in steps) == (op in {"claim", "ready"})
