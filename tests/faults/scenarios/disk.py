"""Disks that are full, and files that cannot be written."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import jobq
from jobq.testing._postgres import PostgresServer
from tests.faults import checker
from tests.faults.app import connect
from tests.faults.history import Event
from tests.faults.lab import Findings, Lab, NotHere, scenario

LEASE = 20.0
"""Longer than the disk is full here: within a lease nothing may be lost."""
MEGABYTE = 1 << 20


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size, in memory."""
    if os.geteuid() != 0:
        raise NotHere("only root may mount a small file system")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        raise NotHere("a small file system cannot be mounted")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@scenario("disk-full", codes=("F15",), full=20, quick=3, tiny=1)
def disk_full(lab: Lab) -> Findings:
    """A full disk is an error to the enqueuer and a pause to workers; freed, all goes on."""
    with small_disk(lab.folder / "disk", 24 if lab.is_postgres else 2) as disk:
        if not lab.is_postgres:
            with Lab(f"sqlite:///{disk / 'jobs.db'}", lab.folder, lab.size) as on_disk:
                return _fill(on_disk, disk)
        assert lab.server is not None
        shutil.chown(disk, "nobody")
        lab.sql(f"CREATE TABLESPACE small LOCATION '{disk}'")
        lab.sql("CREATE DATABASE on_small TABLESPACE small")
        try:
            with Lab(lab.server.url("on_small"), lab.folder, lab.size, lab.server) as on_disk:
                return _fill(on_disk, disk)
        finally:
            lab.sql("DROP DATABASE on_small WITH (FORCE)")
            lab.sql("DROP TABLESPACE small")


def _fill(lab: Lab, disk: Path) -> Findings:
    rounds = lab.choose(full=4, quick=1, tiny=1)
    findings = Findings(trials=rounds)
    workers = lab.workers(2, lease=LEASE, concurrency=5)
    complaints = []
    for _ in range(rounds):
        lab.enqueue_many("step_in_thread", [{"seconds": 0.5}] * 10, max_attempts=5)
        lab.until(lambda: lab.queue.counts()["processing"] > 0, 30, "jobs run")
        filled_at = lab.now()
        ballast = _fill_up(disk)
        findings.hits += _refused(lab, 5, lambda: lab.queue.enqueue("noop", {"x": "x" * 50_000}))
        time.sleep(2.5)
        lab.histories.refresh()
        logs = lab.histories.of("log", where=_after(filled_at))
        complaints.append(len(logs) / (lab.now() - filled_at))
        ballast.unlink()
        lab.until_finished(timeout=60)
    survivors = checker.each("a worker survives", workers, lambda worker: worker.alive)
    ended = lab.stop(workers)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    crashed = [job for job in tables.jobs.values() if job.crash_count]
    findings.check(
        survivors,
        ended,
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.starts_bounded(tables, events),
        checker.each("no success is thrown away", crashed, lambda _: False),
        lab.in_time("nobody loops: fewer than 10 complaints a second", complaints, 10.0),
    )
    if not lab.is_postgres:
        findings.check(integrity(lab.url))
    findings.figures = {"complaints/s": round(max(complaints), 1), "jobs": len(tables.jobs)}
    return findings


@scenario("log-disk-full", codes=("F15",), databases=("postgresql",), full=3, quick=1, tiny=1)
def log_disk_full(lab: Lab) -> Findings:
    """PostgreSQL's log has no room and the server crashes: what it acknowledged is there after."""
    small = {"min_wal_size": "32MB", "max_wal_size": "32MB"}
    with (
        small_disk(lab.folder / "disk", 80) as disk,
        PostgresServer.start(durable=True, **small) as server,
    ):
        _move_log(server, disk)
        with Lab(server.create_database("jobs"), lab.folder, lab.size, server) as own:
            return _crash_for_want_of_room(own, server, disk)


def _move_log(server: PostgresServer, disk: Path) -> None:
    """Have the server write ahead on that disk."""
    server._end_process("fast")
    shutil.chown(disk, "nobody")
    log = server.data_dir / "pg_wal"
    shutil.move(log, disk / "pg_wal")
    for path in (disk / "pg_wal").rglob("*"):
        shutil.chown(path, "nobody")
    shutil.chown(disk / "pg_wal", "nobody")
    log.symlink_to(disk / "pg_wal")
    server._launch([server.port])


def _crash_for_want_of_room(lab: Lab, server: PostgresServer, disk: Path) -> Findings:
    rounds = lab.choose(full=3, quick=1, tiny=1)
    findings = Findings(trials=rounds)
    workers = lab.workers(2, lease=LEASE, concurrency=5)
    refused = 0
    for _ in range(rounds):
        lab.enqueue_many("step_in_thread", [{"seconds": 0.5}] * 10, max_attempts=5)
        lab.until(lambda: lab.queue.counts()["processing"] > 0, 30, "jobs run")
        ballast = _fill_up(disk)
        refused += _enqueue_until_it_crashes(lab, server)
        findings.hits += 1
        ballast.unlink()
        _start_if_it_ended(lab, server)
        lab.until_finished(timeout=60)
    survivors = checker.each("a worker survives", workers, lambda worker: worker.alive)
    ended = lab.stop(workers)
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings.check(
        survivors,
        ended,
        checker.that("an enqueuer is told", refused > 0),
        *checker.nothing_wrong(tables, events, lab.acknowledged()),
    )
    findings.figures = {"jobs": len(tables.jobs), "refused": refused}
    return findings


