"""Lanes: jobs of one queue and type with the same limit keys wait for each other, and for no other.

A lane is stored with each job as one text, made once, where the job is declared; claims read
nothing else of a job to know which limits it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from attrs import frozen

from jobq._errors import OptionError
from jobq._limits.declared import Concurrency, KeyPool, Limit
from jobq._limits.templates import fill

LONGEST = 2000
"""Bytes of a lane's text: PostgreSQL's indexes take no more than 2.7 kB an entry."""


@frozen
class Ref:
    """A limit that a lane needs: the key as declared, and as filled in for these jobs."""

    template: str
    key: str

    @property
    def pool(self) -> str | None:
        """The pool's name, where any of its keys will do. A filled-in key may begin with @ too."""
        return self.key[1:] if self.template == self.key and self.key.startswith("@") else None


@frozen
class Lane:
    """What a stored lane says."""

    type: str
    refs: tuple[Ref, ...]
    kept: tuple[Ref, ...] = ()
    """Those in which a job that returns from waiting has its place still."""

    @property
    def text(self) -> str:
        """As it is stored: `["image_edit",["gemini",["tenant:{owner}","tenant:7"]]]`."""
        parts = [self.type, _stored(self.refs), *([_stored(self.kept)] if self.kept else ())]
        return msgspec.json.encode(parts).decode()

    def on_return(self, limits: Iterable[Limit]) -> Lane:
        """What a job needs that returns from waiting: places, but no rate and no daily quota."""
        places = {limit.key: limit for limit in limits if isinstance(limit, Concurrency)}
        kept = tuple(r for r in self.refs if r.template in places and _keeps(places[r.template]))
        wanted = (r for r in self.refs if r.template in places and r not in kept)
        return Lane(self.type, tuple(wanted), kept)

    @staticmethod
    @lru_cache(maxsize=10_000)
    def parse(text: str) -> Lane | None:
        """The lane of a stored text; `None` where it is none."""
        try:
            stored = msgspec.json.decode(text, type=_Stored)
        except (msgspec.DecodeError, UnicodeError):
            return None
        return Lane(stored.type, _read(stored.refs), _read(stored.kept))


class _Stored(msgspec.Struct, array_like=True):
    type: str
    refs: list[str | tuple[str, str]]
    kept: list[str | tuple[str, str]] = []


def _read(stored: Iterable[str | tuple[str, str]]) -> tuple[Ref, ...]:
    return tuple(Ref(one, one) if isinstance(one, str) else Ref(*one) for one in stored)


def _stored(refs: Iterable[Ref]) -> list[Any]:
    return [ref.key if ref.key == ref.template else [ref.template, ref.key] for ref in refs]


def _keeps(limit: Concurrency) -> bool:
    return limit.while_waiting


@frozen
class Wanted:
    """What a job stores of its limits: its lane, and its costs that are not 1."""

    lane: str | None = None
    costs: str | None = None


NOTHING = Wanted()


def wanted(
    limits: Iterable[Limit],
    values: Mapping[str, Any],
    *,
    payload: Any = None,
    costs: Mapping[str, Any] | None = None,
    moved: bool = False,
) -> Wanted:
    """The lane and costs of a job.

    `values` fills the keys (see `fill`), `payload` is what cost functions are given, and `costs`
    overrides them. Raises `OptionError` where a field is missing or a cost can never be met; one
    that was `moved` from another queue may have costs of limits that it left behind.
    """
    given = dict(costs or {})
    refs: list[Ref] = []
    units: dict[str, int] = {}
    for limit in limits:
        key = limit.key if isinstance(limit, KeyPool) else fill(limit.key, values)
        refs.append(Ref(limit.key, key))
        units[key] = max(_cost(limit, key, given, payload), units.get(key, 0))
    if given and not moved:
        names = [limit.name if isinstance(limit, KeyPool) else limit.key for limit in limits]
        known = ", ".join(map(repr, names)) or "none"
        unknown = sorted(given, key=str)
        raise OptionError(f"cost: {unknown} are no limits of this job (which has {known})")
    if not refs:
        return NOTHING
    refs.sort(key=lambda ref: (ref.key, ref.template))
    lane = Lane(str(values["type"]), tuple(refs)).text
    size = len(lane.encode())
    if size > LONGEST:
        raise OptionError(f"the keys of its limits take {size} bytes, more than {LONGEST}")
    units = {key: cost for key, cost in units.items() if cost != 1}
    return Wanted(lane, msgspec.json.encode(units).decode() if units else None)


def _cost(limit: Limit, key: str, given: dict[str, Any], payload: Any) -> int:
    names = (key, limit.key, limit.name if isinstance(limit, KeyPool) else key)
    named = [name for name in dict.fromkeys(names) if name in given]
    cost: Any = limit.cost
    if named:
        cost = given.pop(named[0])
    elif callable(cost):
        try:
            cost = cost(payload)
        except Exception as error:
            raise OptionError(f"the cost of limit {limit.key!r}: {error!r}") from error
    elif cost is None:
        return 1
    check_cost(limit, cost)
    return int(cost)


def check_cost(limit: Limit, cost: object) -> None:
    """Raise `OptionError` for a cost that is none, or can never be met."""
    if isinstance(cost, bool) or not isinstance(cost, int) or cost < 0:
        raise OptionError(
            f"the cost of limit {limit.key!r} must be an integer from 0, not {cost!r}"
        )
    if isinstance(limit, Concurrency) and cost != 1:
        raise OptionError(f"a job takes one place of {limit.key!r}, not {cost}")
    if cost > limit.max_cost:
        raise OptionError(
            f"a cost of {cost} is above the max_cost={limit.max_cost} of limit {limit.key!r}: "
            f"it could never start; raise max_cost, or split the job"
        )
