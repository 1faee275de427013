"""`admit` decides which jobs may start, and nothing that a limit forbids ever does."""

from __future__ import annotations

from datetime import time
from zoneinfo import ZoneInfo

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from jobq import Concurrency, DailyQuota, KeyPool, RateLimit
from jobq._clock import to_datetime
from jobq._limits import Lane
from jobq._limits.admit import FAR, NEVER, State, keys_of, lane_opening
from tests.unit.admissions import (
    MIDNIGHT,
    NOON,
    POOLS,
    SECOND,
    Case,
    a_case,
    at,
    bucket,
    heads,
    lane,
    unheld,
)

seeds = st.integers(0, 2**32)
thoroughly = settings(max_examples=300)


def assert_allows(state: State, start: int, cost: int) -> None:
    """Whether a limit lets a job start, from first principles."""
    assert not state.paused
    assert start >= (state.blocked_until or 0)
    match state.limit:
        case RateLimit() as limit:
            assert limit.bucket.free(state.tat, start) >= cost
        case DailyQuota() as limit:
            today = to_datetime(start).astimezone(ZoneInfo(limit.tz))
            used = state.used if state.day == today.date().isoformat() else 0
            assert used + cost <= limit.n
            assert today.time() >= time(0, 0, 30)
        case Concurrency() as limit:
            assert state.running < limit.n


@thoroughly
@given(seeds)
def test_every_permit_respects_every_limit_of_its_job(seed):
    case = a_case(seed)
    admission, after = case.outcome()
    states = case.copies()
    for id, permit in admission.permits.items():
        assert case.now <= permit.start <= permit.good_until
        for key, cost in permit.debits.items():
            if key not in states:
                continue
            assert_allows(states[key], permit.start, cost)
            assert permit.good_until <= states[key].covers(permit.start)
            if states[key].limit is not None:
                states[key].debit(permit.start, cost)
        parsed = Lane.parse(case.head(id).lane)
        needed = {ref.key for ref in parsed.refs if ref.pool is None}
        chosen = {key for key in permit.debits if key not in needed}
        name = permit.keys.get("p")
        rows = set() if name is None else {"@p", f"@p/{name}", dict(POOLS["p"])[name]}
        assert chosen == rows
    assert {key: unheld(state) for key, state in states.items()} == {
        key: unheld(state) for key, state in after.items()
    }


@thoroughly
@given(seeds)
def test_a_job_takes_all_of_its_limits_or_none(seed):
    case = a_case(seed)
    admission, after = case.outcome()
    touched = {key for permit in admission.permits.values() for key in permit.debits}
    touched |= {key for key, state in after.items() if state.held_for is not None}
    assert admission.debited <= touched
    for key, state in case.states.items():
        if key not in admission.debited:
            assert after[key] == state
    for refused in admission.refused:
        assert refused not in admission.permits


@thoroughly
@given(seeds)
def test_no_more_start_than_slots_and_no_more_ahead_than_allowed(seed):
    case = a_case(seed)
    permits = case.outcome()[0].permits.values()
    ahead = [permit for permit in permits if permit.start > case.now]
    assert len(permits) <= case.slots
    assert len(ahead) <= case.ahead
    assert all(permit.start <= case.now + case.look_ahead for permit in ahead)


@thoroughly
@given(seeds)
def test_the_most_urgent_head_goes_first_and_then_the_lane_served_longest_ago(seed):
    case = a_case(seed)
    admission, _ = case.outcome()
    left = {
        where: [h for h in some if h.id not in admission.refused]
        for where, some in case.lanes.items()
    }
    turn = dict(case.served)
    for number, (where, id) in enumerate(zip(admission.served, admission.permits, strict=True), 1):
        open_lanes = {
            w: some[0] for w, some in left.items() if some and w not in admission.openings
        }
        open_lanes[where] = left[where][0]
        best = min(open_lanes, key=lambda w: (-open_lanes[w].priority, turn[w], w))
        assert (best, left[where].pop(0).id) == (where, id)
        turn[where] = case.now + number


