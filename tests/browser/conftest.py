"""A real browser for the checks of `nox -s browser`: Debian's Chromium, and servers to show it.

Tests are asynchronous, so that what they start from fixtures meets no running event loop.

One browser, in one event loop, serves all tests of a process.

- `page` is a fresh page of a visitor of its own; a test fails where its console shows an error.
- `errors` is what consoles have shown so far: a test that expects something takes it out.
- `visitor` makes a page of one more visitor.
- `servers` starts processes. Apps that need none of their own may be served from this process, as
  `tests.contract` does: `uvicorn_on(app)`, or an adapter of `EVERY` with its `Setup`.

The names `check_*.py` keep these tests out of the usual run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.pairs import keep_one_each
from tests.servers import Servers

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

PATIENCE_MS = 30_000
Visitor = Callable[..., Awaitable[Any]]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    others = [item for item in items if item not in ours]
    keep_one_each(config, ours, "url")
    items[:] = [*others, *ours]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser of Debian's package `chromium`, or the one that JOBQ_CHROMIUM names."""
    from playwright.async_api import async_playwright

    program = os.environ.get("JOBQ_CHROMIUM") or shutil.which("chromium")
    assert program is not None, "no Chromium: apt-get install chromium, or set JOBQ_CHROMIUM"
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=as_root)
        yield browser
        await browser.close()


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """What the consoles of all pages have complained about."""
    found: list[str] = []
    yield found
    assert not found, f"the console shows {found}"


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(chromium: Browser, errors: list[str]) -> AsyncIterator[Visitor]:
    """Make the page of another visitor: with cookies of his own; the options are the context's."""

    async def make(**options: Any) -> Page:
        context = await chromium.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield make
    for context in chromium.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(visitor: Visitor) -> Page:
    """A page of a visitor."""
    made: Page = await visitor()
    return made


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts processes in a folder of their own; they end with the test."""
    started = Servers(tmp_path)
    try:
        yield started
    finally:
        started.end()