def _enqueue_until_it_crashes(lab: Lab, server: PostgresServer) -> int:
    """Enqueue what cannot be compressed, two megabytes at a time; how often that was refused."""
    refused, before = 0, _crashes(server)
    while _crashes(server) == before:
        try:
            lab.enqueue_many("noop", [{"x": os.urandom(25_000).hex()} for _ in range(40)])
        except jobq.BackendError:
            refused += 1
    return refused


def _log(server: PostgresServer) -> str:
    return (server.data_dir / "server.log").read_text(errors="replace")


def _crashes(server: PostgresServer) -> int:
    """How often it has crashed since it was started."""
    return _log(server).count("PANIC:")


def _start_if_it_ended(lab: Lab, server: PostgresServer) -> None:
    """It comes back by itself, if that did not need room as well."""
    process = server._process
    assert process is not None

    def decided() -> bool:
        is_back = "ready to accept connections" in _log(server).rpartition("PANIC:")[2]
        return is_back or process.poll() is not None

    lab.until(decided, 60, "the server is back, or has ended")
    if process.poll() is not None:
        server._launch([server.port])


def _fill_up(disk: Path) -> Path:
    """Take all the room that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return ballast


def _refused(lab: Lab, trials: int, enqueue: Callable[[], jobq.Job]) -> int:
    """How many enqueues were refused with an error of jobq's; until then there was room."""
    refused = 0
    for _ in range(100):
        try:
            lab.history.note("enqueued", ids=[enqueue().id])
        except jobq.BackendError:
            refused += 1
            if refused == trials or lab.is_postgres:
                break
    return trials if refused and lab.is_postgres else refused


def integrity(url: str) -> checker.Check:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        rows = connection.execute("PRAGMA integrity_check").fetchall()
    return checker.that("the file is sound", rows == [("ok",)], rows)


@scenario("file-size-limit", codes=("F15",), databases=("sqlite",), full=10, quick=3, tiny=1)
def file_size_limit(lab: Lab) -> Findings:
    """A worker that may not make its files larger backs off, and goes on when it may."""
    rounds = lab.choose(full=10, quick=3, tiny=1)
    worker = lab.worker(lease=LEASE, concurrency=5)
    lab.await_ready([worker])
    findings = Findings(trials=rounds)
    for _ in range(rounds):
        with _long_log(lab):
            lab.enqueue_many("step_in_thread", [{"seconds": 0.3}] * 5, max_attempts=5)
            lab.until(lambda: lab.queue.counts()["processing"] == 5, 30, "jobs run")
            unlimited = resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (MEGABYTE, -1))
            lab.until(partial(_complained, lab, lab.now()), 30, "the worker complains")
        findings.hits += 1
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, unlimited)
        lab.until_finished(timeout=60)
    ended = lab.stop([worker])
    events, tables = lab.histories.refresh(), checker.dump(lab.url)
    findings.check(
        ended,
        checker.none_lost(tables, lab.acknowledged()),
        checker.all_completed(tables),
        checker.starts_bounded(tables, events),
        integrity(lab.url),
    )
    return findings


@contextmanager
def _long_log(lab: Lab) -> Iterator[None]:
    """A log that has outgrown what the worker may write; its history and its words have not."""
    with closing(connect(lab.url)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobq_job")  # what is written now cannot be emptied
        lab.enqueue_many("step", [{"x": "x" * (MEGABYTE // 2)}] * 4)
        yield


def _after(moment: float) -> Callable[[Event], bool]:
    return lambda event: event.at > moment


def _complained(lab: Lab, since: float) -> bool:
    lab.histories.refresh()
    return bool(lab.histories.of("log", where=_after(since)))


@scenario(
    "read-only-disk", codes=("F44",), databases=("sqlite",), in_quick=True, full=4, quick=3, tiny=2
)
def read_only_disk(lab: Lab) -> Findings:
    """A file that cannot be written, or has gone, is an error that says so; mended, all goes on."""
    findings = Findings()
    with small_disk(lab.folder / "disk", 4) as disk:
        url = f"sqlite:///{disk / 'jobs.db'}"
        with jobq.Queue(url) as queue:
            queue.enqueue("step", {})
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for address in (url, f"sqlite:///{disk / 'new.db'}"):
            _expect_refusal(findings, address, ("readonly", "read-only", "unable to open"))
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        with jobq.Queue(url) as queue:
            queue.enqueue("step", {})
            kept = queue.counts()["pending"]
        findings.check(checker.that("what was there is there", kept == 2, kept), integrity(url))
    _expect_refusal(
        findings, f"sqlite:///{lab.folder / 'nowhere' / 'jobs.db'}", ("does not exist",)
    )
    folder = lab.folder / "a-folder.db"
    folder.mkdir()
    _expect_refusal(findings, f"sqlite:///{folder}", ("unable to open",))
    return findings


def _expect_refusal(findings: Findings, url: str, words: tuple[str, ...]) -> None:
    findings.trials += 1
    try:
        with jobq.Queue(url) as queue:
            queue.enqueue("step", {})
    except jobq.JobqError as error:
        findings.hits += 1
        text = str(error)
        findings.check(checker.that("the error says why", any(w in text for w in words), text))
    else:
        findings.check(checker.that("it is refused", False, url))
