"""End attempts and claim the next jobs at one stroke, where a commit is what costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Executable, null, select

from jobq._payload import dumps
from jobq.backends._dialect import Dialect
from jobq.backends._statement import Op, atomic, knows_again, settled
from jobq.backends.ops._ending import Ending
from jobq.backends.ops.claim import Claimed, asked, claim, claims, compile_claims, in_order
from jobq.backends.ops.completions import (
    compile_completions,
    completion_rows,
    completions_with_history,
)
from jobq.backends.ops.finish import ended_before, finish_with_more


def compile_cycle(d: Dialect) -> None:
    """Have at hand what a worker runs for most jobs, before the first of them waits for it."""
    compile_claims(d)
    compile_completions(d)
    if d.writes_in_ctes:
        for edges in (False, True):
            _complete_and_claim.compile(d, edges)


@knows_again
@atomic
def finish_and_claim(
    d: Dialect,
    endings: Sequence[Ending],
    wanted: dict[str, Any],
    *,
    keep: int | None,
    again: bool = False,
) -> Op[tuple[dict[str, str], list[Claimed]]]:
    """What `finish_with_more` answers, and what `claim` does with the arguments `wanted`."""
    done = yield from finish_with_more(d, endings, keep=keep, again=again)
    claimed = yield from claim(d, **wanted)
    return done, claimed


@settled
def _complete_and_claim(d: Dialect, edges: bool) -> Executable:
    """Claimed jobs, and the ids of completed ones, which have no more."""
    id, record = completions_with_history(d)
    claimed = claims(d, edges).cte("claimed")
    ended = select(id, *(null() for _ in list(claimed.c)[1:]))
    return select(*claimed.c).union_all(ended).add_cte(record)


@knows_again
def complete_and_claim(
    d: Dialect,
    endings: Sequence[Ending],
    wanted: dict[str, Any],
    *,
    keep: int | None,
    again: bool = False,
) -> Op[tuple[dict[str, str], list[Claimed]]]:
    """`finish_and_claim` in one statement, where the database can and all jobs simply complete."""
    done = (yield from ended_before(d, endings)) if again else {}
    left = completion_rows([ending for ending in endings if ending.id not in done])
    rows = yield asked(d, _complete_and_claim, **wanted, rows=dumps(left), keep=keep)
    done |= {row[0]: "completed" for row in rows if row[1] is None}
    return done, in_order([row for row in rows if row[1] is not None])


def joined(d: Dialect) -> Callable[..., Op[tuple[dict[str, str], list[Claimed]]]]:
    """Which of the two it is on this database."""
    return complete_and_claim if d.writes_in_ctes else finish_and_claim
