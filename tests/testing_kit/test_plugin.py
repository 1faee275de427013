"""The pytest plugin, in a project that has just installed jobq."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
MODULE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
    "pytest11"
]["jobq"]

pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini(
        """
        [pytest]
        filterwarnings = error
        asyncio_mode = strict
        asyncio_default_fixture_loop_scope = function
        """
    )
    return pytester


@pytest.fixture
def installed(
    pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory, monkeypatch
) -> None:
    """Make the package and its entry point known to new Pythons, as an installer would."""
    site = tmp_path_factory.mktemp("site")
    info = site / "jobq_from_source-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: jobq-from-source\nVersion: 0\n")
    (info / "entry_points.txt").write_text(f"[pytest11]\njobq = {MODULE}\n")
    path = [str(ROOT), str(site), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))


def test_fixtures_are_there_without_any_setup(project):
    project.makepyfile(
        """
        import jobq
        from jobq.testing import assert_enqueued, drain

        @jobq.handler("greet")
        def greet(payload: dict) -> str:
            return f"hello {payload['name']}"

        def test_an_hour_later(jobq_queue, jobq_clock):
            job = jobq_queue.enqueue(greet, {"name": "ada"}, delay=3600)
            assert_enqueued(jobq_queue, greet, {"name": "ada"}, delay=3600)
            assert drain(jobq_queue) == 0
            jobq_clock.advance(3600)
            assert drain(jobq_queue) == 1
            assert jobq_queue.get(job.id).result == "hello ada"

        def test_the_next_test_starts_empty(jobq_queue, tmp_path):
            assert jobq_queue.list().jobs == ()
            assert list(tmp_path.iterdir()) == []
        """
    )
    project.runpytest_subprocess().assert_outcomes(passed=2)


def test_connections_of_asynchronous_tests_are_closed_with_them(project):
    """An unclosed one is a ResourceWarning, and here that is an error."""
    project.makepyfile(
        """
        import gc
        import pytest
        from jobq.testing import adrain
        import jobq

        @jobq.handler("greet")
        async def greet(payload: dict) -> str:
            return "hello"

        @pytest.mark.asyncio
        async def test_with_pytest_asyncio(jobq_queue):
            await jobq_queue.aio.enqueue(greet, {})
            assert await adrain(jobq_queue) == 1

        @pytest.mark.anyio
        async def test_with_anyio(jobq_queue, anyio_backend_name):
            await jobq_queue.aio.enqueue(greet, {})

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.asyncio
        async def test_on_postgresql(jobq_postgres_queue):
            await jobq_postgres_queue.aio.enqueue(greet, {})
            assert await adrain(jobq_postgres_queue) == 1

        def test_nothing_was_left_open():
            gc.collect()
        """
    )
    project.runpytest_subprocess().assert_outcomes(passed=4)


def test_postgresql_is_migrated_and_empty_for_each_test(project):
    project.makepyfile(
        """
        import pytest
        import jobq

        @pytest.mark.parametrize("n", range(2))
        def test_it_is_empty(jobq_postgres_queue, jobq_clock, n):
            assert jobq_postgres_queue.list().jobs == ()
            job = jobq_postgres_queue.enqueue("greet", {})
            assert job.created_at == jobq_clock.time

        def test_the_url_alone(jobq_postgres_url):
            with jobq.Queue(jobq_postgres_url) as queue:
                assert queue.counts()["pending"] == 0
        """
    )
    project.runpytest_subprocess().assert_outcomes(passed=3)


def test_a_project_gives_its_own_options_to_the_queues(project):
    project.makeconftest(
        """
        import pytest
        import jobq

        @pytest.fixture
        def jobq_options():
            return {"router": jobq.Router(), "strict_types": True}
        """
    )
    project.makepyfile(
        """
        import pytest
        import jobq

        def test_types_are_strict(jobq_queue):
            with pytest.raises(jobq.UnknownType):
                jobq_queue.enqueue("greet", {})
        """
    )
    project.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_failed_assertion_shows_the_test_and_not_the_kit(project):
    project.makepyfile(
        """
        from jobq.testing import assert_enqueued

        def test_it(jobq_queue):
            assert_enqueued(jobq_queue, "greet")
        """
    )
    result = project.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * no job of type 'greet' was enqueued; nothing was *"])
    result.stdout.no_fnmatch_line("*_assertions.py*")


def test_the_plugin_loads_nothing_heavy():
    """It is loaded by every run of pytest in every project that has jobq."""
    code = (
        f"import sys, {MODULE}; "
        "print(*{name.partition('.')[0] for name in sys.modules} "
        "& {'sqlalchemy', 'psycopg', 'psycopg_pool', 'aiosqlite', 'sqlite3', 'httpx', 'pydantic'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
