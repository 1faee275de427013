"""Which types a worker claims together, and which of them it asks for next."""

from __future__ import annotations

import jobq
from jobq._worker.groups import Groups


def groups_of(**batches: int | None) -> Groups:
    router = jobq.Router()
    for type, batch in batches.items():
        if batch is None:
            router.handler(type)(lambda: None)
        else:
            router.handler(type, batch=batch)(lambda payloads: None)
    return Groups(router)


def test_plain_types_are_claimed_together_and_each_batch_type_alone() -> None:
    groups = groups_of(a=None, b=None, c=10, d=20)
    assert sorted((group.types, group.per_slot) for group in groups) == [
        (["a", "b"], 1),
        (["c"], 10),
        (["d"], 20),
    ]


def test_groups_take_turns_and_those_without_jobs_are_left_out() -> None:
    groups = groups_of(a=None, c=10, d=20)
    firsts = [groups.in_turn()[0].types[0] for _ in range(6)]
    assert sorted(firsts) == ["a", "a", "c", "c", "d", "d"]
    plain = next(group for group in groups if group.per_slot == 1)
    plain.dry = True
    assert all(plain not in groups.in_turn() for _ in range(3))
    for group in groups:
        group.dry = True
    assert len(groups.in_turn()) == 3
    assert groups.dry
    groups.ask_anew()
    assert not groups.dry


def test_who_had_jobs_last_is_asked_first_where_nobody_waits_for_a_turn() -> None:
    groups = groups_of(a=None, c=10, d=20)
    latest = next(group for group in groups if group.types == ["c"])
    for group in groups.in_turn():
        groups.received(group, 1 if group is latest else 0, 10)
    assert [groups.in_turn()[0] for _ in range(4)] == [latest] * 4


def test_a_group_that_had_jobs_does_not_go_first_before_all_were_asked() -> None:
    groups = groups_of(a=None, c=10)
    firsts = []
    for _ in range(8):  # one slot: who goes first takes it, has no more, and the others wait
        some = groups.in_turn()
        firsts += [some[0].types[0]] if len(some) > 1 else []
        groups.received(some[0], 0 if len(some) == 1 else 1, 1)
    assert {*firsts[1:3]} == {"a", "c"}


def test_a_claim_of_one_group_does_not_settle_what_another_may_have_missed() -> None:
    groups = groups_of(a=None, c=10)
    plain, batch = sorted(groups, key=lambda group: group.per_slot)
    plain.edges.reached([], [("default", "a", 0, 1)], began=1.0, now=1.5)
    batch.edges.reached([], [], began=2.0, now=2.5)
    assert groups.full_at is not None
    plain.edges.reached([], [], began=3.0, now=3.5)
    assert groups.full_at is None
