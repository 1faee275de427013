"""Processes of `tests.faults.app`, and the signals that hurt them."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@cache
def _environment() -> dict[str, str]:
    """Ours, but with cached bytecode: without it a process takes seconds to start."""
    environment = dict(os.environ)
    if environment.pop("PYTHONDONTWRITEBYTECODE", None):
        folder = tempfile.mkdtemp(prefix="jobq-bytecode-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        environment["PYTHONPYCACHEPREFIX"] = folder
    return environment


class NeverHappened(AssertionError):
    """Something that a scenario waits for did not come about."""


class Actor:
    """A running process. It ends when this one does, even when that is killed."""

    app = "tests.faults.app"

    def __init__(
        self,
        role: str,
        name: str,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.name = name
        self.stderr = folder / f"{name}.err"
        options |= {"name": name, "folder": str(folder)}
        command = [sys.executable, "-m", self.app, role, json.dumps(options)]
        with self.stderr.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env={**_environment(), **(environment or {})},
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask for a graceful end."""
        self.signal(signal.SIGTERM)

    def go_on(self) -> None:
        """Give the order that the process waits for."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def wait(self, timeout: float) -> tuple[int, float]:
        """The exit code, and the seconds until the process ended."""
        started = time.monotonic()
        try:
            return self.process.wait(timeout), time.monotonic() - started
        except subprocess.TimeoutExpired:
            raise NeverHappened(f"within {timeout:g} s: {self.name} ends") from None

    def end(self) -> None:
        """Leave nothing behind."""
        if self.alive:
            self.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def errors(self) -> str:
        """What the process wrote to stderr."""
        return self.stderr.read_text(errors="replace")
