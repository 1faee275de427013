"""The dashboard's decisions, without a server."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobq._queue import Queue
from jobq._routing import Router
from jobq.http import Request
from jobq.http.dashboard import Dashboard, Passwords

USERS = {"ada": "correct horse battery", "zoë": "ein schöner Schlüssel"}


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(f"sqlite:///{tmp_path}/jobs.db", router=Router()) as queue:
        yield queue


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


def status(dashboard: Dashboard, headers: dict[str, str], path: str = "", query: str = "") -> int:
    """What a page is answered with."""
    asked = Request(method="GET", path=f"/ops{path}", query=query, headers=headers)
    answered: Any = dashboard.handle(path, asked)
    return int(answered.status)


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
