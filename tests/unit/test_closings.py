"""Which limits a provider's refusal closes, and for how long; never somebody's own by a guess."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq import Concurrency, DailyQuota, Failure, KeyPool, RateLimit
from jobq._limits import Limit
from jobq._limits.admit import Permit
from jobq._limits.lanes import wanted
from jobq._outcome import Closing, Raised
from jobq._signals import RateLimited
from jobq._worker.closings import with_closings
from jobq._worker.running import Host, Running, Start
from jobq.backends.ops.claim import Claimed

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
MIDNIGHT = 1_799_971_200 * SECOND  # of 2027-01-15 in UTC
EVENING = MIDNIGHT + 20 * HOUR

RPM = RateLimit("gemini", 60, per=60)
TPM = RateLimit("gemini:tpm", 9000, per=60, max_cost=900)
RPD = DailyQuota("gemini:rpd", 1000)
TENANT = RateLimit("tenant:{owner}", 5, per=60)
GPU = Concurrency("gpu", 2)


def pool(limit: RateLimit | DailyQuota | None = None) -> KeyPool:
    each = limit or RateLimit("keys:{key}", 10, per=60)
    return KeyPool("keys", keys={"a": "s1", "b": "s2"}, limit=each)


def a_job(*limits: Limit, at: int = EVENING, refusals: int = 0, key: str | None = "b") -> Running:
    """A job of these limits in a worker's hands, as a claim would have left it."""
    router = jobq.Router()

    @router.handler("call", limits=limits)
    def call(payload: dict[str, str]) -> None:
        """Call the provider."""

    job = Claimed(
        id="0199",
        type="call",
        queue="default",
        payload="{}",
        attempts=1,
        max_attempts=3,
        fence=1,
        priority=0,
        run_at=at,
        started_at=at,
        created_at=at,
        timeout_ms=0,
        expires_at=None,
        crash_count=0,
        keep_seconds=None,
        owner="user-7",
        metadata=None,
        cancel_requested=0,
        lane=wanted(limits, {"type": "call", "owner": "user-7", "payload": {}}).lane,
        rate_limited_count=refusals,
    )
    pools = {one.name: key for one in limits if isinstance(one, KeyPool) and key is not None}
    start = Start(not_before=0, not_after=math.inf, permit=Permit(at, at + SECOND, {}, pools))
    return Running(job, call, Host(), start)


def closed(
    error: Exception | Failure, *limits: Limit, running: Running | None = None
) -> tuple[Closing, ...]:
    failure = error if isinstance(error, Failure) else None
    exception = RuntimeError("429") if isinstance(error, Failure) else error
    raised = Raised(exception, "no", "RuntimeError", failure=failure)
    running = a_job(*limits) if running is None else running
    return with_closings(raised, running, running.handler.limits).closes


def keys(error: Exception | Failure, *limits: Limit) -> list[str]:
    return [closing.key for closing in closed(error, *limits)]


def rest(error: Exception | Failure, *limits: Limit, running: Running | None = None) -> float:
    """For how many seconds the one limit is closed."""
    (closing,) = closed(error, *limits, running=running)
    return closing.delay / SECOND


BARE = Failure(kind="rate_limited", status=429)
PER_DAY = Failure(kind="rate_limited", status=429, per_day=True)
EXHAUSTED = Failure(kind="quota_exhausted", code="insufficient_quota")
REFUSED_KEY = Failure(kind="permanent", status=401, credentials=True)


@pytest.mark.parametrize(
    "limits, key",
    [
        ([RPM], "gemini"),
        ([RPM, TPM], "gemini"),
        ([TPM, RPM], "gemini:tpm"),
        ([TENANT, GPU, RPD, TPM, RPM], "gemini:tpm"),
        ([TENANT], None),
        ([GPU, RPD], None),
        ([], None),
        ([pool()], "keys:b"),
        ([RPM, pool()], "keys:b"),
        ([pool(RateLimit("keys", 10, per=60))], "keys"),
    ],
)
def test_a_bare_429_closes_the_first_rate_limit_that_the_handler_lists_or_the_used_keys(
    limits, key
):
    assert keys(BARE, *limits) == ([] if key is None else [key])


@pytest.mark.parametrize(
    "limits, key",
    [
        ([RPM, RPD], "gemini:rpd"),
        ([TENANT, pool(), RPM, RPD], "gemini:rpd"),
        ([RPM, DailyQuota("rpd:{owner}", 5)], "gemini"),
        ([RPM], "gemini"),
        ([pool(DailyQuota("keys:{key}", 50))], "keys:b"),
    ],
)
def test_a_429_per_day_closes_the_daily_quota(limits, key):
    assert keys(PER_DAY, *limits) == [key]


