"""The types that a worker claims without limits, in groups that are claimed each by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import Factory, define

from jobq._handler import Handler
from jobq._worker.edges import Edges


@define(eq=False)
class Group:
    """Types that are claimed together, and how many of their jobs one slot takes."""

    types: list[str]
    per_slot: int = 1
    dry: bool = False
    """Whether the last claim found less than it asked for."""
    edges: Edges = Factory(Edges)


class Groups:
    """All the plain types together, and each batch handler's type alone. They take turns."""

    def __init__(self, handlers: Iterable[Handler[Any, Any]]) -> None:
        self.learn(handlers)

    def learn(self, handlers: Iterable[Handler[Any, Any]]) -> None:
        """Take in the handlers that there are now."""
        free = [handler for handler in handlers if not handler.limits]
        plain = [handler.type for handler in free if not handler.batch]
        self._all = [Group(plain)] if plain else []
        self._all += [Group([handler.type], handler.batch) for handler in free if handler.batch]
        self.all_asked = not self._all
        """Whether the last turn was that of all."""
        self._latest: Group | None = None
        """The one that had jobs last."""

    @property
    def only_plain(self) -> Group | None:
        """The group of plain types, if it is the only one that has jobs."""
        some = [group for group in self._all if not group.dry]
        return some[0] if len(some) == 1 and some[0].per_slot == 1 else None

    @property
    def dry(self) -> bool:
        return all(group.dry for group in self._all)

    @property
    def full_at(self) -> float | None:
        """When to claim without edges, where the last claims may have missed jobs (monotonic)."""
        owed = [group.edges.full_at for group in self._all if group.edges.owes_full]
        return min(owed, default=None)

    def are_others_dry(self, group: Group) -> bool:
        return all(other.dry for other in self._all if other is not group)

    def __iter__(self) -> Iterator[Group]:
        return iter(self._all)

    def received(self, group: Group, count: int, wanted: int) -> None:
        """A group was asked for so many jobs, and had as many as `count`."""
        group.dry = count < wanted
        if count:
            self._latest = group

    def in_turn(self) -> list[Group]:
        """Those that had jobs, or else all of them; another one first each time.

        Where all had been asked and none had more, nobody waits for a turn: the one that had jobs
        last is asked first, because the next job is likely to be one of its.
        """
        none_waits = self.all_asked and self.dry
        self._all = self._all[1:] + self._all[:1]
        some = [group for group in self._all if not group.dry] or self._all
        self.all_asked = len(some) == len(self._all)
        return sorted(some, key=lambda group: group is not self._latest) if none_waits else some

    def ask_anew(self) -> None:
        """See whether those that had no jobs have some now."""
        if len(self._all) > 1:
            for group in self._all:
                group.dry = False
