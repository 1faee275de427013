"""No block of the documentation is only looked at: each is run, or read by who understands it."""

from __future__ import annotations

import ast
import configparser
import json
import re
import sqlite3
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
import yaml

import jobq
from tests import test_docs

ROOT = Path(__file__).parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
FENCE = re.compile(r"^([ >]*)(`{3,}|~{3,}|:{3,})(.*)$")


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def name_of(block: Block) -> str:
    return str(block.page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, of any length and indentation."""
    opened: tuple[str, str, str, int] | None = None
    text: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        found = FENCE.match(line)
        if opened is None:
            if found:
                opened, text = (found[1], found[2], found[3].strip(), number), []
        elif found and found[2].startswith(opened[1]) and not found[3].strip():
            yield Block(page, opened[3], opened[2], "\n".join(text) + "\n")
            opened = None
        else:
            text.append(line.removeprefix(opened[0]))
    assert opened is None, f"{page}:{opened[3]}: a block without an end"


ALL = [block for page in PAGES for block in blocks(page)]


# --- how each language is read ------------------------------------------------------------------


def read_sh(block: Block) -> None:
    shell = subprocess.run(
        ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False
    )
    assert shell.returncode == 0, shell.stderr


def read_console(block: Block) -> None:
    """What is typed, after `$`; the rest is what was answered."""
    typed = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    assert typed, "a console block begins with `$ ` and a command"
    read_sh(block._replace(text="\n".join(typed) + "\n"))


def read_http(block: Block) -> None:
    """A request or an answer: its first line, its headers, and JSON if it says so."""
    head, _, body = block.text.partition("\n\n")
    first, *headers = head.strip().splitlines()
    request = re.fullmatch(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/\S*)( HTTP/1\.1)?", first)
    answer = re.fullmatch(r"HTTP/1\.1 [1-5]\d\d( .+)?", first)
    assert request or answer, first
    named = dict(header.split(": ", 1) for header in headers)
    if "json" in {name.lower(): value for name, value in named.items()}.get("content-type", ""):
        json.loads(body)


def read_ini(block: Block) -> None:
    assert configparser.RawConfigParser(strict=False).read_string(block.text) is None


def read_python(block: Block) -> None:
    """Read here; run by test_docs.py, or by the test of the page's folder."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    compile(block.text, str(block), "exec", flags)


def shown_only(block: Block) -> None:
    """Shown for a reason that stands beside its name in `SHOWN`."""
    assert name_of(block) in SHOWN[block.language], (
        f"a block of {block.language!r} is neither run nor read; add the page to SHOWN with a "
        f"reason, or write it in a language that is"
    )


READ: dict[str, Callable[[Block], object]] = {
    "console": read_console,
    "http": read_http,
    "ini": read_ini,
    "json": lambda block: json.loads(block.text),
    "python": read_python,
    "sh": read_sh,
    "sql": lambda _: None,  # run below, on both databases
    "toml": lambda block: tomllib.loads(block.text),
    "yaml": lambda block: [*yaml.safe_load_all(block.text)],
    **dict.fromkeys(("dockerfile", "js", "py", "text"), shown_only),
}
SHOWN: dict[str, set[str]] = {
    "dockerfile": {"docs/howto/deploy.md"},
    "js": {"docs/howto/fastapi.md"},  # for a browser
    "py": {  # fragments of programs that are not there
        "docs/decisions/0002-ops-are-generators.md",
        "docs/howto/deploy.md",
        "docs/howto/limits.md",
        "docs/howto/testing.md",
        "docs/tutorial.md",
    },
    "sql": {"examples/photo_worker/README.md"},  # what the system was before
    "text": {  # other libraries'
        "docs/howto/from-bullmq.md",
        "docs/howto/from-celery.md",
        "docs/howto/from-django-tasks-db.md",
        "docs/howto/from-huey.md",
        "docs/howto/from-procrastinate.md",
        "docs/howto/from-rq.md",
    },
}
"""Languages that only these pages may show unread."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_block_of_a_page_is_in_a_language_that_is_run_or_read(page: Path) -> None:
    for block in ALL:
        if block.page != page or block.language.startswith("{"):
            continue  # a directive: the documentation's build runs it
        assert block.language in READ, f"{block}: {block.language or 'no language'!r} is not read"
        try:
            READ[block.language](block)
        except Exception as error:
            error.add_note(str(block))
            raise


def test_every_page_of_python_is_run_by_a_test() -> None:
    elsewhere = {block.page for block in ALL if block.language == "python"} - {*test_docs.PAGES}
    assert elsewhere == {ROOT / "examples" / "fakegemini" / "README.md"}  # by its own test


def test_the_sql_of_all_pages_runs_on_both_databases(sqlite: str, postgres: str) -> None:
    with jobq.Queue(sqlite) as queue:
        queue.counts()
    sql = [block for block in ALL if block.language == "sql"]
    found = [block for block in sql if name_of(block) not in SHOWN["sql"]]
    assert found
    with psycopg.connect(postgres) as on_postgres, sqlite3.connect(sqlite[10:]) as on_sqlite:
        for block in found:
            for statement in filter(str.strip, block.text.split(";\n")):
                on_postgres.execute(statement.encode())
                on_sqlite.execute(statement)
        on_postgres.rollback()
        on_sqlite.rollback()
    on_sqlite.close()


def test_every_page_is_linked_from_the_first() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    trees, text = index.rpartition("```\n")[::2]
    for page in sorted((ROOT / "docs").rglob("*.md")):
        name = str(page.relative_to(ROOT / "docs").with_suffix(""))
        if name != "index" and not name.startswith("decisions/0"):
            assert f"\n{name}\n" in trees, f"{name} is in no toctree of docs/index.md"
            links = text.count(f"({name}.md)")
            assert links == 1, f"docs/index.md links {name}.md {links} times"


def test_the_first_page_fits_one_screen() -> None:
    text = (ROOT / "docs" / "index.md").read_text().partition("```{toctree}")[0]
    assert len(text.splitlines()) <= 40
    for said in ("**For work that", "**Not for**"):
        assert said in text
