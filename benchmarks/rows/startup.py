"""How long starting takes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.bench import Bench, row
from benchmarks.contest import Contest, Reach, Sample
from tests.faults.actors import ROOT, _environment

ROUNDS = 5


def _milliseconds(*arguments: str) -> float:
    began = time.perf_counter()
    command = [sys.executable, *arguments]
    subprocess.run(command, cwd=ROOT, env=_environment(), stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000


def _imports() -> Sample:
    """The quickest of a few: what disturbs only adds."""
    bare = min(_milliseconds("-c", "import attrs, anyio") for _ in range(ROUNDS))
    ours = min(_milliseconds("-c", "import attrs, anyio, jobq") for _ in range(ROUNDS))
    return {"ms more": ours - bare, "attrs, anyio ms": bare, "with jobq ms": ours}


def _help() -> Sample:
    return {"ms": min(_milliseconds("-m", "jobq", "--help") for _ in range(ROUNDS))}


@row("startup", stores=("",))
def startup(bench: Bench, store: str) -> Iterator[Contest]:
    """`import jobq` beyond `import attrs, anyio`, and the help of the command."""
    yield Contest(
        title="import jobq, beyond import attrs, anyio",
        runs={"jobq": _imports},
        reaches=[Reach("ms more", most=60.0)],
    )
    yield Contest(
        title="jobq --help",
        runs={"jobq": _help},
        reaches=[Reach("ms", most=250.0)],
    )
