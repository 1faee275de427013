"""System checks tell what is wrong with the settings; importing never does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.db import connections
from django.test import override_settings

from jobq.contrib.django import queue
from jobq.contrib.django.checks import check_settings

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    "setting,said",
    [
        ("jobs", "must be a dictionary"),
        ({"COLOUR": 1}, "unknown keys COLOUR"),
        ({"DATABASE": "nowhere"}, "DATABASES has 'default'"),
        ({"KEEP": -1}, "keep=-1"),
        ({"LIMITS": 5}, "limits must be"),
        ({"OBSERVERS": "a.b"}, "must be a list"),
        ({"OBSERVERS": ["no.such.module"]}, "cannot be imported"),
        ({"LIFESPAN": "tests.django.shop.nothing"}, "cannot be imported"),
        ({"BOUNDS": 5}, "bounds must be"),
        ({"OWNER": "no.such.owner"}, "cannot be imported"),
        ({"TIME_BUDGET": 0}, "time budget"),
        ({"ALLOW": "shop.total"}, "allow='shop.total'"),
    ],
)
def test_a_bad_setting_is_an_error_of_the_checks(setting: Any, said: str) -> None:
    with override_settings(JOBQ=setting):
        [error] = check_settings()
    assert error.id == "jobq.E001"
    assert said in error.msg


def test_good_settings_pass() -> None:
    observers = ["jobq.Observer"]
    for good in (None, {}, {"KEEP": 60, "OBSERVERS": observers, "POOL_SIZE": 3}):
        with override_settings(JOBQ=good):
            assert check_settings() == []


def test_another_kind_of_database_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connections["other"]), "vendor", "mysql")
    with override_settings(JOBQ={"DATABASE": "other"}):
        [error] = check_settings()
    assert (error.id, "mysql" in error.msg) == ("jobq.E002", True)


def test_sqlite_without_wal_or_immediate_is_a_warning_of_the_databases_check(
    clean: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = connections["other"]
    other.close()
    monkeypatch.setitem(other.settings_dict, "OPTIONS", {})
    monkeypatch.setitem(other.settings_dict, "NAME", str(tmp_path / "plain.sqlite3"))
    with override_settings(JOBQ={"DATABASE": "other"}):
        said = checks.run_checks(databases=["other"])
        without = checks.run_checks(databases=["default"])
    other.close()
    assert [one.id for one in said] == ["jobq.W001"]
    assert '"transaction_mode": "IMMEDIATE"' in str(said[0].hint)
    assert "journal_mode=WAL" in str(said[0].hint)
    assert without == []


def test_a_well_set_up_sqlite_passes(databases: None) -> None:
    assert checks.run_checks(databases=["default", "other", "postgresql"]) == []


def test_importing_reads_no_setting() -> None:
    program = "from jobq.contrib.django import queue; print(repr(queue))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "no.such.module"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "DjangoQueue" in run.stdout
    assert repr(queue) == "<DjangoQueue of the project>"
