"""Whatever an exception carries, classifying it raises nothing and takes no time."""

from __future__ import annotations

import types
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobq._classify.classifier import Classifier, classify
from jobq._classify.failure import Failure, FailureKind
from tests.unit.shapes import DATE, NOW, K, busy, httpx, openai, raised, shape


class Hostile(Exception):
    """Everything about it raises."""

    def __getattribute__(self, name):
        if name == "__class__":
            return Hostile
        raise RuntimeError(name)


class Endless:
    def items(self):
        while True:
            yield "name", "value"


def deep(depth: int) -> Any:
    value: Any = {"code": "deep"}
    for _ in range(depth):
        value = {"error": [value]}
    return value


def cyclic() -> Any:
    value: dict[str, Any] = {"retryDelay": "3s"}
    value["error"] = value
    value["details"] = [value, [value]]
    return value


def wide() -> Any:
    return {"error": [{"message": "m" * 5_000} for _ in range(100_000)]}


def unguarded(error: BaseException) -> Failure:
    """Without the last line of defence, so that nothing hides behind it."""
    return Classifier()._classify(error, NOW, set())


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Hostile(), id="everything raises"),
        shape("Refused", status_code=429, body=deep(100_000)),
        shape("Refused", status_code=429, body=cyclic(), details=cyclic()),
        shape("Refused", status_code=429, body=wide()),
        shape("Refused", status_code=429, body=10**10_000, headers={"retry-after": 10**10_000}),
        shape("Refused", status_code=429, headers=Endless(), response=Endless()),
        shape(
            "Refused", status_code=429, body={"retry_after": float("nan"), "retryDelay": 10**400}
        ),
        httpx(429, b"[" * 1_000_000),
        httpx(429, b'{"a":' * 10_000),
        httpx(429, b"9" * 100_000),
        httpx(429, b"\xff\xfe{"),
        httpx(429, b"retry in " + b"9" * 50_000 + b"s"),
        httpx(429, b"retry in " + b"1 s " * 10_000 + b"x"),
        openai(429, "\ud800", message="\ud800{"),
    ],
)
def test_a_hostile_body_is_survived(error):
    assert unguarded(error).kind in {K.RATE_LIMITED, K.BUG}


def test_a_cycle_of_causes_ends():
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    one.__context__, other.__context__ = other, one
    assert unguarded(one).kind is K.BUG


def test_a_long_chain_is_followed_only_so_far():
    error: BaseException = busy()
    for _ in range(10_000):
        error = raised(RuntimeError(), error)
    assert unguarded(error).kind is K.BUG


def test_deep_and_wide_groups_are_looked_at_only_so_far():
    group: Exception = busy()
    for _ in range(500):
        group = ExceptionGroup("deeper", [raised(RuntimeError(), group), ValueError()])
    assert unguarded(group).kind in {K.RATE_LIMITED, K.BUG}
    assert unguarded(ExceptionGroup("wide", [busy() for _ in range(5_000)])).kind is K.RATE_LIMITED


def test_an_attempt_that_has_not_ended_is_not_waited_for():
    from concurrent.futures import Future

    assert unguarded(shape("RetryError", last_attempt=Future())).kind is K.BUG


def test_reading_an_exception_runs_no_property_that_warns(recwarn):
    import warnings

    class ClientResponseError(Exception):
        status = 429

        @property
        def code(self):
            warnings.warn("code is deprecated, use status", DeprecationWarning, stacklevel=2)
            return self.status

    assert classify(ClientResponseError()).kind is K.RATE_LIMITED
    assert not recwarn.list


def test_what_cannot_be_classified_after_all_is_a_bug_and_logged(monkeypatch, caplog):
    def broken(*_):
        raise RecursionError

    monkeypatch.setattr(Classifier, "_classify", broken)
    assert Classifier().classify(busy()) == Failure(kind="bug")
    assert "cannot classify a APIStatusError" in caplog.text


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 200, 402, 429, 503])
    | st.floats()
    | st.binary(max_size=40)
    | st.text(max_size=40)
    | st.sampled_from(["RESOURCE_EXHAUSTED", "53s", "retry in 5m", DATE, "429", '{"code": "x"}'])
)
keys = st.text(max_size=8) | st.sampled_from(
    [
        "error",
        "code",
        "status",
        "type",
        "details",
        "retryDelay",
        "quotaId",
        "retry_after",
        "message",
    ]
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=6,
)
header_names = st.sampled_from(
    ["Retry-After", "retry-after-ms", "date", "x-ratelimit-remaining", "x-ratelimit-reset"]
)
headers = (
    st.dictionaries(header_names | st.text(max_size=8) | st.binary(max_size=8), scalars) | values
)
responses = values | st.builds(
    lambda status, headers, content: types.SimpleNamespace(
        status_code=status, headers=headers, _content=content
    ),
    values,
    headers,
    values,
)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "status_code": values,
        "status": values,
        "code": values
        | st.just(lambda: 429)
        | st.just(lambda: types.SimpleNamespace(name="ABORTED")),
        "body": values,
        "details": values | st.just(lambda: "retry in 3s"),
        "detail": values,
        "message": values,
        "headers": headers,
        "response_headers": headers,
        "response": responses,
        "reason": values | st.just(TimeoutError()),
        "last_attempt": values,
        "errno": values,
    },
)
names = st.sampled_from(["Refused", "ReadTimeout", "ConnectError", "APIConnectionError", "OSError"])
modules = st.sampled_from(["sdk", "litellm.exceptions", "builtins"])
errors = st.builds(
    lambda name, module, carried: shape(name, module=module, **carried), names, modules, attributes
)


@settings(max_examples=40, deadline=None)
@given(errors, st.none() | errors, st.none() | errors, st.floats(min_value=0, max_value=1e11))
def test_nothing_that_an_exception_carries_is_raised_at_the_job(outer, cause, context, now):
    failure = Classifier()._classify(
        raised(ExceptionGroup("group", [raised(outer, cause)]), context=context), now, set()
    )
    assert failure.retry_after is None or 0.1 <= failure.retry_after <= 86_400
    assert failure.code is None or len(failure.code) <= 80
    assert failure.kind in FailureKind


@settings(max_examples=50, deadline=None)
@given(headers, values)
def test_whatever_a_429_says_its_wait_stays_within_bounds(said, body):
    failure = unguarded(shape("Refused", status_code=429, headers=said, body=body))
    assert failure.retry_after is None or 0.1 <= failure.retry_after <= 86_400
    assert failure.status == 429
