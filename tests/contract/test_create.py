"""`POST /jobs`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import jobq
from tests.contract.conftest import Site, Start

SUM = {"type": "add", "payload": {"a": 1, "b": 2}}


def test_a_created_job_is_accepted_with_its_id_and_where_to_ask(
    site: Site, client: httpx.Client
) -> None:
    answer = client.post("", json=SUM)
    assert answer.status_code == 202
    assert answer.json() == {"jobId": answer.json()["jobId"], "status": "pending"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["location"] == f"/api/jobs/{answer.json()['jobId']}"
    assert int(answer.headers["retry-after"]) >= 1
    assert client.get(str(httpx.URL(site.mounts.jobs).join(answer.headers["location"]))).is_success


def test_a_created_job_is_its_callers(site: Site, client: httpx.Client) -> None:
    job = site.queue.get(client.post("", json=SUM).json()["jobId"])
    assert (job.type, job.payload, job.owner) == ("add", {"a": 1, "b": 2}, "ada")


@pytest.mark.parametrize("priority, number", [("urgent", 100), ("batch", -100), (7, 7)])
def test_a_priority_is_a_word_or_a_number(
    site: Site, client: httpx.Client, priority: Any, number: int
) -> None:
    answer = client.post("", json=SUM | {"priority": priority})
    assert site.queue.get(answer.json()["jobId"]).priority == number


def test_a_job_may_be_scheduled_for_later(site: Site, client: httpx.Client) -> None:
    answer = client.post("", json=SUM | {"scheduledFor": "2999-01-01T12:00:00+02:00"})
    assert site.queue.get(answer.json()["jobId"]).run_at == datetime(2999, 1, 1, 10, tzinfo=UTC)
    assert answer.headers["retry-after"] == "60"


@pytest.mark.parametrize(
    "change, named",
    [
        ({"type": "rm"}, "'rm'"),
        ({"type": None}, "None"),
        ({"type": ["add"]}, "['add']"),
        ({"priority": "high"}, "'high'"),
        ({"priority": 10**9}, "1000000000"),
        ({"priority": True}, "True"),
        ({"scheduledFor": "tomorrow"}, "'tomorrow'"),
        ({"scheduledFor": 5}, "5"),
        ({"scheduledFor": "2999-01-01T12:00:00"}, "no offset"),
        ({"scheduledFor": "9999-12-31T23:00:00-02:00"}, "scheduledFor='9999-12-31T23:00:00-02:00'"),
        ({"scheduledfor": "2999-01-01T12:00:00Z"}, "'scheduledfor'"),
        ({"payload": {"a": "\0"}}, "$.a"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    site: Site, client: httpx.Client, change: dict[str, Any], named: str
) -> None:
    answer = client.post("", json=SUM | change)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in answer.json()["detail"]
    assert site.queue.counts()["pending"] == 0


def test_no_type_may_be_created_that_was_not_allowed(start: Start) -> None:
    answer = start(allow=[]).client().post("", json=SUM)
    assert answer.status_code == 403
    assert "allow=[" in answer.json()["detail"]


def test_a_payload_is_checked_where_the_handler_is_known(start: Start, router: jobq.Router) -> None:
    @router.handler("resize")
    def resize(payload: dict[str, int], job: jobq.SyncJobContext) -> None: ...

    client = start(allow=[resize]).client()
    refused = client.post("", json={"type": "resize", "payload": {"width": "wide"}})
    assert (refused.status_code, refused.json()["path"]) == (422, "$[...]")
    assert client.post("", json={"type": "resize", "payload": {"width": 3}}).status_code == 202


# --- idempotency keys ---------------------------------------------------------------------------


def create(client: httpx.Client, key: str, **change: Any) -> httpx.Response:
    return client.post("", json=SUM | change, headers={"idempotency-key": key})


def test_a_repeated_key_answers_with_the_first_job(site: Site, client: httpx.Client) -> None:
    first, second = create(client, "k1"), create(client, "k1")
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json() == second.json()
    assert site.queue.counts()["pending"] == 1


def test_a_repeated_key_answers_with_the_finished_job(site: Site, client: httpx.Client) -> None:
    first = create(client, "k1").json()
    site.drain()
    assert create(client, "k1").json() == {"jobId": first["jobId"], "status": "completed"}


def test_the_order_of_a_payloads_keys_means_nothing(client: httpx.Client) -> None:
    first = create(client, "k1", payload={"a": 1, "b": 2})
    assert create(client, "k1", payload={"b": 2, "a": 1}).json() == first.json()


@pytest.mark.parametrize("change", [{"payload": {"a": 5, "b": 5}}, {"type": "fail"}])
def test_a_key_with_another_request_is_a_conflict(
    client: httpx.Client, change: dict[str, Any]
) -> None:
    first = create(client, "k1").json()
    answer = create(client, "k1", **change)
    assert answer.status_code == 409
    assert answer.json()["jobId"] == first["jobId"]


def test_another_owners_key_is_his_own(site: Site, client: httpx.Client) -> None:
    first = create(client, "k1")
    other = create(site.client("grace"), "k1", payload={"a": 9, "b": 9})
    assert other.status_code == 202
    assert other.json() != first.json()


def test_jobs_without_an_owner_share_their_keys(start: Start) -> None:
    site = start(owned=False, access=jobq.http.ApiKey("k" * 16))
    client = site.client(None, **{"x-api-key": "k" * 16})
    assert create(client, "k1").json() == create(client, "k1").json()


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_a_key_that_cannot_be_used_is_refused(client: httpx.Client, key: str) -> None:
    assert create(client, key).status_code == 400


def test_an_owner_with_as_many_jobs_waiting_as_he_may_have_is_told_to_try_again(
    start: Start,
) -> None:
    client = start(allow=["scarce"]).client()
    assert client.post("", json={"type": "scarce", "payload": {}}).status_code == 202
    refused = client.post("", json={"type": "scarce", "payload": {}})
    assert (refused.status_code, refused.json()["code"]) == (429, "owner_limit")
    assert int(refused.headers["retry-after"]) >= 1
