"""The dashboard in a project: Django's users and permissions decide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client, override_settings
from django.urls import include, path

import jobq
from jobq.contrib.django import DjangoQueue
from jobq.contrib.django.http import dashboard_urls


@pytest.fixture
def mounted(queue: DjangoQueue) -> Iterator[None]:
    class Urls:
        urlpatterns = (
            *dashboard_urls("jobq", queue=queue),
            path("project/", include("jobq.contrib.django.dashboard")),
        )

    with override_settings(ROOT_URLCONF=Urls, LOGIN_URL="/sign-in/"):
        yield


def signed_in(*permissions: str, staff: bool = True) -> Client:
    user = get_user_model().objects.create_user("grace", is_staff=staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def retry(client: Client, job: jobq.Job) -> int:
    page = client.get(f"/jobq/jobs/{job.id}")
    client.cookies.load(page["set-cookie"])  # as browsers do by themselves
    found = re.search(r'name="token" value="([^"]+)"', page.content.decode())
    assert found is not None
    form = urlencode({"token": found[1], "action": "retry"})
    answer = client.post(f"/jobq/jobs/{job.id}", form, "application/x-www-form-urlencoded")
    return int(answer.status_code)


@pytest.fixture
def cancelled(queue: DjangoQueue) -> jobq.Job:
    return queue.cancel(queue.enqueue("mail").id)


def test_who_is_not_signed_in_is_sent_to_sign_in(mounted: None) -> None:
    answer = Client().get("/jobq/limits")
    assert (answer.status_code, answer["location"]) == (303, "/sign-in/?next=%2Fjobq%2Flimits")


def test_only_the_staff_may_look(mounted: None) -> None:
    assert signed_in(staff=False).get("/jobq").status_code == 403


def test_the_staff_reads_and_who_may_change_jobs_changes_them(
    mounted: None, queue: DjangoQueue, cancelled: jobq.Job
) -> None:
    reader = signed_in()
    assert reader.get("/jobq/").status_code == 200
    assert retry(reader, cancelled) == 403
    get_user_model().objects.all().delete()
    assert retry(signed_in("change_job"), cancelled) == 303
    assert queue.get(cancelled.id).status == "pending"


def test_who_may_delete_jobs_may_do_that_alone(
    mounted: None, queue: DjangoQueue, cancelled: jobq.Job
) -> None:
    client = signed_in("delete_job")
    page = client.get(f"/jobq/jobs/{cancelled.id}").content.decode()
    assert "verb=delete" in page
    assert 'value="retry"' not in page


def test_the_projects_queue_is_included_by_one_line(mounted: None) -> None:
    page = signed_in().get("/project/queues").content.decode()
    assert 'href="/project/jobs"' in page
