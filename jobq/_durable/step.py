"""Steps: done once, whatever happens to the worker. Each verb is written once for both faces."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobq import backends
from jobq._durable.book import CHECKPOINT, OnAmbiguous, Run, Verb, checked_name, known, use, write
from jobq._durable.large import fetched, put_away
from jobq._durable.prints import args_hash, as_returned, idempotency_key
from jobq._durable.signals import Halted, Leaving
from jobq._errors import LeaseLost, OptionError, StepChanged
from jobq._payload import encode_step, loads
from jobq._saving import within
from jobq._signals import Permanent, Signal
from jobq._spend import afford, question
from jobq._steps import Do, Step

if TYPE_CHECKING:
    from jobq.backends.ops.steps import StepRow


class Invoke(Step):
    """Call a function of the handler's; what it returns is awaited where it can be.

    What the function saves is saved in the step of this name.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        name: str = "",
    ) -> None:
        self.function, self.args, self.kwargs, self.name = function, args, kwargs, name

    def do(self, store: Any) -> Any:  # noqa: ARG002  a step's arguments
        with within(self.name):
            return self._call()

    def _call(self) -> Any:
        value = self.function(*self.args, **self.kwargs)
        if inspect.iscoroutine(value):
            value.close()
            raise OptionError(f"{self.function!r} is asynchronous, and this is a def handler")
        return value

    async def ado(self, store: Any) -> Any:  # noqa: ARG002  a step's arguments
        with within(self.name):
            value = self.function(*self.args, **self.kwargs)
            return await value if inspect.isawaitable(value) else value


def step(
    run: Run,
    name: str,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    version: int = 1,
    on_ambiguous: OnAmbiguous = "retry",
    connection: Any = None,
) -> Verb[Any]:
    """The function's result: the stored one, or that of calling it now, once it is stored."""
    checked_name(name)
    _check(function, version, on_ambiguous, connection)
    rows = yield from known(run)
    new = backends.ops.StepRow(name, "started", version, args_hash(args, kwargs))
    old = rows.get(name)
    if old is not None and old.version == version and old.status in ("started", "done"):
        if old.args_hash != new.args_hash:
            raise StepChanged(run.job.id, name, version)
        if old.status == "done":
            use(run, name)
            return as_returned(function, (yield from fetched(run, old.result)))
        found = yield from _of_the_last_time(name, args, kwargs, on_ambiguous)
        if found is not None:
            return (yield from _done(run, new, function, found, None))
    yield from may_begin(run)
    yield from _afford(run)
    if name in run.book.used:
        use(run, name)
    if connection is None:
        yield from write(run, new)
    try:
        value = yield Invoke(function, args, kwargs, name)
        return (yield from _done(run, new, function, value, connection))
    except LeaseLost:
        raise
    except Exception as error:
        if connection is None and not _is_open(error):
            yield from write(run, new._replace(status="failed"), error=error)
        raise


def _check(function: object, version: object, on_ambiguous: object, connection: object) -> None:
    if not callable(function):
        raise OptionError(f"a step calls a function with arguments; {function!r} is none")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise OptionError(f"version={version!r} must be an integer from 1")
    if on_ambiguous not in ("retry", "fail") and not callable(on_ambiguous):
        raise OptionError(
            f"on_ambiguous={on_ambiguous!r} must be 'retry', 'fail', or a function of the same "
            f"arguments that looks what became of the call"
        )
    if connection is not None and on_ambiguous != "retry":
        raise OptionError(
            "a step that commits with your rows is never ambiguous: leave out on_ambiguous"
        )


def _done(
    run: Run, new: StepRow, function: Callable[..., Any], value: Any, connection: Any
) -> Verb[Any]:
    text = encode_step(value)
    kept = yield from put_away(run, new.name, text)
    yield from write(run, new._replace(status="done", result=kept), connection=connection)
    if connection is None:  # otherwise it may be rolled back, and tried again
        use(run, new.name)
    return as_returned(function, loads(text))


def _afford(run: Run) -> Verb[None]:
    """Raise `BudgetExceeded` where nothing more may be spent."""
    if run.budget is None:
        return
    afford(run.budget, (yield Do(backends.ops.spent, **question(run.job, run.budget))))


def _of_the_last_time(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], on_ambiguous: OnAmbiguous
) -> Verb[Any]:
    """What came of a call whose end was not recorded; `None` is to call again."""
    if on_ambiguous == "fail":
        raise Permanent(
            "ambiguous_step",
            f"step {name!r} was begun before, and whether it was done is not recorded",
        )
    if callable(on_ambiguous):
        return (yield Invoke(on_ambiguous, args, kwargs))
    return None


def _is_open(error: Exception) -> bool:
    """Whether the provider may have done the work all the same."""
    from jobq._classify.classifier import classify
    from jobq._classify.failure import FailureKind

    if isinstance(error, Signal):
        return False
    return classify(error).kind is FailureKind.AMBIGUOUS


def may_begin(run: Run) -> Verb[None]:
    """Raise where nothing new is to be begun: the job is to be cancelled, the worker to end."""
    if run.book.halting or run.stopping == "cancel":
        raise Halted
    if run.leaving is not None:
        raise Leaving(run.leaving)
    return
    yield  # a generator, as every verb


def key_of(run: Run, name: str, version: int) -> str:
    """The key of a step for its provider."""
    _check(key_of, version, "retry", None)
    return idempotency_key(run.job.id, checked_name(name), version)


# --- free-form state ----------------------------------------------------------------------------


def checkpoint(run: Run, default: Any) -> Verb[Any]:
    """What was set last, by this run or an earlier one."""
    rows = yield from known(run)
    stored = rows.get(CHECKPOINT)
    return default if stored is None else loads(stored.result or "null")


def set_checkpoint(run: Run, value: Any, connection: Any) -> Verb[None]:
    """Store what the next run is to find."""
    yield from known(run)
    text = encode_step(value, limit=run.step_limit)
    row = backends.ops.StepRow(CHECKPOINT, "done", result=text)
    yield from write(run, row, connection=connection)
    if connection is not None and run.book.rows is not None:
        run.book.rows[CHECKPOINT] = row
