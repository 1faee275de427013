"""Schemas and versions that differ, and migrations that are cut short."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import jobq
from tests.faults import checker
from tests.faults.lab import Findings, Lab, scenario
from tests.faults.victims import Victim


@scenario("older-worker", codes=("F40",), full=20, quick=5, tiny=2)
def older_worker(lab: Lab) -> Findings:
    """A worker that does not know a type leaves its jobs to one that does."""
    count = lab.choose(full=20, quick=5, tiny=2)
    older = lab.worker("older")
    lab.await_ready([older])
    new = lab.enqueue_many("tarry", [{}] * count)
    known = lab.enqueue_many("step", [{}] * count)
    pending = "SELECT count(*) FROM jobq_job WHERE status <> 'pending'"
    lab.until(lambda: lab.sql(pending) == [(count,)], 30, "the known jobs are taken")
    time.sleep(0.5)
    untouched = [checker.dump(lab.url).jobs[job] for job in new]
    newer = lab.actor("worker", "newer", kind=Victim)
    lab.until_finished(timeout=30)
    ended = lab.stop([older, newer])
    tables = checker.dump(lab.url)
    findings = Findings(trials=2 * count, hits=len(new))
    findings.check(
        ended,
        checker.each("it waits untouched", untouched, checker.is_untouched),
        checker.all_completed(tables),
        checker.started_once(tables, lab.histories.refresh()),
        checker.each("by who knows it", new, lambda job: tables.jobs[job].result == newer.name),
        checker.each("the others as well", known, lambda job: tables.jobs[job].attempts == 1),
    )
    return findings


@scenario("newer-schema", codes=("F40",), full=4, quick=3, tiny=2)
def newer_schema(lab: Lab) -> Findings:
    """A client goes on with a newer schema that allows it, and refuses one that does not."""
    findings = Findings(trials=4)
    lab.sql("INSERT INTO jobq_schema (version, compatible_from) VALUES (50, 1)")
    worker = lab.worker()
    lab.await_ready([worker])
    lab.enqueue_many("step", [{}])
    lab.until_finished(timeout=30)
    findings.hits += 1
    lab.sql("INSERT INTO jobq_schema (version, compatible_from) VALUES (99, 99)")
    refused = lab.worker("refused")
    code, _ = refused.wait(timeout=30)
    findings.hits += code != 0
    findings.check(checker.that("a worker says why", "upgrade jobq" in refused.errors()))
    with jobq.Queue(lab.url) as queue:
        findings.hits += _is_refused(lambda: queue.enqueue("step", {}))
        findings.hits += _is_refused(queue.migrate)
    lab.sql("DELETE FROM jobq_schema WHERE version = 99")
    findings.check(
        lab.stop([worker]),
        checker.all_completed(checker.dump(lab.url)),
        checker.that("three are refused", findings.hits == 4, findings.hits),
    )
    return findings


def _is_refused(verb: Callable[[], object]) -> bool:
    try:
        verb()
    except jobq.SchemaError as error:
        return "upgrade jobq" in str(error)
    return False


def _another(lab: Lab, name: str) -> str:
    """The URL of a new database beside the lab's."""
    if not lab.is_postgres:
        return f"sqlite:///{lab.folder / name}.db"
    lab.sql(f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(lab.url)._replace(path=f"/{name}"))


@scenario("migration-killed", codes=("F41",), full=20, quick=3, tiny=1)
def migration_killed(lab: Lab) -> Findings:
    """A migration killed half-way leaves nothing; the next one, and one beside it, complete it."""
    rounds = lab.choose(full=20, quick=3, tiny=1)
    findings = Findings(trials=rounds)
    for number in range(rounds):
        url = _another(lab, f"migrated_{lab.folder.name[-8:].lower()}_{number}")
        first = lab.actor("migrator", "killed", kind=Victim, url=url, pause=0.02)
        lab.until_noted("statement", 1 + lab.random.randrange(15), by=first)
        first.kill()
        left = _installed(url)
        findings.hits += left == []
        both = [lab.actor("migrator", "both", kind=Victim, url=url, pause=0.01) for _ in range(2)]
        codes = [actor.wait(timeout=60)[0] for actor in both]
        with jobq.Queue(url) as queue:
            queue.enqueue("step", {})
        findings.check(
            checker.that("nothing is left half done", left == [], left),
            checker.that("both end well", codes == [0, 0], codes),
            checker.that("it is done once", _installed(url) == [(1,)], _installed(url)),
        )
    return findings


def _installed(url: str) -> list[tuple[Any, ...]]:
    import sqlite3

    import psycopg

    try:
        return checker.query(url, "SELECT version FROM jobq_schema")
    except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
        return []


@scenario("migration-under-load", codes=("F41", "F40"), full=6, quick=2, tiny=1)
def migration_under_load(lab: Lab) -> Findings:
    """The next schema comes while workers of this one run: killed half-way, then to its end."""
    kills = lab.choose(full=5, quick=1, tiny=0)
    workers = lab.workers(2)
    enqueuer = lab.actor("enqueuer", seconds=0.05, gap=0.02)
    lab.await_ready([enqueuer])
    findings = Findings(trials=kills + 1)
    options: dict[str, Any] = {"kind": Victim, "future": True, "pause": 0.2}
    for _ in range(kills):
        migrator = lab.actor("migrator", "killed", **options)
        lab.until_noted("statement", 1, by=migrator)
        migrator.kill()
        findings.hits += _installed(lab.url) == [(1,)]
    began = lab.now()
    migrator = lab.actor("migrator", "last", **options)
    code, _ = migrator.wait(timeout=60)
    findings.hits += code == 0
    took = lab.now()
    later = lab.worker("later")
    lab.await_ready([later])
    lab.until(lambda: _ended_since(lab, took, later.name), 30, "jobs run on the new schema")
    ended = [lab.stop([enqueuer])]
    lab.until_finished(timeout=60)
    ended.append(lab.stop([*workers, later]))
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings.check(
        *ended,
        checker.that("the schema is the new one", _installed(lab.url)[-1:] == [(2,)]),
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.started_once(tables, events),
    )
    findings.figures = {
        "jobs": len(tables.jobs),
        "ended during the migration": len(lab.histories.of("end", where=_between(began, took))),
    }
    return findings


def _ended_since(lab: Lab, moment: float, actor: str) -> bool:
    lab.histories.refresh()
    return bool(lab.histories.of("end", where=lambda e: e.at > moment and e.actor == actor))


def _between(start: float, end: float) -> Any:
    return lambda event: start < event.at < end
