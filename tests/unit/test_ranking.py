"""Many lanes: which of them a claim asks for."""

from __future__ import annotations

from types import SimpleNamespace

from jobq._worker.ranking import GOOD_FOR, Ranking

LANES = [("default", f"lane {n}") for n in range(20)]


def grant(**brought: object) -> SimpleNamespace:
    nothing: dict[str, object] = {"ranked": [], "empty": [], "openings": {}, "jobs": []}
    return SimpleNamespace(**(nothing | brought))


def job(at: tuple[str, str]) -> tuple[SimpleNamespace, None]:
    return SimpleNamespace(queue=at[0], lane=at[1]), None


def ranked() -> Ranking:
    ranking = Ranking()
    ranking.heard(grant(ranked=LANES), now=0.0)
    return ranking


def test_without_an_order_a_claim_asks_for_all_lanes():
    assert Ranking().choose(LANES, 2, now=5.0) == LANES


def test_a_claim_asks_for_the_next_lanes_in_turn():
    assert ranked().choose(LANES, 2, now=0.0) == LANES[:4]


def test_lanes_that_were_served_come_last():
    ranking = ranked()
    ranking.heard(grant(jobs=[job(LANES[0]), job(LANES[0]), job(LANES[1])]), now=0.0)
    assert ranking.choose(LANES, 2, now=0.0) == LANES[2:6]
    ranking.heard(grant(jobs=[job(at) for at in LANES[2:]]), now=0.0)
    assert ranking.choose(LANES, 2, now=0.0) == LANES[:4]


def test_empty_and_closed_lanes_are_not_asked_for():
    ranking = ranked()
    ranking.heard(grant(empty=[LANES[0]], openings={LANES[1]: 7}), now=0.0)
    assert ranking.choose(LANES, 2, now=0.0) == LANES[2:6]
    assert ranking.choose([LANES[5]], 2, now=0.0) == [LANES[5]]


def test_an_order_that_has_run_out_or_grown_old_is_asked_for_anew():
    ranking = ranked()
    assert ranking.choose(LANES, 2, now=GOOD_FOR) == LANES
    ranking.heard(grant(empty=LANES), now=0.0)
    assert ranking.choose(LANES, 2, now=0.0) == LANES
