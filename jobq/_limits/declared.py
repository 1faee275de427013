"""The kinds of limits, as handlers and queues declare them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Self

from attrs import evolve, field, frozen

from jobq._clock import SECOND, from_datetime, to_datetime
from jobq._errors import ConfigurationError
from jobq._limits.bucket import HEADROOM, TokenBucket
from jobq._limits.templates import check_template, fields_of, replaced
from jobq._masking import hide

Cost = Callable[[Any], int] | int | None
LARGEST = 10**15


def _whole(name: str, value: object, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
        raise ConfigurationError(f"{name}={value!r} must be an integer from {least} to {LARGEST}")


def _check_cost(owner: str, cost: Cost, most: int) -> None:
    if cost is None or callable(cost):
        return
    _whole(f"{owner}: cost", cost, least=0)
    if cost > most:
        raise ConfigurationError(f"{owner}: cost={cost} is above the {most} that may go at once")


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name}={value!r} must be a number")


@frozen
class RateLimit:
    """At most `n` units in any `per` seconds, over all workers.

    Strict: whatever window is looked at, it holds no more than `n` starts (or units of cost).
    `max_cost` is the most that one job may cost and so the burst; the sustained rate is
    `(n - max_cost + 1) / per`, less the headroom, see `effective_rate`.

    - `key`: the limit's name, shared by all that declare it. `"tenant:{owner}"` is one limit for
      each owner; `{name}` is a field of the payload, `{metadata.name}` one of the metadata.
    - `cost`: units of a job, a number or a function of the payload. `enqueue(cost={key: units})`
      overrides it; otherwise a job costs 1.
    - `headroom`: the part of the rate that is left unused, for starts that are not quite punctual.
    - `heed_remaining`: whether an error that says "0 remaining" closes the limit until its reset.

    >>> RateLimit("gemini", 60, per=60).effective_rate
    0.99
    """

    kind: ClassVar[str] = "rate"
    key: str
    n: int
    per: float = field(kw_only=True)
    max_cost: int = field(default=1, kw_only=True)
    cost: Cost = field(default=None, kw_only=True, eq=False, repr=False)
    headroom: float = field(default=HEADROOM, kw_only=True)
    heed_remaining: bool = field(default=False, kw_only=True, eq=False)
    is_raw: bool = field(default=False, kw_only=True)

    @classmethod
    def raw(cls, key: str, n: int, *, per: float, burst: int = 1, cost: Cost = None) -> Self:
        """A plain token bucket: `burst` at once, refilled at `n` in `per` seconds.

        A window may hold `burst + n`. For those who know what their provider counts.
        """
        return cls(key, n, per=per, max_cost=burst, cost=cost, headroom=0.0, is_raw=True)

    def __attrs_post_init__(self) -> None:
        check_template(self.key)
        name = f"RateLimit({self.key!r})"
        _whole(f"{name}: n", self.n)
        _whole(f"{name}: max_cost", self.max_cost)
        _check_cost(name, self.cost, self.max_cost)
        _check_number(f"{name}: per", self.per)
        _check_number(f"{name}: headroom", self.headroom)
        if not 0.001 <= self.per <= 31 * 86400:
            raise ConfigurationError(f"{name}: per={self.per!r} must be from 0.001 s to 31 days")
        if self.max_cost > self.n and not self.is_raw:
            raise ConfigurationError(
                f"{name}: max_cost={self.max_cost} is more than the whole limit of {self.n}"
            )
        if not 0 <= self.headroom <= 0.5:
            raise ConfigurationError(f"{name}: headroom={self.headroom!r} must be from 0 to 0.5")

    @cached_property
    def bucket(self) -> TokenBucket:
        """The arithmetic."""
        return _bucket(self.n, self.per, self.max_cost, self.headroom, self.is_raw)

    @property
    def effective_rate(self) -> float:
        """Units per second that this limit comes to, sustained."""
        return float(f"{self.bucket.rate:.6g}")

    def describe(self) -> str:
        """For people: what was asked for, and what it comes to."""
        span = f"{self.per:,.10g}"
        return f"{self.n:,} in {span} s: {_pace(self.effective_rate)}, {self.max_cost:,} at once"


def _pace(rate: float) -> str:
    units = {"s": 1, "min": 60, "h": 3600, "day": 86400}
    unit = next((unit for unit, seconds in units.items() if rate * seconds >= 1), "day")
    pace = rate * units[unit]
    return f"{pace:,.0f}/{unit}" if pace >= 1000 else f"{pace:.4g}/{unit}"


@lru_cache(maxsize=1024)
def _bucket(n: int, per: float, max_cost: int, headroom: float, is_raw: bool) -> TokenBucket:
    if is_raw:
        return TokenBucket.raw(n, per=per, burst=max_cost)
    return TokenBucket.strict(n, per=per, max_cost=max_cost, headroom=headroom)


@frozen
class DailyQuota:
    """At most `n` units in a calendar day of a time zone; counted on the day of the start.

    The first start of a day is made 30 seconds after midnight, since clocks differ.

    >>> DailyQuota("gemini:rpd", 1000, tz="America/Los_Angeles").n
    1000
    """

    kind: ClassVar[str] = "quota"
    key: str
    n: int
    tz: str = field(default="UTC", kw_only=True)
    cost: Cost = field(default=None, kw_only=True, eq=False, repr=False)

    REST: ClassVar[int] = 30 * SECOND

    def __attrs_post_init__(self) -> None:
        check_template(self.key)
        _whole(f"DailyQuota({self.key!r}): n", self.n)
        _check_cost(f"DailyQuota({self.key!r})", self.cost, self.n)
        try:
            _zone(self.tz)
        except (KeyError, ValueError, TypeError, OSError):
            raise ConfigurationError(
                f"DailyQuota({self.key!r}): tz={self.tz!r} is no time zone, as in "
                f"'America/Los_Angeles' (on Windows and slim images: pip install tzdata)"
            ) from None

    @property
    def max_cost(self) -> int:
        return self.n

    @property
    def effective_rate(self) -> float:
        return self.n / 86400

    def day(self, now: int) -> str:
        """The calendar day of an instant, as `2026-11-22`."""
        return to_datetime(now).astimezone(_zone(self.tz)).date().isoformat()

    def begins(self, now: int) -> int:
        """The midnight that began the day of an instant."""
        local = to_datetime(now).astimezone(_zone(self.tz))
        return _midnight(local, 0)

    def ends(self, now: int) -> int:
        """The midnight that ends the day of an instant; days with a clock change are 23 or 25 h."""
        local = to_datetime(now).astimezone(_zone(self.tz))
        first = _midnight(local, 1)
        return first if first > now else _midnight(local, 1, fold=1)  # it comes twice

    def describe(self) -> str:
        return f"{self.n:,} a day ({self.tz})"


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def _midnight(local: datetime, days: int, *, fold: int = 0) -> int:
    date = local.date() + timedelta(days=days)
    midnight = datetime(date.year, date.month, date.day, tzinfo=local.tzinfo, fold=fold)
    return from_datetime(midnight.astimezone(UTC), name="midnight")


@frozen
class Concurrency:
    """At most `n` jobs at the same time, over all workers.

    A job counts until it has ended, so a dead worker's jobs free their places when they are
    rescued, seconds after their leases end; with `while_waiting` also while it is parked on
    outside work.

    >>> Concurrency("gpu:{model}", 2).n
    2
    """

    kind: ClassVar[str] = "concurrency"
    key: str
    n: int
    while_waiting: bool = field(default=False, kw_only=True)
    cost: ClassVar[Cost] = None
    max_cost: ClassVar[int] = LARGEST

    def __attrs_post_init__(self) -> None:
        check_template(self.key)
        _whole(f"Concurrency({self.key!r}): n", self.n)

    @property
    def effective_rate(self) -> float:
        return float(self.n)

    def describe(self) -> str:
        return f"{self.n:,} at a time"


def _as_given(keys: Mapping[str, str] | Iterable[str]) -> Mapping[str, str]:
    """So that type checkers know what may be given; `named_keys` sees to it that it is one."""
    return keys  # type: ignore[return-value]


@frozen
class KeyPool:
    """Several API keys, used in turn: each start takes the key whose limit opens first.

    - `keys`: `{name: secret}`, or a list of secrets, which then go by a short hash. Only names
      are ever stored. A worker may hold some of them: the pool is all that living workers hold.
    - `limit`: the limit of each key. `{key}` in its own key makes it one a key, `{project}` one a
      project (`projects={key name: project}`); without either, all keys share one.

    In the handler `job.key("gemini")` is the secret of the key that the job was started with.

    >>> pool = KeyPool(
    ...     "gemini", keys={"a": "s1", "b": "s2"}, limit=RateLimit("gemini:{key}", 60, per=60)
    ... )
    >>> pool.options
    (('a', 'gemini:a'), ('b', 'gemini:b'))
    """

    kind: ClassVar[str] = "pool"
    name: str
    keys: Mapping[str, str] = field(kw_only=True, repr=False, eq=False, converter=_as_given)
    limit: RateLimit | DailyQuota = field(kw_only=True)
    projects: Mapping[str, str] = field(factory=dict, kw_only=True, eq=False)

    def __attrs_post_init__(self) -> None:
        check_template(self.name)
        if fields_of(self.name):
            raise ConfigurationError(f"KeyPool({self.name!r}): a pool's name has no {{fields}}")
        object.__setattr__(self, "keys", named_keys(self.name, self.keys))
        hide(self.keys.values())
        if not isinstance(self.limit, RateLimit | DailyQuota):
            raise ConfigurationError(
                f"KeyPool({self.name!r}): limit must be a RateLimit or a DailyQuota, not "
                f"{self.limit!r}; a Concurrency stands beside the pool"
            )
        unknown = fields_of(self.limit.key) - {"key", "project"}
        if unknown:
            raise ConfigurationError(
                f"KeyPool({self.name!r}): {self.limit.key!r} may have {{key}} and {{project}}, "
                f"not {sorted(unknown)}"
            )
        if "project" in fields_of(self.limit.key) and set(self.keys) - set(self.projects):
            raise ConfigurationError(f"KeyPool({self.name!r}): projects must name that of each key")
        for project in self.projects.values():
            if not isinstance(project, str) or not project or set(project) & set("{}"):
                raise ConfigurationError(f"KeyPool({self.name!r}): {project!r} is no project")
        self.limits()

    @property
    def key(self) -> str:
        """How the pool stands in a lane."""
        return f"@{self.name}"

    @property
    def cost(self) -> Any:
        return self.limit.cost

    @property
    def max_cost(self) -> int:
        return self.limit.max_cost

    @property
    def options(self) -> tuple[tuple[str, str], ...]:
        """(name of the key, key of its limit), for each that this process holds."""
        return tuple((name, self._limit_key(name)) for name in self.keys)

    def limits(self) -> list[RateLimit | DailyQuota]:
        """The limits of the keys that this process holds."""
        return [evolve(self.limit, key=key) for key in sorted({key for _, key in self.options})]

    def _limit_key(self, name: str) -> str:
        return replaced(self.limit.key, {"key": name, "project": self.projects.get(name, "")})


def bench_key(pool: str, name: str) -> str:
    """The key of the row that says whether a pool's key is benched."""
    return f"@{pool}/{name}"


