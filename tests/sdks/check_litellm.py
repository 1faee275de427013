"""`jobq.classify` sees through litellm, which gives every failure a class and status of its own.

Run by `nox -s sdks` in an environment of its own: litellm needs older versions of other SDKs.
"""

from __future__ import annotations

import asyncio

import litellm
import pytest

from jobq._classify.classifier import classify
from tests.sdks.expected import EXPECTED, LOST, UNSENT, of
from tests.sdks.provider import Provider

MODELS = {
    "openai": "openai/gpt-4o",
    "gemini": "gemini/gemini-2.5-flash",
    "anthropic": "anthropic/claude-sonnet-4-5",
}
EACH_ANSWER = [(provider, answer) for provider in MODELS for answer in of(provider)]


async def caught(provider: str, url: str) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011  which one is the question
        await asyncio.to_thread(
            litellm.completion,
            model=MODELS[provider],
            api_base=url,
            api_key="k",
            messages=[{"role": "user", "content": "a red door"}],
            max_retries=0,
            num_retries=0,
            timeout=0.5,
        )
    return raised.value


@pytest.mark.parametrize("model, answer", EACH_ANSWER)
async def test_each_answer_is_classified_as_what_it_is(provider: Provider, model, answer):
    before = provider.requests[answer]
    error = await caught(model, provider.url(answer))
    assert classify(error) == EXPECTED[answer], repr(error)
    assert provider.requests[answer] == before + 1, "the SDK retried by itself"


@pytest.mark.parametrize("way", ["drop", "cut", "hang"])
@pytest.mark.parametrize("model", MODELS)
async def test_a_request_whose_answer_is_lost_is_ambiguous(provider: Provider, model, way):
    assert classify(await caught(model, provider.url(way))) == LOST


@pytest.mark.parametrize("model", MODELS)
async def test_a_request_that_found_nobody_was_never_sent(nobody, model):
    assert classify(await caught(model, nobody)) == UNSENT
