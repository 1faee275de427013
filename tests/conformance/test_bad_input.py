"""Bad input is refused at the earliest place: the error names the value and the fix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from pydantic import BaseModel

import jobq
from tests.conformance.situations import sql

LATER = datetime(2040, 1, 1, tzinfo=UTC)
NAIVE = datetime(2040, 1, 1)  # noqa: DTZ001  the missing time zone is the point
KILOBYTE = 1024


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def looped() -> list:
    value: list = []
    value.append(value)
    return value


def assert_nothing_is_stored(queue: jobq.Queue) -> None:
    assert sql(queue, "SELECT count(*) FROM jobq_job") == [(0,)]


# --- payloads -----------------------------------------------------------------------------------

NOT_JSON = {
    "NaN": ({"a": math.nan}, "nan is not a JSON number (at $.a)"),
    "infinity": ({"a": [1, -math.inf]}, "-inf is not a JSON number (at $.a[1])"),
    "NUL": (
        {"a": "x\x00y"},
        "text contains a NUL character, which PostgreSQL cannot store (at $.a)",
    ),
    "NUL in a key": ({"a\x00": 1}, "text contains a NUL character, which PostgreSQL cannot store"),
    "lone surrogate": ({"a": "x\ud800"}, r"text contains a lone surrogate: 'x\ud800' (at $.a)"),
    "lone surrogate in a key": ({"\udfff": 1}, r"text contains a lone surrogate: '\udfff'"),
    "set": ({"a": {1}}, "{1} is a set, which JSON has not (at $.a)"),
    "tuple": ({"a": (1,)}, "(1,) is a tuple, which JSON has not (at $.a)"),
    "bytes": ({"a": b"x"}, "b'x' is a bytes, which JSON has not (at $.a)"),
    "datetime": ({"a": LATER}, "is a datetime, which JSON has not (at $.a)"),
    "decimal": ({"a": Decimal("1.5")}, "Decimal('1.5') is a Decimal, which JSON has not (at $.a)"),
    "UUID": ([uuid4()], "is a UUID, which JSON has not (at $[0])"),
    "path": ({"a": Path("x")}, "which JSON has not (at $.a)"),
    "number as key": ({"a": {1: 2}}, "the key 1 is an int; JSON keys are text (at $.a)"),
    "None as key": ({None: 2}, "the key None is a NoneType; JSON keys are text (at $)"),
    "large integer": ({"a": 2**63}, "9223372036854775808 needs more than 64 bits; send it as text"),
    "deep": (nested(101), "nested deeper than 100 levels (at $[0]"),
    "bottomless": (looped(), "nested deeper than 100 levels"),
    "object": ({"a": object()}, "is an object, which JSON has not (at $.a)"),
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_a_payload_outside_json_is_refused_never_converted(
    queue: jobq.Queue, known: jobq.Handler[dict, dict], case: str
) -> None:
    payload, reason = NOT_JSON[case]
    for target in (known, known.type, "elsewhere"):
        name = target if isinstance(target, str) else target.type
        with pytest.raises(jobq.PayloadError) as caught:
            queue.enqueue(target, payload)
        assert f"payload of {name!r}: " in str(caught.value)
        assert reason in str(caught.value)
        assert isinstance(caught.value, ValueError)
        assert (caught.value.type, caught.value.path[0]) == (name, "$")
        (outcome,) = queue.enqueue_many([(target, payload)])
        assert str(outcome.error) == str(caught.value)
    assert_nothing_is_stored(queue)


def test_json_at_its_edges_is_stored_as_it_is(queue: jobq.Queue) -> None:
    payload = {
        "": [2**63 - 1, -(2**63), 5e-324, 1.7976931348623157e308, -0.0, True, None, {}, []],
        "text": '\x01\x7f\u2028\ue000𝄞"\\/',
        "deep": nested(99),
    }
    assert queue.get(queue.enqueue("t", payload)).payload == payload
    (outcome,) = queue.enqueue_many([("t", payload)])
    assert outcome.job is not None
    assert queue.get(outcome.job).payload == payload


def test_a_payload_above_the_bound_is_refused_and_the_message_names_the_way_out(
    queue: jobq.Queue,
) -> None:
    with pytest.raises(jobq.PayloadError) as caught:
        queue.enqueue("t", {"image": "x" * 1024 * KILOBYTE})
    assert str(caught.value) == (
        "payload of 't': 1048588 bytes of JSON are more than the 1048576 allowed; store the data "
        "elsewhere and pass its address, or raise Queue(bounds=Bounds(payload=…)) (at $)"
    )
    assert_nothing_is_stored(queue)


def test_bounds_count_bytes_and_may_be_set(url: str, router: jobq.Router) -> None:
    with jobq.Queue(url, router=router, bounds=jobq.Bounds(payload=20, metadata=20)) as small:
        assert small.enqueue("t", {"a": "x" * 12}).created
        with pytest.raises(jobq.PayloadError, match="21 bytes of JSON are more than the 20"):
            small.enqueue("t", {"a": "x" * 13})
        with pytest.raises(jobq.PayloadError, match="32 bytes of JSON are more than the 20"):
            small.enqueue("t", {"a": "ü" * 12})
        with pytest.raises(jobq.OptionError, match="metadata takes 21 bytes, more than the 20"):
            small.enqueue("t", {}, metadata={"a": "x" * 13})


@dataclass
class Size:
    width: int
    height: int = 1


class Image(msgspec.Struct):
    url: str
    sizes: list[Size]


class Prompt(BaseModel):
    text: str
    images: list[Image] = []

    model_config = {"arbitrary_types_allowed": True}


class Options(BaseModel):
    steps: int
    seed: dict[str, int] = {}


MISFITS: dict[str, tuple[Any, Any, str]] = {
    "dataclass": (Size, {"width": "wide"}, r"Expected `int`, got `str` \(at \$\.width\)"),
    "missing field": (Size, {}, r"missing required field `width` \(at \$\)"),
    "nested": (
        Image,
        {"url": "u", "sizes": [{"width": 1}, {"width": None}]},
        r"Expected `int`, got `null` \(at \$\.sizes\[1\]\.width\)",
    ),
    "pydantic": (Options, {"steps": "many"}, r"valid integer.*\(at \$\.steps\)"),
    "pydantic, nested": (
        Options,
        {"steps": 1, "seed": {"a": "b"}},
        r"valid integer.*\(at \$\.seed\.a\)",
    ),
    "wrong kind": (Size, [1], r"Expected `object`, got `array` \(at \$\)"),
    "outside JSON": (Size, {"width": {1}}, r"\{1\} is a set, which JSON has not \(at \$\.width\)"),
    "another class": (Size, Options(steps=1), r"missing required field `width`"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_payload_that_does_not_fit_its_annotation_is_refused_with_its_path(
    queue: jobq.Queue, router: jobq.Router, case: str
) -> None:
    annotation, payload, reason = MISFITS[case]

    def fit(payload: Any) -> None: ...

    fit.__annotations__["payload"] = annotation
    handler: Any = router.handler("fit")(fit)
    with pytest.raises(jobq.PayloadError, match=reason) as caught:
        queue.enqueue(handler, payload)
    assert str(caught.value).startswith("payload of 'fit': ")
    assert_nothing_is_stored(queue)


# --- options of a call --------------------------------------------------------------------------

BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"run_at": NAIVE}, r"run_at=datetime\.datetime\(2040.*\) has no time zone; use datetime\.now"),
    ({"run_at": "tomorrow"}, "run_at must be a datetime, not 'tomorrow'"),
    ({"run_at": 5}, "run_at must be a datetime, not 5"),
    ({"run_at": LATER, "delay": 5}, "give run_at or delay, not both"),
    ({"delay": -1}, "delay=-1 is negative"),
    ({"delay": timedelta(seconds=-1)}, r"delay=datetime\.timedelta\(.*\) is negative"),
    ({"delay": "5"}, "delay must be seconds or a timedelta, not '5'"),
    ({"delay": True}, "delay must be seconds or a timedelta, not True"),
    ({"delay": math.nan}, "delay=nan is not a number of seconds that can be stored"),
    ({"delay": math.inf}, "delay=inf is not a number of seconds that can be stored"),
    ({"delay": 1e11}, r"delay=100000000000\.0 is not a number of seconds that can be stored"),
    ({"delay": timedelta.max}, r"delay=.* is not a number of seconds that can be stored"),
    ({"expires_at": NAIVE}, "expires_at=.* has no time zone"),
    ({"expires_at": 5}, "expires_at must be a datetime, not 5"),
    ({"priority": "high"}, "priority='high' must be 'urgent', 'normal', 'batch' or an integer"),
    ({"priority": 32768}, "priority=32768 must be .* an integer from -32768 to 32767"),
    ({"priority": -32769}, "priority=-32769 must be"),
    ({"priority": 1.5}, "priority=1.5 must be"),
    ({"priority": True}, "priority=True must be"),
    ({"queue": ""}, "queue must be text of 1 to 100 letters, not ''"),
    ({"queue": 5}, "queue must be text of 1 to 100 letters, not 5"),
    ({"queue": "q" * 101}, "queue must be text of 1 to 100 letters, not 'qqq"),
    ({"queue": "a\x00"}, r"queue='a\\x00' has a NUL or a lone surrogate in it"),
    ({"unique_key": ""}, "unique_key must be text of 1 to 500 letters, not ''"),
    ({"unique_key": 5}, "unique_key must be text of 1 to 500 letters, not 5"),
    ({"unique_key": "\ud800"}, "unique_key=.* has a NUL or a lone surrogate in it"),
    ({"owner": ""}, "owner must be text of 1 to 500 letters, not ''"),
    ({"owner": 7}, "owner must be text of 1 to 500 letters, not 7"),
    ({"max_attempts": 0}, "max_attempts=0 must be an integer from 1 to 10000"),
    ({"max_attempts": 10_001}, "max_attempts=10001 must be an integer from 1 to 10000"),
    ({"max_attempts": True}, "max_attempts=True must be an integer from 1 to 10000"),
    ({"max_attempts": "3"}, "max_attempts='3' must be an integer from 1 to 10000"),
    ({"timeout": 0}, "timeout=0 must be above 0; None is no timeout"),
    ({"timeout": -5}, "timeout=-5 must be above 0; None is no timeout"),
    ({"timeout": "5"}, "timeout must be seconds or a timedelta, not '5'"),
    ({"timeout": math.inf}, "timeout=inf is not a number of seconds that can be stored"),
    ({"keep": 0.5}, "keep=0.5 must be at least a second; False deletes at once"),
    ({"keep": "30 days"}, "keep must be seconds or a timedelta, not '30 days'"),
    ({"keep": timedelta.max}, "keep=.* is not a number of seconds that can be stored"),
    ({"keep": False, "owner": "me"}, "keep=False deletes the job when it completes, so its owner"),
    ({"metadata": [1]}, r"metadata must be a mapping, not \[1\]"),
    ({"metadata": "x"}, "metadata must be a mapping, not 'x'"),
    ({"metadata": {"a": "x" * 16 * KILOBYTE}}, "metadata takes 16392 bytes, more than the 16384"),
    (
        {"prio": 1},
        "unexpected keyword argument 'prio'; the options of enqueue are queue, priority,",
    ),
]


@pytest.mark.parametrize("options, reason", BAD_OPTIONS, ids=lambda value: str(value)[:40])
def test_a_bad_option_is_refused_by_name(
    queue: jobq.Queue, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(jobq.OptionError, match=reason) as caught:
        queue.enqueue("t", {}, **options)
    assert isinstance(caught.value, ValueError)
    assert_nothing_is_stored(queue)


@pytest.mark.parametrize(
    "metadata, reason",
    [
        ({"a": math.nan}, r"metadata: nan is not a JSON number \(at \$\.a\)"),
        ({"a": "\x00"}, r"metadata: text contains a NUL character.*\(at \$\.a\)"),
        ({1: 2}, r"metadata: the key 1 is an int; JSON keys are text"),
        ({"a": {1}}, r"metadata: \{1\} is a set, which JSON has not"),
    ],
)
def test_metadata_outside_json_is_refused(queue: jobq.Queue, metadata: dict, reason: str) -> None:
    with pytest.raises(jobq.PayloadError, match=reason):
        queue.enqueue("t", {}, metadata=metadata)
    assert_nothing_is_stored(queue)


@pytest.mark.parametrize("type", ["", "a\x00b", "x\ud800", None, 5, len, "t" * 201])
def test_a_type_is_a_handler_or_a_name(queue: jobq.Queue, type: Any) -> None:
    reason = r"a job's type is a handler or its name \(1 to 200 letters\), not "
    with pytest.raises(jobq.OptionError, match=reason):
        queue.enqueue(type, {})
    assert_nothing_is_stored(queue)


def test_session_and_connection_are_not_both_given(queue: jobq.Queue) -> None:
    with pytest.raises(jobq.OptionError, match="give session= or connection=, not both"):
        queue.enqueue("t", {}, session=object(), connection=object())
    with pytest.raises(jobq.OptionError, match="give session= or connection=, not both"):
        queue.enqueue_many([("t", {})], session=object(), connection=object())
    assert_nothing_is_stored(queue)


Verb = Callable[[jobq.Queue], Any]
SOME = "0190b2a4-7c1e-7000-8000-000000000000"
BAD_CALLS: dict[str, tuple[Verb, str]] = {
    "get": (lambda q: q.get("x"), r"'x' is not a job id \(a UUID\)"),
    "get None": (lambda q: q.get(None), r"None is not a job id \(a UUID\)"),
    "get_many": (lambda q: q.get_many([SOME, 5]), r"5 is not a job id \(a UUID\)"),
    "cancel": (lambda q: q.cancel("x"), r"'x' is not a job id"),
    "status": (lambda q: q.list(status="done"), "'done' is no status; the statuses are pending, "),
    "statuses": (lambda q: q.list(status=["failed", "done"]), "'done' is no status"),
    "limit 0": (lambda q: q.list(limit=0), "limit=0 must be from 1 to 1000; `after` leads to the"),
    "limit 1001": (lambda q: q.list(limit=1001), "limit=1001 must be from 1 to 1000"),
    "after": (lambda q: q.list(after="x"), r"'x' is not a job id"),
    "type filter": (lambda q: q.list(type=5), "type must be text .*, not 5"),
    "queue filter": (lambda q: q.counts(queue="a\x00"), "queue=.* has a NUL"),
    "owner filter": (lambda q: q.cancel_where(owner="\ud800"), "owner=.* has a NUL or a lone"),
    "days": (lambda q: q.cleanup_old_jobs(-1), "days=-1 must be a number from 0 to 100000"),
    "days as text": (lambda q: q.cleanup_old_jobs("30"), "days='30' must be a number from 0"),
    "until": (lambda q: q.pause("default", NAIVE), "until=.* has no time zone"),
    "pause": (lambda q: q.pause(""), "queue must be text of 1 to 100 letters, not ''"),
    "resume": (lambda q: q.resume(5), "queue must be text of 1 to 100 letters, not 5"),
    "reschedule": (lambda q: q.reschedule(SOME, run_at=NAIVE), "run_at=.* has no time zone"),
    "reschedule both": (lambda q: q.reschedule(SOME, run_at=LATER, delay=1), "not both"),
    "reschedule queue": (lambda q: q.reschedule(SOME, queue="\x00"), "queue=.* has a NUL"),
    "reschedule priority": (lambda q: q.reschedule(SOME, priority="x"), "priority='x' must be"),
    "set_status": (
        lambda q: q.set_status(SOME, "processing"),
        "set_status sets pending, completed, failed, cancelled; 'processing' is for workers alone",
    ),
    "set_status unknown": (lambda q: q.set_status(SOME, "done"), "'done' is no status"),
    "error": (lambda q: q.set_status(SOME, "failed", error=5), "error must be text.*, not 5"),
    "error_code": (lambda q: q.set_status(SOME, "failed", error_code="\x00"), "error_code=.* NUL"),
    "progress": (lambda q: q.set_progress(SOME, 101), "progress=101 must be an integer from 0 to"),
    "progress text": (lambda q: q.set_progress(SOME, "1"), "progress='1' must be an integer"),
    "message": (lambda q: q.set_progress(SOME, 1, 5), "message must be text.*, not 5"),
    "timeout": (lambda q: q.wait(SOME, "5"), "timeout must be seconds.*, not '5'"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_bad_argument_of_a_verb_is_refused_by_name(queue: jobq.Queue, case: str) -> None:
    call, reason = BAD_CALLS[case]
    with pytest.raises(jobq.OptionError, match=reason):
        call(queue)


@pytest.mark.parametrize(
    "result, reason",
    [({"a": {1}}, "is a set, which JSON has not"), ("x" * 1024 * KILOBYTE, "bytes of JSON are")],
)
def test_a_result_set_by_hand_is_held_to_the_same_rules(
    queue: jobq.Queue, result: Any, reason: str
) -> None:
    job = queue.enqueue("t", {})
    with pytest.raises(jobq.ResultError, match=reason):
        queue.set_status(job, "completed", result=result)
    assert queue.get(job) == job


def test_a_job_that_does_not_exist_is_not_found(queue: jobq.Queue) -> None:
    verbs: list[Verb] = [
        lambda q: q.get(SOME),
        lambda q: q.history(SOME),
        lambda q: q.wait(SOME, 0),
        lambda q: q.cancel(SOME),
        lambda q: q.retry(SOME),
        lambda q: q.reschedule(SOME, delay=1),
        lambda q: q.set_status(SOME, "failed"),
        lambda q: q.set_progress(SOME, 1),
        lambda q: q.delete(SOME),
    ]
    for verb in verbs:
        with pytest.raises(jobq.JobNotFound, match=f"no job has the id '{SOME}'") as caught:
            verb(queue)
        assert caught.value.job_id == SOME
        assert isinstance(caught.value, LookupError)


# --- where jobs live ----------------------------------------------------------------------------

BAD_URLS: list[tuple[Any, str]] = [
    (None, "the queue's URL must be text, not None"),
    (Path("jobs.db"), "the queue's URL must be text, not PosixPath"),
    ("", "'' is no database that jobq knows; use sqlite:///jobs.db or postgresql://"),
    ("jobs.db", "'jobs.db' is no database that jobq knows"),
    ("mysql://u:secret@h/d", r"'mysql://u:\*\*\*@h/d' is no database that jobq knows"),
    ("sqlite://", "'sqlite://' names no file; use sqlite:///jobs.db"),
    ("sqlite:///", "'sqlite:///' names no file"),
    ("sqlite://jobs.db", "'sqlite://jobs.db' names no file"),
    ("sqlite:///:memory:", "An in-memory database is private to one connection; jobq.testing has"),
    ("sqlite:///j.db?mode=memory", r"unknown options \['mode'\]"),
    ("sqlite:///j.db?synchronous=off", "synchronous='OFF' is none of"),
    ("sqlite:///j.db?patience=long", "patience in .* is not a number of seconds"),
    ("postgresql://h:port/d", "is no PostgreSQL URL"),
]


@pytest.mark.parametrize("face", [jobq.Queue, jobq.AsyncQueue])
@pytest.mark.parametrize("url, reason", BAD_URLS)
def test_a_url_that_cannot_be_used_is_refused(face: Any, url: Any, reason: str) -> None:
    with pytest.raises(jobq.ConfigurationError, match=reason) as caught:
        face(url)
    assert isinstance(caught.value, ValueError)


def test_what_only_the_driver_knows_of_a_url_is_refused_at_the_first_use() -> None:
    queue = jobq.Queue("postgresql://h/d?nonsense=1")
    with pytest.raises(jobq.ConfigurationError, match=r"is no PostgreSQL URL: .*nonsense"):
        queue.get("019f9b9d-9b9d-7000-8000-000000000000")


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(jobq.ConfigurationError, match=r"the folder '.*/nowhere' of '.*' does not"):
        jobq.Queue(f"sqlite:///{tmp_path}/nowhere/jobs.db").enqueue("t", {})


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("this is no database, it is a text file" * 100)
    with pytest.raises(jobq.BackendError, match="file is not a database"):
        jobq.Queue(f"sqlite:///{tmp_path}/jobs.db").enqueue("t", {})


def test_an_unknown_option_of_a_queue_is_refused(url: str) -> None:
    with pytest.raises(jobq.ConfigurationError, match="pool"):
        jobq.Queue(url, pool=5)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"keep": -1}, "Queue: keep=-1 must be at least a second; False deletes at once"),
        ({"keep": "30 days"}, "Queue: keep must be seconds or a timedelta, not '30 days'"),
        ({"lifespan": 5}, "Queue: lifespan must be"),
        ({"router": {}}, "Queue: router must be a Router, not {}"),
        ({"bounds": 5}, "Queue: bounds must be"),
    ],
)
def test_a_bad_option_of_a_queue_is_refused(url: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(jobq.ConfigurationError, match=reason):
        jobq.Queue(url, **options)


def test_bounds_are_numbers_of_bytes() -> None:
    with pytest.raises(jobq.ConfigurationError, match=r"Bounds\(payload=0\) must be a number of"):
        jobq.Bounds(payload=0)


# --- the schema ---------------------------------------------------------------------------------


@pytest.fixture
def bare_postgres(postgres: str) -> Iterator[str]:
    """A PostgreSQL database, or what looks like one, that jobq was never installed in."""
    import psycopg

    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA bare")
        yield f"{postgres}{'&' if '?' in postgres else '?'}options=-csearch_path%3Dbare"
        connection.execute("DROP SCHEMA bare CASCADE")


MISSING = (
    "jobq's schema is not installed in this database, and this jobq needs 1: "
    "run `jobq migrate`, or queue.migrate() in code"
)
TOO_NEW = (
    "this database has jobq's schema 3, which needs a jobq that knows schema 2 or newer; "
    "this one knows 1: upgrade jobq"
)


async def test_a_missing_schema_names_the_command_that_installs_it(bare_postgres: str) -> None:
    async with jobq.AsyncQueue(bare_postgres) as aqueue:
        with pytest.raises(jobq.SchemaError) as caught:
            await aqueue.enqueue("t", {})
        assert str(caught.value) == MISSING


def test_migrate_installs_the_schema_once(bare_postgres: str) -> None:
    with jobq.Queue(bare_postgres) as queue:
        with pytest.raises(jobq.SchemaError) as caught:
            queue.enqueue("t", {})
        assert str(caught.value) == MISSING
        assert queue.migrate() == [1]
        assert queue.migrate() == []
        assert queue.enqueue("t", {}).created


def test_a_schema_that_is_too_new_is_refused(bare_postgres: str, sqlite: str) -> None:
    for url in (bare_postgres, sqlite):
        with jobq.Queue(url) as queue:
            queue.migrate()
            add = "INSERT INTO jobq_schema (version, compatible_from) VALUES"
            sql(queue, f"{add} (2, 1), (3, 2)")
        with jobq.Queue(url) as queue, pytest.raises(jobq.SchemaError) as caught:
            queue.enqueue("t", {})
        assert str(caught.value) == TOO_NEW


def test_a_newer_schema_that_is_compatible_is_used(bare_postgres: str, sqlite: str) -> None:
    for url in (bare_postgres, sqlite):
        with jobq.Queue(url) as queue:
            queue.migrate()
            sql(queue, "INSERT INTO jobq_schema (version, compatible_from) VALUES (2, 1)")
        with jobq.Queue(url) as queue:
            assert queue.enqueue("t", {}).created


def test_a_server_that_cannot_be_reached_is_unavailable_and_says_why() -> None:
    nowhere = "postgresql://user:secret-word@127.0.0.1:1/nowhere"
    with (
        jobq.Queue(nowhere, patience=0.2) as queue,
        pytest.raises(jobq.BackendUnavailable, match=r"PostgreSQL: .*refused") as caught,
    ):
        queue.enqueue("t", {})
    assert "secret-word" not in str(caught.value)


# --- handlers and workers -----------------------------------------------------------------------


def wants_the_wrong_context(payload: dict, job: jobq.JobContext) -> None: ...
async def wants_the_wrong_async_context(payload: dict, job: jobq.SyncJobContext) -> None: ...
def wants_too_much(payload: dict, job: jobq.SyncJobContext, other: int) -> None: ...
def wants_a_keyword(payload: dict, *, size: int) -> None: ...
def yields(payload: dict) -> Iterator[int]:
    yield 1


BAD_HANDLERS: list[tuple[Any, str]] = [
    (
        wants_the_wrong_context,
        "handler 'h': def takes a SyncJobContext, but 'job' is annotated Job",
    ),
    (wants_the_wrong_async_context, "handler 'h': async def takes a JobContext, but 'job' is"),
    (wants_too_much, "handler 'h': does not know what to pass as 'other'"),
    (wants_a_keyword, "handler 'h': 'size' is keyword-only"),
    (yields, "handler 'h': a generator cannot be a handler"),
    (5, "handler 'h': 5 is no function"),
]


@pytest.mark.parametrize("function, reason", BAD_HANDLERS)
def test_a_function_that_cannot_be_a_handler_is_refused_at_its_declaration(
    router: jobq.Router, function: Any, reason: str
) -> None:
    with pytest.raises(jobq.HandlerError, match=reason) as caught:
        router.handler("h")(function)
    assert isinstance(caught.value, TypeError)
    assert router.types == []


def test_a_payload_type_that_jobq_cannot_read_is_refused_at_its_declaration(
    router: jobq.Router,
) -> None:
    def handle(payload: jobq.Queue) -> None: ...

    with pytest.raises(
        jobq.HandlerError, match=r"(?s)cannot be a payload type.*Use dict, dataclass, attrs"
    ):
        router.handler("h")(handle)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"priority": "high"}, "handler 'h': priority='high' must be"),
        ({"timeout": 0}, "handler 'h': timeout=0 must be above 0"),
        ({"keep": -1}, "handler 'h': keep=-1 must be at least a second"),
        ({"queue": ""}, "handler 'h': queue must be text of 1 to 100 letters, not ''"),
        ({"retry": 3}, "handler 'h': retry must be a Retry, not 3"),
    ],
)
def test_a_bad_option_of_a_handler_is_refused_at_its_declaration(
    router: jobq.Router, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(jobq.ConfigurationError, match=reason):
        router.handler("h", **options)


def test_a_type_has_one_handler(router: jobq.Router, known: jobq.Handler[dict, dict]) -> None:
    with pytest.raises(jobq.ConfigurationError, match="type 'work' has a handler already: "):

        @router.handler("work")
        def another(payload: dict) -> None: ...


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"concurrency": 0}, r"Worker\(concurrency=0\) must be"),
        ({"concurrency": -1}, r"Worker\(concurrency=-1\) must be"),
        ({"concurrency": 1.5}, r"Worker\(concurrency=1.5\) must be"),
        ({"concurrency": True}, r"Worker\(concurrency=True\) must be"),
        ({"threads": -1}, r"Worker\(threads=-1\) must be"),
        ({"threads": "2"}, r"Worker\(threads='2'\) must be"),
        ({"lease": 0}, r"Worker\(lease=0\) must be above 0"),
        ({"lease": math.nan}, r"Worker\(lease=nan\) must be above 0"),
        ({"grace": -1}, r"Worker\(grace=-1\) must be"),
        ({"grace": "8"}, r"Worker\(grace='8'\) must be"),
        ({"queues": "images"}, "queues='images' must be a list of names"),
        ({"queues": [5]}, r"queues=\[5\] must be a list of names"),
        ({"queues": []}, r"queues=\[\] must be a list of names"),
    ],
)
def test_a_bad_option_of_a_worker_is_refused(
    sqlite: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(jobq.ConfigurationError, match=reason):
        jobq.Worker(jobq.Queue(sqlite), **options)


async def test_a_worker_without_handlers_says_what_is_missing(aqueue: jobq.AsyncQueue) -> None:
    with pytest.raises(jobq.ConfigurationError, match="this worker has no handlers: import the"):
        await jobq.Worker(aqueue).run_once()


def test_a_worker_needs_the_schema_too(bare_postgres: str, known: jobq.Handler[dict, dict]) -> None:
    import asyncio

    async def work() -> None:
        router = jobq.Router()
        router.handler("t")(lambda payload: None)
        await jobq.Worker(jobq.AsyncQueue(bare_postgres, router=router)).run_once()

    with pytest.raises(jobq.SchemaError, match="run `jobq migrate`"):
        asyncio.run(work())


async def test_text_that_is_no_json_is_shown_as_it_is_and_fails_when_it_is_its_turn(
    sqlite: str, router: jobq.Router, known: jobq.Handler[dict, dict]
) -> None:
    async with jobq.AsyncQueue(sqlite, router=router) as aqueue:
        with jobq.Queue(sqlite) as queue:  # PostgreSQL's own type refuses such text
            sql(queue, "INSERT INTO jobq_job (type, payload) VALUES ('work', '{not json')")
        (job,) = (await aqueue.list()).jobs
        assert job.payload == "{not json"
        assert await jobq.Worker(aqueue).run_once() == 0
        failed = await aqueue.get(job.id)
    assert (failed.status, failed.error_code) == ("failed", "invalid_payload")
    assert (failed.error or "").startswith("payload of 'work': not JSON: ")
