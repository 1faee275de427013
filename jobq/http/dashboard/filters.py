"""Which jobs a page is about: what its query says, read and written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from attrs import frozen

from jobq._checks import short_text
from jobq._clock import from_datetime
from jobq._model import statuses
from jobq.backends.ops import Search
from jobq.http.dashboard.visit import Visit
from jobq.http.reading import invalid

WITHIN = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7)}
EQUAL = {"type": "type", "queue": "queue", "owner": "owner", "code": "error_code", "error": "error"}
"""The parameters that one column has to equal, and the names of those columns."""
NAMES = ("status", *EQUAL, "within", "since", "until")


@frozen
class Filters:
    """The parameters as they came, and the search that they mean."""

    given: dict[str, str]
    search: Search

    def __getattr__(self, name: str) -> str:
        if name in NAMES:
            return self.given.get(name, "")
        raise AttributeError(name)

    @property
    def beyond_status(self) -> bool:
        """Whether anything but the status is asked for."""
        return bool(self.given.keys() - {"status"})

    def but(self, **changed: str) -> dict[str, str]:
        """The parameters with some of them changed."""
        return {**self.given, **changed}


def read(visit: Visit, *, of_form: bool = False) -> Filters:
    """The filters of a query, or those that a form carries along."""
    source = visit.form if of_form else visit.query
    given = {name: source[name][-1].strip() for name in NAMES if source.get(name)}
    given = {name: value for name, value in given.items() if value}
    where = {column: short_text(given.get(name), name) for name, column in EQUAL.items()}
    (status,) = statuses(given["status"]) or (None,) if "status" in given else (None,)
    since, until = _instant(given, "since"), _instant(given, "until")
    if "within" in given:
        since = visit.now() - _within(given["within"])
    return Filters(
        given,
        Search(
            status=status,
            since=None if since is None else from_datetime(since, name="since"),
            until=None if until is None else from_datetime(until, name="until"),
            **where,
        ),
    )


def _within(text: str) -> timedelta:
    if text not in WITHIN:
        raise invalid(f"within={text!r:.100} must be one of {', '.join(WITHIN)}")
    return WITHIN[text]


def _instant(given: dict[str, str], name: str) -> datetime | None:
    """An instant; without an offset it is meant in UTC, as date fields of a browser write it."""
    text = given.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"{name}={text!r:.100} must be an instant as 2026-01-31T12:00") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
