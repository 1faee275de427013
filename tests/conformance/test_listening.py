"""Workers hear notifications of PostgreSQL without asking for them again and again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
import pytest

import jobq
from jobq.backends import postgres as module
from jobq.backends.postgres.connections import AsyncConnection
from jobq.backends.postgres.ear import Ear
from tests.faults.proxy import Proxy

GENEROUS = 30.0


@pytest.fixture
async def listening(postgres: str) -> AsyncIterator[AsyncConnection]:
    connection = await AsyncConnection.connect(postgres, autocommit=True)
    await connection.execute("LISTEN here")
    yield connection
    await connection.close()


@pytest.fixture
async def speaker(postgres: str) -> AsyncIterator[AsyncConnection]:
    async with await AsyncConnection.connect(postgres, autocommit=True) as connection:
        yield connection


async def first(ear: Ear) -> str:
    async for channel in ear.channels(GENEROUS):
        return channel
    raise AssertionError("nothing was heard")


async def until_waiting(connection: AsyncConnection) -> None:
    """Until somebody waits for the connection's socket."""
    async with asyncio.timeout(GENEROUS):
        while not is_waited_for(connection):
            await asyncio.sleep(0)


def is_waited_for(connection: AsyncConnection) -> bool:
    try:
        asyncio.get_running_loop()._selector.get_key(connection.fileno())  # type: ignore[attr-defined]
    except KeyError:
        return False
    return True


async def test_a_notification_is_heard(
    listening: AsyncConnection, speaker: AsyncConnection
) -> None:
    hearing = asyncio.create_task(first(Ear(listening)))
    await until_waiting(listening)
    await speaker.execute("NOTIFY here")
    assert await hearing == "here"
    assert not is_waited_for(listening)


async def test_notifications_that_come_with_an_answer_are_heard(
    listening: AsyncConnection,
) -> None:
    ear = Ear(listening)
    await listening.execute("NOTIFY here")
    assert [channel async for channel in ear.channels(0)] == ["here"]


async def test_a_flood_is_heard_to_its_end(
    listening: AsyncConnection, speaker: AsyncConnection
) -> None:
    ear, heard = Ear(listening), 0
    await speaker.execute(
        "SELECT pg_notify('here', n || repeat('x', 7900)) FROM generate_series(1, 500) n"
    )
    async for _ in ear.channels(GENEROUS):
        heard += 1
        if heard == 500:
            break
    assert [channel async for channel in ear.channels(0)] == []


async def test_who_stops_listening_in_between_hears_the_rest_later(
    listening: AsyncConnection,
) -> None:
    ear = Ear(listening)
    await listening.execute("LISTEN there")
    await listening.execute("SELECT pg_notify('here', ''), pg_notify('there', '')")
    assert await first(ear) == "here"
    assert await first(ear) == "there"


async def test_listening_ends_in_time(listening: AsyncConnection) -> None:
    assert [channel async for channel in Ear(listening).channels(0.05)] == []
    assert not is_waited_for(listening)


async def test_a_cancelled_wait_leaves_no_reader(
    listening: AsyncConnection, speaker: AsyncConnection
) -> None:
    ear = Ear(listening)
    hearing = asyncio.create_task(first(ear))
    await until_waiting(listening)
    hearing.cancel()
    with suppress(asyncio.CancelledError):
        await hearing
    assert not is_waited_for(listening)
    await speaker.execute("NOTIFY here")
    assert await first(ear) == "here"


async def test_the_end_of_the_session_is_noticed_at_once(
    listening: AsyncConnection, speaker: AsyncConnection
) -> None:
    hearing = asyncio.create_task(first(Ear(listening)))
    await until_waiting(listening)
    await speaker.execute("SELECT pg_terminate_backend(%s)", [listening.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        await hearing


async def test_a_socket_that_is_shut_down_is_noticed_at_once(listening: AsyncConnection) -> None:
    hearing = asyncio.create_task(first(Ear(listening)))
    await until_waiting(listening)
    with socket.socket(fileno=socket.dup(listening.fileno())) as other:
        other.shutdown(socket.SHUT_RDWR)
    with pytest.raises(psycopg.OperationalError):
        await hearing
    assert listening.closed


async def test_a_connection_that_is_closed_cannot_be_listened_to(
    listening: AsyncConnection,
) -> None:
    ear = Ear(listening)
    await listening.close()
    with pytest.raises(psycopg.OperationalError):
        await first(ear)


# --- what a worker makes of it ------------------------------------------------------------------


class Watched:
    """A backend that is watched, and how often it has said that there may be something."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.hints = 0

    def hint(self) -> None:
        self.hints += 1

    async def until(self, happens: Callable[[], bool]) -> None:
        async with asyncio.timeout(GENEROUS):
            while not happens():
                await asyncio.sleep(0.005)

    @property
    def trusts(self) -> bool:
        return bool(self.backend.fallback_poll == module.QUIET)


@asynccontextmanager
async def watching(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """With pings fifty times a second; each goes to the channel `jobq_ping`."""
    monkeypatch.setattr(module, "PING_EVERY", 0.02)
    monkeypatch.setattr(module, "PING_WITHIN", 0.3)
    monkeypatch.setattr(module, "token_hex", lambda _: "ping")
    async with jobq.AsyncQueue(url) as queue:
        watched = Watched(queue._config.backend)
        watch = watched.backend.watch(None, watched.hint, lambda: 0.0)
        task = asyncio.create_task(watch)
        await watched.until(lambda: watched.trusts)
        yield watched
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_pings_of_its_own_tell_a_worker_of_nothing(
    postgres: str, speaker: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await speaker.execute("LISTEN jobq_ping")
    async with watching(postgres, monkeypatch) as watched:
        pings = Ear(speaker).channels(GENEROUS)
        for _ in range(5):
            await anext(pings)
        assert watched.hints == 1  # for what was missed before it listened
        await speaker.execute("NOTIFY jobq")
        await watched.until(lambda: watched.hints == 2)


async def test_a_silent_connection_elsewhere_throws_doubt_on_it_until_the_next_ping(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(postgres, monkeypatch) as watched:
        watched.backend._doubt()
        assert not watched.trusts
        await watched.until(lambda: watched.trusts)
        assert watched.hints == 3  # at the doubt, and when it was over


async def test_a_connection_that_fell_silent_is_found_by_its_next_ping(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(postgres) as proxy:
        async with watching(proxy.url, monkeypatch) as watched:
            proxy.freeze("jobq listen")
            await watched.until(lambda: not watched.trusts)
            proxy.thaw()
            await watched.until(lambda: watched.trusts)
