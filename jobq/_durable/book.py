"""What a run of a handler knows of its job's steps."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import Factory, define

from jobq import backends
from jobq._checks import short_text
from jobq._errors import LeaseLost, OptionError
from jobq._masking import mask
from jobq._saving import Saver
from jobq._steps import Do, DoOn

if TYPE_CHECKING:
    from jobq.backends.ops.steps import StepRow

T = TypeVar("T")
Verb = Generator[Any, Any, T]
OnAmbiguous = str | Callable[..., Any]
DAY = 86400.0
CHECKPOINT = "@checkpoint"
LONGEST_NAME = 200
LONGEST_ERROR = 1000


@define
class Book:
    """The steps of one job, as far as they are known, and what this run has made of them."""

    rows: dict[str, StepRow] | None = None
    """What is recorded; `None` until something is asked."""
    used: set[str] = Factory(set)
    """The names that this run has come past."""
    waits: dict[str, int] = Factory(dict)
    """When to look again at what the job waits for, by name: instants in microseconds."""
    cancels: bool = False
    """Whether some of that can be cancelled by the handler."""
    wrote: bool = False
    """Whether more was done than to look."""
    advanced: bool = False
    """Whether this run has ended a step: the next one will come further."""
    halting: bool = False
    """Whether the job is to be cancelled as soon as the handler comes to something new."""
    sleeps: bool = True
    """Whether time has to pass: in tests of handlers it has not."""


class Run(Saver, Protocol):
    """The run of a handler, as far as steps are concerned."""

    job: Any
    book: Book

    @property
    def stopping(self) -> str | None: ...
    @property
    def leaving(self) -> str | None:
        """Why nothing more should be begun here, if so."""

    @property
    def can_wait(self) -> bool: ...
    @property
    def now(self) -> int:
        """The database's clock, as far as it is known here, in microseconds."""

    @property
    def budget(self) -> Any: ...
    @property
    def step_limit(self) -> int | None: ...
    def lose(self) -> None:
        """A write was refused: the claim is no longer valid."""


def known(run: Run) -> Verb[dict[str, StepRow]]:
    """All that is recorded of the job: read once in a run, where it is first asked for."""
    book = run.book
    if book.rows is None:
        rows = yield Do(backends.ops.read_steps, run.job.id)
        if book.rows is None:  # otherwise another step of this handler was faster
            book.rows = {row.name: row for row in rows}
    return book.rows


def checked_name(name: object) -> str:
    """A name, as text that is not one of jobq's own."""
    text = short_text(name, "the name of a step", limit=LONGEST_NAME)  # type: ignore[arg-type]
    if text is None or text.startswith("@"):
        raise OptionError(f"the name of a step is text that does not begin with @, not {name!r}")
    return text


def use(run: Run, name: str) -> None:
    """Each name stands for one thing: a second use in the same run is a mistake."""
    if name in run.book.used:
        raise OptionError(
            f"{name!r} was used already in this handler: names tell steps apart, so give each its "
            f"own, as in f'{name}:{{n}}'"
        )
    run.book.used.add(name)


def write(
    run: Run,
    row: StepRow,
    *,
    error: BaseException | None = None,
    timeout: int | None = None,
    connection: Any = None,
) -> Verb[StepRow]:
    """Record a step, unless the job is no longer this run's: then `LeaseLost`."""
    given: dict[str, Any] = {
        "id": run.job.id,
        "fence": run.job.fence,
        "row": row,
        "error": None
        if error is None
        else mask(f"{type(error).__name__}: {error}")[:LONGEST_ERROR],
        "timeout": timeout,
    }
    op: Callable[..., Any] = backends.ops.write_step
    saved = run.uploads.of(row.name) if row.status == "done" else ()
    if saved:
        op, given["artifacts"] = backends.ops.write_step_and_artifacts, saved
    written = yield Do(op, **given) if connection is None else DoOn(connection, op, **given)
    if written is None:
        run.lose()
        raise LeaseLost(run.job.id)
    run.book.wrote = run.book.wrote or row.name != CHECKPOINT
    run.book.advanced = run.book.advanced or (row.status == "done" and row.name != CHECKPOINT)
    if connection is None and run.book.rows is not None:
        run.book.rows[row.name] = written
    return written  # type: ignore[no-any-return]
