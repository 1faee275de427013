"""Clocks that are wrong, or that jump."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from jobq.testing._postgres import PostgresServer
from tests.faults import checker
from tests.faults.lab import Findings, Lab, NotHere, scenario
from tests.faults.victims import Victim
from tests.limits import windows

LEASE = 3.0
FOLDERS = ("/usr/lib", "/usr/local/lib", "/opt")


def faked_time(**variables: str) -> dict[str, str]:
    """The environment of a process whose wall clock is wrong; its monotonic clock goes on."""
    for folder in FOLDERS:
        for library in Path(folder).glob("**/faketime/libfaketimeMT.so.1"):
            return {
                "LD_PRELOAD": str(library),
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                **variables,
            }
    raise NotHere("libfaketime is not installed")


@scenario(
    "wrong-worker-clocks", codes=("F21",), databases=("postgresql",), full=60, quick=20, tiny=5
)
def wrong_worker_clocks(lab: Lab) -> Findings:
    """Workers whose clocks are two hours wrong start nothing early or late, and lose no lease."""
    count = lab.choose(full=60, quick=20, tiny=5)
    clocks = {"fast": faked_time(FAKETIME="+2h"), "slow": faked_time(FAKETIME="-2h")}
    workers = [
        lab.actor("worker", name, kind=Victim, environment=clock, lease=LEASE)
        for name, clock in clocks.items()
    ]
    lab.await_ready(workers)
    delay = 2.0
    due_at = lab.now() + delay
    later = lab.enqueue_many("tarry", [{}] * count, delay=delay)
    lab.enqueue_many("tarry", [{"": LEASE + 1.0}] * 6)
    metered = lab.enqueue_many("metered", [{}] * count)
    expiring = lab.enqueue_many("tarry", [{}] * 5, priority=1, timeout=30.0)
    lab.until_finished(timeout=60)
    ended = lab.stop(workers)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    starts = [event for event in events if event.event == "start"]
    delayed = [event for event in starts if event["job"] in set(later)]
    limited = [(int(event.at * 1e9), 1) for event in starts if event["job"] in set(metered)]
    findings = Findings(trials=len(tables.jobs), hits=len(starts))
    findings.check(
        ended,
        checker.all_completed(tables),
        checker.started_once(tables, events),
        checker.each("no job starts early", delayed, lambda event: event.at >= due_at),
        lab.in_time("none much later", [e.at - due_at for e in delayed], 5.0),
        checker.each("no lease is lost", lab.histories.of("lease_lost"), lambda _: False),
        checker.that("the limit holds", windows.fullest(limited, 2) <= 20),
        checker.that("nothing expires", len(expiring) == 5),
    )
    findings.figures = {
        "latest start s": round(max(e.at for e in delayed) - due_at, 2),
        "fullest window of 20": windows.fullest(limited, 2),
    }
    return findings


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@scenario(
    "database-clock-ahead", codes=("F21",), databases=("postgresql",), full=20, quick=6, tiny=3
)
def database_clock_ahead(lab: Lab) -> Findings:
    """The database's clock jumps ahead two hours: each job is rescued early once at most."""
    return _with_clock(lab, ["+7200"])


@scenario(
    "database-clock-back", codes=("F21",), databases=("postgresql",), full=20, quick=6, tiny=3
)
def database_clock_back(lab: Lab) -> Findings:
    """The database's clock jumps back one hour: no limit locks up, and no job is stuck."""
    return _with_clock(lab, ["-3600"])


def _with_clock(lab: Lab, offsets: list[str]) -> Findings:
    clock = lab.folder / "clock"
    _set(clock, "+0")
    variables = faked_time(FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_CACHE_DURATION="1")
    with _environment(variables):
        server = PostgresServer.start(max_connections=100)
    with server, Lab(server.create_database("jumps"), lab.folder, lab.size, server) as jumping:
        return _jump(jumping, clock, offsets)


def _set(clock: Path, offset: str) -> None:
    new = clock.with_name("clock.new")
    new.write_text(f"{offset}\n")
    new.chmod(0o644)
    new.replace(clock)


def _jump(lab: Lab, clock: Path, offsets: list[str]) -> Findings:
    count = lab.choose(full=20, quick=6, tiny=3)
    options: dict[str, Any] = {"kind": Victim, "lease": LEASE, "concurrency": count}
    workers = [lab.actor("worker", f"worker-{n}", **options) for n in range(2)]
    lab.await_ready(workers)
    jumps = []
    for offset in offsets:
        running = lab.enqueue_many("tarry", [{"": 2.0}] * count, max_attempts=5)
        metered = lab.enqueue_many("metered", [{}] * 30)
        lab.until(partial(_started, lab, running), 30, "jobs run")
        before = _clock_of(lab)
        _set(clock, offset)
        lab.until(partial(_is_away, lab, before), 10, "the clock jumps")
        time.sleep(1.2)  # each process of the server looks at its clock once a second
        jumps.append(round(_clock_of(lab) - before))
        after = lab.enqueue_many("step", [{}] * 10)
        after += lab.enqueue_many("step", [{}] * 10, delay=1.0)
        lab.until_finished(timeout=90)
        lab.history.note("round", jobs=[*running, *metered, *after])
    time.sleep(1.0)
    ended = lab.stop(workers)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    rescues = [sum(map(checker.is_crash, one)) for one in tables.attempts.values()]
    findings = Findings(trials=len(jumps) * count, hits=len(jumps) * count)
    findings.check(
        ended,
        checker.each("the clock jumped", jumps, lambda seconds: abs(seconds) > 3000),
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.starts_bounded(tables, events),
        checker.each("a job is rescued once at most", rescues, lambda number: number <= 1),
    )
    findings.figures = {"jumps s": "/".join(map(str, jumps)), "early rescues": sum(rescues)}
    return findings


def _started(lab: Lab, jobs: list[str]) -> bool:
    return set(jobs) <= checker.starts(lab.histories.refresh()).keys()


def _is_away(lab: Lab, moment: float) -> bool:
    return abs(_clock_of(lab) - moment) > 3000


def _clock_of(lab: Lab) -> float:
    return float(lab.sql("SELECT extract(epoch FROM clock_timestamp())")[0][0])
