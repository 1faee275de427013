"""Routes of the app's own that enqueue a job, and answer as `POST /jobs` does."""

from __future__ import annotations

import threading

import httpx
import pytest

from tests.contract.conftest import Site, Start


def create(site: Site) -> httpx.Response:
    return site.client().post(site.mounts.own)


def test_the_answer_says_where_to_ask_for_the_job(site: Site) -> None:
    answer = create(site)
    assert answer.status_code == 202
    assert answer.json() == {"jobId": answer.json()["jobId"], "status": "pending"}
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["location"] == f"/api/jobs/{answer.json()['jobId']}"
    place = site.mounts.own.replace("/api/own", answer.headers["location"])
    assert site.client().get(place).json()["status"] == "pending"


def test_what_was_there_before_is_answered_with_200(site: Site) -> None:
    first = create(site)
    assert site.drain() == 1
    again = create(site)
    assert (again.status_code, again.json()) == (200, first.json() | {"status": "completed"})
    assert "retry-after" not in again.headers


def test_in_development_the_job_is_run_on_the_side(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBQ_AUTO_TRIGGER", "1")
    site = start()
    job = create(site).json()["jobId"]
    assert site.queue.wait(job, 30).result == 3
    for thread in threading.enumerate():
        if thread.name == "jobq trigger":
            thread.join()
