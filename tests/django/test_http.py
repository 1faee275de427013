"""What is Django's own about the HTTP API; the rest is in the contract suite."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import connections
from django.middleware.csrf import CSRF_SESSION_KEY
from django.test import AsyncClient, Client, TestCase, override_settings
from django.urls import clear_url_caches, include, path

from jobq.contrib.django import DjangoQueue, _settings
from jobq.contrib.django import queue as project_queue
from jobq.contrib.django.http import accepted, current_user, drive_urls, jobs_urls
from tests.django.shop.models import Order

KEY = "a-key-of-the-drive-endpoint"


class Urls:
    urlpatterns = (
        *jobs_urls("jobs", owner=current_user, allow=["shop.total"], auto_trigger=False),
        *drive_urls("api/workers", keys=[KEY]),
    )


@pytest.fixture
def urls() -> Any:
    with override_settings(ROOT_URLCONF=Urls):
        yield


def create(client: Client, **headers: str) -> Any:
    job = {"type": "shop.total", "payload": {"using": "default"}}
    return client.post("/jobs", job, content_type="application/json", headers=headers)


def signed_in(**options: Any) -> Client:
    client = Client(**options)
    client.force_login(get_user_model().objects.create_user("ada"))
    return client


def test_the_signed_in_user_owns_what_he_creates(urls: Any, queue: DjangoQueue) -> None:
    assert create(Client()).status_code == 401
    client = signed_in()
    answer = create(client)
    assert answer.status_code == 202
    job = queue.get(answer.json()["jobId"])
    assert job.owner == str(get_user_model().objects.get().pk)
    assert client.get(answer["Location"]).json()["id"] == job.id
    assert Client().get(answer["Location"]).status_code == 401


def test_whoever_is_known_by_a_cookie_sends_djangos_token_along(
    urls: Any, queue: DjangoQueue
) -> None:
    client = signed_in(enforce_csrf_checks=True)
    refused = create(client)
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf")
    token = "t" * 32
    client.cookies["csrftoken"] = token
    assert create(client, **{"X-CSRFToken": token}).status_code == 202
    assert client.get("/jobs").status_code == 200


def test_djangos_token_may_be_in_the_session(urls: Any, queue: DjangoQueue) -> None:
    with override_settings(CSRF_USE_SESSIONS=True):
        client = signed_in(enforce_csrf_checks=True)
        assert create(client).json()["code"] == "csrf"
        session, token = client.session, "t" * 32
        session[CSRF_SESSION_KEY] = token
        session.save()
        assert create(client, **{"X-CSRFToken": token}).status_code == 202


def test_a_synchronous_owner_may_use_the_orm_under_asgi(urls: Any, queue: DjangoQueue) -> None:
    client = AsyncClient()
    client.force_login(get_user_model().objects.create_user("ada"))
    assert async_to_sync(client.get)("/jobs").status_code == 200


def test_requests_in_transactions_are_no_hindrance(
    urls: Any, queue: DjangoQueue, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", True)
    queue.enqueue("shop.total", {"using": alias})
    answer = Client().post("/api/workers", headers={"x-api-key": KEY})
    assert answer.json()["completed"] == 1


def test_the_routes_are_included_with_the_options_of_the_setting(queue: DjangoQueue) -> None:
    options = {"OWNER": "jobq.contrib.django.http.current_user", "ALLOW": ["shop.total"]}
    with override_settings(JOBQ={**_settings.given(), **options}):
        from importlib import reload

        from jobq.contrib.django import urls as included

        reload(included)

        class Site:
            urlpatterns = (path("api/jobs/", include(included)),)

        with override_settings(ROOT_URLCONF=Site):
            client = signed_in()
            answer = client.post(
                "/api/jobs/",
                {"type": "shop.total", "payload": {}},
                content_type="application/json",
            )
            job = queue.list().jobs[0]
            assert answer["Location"] == f"/api/jobs/{job.id}"
            assert client.get(answer["Location"]).status_code == 200
            assert accepted(job)["Location"] == f"/api/jobs/{job.id}"
        clear_url_caches()


def test_nobody_may_use_routes_that_say_nothing_of_it(queue: DjangoQueue) -> None:
    class Site:
        urlpatterns = jobs_urls("jobs")

    with override_settings(ROOT_URLCONF=Site):
        answer = Client().get("/jobs")
    assert (answer.status_code, "owner=" in answer.json()["detail"]) == (403, True)


@pytest.mark.usefixtures("databases")
@override_settings(ROOT_URLCONF=Urls)
class InATestCase(TestCase):
    databases = ("default", "postgresql")

    def test_the_drive_endpoint_runs_what_the_test_has_enqueued(self) -> None:
        for alias in self.databases:
            with self.subTest(alias), override_settings(JOBQ={"DATABASE": alias}):
                Order.objects.using(alias).create(total=5)
                job = project_queue.enqueue("shop.total", {"using": alias})
                answer = self.client.post("/api/workers", headers={"x-api-key": KEY})
                assert answer.json()["completed"] == 1
                assert project_queue.get(job.id).result == 5

    def test_nobody_waits_for_news_that_cannot_come(self) -> None:
        self.client.force_login(user := get_user_model().objects.create_user("ada"))
        job = project_queue.enqueue("shop.fail", None, owner=str(user.pk))
        answer = self.client.get(f"/jobs/{job.id}?wait=20")
        assert answer.json()["status"] == "pending"
