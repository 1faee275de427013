"""What becomes of a job after a provider's failure: by its kind, the job's counters, the policy."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq import Failure, FailureKind, Retry
from jobq._outcome import Closing, Crashed, Raised, Released, Standing, decide
from jobq._signals import RateLimited

SECOND = 1_000_000
HOUR = 3600 * SECOND
NOON = 1_800_000_000 * SECOND
FIRST = Standing(attempts=1, max_attempts=3, started_at=NOON)
LAST = evolve(FIRST, attempts=3)
CLOSED = (Closing("gemini", "http_429", delay=30 * SECOND),)
POLICY = Retry(backoff=jobq.Fixed(10))


class Refusal(Exception):
    """Raised by somebody's SDK."""


def after(
    kind: str,
    at: Standing = FIRST,
    *,
    policy: Retry = POLICY,
    closes: tuple[Closing, ...] = (),
    rand: float = 0.0,
    **failure,
):
    """What a failure of that kind comes to."""
    known = Failure(kind=kind, **failure)
    raised = Raised(Refusal("no"), "Refusal: no", "Refusal", "…", known, closes)
    return decide(raised, at, policy, rand)


def after_signal(signal: Exception, at: Standing = FIRST, *, closes=(), rand: float = 0.0):
    return decide(Raised(signal, "refused", "RateLimited", closes=closes), at, POLICY, rand)


GIVEN_BACK = {"rate_limited", "overloaded", "quota_exhausted", "transient_unsent"}
kinds = st.sampled_from([kind.value for kind in FailureKind])
closings = st.sampled_from([(), CLOSED])
rands = st.floats(0, 1, exclude_max=True)
standings = st.builds(
    Standing,
    attempts=st.integers(1, 12),
    max_attempts=st.integers(1, 10),
    crash_count=st.integers(0, 4),
    rate_limited_count=st.integers(0, 30),
    released_count=st.integers(0, 10),
    started_at=st.just(NOON),
    limited_for=st.integers(0, 30 * HOUR),
    on_ambiguous=st.sampled_from([None, "retry", "fail", "verify"]),
)
failures = st.fixed_dictionaries(
    {},
    optional={
        "retry_after": st.none() | st.floats(-10, 10**6),
        "credentials": st.booleans(),
        "per_day": st.booleans(),
        "remaining_zero": st.booleans(),
    },
)


@given(kinds, standings, failures, closings, rands)
def test_only_refusals_give_the_attempt_back(kind, job, failure, closes, rand):
    end = after(kind, job, closes=closes, rand=rand, **failure)
    another_key = kind == "permanent" and failure.get("credentials") and closes
    refused = kind in GIVEN_BACK or bool(another_key)
    assert refused or not end.given_back
    assert end.given_back or not (end.rate_limited or end.released)
    if end.status == "rate_limited":
        assert (end.given_back, end.rate_limited, end.outcome) == (1, 1, "rate_limited")
    elif end.status == "pending" and job.attempts >= job.max_attempts:
        assert end.given_back or end.ambiguous


@given(kinds, standings, failures, closings, rands)
def test_nothing_runs_again_at_once_unless_a_closed_limit_holds_it(
    kind, job, failure, closes, rand
):
    end = after(kind, job, closes=closes, rand=rand, **failure)
    if end.status.finished:
        assert (end.delay, end.run_at) == (0, None)
    elif end.status == "rate_limited" and kind != "overloaded" and closes:
        assert (end.delay, end.closes) == (0, closes)
    else:
        assert end.delay >= SECOND


@given(kinds, standings, failures, closings, rands)
def test_a_limit_is_closed_whatever_becomes_of_the_job(kind, job, failure, closes, rand):
    assert after(kind, job, closes=closes, rand=rand, **failure).closes == closes


@given(kinds, standings, failures, closings, rands)
def test_an_explicit_rule_goes_before_the_kind_of_failure(kind, job, failure, closes, rand):
    waits = Retry(rules={Refusal: jobq.Fixed(7)})
    end = after(kind, job, policy=waits, closes=closes, rand=rand, **failure)
    if job.attempts < job.max_attempts:
        assert (end.status, end.delay, end.error_code) == ("pending", 7 * SECOND, "Refusal")
    else:
        assert (end.status, end.error_code) == ("failed", "Refusal")
    never = Retry(rules={Exception: None})
    assert after(kind, job, policy=never, closes=closes, **failure).status == "failed"
    assert end.given_back == 0


