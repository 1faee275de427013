"""The scenarios of `tests.faults` at their smallest, as tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tests.faults.scenarios  # noqa: F401  fills SCENARIOS
from jobq.testing._postgres import PostgresServer
from tests.faults.lab import SCENARIOS, Lab, perform
from tests.pairs import keep_one_each

Play = Callable[[str], None]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    others = [item for item in items if item not in ours]
    keep_one_each(config, ours, "url")
    items[:] = [*others, *ours]


def expect_no_miss(name: str, lab: Lab) -> None:
    """Play a scenario to its end and look at what it found."""
    findings = perform(SCENARIOS[name], lab)
    assert not findings.misses, "\n".join(map(str, findings.misses))


@pytest.fixture
def play(url: str, tmp_path: Path) -> Play:
    """Play a scenario on each database in turn."""
    return lambda name: expect_no_miss(name, Lab(url, tmp_path, "tiny"))


@pytest.fixture
def play_on_sqlite(sqlite: str, tmp_path: Path) -> Play:
    return lambda name: expect_no_miss(name, Lab(sqlite, tmp_path, "tiny"))


@pytest.fixture
def play_on_own_server(tmp_path: Path) -> Iterator[Play]:
    """Play a scenario on a PostgreSQL server that it may stop."""
    with PostgresServer.start(durable=True) as server:
        url = server.create_database("jobs")
        yield lambda name: expect_no_miss(name, Lab(url, tmp_path, "tiny", server))
