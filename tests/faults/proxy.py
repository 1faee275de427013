"""A network that can be broken: a TCP proxy before PostgreSQL, in a thread of its own.

It knows just enough of PostgreSQL's protocol to tell connections apart by their application name,
and to keep the answer to a chosen statement back after the server has committed it.

>>> with Proxy(server_url) as proxy:  # doctest: +SKIP
...     queue = jobq.Queue(proxy.url)
...     proxy.freeze()
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from attrs import Factory, define, field

T = TypeVar("T")
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
IDLE = b"I"
"""The transaction status that says: what was asked for is committed."""


@define(eq=False)
class Trap:
    """What is done with the answer to the next statements that contain a text."""

    text: str
    action: Literal["cut", "hold"]
    name: str | None
    left: int
    then_refuse: bool = False
    """Whether the others are cut as well, and no new one is accepted."""
    caught: int = 0
    """How many answers were kept back."""
    happened: threading.Event = Factory(threading.Event)

    def fits(self, sql: str, name: str) -> bool:
        return self.left > 0 and self.text in sql and self.name in (None, name)

    def spring(self) -> None:
        self.left -= 1
        self.caught += 1
        self.happened.set()


@define(eq=False)
class _Pair:
    """A client's connection and the server's that belongs to it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    name: str
    flows: asyncio.Event = Factory(asyncio.Event)
    forgotten: bool = False
    statements: dict[bytes, str] = Factory(dict)
    sql: str = ""
    """What the server was last asked."""

    def reset(self) -> None:
        """Close both ends with an RST."""
        for writer in (self.client, self.server):
            raw = writer.get_extra_info("socket")
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def heed(self, kind: bytes, body: bytes) -> None:
        """Learn what the client asks for."""
        if kind == b"Q":
            self.sql = body[:-1].decode()
        elif kind == b"P":
            name, _, rest = body.partition(b"\0")
            self.statements[name] = rest.partition(b"\0")[0].decode()
            self.sql = ""  # the answer to this one says only that it is understood
        elif kind == b"B":
            _, _, rest = body.partition(b"\0")
            self.sql = self.statements.get(rest.partition(b"\0")[0], "")


