"""What the documentation says is run, and everything that users can name is in it."""

from __future__ import annotations

import argparse
import ast
import asyncio
import inspect
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

import psycopg
import pytest
from sybil import Document, Example, Sybil
from sybil.evaluators.python import pad
from sybil.parsers.myst import CodeBlockParser

import jobq
from jobq import _settings, testing
from jobq._routing import default_router
from jobq.backends import _tables
from jobq.cli._parser import build_parser
from jobq.contrib import django

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
EXAMPLES = [
    page
    for page in sorted((ROOT / "examples").rglob("README.md"))
    if page.parent.name != "fakegemini"  # has a test of its own
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *EXAMPLES]


def parse(path: Path, language: str, evaluate: Callable[[Example], None]) -> Document:
    return Sybil([CodeBlockParser(language, evaluate)]).parse(path)


def pages_with(language: str, *, but: tuple[str, ...] = ()) -> list[Any]:
    return [
        pytest.param(path, id=str(path.relative_to(ROOT)))
        for path in PAGES
        if f"```{language}\n" in path.read_text() and path.name not in but
    ]


@pytest.fixture
def no_handlers() -> Iterator[None]:
    """Each page registers its own."""
    known = (default_router._handlers, default_router._schedules)
    before = [dict(names) for names in known]
    for names in known:
        names.clear()
    yield
    for names, earlier in zip(known, before, strict=True):
        names.clear()
        names.update(earlier)


NAMED = re.compile(r"# (\w+)\.py\n")
APART = ("tutorial.md", "testing.md", "django.md")
"""Pages whose blocks are programs of their own."""


@contextmanager
def python(namespace: dict[str, Any]) -> Iterator[Callable[[Example], None]]:
    """Runs blocks in one namespace; `await` outside of functions is allowed, as in a notebook.

    A block that begins with the name of a file is written to it, and imported.
    """
    queues: list[jobq.Queue | jobq.AsyncQueue] = []
    with asyncio.Runner() as runner:

        def evaluate(example: Example) -> None:
            named = NAMED.match(example.parsed)
            if named:
                Path(f"{named[1]}.py").write_text(example.parsed)
                namespace.update(vars(import_module(named[1])))
                return
            source = pad(example.parsed, example.line + example.parsed.line_offset)
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile(source, example.path, "exec", flags=flags, dont_inherit=True)
            if code.co_flags & inspect.CO_COROUTINE:
                runner.run(FunctionType(code, namespace)())
            else:
                exec(code, namespace)
            kinds = (jobq.Queue, jobq.AsyncQueue)
            queues.extend(value for value in namespace.values() if isinstance(value, kinds))

        try:
            yield evaluate
        finally:
            for queue in queues:
                asynchronous = isinstance(queue, jobq.AsyncQueue)
                runner.run((queue if asynchronous else queue.aio).aclose())
                (queue.sync if asynchronous else queue).close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, whose modules can be imported, and are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("path", pages_with("python", but=APART))
def test_the_python_blocks_of_a_page_run_in_their_order(
    path: Path,
    no_handlers: None,
    postgres: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres)
    names = {"queue": jobq.Queue("sqlite:///jobs.db")} if path in EXAMPLES else {}
    with python({"__name__": "docs", **names}) as evaluate:
        for example in parse(path, "python", evaluate).examples():
            example.evaluate()


def files_of(path: Path) -> Iterator[tuple[str, str]]:
    """The files that a page's Python blocks are, in order."""
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
        named = NAMED.match(block)
        if named:
            yield f"{named[1]}.py", block


