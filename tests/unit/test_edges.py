"""Where claims begin, and how often one begins nowhere in particular."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobq._worker.edges import MOST, Edges
from jobq._worker.pace import LONGEST

QUEUES, TYPES = ["default"], ["work"]


def job(run_at: int, priority: int = 0, queue: str = "default", type: str = "work") -> Any:
    return SimpleNamespace(queue=queue, type=type, priority=priority, run_at=run_at)


def after(*claimed: Any, took: float = 0.1) -> Edges:
    """Edges after a first claim, which ended at 100.0."""
    edges = Edges()
    assert edges.choose(QUEUES, TYPES, 100.0 - took) == []
    edges.reached(claimed, [], began=100.0 - took, now=100.0)
    return edges


def test_the_first_claim_has_no_edges() -> None:
    assert Edges().choose(QUEUES, TYPES, 0.0) == []


def test_the_next_one_begins_where_the_last_one_came_to() -> None:
    edges = after(job(7), job(9))
    assert edges.choose(QUEUES, TYPES, 100.1) == [("default", "work", 0, 9)]


def test_every_priority_has_an_edge_of_its_own() -> None:
    edges = after(job(9, priority=10), job(3))
    assert edges.choose(QUEUES, TYPES, 100.1) == [
        ("default", "work", 10, 9),
        ("default", "work", 0, 3),
    ]


def test_a_claim_that_found_older_jobs_takes_the_edge_back() -> None:
    edges = after(job(9))
    edges.reached([job(4)], [], began=101.0, now=101.1)
    assert edges.choose(QUEUES, TYPES, 101.2) == [("default", "work", 0, 4)]


@pytest.mark.parametrize("queues, types", [(["other"], TYPES), (QUEUES, ["other"])])
def test_an_edge_of_what_is_not_claimed_now_is_left_out(
    queues: list[str], types: list[str]
) -> None:
    assert after(job(9)).choose(queues, types, 100.1) == []


@pytest.mark.parametrize("took, rest", [(0.001, 0.004), (0.1, 0.4), (60.0, LONGEST)])
def test_a_claim_without_edges_takes_a_fifth_of_the_time_at_most(took: float, rest: float) -> None:
    edges = after(job(9), took=took)
    assert edges.full_at == pytest.approx(100.0 + rest)
    assert edges.choose(QUEUES, TYPES, 100.0 + rest - 0.0001)
    assert edges.choose(QUEUES, TYPES, 100.0 + rest + 0.0001) == []


def test_after_a_claim_with_edges_one_without_is_owed() -> None:
    edges = after(job(9))
    assert not edges.owes_full
    chosen = edges.choose(QUEUES, TYPES, 100.1)
    edges.reached([], chosen, began=100.1, now=100.2)
    assert edges.owes_full
    edges.reached([], [], began=100.4, now=100.5)
    assert not edges.owes_full


def test_edges_are_forgotten_when_they_are_too_many() -> None:
    edges = after(*(job(9, priority=n) for n in range(MOST + 1)))
    edges.reached([job(1, priority=5)], [], began=100.5, now=100.6)
    assert edges.choose(QUEUES, TYPES, 100.7) == [("default", "work", 5, 1)]
