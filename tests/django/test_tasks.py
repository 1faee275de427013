"""jobq as a backend of Django's tasks, and the judge's fairness."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone

import jobq
from jobq import backends
from jobq._retry import Fixed
from jobq.contrib.django import DjangoQueue, TasksBackend
from jobq.contrib.django import _task_api as api
from jobq.contrib.django._task_running import handler_of
from jobq.contrib.django._worker import worker_queue
from jobq.testing import drain
from tests.django import settings as project
from tests.django.shop import tasks
from tests.django.task_behaviours import BEHAVIOURS, Bench, heard

BY_DATABASE = pytest.mark.parametrize("alias", ["default"], indirect=True)


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    tasks.seen.clear()
    yield
    tasks.seen.clear()


@pytest.mark.parametrize("name", BEHAVIOURS)
@BY_DATABASE
def test_jobq_does_what_django_documents(name: str, queue: DjangoQueue) -> None:
    BEHAVIOURS[name](Bench("default", partial(drain, queue)))


@pytest.mark.parametrize(
    "name", ["success_is_told_with_value_and_times", "run_after_is_waited_for"]
)
def test_on_either_database(name: str, queue: DjangoQueue) -> None:
    BEHAVIOURS[name](Bench("default", partial(drain, queue)))


def work_off_database_backend() -> None:
    from django_tasks_db.management.commands.db_worker import Worker

    Worker(
        queue_names=["*"],
        excluded_queue_names=[],
        interval=0.01,
        batch=True,
        backend_name="database",
        startup_delay=False,
        max_tasks=None,
        worker_id="judged",
    ).run()


NEVER_RUNS = "it only remembers what was enqueued"
RUNS_AT_ONCE = "it runs a task while it is enqueued"
NO_RESULTS = "it keeps no results"
NO_DEFER = "it knows no run_after"
LOOSE = "it converts or keeps what JSON has not"
MISSES = {
    "dummy": {
        **dict.fromkeys(
            (
                "a_failure_does_not_keep_others_from_running",
                "a_result_is_refreshed_in_place",
                "a_task_enqueued_in_a_transaction_commits_with_it",
                "a_task_has_its_context",
                "a_task_is_tried_once_unless_it_says_otherwise",
                "an_exception_is_a_failure_with_class_and_traceback",
                "any_queue_of_the_backend_is_served",
                "arguments_come_as_json_returns_them",
                "coroutines_run_too",
                "djangos_logger_shows_a_failure_with_its_exception",
                "exceptions_of_all_kinds_are_named",
                "larger_priorities_go_first_then_older_tasks",
                "nothing_runs_before_the_work_is_done",
                "results_are_json_after_all",
                "return_values_come_as_json_returns_them",
                "return_values_that_json_would_change_fail",
                "run_after_is_waited_for",
                "signals_come_once_each_with_the_backend_as_sender",
                "success_is_told_with_value_and_times",
                "the_last_signal_of_a_failure_has_the_error",
                "times_are_in_djangos_time_zone_support",
                "unstorable_return_values_fail_with_a_type_error",
            ),
            NEVER_RUNS,
        ),
        "it_says_that_it_can_do_everything": "no support for results of other processes",
        "arguments_that_json_would_change_are_refused_at_once": LOOSE,
    },
    "immediate": {
        "a_read_result_knows_its_task_as_it_was_enqueued": NO_DEFER,
        "a_result_is_refreshed_in_place": RUNS_AT_ONCE,
        "a_task_enqueued_in_a_transaction_vanishes_with_it": RUNS_AT_ONCE,
        "arguments_that_json_would_change_are_refused_at_once": LOOSE,
        "asynchronous_code_enqueues_and_reads": NO_RESULTS,
        "enqueueing_returns_a_ready_result": RUNS_AT_ONCE,
        "it_says_that_it_can_do_everything": NO_DEFER,
        "larger_priorities_go_first_then_older_tasks": RUNS_AT_ONCE,
        "nothing_runs_before_the_work_is_done": RUNS_AT_ONCE,
        "return_values_that_json_would_change_fail": LOOSE,
        "run_after_is_waited_for": NO_DEFER,
        "the_result_of_another_task_is_a_mismatch": NO_RESULTS,
        "unknown_results_do_not_exist": NO_RESULTS,
    },
    "database": {
        "arguments_that_json_would_change_are_refused_at_once": LOOSE,
        "return_values_come_as_json_returns_them": "bytes in a return value fail the task",
        "signals_come_once_each_with_the_backend_as_sender": "the sender is an instance",
    },
}


@pytest.mark.parametrize("other", MISSES)
@BY_DATABASE
def test_the_judge_is_fair(other: str, alias: str) -> None:
    """Other backends pass it, but for what is known of them."""
    work = work_off_database_backend if other == "database" else lambda: None
    missed = set()
    for name, judge in BEHAVIOURS.items():
        tasks.seen.clear()
        try:
            judge(Bench(other, work))
        except Exception:  # noqa: BLE001  a miss may show in any way
            missed.add(name)
        call_command("flush", database="default", interactive=False, verbosity=0)
    assert missed == MISSES[other].keys()


# --- beyond what all backends can be asked --------------------------------------------------------


def configured(**policies: Any) -> Any:
    """TASKS with policies of tasks, by their names in the module."""
    tasks_by_path = {f"{tasks.__name__}.{name}": policy for name, policy in policies.items()}
    backend = {"BACKEND": project.JOBQ_TASKS, "OPTIONS": {"tasks": tasks_by_path}}
    return override_settings(TASKS={**project.TASKS, "default": backend})


def made(function: Any, **options: Any) -> Any:
    """A task that a module has under the function's name."""
    usual = {"priority": 0, "backend": "default", "queue_name": "default", "run_after": None}
    return api.task_backends["default"].task_class(func=function, **usual, **options)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with configured(often={"max_attempts": 3, "backoff": 0}):
        task = made(tasks.often)
        monkeypatch.setattr(tasks, "often", task)
        yield task


