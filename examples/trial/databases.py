"""A database for one run, thrown away afterwards."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobq.testing._postgres import create_database, drop_database, postgres_url


@contextmanager
def database(folder: Path, *, postgres: bool) -> Iterator[str]:
    """The URL of a new database on the server of DATABASE_URL, or else of a SQLite file.

    With `postgres` a private server is started where DATABASE_URL names none.
    """
    server = os.environ.get("DATABASE_URL", "")
    if server.startswith("postgres"):
        name = f"jobq_trial_{secrets.token_hex(4)}"
        url = create_database(server, name)
        try:
            yield url
        finally:
            drop_database(server, name)
    elif postgres:
        with postgres_url() as url:
            yield url
    else:
        yield f"sqlite:///{folder}/jobs.db"
