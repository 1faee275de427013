"""What Django documents of a task backend that runs tasks elsewhere, one behaviour a function.

A behaviour takes a `Bench`: a backend by its alias, and a way to have it do its work. It fails by
an exception; nothing in here knows which backend it is about.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from asgiref.sync import async_to_sync
from attrs import frozen
from django.db import transaction
from django.utils import timezone

from jobq.contrib.django import _task_api as api
from tests.django.shop import tasks

BEHAVIOURS: dict[str, Callable[[Any], None]] = {}
READY, RUNNING, FAILED, SUCCESSFUL = (
    api.TaskResultStatus[name] for name in ("READY", "RUNNING", "FAILED", "SUCCESSFUL")
)


@frozen
class Bench:
    """A backend to be judged."""

    alias: str
    work: Callable[[], object]
    """Have it run what is due."""

    def task(self, task: Any, **options: Any) -> Any:
        return task.using(backend=self.alias, **options)

    @property
    def backend(self) -> Any:
        return api.task_backends[self.alias]

    def run(self, task: Any, *args: Any, **kwargs: Any) -> Any:
        """The result of a task that has run."""
        result = self.task(task).enqueue(*args, **kwargs)
        self.work()
        return self.read(result)

    def read(self, result: Any) -> Any:
        """The result as it is now; where none can be read, the one that was returned."""
        return self.backend.get_result(result.id) if self.backend.supports_get_result else result


def behaviour(function: Callable[[Bench], None]) -> Callable[[Bench], None]:
    BEHAVIOURS[function.__name__] = function
    return function


@contextmanager
def raises(kind: Any) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind} was not raised")


@contextmanager
def heard(*names: str) -> Iterator[list[tuple[str, Any, Any, str]]]:
    """The signals sent: name, sender, result, and its status at that time."""
    told: list[tuple[str, Any, Any, str]] = []

    def receiver(name: str) -> Callable[..., None]:
        def receive(sender: Any, task_result: Any, **_: Any) -> None:
            told.append((name, sender, task_result, str(task_result.status)))

        return receive

    receivers = {name: receiver(name) for name in names}
    for name, receive in receivers.items():
        getattr(api.signals, name).connect(receive, weak=False)
    try:
        yield told
    finally:
        for name, receive in receivers.items():
            getattr(api.signals, name).disconnect(receive)


# --- enqueue ------------------------------------------------------------------------------------


@behaviour
def enqueueing_returns_a_ready_result(bench: Bench) -> None:
    before = timezone.now()
    result = bench.task(tasks.note).enqueue("x")
    assert result.status == READY
    assert not result.is_finished
    assert before - timedelta(seconds=5) <= result.enqueued_at
    assert (result.started_at, result.finished_at, result.last_attempted_at) == (None, None, None)
    assert (result.args, result.kwargs, result.backend) == (["x"], {}, bench.alias)
    assert (result.errors, result.worker_ids, result.attempts) == ([], [], 0)
    assert isinstance(result.id, str)
    assert 0 < len(result.id) < 64
    with raises(ValueError):
        _ = result.return_value


@behaviour
def nothing_runs_before_the_work_is_done(bench: Bench) -> None:
    bench.task(tasks.note).enqueue("later")
    assert tasks.seen == []
    bench.work()
    assert tasks.seen == ["later"]


@behaviour
def it_says_that_it_can_do_everything(bench: Bench) -> None:
    backend = bench.backend
    flags = ("supports_defer", "supports_async_task", "supports_get_result", "supports_priority")
    assert all(getattr(backend, flag) for flag in flags)


@behaviour
def asynchronous_code_enqueues_and_reads(bench: Bench) -> None:
    async def view() -> Any:
        task = bench.task(tasks.add)
        result = await task.aenqueue(2, b=3)
        read = await task.aget_result(result.id)
        await read.arefresh()
        return read

    assert async_to_sync(view)().kwargs == {"b": 3}


@behaviour
def arguments_that_are_no_json_are_refused_at_once(bench: Bench) -> None:
    for bad in ({1, 2}, object(), timezone.now()):
        with raises(TypeError):
            bench.task(tasks.note).enqueue(bad)
    bench.work()
    assert tasks.seen == []


@behaviour
def arguments_that_json_would_change_are_refused_at_once(bench: Bench) -> None:
    for bad in ({1: 2}, float("nan"), 2**70):
        with raises((TypeError, ValueError)):
            bench.task(tasks.note).enqueue(bad)


@behaviour
def arguments_come_as_json_returns_them(bench: Bench) -> None:
    result = bench.run(tasks.echo, (1, (2, 3)), b"bytes", name={"deep": [None, True, 1.5, "ü"]})
    normal = [[1, [2, 3]], "bytes"]
    kwargs = {"name": {"deep": [None, True, 1.5, "ü"]}}
    assert (result.args, result.kwargs) == (normal, kwargs)
    assert result.return_value == [normal, kwargs]


@behaviour
def a_task_is_checked_again_when_it_is_enqueued(bench: Bench) -> None:
    task = bench.task(tasks.urgent)
    object.__setattr__(task, "queue_name", "no such queue")
    with raises(api.InvalidTask):
        task.enqueue(1)


@behaviour
def a_naive_run_after_is_refused(bench: Bench) -> None:
    naive = timezone.make_naive(timezone.now())
    with raises(api.InvalidTask):
        bench.task(tasks.note, run_after=naive)


@behaviour
def priorities_out_of_bounds_are_refused(bench: Bench) -> None:
    for priority in (-100, 100):
        bench.task(tasks.note, priority=priority)
    for priority in (-101, 101, 1.5):
        with raises(api.InvalidTask):
            bench.task(tasks.note, priority=priority)


@behaviour
def a_task_enqueued_in_a_transaction_vanishes_with_it(bench: Bench) -> None:
    with transaction.atomic():
        bench.task(tasks.note).enqueue("never")
        transaction.set_rollback(True)
    bench.work()
    assert tasks.seen == []


@behaviour
def a_task_enqueued_in_a_transaction_commits_with_it(bench: Bench) -> None:
    with transaction.atomic():
        result = bench.task(tasks.note).enqueue("now")
    bench.work()
    assert tasks.seen == ["now"]
    assert bench.read(result).status == SUCCESSFUL


# --- results ------------------------------------------------------------------------------------


@behaviour
def unknown_results_do_not_exist(bench: Bench) -> None:
    for id in ("01a2027e-0fa2-7691-92a9-ddbc9ff0ff8c", "no id at all", "", "a" * 32):
        with raises(api.TaskResultDoesNotExist):
            bench.backend.get_result(id)
        with raises(api.TaskResultDoesNotExist):
            bench.task(tasks.add).get_result(id)


@behaviour
def the_result_of_another_task_is_a_mismatch(bench: Bench) -> None:
    result = bench.task(tasks.add).enqueue(1)
    assert bench.task(tasks.add).get_result(result.id).id == result.id
    mismatch = api.exceptions.TaskResultMismatch
    with raises(mismatch):
        bench.task(tasks.note).get_result(result.id)


@behaviour
def a_result_is_refreshed_in_place(bench: Bench) -> None:
    result = bench.task(tasks.add).enqueue(1, b=2)
    bench.work()
    assert result.status == READY
    result.refresh()
    assert (result.status, result.return_value) == (SUCCESSFUL, 3)


@behaviour
def a_read_result_knows_its_task_as_it_was_enqueued(bench: Bench) -> None:
    soon = timezone.now() + timedelta(hours=1)
    task = bench.task(tasks.urgent, priority=-7, run_after=soon)
    read = bench.backend.get_result(task.enqueue(1).id)
    assert read.task == task
    assert (read.task.priority, read.task.queue_name, read.task.run_after) == (-7, "fast", soon)


@behaviour
def success_is_told_with_value_and_times(bench: Bench) -> None:
    result = bench.run(tasks.add, 20, b=22)
    assert (result.status, result.is_finished) == (SUCCESSFUL, True)
    assert result.return_value == 42
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.last_attempted_at == result.started_at
    assert (result.errors, result.attempts) == ([], 1)
    assert len(set(result.worker_ids)) == 1


@behaviour
def times_are_in_djangos_time_zone_support(bench: Bench) -> None:
    result = bench.run(tasks.add, 1)
    assert all(timezone.is_aware(moment) for moment in (result.enqueued_at, result.finished_at))


@behaviour
def coroutines_run_too(bench: Bench) -> None:
    assert bench.run(tasks.add_async, 1, b=2).return_value == 3


@behaviour
def return_values_come_as_json_returns_them(bench: Bench) -> None:
    assert bench.run(tasks.tuples).return_value == {"pair": [1, "two"]}


@behaviour
def a_task_has_its_context(bench: Bench) -> None:
    assert bench.run(tasks.with_context, 5).return_value == [1, 1, "RUNNING", 1, 5]
    result = bench.run(tasks.with_context_async)
    assert result.return_value == [1, result.id]


# --- failures -----------------------------------------------------------------------------------


@behaviour
def an_exception_is_a_failure_with_class_and_traceback(bench: Bench) -> None:
    result = bench.run(tasks.fail)
    assert (result.status, result.is_finished) == (FAILED, True)
    [error] = result.errors
    assert error.exception_class is tasks.Trouble
    assert "Traceback (most recent call last)" in error.traceback
    assert "KeyError: 'first'" in error.traceback
    assert "in\ntwo lines" in error.traceback
    with raises(ValueError):
        _ = result.return_value
    assert result.finished_at >= result.started_at


@behaviour
def exceptions_of_all_kinds_are_named(bench: Bench) -> None:
    [error] = bench.run(tasks.fail_within).errors
    assert error.exception_class_path == f"{tasks.__name__}.Trouble.Inner"
    [error] = bench.run(tasks.fail_async).errors
    assert error.exception_class is ValueError
    [error] = bench.run(tasks.leave).errors
    assert error.exception_class is SystemExit


@behaviour
def unstorable_return_values_fail_with_a_type_error(bench: Bench) -> None:
    result = bench.run(tasks.unstorable)
    assert result.status == FAILED
    assert issubclass(result.errors[0].exception_class, TypeError)


@behaviour
def return_values_that_json_would_change_fail(bench: Bench) -> None:
    assert bench.run(tasks.strange).status == FAILED


@behaviour
def a_failure_does_not_keep_others_from_running(bench: Bench) -> None:
    bench.task(tasks.fail).enqueue()
    bench.task(tasks.note).enqueue("after")
    bench.work()
    assert tasks.seen == ["after"]


@behaviour
def a_task_is_tried_once_unless_it_says_otherwise(bench: Bench) -> None:
    result = bench.run(tasks.refused)
    bench.work()
    assert (result.status, tasks.seen) == (FAILED, ["tried"])


# --- order --------------------------------------------------------------------------------------


@behaviour
def larger_priorities_go_first_then_older_tasks(bench: Bench) -> None:
    for priority, name in (
        (-100, "last"),
        (0, "third"),
        (100, "first"),
        (0, "fourth"),
        (1, "second"),
    ):
        bench.task(tasks.note, priority=priority).enqueue(name)
    bench.work()
    assert tasks.seen == ["first", "second", "third", "fourth", "last"]


@behaviour
def run_after_is_waited_for(bench: Bench) -> None:
    later = timezone.now() + timedelta(hours=1)
    past = timezone.now() - timedelta(hours=1)
    waiting = bench.task(tasks.note, run_after=later).enqueue("later")
    bench.task(tasks.note, run_after=past).enqueue("now")
    bench.work()
    assert tasks.seen == ["now"]
    waiting.refresh()
    assert waiting.status == READY


@behaviour
def any_queue_of_the_backend_is_served(bench: Bench) -> None:
    bench.task(tasks.urgent).enqueue("fast")
    bench.task(tasks.note).enqueue("default")
    bench.work()
    assert sorted(tasks.seen) == ["default", "fast"]


# --- signals and logs ---------------------------------------------------------------------------


@behaviour
def signals_come_once_each_with_the_backend_as_sender(bench: Bench) -> None:
    names = ("task_enqueued", "task_started", "task_finished")
    with heard(*names) as told:
        result = bench.run(tasks.add, 1)
    assert [name for name, *_ in told] == [*names]
    assert all(sender is type(bench.backend) for _, sender, *_ in told)
    assert all(one.id == result.id for _, _, one, _ in told)
    assert [status for *_, status in told] == ["READY", "RUNNING", "SUCCESSFUL"]
    assert told[-1][2].return_value == 2


@behaviour
def the_last_signal_of_a_failure_has_the_error(bench: Bench) -> None:
    with heard("task_finished") as told:
        bench.run(tasks.fail)
    [(_, _, result, status)] = told
    assert status == "FAILED"
    assert result.errors[-1].exception_class is tasks.Trouble


@behaviour
def djangos_logger_shows_a_failure_with_its_exception(bench: Bench) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger(api.signals.__name__.partition(".signals")[0])
    logger.addHandler(handler)
    try:
        bench.run(tasks.fail)
    finally:
        logger.removeHandler(handler)
    [record] = [record for record in records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is tasks.Trouble


@behaviour
def results_are_json_after_all(bench: Bench) -> None:
    result = bench.run(tasks.echo, {"a": 1})
    assert json.loads(json.dumps(result.return_value)) == result.return_value
