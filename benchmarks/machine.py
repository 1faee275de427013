"""What the machine says: CPU and memory of processes, the cost of a durable write, versions."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import jobq
from jobq.testing._postgres import find_binaries

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int, *, children: bool = False) -> float:
    """CPU seconds of a process so far; with those of its ended children if these are asked for."""
    text = Path(f"/proc/{pid}/stat").read_text()
    numbers = text.rpartition(")")[2].split()[11:15]  # utime, stime, cutime, cstime
    return sum(map(int, numbers if children else numbers[:2])) / TICKS


def server_cpu_seconds(postmaster: int) -> float:
    """CPU seconds of a PostgreSQL server so far, in all processes that it has and had."""
    total = cpu_seconds(postmaster, children=True)
    for child in _children(postmaster):
        with suppress(OSError):  # it ended meanwhile
            total += cpu_seconds(child)
    return total


def _children(pid: int) -> Iterable[int]:
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def peak_memory_mb(pid: int) -> float:
    """The largest resident set of a process so far, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def fsync_cost(folder: Path) -> str:
    """What a durable write costs, by pg_test_fsync where there is one."""
    program = find_binaries() / "pg_test_fsync"
    if program.is_file():
        file = folder / "fsync"
        command = [program, "-s", "1", "-f", file]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found = re.search(r"fdatasync\s+[\d.]+ ops/sec\s+(\d+) usecs/op", told)
        if found:
            return f"fdatasync {found[1]} µs (pg_test_fsync)"
    return f"fdatasync {_own_fsync(folder):.0f} µs (8 kB writes by a loop of our own)"


def _own_fsync(folder: Path) -> float:
    costs = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(200):
            file.seek(0)
            file.write(bytes(8192))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            costs.append((time.perf_counter() - began) * 1e6)
    return statistics.median(costs)


def setting(server_version: str | None, fsync: str, size: str) -> str:
    """One line of what the figures are true of."""
    packages = ("psycopg", "aiosqlite", "SQLAlchemy")
    parts = [
        f"jobq {jobq.__version__}",
        *(f"{name} {version(name)}" for name in packages),
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version} (WAL, synchronous=FULL)",
        *([f"{server_version} (fsync and synchronous_commit on)"] if server_version else []),
        fsync,
        f"{platform.system()} {platform.machine()}",
        f"{os.cpu_count()} CPUs",
        f"load {os.getloadavg()[0]:.1f} at the start",
    ]
    return f"A {size} run of {datetime.now(UTC).date()}: {', '.join(parts)}."
