"""Observers, and log records that name their job."""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
from contextlib import contextmanager, nullcontext

import pytest

import jobq
from jobq.observe import Observers, current_job, name_jobs_in_log_records


class Broken(jobq.Observer):
    def job_progressed(self, job_id, type, progress, message):
        raise ZeroDivisionError("in an observer")


class Noting(jobq.Observer):
    def __init__(self):
        self.seen = []

    def job_progressed(self, job_id, type, progress, message):
        self.seen.append((job_id, type, progress, message))


@pytest.fixture
def in_a_job():
    name_jobs_in_log_records()
    token = current_job.set(("job-1", "image_edit"))
    yield
    current_job.reset(token)


def test_every_observer_is_told_in_order_and_one_that_raises_is_survived(caplog):
    first, second = Noting(), Noting()
    Observers([first, Broken(), second]).job_progressed("job-1", "t", 50, None)
    assert first.seen == second.seen == [("job-1", "t", 50, None)]
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "failed in job_progressed" in record.message
    assert record.exc_info[0] is ZeroDivisionError


def test_an_exception_that_ends_the_process_goes_through():
    class Ending(jobq.Observer):
        def jobs_changed(self, verb, job_ids):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observers([Ending()]).jobs_changed("cancel", [])


def test_without_observers_there_is_nothing_to_do():
    assert not Observers()
    assert Observers([jobq.Observer()])
    Observers().job_progressed("job-1", "t", 50, None)


def test_the_base_has_every_hook_and_does_nothing():
    hooks = {
        name: inspect.signature(function)
        for name, function in vars(jobq.Observer).items()
        if inspect.isfunction(function)
    }
    assert set(hooks) == {
        "attempted",
        "attempting",
        "database_called",
        "enqueuing",
        "exposition",
        "job_claimed",
        "job_enqueued",
        "job_moved",
        "job_progressed",
        "job_started",
        "jobs_changed",
        "lease_lost",
        "queue_changed",
    }
    for name, signature in hooks.items():
        arguments = [None] * (len(signature.parameters) - 1)
        answer = getattr(jobq.Observer(), name)(*arguments)
        assert isinstance(answer, nullcontext) == (name in ("attempting", "enqueuing"))
        assert isinstance(answer, nullcontext) or answer is None
        assert inspect.getdoc(getattr(jobq.Observer, name))


def test_records_made_in_a_job_name_it(in_a_job, caplog):
    logging.getLogger("app").warning("working on %s", "it")
    [record] = caplog.records
    assert (record.job_id, record.job_type) == ("job-1", "image_edit")


def test_records_made_elsewhere_name_no_job(caplog):
    name_jobs_in_log_records()
    logging.getLogger("app").warning("starting")
    [record] = caplog.records
    assert (record.job_id, record.job_type) == (None, None)


def test_a_record_may_name_another_job_by_extra(in_a_job, caplog):
    logging.getLogger("app").warning("look", extra={"job_id": "job-2", "job_type": "other"})
    [record] = caplog.records
    assert (record.job_id, record.job_type) == ("job-2", "other")
    assert logging.Formatter("%(job_id)s").format(record) == "job-2"


def test_a_formatter_can_show_the_job(in_a_job, caplog):
    logging.getLogger("app").warning("working")
    [record] = caplog.records
    percent = logging.Formatter("%(job_type)s %(job_id)s: %(message)s")
    braces = logging.Formatter("{job_type} {job_id}: {message}", style="{")
    assert percent.format(record) == braces.format(record) == "image_edit job-1: working"


def test_records_of_another_factory_keep_their_class(in_a_job, caplog):
    class Special(logging.LogRecord):
        special = True

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Special)
    try:
        name_jobs_in_log_records()
        logging.getLogger("app").warning("working")
    finally:
        logging.setLogRecordFactory(before)
    [record] = caplog.records
    assert isinstance(record, Special)
    assert (record.special, record.job_id) == (True, "job-1")


def test_the_factory_is_wrapped_once():
    name_jobs_in_log_records()
    factory = logging.getLogRecordFactory()
    name_jobs_in_log_records()
    assert logging.getLogRecordFactory() is factory


@pytest.mark.parametrize("send", [copy.copy, lambda record: pickle.loads(pickle.dumps(record))])
def test_a_record_that_is_sent_elsewhere_takes_its_job_along(in_a_job, caplog, send):
    """As logging's queue handlers do it, to another thread or process."""
    logging.getLogger("app").warning("working on %s", "it")
    [record] = caplog.records
    current_job.set(None)
    sent = send(record)
    assert (sent.job_id, sent.job_type, sent.getMessage()) == (
        "job-1",
        "image_edit",
        record.message,
    )
    assert isinstance(sent, logging.LogRecord)


class Around(jobq.Observer):
    """Notes what it is entered with, and how that is left."""

    def __init__(self, *, fails=""):
        self.seen = []
        self.fails = fails

    @contextmanager
    def attempting(self, attempts):
        if self.fails == "before":
            raise ZeroDivisionError
        try:
            yield
        except ValueError:
            self.seen.append("error")
            return  # it would hide it
        finally:
            self.seen.append("left")
        if self.fails == "after":
            raise ZeroDivisionError


def test_what_stands_around_a_handler_can_neither_fail_it_nor_hide_its_error(caplog):
    good, before, after = Around(), Around(fails="before"), Around(fails="after")
    observers = Observers([good, before, after])
    with pytest.raises(ValueError, match="the handler's"), observers.around("attempting", []):
        raise ValueError("the handler's")
    assert good.seen == after.seen == ["error", "left"]
    with observers.around("attempting", []):
        pass
    assert good.seen == ["error", "left", "left"]
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError] * 3


def test_only_hooks_that_somebody_overrides_are_prepared_for():
    assert Observers([Noting(), Around()]).have("attempting")
    assert not Observers([Noting()]).have("attempting")
    assert not Observers().have("exposition")
