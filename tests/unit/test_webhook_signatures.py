"""Webhook messages: jobq's signatures are those of the reference library, and bad ones fail."""

from __future__ import annotations

import base64
import hmac
import time
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq import webhooks
from jobq.webhooks import _signing

SECRET = webhooks.new_secret()
OTHER = webhooks.new_secret()
BODY = b'{"type":"job.completed"}'
SENT = 1_793_000_000

ids = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."), min_size=1
)
keys = st.binary(min_size=16, max_size=64)


def headers(secret=SECRET, *, id="msg_1", at=SENT, body=BODY):
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": webhooks.sign(id, at, body, secret),
    }


def refused(changed, body=BODY, secret=SECRET, now=SENT, **options):
    with pytest.raises(jobq.WebhookError) as caught:
        webhooks.verify(changed, body, secret, now=now, **options)
    return caught.value.code


def spelled(key):
    return "whsec_" + base64.b64encode(key).decode()


@given(ids, st.integers(0, 10**10), st.text(), keys)
def test_it_signs_as_the_reference_library_does(id, at, body, key):
    theirs = standardwebhooks.Webhook(spelled(key)).sign(id, datetime.fromtimestamp(at, UTC), body)
    assert webhooks.sign(id, at, body, spelled(key)) == theirs
    assert webhooks.sign(id, at, body.encode(), key) == theirs


@given(ids, st.text(), keys)
def test_what_it_signs_the_reference_library_accepts(id, body, key):
    sent = headers(spelled(key), id=id, at=int(time.time()), body=body)
    standardwebhooks.Webhook(spelled(key)).verify(body, sent, json_parse=False)


@given(ids, st.text(), keys)
def test_what_the_reference_library_signs_it_accepts(id, body, key):
    signature = standardwebhooks.Webhook(spelled(key)).sign(
        id, datetime.fromtimestamp(SENT, UTC), body
    )
    sent = {"Webhook-Id": id, "Webhook-Timestamp": str(SENT), "Webhook-Signature": signature}
    received = webhooks.verify(sent, body.encode(), spelled(key), now=SENT)
    assert received == webhooks.Received(id, datetime.fromtimestamp(SENT, UTC))


def test_a_secret_without_its_prefix_or_padding_is_the_same_secret():
    padded = "whsec_" + base64.b64encode(b"x" * 25).decode()
    assert padded.endswith("=")
    for secret in (padded, padded.rstrip("="), padded.removeprefix("whsec_"), b"x" * 25):
        assert webhooks.verify(headers(padded), BODY, secret, now=SENT).id == "msg_1"