@thoroughly
@given(seeds)
def test_what_is_closed_keeps_only_its_own_lanes_waiting(seed):
    case = a_case(seed)
    admission, after = evolve(case, slots=100).outcome()
    done = {*admission.permits, *admission.refused}
    for where, some in case.lanes.items():
        left = [head for head in some if head.id not in done]
        if left:
            parsed = Lane.parse(where[1])
            opening, *_ = lane_opening(
                parsed, after, case.now, costs=left[0].costs, pools=POOLS, head=left[0]
            )
            full = any(after[key].is_full for key in keys_of(parsed, POOLS) if key in after)
            assert opening > case.now or full
            assert admission.openings[where] == max(opening, case.now + 1)


@thoroughly
@given(seeds)
def test_asking_at_an_opening_is_granted_and_a_microsecond_earlier_is_not(seed):
    case = a_case(seed, ahead=0)
    admission, after = evolve(case, slots=100).outcome()
    done = {*admission.permits, *admission.refused}
    for where, opening in admission.openings.items():
        keys = keys_of(Lane.parse(where[1]), POOLS)
        if opening >= NEVER or any(after[key].is_full for key in keys if key in after):
            continue
        left = [head for head in case.lanes[where] if head.id not in done]
        for now, granted in ((opening, True), (opening - 1, False)):
            again = Case(after, {where: left[:1]}, now=now)
            assert (left[0].id in again.outcome()[0].permits) is granted


@thoroughly
@given(seeds)
def test_only_a_cost_above_a_limit_is_refused(seed):
    case = a_case(seed)
    admission, after = case.outcome()
    for id, reason in admission.refused.items():
        head = case.head(id)
        limits = [after[key].limit for key in ("r1", "r2", "q1") if key in head.lane]
        pooled = [after[key].limit for key in ("p:a", "p:b", "p:ab") if "@p" in head.lane]
        too_small = [limit for limit in limits if head.costs.get(limit.key, 1) > limit.max_cost]
        assert too_small or all(head.costs.get("@p", 1) > limit.max_cost for limit in pooled)
        assert reason.startswith("its cost of ")


def test_a_job_above_a_lowered_limit_is_refused_by_name_and_the_next_one_starts():
    where = at("tpm")
    costly, cheap = heads(where, 1, tpm=500), heads(where, 1, tpm=5)
    lanes = {where: [costly[0], evolve(cheap[0], id="cheap")]}
    admission, _ = Case({"tpm": bucket("tpm", 100, 60, 100)}, lanes).outcome()
    assert admission.refused == {
        costly[0].id: "its cost of 500 is above the 100 that limit 'tpm' allows at once"
    }
    assert list(admission.permits) == ["cheap"]


def test_a_lane_that_cannot_be_read_is_refused_and_keeps_nobody_waiting():
    broken, sound = ("q", "not a lane"), at("rpm")
    lanes = {broken: heads(broken, 2), sound: heads(sound, 1)}
    admission, _ = Case({"rpm": bucket("rpm")}, lanes).outcome()
    assert set(admission.refused.values()) == {"its lane cannot be read"}
    assert len(admission.refused) == 2
    assert list(admission.permits) == [f"{sound}/0"]
    assert admission.openings == {}


def test_a_lane_of_ten_jobs_is_served_within_ten_rounds_beside_one_of_ten_thousand():
    long, short = at("rpm", queue="a"), at("rpm", queue="b")
    left = {long: heads(long, 10_000), short: heads(short, 10)}
    states, now = {"rpm": bucket("rpm", 2)}, NOON
    served: dict[tuple[str, str], int] = {long: 0, short: 0}
    starts = []
    for _ in range(20):
        window = {where: some[:4] for where, some in left.items() if some}
        case = Case(states, window, slots=4, now=now, served=served)
        admission = case.admit(states)
        for number, where in enumerate(admission.served, 1):
            left[where].pop(0)
            starts.append(where)
            served[where] = now + number
        now = min(admission.openings.values())
    assert starts == [long, short] * 10


