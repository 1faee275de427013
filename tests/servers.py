"""Servers, and whatever they need beside them, as processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
PATIENCE = 60.0


class Servers:
    """Processes of a site: each is a Python module and its arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self, module: str, *args: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a process, in the folder, that can import this repository."""
        known = {"PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            cwd=self.folder,
            env=os.environ | known | environment,
        )
        self._processes.append(process)
        return process

    def uvicorn(self, app: str, *options: str, **environment: str) -> str:
        """Serve an ASGI app, named as `module:app`; its address, once it answers."""
        port = free_port()
        arguments = (app, "--port", port, "--log-level", "warning", *options)
        return once_it_answers(port, self.run("uvicorn", *arguments, **environment))

    def gunicorn(self, app: str, *options: str, **environment: str) -> str:
        """Serve a WSGI app, named as `module:app`; its address, once it answers."""
        port = free_port()
        arguments = (app, "--bind", f"127.0.0.1:{port}", "--log-level", "warning", *options)
        return once_it_answers(port, self.run("gunicorn", *arguments, **environment))

    def end(self) -> None:
        """Stop all of them, the last one first."""
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
        self._processes.clear()


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def once_it_answers(port: str, process: subprocess.Popen[bytes]) -> str:
    """The address of a server on a port, once it answers."""
    root = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + PATIENCE
    while not _answers(root):
        assert process.poll() is None, f"{process.args} has ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{process.args} does not answer"
        time.sleep(0.05)
    return root


def _answers(root: str) -> bool:
    try:
        httpx.get(root, timeout=5)
    except httpx.HTTPError:
        return False
    return True
