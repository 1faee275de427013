"""Fingerprints: what a step was called with, and the key that a provider knows it by."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

import msgspec

from jobq._payload import as_builtins


def args_hash(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The same for arguments that say the same. Of clients and the like only the class counts."""
    try:
        text = msgspec.json.encode([list(args), dict(kwargs)], enc_hook=_other, order="sorted")
    except (TypeError, ValueError, RecursionError):
        text = repr([type(one).__name__ for one in (*args, *kwargs.values())]).encode()
    return sha256(text).hexdigest()[:32]


def _other(value: Any) -> Any:
    known = as_builtins(value)
    return f"<{type(value).__qualname__}>" if known is value else known


def idempotency_key(job_id: str, name: str, version: int) -> str:
    """A UUID that is the same whenever this step of this job is called."""
    return str(uuid5(UUID(job_id), f"{name}\n{version}"))


def as_returned(function: Callable[..., Any], value: Any) -> Any:
    """A stored result as the type that the function is annotated to return, where it fits."""
    kind = _returns(function)
    if kind is None:
        return value
    try:
        if hasattr(kind, "model_validate"):
            return kind.model_validate(value)
        return msgspec.convert(value, kind, str_keys=True)
    except (TypeError, ValueError, NotImplementedError):
        return value


@lru_cache(maxsize=1000)
def _hints(function: Callable[..., Any]) -> Any:
    try:
        return typing.get_type_hints(function).get("return")
    except (TypeError, NameError, AttributeError):
        return None


def _returns(function: Callable[..., Any]) -> Any:
    plain = inspect.unwrap(getattr(function, "func", function))
    return _hints(plain) if inspect.isroutine(plain) else None
