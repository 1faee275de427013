"""Whatever text a parser is given, it answers, or refuses with its own error."""

from __future__ import annotations

import contextlib
import io
import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import BaseModel

import jobq
from jobq._classify import bodies, waits
from jobq._classify.answers import judge
from jobq._classify.evidence import Evidence
from jobq._clock import from_datetime, to_datetime, to_span
from jobq._limits.declared import from_spec
from jobq._limits.lanes import Lane, wanted
from jobq._limits.templates import check_template, fields_of, fill
from jobq._model import job_id, statuses
from jobq._payload import Codec, encode_json, encode_result
from jobq._settings import Settings
from jobq.cli import _change, _options, main
from jobq.cli._app import load_queue
from jobq.cli._parser import build_parser

NOW = 1_793_000_000.0
HUGE = "9" * 5000
"""More digits than Python reads as an integer."""

ODD = "nan inf -inf 1e999 1e308 4.9e-324 -0 ٣ 1_0 0x1 - . +"

texts = st.text(st.characters(), max_size=60)
numbers = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.decimals().map(str),
    st.sampled_from([HUGE, f"-{HUGE}", "", *ODD.split()]),
)
amounts = st.builds("{}{}{}".format, numbers, st.sampled_from(["", " "]), st.sampled_from("smhd"))
dates = st.one_of(
    st.datetimes().map(datetime.isoformat),
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    st.datetimes().map(lambda moment: f"{moment:%a, %d %b %Y %H:%M:%S} GMT"),
    st.sampled_from(
        [
            "Mon, 02 Nov 99999 08:00:00 GMT",
            "Mon, 02 Nov 0000 08:00:00 GMT",
            "Mon, 02 Nov 2026 08:00:00 +9999999999",
            "Mon, 02 Nov 2026 08:00:00 -2400",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "9999-12-31T24:00:00",
            "2026-W53-7T25:61:61",
        ]
    ),
)
said = texts | numbers | amounts | dates


def attempt(kind: type[Exception], call: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    """What a call returned, or the error of this kind that it raised; any other goes through."""
    try:
        return call(*args, **kw), None
    except kind as error:
        return None, error


def is_a_wait(seconds: float | None) -> bool:
    return seconds is None or (
        isinstance(seconds, float) and waits.SHORTEST <= seconds <= waits.LONGEST
    )


# --- how long a provider asks to wait -----------------------------------------------------------

WAITS = [
    "retry-after", "retry-after-ms", "date", "x-ratelimit-remaining", "x-ratelimit-reset",
    "ratelimit-remaining", "ratelimit-reset", "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
]  # fmt: skip
headers = st.dictionaries(st.sampled_from(WAITS) | texts, said | st.just("0"), max_size=6)
instants = st.floats(min_value=0, max_value=1e11)


@given(headers, texts, instants, st.sampled_from([None, 200, 400, 402, 429, 500, 503]))
def test_any_headers_ask_for_a_wait_within_bounds_or_for_none(headers, text, now, status):
    failure = judge(Evidence(status=status, headers=headers, text=text), now)
    assert is_a_wait(failure.retry_after)


@given(headers, instants | st.none())
def test_what_is_used_up_opens_within_bounds(headers, now):
    assert is_a_wait(waits.used_up_for(headers, now))


@given(said)
@example("1" * 300 + "." + "9" * 30)
def test_a_number_or_duration_is_finite_or_none(text):
    for seconds in (waits.number(text), waits.duration(text)):
        assert seconds is None or math.isfinite(seconds)
    assert (waits.duration(text) or 0.0) >= 0


beginnings = st.sampled_from(["retry in ", "again after ~", "retryDelay: '"])


@given(st.lists(beginnings | said).map("".join))
def test_sentences_ask_for_finite_waits(text):
    asked = [*waits.in_sentences(text), *waits.in_retry_info(text)]
    assert all(math.isfinite(seconds) and seconds >= 0 for seconds in asked)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | said | st.binary(max_size=60),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                texts | st.sampled_from(["error", "retryDelay", "retry_after", "seconds", "code"]),
                inner,
                max_size=4,
            )
            | inner.map(lambda value: msgspec.json.encode(str(value)).decode(errors="replace"))
        ),
        max_leaves=12,
    )
)
def test_any_body_is_read(value):
    body = bodies.read([value])
    waited = [*body.retry_after, *body.retry_info]
    assert all(math.isfinite(seconds) and abs(seconds) <= 1e9 for seconds in waited)
    assert all(len(code) <= 80 for code in body.codes)


# --- payloads -----------------------------------------------------------------------------------


