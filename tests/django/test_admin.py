"""The admin shows jobs and moves them by the queue's verbs; the models only read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

import jobq
from jobq.contrib.django import DjangoQueue, models
from jobq.testing import drain

JOBS = "/admin/jobq/job/"


@pytest.fixture
def admin(queue: DjangoQueue) -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ada"))
    return client


def act(client: Client, action: str, *jobs: jobq.Job, path: str = JOBS) -> str:
    data = {"action": action, "_selected_action": [job.id for job in jobs]}
    return client.post(path, data, follow=True).content.decode()


def test_the_list_is_filtered_and_searched(admin: Client, queue: DjangoQueue) -> None:
    mail = queue.enqueue("mail", None, owner="ada", priority="urgent")
    edit = queue.enqueue("edit", None, queue="slow")
    queue.cancel(edit.id)
    assert all(job.id in admin.get(JOBS).content.decode() for job in (mail, edit))
    begins = f"q={edit.id[:13]}&status=cancelled"
    for query in ("status=cancelled", "queue=slow", "type=edit", "q=edit", begins):
        page = admin.get(f"{JOBS}?{query}").content.decode()
        assert (edit.id in page, mail.id in page) == (True, False), query
    since = (datetime.now(UTC) - timedelta(days=1)).isoformat(sep=" ").replace("+", "%2B")
    assert mail.id in admin.get(f"{JOBS}?created_at__gte={since}").content.decode()


def test_a_job_is_shown_with_progress_attempts_and_traceback(
    admin: Client, queue: DjangoQueue
) -> None:
    job = queue.enqueue("shop.fail", {"prompt": "<script>"})
    queue.set_progress(job.id, 40, "half <way>")
    drain(queue)
    page = admin.get(f"{JOBS}{job.id}/change/").content.decode()
    assert "Traceback (most recent call last)" in page
    assert "no &lt;b&gt;such&lt;/b&gt; order" in page
    assert "&lt;script&gt;" in page
    assert "<script>&quot;" not in page
    assert "1 · failed" in page
    assert "<progress" in page


def test_an_unknown_job_leads_back_to_the_list(admin: Client) -> None:
    for id in ("01a2027e-0fa2-7691-92a9-ddbc9ff0ff8c", "nothing"):
        assert admin.get(f"{JOBS}{id}/change/").status_code == 302


def test_the_actions_cancel_and_retry(admin: Client, queue: DjangoQueue) -> None:
    first, second = (queue.enqueue("mail", None) for _ in range(2))
    queue.cancel(second.id)
    page = act(admin, "cancel", first, second)
    assert "1 jobs were cancelled" in page
    assert "Cannot cancel job" in page
    assert "2 jobs were set to run again" in act(admin, "retry", first, second)
    assert [job.status for job in queue.get_many([first, second])] == ["pending"] * 2


def test_the_actions_pause_and_resume_a_queue(admin: Client, queue: DjangoQueue) -> None:
    job = queue.enqueue("mail", None, queue="slow")

    def paused() -> list[bool]:
        return [state.paused for state in queue.queues()]

    assert "Queue slow is paused" in act(admin, "pause", job)
    assert paused() == [True]
    path = "/admin/jobq/queue/"
    assert "slow" in admin.get(path).content.decode()
    chosen = {"action": "resume", "_selected_action": ["slow"]}
    assert admin.post(path, chosen, follow=True).status_code == 200
    assert paused() == [False]
    act(admin, "pause", job)
    assert "Queue slow is resumed" in act(admin, "resume", job)
    assert paused() == [False]


def test_nobody_adds_changes_or_deletes(admin: Client, queue: DjangoQueue) -> None:
    job = queue.enqueue("mail", None)
    assert admin.get(f"{JOBS}add/").status_code == 403
    assert admin.post(f"{JOBS}{job.id}/change/", {"type": "other"}).status_code == 403
    assert admin.post(f"{JOBS}{job.id}/delete/", {"post": "yes"}).status_code == 403
    assert queue.get(job.id) == job


def test_who_may_only_look_has_no_actions(queue: DjangoQueue) -> None:
    job = queue.enqueue("mail", None)
    client = Client()
    user = get_user_model().objects.create_user("bob", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_job"))
    client.force_login(user)
    assert job.id in client.get(JOBS).content.decode()
    act(client, "cancel", job)
    assert queue.get(job.id).status == "pending"


def test_workers_are_listed(admin: Client) -> None:
    assert admin.get("/admin/jobq/worker/").status_code == 200


def test_the_models_read_what_the_queue_returns(queue: DjangoQueue, alias: str) -> None:
    payload = {"n": 1, "text": '"quoted"', "when": None}
    job = queue.enqueue("shop.fail", payload, owner="ada", metadata={"a": [1]}, run_at=SOON)
    text = queue.enqueue("mail", "123")
    drain(queue)
    row = models.Job.objects.get(id=job.id)
    assert (row.payload, row.metadata, row.owner) == (payload, {"a": [1]}, "ada")
    assert (row.run_at, row.created_at) == (SOON, job.created_at)
    assert models.Job.objects.get(pk=text.id).payload == "123"
    assert models.Job.objects.filter(run_at__lt=job.created_at, id__in=[job.id]).count() == 1
    assert models.Job.objects.filter(id__startswith=job.id[:13], declared=True).exists()
    [attempt] = row.history.all()
    assert (attempt.outcome, attempt.pk[0], attempt.job.id) == ("failed", job.id, job.id)
    assert str(attempt) == "attempt 1: failed"
    assert str(row) == f"shop.fail {job.id}"


SOON = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)


def refused(**calls: Any) -> None:
    for name, call in calls.items():
        with pytest.raises(TypeError, match="read-only"):
            call()
        assert name


def test_the_models_do_not_write(queue: DjangoQueue) -> None:
    job = queue.enqueue("mail", None)
    row = models.Job.objects.get()
    rows = models.Job.objects.all()
    refused(
        save=row.save,
        delete=row.delete,
        update=lambda: rows.update(status="failed"),
        delete_all=rows.delete,
        create=lambda: models.Job.objects.create(type="mail"),
        bulk=lambda: models.Job.objects.bulk_create([row]),
    )
    assert queue.get(job.id) == job
