"""Calls of batch handlers: one for many jobs, each with an outcome of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from jobq._config import Bounds
from jobq._context import JobContext, SyncJobContext
from jobq._errors import PayloadError
from jobq._outcome import Outcome, Refused
from jobq._worker.execute import (
    Around,
    InLoop,
    InThread,
    NotStarted,
    bounded,
    catching,
    ended,
    stored,
)
from jobq._worker.running import NotNow, Running
from jobq.observe import current_job

Outcomes = dict[Running, Outcome | None]


class Call:
    """The jobs that one call of a batch handler runs."""

    def __init__(self, members: Sequence[Running]) -> None:
        self.members = members
        for running in members:
            running.call = self


def batches(claimed: Sequence[Running], size: int) -> Iterator[list[Running]]:
    """Jobs of one type in the calls that run them, as few as there can be.

    Those with limits share a call only where one moment is right for all of them.
    """
    batch: list[Running] = []
    for running in sorted(claimed, key=_earliest):
        if len(batch) == size or (batch and not _can_join(running, batch)):
            yield batch
            batch = []
        batch.append(running)
    if batch:
        yield batch


def _earliest(running: Running) -> float:
    return 0.0 if running.start is None else running.start.not_before


def _can_join(running: Running, batch: Sequence[Running]) -> bool:
    latest = min((one.start.not_after for one in batch if one.start), default=float("inf"))
    return _earliest(running) <= latest


async def attempt_together(
    call: Call, *, in_thread: InThread, in_loop: InLoop, bounds: Bounds, around: Around
) -> Outcomes:
    """Run the handler once; what came of each job, `None` where it is no longer ours."""
    outcomes: Outcomes = {}
    taking_part: list[Running] = []
    payloads: list[Any] = []
    for running in call.members:
        try:
            running.check_start()
            payload = running.handler.codec.decode(running.job.payload)
            if running.budget is not None:
                await JobContext(running).afford()
            payloads.append(payload)
            taking_part.append(running)
        except PayloadError as error:
            outcomes[running] = Refused("invalid_payload", bounded(str(error), bounds))
        except BaseException as error:  # noqa: BLE001  as for a single job
            outcomes[running] = ended(running, error, bounds)
    if taking_part:
        current_job.set((f"{len(taking_part)} jobs", taking_part[0].job.type))
        try:
            with around(taking_part):
                results = await _handle(taking_part, payloads, in_thread, in_loop)
        except BaseException as error:  # noqa: BLE001  as for a single job
            return outcomes | {running: ended(running, error, bounds) for running in taking_part}
        outcomes |= _outcomes(taking_part, results, bounds)
    return outcomes


async def _handle(
    taking_part: list[Running], payloads: list[Any], in_thread: InThread, in_loop: InLoop
) -> Any:
    handler = taking_part[0].handler
    if handler.is_async:
        for running in taking_part:
            running.entered = True
        contexts = [JobContext(running) for running in taking_part]
        return await in_loop(partial(handler.function, *handler.arguments(payloads, contexts)))

    def call() -> Any:
        if all(running.stopping is not None for running in taking_part):
            raise NotStarted  # while they waited for a thread
        _check_starts(taking_part)
        for running in taking_part:
            running.in_thread = running.entered = True
        contexts = [SyncJobContext(running) for running in taking_part]
        try:
            return catching(handler.function, handler.arguments(payloads, contexts))
        finally:
            for running in taking_part:
                running.in_thread = False

    return await in_thread(call)


def _check_starts(some: Iterable[Running]) -> None:
    """One moment is right for all: where it has passed for one of them, none starts."""
    late: list[NotNow] = []
    for running in some:
        try:
            running.check_start()
        except NotNow as error:
            late.append(error)
    if late:
        raise late[0]


def _outcomes(taking_part: Sequence[Running], results: Any, bounds: Bounds) -> Outcomes:
    """A result or an exception for each job, in the order of the payloads."""
    if results is None:
        results = [None] * len(taking_part)
    is_list = isinstance(results, list | tuple)
    if not is_list or len(results) != len(taking_part):
        what = f"{len(results)} items" if is_list else type(results).__name__
        wrong = Refused(
            "result_unstorable",
            f"a batch handler returns a list with a result for each job, or None: "
            f"{taking_part[0].name} got {len(taking_part)} jobs and returned {what}",
        )
        return dict.fromkeys(taking_part, wrong)
    return {
        running: ended(running, result, bounds)
        if isinstance(result, BaseException)
        else stored(running, result, bounds)
        for running, result in zip(taking_part, results, strict=True)
    }
