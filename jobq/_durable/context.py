"""The verbs of steps and of waiting, as job contexts have them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar, overload

from jobq import _durable, _steps
from jobq._durable.book import DAY, OnAmbiguous
from jobq._errors import OptionError

R = TypeVar("R")
Span = float | timedelta


def _transaction(session: Any, connection: Any) -> Any:
    if session is not None and connection is not None:
        raise OptionError("give either session= or connection=")
    return connection if session is None else session


class _Keys:
    _attempt: Any

    def idempotency_key(self, name: str, *, version: int = 1) -> str:
        """A key of a step for its provider: a UUID, the same however often the step is called.

        >>> await job.step(
        ...     "charge", charge, 500, key=job.idempotency_key("charge")
        ... )  # doctest: +SKIP
        """
        return _durable.step.key_of(self._attempt, name, version)


class Checkpoint:
    """Free-form state of a job that its next attempt finds; JSON."""

    def __init__(self, attempt: Any) -> None:
        self._attempt = attempt

    async def get(self, default: Any = None) -> Any:
        """What was set last, by this attempt or an earlier one."""
        return await _steps.run_async(
            _durable.step.checkpoint(self._attempt, default), self._attempt.place
        )

    async def set(self, value: Any, *, session: Any = None, connection: Any = None) -> None:
        """Store it, in a transaction of yours where you give one. See `JobContext.step`."""
        verb = _durable.step.set_checkpoint(self._attempt, value, _transaction(session, connection))
        await _steps.run_async(verb, self._attempt.place)


class SyncCheckpoint:
    """Free-form state of a job that its next attempt finds; JSON."""

    def __init__(self, attempt: Any) -> None:
        self._attempt = attempt

    def get(self, default: Any = None) -> Any:
        """What was set last, by this attempt or an earlier one."""
        return _steps.run(
            _durable.step.checkpoint(self._attempt, default), self._attempt.thread_place
        )

    def set(self, value: Any, *, session: Any = None, connection: Any = None) -> None:
        """Store it, in a transaction of yours where you give one. See `JobContext.step`."""
        verb = _durable.step.set_checkpoint(self._attempt, value, _transaction(session, connection))
        _steps.run(verb, self._attempt.thread_place)


class DurableVerbs(_Keys):
    """For `async def` handlers."""

    @property
    def checkpoint(self) -> Checkpoint:
        """Free-form state that the next attempt finds: `await job.checkpoint.get()`, `.set(…)`."""
        return Checkpoint(self._attempt)

    @overload
    async def step(
        self,
        name: str,
        function: Callable[..., Awaitable[R]],
        /,
        *args: Any,
        version: int = ...,
        on_ambiguous: OnAmbiguous = ...,
        session: Any = ...,
        connection: Any = ...,
        **kwargs: Any,
    ) -> R: ...
    @overload
    async def step(
        self,
        name: str,
        function: Callable[..., R],
        /,
        *args: Any,
        version: int = ...,
        on_ambiguous: OnAmbiguous = ...,
        session: Any = ...,
        connection: Any = ...,
        **kwargs: Any,
    ) -> R: ...
    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        /,
        *args: Any,
        version: int = 1,
        on_ambiguous: OnAmbiguous = "retry",
        session: Any = None,
        connection: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Call a function once for this job: its result is stored, and later runs are given it.

        Results are JSON, of `Bounds.step` bytes at most; where the function is annotated to return
        a type, they come back as that. Names are the job's own, each for one thing.

        - `version`: raise it to have the step done anew, with other arguments or another meaning.
          Other arguments under the same version raise `StepChanged`.
        - `on_ambiguous`: what to do where a call was begun and its end was not recorded, because
          the worker died or the connection broke: `"retry"` calls again, `"fail"` fails the job
          with the code `ambiguous_step`, and a function of the same arguments looks what became
          of it: its result is the step's, `None` is to call again.
        - `session=` or `connection=`: record the end in a transaction of yours, beside the rows
          that the function wrote; commit it afterwards. Such a step is done exactly once.

        Raises `LeaseLost` where the job is no longer this attempt's; what the function raises is
        raised here, and the next attempt calls it again.

        >>> url = await job.step("upload", upload, image, bucket="photos")  # doctest: +SKIP
        """
        verb = _durable.step.step(
            self._attempt,
            name,
            function,
            args,
            kwargs,
            version=version,
            on_ambiguous=on_ambiguous,
            connection=_transaction(session, connection),
        )
        return await _steps.run_async(verb, self._attempt.place)

    async def wait(
        self,
        name: str,
        operation: Any,
        *,
        poll: Callable[[Any], Any] | None = None,
        every: Span = 10.0,
        timeout: Span = 900.0,  # noqa: ASYNC109  it is not this call's
        cancel: Callable[[Any], Any] | None = None,
        webhook: str | None = None,
    ) -> Any:
        """Wait for work that goes on outside, without a slot and without an attempt.

        The job is parked (`waiting`), and its handler run again from the top when there is
        something to look at: steps give what they have stored, and this returns what came.

        - `operation`: what the work is called there; JSON, and stored.
        - `poll`: called with it `every` so many seconds; `None` is "not yet", anything else is the
          result. A poll that cannot reach the provider is made again.
        - `timeout`: seconds after which `WaitExpired` is raised.
        - `cancel`: called with the operation where the job is cancelled meanwhile.
        - `webhook`: the name of a provider whose verified webhook may tell of it, see
          `jobq.http.Options`; with `poll` it is asked then, without it the event is the result.

        >>> video = await job.wait(  # doctest: +SKIP
        ...     "video", operation, poll=poll_video, every=10, timeout=900, cancel=cancel_video
        ... )
        """
        verb = _durable.wait.wait(
            self._attempt,
            name,
            operation,
            poll=poll,
            every=every,
            timeout=timeout,
            cancel=cancel,
            webhook=webhook,
        )
        return await _steps.run_async(verb, self._attempt.place)

    async def sleep(self, seconds: Span, *, name: str = "sleep") -> None:
        """Let time pass, without a slot and without an attempt. A second sleep needs a name.

        >>> await job.sleep(3600, name="cooling off")  # doctest: +SKIP
        """
        await _steps.run_async(
            _durable.wait.sleep(self._attempt, seconds, name), self._attempt.place
        )

    async def hook(self, name: str, *, timeout: Span = DAY) -> str:  # noqa: ASYNC109
        """A token by which the job can be sent one event: `POST /jobs/hooks/<token>`.

        It cannot be guessed, is this job's alone, and is good for `timeout` seconds. Hand it to
        whoever is to answer, and wait with `wait_for_event`.

        >>> token = await job.hook("approval")  # doctest: +SKIP
        """
        return await _steps.run_async(
            _durable.wait.hook(self._attempt, name, timeout), self._attempt.place
        )

    async def wait_for_event(self, token: str) -> Any:
        """What was sent to a hook of this job; until then it waits, without a slot.

        Raises `WaitExpired` when the hook's time is over.

        >>> answer = await job.wait_for_event(token)  # doctest: +SKIP
        """
        return await _steps.run_async(
            _durable.wait.wait_for_event(self._attempt, token), self._attempt.place
        )


