"""`jobq.classify` knows what the real SDKs raise, in their current versions.

Run by `nox -s sdks` against a provider on this machine; not part of the default tests. Every SDK is
told not to retry by itself, as the handlers of jobs should tell it too.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import anthropic
import boto3
import botocore.config
import fal_client
import httpx
import httpx2
import openai
import pytest
import replicate
import requests
import tenacity
from google import genai
from google.genai import types

from jobq._classify.classifier import classify
from jobq._classify.failure import Failure
from tests.sdks.expected import EXPECTED, LOST, UNSENT, of
from tests.sdks.provider import Provider

PATIENCE = 0.5
"""Seconds until a client gives up."""

Call = Callable[[str], Awaitable[Any]]


def in_thread(call: Callable[[str], Any]) -> Call:
    return lambda url: asyncio.to_thread(call, url)


def gemini_options(url: str, **more: Any) -> types.HttpOptions:
    return types.HttpOptions(base_url=url, timeout=int(PATIENCE * 1000), **more)


def gemini(url: str) -> None:
    with genai.Client(api_key="k", http_options=gemini_options(url)) as client:
        client.models.generate_content(model="m", contents="a red door")


async def gemini_aiohttp(url: str) -> None:
    async with genai.Client(api_key="k", http_options=gemini_options(url)).aio as client:
        await client.models.generate_content(model="m", contents="a red door")


async def gemini_httpx(url: str) -> None:
    async with httpx2.AsyncClient() as http:
        options = gemini_options(url, httpx_async_client=http)
        client = genai.Client(api_key="k", http_options=options).aio
        await client.models.generate_content(model="m", contents="a red door")


def openai_sync(url: str) -> None:
    with openai.OpenAI(api_key="k", base_url=url, max_retries=0, timeout=PATIENCE) as client:
        client.images.generate(model="m", prompt="a red door")


async def openai_async(url: str) -> None:
    client = openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0, timeout=PATIENCE)
    async with client:
        await client.responses.create(model="m", input="a red door")


def anthropic_sync(url: str) -> None:
    client = anthropic.Anthropic(api_key="k", base_url=url, max_retries=0, timeout=PATIENCE)
    with client:
        client.messages.create(model="m", max_tokens=9, messages=[])


async def anthropic_async(url: str) -> None:
    client = anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0, timeout=PATIENCE)
    async with client:
        await client.messages.create(model="m", max_tokens=9, messages=[])


def replicate_sync(url: str) -> None:
    client = replicate.Client(api_token="t", base_url=url)
    client.predictions.create(version="v", input={}, wait=1)  # without `wait` it has no time-out


async def replicate_async(url: str) -> None:
    client = replicate.Client(api_token="t", base_url=url)
    await client.predictions.async_create(version="v", input={}, wait=1)


def fal_at(url: str) -> None:
    """fal's SDK has its host in a variable, always with https, and its tries in a constant."""
    fal_client.client.QUEUE_URL_FORMAT = f"{url}/"
    fal_client.client.MAX_ATTEMPTS = 1


def fal_sync(url: str) -> None:
    fal_at(url)
    fal_client.SyncClient(key="a:b", default_timeout=PATIENCE).submit("owner/app", {})


async def fal_async(url: str) -> None:
    fal_at(url)
    await fal_client.AsyncClient(key="a:b", default_timeout=PATIENCE).submit("owner/app", {})


def s3(url: str) -> None:
    once = botocore.config.Config(
        retries={"total_max_attempts": 1},
        read_timeout=PATIENCE,
        s3={"addressing_style": "path"},
    )
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    client = boto3.client("s3", endpoint_url=url, region_name="auto", config=once, **keys)
    client.put_object(Bucket="bucket", Key="key", Body=b"bytes")


def with_httpx(url: str) -> None:
    httpx.post(url, timeout=PATIENCE).raise_for_status()


def with_httpx2(url: str) -> None:
    httpx2.post(url, timeout=PATIENCE).raise_for_status()


def with_requests(url: str) -> None:
    requests.post(url, timeout=PATIENCE).raise_for_status()


async def with_aiohttp(url: str) -> None:
    patience = aiohttp.ClientTimeout(sock_read=PATIENCE)
    async with (
        aiohttp.ClientSession(timeout=patience, raise_for_status=True) as session,
        session.post(url) as response,
    ):
        await response.read()


def with_urllib(url: str) -> None:
    with urllib.request.urlopen(url, data=b"bytes", timeout=PATIENCE) as response:
        response.read()


