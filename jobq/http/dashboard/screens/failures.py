"""Failures, grouped by what they have in common."""

from __future__ import annotations

from jobq.backends.ops import Failures
from jobq.http.dashboard import filters, verbs
from jobq.http.dashboard.visit import Visit
from jobq.http.steps import Ask, Operation


def failures(visit: Visit) -> Operation:
    operator = yield from visit.admit()
    which = filters.read(visit)
    since = which.search.since
    groups: list[Failures] = yield Ask(verbs.failures, since)
    return visit.page(
        operator,
        groups=groups,
        which=which,
        total=sum(group.count for group in groups),
        cap=verbs.CAP,
        most=max((group.count for group in groups), default=1),
    )
