"""The project's queue, on Django's own connections."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext

import jobq
from jobq import webhooks
from jobq._wakeup import listen
from jobq.contrib.django import DjangoQueue, _database
from jobq.contrib.django import queue as project_queue
from jobq.testing import adrain, assert_enqueued, drain
from tests.django.shop.models import Order
from tests.endpoints import endpoint


@contextmanager
def rolled_back(alias: str) -> Iterator[None]:
    with transaction.atomic(using=alias):
        yield
        transaction.set_rollback(True, using=alias)


def test_a_job_is_stored_with_no_setting_at_all(clean: None) -> None:
    job = project_queue.enqueue("shop.total", {"using": "default"}, priority="urgent", owner="ada")
    assert project_queue.get(job.id) == job
    assert (job.declared, job.priority, project_queue.alias) == (True, 100, "default")


def test_a_job_commits_with_the_transaction_that_it_was_enqueued_in(
    queue: DjangoQueue, alias: str
) -> None:
    with transaction.atomic(using=alias):
        Order.objects.using(alias).create(total=1)
        job = queue.enqueue("shop.total", {"using": alias})
        assert queue.get(job.id).status == "pending"
    assert queue.get(job.id).status == "pending"


def test_a_job_vanishes_with_a_transaction_that_is_rolled_back(
    queue: DjangoQueue, alias: str
) -> None:
    with rolled_back(alias):
        queue.enqueue("shop.total", {"using": alias})
        queue.enqueue_many([("shop.total", {"using": alias})] * 3)
    assert queue.list().jobs == ()


def test_every_verb_belongs_to_the_transaction(queue: DjangoQueue, alias: str) -> None:
    job = queue.enqueue("shop.fail", None)
    gone = queue.enqueue("shop.fail", None)
    with rolled_back(alias):
        queue.cancel(job.id)
        queue.retry(job.id)
        queue.reschedule(job.id, delay=60)
        queue.set_progress(job.id, 50)
        queue.cancel(gone.id)
        queue.delete(gone.id)
        queue.pause("default")
    assert queue.get(job.id) == job
    assert queue.get(gone.id) == gone
    assert not any(state.paused for state in queue.queues())


def test_an_error_of_a_verb_leaves_the_transaction_usable(queue: DjangoQueue, alias: str) -> None:
    first = queue.enqueue("shop.fail", None, unique_key="one")
    queue.cancel(first.id)
    with transaction.atomic(using=alias):
        again = queue.enqueue("shop.fail", None, unique_key="one")
        with pytest.raises(jobq.DuplicateJob):
            queue.retry(first.id)
        with pytest.raises(jobq.DuplicateJob):
            queue.enqueue("shop.fail", {"other": 1}, unique_key="one")
        assert queue.enqueue("shop.fail", None, unique_key="one").id == again.id
        with pytest.raises(jobq.IllegalMove):
            queue.retry(again.id)


def test_many_jobs_are_stored_with_one_instant(queue: DjangoQueue) -> None:
    outcomes = queue.enqueue_many(("shop.fail", n) for n in range(2500))
    assert len({outcome.job.created_at for outcome in outcomes if outcome.job}) == 1
    assert queue.get(outcomes[-1].job) == outcomes[-1].job
    assert queue.counts()["pending"] == 2500


def test_using_names_another_database(queue: DjangoQueue, alias: str) -> None:
    job = queue.enqueue("shop.total", {"using": "other"}, using="other")
    assert queue.list().jobs == ()
    assert queue.using("other").get(job.id) == job
    assert queue.using(alias) is queue


def test_a_plain_queue_takes_djangos_connection_too(databases: None, alias: str) -> None:
    plain = jobq.Queue(_database.url(alias))
    for one in (connections[alias], *([connection] if alias == "default" else [])):
        with rolled_back(alias):
            plain.enqueue("shop.fail", {"n": 1}, connection=one, unique_key="one")
        with transaction.atomic(using=alias):
            job = plain.enqueue("shop.fail", {"percent": "100%s %(x)s"}, connection=one)
    assert [one.id for one in plain.list(limit=1).jobs] == [job.id]
    wrong = "postgresql" if alias == "default" else "default"
    with pytest.raises(jobq.OptionError, match="lives in"):
        plain.enqueue("shop.fail", 1, connection=connections[wrong])
    plain.close()


def test_djangos_query_log_shows_jobqs_statements(queue: DjangoQueue, alias: str) -> None:
    with CaptureQueriesContext(connections[alias]) as captured:
        queue.enqueue("shop.fail", {"a": "%s"})
    [query] = captured.captured_queries
    assert "jobq_job" in query["sql"]


def test_asynchronous_code_awaits_the_same_verbs(queue: DjangoQueue, alias: str) -> None:
    async def view() -> tuple[Any, Any]:
        job = await queue.aenqueue("shop.total", {"using": alias})
        await queue.aio.enqueue_many([("shop.total", {"using": alias})])
        await queue.aio.cancel(job.id)
        finished = await queue.aio.wait(job.id, 5)
        return finished, await queue.aio.counts()

    finished, counts = async_to_sync(view)()
    assert finished.status == "cancelled"
    assert counts["pending"] == 1


def test_a_synchronous_verb_in_an_event_loop_says_what_to_await(queue: DjangoQueue) -> None:
    async def view() -> None:
        queue.enqueue("shop.fail", None)

    with pytest.raises(SynchronousOnlyOperation, match=r"await queue.aenqueue"):
        asyncio.run(view())


def test_workers_of_this_process_are_woken_when_the_transaction_commits(
    queue: DjangoQueue, alias: str
) -> None:
    woken: list[bool] = []
    committed = False
    stop = listen(_database.identity(alias), lambda: woken.append(committed))
    with transaction.atomic(using=alias):
        queue.enqueue("shop.fail", None)
        committed = True
    stop()
    assert woken[-1] is True


def test_other_processes_are_notified_when_the_transaction_commits(clean: None) -> None:
    import psycopg

    queue = project_queue.using("postgresql")
    with psycopg.connect(_database.url("postgresql"), autocommit=True) as listener:
        listener.execute("LISTEN jobq")
        with transaction.atomic(using="postgresql"):
            queue.enqueue("shop.fail", None, queue="mails")
            assert list(listener.notifies(timeout=0)) == []
        assert [note.payload for note in listener.notifies(timeout=10, stop_after=1)] == ["mails"]


def test_a_handler_completes_its_job_in_djangos_transaction(queue: DjangoQueue, alias: str) -> None:
    done = queue.enqueue("shop.deliver", {"using": alias, "total": 5})
    undone = queue.enqueue(
        "shop.deliver", {"using": alias, "total": 7, "fails": True}, max_attempts=1
    )
    assert drain(queue) == 2
    assert queue.get(done.id).result == {"delivered": True}
    assert queue.get(undone.id).error == "RuntimeError: after the delivery"
    assert [order.total for order in Order.objects.using(alias).all()] == [5]


def test_without_autocommit_the_project_ends_the_transaction(
    queue: DjangoQueue, alias: str
) -> None:
    job = queue.enqueue("shop.fail", None)
    transaction.set_autocommit(False, using=alias)
    try:
        queue.cancel(job.id)
        queue.enqueue_many([("shop.fail", None)] * 2)
        transaction.rollback(using=alias)
        assert [one.status for one in queue.list().jobs] == ["pending"]
        queue.cancel(job.id)
        transaction.commit(using=alias)
    finally:
        transaction.set_autocommit(True, using=alias)
    assert queue.get(job.id).status == "cancelled"


def test_an_outcome_is_not_written_without_its_history(clean: None) -> None:
    """On SQLite these are two statements."""
    done, undone = (project_queue.enqueue("shop.total", {"using": "default"}) for _ in range(2))
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER full BEFORE INSERT ON jobq_attempt WHEN new.job_id = '{undone.id}' "
            "BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
        try:
            drain(project_queue)
        finally:
            cursor.execute("DROP TRIGGER full")
    assert [attempt.outcome for attempt in project_queue.history(done.id)] == ["completed"]
    assert project_queue.get(undone.id).status == "processing"


def test_the_settings_are_read_at_the_first_use(clean: None) -> None:
    strict = override_settings(JOBQ={"STRICT_TYPES": True, "KEEP": 60})
    with strict, pytest.raises(jobq.UnknownType):
        project_queue.enqueue("no.such.type", None)
    assert project_queue.enqueue("no.such.type", None).declared is False


def test_the_error_for_a_locked_sqlite_file_says_what_the_database_lacks(
    clean: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"timeout": 0.05}
    other = connections["other"]
    other.close()
    monkeypatch.setitem(other.settings_dict, "OPTIONS", options)
    rival = sqlite3.connect(other.settings_dict["NAME"], isolation_level=None)
    try:
        rival.execute("BEGIN IMMEDIATE")
        with pytest.raises(jobq.BackendUnavailable, match='"transaction_mode": "IMMEDIATE"'):
            project_queue.enqueue("shop.fail", None, using="other")
    finally:
        rival.close()
        other.close()


def test_verbs_of_several_statements_take_sqlites_lock_at_once(
    clean: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = connections["other"]
    other.close()
    monkeypatch.setitem(other.settings_dict, "OPTIONS", {})
    queue = project_queue.using("other")
    job = queue.enqueue("shop.fail", None)
    queue.cancel(job.id)
    with CaptureQueriesContext(other) as captured:
        queue.retry(job.id)
    other.close()
    assert captured.captured_queries[0]["sql"] == "BEGIN IMMEDIATE"
    assert other.transaction_mode is None


def test_missing_tables_are_explained_in_djangos_words(
    clean: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    other = connections["other"]
    other.close()
    monkeypatch.setitem(other.settings_dict, "NAME", str(tmp_path / "new.sqlite3"))
    with pytest.raises(jobq.SchemaError, match=r"run `manage.py migrate --database other`"):
        project_queue.enqueue("shop.fail", None, using="other")
    other.close()


@pytest.mark.usefixtures("databases")
class InATestCase(TestCase):
    databases = ("default", "postgresql")

    def test_a_drain_sees_what_the_test_has_written_and_the_other_way_round(self) -> None:
        for alias in self.databases:
            with self.subTest(alias), override_settings(JOBQ={"DATABASE": alias}):
                Order.objects.using(alias).create(total=3)
                jobs = [
                    project_queue.enqueue(type, {"using": alias})
                    for type in ("shop.total", "shop.total_async", "shop.fail")
                ]
                assert_enqueued(project_queue, "shop.total", {"using": alias})
                assert drain(project_queue) == 3
                done, also_done, failed = project_queue.get_many(jobs)
                assert (done.result, also_done.result) == (3, 3)
                assert failed.status == "failed"
                assert len(project_queue.history(failed.id)) == 1

    def test_handlers_in_a_drain_spend_on_djangos_connection(self) -> None:
        for alias in self.databases:
            with self.subTest(alias), override_settings(JOBQ={"DATABASE": alias}):
                for type in ("shop.pay", "shop.pay_async"):
                    project_queue.enqueue(type, {"usd": "0.1"})
                assert drain(project_queue) == 2
                spent = {one.key: str(one.usd) for one in project_queue.spend()}
                assert spent == {"shop.pay": "0.100000", "shop.pay_async": "0.100000"}

    def test_handlers_in_a_drain_save_on_djangos_connection(self) -> None:
        for alias in self.databases:
            with (
                self.subTest(alias),
                TemporaryDirectory() as folder,
                override_settings(JOBQ={"DATABASE": alias, "ARTIFACTS": folder}),
            ):
                for type in ("shop.draw", "shop.draw_async", "shop.frame"):
                    project_queue.enqueue(type, {"text": type})
                assert drain(project_queue) == 3
                for job in project_queue.list(status="completed").jobs:
                    [saved] = project_queue.artifacts(job)
                    assert (saved.status, saved.sha256) == ("stored", job.result)

    async def test_handlers_spend_where_the_drain_is_awaited(self) -> None:
        job = await project_queue.aenqueue("shop.pay", {"usd": 3})
        assert await adrain(project_queue) == 1
        assert (await project_queue.aio.get(job.id)).result == "3.000000"

    async def test_an_asynchronous_test_awaits_the_drain(self) -> None:
        await Order.objects.acreate(total=4)
        job = await project_queue.aenqueue("shop.total_async", {"using": "default"})
        assert await adrain(project_queue) == 1
        assert (await project_queue.aio.get(job.id)).result == 4

    def test_enqueue_leaves_no_callback_where_nobody_waits(self) -> None:
        with self.captureOnCommitCallbacks() as callbacks:
            project_queue.enqueue("shop.fail", None)
        assert callbacks == []

    def test_each_test_begins_empty(self) -> None:
        assert project_queue.list().jobs == ()

    test_each_test_begins_empty_again = test_each_test_begins_empty


@pytest.mark.usefixtures("databases")
class InATransactionTestCase(TransactionTestCase):
    databases = ("default", "postgresql")

    def test_a_drain_runs_committed_jobs(self) -> None:
        for alias in self.databases:
            with self.subTest(alias), override_settings(JOBQ={"DATABASE": alias}):
                assert project_queue.list().jobs == ()
                job = project_queue.enqueue("shop.total", {"using": alias})
                assert drain(project_queue) == 1
                assert project_queue.get(job.id).result == 0

    test_no_job_is_left_for_the_next_test = test_a_drain_runs_committed_jobs


def test_each_thread_uses_its_own_connection(queue: DjangoQueue, alias: str) -> None:
    ids: list[str] = []

    def request() -> None:
        try:
            ids.append(queue.enqueue("shop.fail", None).id)
        finally:
            connections[alias].close()

    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(job.id for job in queue.list().jobs) == sorted(ids)
    assert len(ids) == 4


def test_a_database_in_memory_is_drained_and_no_workers_place(clean: None) -> None:
    memory = "file:jobs?mode=memory&cache=shared"
    other = connections["other"]
    other.close()
    before, other.settings_dict["NAME"] = other.settings_dict["NAME"], memory
    try:
        with override_settings(JOBQ={"DATABASE": "other"}):
            project_queue.migrate()
            job = project_queue.enqueue("shop.fail", None)
            assert drain(project_queue) == 1
            assert project_queue.get(job.id).status == "failed"
            with pytest.raises(jobq.ConfigurationError, match="in memory"):
                _database.url("other")
    finally:
        other.close()
        other.settings_dict["NAME"] = before


def test_the_webhooks_of_a_project_are_told(alias: str) -> None:
    with endpoint() as shop:
        secret = webhooks.new_secret()
        hook = jobq.Webhook(url=shop.url, secret=secret, allow=["127.0.0.1", "::1"])
        setting = {"DATABASE": alias, "WEBHOOKS": {"shop": hook}}
        with override_settings(JOBQ=setting):
            job = project_queue.enqueue("mail", None, webhook="shop")
            project_queue.cancel(job.id)
            drain(project_queue)
            assert [info.name for info in project_queue.webhooks()] == ["shop"]
    [(_, headers, body)] = shop.requests
    webhooks.verify(headers, body, secret)
    assert shop.events[0]["type"] == "job.cancelled"


def test_a_transaction_that_is_broken_already_is_told_of_by_django(
    queue: DjangoQueue, alias: str
) -> None:
    with transaction.atomic(using=alias):
        transaction.set_rollback(True, using=alias)
        with pytest.raises(transaction.TransactionManagementError) as raised:
            queue.enqueue("shop.total", {"using": alias})
    assert raised.value.__cause__ is not raised.value
