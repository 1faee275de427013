"""What nobody should send is refused with a reason, and never with a traceback."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.contract.conftest import Site

JSON = {"content-type": "application/json"}


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail", "code", "error"} <= set(problem)
    assert "Traceback" not in answer.text
    return problem


def test_a_huge_body_is_too_large(site: Site, client: httpx.Client) -> None:
    body = b'{"type": "add", "payload": {"a": "' + b"x" * 3_000_000 + b'"}}'
    assert "bytes" in refused(client.post("", content=body, headers=JSON), 413)["detail"]


def test_a_huge_body_of_unknown_length_is_too_large(site: Site, client: httpx.Client) -> None:
    chunks = (b"x" * 100_000 for _ in range(30))
    refused(client.post("", content=chunks, headers=JSON), 413)


def test_a_payload_above_its_bound_is_named(site: Site, client: httpx.Client) -> None:
    answer = client.post("", json={"type": "add", "payload": {"a": "x" * 1_048_600}})
    assert "1048576 allowed" in refused(answer, 422)["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"type": "add", "payload": NaN}',
        b'{"type": "\\ud800"}',
        b'{"type": "add"} {}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_body_that_is_not_json_is_malformed(client: httpx.Client, body: bytes) -> None:
    refused(client.post("", content=body, headers=JSON), 400)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"add"', b"null", b"true"])
def test_a_body_that_is_no_object_cannot_be_used(client: httpx.Client, body: bytes) -> None:
    refused(client.post("", content=body, headers=JSON), 422)


def test_a_payload_that_is_nested_too_deeply_is_refused(client: httpx.Client) -> None:
    body = b'{"type": "add", "payload": ' + b"[" * 500 + b"]" * 500 + b"}"
    assert "100 levels" in refused(client.post("", content=body, headers=JSON), 422)["detail"]


def test_a_number_of_more_than_64_bits_is_refused(client: httpx.Client) -> None:
    body = b'{"type": "add", "payload": {"a": 123456789012345678901234567890}}'
    answer = client.post("", content=body, headers=JSON)
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_another_content_type_is_not_supported(client: httpx.Client, kind: str) -> None:
    body = b'{"type": "add", "payload": {}}'
    problem = refused(client.post("", content=body, headers={"content-type": kind}), 415)
    assert repr(kind) in problem["detail"] or not kind


def test_json_of_a_vendors_kind_is_json(client: httpx.Client) -> None:
    kind = {"content-type": "application/vnd.api+json; charset=utf-8"}
    assert (
        client.post("", content=b'{"type": "add", "payload": {}}', headers=kind).status_code == 202
    )


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("DELETE", "", "GET, HEAD, POST"),
        ("PUT", "/process", "GET, HEAD, POST"),
        ("HEAD", "/cron", "GET, POST"),
        ("POST", "/health", "GET, HEAD"),
        ("PATCH", "/01900000-0000-7000-8000-000000000000", "GET, HEAD"),
        ("GET", "/01900000-0000-7000-8000-000000000000/cancel", "POST"),
    ],
)
def test_a_method_that_a_path_has_not_is_not_allowed(
    client: httpx.Client, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_unusual_headers_do_no_harm(site: Site, client: httpx.Client) -> None:
    job = site.queue.enqueue("add", {"a": 1, "b": 2}, owner="ada")
    for name in ("if-none-match", "prefer", "last-event-id", "authorization", "x-api-key"):
        for value in (b"\xff\xfe", b'W/"', b"wait=", b"," * 1000, b"*"):
            answer = client.get(f"/{job.id}", headers={name.encode(): value})
            assert answer.status_code in (200, 304, 422), (name, value, answer.text)
