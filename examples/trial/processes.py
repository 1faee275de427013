"""Processes of an example: started as their author would, and killed, frozen or stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


class Process:
    """A Python program of its own process group, whose output goes into a file."""

    def __init__(self, words: list[str], env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *words],
                env=dict(env),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> int:
        """Ask it to end (SIGTERM), and return its exit code."""
        self._send(signal.SIGTERM)
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        """End it without notice (SIGKILL), with all that it has started."""
        self._send(signal.SIGKILL)
        self._process.wait(PATIENCE)

    def freeze(self) -> None:
        """Let it do nothing until `thaw`: a long pause of its machine."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def wait(self) -> int:
        """Its exit code, when it has ended by itself."""
        return self._process.wait(PATIENCE)

    def _send(self, number: signal.Signals) -> None:
        if self.alive:
            os.killpg(self._process.pid, number)


class Site:
    """A web server of an example, and a client for it."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=PATIENCE, follow_redirects=True)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.http.post(path, json=json, **options)


def wait_until(happened: Callable[[], Any], seconds: float = PATIENCE) -> float:
    """Look until it has happened; the seconds that it took.

    Raises:
        TimeoutError: it has not, within `seconds`.
    """
    began = time.monotonic()
    while not happened():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds:g} s: {happened.__qualname__}")
        time.sleep(0.05)
    return time.monotonic() - began


def eventually(happened: Callable[[], Any], seconds: float) -> bool:
    """Whether it has happened within `seconds`."""
    try:
        wait_until(happened, seconds)
    except TimeoutError:
        return False
    return True


def answers(url: str) -> bool:
    """Whether a server listens there."""
    try:
        return httpx.get(url).status_code < 500
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def broken_words(how: Iterable[str], module: str) -> list[str]:
    """How to start a module; with jobq's promises broken where that is asked for."""
    wanted = ",".join(sorted(how))
    return ["-m", "examples.trial.broken", wanted, module] if wanted else ["-m", module]
