"""What no module of jobq does: run data as code, or build SQL from values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobq

ROOT = Path(jobq.__file__).parent
SOURCES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}

UNSAFE_MODULES = {
    "cloudpickle", "code", "codeop", "dbm", "dill", "jsonpickle", "marshal",
    "pickle", "pickletools", "pty", "runpy", "shelve", "telnetlib", "yaml",
}  # fmt: skip
CALLS_OUT = {
    "aiohttp", "ftplib", "http.client", "http.server", "httpx", "httpx2", "requests", "smtplib",
    "urllib.request", "urllib3", "websockets", "xmlrpc",
}  # fmt: skip
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
UNSAFE_ATTRIBUTES = {
    "system", "popen", "execv", "execve", "execvp", "spawnl", "spawnv", "getoutput",
    "getstatusoutput", "create_subprocess_shell", "loads_pickle", "read_pickle",
}  # fmt: skip
STARTS_PROCESSES = {
    "cli/_reload.py",
    "contrib/django/_autoreload.py",
    "testing/_postgres.py",
}
"""Its own command line, and a private PostgreSQL for tests."""
IMPORTS_BY_NAME = {
    "__init__.py",
    "cli/_app.py",
    "backends/__init__.py",
    "_durable/__init__.py",
    "artifacts/__init__.py",
    "contrib/django/_task_api.py",
    "http/dashboard/assets.py",
    "testing/_postgres.py",
    "webhooks/_post.py",
}
"""The app that an operator names, modules of jobq itself, one of two HTTP clients, and where
packages and their files lie."""
LISTENS = {"http/dashboard/server.py"}
"""What answers requests, and makes none."""

RUNS_SQL = {"text", "literal_column", "Call", "execute", "executemany", "executescript", "copy"}
BEGINS_LIKE_SQL = re.compile(
    r"(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|COPY|TRUNCATE|PRAGMA|LISTEN|NOTIFY|SET|WITH"
    r"|BEGIN|SAVEPOINT|VACUUM|EXPLAIN) "
)
REVIEWED = {
    # A constant of an op, which `word` checks; the path of a column in JSON.
    "backends/_dialect.py": ["word"],
    "backends/_sqlite_dialect.py": ["rows"],
    # Names of tables and columns from the schema's own definition, and numbers.
    "backends/_migrations.py": ["_view", "migrate", "record", "statements"],
    # The names of columns.
    "backends/ops/bulk.py": ["", "insertion"],
    # The channel's name, and random hexadecimal digits.
    "backends/postgres/__init__.py": ["_listen", "_listen", "_listen"],
    # The names of two settings.
    "backends/postgres/connections.py": [""],
    # One of three words that the URL's parser lets through, and numbers.
    "backends/sqlite/writer.py": ["connect", "connect", "empty_log"],
    # The names of jobq's own tables.
    "contrib/django/_schema.py": ["_empty"],
    # psycopg's own composition, which quotes identifiers.
    "testing/_postgres.py": ["_execute"],
    "testing/plugin.py": ["_empty"],
}
"""The functions that make SQL of parts; none of the parts is a value that came from outside."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for name, path in SOURCES.items():
        yield name, ast.parse(path.read_text(encoding="utf-8"), name)


