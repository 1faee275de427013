"""A caller's connection: what it is told, and whom it wakes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import aiosqlite
import psycopg
import pytest
from sqlalchemy import create_engine

import jobq

ADVICE = "run `jobq migrate`, or queue.migrate\\(\\) in code"


def test_missing_tables_are_named_on_a_sqlite3_connection(tmp_path: Path) -> None:
    queue = jobq.Queue(f"sqlite:///{tmp_path / 'app.db'}")
    connection = sqlite3.connect(tmp_path / "app.db")
    with pytest.raises(jobq.SchemaError, match=ADVICE):
        queue.enqueue("report", {}, connection=connection)
    connection.close()


def test_missing_tables_are_named_on_a_sqlalchemy_connection(tmp_path: Path) -> None:
    queue = jobq.Queue(f"sqlite:///{tmp_path / 'app.db'}")
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    with engine.begin() as connection, pytest.raises(jobq.SchemaError, match=ADVICE):
        queue.enqueue("report", {}, connection=connection)
    engine.dispose()


async def test_missing_tables_are_named_on_an_aiosqlite_connection(tmp_path: Path) -> None:
    queue = jobq.AsyncQueue(f"sqlite:///{tmp_path / 'app.db'}")
    async with aiosqlite.connect(tmp_path / "app.db") as connection:
        with pytest.raises(jobq.SchemaError, match=ADVICE):
            await queue.enqueue("report", {}, connection=connection)
    await queue.aclose()


def test_missing_tables_are_named_on_a_psycopg_connection(postgres: str) -> None:
    queue = jobq.Queue(postgres)
    with psycopg.connect(postgres) as connection:
        connection.execute("SET LOCAL search_path = pg_catalog")
        with pytest.raises(jobq.SchemaError, match=ADVICE):
            queue.enqueue("report", {}, connection=connection)
        connection.rollback()
    queue.close()


def test_the_commit_of_many_jobs_wakes_the_workers_of_their_queues(postgres: str) -> None:
    queue = jobq.Queue(postgres)
    with psycopg.connect(postgres, autocommit=True) as listener:
        listener.execute("LISTEN jobq")
        with psycopg.connect(postgres) as connection:
            options = {"queue": "images"}
            queue.enqueue_many([("a", {}, options), ("b", {}, options)], connection=connection)
            assert list(listener.notifies(timeout=0)) == []
        heard = next(listener.notifies(timeout=10))
    assert heard.payload == "images"
    queue.close()
