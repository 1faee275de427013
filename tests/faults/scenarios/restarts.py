"""A database that goes away and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.faults import checker
from tests.faults.app import connect
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.scenarios.crashes import unfinished

LEASE = 3.0


@scenario(
    "database-restart",
    codes=("F9",),
    databases=("postgresql",),
    in_quick=True,
    full=5,
    quick=2,
    tiny=1,
)
def database_restart(lab: Lab) -> Findings:
    """PostgreSQL crashes under load: workers come back, nothing acknowledged is lost."""
    workers = lab.workers(lab.choose(full=4, quick=2, tiny=2), lease=LEASE)
    enqueuers = [lab.actor("enqueuer", f"enqueuer-{n}", seconds=1.0, gap=0.02) for n in range(2)]
    lab.await_ready(enqueuers)
    # Shorter than what a call endures, about that long, and longer than a lease.
    outages = lab.choose(full=[0.0, 1.0, 2.0, 6.0, 0.5], quick=[0.0, 4.0], tiny=[0.5])
    hits, returns = 0, []
    lab.until_jobs_end_again(lab.now())
    for outage in outages:
        time.sleep(lab.random.uniform(0.3, 1.5))
        with unreachable(lab):
            events = lab.histories.refresh()
            hits += any(unfinished(events, worker.name) for worker in workers)
            time.sleep(outage)
        returns.append(lab.until_jobs_end_again(lab.now()))
    ended = [lab.stop(enqueuers)]
    lab.until_finished(timeout=60)
    survivors = checker.each("a worker survives", workers, lambda worker: worker.alive)
    ended.append(lab.stop(workers))
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    told = lab.enqueues_told()
    findings = Findings(trials=len(outages), hits=hits)
    findings.check(
        survivors,
        *ended,
        *checker.nothing_wrong(tables, events, lab.acknowledged()),
        checker.none_in_secret(tables, lab.acknowledged(), told["unknown"]),
    )
    findings.figures = {
        "jobs": len(tables.jobs),
        **told,
        "rescues": checker.rescues(tables),
        "slowest return s": round(max(returns), 1),
    }
    return findings


@scenario("self-fence", codes=("F12",), full=20, quick=5, tiny=2)
def self_fence(lab: Lab) -> Findings:
    """A worker that cannot renew its leases stops its handlers before the leases end."""
    jobs = lab.choose(full=20, quick=5, tiny=2)
    lease = lab.choose(full=6.0, quick=3.0, tiny=3.0)
    worker = lab.worker(lease=lease, concurrency=jobs)
    lab.await_ready([worker])
    lab.enqueue_many("step", [{"seconds": 600.0, "again": 0.0}] * jobs)
    lab.until_noted("start", jobs, by=worker)
    lab.until(lab.renewals, 30, "the leases are renewed")
    with unreachable(lab):
        lab.until_noted("told", jobs, by=worker, timeout=4 * lease)
    lab.until_finished(timeout=60)
    ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    told = lab.histories.of("told")
    renewed = max(at for at in lab.renewals() if at < told[0].at)
    waits = [event.at - renewed for event in told]
    findings = Findings(trials=jobs, hits=len(told))
    findings.check(
        ended,
        lab.in_time("a handler is told before its lease ends", waits, lease),
        checker.all_completed(tables),
        checker.starts_bounded(tables, events),
    )
    findings.figures = {"shortest notice s": round(lease - max(waits), 2)}
    return findings


@contextmanager
def unreachable(lab: Lab) -> Iterator[None]:
    """Stop the server, or hold the file's write lock."""
    if lab.is_postgres:
        assert lab.server is not None
        lab.server._end_process("immediate")
        try:
            yield
        finally:
            lab.server._launch([lab.server.port])
        return
    with closing(connect(lab.url)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
