"""Observers are told of every change that a verb or a worker makes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import jobq
from jobq.http.budget import Budget
from jobq.http.drive import drive_here
from jobq.testing import drain
from tests.conformance.situations import sql


class Told(jobq.Observer):
    """Notes what it is told: (verb, what)."""

    def __init__(self) -> None:
        self.of: list[tuple[str, Any]] = []

    def jobs_changed(self, verb: str, job_ids: Iterable[str]) -> None:
        self.of.append((verb, list(job_ids)))

    def queue_changed(self, verb: str, queue: str) -> None:
        self.of.append((verb, queue))


@pytest.fixture
def told(queue: jobq.Queue) -> Told:
    told = Told()
    queue._config.observers._observers = (told,)
    return told


def test_every_verb_that_moves_a_job_is_told(queue: jobq.Queue, told: Told) -> None:
    id = queue.enqueue("unknown", {}).id
    queue.set_progress(id, 5)
    queue.reschedule(id, delay=timedelta(hours=1))
    queue.cancel(id)
    queue.retry(id)
    queue.set_status(id, "failed", error="by hand")
    queue.delete(id)
    verbs = ("set_progress", "reschedule", "cancel", "retry", "set_status", "delete")
    assert told.of == [(verb, [id]) for verb in verbs]


def test_pause_and_resume_are_told(queue: jobq.Queue, told: Told) -> None:
    queue.pause("default")
    queue.resume("default")
    assert told.of == [("pause", "default"), ("resume", "default")]


def test_a_job_that_a_worker_declares_or_refuses_is_told(
    queue: jobq.Queue, router: jobq.Router, told: Told
) -> None:
    good = queue.enqueue("later", {"n": 1}).id
    bad = queue.enqueue("later", {"n": "one"}).id

    @router.handler("later")
    def later(payload: dict[str, int]) -> None: ...

    assert drain(queue) == 1
    assert ("declare", [good]) in told.of
    assert ("refuse", [bad]) in told.of


def test_what_a_call_of_the_drive_endpoint_expires_and_prunes_is_told(
    queue: jobq.Queue, router: jobq.Router, told: Told
) -> None:
    @router.handler("work")
    def work() -> None: ...

    late = queue.enqueue(work, delay=60, expires_at=datetime(2099, 1, 1, tzinfo=UTC)).id
    old = queue.enqueue(work).id
    drain(queue)
    past = "created_at" if queue._config.url.startswith("postgresql") else "1"
    sql(queue, f"UPDATE jobq_job SET expires_at = {past} WHERE expires_at IS NOT NULL")
    sql(queue, f"UPDATE jobq_job SET prune_at = {past} WHERE prune_at IS NOT NULL")
    told.of.clear()
    drive_here(queue, Budget(seconds=5, max_jobs=1, concurrency=1))
    assert [one for one in told.of if one[0] in ("expire", "prune")] == [
        ("expire", [late]),
        ("prune", [old]),
    ]
