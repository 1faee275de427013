"""What can hold a secret does not show it: objects, errors, log records, commands."""

from __future__ import annotations

import io
import json
import logging
import traceback
from typing import Any

import pytest

import jobq
from jobq import _masking
from jobq._settings import Settings
from jobq.backends import parse
from jobq.cli import main
from jobq.observe import logger
from jobq.testing import drain

SECRET = "hunter2-hunter2"
URL = f"postgresql://ada:{SECRET}@host/db?sslpassword={SECRET}"
LISTEN_URL = f"postgresql://ada:{SECRET}@other/db"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(_masking, "_known", set())
    monkeypatch.setattr(_masking, "_pattern", None)


def a_pool() -> jobq.KeyPool:
    limit = jobq.RateLimit("gemini:{key}", 60, per=60)
    return jobq.KeyPool("gemini", keys={"a": SECRET, "b": f"{SECRET}2"}, limit=limit)


def a_queue(face: Any = jobq.Queue) -> Any:
    return face(URL, listen_url=LISTEN_URL, limits={"default": [a_pool()]})


HOLDERS = {
    "Queue": a_queue,
    "AsyncQueue": lambda: a_queue(jobq.AsyncQueue),
    "the other face": lambda: a_queue().aio,
    "configuration": lambda: a_queue()._config,
    "backend": lambda: a_queue()._config.backend,
    "backend's options": lambda: a_queue()._config.backend.options,
    "parsed options": lambda: parse(URL, {"listen_url": LISTEN_URL}),
    "store": lambda: a_queue()._config.store(),  # noqa: PLW0108  made by the test
    "asynchronous store": lambda: a_queue()._config.async_store(),  # noqa: PLW0108
    "Worker": lambda: jobq.Worker(a_queue()),
    "settings": lambda: Settings.from_environment({"JOBQ_DATABASE_URL": URL}),
    "KeyPool": a_pool,
    "limits of a KeyPool": lambda: a_pool().limits(),
    "names of a KeyPool": lambda: a_pool().options,
    "KeyPool of a list": lambda: jobq.KeyPool(
        "p", keys=[SECRET], limit=jobq.RateLimit("p", 1, per=1)
    ),
}


@pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS)
def test_what_holds_a_secret_does_not_show_it(make):
    holder = make()
    for shown in (repr(holder), str(holder), f"{holder}"):
        assert SECRET not in shown


def refused_urls() -> list[str]:
    return [
        f"postgresql://ada:{SECRET}@host:port/db",
        f"postgresql://ada:{SECRET}/x@host/db",
        f"postgresql://ada:{SECRET}%zz@host/db",
        f"postgresql://ada:{SECRET} x@host/db",
        f"postgresql://host/db?nonsense=1&password={SECRET}",
        f"sqlite://ada:{SECRET}@host/db",
        f"mysql://ada:{SECRET}@host/db",
        f"ada:{SECRET}@host",
        f"host=h password={SECRET}",
    ]


@pytest.mark.parametrize("url", refused_urls())
def test_a_refused_url_is_not_in_the_error_nor_in_what_led_to_it(url):
    with pytest.raises(jobq.ConfigurationError) as caught:
        jobq.Queue(url)._config.backend  # noqa: B018  the driver is asked at the first use
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def locals_of(error: BaseException) -> str:
    """A traceback with what the variables of jobq's objects held, as error trackers keep it."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def call_with_locals() -> str:
    queue = a_queue()
    config, backend, pool = queue._config, queue._config.backend, a_pool()
    try:
        raise RuntimeError([type(one).__name__ for one in (queue, config, backend, pool)])
    except RuntimeError as error:
        return locals_of(error)


def test_a_traceback_with_local_variables_shows_no_secret_of_jobqs_objects():
    shown = call_with_locals()
    assert "queue = <Queue postgresql://ada:***@host/db?sslpassword=***>" in shown
    assert SECRET not in shown


def logged(*args: Any, **kwargs: Any) -> tuple[logging.LogRecord, str]:
    """A record of jobq's logger, and how a handler of an app writes it."""
    seen: list[logging.LogRecord] = []
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(lambda record: seen.append(record) or True)
    logger.addHandler(handler)
    try:
        logger.error(*args, **kwargs)
    finally:
        logger.removeHandler(handler)
    return seen[0], out.getvalue()


