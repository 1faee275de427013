"""A provider that runs in a thread of its own, with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from examples.fakegemini.control import Control
from examples.fakegemini.ledger import Ledger
from examples.fakegemini.limits import Limits
from examples.fakegemini.options import Options
from examples.fakegemini.outcomes import Outcome, Rule
from examples.fakegemini.provider import Clock, Provider
from examples.fakegemini.wire import converse

T = TypeVar("T")
_PATIENCE = 30.0


class FakeGemini:
    """A provider on a free port of this machine, for as long as the block.

        async with FakeGemini(Options(rpm=60, speed=10)) as fake:
            fake.script("error", "ok", prompt="a red door")
            client = genai.Client(api_key="k", http_options={"base_url": fake.url})
            …
        assert fake.ledger.outcomes() == {"error": 1, "ok": 1}

    A plain `with` does as well. Everything here may be called from any thread.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        options = options or Options()
        self.ledger = Ledger(options.ledger)
        self.url = ""
        """Where it listens, such as http://127.0.0.1:40123."""
        self._provider = Provider(options, self.ledger, clock)
        self._control = Control(self._provider)
        self._address = host, port
        self._open = contextlib.ExitStack()
        self._loop: asyncio.AbstractEventLoop

    def script(
        self,
        *outcomes: Outcome | str,
        prompt: str = "",
        key: str = "",
        model: str = "",
        endpoint: str = "",
        forever: bool = False,
        text: str | None = None,
    ) -> None:
        """Say what becomes of the next requests that fit, as `Rule` explains.

            fake.script("reset", prompt="a red door")              # billed, but never answered
            fake.script("no_credit", key="key-a", forever=True)
            fake.script("ok", prompt="card", text='{"name": "Ada"}', forever=True)

        Raises:
            ValueError: an unknown outcome, or none.
        """
        wanted = [Outcome(outcome) for outcome in outcomes]
        rule = Rule(wanted, prompt, key, model, endpoint, forever, text)
        self._in_loop(lambda: self._provider.script.add(rule))

    def change(self, limits: Limits, model: str | None = None) -> None:
        """Other limits from now on, for one model or for all that have none of their own.

        fake.change(Limits(rpm=36))  # and none a day: these take the place of all three
        """
        self._in_loop(lambda: self._provider.doors.change(limits, model))

    def release(self) -> None:
        """Let all requests go on whose outcome is `held`."""
        self._in_loop(self._provider.release)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            opened.enter_context(self.ledger)
            self._loop = opened.enter_context(_loop_in_thread())
            server = self._run(serve(self._control, *self._address))
            opened.callback(lambda: self._run(_stop(server)))
            self.url = address(server)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def _in_loop(self, action: Callable[[], None]) -> None:
        """Do it between two requests, and have it done when this returns."""

        async def act() -> None:
            action()

        self._run(act())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)


@contextlib.contextmanager
def _loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fakegemini")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_PATIENCE)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    """Close it with all that it is about to answer."""
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def serve(control: Control, host: str, port: int) -> asyncio.Server:
    """Listen, and answer until the server is closed."""
    return await asyncio.start_server(
        lambda reader, writer: converse(control.answer, reader, writer), host, port
    )


def address(server: asyncio.Server) -> str:
    """Where it listens."""
    host, port = server.sockets[0].getsockname()[:2]
    return f"http://{host}:{port}"


async def run(options: Options, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Listen until cancelled; `ready` hears the address."""
    with Ledger(options.ledger) as ledger:
        server = await serve(Control(Provider(options, ledger)), host, port)
        ready(address(server))
        with contextlib.closing(server):
            await asyncio.Event().wait()
