"""`GET /jobs/<id>/events`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
from attrs import frozen

from tests.contract.conftest import Site, Start


@frozen
class Event:
    name: str
    id: str
    job: dict[str, Any]


def events(answer: httpx.Response) -> Iterator[Event | str]:
    """Events and comments, as they come."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            yield line
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}


def enqueue(site: Site) -> str:
    return f"/{site.queue.enqueue('add', {'a': 1, 'b': 2}, owner='ada').id}"


def test_every_change_is_an_event_until_the_end(site: Site, client: httpx.Client) -> None:
    path = enqueue(site)
    with client.stream("GET", f"{path}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        assert "no-transform" in answer.headers["cache-control"]
        coming = events(answer)
        first = next(coming)
        assert isinstance(first, Event)
        assert (first.name, first.id, first.job["status"]) == ("job", "1", "pending")
        site.queue.set_progress(path[1:], 40, "on my way")
        second = next(coming)
        assert isinstance(second, Event)
        assert (second.id, second.job["progress"]) == ("2", 40)
        site.drain()
        *_, last = coming
    assert isinstance(last, Event)
    assert (last.name, last.job["result"]) == ("end", 3)
    assert last.job == client.get(path).json()


def test_who_comes_back_is_told_the_current_state(site: Site, client: httpx.Client) -> None:
    path = enqueue(site)
    site.queue.set_progress(path[1:], 40)
    with client.stream("GET", f"{path}/events", headers={"last-event-id": "1"}) as answer:
        event = next(events(answer))
    assert isinstance(event, Event)
    assert event.job["progress"] == 40


def test_who_knows_the_current_state_is_not_told_it_again(start: Start) -> None:
    site = start(heartbeat=0.2)
    path = f"{enqueue(site)}/events"
    with site.client().stream("GET", path, headers={"last-event-id": "1"}) as answer:
        assert isinstance(next(events(answer)), str)


def test_a_finished_jobs_stream_ends_at_once(site: Site, client: httpx.Client) -> None:
    path = enqueue(site)
    site.drain()
    with client.stream("GET", f"{path}/events") as answer:
        [event] = events(answer)
    assert isinstance(event, Event)
    assert event.name == "end"


def test_a_stream_ends_by_itself_and_says_meanwhile_that_it_is_there(start: Start) -> None:
    site = start(heartbeat=0.1, longest_stream=0.5)
    with site.client().stream("GET", f"{enqueue(site)}/events") as answer:
        first, *rest = events(answer)
    assert isinstance(first, Event)
    assert len(rest) >= 2
    assert all(isinstance(line, str) for line in rest)


def test_anothers_events_are_forbidden(site: Site) -> None:
    assert site.client("grace").get(f"{enqueue(site)}/events").status_code == 403


def test_head_of_a_stream_has_no_body(site: Site, client: httpx.Client) -> None:
    answer = client.head(f"{enqueue(site)}/events")
    assert (answer.status_code, answer.content) == (200, b"")


def test_what_a_handler_shows_is_in_the_events_and_in_the_status(
    site: Site, client: httpx.Client
) -> None:
    path = f"/{site.queue.enqueue('show', {}, owner='ada').id}"
    site.drain()
    shown = {"image:1": {"url": "a.png"}}
    assert client.get(path).json()["partial"] == shown
    with client.stream("GET", f"{path}/events") as answer:
        *_, last = events(answer)
    assert isinstance(last, Event)
    assert (last.name, last.job["partial"]) == ("end", shown)
