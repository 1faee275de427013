"""Payloads and handlers that do harm."""

from __future__ import annotations

import json
import time
from typing import Any

import jobq
from tests.faults import checker
from tests.faults.actors import Actor
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.victims import Victim

LEASE = 1.5
WAYS = ("segfault", "exit", "kill")


@scenario("poison", codes=("F28",), full=27, quick=9, tiny=3)
def poison(lab: Lab) -> Findings:
    """A handler that crashes its process is stopped after three crashes, its neighbours go on."""
    ways = lab.choose(full=WAYS * 3, quick=WAYS, tiny=WAYS[:1])
    neighbours = lab.enqueue_many("step", [{"seconds": 0.2}] * 20, max_attempts=25)
    poisons = [lab.enqueue_many("poison", [{"how": how}], priority=1)[0] for how in ways]
    deaths = _supervise_until_finished(lab, concurrency=4)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    bad = [tables.jobs[id] for id in poisons]
    good = [tables.jobs[id] for id in neighbours]
    findings = Findings(trials=len(poisons), hits=sum(job.crash_count for job in bad))
    findings.check(
        checker.none_lost(tables, lab.acknowledged()),
        checker.each("a poison is quarantined", bad, lambda job: job.status == "failed"),
        checker.each("with a reason", bad, lambda job: job.error_code in ("crash_loop", "crashed")),
        checker.each("after three crashes", bad, lambda job: job.crash_count == 3),
        checker.each("a neighbour is not lost", good, _completed_or_crashed),
        checker.starts_bounded(tables, events),
    )
    findings.figures = {
        "processes lost": deaths,
        "neighbours completed": sum(job.status == "completed" for job in good),
        "neighbours quarantined": sum(job.status == "failed" for job in good),
    }
    return findings


def _completed_or_crashed(job: checker.Row) -> bool:
    """Who was in a process with a poison three times cannot be told from it."""
    return job.status == "completed" or (job.status == "failed" and job.crash_count == 3)


def _supervise_until_finished(lab: Lab, processes: int = 1, **options: Any) -> int:
    """Keep workers running as a supervisor does, until all is done; how often one died."""
    deaths = 0
    deadline = time.monotonic() + 120
    workers = [_start(lab, n, **options) for n in range(processes)]
    open_ = "SELECT count(*) FROM jobq_job WHERE status IN ('pending', 'processing')"
    while lab.sql(open_) != [(0,)]:
        if time.monotonic() > deadline:
            lab.until_finished(timeout=0.0)
        for n, worker in enumerate(workers):
            if not worker.alive:
                deaths += 1
                workers[n] = _start(lab, n, **options)
        time.sleep(0.05)
    lab.stop(workers)
    return deaths


def _start(lab: Lab, number: int, **options: Any) -> Actor:
    return lab.actor("victim", f"worker-{number}", kind=Victim, lease=LEASE, **options)


@scenario("poison-in-line", codes=("F28",), full=9, quick=3, tiny=1)
def poison_in_line(lab: Lab) -> Findings:
    """A handler that crashes its process among short jobs: those that were held ahead of the slots
    in that process lose one attempt, and all complete."""
    return _among(lab, "noop", "poison", count=500)


@scenario("poison-in-batch", codes=("F28",), full=9, quick=3, tiny=1)
def poison_in_batch(lab: Lab) -> Findings:
    """A batch handler that crashes its process for one of its jobs: the others of that call lose
    one attempt, and all complete."""
    return _among(lab, "poisons", "poisons", count=100)


def _among(lab: Lab, type: str, poison: str, *, count: int) -> Findings:
    """Poisons with so many other jobs before, between and after them, and three workers."""
    ways = lab.choose(full=WAYS * 3, quick=WAYS, tiny=WAYS[:1])
    neighbours, poisons = lab.enqueue_many(type, [{}] * count), []
    for how in ways:
        poisons += lab.enqueue_many(poison, [{"how": how}])
        neighbours += lab.enqueue_many(type, [{}] * count)
    deaths = _supervise_until_finished(lab, processes=3, concurrency=4)
    tables = checker.dump(lab.url)
    good = [tables.jobs[id] for id in neighbours]
    bad = [tables.jobs[id] for id in poisons]
    beside = [job for job in good if job.crash_count]
    findings = Findings(trials=len(poisons), hits=min(deaths, len(beside)))
    findings.check(
        checker.none_lost(tables, lab.acknowledged()),
        checker.each("a neighbour completes", good, lambda job: job.status == "completed"),
        checker.each(
            "having lost one attempt, or two with two poisons",
            beside,
            lambda job: job.crash_count <= min(2, len(poisons)),
        ),
        checker.each("a poison is quarantined", bad, lambda job: job.status == "failed"),
        checker.each("after three crashes", bad, lambda job: job.crash_count == 3),
    )
    findings.figures = {"processes lost": deaths, "neighbours that lost attempts": len(beside)}
    return findings


@scenario("out-of-memory", codes=("F28", "F46"), full=20, quick=3, tiny=2)
def out_of_memory(lab: Lab) -> Findings:
    """Where memory is limited, a job that wants too much fails with that reason; the others run."""
    count = lab.choose(full=20, quick=6, tiny=2)
    greedy = lab.enqueue_many(
        "poison", [{"how": "memory", "bytes": 8 << 30}] * count, max_attempts=1
    )
    modest = lab.enqueue_many("step", [{}] * count)
    worker = lab.actor("victim", "worker", kind=Victim, limits={"AS": 3 << 30})
    lab.until_finished(timeout=60)
    ended = lab.stop([worker])
    tables = checker.dump(lab.url)
    failed = [tables.jobs[id] for id in greedy]
    findings = Findings(trials=count, hits=sum(job.status == "failed" for job in failed))
    findings.check(
        ended,
        checker.each(
            "it fails as MemoryError", failed, lambda job: job.error_code == "MemoryError"
        ),
        checker.each("the others run", modest, lambda job: tables.jobs[job].status == "completed"),
    )
    return findings


