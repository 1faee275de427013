"""Secrets never appear in what is stored or logged."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq import _masking
from jobq._masking import hide, hide_dsn, hide_environment, mask

# A secret made of the mask's own stars could not be told from it.
secrets = st.text(st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=6)
tokens = st.text("abcXYZ019-_.~+/=%", min_size=3, max_size=30).filter(lambda t: t.strip("="))
quoted = st.text(st.characters(exclude_characters="*\"'\\", codec="ascii"), min_size=3)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(_masking, "_known", set())
    monkeypatch.setattr(_masking, "_pattern", None)


def forget():
    """What the fixture does once, between the examples of one test."""
    _masking._known.clear()
    _masking._pattern = None


@given(st.lists(secrets, min_size=1, max_size=4), st.text(), st.text(), st.data())
def test_a_registered_secret_never_appears(known, before, after, data):
    forget()
    hide(known)
    secret = data.draw(st.sampled_from(known))
    masked = mask(f"{before}{secret}{after}{secret}")
    assert all(secret not in masked for secret in known)


@given(st.text("abc", min_size=6), st.text("abc", max_size=5))
def test_a_secret_that_begins_with_another_is_masked_whole(short, more):
    forget()
    hide([short, short + more])
    assert mask(f"<{short}{more}>") == "<***>"


@given(
    st.sampled_from(["key", "api_key", "x-api-key", "TOKEN", "access.token", "client_secret"]),
    st.sampled_from(["=", ":", " = ", ": "]),
    tokens,
)
def test_the_value_after_a_secret_name_is_masked(name, between, value):
    assert mask(f"see {name}{between}{value} there") == f"see {name}{between}*** there"


@given(st.sampled_from(["'", '"']), quoted)
def test_a_quoted_value_is_masked_to_its_closing_quote(quote, value):
    shown = mask(f"password={quote}{value}{quote}, user='ada'")
    assert shown == f"password={quote}***{quote}, user='ada'"


@given(st.text(min_size=1), st.text(min_size=1))
def test_values_in_json_are_masked(token, other):
    shown = mask(json.dumps({"token": token, "n": other}))
    assert shown.startswith('{"token": "***"')


@pytest.mark.parametrize(
    "text, expected",
    [
        ("GET /v1?api_key=abc123&page=2", "GET /v1?api_key=***&page=2"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("authorization: Basic dXNlcjpw", "authorization: ***"),
        ("Authorization: ApiKey abc", "Authorization: ***"),
        ("{'Authorization': 'Bearer abc', 'n': 1}", "{'Authorization': '***', 'n': 1}"),
        ("authorization=abc, then", "authorization=***, then"),
        ("postgresql://ada:pw@host/db", "postgresql://ada:***@host/db"),
        ("postgresql://ada:p@w@host/db", "postgresql://ada:***@host/db"),
        ("https://:pw@host", "https://:***@host"),
        ("a://u:p1@h, b://v:p2@h", "a://u:***@h, b://v:***@h"),
        ("host=h password=pw user=u", "host=h password=*** user=u"),
        ("postgresql://h/d?password=pw&x=1", "postgresql://h/d?password=***&x=1"),
    ],
)
def test_the_usual_places_of_secrets_are_masked(text, expected):
    assert mask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'name'",
        "max_tokens=100 was too many",
        "https://host:8080/path?page=2",
        "ada@example.com wrote: hello",
        "the key is missing",
        "",
    ],
)
def test_other_text_stays_as_it_is(text):
    assert mask(text) == text


@given(st.text())
def test_masking_twice_changes_nothing_more(text):
    forget()
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize(
    "text", ["a-" * 50_000, "token=" * 20_000, '"key": "' * 20_000, 'key="' + '\\"' * 50_000]
)
@pytest.mark.timeout(10)
def test_long_text_is_masked_in_linear_time(text):
    assert mask(text)


def test_a_short_word_is_no_secret():
    hide(["abc", None, ""])
    assert mask("abc") == "abc"


def test_the_password_of_a_queues_url_is_known_written_and_decoded():
    jobq.Queue("postgresql://ada:p%40ssword@host/db")
    assert mask("p%40ssword or p@ssword") == "*** or ***"


def test_a_password_in_the_urls_query_is_known_too():
    hide_dsn("postgresql:///db?password=tops%20ecret")
    assert mask("tops ecret") == "***"


def test_a_broken_url_hides_nothing_and_breaks_nothing():
    hide_dsn("postgresql://[::1/db")


def test_the_environments_secrets_are_known(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "abcdef-123")
    monkeypatch.setenv("SERVICE_CREDENTIALS", "ghijkl-456")
    monkeypatch.setenv("DATABASE_URL", "postgresql://ada:mnopqr-789@host/db")
    monkeypatch.setenv("PLAIN_SETTING", "stays-visible")
    hide_environment()
    text = "abcdef-123 ghijkl-456 mnopqr-789 stays-visible"
    assert mask(text) == "*** *** *** stays-visible"
