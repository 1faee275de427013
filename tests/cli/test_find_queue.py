"""Where a command finds its queue, and what it says when it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jobq
from jobq.cli._app import find_queue, load_queue
from tests.cli.conftest import Run

APP = """
import jobq
queue = jobq.Queue("sqlite:///app.db")
class Settings:
    queue = jobq.AsyncQueue("sqlite:///other.db")
text = "sqlite:///app.db"
"""

ENVIRONMENT = {
    "JOBQ_APP": "some_app:queue",
    "JOBQ_DATABASE_URL": "sqlite:///b.db",
    "DATABASE_URL": "sqlite:///c.db",
}


@pytest.fixture
def app(folder: Path) -> Path:
    (folder / "some_app.py").write_text(APP)
    return folder


def url_of(queue: jobq.Queue) -> str:
    return queue._config.url


def test_an_app_in_the_current_folder_is_found(app: Path) -> None:
    assert url_of(load_queue("some_app:queue").sync) == "sqlite:///app.db"


def test_an_attribute_of_an_attribute_and_an_async_queue_will_do(app: Path) -> None:
    assert url_of(load_queue("some_app:Settings.queue").sync) == "sqlite:///other.db"


@pytest.mark.parametrize(
    "given,variables,expected",
    [
        (("sqlite:///a.db", None), ["JOBQ_APP"], "sqlite:///a.db"),
        ((None, "some_app:queue"), ["JOBQ_DATABASE_URL"], "sqlite:///app.db"),
        ((None, None), ["JOBQ_APP", "JOBQ_DATABASE_URL", "DATABASE_URL"], "sqlite:///app.db"),
        ((None, None), ["JOBQ_DATABASE_URL", "DATABASE_URL"], "sqlite:///b.db"),
        ((None, None), ["DATABASE_URL"], "sqlite:///c.db"),
    ],
)
def test_what_is_said_on_the_command_line_comes_first_then_the_app_then_the_url(
    app: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str | None, str | None],
    variables: list[str],
    expected: str,
) -> None:
    for name in variables:
        monkeypatch.setenv(name, ENVIRONMENT[name])
    assert url_of(find_queue(*given, new=True)) == expected


def test_without_any_the_ways_to_name_it_are_listed(run: Run) -> None:
    ran = run("list")
    assert ran.code == 2
    assert ran.err == (
        "jobq: which queue? Give --url or --app, or set JOBQ_APP, JOBQ_DATABASE_URL or "
        "DATABASE_URL\n"
    )
    assert run("worker").code == 2


def test_a_url_and_an_app_are_not_given_together(run: Run) -> None:
    assert run("list", "--url", "sqlite:///a.db", "--app", "a:b").code == 2


@pytest.mark.parametrize(
    "spec,message",
    [
        ("some_app", "'some_app' must be module:attribute, as in app:queue"),
        ("no_app:queue", "'no_app:queue': there is no module 'no_app' in "),
        ("some_app.sub:queue", "there is no module 'some_app.sub' in "),
        ("some_app:nope", "has no attribute 'nope'"),
        ("some_app:Settings.nope", "'some_app:Settings.nope': a type has no attribute 'nope'"),
        ("some_app:text", "'some_app:text' is a str, and must be a jobq.Queue or jobq.AsyncQueue"),
    ],
)
@pytest.mark.parametrize("command", [("worker",), ("list", "--app")])
def test_an_app_that_is_not_there_is_a_usage_error(
    app: Path, run: Run, command: tuple[str, ...], spec: str, message: str
) -> None:
    ran = run(*command, spec)
    assert ran.code == 2
    assert message in ran.err.splitlines()[-1]


def test_an_app_that_cannot_be_imported_shows_its_own_traceback_without_secrets(
    folder: Path, run: Run
) -> None:
    (folder / "broken.py").write_text("import json\nraise RuntimeError('api_key=abc123')\n")
    ran = run("worker", "broken:queue")
    assert ran.code == 2
    assert 'broken.py", line 2' in ran.err
    assert ran.err.splitlines()[-1] == (
        "jobq: 'broken:queue': importing 'broken' failed: RuntimeError: api_key=***"
    )


def test_a_module_that_an_app_lacks_is_named(folder: Path, run: Run) -> None:
    (folder / "lacking.py").write_text("import no_such_module\n")
    assert "No module named 'no_such_module'" in run("worker", "lacking:queue").err


def test_a_url_of_another_database_is_a_usage_error_without_its_password(run: Run) -> None:
    ran = run("list", "--url", "mysql://me:hunter2222@host/db")
    assert ran.code == 2
    assert "no database that jobq knows" in ran.err
    assert "hunter2222" not in ran.err


def test_a_database_out_of_reach_is_reported_without_its_password(folder: Path, run: Run) -> None:
    (folder / "far_app.py").write_text(
        "import jobq\n"
        "queue = jobq.Queue('postgresql://me:hunter2222@127.0.0.1:1/db', patience=0.1)\n"
    )
    ran = run("status", "--app", "far_app:queue")
    assert ran.code == 3
    assert ran.err.startswith("jobq: PostgreSQL: no connection: ")
    assert "hunter2222" not in ran.err + ran.out


def test_a_value_in_the_environment_that_cannot_be_used_is_named(
    app: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "http")
    ran = run("worker", "some_app:queue")
    assert (ran.code, ran.err) == (2, "jobq: PORT='http' is not an integer\n")


def test_a_reader_that_has_seen_enough_is_no_error(queue: jobq.Queue, url: str) -> None:
    queue.enqueue_many(("mail", {}) for _ in range(1000))
    read, write = os.pipe()
    os.close(read)
    argv = [sys.executable, "-m", "jobq", "list", "--url", url, "--limit", "1000"]
    ran = subprocess.run(argv, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (0, "")