def _short_hash(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()[:8]


def named_keys(pool: str, keys: object) -> dict[str, str]:
    """A pool's keys by name, checked; those without a name go by a short hash."""
    if isinstance(keys, Mapping):
        named = dict(keys)
    elif isinstance(keys, Iterable) and not isinstance(keys, str | bytes):
        secrets = list(keys)
        named = {_short_hash(str(secret)): secret for secret in secrets}
    else:
        raise ConfigurationError(f"KeyPool({pool!r}): keys must be {{name: secret}} or a list")
    for name, secret in named.items():
        if not isinstance(name, str) or not 1 <= len(name) <= 100 or set(name) & set("{}/@"):
            raise ConfigurationError(f"KeyPool({pool!r}): {name!r} is no name of a key")
        if not isinstance(secret, str) or not secret:
            raise ConfigurationError(f"KeyPool({pool!r}): the secret of {name!r} must be text")
    return named


Limit = RateLimit | DailyQuota | Concurrency | KeyPool
Single = RateLimit | DailyQuota | Concurrency


def to_spec(limit: Single) -> dict[str, Any]:
    """What is stored of a limit: its numbers."""
    match limit:
        case RateLimit():
            spec = {"kind": "rate", "n": limit.n, "per": limit.per, "max_cost": limit.max_cost}
            spec |= {"headroom": limit.headroom}
            return spec | {"raw": True} if limit.is_raw else spec
        case DailyQuota():
            return {"kind": "quota", "n": limit.n, "tz": limit.tz}
        case Concurrency():
            spec = {"kind": "concurrency", "n": limit.n}
            return spec | {"while_waiting": True} if limit.while_waiting else spec


def from_spec(key: str, spec: Mapping[str, Any]) -> Single | None:
    """The limit of stored numbers; `None` where they make none (a newer version's, or an edit)."""
    try:
        values = dict(spec)
        match values.pop("kind", None):
            case "rate":
                return RateLimit(key, is_raw=values.pop("raw", False) is True, **values)
            case "quota":
                return DailyQuota(key, **values)
            case "concurrency":
                return Concurrency(key, **values)
    except (TypeError, ValueError):
        pass
    return None


def check_limits(where: str, limits: object) -> tuple[Limit, ...]:
    """A handler's or queue's limits, checked."""
    if limits is None:
        return ()
    if isinstance(limits, str | Mapping) or not isinstance(limits, Iterable):
        raise ConfigurationError(f"{where}: limits must be a list, not {limits!r}")
    checked = tuple(limits)
    seen: set[str] = set()
    for limit in checked:
        if not isinstance(limit, RateLimit | DailyQuota | Concurrency | KeyPool):
            raise ConfigurationError(
                f"{where}: {limit!r} is no limit; use RateLimit, DailyQuota, Concurrency or KeyPool"
            )
        if limit.key in seen:
            raise ConfigurationError(f"{where}: two limits have the key {limit.key!r}")
        seen.add(limit.key)
    return checked