@define(eq=False)
class Proxy:
    """The way to a PostgreSQL server; a `with` block. Any thread may break and mend it."""

    server_url: str
    delay: float = 0.0
    """Seconds that everything takes on its way, in each direction."""
    rate: float | None = None
    """Bytes a second and direction of a connection; `None` is as fast as it goes."""
    port: int = 0
    accepted: int = 0
    """How many connections were made."""
    held: int = 0
    """How many messages met a frozen connection."""
    _pairs: set[_Pair] = Factory(set)
    _frozen: set[str | None] = Factory(set)
    _traps: list[Trap] = Factory(list)
    _tasks: set[asyncio.Task[None]] = Factory(set)
    _listening: asyncio.Server | None = None
    _loop: asyncio.AbstractEventLoop = Factory(asyncio.new_event_loop)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._in_loop(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._in_loop(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The server's URL, by way of the proxy."""
        parts = urlsplit(self.server_url)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    # --- faults ------------------------------------------------------------------------------

    def freeze(self, name: str | None = None) -> None:
        """Keep all connections open, or those with that application name, and forward nothing."""
        self._in_loop(self._set_frozen(self._frozen | {name}))

    def forget(self) -> None:
        """Freeze the connections that are open, for ever; new ones work."""
        self._in_loop(self._forget())

    def thaw(self) -> None:
        """Forward again; first what was held up."""
        self._in_loop(self._set_frozen(set()))

    def reset(self) -> int:
        """Reset all connections; how many there were."""
        return self._in_loop(self._reset())

    def refuse(self) -> None:
        """Accept no new connections."""
        self._in_loop(self._stop_listening())

    def accept(self) -> None:
        """Accept connections again."""
        self._in_loop(self._listen())

    def drop_reply(
        self, text: str, *, times: int = 1, name: str | None = None, then_refuse: bool = False
    ) -> Trap:
        """Cut connections instead of forwarding the answer to a statement with that text.

        Only once it is committed: within a transaction it is the answer to COMMIT that counts.
        With `then_refuse` all others are cut as well, and nobody connects again until `accept`.
        """
        return self._set_trap(Trap(text, "cut", name, times, then_refuse))

    def hold_reply(self, text: str, *, name: str | None = None) -> Trap:
        """Keep the answer to the next statement with that text for ever."""
        return self._set_trap(Trap(text, "hold", name, 1))

    def names(self) -> list[str]:
        """The application names of the connections that are open."""
        return sorted(pair.name for pair in list(self._pairs))

    # --- in the loop -------------------------------------------------------------------------

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _set_trap(self, trap: Trap) -> Trap:
        self._traps.append(trap)
        return trap

    async def _set_frozen(self, names: set[str | None]) -> None:
        self._frozen = names
        for pair in self._pairs:
            self._let_flow(pair)

    async def _forget(self) -> None:
        for pair in self._pairs:
            pair.forgotten = True
            self._let_flow(pair)

    def _let_flow(self, pair: _Pair) -> None:
        if pair.forgotten or self._frozen & {None, pair.name}:
            pair.flows.clear()
        else:
            pair.flows.set()

    async def _reset(self) -> int:
        pairs = list(self._pairs)
        for pair in pairs:
            pair.reset()
        return len(pairs)

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = await asyncio.start_server(
                self._accepted, "127.0.0.1", self.port, backlog=500
            )
            self.port = self._listening.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    async def _end(self) -> None:
        await self._stop_listening()
        await asyncio.sleep(0.01)  # who was just accepted gets his task in the turns that follow
        await self._reset()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close in the turns that follow

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        serving = self._begin(self._serve(reader, writer))
        serving.add_done_callback(lambda _: writer.transport.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            startup = await _startup(reader, writer)
            while None in self._frozen:
                await asyncio.sleep(0.02)
            server = urlsplit(self.server_url)
            answers, to_server = await asyncio.open_connection(server.hostname, server.port)
        except (OSError, asyncio.IncompleteReadError):
            return
        pair = _Pair(writer, to_server, _application_name(startup))
        self._pairs.add(pair)
        self._let_flow(pair)
        forth = self._begin(self._forth(pair, reader, startup))
        back = self._begin(self._back(pair, answers))
        try:
            await asyncio.wait([forth, back], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pairs.discard(pair)
            forth.cancel()
            back.cancel()
            pair.server.transport.close()

    async def _forth(self, pair: _Pair, reader: asyncio.StreamReader, startup: bytes) -> None:
        """What the client says."""
        async with _Way(self, pair, pair.server) as way:
            way.put(startup)
            while frame := await _frame(reader):
                pair.heed(frame[:1], frame[5:])
                way.put(frame)

    async def _back(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        """What the server answers. All of an answer is kept until it is known to be committed."""
        async with _Way(self, pair, pair.client) as way:
            answer, trap = b"", None
            while frame := await _frame(reader):
                answer += frame
                trap = trap or self._trap_for(pair)
                if trap is None:
                    way.put(answer)
                    answer = b""
                elif frame[:1] == b"Z":
                    if frame[5:6] == IDLE and trap.left > 0:
                        trap.spring()
                        if trap.action == "hold":
                            await asyncio.Event().wait()
                        if trap.then_refuse:
                            await self._stop_listening()
                            await self._reset()
                        pair.reset()
                        return
                    way.put(answer)
                    answer, trap = b"", None

    def _trap_for(self, pair: _Pair) -> Trap | None:
        fits = (trap for trap in self._traps if trap.fits(pair.sql, pair.name))
        return next(fits, None)


class _Way:
    """One direction: what is put in comes out later, in order, and not faster than allowed."""

    def __init__(self, proxy: Proxy, pair: _Pair, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._pair = pair
        self._writer = writer
        self._queue: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()

    def put(self, data: bytes) -> None:
        self._queue.put_nowait((time.monotonic() + self._proxy.delay, data))

    async def __aenter__(self) -> Self:
        self._task = self._proxy._begin(self._forward())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._queue.put_nowait(None)
            await self._task  # what was said before the end still arrives
        else:
            self._task.cancel()

    async def _forward(self) -> None:
        with suppress(ConnectionError):
            while (item := await self._queue.get()) is not None:
                due, data = item
                if (rest := due - time.monotonic()) > 0:
                    await asyncio.sleep(rest)
                if not self._pair.flows.is_set():
                    self._proxy.held += 1
                    await self._pair.flows.wait()
                if self._proxy.rate is not None:
                    await asyncio.sleep(len(data) / self._proxy.rate)
                self._writer.write(data)
                await self._writer.drain()


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The first packet; requests for encryption are answered with a no."""
    while True:
        head = await reader.readexactly(8)
        length, code = struct.unpack("!ii", head)
        packet = head + await reader.readexactly(length - 8)
        if code not in (SSL_REQUEST, GSS_REQUEST):
            return packet
        writer.write(b"N")


def _application_name(startup: bytes) -> str:
    words = startup[8:].split(b"\0")
    named = dict(zip(words[::2], words[1::2], strict=False))
    return named.get(b"application_name", b"").decode()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """One message; nothing at the end."""
    try:
        head = await reader.readexactly(5)
        return head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
