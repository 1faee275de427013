"""Enqueue one by one, and many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.bench import Bench, row
from benchmarks.contest import Contest, Reach, Sample
from benchmarks.peers.systems import Peer
from benchmarks.rows.contestants import contestants

RATE = "jobs/s"


def _rate(enqueue: Callable[[int], float], count: int) -> Callable[[], Sample]:
    return lambda: {RATE: enqueue(count)}


@row("enqueue")
def enqueue(bench: Bench, store: str) -> Iterator[Contest]:
    """Jobs enqueued one after the other, each durable before the next."""
    count = bench.size(500, 50)

    def by_peer(peer: Peer) -> Sample:
        return {RATE: peer.ask("enqueue", count)}

    with contestants(bench, store) as found:
        bare, jobq = found.floor, found.jobq
        yield Contest(
            title=f"{store}: enqueue one, sync",
            runs={
                bare.insert_name: _rate(bare.enqueue, count),
                "jobq": _rate(jobq.enqueue, count),
                **found.peers_by(by_peer),
            },
            floor=bare.insert_name,
            reaches=[Reach(RATE, least=0.8, to=bare.insert_name)],
            settings=found.settings,
            missing=found.missing,
        )
        yield Contest(
            title=f"{store}: enqueue one, async",
            runs={
                bare.insert_async_name: _rate(bare.enqueue_async, count),
                "jobq": _rate(jobq.enqueue_async, count),
            },
            floor=bare.insert_async_name,
            reaches=[Reach(RATE, least=0.8, to=bare.insert_async_name)],
        )


@row("enqueue-many")
def enqueue_many(bench: Bench, store: str) -> Iterator[Contest]:
    """Many jobs in one call; the floor makes ids and JSON from the same payloads."""
    count = bench.size(10_000, 2_000)

    def cleared(one: Any) -> Callable[[], Sample]:
        def run() -> Sample:
            one.clear()
            return {RATE: one.enqueue_many(count)}

        return run

    def by_peer(peer: Peer) -> Sample:
        some = count // 10 if peer.adapter.SLOW else count
        return {RATE: peer.ask("enqueue_many", some, 0)}

    with contestants(bench, store) as found:
        name = found.floor.bulk_name
        yield Contest(
            title=f"{store}: enqueue_many {count:,}",
            runs={
                name: cleared(found.floor),
                "jobq": cleared(found.jobq),
                **found.peers_by(by_peer),
            },
            floor=name,
            reaches=[Reach(RATE, least=0.7, to=name)],
            settings=found.settings,
            missing=found.missing,
        )
