"""The shipped worker and ops under any order of steps and faults; on both databases alike."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator.__main__ import played_all
from tests.simulator.clock import Time
from tests.simulator.databases import Memory, Postgres, Rows, table
from tests.simulator.play import Play
from tests.simulator.scheduler import FAULTS
from tests.simulator.script import Script, scripts, seeded

EXAMPLES = int(os.environ.get("JOBQ_SIMULATOR_EXAMPLES", "100"))
SEEDS = int(os.environ.get("JOBQ_SIMULATOR_SEEDS", "6"))
PARTS = int(os.environ.get("JOBQ_SIMULATOR_PARTS", "1"))
PART = 100
RANDOM = {"jobq_job": {"fence"}, "jobq_attempt": {"fence"}, "jobq_limit": {"updated_at"}}
"""What the databases choose themselves: a column default is the time of their own clocks."""


@pytest.mark.timeout(3600)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(script=scripts(), joins_claims=st.booleans())
def test_whatever_goes_wrong_no_promise_is_broken(script: Script, joins_claims: bool) -> None:
    time = Time()
    database = Memory(time)
    try:
        Play(time, database, joins_claims=joins_claims).run(script)
    finally:
        database.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_seed_breaks_a_promise(part: int) -> None:
    tally = played_all(part * PART, (part + 1) * PART)
    assert tally.broken == []
    assert all(tally.hits[fault] for fault in FAULTS)
    assert tally.counts["rescues"]
    assert tally.counts["refused outcomes"]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_same_script_ends_in_the_same_rows_on_both_databases(seed: int, postgres: str) -> None:
    script = seeded(seed, length=40, same_everywhere=True)
    time = Time()
    memory = Memory(time)
    Play(time, memory, joins_claims=seed % 2 == 0).run(script)
    expected = rows(memory)
    memory.close()
    time = Time()
    server = Postgres(time, postgres, like_sqlite=True)
    try:
        Play(time, server, joins_claims=seed % 2 == 0).run(script)
        assert different(rows(server), expected) == []
    finally:
        server.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_statement_by_statement_no_promise_is_broken_on_postgresql(
    seed: int, postgres: str
) -> None:
    time = Time()
    server = Postgres(time, postgres, like_sqlite=False)
    try:
        Play(time, server, joins_claims=False).run(seeded(seed))
    finally:
        server.close()


def rows(database: Any) -> dict[str, Rows]:
    """What a run has left, but for what is random."""
    found = {name: table(database, name) for name in ("jobq_job", "jobq_attempt", "jobq_limit")}
    for table_name, some in found.items():
        for row in some:
            for name in RANDOM[table_name]:
                del row[name]
        some.sort(key=repr)
    return found


def different(left: dict[str, Rows], right: dict[str, Rows]) -> list[Any]:
    """Where the rows of two runs differ."""
    found: list[Any] = []
    for name, rows_left in left.items():
        rows_right = right[name]
        if len(rows_left) != len(rows_right):
            found.append((name, len(rows_left), len(rows_right)))
        for one, other in zip(rows_left, rows_right, strict=False):
            found += [
                (name, one, key, one[key], other[key]) for key in one if one[key] != other[key]
            ]
    return found
