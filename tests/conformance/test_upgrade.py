"""Upgrades: an older jobq goes on in a newer schema that allows it, and stops where it does not."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

import jobq
from jobq.backends import _tables as t
from jobq.testing import drain
from tests.conformance.situations import sql

NEWER = t.SCHEMA_VERSION + 1


@pytest.fixture
def upgraded(url: str, router: jobq.Router, request: pytest.FixtureRequest) -> Iterator[jobq.Queue]:
    """A queue whose database a newer jobq has migrated: it has added what it may add."""
    compatible_from = request.param
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS upgraded CASCADE")
            connection.execute("CREATE SCHEMA upgraded")
        url += f"{'&' if '?' in url else '?'}options=-csearch_path%3Dupgraded"
    with jobq.Queue(url, router=router) as older:
        older.migrate()
        for name in t.metadata.tables:
            sql(older, f"ALTER TABLE {name} ADD COLUMN newer_text TEXT DEFAULT 'new' NOT NULL")
            sql(older, f"ALTER TABLE {name} ADD COLUMN newer_number INTEGER")
        sql(older, "CREATE TABLE jobq_newer (id INTEGER PRIMARY KEY)")
        sql(older, "CREATE INDEX jobq_job_newer ON jobq_job (newer_text)")
        values = f"({NEWER}, {compatible_from})"
        sql(older, f"INSERT INTO jobq_schema (version, compatible_from) VALUES {values}")
    with jobq.Queue(url, router=router) as older:
        yield older


@pytest.mark.parametrize("upgraded", [t.SCHEMA_VERSION], indirect=True)
def test_an_older_client_goes_on_where_the_newer_schema_allows_it(upgraded, router):
    minute = jobq.RateLimit("m", 6000, per=60, max_cost=100)

    @router.handler("work", retry=jobq.Retry(max_attempts=1), limits=[minute])
    def work(payload: dict, job: jobq.SyncJobContext) -> dict:
        if payload.get("fails"):
            raise ValueError("no")
        return payload

    done = upgraded.enqueue(work, {"n": 1}, owner="ada", unique_key="one")
    failed = upgraded.enqueue("work", {"fails": True})
    upgraded.enqueue_many([("work", {"n": 2})])
    cancelled = upgraded.enqueue("work", {}, delay=60)
    upgraded.cancel(cancelled)
    assert drain(upgraded) == 3
    assert upgraded.get(done).result == {"n": 1}
    assert [attempt.outcome for attempt in upgraded.history(failed)] == ["failed"]
    assert upgraded.retry(failed).status == "pending"
    assert upgraded.counts()["completed"] == 2
    assert [info.key for info in upgraded.limits()] == ["m"]
    assert upgraded.migrate() == []
    upgraded.delete(done)
    assert sql(upgraded, "SELECT DISTINCT newer_text FROM jobq_job") == [("new",)]


@pytest.mark.parametrize("upgraded", [NEWER], indirect=True)
def test_an_older_client_stops_where_the_newer_schema_does_not_allow_it(upgraded, router):
    @router.handler("work")
    def work() -> None: ...

    verbs = [
        lambda: upgraded.enqueue(work),
        upgraded.counts,
        lambda: drain(upgraded),
        upgraded.migrate,
    ]
    for verb in verbs:
        with pytest.raises(jobq.SchemaError, match="upgrade jobq"):
            verb()
