"""Exceptions are classified by their shape, which `shapes` makes by hand.

`nox -s sdks` checks the same against the SDKs themselves.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import tarfile
import types
from http import HTTPStatus
from urllib.error import URLError

import pytest

import jobq
from jobq._classify.classifier import Classifier, classify
from jobq._classify.classifier import classifier as default_classifier
from jobq._classify.failure import Failure, FailureKind
from tests.unit.shapes import (
    DATE,
    NOW,
    Grpc,
    K,
    aiohttp,
    anthropic,
    botocore,
    busy,
    error_info,
    fal,
    gemini,
    google_api_core,
    httpx,
    openai,
    protobuf,
    quota,
    raised,
    replicate,
    retry_info,
    shape,
    urllib,
)

MINUTE, DAY = "GenerateRequestsPerMinutePerModel", "GenerateRequestsPerDayPerModel-FreeTier"

ANSWERS: list[tuple[str, Exception, Failure]] = [
    # Gemini
    (
        "gemini's delay is cut to whole seconds, so one is added",
        gemini(429, "RESOURCE_EXHAUSTED", "", quota(MINUTE), retry_info("53s")),
        Failure(kind="rate_limited", retry_after=54, code="RESOURCE_EXHAUSTED", status=429),
    ),
    (
        "gemini's body in a list",
        gemini(429, "RESOURCE_EXHAUSTED", "", retry_info("1m3s"), listed=True),
        Failure(kind="rate_limited", retry_after=64, code="RESOURCE_EXHAUSTED", status=429),
    ),
    (
        "gemini's delay as a message",
        gemini(429, "RESOURCE_EXHAUSTED", "", retry_info({"seconds": 7, "nanos": 5})),
        Failure(kind="rate_limited", retry_after=8, code="RESOURCE_EXHAUSTED", status=429),
    ),
    (
        "the longest of gemini's waits",
        gemini(429, "RESOURCE_EXHAUSTED", "Please retry in 58.5s.", retry_info("53s")),
        Failure(kind="rate_limited", retry_after=58.5, code="RESOURCE_EXHAUSTED", status=429),
    ),
    (
        "gemini's used-up day, with the seconds of a minute",
        gemini(429, "RESOURCE_EXHAUSTED", "", quota(MINUTE, DAY), retry_info("21s")),
        Failure(kind="rate_limited", per_day=True, code="RESOURCE_EXHAUSTED", status=429),
    ),
    (
        "gemini's used-up day, with a wait that may be its own",
        gemini(429, "RESOURCE_EXHAUSTED", "", quota(DAY), retry_info("41400s")),
        Failure(
            kind="rate_limited",
            per_day=True,
            retry_after=41_401,
            code="RESOURCE_EXHAUSTED",
            status=429,
        ),
    ),
    (
        "a quota of zero",
        gemini(429, "RESOURCE_EXHAUSTED", "", quota(DAY, quotaValue="0")),
        Failure(kind="quota_exhausted", code="RESOURCE_EXHAUSTED", status=429),
    ),
    (
        "a quota of zero, in words",
        gemini(429, "RESOURCE_EXHAUSTED", "* Quota exceeded for metric: m, limit: 0, model: i"),
        Failure(kind="quota_exhausted", code="RESOURCE_EXHAUSTED", status=429),
    ),
    (
        "no credit left at gemini",
        gemini(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
        Failure(kind="quota_exhausted", code="RESOURCE_EXHAUSTED", status=429),
    ),
    (
        "gemini overloaded",
        gemini(503, "UNAVAILABLE", "The model is overloaded."),
        Failure(kind="overloaded", code="UNAVAILABLE", status=503),
    ),
    (
        "no capacity for the model",
        gemini(429, "RESOURCE_EXHAUSTED", "", error_info("MODEL_CAPACITY_EXHAUSTED")),
        Failure(kind="overloaded", code="MODEL_CAPACITY_EXHAUSTED", status=429),
    ),
    (
        "gemini gave up in the middle of the work",
        gemini(503, "UNAVAILABLE", "Deadline expired before operation could complete."),
        Failure(kind="ambiguous", code="UNAVAILABLE", status=503),
    ),
    (
        "gemini's key",
        gemini(400, "INVALID_ARGUMENT", "", error_info("API_KEY_INVALID")),
        Failure(kind="permanent", code="API_KEY_INVALID", status=400, credentials=True),
    ),
    (
        "gemini's bad request",
        gemini(400, "INVALID_ARGUMENT"),
        Failure(kind="permanent", code="INVALID_ARGUMENT", status=400),
    ),
    # OpenAI
    (
        "openai's retry-after in milliseconds",
        openai(429, "rate_limit_exceeded", retry_after="20", retry_after_ms="20500"),
        Failure(kind="rate_limited", retry_after=20.5, code="rate_limit_exceeded", status=429),
    ),
    (
        "openai's reset, where nothing remains",
        openai(
            429,
            "rate_limit_exceeded",
            x_ratelimit_remaining_requests="0",
            x_ratelimit_reset_requests="6m0s",
            x_ratelimit_remaining_tokens="100",
            x_ratelimit_reset_tokens="1h",
        ),
        Failure(
            kind="rate_limited",
            retry_after=360,
            code="rate_limit_exceeded",
            status=429,
            remaining_zero=True,
        ),
    ),
    (
        "openai's sentence",
        openai(429, "rate_limit_exceeded", message="Please try again in 7m12s. Visit us."),
        Failure(kind="rate_limited", retry_after=432, code="rate_limit_exceeded", status=429),
    ),
    (
        "a rolling day, whose wait is its own",
        openai(429, "rate_limit_exceeded", message="on requests per day (RPD). Try again in 9m."),
        Failure(
            kind="rate_limited",
            retry_after=540,
            per_day=True,
            code="rate_limit_exceeded",
            status=429,
        ),
    ),
    (
        "a request above the limit itself",
        openai(429, "rate_limit_exceeded", message="Request too large: Limit 3, Requested 4."),
        Failure(kind="permanent", code="request_too_large", status=429),
    ),
    (
        "no credit left at openai",
        openai(429, "credit_balance_exhausted", "insufficient_quota"),
        Failure(kind="quota_exhausted", code="credit_balance_exhausted", status=429),
    ),
    (
        "no credit left, told by the type alone",
        openai(429, None, "insufficient_quota"),
        Failure(kind="quota_exhausted", code="insufficient_quota", status=429),
    ),
    (
        "openai's billing limit comes as a bad request",
        openai(400, "billing_hard_limit_reached"),
        Failure(kind="quota_exhausted", code="billing_hard_limit_reached", status=400),
    ),
    (
        "openai's 500",
        openai(500, None, "server_error"),
        Failure(kind="transient", code="server_error", status=500),
    ),
    (
        "a 500 that asks not to be retried",
        openai(500, None, "server_error", x_should_retry="false"),
        Failure(kind="permanent", code="server_error", status=500),
    ),
    (
        "a 400 that asks to be retried",
        openai(400, None, "invalid_request_error", x_should_retry="true"),
        Failure(kind="transient", code="invalid_request_error", status=400),
    ),
    (
        "openai's key",
        openai(401, "invalid_api_key"),
        Failure(kind="permanent", code="invalid_api_key", status=401, credentials=True),
    ),
    (
        "a stream of openai's that broke off, without a status",
        shape("APIError", body={"code": "rate_limit_exceeded", "message": "Try again in 2s"}),
        Failure(kind="rate_limited", retry_after=2, code="rate_limit_exceeded"),
    ),
    (
        "azure's sentence",
        openai(429, "429", message="Please retry after 86400 seconds."),
        Failure(kind="rate_limited", retry_after=86_400, code="requests", status=429),
    ),
    # Anthropic
    (
        "anthropic's retry-after",
        anthropic(429, "rate_limit_error", retry_after="30"),
        Failure(kind="rate_limited", retry_after=30, code="rate_limit_error", status=429),
    ),
    (
        "anthropic's reset, where nothing remains",
        anthropic(
            429,
            "rate_limit_error",
            date=DATE,
            anthropic_ratelimit_tokens_remaining="0",
            anthropic_ratelimit_tokens_reset="2026-11-02T08:00:25Z",
        ),
        Failure(
            kind="rate_limited",
            retry_after=25,
            code="rate_limit_error",
            status=429,
            remaining_zero=True,
        ),
    ),
    (
        "anthropic's ramp",
        anthropic(429, "rate_limit_error", "ramp_limit_exceeded", retry_after="12"),
        Failure(kind="rate_limited", retry_after=12, code="ramp_limit_exceeded", status=429),
    ),
    *(
        (
            f"anthropic's {code}",
            anthropic(status, type, code),
            Failure(kind="quota_exhausted", code=code, status=status),
        )
        for status, type, code in (
            (429, "rate_limit_error", "enforced_spend_limit_reached"),
            (429, "rate_limit_error", "contract_spend_limit_reached"),
            (402, "billing_error", "linked_organization_spend_limit_reached"),
        )
    ),
    (
        "no credit left at anthropic comes as a bad request",
        shape(
            "BadRequestError",
            status_code=400,
            body={
                "error": {
                    "type": "invalid_request_error",
                    "message": "Your credit balance is too low to access the API.",
                }
            },
        ),
        Failure(kind="quota_exhausted", code="invalid_request_error", status=400),
    ),
    (
        "anthropic overloaded",
        anthropic(529, "overloaded_error"),
        Failure(kind="overloaded", code="overloaded_error", status=529),
    ),
    (
        "anthropic overloaded in the middle of a stream",
        anthropic(200, "overloaded_error"),
        Failure(kind="overloaded", code="overloaded_error", status=200),
    ),
    (
        "anthropic refuses the key",
        anthropic(403, "permission_error"),
        Failure(kind="permanent", code="permission_error", status=403, credentials=True),
    ),
    # Replicate
    (
        "replicate's detail",
        replicate(429, "Request was throttled. Your rate limit resets in ~30s."),
        Failure(kind="rate_limited", retry_after=30, code="http_429", status=429),
    ),
    (
        "no credit left at replicate",
        replicate(402, "You have insufficient credit."),
        Failure(kind="quota_exhausted", code="http_402", status=402),
    ),
    # fal
    (
        "fal's headers",
        fal(429, Retry_After="7"),
        Failure(kind="rate_limited", retry_after=7, code="http_429", status=429),
    ),
    (
        "no credit left at fal comes as a refused key",
        fal(403, "User is locked. Reason: Exhausted balance."),
        Failure(kind="quota_exhausted", code="http_403", status=403),
    ),
    (
        "no runner for fal",
        fal(503, error_type="runner_scheduling_failure"),
        Failure(kind="overloaded", code="runner_scheduling_failure", status=503),
    ),
    (
        "fal lost the runner in the middle of the work",
        fal(503, X_Fal_Error_Type="runner_disconnected"),
        Failure(kind="transient", code="runner_disconnected", status=503),
    ),
    (
        "fal's start time-out",
        fal(504, error_type="request_timeout", X_Fal_Request_Timeout_Type="user"),
        Failure(kind="transient", code="request_timeout", status=504),
    ),
    # S3
    (
        "s3 is busy",
        botocore(503, "SlowDown"),
        Failure(kind="overloaded", code="SlowDown", status=503),
    ),
    (
        "aws throttles with a 400",
        botocore(400, "ThrottlingException"),
        Failure(kind="rate_limited", code="ThrottlingException", status=400),
    ),
    (
        "s3 waited too long for the body",
        botocore(400, "RequestTimeout"),
        Failure(kind="transient", code="RequestTimeout", status=400),
    ),
    (
        "s3 refuses the key",
        botocore(403, "AccessDenied"),
        Failure(kind="permanent", code="AccessDenied", status=403, credentials=True),
    ),
    (
        "a code of s3 that says no more than the status",
        botocore(500, "500"),
        Failure(kind="transient", code="http_500", status=500),
    ),
    # HTTP clients
    (
        "httpx keeps the body",
        httpx(429, b'[{"error": {"status": "RESOURCE_EXHAUSTED", "retryDelay": "3s"}}]'),
        Failure(kind="rate_limited", retry_after=4, code="RESOURCE_EXHAUSTED", status=429),
    ),
    (
        "plain text in the body",
        httpx(429, b"Too many requests, retry in 3 minutes"),
        Failure(kind="rate_limited", retry_after=180, code="http_429", status=429),
    ),
    (
        "a number in the body",
        httpx(429, b'{"retry_after": 1.5}'),
        Failure(kind="rate_limited", retry_after=1.5, code="http_429", status=429),
    ),
    (
        "json within json",
        httpx(
            429,
            b'{"error": {"message": "{\\"error\\": {\\"status\\": \\"RESOURCE_EXHAUSTED\\"}}"}}',
        ),
        Failure(kind="rate_limited", code="RESOURCE_EXHAUSTED", status=429),
    ),
    (
        "aiohttp's answer keeps the body once it was read",
        shape(
            "APIError",
            response=types.SimpleNamespace(status=429, headers={}, _body=b'{"code": "too_fast"}'),
        ),
        Failure(kind="rate_limited", code="too_fast", status=429),
    ),
    (
        "a message in the arguments",
        shape("APIError", status_code=429, args=("Refused; try again in 3s",)),
        Failure(kind="rate_limited", retry_after=3, code="http_429", status=429),
    ),
    (
        "aiohttp keeps the headers",
        aiohttp(503, **{"Retry-After": "5"}),
        Failure(kind="overloaded", retry_after=5, code="http_503", status=503),
    ),
    (
        "urllib keeps the headers",
        urllib(429, Retry_After="5"),
        Failure(kind="rate_limited", retry_after=5, code="http_429", status=429),
    ),
    (
        "an answer that could not be read was still made",
        shape("ContentTypeError", status=200, message="no JSON"),
        Failure(kind="ambiguous", code="http_200", status=200),
    ),
    (
        "a redirect",
        httpx(301),
        Failure(kind="permanent", code="http_301", status=301),
    ),
    # gRPC
    (
        "grpc's code is a method",
        Grpc("RESOURCE_EXHAUSTED", "Please retry in 3s"),
        Failure(kind="rate_limited", retry_after=3, code="RESOURCE_EXHAUSTED"),
    ),
    ("grpc unavailable", Grpc("UNAVAILABLE"), Failure(kind="overloaded", code="UNAVAILABLE")),
    (
        "grpc's time-out",
        Grpc("DEADLINE_EXCEEDED"),
        Failure(kind="ambiguous", code="DEADLINE_EXCEEDED"),
    ),
    (
        "grpc refuses the key",
        Grpc("UNAUTHENTICATED"),
        Failure(kind="permanent", code="UNAUTHENTICATED", credentials=True),
    ),
    (
        "google's older library keeps protocol buffers",
        google_api_core(HTTPStatus.TOO_MANY_REQUESTS, protobuf("retry_delay {\n  seconds: 53\n}")),
        Failure(kind="rate_limited", retry_after=54, code="http_429", status=429),
    ),
]


@pytest.mark.parametrize("error, expected", [pytest.param(*row[1:], id=row[0]) for row in ANSWERS])
def test_an_answer_is_classified_as_what_it_is(error, expected):
    assert classify(error, now=NOW) == expected


@pytest.mark.parametrize(
    "statuses, kind",
    [
        ({402}, K.QUOTA_EXHAUSTED),
        ({429}, K.RATE_LIMITED),
        ({503, 529}, K.OVERLOADED),
        ({408, 409, 425, 500, 502, 504, 599}, K.TRANSIENT),
        ({400, 401, 403, 404, 405, 410, 413, 415, 422, 451}, K.PERMANENT),
    ],
)
def test_a_bare_status_tells_the_class(statuses, kind):
    for status in statuses:
        failure = classify(shape("Refused", status_code=status), now=NOW)
        assert failure == Failure(
            kind=kind, status=status, code=f"http_{status}", credentials=status in {401, 403}
        )


@pytest.mark.parametrize("name", ["status_code", "http_status", "status", "code"])
def test_a_status_is_found_under_each_of_its_names(name):
    assert classify(shape("Refused", **{name: 429})).kind is K.RATE_LIMITED
    assert classify(shape("Refused", **{name: HTTPStatus(429)})).status == 429
    wrapped = shape("Refused", response=types.SimpleNamespace(**{name: 429}))
    assert classify(wrapped).kind is K.RATE_LIMITED


@pytest.mark.parametrize("value", [True, 42, 1006, -429, 429.0, "unsafe", "4290", None, [429]])
def test_a_number_that_is_no_status_is_none(value):
    assert classify(shape("Refused", code=value)).kind is K.BUG


NAMED: list[tuple[FailureKind, str, str]] = [
    (kind, library, name)
    for kind, names in (
        (
            K.TRANSIENT_UNSENT,
            (
                "httpx.ConnectError httpx2.ConnectTimeout httpx.PoolTimeout httpx.ProxyError "
                "aiohttp.ClientConnectorError aiohttp.ConnectionTimeoutError "
                "urllib3.NewConnectionError urllib3.NameResolutionError requests.ConnectTimeout "
                "botocore.EndpointConnectionError botocore.ConnectTimeoutError"
            ),
        ),
        (
            K.AMBIGUOUS,
            (
                "httpx.ReadTimeout httpx2.ReadTimeout httpx.WriteTimeout httpx.ReadError "
                "httpx.WriteError httpx.RemoteProtocolError httpx2.TransportError "
                "aiohttp.ServerDisconnectedError aiohttp.ClientPayloadError aiohttp.ClientOSError "
                "aiohttp.SocketTimeoutError requests.ReadTimeout requests.ConnectionError "
                "requests.ChunkedEncodingError urllib3.ProtocolError botocore.ReadTimeoutError "
                "botocore.ConnectionClosedError openai.APITimeoutError openai.APIConnectionError "
                "websockets.ConnectionClosed"
            ),
        ),
        (K.BUG, "httpx.UnsupportedProtocol httpx.LocalProtocolError"),
    )
    for library, _, name in (one.partition(".") for one in names.split())
]


@pytest.mark.parametrize("kind, library, name", NAMED)
def test_the_name_of_an_exception_tells_whether_the_request_left(kind, library, name):
    transport = type("TransportError", (Exception,), {"__module__": library})
    base = (transport,) if library.startswith("httpx") else ()
    assert classify(shape(name, *base, module=library)) == Failure(kind=kind)


@pytest.mark.parametrize(
    "error, kind",
    [
        (TimeoutError(), K.AMBIGUOUS),
        (ConnectionResetError(), K.AMBIGUOUS),
        (BrokenPipeError(), K.AMBIGUOUS),
        (ssl.SSLEOFError(), K.AMBIGUOUS),
        (ConnectionRefusedError(), K.TRANSIENT_UNSENT),
        (socket.gaierror(), K.TRANSIENT_UNSENT),
        (ssl.SSLCertVerificationError(), K.TRANSIENT_UNSENT),
        (OSError(errno.ENETUNREACH, "unreachable"), K.TRANSIENT_UNSENT),
        (URLError(ConnectionRefusedError()), K.TRANSIENT_UNSENT),
        (URLError(TimeoutError()), K.AMBIGUOUS),
        (URLError("unknown url type"), K.BUG),
        (OSError(errno.ENOSPC, "disk full"), K.BUG),
        (tarfile.ReadError(), K.BUG),
        (FileNotFoundError(), K.BUG),
        (ValueError("bad"), K.BUG),
        (KeyError("status"), K.BUG),
        (SystemExit(429), K.BUG),
        (KeyboardInterrupt(), K.BUG),
        (jobq.WaitTimeout("1", "pending", 3), K.BUG),
    ],
)
def test_exceptions_of_python_and_of_jobq_are_told_apart(error, kind):
    assert classify(error) == Failure(kind=kind)


BUSY = Failure(kind="rate_limited", retry_after=9, code="rate_limit_exceeded", status=429)


def hiding(inner: Exception) -> Exception:
    """As tenacity hides the last failure."""
    attempt = types.SimpleNamespace(exception=lambda _timeout: inner)
    return shape("RetryError", last_attempt=attempt)


@pytest.mark.parametrize(
    "wrapper",
    [
        lambda inner: raised(RuntimeError("no image"), inner),
        lambda inner: raised(RuntimeError("no image"), context=inner),
        lambda inner: raised(RuntimeError("a"), context=raised(RuntimeError("b"), inner)),
        lambda inner: raised(shape("APIError", status_code=429), inner),
        lambda inner: raised(RuntimeError("no image"), ExceptionGroup("tasks", [inner])),
        lambda inner: raised(ExceptionGroup("tasks", [ValueError()]), context=inner),
        lambda inner: ExceptionGroup("tasks", [inner]),
        lambda inner: ExceptionGroup("outer", [ValueError(), ExceptionGroup("inner", [inner])]),
        lambda inner: RuntimeError("no image", inner),
        lambda inner: shape("MaxRetryError", reason=inner),
        hiding,
    ],
)
def test_a_wrapped_failure_is_found(wrapper):
    assert classify(wrapper(busy(retry_after="9"))) == BUSY


def test_a_wrapper_and_what_it_wraps_are_read_together():
    wrapper = shape("StudioError", status_code=429, headers={"retry-after": "4"})
    inner = openai(429, "insufficient_quota")
    assert classify(raised(wrapper, inner)) == Failure(
        kind="quota_exhausted", retry_after=4, code="insufficient_quota", status=429
    )


def test_the_nearest_failure_counts_not_the_one_that_was_being_handled():
    refused = shape("BadRequestError", status_code=400)
    assert classify(raised(refused, context=busy())).kind is K.PERMANENT
    assert classify(raised(busy(), context=refused)).kind is K.RATE_LIMITED


def test_what_was_deliberately_hidden_stays_hidden():
    assert classify(raised(ValueError("bad"), context=busy(), suppressed=True)).kind is K.BUG


def test_nothing_is_read_behind_an_exception_of_jobqs_own():
    assert classify(raised(jobq.LeaseLost("1"), TimeoutError())).kind is K.BUG


CONNECT = "ConnectError", "httpx"
READ = "ReadTimeout", "httpx"


def named(name: str, module: str) -> Exception:
    return shape(name, module=module)


@pytest.mark.parametrize(
    "outer, inner, kind",
    [
        (("APIConnectionError", "openai"), CONNECT, K.TRANSIENT_UNSENT),
        (("APIConnectionError", "openai"), READ, K.AMBIGUOUS),
        (("APITimeoutError", "openai"), ("ConnectTimeout", "httpx2"), K.TRANSIENT_UNSENT),
        (("ConnectionError", "requests"), ("NewConnectionError", "urllib3"), K.TRANSIENT_UNSENT),
        (("ConnectionError", "requests"), ("ProtocolError", "urllib3"), K.AMBIGUOUS),
        (CONNECT, ("ConnectionResetError", "builtins"), K.TRANSIENT_UNSENT),  # in the handshake
        (READ, CONNECT, K.AMBIGUOUS),
    ],
)
def test_a_wrappers_word_for_a_lost_connection_yields_to_what_it_wraps(outer, inner, kind):
    assert classify(raised(named(*outer), named(*inner))).kind is kind


def test_a_second_try_that_never_left_does_not_unsend_the_first():
    for first in (named(*READ), raised(named("APITimeoutError", "openai"), named(*READ))):
        again = raised(named(*CONNECT), raised(ConnectionRefusedError(), context=first))
        assert classify(again).kind is K.AMBIGUOUS


@pytest.mark.parametrize(
    "cause, kind",
    [
        (named(*CONNECT), K.TRANSIENT_UNSENT),
        (named(*READ), K.AMBIGUOUS),
        (anthropic(529, "overloaded_error"), K.OVERLOADED),
        (gemini(503, "UNAVAILABLE"), K.OVERLOADED),
        (shape("HTTPStatusError", module="litellm.http", status_code=503), K.OVERLOADED),
        (None, K.TRANSIENT),
    ],
)
def test_litellms_own_status_yields_to_what_it_wraps(cause, kind):
    paraphrase = shape("InternalServerError", module="litellm.exceptions", status_code=500)
    assert classify(raised(paraphrase, context=cause)).kind is kind


def test_litellms_time_out_is_no_answer_though_it_has_a_status():
    timeout = shape("Timeout", module="litellm.exceptions", status_code=408)
    assert classify(timeout) == Failure(kind="ambiguous")


def test_a_payload_cut_short_is_no_bad_request_though_aiohttp_says_400():
    cause = shape("ContentLengthError", type("HttpProcessingError", (Exception,), {}), code=400)
    assert classify(raised(named("ClientPayloadError", "aiohttp"), cause)).kind is K.AMBIGUOUS
    assert classify(cause).kind is K.AMBIGUOUS


GROUPS = [
    ([400, 402, 429, 500], K.PERMANENT),
    ([402, "ReadTimeout", 429], K.QUOTA_EXHAUSTED),
    (["ReadTimeout", 429, 503], K.AMBIGUOUS),
    ([429, 503, 500], K.RATE_LIMITED),
    ([503, 500, "ConnectError"], K.OVERLOADED),
    ([500, "ConnectError"], K.TRANSIENT),
    (["ConnectError", "ValueError"], K.TRANSIENT_UNSENT),
    (["ValueError"], K.BUG),
]


@pytest.mark.parametrize("members, kind", GROUPS)
@pytest.mark.parametrize("order", [1, -1])
def test_of_a_group_the_failure_that_asks_for_most_restraint_counts(members, kind, order):
    errors = [
        named(one, "sdk") if isinstance(one, str) else shape("Refused", status_code=one)
        for one in members[::order]
    ]
    assert classify(ExceptionGroup("tasks", errors)).kind is kind


def test_a_group_keeps_the_longest_wait_and_every_warning():
    group = ExceptionGroup(
        "tasks",
        [
            openai(401, "invalid_api_key"),
            busy(retry_after="9", x_ratelimit_remaining="0"),
            gemini(429, "RESOURCE_EXHAUSTED", "", retry_info("80s")),
        ],
    )
    assert classify(group) == Failure(
        kind="permanent",
        retry_after=81,
        code="invalid_api_key",
        status=401,
        remaining_zero=True,
        credentials=True,
    )


def test_of_two_rate_limits_the_one_per_day_counts():
    daily = gemini(429, "RESOURCE_EXHAUSTED", "", quota(DAY))
    assert classify(ExceptionGroup("tasks", [busy(), daily])).per_day


@pytest.mark.parametrize("code", ["two words", "x" * 200, "https://problem", "42", "", "error"])
def test_a_code_is_a_word_for_machines(code):
    error = shape("Refused", status_code=400, body={"error": {"code": code}})
    assert classify(error).code == "http_400"


# What is one's own


def test_a_rule_of_ones_own_is_asked_first_the_last_registered_before_the_others():
    classifier = Classifier()
    asked = []

    @classifier.register
    def older(error):
        asked.append("older")
        return Failure(kind="permanent", code="older")

    @classifier.register
    def newer(error):
        asked.append("newer")
        return Failure(kind="transient", code="newer") if isinstance(error, KeyError) else None

    assert classifier.classify(KeyError()).code == "newer"
    assert classifier.classify(busy()).code == "older"
    assert asked == ["newer", "newer", "older"]
    assert classify(KeyError()).kind is K.BUG


def test_a_rule_of_ones_own_is_asked_about_each_member_of_a_group():
    classifier = Classifier()
    classifier.register(
        lambda error: Failure(kind="quota_exhausted") if isinstance(error, KeyError) else None
    )
    group = ExceptionGroup("tasks", [busy(), KeyError()])
    assert classifier.classify(group).kind is K.QUOTA_EXHAUSTED


@pytest.mark.parametrize("answer", [RuntimeError("broken"), "rate_limited", True])
def test_a_broken_rule_is_logged_and_passed_over(answer, caplog):
    classifier = Classifier()

    @classifier.register
    def broken(error):
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert classifier.classify(busy(retry_after="9")) == BUSY
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "broken" in caplog.text


def test_a_failure_of_ones_own_is_kept_within_the_same_bounds():
    assert Failure(kind="rate_limited", retry_after=1e9).retry_after == 86_400
    assert Failure(kind="rate_limited", retry_after=float("nan")).retry_after is None
    with pytest.raises(ValueError, match="overworked"):
        Failure(kind="overworked")


def test_the_shared_classifier_takes_rules_as_a_decorator(monkeypatch):
    shared = default_classifier.__self__
    monkeypatch.setattr(shared, "_rules", ())

    @default_classifier
    def mine(error):
        return Failure(kind="overloaded", code="mine")

    assert classify(ValueError()).code == "mine"
    assert mine(ValueError()).code == "mine"
