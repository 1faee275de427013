"""When schedules tick, over changes of clocks and leap days, and what is made up for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq._clock import SECOND, from_datetime, to_datetime
from jobq._cron import MOST, ON_TIME, Schedule, declared

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND


def schedule(expression="0 3 * * *", tz="UTC", catch_up="one", **options):
    values = {"name": "nightly", "type": "report", "payload": "{}", "overlap": True, **options}
    return Schedule(expression=expression, tz=tz, catch_up=catch_up, **values)


def moment(text):
    return from_datetime(datetime.fromisoformat(text), name="moment")


def ticks(expression, tz, *, after, until):
    """The ticks between two moments, as UTC text."""
    found = schedule(expression, tz).ticks(moment(after))
    last = moment(until)
    return [
        f"{to_datetime(tick):%m-%d %H:%M}" for tick in takewhile(lambda tick: tick <= last, found)
    ]


# --- changes of clocks (2031: Berlin on 30 March and 26 October, New York on 9 March and 2 Nov) ---


@pytest.mark.parametrize(
    "tz, after, until, expected",
    [
        (BERLIN, "2031-03-28T12Z", "2031-03-31T12Z", ["03-29 01:30", "03-30 01:00", "03-31 00:30"]),
        (
            NEW_YORK,
            "2031-03-07T12Z",
            "2031-03-10T12Z",
            ["03-08 07:30", "03-09 07:00", "03-10 06:30"],
        ),
    ],
)
def test_a_time_that_clocks_leave_out_ticks_when_they_have_moved(tz, after, until, expected):
    assert ticks("30 2 * * *", tz, after=after, until=until) == expected


@pytest.mark.parametrize(
    "expression, tz, after, until, expected",
    [
        ("30 2 * * *", BERLIN, "2031-10-25T12Z", "2031-10-27T12Z", ["10-26 00:30", "10-27 01:30"]),
        (
            "30 1 * * *",
            NEW_YORK,
            "2031-11-01T12Z",
            "2031-11-03T12Z",
            ["11-02 05:30", "11-03 06:30"],
        ),
    ],
)
def test_a_time_that_clocks_show_twice_ticks_the_first_time_only(
    expression, tz, after, until, expected
):
    assert ticks(expression, tz, after=after, until=until) == expected


def test_who_begins_between_the_two_does_not_tick_the_second_time():
    assert ticks("30 2 * * *", BERLIN, after="2031-10-26T01:10Z", until="2031-10-27T00Z") == []


@pytest.mark.parametrize("expression", ["0 * * * *", "*/60 * * * *"])
@pytest.mark.parametrize("day", ["2031-03-30", "2031-10-26"])
def test_every_hour_is_every_hour_also_when_clocks_change(expression, day):
    found = ticks(expression, BERLIN, after=f"{day}T00:00Z", until=f"{day}T04:00Z")
    assert [tick[-5:] for tick in found] == ["01:00", "02:00", "03:00", "04:00"]


def test_with_seconds_left_out_times_do_not_tick_and_those_shown_twice_tick_twice():
    tick = "0 30 2 * * *"
    spring = ticks(tick, BERLIN, after="2031-03-29T12Z", until="2031-03-31T12Z")
    autumn = ticks(tick, BERLIN, after="2031-10-25T12Z", until="2031-10-26T12Z")
    assert (spring, autumn) == (["03-31 00:30"], ["10-26 00:30", "10-26 01:30"])


def test_times_that_fall_together_tick_once():
    found = ticks("0,30 2,3 * * *", BERLIN, after="2031-03-30T00Z", until="2031-03-30T12Z")
    assert found == ["03-30 01:00", "03-30 01:30"]


# --- the calendar ------------------------------------------------------------------------------


def years(expression, count):
    found = schedule(expression).ticks(moment("2031-01-01T00Z"))
    return [f"{to_datetime(tick):%Y-%m-%d}" for tick in islice(found, count)]


def test_the_29th_of_february_ticks_in_leap_years():
    assert years("0 0 29 2 *", 2) == ["2032-02-29", "2036-02-29"]


def test_the_31st_ticks_in_months_that_have_one():
    months = [day[5:7] for day in years("0 0 31 * *", 7)]
    assert months == ["01", "03", "05", "07", "08", "10", "12"]


def test_the_last_day_of_a_month_and_the_last_friday_can_be_named():
    assert years("0 0 L 2 *", 2) == ["2031-02-28", "2032-02-29"]
    assert years("0 0 * * 5L", 1) == ["2031-01-31"]


def test_with_six_fields_the_first_is_the_second():
    found = schedule("*/20 * * * * *").ticks(moment("2031-01-01T00Z"))
    assert [f"{to_datetime(tick):%M:%S}" for tick in islice(found, 3)] == [
        "00:20",
        "00:40",
        "01:00",
    ]


def test_a_tick_at_the_end_of_time_is_the_last_one():
    assert schedule("59 23 31 12 *").next_tick(moment("9999-12-31T23:59Z")) is None


EXPRESSIONS = st.sampled_from(
    [
        "30 2 * * *",
        "0 3 * * *",
        "*/15 * * * *",
        "0 * * * *",
        "0,30 1-4 * * *",
        "45 1,2 * * *",
        "7 */2 * * *",
        "0 0 * * *",
        "*/7 1-3 * * *",
        "59 23 L * *",
        "0 30 2 * * *",
    ]
)
ZONES = st.sampled_from(
    ["UTC", BERLIN, NEW_YORK, "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata"]
)
DAYS = st.integers(0, 730).map(lambda day: datetime(2031, 1, 1, tzinfo=UTC) + timedelta(day))


@given(EXPRESSIONS, ZONES, DAYS, st.lists(st.integers(0, 2 * 24 * 3600), max_size=8))
def test_the_next_tick_is_the_same_wherever_one_begins(expression, tz, day, offsets):
    one = schedule(expression, tz)
    begin = from_datetime(day, name="day")
    rising = list(takewhile(lambda tick: tick <= begin + 4 * 24 * HOUR, one.ticks(begin)))
    assert rising == sorted(set(rising))
    for offset in offsets:
        after = begin + offset * SECOND
        expected = next((tick for tick in rising if tick > after), None)
        assert expected is None or one.next_tick(after) == expected


@given(ZONES, DAYS, st.integers(0, 23), st.integers(0, 59))
def test_a_daily_time_ticks_once_on_every_day_of_a_zone(tz, day, hour, minute):
    begin = from_datetime(day, name="day")
    found = takewhile(
        lambda tick: tick <= begin + 5 * 24 * HOUR,
        schedule(f"{minute} {hour} * * *", tz).ticks(begin),
    )
    days = [to_datetime(tick).astimezone(ZoneInfo(tz)).date() for tick in found]
    assert days == [days[0] + timedelta(n) for n in range(len(days))]
    assert len(days) in (4, 5, 6)


# --- what is due -------------------------------------------------------------------------------

NOON = moment("2031-01-01T12Z")


def due(catch_up, *, since, now, expression="*/10 * * * *", **options):
    found = schedule(expression, catch_up=catch_up, **options).due(since, now)
    minutes = [(tick - NOON) // MINUTE for tick in found.ticks]
    return minutes, found.left_out, (found.next_tick - NOON) // MINUTE


@pytest.mark.parametrize("catch_up", ["skip", "one", "all"])
def test_a_tick_that_is_noticed_in_time_is_due_once(catch_up):
    assert due(catch_up, since=NOON, now=NOON + 10 * MINUTE) == ([10], 0, 20)
    assert due(catch_up, since=NOON + 10 * MINUTE, now=NOON + 10 * MINUTE + 1) == ([], 0, 20)


@pytest.mark.parametrize(
    "catch_up, ticks, left_out", [("skip", [], 3), ("one", [30], 2), ("all", [10, 20, 30], 0)]
)
def test_missed_ticks_follow_the_policy(catch_up, ticks, left_out):
    assert due(catch_up, since=NOON, now=NOON + 35 * MINUTE) == (ticks, left_out, 40)


def test_what_is_skipped_is_more_than_a_minute_late():
    late = NOON + 30 * MINUTE + ON_TIME
    assert due("skip", since=NOON, now=late) == ([30], 2, 40)
    assert due("skip", since=NOON, now=late + 1) == ([], 3, 40)


def test_all_is_bounded_and_keeps_the_newest():
    found = schedule("* * * * *", catch_up="all").due(NOON - 2000 * MINUTE, NOON)
    assert (len(found.ticks), found.ticks[-1]) == (MOST, NOON)
    assert found.left_out == 1


def test_years_of_minutes_are_not_walked_over(monkeypatch):
    walked = []
    real = Schedule.ticks

    def counted(self, after):
        for tick in real(self, after):
            walked.append(tick)
            yield tick

    monkeypatch.setattr(Schedule, "ticks", counted)
    schedule("* * * * *", catch_up="one").due(NOON - 5_000_000 * MINUTE, NOON)
    assert len(walked) < 10 * MOST


def test_where_none_may_overlap_one_is_made_up_for():
    assert due("all", since=NOON, now=NOON + 35 * MINUTE, overlap=False) == ([30], 2, 40)


def test_a_clock_that_goes_back_makes_nothing_due():
    assert due("all", since=NOON + 100 * MINUTE, now=NOON + 5 * MINUTE) == ([], 0, 10)


# --- declarations ------------------------------------------------------------------------------


def declare(expression="0 3 * * *", **options):
    values = {"tz": "UTC", "catch_up": "one", "overlap": True, "name": None, **options}
    rest = {"queue": None, "priority": None, "owner": None}
    return declared(type="report", expression=expression, payload="{}", **{**rest, **values})


BAD = ["", "* * * *", "* * * * * * *", "a b c d e", "@daily", "\x00 * * * *", "1," * 200]
BAD += ["60 * * * *", "* 24 * * *", "0 0 30 2 *", "*/0 * * * *", "5-1 * * * *", "0 0 * * MON#6"]
BAD += ["0 0 ² * *", "-1 * * * *"]


@pytest.mark.parametrize("expression", [*BAD, None, 5, b"0 3 * * *"])
def test_a_bad_expression_is_refused_where_it_is_declared(expression):
    with pytest.raises(jobq.ConfigurationError, match="schedule 'report': "):
        declare(expression)


@pytest.mark.parametrize(
    "tz", ["Europe/Bonn", "", "../../etc/passwd", "Europe", "/etc/localtime", "a\x00b", 3, None]
)
def test_an_unknown_zone_is_refused_where_it_is_declared(tz):
    with pytest.raises(jobq.ConfigurationError, match="schedule 'report': "):
        declare(tz=tz)


@pytest.mark.parametrize(
    "options, why",
    [
        ({"catch_up": "some"}, "none of 'skip', 'one', 'all'"),
        ({"catch_up": ["one"]}, "none of 'skip', 'one', 'all'"),
        ({"overlap": "no"}, "overlap must be True or False"),
        ({"catch_up": "all", "overlap": False}, "contradict each other"),
        ({"name": ""}, "name must be text"),
        ({"name": "x" * 201}, "name must be text"),
        ({"queue": 5}, "queue must be text"),
        ({"priority": "high"}, "priority='high'"),
        ({"owner": "a\x00"}, "owner="),
    ],
)
def test_a_bad_option_is_refused_where_it_is_declared(options, why):
    with pytest.raises(jobq.ConfigurationError, match=why):
        declare(**options)


@given(st.text(max_size=40) | st.text("0123456789*/,-#L MONFRI", max_size=40))
def test_any_text_is_a_schedule_or_refused(text):
    try:
        assert declare(text).next_tick(NOON) is not None
    except jobq.ConfigurationError as error:
        assert "schedule 'report'" in str(error)  # noqa: PT017


@given(st.text(max_size=40))
def test_any_text_is_a_zone_or_refused(text):
    try:
        declare(tz=text)
    except jobq.ConfigurationError as error:
        assert "schedule 'report'" in str(error)  # noqa: PT017


def test_spaces_make_no_difference_between_expressions():
    assert declare("  0  3 * * * ") == declare("0 3 * * *")


# --- on a router -------------------------------------------------------------------------------


@pytest.fixture
def router():
    return jobq.Router()


def test_a_schedule_has_the_name_of_its_type_unless_it_is_given_one(router):
    @router.cron("0 3 * * *")
    @router.cron("0 15 * * *", name="afternoon", payload={"short": True})
    @router.handler("report")
    async def report(payload: dict) -> None: ...

    assert isinstance(report, jobq.Handler)
    shown = [(one.name, one.type, one.payload) for one in router.schedules]
    assert shown == [("afternoon", "report", '{"short":true}'), ("report", "report", "{}")]


def test_two_schedules_of_one_name_are_refused(router):
    @router.cron("0 3 * * *")
    @router.handler("report")
    async def report() -> None: ...

    with pytest.raises(jobq.ConfigurationError, match="name of its own"):
        router.cron("0 4 * * *")(report)


def test_cron_stands_above_handler(router):
    with pytest.raises(jobq.HandlerError, match="write it above @handler"):

        @router.handler("report")
        @router.cron("0 3 * * *")
        async def report() -> None: ...


def test_a_payload_that_does_not_fit_is_refused_where_it_is_declared(router):
    @router.handler("report")
    async def report(payload: dict[str, int]) -> None: ...

    with pytest.raises(jobq.ConfigurationError, match=r"'report'.*Expected `int`"):
        router.cron("0 3 * * *", payload={"days": "many"})(report)
    with pytest.raises(jobq.ConfigurationError, match="a schedule of 'report'"):
        router.cron("0 3 * * *")(report)
    assert router.schedules == ()


def test_the_router_of_the_handler_has_its_schedules(router):
    @router.handler("report")
    async def report() -> None: ...

    with pytest.raises(jobq.ConfigurationError, match="another router"):
        jobq.Router().cron("0 3 * * *")(report)


def test_an_included_routers_schedules_come_with_its_handlers(router):
    part = jobq.Router()

    @part.cron("0 3 * * *")
    @part.handler("report")
    async def report() -> None: ...

    router.include(part)
    router.include(part)
    assert router.schedules == part.schedules
    other = jobq.Router()

    @other.cron("0 5 * * *", name="report")
    @other.handler("another")
    async def another() -> None: ...

    with pytest.raises(jobq.ConfigurationError, match="there is a schedule 'report' already"):
        router.include(other)
