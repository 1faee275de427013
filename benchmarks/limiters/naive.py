"""A table and a loop, as an app writes them: claim a row, call, mark it; try again later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError

from benchmarks.limiters import call

TITLE = "a table and a loop"
PACKAGES: tuple[str, ...] = ()
SCRIPT = ""
STORE = "postgresql"
SETTINGS = "12 threads, `FOR UPDATE SKIP LOCKED`; a 429 is tried again when its answer says"
VARIANTS = {"": ""}
TABLE = (
    "CREATE TABLE IF NOT EXISTS jobs (id bigserial PRIMARY KEY, kind text, n int, tries int "
    "DEFAULT 0, status text DEFAULT 'pending', run_at timestamptz DEFAULT now())"
)
CLAIM = (
    "UPDATE jobs SET status = 'processing', tries = tries + 1 WHERE id = (SELECT id FROM jobs "
    "WHERE status = 'pending' AND run_at <= now() ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) "
    "RETURNING id, kind, n, tries"
)
LATER = "UPDATE jobs SET status = 'pending', run_at = now() + %s * interval '1 s' WHERE id = %s"


def work(store: str) -> None:
    threads = [threading.Thread(target=_loop, args=[store]) for _ in range(call.SLOTS)]
    for thread in threads:
        thread.start()


def _loop(store: str) -> None:
    import psycopg

    with psycopg.connect(store, autocommit=True) as connection:
        while True:
            job = connection.execute(CLAIM).fetchone()
            if job is None:
                time.sleep(0.2)
            else:
                _perform(connection, *job)


def _perform(connection: Any, id: int, kind: str, n: int, tries: int) -> None:
    status = "completed"
    try:
        call.ask(kind, n)
    except HTTPError as error:
        wait = call.refused_for(error)
        if wait is not None or tries < call.TRIES:
            connection.execute(LATER, [wait if wait is not None else 2.0**tries, id])
            return
        status = "failed"
    connection.execute("UPDATE jobs SET status = %s WHERE id = %s", [status, id])


def submitter(store: str) -> Callable[[str, int], Any]:
    import psycopg

    connection = psycopg.connect(store, autocommit=True)
    connection.execute(TABLE)
    insert = "INSERT INTO jobs (kind, n) VALUES (%s, %s)"
    return lambda kind, n: connection.execute(insert, [kind, n])


if __name__ == "__main__":
    call.main(work, submitter)
