"""Django's tasks, as a project writes them."""

from __future__ import annotations

import sys
from typing import Any

from jobq.contrib.django._task_api import IN_DJANGO

if IN_DJANGO:
    from django.tasks import task
else:
    from django_tasks import task

seen: list[Any] = []


class Trouble(Exception):
    """Raised by tasks."""

    class Inner(Exception):
        """With a name that has a dot in it."""


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
def echo(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


@task
async def add_async(a: int, b: int = 1) -> int:
    return a + b


@task()
def note(value: Any) -> None:
    seen.append(value)


@task(priority=10, queue_name="fast")
def urgent(value: Any) -> None:
    seen.append(value)


@task(takes_context=True)
def with_context(context: Any, n: int) -> list[Any]:
    result = context.task_result
    return [context.attempt, result.attempts, str(result.status), len(result.worker_ids), n]


@task(takes_context=True)
async def with_context_async(context: Any) -> list[Any]:
    return [context.attempt, context.task_result.id]


@task
def fail(text: str = "in\ntwo lines") -> None:
    try:
        raise KeyError("first")
    except KeyError as error:
        raise Trouble(text) from error


@task
def fail_within() -> None:
    raise Trouble.Inner


@task
async def fail_async() -> None:
    raise ValueError("in a coroutine")


@task
def leave() -> None:
    sys.exit(3)


@task
def unstorable() -> Any:
    return {1, 2}


@task
def strange() -> Any:
    return {1: float("nan")}


@task
def tuples() -> Any:
    return {"pair": (1, b"two")}


@task
def refused() -> None:
    """As a provider does with 429, which jobq knows to wait for."""
    seen.append("tried")
    error: Any = Trouble("slow down")
    error.status_code = 429
    raise error


def plain() -> None:
    """No task at all."""
    seen.append("called")


def often(n: int) -> int:
    seen.append(n)
    if seen.count(n) < 3:
        raise Trouble(f"attempt {seen.count(n)}")
    return n
