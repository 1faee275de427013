"""A provider that runs in a thread of its own, with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from examples.fakegemini.control import Control
from examples.fakegemini.ledger import Ledger
from examples.fakegemini.limits import Limits
from examples.fakegemini.options import Options
from examples.fakegemini.outcomes import Outcome, Rule
from examples.fakegemini.provider import Clock, Provider
from examples.fakegemini.wire import converse

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
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fakegemini")
        self._server: asyncio.Server | None = None

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
        """Other limits from now on, for one model or for all that have none of their own."""
        self._in_loop(lambda: self._provider.doors.change(limits, model))

    def release(self) -> None:
        """Let all requests go on whose outcome is `held`."""
        self._in_loop(self._provider.release)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_PATIENCE)
        self._end()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    async def _start(self) -> asyncio.Server:
        server = await serve(self._control, *self._address)
        host, port = server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"
        return server

    async def _stop(self) -> None:
        assert self._server
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()
        with self.ledger:
            pass  # its file is closed

    def _in_loop(self, action: Callable[[], None]) -> None:
        """Do it between two requests, and have it done when this returns."""

        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result(_PATIENCE)


async def serve(control: Control, host: str, port: int) -> asyncio.Server:
    """Listen, and answer until the server is closed."""
    return await asyncio.start_server(
        lambda reader, writer: converse(control.answer, reader, writer), host, port
    )


async def run(options: Options, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Listen until cancelled; `ready` hears the address."""
    with Ledger(options.ledger) as ledger:
        server = await serve(Control(Provider(options, ledger)), host, port)
        name, number = server.sockets[0].getsockname()[:2]
        ready(f"http://{name}:{number}")
        with contextlib.closing(server):
            await asyncio.Event().wait()
