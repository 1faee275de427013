"""`jobq why`: every sentence, as a decision about values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobq import Job, JobStatus, WorkerInfo
from jobq.cli._why import why

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
ID = "01944f00-0000-7000-8000-000000000001"


def a_job(**values: Any) -> Job:
    start = {"id": ID, "type": "mail", "queue": "default", "status": JobStatus.PENDING}
    times = {"created_at": NOW, "run_at": NOW, "updated_at": NOW}
    return Job(**{**start, **times, **values})


def a_worker(**values: Any) -> WorkerInfo:
    who = {"id": "host-1-abcd", "label": "web-1", "host": "host", "pid": 1}
    can: dict[str, Any] = {"queues": (), "types": ("mail",), "slots": 10}
    now = {"busy": 0, "abandoned": 0, "started_at": NOW, "seen_at": NOW, "alive": True}
    return WorkerInfo(**{**who, **can, **now, **values})


def sentence(
    job: Job,
    *workers: WorkerInfo,
    paused: bool = False,
    paused_until: datetime | None = None,
) -> str:
    return why(job, paused=paused, paused_until=paused_until, workers=workers, now=NOW)


def in_(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


FINISHED = [
    (
        {"status": JobStatus.COMPLETED},
        "It completed at 2030-01-31 12:00:00Z; there is nothing left to do.",
    ),
    (
        {"status": JobStatus.CANCELLED},
        f"It was cancelled at 2030-01-31 12:00:00Z; `jobq retry {ID}` runs it again.",
    ),
    (
        {"status": JobStatus.FAILED, "attempts": 1, "error_code": "no_credit", "error": "Pay.\n"},
        (
            "It failed at 2030-01-31 12:00:00Z after 1 attempt (no_credit: Pay); "
            f"`jobq retry {ID}` runs it again."
        ),
    ),
    (
        {
            "status": JobStatus.FAILED,
            "attempts": 3,
            "error_code": "KeyError",
            "error": "KeyError: 'size'",
        },
        (
            "It failed at 2030-01-31 12:00:00Z after 3 attempts (KeyError: 'size'); "
            f"`jobq retry {ID}` runs it again."
        ),
    ),
]


@pytest.mark.parametrize("values,expected", FINISHED)
def test_a_finished_job_says_how_it_ended(values: dict[str, Any], expected: str) -> None:
    assert sentence(a_job(completed_at=NOW, **values), a_worker()) == expected


def running(**values: Any) -> Job:
    held = {"worker": "host-1-abcd", "started_at": in_(-5), "lease_until": in_(25)}
    tries = {"attempts": 2, "max_attempts": 3, "progress": 40}
    return a_job(status=JobStatus.PROCESSING, **{**held, **tries, **values})


def test_a_running_job_names_its_worker() -> None:
    assert sentence(running(), a_worker()) == (
        "It is running on worker web-1 since 2030-01-31 11:59:55Z: attempt 2 of 3, progress 40 %."
    )


def test_a_running_job_that_is_being_cancelled_says_so() -> None:
    assert sentence(running(cancel_requested=True), a_worker()) == (
        "It is running on worker web-1 since 2030-01-31 11:59:55Z, and was asked to cancel; it "
        "ends when its handler does (one that is no coroutine has to look at job.cancelled)."
    )


def test_a_job_whose_worker_died_is_taken_over_by_a_living_one() -> None:
    dead = a_worker(alive=False)
    other = a_worker(id="host-2-ef01", label="web-2")
    assert sentence(running(lease_until=in_(-1)), dead, other) == (
        "Its worker web-1 stopped renewing its lease; another one takes it over within seconds."
    )


def test_a_job_whose_worker_died_needs_another_one() -> None:
    assert sentence(running(lease_until=in_(-1))) == (
        "Its worker host-1-abcd stopped renewing its lease; start one with "
        "`jobq worker module:queue`."
    )


def test_a_queued_job_that_was_asked_to_cancel_will_end() -> None:
    assert sentence(a_job(cancel_requested=True)) == (
        "It was asked to cancel, and ends as cancelled as soon as a worker looks at it."
    )


def test_a_parked_job_waits_for_work_outside() -> None:
    assert sentence(a_job(status=JobStatus.WAITING), a_worker()) == (
        "It is parked on work outside and holds no slot; where that work is known to be lost, "
        f"`jobq retry {ID}` runs it again."
    )


def test_an_expired_job_will_not_start() -> None:
    assert sentence(a_job(expires_at=NOW), a_worker()) == (
        "It expired at 2030-01-31 12:00:00Z before it could start, and a worker will end it as "
        "failed."
    )


def test_a_paused_queue_holds_its_jobs_back() -> None:
    assert sentence(a_job(queue="my mails"), a_worker(), paused=True) == (
        "Its queue 'my mails' is paused; `jobq resume 'my mails'` ends that."
    )


def test_a_queue_paused_for_a_while_says_until_when() -> None:
    assert sentence(a_job(), a_worker(), paused=True, paused_until=in_(60)) == (
        "Its queue 'default' is paused until 2030-01-31 12:01:00Z; `jobq resume default` ends that."
    )


DELAYED = [
    (42, "in 42 s"),
    (599, "in 599 s"),
    (3600, "in 60 min"),
    (9000, "in 2 h 30 min"),
    (400_000, "in 4 d 15 h"),
]


@pytest.mark.parametrize("seconds,words", DELAYED)
def test_a_delayed_job_says_when_it_is_due(seconds: int, words: str) -> None:
    when = f"{in_(seconds):%Y-%m-%d %H:%M:%S}Z"
    assert sentence(a_job(run_at=in_(seconds)), a_worker()) == (
        f"It is not due before {when} ({words}); `jobq reschedule {ID} --delay 0` makes it due now."
    )


def test_a_job_between_attempts_says_why_and_when() -> None:
    tried = a_job(run_at=in_(5), started_at=in_(-9), error_code="timeout", error=None)
    assert sentence(tried, a_worker()) == (
        "It was tried before (timeout), and is tried again at 2030-01-31 12:00:05Z (in 5 s); "
        f"`jobq reschedule {ID} --delay 0` makes it due now."
    )


def test_a_rate_limited_job_says_when_it_is_tried_again() -> None:
    assert sentence(a_job(status=JobStatus.RATE_LIMITED, run_at=in_(5)), a_worker()) == (
        "A provider refused it for now, and it is tried again at 2030-01-31 12:00:05Z (in 5 s); "
        f"`jobq reschedule {ID} --delay 0` makes it due now."
    )


@pytest.mark.parametrize("workers", [[], [a_worker(alive=False)]])
def test_without_a_living_worker_one_has_to_be_started(workers: list[WorkerInfo]) -> None:
    expected = "No worker is alive; start one with `jobq worker module:queue`."
    assert sentence(a_job(), *workers) == expected
    assert sentence(a_job(declared=False), *workers) == expected


@pytest.mark.parametrize("declared", [True, False])
def test_a_type_that_no_worker_knows_needs_one_that_does(declared: bool) -> None:
    workers = a_worker(types=("image", "sms")), a_worker(types=("image",))
    assert sentence(a_job(declared=declared), *workers) == (
        "No living worker knows the type 'mail', only 'image', 'sms'; start one whose app has a "
        "handler for it."
    )


def test_an_undeclared_job_is_about_to_be_checked() -> None:
    assert sentence(a_job(declared=False), a_worker()) == (
        "Its payload was not checked yet, as no handler for 'mail' was known where it was "
        "enqueued; a living worker knows the type and will do so in a moment."
    )


def test_a_queue_that_no_worker_serves_needs_one_that_does() -> None:
    workers = a_worker(queues=("slow",)), a_worker(queues=("fast", "default"), types=("image",))
    assert sentence(a_job(), *workers) == (
        "No living worker that knows its type serves the queue 'default'; start one with "
        f"`--queues default`, or move the job with `jobq reschedule {ID} --queue …` to one of "
        "'slow'."
    )


def test_a_job_waits_while_all_slots_are_taken() -> None:
    workers = a_worker(busy=10), a_worker(busy=9, abandoned=1), a_worker(queues=("other",))
    assert sentence(a_job(), *workers) == (
        "All slots of the workers that could run it are taken (20 of 20, 1 of them by handlers "
        "that hang); it starts when one is free, or sooner with another worker or a higher "
        "--concurrency."
    )
    assert "(10 of 10)" in sentence(a_job(), workers[0])


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.RATE_LIMITED])
def test_a_job_that_nothing_holds_back_starts_now(status: JobStatus) -> None:
    assert sentence(a_job(status=status), a_worker(busy=7, queues=("default",))) == (
        "It is due and 3 of 10 slots are free: a worker picks it up now."
    )