@pytest.mark.parametrize(
    "name, key",
    [
        ("gemini:tpm", "gemini:tpm"),
        ("gemini:rpd", "gemini:rpd"),
        ("tenant:{owner}", "tenant:user-7"),
        ("tenant:user-7", "tenant:user-7"),
        ("gpu", "gpu"),
        ("keys", "keys:b"),
        ("@keys", "keys:b"),
        ("tenant:user-8", None),
        ("unknown", None),
    ],
)
def test_a_limit_that_the_handler_names_is_the_one_that_is_closed(name, key):
    limits = [RPM, TPM, RPD, TENANT, GPU, pool()]
    assert keys(RateLimited(30, limit=name), *limits) == ([] if key is None else [key])


limits_of_all_kinds = st.lists(
    st.sampled_from([RPM, TPM, RPD, TENANT, GPU, pool(), DailyQuota("day:{owner}", 5)]),
    unique_by=lambda limit: limit.key,
)
anything = st.builds(
    Failure,
    kind=st.sampled_from(list(jobq.FailureKind)),
    retry_after=st.none() | st.floats(-1, 10**9),
    per_day=st.booleans(),
    credentials=st.booleans(),
    remaining_zero=st.booleans(),
)


@given(limits_of_all_kinds, anything | st.builds(RateLimited, st.none() | st.floats()))
def test_nobodys_own_limit_is_ever_closed_by_a_guess_nor_any_for_less_than_a_second(limits, error):
    for closing in closed(error, *limits):
        assert "user-7" not in closing.key
        assert SECOND <= closing.delay <= 25 * HOUR
        assert closing.reason


@pytest.mark.parametrize(
    "kind", ["overloaded", "transient", "transient_unsent", "ambiguous", "permanent", "bug"]
)
def test_a_failure_that_is_no_refusal_closes_nothing(kind):
    assert closed(Failure(kind=kind, retry_after=30), RPM, RPD, pool()) == ()


def test_a_refused_or_exhausted_key_is_benched_for_an_hour_or_longer():
    for failure in (REFUSED_KEY, EXHAUSTED):
        (closing,) = closed(failure, RPM, RPD, pool())
        assert (closing.key, closing.delay) == ("@keys/b", HOUR)
    longer = Failure(kind="quota_exhausted", retry_after=7200)
    assert rest(longer, pool()) == 7200


@pytest.mark.parametrize(
    "sent, benched",
    [
        ({"url": "https://cdn.example.com/a.png"}, False),
        ({"url": "https://example.com", "headers": {"x-goog-api-key": "s2"}}, True),
        ({"url": "https://example.com", "headers": {"Authorization": "signed"}}, True),
        ({"url": "https://example.com/?key=s2"}, True),
        ({"url": "https://example.com", "json": {"auth": "s2"}}, True),
    ],
)
def test_a_request_that_went_without_a_key_benches_none(sent, benched):
    request = httpx.Request("POST", **sent)
    error = httpx.HTTPStatusError("403", request=request, response=httpx.Response(403))
    running = a_job(pool())
    raised = Raised(error, "no", "HTTPStatusError", failure=REFUSED_KEY)
    closes = with_closings(raised, running, running.handler.limits).closes
    assert [closing.key for closing in closes] == (["@keys/b"] if benched else [])


def test_without_a_pool_exhausted_quota_closes_the_limit_and_a_refused_key_closes_nothing():
    (closing,) = closed(EXHAUSTED, TENANT, RPM)
    assert (closing.key, closing.delay, closing.reason) == ("gemini", HOUR, "insufficient_quota")
    assert closed(REFUSED_KEY, TENANT, RPM) == ()
    assert closed(EXHAUSTED, TENANT) == ()


@pytest.mark.parametrize("error", [BARE, REFUSED_KEY, RateLimited(30, limit="keys")])
def test_a_pool_without_a_known_key_closes_nothing(error):
    assert closed(error, running=a_job(pool(), key=None)) == ()


@pytest.mark.parametrize(
    "asked, seconds",
    [
        (30, 30),
        (timedelta(minutes=2), 120),
        (0, 1),
        (-5, 1),
        (0.01, 1),
        (10**30, 86400),
        (math.inf, 86400),
        (timedelta.max, 86400),
    ],
)
def test_a_limit_is_closed_for_as_long_as_asked_from_a_second_to_a_day(asked, seconds):
    assert rest(RateLimited(asked), RPM) == seconds
    if isinstance(asked, int):
        assert rest(Failure(kind="rate_limited", retry_after=asked), RPM) == seconds


