"""Whether a row's status allows a verb, as the table of legal moves says."""

from __future__ import annotations

from jobq._model import MOVES
from jobq.backends import _tables as t
from jobq.backends._dialect import Dialect, Expression, is_one_of


def may(d: Dialect, verb: str) -> Expression:
    """A condition on rows that are found by their id."""
    return is_one_of(d.check(t.job.c.status), MOVES[verb].sources)
