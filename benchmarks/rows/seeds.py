"""Many rows of one kind, stored by SQL beside the jobs that are drained."""

from __future__ import annotations

from attrs import asdict, frozen

from benchmarks.database import Database

POSTGRESQL = """
    INSERT INTO jobq_job (id, type, payload, queue, declared, ready, priority, run_at, status,
                          completed_at, prune_at)
    SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
           '{type}', '{{}}', 'default', {declared}, false, {priority},
           now() + interval '{rest} seconds' + (n % 86400) * interval '1 second', '{status}',
           {ended}, {ended} + interval '30 days'
    FROM generate_series(1, {count}) n
"""
SQLITE = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
    INSERT INTO jobq_job (id, type, payload, queue, declared, ready, priority, run_at, status,
                          completed_at, prune_at, created_at, updated_at)
    SELECT printf('00000000-0000-7000-8000-%012x', n), '{type}', '{{}}', 'default', {declared}, 0,
           {priority}, ({now} + {rest} + n % 86400) * 1000000, '{status}', {ended},
           {ended} + 2592000000000, {now} * 1000000, {now} * 1000000
    FROM numbers
"""
HISTORY = """
    INSERT INTO jobq_attempt (job_id, fence, number, outcome, started_at, ended_at)
    SELECT id, 1, 1, 'completed', completed_at, completed_at FROM jobq_job WHERE type = '{type}'
"""
NOW = "CAST(strftime('%s', 'now') AS INTEGER)"


@frozen(kw_only=True)
class Seed:
    """What the rows have in common."""

    count: int
    type: str = "noop"
    declared: bool = True
    priority: int = 0
    rest: int = 86_400
    """Seconds from now until the first of them is due; they are spread over the day after."""
    status: str = "pending"

    def store(self, database: Database) -> None:
        """Store them."""
        finished = self.status == "completed"
        values = asdict(self)
        if database.server is None:
            values["declared"] = int(self.declared)
            ended = f"{NOW} * 1000000" if finished else "NULL"
            database.sql(SQLITE.format(**values, now=NOW, ended=ended))
        else:
            ended = "now()" if finished else "NULL::timestamptz"
            database.sql(POSTGRESQL.format(**values, ended=ended))
        if finished:
            database.sql(HISTORY.format(type=self.type))
