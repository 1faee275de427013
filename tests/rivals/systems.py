"""The systems that are tried, and the environment that each of them runs in."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from attrs import frozen

NAMES = ("jobq", "procrastinate", "pgqueuer", "saq", "huey")


class NotInstalled(Exception):
    """A system cannot be had here."""


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
    python = Path(sys.executable)
    if packages:
        home = folder / name
        python = home / "bin" / "python"
        if not python.exists():
            _run("venv", "--python", sys.executable, str(home))
        _run("pip", "install", "--python", str(python), *packages)
    found = _output([str(python), "-c", _VERSION, name])
    return [System(name, store, python, found) for store in adapter(name).STORES]


_VERSION = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"


def _run(*arguments: str) -> None:
    _output([sys.executable, "-m", "uv", *arguments, "--quiet"])


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled((done.stderr.strip() or done.stdout.strip()).splitlines()[-1])
    return done.stdout.strip()
