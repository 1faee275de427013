"""Environments of their own for other systems, each installed by its name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class NotInstalled(Exception):
    """A system cannot be had here."""


def python_with(name: str, packages: Sequence[str], folder: Path) -> Path:
    """The Python of an environment below this folder that has these packages."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        _uv("venv", "--python", sys.executable, str(python.parent.parent))
    _uv("pip", "install", "--python", str(python), *packages)
    return python


def version_in(python: Path, name: str) -> str:
    """The version of a package in an environment."""
    code = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    return output([str(python), "-c", code, name])


def output(command: Sequence[str], cwd: Path | None = None) -> str:
    """What a command prints; one that fails has its last line as the reason."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled((done.stderr.strip() or done.stdout.strip()).splitlines()[-1])
    return done.stdout.strip()


def _uv(*arguments: str) -> None:
    output([sys.executable, "-m", "uv", *arguments, "--quiet"])
