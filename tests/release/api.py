"""What users can name, and how it is called: one line each, kept in `api.txt` beside this file.

`python -m tests.release.api` writes it anew. A line that goes or changes breaks somebody's code.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, is_typeddict

import jobq
from jobq._handler import HandlerOptions
from jobq._queue import EnqueueOptions

LISTING = Path(__file__).with_name("api.txt")
MODULES = (
    "jobq",
    "jobq.artifacts",
    "jobq.contrib.fastapi",
    "jobq.http",
    "jobq.http.dashboard",
    "jobq.testing",
    "jobq.webhooks",
)
OPTIONS = {"jobq.enqueue": EnqueueOptions, "jobq.handler": HandlerOptions}
"""Keywords that signatures show as `**options`."""
SPECIAL = ("__init__", "__call__")


def listing() -> list[str]:
    """All lines, in order."""
    keywords = [f"{name} {{{', '.join(kind.__annotations__)}}}" for name, kind in OPTIONS.items()]
    return [*keywords, *(line for module in MODULES for line in _of_module(module))]


def _of_module(name: str) -> Iterator[str]:
    module = import_module(name)
    for public in sorted(module.__all__):
        yield from _of(f"{name}.{public}", getattr(module, public))


def _of(path: str, value: Any) -> Iterator[str]:
    if is_typeddict(value):
        yield f"{path} {{{', '.join(value.__annotations__)}}}"
    elif inspect.isclass(value) and issubclass(value, Enum):
        yield f"{path} {{{', '.join(value.__members__)}}}"
    elif inspect.isclass(value):
        yield from _of_class(path, value)
    elif inspect.isroutine(value):
        yield path + _signature(value)
    else:
        yield path


def _of_class(path: str, kind: type) -> Iterator[str]:
    bases = [base.__name__ for base in kind.__mro__[1:] if _is_public(base)]
    yield f"{path}({', '.join(bases)})" if bases else path
    for name in sorted(_members(kind)):
        yield f"{path}.{name}{_shown(inspect.getattr_static(kind, name, None))}"


def _is_public(base: type) -> bool:
    """Whether users can name it; the other bases are how the house is built."""
    plain = (object, Exception, BaseException)
    builtin = base.__module__ == "builtins" and base not in plain
    return builtin or base.__name__ in jobq.__all__


def _members(kind: type) -> set[str]:
    """The public members of a class and of those of its bases that are jobq's own."""
    own = [base for base in kind.__mro__ if base.__module__.startswith("jobq")]
    names = {name for base in own for name in {*vars(base), *_annotated(base)}}
    special = {name for name in SPECIAL if any(name in vars(base) for base in own)}
    return {name for name in names if not name.startswith("_")} | special


def _annotated(kind: type) -> list[str]:
    return [*vars(kind).get("__annotations__", ())]


def _shown(member: Any) -> str:
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    return _signature(member) if inspect.isfunction(member) else ""


def _signature(function: Any) -> str:
    """Names, kinds and defaults; annotations are the type checker's to freeze."""
    try:
        found = inspect.signature(function)
    except ValueError:
        return "(…)"
    bare = [
        parameter.replace(annotation=parameter.empty, default=_default(parameter))
        for parameter in found.parameters.values()
    ]
    plain = found.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return str(plain)


class _Other:
    def __repr__(self) -> str:
        return "…"


def _default(parameter: inspect.Parameter) -> Any:
    """Plain values as they are: all else is only said to be there."""
    if parameter.default is parameter.empty:
        return parameter.empty
    plain = parameter.default is None or isinstance(parameter.default, str | int | float | tuple)
    return parameter.default if plain else _Other()


if __name__ == "__main__":
    LISTING.write_text("\n".join(listing()) + "\n")
    print(f"{LISTING} has {len(listing())} lines")