def imported(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def called(tree: ast.Module) -> Iterator[tuple[str, bool, ast.Call]]:
    """(name, whether it is an attribute, the call)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id, False, node
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr, True, node


def touches(modules: set[str], forbidden: set[str]) -> set[str]:
    return {name for name in modules for bad in forbidden if f"{name}.".startswith(f"{bad}.")}


def test_there_are_sources_to_look_at():
    assert len(SOURCES) > 50


def test_no_module_imports_what_runs_data_as_code():
    found = {name: touches(imported(tree), UNSAFE_MODULES) for name, tree in trees()}
    assert {name: modules for name, modules in found.items() if modules} == {}


def test_no_module_calls_other_hosts_than_the_database():
    found = {name: touches(imported(tree), CALLS_OUT) for name, tree in trees()}
    assert {name for name, modules in found.items() if modules} == LISTENS


def test_no_module_evaluates_text():
    found = [
        (name, call, node.lineno)
        for name, tree in trees()
        for call, is_attribute, node in called(tree)
        if (call in UNSAFE_ATTRIBUTES if is_attribute else call in UNSAFE_CALLS)
    ]
    assert found == []


def test_processes_are_started_without_a_shell_and_in_reviewed_places_only():
    starting = {
        name for name, tree in trees() if touches(imported(tree), {"subprocess", "multiprocessing"})
    }
    assert starting == STARTS_PROCESSES
    with_shell = [
        name
        for name, tree in trees()
        for _, _, node in called(tree)
        if any(keyword.arg == "shell" for keyword in node.keywords)
    ]
    assert with_shell == []


def test_modules_are_imported_by_name_in_reviewed_places_only():
    found = {name for name, tree in trees() if touches(imported(tree), {"importlib"})}
    assert found == IMPORTS_BY_NAME


# --- SQL ----------------------------------------------------------------------------------------


def first_text(node: ast.AST) -> str:
    """The text that an expression begins with, as far as it is written down."""
    if isinstance(node, ast.JoinedStr):
        return first_text(node.values[0]) if node.values else ""
    if isinstance(node, ast.BinOp):
        return first_text(node.left)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return first_text(node.func.value)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def is_made_of_parts(node: ast.AST) -> bool:
    """An f-string with values in it, `+`, `%`, `.format()`, `.join()` or `.replace()`."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in {"format", "format_map", "join", "replace"}
    return False


def composed(tree: ast.Module) -> Iterator[str]:
    """The functions in which SQL is made of parts: in what runs it, or in a text like it."""
    yield from _composed(tree, "")


def _composed(node: ast.AST, function: str) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = node.name
    runs = isinstance(node, ast.Call) and _name(node.func) in RUNS_SQL
    for child in ast.iter_child_nodes(node):
        is_sql = runs and child in node.args[:1]  # type: ignore[attr-defined]
        if is_made_of_parts(child) and (is_sql or BEGINS_LIKE_SQL.match(first_text(child))):
            yield function
        else:
            yield from _composed(child, function)


def _name(called: ast.expr) -> str:
    if isinstance(called, ast.Name):
        return called.id
    return called.attr if isinstance(called, ast.Attribute) else ""


def test_sql_is_made_of_parts_in_reviewed_places_only():
    found = {name: sorted(composed(tree)) for name, tree in trees()}
    assert {name: functions for name, functions in found.items() if functions} == REVIEWED


@pytest.mark.parametrize("value", ["it's", "a\\", "a;b", "%s", ":name", "\x00"])
def test_a_constant_in_sql_cannot_end_its_quotes(value):
    from jobq.backends._dialect import word

    with pytest.raises(ValueError, match="no constant for SQL"):
        word(value)


@pytest.mark.parametrize(
    "source",
    [
        'execute(f"SELECT {name}")',
        'connection.execute("SELECT " + name)',
        'text("SELECT %s" % name)',
        'Call("SELECT {}".format(name), {})',
        'sql = f"DELETE FROM jobq_job WHERE id = {id}"',
        'sql = "INSERT INTO jobq_job VALUES " + row',
        'cursor.executescript("; ".join(lines))',
    ],
)
def test_sql_made_of_parts_is_found(source):
    assert len(list(composed(ast.parse(source)))) == 1


@pytest.mark.parametrize(
    "source",
    [
        'execute("SELECT 1")',
        'Call("SELECT :name", {"name": name})',
        "connection.execute(call.sql, call.params)",
        'raise ValueError(f"the job {id} is gone")',
    ],
)
def test_sql_with_bound_values_is_let_through(source):
    assert list(composed(ast.parse(source))) == []
