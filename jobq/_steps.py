"""The steps that verbs are made of, each done synchronously or not, and what drives them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import frozen

from jobq import backends

if TYPE_CHECKING:
    from anyio import CapacityLimiter

    from jobq._owners import Bound
    from jobq.backends.ops.insert import NewRow


T = TypeVar("T")


def run(steps: Generator[Any, Any, T], place: Any) -> T:
    """Do steps to their end; what a step raises is raised inside, at its `yield`.

    `place` is where they are done: a store, or a host of the HTTP API.
    """
    try:
        step = next(steps)
        while True:
            try:
                answer = step.do(place)
            except Exception as error:  # noqa: BLE001  the generator decides
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def run_async(steps: Generator[Any, Any, T], place: Any) -> T:
    """`run`, awaiting the steps."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await step.ado(place)
            except Exception as error:  # noqa: BLE001  the generator decides
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()


class Step(Protocol):
    """One thing that a verb needs done."""

    def do(self, store: backends.Store) -> Any: ...
    async def ado(self, store: backends.AsyncStore) -> Any: ...


class Do(Step):
    """Run an op, in a transaction of its own."""

    def __init__(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.op, self.args, self.kwargs = op, args, kwargs

    def do(self, store: backends.Store) -> Any:
        return store.run(self.op, *self.args, **self.kwargs)

    async def ado(self, store: backends.AsyncStore) -> Any:
        return await store.run(self.op, *self.args, **self.kwargs)


class DoOn(Do):
    """Run an op on the caller's connection."""

    def __init__(self, connection: Any, op: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(op, *args, **kwargs)
        self.connection = connection

    def do(self, store: backends.Store) -> Any:
        run = backends.callers.run
        return run(store.dialect, self.connection, self.op, *self.args, **self.kwargs)

    async def ado(self, store: backends.AsyncStore) -> Any:
        run = backends.callers.run_async
        return await run(store.dialect, self.connection, self.op, *self.args, **self.kwargs)


@frozen
class Bulk(Step):
    """Load rows without unique keys the fastest way."""

    rows: Sequence[NewRow]

    def do(self, store: backends.Store) -> int:
        return store.bulk(self.rows)

    async def ado(self, store: backends.AsyncStore) -> int:
        return await store.bulk(self.rows)


class Insert(Step):
    """Store a new job, and tell the workers of other processes: along with it where they wait."""

    def __init__(self, row: NewRow, bounds: Sequence[Bound] = ()) -> None:
        self.row = row
        self.op: Callable[..., Any] = backends.ops.insert_within if bounds else backends.ops.insert
        self.given = {"bounds": bounds} if bounds else {}

    def do(self, store: backends.Store) -> Any:
        queue = self.row.terms.queue
        leads = store.notifies_now(queue)
        job = store.run(self.op, self.row, notify=leads, **self.given)
        (store.notified if leads else store.notify)(queue)
        return job

    async def ado(self, store: backends.AsyncStore) -> Any:
        queue = self.row.terms.queue
        leads = store.notifies_now(queue)
        job = await store.run(self.op, self.row, notify=leads, **self.given)
        (store.notified if leads else store.notify)(queue)
        return job


@frozen
class Tell(Step):
    """Tell the workers of other processes that there may be jobs."""

    queues: Iterable[str]

    def do(self, store: backends.Store) -> None:
        for queue in set(self.queues):
            store.notify(queue)

    async def ado(self, store: backends.AsyncStore) -> None:
        for queue in set(self.queues):
            store.notify(queue)


@frozen
class Rest(Step):
    """Let some seconds pass."""

    seconds: float

    def do(self, store: backends.Store) -> None:  # noqa: ARG002  a step's arguments
        time.sleep(self.seconds)

    async def ado(self, store: backends.AsyncStore) -> None:  # noqa: ARG002  a step's arguments
        import asyncio

        await asyncio.sleep(self.seconds)


class Aside(Step):
    """Call something that may block; in event loops in a thread, one of `threads` if given."""

    def __init__(self, call: Callable[[], Any], threads: CapacityLimiter | None = None) -> None:
        self.call, self.threads = call, threads

    def do(self, store: Any) -> Any:  # noqa: ARG002  a step's arguments
        return self.call()

    async def ado(self, store: Any) -> Any:  # noqa: ARG002  a step's arguments
        from anyio import to_thread

        return await to_thread.run_sync(self.call, limiter=self.threads)
