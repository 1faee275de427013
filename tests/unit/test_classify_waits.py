"""How long a provider asks to wait is read wherever it says so, and kept within bounds."""

from __future__ import annotations

import pytest

from jobq._classify.classifier import classify
from tests.unit.shapes import A_MINUTE_LATER, NOW, gemini, replicate, retry_info, shape


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"retry-after": "20"}, 20),
        ({"Retry-After": "20"}, 20),
        ({b"Retry-After": b"20"}, 20),
        ({"retry-after": 20}, 20),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "20s"}, 20),
        ({"retry-after": "0"}, 0.1),
        ({"retry-after": "-5"}, 0.1),
        ({"retry-after": "9" * 100}, 86_400),
        ({"retry-after": "9" * 10_000}, 86_400),
        ({"retry-after": "100000"}, 86_400),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": None}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "3"}, 3),
        ({"retry-after": A_MINUTE_LATER}, 60),
        ({"retry-after": A_MINUTE_LATER, "date": "Mon, 02 Nov 2026 07:59:00 GMT"}, 120),
        ({"retry-after": A_MINUTE_LATER, "date": "yesterday"}, 60),
        ({"retry-after": "2026-11-02T08:00:30Z"}, 30),
        ({"retry-after": "Sun, 01 Nov 2026 08:00:00 GMT"}, 0.1),
        ({"retry-after": "Mon, 02 Nov 9999 08:00:00 GMT"}, 86_400),
        ({"retry-after": "Mon, 99 Nov 2026 99:00:00 GMT"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}, 12),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "12"}, 12),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 40)}, 40),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW + 40) * 1000)}, 40),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "12"}, None),
        ([("retry-after", "20")], 20),
        ("retry-after: 20", None),
        (20, None),
        ({}, None),
    ],
)
def test_a_wait_is_read_off_the_headers(headers, seconds):
    error = shape("Refused", status_code=429, headers=headers)
    assert classify(error, now=NOW).retry_after == seconds


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("Please retry in 53.016342224s.", 53.016342224),
        ("Please try again in 900ms.", 0.9),
        ("try again in 12m2.304s. Visit", 722.304),
        ("Try again in 1h2m3s", 3723),
        ("Your rate limit resets in ~30s.", 30),
        ("Please retry after 20 seconds.", 20),
        ("please try again after 15 minutes", 900),
        ("Retry in 2 days", 86_400),
        ("retry in 5 messages", None),
        ("Please try again later.", None),
        ("It took 30s. Try again.", None),
        ("retry in s", None),
        ("try again in 20s, or better try again in 40s", 40),
    ],
)
def test_a_wait_is_read_off_the_text(text, seconds):
    assert classify(replicate(429, text)).retry_after == seconds


@pytest.mark.parametrize("delay", ["", "soon", None, [], {}, "s", float("nan"), "-"])
def test_a_retry_info_that_tells_nothing_is_no_wait(delay):
    assert classify(gemini(429, "RESOURCE_EXHAUSTED", "", retry_info(delay))).retry_after is None


def test_nothing_is_waited_for_where_waiting_does_not_help():
    assert (
        classify(shape("Refused", status_code=400, headers={"retry-after": "9"})).retry_after
        is None
    )


def test_the_clock_of_this_machine_is_used_where_no_other_is_given():
    error = shape(
        "Refused", status_code=429, headers={"retry-after": "Sun, 01 Nov 9998 08:00:00 GMT"}
    )
    assert classify(error).retry_after == 86_400