def test_while_a_secret_changes_either_side_may_know_both():
    both = headers([SECRET, OTHER])
    assert len(both["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OTHER, [OTHER, SECRET]):
        assert webhooks.verify(both, BODY, secret, now=SENT).id == "msg_1"
    assert webhooks.verify(headers(OTHER), BODY, [SECRET, OTHER], now=SENT).id == "msg_1"
    assert refused(both, secret=webhooks.new_secret()) == "bad_signature"


def test_signatures_of_other_versions_are_passed_over():
    sent = headers()
    good = sent["webhook-signature"]
    for others in ("v1a,AAAA", "v2,%%%", "v1", "v1,", ",", "", "v1,not base64", "v1,ü"):
        sent["webhook-signature"] = f"{others} {good}"
        assert webhooks.verify(sent, BODY, SECRET, now=SENT).id == "msg_1"
        sent["webhook-signature"] = others or "-"
        assert refused(sent) == "bad_signature"


def test_a_change_of_any_part_is_noticed():
    sent = headers()
    assert refused(sent, body=BODY + b" ") == "bad_signature"
    assert refused(sent | {"webhook-id": "msg_2"}) == "bad_signature"
    assert refused(sent | {"webhook-timestamp": str(SENT + 1)}) == "bad_signature"
    assert refused(sent, secret=OTHER) == "bad_signature"


def test_a_message_is_believed_for_five_minutes():
    sent = headers()
    for now in (SENT - 300, SENT, SENT + 300, datetime.fromtimestamp(SENT + 300, UTC)):
        assert webhooks.verify(sent, BODY, SECRET, now=now).id == "msg_1"
    assert refused(sent, now=SENT + 301) == "too_old"
    assert refused(sent, now=SENT - 301) == "too_new"
    assert refused(sent, now=SENT + 11, tolerance=10) == "too_old"
    assert refused(sent, now=float("nan")) == "too_new"
    assert refused(headers(at=SENT), now=None) in ("too_old", "too_new")
    assert webhooks.verify(headers(at=int(time.time())), BODY, SECRET).id == "msg_1"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name):
    sent = headers()
    assert refused({key: value for key, value in sent.items() if key != name}) == "missing_header"
    assert refused(sent | {name: ""}) == "missing_header"
    with pytest.raises(jobq.WebhookError, match=name):
        webhooks.verify(sent | {name: None}, BODY, SECRET, now=SENT)


@pytest.mark.parametrize("id", ["a.b", "a b", "ä", "a\n", "x" * 201])
def test_an_id_that_could_be_read_in_two_ways_is_refused(id):
    assert refused(headers() | {"webhook-id": id}) == "bad_id"
    with pytest.raises(jobq.OptionError, match="no id"):
        webhooks.sign(id, SENT, BODY, SECRET)


@pytest.mark.parametrize("at", ["-1", "1e9", "1_0", "٣", " 1", "17930000001.5", "9" * 12, "\n1"])
def test_a_timestamp_is_digits(at):
    assert refused(headers() | {"webhook-timestamp": at}) == "bad_timestamp"


@given(st.dictionaries(st.text(), st.text() | st.none()), st.binary())
def test_whatever_headers_come_the_answer_is_a_webhook_error(some, body):
    with pytest.raises(jobq.WebhookError):
        webhooks.verify(some, body, SECRET, now=SENT)


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_whatever_the_three_headers_say_the_answer_is_a_webhook_error(id, at, signature):
    some = {"webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature}
    with pytest.raises(jobq.WebhookError):
        webhooks.verify(some, BODY, SECRET, now=SENT)


@given(st.text(max_size=100))
def test_whatever_the_signature_says_only_a_good_one_is_good(signature):
    assert refused(headers() | {"webhook-signature": f"{signature} v1,{signature}"}) in (
        "bad_signature",
        "missing_header",
    )


def test_all_signatures_are_compared_in_constant_time(monkeypatch):
    compared = []
    compare_digest = hmac.compare_digest

    def compare(wanted, given):
        compared.append(given)
        return compare_digest(wanted, given)

    monkeypatch.setattr(_signing.hmac, "compare_digest", compare)
    both = headers([SECRET, OTHER])
    webhooks.verify(both, BODY, [SECRET, OTHER], now=SENT)
    assert len(compared) == 4


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_%%%", "whsec_c2hvcnQ=", b"short", [], 7])
def test_a_secret_that_is_none_is_an_error_that_does_not_show_it(secret):
    with pytest.raises(jobq.OptionError) as caught:
        webhooks.verify(headers(), BODY, secret, now=SENT)
    assert "c2hvcnQ" not in str(caught.value)
    assert "%%%" not in str(caught.value)


def test_a_parsed_body_cannot_be_checked_and_a_bare_now_has_no_meaning():
    with pytest.raises(jobq.OptionError, match="bytes"):
        webhooks.verify(headers(), {"type": "job.completed"}, SECRET, now=SENT)
    with pytest.raises(jobq.OptionError, match="time zone"):
        webhooks.verify(headers(), BODY, SECRET, now=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(jobq.OptionError, match="timestamp"):
        webhooks.sign("msg_1", SENT + 0.5, BODY, SECRET)


def test_new_secrets_are_long_and_each_is_another():
    assert webhooks.new_secret() != webhooks.new_secret()
    assert [len(key) for key in _signing.keys_of(webhooks.new_secret())] == [32]
