"""The judge of the scenarios finds what it looks for."""

from typing import Any

from tests.faults import checker
from tests.faults.checker import Dump, Ended, Row
from tests.faults.history import Event, Histories, History


def row(id: str, status: str = "completed", **facts: Any) -> Row:
    defaults = {"attempts": 1, "crash_count": 0, "released_count": 0, "worker": None}
    return Row(id=id, type="t", status=status, error_code=None, result=None, **defaults | facts)


def table(*rows: Row, attempts: dict[str, list[Ended]] | None = None) -> Dump:
    return Dump({job.id: job for job in rows}, attempts or {})


def start(job: str) -> Event:
    return Event("worker.1", "start", 0.0, {"job": job})


def crash(job: str, worker: str) -> Ended:
    return Ended(job_id=job, outcome="crashed", worker=worker, error_code="crashed", ended_at=0.0)


def test_an_acknowledged_job_that_is_not_stored_is_lost() -> None:
    assert checker.none_lost(table(row("a")), ["a", "b"]).broken == ["b"]


def test_a_job_that_is_not_finished_is_stuck() -> None:
    tables = table(row("a"), row("b", "pending"), row("c", "processing", worker="w"))
    assert checker.none_stuck(tables).broken == ["b pending", "c processing"]
    assert checker.none_leased(tables).broken == ["c w"]


def test_a_job_that_was_started_twice_or_never_is_found() -> None:
    check = checker.started_once(
        table(row("a"), row("b"), row("c")), [start("a"), *[start("b")] * 2]
    )
    assert check.broken == ["b x2", "c x0"]


def test_a_start_of_a_job_that_nobody_stored_is_found() -> None:
    assert checker.none_unexpected(table(row("a")), [start("a"), start("b")]).broken == ["b"]


def test_a_second_start_needs_a_rescue() -> None:
    tables = table(row("a"), row("b"), attempts={"a": [crash("a", "w")]})
    check = checker.starts_bounded(tables, [start(job) for job in "aabb"])
    assert check.broken == ["b: 2 starts, 0 rescues"]


def test_a_failed_job_needs_three_kills_of_its_workers() -> None:
    attempts = {
        "a": [crash("a", worker) for worker in ("w1", "w2", "w3")],
        "b": [crash("b", worker) for worker in ("w1", "w2", "alive")],
    }
    tables = table(row("a", "failed"), row("b", "failed"), attempts=attempts)
    check = checker.failures_are_kills(tables, {"w1", "w2", "w3"})
    assert check.broken == ["b None: 2 kills"]
    assert not checker.few_failed(tables).holds


def test_half_a_line_of_a_killed_actor_is_left_out_until_it_is_whole(tmp_path: Any) -> None:
    history = History(tmp_path, "worker.1")
    history.note("start", job="a")
    history.close()
    with history.path.open("ab") as file:
        file.write(b'{"event": "end", ')
    histories = Histories(tmp_path)
    assert [event.event for event in histories.refresh()] == ["start"]
    with history.path.open("ab") as file:
        file.write(b'"at": 1e9, "job": "a"}\n')
    assert [event.event for event in histories.refresh()] == ["start", "end"]