BROKEN = (
    '{"x": ',
    "",
    "NaN",
    '{"x": NaN}',
    '{"x": 1e999}',
    '"\\ud800"',
    '{"x": "a\\u0000b"}',
    '{"x": "many"}',
    "[1, 2, 3]",
    "null",
    "[" * 100_000 + "]" * 100_000,
    '{"__reduce__": ["os.system", ["exit 1"]]}',
)


@scenario("undecodable", codes=("F29",), full=24, quick=5, tiny=5)
def undecodable(lab: Lab) -> Findings:
    """Rows written by SQL with payloads that cannot be read fail with a reason, they alone."""
    stored, refused = [], 0
    for number, payload in enumerate(BROKEN):
        for declared in (False, True):
            if _insert(lab, f"{number:08x}-0000-4000-a000-{declared:012x}", payload, declared):
                stored.append(f"{number:08x}-0000-4000-a000-{declared:012x}")
            else:
                refused += 1
    lab.sql("INSERT INTO jobq_job (type, payload) VALUES ('nobody_knows_it', '{}')")
    good = lab.enqueue_many("typed", [{"x": n} for n in range(20)])
    worker = lab.actor("victim", "worker", kind=Victim, lease=LEASE)
    sql = "SELECT count(*) FROM jobq_job WHERE status IN ('pending', 'processing')"
    lab.until(lambda: lab.sql(sql) == [(1,)], 60, "all but the unknown type are finished")
    ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    bad = [tables.jobs[id] for id in stored]
    [unknown] = [job for job in tables.jobs.values() if job.type == "nobody_knows_it"]
    findings = Findings(trials=2 * len(BROKEN), hits=len(stored) + refused)
    findings.check(
        ended,
        checker.each("an unreadable job fails", bad, lambda job: job.status == "failed"),
        checker.each("as invalid", bad, lambda job: job.error_code == "invalid_payload"),
        checker.each(
            "the rest of the batch completes",
            good,
            lambda job: tables.jobs[job].status == "completed",
        ),
        checker.that("an unknown type waits", unknown.status == "pending", unknown.status),
        checker.that("nothing crashed", not any(job.crash_count for job in tables.jobs.values())),
        checker.started_once(checker.Dump({id: tables.jobs[id] for id in good}), events),
    )
    findings.figures = {"rows": len(stored), "refused by the database": refused}
    return findings


def _insert(lab: Lab, id: str, payload: str, declared: bool) -> bool:
    """Store a row past jobq; PostgreSQL refuses text that is not JSON."""
    import psycopg

    text = payload.replace("'", "''")
    columns = "id, type, payload, declared, ready"
    flag = ("true" if declared else "false") if lab.is_postgres else int(declared)
    values = f"'{id}', 'typed', '{text}', {flag}, {flag}"
    try:
        lab.sql(f"INSERT INTO jobq_job ({columns}) VALUES ({values})")
    except (psycopg.DataError, psycopg.errors.StatementTooComplex):
        return False
    return True


@scenario("huge", codes=("F30",), full=8, quick=8, tiny=4)
def huge(lab: Lab) -> Findings:
    """Payloads that are too large or too deep are refused at once, results are replaced by why."""
    sizes = lab.choose(full=(1, 10, 100), quick=(1, 10, 100), tiny=(2,))
    payloads: list[Any] = [{"data": "x" * (megabytes << 20)} for megabytes in sizes]
    payloads += [_nested(depth) for depth in (1_000, 100_000)]
    refusals = [_refusal(lab, payload) for payload in payloads]
    results = [{"bytes": megabytes << 20} for megabytes in sizes] + [{"depth": 100_000}]
    jobs = lab.enqueue_many("large", results)
    good = lab.enqueue_many("step", [{}] * 10)
    worker = lab.actor("victim", "worker", kind=Victim)
    lab.until_finished(timeout=60)
    ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    rows = [tables.jobs[id] for id in jobs]
    findings = Findings(trials=len(payloads) + len(jobs), hits=len(payloads) + len(jobs))
    findings.check(
        ended,
        checker.each("a payload is refused, or kept as it is", refusals, lambda text: text != ""),
        checker.each("a result cannot be stored", rows, lambda job: job.status == "failed"),
        checker.each("and says so", rows, lambda job: job.error_code == "result_unstorable"),
        checker.each(
            "the others complete", good, lambda job: tables.jobs[job].status == "completed"
        ),
        checker.starts_bounded(tables, events),
        checker.that("none runs twice", max(checker.starts(events).values()) == 1),
    )
    return findings


def _nested(depth: int) -> dict[str, Any]:
    inner: Any = 1
    for _ in range(depth):
        inner = [inner]
    return {"deep": inner}


def _refusal(lab: Lab, payload: Any) -> str:
    """Why a payload was refused; empty where it was stored and came back as another."""
    try:
        job = lab.queue.enqueue("step", payload)
    except jobq.JobqError as error:
        return str(error)
    same = json.dumps(lab.queue.get(job.id).payload) == json.dumps(payload)
    lab.history.note("enqueued", ids=[job.id])
    return "kept" if same else ""