@given(standings, failures, rands)
def test_refusals_are_borne_for_as_long_as_the_policy_says(job, failure, rand):
    for kind in ("rate_limited", "quota_exhausted"):
        end = after(kind, job, policy=Retry(max_rate_limit_wait=3600), rand=rand, **failure)
        if job.limited_for >= HOUR:
            assert (end.status, end.error_code) == ("failed", "rate_limit_timeout")
            assert end.error.startswith(f"refused for {job.limited_for / SECOND:.0f} s: Refusal")
        else:
            assert end.status == "rate_limited"
            assert end.delay <= max(SECOND, HOUR - job.limited_for)
    in_doubt = after_signal(RateLimited(5), evolve(job, limited_for=24 * HOUR), closes=CLOSED)
    assert (in_doubt.status, in_doubt.error_code) == ("failed", "rate_limit_timeout")
    assert (in_doubt.given_back, in_doubt.closes) == (1, CLOSED)


def test_a_refusal_waits_as_long_as_it_says_and_jobs_without_a_limit_not_all_at_once():
    assert after("rate_limited", retry_after=30).delay == 30 * SECOND
    assert after("rate_limited", retry_after=30, rand=0.5).delay == 31.5 * SECOND
    assert after("rate_limited", retry_after=0.1).delay == SECOND
    assert after("rate_limited", retry_after=10**9).delay == 24 * HOUR


def test_a_refusal_that_says_no_time_rests_longer_each_time():
    rests = [
        after("rate_limited", evolve(FIRST, rate_limited_count=count)).delay / SECOND
        for count in range(8)
    ]
    assert rests == [1, 2, 4, 8, 16, 30, 30, 30]


def test_without_quota_and_without_a_limit_to_close_a_job_rests_for_an_hour():
    end = after("quota_exhausted", retry_after=5, code="insufficient_quota")
    assert (end.status, end.error_code) == ("rate_limited", "insufficient_quota")
    assert end.delay == HOUR


def test_twenty_overloads_cost_no_attempt_and_the_next_one_does():
    for count in (0, 19):
        end = after("overloaded", evolve(LAST, rate_limited_count=count), closes=CLOSED)
        assert (end.status, end.given_back) == ("rate_limited", 1)
        assert 2.5 * SECOND <= end.delay <= 66 * SECOND
    assert after("overloaded", retry_after=90).delay == 90 * SECOND
    spent = evolve(FIRST, rate_limited_count=20)
    end = after("overloaded", spent, retry_after=90)
    assert (end.status, end.given_back, end.delay) == ("pending", 0, 90 * SECOND)
    assert after("overloaded", evolve(LAST, rate_limited_count=20)).status == "failed"


def test_five_requests_that_never_left_cost_no_attempt_and_the_next_one_does():
    for count in (0, 4):
        end = after("transient_unsent", evolve(LAST, released_count=count))
        assert (end.status, end.given_back, end.released) == ("pending", 1, 1)
        assert end.delay == 10 * SECOND
    end = after("transient_unsent", evolve(FIRST, released_count=5))
    assert (end.status, end.given_back, end.released) == ("pending", 0, 0)
    assert after("transient_unsent", evolve(LAST, released_count=5)).status == "failed"


@pytest.mark.parametrize("kind", ["transient", "bug", "ambiguous"])
def test_what_may_have_worked_costs_an_attempt_and_waits_no_less_than_it_was_told(kind):
    end = after(kind, retry_after=25, code="http_500")
    assert (end.status, end.given_back, end.delay) == ("pending", 0, 25 * SECOND)
    assert after(kind, retry_after=1).delay == 10 * SECOND
    end = after(kind, LAST, code="http_500")
    assert (end.status, end.error_code, end.delay) == ("failed", "http_500", 0)


def test_what_will_be_refused_again_fails_at_once_with_the_providers_code():
    end = after("permanent", code="http_400")
    assert (end.status, end.error_code, end.given_back) == ("failed", "http_400", 0)
    assert after("permanent").error_code == "Refusal"


def test_a_refused_key_of_a_pool_gives_the_job_back_and_any_other_fails_it():
    end = after("permanent", credentials=True, code="http_401", closes=CLOSED)
    assert (end.status, end.given_back, end.delay) == ("rate_limited", 1, 0)
    assert after("permanent", credentials=True, code="http_401").status == "failed"


