"""Limits as they are declared: checked at once, and stored as numbers only."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq import Concurrency, DailyQuota, KeyPool, RateLimit
from jobq._limits.declared import bench_key, check_limits, from_spec, to_spec

LOS_ANGELES = "America/Los_Angeles"
HOUR = 3_600_000_000
ZONES = [
    "UTC",
    LOS_ANGELES,
    "Europe/Berlin",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "America/Havana",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/St_Johns",
]


def instant(text: str, tz: str = "UTC", *, fold: int = 0) -> int:
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz), fold=fold)
    return round(local.timestamp() * 1_000_000)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"key": ""}, "text of 1 to 200 letters"),
        ({"key": 7}, "not 7"),
        ({"key": "k" * 201}, "1 to 200 letters"),
        ({"key": "@gemini"}, "not beginning with @"),
        ({"key": "a\x00b"}, "unprintable"),
        ({"key": "a\ud800"}, "unprintable"),
        ({"key": "{0}"}, "{0} is no field; use {owner}"),
        ({"key": "{}"}, "is no field"),
        ({"key": "{owner!r}"}, "is no field"),
        ({"key": "{owner:>9}"}, "is no field"),
        ({"key": "{a[0]}"}, "is no field"),
        ({"key": "tenant:{owner"}, "the limit's key 'tenant:{owner'"),
        ({"n": 0}, "n=0 must be an integer from 1"),
        ({"n": True}, "n=True must be an integer"),
        ({"n": 1.5}, "n=1.5 must be an integer"),
        ({"n": 10**16}, "to 1000000000000000"),
        ({"per": 0}, "per=0 must be from 0.001 s to 31 days"),
        ({"per": float("nan")}, "per=nan must be from"),
        ({"per": 32 * 86400}, "31 days"),
        ({"per": "60"}, "per='60' must be a number"),
        ({"per": True}, "per=True must be a number"),
        ({"max_cost": 0}, "max_cost=0 must be"),
        ({"max_cost": 61}, "max_cost=61 is more than the whole limit of 60"),
        ({"headroom": -0.1}, "headroom=-0.1 must be from 0 to 0.5"),
        ({"headroom": 0.6}, "headroom=0.6 must be"),
        ({"headroom": "1%"}, "headroom='1%' must be a number"),
        ({"cost": -1}, "cost=-1 must be an integer from 0"),
        ({"cost": 1.5}, "cost=1.5 must be"),
        ({"cost": 2}, "cost=2 is above the 1 that may go at once"),
    ],
)
def test_a_rate_that_cannot_be_is_refused_where_it_is_declared(options, says):
    with pytest.raises(jobq.ConfigurationError) as caught:
        RateLimit(**{"key": "gemini", "n": 60, "per": 60, **options})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "declare, says",
    [
        (lambda: DailyQuota("rpd", 0), "n=0 must be"),
        (lambda: DailyQuota("", 5), "text of 1 to 200 letters"),
        (lambda: DailyQuota("rpd", 5, tz="Mars/Olympus"), "tz='Mars/Olympus' is no time zone"),
        (lambda: DailyQuota("rpd", 5, tz=""), "is no time zone, as in 'America/Los_Angeles'"),
        (lambda: DailyQuota("rpd", 5, tz=None), "tz=None is no time zone"),
        (lambda: DailyQuota("rpd", 5, tz="../../etc/passwd"), "is no time zone"),
        (lambda: DailyQuota("rpd", 5, cost=6), "cost=6 is above the 5"),
        (lambda: Concurrency("gpu", 0), "n=0 must be"),
        (lambda: Concurrency("gpu", "2"), "n='2' must be"),
        (lambda: Concurrency("@gpu", 2), "not beginning with @"),
        (lambda: check_limits("image_edit", "gemini"), "limits must be a list, not 'gemini'"),
        (lambda: check_limits("image_edit", 5), "limits must be a list"),
        (lambda: check_limits("image_edit", ["gemini"]), "'gemini' is no limit; use RateLimit"),
        (
            lambda: check_limits("image_edit", [Concurrency("x", 1), RateLimit("x", 1, per=1)]),
            "image_edit: two limits have the key 'x'",
        ),
    ],
)
def test_what_is_no_limit_is_refused_where_it_is_declared(declare, says):
    with pytest.raises(jobq.ConfigurationError) as caught:
        declare()
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "limit, rate, says",
    [
        (RateLimit("k", 60, per=60), 0.99, "60 in 60 s: 59.4/min, 1 at once"),
        (RateLimit("k", 1000, per=60), 16.5, "1,000 in 60 s: 16.5/s, 1 at once"),
        (
            RateLimit("k", 4_000_000, per=60, max_cost=200_000),
            62699,
            "4,000,000 in 60 s: 62,699/s, 200,000 at once",
        ),
        (RateLimit("k", 30, per=3600), 0.00825, "30 in 3,600 s: 29.7/h, 1 at once"),
        (RateLimit("k", 5, per=604_800), 8.18452e-06, "5 in 604,800 s: 0.7071/day, 1 at once"),
        (RateLimit.raw("k", 60, per=60, burst=10), 1, "60 in 60 s: 1/s, 10 at once"),
        (RateLimit("k", 60, per=60, headroom=0), 0.999667, "60 in 60 s: 59.98/min, 1 at once"),
        (DailyQuota("k", 1000, tz=LOS_ANGELES), 1000 / 86400, "1,000 a day (America/Los_Angeles)"),
        (Concurrency("k", 2), 2, "2 at a time"),
    ],
)
def test_a_limit_says_what_it_comes_to(limit, rate, says):
    assert limit.effective_rate == pytest.approx(rate, rel=1e-5)
    assert limit.describe() == says


@given(st.integers(1, 10**6), st.floats(0.001, 31 * 86400), st.floats(0, 0.5))
def test_the_printed_rate_is_the_buckets(n, per, headroom):
    limit = RateLimit("k", n, per=per, headroom=headroom)
    assert limit.effective_rate == pytest.approx(limit.bucket.rate, rel=1e-5)


@pytest.mark.parametrize(
    "tz, day, hours",
    [
        (LOS_ANGELES, "2026-03-08", 23),
        (LOS_ANGELES, "2026-11-01", 25),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-10-26", 24),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("America/Havana", "2026-11-01", 25),
    ],
)
def test_a_day_with_a_clock_change_is_shorter_or_longer(tz, day, hours):
    quota = DailyQuota("rpd", 5, tz=tz)
    begin = instant(f"{day}T00:00", tz)
    for now in (begin, begin + 12 * HOUR, begin + round(hours * HOUR) - 1):
        assert quota.day(now) == day
        assert quota.begins(now) == begin
        assert quota.ends(now) == begin + hours * HOUR
    assert quota.day(begin - 1) < day < quota.day(begin + round(hours * HOUR))


@pytest.mark.parametrize(
    "tz, day, begins",
    [
        ("America/Sao_Paulo", "2017-10-15", "2017-10-15T03:00"),
        ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00"),
    ],
)
def test_a_day_without_a_midnight_begins_with_its_first_instant(tz, day, begins):
    quota = DailyQuota("rpd", 5, tz=tz)
    first = instant(begins)
    assert (quota.day(first), quota.day(first - 1) < day) == (day, True)
    assert quota.begins(first) == quota.begins(first + 5 * HOUR) == first
    assert quota.ends(first) == first + 23 * HOUR
    assert quota.ends(first - 1) == first


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001  made aware below
)
def test_every_instant_is_in_the_day_that_its_zones_calendar_shows(tz, moment):
    quota = DailyQuota("rpd", 5, tz=tz)
    now = instant(moment.isoformat())
    begin, end = quota.begins(now), quota.ends(now)
    assert quota.day(now) == moment.replace(tzinfo=UTC).astimezone(ZoneInfo(tz)).date().isoformat()
    assert begin <= now < end <= begin + 26 * HOUR
    assert quota.day(begin) == quota.day(end - 1) == quota.day(now)
    assert quota.day(begin - 1) < quota.day(now) < quota.day(end)


def test_a_midnight_that_comes_twice_never_ends_a_day_in_the_past():
    quota = DailyQuota("rpd", 5, tz="America/St_Johns")  # 00:01 became 23:01 of the day before
    again = instant("2006-10-28T23:30", "America/St_Johns", fold=1)
    assert quota.day(again) == "2006-10-28"
    assert quota.ends(again) == again + HOUR // 2


def pool(**options) -> KeyPool:
    return KeyPool(
        **{
            "name": "gemini",
            "keys": {"a": "s1", "b": "s2"},
            "limit": RateLimit("gemini:{key}", 60, per=60),
            **options,
        }
    )


@pytest.mark.parametrize(
    "options, says",
    [
        ({"name": ""}, "text of 1 to 200 letters"),
        ({"name": "{owner}"}, "a pool's name has no {fields}"),
        ({"keys": "s1"}, "keys must be {name: secret} or a list"),
        ({"keys": 5}, "keys must be {name: secret} or a list"),
        ({"keys": {"": "s"}}, "'' is no name of a key"),
        ({"keys": {"a/b": "s"}}, "'a/b' is no name of a key"),
        ({"keys": {"a{b}": "s"}}, "is no name of a key"),
        ({"keys": {"a\n": "s"}}, "unprintable"),
        ({"keys": {"a": ""}}, "the secret of 'a' must be text"),
        ({"keys": {"a": b"s1"}}, "the secret of 'a' must be text"),
        ({"keys": [None]}, "must be text"),
        ({"limit": 60}, "limit must be a RateLimit or a DailyQuota, not 60"),
        ({"limit": Concurrency("gpu", 2)}, "a Concurrency stands beside the pool"),
        ({"limit": RateLimit("t:{owner}", 1, per=1)}, "may have {key} and {project}"),
        ({"limit": RateLimit("p:{project}", 1, per=1)}, "projects must name that of each key"),
        (
            {"limit": RateLimit("p:{project}", 1, per=1), "projects": {"a": "x", "b": "\x00"}},
            "unprintable",
        ),
        (
            {"limit": RateLimit("p:{project}", 1, per=1), "projects": {"a": "x", "b": "{key}"}},
            "'{key}' is no project",
        ),
    ],
)
def test_a_pool_that_cannot_be_is_refused_where_it_is_declared(options, says):
    with pytest.raises(jobq.ConfigurationError) as caught:
        pool(**options)
    assert says in str(caught.value)


def test_the_keys_of_a_pool_have_a_limit_each_or_share_one():
    assert pool().options == (("a", "gemini:a"), ("b", "gemini:b"))
    shared = pool(limit=DailyQuota("rpd", 100), keys={"a": "s1", "b": "s2"})
    assert shared.options == (("a", "rpd"), ("b", "rpd"))
    assert [limit.key for limit in shared.limits()] == ["rpd"]
    by_project = pool(
        keys={"a": "s1", "b": "s2", "c": "s3"},
        limit=RateLimit("gemini:{project:}/{{{key}}}", 60, per=60),
        projects={"a": "x", "b": "x", "c": "y"},
    )
    assert by_project.options == (
        ("a", "gemini:x/{a}"),
        ("b", "gemini:x/{b}"),
        ("c", "gemini:y/{c}"),
    )
    assert bench_key("gemini", "a") == "@gemini/a"


def test_a_secret_without_a_name_goes_by_a_short_hash_and_is_never_shown():
    one, other = "AIza-secret-1", "AIza-secret-2"
    listed = pool(keys=[one, other])
    assert sorted(listed.keys.values()) == [one, other]
    assert pool(keys=[other, one]).keys == listed.keys
    assert all(len(name) == 8 and name.isalnum() for name in listed.keys)
    assert "AIza" not in f"{listed!r} {listed.options} {[to_spec(one) for one in listed.limits()]}"


specs = st.one_of(
    st.builds(
        RateLimit,
        st.just("k"),
        st.integers(1, 10**9),
        per=st.floats(0.001, 86400),
        headroom=st.floats(0, 0.5),
    ),
    st.builds(
        RateLimit.raw,
        st.just("k"),
        st.integers(1, 10**9),
        per=st.floats(0.001, 86400),
        burst=st.integers(1, 10**9),
    ),
    st.builds(DailyQuota, st.just("k"), st.integers(1, 10**9), tz=st.sampled_from(ZONES)),
    st.builds(Concurrency, st.just("k"), st.integers(1, 10**6), while_waiting=st.booleans()),
)


@given(specs)
def test_a_limit_is_what_its_stored_numbers_make(limit):
    assert from_spec("k", to_spec(limit)) == limit


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
fields = st.sampled_from(["n", "per", "max_cost", "headroom", "raw", "tz", "while_waiting", "key"])
kinds = st.fixed_dictionaries({"kind": st.sampled_from(["rate", "quota", "concurrency", "x"])})


@given(json | st.builds(lambda a, b: {**a, **b}, st.dictionaries(fields, json), kinds))
def test_stored_numbers_that_make_no_limit_are_none_and_no_error(spec):
    limit = from_spec("k", spec)
    if limit is not None:
        assert from_spec("k", to_spec(limit)) == limit
        assert limit.effective_rate > 0


@pytest.mark.parametrize(
    "spec",
    [
        None,
        [1],
        "rate",
        {},
        {"kind": "rate"},
        {"kind": "rate", "n": 5, "per": 0},
        {"kind": "quota", "n": 5, "tz": "Mars"},
        {"kind": "concurrency", "n": 5, "unknown": 1},
        {"kind": "window", "n": 5},
        {"kind": ["rate"]},
    ],
)
def test_an_edited_row_is_no_limit(spec):
    assert from_spec("k", spec) is None
