"""Jobs as values, and the one table of legal moves."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq._checks import priority_number
from jobq._model import job_id, new_id, statuses

NOON = datetime(2030, 1, 1, 12, 0, 0, 123_987, tzinfo=UTC)


def job(**facts):
    given = {
        "id": new_id(),
        "type": "image_edit",
        "queue": "default",
        "status": jobq.JobStatus.PENDING,
        "created_at": NOON,
        "run_at": NOON,
        "updated_at": NOON,
    }
    return jobq.Job(**{**given, **facts})


# --- ids ----------------------------------------------------------------------------------------


def test_ids_sort_by_the_time_they_were_made():
    ids = [new_id() for _ in range(2000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 2000


def test_an_id_is_a_uuid_of_version_7_in_canonical_text():
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    milliseconds = made.int >> 80
    assert abs(milliseconds / 1000 - datetime.now(UTC).timestamp()) < 60


def test_a_forked_process_draws_other_ids():
    read, write = os.pipe()
    new_id()
    if (child := os.fork()) == 0:
        os.write(write, "".join(new_id() for _ in range(10)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    theirs = {text[start : start + 36] for start in range(0, 360, 36)}
    assert len(theirs) == 10
    assert theirs.isdisjoint(new_id() for _ in range(10))


@given(st.uuids())
def test_an_id_may_be_given_as_text_uuid_or_job(id):
    assert job_id(id) == job_id(str(id)) == job_id(str(id).upper()) == job_id(job(id=str(id)))
    assert job_id(id) == str(id)


@pytest.mark.parametrize("value", ["", "7", None, 7, b"x", "x" * 36, object()])
def test_what_is_no_id_is_refused(value):
    with pytest.raises(jobq.OptionError, match=r"is not a job id \(a UUID\)"):
        job_id(value)


# --- priorities and statuses ----------------------------------------------------------------------


def test_priorities_have_names():
    names = {name: priority_number(name) for name in ("urgent", "normal", "batch")}
    assert names == {"urgent": 100, "normal": 0, "batch": -100}


@given(st.integers(min_value=-32768, max_value=32767))
def test_any_small_integer_is_a_priority(value):
    assert priority_number(value) == value


@pytest.mark.parametrize("value", ["high", "", "100", 32768, -32769, 1.0, True, None])
def test_any_other_priority_is_refused_with_the_choices(value):
    with pytest.raises(jobq.OptionError, match="'urgent', 'normal', 'batch' or an integer"):
        priority_number(value)


def test_the_statuses_are_these():
    assert {str(status): status.finished for status in jobq.JobStatus} == {
        "pending": False,
        "processing": False,
        "rate_limited": False,
        "waiting": False,
        "completed": True,
        "failed": True,
        "cancelled": True,
    }


def test_statuses_are_named_one_or_several():
    assert statuses(None) is None
    assert statuses("failed") == ("failed",)
    assert statuses(["failed", jobq.JobStatus.PENDING]) == ("failed", "pending")


def test_an_unknown_status_is_refused_with_the_known_ones():
    with pytest.raises(jobq.OptionError, match="'done' is no status; the statuses are pending, "):
        statuses(["failed", "done"])


# --- the legal moves ------------------------------------------------------------------------------


def test_the_table_is_keyed_by_its_verbs():
    assert {verb: move.verb for verb, move in jobq.MOVES.items()} == {
        verb: verb for verb in jobq.MOVES
    }
    assert all(move.meaning for move in jobq.MOVES.values())


def test_every_status_can_be_reached_from_a_new_job():
    reached = {jobq.JobStatus.PENDING}
    while True:
        further = {
            target
            for move in jobq.MOVES.values()
            if reached & set(move.sources)
            for target in move.targets
        }
        if further <= reached:
            break
        reached |= further
    assert reached == set(jobq.JobStatus)


def test_a_finished_job_is_left_only_by_retry_and_delete():
    finished = {status for status in jobq.JobStatus if status.finished}
    leaving = {verb for verb, move in jobq.MOVES.items() if finished & set(move.sources)}
    assert leaving == {"retry", "delete"}


def test_a_completed_job_is_never_run_again():
    sources = {verb: move.sources for verb, move in jobq.MOVES.items()}
    assert [verb for verb in sources if "completed" in sources[verb]] == ["delete"]


def test_every_unfinished_status_can_be_ended_and_can_be_run():
    for status in jobq.JobStatus:
        verbs = {verb for verb, move in jobq.MOVES.items() if status in move.sources}
        if not status.finished:
            assert "cancel" in verbs
            assert verbs & {"claim", "retry"}


def test_only_workers_start_a_job():
    starting = {verb for verb, move in jobq.MOVES.items() if "processing" in move.targets}
    assert starting == {"claim"}


# --- the JSON of a job ----------------------------------------------------------------------------


def test_a_job_is_shown_in_the_one_shape():
    shown = job(
        status=jobq.JobStatus.COMPLETED,
        priority=100,
        progress=100,
        message="done",
        result={"url": "…"},
        attempts=2,
        max_attempts=3,
        started_at=NOON + timedelta(seconds=1),
        completed_at=NOON + timedelta(seconds=2),
        payload={"secret": "not shown"},
        owner="not shown",
    )
    assert shown.to_dict() == {
        "id": shown.id,
        "type": "image_edit",
        "queue": "default",
        "status": "completed",
        "priority": 100,
        "progress": 100,
        "message": "done",
        "partial": None,
        "result": {"url": "…"},
        "error": None,
        "errorCode": None,
        "attempts": 2,
        "maxAttempts": 3,
        "createdAt": "2030-01-01T12:00:00.123Z",
        "runAt": "2030-01-01T12:00:00.123Z",
        "startedAt": "2030-01-01T12:00:01.123Z",
        "completedAt": "2030-01-01T12:00:02.123Z",
        "updatedAt": "2030-01-01T12:00:00.123Z",
        "retryAt": None,
        "waitingFor": None,
        "position": None,
        "etaSeconds": None,
        "batchId": None,
    }


@pytest.mark.parametrize("status", list(jobq.JobStatus))
def test_the_shape_has_the_same_keys_in_the_same_order_in_every_status(status):
    assert list(job(status=status).to_dict()) == list(job().to_dict())


@pytest.mark.parametrize(
    "facts, expected",
    [
        ({"status": jobq.JobStatus.PENDING}, None),
        ({"status": jobq.JobStatus.PENDING, "started_at": NOON}, NOON),
        ({"status": jobq.JobStatus.RATE_LIMITED}, NOON),
        ({"status": jobq.JobStatus.PROCESSING, "started_at": NOON}, None),
        ({"status": jobq.JobStatus.FAILED, "started_at": NOON}, None),
    ],
)
def test_retry_at_is_when_a_job_that_was_tried_is_tried_again(facts, expected):
    assert job(**facts).retry_at == expected


def test_a_job_is_a_value():
    one = job()
    assert one == jobq.Job(**{**_values(one), "created": False})
    with pytest.raises(AttributeError):
        one.status = jobq.JobStatus.FAILED
    assert "secret" not in repr(job(payload="secret", result="secret"))


def _values(one):
    return {name: getattr(one, name) for name in type(one).__annotations__}


def test_counts_are_read_by_the_names_of_statuses():
    counts = jobq.Counts(cap=10, by_status=dict.fromkeys(jobq.JobStatus, 3))
    assert (counts["pending"], counts[jobq.JobStatus.FAILED]) == (3, 3)


def test_an_outcome_has_a_job_or_an_error():
    stored = job()
    assert jobq.Outcome(created=True, read=lambda: stored).job is stored
    assert jobq.Outcome(error=ValueError("x")).job is None
