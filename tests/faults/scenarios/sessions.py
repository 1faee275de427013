"""PostgreSQL ends sessions and statements, has none left, or takes everybody back at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import psycopg

from tests.faults import checker
from tests.faults.history import Event
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.proxy import Proxy
from tests.faults.scenarios.restarts import unreachable

LEASE = 4.0
POSTGRES = ("postgresql",)
SMALL = {"pool_size": 2, "patience": 1.0}
OURS = "datname = current_database() AND application_name LIKE 'jobq%'"


@scenario(
    "sessions-killed", codes=("F16",), databases=POSTGRES, in_quick=True, full=200, quick=10, tiny=3
)
def sessions_killed(lab: Lab) -> Findings:
    """Sessions are ended at random, five a second: nothing is lost, and work goes on."""
    workers = lab.workers(lab.choose(full=3, quick=2, tiny=1), lease=LEASE)
    enqueuers = [lab.actor("enqueuer", f"enqueuer-{n}", seconds=0.2, gap=0.02) for n in range(2)]
    lab.await_ready(enqueuers)
    lab.until_noted("end", 1)
    until = lab.now() + lab.choose(full=60.0, quick=4.0, tiny=1.0)
    least = lab.choose(full=200, quick=10, tiny=3)
    tries = killed = 0
    while lab.now() < until or killed < least:
        time.sleep(0.2)
        tries += 1
        killed += len(
            lab.sql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}"
                " ORDER BY random() LIMIT 1"
            )
        )
    ended = [lab.stop(enqueuers)]
    lab.until_finished(timeout=60)
    alive = checker.each("a worker survives", workers, lambda worker: worker.alive)
    ended.append(lab.stop(workers))
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    told = lab.enqueues_told()
    findings = Findings(trials=tries, hits=killed)
    findings.check(
        alive,
        *ended,
        *checker.nothing_wrong(tables, events, lab.acknowledged()),
        checker.none_in_secret(tables, lab.acknowledged(), told["unknown"]),
    )
    findings.figures = {
        "jobs": len(tables.jobs),
        **told,
        "rescues": checker.rescues(tables),
    }
    return findings


@scenario("statements-refused", codes=("F17",), databases=POSTGRES, full=60, quick=15, tiny=3)
def statements_refused(lab: Lab) -> Findings:
    """Statements are cancelled, deadlock or cannot be serialized: they are tried again."""
    url = f"{lab.url}?options=-cdefault_transaction_isolation%3Dserializable"
    count = lab.choose(full=4, quick=3, tiny=2)
    workers = lab.workers(count, url=url, lease=LEASE, concurrency=20)
    enqueuers = [
        lab.actor("enqueuer", f"enqueuer-{n}", url=url, seconds=0.2, gap=0.01) for n in range(2)
    ]
    lab.await_ready(enqueuers)
    lab.until_noted("end", 1)
    until = lab.now() + lab.choose(full=30.0, quick=6.0, tiny=2.0)
    cancelled = tries = 0
    with _locker(lab):
        while lab.now() < until:
            time.sleep(0.05)
            tries += 1
            cancelled += len(
                lab.sql(
                    f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {OURS}"
                    " AND state = 'active' ORDER BY random() LIMIT 1"
                )
            )
        for _ in range(lab.choose(full=20, quick=4, tiny=1)):
            tries += 1
            lab.enqueue_many("step", [{"seconds": 0.2}] * 60)  # they end together, and are locked
            time.sleep(1.0)
    ended = [lab.stop(enqueuers)]
    lab.until_finished(timeout=60)
    ended.append(lab.stop(workers))
    [(deadlocks, refused)] = lab.sql(
        "SELECT deadlocks, xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    )
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    told = lab.enqueues_told()
    findings = Findings(trials=tries, hits=cancelled + deadlocks)
    findings.check(
        *ended,
        *checker.nothing_wrong(tables, events, lab.acknowledged()),
        checker.none_in_secret(tables, lab.acknowledged(), told["unknown"]),
    )
    findings.figures = {
        "jobs": len(tables.jobs),
        "cancelled": cancelled,
        "deadlocks": deadlocks,
        "transactions rolled back": refused,
        **told,
        "rescues": checker.rescues(tables),
    }
    return findings


@contextmanager
def _locker(lab: Lab) -> Iterator[None]:
    """Somebody who locks running jobs one by one, the newest first, and holds them a while."""
    ending = threading.Event()

    def lock() -> None:
        newest = (
            "SELECT id FROM jobq_job WHERE status = 'processing' AND id < %s"
            " ORDER BY id DESC LIMIT 1 FOR UPDATE"
        )
        while not ending.wait(0.05):
            last = "ffffffff-ffff-ffff-ffff-ffffffffffff"
            with suppress(psycopg.OperationalError), psycopg.connect(lab.url) as connection:
                connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                connection.execute("SET LOCAL deadlock_timeout = '20s'")  # not we are the victim
                while row := connection.execute(newest, [last]).fetchone():
                    last = row[0]
                    time.sleep(0.02)

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


@scenario("no-connection-left", codes=("F18",), databases=POSTGRES, full=20, quick=10, tiny=3)
def no_connection_left(lab: Lab) -> Findings:
    """Others take every connection: leases are renewed, outcomes are stored, work goes on after."""
    jobs = lab.choose(full=20, quick=10, tiny=3)
    with Proxy(lab.url) as proxy:
        settings = {"lease": LEASE, "concurrency": 2 * jobs, "fallback": 1.0, "queue": SMALL}
        worker = lab.worker(url=proxy.url, **settings)
        lab.await_ready([worker])
        ids = lab.enqueue_many("step", [{"seconds": 1.5 * LEASE}] * jobs)
        lab.until_noted("start", jobs, by=worker)
        lab.until_noted("beat", 3)
        with _every_connection(lab) as taken:
            lab.until(lambda: _starved(lab, taken), 40, "the worker has no connection")
            lab.until_noted("end", jobs, by=worker, timeout=60)
            stored = "SELECT count(*) FROM jobq_job WHERE status = 'completed'"
            lab.until(
                lambda: taken.execute(stored).fetchone() == (jobs,), 30, "outcomes are stored"
            )
        later = lab.enqueue_many("step", [{}] * jobs)
        lab.until_finished(timeout=60)
        ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    complaints = _complaints(lab)
    findings = Findings(trials=jobs, hits=len(ids) if complaints else 0)
    findings.check(
        ended,
        checker.all_completed(tables),
        checker.started_once(tables, events),
        checker.that("no job is rescued", not checker.rescues(tables), checker.rescues(tables)),
        checker.each("it works on", later, lambda job: tables.jobs[job].result == worker.name),
    )
    findings.figures = {"jobs": len(tables.jobs), "complaints": len(complaints)}
    return findings


def _starved(lab: Lab, taken: psycopg.Connection) -> bool:
    """End the pool's own, which must be made anew and cannot be; where it was quicker, again."""
    taken.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'jobq'"
    )
    _take_what_is_left(lab)
    return bool(_complaints(lab))


