"""The Django adapter, under WSGI and ASGI, on Django's own connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import waitress.server

from tests.contract.adapters import Adapter, Mounts, Setup, operator_of, user_of, uvicorn_on
from tests.django.configured import configure

configure()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402  needs the settings
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

from jobq.contrib.django import DjangoQueue  # noqa: E402
from jobq.contrib.django.http import (  # noqa: E402
    accepted,
    dashboard_urls,
    drive_urls,
    jobs_urls,
)

OPTIONS = ("router", "clock", "bounds", "lifespan", "artifacts", "per_owner")


@contextmanager
def database_of(url: str) -> Iterator[str]:
    """The alias of a database of the project that is the one of a URL."""
    parts = urlsplit(url)
    alias = "default" if parts.scheme == "sqlite" else "postgresql"
    connection = connections[alias]
    connection.close()
    before = dict(connection.settings_dict)
    place = {"NAME": parts.path[1:]}
    if alias == "postgresql":
        user = {"USER": parts.username, "PASSWORD": parts.password}
        place |= {**user, "HOST": parts.hostname, "PORT": parts.port}
    connection.settings_dict.update(place)
    try:
        yield alias
    finally:
        connection.close()
        connection.settings_dict.update(before)


def urls_of(setup: Setup, queue: DjangoQueue) -> type:
    options = setup.options | ({"owner": user_of} if setup.owned else {})
    pages = {"access": operator_of, "sign_in": None} | setup.dashboard

    @csrf_exempt
    def own(request: Any) -> HttpResponse:
        with transaction.atomic(using=queue.alias):
            return accepted(queue.enqueue(**setup.new_job), queue=queue)

    class Urls:
        urlpatterns = (
            path("api/own", own),
            *jobs_urls("api/jobs", queue=queue, **options),
            *drive_urls("api/workers", queue=queue, **setup.drive_options),
            *dashboard_urls("ops/jobq", queue=queue, **pages),
        )

    return Urls


@contextmanager
def project(setup: Setup) -> Iterator[None]:
    """Django, with the routes of a site."""
    config = setup.queue._config
    setup.queue.counts()  # jobq's own SQLite files bring themselves up to date
    with database_of(config.url) as alias:
        options = {name: getattr(config, name) for name in OPTIONS}
        queue = DjangoQueue(alias, limits=config.limits.by_queue, **options)
        urls = urls_of(setup, queue)
        with override_settings(
            ROOT_URLCONF=urls, DEBUG=setup.debug, JOBQ={"DATABASE": alias}, ALLOWED_HOSTS=["*"]
        ):
            yield


@contextmanager
def waitress_on(app: Any) -> Iterator[str]:
    """Serve a WSGI app in threads."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = waitress.server.create_server(app, sockets=[listening], threads=16)

        def run() -> None:
            with suppress(OSError):  # closed below
                server.run()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield address
        finally:
            server.task_dispatcher.shutdown()  # its threads still speak to the server
            server.trigger.pull_trigger(server.close)  # in its own thread, at once
            thread.join(30)


@contextmanager
def serve_django_asgi(setup: Setup) -> Iterator[Mounts]:
    with project(setup), uvicorn_on(ASGIHandler()) as root:
        yield Mounts.below(root)


@contextmanager
def serve_django_wsgi(setup: Setup) -> Iterator[Mounts]:
    with project(setup), waitress_on(WSGIHandler()) as root:
        yield Mounts.below(root)


DJANGO: dict[str, Adapter] = {"django-asgi": serve_django_asgi, "django-wsgi": serve_django_wsgi}
