"""The decisions of the HTTP core, as values."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from jobq._checks import priority_number
from jobq._errors import ConfigurationError, OptionError
from jobq._model import Job, JobStatus
from jobq._queue import Queue
from jobq._routing import Router
from jobq._worker.bounded import BoundedWorker, expected_seconds, last_starts
from jobq.http import keys, shapes
from jobq.http.access import owner_id
from jobq.http.api import Options
from jobq.http.budget import Budget, concurrency_of, seconds_of
from jobq.http.debug import in_debug
from jobq.http.messages import Request
from jobq.http.polling import etag, poll_after
from jobq.http.reading import is_known, wait_of
from jobq.http.routes import ROUTES, by_path
from jobq.http.trigger import triggers_itself
from jobq.webhooks import new_secret

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
JOB = Job(
    id="01900000-0000-7000-8000-000000000000",
    type="add",
    queue="default",
    status=JobStatus.PENDING,
    created_at=NOW,
    run_at=NOW,
    updated_at=NOW,
)


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a" * 16, "b" * 16, "c" * 16, "nothing like it"])
def test_every_candidate_is_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    compared: list[bytes] = []
    really = keys.compare_digest

    def counted(given: bytes, key: bytes) -> bool:
        compared.append(key)
        return really(given, key)

    monkeypatch.setattr(keys, "compare_digest", counted)
    candidates = ["a" * 16, "b" * 16, "c" * 16]
    assert keys.fits(given, candidates) == (given in candidates)
    assert compared == [key.encode() for key in candidates]


@pytest.mark.parametrize("key", ["", "x" * 15, *keys.IN_DEVELOPMENT])
def test_a_weak_key_is_refused_outside_of_development(key: str) -> None:
    assert keys.usable([key, "s" * 16], debug=False) == ["s" * 16]


def test_a_key_may_have_letters_of_any_alphabet() -> None:
    key = "ключ-от-квартиры"
    sent = key.encode().decode("latin-1")  # as servers decode headers
    assert keys.fits(sent, [key])


@pytest.mark.parametrize(
    "headers, key",
    [
        ({}, None),
        ({"x-api-key": "a"}, "a"),
        ({"authorization": "bearer a"}, "a"),
        ({"authorization": "Basic a"}, None),
        ({"authorization": "Bearer "}, None),
        ({"x-api-key": "", "authorization": "Bearer b"}, "b"),
    ],
)
def test_a_key_is_sent_in_either_of_two_headers(headers: dict[str, str], key: str | None) -> None:
    assert keys.given_key(Request(method="GET", path="/", headers=headers)) == key


def test_the_environment_may_name_several_keys() -> None:
    environ = {"WORKER_SECRET": " a , b,", "CRON_SECRET": "c", "OTHER": "d"}
    assert keys.keys_of(environ) == ["a", "b", "c"]


def test_a_refusal_repeats_only_the_beginning_of_a_value() -> None:
    with pytest.raises(OptionError) as refused:
        priority_number("x" * 10_000)
    assert len(str(refused.value)) < 300


# --- budgets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, environ, seconds",
    [
        (None, {}, 50),
        (None, {"VERCEL": "1"}, 50),
        (None, {"K_SERVICE": "web"}, 290),
        (None, {"AWS_LAMBDA_FUNCTION_NAME": "f"}, 25),
        (None, {"VERCEL": "1", "JOBQ_TIME_BUDGET": "290"}, 290),
        (7, {"JOBQ_TIME_BUDGET": "290"}, 7),
    ],
)
def test_the_budget_is_given_declared_or_the_platforms(
    given: float | None, environ: dict[str, str], seconds: float
) -> None:
    assert seconds_of(given, environ) == seconds


@pytest.mark.parametrize("given", [0, -1, 3601, True, float("nan")])
def test_a_budget_that_cannot_be_meant_is_refused(given: float) -> None:
    with pytest.raises(ConfigurationError, match="time budget"):
        seconds_of(given, {})
    with pytest.raises(ConfigurationError, match="time budget"):
        seconds_of(None, {"JOBQ_TIME_BUDGET": "a minute"})


def test_concurrency_is_given_or_the_environments() -> None:
    assert [concurrency_of(3, {}), concurrency_of(None, {})] == [3, 10]
    assert concurrency_of(None, {"WORKER_CONCURRENCY": "7"}) == 7
    with pytest.raises(ConfigurationError):
        concurrency_of(0, {})


def test_a_lease_outlasts_its_budget_but_is_never_long() -> None:
    assert Budget(seconds=5, max_jobs=1, concurrency=1).lease == 15
    assert Budget(seconds=300, max_jobs=1, concurrency=1).lease == 30


def test_a_lease_that_begins_late_in_a_call_ends_no_later_than_others(tmp_path: Path) -> None:
    router = Router()
    router.handler("add")(lambda: None)
    with Queue(f"sqlite:///{tmp_path}/jobs.db", router=router) as queue:
        worker = BoundedWorker(queue, seconds=2.0, beyond=10.0, lease=30.0)
    assert worker._lasting() <= 12.0


def test_a_job_is_expected_to_take_as_long_as_nearly_all_before_it() -> None:
    assert expected_seconds([]) == 0
    assert expected_seconds([1.0] * 99 + [500.0]) == 1
    assert expected_seconds([1.0] * 90 + [30.0] * 10) == 30


def test_a_job_is_not_started_that_would_not_end_in_time() -> None:
    lasts = last_starts({"quick": [0.1] * 9, "slow": [20.0] * 9, "endless": [900.0]}, 50)
    assert lasts == {"quick": pytest.approx(47.9), "slow": 28, "endless": 5}


# --- polling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, seconds",
    [
        ({}, 2),
        ({"status": JobStatus.PROCESSING}, 1),
        ({"status": JobStatus.WAITING}, 5),
        ({"status": JobStatus.COMPLETED}, None),
        ({"run_at": NOW + timedelta(seconds=9.5)}, 10),
        ({"run_at": NOW + timedelta(days=1)}, 60),
        ({"status": JobStatus.RATE_LIMITED, "run_at": NOW + timedelta(seconds=30)}, 30),
        ({"eta": 12.2}, 13),
        ({"eta": 0.0}, 1),
    ],
)
def test_a_client_is_told_when_there_may_be_news(
    change: dict[str, Any], seconds: int | None
) -> None:
    assert poll_after(evolve(JOB, **change), NOW) == seconds


@pytest.mark.parametrize("tags", ['W/"1"', '"1"', 'W/"7", W/"1"', "*"])
def test_a_version_is_known_by_its_tag(tags: str) -> None:
    asked = Request(method="GET", path="/", headers={"if-none-match": tags})
    assert is_known(etag(JOB), asked)
    assert is_known(etag(evolve(JOB, version=2)), asked) == (tags == "*")
    assert etag(JOB) == 'W/"1"'


@pytest.mark.parametrize(
    "prefer, seconds",
    [
        ("wait=10", 10),
        ("respond-async, wait=10", 10),
        ('Wait = "10"; foo', 10),
        ("wait=soon", None),
        ("wait=-1", None),
        ("await=10", None),
        ("", None),
    ],
)
def test_a_preference_that_is_not_understood_is_none(prefer: str, seconds: float | None) -> None:
    assert wait_of(Request(method="GET", path="/", headers={"prefer": prefer})) == seconds


# --- who, and when ------------------------------------------------------------------------------


class User:
    def __init__(self, **known: Any) -> None:
        vars(self).update(known)


USER_ID = UUID("01900000-0000-7000-8000-000000000000")


@pytest.mark.parametrize(
    "user, owner",
    [
        ("ada", "ada"),
        (7, "7"),
        (USER_ID, str(USER_ID)),
        (User(id=7), "7"),
        (User(pk=8, id="x"), "8"),
        (User(id=USER_ID), str(USER_ID)),
    ],
)
def test_an_owner_is_an_id_or_something_that_has_one(user: Any, owner: str) -> None:
    assert owner_id(user) == owner


@pytest.mark.parametrize("user", ["", True, 1.5, User(), User(id=None), {"id": 7}])
def test_what_is_no_id_is_no_owner(user: Any) -> None:
    with pytest.raises(ConfigurationError, match="owner="):
        owner_id(user)


@pytest.mark.parametrize(
    "options",
    [
        {"owner": print, "access": object()},
        {"keys": []},
        {"keys": [""]},
        {"time_budget": 0},
        {"concurrency": 0},
        {"heartbeat": 0},
        {"longest_wait": True},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Options(**options)


def test_options_do_not_show_their_secrets() -> None:
    options = Options(keys=["a key that is secret"], webhooks={"openai": (secret := new_secret())})
    assert "a key" not in repr(options)
    assert secret not in repr(options)


@pytest.mark.parametrize("text, debug", [("1", True), ("true", True), ("0", False), ("", False)])
def test_development_is_asked_for(text: str, debug: bool) -> None:
    assert in_debug(environ={"JOBQ_DEBUG": text}) is debug
    assert in_debug(app=True, environ={})
    assert not in_debug(environ={})


def test_jobs_are_run_on_the_side_in_development_but_in_no_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("JOBQ_AUTO_TRIGGER", raising=False)
    assert not triggers_itself(None, debug=True)  # this is a test
    assert triggers_itself(True, debug=False)
    monkeypatch.setenv("JOBQ_AUTO_TRIGGER", "1")
    assert triggers_itself(None, debug=False)
    assert not triggers_itself(False, debug=True)
    monkeypatch.delenv("JOBQ_AUTO_TRIGGER")
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    assert triggers_itself(None, debug=True)
    assert not triggers_itself(None, debug=False)


# --- the table ----------------------------------------------------------------------------------


def test_the_shape_of_a_job_is_what_a_job_looks_like() -> None:
    names = [field.name for field in dataclasses.fields(shapes.JobView)]
    assert names == list(JOB.to_dict())


def test_no_fixed_path_is_taken_for_an_id() -> None:
    paths = list(by_path(ROUTES))
    fixed = [path for path in paths if "{id}" not in path]
    assert paths[: len(fixed)] == fixed


def test_every_route_has_a_name_of_its_own() -> None:
    names = [route.name for route in ROUTES]
    assert len(set(names)) == len(names)
    assert len({(route.method, route.path) for route in ROUTES}) == len(names)


def secured() -> list[Any]:
    return [route for route in ROUTES if route.secured]


@pytest.mark.parametrize("route", secured(), ids=lambda route: route.name)
def test_every_route_but_the_probes_may_refuse_the_caller(route: Any) -> None:
    assert {401, 403, 503} <= {answer.status for answer in route.answers}
