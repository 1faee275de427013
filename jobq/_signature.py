"""What a handler's signature says: whether it is async, its payload, and its parameters."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any

from jobq._context import JobContext, SyncJobContext
from jobq._errors import HandlerError


def is_async(function: Callable[..., Any]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  an object with an async __call__
    )


def parameters(
    type: str, function: Callable[..., Any], *, is_async: bool, batch: bool = False
) -> tuple[Any, tuple[str, ...]]:
    """The payload's annotation, and what each parameter takes.

    A `batch` handler takes lists of what others take.
    """
    hints = _items(type, _hints(type, function)) if batch else _hints(type, function)
    own, other = (JobContext, SyncJobContext) if is_async else (SyncJobContext, JobContext)
    payload: Any = None
    takes: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        hint = hints.get(parameter.name)
        if hint is other:
            kind = "async def" if is_async else "def"
            raise HandlerError(
                f"handler {type!r}: {kind} takes a {own.__name__}, "
                f"but {parameter.name!r} is annotated {other.__name__}"
            )
        if hint is own or (hint is None and "payload" in takes):
            takes.append("context")
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.default is parameter.empty:
                raise HandlerError(
                    f"handler {type!r}: {parameter.name!r} is keyword-only; a handler takes the "
                    f"payload and the job as positional arguments"
                )
            continue
        elif "payload" not in takes:
            takes.append("payload")
            payload = hint
        elif parameter.default is parameter.empty:
            raise HandlerError(
                f"handler {type!r}: does not know what to pass as {parameter.name!r}; "
                f"a handler takes the payload and a {own.__name__}"
            )
    if len(set(takes)) != len(takes):
        raise HandlerError(f"handler {type!r}: takes the job's context twice")
    return payload, tuple(takes)


def _hints(type: str, function: Callable[..., Any]) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    target: Any = function if inspect.isroutine(function) else function.__class__.__call__
    try:
        return typing.get_type_hints(target)
    except NameError as error:
        raise HandlerError(
            f"handler {type!r}: its annotations cannot be resolved: {error}. Names used in them "
            f"must exist when the module is imported (not only under TYPE_CHECKING)"
        ) from error


def _items(type: str, hints: dict[str, Any]) -> dict[str, Any]:
    """What lists are annotated to hold, by the parameters' names."""
    return {name: _item(type, name, hint) for name, hint in hints.items() if name != "return"}


def _item(type: str, name: str, hint: Any) -> Any:
    if hint is list or typing.get_origin(hint) in (list, Sequence):
        [item] = typing.get_args(hint) or (None,)
        return item
    raise HandlerError(
        f"handler {type!r}: a batch handler takes lists: annotate {name!r} as list[…], not {hint!r}"
    )
