"""The raw loop in several processes: `python -m benchmarks.several URL` is one of them.

It says that it is ready, waits for a line, and prints when it began and ended.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any


def seconds_of(url: str, processes: int) -> float:
    """Have so many processes drain the table; from the first one's begin to the last one's end."""
    command = [sys.executable, "-m", "benchmarks.several", url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as stack:
        drains = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(processes)]
        assert all(drain.stdout and drain.stdout.readline() for drain in drains)
        told = _go(drains)
    spans = [tuple(map(float, line.split())) for line in told]
    return max(end for _, end in spans) - min(begin for begin, _ in spans)


def _go(drains: Sequence[subprocess.Popen[str]]) -> list[str]:
    for drain in drains:
        assert drain.stdin is not None
        drain.stdin.write("go\n")
        drain.stdin.flush()
    return [drain.stdout.readline() for drain in drains if drain.stdout is not None]


def _main() -> None:
    url = sys.argv[1]
    if url.startswith("sqlite"):
        from benchmarks.floors import sqlite

        _take_part(sqlite.connect(url.removeprefix("sqlite:///")), sqlite.drain)
    else:
        import psycopg

        from benchmarks.floors import postgres

        _take_part(psycopg.connect(url, autocommit=True), postgres.drain)


def _take_part(conn: Any, drain: Any) -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.time()
    drain(conn)
    print(began, time.time(), flush=True)
    conn.close()


if __name__ == "__main__":
    _main()
