"""Amounts of money are exact, and budgets say when to stop."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq._spend import Sums, dollars, micros, refusal, request, shown

NOON = 1_925_035_200_000_000
"""2031-01-01T12:00:00Z."""


@pytest.mark.parametrize(
    "usd, expected",
    [
        ("0.039", 39_000),
        (0.1, 100_000),
        (3, 3_000_000),
        (Decimal("0.000203"), 203),
        ("0.0000005", 0),
        ("0.0000015", 2),
        ("0.00000150000000000000000000000000000001", 2),
        ("0.0000025", 2),
        ("0.00000250000000000000000000000000000001", 3),
        (Decimal("1e-99999999"), 0),
        (0, 0),
        (10**9, 10**15),
    ],
)
def test_an_amount_is_rounded_to_the_nearest_micro_dollar_a_half_to_the_even_one(usd, expected):
    assert micros(usd) == expected


@pytest.mark.parametrize(
    "usd",
    [
        *("abc", "", "NaN", "-Infinity", "1e999999999", "-0.0000001", "1,5"),
        *(-1, 10**9 + 1, 10**5000, float("nan"), float("inf"), -0.1, True, None, b"1", [1]),
        *(Decimal("NaN"), Decimal("sNaN"), Decimal(-1)),
    ],
    ids=lambda usd: str(usd)[:12] if isinstance(usd, str) else type(usd).__name__,
)
def test_what_is_no_amount_of_money_is_refused(usd):
    with pytest.raises(jobq.OptionError, match="usd"):
        micros(usd)


@given(st.integers(0, 10**15))
def test_micro_dollars_become_dollars_and_back_exactly(amount):
    assert micros(dollars(amount)) == micros(str(dollars(amount))) == amount


@given(st.decimals("0", "1000", places=9))
def test_no_amount_is_off_by_more_than_half_a_micro_dollar(usd):
    assert abs(dollars(micros(usd)) - usd) <= Decimal("0.0000005")


def test_money_is_shown_with_two_decimals_or_as_many_as_it_takes():
    assert [shown(n) for n in (0, 1, 39_500, 40_000, 2_500_000, 123_456_789)] == [
        *("$0.00", "$0.000001", "$0.0395", "$0.04", "$2.50", "$123.456789")
    ]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_job": 0},
        {"per_job": "0.0000001"},
        {"per_job": -1},
        {"per_job": "much"},
        {"per_owner_day": float("nan")},
        {"per_job": 1, "tz": "Mars/Olympus"},
        {"per_job": 1, "tz": None},
    ],
)
def test_a_budget_that_is_none_is_refused_when_it_is_declared(options):
    with pytest.raises(jobq.ConfigurationError, match=r"Budget|tz"):
        jobq.Budget(**options)


@pytest.mark.parametrize("budget", [5, "2.50", {"per_job": 1}])
def test_what_is_no_budget_is_refused_by_handlers_and_queues(budget):
    with pytest.raises(jobq.ConfigurationError, match="must be a Budget"):
        jobq.Router().handler("work", budget=budget)
    with pytest.raises(jobq.ConfigurationError, match="must be a Budget"):
        jobq.Queue("sqlite:///jobs.db", budget=budget)


@pytest.mark.parametrize(
    "spent, asked, refused",
    [
        (0, 0, False),
        (99, 0, False),
        (100, 0, True),
        (101, 0, True),
        (60, 40, False),
        (60, 41, True),
    ],
)
def test_a_budget_is_used_up_when_all_of_it_is_spent_or_what_is_asked_for_is_too_much(
    spent, asked, refused
):
    budget = jobq.Budget(per_job="0.0001")
    assert (refusal(budget, Sums(job=spent), asked=asked) is not None) == refused


def test_without_a_budget_nothing_is_refused():
    assert refusal(None, Sums(job=10**15)) is None


def test_the_refusal_names_what_was_spent_and_when_there_is_more():
    budget = jobq.Budget(per_owner_day=2, tz="America/Los_Angeles")
    sums = Sums(job=5, owner_day=1_990_000, day_ends=budget.day(NOON)[1])
    refused = refusal(budget, sums, asked=40_000)
    assert refused is not None
    assert (refused.scope, refused.code) == ("owner_day", "budget_exceeded")
    assert (refused.budget, refused.spent) == (Decimal(2), Decimal("1.99"))
    assert str(refused.resets_at) == "2031-01-02 08:00:00+00:00"
    assert str(refused) == (
        "the job's owner has today spent $1.99 of the budget of $2.00, and $0.04 more would be "
        "too much"
    )


@pytest.mark.parametrize(
    "told",
    [
        {"provider": ""},
        {"provider": None},
        {"provider": "a\x00b"},
        {"model": 5},
        {"request_id": "x" * 501},
        {"units": [1]},
        {"units": {"images": -1}},
        {"units": {"images": True}},
        {"units": {"images": float("nan")}},
        {"units": {"images": "1"}},
        {"units": {"x" * 5000: 1}},
    ],
)
def test_what_a_request_cannot_have_been_is_refused(told):
    fine = {"usd": 1, "provider": "gemini", "model": None, "units": None, "request_id": None}
    with pytest.raises(jobq.OptionError):
        request(**{**fine, **told})