class Size(BaseModel):
    width: int
    names: list[str] = []


class Box(msgspec.Struct):
    size: dict[str, float]
    inner: list[Any] = []


CODECS = [Codec(type_name="t"), Codec(Size), Codec(Box), Codec(list[int]), Codec(str)]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=16,
)
json_texts = st.one_of(
    texts,
    st.text('[]{}",:0123456789.eE+-truefalsn\\ ud8', max_size=40),
    json_values.map(repr),
    st.sampled_from(
        [
            "[" * 100_000,
            '{"a":' * 100_000,
            "[" * 2000 + "]" * 2000,
            HUGE,
            f"-{HUGE}",
            f"[1e{HUGE}]",
            f'{{"width": {HUGE}}}',
            '"\\ud800"',
            '{"\\udfff\\ud800": 1}',
            '"\\u0000"',
            "\ufeff{}",
            '{"a":1,"a":2}',
            "NaN",
            "[Infinity]",
            "1" * 19 + ".5e-400",
        ]
    ),
)


@pytest.mark.parametrize("codec", CODECS)
@given(text=json_texts)
def test_any_stored_text_is_a_payload_or_a_payload_error(codec, text):
    _, error = attempt(jobq.PayloadError, codec.decode, text)
    assert error is None or error.path.startswith("$")


