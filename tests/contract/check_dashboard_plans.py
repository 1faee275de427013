"""With 100 000 jobs in the table no page of the dashboard takes many statements, or walks it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

import jobq
from jobq.backends._statement import Call, drive
from jobq.http import Anonymous, Request, Response
from jobq.http.dashboard import Dashboard
from tests.conformance.situations import sql
from tests.conformance.test_hot_plans import TABLES, walked

MANY = 100_000
MOST = 10
STATUSES = {"pending": 20_000, "completed": 60_000, "failed": 15_000, "cancelled": 5_000}
PAGES = (
    "",
    "/jobs",
    "/jobs?status=failed",
    "/jobs?status=failed&error=ValueError&code=ValueError",
    "/jobs?type=rare",
    "/jobs?queue=rare&within=24h",
    "/jobs?owner=user-7",
    "/jobs?owner=user-7&status=failed&type=work",
    "/jobs?status=pending&since=2026-01-01T00:00&until=2036-01-01T00:00",
    "/jobs/bulk?verb=retry",
    "/jobs/bulk?verb=cancel&type=rare",
    "/jobs/bulk?verb=delete&owner=user-7",
    "/jobs/{id}",
    "/failures",
    "/failures?within=24h",
    "/queues",
    "/limits",
    "/workers",
    "/schedules",
    "/spend",
    "/spend?by=owner&period=7d",
    "/database",
)
NUMBERS = {
    "sqlite": (
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
        f"WHERE n < {MANY})"
    ),
    "postgresql": f"WITH numbers (n) AS (SELECT generate_series(1, {MANY}))",
}
IDS = {
    "sqlite": "printf('%s-%s-7000-8000-%012x', substr(h, 1, 8), substr(h, 9), n)",
    "postgresql": (
        "(overlay(h placing '-' from 9 for 0) || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
    ),
}
HEX = {
    "sqlite": "printf('%012x', 1780000000000 + n * 1000)",
    "postgresql": "lpad(to_hex(1780000000000 + n::bigint * 1000), 12, '0')",
}


def fill(queue: jobq.Queue, kind: str) -> None:
    """All the jobs with one statement, in every status, of some owners, types and queues."""
    bounds, before = [], 0
    for status, number in STATUSES.items():
        before += number
        bounds.append(f"WHEN n * 7 % {MANY} < {before} THEN '{status}'")
    ready = "n * 7 % 100000 < 20000"
    flag = f"CASE WHEN {ready} THEN 1 ELSE 0 END" if kind == "sqlite" else f"({ready})"
    true = "1" if kind == "sqlite" else "true"
    text = (
        f"{NUMBERS[kind]}, made AS (SELECT n, {HEX[kind]} AS h FROM numbers) "
        "INSERT INTO jobq_job (id, type, queue, payload, owner, status, declared, ready, error, "
        f"error_code) SELECT {IDS[kind]}, CASE WHEN n = 5 THEN 'rare' ELSE 'work' END, "
        "CASE WHEN n = 5 THEN 'rare' ELSE 'default' END, '{}', "
        f"'user-' || (n % 1000), CASE {' '.join(bounds)} END, {true}, {flag}, "
        "'ValueError: the paper is jammed', 'ValueError' FROM made"
    )
    sql(queue, text if kind == "sqlite" else text.replace("%", "%%"))
    sql(
        queue,
        "INSERT INTO jobq_attempt (job_id, fence, number, outcome, started_at, ended_at) "
        "SELECT id, 1, 1, status, created_at, created_at FROM jobq_job",
    )


class Recorder:
    """Stands where a queue's store does: explains each statement, and counts it."""

    def __init__(self, url: str, store: Any) -> None:
        self.dialect = store.dialect
        self.calls: list[str] = []
        self.walks: list[str] = []
        self._open = ExitStack()
        if url.startswith("postgresql"):
            self._session: Any = psycopg.connect(url, autocommit=True)
            self._session.execute("VACUUM (ANALYZE)")
        else:
            path = url.removeprefix("sqlite:///")
            self._session = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._session.execute("ANALYZE")
        self._open.callback(self._session.close)

    def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        return drive(op(self.dialect, *args, **kwargs), self._execute)

    def close(self) -> None:
        self._open.close()

    def _execute(self, call: Call) -> list[Any]:
        self.calls.append(call.sql)
        if isinstance(self._session, sqlite3.Connection):
            plan = self._session.execute(f"EXPLAIN QUERY PLAN {call.sql}", call.params)
            scans = (line[3] for line in plan if line[3].startswith("SCAN"))
            self.walks += [f"{scan}: {call.sql}" for scan in scans if scan.endswith(TABLES)]
            return self._session.execute(call.sql, call.params).fetchall()
        explain = f"EXPLAIN (FORMAT JSON) {call.sql}"
        [[plans]] = self._session.execute(explain, call.params, prepare=False).fetchall()
        self.walks += [f"{name}: {call.sql}" for name in walked(plans[0]["Plan"])]
        cursor = self._session.execute(call.sql, call.params)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def recorder(url: str, queue: jobq.Queue) -> Iterator[Recorder]:
    store = queue._store()
    queue.counts()
    fill(queue, "sqlite" if url.startswith("sqlite") else "postgresql")
    recorder = Recorder(url, store)
    queue._opened = recorder  # type: ignore[assignment]
    yield recorder
    recorder.close()
    queue._opened = store


@pytest.mark.timeout(240)
def test_no_page_takes_many_statements_or_walks_a_table_of_100_000_jobs(
    queue: jobq.Queue, recorder: Recorder
) -> None:
    [newest] = queue.list(limit=1).jobs
    dashboard = Dashboard(queue, access=Anonymous())
    for page in PAGES:
        recorder.calls.clear()
        path, _, query = page.replace("{id}", newest.id).partition("?")
        request = Request(method="GET", path=f"/jobq{path}", query=query, debug=True)
        template = "/jobs/{id}" if "{id}" in page else path
        answer = dashboard.handle(template, request, id=newest.id if "{id}" in page else "")
        assert isinstance(answer, Response)
        assert answer.status == 200, (page, answer.body.decode())
        assert 1 <= len(recorder.calls) <= MOST, (page, recorder.calls)
        assert recorder.walks == [], page