def test_the_tests_of_the_page_about_testing_pass(tmp_path: Path) -> None:
    files = dict(files_of(ROOT / "docs" / "howto" / "testing.md"))
    for name, source in files.items():
        (tmp_path / name).write_text(source)
    # The plugin by its module, whether or not this jobq is installed.
    plugin = ["-p", "no:jobq", "-p", "jobq.testing.plugin", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, "-o", "asyncio_mode=auto"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = sum(source.count("def test_") for source in files.values())
    assert f"{expected} passed" in run.stdout, run.stdout


UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Terminal:
    """Types the commands of a page; a worker goes on in a second terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        self.worker: subprocess.Popen[bytes] | None = None
        self.newest = ""
        """The last job id that was printed."""

    def type(self, command: str) -> str:
        words = shlex.split(UUID.sub(self.newest, command))
        match words:
            case ["export", assignment]:
                self.env.update([assignment.split("=")])
                return ""
            case ["jobq", "worker", *_]:
                self.stop()
                self.worker = subprocess.Popen(self.found(words), cwd=self.folder, env=self.env)
                return ""
        run = subprocess.run(
            self.found(words),
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.newest = (UUID.findall(run.stdout) or [self.newest])[-1]
        return run.stdout

    def found(self, words: list[str]) -> list[str]:
        program = {"jobq": [sys.executable, "-m", "jobq"], "python": [sys.executable]}
        return [*program[words[0]], *words[1:]]

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.send_signal(signal.SIGINT)
            assert self.worker.wait(30) == 0


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    if terminal.worker is not None and terminal.worker.poll() is None:
        terminal.worker.kill()
        terminal.worker.wait()


def last_line(output: str) -> str:
    return UUID.sub("ID", output.strip().rpartition("\n")[2])


@pytest.mark.timeout(180)
def test_the_tutorial_can_be_followed_to_the_letter(terminal: Terminal) -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text().partition("\n## On PostgreSQL")[0]
    for language, block in re.findall(r"```(python|console)\n(.*?)```", page, re.DOTALL):
        named = NAMED.match(block)
        if named:
            (terminal.folder / f"{named[1]}.py").write_text(block)
            continue
        assert language == "console"
        command, _, shown = block.removeprefix("$ ").partition("\n")
        said = terminal.type(command)
        if shown and not command.startswith(("jobq worker", "jobq list")):
            assert last_line(said) == last_line(shown)
        if command.startswith("jobq show"):
            assert "attempt 1: retried" in said
            assert "attempt 2: completed" in said
    terminal.stop()


def commands(path: Path) -> list[list[str]]:
    """The arguments of the jobq commands in a page's blocks, those of its service files too."""
    blocks = re.findall(r"```(?:console|sh|ini|yaml)\n(.*?)```", path.read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found = (re.search(r"(?:^|[$/] ?|: |PORT )jobq ([a-z-].*)", line) for line in lines)
    texts = (re.split(r" [|<>] ", match[1])[0] for match in found if match)
    return [shlex.split(text, comments=True) for text in texts]


@pytest.mark.parametrize("path", [path for path in PAGES if commands(path)], ids=lambda p: p.name)
def test_the_commands_of_a_page_are_ones_that_the_command_line_knows(path: Path) -> None:
    for words in commands(path):
        build_parser().parse_args(words)


def subcommands() -> dict[str, argparse.ArgumentParser]:
    [action] = (
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(action.choices)


def test_every_command_and_each_of_its_options_is_in_the_reference() -> None:
    text = (REFERENCE / "cli.md").read_text()
    sections = dict(
        re.findall(r"^## `jobq (\w+)`\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    )
    shared = text[: text.index("\n## `jobq")]
    assert list(sections) == list(subcommands())
    for name, parser in subcommands().items():
        options = [o for a in parser._actions for o in a.option_strings if o.startswith("--")]
        missing = [o for o in options if f"`{o}" not in sections[name] + shared]
        assert not missing, f"jobq {name}"


def test_every_public_name_is_in_the_reference() -> None:
    text = (REFERENCE / "api.md").read_text()
    names = [f"jobq.{name}" for name in jobq.__all__]
    names += [f"jobq.testing.{name}" for name in testing.__all__]
    names += [f"jobq.contrib.django.{name}" for name in django.__all__]
    assert [
        name for name in names if not re.search(rf":: {re.escape(name)}$", text, re.MULTILINE)
    ] == []


def test_every_environment_variable_is_in_the_reference() -> None:
    names = re.findall(r'"([A-Z][A-Z_]+)"', inspect.getsource(_settings.Settings.from_environment))
    text = (REFERENCE / "configuration.md").read_text()
    assert names
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_table_is_in_the_reference() -> None:
    text = (REFERENCE / "schema.md").read_text()
    described = re.findall(r"^```\{columns\} (\w+)$", text, re.MULTILINE)
    assert sorted(described) == sorted(_tables.metadata.tables)


def test_the_sql_for_monitoring_runs_on_both_databases(sqlite: str, postgres: str) -> None:
    statements: list[str] = []
    page = ROOT / "docs" / "howto" / "monitor.md"
    document = parse(page, "sql", lambda example: statements.append(str(example.parsed)))
    for example in document.examples():
        example.evaluate()
    for url in (sqlite, postgres):
        with jobq.Queue(url) as queue:
            done = queue.enqueue("report", {"n": 1})
            queue.set_status(done, "failed", error_code="timeout")
            queue.enqueue("report", {"n": 2})
    answers = [ask_sqlite(sqlite, statements), ask_postgres(postgres, statements)]
    assert len(statements) >= 5
    assert [len(rows) for rows in answers[0]] == [len(rows) for rows in answers[1]]


def ask_sqlite(url: str, statements: list[str]) -> list[list[Any]]:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        return [connection.execute(statement).fetchall() for statement in statements]
    finally:
        connection.close()


def ask_postgres(url: str, statements: list[str]) -> list[list[Any]]:
    with psycopg.connect(url) as connection:
        return [connection.execute(statement).fetchall() for statement in statements]