any_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=8)
    | st.complex_numbers() | st.decimals() | st.datetimes() | st.uuids()
    | st.sampled_from([object(), int, print, ..., Size(width=1)])
    | st.sampled_from([5000, -5000]).map(lambda digits: 10 ** abs(digits) * (digits // 5000)),
    lambda inner: st.lists(inner, max_size=4)
    | st.tuples(inner)
    | st.dictionaries(texts | st.integers() | st.none(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("codec", CODECS)
@given(value=any_values)
def test_any_value_is_a_payload_that_comes_back_or_a_payload_error(codec, value):
    text, error = attempt(jobq.PayloadError, codec.encode, value)
    if error is not None:
        assert error.path.startswith("$")
    else:
        assert codec.encode(codec.decode(text)) == text
        assert "\x00" not in text
        assert text.encode()


@given(any_values)
def test_any_value_is_a_result_or_metadata_or_refused(value):
    with contextlib.suppress(jobq.ResultError):
        encode_result(value, limit=100)
    with contextlib.suppress(jobq.PayloadError):
        encode_json(value, what="metadata")


@pytest.mark.parametrize("depth", [99, 101, 5_000, 200_000])
def test_deep_values_are_stored_or_refused(depth):
    value: Any = 1
    for _ in range(depth):
        value = [value]
    for codec in CODECS:
        with contextlib.suppress(jobq.PayloadError):
            codec.encode({"size": {}, "inner": value})
        with contextlib.suppress(jobq.PayloadError):
            codec.encode(value)
    with contextlib.suppress(jobq.ResultError):
        encode_result(value)
    while isinstance(value, list):  # not by recursion, as the garbage collector would
        value = value[0]


# --- a queue's URL ------------------------------------------------------------------------------

SECRET = "hunter2hunter2"
urls = st.one_of(
    texts,
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(["sqlite", "postgresql", "postgres", "postgresql+psycopg", "mysql", ""]),
        st.sampled_from(["://", ":///", ":", "", "://[", "://u:p@"]),
        st.text("abc/:@?#[]%&=+ .,\\\"'\x00\n\ud8000123456789", max_size=20),
        st.sampled_from(["", "/jobs", "?patience=", "?synchronous=normal", "&password=", "?a=b"]),
        numbers,
    ),
)


def constructed(url: Any, **options: Any) -> None:
    """A queue of this URL, as far as that goes without connecting."""
    queue = jobq.Queue(url, **options)
    assert queue._config.backend.identity
    assert repr(queue)


@given(urls)
def test_any_text_is_a_queues_url_or_a_configuration_error(url):
    with contextlib.suppress(jobq.ConfigurationError):
        constructed(url)


@given(st.one_of(st.none(), st.integers(), st.binary(), urls))
def test_anything_is_a_second_url_or_a_configuration_error(url):
    with contextlib.suppress(jobq.ConfigurationError):
        constructed("postgresql://host/db", listen_url=url)
    with contextlib.suppress(jobq.ConfigurationError):
        constructed(url)


around = st.text("ab/:@?#[]%&=+ .,\\\"'\n\t\x00é\uff03", max_size=8)


@given(
    st.sampled_from(["sqlite", "postgresql", "postgres", "postgresql+psycopg", "mysql", "", "x y"]),
    st.sampled_from(["://", ":///", "://ada", ":"]),
    around,
    around,
    st.sampled_from(["host/db", "host:x/db", "h:1,i:2/db", "[::1/db", "h/d?x=%zz", "h/d?nope=1"]),
)
def test_no_refusal_of_a_url_shows_its_password(scheme, mark, before, after, rest):
    assume((scheme, mark) != ("sqlite", ":///"))  # that is a file's path, with no password
    url = f"{scheme}{mark}:{before}{SECRET}{after}@{rest}"
    _, error = attempt(jobq.ConfigurationError, constructed, url)
    assert SECRET not in str(error)
    assert error is None or error.__suppress_context__ or error.__context__ is None
    _, error = attempt(jobq.ConfigurationError, constructed, "postgresql://host/db", listen_url=url)
    assert SECRET not in str(error)


@pytest.mark.parametrize("options", [{"pool_size": 0}, {"pool_size": "4"}, {"patience": math.nan}])
def test_an_option_of_postgresql_that_cannot_be_is_refused(options):
    with pytest.raises(jobq.ConfigurationError, match=next(iter(options))):
        jobq.Queue("postgresql://host/db", **options)


def test_several_hosts_may_have_ports():
    constructed("postgresql://ada:pw@a:1,b:2,[::1]:3/db?target_session_attrs=read-write")


# --- settings -----------------------------------------------------------------------------------

VARIABLES = [
    "JOBQ_DATABASE_URL", "DATABASE_URL", "JOBQ_APP", "JOBQ_QUEUES", "JOBQ_CONCURRENCY",
    "WORKER_CONCURRENCY", "JOBQ_WORKER_ID", "WORKER_ID", "JOBQ_PORT", "PORT", "JOBQ_LEASE",
    "JOBQ_GRACE", "MAX_JOBS_PER_SECOND", "JOBQ_LOG_LEVEL",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(VARIABLES), said, max_size=8))
def test_any_environment_is_settings_or_a_configuration_error(environ):
    settings, error = attempt(jobq.ConfigurationError, Settings.from_environment, environ)
    if error is not None:
        assert any(name in str(error) for name in environ)
    else:
        spans = (settings.lease, settings.grace, settings.jobs_per_second)
        assert all(seconds is None or math.isfinite(seconds) for seconds in spans)
        assert repr(settings)


@given(said)
def test_any_text_names_an_app_or_a_configuration_error(spec):
    with contextlib.suppress(jobq.ConfigurationError):
        load_queue(f"{spec}:queue" if spec.strip() not in {"", "."} else ":queue")


# --- the command line ---------------------------------------------------------------------------

PARSERS = [
    _options.name_list, _options.status_list, _options.id_of_job, _options.priority,
    _options.instant, _options.seconds, _options.days, _options.count, _options.port,
]  # fmt: skip


@pytest.mark.parametrize("parse", PARSERS)
@given(text=said)
def test_any_argument_is_understood_or_refused(parse, text):
    with contextlib.suppress(ArgumentTypeError, ValueError):  # what argparse makes a refusal of
        value = parse(text)
        if isinstance(value, float):
            assert 0 <= value < math.inf
        elif isinstance(value, datetime):
            assert value.utcoffset() is not None


@given(json_texts)
def test_any_json_argument_is_understood_or_refused(text):
    with contextlib.suppress(jobq.OptionError):
        _change._json(text, "the payload")


COMMANDS = [
    "worker", "migrate", "status", "cleanup", "pause", "resume", "list", "show", "why", "enqueue",
    "retry", "cancel", "delete", "reschedule", "limits", "--help", "--version",
]  # fmt: skip
words = said.filter(lambda text: "\x00" not in text) | st.sampled_from(
    [*COMMANDS, "--json", "--url", "--app", "--at", "--status", "--limit", "--after", "--days"]
)


@given(st.lists(words, max_size=6))
def test_any_command_line_is_parsed_or_refused_with_usage(argv):
    with contextlib.suppress(SystemExit):
        assert callable(build_parser().parse_args(argv).run)


on_a_queue = st.sampled_from(
    [
        ("cleanup", "--days"),
        ("list", "--limit"),
        ("list", "--after"),
        ("list", "--status"),
        ("list", "--owner"),
        ("pause", "q", "--until"),
        ("enqueue", "t", "{}", "--at"),
        ("enqueue", "t", "{}", "--delay"),
        ("enqueue", "t", "{}", "--timeout"),
        ("enqueue", "t", "{}", "--keep"),
        ("enqueue", "t", "{}", "--expires-at"),
        ("enqueue", "t", "{}", "--max-attempts"),
        ("enqueue", "t", "{}", "--priority"),
        ("enqueue", "t", "{}", "--queue"),
        ("enqueue", "t", "{}", "--unique-key"),
        ("enqueue", "t", "{}", "--metadata"),
        ("enqueue", "t"),
        ("enqueue",),
        ("show",),
    ]
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('fuzz') / 'jobs.db'}"


@given(command=on_a_queue, value=said | json_texts)
@example(command=("enqueue", "t", "{}", "--at"), value="0001-01-01T00:00:00+14:00")
@example(command=("enqueue", "t", "{}", "--expires-at"), value="9999-12-31T23:59:59-14:00")
@example(command=("enqueue", "t"), value="-")
@example(command=("pause", "q", "--until"), value="9999-12-31T23:59:59-14:00")
def test_any_value_of_a_command_is_used_or_refused_with_an_exit_code(file, command, value):
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO("{}"))
            code = main([*command, value, "--url", file, "--json"])
    except SystemExit as exit:  # argparse's way
        code = int(exit.code or 0)
    assert code in {0, 1, 2}


def test_nothing_that_a_command_line_stored_keeps_jobs_from_being_listed(file):
    with jobq.Queue(file) as queue:
        queue.enqueue("t", {})
        assert queue.list().jobs
        assert queue.queues()


# --- options, cursors, limits -------------------------------------------------------------------


@given(st.datetimes(timezones=st.timezones() | st.just(UTC)))
def test_an_instant_that_is_taken_can_be_read_again(moment):
    with contextlib.suppress(jobq.OptionError):
        instant = from_datetime(moment, name="run_at")
        assert from_datetime(to_datetime(instant), name="run_at") == instant


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_any_stored_instant_can_be_read(microseconds):
    assert to_datetime(microseconds).tzinfo is UTC


@given(st.integers() | st.floats() | st.timedeltas() | texts | st.none() | st.booleans())
def test_any_span_can_be_stored_or_is_refused(value):
    with contextlib.suppress(jobq.OptionError):
        span = to_span(value, name="delay")
        assert -(2**63) <= NOW * 1_000_000 + span < 2**63


@given(said | st.integers() | st.binary() | st.none() | st.uuids())
def test_any_cursor_is_an_id_or_an_option_error(file, value):
    with contextlib.suppress(jobq.OptionError):
        assert len(job_id(value)) == 36
    with contextlib.suppress(jobq.OptionError), jobq.Queue(file) as queue:
        assert queue.list(after=value, limit=3).jobs is not None


@given(st.none() | said | st.lists(said | st.sampled_from(list(jobq.JobStatus))))
def test_any_statuses_are_known_or_an_option_error(value):
    with contextlib.suppress(jobq.OptionError):
        found = statuses(value)
        assert found is None or set(found) <= {status.value for status in jobq.JobStatus}


templates = texts | st.text("{}.!:[]@abowner0 \n\x00", max_size=30)


@given(templates, st.dictionaries(texts, json_values, max_size=3), texts)
def test_any_text_is_a_limits_key_or_a_configuration_error(template, payload, owner):
    try:
        check_template(template)
    except jobq.ConfigurationError:
        return
    assert fields_of(template) is not None
    values = {"owner": owner, "type": "t", "queue": "q", "payload": payload, "metadata": payload}
    with contextlib.suppress(jobq.OptionError):
        filled = fill(template, values)
        assert 0 < len(filled) <= 200
        assert filled.isprintable()
    with contextlib.suppress(jobq.OptionError):
        lane = wanted([jobq.RateLimit(template, 5, per=1)], values).lane
        assert lane is not None
        assert Lane.parse(lane) is not None


@given(texts | json_texts | json_values.map(str))
def test_any_stored_lane_is_a_lane_or_none(text):
    lane = Lane.parse(text)
    assert lane is None or Lane.parse(lane.text) == lane


@given(texts, json_values)
def test_any_stored_limit_is_a_limit_or_none(key, spec):
    values = spec if isinstance(spec, dict) else {"kind": "rate", "n": spec, "per": spec}
    limit = from_spec(key, values)
    assert limit is None or limit.effective_rate >= 0


@given(
    st.sampled_from(["rate", "quota", "concurrency"]),
    st.dictionaries(
        st.sampled_from(["n", "per", "max_cost", "headroom", "raw", "tz", "while_waiting"]),
        json_values | st.integers(1, 100) | st.just("UTC"),
    ),
)
def test_any_stored_numbers_make_a_limit_or_none(kind, numbers):
    limit = from_spec("k", {"kind": kind, **numbers})
    assert limit is None or limit.describe()
