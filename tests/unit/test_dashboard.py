"""The dashboard's decisions, without a server."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from jobq._queue import Queue
from jobq._routing import Router
from jobq.backends.ops import DatabaseHealth, TableHealth
from jobq.http import AllOf, Anonymous, Owner, Request
from jobq.http.dashboard import Dashboard, Operator, Operators, Passwords
from jobq.http.dashboard.screens.database import concerns

USERS = {"ada": "correct horse battery", "zoë": "ein schöner Schlüssel"}


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(f"sqlite:///{tmp_path}/jobs.db", router=Router()) as queue:
        yield queue


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


def visit(dashboard: Dashboard, path: str = "", method: str = "GET", **sent: Any) -> Any:
    """What a page, or a form, is answered with."""
    if "form" in sent:
        method, sent["body"] = "POST", urlencode({"token": "t", **sent.pop("form")}).encode()
    headers = {"cookie": "jobq_dashboard=token=t", **sent.pop("headers", {})}
    asked = Request(method=method, path=f"/ops{path}", headers=headers, debug=True, **sent)
    return dashboard.handle(path, asked)


def status(dashboard: Dashboard, headers: dict[str, str]) -> int:
    return int(visit(dashboard, headers=headers).status)


@pytest.mark.parametrize("password", ["\0", "", "correct horse battery"])
def test_a_name_that_is_unknown_has_no_password(queue: Queue, password: str) -> None:
    dashboard = Dashboard(queue, access=Passwords(USERS))
    assert status(dashboard, basic("eve", password)) == 401


@pytest.mark.parametrize("name", USERS)
def test_a_password_may_have_letters_of_any_alphabet(queue: Queue, name: str) -> None:
    dashboard = Dashboard(queue, access=Passwords(USERS))
    assert status(dashboard, basic(name, USERS[name])) == 200
    assert status(dashboard, basic(name, "?" * len(USERS[name]))) == 401


@pytest.mark.parametrize("sent", ["Basic \xff", "Basic /w==", "Basic a", "Basic", "Bearer a", ""])
def test_what_is_no_name_and_password_is_asked_for_again(queue: Queue, sent: str) -> None:
    dashboard = Dashboard(queue, access=Passwords(USERS))
    assert status(dashboard, {"authorization": sent}) == 401


def test_a_name_is_kept_where_several_policies_agree(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="jobq")
    dashboard = Dashboard(queue, access=AllOf(Anonymous(), Passwords(USERS)))
    form = {"action": "pause_queue", "queue": "slow"}
    visit(dashboard, "/queues", form=form, headers=basic("ada", USERS["ada"]))
    assert caplog.messages == ["dashboard: ada: pause_queue queue slow"]


def test_a_reader_sees_no_button_where_several_policies_agree(queue: Queue) -> None:
    queue.pause("slow")
    for readers, shown in (([], True), (["ada"], False)):
        access = AllOf(Anonymous(), Passwords(USERS, readers=readers))
        page = visit(Dashboard(queue, access=access), "/queues", headers=basic("ada", USERS["ada"]))
        assert (b"resume_queue" in page.body) is shown


def test_a_query_or_form_that_no_page_has_is_refused(queue: Queue) -> None:
    dashboard = Dashboard(queue, access=Anonymous())
    assert visit(dashboard, "/jobs", query="&a=1" * 501).status == 400
    assert visit(dashboard, "/queues", method="POST", body=b"&a=1" * 501).status == 400
    assert visit(dashboard, "/queues", method="POST", body=b"\xff").status == 400
    pause = {"action": "pause_limit", "key": "provider", "minutes": "1" * 5000}
    assert visit(dashboard, "/limits", form=pause).status == 422


@pytest.mark.parametrize("path, allowed", [("/queues", "GET, HEAD, POST"), ("/theme", "POST")])
def test_a_page_says_which_methods_it_takes(queue: Queue, path: str, allowed: str) -> None:
    answered = visit(Dashboard(queue, access=Anonymous()), path, method="DELETE")
    assert (answered.status, answered.headers["allow"]) == (405, allowed)


def test_who_may_see_his_own_jobs_only_sees_no_dashboard(queue: Queue) -> None:
    only_his = Operators(lambda _: Operator(name="ada", owner="ada"))
    both = AllOf(Owner(lambda _: "ada"), Passwords(USERS))
    for access in (only_his, both):
        dashboard = Dashboard(queue, access=access)
        assert status(dashboard, basic("ada", USERS["ada"])) == 403


# --- what is said of the database ----------------------------------------------------------------


def table(rows: int, dead: int) -> TableHealth:
    return TableHealth(
        name="jobq_job", rows=rows, dead=dead, bytes=1, vacuumed_at=None, analyzed_at=None
    )


@pytest.mark.parametrize(
    "facts, words",
    [
        ({"held_seconds": 59, "held_by": "session 7"}, None),
        ({"held_seconds": 60, "held_by": "session 7"}, "open for 1 min (session 7)"),
        ({"tables": (table(rows=0, dead=10_000),)}, None),
        ({"tables": (table(rows=10, dead=10_001),)}, "jobq_job has 10,001 dead rows and 10 living"),
        ({"tables": (table(rows=20_000, dead=20_000),)}, None),
        ({"connections": 79, "max_connections": 100}, None),
        ({"connections": 80, "max_connections": 100}, "80 of 100 connections are taken"),
        ({"log_bytes": 64_000_000}, None),
        ({"log_bytes": 64_000_001}, "The write-ahead log is 64 MB"),
    ],
)
def test_only_what_is_wrong_with_a_database_is_a_concern(
    facts: dict[str, Any], words: str | None
) -> None:
    said = [*concerns(DatabaseHealth(version="1", bytes=1, **facts))]
    assert len(said) == (words is not None)
    assert words is None or words in said[0]
