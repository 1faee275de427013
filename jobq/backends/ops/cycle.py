"""End attempts and claim the next jobs in one transaction, where a commit is what costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobq.backends._dialect import Dialect
from jobq.backends._statement import Op, atomic, knows_again
from jobq.backends.ops.claim import Claimed, claim, compile_claims
from jobq.backends.ops.finish import Ending, compile_completions, finish_with_more


def compile_cycle(d: Dialect) -> None:
    """Have at hand what a worker runs for most jobs, before the first of them waits for it."""
    compile_claims(d)
    compile_completions(d)


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
