"""Find the queue that a command is about."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from jobq._errors import ConfigurationError
from jobq._masking import mask
from jobq._queue import AsyncQueue, Queue
from jobq._settings import Settings
from jobq.backends._options import SqliteOptions, parse


@contextmanager
def opened(args: Namespace, *, new: bool = False) -> Iterator[Queue]:
    """The queue of `--url`, `--app` or the environment, closed at the end."""
    logging.getLogger("psycopg").addHandler(logging.NullHandler())  # the error is told once
    queue = find_queue(args.url, args.app, new=new)
    try:
        yield queue
    finally:
        queue.close()


def find_queue(url: str | None, app: str | None, *, new: bool = False) -> Queue:
    """The queue at a URL or in an app; without either, where the environment says.

    A SQLite file that is not there is taken for mistyped, unless a `new` one is to be made.
    """
    if url is None and app is None:
        settings = Settings.from_environment()
        app = settings.app
        url = settings.database_url if app is None else None
    if app is not None:
        return load_queue(app).sync
    if url is not None:
        where = parse(url, {})
        if isinstance(where, SqliteOptions) and not new and not Path(where.path).exists():
            raise ConfigurationError(f"there is no file {where.path!r}; `jobq migrate` makes one")
        return Queue(url)
    raise ConfigurationError(
        "which queue? Give --url or --app, or set JOBQ_APP, JOBQ_DATABASE_URL or DATABASE_URL"
    )


def load_queue(spec: str) -> AsyncQueue:
    """The queue that `module:attribute` names; the module is looked for in this folder first."""
    name, _, path = spec.partition(":")
    if not name or not path:
        raise ConfigurationError(f"{spec!r} must be module:attribute, as in app:queue")
    found: Any = _import(name, spec)
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(f"{spec!r}: {_name(found)} has no attribute {part!r}")
        found = getattr(found, part)
    if isinstance(found, Queue):
        return found.aio
    if isinstance(found, AsyncQueue):
        return found
    raise ConfigurationError(
        f"{spec!r} is a {type(found).__name__}, and must be a jobq.Queue or jobq.AsyncQueue"
    )


def _name(found: object) -> str:
    if isinstance(found, ModuleType):
        return f"module {found.__name__!r} ({found.__file__})"
    return f"a {type(found).__name__}"


def _import(name: str, spec: str) -> ModuleType:
    here = os.getcwd()  # noqa: PTH109  sys.path holds text
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise ConfigurationError(
                f"{spec!r}: there is no module {error.name!r} in {here} or among the installed ones"
            ) from None
        raise _failed(name, spec, error) from error
    except Exception as error:
        raise _failed(name, spec, error) from error


def _failed(name: str, spec: str, error: Exception) -> ConfigurationError:
    failed = ConfigurationError(
        f"{spec!r}: importing {name!r} failed: {type(error).__name__}: {mask(str(error))}"
    )
    failed.add_note("".join(traceback.format_exception(error)).rstrip())
    return failed
