"""The environment as settings."""

from __future__ import annotations

import pytest

import jobq
from jobq._settings import Settings


def test_an_empty_environment_says_nothing():
    assert Settings.from_environment({}) == Settings()


def test_the_names_of_platforms_are_understood():
    settings = Settings.from_environment(
        {
            "DATABASE_URL": "postgresql://h/d",
            "WORKER_CONCURRENCY": "4",
            "WORKER_ID": "w1",
            "PORT": "8080",
        }
    )
    assert (settings.database_url, settings.concurrency) == ("postgresql://h/d", 4)
    assert (settings.worker_id, settings.port) == ("w1", 8080)


@pytest.mark.parametrize(
    "own, platforms, field, value, expected",
    [
        ("JOBQ_DATABASE_URL", "DATABASE_URL", "database_url", "sqlite:///a.db", "sqlite:///a.db"),
        ("JOBQ_CONCURRENCY", "WORKER_CONCURRENCY", "concurrency", "7", 7),
        ("JOBQ_WORKER_ID", "WORKER_ID", "worker_id", "me", "me"),
        ("JOBQ_PORT", "PORT", "port", "9000", 9000),
    ],
)
def test_jobqs_own_names_win(own, platforms, field, value, expected):
    settings = Settings.from_environment({own: value, platforms: "1"})
    assert getattr(settings, field) == expected


def test_the_other_names_are_jobqs_alone():
    settings = Settings.from_environment(
        {
            "JOBQ_APP": "app:queue",
            "JOBQ_QUEUES": "a,b",
            "JOBQ_LEASE": "12.5",
            "JOBQ_GRACE": "3",
            "JOBQ_LOG_LEVEL": "debug",
        }
    )
    assert (settings.app, settings.queues) == ("app:queue", "a,b")
    assert (settings.lease, settings.grace, settings.log_level) == (12.5, 3.0, "DEBUG")


def test_an_empty_value_counts_as_unset():
    settings = Settings.from_environment(
        {"JOBQ_PORT": "", "PORT": "80", "JOBQ_LEASE": "", "JOBQ_APP": ""}
    )
    assert (settings.port, settings.lease, settings.app) == (80, None, None)


@pytest.mark.parametrize("name", ["JOBQ_CONCURRENCY", "WORKER_CONCURRENCY", "JOBQ_PORT", "PORT"])
def test_an_integer_that_is_none_is_refused_by_name(name):
    with pytest.raises(jobq.ConfigurationError, match=f"^{name}='many' is not an integer$"):
        Settings.from_environment({name: "many"})


@pytest.mark.parametrize("name", ["JOBQ_LEASE", "JOBQ_GRACE"])
def test_seconds_that_are_no_number_are_refused_by_name(name):
    with pytest.raises(jobq.ConfigurationError, match=f"^{name}='soon' is not a number of seconds"):
        Settings.from_environment({name: "soon"})
