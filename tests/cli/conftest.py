"""Run commands in this process, and workers in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import pytest

import jobq
from jobq.cli import main
from tests.pairs import keep_one_each

ROOT = Path(jobq.__file__).parents[1]
APP = Path(__file__).with_name("app.py")
VARIABLES = (
    "APP DATABASE_URL QUEUES CONCURRENCY WORKER_CONCURRENCY WORKER_ID PORT LEASE GRACE LOG_LEVEL"
)


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path == Path(__file__).with_name("test_worker.py")]
    others = [item for item in items if item not in ours]
    keep_one_each(config, ours, "url")
    items[:] = [*others, *ours]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the machine that runs the tests say nothing here."""
    for name in VARIABLES.split():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"JOBQ_{name}", raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process."""

    def run(*argv: object) -> Ran:
        capsys.readouterr()
        try:
            code = main([str(word) for word in argv])
        except SystemExit as exit:  # argparse's way
            code = int(exit.code or 0)
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def on(run: Run, queue: jobq.Queue, url: str) -> Run:
    """Run a command line on an empty queue, on each database in turn."""
    queue.migrate()
    return lambda command, *argv: run(command, "--url", url, *argv)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder whose modules can be imported, and are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


class Process:
    """A command in a process of its own; its output is read line by line."""

    def __init__(self, folder: Path, *argv: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobq", *argv],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def until(self, words: str) -> str:
        """Read up to a line with these words in it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"it ended without saying {words!r}: {self.output}")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ends(self) -> int:
        """Read what is left; the exit code."""
        assert self._process.stdout is not None
        self.lines += self._process.stdout
        return self._process.wait(30)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path, url: str) -> Start:
    """Start a command in a folder with the app `app:queue`, on each database in turn."""
    (tmp_path / "app.py").write_text(APP.read_text())
    return lambda *argv, **environment: Process(tmp_path, *argv, TEST_URL=url, **environment)
