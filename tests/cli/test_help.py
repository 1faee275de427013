"""Every command and option explains itself."""

from __future__ import annotations

import subprocess
import sys
from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator

import pytest

import jobq
from jobq.cli._parser import build_parser
from tests.cli.conftest import Run

COMMANDS = [
    "worker",
    "migrate",
    "status",
    "cleanup",
    "pause",
    "resume",
    "list",
    "show",
    "why",
    "watch",
    "enqueue",
    "retry",
    "cancel",
    "delete",
    "reschedule",
    "limits",
    "schedules",
    "spend",
    "artifacts",
    "webhooks",
    "dashboard",
]


def commands() -> dict[str, ArgumentParser]:
    (found,) = (a for a in build_parser()._actions if isinstance(a, _SubParsersAction))
    return dict(found.choices)


def options() -> Iterator[tuple[str, Action]]:
    for name, parser in commands().items():
        yield from ((name, action) for action in parser._actions)


def test_there_are_these_commands() -> None:
    assert list(commands()) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_what_it_does(run: Run, command: str) -> None:
    first, second, *_ = (commands()[command].description or "").split()
    ran = run(command, "--help")
    assert ran.code == 0
    assert f"{first} {second}" in ran.out
    assert f"{first} {second}" in run("--help").out


@pytest.mark.parametrize(
    "option", [pytest.param(o, id=f"{name} {o.dest}") for name, o in options()]
)
def test_an_option_says_what_it_is_for(option: Action) -> None:
    assert option.help


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version") == (0, f"jobq {jobq.__version__}\n", "")


def test_python_can_run_the_package() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "jobq", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == f"jobq {jobq.__version__}\n"


@pytest.mark.parametrize("argv", [[], ["work"], ["list", "--stat", "failed"], ["show"]])
def test_what_is_not_understood_is_a_usage_error(run: Run, argv: list[str]) -> None:
    ran = run(*argv)
    assert ran.code == 2
    assert "usage: jobq" in ran.err


def test_the_command_line_alone_loads_no_driver() -> None:
    heavy = "sqlalchemy", "psycopg", "psycopg_pool", "aiosqlite", "watchfiles"
    code = f"import sys, jobq.cli; print(set(sys.modules) & set({heavy!r}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