def test_jobqs_own_log_records_are_masked_whatever_handles_them():
    error = RuntimeError(f"GET /v1?api_key={SECRET}")
    record, written = logged("job %s (%d): %s, %s", "an-id", 3, error, f"token={SECRET}")
    assert record.getMessage() == "job an-id (3): GET /v1?api_key=***, token=***"
    assert written == "job an-id (3): GET /v1?api_key=***, token=***\n"


def test_a_traceback_in_jobqs_own_log_records_is_masked():
    try:
        raise RuntimeError(f"Authorization: Bearer {SECRET}")
    except RuntimeError as error:
        _, written = logged("it failed", exc_info=error)
    assert SECRET not in written
    assert "RuntimeError: Authorization: ***" in written


def test_a_record_without_arguments_or_with_a_mapping_stays_as_it_is():
    assert logged("100 %")[1] == "100 %\n"
    assert logged("%(n)d jobs", {"n": 3})[1] == "3 jobs\n"


# --- what is stored, and what commands show -----------------------------------------------------


def failing(queue: jobq.Queue) -> jobq.Job:
    """A job that failed with secrets in its exception, in that one's cause, and in a note."""

    @queue.router.handler("leak", retry=jobq.Retry(max_attempts=1))
    def leak() -> None:
        try:
            raise OSError(f"https://ada:{SECRET}@host/ refused token={SECRET}")
        except OSError as error:
            outer = RuntimeError({"headers": {b"x-api-key": SECRET.encode()}})
            outer.add_note(f'{{"password": "{SECRET}"}}')
            raise outer from error

    job = queue.enqueue("leak")
    drain(queue)
    return queue.get(job.id)


def test_nothing_of_a_failed_job_shows_the_secrets_of_its_exception(queue, url, capsys):
    job = failing(queue)
    assert job.status == "failed"
    for attempt in queue.history(job.id):
        assert "***" in (attempt.traceback or "")
        assert SECRET not in f"{attempt!r} {attempt.error} {attempt.traceback}"
    assert SECRET not in f"{job!r} {job.error}"
    for command in (["show", job.id], ["why", job.id], ["list"], ["status"], ["limits"]):
        for extra in ([], ["--json"]):
            assert main([*command, "--url", url, *extra]) == 0
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err


def test_a_refused_payload_is_stored_without_its_secrets(queue):
    queue.enqueue("late", {"key": 1})
    limit = jobq.RateLimit("x", 1, per=1, cost=_leaking_cost)
    queue.router.handler("late", limits=[limit])(_late)
    drain(queue)
    [job] = queue.list().jobs
    assert job.error_code == "invalid_options"
    assert SECRET not in (job.error or "")


def _late(payload: dict) -> None:
    del payload


def _leaking_cost(payload: Any) -> int:
    raise ValueError(f"no cost for api_key={SECRET} in {payload}")


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_commands_name_the_database_without_its_password(extra, capsys):
    main(["status", "--url", f"postgresql://ada:{SECRET}@127.0.0.1:9/db", *extra])
    main(["migrate", "--url", f"postgresql://ada:{SECRET}@127.0.0.1:x/db", *extra])
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err


def test_a_stored_key_is_the_name_of_a_key_never_the_key(queue, url, capsys):
    queue.router.handler("paid", limits=[a_pool()])(_late)
    queue.enqueue("paid", {})
    drain(queue)
    main(["limits", "--url", url, "--json"])
    state = capsys.readouterr().out
    assert json.loads(state)
    assert "gemini:a" in state
    assert SECRET not in state