CLIENTS: dict[str, tuple[str, Call]] = {
    "gemini": ("gemini", in_thread(gemini)),
    "gemini over aiohttp": ("gemini", gemini_aiohttp),
    "gemini over httpx2": ("gemini", gemini_httpx),
    "openai": ("openai", in_thread(openai_sync)),
    "openai async": ("openai", openai_async),
    "anthropic": ("anthropic", in_thread(anthropic_sync)),
    "anthropic async": ("anthropic", anthropic_async),
    "replicate": ("replicate", in_thread(replicate_sync)),
    "replicate async": ("replicate", replicate_async),
    "fal": ("fal", in_thread(fal_sync)),
    "fal async": ("fal", fal_async),
    "s3": ("s3", in_thread(s3)),
    "httpx": ("dated", in_thread(with_httpx)),
    "httpx2": ("dated", in_thread(with_httpx2)),
    "requests": ("dated", in_thread(with_requests)),
    "aiohttp": ("dated", with_aiohttp),
    "urllib": ("dated", in_thread(with_urllib)),
}
BARE = ("httpx", "httpx2", "requests")
"""Clients without an SDK that keep the body of an answer."""

EACH_ANSWER = [(name, answer) for name, (provider, _) in CLIENTS.items() for answer in of(provider)]
WITHOUT_SDK = [
    (name, answer)
    for name in BARE
    for answer in EXPECTED
    if not answer.startswith(("replicate", "s3", "dated"))
]


async def caught(client: str, url: str) -> Exception:
    _, call = CLIENTS[client]
    with pytest.raises(Exception) as raised:  # noqa: PT011  which one is the question
        await call(url)
    return raised.value


@pytest.mark.parametrize("client, answer", EACH_ANSWER + WITHOUT_SDK)
async def test_each_answer_is_classified_as_what_it_is(provider: Provider, client, answer):
    before = provider.requests[answer]
    error = await caught(client, provider.url(answer))
    assert classify(error) == EXPECTED[answer], repr(error)
    assert provider.requests[answer] == before + 1, "the SDK retried by itself"


@pytest.mark.parametrize("way", ["drop", "cut", "hang"])
@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "s3"])
async def test_a_request_whose_answer_is_lost_is_ambiguous(provider: Provider, client, way):
    assert classify(await caught(client, provider.url(way))) == LOST


@pytest.mark.parametrize("way", ["drop", "hang"])
async def test_a_lost_answer_of_s3_is_ambiguous_too(provider: Provider, way):
    assert classify(await caught("s3", provider.url(way))) == LOST


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_request_that_found_nobody_was_never_sent(nobody, client):
    assert classify(await caught(client, nobody)) == UNSENT


async def test_an_sdks_own_retries_hide_nothing(provider: Provider):
    """google-genai retries with tenacity once it is told to."""
    again = types.HttpRetryOptions(attempts=2, initial_delay=0.01, max_delay=0.01)
    options = gemini_options(provider.url("gemini-429"), retry_options=again)
    with (
        genai.Client(api_key="k", http_options=options) as client,
        pytest.raises(genai.errors.ClientError) as raised,
    ):
        client.models.generate_content(model="m", contents="a red door")
    assert classify(raised.value) == EXPECTED["gemini-429"]


async def test_tenacity_hides_nothing(provider: Provider):
    retrying = tenacity.Retrying(stop=tenacity.stop_after_attempt(2))
    url = provider.url("openai-429")
    with pytest.raises(tenacity.RetryError) as raised:
        await asyncio.to_thread(retrying, openai_sync, url)
    assert classify(raised.value) == EXPECTED["openai-429"]


async def test_a_task_group_hides_nothing(provider: Provider):
    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012  it ends with its tasks
        async with asyncio.TaskGroup() as group:
            group.create_task(anthropic_async(provider.url("anthropic-429")))
            group.create_task(asyncio.sleep(60))
    assert classify(raised.value) == EXPECTED["anthropic-429"]


@pytest.mark.parametrize("client", ["aiohttp", "urllib"])
@pytest.mark.parametrize(
    "answer, code", [("fal-429", "http_429"), ("anthropic-529", "http_529"), ("fal-503", None)]
)
async def test_a_client_that_drops_the_body_leaves_the_status_and_the_headers(
    provider: Provider, client, answer, code
):
    full = EXPECTED[answer]
    expected = Failure(
        kind=full.kind,
        status=full.status,
        retry_after=full.retry_after,
        code=code or full.code,
    )
    assert classify(await caught(client, provider.url(answer))) == expected
