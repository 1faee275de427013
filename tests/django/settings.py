"""A project with its own database and one on PostgreSQL; the tests fill in where these are."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

SECRET_KEY = "made up for tests"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
LOGGING_CONFIG = None
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.django.urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "jobq.contrib.django",
    "tests.django.shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
MIGRATION_MODULES = {"shop": None}

SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
}
DATABASES: dict[str, dict[str, Any]] = {
    "default": {**SQLITE, "NAME": "filled in"},
    "other": {**SQLITE, "NAME": "filled in"},
    "postgresql": {"ENGINE": "django.db.backends.postgresql", "NAME": "filled in"},
}
HAS_TASKS_IN_DJANGO = find_spec("django.tasks") is not None
INSTALLED_APPS += (
    ["django_tasks_db"] if HAS_TASKS_IN_DJANGO else ["django_tasks", "django_tasks_db"]
)
BUILT_IN = "django.tasks.backends" if HAS_TASKS_IN_DJANGO else "django_tasks.backends"
QUEUES = ["default", "fast"]
JOBQ_TASKS = "jobq.contrib.django.TasksBackend"
TASKS = {
    "default": {"BACKEND": JOBQ_TASKS, "QUEUES": QUEUES},
    "second": {"BACKEND": JOBQ_TASKS, "QUEUES": QUEUES},
    "dummy": {"BACKEND": f"{BUILT_IN}.dummy.DummyBackend", "QUEUES": QUEUES},
    "immediate": {"BACKEND": f"{BUILT_IN}.immediate.ImmediateBackend", "QUEUES": QUEUES},
    "database": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": QUEUES},
}
