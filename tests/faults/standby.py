"""A second PostgreSQL server that follows a first one, and can take its place."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psycopg

from jobq.testing import _postgres
from jobq.testing._postgres import PostgresServer


class Standby(PostgresServer):
    """A hot standby; as with its primary, a `with` block stops it.

    It runs the programs of its primary, which therefore has to be closed after it.
    """

    @classmethod
    def of(cls, primary: PostgresServer, dbname: str) -> Self:
        """Copy a server and follow it; from then on its commits wait until they are safe here."""
        home = Path(tempfile.mkdtemp(prefix="jobq-standby-"))
        standby = cls(home, home / "data", {**primary._settings})
        standby._bindir, standby._password = primary._bindir, primary._password
        try:
            standby._copy(primary)
            standby._launch([_postgres._free_port() for _ in range(3)])
            _execute(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
            _execute(primary, "SELECT pg_reload_conf()")
        except BaseException:
            standby.stop("immediate")
            raise
        standby.both_url = _several(primary.url(dbname), standby.url(dbname))
        return standby

    both_url = ""
    """The URL of the two, whichever of them can be written to."""

    def _copy(self, primary: PostgresServer) -> None:
        _postgres._give_to_server_user(self._home)
        command: list[str | Path] = [self._bindir / "pg_basebackup", "-D", self.data_dir]
        command += ["-d", primary.superuser_url, "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        copying = _postgres._spawn(command, subprocess.PIPE)
        output, _ = copying.communicate()
        if copying.returncode:
            raise _postgres.PostgresError(f"pg_basebackup: {output.decode(errors='replace')}")

    def is_followed(self, primary: PostgresServer) -> bool:
        """Whether commits of the primary wait for this server."""
        rows = _execute(primary, "SELECT sync_state FROM pg_stat_replication")
        return rows == [("sync",)]

    def promote(self) -> None:
        """Let it be the primary from now on."""
        assert _execute(self, "SELECT pg_promote()") == [(True,)]


def has_programs(server: PostgresServer) -> bool:
    """Whether the programs of a server know how to copy it."""
    return (server._bindir / "pg_basebackup").is_file()


def come_back_stale(primary: PostgresServer) -> None:
    """Start a former primary again, as one that an operator has fenced off: nobody may write."""
    primary._settings |= {"default_transaction_read_only": "on"}
    primary._launch([primary.port])


def _several(first: str, second: str) -> str:
    """The URL of two servers, of which the one that can be written to is taken."""
    parts = urlsplit(first)
    netloc = f"{parts.netloc},{urlsplit(second).netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc, query="target_session_attrs=read-write"))


def _execute(server: PostgresServer, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []
