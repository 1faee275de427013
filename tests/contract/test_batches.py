"""`GET /jobs/batches/<id>`: how far a batch of jobs is."""

from __future__ import annotations

import httpx

import jobq
from tests.contract.conftest import Site


def stored(site: Site, owner: str | None) -> jobq.Batch:
    batch = jobq.Batch(owner=owner)
    site.queue.enqueue_many([("add", {"a": 1, "b": 2}), ("fail", {})], batch=batch)
    return batch


def test_a_batch_is_shown_to_its_owner_with_its_progress(site: Site, client: httpx.Client) -> None:
    batch = stored(site, "ada")
    answer = client.get(f"/batches/{batch.id}")
    assert answer.status_code == 200
    assert answer.json() == site.queue.batch(batch).to_dict()
    shown = {name: answer.json()[name] for name in ("total", "progress", "endedAt")}
    assert shown == {"total": 2, "progress": 0, "endedAt": None}
    site.drain()
    after = client.get(f"/batches/{batch.id}").json()
    assert (after["progress"], after["jobs"]["completed"], after["jobs"]["failed"]) == (100, 1, 1)


def test_anothers_and_an_unknown_batch_are_refused(site: Site, client: httpx.Client) -> None:
    for owner in ("bob", None):
        refused = client.get(f"/batches/{stored(site, owner).id}")
        assert (refused.status_code, refused.json()["detail"]) == (403, "this batch is not yours")
    for id in ("01900000-0000-7000-8000-000000000000", "night"):
        unknown = client.get(f"/batches/{id}")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
        assert f"there is no batch '{id}'" in unknown.json()["detail"]


def test_the_jobs_of_a_batch_can_be_listed(site: Site, client: httpx.Client) -> None:
    site.queue.enqueue("add", {"a": 1, "b": 2}, owner="ada")
    batch = jobq.Batch(owner="ada")
    site.queue.enqueue_many([("add", {"a": 1, "b": 2}, {"owner": "ada"})] * 2, batch=batch)
    [*found] = client.get("", params={"batch": batch.id}).json()["jobs"]
    assert {job["batchId"] for job in found} == {batch.id}
    assert len(found) == 2
    ids = ",".join(job["id"] for job in client.get("").json()["jobs"])
    assert len(client.get("", params={"ids": ids, "batch": batch.id}).json()["jobs"]) == 2
    assert client.get("", params={"batch": "night"}).status_code == 422
