"""How jobs that wait are told that it has come, for both faces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from jobq import _event_verbs as event_verbs
from jobq._verbs import Verb

T = TypeVar("T")


class Events:
    """For `Queue`."""

    def _do(self, verb: Callable[..., Verb[T]], *args: Any, **kwargs: Any) -> T:
        raise NotImplementedError

    def send_event(
        self,
        token: str,
        payload: Any = None,
        *,
        provider: str | None = None,
        event_id: str | None = None,
    ) -> bool:
        """Send an event to the job that waits for it; whether one has taken it.

        - `token`: that of a `job.hook(…)`, or with `provider` the provider's own id of the work,
          where the job waits with `webhook=provider`. Verify first who is speaking.
        - `payload`: JSON, what `job.wait_for_event` returns.
        - `event_id`: the provider's id of the event; one that comes again is not taken again.

        A token is good for one event, until its time is over or its job has ended.

        >>> queue.send_event(token, {"approved": True})
        True
        """
        return self._do(event_verbs.send_event, token, payload, provider, event_id)


class AsyncEvents:
    """The same for `AsyncQueue`."""

    async def _do(self, verb: Callable[..., Verb[T]], *args: Any, **kwargs: Any) -> T:
        raise NotImplementedError

    async def send_event(
        self,
        token: str,
        payload: Any = None,
        *,
        provider: str | None = None,
        event_id: str | None = None,
    ) -> bool:
        """Send an event to the job that waits for it. See `Queue.send_event`."""
        return await self._do(event_verbs.send_event, token, payload, provider, event_id)
