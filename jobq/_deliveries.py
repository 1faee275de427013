"""Deliveries: the jobs that tell endpoints what became of other jobs."""

from __future__ import annotations

import asyncio
import inspect
import random
import weakref
from collections import ChainMap
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from jobq import backends
from jobq._clock import SECOND
from jobq._context import JobContext
from jobq._errors import ConfigurationError, JobqError
from jobq._handler import Handler, Middleware
from jobq._model import Job, iso, new_id
from jobq._payload import Codec, dumps
from jobq._retry import Retry
from jobq._routing import DELIVERY, Router
from jobq._signals import Cancel, Permanent, RetryAfter
from jobq.webhooks import Webhook

if TYPE_CHECKING:
    from jobq._config import Config
    from jobq.backends.ops.insert import NewRow
    from jobq.webhooks._post import Answer

Finder = Callable[[str], Webhook | Awaitable[Webhook | None] | None]
Webhooks = Mapping[str, Webhook] | Finder
"""Endpoints by name, or a function (async or not) that finds them, as in the app's own table."""

SCHEDULE = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""The example of Standard Webhooks: seconds before each repetition."""
LONGEST_REST = 86_400.0
KEPT_DAYS = 7
_GONE = 410


class DeliveryFailed(JobqError):
    """The endpoint did not take the message."""


class Published:
    """The rests of `SCHEDULE`, up to a tenth longer, so that not all come back at once."""

    def delay(self, attempt: int, rand: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1)."""
        return SCHEDULE[min(attempt, len(SCHEDULE)) - 1] * (1 + rand / 10)


RETRY = Retry(max_attempts=1 + len(SCHEDULE), backoff=Published())


def checked_webhooks(value: Any) -> Webhooks:
    """The endpoints of a queue as they were given. Raises `ConfigurationError`."""
    if callable(value):
        return value  # type: ignore[no-any-return]
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"Queue: webhooks must be {{name: jobq.Webhook(…)}} or a function that finds one by "
            f"its name, not {value!r:.100}"
        )
    for name, webhook in value.items():
        if not isinstance(name, str) or not 1 <= len(name) <= 200:
            raise ConfigurationError(f"Queue: webhooks: {name!r:.250} is no name")
        if not isinstance(webhook, Webhook):
            raise ConfigurationError(f"Queue: webhooks[{name!r}] must be a jobq.Webhook(…)")
    return dict(value)


