"""The dashboard on its own: whom it asks for a password, and under which names it answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

import jobq
from jobq.cli._dashboard import users_of
from jobq.http.dashboard import Dashboard, serve
from jobq.http.dashboard.server import Local
from tests.cli.conftest import Run


@contextmanager
def serving(queue: jobq.Queue, access: object) -> Iterator[str]:
    with serve(Dashboard(queue, access=access), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(30)


def test_where_others_can_reach_it_there_have_to_be_passwords(run: Run) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "jobs.example"):
        ran = run("dashboard", "--url", "sqlite:///jobs.db", "--host", host)
        assert ran.code == 2
        assert "JOBQ_DASHBOARD_USERS" in ran.err


def test_an_app_and_a_url_are_one_too_many(run: Run) -> None:
    assert run("dashboard", "app:queue", "--url", "sqlite:///jobs.db").code == 2


def test_names_and_passwords_are_read_from_the_environment() -> None:
    ada, bob = "correct:horse:battery", "staple horse correct"
    assert users_of(f"ada:{ada}, bob:{bob}") == {"ada": ada, "bob": bob}
    assert users_of("") == {}
    for wrong in ("ada", "ada:", ":secret"):
        with pytest.raises(jobq.ConfigurationError, match="name:password"):
            users_of(wrong)


def test_a_password_that_would_open_nothing_is_refused_at_once() -> None:
    with pytest.raises(jobq.ConfigurationError, match="'bob' must have at least 16 letters"):
        users_of("ada:correct horse battery,bob:hunter2")


def test_on_this_machine_it_answers_under_no_name_of_another_site(queue: jobq.Queue) -> None:
    with serving(queue, Local()) as root, httpx.Client(base_url=root) as client:
        assert client.get("/").status_code == 200
        assert client.get("/jobs/").status_code == 200
        assert client.get("/nothing").status_code == 404
        assert client.head("/jobs").content == b""
        for host in ("localhost:1", "127.0.0.1", "[::1]:1"):
            assert client.get("/", headers={"host": host}).status_code == 200
        for host in ("elsewhere.example", "127.0.0.1.elsewhere.example", "localhost.example:80"):
            assert client.get("/", headers={"host": host}).status_code == 403


def test_a_form_that_is_too_large_is_refused_and_its_rest_is_no_request(queue: jobq.Queue) -> None:
    with serving(queue, Local()) as root, httpx.Client(base_url=root) as client:
        answer = client.post("/queues", content=b"x" * 200_000)
        assert answer.status_code == 413
        assert client.get("/queues").status_code == 200


def test_read_only_lets_nobody_change_anything(queue: jobq.Queue) -> None:
    queue.pause("slow")
    with serving(queue, Local(read_only=True)) as root:
        assert 'name="action"' not in httpx.get(f"{root}/queues").text
    with serving(queue, Local()) as root:
        assert 'value="resume_queue"' in httpx.get(f"{root}/queues").text