def test_a_request_that_may_have_been_paid_is_handled_as_its_handler_says():
    job = evolve(FIRST, on_ambiguous="fail")
    end = after("ambiguous", job, code="http_504")
    assert (end.status, end.error_code) == ("failed", "ambiguous")
    end = after("ambiguous", evolve(LAST, on_ambiguous="verify"))
    assert (end.status, end.ambiguous, end.given_back) == ("pending", 1, 0)
    assert end.delay == 10 * SECOND
    for policy in (None, "retry"):
        end = after("ambiguous", evolve(FIRST, on_ambiguous=policy))
        assert (end.status, end.ambiguous) == ("pending", 0)


def test_a_verifier_that_never_learns_the_truth_is_not_asked_for_ever():
    job = evolve(LAST, on_ambiguous="verify", attempts=6)
    assert after("ambiguous", evolve(job, attempts=5)).status == "pending"
    end = after("ambiguous", job)
    assert (end.status, end.error_code) == ("failed", "ambiguous")


@pytest.mark.parametrize(
    "on_ambiguous, job, status, code",
    [
        (None, FIRST, "pending", "crashed"),
        (None, LAST, "failed", "crashed"),
        ("retry", FIRST, "pending", "crashed"),
        ("fail", FIRST, "failed", "ambiguous_crash"),
        ("fail", LAST, "failed", "ambiguous_crash"),
        ("verify", FIRST, "pending", "crashed"),
        ("verify", LAST, "pending", "crashed"),
        ("verify", evolve(LAST, crash_count=2), "failed", "crash_loop"),
    ],
)
def test_a_crash_is_an_ambiguous_failure_too(on_ambiguous, job, status, code):
    end = decide(Crashed("gone"), evolve(job, on_ambiguous=on_ambiguous), POLICY, 0.5)
    assert (end.status, end.error_code, end.crashed) == (status, code, 1)
    assert end.ambiguous == (status == "pending")
    assert end.given_back == 0


@given(kinds, standings, failures, closings, rands)
def test_work_that_may_have_been_done_stays_in_doubt_until_the_verifier_has_said(
    kind, job, failure, closes, rand
):
    doubtful = evolve(job, unverified=True)
    end = after(kind, doubtful, closes=closes, rand=rand, **failure)
    assert end.status.finished or end.ambiguous
    assert decide(Released("shutdown"), doubtful, POLICY, rand).ambiguous == 1


def test_a_job_that_was_handed_back_keeps_its_attempt():
    end = decide(Released("a limit was closed before it started"), LAST, POLICY, 0.5)
    assert (end.status, end.given_back, end.released) == ("pending", 1, 1)


@pytest.mark.parametrize(
    "asked, seconds",
    [
        (30, 30),
        (timedelta(minutes=2), 120),
        (0.2, 1),
        (0, 1),
        (-5, 1),
        (timedelta(seconds=-5), 1),
        (10**30, 86400),
        (math.inf, 86400),
        (-math.inf, 1),
        (timedelta.max, 86400),
        (None, 1),
        (math.nan, 1),
    ],
)
def test_a_handlers_refusal_may_pass_on_whatever_a_provider_said(asked, seconds):
    end = after_signal(RateLimited(asked))
    assert (end.status, end.given_back, end.run_at) == ("rate_limited", 1, None)
    assert end.delay == seconds * SECOND


@pytest.mark.parametrize(
    "date, after_start",
    [
        (datetime.fromtimestamp(NOON / SECOND + 90, UTC), 90),
        (datetime.fromtimestamp(NOON / SECOND - 90, UTC), 1),
        (datetime.min.replace(tzinfo=UTC), 1),
        (datetime.max.replace(tzinfo=UTC), 86400),
    ],
)
def test_a_date_is_waited_for_within_the_bounds_and_never_in_the_past(date, after_start):
    end = after_signal(RateLimited(date))
    assert (end.delay, end.run_at) == (0, NOON + after_start * SECOND)
    held = after_signal(RateLimited(date), closes=CLOSED)
    assert (held.delay, held.run_at, held.closes) == (0, None, CLOSED)


@pytest.mark.parametrize("wrong", [True, "30", b"5", [3], datetime(2030, 1, 1)])  # noqa: DTZ001
def test_a_refusal_for_no_time_at_all_is_the_handlers_error(wrong):
    with pytest.raises(jobq.OptionError, match="RateLimited"):
        RateLimited(wrong)