def test_a_policy_in_the_settings_retries(queue: DjangoQueue, often: Any) -> None:
    result = often.enqueue(7)
    drain(queue)
    result.refresh()
    assert (str(result.status), result.return_value, result.attempts) == ("SUCCESSFUL", 7, 3)
    assert [error.exception_class for error in result.errors] == [tasks.Trouble] * 2
    assert "attempt 1" in result.errors[0].traceback
    assert result.started_at < result.last_attempted_at


def test_a_failed_attempt_that_is_not_the_last_is_ready_again(
    queue: DjangoQueue, often: Any
) -> None:
    result = often.enqueue(7)
    drain(queue, max_jobs=1)
    result.refresh()
    assert (str(result.status), result.attempts, len(result.errors)) == ("READY", 1, 1)
    assert result.finished_at is None


def test_only_the_last_attempt_finishes_the_task(queue: DjangoQueue, often: Any) -> None:
    with heard("task_started", "task_finished") as told:
        often.enqueue(7)
        drain(queue)
    assert [name for name, *_ in told] == ["task_started"] * 3 + ["task_finished"]
    assert len(told[-1][2].errors) == 2


def test_a_decorator_takes_a_policy(queue: DjangoQueue) -> None:
    task = made(tasks.plain, max_attempts=5, backoff=30, timeout=60)
    assert task.using(priority=3).max_attempts == 5
    policy = task.get_backend().policy(task)
    assert (policy.retry.max_attempts, policy.retry.backoff) == (5, Fixed(30))
    assert queue.get(task.enqueue().id).max_attempts == 5
    assert queue.get(task.enqueue().id).timeout == 60
    with pytest.raises(api.InvalidTask, match="max_attempts"):
        made(tasks.plain, max_attempts=0)


def test_a_task_is_pickled_where_django_pickles_tasks(databases: None) -> None:
    task = tasks.add.using(priority=5)
    if hasattr(api.Task, "_reconstruct"):  # since Django 6.1
        assert pickle.loads(pickle.dumps(task)) == task
    else:
        with pytest.raises(pickle.PicklingError):
            pickle.dumps(task)


