"""A client that heeds no limit is rejected, and told as the real providers tell it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from examples.fakegemini import FakeGemini, Limits, Options
from tests.examples.asking import Clock, client, content, details, images, message, video


def seconds_told(response) -> float:
    """The exact wait, which only the text has."""
    return float(re.search(r"retry in ([\d.]+)s", response.json()["error"]["message"])[1])


def test_a_naive_client_is_rejected_above_the_limit():
    with (
        FakeGemini(Options(rpm=10), clock=Clock()) as fake,
        client(fake) as http,
        ThreadPoolExecutor(8) as threads,
    ):
        answers = list(threads.map(lambda n: content(http, f"prompt {n}"), range(40)))
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 30
    assert fake.ledger.outcomes() == {"ok": 10, "rate_limited": 30}
    assert fake.ledger.most_within(60) == 10


def test_a_client_that_waits_the_whole_seconds_it_is_told_may_come_too_early():
    clock = Clock()
    with FakeGemini(Options(rpm=1), clock=clock) as fake, client(fake) as http:
        content(http)
        clock.now += 42.4
        refused = content(http)
        assert details(refused)["RetryInfo"]["retryDelay"] == "17s"
        assert seconds_told(refused) == pytest.approx(17.6)
        clock.now += 17
        assert content(http).status_code == 429
        clock.now += 0.7
        assert content(http).status_code == 200


@pytest.mark.parametrize("window, most", [("sliding", 10), ("fixed", 20), ("bucket", 19)])
def test_a_client_at_a_windows_edge_gets_what_that_window_lets_in(window, most):
    """Ten at the end of a minute, as many as go ten seconds later."""
    clock = Clock(60 * 29_833_333.0 + 55)
    with FakeGemini(Options(rpm=10, window=window), clock=clock) as fake, client(fake) as http:
        for _ in range(10):
            content(http)
        for _ in range(54):
            clock.now += 1
            content(http)
    assert fake.ledger.most_within(60) == most


def test_gemini_names_the_quota_the_limit_and_the_model():
    with FakeGemini(Options(rpm=1)) as fake, client(fake) as http:
        content(http)
        refused = content(http)
    error = refused.json()["error"]
    assert refused.status_code == error["code"] == 429
    assert error["status"] == "RESOURCE_EXHAUSTED"
    (violation,) = details(refused)["QuotaFailure"]["violations"]
    assert violation["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
    assert violation["quotaValue"] == "1"
    assert violation["quotaDimensions"]["model"] == "flash"
    assert details(refused)["Help"]["links"]


def test_gemini_announces_a_used_up_day_with_misleading_seconds():
    clock = Clock()
    with FakeGemini(Options(rpd=1), clock=clock) as fake, client(fake) as http:
        content(http)
        refused = content(http)
        (violation,) = details(refused)["QuotaFailure"]["violations"]
        assert "PerDay" in violation["quotaId"]
        assert seconds_told(refused) < 60
        clock.now += 60
        assert content(http).status_code == 429
        clock.now += 24 * 3600
        assert content(http).status_code == 200
    assert fake.ledger.outcomes() == {"ok": 2, "day_limited": 2}


def test_a_prompt_larger_than_all_tokens_of_a_minute_is_given_no_time():
    with FakeGemini(Options(tpm=10)) as fake, client(fake) as http:
        refused = content(http, "word " * 40)
        assert "RetryInfo" not in details(refused)
        assert "TokensPerModelPerMinute" in str(details(refused))
        assert "Request too large" in images(http, "word " * 40).json()["error"]["message"]
        assert "retry-after" not in message(http, "word " * 40).headers


def test_an_images_endpoint_tells_the_wait_in_headers_and_text():
    clock = Clock()
    with FakeGemini(Options(rpm=1), clock=clock) as fake, client(fake) as http:
        first = images(http)
        clock.now += 39.5
        refused = images(http)
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    assert first.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "21"
    assert refused.headers["retry-after-ms"] == "20500"
    assert refused.headers["x-ratelimit-limit-requests"] == "1"
    error = refused.json()["error"]
    assert error["code"] == "rate_limit_exceeded"
    assert "Please try again in 20.5s." in error["message"]


def test_a_messages_endpoint_tells_the_wait_in_headers():
    clock = Clock()
    with FakeGemini(Options(rpm=1), clock=clock) as fake, client(fake) as http:
        message(http)
        clock.now += 39.5
        refused = message(http)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "21"
    assert refused.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert refused.headers["anthropic-ratelimit-requests-reset"] == "2026-09-21T14:14:20Z"
    assert refused.json()["type"] == "error"
    assert refused.json()["error"]["type"] == "rate_limit_error"


def test_keys_share_the_limit_of_their_project():
    projects = {"a": "studio", "b": "studio", "c": "other"}
    options = Options(rpm=2, projects=projects)
    with FakeGemini(options, clock=Clock()) as fake:
        for key in "aabbcc":
            with client(fake, key) as http:
                content(http)
    told = [(entry.key, entry.project, entry.outcome) for entry in fake.ledger.entries]
    assert told == [
        ("a", "studio", "ok"),
        ("a", "studio", "ok"),
        ("b", "studio", "rate_limited"),
        ("b", "studio", "rate_limited"),
        ("c", "other", "ok"),
        ("c", "other", "ok"),
    ]
    assert fake.ledger.most_within(60, "studio") == 2


def test_a_limit_can_shrink_while_it_runs():
    with FakeGemini(Options(rpm=3), clock=Clock()) as fake, client(fake) as http:
        content(http)
        fake.change(Limits(rpm=2))
        assert http.post("/limits", json={"rpm": 1, "model": "other"}).status_code == 200
        content(http)
        assert content(http).status_code == 429
        assert content(http, model="other").status_code == 200
        assert content(http, model="other").status_code == 429


def test_speed_shortens_the_minute_and_clients_are_told_real_seconds():
    clock = Clock()
    with FakeGemini(Options(rpm=1, speed=10), clock=clock) as fake, client(fake) as http:
        content(http)
        assert seconds_told(content(http)) == pytest.approx(6)
        clock.now += 6
        assert content(http).status_code == 200


def test_starting_a_video_counts_and_asking_for_it_does_not():
    with FakeGemini(Options(rpm=1), clock=Clock()) as fake, client(fake) as http:
        name = video(http).json()["name"]
        assert [http.get(f"/v1beta/{name}").status_code for _ in range(5)] == [200] * 5
        assert video(http).status_code == 429
