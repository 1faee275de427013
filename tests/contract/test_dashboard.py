"""The dashboard's pages and forms, as a browser without a script would use them."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import httpx
import pytest

import jobq
from jobq.http import Anonymous
from jobq.http.dashboard import ACTIONS, Passwords
from tests.contract.conftest import Site, Start

PAGES = (
    "",
    "/jobs",
    "/failures",
    "/queues",
    "/limits",
    "/workers",
    "/schedules",
    "/spend",
    "/database",
)


def token_of(client: httpx.Client, page: str = "") -> str:
    """What a form of a page carries; the client keeps the cookie."""
    found = re.search(r'name="token" value="([^"]+)"', client.get(page).text)
    assert found is not None
    return found[1]


def send(client: httpx.Client, path: str, action: str, **fields: str | list[str]) -> httpx.Response:
    """Send a form of the page at this path."""
    return client.post(path, data={"token": token_of(client), "action": action, **fields})


@pytest.fixture
def failed(queue: jobq.Queue) -> jobq.Job:
    """A job that has failed for good."""
    job = queue.enqueue("fail", {"words": "a red door", "api_key": "hush-hush"}, owner="ada")
    jobq.testing.drain(queue)
    return queue.get(job.id)


@pytest.fixture
def browser(site: Site) -> httpx.Client:
    """Somebody who may do everything."""
    return site.browser()


# --- who may what --------------------------------------------------------------------------------


def test_a_dashboard_is_closed_until_somebody_says_who_may(start: Start) -> None:
    answer = start(dashboard={"access": None}).browser().get("")
    assert answer.status_code == 403
    assert "say who may" in answer.text


def test_who_is_nobody_is_refused_or_sent_to_sign_in(start: Start) -> None:
    nobody = start(dashboard={"sign_in": "/sign-in"}).browser(None)
    answer = nobody.get("/jobs?status=failed")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fops%2Fjobq%2Fjobs%3Fstatus%3Dfailed"
    assert nobody.post("/jobs/bulk", data={"action": "delete"}).status_code in (401, 403)


def test_a_reader_sees_no_button_and_changes_nothing(site: Site, failed: jobq.Job) -> None:
    reader = site.browser("reader")
    for page in (*PAGES, f"/jobs/{failed.id}"):
        text = reader.get(page).text
        assert 'name="action"' not in text
        assert "/jobs/bulk?" not in text
    assert reader.get("/jobs/bulk?verb=delete").status_code == 403
    for path, action, field in (
        (f"/jobs/{failed.id}", "retry", {}),
        ("/jobs/bulk", "delete", {"all": "yes"}),
        ("/queues", "pause_queue", {"queue": "default"}),
        ("/limits", "pause_limit", {"key": "provider"}),
        ("/schedules", "pause_schedule", {"name": "nightly"}),
    ):
        assert send(reader, path, action, **field).status_code == 403
    assert site.queue.get(failed.id) == failed


def test_passwords_open_the_dashboard(start: Start) -> None:
    users = {"ada": "correct horse battery", "bob": "staple staple staple"}
    site = start(dashboard={"access": Passwords(users, readers=["bob"])})
    client = site.browser(None)
    asked = client.get("")
    assert asked.status_code == 401
    assert asked.headers["www-authenticate"].startswith("Basic ")
    assert client.get("", auth=("ada", "wrong wrong wrong")).status_code == 401
    assert client.get("", auth=("eve", "correct horse battery")).status_code == 401
    assert client.get("", auth=("ada", users["ada"])).status_code == 200
    assert client.get("/jobs/bulk?verb=delete", auth=("bob", users["bob"])).status_code == 403


def test_a_form_of_another_site_does_nothing(site: Site, failed: jobq.Job) -> None:
    browser = site.browser()
    form = {"token": token_of(browser), "action": "retry"}
    for whence in ("cross-site", "same-site", "none"):
        forged = {"sec-fetch-site": whence}
        assert browser.post(f"/jobs/{failed.id}", data=form, headers=forged).status_code == 403
    assert site.queue.get(failed.id).status == "failed"


def test_a_form_of_another_origin_or_without_the_token_does_nothing(
    site: Site, failed: jobq.Job
) -> None:
    browser = site.browser()
    del browser.headers["sec-fetch-site"]
    form = {"token": token_of(browser), "action": "retry"}
    path = f"/jobs/{failed.id}"
    elsewhere = {"origin": "https://elsewhere.example"}
    assert browser.post(path, data=form, headers=elsewhere).status_code == 403
    assert browser.post(path, data={**form, "token": "another"}).status_code == 403
    assert browser.post(path, data={"action": "retry"}).status_code == 403
    browser.cookies.clear()
    assert browser.post(path, data=form).status_code == 403
    assert site.queue.get(failed.id).status == "failed"


def test_what_somebody_does_is_logged_under_his_name(
    site: Site, failed: jobq.Job, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="jobq")
    send(site.browser("grace"), f"/jobs/{failed.id}", "retry")
    [record] = [one for one in caplog.records if hasattr(one, "operator")]
    assert record.getMessage() == f"dashboard: grace: retry job {failed.id}"
    facts = record.__dict__
    assert (facts["operator"], facts["action"]) == ("grace", "retry")


# --- pages ---------------------------------------------------------------------------------------


def test_every_page_forbids_what_is_not_its_own(
    browser: httpx.Client, site: Site, failed: jobq.Job
) -> None:
    for page in (*PAGES, f"/jobs/{failed.id}", "/jobs/bulk?verb=retry"):
        answer = browser.get(page)
        assert answer.status_code == 200, page
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<style|<script>|\sstyle=|\son[a-z]+=|javascript:", answer.text)


def test_assets_are_named_by_content_and_kept_for_good(browser: httpx.Client) -> None:
    page = browser.get("").text
    assets = re.findall(r'(?:src|href)="(/ops/jobq/assets/[^"]+)"', page)
    assert len(assets) >= 5
    root = str(browser.mount).removesuffix("/ops/jobq")  # type: ignore[attr-defined]
    for asset in assets:
        answer = httpx.get(root + asset)  # signed in or not
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        again = httpx.get(root + asset, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert browser.get("/assets/dashboard-0000000000000000.css").status_code == 404


def test_what_jobs_hold_is_escaped_and_secrets_are_masked(
    site: Site, queue: jobq.Queue, router: jobq.Router
) -> None:
    nasty = "<script>alert(1)</script>"
    job = queue.enqueue(
        nasty,
        {"x": nasty, "api_key": "hush-hush", "card": "4111"},
        queue=nasty,
        owner=nasty,
        metadata={"note": nasty},
    )
    queue.set_status(job.id, "failed", error=f"{nasty}: token=abcdef123456", error_code=nasty)
    browser = site.browser()
    for page in ("", "/jobs", f"/jobs/{job.id}", "/failures", "/queues", "/workers"):
        text = browser.get(page).text
        assert "<script>" not in text
        assert "abcdef123456" not in text
        assert "hush-hush" not in text
    assert "&lt;script&gt;" in browser.get(f"/jobs/{job.id}").text


def test_fields_that_are_to_be_hidden_are(start: Start, queue: jobq.Queue) -> None:
    job = queue.enqueue("add", {"a": 1, "customer": {"Card": "4111", "names": [{"card": "4242"}]}})
    site = start(dashboard={"hide": ["card"]})
    text = site.browser().get(f"/jobs/{job.id}").text
    assert "4111" not in text
    assert "4242" not in text


def test_an_unknown_job_a_wrong_filter_and_a_wrong_method_are_explained(
    browser: httpx.Client,
) -> None:
    for path, status, words in (
        ("/jobs/01900000-0000-7000-8000-000000000000", 404, "there is no job"),
        ("/jobs/what", 404, "there is no job"),
        ("/jobs?status=lost", 422, "lost"),
        ("/jobs?since=yesterday", 422, "yesterday"),
        ("/jobs?within=9y", 422, "9y"),
        ("/jobs?id=what", 422, "what"),
        ("/jobs/bulk?verb=paint", 422, "paint"),
    ):
        answer = browser.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/html")
        assert words in answer.text
    assert browser.post("/workers").status_code == 405
    assert browser.delete("/jobs").status_code in (404, 405)


# --- jobs ----------------------------------------------------------------------------------------


@pytest.fixture
def many(queue: jobq.Queue, failed: jobq.Job) -> jobq.Queue:
    """Jobs that differ in all that one can look for."""
    for number in range(60):
        queue.enqueue("add", {"a": number, "b": 1}, owner=f"user-{number % 3}")
    queue.enqueue("add", {"a": 1, "b": 1}, queue="slow", delay=timedelta(hours=1))
    return queue


def rows(page: httpx.Response) -> list[str]:
    """The ids of the jobs in a table."""
    assert page.status_code == 200, page.text
    return re.findall(r'type="checkbox" name="id" value="([^"]+)"', page.text)


def test_jobs_are_paged_by_their_ids(many: jobq.Queue, browser: httpx.Client) -> None:
    first = browser.get("/jobs?type=add")
    [after] = re.findall(r'href="[^"]+\?after=([^"&]+)[^"]*" rel="next"', first.text)
    second = rows(browser.get(f"/jobs?type=add&after={after}"))
    assert len(rows(first)) == 50
    assert [*rows(first), *second] == [job.id for job in many.list(type="add", limit=100).jobs]


FILTERS = (
    ("status=failed", 1),
    ("status=completed", 0),
    ("type=fail", 1),
    ("queue=slow", 1),
    ("owner=user-1", 20),
    ("owner=user-1&status=pending&type=add&queue=default", 20),
    ("error=ValueError", 1),
    ("error=KeyError", 0),
    ("code=ValueError", 1),
    ("owner=ada&code=ValueError&error=ValueError&within=1h", 1),
    ("queue=slow&until=2020-01-01T00:00", 0),
    ("queue=slow&since=2020-01-01T00:00:00%2B02:00", 1),
)


def test_filters_find_what_fits(many: jobq.Queue, browser: httpx.Client) -> None:
    found = {filters: len(rows(browser.get(f"/jobs?{filters}"))) for filters, _ in FILTERS}
    assert found == dict(FILTERS)


def test_a_job_is_found_by_its_id(browser: httpx.Client, failed: jobq.Job) -> None:
    answer = browser.get(f"/jobs?id=%20{failed.id.upper()}")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/ops/jobq/jobs/{failed.id}"
    page = browser.get(f"/jobs/{failed.id}").text
    assert "ValueError: the paper is jammed" in page
    assert "Traceback" in page
    assert "a red door" in page


def test_a_job_is_retried_and_told_so_once(
    site: Site, browser: httpx.Client, failed: jobq.Job
) -> None:
    answer = send(browser, f"/jobs/{failed.id}", "retry")
    assert answer.status_code == 303
    assert site.queue.get(failed.id).status == "pending"
    path = answer.headers["location"].removeprefix("/ops/jobq")
    assert 'role="status"' not in browser.get(path, headers={"x-jobq-live": "1"}).text
    assert "It runs again" in browser.get(path).text
    assert "It runs again" not in browser.get(path).text


def test_a_job_to_come_is_run_now_and_a_waiting_one_cancelled(
    many: jobq.Queue, browser: httpx.Client
) -> None:
    [job] = many.list(queue="slow").jobs
    send(browser, f"/jobs/{job.id}", "run_now")
    assert many.get(job.id).run_at <= job.updated_at + timedelta(minutes=1)
    send(browser, f"/jobs/{job.id}", "cancel")
    assert many.get(job.id).status == "cancelled"
    again = send(browser, f"/jobs/{job.id}", "cancel")
    assert again.status_code == 409
    assert "cancelled" in again.text


def test_what_fits_is_counted_first_and_then_moved(many: jobq.Queue, browser: httpx.Client) -> None:
    page = browser.get("/jobs/bulk?verb=cancel&owner=user-1")
    assert "Cancel 20 jobs?" in page.text
    assert many.counts(owner="user-1")["pending"] == 20
    moved = send(browser, "/jobs/bulk", "cancel", all="yes", owner="user-1")
    assert moved.headers["location"] == "/ops/jobq/jobs?owner=user-1"
    assert "20 jobs cancelled." in browser.get("/jobs?owner=user-1").text
    assert many.counts(owner="user-1")["cancelled"] == 20
    assert many.counts(owner="user-2")["pending"] == 20
    send(browser, "/jobs/bulk", "delete", all="yes", owner="user-1")
    assert many.counts(owner="user-1")["cancelled"] == 0


def test_those_selected_are_moved_and_no_others(many: jobq.Queue, browser: httpx.Client) -> None:
    first, second, *_ = [job.id for job in many.list(status="pending").jobs]
    page = browser.get(f"/jobs/bulk?verb=cancel&id={first}&id={second}")
    assert "Cancel 2 jobs?" in page.text
    send(browser, "/jobs/bulk", "cancel", id=[first, second])
    assert [many.get(id).status for id in (first, second)] == ["cancelled"] * 2
    assert many.counts()["cancelled"] == 2


def test_nothing_is_moved_where_nothing_was_selected(
    many: jobq.Queue, browser: httpx.Client
) -> None:
    assert send(browser, "/jobs/bulk", "cancel").status_code == 422
    assert many.counts()["cancelled"] == 0


def test_failures_are_grouped_and_a_group_is_retried(
    many: jobq.Queue, browser: httpx.Client, failed: jobq.Job
) -> None:
    other = many.enqueue("add", {})
    many.set_status(other.id, "failed", error="KeyError: 'a'")
    page = browser.get("/failures").text
    assert re.findall(r"<h2><a [^>]*>(\w+)</a>", page) == ["KeyError", "ValueError"] or re.findall(
        r"<h2><a [^>]*>(\w+)</a>", page
    ) == ["ValueError", "KeyError"]
    send(browser, "/jobs/bulk", "retry", all="yes", status="failed", type="add", error="KeyError")
    assert many.get(other.id).status == "pending"
    assert many.get(failed.id).status == "failed"


# --- queues, limits, schedules -------------------------------------------------------------------


def test_a_queue_is_paused_and_resumed(many: jobq.Queue, browser: httpx.Client) -> None:
    send(browser, "/queues", "pause_queue", queue="slow")
    assert [state.queue for state in many.queues() if state.paused] == ["slow"]
    assert "slow is paused." in browser.get("/queues").text
    assert "Queue slow is paused" in browser.get("").text
    send(browser, "/queues", "resume_queue", queue="slow")
    assert not any(state.paused for state in many.queues())


@pytest.fixture
def limited(queue: jobq.Queue) -> jobq.Queue:
    """A queue with a limit of each kind."""
    queue.set_limit(jobq.RateLimit("rate", 60, per=60))
    queue.set_limit(jobq.DailyQuota("quota", 100))
    queue.set_limit(jobq.Concurrency("places", 3))
    return queue


def limit(queue: jobq.Queue, key: str) -> jobq.LimitInfo:
    return next(info for info in queue.limits() if info.key == key)


def test_the_numbers_of_a_limit_are_changed(limited: jobq.Queue, browser: httpx.Client) -> None:
    send(browser, "/limits", "change_limit", key="rate", n="30", per="10.5", max_cost="2")
    assert limit(limited, "rate").limit == jobq.RateLimit("rate", 30, per=10.5, max_cost=2)
    send(browser, "/limits", "change_limit", key="places", n="7")
    assert limit(limited, "places").limit == jobq.Concurrency("places", 7)
    refused = send(browser, "/limits", "change_limit", key="quota", n="none")
    assert refused.status_code == 422
    assert "must be a whole number" in refused.text
    refused = send(browser, "/limits", "change_limit", key="rate", n="1", per="1", max_cost="5")
    assert refused.status_code == 422
    assert "more than the whole limit" in refused.text


def test_a_limit_is_closed_with_a_reason_and_opened_again(
    limited: jobq.Queue, browser: httpx.Client
) -> None:
    form = {"key": "rate", "minutes": "5", "reason": "the provider is down"}
    send(browser, "/limits", "pause_limit", **form)
    info = limit(limited, "rate")
    assert info.blocked_until is not None
    assert info.reason == "the provider is down"
    assert "the provider is down" in browser.get("/limits").text
    assert "the provider is down" in browser.get("").text
    send(browser, "/limits", "resume_limit", key="rate")
    assert limit(limited, "rate").blocked_until is None
    send(browser, "/limits", "pause_limit", key="rate")
    assert limit(limited, "rate").reason == "paused by ada"
    send(browser, "/limits", "reset_limit", key="rate")
    assert not limit(limited, "rate").paused
    assert send(browser, "/limits", "resume_limit", key="nothing").status_code == 422


def test_a_schedule_is_paused_and_resumed(
    queue: jobq.Queue, router: jobq.Router, site: Site, browser: httpx.Client
) -> None:
    router.cron("0 3 * * *", name="nightly")(router.handler("tidy")(lambda payload: None))
    jobq.testing.drain(queue)
    assert "nightly" in browser.get("/schedules").text
    send(browser, "/schedules", "pause_schedule", name="nightly")
    assert queue.schedules()[0].paused
    send(browser, "/schedules", "resume_schedule", name="nightly")
    assert not queue.schedules()[0].paused
    assert send(browser, "/schedules", "pause_schedule", name="never").status_code == 422


# --- the database --------------------------------------------------------------------------------


def test_how_the_database_is_doing_is_shown(browser: httpx.Client, url: str) -> None:
    text = browser.get("/database").text
    if url.startswith("postgresql"):
        assert '<tr data-id="jobq_job">' in text
        assert "Connections" in text
    else:
        assert "journal mode wal" in text
    assert 'class="warning"' not in text


# --- looks ---------------------------------------------------------------------------------------


def test_a_theme_is_remembered_without_a_script(browser: httpx.Client) -> None:
    form = {"token": token_of(browser), "theme": "dark"}
    referer = {"referer": f"{browser.mount}/limits?x=1"}  # type: ignore[attr-defined]
    answer = browser.post("/theme", data=form, headers=referer)
    assert answer.headers["location"] == "/ops/jobq/limits?x=1"
    assert '<html lang="en" data-theme="dark">' in browser.get("").text
    elsewhere = {"referer": "https://elsewhere.example/x"}
    answer = browser.post("/theme", data=form, headers=elsewhere)
    assert answer.headers["location"] == "/ops/jobq"


def test_policies_of_other_kinds_open_the_dashboard_too(start: Start) -> None:
    site = start(dashboard={"access": Anonymous()}, debug=True)
    assert site.browser(None).get("").status_code == 200
    with pytest.raises(jobq.ConfigurationError, match="paint"):
        jobq.http.dashboard.Operator(name="ada", may=["paint"])
    assert "retry" in ACTIONS
