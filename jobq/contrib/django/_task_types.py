"""The types of jobs that are Django's tasks: `task:<backend>:<path>`."""

from __future__ import annotations

PREFIX = "task"


def type_of(alias: str, path: str) -> str:
    """The type of a task's jobs; each backend has its own, so they don't steal from each other."""
    return f"{PREFIX}:{alias}:{path}"


def parts_of(type: str) -> tuple[str, str] | None:
    """The backend's alias and the task's path; `None` for jobs that are no tasks."""
    prefix, _, rest = type.partition(":")
    alias, mark, path = rest.rpartition(":")
    return (alias, path) if prefix == PREFIX and mark else None


def alias_of(type: str) -> str | None:
    """The backend's alias."""
    parts = parts_of(type)
    return None if parts is None else parts[0]
