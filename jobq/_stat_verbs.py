"""What a queue can say about the past; verbs as those of `_verbs`."""

from __future__ import annotations

from typing import Any, Literal, get_args

from jobq import backends
from jobq._checks import short_text
from jobq._clock import SECOND
from jobq._config import Config
from jobq._errors import OptionError
from jobq._model import Stat
from jobq._steps import Do
from jobq._verbs import Verb
from jobq.observe import Gauges

By = Literal["queue", "type", "worker"]
LONGEST = 7 * 24 * 60
"""Minutes that are kept."""
MOST_POINTS = 1440


def stats(
    config: Config,  # noqa: ARG001  every verb takes it
    *,
    minutes: int,
    step: int,
    by: By | None,
    **where: Any,
) -> Verb[list[Stat]]:
    _check_minutes(minutes, "minutes")
    _check_minutes(step, "step")
    points = -(-minutes // step)
    if points > MOST_POINTS:
        raise OptionError(
            f"minutes={minutes!r} in steps of {step} are {points} points, more than {MOST_POINTS}; "
            "give a larger step"
        )
    if by is not None and by not in get_args(By):
        raise OptionError(f"by={by!r} is none of {', '.join(get_args(By))}")
    equal = {name: short_text(value, name) for name, value in where.items()}
    step_us = step * 60 * SECOND
    return (yield Do(backends.ops.stats, points=points, step=step_us, by=by, **equal))  # type: ignore[no-any-return]


def gauges(config: Config) -> Verb[Gauges]:  # noqa: ARG001
    """How the queue stands, for scrapers."""
    queues = yield Do(backends.ops.queues)
    due = yield Do(backends.ops.due)
    workers = [one for one in (yield Do(backends.ops.workers)) if one.alive]
    return Gauges(
        live={(one.queue, status): n for one in queues for status, n in one.live.items()},
        paused=frozenset(one.queue for one in queues if one.paused),
        due=due,
        workers=len(workers),
        slots=sum(one.slots for one in workers),
        busy=sum(one.busy for one in workers),
        hanging=sum(one.abandoned for one in workers),
    )


def _check_minutes(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LONGEST:
        raise OptionError(f"{name}={value!r} must be a whole number of minutes, 1 to {LONGEST}")
