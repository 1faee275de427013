"""How the database is doing, as it says itself."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import psycopg

import jobq
from jobq.backends import ops
from tests.conformance.situations import run


def health(queue: jobq.Queue) -> ops.DatabaseHealth:
    found: ops.DatabaseHealth = run(queue, ops.database_health)
    return found


def test_tables_are_listed_with_what_is_dead_in_them(postgres: str) -> None:
    with (
        jobq.Queue(postgres) as queue,
        psycopg.connect(postgres, autocommit=True) as session,
    ):
        session.execute("ALTER TABLE jobq_job SET (autovacuum_enabled = off)")
        queue.enqueue_many([("t", {"n": n}) for n in range(300)], connection=session)
        session.execute("DELETE FROM jobq_job WHERE (payload ->> 'n')::int < 100")
        session.execute("SELECT pg_stat_force_next_flush()")
        session.execute("ANALYZE jobq_job")
        session.execute("VACUUM jobq_attempt")
        found = health(queue)
        session.execute("ALTER TABLE jobq_job RESET (autovacuum_enabled)")
    tables = {table.name: table for table in found.tables}
    assert (tables["jobq_job"].rows, tables["jobq_job"].dead) == (200, 100)
    assert tables["jobq_attempt"].vacuumed_at is not None
    assert found.tables == (*sorted(found.tables, key=lambda one: (-one.bytes, one.name)),)
    assert found.version.startswith("PostgreSQL 1")
    assert 1 <= found.connections <= (found.max_connections or 0)
    assert found.journal_mode is None


def test_who_holds_a_snapshot_is_named(postgres: str) -> None:
    with jobq.Queue(postgres) as queue, psycopg.connect(postgres) as holder:
        assert health(queue).held_by is None
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT count(*), pg_sleep(1.1) FROM jobq_job")
        found = health(queue)
        assert f"session {holder.info.backend_pid} of" in str(found.held_by)
        assert found.held_seconds >= 1


def test_a_session_that_has_written_and_is_idle_holds_dead_rows_too(postgres: str) -> None:
    with jobq.Queue(postgres) as queue, psycopg.connect(postgres) as writer:
        job = queue.enqueue("t", {})
        writer.execute("UPDATE jobq_job SET message = 'x' WHERE id = %s", [job.id])
        writer.execute("SELECT pg_sleep(1.1)")
        assert f"session {writer.info.backend_pid} of" in str(health(queue).held_by)


def test_who_may_not_see_others_says_so(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as session:
        session.execute("DROP ROLE IF EXISTS stranger")
        session.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
        session.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO stranger")
        try:
            parts = urlsplit(postgres)
            url = parts._replace(netloc=f"stranger:stranger@{parts.hostname}:{parts.port}").geturl()
            with jobq.Queue(postgres) as own, jobq.Queue(url) as queue:
                assert health(own).sees_others
                assert not health(queue).sees_others
        finally:
            session.execute("DROP OWNED BY stranger")
            session.execute("DROP ROLE stranger")


def test_a_file_is_measured(sqlite: str) -> None:
    path = Path(sqlite.removeprefix("sqlite:///"))
    with jobq.Queue(sqlite) as queue:
        jobs = queue.enqueue_many([("t", {"text": "x" * 10_000})] * 100)
        before = health(queue)
        for job in jobs:
            queue.cancel(job.id)
            queue.delete(job.id)
        after = health(queue)
        assert after.log_bytes == Path(f"{path}-wal").stat().st_size > 0
    assert before.free_bytes == 0
    assert after.bytes >= before.bytes > 1_000_000
    assert after.free_bytes > 900_000
    assert (after.journal_mode, after.tables, after.max_connections) == ("wal", (), None)
