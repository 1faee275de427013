"""Who takes part in a row: the floor, jobq, and the peers of the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from attrs import Factory, define

from benchmarks.bench import Bench
from benchmarks.contest import Run, Sample
from benchmarks.floors import floor
from benchmarks.peers.systems import Peer, peers_on
from benchmarks.subject import Subject


@define
class Contestants:
    """The contestants of one row on one kind of database, each on a database of its own."""

    floor: Any
    jobq: Subject
    peers: dict[str, Peer] = Factory(dict)
    missing: dict[str, str] = Factory(dict)
    settings: dict[str, str] = Factory(dict)

    def peers_by(self, run: Callable[[Peer], Sample]) -> Mapping[str, Run]:
        """The same run for each peer."""

        def bound(peer: Peer) -> Run:
            return lambda: run(peer)

        return {title: bound(peer) for title, peer in self.peers.items()}


@contextmanager
def contestants(bench: Bench, store: str, *, peers: bool = True) -> Iterator[Contestants]:
    """Databases for all, and their end."""
    with ExitStack() as stack:

        def database() -> Any:
            return stack.enter_context(bench.database(store))

        bare, subject = floor(database()), Subject(database())
        stack.callback(bare.close)
        stack.callback(subject.close)
        found = Contestants(bare, subject)
        if peers:
            systems, found.missing = peers_on(bench, store)
            for system in systems:
                title = f"{system.title} {system.version}"
                found.settings[title] = system.adapter.SETTINGS
                try:
                    found.peers[title] = Peer(system, database())
                except Exception as error:  # noqa: BLE001  one that does not work stops no other
                    found.missing[title] = f"{type(error).__name__}: {error}"
        yield found


def named(found: Contestants, prefix: str) -> str:
    """The contestant of a peer, by the beginning of its title."""
    titles = [*found.peers, *found.missing]
    return next((title for title in titles if title.startswith(prefix)), prefix)
