"""Driver errors as jobq's own, by shape: no driver is imported."""

from __future__ import annotations

from jobq._errors import (
    BackendError,
    BackendUnavailable,
    OutcomeUnknown,
    SchemaError,
    UniqueViolation,
)
from jobq._masking import mask

# Connection, operator intervention, insufficient resources, system error, idle transaction ended.
_LOST = ("08", "57P", "53", "58", "25P03")
# Serialization failure, deadlock, lock not available, statement cancelled or timed out, read-only.
_TRY_AGAIN = ("40001", "40P01", "55P03", "57014", "25006")
# A lock, a full or failing disk, a file system that is read-only, no descriptors or memory left.
_MAY_PASS = ("BUSY", "LOCKED", "FULL", "IOERR", "READONLY", "CANTOPEN", "NOMEM", "PROTOCOL")
_OF_SQLITE = tuple(f"SQLITE_{name}" for name in _MAY_PASS)


def translate(error: BaseException, *, writing: bool = False) -> BackendError | SchemaError | None:
    """The jobq error for a driver's error; `None` where it is not a driver's.

    `writing` is for errors of a write that had been sent: when the connection was lost, nobody
    knows what became of it.
    """
    if isinstance(error, BackendError | SchemaError):
        return error
    module = type(error).__module__
    if module.startswith("sqlite3"):
        return _from_sqlite(error)
    if module.startswith("psycopg"):
        return _from_psycopg(error, writing)
    return None


def _from_sqlite(error: BaseException) -> BackendError | SchemaError:
    text = str(error)
    name = getattr(error, "sqlite_errorname", "") or ""
    if "no such table: jobq_" in text or "no such column" in text:
        return SchemaError(f"{text}: run `jobq migrate`, or queue.migrate() in code")
    if name == "SQLITE_CONSTRAINT_UNIQUE" or "UNIQUE constraint failed" in text:
        return UniqueViolation(text)
    if name.startswith(_OF_SQLITE) or "locked" in text:
        return BackendUnavailable(f"SQLite: {text}")
    return BackendError(f"SQLite: {text}")


def _from_psycopg(error: BaseException, writing: bool) -> BackendError | SchemaError:
    state = getattr(error, "sqlstate", None)
    text = mask(str(error))
    if state == "23505":
        return UniqueViolation(text)
    if state in ("42P01", "42703") and "jobq_" in text:
        reason = text.partition("\n")[0]
        return SchemaError(f"{reason}: run `jobq migrate`, or queue.migrate() in code")
    unreachable = state is None and _is_operational(error)
    if writing and (unreachable or (state or "").startswith("08")):
        return OutcomeUnknown(f"PostgreSQL: {text}; whether the write was done is unknown")
    if unreachable or (state or "").startswith(_LOST) or state in _TRY_AGAIN:
        return BackendUnavailable(f"PostgreSQL: {text}")
    return BackendError(f"PostgreSQL: {text}")


def _is_operational(error: BaseException) -> bool:
    names = {base.__name__ for base in type(error).__mro__}
    return bool(names & {"OperationalError", "PoolTimeout", "InterfaceError"})
