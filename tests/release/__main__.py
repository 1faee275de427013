"""Build the distributions, look into them, and try each extra alone in an environment of its own.

`python -m tests.release --environments FOLDER [EXTRA…]`; `nox -s release` runs it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).with_name("probe.py")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = ("py.typed", "http/dashboard/templates/layout.html", "http/dashboard/assets/dashboard.css")
"""Files of the package that no import would miss."""
IN_SDIST = ("CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "noxfile.py", "pyproject.toml")
IMPLIES: dict[str, set[str]] = {"all": set(PROJECT["optional-dependencies"]) - {"all"}}
"""What else an extra brings."""


def run(*command: str | Path, **options: str) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    run("uv", "build", "--quiet", "--out-dir", folder, ROOT)
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def check_wheel(wheel: Path) -> None:
    """All of the package is in it that git knows, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        facts = archive.read(metadata).decode()
    package = {name for name in names if ".dist-info/" not in name}
    tracked = set(run("git", "ls-files", "jobq", cwd=str(ROOT)).split())
    expect("files of the package", package ^ tracked, set())
    expect("files that no import misses", {f"jobq/{name}" for name in NEEDED} - package, set())
    expect("licence", any(name.endswith("LICENSE") for name in names), True)
    expect("version", f"\nVersion: {wheel.name.split('-')[1]}\n" in facts, True)
    for extra in PROJECT["optional-dependencies"]:
        expect(f"extra {extra}", f"Provides-Extra: {extra}\n" in facts, True)


def check_sdist(sdist: Path) -> None:
    """The tests and the documentation are in it, and what was not committed is not."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expect("files of the sdist", set(IN_SDIST) - names, set())
    expect("tests", any(name.startswith("tests/") for name in names), True)
    odd = {name for name in names if name.endswith((".pyc", ".db", ".log")) or ".venv" in name}
    expect("leftovers", odd, set())


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        sys.exit(f"release: {what}: {found}")


def try_extra(wheel: Path, extra: str, folder: Path) -> None:
    """Install the wheel with one extra, and nothing beside it."""
    target = folder / (extra or "none")
    python = target / "bin" / "python"
    run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, target)
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    pinned = ("--no-verify-hashes", "--constraint", ROOT / "requirements" / "tests.txt")
    run("uv", "pip", "install", "--quiet", "--python", python, *pinned, wanted)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    installed = sorted(IMPLIES.get(extra, {extra} if extra else set()))
    run(python, "-I", "-W", "error", PROBE, *installed, env=clean, cwd=str(folder))  # type: ignore[arg-type]
    said = run(target / "bin" / "jobq", "--version", env=clean, cwd=str(folder))  # type: ignore[arg-type]
    expect("jobq --version", said.split()[1], wheel.name.split("-")[1])
    print(f"jobq[{extra}]" if extra else "jobq", "works, and says what the other extras are for")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.release", description=__doc__)
    parser.add_argument("--environments", type=Path, help="where to make environments")
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="only these")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.environments or Path(temporary)).resolve()
        sdist, wheel = build(Path(temporary).resolve())
        check_sdist(sdist)
        check_wheel(wheel)
        print(f"{sdist.name} and {wheel.name} have in them what they should")
        for extra in args.extras or ["", *PROJECT["optional-dependencies"]]:
            try_extra(wheel, extra, folder)


if __name__ == "__main__":
    main()
