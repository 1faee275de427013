"""Every screen and action of the dashboard, driven in a browser, from each framework.

With JOBQ_SCREENSHOTS, a folder, pictures of the screens are put there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

import jobq
from tests.browser.conftest import PATIENCE_MS, Visitor
from tests.browser.scene import Scene
from tests.contract.adapters import Setup
from tests.contract.conftest import EVERY
from tests.servers import Servers, free_port, once_it_answers

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
    # Nothing else runs in a test's loop, which may as well be blocked.
    pytest.mark.filterwarnings("ignore:a synchronous jobq verb"),
]
expect.set_options(timeout=PATIENCE_MS)
SCREENS = {
    "overview": "",
    "jobs": "/jobs",
    "jobs-failed": "/jobs?status=failed&error=ValueError",
    "job-running": "/jobs/{running}",
    "job-failed": "/jobs/{failed}",
    "job-completed": "/jobs/{completed}",
    "job-waiting": "/jobs/{waiting}",
    "job-limited": "/jobs/{limited}",
    "bulk": "/jobs/bulk?verb=delete&status=failed",
    "failures": "/failures",
    "queues": "/queues",
    "limits": "/limits",
    "workers": "/workers",
    "schedules": "/schedules",
    "spend": "/spend",
    "database": "/database",
    "error": "/jobs/01900000-0000-7000-8000-000000000000",
}
OPERATOR = {"x-operator": "ada"}
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 860}


@pytest.fixture
def queue(url: str, tmp_path: Path) -> Iterator[jobq.Queue]:
    with jobq.Queue(url, router=jobq.Router(), artifacts=tmp_path / "artifacts") as queue:
        yield queue


@pytest.fixture
def scene(queue: jobq.Queue) -> Scene:
    """A queue that is furnished."""
    scene = Scene(queue)
    scene.furnish()
    return scene


@pytest.fixture(params=["fastapi", "django-asgi", "django-wsgi"])
def root(request: pytest.FixtureRequest, queue: jobq.Queue) -> Iterator[str]:
    """The address of the dashboard."""
    with served(request.param, queue) as address:
        yield address


@contextmanager
def served(adapter: str, queue: jobq.Queue) -> Iterator[str]:
    dashboard = {"refresh": 0.5, "title": "Studio"}
    with EVERY[adapter](Setup(queue=queue, dashboard=dashboard)) as mounts:
        yield mounts.dashboard


@pytest_asyncio.fixture(loop_scope="session")
async def ada(visitor: Visitor) -> Page:
    """The page of somebody who may do everything."""
    return await visitor(extra_http_headers=OPERATOR, viewport=DESKTOP)


def ended(queue: jobq.Queue) -> dict[str, str]:
    """The ids of jobs that have ended."""
    painted = queue.list(status="completed", type="image_generation", queue="images")
    failed = queue.list(status="failed", type="extract_invoice")
    return {"completed": painted.jobs[0].id, "failed": failed.jobs[0].id}


def paths(queue: jobq.Queue) -> dict[str, str]:
    """The screens, with ids in their paths."""
    ids = {
        **ended(queue),
        "running": queue.list(status="processing").jobs[-1].id,
        "waiting": queue.list(status="waiting").jobs[0].id,
        "limited": queue.list(type="image_variation").jobs[0].id,
    }
    return {name: path.format(**ids) for name, path in SCREENS.items()}


async def picture(page: Page, name: str) -> None:
    """Leave a picture, where somebody has asked for pictures."""
    folder = os.environ.get("JOBQ_SCREENSHOTS")
    if folder:
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def act(page: Page, name: str) -> None:
    """Press a button, and read that it was done."""
    await page.get_by_role("button", name=name, exact=True).click()
    await expect(page.get_by_role("status")).to_be_visible()


async def unfold(page: Page, name: str) -> None:
    """Open the form behind a summary."""
    await page.locator("summary", has_text=name).click()


# --- looks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_every_screen_is_accessible_and_fits_a_phone(
    root: str, scene: Scene, visitor: Visitor, errors: list[str], theme: Any
) -> None:
    scene.add_history()
    axe = Axe()
    options = {"extra_http_headers": OPERATOR, "color_scheme": theme}
    desktop = await visitor(viewport=DESKTOP, **options)
    phone = await visitor(viewport=PHONE, device_scale_factor=2, **options)
    async with scene.running():
        for name, path in paths(scene.queue).items():
            for page, kind in ((desktop, "desktop"), (phone, "phone")):
                answer = await page.goto(root + path)
                assert answer is not None
                assert answer.status == (404 if name == "error" else 200)
                if kind == "desktop" or theme == "light":
                    found = await axe.run(page)
                    assert found.violations_count == 0, f"{name} {kind}: {found.generate_report()}"
                width = await page.evaluate("document.documentElement.scrollWidth")
                assert width <= (PHONE if kind == "phone" else DESKTOP)["width"], name
                await picture(page, f"{name}-{theme}-{kind}")
    assert [error for error in errors if "404" in error] == errors  # the screen that says so
    errors.clear()


async def test_a_theme_is_chosen_and_stays(root: str, scene: Scene, ada: Page) -> None:
    await ada.goto(f"{root}/queues")
    html = ada.locator("html")
    await ada.get_by_role("button", name="Dark theme").click()
    await expect(html).to_have_attribute("data-theme", "dark")  # the next page, by the same address
    await expect(ada).to_have_url(f"{root}/queues")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert await ada.evaluate(ground) == "rgb(13, 15, 19)"
    await ada.reload()
    assert await ada.evaluate(ground) == "rgb(13, 15, 19)"
    await ada.get_by_role("button", name="Light theme").click()
    await expect(html).to_have_attribute("data-theme", "light")
    assert await ada.evaluate(ground) == "rgb(245, 246, 248)"


# --- a page that stays current -------------------------------------------------------------------


async def test_a_page_stays_current_and_keeps_what_was_ticked(
    root: str, scene: Scene, ada: Page
) -> None:
    await ada.goto(f"{root}/jobs")
    box = ada.locator("tbody input[type=checkbox]").first
    await box.check()
    chosen = await box.get_attribute("value")
    job = scene.queue.enqueue("image_variation", {"source_image_id": "img_2"})
    await expect(ada.locator(f'a[href$="/jobs/{job.id}"]')).to_be_visible()
    await expect(ada.locator(f'input[value="{chosen}"]')).to_be_checked()
    await expect(ada.get_by_text("1 selected:")).to_be_visible()
    await ada.get_by_role("button", name="Live").click()
    await expect(ada.get_by_role("button", name="Paused")).to_be_visible()
    other = scene.queue.enqueue("image_variation", {"source_image_id": "img_3"})
    await ada.wait_for_timeout(1_200)
    await expect(ada.locator(f'a[href$="/jobs/{other.id}"]')).to_have_count(0)
    await ada.get_by_role("button", name="Paused").click()
    await expect(ada.locator(f'a[href$="/jobs/{other.id}"]')).to_be_visible()


async def test_a_running_job_is_followed_to_its_end(root: str, scene: Scene, ada: Page) -> None:
    async with scene.running():
        await ada.goto(root + paths(scene.queue)["job-running"])
        progress = ada.get_by_role("progressbar", name="Progress")
        await expect(progress).to_have_js_property("value", 65)
        await expect(ada.get_by_text("upscaling tile 8 of 12", exact=True)).to_be_visible()
        scene.gate.set()
        await expect(ada.get_by_role("heading", name="image_edit completed")).to_be_visible()
        await expect(ada.get_by_label("Result")).to_contain_text("cdn.example.com/edits/7.png")
    await expect(ada.locator(".attempts .badge")).to_have_text("completed")


# --- jobs ----------------------------------------------------------------------------------------


async def test_a_failed_job_is_found_read_and_retried(root: str, scene: Scene, ada: Page) -> None:
    await ada.goto(root)
    await ada.get_by_role("link", name="Failures", exact=True).click()
    await expect(ada.locator(".group")).to_have_count(3)
    await ada.get_by_role("link", name="ValueError", exact=True).click()
    await expect(ada.locator("tbody tr")).to_have_count(4)
    await ada.locator("tbody .what a").first.click()
    await expect(ada.get_by_role("heading", name="extract_invoice failed")).to_be_visible()
    await ada.get_by_text("Traceback", exact=True).click()
    await expect(ada.get_by_label("Traceback of attempt 1")).to_contain_text("in extract_invoice")
    await expect(ada.get_by_label("Payload")).to_contain_text('"api_key": "***"')
    await act(ada, "Retry")
    await expect(ada.get_by_role("status")).to_have_text("It runs again, with all its attempts.")
    id = ada.url.rpartition("/")[2]
    assert scene.queue.get(id).status == "pending"
    await ada.get_by_role("link", name="Cancel").click()
    await act(ada, "Cancel 1 job")
    assert scene.queue.get(id).status == "cancelled"
    await ada.goto(f"{root}/jobs/{id}")
    await ada.get_by_role("link", name="Delete").click()
    await act(ada, "Delete 1 job")
    with pytest.raises(jobq.JobNotFound):
        scene.queue.get(id)


async def test_what_a_job_has_saved_is_shown_as_pictures(
    root: str, scene: Scene, ada: Page
) -> None:
    await ada.goto(f"{root}/jobs/{ended(scene.queue)['completed']}")
    pictures = ada.locator(".artifacts img")
    await expect(pictures).to_have_count(2)
    for picture in await pictures.all():
        assert await picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    await expect(ada.get_by_text("$0.039", exact=False)).to_be_visible()


async def test_a_job_to_come_is_run_now(root: str, scene: Scene, ada: Page) -> None:
    [job] = scene.queue.list(type="publish_post", owner="user-1").jobs
    await ada.goto(f"{root}/jobs/{job.id}")
    await act(ada, "Run now")
    assert scene.queue.get(job.id).run_at < job.run_at


async def test_jobs_are_filtered_selected_and_moved(root: str, scene: Scene, ada: Page) -> None:
    await ada.goto(f"{root}/jobs")
    await ada.get_by_label("Type").fill("publish_post")
    await ada.get_by_role("button", name="Search").click()
    await ada.get_by_role("link", name=re.compile("^failed")).click()
    rows = ada.locator("tbody tr")
    await expect(rows).to_have_count(7)
    retry = ada.get_by_role("button", name="Retry", exact=True)
    await expect(retry).to_be_disabled()
    await ada.get_by_label("All on this page").check()
    await rows.first.get_by_role("checkbox").uncheck()
    await expect(ada.get_by_text("6 selected:")).to_be_visible()
    await retry.click()
    await expect(ada.get_by_role("heading", name="Retry 6 jobs?")).to_be_visible()
    await act(ada, "Retry 6 jobs")
    await expect(ada.get_by_role("status")).to_have_text("6 jobs retried.")
    assert scene.queue.counts(type="publish_post")["failed"] == 1


async def test_all_that_fit_are_moved_after_they_were_counted(
    root: str, scene: Scene, ada: Page
) -> None:
    await ada.goto(f"{root}/jobs?status=failed")
    await ada.get_by_role("link", name="Delete all that fit…").click()
    await expect(ada.get_by_role("heading", name="Delete 13 jobs?")).to_be_visible()
    await ada.get_by_role("link", name="Back").click()
    await ada.get_by_role("link", name="Delete all that fit…").click()
    await act(ada, "Delete 13 jobs")
    await expect(ada).to_have_url(f"{root}/jobs?status=failed")
    await expect(ada.get_by_text("No job fits")).to_be_visible()
    assert scene.queue.counts()["failed"] == 0


# --- queues, limits, schedules -------------------------------------------------------------------


async def test_queues_and_schedules_are_paused_and_resumed(
    root: str, scene: Scene, ada: Page
) -> None:
    await ada.goto(f"{root}/queues")
    await act(ada, "Pause images")
    assert {state.queue for state in scene.queue.queues() if state.paused} == {
        "images",
        "newsletter",
    }
    await act(ada, "Resume images")
    await act(ada, "Resume newsletter")
    assert not any(state.paused for state in scene.queue.queues())
    await ada.get_by_role("link", name="Schedules").click()
    await act(ada, "Pause nightly-report")
    assert [info.name for info in scene.queue.schedules() if info.paused] == ["nightly-report"]
    await act(ada, "Resume nightly-report")
    assert not any(info.paused for info in scene.queue.schedules())


async def test_limits_are_opened_closed_and_changed(root: str, scene: Scene, ada: Page) -> None:
    def info(key: str) -> jobq.LimitInfo:
        return next(one for one in scene.queue.limits() if one.key == key)

    await ada.goto(f"{root}/limits")
    await expect(ada.get_by_text("429: quota exceeded")).to_be_visible()
    await act(ada, "Open gemini:images")
    assert info("gemini:images").blocked_until is None
    await unfold(ada, "Change gemini:images")
    await ada.get_by_role("textbox", name="Units").fill("30")
    await ada.wait_for_timeout(1_200)  # the page is read anew, and leaves the form alone
    await act(ada, "Change gemini:images")
    assert info("gemini:images").n == 30
    await expect(ada.get_by_text("set by hand")).to_be_visible()
    await act(ada, "Reset gemini:images")
    await unfold(ada, "Close gpu")
    await ada.get_by_role("textbox", name="Reason").fill("the card is replaced")
    await act(ada, "Close gpu")
    assert (info("gpu").paused, info("gpu").reason) == (True, "the card is replaced")


# --- keys, and no script -------------------------------------------------------------------------


async def test_keys_lead_through_the_pages(root: str, scene: Scene, ada: Page) -> None:
    await ada.goto(root)
    await ada.keyboard.press("g")
    await ada.keyboard.press("j")
    await expect(ada).to_have_url(f"{root}/jobs")
    await ada.keyboard.press("n")
    await ada.keyboard.press("n")
    await ada.keyboard.press("x")
    await expect(ada.locator("tbody tr").nth(1).get_by_role("checkbox")).to_be_checked()
    await ada.keyboard.press("/")
    await expect(ada.get_by_label("Job id")).to_be_focused()
    await ada.keyboard.type("g")  # a letter of a word, here
    await expect(ada.get_by_label("Job id")).to_have_value("g")
    await ada.locator("body").press("Escape")
    await ada.get_by_role("heading", name="Jobs").click()
    await ada.keyboard.press("?")
    await expect(ada.get_by_role("dialog", name="Keyboard")).to_be_visible()
    await ada.get_by_label("Keyboard shortcuts are on").uncheck()
    await ada.keyboard.press("Escape")
    await ada.keyboard.press("g")
    await ada.keyboard.press("q")
    await ada.wait_for_timeout(300)
    await expect(ada).to_have_url(f"{root}/jobs")


async def test_everything_can_be_done_without_a_script(
    root: str, scene: Scene, visitor: Visitor
) -> None:
    page = await visitor(extra_http_headers=OPERATOR, java_script_enabled=False, viewport=PHONE)
    for path in paths_without_running(scene.queue):
        answer = await page.goto(root + path)
        assert answer is not None
        assert answer.status == 200
    await page.goto(f"{root}/jobs?status=failed&type=publish_post")
    boxes = page.locator("tbody input[type=checkbox]")
    await boxes.nth(0).check()
    await boxes.nth(2).check()
    await page.get_by_role("button", name="Retry", exact=True).click()
    await act(page, "Retry 2 jobs")
    assert scene.queue.counts(type="publish_post")["failed"] == 5
    await page.goto(f"{root}/queues")
    await act(page, "Pause images")
    await page.goto(f"{root}/limits")
    await unfold(page, "Close gemini:day")
    await act(page, "Close gemini:day")
    await page.get_by_role("button", name="Dark theme").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def paths_without_running(queue: jobq.Queue) -> list[str]:
    fixed = [path for path in SCREENS.values() if "{" not in path and "01900000" not in path]
    return [*fixed, *(f"/jobs/{id}" for id in ended(queue).values())]


# --- on its own ----------------------------------------------------------------------------------


async def test_the_command_serves_the_same_pages_on_its_own(
    url: str, scene: Scene, servers: Servers, visitor: Visitor, errors: list[str]
) -> None:
    port = free_port()
    process = servers.run("jobq", "dashboard", "--url", url, "--port", port)
    page = await visitor(viewport=DESKTOP)
    root = once_it_answers(port, process)
    await page.goto(root)
    await page.get_by_role("link", name="Queues", exact=True).click()
    await act(page, "Pause images")
    assert "images" in {state.queue for state in scene.queue.queues() if state.paused}
    await page.get_by_role("link", name="Jobs", exact=True).click()
    await expect(page.locator("tbody tr").first).to_be_visible()
    refused = await page.request.get(root, headers={"host": "elsewhere.example"})
    assert refused.status == 403