def test_an_urgent_job_goes_first_and_a_lane_of_less_urgent_ones_is_not_starved_by_its_queue():
    urgent, normal = at("rpm", queue="a"), at("rpm", queue="b")
    mixed = heads(urgent, 1, priority=100) + heads(urgent, 5)[1:]
    case = Case({"rpm": bucket("rpm", 10, 1, 4)}, {normal: heads(normal, 9), urgent: mixed})
    assert case.outcome()[0].served == [urgent, normal, urgent, normal]


def test_no_more_jobs_run_than_there_are_places_and_a_hoped_for_place_is_not_granted_ahead():
    where = at("gpu")
    full = State("gpu", Concurrency("gpu", 2), running=2, frees_at=NOON + 1000)
    case = Case({"gpu": full}, {where: heads(where, 5)}, ahead=5)
    admission, _ = case.outcome()
    assert (admission.permits, admission.openings) == ({}, {where: NOON + 1000})
    for frees_at, opening in ((None, NEVER), (NOON - 5, NOON + 1)):
        admission, _ = evolve(case, states={"gpu": evolve(full, frees_at=frees_at)}).outcome()
        assert (admission.permits, admission.openings) == ({}, {where: opening})
    admission, states = evolve(case, states={"gpu": evolve(full, running=0)}).outcome()
    assert len(admission.permits) == states["gpu"].running == 2


def test_a_daily_quota_starts_half_a_minute_after_midnight_and_never_ahead_of_it():
    where = at("rpd")
    spent = State("rpd", DailyQuota("rpd", 3), day=DailyQuota("rpd", 3).day(MIDNIGHT - 1), used=3)
    opening = MIDNIGHT + 30 * SECOND
    for now in (MIDNIGHT - SECOND, MIDNIGHT, opening - 1):
        case = Case({"rpd": spent}, {where: heads(where, 9)}, ahead=5, look_ahead=60 * SECOND)
        admission, _ = evolve(case, now=now).outcome()
        assert (admission.permits, admission.openings) == ({}, {where: opening})
    admission, states = evolve(case, now=opening).outcome()
    assert len(admission.permits) == states["rpd"].used == 3
    assert admission.openings == {where: opening + 86_400 * SECOND}
    assert all(
        permit.good_until < MIDNIGHT + 86_400 * SECOND for permit in admission.permits.values()
    )


def test_of_a_pool_the_key_that_opens_first_is_used_and_a_benched_one_is_not():
    where = at("@p")
    states = {
        key: bucket(key, 1, 60, tat=NOON + shift)
        for key, shift in [("p:a", 100 * SECOND), ("p:b", 95 * SECOND)]
    }
    states["p:ab"] = bucket("p:ab", 1, 60, tat=NOON + 300 * SECOND)
    states |= {f"@p/{name}": State(f"@p/{name}", None) for name in "abcd"}
    case = Case(states, {where: heads(where, 1)})
    opening = case.outcome()[0].openings[where]
    permit = evolve(case, now=opening).outcome()[0].permits[f"{where}/0"]
    assert (opening, permit.keys) == (NOON + 95 * SECOND, {"p": "b"})
    assert permit.debits == {"@p": 1, "@p/b": 1, "p:b": 1}
    benched = {**states, "@p/b": State("@p/b", None, blocked_until=NOON + 3600 * SECOND)}
    assert evolve(case, states=benched).outcome()[0].openings == {where: NOON + 100 * SECOND}


def test_jobs_of_a_pool_whose_keys_are_all_used_go_on_with_the_next_key():
    where = at("@p")
    states = {key: bucket(key, 1, 60) for key in ("p:a", "p:b", "p:ab")}
    admission, _ = Case(states, {where: heads(where, 9)}).outcome()
    assert [permit.keys["p"] for permit in admission.permits.values()] == ["a", "b", "c"]


