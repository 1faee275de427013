"""Who may do what."""

from __future__ import annotations

from typing import Any

import pytest

from jobq.http import AllOf, Anonymous, AnyOf, ApiKey, Owner, Problem, Scope
from tests.contract.conftest import Start

KEY = "k" * 16


def with_key(key: str) -> dict[str, str]:
    return {"x-api-key": key}


def test_without_a_policy_nobody_may_do_anything(start: Start) -> None:
    site = start(owned=False)
    job = site.queue.enqueue("add", {})
    client = site.client()
    answers = [
        client.get(""),
        client.post("", json={"type": "add", "payload": {}}),
        client.get(f"/{job.id}"),
        client.get(f"/{job.id}/events"),
        client.post(f"/{job.id}/cancel"),
        client.post(f"/{job.id}/retry"),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert all("owner=" in answer.json()["detail"] for answer in answers)
    assert site.queue.counts()["pending"] == 1


@pytest.mark.parametrize("send", [with_key, lambda key: {"authorization": f"Bearer {key}"}])
def test_a_key_opens_everything_and_a_wrong_one_nothing(start: Start, send: Any) -> None:
    site = start(owned=False, access=ApiKey("o" * 16, KEY))
    site.queue.enqueue("add", {}, owner="ada")
    assert len(site.client(None, **send(KEY)).get("").json()["jobs"]) == 1
    assert site.client(None, **send(f"{KEY}x")).get("").status_code == 403
    missing = site.client(None).get("")
    assert (missing.status_code, missing.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("weak", ["short", "dev-secret-change-in-production"])
def test_a_weak_key_opens_nothing_outside_of_development(start: Start, weak: str) -> None:
    assert start(owned=False, access=ApiKey(weak)).client(**with_key(weak)).get("").is_error


def test_a_weak_key_does_in_development(start: Start) -> None:
    site = start(owned=False, access=ApiKey("short"), debug=True)
    assert site.client(**with_key("short")).get("").is_success


@pytest.mark.parametrize("debug, status", [(True, 200), (False, 403)])
def test_anonymous_is_for_development(start: Start, debug: bool, status: int) -> None:
    site = start(owned=False, access=Anonymous(), debug=debug)
    assert site.client(None).get("").status_code == status


class Readers:
    """A policy of an app's own: everybody reads, nobody writes."""

    def decide(self, request: Any, action: str) -> Any:
        if action not in ("list", "show", "events"):
            raise Problem(403, "forbidden", f"nobody may {action}")
        return Scope()
        yield


def test_policies_are_joined(start: Start) -> None:
    site = start(owned=False, access=AnyOf(ApiKey(KEY), Readers()))
    body = {"type": "add", "payload": {}}
    assert site.client(None).get("").is_success
    assert site.client(None).post("", json=body).status_code == 403
    assert site.client(None, **with_key(KEY)).post("", json=body).is_success


def test_all_of_several_policies_must_agree(start: Start) -> None:
    site = start(owned=False, access=AllOf(ApiKey(KEY), Readers()))
    assert site.client(None).get("").status_code == 401
    assert site.client(None, **with_key(KEY)).get("").is_success
    assert site.client(None, **with_key(KEY)).post("", json={"type": "add"}).status_code == 403


def test_who_sees_all_may_create_for_somebody(start: Start) -> None:
    site = start(owned=False, access=ApiKey(KEY))
    body = {"type": "add", "payload": {}, "owner": "ada"}
    answer = site.client(None, **with_key(KEY)).post("", json=body)
    assert site.queue.get(answer.json()["jobId"]).owner == "ada"


def test_some_users_see_everybodys_jobs(start: Start) -> None:
    staff = Owner(
        lambda request: request.headers.get("x-user"),
        sees_all=lambda request: request.headers["x-user"] == "boss",
    )
    site = start(owned=False, access=staff)
    job = site.queue.enqueue("add", {}, owner="ada")
    codes = [site.client(name).get(f"/{job.id}").status_code for name in ("ada", "grace", "boss")]
    assert codes == [200, 403, 200]
    assert site.client(None).get("").status_code == 401


def test_who_is_somebody_creates_for_himself_only(start: Start) -> None:
    site = start()
    body = {"type": "add", "payload": {}, "owner": "ada"}
    assert site.client("grace").post("", json=body).status_code == 403
