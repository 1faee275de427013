"""`jobq watch`: follow a job to its end."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from jobq._errors import WaitTimeout
from jobq._model import Job, JobStatus
from jobq.cli import _options as options
from jobq.cli import _terminal as terminal
from jobq.cli._app import opened
from jobq.cli._inspect import waits_for
from jobq.cli._output import moment, printable, shortened

if TYPE_CHECKING:
    from jobq._queue import Queue
    from jobq.cli._options import Commands

SOON, LATER = 0.2, 1.0
"""Seconds between two looks: after a change, and when there was none for a while."""
WIDEST = 30
"""Columns of the bar, at most."""
STATUS = max(map(len, JobStatus))


def add(commands: Commands) -> None:
    """Add the command of this file."""
    parser = options.add_command(commands, watch, "watch")
    options.add_target(parser)
    parser.add_argument("id", type=options.id_of_job, metavar="ID", help="the job's id")
    parser.add_argument(
        "--timeout",
        type=options.seconds,
        metavar="S",
        help="give up after this many seconds, with exit code 4",
    )


def watch(args: Namespace) -> int:
    """Follow a job until it ends; the exit code tells whether it completed.

    On a terminal a bar shows its progress, elsewhere each change is a line.
    """
    view: View = JsonLines() if args.json else Lines() if terminal.columns() is None else Bar()
    with opened(args) as queue:
        try:
            job = follow(queue, args.id, view.show, timeout=args.timeout)
        finally:
            view.end()
    if job.error is not None and not args.json:
        print(printable(": ".join(filter(None, (job.error_code, shortened(job.error))))))
    return 0 if job.status is JobStatus.COMPLETED else 1


def follow(
    queue: Queue,
    id: str,
    show: Callable[[Job], None],
    *,
    timeout: float | None = None,
    rest: Callable[[float], None] = time.sleep,
) -> Job:
    """Show a job again and again until it has ended, and return it as it is then.

    Raises `WaitTimeout` after `timeout` seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    version, pause = 0, SOON
    while True:
        job = queue.get(id)
        show(job)
        if job.status.finished:
            return job
        left = LATER if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeout(job.id, job.status, timeout or 0.0)
        pause = SOON if job.version != version else min(1.2 * pause, LATER)
        version = job.version
        rest(min(pause, left))


class View(Protocol):
    """How a job is shown as it moves."""

    def show(self, job: Job) -> None: ...
    def end(self) -> None: ...


class Lines:
    """A line for each change."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, job: Job) -> None:
        line = self.line(job)
        if line != self._last:
            print(self.stamped(job, line), flush=True)
        self._last = line

    def line(self, job: Job) -> str:
        return f"{job.status.value}  {job.progress} %  {note(job)}".rstrip()

    def stamped(self, job: Job, line: str) -> str:
        return f"{moment(job.updated_at)}  {line}"

    def end(self) -> None:
        """Nothing is left open."""


class JsonLines(Lines):
    """The same for programs."""

    def line(self, job: Job) -> str:
        return json.dumps(job.to_dict(), ensure_ascii=False)

    def stamped(self, job: Job, line: str) -> str:  # noqa: ARG002  the JSON says when
        return line


class Bar:
    """One line that is written anew."""

    def __init__(self) -> None:
        self._shown = False

    def show(self, job: Job) -> None:
        line = bar(job, terminal.columns() or 80, unicode=_speaks_unicode())
        sys.stdout.write(f"\r{line}{terminal.REST_OF_LINE}")
        sys.stdout.flush()
        self._shown = True

    def end(self) -> None:
        if self._shown:
            print()


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def bar(job: Job, room: int, *, unicode: bool = True) -> str:
    """A job's progress as one line of at most `room` columns."""
    full, empty = ("█", "░") if unicode else ("#", "-")
    state = f"{job.progress:3} %  {job.status.value:{STATUS}}"  # the bar does not jump
    name = terminal.cut(printable(job.type), max(8, room // 4))
    free = room - 1 - len(state) - terminal.width(name) - 2 * terminal.GAP
    length = max(0, min(WIDEST, room // 3, free))
    done = length * job.progress // 100
    drawn = f"{name}  {full * done}{empty * (length - done)}  {state}"
    about = terminal.cut(note(job), room - 1 - terminal.width(drawn) - terminal.GAP)
    return terminal.cut(f"{drawn}  {about}".rstrip(), room - 1)


def note(job: Job) -> str:
    """What there is to say about a job beside its status: its message, or what it waits for."""
    said = waits_for(job) or job.message
    if said is None and job.retry_at is not None and not job.status.finished:
        said = f"again at {moment(job.retry_at)}: {shortened(job.error)}"
    return printable(shortened(said))
