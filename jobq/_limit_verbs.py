"""What a queue can do about limits; verbs as those of `_verbs`."""

from __future__ import annotations

from typing import Any

from jobq import backends
from jobq._checks import short_text
from jobq._clock import from_datetime
from jobq._config import Config
from jobq._enqueue_many import wake_all
from jobq._errors import OptionError
from jobq._limits import Concurrency, DailyQuota, RateLimit
from jobq._limits.declared import to_spec
from jobq._model import LimitInfo
from jobq._payload import dumps
from jobq._steps import Do, Tell
from jobq._verbs import Verb

MOST_LIMITS = 10_000


def limits(config: Config) -> Verb[list[LimitInfo]]:  # noqa: ARG001  every verb takes it
    ready = yield Do(backends.ops.ready)
    waiting = yield Do(backends.ops.count_waiting, ready.lanes)
    lanes = [lane for _, lane in ready.lanes]
    return (yield Do(backends.ops.all_limits, waiting, lanes, most=MOST_LIMITS))  # type: ignore[no-any-return]


def set_limit(config: Config, limit: Any) -> Verb[None]:
    if not isinstance(limit, RateLimit | DailyQuota | Concurrency):
        raise OptionError(f"set_limit takes a RateLimit, DailyQuota or Concurrency, not {limit!r}")
    yield Do(backends.ops.set_limit, key=limit.key, spec=dumps(to_spec(limit)))
    yield from wake_all(config, [EVERY_QUEUE])


def pause_limit(
    config: Config,  # noqa: ARG001
    key: str,
    until: Any,
    reason: str | None,
) -> Verb[None]:
    moment = None if until is None else from_datetime(until, name="until")
    why = short_text(reason, "reason", limit=200)
    yield Do(backends.ops.pause_limit, key=_limit_key(key), until=moment, reason=why)
    yield Tell([EVERY_QUEUE])


def resume_limit(config: Config, key: str) -> Verb[None]:
    known = yield Do(backends.ops.resume_limit, key=_limit_key(key))
    if not known:
        raise OptionError(f"there is no limit {key!r}; `jobq limits` lists them")
    yield from wake_all(config, [EVERY_QUEUE])


def reset_limit(config: Config, key: str) -> Verb[None]:
    known = yield Do(backends.ops.reset_limit, key=_limit_key(key))
    if not known:
        raise OptionError(f"there is no limit {key!r}; `jobq limits` lists them")
    yield from wake_all(config, [EVERY_QUEUE])


EVERY_QUEUE = "*"
"""What is told where it is not about one queue; workers look at all of theirs at any hint."""


def _limit_key(key: str) -> str:
    text = short_text(key, "key", limit=300)
    if text is None:
        raise OptionError("the key of a limit is text, not None")
    return text
