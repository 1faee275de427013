"""What an installed jobq can do: run by the interpreter of an environment, beside no source.

`python probe.py EXTRA…` names the extras that are installed. What they give has to work, and what
the others would give has to say how to install it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pkgutil
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import jobq
import jobq.artifacts
import jobq.webhooks
from jobq.cli import main
from jobq.testing import drain

BEYOND = ("jobq.backends.postgres", "jobq.contrib", "jobq.testing.plugin", "jobq.__main__")
"""Modules that need an extra, or pytest, or that run when they are imported."""


def queue(**options: object) -> jobq.Queue:
    return jobq.Queue("sqlite:///jobs.db", router=router, **options)  # type: ignore[arg-type]


router = jobq.Router()


@router.handler("shout")
def shout(payload: str) -> str:
    return payload.upper()


def base() -> None:
    for module in pkgutil.walk_packages(jobq.__path__, "jobq."):
        if not module.name.startswith(BEYOND):
            importlib.import_module(module.name)
    with queue() as shouting:
        job = shouting.enqueue(shout, "hello")
        assert drain(shouting) == 1
        assert shouting.get(job.id).result == "HELLO"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["status", "--url", "sqlite:///jobs.db"]) == 0
    assert "completed" in said.getvalue()


def dashboard() -> None:
    from jobq.http.dashboard import Dashboard, Operators

    with queue() as shown:
        Dashboard(shown, access=Operators(lambda request: None))


def django() -> None:
    importlib.import_module("jobq.contrib.django")


def fastapi() -> None:
    importlib.import_module("jobq.contrib.fastapi")
    importlib.import_module("jobq.contrib.starlette")


def http() -> None:
    hook = jobq.Webhook(
        url="http://127.0.0.1:9/", secret=jobq.webhooks.new_secret(), allow=["127.0.0.1"]
    )
    with queue(webhooks={"shop": hook}) as telling:
        telling.enqueue(shout, "hello", webhook="shop")
        drain(telling)
        [delivery] = telling.list(type="jobq.webhook").jobs
        assert "no answer came" in (delivery.error or "")


def otel() -> None:
    importlib.import_module("jobq.contrib.otel").OpenTelemetry()


def postgres() -> None:
    away = jobq.Queue("postgresql://jobq@127.0.0.1:9/none", patience=0.1)
    with away, contextlib.suppress(jobq.BackendUnavailable):
        away.counts()


def prometheus() -> None:
    importlib.import_module("jobq.contrib.prometheus").Prometheus()


def reload() -> None:
    importlib.import_module("jobq.cli._reload")._watchfiles()


def s3() -> None:
    os.environ.setdefault("AWS_DEFAULT_REGION", "auto")
    jobq.artifacts.S3Storage("a-bucket", access_key_id="id", secret_access_key="a secret")


def sentry() -> None:
    importlib.import_module("jobq.contrib.sentry").Sentry()


EXTRAS: dict[str, Callable[[], None]] = {
    check.__name__: check
    for check in (dashboard, django, fastapi, http, otel, postgres, prometheus, reload, s3, sentry)
}


PACKAGES = {
    "dashboard": "jinja2",
    "http": "httpx",
    "otel": "opentelemetry",
    "postgres": "psycopg",
    "prometheus": "prometheus_client",
    "reload": "watchfiles",
    "s3": "boto3",
    "sentry": "sentry_sdk",
}
"""What an extra brings, where its name is another. Another package may need it, too."""


def is_there(extra: str) -> bool:
    return find_spec(PACKAGES.get(extra, extra)) is not None


def is_missing(extra: str) -> None:
    """Using what an extra would give is an error that names the extra."""
    said: Exception | str = "and yet it works"
    try:
        EXTRAS[extra]()
    except Exception as error:  # noqa: BLE001  which one it is, is what is looked at
        said = error
    assert f"'jobq[{extra}]'" in str(said), f"{extra} is not installed: {said!r}"


def probe(installed: list[str]) -> None:
    base()
    for extra, check in EXTRAS.items():
        if extra in installed or is_there(extra):
            check()
        else:
            is_missing(extra)


if __name__ == "__main__":
    source = Path(jobq.__file__).resolve()
    assert "site-packages" in source.parts, f"{source} is no installed jobq"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        probe(sys.argv[1:])