def test_a_tasks_limits_hold(queue: DjangoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [jobq.RateLimit("mails", 1, per=3600)]
    with configured(note={"limits": limits}):
        for n in range(3):
            tasks.note.enqueue(n)
        asyncio.run(jobq.Worker(worker_queue(queue)).run_once())
    assert tasks.seen == [0]
    assert [limit.key for limit in queue.limits()] == ["mails"]


def test_a_delay_is_a_run_after(queue: DjangoQueue) -> None:
    before = timezone.now()
    result = tasks.note.using(run_after=timedelta(hours=1)).enqueue(1)
    assert queue.get(result.id).run_at >= before + timedelta(hours=1)


def test_backends_on_one_table_keep_to_their_own(queue: DjangoQueue) -> None:
    first = tasks.note.enqueue("first")
    second = tasks.note.using(backend="second").enqueue("second")
    with pytest.raises(api.TaskResultDoesNotExist):
        api.task_backends["default"].get_result(second.id)
    asyncio.run(jobq.Worker(worker_queue(queue, "second")).run_once())
    assert tasks.seen == ["second"]
    first.refresh()
    second.refresh()
    assert (str(first.status), str(second.status)) == ("READY", "SUCCESSFUL")


def test_a_worker_of_one_backend_leaves_other_jobs_alone(queue: DjangoQueue) -> None:
    job = queue.enqueue("shop.fail", None)
    asyncio.run(jobq.Worker(worker_queue(queue, "second")).run_once())
    assert queue.get(job.id).status == "pending"
    with pytest.raises(jobq.ConfigurationError, match="TASKS has no backend"):
        worker_queue(queue, "immediate")


def test_a_worker_finds_a_task_by_its_path_when_it_meets_it(queue: DjangoQueue) -> None:
    jobs = [tasks.add.enqueue(n) for n in range(3)]
    slow = [tasks.add_async.enqueue(n) for n in range(3)]
    assert asyncio.run(jobq.Worker(worker_queue(queue)).run_once()) == 6
    for n, result in enumerate(jobs + slow):
        result.refresh()
        assert result.return_value == n % 3 + 1


@pytest.mark.parametrize(
    "path,kind",
    [
        ("no.such.module.task", ImportError),
        ("tests.django.shop.tasks.no_such_task", ImportError),
        ("tests.django.shop.tasks.plain", ImportError),
        ("os.getcwd", ImportError),
    ],
)
@BY_DATABASE
def test_what_is_no_task_is_never_called_and_the_worker_lives_on(
    queue: DjangoQueue, path: str, kind: type[Exception]
) -> None:
    claimable = tasks.note.enqueue("after")
    store(queue, path)
    drain(queue)
    failed = queue.get(job_of(queue, path))
    assert (failed.status, tasks.seen) == ("failed", ["after"])
    assert kind.__name__ in (failed.error or "") or "No module" in (failed.error or "")
    claimable.refresh()
    assert str(claimable.status) == "SUCCESSFUL"


def store(queue: DjangoQueue, path: str) -> None:
    """As a process with other code would have."""

    class Elsewhere:
        func = staticmethod(tasks.plain)
        module_path = path
        takes_context = False

    handler = handler_of(api.task_backends["default"], Elsewhere)
    queue.enqueue(handler, {"args": [], "kwargs": {}})


def job_of(queue: DjangoQueue, path: str) -> str:
    return queue.list(type=f"task:default:{path}", limit=1).jobs[0].id


def test_a_result_whose_task_is_gone_does_not_exist(queue: DjangoQueue) -> None:
    store(queue, "no.such.module.task")
    with pytest.raises(api.TaskResultDoesNotExist, match="no"):
        api.task_backends["default"].get_result(job_of(queue, "no.such.module.task"))


def test_a_cancelled_task_has_failed_and_says_why(queue: DjangoQueue) -> None:
    result = tasks.note.enqueue(1)
    queue.cancel(result.id)
    result.refresh()
    assert (str(result.status), result.is_finished) == ("FAILED", True)


def test_a_worker_that_vanished_leaves_no_task_running(queue: DjangoQueue) -> None:
    result = tasks.note.enqueue(1)
    store = queue._config.backend.store()
    handler = "task:default:tests.django.shop.tasks.note"
    second = 1_000_000
    store.run(
        backends.ops.claim,
        queues=["default"],
        types=[handler],
        slots=1,
        worker="gone",
        lease=0,
        margin=second,
    )
    result.refresh()
    assert (str(result.status), result.worker_ids) == ("RUNNING", ["gone"])
    drain(queue)
    result.refresh()
    assert (str(result.status), tasks.seen) == ("FAILED", [])
    assert issubclass(result.errors[0].exception_class, jobq.JobqError)


@pytest.mark.parametrize(
    "options,said",
    [
        ({"colour": 1}, "unknown keys"),
        ({"tasks": 5}, "must be {path"),
        ({"tasks": {"a.b": {"speed": 1}}}, "must be some of"),
        ({"tasks": {"a.b": {"max_attempts": 0}}}, "max_attempts"),
        ({"tasks": {"a.b": {"backoff": "soon"}}}, "backoff"),
    ],
)
def test_the_checks_tell_of_bad_options(options: dict[str, Any], said: str) -> None:
    backend = TasksBackend("default", {"OPTIONS": options})
    [error] = backend.check()
    assert (error.id, said in error.msg) == ("jobq.E003", True)
    assert TasksBackend("default", {}).check() == []


def test_a_backend_may_have_a_database_of_its_own(queue: DjangoQueue) -> None:
    other = {"BACKEND": project.JOBQ_TASKS, "OPTIONS": {"database": "other"}}
    with override_settings(TASKS={"default": other}):
        result = tasks.add.enqueue(1)
        assert queue.list().jobs == ()
        assert queue.using("other").get(result.id).queue == "default"
