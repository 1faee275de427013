"""`GET /jobs/<id>` and `GET /jobs`."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest
from attrs import frozen

import jobq
from tests.contract.conftest import Site, Start

SUM = {"a": 1, "b": 2}
UNKNOWN = "01900000-0000-7000-8000-000000000000"


@frozen
class Mine:
    """A job of the caller."""

    job: jobq.Job
    path: str


@pytest.fixture
def mine(site: Site) -> Mine:
    job = site.queue.enqueue("add", SUM, owner="ada")
    return Mine(job, f"/{job.id}")


def test_a_job_is_shown_as_it_is(site: Site, client: httpx.Client, mine: Mine) -> None:
    answer = client.get(mine.path)
    assert answer.status_code == 200
    assert answer.json() == site.queue.get(mine.job).to_dict()
    assert answer.headers["cache-control"] == "private, no-cache"


def test_a_finished_job_shows_its_result_and_need_not_be_asked_for_again(
    site: Site, client: httpx.Client, mine: Mine
) -> None:
    assert int(client.get(mine.path).headers["retry-after"]) >= 1
    site.drain()
    answer = client.get(mine.path)
    shown = {name: answer.json()[name] for name in ("status", "progress", "result", "message")}
    assert shown == {"status": "completed", "progress": 100, "result": 3, "message": "halfway"}
    assert "retry-after" not in answer.headers


def test_a_failed_job_shows_its_error_without_a_traceback(site: Site, client: httpx.Client) -> None:
    job = site.queue.enqueue("fail", {}, owner="ada")
    site.drain()
    answer = client.get(f"/{job.id}")
    assert answer.json()["error"] == "ValueError: the paper is jammed"
    assert answer.json()["errorCode"] == "ValueError"
    assert "Traceback" not in answer.text


def test_what_the_client_has_already_is_not_sent_again(
    site: Site, client: httpx.Client, mine: Mine
) -> None:
    etag = client.get(mine.path).headers["etag"]
    same = client.get(mine.path, headers={"if-none-match": etag})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    site.drain()
    other = client.get(mine.path, headers={"if-none-match": etag})
    assert (other.status_code, other.headers["etag"] != etag) == (200, True)


def test_head_is_get_without_a_body(client: httpx.Client, mine: Mine) -> None:
    answer = client.head(mine.path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["etag"] == client.get(mine.path).headers["etag"]


# --- long polls ---------------------------------------------------------------------------------


def later(site: Site, action: Any) -> threading.Thread:
    """Do something as soon as somebody waits."""
    from jobq.http.watch import _watchers

    def act() -> None:
        pause = threading.Event()
        while not any(watcher.waiting for watcher in list(_watchers.values())):
            pause.wait(0.01)
        action()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.parametrize("how", [{"params": {"wait": "20"}}, {"headers": {"prefer": "wait=20"}}])
def test_a_long_poll_ends_when_the_job_has_finished(
    site: Site, client: httpx.Client, mine: Mine, how: dict[str, Any]
) -> None:
    acting = later(site, site.drain)
    answer = client.get(mine.path, **how)
    acting.join()
    assert answer.json()["status"] == "completed"
    assert ("preference-applied" in answer.headers) == ("headers" in how)


def test_with_an_etag_a_long_poll_ends_at_the_first_change(
    site: Site, client: httpx.Client, mine: Mine
) -> None:
    etag = client.get(mine.path).headers["etag"]
    acting = later(site, lambda: site.queue.set_progress(mine.job, 30))
    answer = client.get(mine.path, params={"wait": "20"}, headers={"if-none-match": etag})
    acting.join()
    assert answer.json()["progress"] == 30


def test_a_long_poll_without_news_ends_with_what_there_is(start: Start) -> None:
    site = start(longest_wait=0.3)
    path = f"/{site.queue.enqueue('add', SUM, owner='ada').id}"
    client = site.client()
    answer = client.get(path, params={"wait": "3600"})
    assert answer.json()["status"] == "pending"
    etag = {"if-none-match": answer.headers["etag"]}
    assert client.get(path, params={"wait": "20"}, headers=etag).status_code == 304


def test_a_finished_job_is_not_waited_for(site: Site, client: httpx.Client, mine: Mine) -> None:
    site.drain()
    answer = client.get(mine.path, params={"wait": "20"})
    assert answer.json()["status"] == "completed"
    etag = {"if-none-match": answer.headers["etag"]}
    assert client.get(mine.path, params={"wait": "20"}, headers=etag).status_code == 304


def test_a_job_that_is_deleted_meanwhile_is_gone(
    site: Site, client: httpx.Client, mine: Mine
) -> None:
    def remove() -> None:
        site.queue.cancel(mine.job)
        site.queue.delete(mine.job)

    acting = later(site, remove)
    answer = client.get(mine.path, params={"wait": "20"})
    acting.join()
    assert answer.status_code in (200, 404)  # seen as cancelled, or not any more


@pytest.mark.parametrize("wait", ["-1", "soon", "nan", "inf", "1e9", ""])
def test_a_wait_that_is_no_time_is_refused(client: httpx.Client, mine: Mine, wait: str) -> None:
    answer = client.get(mine.path, params={"wait": wait})
    assert (answer.status_code, "wait=" in answer.json()["detail"]) == (422, True)


# --- whose job ----------------------------------------------------------------------------------


@pytest.mark.parametrize("id", [UNKNOWN, "7", "x" * 300, "%00", "..%2f..", "' OR 1=1"])
def test_an_unknown_job_is_not_found(client: httpx.Client, id: str) -> None:
    answer = client.get(f"/{id}")
    assert answer.status_code == 404


def test_anothers_job_is_forbidden(site: Site, mine: Mine) -> None:
    answer = site.client("grace").get(mine.path)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert mine.job.type not in answer.text


def test_by_choice_anothers_job_is_answered_like_an_unknown_one(start: Start) -> None:
    site = start(hide=True)
    job = site.queue.enqueue("add", SUM, owner="ada")
    client = site.client("grace")
    hidden, unknown = client.get(f"/{job.id}"), client.get(f"/{UNKNOWN}")
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.text.replace(job.id, UNKNOWN) == unknown.text
    assert {*hidden.headers} == {*unknown.headers}


def test_who_is_not_signed_in_is_told_so(site: Site, mine: Mine) -> None:
    assert site.client(None).get(mine.path).status_code == 401


# --- lists --------------------------------------------------------------------------------------


def ids(answer: httpx.Response) -> list[str]:
    return [job["id"] for job in answer.json()["jobs"]]


def test_a_list_has_the_callers_jobs_newest_first(site: Site, client: httpx.Client) -> None:
    first, _, last = (site.queue.enqueue("add", SUM, owner=o) for o in ("ada", "grace", "ada"))
    answer = client.get("")
    assert ids(answer) == [last.id, first.id]
    assert answer.json()["jobs"][0] == site.queue.get(last).to_dict()


def test_a_list_is_filtered(site: Site, client: httpx.Client) -> None:
    done = site.queue.enqueue("add", SUM, owner="ada")
    site.drain()
    waiting = site.queue.enqueue("add", SUM, owner="ada", queue="slow")
    assert ids(client.get("", params={"status": "completed"})) == [done.id]
    assert ids(client.get("", params={"status": "pending,failed"})) == [waiting.id]
    assert ids(client.get("", params={"queue": "slow", "type": "add"})) == [waiting.id]
    assert ids(client.get("", params={"type": "fail"})) == []


def test_pages_follow_each_other(site: Site, client: httpx.Client) -> None:
    made = [site.queue.enqueue("add", SUM, owner="ada").id for _ in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        answer = client.get("", params=query)
        seen += ids(answer)
        if answer.json()["next"] is None:
            break
        query["after"] = answer.json()["next"]
    assert seen == made[::-1]


def test_jobs_are_asked_for_by_their_ids_in_that_order(site: Site, client: httpx.Client) -> None:
    mine = [site.queue.enqueue("add", SUM, owner="ada").id for _ in range(2)]
    other = site.queue.enqueue("add", SUM, owner="grace").id
    asked = ",".join([mine[1], other, UNKNOWN, mine[0]])
    assert ids(client.get("", params={"ids": asked})) == [mine[1], mine[0]]


@pytest.mark.parametrize(
    "query",
    [
        {"status": "active"},
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "ten"},
        {"limit": "\u0661"},
        {"after": "5"},
        {"ids": "1,2"},
        {"ids": ",".join([UNKNOWN] * 101)},
        {"type": "\0"},
        {"queue": "q" * 501},
        {"type": ""},
    ],
)
def test_a_query_that_means_nothing_is_refused(client: httpx.Client, query: dict[str, str]) -> None:
    answer = client.get("", params=query)
    assert answer.status_code == 422
    assert next(iter(query)) in answer.json()["detail"]


def test_only_who_may_see_all_may_ask_for_anothers(start: Start) -> None:
    site = start(owned=False, access=jobq.http.ApiKey("k" * 16))
    hers = site.queue.enqueue("add", SUM, owner="ada")
    site.queue.enqueue("add", SUM, owner="grace")
    admin = site.client(None, **{"x-api-key": "k" * 16})
    assert len(ids(admin.get(""))) == 2
    assert ids(admin.get("", params={"owner": "ada"})) == [hers.id]


def test_the_owner_of_a_list_cannot_be_chosen(site: Site) -> None:
    assert site.client("grace").get("", params={"owner": "ada"}).status_code == 403
