"""`POST /jobs/hooks/<token>` and `/jobs/webhooks/<provider>`: what resumes jobs that wait."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

import jobq
from jobq.webhooks import new_secret, sign
from tests.contract.conftest import Site, Start

SECRET = new_secret()


@pytest.fixture
def tokens() -> dict[str, str]:
    """The hooks' tokens, by their jobs' payloads."""
    return {}


@pytest.fixture(autouse=True)
def handlers(router: jobq.Router, tokens: dict[str, str]) -> None:
    @router.handler("approve")
    async def approve(payload: str, job: jobq.JobContext) -> Any:
        tokens[payload] = await job.hook("approval", timeout=3600)
        return await job.wait_for_event(tokens[payload])

    looked: list[str] = []

    @router.handler("video")
    async def video(payload: str, job: jobq.JobContext) -> Any:
        def look(operation: str) -> str | None:
            looked.append(operation)
            return f"{operation}.mp4" if len(looked) > 1 else None

        return await job.wait("video", payload, poll=look, every=3600, timeout=7200, webhook="veo")


def waiting(site: Site, type: str, payload: str) -> jobq.Job:
    job = site.queue.enqueue(type, payload)
    site.drain()
    assert site.queue.get(job).status == "waiting"
    return job


def test_whoever_has_the_token_resumes_the_one_job(site: Site, tokens: dict[str, str]) -> None:
    stranger = site.client(None)
    job, other = waiting(site, "approve", "a"), waiting(site, "approve", "b")
    answer = stranger.post(f"/hooks/{tokens['a']}", json={"approved": True})
    assert (answer.status_code, answer.json()) == (202, {"resumed": True})
    again = stranger.post(f"/hooks/{tokens['a']}", json={"approved": False})
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
    site.drain()
    assert site.queue.get(job).result == {"approved": True}
    assert site.queue.get(other).status == "waiting"
    assert stranger.post(f"/hooks/{tokens['b']}").status_code == 202
    site.drain()
    assert site.queue.get(other).result is None


@pytest.mark.parametrize(
    "body, status",
    [(b"{", 400), (b"[" * 5000, 400), (b'"' + b"x" * 300_000 + b'"', 413), (b'"\\u0000"', 422)],
)
def test_a_body_that_cannot_be_stored_resumes_nothing(
    site: Site, tokens: dict[str, str], body: bytes, status: int
) -> None:
    job = waiting(site, "approve", "a")
    assert site.client(None).post(f"/hooks/{tokens['a']}", content=body).status_code == status
    assert site.queue.get(job).status == "waiting"


@pytest.mark.parametrize("token", ["guessed", "veo:op-1", "%00", "x" * 600])
def test_a_token_that_is_none_resumes_nothing(site: Site, token: str) -> None:
    waiting(site, "video", "op-1")
    assert site.client(None).post(f"/hooks/{token}").status_code in (404, 422)
    assert site.drain() == 0


def test_hooks_are_for_posting(site: Site) -> None:
    answer = site.client(None).get("/hooks/token")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


# --- a provider's webhooks ----------------------------------------------------------------------


def sent(
    client: httpx.Client, event: Any, *, id: str = "evt_1", at: int | None = None, by: str = SECRET
) -> httpx.Response:
    body = json.dumps(event).encode()
    at = int(time.time()) if at is None else at
    headers = {"webhook-id": id, "webhook-timestamp": str(at)}
    headers["webhook-signature"] = sign(id, at, body, by)
    return client.post("/webhooks/veo", content=body, headers=headers)


def test_a_verified_event_has_the_job_look_at_once(start: Start) -> None:
    site = start(webhooks={"veo": SECRET})
    provider = site.client(None)
    job = waiting(site, "video", "op-1")
    event = {"type": "video.generated", "data": {"id": "op-1"}}
    assert sent(provider, {"data": {"id": "op-2"}}).json() == {"resumed": False}
    for id, resumed in (("evt_2", True), ("evt_2", False)):
        answer = sent(provider, event, id=id)
        assert (answer.status_code, answer.json()) == (200, {"resumed": resumed})
    assert site.drain() == 1
    assert site.queue.get(job).status == "waiting"  # it has looked, and not found it yet
    assert sent(provider, event, id="evt_2").json() == {"resumed": False}  # a replay
    assert site.drain() == 0
    assert sent(provider, event, id="evt_3").json() == {"resumed": True}
    site.drain()
    assert site.queue.get(job).result == "op-1.mp4"


def test_a_signature_that_is_bad_stale_or_missing_is_refused(start: Start) -> None:
    site = start(webhooks={"veo": SECRET})
    provider = site.client(None)
    waiting(site, "video", "op-1")
    event = {"data": {"id": "op-1"}}
    assert sent(provider, event, by=new_secret()).json()["code"] == "bad_signature"
    assert sent(provider, event, at=int(time.time()) - 301).json()["code"] == "too_old"
    unsigned = provider.post("/webhooks/veo", json=event)
    assert (unsigned.status_code, unsigned.json()["code"]) == (401, "missing_header")
    assert site.drain() == 0


def test_a_provider_that_is_not_known_is_not_found(start: Start) -> None:
    site = start(webhooks={"other": SECRET})
    assert sent(site.client(None), {}).status_code == 404


def test_an_event_about_nothing_is_taken_and_resumes_nothing(start: Start) -> None:
    site = start(webhooks={"veo": SECRET})
    for event in ({}, [], {"data": {"id": 7}}, {"id": None}):
        answer = sent(site.client(None), event)
        assert (answer.status_code, answer.json()) == (200, {"resumed": False})


BAD: list[Any] = [["whsec_"], {"no name": SECRET}, {"hook": SECRET}, {"veo": "short"}, {"veo": 7}]


@pytest.mark.parametrize("webhooks", BAD)
def test_webhooks_that_cannot_be_are_refused_where_they_are_declared(webhooks: Any) -> None:
    from jobq.http import Options

    with pytest.raises(jobq.ConfigurationError):
        Options(webhooks=webhooks)
