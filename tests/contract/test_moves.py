"""`POST /jobs/<id>/cancel` and `/retry`, and the probes."""

from __future__ import annotations

import httpx
import pytest

from tests.contract.conftest import Site


def test_a_waiting_job_is_cancelled(site: Site, client: httpx.Client) -> None:
    job = site.queue.enqueue("add", {"a": 1, "b": 2}, owner="ada")
    answer = client.post(f"/{job.id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert answer.headers["location"] == f"/api/jobs/{job.id}"
    assert site.queue.get(job).status == "cancelled"


def test_a_failed_job_is_run_again(site: Site, client: httpx.Client) -> None:
    job = site.queue.enqueue("fail", {}, owner="ada")
    site.drain()
    answer = client.post(f"/{job.id}/retry")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_a_move_that_the_status_does_not_allow_is_a_conflict(
    site: Site, client: httpx.Client, verb: str
) -> None:
    job = site.queue.enqueue("add", {"a": 1, "b": 2}, owner="ada")
    site.drain()
    answer = client.post(f"/{job.id}/{verb}")
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_move")
    assert "'completed'" in answer.json()["detail"]


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_nobody_moves_anothers_job(site: Site, verb: str) -> None:
    job = site.queue.enqueue("add", {"a": 1, "b": 2}, owner="ada")
    assert site.client("grace").post(f"/{job.id}/{verb}").status_code == 403
    assert site.queue.get(job).version == job.version


def test_the_probes_need_no_user(site: Site) -> None:
    stranger = site.client(None)
    assert stranger.get("/health").json() == {"status": "healthy"}
    assert stranger.get("/ready").json() == {"status": "ready"}