@pytest.mark.parametrize("error", [BARE, RateLimited(), RateLimited(math.nan)])
def test_a_refusal_that_says_no_time_closes_for_longer_each_time(error):
    for count, longest in enumerate([2, 4, 8, 16, 32, 60, 60]):
        seconds = rest(error, running=a_job(RPM, refusals=count))
        assert longest / 2 <= seconds <= longest


def dated(seconds: float) -> RateLimited:
    return RateLimited(datetime.fromtimestamp(EVENING / SECOND + seconds, UTC))


def test_a_date_closes_a_limit_until_then_to_the_microsecond():
    (closing,) = closed(dated(90), RPM)
    assert closing.until == EVENING + 90 * SECOND
    assert closing.delay == pytest.approx(90 * SECOND, abs=30 * SECOND)


@pytest.mark.parametrize("past", [-90, 0, -(10**9)])
def test_a_date_in_the_past_closes_a_limit_for_a_second(past):
    (closing,) = closed(dated(past), RPM)
    assert closing.delay == SECOND
    assert EVENING + SECOND <= closing.until <= EVENING + 30 * SECOND


def test_a_date_far_away_closes_a_limit_for_a_day():
    (closing,) = closed(RateLimited(datetime.max.replace(tzinfo=UTC)), RPM)
    assert closing.delay == DAY
    assert closing.until < EVENING + DAY + 30 * SECOND


@pytest.mark.parametrize("limit", [RPD, pool(DailyQuota("keys:{key}", 50))])
def test_a_daily_quota_is_closed_until_half_a_minute_after_its_next_midnight(limit):
    misleading = Failure(kind="rate_limited", per_day=True, retry_after=3)
    for failure in (PER_DAY, misleading):
        (closing,) = closed(failure, limit)
        assert closing.until == MIDNIGHT + DAY + 30 * SECOND


@pytest.mark.parametrize(
    "minutes, rests", [(0, True), (1, True), (9.5, True), (10.1, False), (60, False)]
)
def test_within_ten_minutes_of_midnight_a_refusal_per_day_is_the_day_befores(minutes, rests):
    quota = DailyQuota("rpd", 1000, tz="America/Los_Angeles")
    begins = quota.begins(EVENING)
    (closing,) = closed(PER_DAY, running=a_job(quota, at=begins + round(minutes * 60 * SECOND)))
    if rests:
        assert closing.delay == 60 * SECOND
    else:
        assert closing.until == quota.ends(begins) + 30 * SECOND


def test_a_quota_on_the_longest_day_of_the_year_is_closed_to_its_end():
    quota = DailyQuota("rpd", 1000, tz="Europe/Berlin")
    begins = quota.begins(round(datetime(2026, 10, 25, 12, tzinfo=UTC).timestamp()) * SECOND)
    (closing,) = closed(PER_DAY, running=a_job(quota, at=begins + 700 * SECOND))
    assert closing.until == begins + 25 * HOUR + 30 * SECOND


HEEDING = [
    RPM,
    RateLimit("heeded", 60, per=60, heed_remaining=True),
    RateLimit("own:{owner}", 60, per=60, heed_remaining=True),
]


def test_an_error_that_says_nothing_remains_closes_the_limits_that_heed_it():
    spent = Failure(kind="overloaded", remaining_zero=True)
    assert [(c.key, c.delay / SECOND) for c in closed(spent, *HEEDING)] == [
        ("heeded", 60),
        ("own:user-7", 60),
    ]
    spent = Failure(kind="transient", remaining_zero=True, retry_after=7)
    assert {c.delay / SECOND for c in closed(spent, *HEEDING)} == {7}
    spent = Failure(kind="transient", remaining_zero=True, retry_after=0.1)
    assert {c.delay / SECOND for c in closed(spent, *HEEDING)} == {1}
    assert closed(spent, RPM, TENANT, pool()) == ()


def test_a_job_without_limits_and_one_of_an_unreadable_lane_close_nothing():
    running = a_job(RPM)
    for lane in (None, "", "[]", "not a lane"):
        running.job = running.job._replace(lane=lane)
        assert closed(BARE, running=running) == ()


def test_a_long_reason_is_shortened():
    (closing,) = closed(RateLimited(30, reason="r" * 999), RPM)
    assert closing.reason == "r" * 200