class Courier:
    """Delivers: the handler of `jobq.webhook`."""

    def __init__(self, config: Config, webhooks: Webhooks) -> None:
        self._config = config
        self.webhooks = webhooks
        self._stores: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, backends.AsyncStore] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def names(self) -> list[str] | None:
        """The endpoints that it knows, or `None` where it would have to ask for each."""
        return sorted(self.webhooks) if isinstance(self.webhooks, Mapping) else None

    @contextmanager
    def using(self, store: backends.AsyncStore) -> Iterator[None]:
        """Have this loop's deliveries share a worker's connections.

        Raises `ConfigurationError` where what they are sent with is not installed.
        """
        from jobq.webhooks._post import client_library

        client_library()
        loop = asyncio.get_running_loop()
        self._stores[loop] = store
        try:
            yield
        finally:
            self._stores.pop(loop, None)

    def delivery(self, job: Job, name: str) -> NewRow:
        """The job that tells the endpoint `name` what became of another one."""
        event = {
            "type": f"job.{job.status.value}",
            "timestamp": iso(job.completed_at),
            "data": job.to_dict(),
        }
        return backends.ops.NewRow(
            id=new_id(),
            payload=dumps({"webhook": name, "event": event}),
            terms=backends.ops.Terms(
                type=DELIVERY,
                queue=job.queue,
                declared=1,
                priority=job.priority,
                max_attempts=RETRY.max_attempts,
                metadata=dumps({"webhook": name, "job": job.id}),
                keep_seconds=KEPT_DAYS * 86_400,
            ),
        )

    async def deliver(self, payload: dict[str, Any], job: JobContext) -> dict[str, Any]:
        """Send one message, once; what the job's outcome is, the answer says."""
        from jobq.webhooks._post import Refused, Unreachable, post

        name = str(payload["webhook"])
        webhook = await self._find(name)
        await self._refuse_disabled(name, webhook)
        clock = self._config.clock
        try:
            answer = await post(
                webhook,
                id=job.id,
                body=dumps(payload["event"]).encode(),
                now=clock.now() / SECOND,
            )
        except Refused as error:
            raise Permanent("webhook_refused", str(error)) from None
        except Unreachable as error:
            raise DeliveryFailed(f"webhook {name!r}: {error}") from None
        return await self._judge(name, webhook, answer, job.attempt)

    async def _find(self, name: str) -> Webhook:
        if isinstance(self.webhooks, Mapping):
            found: Any = self.webhooks.get(name)
        elif inspect.iscoroutinefunction(self.webhooks):
            found = await self.webhooks(name)
        else:
            found = await to_thread.run_sync(self.webhooks, name)
        if not isinstance(found, Webhook):
            raise DeliveryFailed(f"no webhook {name!r} is known here: add it to Queue(webhooks=…)")
        return found

    async def _refuse_disabled(self, name: str, webhook: Webhook) -> None:
        since = await self._run(backends.ops.webhook_disabled, name, webhook.fingerprint)
        if since is not None:
            raise Cancel(
                f"webhook {name!r} is disabled since {iso(since)}; `jobq webhooks enable` ends that"
            )

    async def _judge(
        self, name: str, webhook: Webhook, answer: Answer, attempt: int
    ) -> dict[str, Any]:
        status, asked = answer.status, answer.retry_after
        if 200 <= status < 300:
            return {"status": status}
        reason = f"webhook {name!r} answered {status}"
        if status == _GONE:
            await self._run(backends.ops.disable_webhook, name, webhook.fingerprint, reason)
            raise Permanent("webhook_gone", f"{reason}: it is disabled from now on")
        if asked is not None:
            rest = RETRY.backoff.delay(attempt, random.random())
            raise RetryAfter(min(max(asked, rest), LONGEST_REST * 1.1), reason)
        raise DeliveryFailed(reason)

    async def _run(self, op: Any, *args: Any) -> Any:
        store = self._stores.get(asyncio.get_running_loop())
        if store is not None:
            return await store.run(op, *args)
        async with aclosing(self._config.async_store()) as store:
            return await store.run(op, *args)


def _handler(courier: Courier) -> Handler[Any, Any]:
    return Handler(
        type=DELIVERY,
        function=courier.deliver,
        codec=Codec(dict[str, Any], type_name=DELIVERY),
        takes=("payload", "context"),
        is_async=True,
        retry=RETRY,
        timeout=120.0,
    )


def route_deliveries(config: Config) -> tuple[Router, Courier]:
    """The router of a queue that has webhooks, and who delivers for it."""
    webhooks = checked_webhooks(config.webhooks)
    known = config.router
    within = known.within if isinstance(known, DeliveringRouter) else known
    courier = Courier(config, webhooks)
    return DeliveringRouter(within, courier), courier


class DeliveringRouter(Router):
    """A router, as it lives, with the handler of deliveries beside its own."""

    def __init__(self, within: Router, courier: Courier) -> None:
        super().__init__()
        self.within = within
        self._delivery = _handler(courier)
        self._handlers = ChainMap({DELIVERY: self._delivery}, within._handlers)  # noqa: SLF001
        self._middleware = within._middleware  # noqa: SLF001
        self._schedules = within._schedules  # noqa: SLF001
        self.middleware = within.middleware  # type: ignore[method-assign]
        self.find = within.find  # type: ignore[method-assign]

    @property
    def finds(self) -> bool:  # type: ignore[override]
        """Whether `find` may know types that have no handler yet."""
        return self.within.finds

    def __iter__(self) -> Iterator[Handler[Any, Any]]:
        yield from self.within
        yield self._delivery

    def chain(self, handler: Handler[Any, Any]) -> tuple[Middleware, ...]:
        """The middleware around a handler: none around deliveries, which are jobq's own."""
        return () if handler is self._delivery else self.within.chain(handler)

    def _register(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        return self.within._register(handler)  # noqa: SLF001