class SyncDurableVerbs(_Keys):
    """For `def` handlers, in their threads."""

    @property
    def checkpoint(self) -> SyncCheckpoint:
        """Free-form state that the next attempt finds: `job.checkpoint.get()`, `.set(…)`."""
        return SyncCheckpoint(self._attempt)

    def step(
        self,
        name: str,
        function: Callable[..., R],
        /,
        *args: Any,
        version: int = 1,
        on_ambiguous: OnAmbiguous = "retry",
        session: Any = None,
        connection: Any = None,
        **kwargs: Any,
    ) -> R:
        """Call a function once for this job; see `JobContext.step`."""
        verb = _durable.step.step(
            self._attempt,
            name,
            function,
            args,
            kwargs,
            version=version,
            on_ambiguous=on_ambiguous,
            connection=_transaction(session, connection),
        )
        return _steps.run(verb, self._attempt.thread_place)  # type: ignore[no-any-return]

    def wait(
        self,
        name: str,
        operation: Any,
        *,
        poll: Callable[[Any], Any] | None = None,
        every: Span = 10.0,
        timeout: Span = 900.0,
        cancel: Callable[[Any], Any] | None = None,
        webhook: str | None = None,
    ) -> Any:
        """Wait for work that goes on outside, without a slot; see `JobContext.wait`."""
        verb = _durable.wait.wait(
            self._attempt,
            name,
            operation,
            poll=poll,
            every=every,
            timeout=timeout,
            cancel=cancel,
            webhook=webhook,
        )
        return _steps.run(verb, self._attempt.thread_place)

    def sleep(self, seconds: Span, *, name: str = "sleep") -> None:
        """Let time pass, without a slot; see `JobContext.sleep`."""
        _steps.run(_durable.wait.sleep(self._attempt, seconds, name), self._attempt.thread_place)

    def hook(self, name: str, *, timeout: Span = DAY) -> str:
        """A token by which the job can be sent one event; see `JobContext.hook`."""
        return _steps.run(
            _durable.wait.hook(self._attempt, name, timeout), self._attempt.thread_place
        )

    def wait_for_event(self, token: str) -> Any:
        """What was sent to a hook of this job; see `JobContext.wait_for_event`."""
        return _steps.run(
            _durable.wait.wait_for_event(self._attempt, token), self._attempt.thread_place
        )
