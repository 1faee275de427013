"""The example's page, driven to the end in a browser, from each framework on each database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, Request, expect

import jobq
from tests.browser.conftest import PATIENCE_MS, Visitor
from tests.servers import Servers

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]
expect.set_options(timeout=PATIENCE_MS)
EXAMPLE = "examples.browser_page"


def with_fastapi(servers: Servers, **environment: str) -> str:
    return servers.uvicorn(f"{EXAMPLE}.on_fastapi:app", **environment)


def with_django(servers: Servers, **environment: str) -> str:
    module = f"{EXAMPLE}.on_django"
    assert servers.run(module, "migrate", "--verbosity", "0", **environment).wait() == 0
    root = servers.uvicorn(f"{module}:application", **environment)
    servers.run(module, "jobq_worker", **environment)
    return root


@pytest.fixture(params=[with_fastapi, with_django])
def root(request: pytest.FixtureRequest, servers: Servers, queue: jobq.Queue, url: str) -> str:
    """The address of the example."""
    serve: Callable[..., str] = request.param
    queue.counts()  # a SQLite file brings itself up to date
    return serve(servers, DATABASE_URL=url)


def watch_requests(page: Page, ending: str = "") -> list[Request]:
    """The requests for a job that a page makes from now on."""
    seen: list[Request] = []

    def note(request: Request) -> None:
        if "/jobs/" in request.url and request.url.endswith(ending):
            seen.append(request)

    page.on("request", note)
    return seen


async def statuses(page: Page) -> list[str]:
    """What the page shows as the status, as it changes."""
    return await page.evaluate("() => window.shown")  # type: ignore[no-any-return]


async def open_page(page: Page, root: str) -> None:
    """Open it, and note each status that it shows."""
    await page.goto(root)
    await page.evaluate(
        """() => {
            window.shown = []
            const status = document.querySelector('[role=status]')
            new MutationObserver(() => window.shown.push(status.textContent))
                .observe(status, { childList: true })
        }"""
    )


async def draw(page: Page, how: str, words: str = "a red door") -> None:
    await page.get_by_label("Words").fill(words)
    await page.get_by_role("button", name=f"Draw and {how}").click()


async def expect_poster(page: Page) -> None:
    await expect(page.get_by_role("status")).to_have_text("completed")
    picture = page.get_by_role("img", name="The poster")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("image => image.decode().then(() => image.naturalHeight)") == 80


async def test_a_page_polls_a_job_to_its_end(
    page: Page, root: str, aqueue: jobq.AsyncQueue
) -> None:
    asked = watch_requests(page)
    await open_page(page, root)
    await draw(page, "poll")
    await expect_poster(page)
    [job] = (await aqueue.list(type="poster")).jobs
    assert job.status == "completed"
    assert {request.url for request in asked} == {f"{root}/jobs/{job.id}"}
    assert 2 <= len(asked) <= 8  # as often as Retry-After said, and not in a loop
    assert any(shown.startswith("processing: ") for shown in await statuses(page))
    await expect(page.get_by_role("progressbar")).to_have_js_property("value", 100)


async def test_a_page_follows_a_job_to_its_end_over_streams_that_end_before(
    page: Page, root: str
) -> None:
    streams = watch_requests(page, "/events")
    await open_page(page, root)
    await draw(page, "follow")
    await expect_poster(page)
    came = [(await request.all_headers()).get("last-event-id") for request in streams]
    assert came[0] is None
    assert len(came) >= 2
    assert all(came[1:])  # the browser came back by itself, and said what it had seen
    steps = [shown for shown in await statuses(page) if shown.startswith("processing: ")]
    assert len(steps) >= 3
    assert len(steps) == len(set(steps))  # each state once, also across streams


async def test_a_page_that_is_loaded_again_goes_on_with_its_job(page: Page, root: str) -> None:
    await open_page(page, root)
    await draw(page, "follow")
    await expect(page.get_by_role("status")).to_contain_text("processing")
    await page.reload()
    await expect(page.get_by_role("status")).to_contain_text("processing")
    await expect_poster(page)


async def test_a_job_is_cancelled_from_the_page_and_nobody_else_sees_it(
    page: Page, root: str, visitor: Visitor, errors: list[str], aqueue: jobq.AsyncQueue
) -> None:
    await page.goto(root)
    [cookie] = await page.context.cookies()
    payload = {"words": "slowly", "pause": 100}
    job = await aqueue.enqueue("poster", payload, owner=cookie.get("value"))
    await page.goto(f"{root}#follow/{job.id}")
    await expect(page.get_by_role("status")).to_contain_text("processing")
    other = await visitor()
    await other.goto(root)
    await other.goto(f"{root}#poll/{job.id}")
    await expect(other.get_by_role("alert")).to_have_text("this job is not yours")
    assert [error for error in errors if "403" in error] == errors != []
    errors.clear()
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("status")).to_have_text("cancelled")
    await expect(page.get_by_role("button", name="Cancel")).to_be_disabled()


async def test_a_job_that_fails_says_why(page: Page, root: str) -> None:
    await open_page(page, root)
    await draw(page, "follow", words=" ")
    await expect(page.get_by_role("alert")).to_contain_text("a poster needs words")
    await expect(page.get_by_role("status")).to_have_text("failed")


async def test_bad_input_is_explained_on_the_page(page: Page, root: str, errors: list[str]) -> None:
    await open_page(page, root)
    refused: list[Any] = []
    page.on("response", lambda answer: refused.append(answer.status))
    await page.evaluate("() => document.querySelector('[name=words]').removeAttribute('maxlength')")
    await draw(page, "poll", words="x" * 2_000_000)
    await expect(page.get_by_role("alert")).not_to_be_empty()
    assert refused == [413]
    assert [error for error in errors if "413" in error] == errors != []
    errors.clear()
