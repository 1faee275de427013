"""Locks that others hold: on rows, tables, files."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import jobq
from tests.faults import checker
from tests.faults.app import connect
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.scenarios.disk import integrity
from tests.faults.victims import Victim

LEASE = 3.0


@scenario("locked-rows", codes=("F27",), databases=("postgresql",), full=20, quick=5, tiny=3)
def locked_rows(lab: Lab) -> Findings:
    """A session idle in a transaction holds the rows of some jobs: the other jobs go on."""
    count = lab.choose(full=20, quick=5, tiny=3)
    worker = lab.worker(lease=LEASE, concurrency=3 * count)
    lab.await_ready([worker])
    running = lab.enqueue_many("step", [{"seconds": 2.0}] * count)
    lab.until_noted("start", count)
    waiting = lab.enqueue_many("step", [{}] * count, delay=0.5)
    with closing(connect(lab.url)) as idle:
        idle.execute("BEGIN")
        idle.execute("SELECT id FROM jobq_job FOR UPDATE")
        others = lab.enqueue_many("step", [{}] * 20)
        lab.until(lambda: _all(lab, others, "completed"), 30, "the others complete")
        time.sleep(2 * LEASE)  # the leases of the locked ones cannot be renewed meanwhile
        idle.execute("ROLLBACK")
    lab.until_finished(timeout=60)
    ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings = Findings(trials=2 * count, hits=len(running) + len(waiting))
    findings.check(
        ended,
        checker.all_completed(tables),
        checker.none_lost(tables, lab.acknowledged()),
        checker.starts_bounded(tables, events),
    )
    findings.figures = {"leases lost": len(lab.histories.of("lease_lost"))}
    return findings


def _all(lab: Lab, ids: list[str], status: str) -> bool:
    names = ", ".join(f"'{id}'" for id in ids)
    sql = f"SELECT count(*) FROM jobq_job WHERE status = '{status}' AND id IN ({names})"
    return lab.sql(sql) == [(len(ids),)]


TABLE_LOCKS = (
    ("BEGIN", "LOCK TABLE jobq_job IN ACCESS EXCLUSIVE MODE"),
    ("BEGIN", "LOCK TABLE jobq_job IN SHARE MODE"),
    ("BEGIN", "LOCK TABLE jobq_worker IN ACCESS EXCLUSIVE MODE"),
    ("BEGIN", "REINDEX TABLE jobq_job"),
    ("BEGIN", "ALTER TABLE jobq_job ADD COLUMN other int"),
)


@scenario("locked-tables", codes=("F27",), databases=("postgresql",), full=5, quick=3, tiny=1)
def locked_tables(lab: Lab) -> Findings:
    """While a table is locked workers wait; when it is free they go on, and no job is lost."""
    locks = lab.choose(full=TABLE_LOCKS, quick=TABLE_LOCKS[:3], tiny=TABLE_LOCKS[:1])
    workers = lab.workers(2, lease=LEASE, concurrency=5)
    findings = Findings(trials=len(locks))
    for begin in locks:
        lab.enqueue_many("step", [{"seconds": 0.3}] * 20)
        with closing(connect(lab.url)) as other:
            for statement in begin:
                other.execute(statement)
            lab.until(lambda: _waits_for_a_lock(lab), 10, "somebody waits")
            findings.hits += 1
            time.sleep(1.5)
            other.execute("ROLLBACK")
        lab.until_finished(timeout=60)
    findings.check(lab.stop(workers))
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings.check(
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.starts_bounded(tables, events),
    )
    return findings


def _waits_for_a_lock(lab: Lab) -> bool:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return lab.sql(sql) != [(0,)]


@scenario("waiting-ddl", codes=("F27",), databases=("postgresql",), full=3, quick=1, tiny=1)
def waiting_ddl(lab: Lab) -> Findings:
    """DDL that waits behind an open transaction holds jobs up only as long as it waits itself."""
    rounds = lab.choose(full=3, quick=1, tiny=1)
    worker = lab.worker(lease=LEASE)
    findings = Findings(trials=rounds)
    for _ in range(rounds):
        with closing(connect(lab.url)) as reader, closing(connect(lab.url)) as ddl:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM jobq_job")
            ddl.execute("SET lock_timeout = '2s'")
            waiting = threading.Thread(
                target=_try, args=(ddl, "ALTER TABLE jobq_job ADD COLUMN a int")
            )
            waiting.start()
            lab.until(lambda: _waits_for_a_lock(lab), 10, "the DDL waits")
            ids = []
            enqueuing = threading.Thread(
                target=lambda: ids.extend(lab.enqueue_many("step", [{}] * 20))  # noqa: B023
            )
            enqueuing.start()
            waiting.join()
            enqueuing.join()
            findings.hits += 1
            lab.until_finished(timeout=30)  # the reader is open still
            reader.execute("ROLLBACK")
    findings.check(lab.stop([worker]))
    tables = checker.dump(lab.url)
    findings.check(
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.started_once(tables, lab.histories.refresh()),
    )
    return findings


def _try(connection: object, statement: str) -> None:
    import psycopg

    try:
        connection.execute(statement)  # type: ignore[attr-defined]
    except psycopg.errors.LockNotAvailable:
        return


@scenario("locked-file", codes=("F42",), databases=("sqlite",), full=4, quick=2, tiny=1)
def locked_file(lab: Lab) -> Findings:
    """Another process keeps the file locked, or is frozen with the lock: everybody waits, within
    bounds, and no lease is lost by waiting."""
    seconds = lab.choose(full=10.0, quick=3.0, tiny=1.0)
    ways = lab.choose(
        full=("IMMEDIATE", "EXCLUSIVE") * 2, quick=("IMMEDIATE", "EXCLUSIVE"), tiny=("EXCLUSIVE",)
    )
    findings = Findings(trials=len(ways))
    workers = lab.workers(2, lease=3 * seconds + 3, concurrency=5)
    waits = []
    for number, way in enumerate(ways):
        lab.enqueue_many("step", [{"seconds": seconds / 2}] * 15)
        lab.until(lambda: lab.queue.counts()["processing"] == 10, 30, "jobs run")
        holder = lab.actor("holder", "holder", kind=Victim, begin=[f"BEGIN {way}"])
        lab.until_noted("holding", 1, by=holder)
        if number % 2 == 0:
            holder.freeze()
        findings.hits += lab.is_locked()
        began = lab.now()
        enqueuing = threading.Thread(target=lab.enqueue_many, args=("step", [{}]))
        enqueuing.start()
        time.sleep(seconds)
        holder.thaw()
        holder.go_on()
        enqueuing.join()
        waits.append(lab.now() - began - seconds)
        lab.until_finished(timeout=60)
    ended = lab.stop(workers)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings.check(
        ended,
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.started_once(tables, events),
        checker.each("no lease is lost", lab.histories.of("lease_lost"), lambda _: False),
        lab.in_time("who waits gets on within 2 s", waits, 2.0),
        integrity(lab.url),
    )
    findings.figures = {"longest wait after it s": round(max(waits), 2)}
    return findings


@scenario(
    "impatient", codes=("F42",), databases=("sqlite",), in_quick=True, full=5, quick=3, tiny=1
)
def impatient(lab: Lab) -> Findings:
    """A caller who gives up on a locked file is told that it is locked, within its patience."""
    trials = lab.choose(full=5, quick=3, tiny=1)
    findings = Findings(trials=trials)
    waits = []
    with ExitStack() as stack:
        other = stack.enter_context(closing(connect(lab.url)))
        other.execute("BEGIN IMMEDIATE")
        queue = stack.enter_context(jobq.Queue(f"{lab.url}?patience=0.5"))
        for _ in range(trials):
            began = lab.now()
            try:
                queue.enqueue("step", {})
            except jobq.BackendUnavailable as error:
                findings.hits += 1
                findings.check(checker.that("it says so", "locked" in str(error), error))
            waits.append(lab.now() - began)
        other.execute("ROLLBACK")
        queue.enqueue("step", {})
    findings.check(lab.in_time("within 1 s more than its patience", waits, 1.5))
    return findings


@scenario("long-reader", codes=("F43",), databases=("sqlite",), full=3, quick=1, tiny=1)
def long_reader(lab: Lab) -> Findings:
    """A reader that stays open lets the WAL grow; when it has ended the WAL is used again."""
    rounds = lab.choose(full=3, quick=1, tiny=1)
    jobs = lab.choose(full=5000, quick=1500, tiny=300)
    wal = Path(f"{lab.url.removeprefix('sqlite:///')}-wal")
    worker = lab.worker(concurrency=50)
    lab.await_ready([worker])
    findings = Findings(trials=rounds)
    payload = {"x": "x" * 5000}
    sizes: list[str] = []
    for _ in range(rounds):
        before = wal.stat().st_size
        with closing(connect(lab.url)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM jobq_job")
            _load(lab, payload, jobs)
            during = wal.stat().st_size
            findings.hits += during > before
            reader.execute("ROLLBACK")
        generation = _generation(wal)
        lab.until(partial(_begins_again, lab, wal, generation), 30, "the WAL begins again")
        sizes.append(f"{before / 1e6:.0f}-{during / 1e6:.0f}-{wal.stat().st_size / 1e6:.0f}")
    ended = lab.stop([worker])
    findings.check(
        ended,
        checker.all_completed(checker.dump(lab.url)),
        integrity(lab.url),
    )
    findings.figures = {"WAL MB before-during-after": " ".join(sizes)}
    return findings


def _generation(wal: Path) -> bytes:
    """The salt of a WAL's header: another each time it begins again from the front."""
    return wal.read_bytes()[16:24]


def _begins_again(lab: Lab, wal: Path, generation: bytes) -> bool:
    _load(lab, {"x": ""}, 50)
    return _generation(wal) != generation


def _load(lab: Lab, payload: dict[str, str], jobs: int) -> None:
    lab.enqueue_many("noop", (payload for _ in range(jobs)))
    lab.until_finished(timeout=60)
