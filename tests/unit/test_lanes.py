"""What a job stores of its limits: keys filled in, one lane, and its costs."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobq
from jobq import Concurrency, DailyQuota, KeyPool, RateLimit
from jobq._limits.lanes import LONGEST, Lane, Ref, wanted
from jobq._limits.templates import check_template, fields_of, fill

JOB = {
    "type": "image_edit",
    "queue": "images",
    "owner": "user-7",
    "metadata": {"plan": "free", "deep": {"er": 5}},
    "payload": {
        "model": "flash",
        "size": {"w": 512},
        "owner": "theirs",
        "flag": True,
        "none": None,
    },
}


@pytest.mark.parametrize(
    "template, key",
    [
        ("gemini", "gemini"),
        ("tenant:{owner}", "tenant:user-7"),
        ("{queue}/{type}", "images/image_edit"),
        ("{model}", "flash"),
        ("{payload.model}", "flash"),
        ("{payload.owner}", "theirs"),
        ("{size.w}px", "512px"),
        ("{metadata.plan}:{metadata.deep.er}", "free:5"),
        ("{{{owner}}}", "{user-7}"),
        ("a{{b}}", "a{b}"),
        ("ключ:{owner} ☂", "ключ:user-7 ☂"),
    ],
)
def test_a_key_is_filled_from_the_job(template, key):
    check_template(template)
    assert fill(template, JOB) == key


@pytest.mark.parametrize(
    "template, says",
    [
        ("{missing}", "the limit '{missing}' needs {missing} as text or integer, and it is None"),
        ("{metadata.missing}", "{metadata.missing} as text or integer"),
        ("{metadata}", "{metadata} as text or integer"),
        ("{size}", "and it is {'w': 512}"),
        ("{model.x}", "and it is None"),
        ("{owner.x}", "and it is None"),
        ("{flag}", "and it is True"),
        ("{none}", "and it is None"),
    ],
)
def test_a_key_that_cannot_be_filled_names_what_is_missing(template, says):
    with pytest.raises(jobq.OptionError) as caught:
        fill(template, JOB)
    assert says in str(caught.value)


def test_a_missing_owner_comes_with_its_fix():
    with pytest.raises(jobq.OptionError, match="and it is None; give owner=…"):
        fill("tenant:{owner}", {**JOB, "owner": None})


@pytest.mark.parametrize("value", ["", 1.5, float("nan"), ["a"], {"a": 1}, b"a", True])
def test_a_value_that_is_neither_text_nor_an_integer_is_refused(value):
    with pytest.raises(jobq.OptionError, match="text or integer"):
        fill("x:{name}", {"payload": {"name": value}})


@pytest.mark.parametrize("value", ["a\nb", "\x00", "\ud800", "\x1b[31m", "\u202e"])
def test_a_value_that_is_not_printable_is_refused(value):
    with pytest.raises(jobq.OptionError, match="is not printable"):
        fill("x:{name}", {"payload": {"name": value}})


def test_a_key_that_becomes_too_long_is_refused_in_a_short_message():
    with pytest.raises(jobq.OptionError, match=r"'x:\{name\}' becomes 201 letters long"):
        fill("x:{name}", {"payload": {"name": "n" * 199}})
    with pytest.raises(jobq.OptionError) as caught:
        fill("x:{name}", {"payload": {"name": ["n" * 10_000]}})
    assert len(str(caught.value)) < 300


@given(st.text(max_size=30))
def test_whatever_is_accepted_as_a_key_can_be_filled_or_says_why(template):
    try:
        check_template(template)
    except jobq.ConfigurationError:
        return
    try:
        key = fill(template, JOB)
    except jobq.OptionError:
        assert fields_of(template)
    else:
        assert fields_of(template) or key == template.replace("{{", "{").replace("}}", "}")


LIMITS = [
    RateLimit("gemini", 60, per=60),
    RateLimit("tenant:{owner}", 5, per=60, max_cost=3),
    DailyQuota("rpd", 1000),
    Concurrency("gpu:{model}", 2),
    KeyPool("keys", keys={"a": "s1"}, limit=RateLimit("{key}", 10, per=1, max_cost=5)),
]


@given(st.randoms(use_true_random=False))
def test_a_lane_is_the_same_text_in_whatever_order_limits_are_declared(rng: random.Random):
    limits = [*LIMITS, RateLimit("tenant:user-7", 5, per=60)]
    shuffled = rng.sample(limits, len(limits))
    assert wanted(shuffled, JOB) == wanted(limits, JOB)


def test_a_lane_holds_the_keys_of_a_job_and_what_they_were_declared_as():
    lane = wanted(LIMITS, JOB).lane
    assert lane == (
        '["image_edit",["@keys","gemini",["gpu:{model}","gpu:flash"],"rpd",'
        '["tenant:{owner}","tenant:user-7"]]]'
    )
    parsed = Lane.parse(lane)
    assert [ref.pool for ref in parsed.refs] == ["keys", None, None, None, None]
    assert wanted([], JOB) == wanted(iter(()), JOB)
    assert wanted([], JOB).lane is None


keys = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
refs = st.builds(Ref, keys, keys) | keys.map(lambda key: Ref(key, key))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(refs, max_size=6))
def test_a_lane_is_what_its_text_says(type, refs):
    lane = Lane(type, tuple(refs))
    assert Lane.parse(lane.text) == lane


@given(st.text() | st.recursive(st.text(max_size=5), st.lists, max_leaves=6).map(json.dumps))
def test_a_text_that_is_no_lane_is_none_and_no_error(text):
    lane = Lane.parse(text)
    assert lane is None or Lane.parse(lane.text) == lane


@pytest.mark.parametrize("owner", ["@keys", "@alice", "@keys/a"])
def test_a_filled_in_key_never_stands_for_a_pool(owner):
    lane = wanted([RateLimit("{owner}", 1, per=1)], {**JOB, "owner": owner}).lane
    assert [ref.pool for ref in Lane.parse(lane).refs] == [None]


def test_a_lane_too_long_for_an_index_is_refused_and_counted_in_bytes():
    limits = [RateLimit(f"{number}:{{name}}", 1, per=1) for number in range(4)]
    values = {"type": "t", "payload": {"name": "ж" * 190}}
    assert len(wanted(limits[:3], values).lane.encode()) < LONGEST
    more = [*limits, RateLimit("4:{name}", 1, per=1), RateLimit("5:{name}", 1, per=1)]
    with pytest.raises(jobq.OptionError, match=r"take 2[34]\d\d bytes, more than 2000"):
        wanted(more, values)


def units(*limits, payload=None, costs=None) -> dict[str, int] | None:
    """The costs that a job of these limits stores."""
    stored = wanted(limits, JOB, payload=payload, costs=costs).costs
    return None if stored is None else json.loads(stored)


RPM, TPM = RateLimit("rpm", 60, per=60), RateLimit("tpm:{owner}", 9000, per=60, max_cost=3000)


def test_a_cost_is_one_unless_the_limit_or_the_call_says_otherwise():
    by_payload = RateLimit("tpm", 9000, per=60, max_cost=3000, cost=lambda p: p["tokens"])
    fixed = DailyQuota("rpd", 100, cost=4)
    assert units(RPM, TPM) is None
    assert units(RPM, by_payload, fixed, payload={"tokens": 7}) == {"tpm": 7, "rpd": 4}
    assert units(RPM, by_payload, fixed, payload={}, costs={"tpm": 1, "rpd": 0}) == {"rpd": 0}


@pytest.mark.parametrize("name", ["tpm:{owner}", "tpm:user-7"])
def test_a_cost_names_its_limit_as_declared_or_as_filled_in(name):
    assert units(RPM, TPM, costs={name: 1200}) == {"tpm:user-7": 1200}


@pytest.mark.parametrize("name", ["keys", "@keys"])
def test_a_cost_names_a_pool_by_its_name(name):
    assert units(LIMITS[4], costs={name: 5}) == {"@keys": 5}


def test_two_limits_that_become_one_cost_the_more_of_both():
    shared = [RateLimit("k:{owner}", 9, per=1, max_cost=9), RateLimit("k:user-7", 9, per=1)]
    assert units(*shared, costs={"k:{owner}": 5}) == {"k:user-7": 5}
    assert units(*shared, costs={"k:{owner}": 0}) is None


@pytest.mark.parametrize(
    "limit, costs, says",
    [
        (TPM, {"tpm:user-7": -1}, "must be an integer from 0, not -1"),
        (TPM, {"tpm:user-7": True}, "must be an integer from 0, not True"),
        (TPM, {"tpm:user-7": 1.0}, "must be an integer from 0, not 1.0"),
        (TPM, {"tpm:user-7": "5"}, "must be an integer from 0, not '5'"),
        (TPM, {"tpm:user-7": None}, "must be an integer from 0, not None"),
        (
            TPM,
            {"tpm:{owner}": 3001},
            "a cost of 3001 is above the max_cost=3000 of limit 'tpm:{owner}': it could never",
        ),
        (DailyQuota("rpd", 10), {"rpd": 11}, "a cost of 11 is above the max_cost=10"),
        (LIMITS[4], {"keys": 6}, "a cost of 6 is above the max_cost=5 of limit '@keys'"),
        (Concurrency("gpu", 2), {"gpu": 2}, "a job takes one place of 'gpu', not 2"),
        (Concurrency("gpu", 2), {"gpu": 0}, "a job takes one place of 'gpu', not 0"),
        (RPM, {"rmp": 2}, "cost: ['rmp'] are no limits of this job (which has 'rpm')"),
        (RPM, {"rpm": 1, "x": 1, 5: 1}, "[5, 'x'] are no limits of this job"),
        (LIMITS[4], {"x": 1}, "(which has 'keys')"),
    ],
)
def test_a_cost_that_can_never_be_met_is_refused_where_it_is_given(limit, costs, says):
    with pytest.raises(jobq.OptionError) as caught:
        units(limit, costs=costs)
    assert says in str(caught.value)


def test_a_cost_without_any_limit_is_refused():
    with pytest.raises(jobq.OptionError, match="which has none"):
        units(costs={"gemini": 1})


@pytest.mark.parametrize(
    "cost, says",
    [
        (lambda payload: payload["tokens"], "the cost of limit 'tpm': KeyError"),
        (lambda payload: None, "must be an integer from 0, not None"),
        (lambda payload: 2.5, "must be an integer from 0, not 2.5"),
        (lambda payload: -1, "must be an integer from 0, not -1"),
        (lambda payload: 10**9, "is above the max_cost=10"),
        (lambda: 1, "the cost of limit 'tpm': TypeError"),
    ],
)
def test_a_cost_function_that_fails_or_gives_no_number_says_so(cost, says):
    with pytest.raises(jobq.OptionError) as caught:
        units(RateLimit("tpm", 90, per=60, max_cost=10, cost=cost), payload={})
    assert says in str(caught.value)
