"""Statements compiled once, and the plain generators ("ops") that use them.

An op is written once: it yields calls and receives rows. Runners drive it on any connection,
sync or async, jobq's own or the caller's. An op that is given a caller's connection is a single
statement (`complete`, on SQLite, is two), provokes no database error and never commits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.sql.expression import Executable

from jobq.backends._dialect import Dialect

T = TypeVar("T")
Row = tuple[Any, ...]


class Call(NamedTuple):
    """One statement to run: SQL text in the driver's own style, and its named parameters."""

    sql: str
    params: dict[str, Any]
    replan: bool = False
    """Whether to plan it anew with the parameters' values, instead of preparing it once."""
    settled: bool = False
    """Whether a plan for any tables and values will do where only an index can be gone by."""


Op = Generator[Call, list[Row], T]


class Statement:
    """A statement built with SQLAlchemy Core, compiled to text once for each dialect."""

    def __init__(
        self, build: Callable[..., Executable], *, replan: bool = False, settled: bool = False
    ) -> None:
        self._build = build
        self._planning = (replan, settled)
        self._compiled: dict[tuple[Any, ...], tuple[str, dict[str, Any]]] = {}
        self.__doc__ = build.__doc__

    def __call__(self, dialect: Dialect, *variant: Any, **params: Any) -> Call:
        """The statement with its parameters; `variant` chooses between texts of it."""
        sql, constants = self.compile(dialect, *variant)
        return Call(sql, {"now": dialect.current(), **constants, **params}, *self._planning)

    def compile(self, dialect: Dialect, *variant: Any) -> tuple[str, dict[str, Any]]:
        """Its text and constants: have them already when time counts, they take milliseconds."""
        key = (dialect.spelling, *variant)
        return self._compiled.get(key) or self._compile(key, dialect, variant)

    def _compile(
        self, key: tuple[Any, ...], dialect: Dialect, variant: tuple[Any, ...]
    ) -> tuple[str, dict[str, Any]]:
        built: Any = self._build(dialect, *variant)
        compiled = built.compile(dialect=dialect.sqlalchemy)
        names = compiled.bind_names
        constants = {name: bind.value for bind, name in names.items() if not bind.required}
        self._compiled[key] = (str(compiled), constants)
        return self._compiled[key]


def statement(build: Callable[..., Executable]) -> Statement:
    """Turn a function of a dialect that builds a statement into the statement itself."""
    return Statement(build)


def replanned(build: Callable[..., Executable]) -> Statement:
    """A statement whose plan depends on its parameters: a LIMIT, or arrays of unlike lengths."""
    return Statement(build, replan=True)


def settled(build: Callable[..., Executable]) -> Statement:
    """One to be replanned, unless the session rules out all plans but those by an index.

    Then there is one only, since it looks each row up by what it is asked for: its plan is kept.
    """
    return Statement(build, replan=True, settled=True)


OpFunction = Callable[..., Op[T]]


def atomic(op: OpFunction[T]) -> OpFunction[T]:
    """Mark an op of several statements that must run in one transaction."""
    op.atomic = True  # type: ignore[attr-defined]
    return op


def reading(op: OpFunction[T]) -> OpFunction[T]:
    """Mark an op that only reads: it needs no write lock."""
    op.reading = True  # type: ignore[attr-defined]
    return op


def single(op: OpFunction[T]) -> OpFunction[T]:
    """Mark an op whose one writing statement needs no transaction around it."""
    op.single = True  # type: ignore[attr-defined]
    return op


def knows_again(op: OpFunction[T]) -> OpFunction[T]:
    """Mark an op that takes `again=True`: "I was sent before; my commit may have happened"."""
    op.knows_again = True  # type: ignore[attr-defined]
    return op


def marked(op: Any, mark: str) -> bool:
    """Whether an op carries one of these marks."""
    return getattr(op, mark, False)


def drive(op: Op[T], execute: Callable[[Call], list[Row]]) -> T:
    """Run an op to its end; a statement's error is raised inside the op, at its `yield`."""
    try:
        call = next(op)
        while True:
            try:
                rows = execute(call)
            except Exception as error:  # noqa: BLE001  the op decides
                call = op.throw(error)
            else:
                call = op.send(rows)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        op.close()


async def drive_async(op: Op[T], execute: Callable[[Call], Awaitable[list[Row]]]) -> T:
    """`drive`, on a connection that is awaited."""
    try:
        call = next(op)
        while True:
            try:
                rows = await execute(call)
            except Exception as error:  # noqa: BLE001  the op decides
                call = op.throw(error)
            else:
                call = op.send(rows)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        op.close()
