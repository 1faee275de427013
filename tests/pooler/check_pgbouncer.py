"""Behind a transaction-pooling PgBouncer jobq works as it does without one.

Run by `nox -s pooler`, which needs the program `pgbouncer`; not part of the default tests.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

import jobq
from jobq.testing._postgres import PostgresServer
from tests.servers import free_port

COUNT = 300


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer.start() as server:
        server.create_database("pooled")
        yield server


@pytest.fixture(scope="module")
def pooled(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the same database through PgBouncer in transaction mode."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    parts = urlsplit(server.url("pooled"))
    folder = tmp_path_factory.mktemp("pgbouncer")
    users = folder / "users.txt"
    users.write_text(f'"{parts.username}" "{parts.password}"\n')
    port = free_port()  # one that a client had stays taken for a minute
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = plain\n"
        f"auth_file = {users}\npool_mode = transaction\ndefault_pool_size = 4\nunix_socket_dir =\n"
    )
    command = [program, str(settings)]
    if os.geteuid() == 0:  # it refuses to run as root
        nobody = pwd.getpwnam("nobody")
        for path in (folder, users, settings):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        Path(folder.parent).chmod(0o755)
        Path(folder.parent.parent).chmod(0o755)
        command += ["-u", "nobody"]
    url = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}/pooled"
    log = folder / "pgbouncer.log"
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as pooler,
    ):
        try:
            _wait_for(url, pooler, log)
            yield url
        finally:
            pooler.terminate()


def _wait_for(url: str, pooler: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while pooler.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(url, connect_timeout=1).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"PgBouncer does not answer:\n{log.read_text()}")


@pytest.mark.parametrize("listens", [False, True], ids=["polling", "listen_url"])
async def test_jobs_are_run_behind_a_transaction_pooler(
    server: PostgresServer, pooled: str, listens: bool
) -> None:
    router = jobq.Router()

    @router.handler("count")
    async def count(payload: dict) -> int:
        return payload["n"] + 1

    direct = {"listen_url": server.url("pooled")} if listens else {}
    async with jobq.AsyncQueue(pooled, router=router, **direct) as queue:
        await queue.migrate()
        async with jobq.Worker(queue, concurrency=20).running():
            items = [(count, {"n": n}) for n in range(COUNT)]
            outcomes = await queue.enqueue_many(items)
            singles = await asyncio.gather(*(queue.enqueue(*item) for item in items[:50]))
            jobs = [outcome.job for outcome in outcomes] + list(singles)
            done = [await queue.wait(job.id, timeout=30) for job in jobs if job]
        assert [job.result for job in done] == [job.payload["n"] + 1 for job in done]
        assert len(done) == COUNT + 50


def test_statements_are_prepared_only_where_that_is_safe(
    server: PostgresServer, pooled: str
) -> None:
    for url, expected in ((server.url("pooled"), True), (pooled, False)):
        with jobq.Queue(url) as queue:
            queue.migrate()
            store = queue._config.backend.store()
            with store._connection(writing=False) as connection:
                assert (connection.prepare_threshold is not None) is expected
            store.close()
