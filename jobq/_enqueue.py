"""From what a caller asks for to a row: everything about a new job that can be known early."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jobq import backends
from jobq._checks import is_storable, priority_number, short_text
from jobq._clock import from_datetime, to_span
from jobq._config import Config
from jobq._errors import OptionError, PayloadError, UnknownType
from jobq._handler import Handler
from jobq._limits import Limit, Wanted
from jobq._limits.lanes import NOTHING, Lane, wanted
from jobq._model import Job, NewJob, new_id
from jobq._payload import PLAIN, encode_json, loads, sorted_json
from jobq._routing import OWN, keep_span, timeout_seconds

if TYPE_CHECKING:
    from jobq.backends.ops.insert import NewRow, Terms


KEEP_AND_OWNER = (
    "keep=False deletes the job when it completes, so its owner could never see the "
    "result; leave out owner, or keep it for a while, as in keep=3600"
)


def new_row(config: Config, new: NewJob, id: str | None = None) -> NewRow:
    """The row of a new job, with this id or a fresh one.

    Raises what is wrong with it, naming the value and the fix.
    """
    name, handler = _handler(config, new.type)
    payload = _payload(config, name, handler, new.payload)
    run_at, delay = _start(new.run_at, new.delay)
    keep = _keep(new, handler)
    defaulted = _defaulted(new, handler)
    check_webhook(config, defaulted["webhook"], keep)
    metadata = _metadata(config, new.metadata)
    if handler is None:
        limited = Wanted(costs=_given_costs(new.cost))
    else:
        limits = config.limits_of(handler, defaulted["queue"])
        limited = limited_job(
            handler,
            limits,
            queue=defaulted["queue"],
            payload=payload,
            owner=new.owner,
            metadata=metadata,
            costs=new.cost,
        )
    terms = backends.ops.Terms(
        type=name,
        declared=0 if handler is None else 1,
        run_at=run_at,
        delay=delay,
        expires_at=_instant(new.expires_at, "expires_at"),
        unique_key=short_text(new.unique_key, "unique_key"),
        idempotency_key=short_text(new.idempotency_key, "idempotency_key", limit=200),
        idempotency_hash=_idempotency_hash(new, name, payload),
        owner=short_text(new.owner, "owner"),
        metadata=metadata,
        keep_seconds=None if keep is None else keep // 1_000_000,
        lane=limited.lane,
        costs=limited.costs,
        **defaulted,
    )
    return backends.ops.NewRow(id=id or new_id(), payload=payload, terms=terms)


KEEP_AND_WEBHOOK = (
    "keep=False deletes the job when it completes, before its webhook is told; leave out webhook, "
    "or keep the job for a while, as in keep=3600"
)


def check_webhook(config: Config, name: str | None, keep: int | None) -> None:
    """Raise `OptionError` where nobody could be told how a job ended."""
    if name is None:
        return
    if keep == 0:
        raise OptionError(KEEP_AND_WEBHOOK)
    known = None if config.courier is None else config.courier.names
    if known is not None and name not in known:
        names = ", ".join(map(repr, known)) or "none"
        raise OptionError(f"webhook={name!r} is not in Queue(webhooks=…); it has {names}")


def _idempotency_hash(new: NewJob, name: str, payload: str) -> str | None:
    """What tells the same request from another with the same key, however its payload is put."""
    if new.idempotency_key is None:
        return None
    if new.unique_key is not None:
        raise OptionError("give unique_key or idempotency_key, not both")
    from hashlib import sha256

    return sha256(f"{name}\n{sorted_json(loads(payload))}".encode()).hexdigest()


def limited_job(
    handler: Handler[Any, Any],
    limits: tuple[Limit, ...],
    *,
    queue: str,
    payload: str,
    owner: str | None,
    metadata: str | None,
    costs: Mapping[str, Any] | None,
    moved: bool = False,
) -> Wanted:
    """The lane and the costs of a job; `payload` and `metadata` are JSON text.

    One that was `moved` from another queue may have costs of limits that it left behind.

    Raises `OptionError` for a key that cannot be filled in, or a cost that can never be met.
    """
    if not limits and not costs:
        return NOTHING
    if owner is None:
        kept = tuple(one for one in limits if not getattr(one, "owned_only", False))
        if limits and not kept and not costs:
            return Wanted(Lane(handler.type, ()).text)  # limited like all of its type, by nothing
        limits = kept
    if costs is not None and not isinstance(costs, Mapping):
        raise OptionError(f"cost must be {{key of a limit: units}}, not {costs!r:.100}")
    values = {
        "type": handler.type,
        "queue": queue,
        "owner": owner,
        "payload": loads(payload),
        "metadata": {} if metadata is None else loads(metadata),
    }
    needs_payload = any(callable(limit.cost) for limit in limits)
    decoded = handler.codec.decode(payload) if needs_payload else None
    return wanted(limits, values, payload=decoded, costs=costs, moved=moved)


def _given_costs(costs: Mapping[str, Any] | None) -> str | None:
    """Costs of a job whose handler is not known here, as they were given."""
    if not costs:
        return None
    if not isinstance(costs, Mapping):
        raise OptionError(f"cost must be {{key of a limit: units}}, not {costs!r:.100}")
    for key, units in costs.items():
        if not isinstance(key, str) or not is_storable(key):
            raise OptionError(f"cost: {key!r:.100} is no key of a limit")
        if isinstance(units, bool) or not isinstance(units, int) or not 0 <= units <= 10**15:
            raise OptionError(f"cost: {units!r:.100} of {key!r} must be an integer from 0")
    return encode_json(dict(costs), what="cost")


def _handler(config: Config, type: Any) -> tuple[str, Handler[Any, Any] | None]:
    if isinstance(type, Handler):
        return type.type, type
    handler = config.router.get(type) if isinstance(type, str) else None
    if handler is None:  # else its name was looked at when it was registered
        _check_type(type)
    if type.startswith(OWN):
        raise OptionError(f"jobs of type {type!r} are jobq's own; it enqueues them itself")
    if handler is None and config.strict_types:
        raise UnknownType(type, config.router.types)
    return type, handler


def _check_type(type: Any) -> None:
    if not isinstance(type, str) or not 1 <= len(type) <= 200 or not is_storable(type):
        raise OptionError(f"a job's type is a handler or its name (1 to 200 letters), not {type!r}")


def _payload(config: Config, name: str, handler: Handler[Any, Any] | None, value: Any) -> str:
    if handler is not None:
        text = handler.codec.encode(value)
    else:
        try:
            text = PLAIN.encode(value)
        except PayloadError as error:
            raise PayloadError(error.reason, path=error.path, type=name) from None
    size = len(text) if text.isascii() else len(text.encode())
    if size > config.bounds.payload:
        raise PayloadError(
            f"{size} bytes of JSON are more than the {config.bounds.payload} allowed; store the "
            f"data elsewhere and pass its address, or raise Queue(bounds=Bounds(payload=…))",
            type=name,
        )
    return text


def _start(run_at: datetime | None, delay: Any) -> tuple[int | None, int]:
    if run_at is not None and delay is not None:
        raise OptionError("give run_at or delay, not both")
    if delay is None:
        return _instant(run_at, "run_at"), 0
    span = to_span(delay, name="delay")
    if span < 0:
        raise OptionError(f"delay={delay!r} is negative")
    return None, span


def _instant(value: datetime | None, name: str) -> int | None:
    return None if value is None else from_datetime(value, name=name)


def _metadata(config: Config, value: Mapping[str, Any] | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise OptionError(f"metadata must be a mapping, not {value!r:.100}")
    text = encode_json(dict(value), what="metadata")
    if len(text.encode()) > config.bounds.metadata:
        raise OptionError(
            f"metadata takes {len(text.encode())} bytes, more than the {config.bounds.metadata} "
            f"allowed; put data into the payload, or raise Queue(bounds=Bounds(metadata=…))"
        )
    return text


def _keep(new: NewJob, handler: Handler[Any, Any] | None) -> int | None:
    keep = keep_span(new.keep)
    if keep is None and handler is not None:
        keep = handler.keep
    if keep == 0 and new.owner is not None:
        raise OptionError(KEEP_AND_OWNER)
    return keep


def _defaulted(new: NewJob, handler: Handler[Any, Any] | None) -> dict[str, Any]:
    """The options that a handler has defaults for."""
    queue = short_text(new.queue, "queue", limit=100)
    priority = None if new.priority is None else priority_number(new.priority)
    max_attempts = _attempts(new.max_attempts)
    timeout_ms = None if new.timeout is ... else milliseconds(timeout_seconds(new.timeout))
    if handler is None:
        given = [n for n, v in (("queue", queue), ("priority", priority)) if v is not None]
    else:
        given = []
        queue = queue or handler.queue
        priority = handler.priority if priority is None else priority
        max_attempts = max_attempts or handler.retry.max_attempts
        timeout_ms = milliseconds(handler.timeout) if timeout_ms is None else timeout_ms
    return {
        "queue": queue or "default",
        "priority": priority or 0,
        "max_attempts": max_attempts,
        "timeout_ms": timeout_ms,
        "on_ambiguous": None if handler is None else handler.on_ambiguous,
        "webhook": short_text(new.webhook, "webhook", limit=200)
        or (None if handler is None else handler.webhook),
        "given": ",".join(given) or None,
    }


def milliseconds(timeout: float | None) -> int:
    """A timeout as it is stored: 0 is none."""
    return 0 if timeout is None else max(1, round(timeout * 1000))


def _attempts(value: int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
        raise OptionError(f"max_attempts={value!r} must be an integer from 1 to 10000")
    return value


class Rows:
    """Makes rows of items: `(type, payload)`, `(type, payload, options)` or `NewJob`.

    What it has found out about a type it keeps, for items without options: make one for a call.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._plain: dict[Any, tuple[str, Handler[Any, Any] | None, Terms | None]] = {}

    def of(self, item: Any, id: str | None = None) -> NewRow:
        """The row of an item, see `new_row`."""
        if type(item) is tuple and len(item) == 2:
            return self._of_plain(*item, id)
        if isinstance(item, NewJob):
            return new_row(self._config, item, id)
        if isinstance(item, tuple) and len(item) == 3 and isinstance(item[2], Mapping):
            try:
                new = NewJob(type=item[0], payload=item[1], **item[2])
            except TypeError as error:
                raise OptionError(f"enqueue_many: {error}") from None
            return new_row(self._config, new, id)
        raise OptionError(
            f"enqueue_many takes (handler or type, payload), (…, payload, options) or NewJob, "
            f"not {item!r:.100}"
        )

    def _of_plain(self, type: Any, payload: Any, id: str | None) -> NewRow:
        known = self._plain.get(type) if isinstance(type, (str, Handler)) else None
        if known is None:
            name, handler = _handler(self._config, type)
            known = self._plain[type] = (name, handler, _plain_terms(self._config, name, handler))
        name, handler, terms = known
        if terms is None:
            return new_row(self._config, NewJob(type=type, payload=payload), id)
        text = _payload(self._config, name, handler, payload)
        return backends.ops.NewRow(id=id or new_id(), payload=text, terms=terms)


def _plain_terms(config: Config, name: str, handler: Handler[Any, Any] | None) -> Terms | None:
    """What jobs of a type have in common that are enqueued without options, if they do."""
    if config.limits or (handler is not None and (handler.limits or handler.webhook)):
        return None
    return _shared_terms(name, handler)


@lru_cache(maxsize=256)
def _shared_terms(name: str, handler: Handler[Any, Any] | None) -> Terms:
    keep = None if handler is None else handler.keep
    return backends.ops.Terms(
        type=name,
        declared=0 if handler is None else 1,
        keep_seconds=None if keep is None else keep // 1_000_000,
        **_defaulted(NewJob(type=None), handler),
    )


def job_of(row: NewRow, now: int) -> Job:
    """The job that a row became, when it was stored at `now` in bulk."""
    return row.to_job(created_at=now, run_at=row.terms.start(now))


def span(value: float | timedelta, name: str) -> int:
    """A duration of a verb's argument, in microseconds, not negative."""
    microseconds = to_span(value, name=name)
    if microseconds < 0:
        raise OptionError(f"{name}={value!r} is negative")
    return microseconds
