"""`decide`: what becomes of a job is a total function of what happened to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq._outcome import (
    CRASHES_ALLOWED,
    Crashed,
    Raised,
    Refused,
    Released,
    Standing,
    Stopped,
    Succeeded,
    decide,
)

IN_2030 = datetime(2030, 1, 1, tzinfo=UTC)
POLICY = jobq.Retry(backoff=jobq.Fixed(10), rules={LookupError: None, OSError: jobq.Fixed(1)})
FIRST = Standing(attempts=1, max_attempts=3)
LAST = Standing(attempts=3, max_attempts=3)

texts = st.text(max_size=20)
whens = st.one_of(
    st.floats(min_value=-10, max_value=1e6),
    st.timedeltas(min_value=timedelta(), max_value=timedelta(days=365)),
    st.datetimes(timezones=st.just(UTC)),
)
exceptions = st.one_of(
    st.builds(jobq.RetryAfter, whens),
    st.builds(jobq.Snooze, whens),
    st.builds(jobq.Permanent, texts),
    st.builds(jobq.Cancel, texts),
    st.sampled_from([ValueError(), KeyError(), TimeoutError(), SystemExit(1), GeneratorExit()]),
)
outcomes = st.one_of(
    st.builds(Succeeded, texts, st.booleans()),
    st.builds(Raised, exceptions, texts, texts, st.none() | texts),
    st.builds(Refused, texts, texts, st.booleans()),
    st.builds(Released, texts),
    st.builds(Stopped, texts),
    st.builds(Crashed, texts),
)
standings = st.builds(
    Standing,
    attempts=st.integers(min_value=0, max_value=20),
    max_attempts=st.integers(min_value=1, max_value=10),
    crash_count=st.integers(min_value=0, max_value=10),
)
policies = st.sampled_from([POLICY, jobq.Retry(), jobq.Retry(max_attempts=1)])
rands = st.floats(min_value=0, max_value=1, exclude_max=True)


def raised(exception: BaseException, *, at: Standing = FIRST):
    return decide(Raised(exception, "it broke", "Broken", "Traceback …"), at, POLICY, 0.5)


@given(outcomes, standings, policies, rands)
def test_every_outcome_leads_to_a_legal_status(outcome, job, policy, rand):
    verb = "rescue" if isinstance(outcome, Crashed) else "finish"
    assert decide(outcome, job, policy, rand).status in jobq.MOVES[verb].targets


@given(outcomes, standings, policies, rands)
def test_a_finished_job_has_no_rest_before_it(outcome, job, policy, rand):
    end = decide(outcome, job, policy, rand)
    assert end.delay >= 0
    if end.status.finished:
        assert (end.delay, end.run_at) == (0, None)
    assert end.delay == 0 or end.run_at is None


@given(outcomes, standings, policies, rands)
def test_a_job_without_attempts_left_runs_again_only_if_this_one_is_given_back(
    outcome, job, policy, rand
):
    end = decide(outcome, job, policy, rand)
    if end.status == "pending" and job.attempts >= job.max_attempts:
        assert end.given_back == 1


@given(outcomes, standings, policies, rands)
def test_each_counter_counts_its_own_kind(outcome, job, policy, rand):
    end = decide(outcome, job, policy, rand)
    assert end.released == isinstance(outcome, Released)
    assert end.crashed == isinstance(outcome, Crashed)
    snoozed = isinstance(outcome, Raised) and isinstance(outcome.exception, jobq.Snooze)
    assert end.snoozed == snoozed
    unstarted = isinstance(outcome, Refused) and not outcome.started
    assert end.given_back == (end.released or end.snoozed or unstarted)


@given(outcomes, standings, policies, rands)
def test_what_did_not_succeed_says_why(outcome, job, policy, rand):
    end = decide(outcome, job, policy, rand)
    if end.status == "completed":
        assert end.result is not None
    else:
        assert end.error is not None
        assert end.result is None


@given(standings, rands)
def test_after_three_crashes_a_job_fails_whatever_attempts_it_has(job, rand):
    end = decide(Crashed("gone"), job, POLICY, rand)
    if job.crash_count + 1 >= CRASHES_ALLOWED == 3:
        assert (end.status, end.error_code) == ("failed", "crash_loop")
    else:
        assert end.error_code == "crashed"


def test_success_completes_with_the_result():
    end = decide(Succeeded('{"n":1}'), FIRST, POLICY, 0.5)
    assert (end.status, end.outcome, end.result) == ("completed", "completed", '{"n":1}')


@pytest.mark.parametrize(
    "exception, seconds",
    [(ValueError(), 10), (ConnectionError(), 1), (jobq.RetryAfter(2.5), 2.5)],
)
def test_an_exception_retries_after_the_rest_that_fits_it(exception, seconds):
    end = raised(exception)
    assert (end.status, end.outcome, end.error_code) == ("pending", "retried", "Broken")
    assert end.delay == seconds * 1_000_000
    assert end.traceback == "Traceback …"


@pytest.mark.parametrize("exception", [ValueError(), jobq.RetryAfter(5), jobq.RetryAfter(IN_2030)])
def test_the_last_attempt_fails_the_job(exception):
    end = raised(exception, at=LAST)
    assert (end.status, end.error, end.error_code) == ("failed", "it broke", "Broken")


def test_a_rule_of_none_fails_at_once():
    assert raised(KeyError()).status == "failed"


def test_permanent_fails_at_once():
    assert raised(jobq.Permanent("unsafe")).status == "failed"


def test_cancel_cancels():
    assert raised(jobq.Cancel()).status == "cancelled"


def test_a_snooze_gives_the_attempt_back_even_the_last():
    end = raised(jobq.Snooze(timedelta(minutes=5)), at=LAST)
    assert (end.status, end.delay, end.given_back, end.snoozed) == ("pending", 300_000_000, 1, 1)


@pytest.mark.parametrize("signal", [jobq.RetryAfter, jobq.Snooze])
def test_an_instant_is_kept_as_an_instant(signal):
    end = raised(signal(IN_2030))
    assert (end.delay, end.run_at) == (0, 1_893_456_000_000_000)


@pytest.mark.parametrize("signal", [jobq.RetryAfter, jobq.Snooze])
def test_a_time_in_the_past_means_now(signal):
    assert raised(signal(-5)).delay == 0


@pytest.mark.parametrize("signal", [jobq.RetryAfter, jobq.Snooze])
@pytest.mark.parametrize("when", ["5", None, True, float("nan"), datetime(2030, 1, 1)])  # noqa: DTZ001
def test_a_signal_without_a_usable_time_is_refused_where_it_is_raised(signal, when):
    with pytest.raises(jobq.OptionError, match=signal.__name__):
        signal(when)


def test_a_crash_on_the_last_attempt_fails():
    end = decide(Crashed("gone"), LAST, POLICY, 0.5)
    assert (end.status, end.error_code) == ("failed", "crashed")


def test_a_refusal_before_the_start_gives_the_attempt_back():
    assert decide(Refused("expired", "late", started=False), FIRST, POLICY, 0.5).given_back == 1
    assert decide(Refused("invalid_payload", "bad"), FIRST, POLICY, 0.5).given_back == 0
