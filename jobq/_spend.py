"""Money: what jobs have spent, in integer micro-dollars, and the budgets it must stay within."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any

from attrs import evolve, field, frozen

from jobq._checks import short_text
from jobq._clock import to_datetime
from jobq._errors import ConfigurationError, OptionError
from jobq._limits import DailyQuota
from jobq._payload import encode_json
from jobq._signals import Permanent

Dollars = Decimal | str | int | float
"""An amount of US dollars: a float counts as the decimal that it is written as, 0.1 as 0.1."""
LARGEST = Decimal(10**9)
BUDGET_EXCEEDED = "budget_exceeded"
GROUPS = ("type", "owner", "day", "provider", "model", "queue", "job")
"""What `Queue.spend` can add up by."""
MOST_UNITS = 4096
"""Bytes of JSON that the units of one request may take."""

_MICRO = Decimal("0.000001")
_EXACT = Context(prec=40, rounding=ROUND_HALF_EVEN)


def micros(usd: Dollars, name: str = "usd") -> int:
    """An amount in micro-dollars; what is finer is rounded to the nearest, a half to the even one.

    Raises `OptionError` for what is no amount, is negative, or is more than a billion dollars.

    >>> micros("0.0395"), micros(0.1), micros("0.0000005"), micros("0.0000015")
    (39500, 100000, 0, 2)
    """
    amount = _decimal(usd, name)
    if not amount.is_finite():
        raise OptionError(f"{name}={usd!r} is no amount of dollars")
    if amount < 0:
        raise OptionError(f"{name}={usd!r} is negative: money that was spent stays spent")
    if amount > LARGEST:
        raise OptionError(f"{name}={amount:.6g} is more than {LARGEST} dollars")
    return int(amount.quantize(_MICRO, context=_EXACT).scaleb(6, context=_EXACT))


def _decimal(usd: Dollars, name: str) -> Decimal:
    if isinstance(usd, bool) or not isinstance(usd, Decimal | str | int | float):
        raise OptionError(f"{name} must be dollars, as in '0.04', not {usd!r:.100}")
    try:
        return Decimal(float.__repr__(usd) if isinstance(usd, float) else usd)
    except (InvalidOperation, ValueError):
        raise OptionError(f"{name}={usd!r:.100} is no amount of dollars, as in '0.04'") from None


def dollars(amount: int) -> Decimal:
    """Micro-dollars as dollars, with six decimals.

    >>> dollars(39500)
    Decimal('0.039500')
    """
    return Decimal(amount).scaleb(-6, context=_EXACT)


def shown(amount: int) -> str:
    """Micro-dollars for people, with no more decimals than it takes, but two.

    >>> shown(39500), shown(2_500_000)
    ('$0.0395', '$2.50')
    """
    text = f"{dollars(amount):f}"
    return f"${text[:-4]}{text[-4:].rstrip('0')}"


def _budgeted(value: Dollars | None) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = micros(value, "an amount")
    except OptionError as error:
        raise ConfigurationError(f"Budget: {error}") from None
    if amount == 0:
        raise ConfigurationError(f"Budget: {value!r} is less than a micro-dollar")
    return dollars(amount)


@frozen(kw_only=True)
class Budget:
    """How much money may be spent, in dollars: by one job, and by an owner's jobs in one day.

    A job counts all its attempts. An owner's day counts jobs of every type; it begins at midnight
    in `tz`. Jobs without an owner have no budget for the day.

    A budget says when to stop, not what is reserved: it is looked at before an attempt begins and
    where the handler asks (`job.afford`), so calls that are under way then are still paid for.

    >>> Budget(per_job="2.50", per_owner_day=20, tz="Europe/Berlin").per_job
    Decimal('2.500000')
    """

    per_job: Decimal | None = field(default=None, converter=_budgeted)
    per_owner_day: Decimal | None = field(default=None, converter=_budgeted)
    tz: str = "UTC"

    def __attrs_post_init__(self) -> None:
        if self.per_job is None and self.per_owner_day is None:
            raise ConfigurationError("Budget: give per_job or per_owner_day, in dollars")
        check_zone(self.tz, ConfigurationError)

    def day(self, now: int) -> tuple[int, int]:
        """The day of an instant, from midnight to midnight, in microseconds."""
        day = DailyQuota("budget", 1, tz=self.tz)
        return day.begins(now), day.ends(now)


def check_zone(tz: str, error: type[Exception] = OptionError) -> None:
    """Raise `error` where there is no such time zone."""
    try:
        DailyQuota("zone", 1, tz=tz)
    except ConfigurationError:
        raise error(f"tz={tz!r} is no time zone, as in 'America/Los_Angeles'") from None


def check_budget(value: object) -> Budget | None:
    """The budget that was given, if there is one."""
    if value is None or isinstance(value, Budget):
        return value
    raise OptionError(f"budget must be a Budget, as in Budget(per_job='2.50'), not {value!r:.100}")


class BudgetExceeded(Permanent):
    """A budget is used up: nothing more may be spent. Ends the job, code `budget_exceeded`.

    `scope` is "job" or "owner_day"; `budget` and `spent` are dollars; `resets_at` is when the
    owner's next day begins.
    """

    def __init__(
        self, scope: str, *, budget: int, spent: int, asked: int = 0, resets_at: int | None = None
    ) -> None:
        self.scope = scope
        self.budget = dollars(budget)
        self.spent = dollars(spent)
        self.resets_at: datetime | None = None if resets_at is None else to_datetime(resets_at)
        whose = "job has" if scope == "job" else "job's owner has today"
        more = f", and {shown(asked)} more would be too much" if asked else ""
        super().__init__(
            BUDGET_EXCEEDED,
            f"the {whose} spent {shown(spent)} of the budget of {shown(budget)}{more}",
        )


@frozen(kw_only=True)
class Sums:
    """What has been spent by now, in micro-dollars, on budgets that there are."""

    job: int
    owner_day: int | None = None
    day_ends: int | None = None

    def less(self, amount: int) -> Sums:
        """What they were before so much was spent."""
        today = None if self.owner_day is None else self.owner_day - amount
        return evolve(self, job=self.job - amount, owner_day=today)


def refusal(budget: Budget | None, now: Sums, *, asked: int = 0) -> BudgetExceeded | None:
    """Why nothing more may be spent, or not as much as is `asked` for; `None` where it may."""
    if budget is None:
        return None
    sums = (
        ("job", budget.per_job, now.job, None),
        ("owner_day", budget.per_owner_day, now.owner_day, now.day_ends),
    )
    for scope, allowed, spent, ends in sums:
        if allowed is None or spent is None:
            continue
        most = micros(allowed)
        if spent >= most or spent + asked > most:
            asked = asked if spent < most else 0
            return BudgetExceeded(scope, budget=most, spent=spent, asked=asked, resets_at=ends)
    return None


def question(job: Any, budget: Budget) -> dict[str, Any]:
    """The arguments of the op that looks what has been spent."""
    return {"job_id": job.id, "owner": job.owner, "budget": budget}


def afford(budget: Budget, sums: Sums, asked: int = 0) -> None:
    """Raise `BudgetExceeded` where nothing more may be spent, or not so many micro-dollars."""
    refused = refusal(budget, sums, asked=asked)
    if refused is not None:
        raise refused


@frozen
class Recorded:
    """What became of a record; `earlier` is the amount that was recorded for it before."""

    sums: Sums
    earlier: int | None = None


@frozen(kw_only=True)
class Request:
    """One request that cost money, checked; what `job.spend` was told."""

    micros: int
    provider: str
    model: str | None
    request_id: str | None
    units: str | None


def request(
    *,
    usd: Dollars,
    provider: str,
    model: str | None,
    units: Mapping[str, int | float] | None,
    request_id: str | None,
) -> Request:
    """The request, from what a handler says of it. Raises `OptionError`, naming the value."""
    name = short_text(provider, "provider", limit=200)
    if name is None:
        raise OptionError("provider must be text, as in 'gemini': request ids are unique in it")
    return Request(
        micros=micros(usd),
        provider=name,
        model=short_text(model, "model", limit=200),
        request_id=short_text(request_id, "request_id", limit=500),
        units=_units(units),
    )


def _units(units: Mapping[str, int | float] | None) -> str | None:
    if units is None:
        return None
    if not isinstance(units, Mapping):
        raise OptionError(f"units must be {{name: number}}, not {units!r:.100}")
    for name, count in units.items():
        if isinstance(count, bool) or not isinstance(count, int | float) or not count >= 0:
            raise OptionError(f"units: {count!r:.100} of {name!r:.100} must be a number from 0")
    text = encode_json(dict(units), what="units")
    if len(text) > MOST_UNITS:
        raise OptionError(f"units takes {len(text)} bytes of JSON, more than {MOST_UNITS}")
    return text


@frozen(kw_only=True)
class Spent:
    """What `job.spend` came to."""

    usd: Decimal
    """What this request cost, to the micro-dollar."""
    recorded: bool
    """False where this request of the provider had been recorded before."""
    job: Decimal
    """What the job has spent by now, with all its attempts."""
    owner_day: Decimal | None = None
    """What its owner has spent today, where there is a budget for that."""
    over: bool = False
    """Whether a budget is used up: the next `job.afford()` will raise."""


@frozen(kw_only=True)
class SpendTotal:
    """What was spent in one group of requests."""

    key: str | None
    """The type, owner, day (`2031-06-01`) and so on; `None` for those that have none."""
    micros: int
    """Millionths of a dollar."""
    requests: int
    retried_micros: int
    """What second and later attempts have spent."""

    @property
    def usd(self) -> Decimal:
        """In dollars, exactly."""
        return dollars(self.micros)

    @property
    def retried_usd(self) -> Decimal:
        """What second and later attempts have spent, in dollars."""
        return dollars(self.retried_micros)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: amounts are text, so that no reader rounds them."""
        return {
            "key": self.key,
            "usd": f"{self.usd:f}",
            "micros": self.micros,
            "requests": self.requests,
            "retriedUsd": f"{self.retried_usd:f}",
        }