def test_a_lane_of_a_pool_without_a_key_waits_and_is_not_refused():
    where = at("@none", "rpm")
    admission, states = Case({"rpm": bucket("rpm")}, {where: heads(where, 2)}).outcome()
    assert (admission.permits, admission.refused) == ({}, {})
    assert admission.openings == {where: NEVER}
    assert states == {"rpm": bucket("rpm")}


def test_an_opening_counts_what_went_after_the_lane_was_found_closed():
    held, cheap = at("rpm", "tpm", queue="a"), at("tpm", queue="b")
    lanes = {held: heads(held, 1, tpm=5), cheap: heads(cheap, 9)}
    states = {"tpm": bucket("tpm", 10, 60, 5), "rpm": bucket("rpm")}
    states["rpm"].blocked_until = NOON + SECOND
    admission, after = Case(states, lanes).outcome()
    assert admission.served == [cheap] * 5
    assert admission.openings[held] == after["tpm"].opening(NOON, 5) > NOON + 30 * SECOND


def test_a_costly_job_is_not_kept_waiting_by_cheap_ones_that_come_after_it():
    dear, cheap = at("tpm", queue="a"), at("tpm", queue="b")
    lanes = {dear: heads(dear, 1, tpm=5), cheap: heads(cheap, 9)}
    states = {"tpm": bucket("tpm", 10, 60, 5, tat=NOON + 10 * SECOND)}
    first, after = Case(states, lanes).outcome()
    assert first.served == []
    opens = first.openings[dear]
    assert after["tpm"].held_for == f"{dear}/0"
    assert first.openings[cheap] == opens + SECOND
    second, later = Case(after, lanes, now=opens).outcome()
    assert second.served[0] == dear
    assert later["tpm"].held_for is None


def test_a_more_urgent_job_does_not_wait_for_a_costly_one():
    dear, cheap = at("tpm", queue="a"), at("tpm", queue="b")
    state = bucket("tpm", 10, 60, 5, tat=NOON + 10 * SECOND)
    _, after = Case({"tpm": state}, {dear: heads(dear, 1, tpm=5)}).outcome()
    lanes = {cheap: heads(cheap, 1, priority=1)}
    assert Case(after, lanes).outcome()[0].served == [cheap]
    lanes = {cheap: heads(cheap, 1)}
    assert Case(after, lanes).outcome()[0].served == []


def test_a_paused_limit_opens_when_somebody_resumes_it_and_not_before():
    where, other = at("rpm", "tenant"), at("tenant")
    states = {"rpm": bucket("rpm"), "tenant": bucket("tenant")}
    states["rpm"].paused = True
    lanes = {where: heads(where, 1), other: heads(other, 1)}
    admission, after = Case(states, lanes).outcome()
    assert list(admission.permits) == [f"{other}/0"]
    assert admission.openings == {where: NEVER}
    assert after["rpm"] == states["rpm"]


def test_a_limit_closed_for_longer_than_dates_go_is_closed_for_ever():
    quota = State("rpd", DailyQuota("rpd", 3, tz="Asia/Tokyo"), blocked_until=FAR + 9 * 10**17)
    dear = bucket("tpm", 10**9, 60, 10**9, tat=FAR + NOON)
    where = at("rpd", "tpm")
    admission, _ = Case({"rpd": quota, "tpm": dear}, {where: heads(where, 1)}).outcome()
    assert admission.openings == {where: NEVER}


def test_a_pool_is_named_in_a_lane_as_it_names_itself():
    pool = KeyPool("p", keys={"a": "s"}, limit=RateLimit("p:{key}", 1, per=1))
    assert keys_of(Lane.parse(lane(pool.key)), {"p": pool.options}) == {"@p", "@p/a", "p:a"}
