"""Wait for notifications without looking for them.

`notifies()` of psycopg looks ten times a second, which would cost an idle worker more than all its
statements.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator

from psycopg import Notify

from jobq.backends.postgres.connections import AsyncConnection


class Ear:
    """What a connection hears. Nobody else may use the connection while it listens."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._heard: deque[str] = deque()
        connection.add_notify_handler(self._note)  # what comes along with an answer

    def _note(self, note: Notify) -> None:
        self._heard.append(note.channel)

    async def channels(self, seconds: float) -> AsyncIterator[str]:
        """The channels of notifications as they come, for so long.

        Raises `psycopg.OperationalError` when the connection is lost.
        """
        until = time.monotonic() + seconds
        while True:
            while self._read():  # until nothing is left, also where TLS has taken it off the socket
                while self._heard:
                    yield self._heard.popleft()
            left = until - time.monotonic()
            if left <= 0 or not await _readable(self._connection.fileno(), left):
                return

    def _read(self) -> bool:
        """Take in what has arrived; whether anything was heard."""
        pgconn = self._connection.pgconn
        pgconn.consume_input()
        while (note := pgconn.notifies()) is not None:
            self._heard.append(note.relname.decode())
        return bool(self._heard)


async def _readable(socket: int, seconds: float) -> bool:
    """Whether something arrived within so many seconds, be it the end."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(socket, arrived.set)
    try:
        async with asyncio.timeout(seconds):
            await arrived.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(socket)
    return True
