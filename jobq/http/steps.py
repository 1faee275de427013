"""The steps that operations are made of, and how they are driven, synchronously and not.

An operation is a generator, written once: it yields steps and receives their answers, and returns
a response. Whoever does the steps is a host (`hosts`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import frozen

from jobq.http.messages import Response, Stream

if TYPE_CHECKING:
    from jobq._model import Job
    from jobq.http.budget import Budget
    from jobq.http.hosts import AsyncHost, Host

T = TypeVar("T")
Steps = Generator["Step", Any, T]
Operation = Steps[Response | Stream]


class Step(Protocol):
    """One thing that an operation needs done."""

    def do(self, host: Host) -> Any: ...
    async def ado(self, host: AsyncHost) -> Any: ...


class Ask(Step):
    """Run a verb of the queue."""

    def __init__(self, verb: Callable[..., Any], *args: Any, **options: Any) -> None:
        self.verb, self.args, self.options = verb, args, options

    def do(self, host: Host) -> Any:
        return host.ask(self.verb, *self.args, **self.options)

    async def ado(self, host: AsyncHost) -> Any:
        return await host.ask(self.verb, *self.args, **self.options)


class Consult(Step):
    """Call a function of the app, which may be asynchronous where the host is."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function, self.args = function, args

    def do(self, host: Host) -> Any:
        return host.consult(self.function, *self.args)

    async def ado(self, host: AsyncHost) -> Any:
        return await host.consult(self.function, *self.args)


@frozen
class Watch(Step):
    """Wait until a job is no longer at this version, or has finished; `None` if it is not so."""

    job: Job
    seconds: float
    until_finished: bool = False

    def do(self, host: Host) -> Job | None:
        return host.watch(self)

    async def ado(self, host: AsyncHost) -> Job | None:
        return await host.watch(self)


@frozen
class Work(Step):
    """Run jobs within a budget; the answer is a `drive.Report`."""

    budget: Budget

    def do(self, host: Host) -> Any:
        return host.work(self.budget)

    async def ado(self, host: AsyncHost) -> Any:
        return await host.work(self.budget)


@frozen
class Trigger(Step):
    """Have this process run jobs on the side, soon."""

    def do(self, host: Host) -> None:
        host.trigger()

    async def ado(self, host: AsyncHost) -> None:
        host.trigger()


def chunks(stream: Stream, host: Host) -> Iterator[bytes]:
    """The body of a stream, bit by bit."""
    steps = stream.chunks
    try:
        item = next(steps)
        while True:
            if isinstance(item, bytes):
                yield item
                item = next(steps)
                continue
            try:
                answer = item.do(host)
            except Exception as error:  # noqa: BLE001  the operation decides
                item = steps.throw(error)
            else:
                item = steps.send(answer)
    except StopIteration:
        pass
    finally:
        steps.close()


async def chunks_async(stream: Stream, host: AsyncHost) -> AsyncIterator[bytes]:
    """`chunks`, awaiting the steps in between."""
    steps = stream.chunks
    try:
        item = next(steps)
        while True:
            if isinstance(item, bytes):
                yield item
                item = next(steps)
                continue
            try:
                answer = await item.ado(host)
            except Exception as error:  # noqa: BLE001  the operation decides
                item = steps.throw(error)
            else:
                item = steps.send(answer)
    except StopIteration:
        pass
    finally:
        steps.close()
