"""Adapters for frameworks, one each."""

from __future__ import annotations


def missing(error: ModuleNotFoundError, extra: str) -> ModuleNotFoundError:
    """The error of an import that an extra of jobq would have made possible, saying so."""
    if (error.name or "jobq").partition(".")[0] == "jobq":
        return error
    return ModuleNotFoundError(f"{error}: pip install 'jobq[{extra}]'", name=error.name)
