"""One mutant at a time: copy the tree, patch it, and let the suites run there."""

from __future__ import annotations

import compileall
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from attrs import define, field, frozen

from tests.mutants.catalogue import SOURCE_TEXT, Mutant

ROOT = Path(__file__).parents[2]
TREE = ("jobq", "tests", "pyproject.toml")
SIMULATOR = "tests/simulator"
EVERYTHING = ("tests/unit", "tests/conformance")
BOUND = 600.0
"""Seconds that one suite may take. A test that hangs ends long before, by its own time-out."""
TEST_BOUND = 30

Suite = Literal["tests", "simulator", "faults", "everything"]


class Unjudged(Exception):
    """A suite did not come to a verdict: it could not run, or not end."""


@frozen
class Verdict:
    """What one suite said of a mutant: the first test that failed, or `None`."""

    suite: Suite
    killer: str | None


@define
class Trial:
    """A mutant and what was said of it so far."""

    mutant: Mutant
    verdicts: list[Verdict] = field(factory=list)
    unjudged: str = ""
    seconds: float = 0.0

    @property
    def killers(self) -> list[str]:
        return [verdict.killer for verdict in self.verdicts if verdict.killer is not None]

    @property
    def lives(self) -> bool:
        return not self.killers


class Bench:
    """A snapshot of the tree, and the copies of it in which suites run."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED}
        self._env |= env
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.snapshot = folder / "snapshot"
        for name in TREE:
            _copy(ROOT / name, self.snapshot / name)
        compileall.compile_dir(self.snapshot / "jobq", quiet=1)

    def source(self, file: str) -> str:
        """The text of a file of the package, as it was when the bench was set up."""
        return (self.snapshot / "jobq" / file).read_text()

    @property
    def has_simulator(self) -> bool:
        return any((self.snapshot / SIMULATOR).glob("test_*.py"))

    @contextmanager
    def copy(self, mutant: Mutant | None = None) -> Iterator[Path]:
        """A copy of the tree with the mutant in it, or as it is."""
        place = self._folder / (mutant.name if mutant is not None else "unchanged")
        _copy(self.snapshot, place)
        if mutant is not None:
            patched = mutant.patched(self.source(mutant.file))
            (place / "jobq" / mutant.file).write_text(patched)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def first_failure(self, place: Path, tests: Sequence[str]) -> str | None:
        """Run tests in a copy; the name of the first that fails, or `None`."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=no", "-p", "no:cacheprovider"]
        command += ["--timeout", str(TEST_BOUND), "--basetemp", str(place / "tmp")]
        command += [f"--ignore={path}" for path in SOURCE_TEXT]
        code, output = self._run([*command, *tests], place)
        failed = re.search(r"^(?:FAILED|ERROR) (\S+?\.py::.+?)(?: - .*)?$", output, re.MULTILINE)
        if code == 0:
            return None
        if code == 1 and failed is not None:
            return failed[1]
        raise Unjudged(f"{' '.join(tests)} ended with code {code}:\n{output[-2000:]}")

    def _run(self, command: Sequence[str], place: Path) -> tuple[int, str]:
        env = {**self._env, "PYTHONPATH": str(place)}
        with self._lock:
            if self._closed:
                raise Unjudged("the run was ended")
            process = subprocess.Popen(
                command,
                cwd=place,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            self._running.add(process)
        try:
            output, _ = process.communicate(timeout=BOUND)
        except subprocess.TimeoutExpired as error:
            raise Unjudged(f"no end within {BOUND:g} s: {' '.join(command[-2:])}") from error
        finally:
            _kill(process)
            self._running.discard(process)
        return process.returncode, output

    def close(self) -> None:
        """End whatever is running."""
        with self._lock:
            self._closed = True
            for process in list(self._running):
                _kill(process)


_NOT_PASSED = {"PYTEST_ADDOPTS", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _copy(source: Path, place: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, place, dirs_exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, place)


def suites_for(mutant: Mutant, bench: Bench) -> Iterator[tuple[Suite, tuple[str, ...]]]:
    """What is asked about a mutant, the narrowest first."""
    if mutant.tests:
        yield "tests", tuple(f"tests/{test}" for test in mutant.tests)
    if bench.has_simulator:
        yield "simulator", (SIMULATOR,)
    if mutant.faults:
        yield "faults", tuple(f"tests/{test}" for test in mutant.faults)


def judge(trial: Trial, bench: Bench, *, quick: bool) -> None:
    """Ask suite after suite; a quick trial ends with the first that kills the mutant."""
    with bench.copy(trial.mutant) as place:
        for suite, tests in suites_for(trial.mutant, bench):
            trial.verdicts.append(Verdict(suite, bench.first_failure(place, tests)))
            if quick and not trial.lives:
                return
        if trial.lives:
            killer = bench.first_failure(place, EVERYTHING)
            if killer is not None:  # nobody expected that: it may have been chance
                killer = bench.first_failure(place, [killer])
            trial.verdicts.append(Verdict("everything", killer))


def failing_unchanged(bench: Bench, killers: Sequence[str]) -> str | None:
    """The first of these tests that fails without any mutant, too: its verdicts are void."""
    with bench.copy() as place:
        return bench.first_failure(place, killers) if killers else None
