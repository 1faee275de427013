"""The page with Django, in one file: `python -m examples.browser_page.on_django COMMAND`."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse
from django.urls import path

from examples.browser_page import DATABASE_URL, PAGE, STREAM_SECONDS


def database(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path[1:]),
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
        }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
    }


settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    DATABASES={"default": database(DATABASE_URL)},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "jobq.contrib.django",
        "examples.browser_page",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of an example",
)
application = get_asgi_application()

from jobq.contrib.django.http import jobs_urls  # noqa: E402  needs the settings


def current_visitor(request: HttpRequest) -> str | None:
    visitor: str | None = request.COOKIES.get("visitor")
    return visitor


def page(request: HttpRequest) -> HttpResponse:
    answer = HttpResponse(PAGE)
    visitor = current_visitor(request) or uuid4().hex
    answer.set_cookie("visitor", visitor, httponly=True, samesite="Strict")
    return answer


urlpatterns = [
    path("", page),
    *jobs_urls(
        "jobs",
        owner=current_visitor,
        allow=["poster"],
        longest_stream=STREAM_SECONDS,
        drive=False,
    ),
]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
