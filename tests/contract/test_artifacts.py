"""What jobs have saved, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import jobq
from jobq.artifacts import FileStorage
from tests.artifacts import PNG
from tests.contract.conftest import Site, Start

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
FILM = bytes(range(256)) * 4096


@pytest.fixture
def queue(url: str, router: jobq.Router, tmp_path: Path) -> Iterator[jobq.Queue]:
    """A queue whose handlers save something."""

    @router.handler("paint")
    def paint(payload: dict[str, Any], job: jobq.SyncJobContext) -> dict[str, Any]:
        door = job.save(PNG, name="a red door.png")
        drawing = job.save(SVG, name="drawing.svg")
        film = job.save(FILM, name="film.bin")
        echo = payload.get("echo")
        return {"imageUrls": [door.url, drawing.url], "film": {"url": film.url}, "echo": echo}

    with jobq.Queue(url, router=router, artifacts=tmp_path / "artifacts") as queue:
        yield queue


@pytest.fixture
def painted(site: Site) -> jobq.Job:
    """A job of the caller that has saved something."""
    job = site.queue.enqueue("paint", {}, owner="ada")
    site.drain()
    return site.queue.get(job)


def urls(answer: httpx.Response) -> list[str]:
    result = answer.json()["result"]
    return [*result["imageUrls"], result["film"]["url"]]


def whole(client: httpx.Client, path: str) -> httpx.URL:
    """A path that was told, as a browser takes it."""
    return httpx.URL(str(getattr(client, "mount", ""))).join(path)


def test_a_result_names_addresses_that_the_caller_can_read(
    client: httpx.Client, painted: jobq.Job
) -> None:
    door, drawing, film = urls(client.get(f"/{painted.id}"))
    assert door.endswith(f"/{painted.id}/artifacts/a%20red%20door.png")
    assert [client.get(whole(client, path)).content for path in (door, drawing, film)] == [
        PNG,
        SVG,
        FILM,
    ]
    [listed] = client.get("", params={"type": "paint"}).json()["jobs"]
    assert listed["result"]["imageUrls"] == [door, drawing]
    with client.stream("GET", f"/{painted.id}/events") as events:
        assert door in events.read().decode()


def test_an_address_of_another_job_in_a_result_leads_nowhere(
    site: Site, client: httpx.Client, painted: jobq.Job
) -> None:
    [stolen, *_] = site.queue.artifacts(painted)
    job = site.queue.enqueue("paint", {"echo": f"artifact:{stolen.id}"}, owner="ada")
    site.drain()
    assert client.get(f"/{job.id}").json()["result"]["echo"] == f"artifact:{stolen.id}"
    assert client.get(f"/{job.id}/artifacts/{stolen.id}").status_code == 404


def test_artifacts_are_listed_with_what_is_known_of_them(
    client: httpx.Client, painted: jobq.Job
) -> None:
    answer = client.get(f"/{painted.id}/artifacts")
    found = answer.json()["artifacts"]
    assert [one["name"] for one in found] == ["a red door.png", "drawing.svg", "film.bin"]
    door = found[0]
    assert (door["contentType"], door["bytes"], door["status"]) == ("image/png", len(PNG), "stored")
    assert client.get(whole(client, door["url"])).content == PNG
    assert client.get(f"/{painted.id}/artifacts/{door['id']}").content == PNG


def test_what_is_shown_runs_nothing_in_a_browser(client: httpx.Client, painted: jobq.Job) -> None:
    answers = {
        name: client.get(f"/{painted.id}/artifacts/{name}").headers
        for name in ("a%20red%20door.png", "drawing.svg", "film.bin")
    }
    assert [headers["content-disposition"].partition(";")[0] for headers in answers.values()] == [
        "inline",
        "attachment",
        "attachment",
    ]
    for headers in answers.values():
        assert headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in headers["content-security-policy"]
        assert headers["cache-control"] == "private, no-cache"
    assert answers["drawing.svg"]["content-type"] == "image/svg+xml"


def test_what_the_client_has_already_is_not_sent_again(
    client: httpx.Client, painted: jobq.Job
) -> None:
    path = f"/{painted.id}/artifacts/film.bin"
    first = client.get(path)
    again = client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(FILM))


RANGES = {
    "bytes=0-9": (0, 10),
    "bytes=1000000-": (1_000_000, len(FILM)),
    "bytes=-5": (len(FILM) - 5, len(FILM)),
    "bytes=10-99999999": (10, len(FILM)),
}


def test_a_part_can_be_asked_for(client: httpx.Client, painted: jobq.Job) -> None:
    path = f"/{painted.id}/artifacts/film.bin"
    for asked, (first, end) in RANGES.items():
        answer = client.get(path, headers={"range": asked})
        assert (answer.status_code, answer.content) == (206, FILM[first:end]), asked
        assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{len(FILM)}"
    for asked in ("bytes=0-9,20-29", "pages=1-2", "bytes=-", "bytes=9-3"):
        answer = client.get(path, headers={"range": asked})
        assert (answer.status_code, answer.content) == (200, FILM), asked


def test_what_a_client_has_of_something_else_is_not_continued(
    client: httpx.Client, painted: jobq.Job
) -> None:
    path = f"/{painted.id}/artifacts/film.bin"
    tag = client.head(path).headers["etag"]
    for known, status in ((tag, 206), ('"another"', 200), (f"W/{tag}", 200)):
        answer = client.get(path, headers={"range": "bytes=9-", "if-range": known})
        assert answer.status_code == status


def test_a_part_that_is_not_there_is_416(client: httpx.Client, painted: jobq.Job) -> None:
    for asked in (f"bytes={len(FILM)}-", "bytes=-0"):
        answer = client.get(f"/{painted.id}/artifacts/film.bin", headers={"range": asked})
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{len(FILM)}"


def test_there_is_nothing_but_what_was_saved(client: httpx.Client, painted: jobq.Job) -> None:
    for name in ("other.png", "..", "%2e%2e", "..%2f..%2fjobs.db", "a%00b", "%ff"):
        answer = client.get(f"/{painted.id}/artifacts/{name}")
        assert answer.status_code in (200, 400, 404, 422), name
        if answer.status_code == 200:  # `..` is taken away by the client or the server
            assert "id" in answer.json() or "artifacts" in answer.json()
        assert PNG not in answer.content


def test_only_who_may_see_the_job_may_see_what_it_saved(site: Site, painted: jobq.Job) -> None:
    for path in (f"/{painted.id}/artifacts", f"/{painted.id}/artifacts/film.bin"):
        assert site.client("ada").get(path).status_code == 200
        assert site.client("bob").get(path).status_code == 403
        assert site.client(None).get(path).status_code == 401
    unknown = "01900000-0000-7000-8000-000000000000"
    assert site.client("ada").get(f"/{unknown}/artifacts/film.bin").status_code == 404


def test_what_is_gone_from_the_storage_is_404(
    site: Site, client: httpx.Client, painted: jobq.Job
) -> None:
    for one in site.queue.artifacts(painted):
        site.queue._config.storage.delete(one.key)
    assert client.get(f"/{painted.id}/artifacts/film.bin").status_code == 404


def test_where_the_storage_has_addresses_the_client_is_sent_there(
    url: str, router: jobq.Router, queue: jobq.Queue, start: Start, tmp_path: Path
) -> None:
    storage = FileStorage(tmp_path / "public", base_url="https://cdn.example.com/media")
    with jobq.Queue(url, router=router, artifacts=storage) as public:
        site = start(public)
        job = public.enqueue("paint", {}, owner="ada")
        site.drain()
        [door, *_] = public.artifacts(job)
        client = site.client("ada")
        answer = client.get(f"/{job.id}/artifacts/film.bin")
        assert client.get(f"/{job.id}").json()["result"]["imageUrls"][0] == door.url
    assert door.url == f"https://cdn.example.com/media/{door.key}"
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("https://cdn.example.com/media/")