def _complaints(lab: Lab) -> list[Event]:
    lab.histories.refresh()
    return lab.histories.of("log", where=lambda e: "no connection" in e["text"])


_others = ExitStack()


@contextmanager
def _every_connection(lab: Lab) -> Iterator[psycopg.Connection]:
    """Open sessions until the server has no more to give."""
    with _others, psycopg.connect(lab.url, autocommit=True) as first:
        _take_what_is_left(lab)
        yield first


def _take_what_is_left(lab: Lab) -> None:
    while True:
        try:
            _others.enter_context(psycopg.connect(lab.url, autocommit=True))
        except psycopg.OperationalError:
            return


@scenario("reconnect-storm", codes=("F19",), databases=POSTGRES, full=20, quick=6, tiny=2)
def reconnect_storm(lab: Lab) -> Findings:
    """Many workers lose the server and come back: all at work again, never too many sessions."""
    count = lab.choose(full=20, quick=6, tiny=2)
    workers = lab.workers(count, lease=10.0, queue={"pool_size": 4})
    lab.enqueue_many("step", [{"seconds": 0.01}] * 20 * count)
    lab.until_finished(timeout=120)
    back: list[float] = []
    samples: list[int] = []
    restarts = lab.choose(full=3, quick=1, tiny=1)
    for _ in range(restarts):
        with unreachable(lab):
            time.sleep(lab.choose(full=5.0, quick=3.0, tiny=0.5))
        since = lab.now()
        with _sampled(lab, samples):
            lab.until(partial(_all_at_work, lab, count, since), 60, "all are at work")
            back.append(lab.now() - since)
            lab.until_finished(timeout=120)
    alive = checker.each("a worker survives", workers, lambda worker: worker.alive)
    ended = lab.stop(workers, timeout=60.0)
    tables = checker.dump(lab.url)
    findings = Findings(trials=restarts * count, hits=restarts * count)
    findings.check(
        alive,
        ended,
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        # The pool, the leases, the outcomes, LISTEN.
        checker.each("sessions stay in their bounds", samples, lambda n: n <= count * (4 + 3)),
    )
    findings.figures = {"most sessions": max(samples), "slowest return s": round(max(back), 1)}
    return findings


def _all_at_work(lab: Lab, count: int, since: float) -> bool:
    """Whether each has begun a job; who is back last finds some too, as there are always more."""
    if lab.all_finished():
        lab.enqueue_many("step", [{"seconds": 0.5}] * 15 * count)
    lab.histories.refresh()
    return len({e.actor for e in lab.histories.of("start", where=lambda e: e.at > since)}) == count


@contextmanager
def _sampled(lab: Lab, samples: list[int]) -> Iterator[None]:
    """Note how many sessions the workers have, again and again."""
    ending = threading.Event()

    def sample() -> None:
        ours = f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}"
        with psycopg.connect(lab.url, autocommit=True) as connection:
            while not ending.wait(0.05):
                row = connection.execute(ours).fetchone()
                assert row is not None
                samples.append(row[0])

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
