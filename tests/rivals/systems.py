"""The systems that are tried, and the environment that each of them runs in."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from attrs import frozen

from tests.rivals.environments import python_with, version_in

NAMES = ("jobq", "procrastinate", "pgqueuer", "saq", "huey")


@frozen
class System:
    """One system on one kind of database."""

    name: str
    store: str
    python: Path
    version: str

    @property
    def adapter(self) -> ModuleType:
        return adapter(self.name)

    @property
    def title(self) -> str:
        several = len(self.adapter.STORES) > 1
        return f"{self.adapter.TITLE} on {self.store}" if several else str(self.adapter.TITLE)


def adapter(name: str) -> ModuleType:
    return importlib.import_module(f"tests.rivals.adapters.{name}")


def install(name: str, folder: Path) -> list[System]:
    """Install a system by its name into a folder below this one, unless that was done before."""
    packages = adapter(name).PACKAGES
    python = python_with(name, packages, folder) if packages else Path(sys.executable)
    found = version_in(python, name)
    return [System(name, store, python, found) for store in adapter(name).STORES]
