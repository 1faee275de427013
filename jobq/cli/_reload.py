"""Run a command, and run it again when the code changes; for development."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from jobq._errors import ConfigurationError
from jobq.observe import logger

MARGIN = 5.0
"""Seconds beyond its grace after which a worker that does not end is killed."""


def own_command() -> list[str]:
    """The command line that started this process."""
    return [sys.executable, *sys.orig_argv[1:]]


def run_again_on_change(command: Sequence[str], grace: float) -> int:
    """Run a command until SIGTERM or SIGINT; its last exit code.

    Whenever a .py file below this folder changes, it is ended (with SIGTERM, and SIGKILL where
    it outstays its grace by far) and started anew.
    """
    watchfiles = _watchfiles()
    stopping = threading.Event()
    child = _start(command)

    def forward(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  a handler's arguments
        stopping.set()
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    changes = watchfiles.watch(
        Path.cwd(),
        watch_filter=watchfiles.PythonFilter(),
        stop_event=stopping,
        raise_interrupt=False,
    )
    for changed in changes:
        names = ", ".join(sorted({Path(path).name for _, path in changed}))
        logger.info("%s changed, starting the worker again", names)
        child.terminate()
        _wait(child, grace + MARGIN)
        if stopping.is_set():
            break
        child = _start(command)
    code = _wait(child, grace + MARGIN)
    return code if code >= 0 else 128 - code


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    # In a process group of its own, so that Ctrl-C reaches it once: through `forward`.
    return subprocess.Popen(command, process_group=0)  # noqa: S603  this process's own command


def _wait(child: subprocess.Popen[bytes], patience: float) -> int:
    try:
        return child.wait(patience)
    except subprocess.TimeoutExpired:
        logger.warning("the worker does not end, killing it")
        child.kill()
        return child.wait()


def _watchfiles() -> Any:
    try:
        import watchfiles
    except ImportError:
        raise ConfigurationError("--reload needs watchfiles: pip install 'jobq[reload]'") from None
    return watchfiles
