"""The real SDKs understand what the fake provider answers, and it understands them.

Run by `nox -s sdks` in their current versions; not part of the default tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import anthropic
import httpx
import openai
import pydantic
import pytest
from google import genai
from google.genai import types

from examples.fakegemini import FakeGemini, Options, Prices
from jobq._classify.classifier import classify
from jobq._classify.failure import Failure, FailureKind

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def fake() -> Iterator[FakeGemini]:
    with FakeGemini(Options(video_seconds=0)) as fake:
        yield fake


def gemini(fake: FakeGemini, key: str = "k") -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=fake.url))


def of_openai(fake: FakeGemini, key: str = "k") -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{fake.url}/v1", max_retries=0)


def of_anthropic(fake: FakeGemini, key: str = "k") -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=key, base_url=fake.url, max_retries=0)


def ask_gemini(fake: FakeGemini, key: str = "k") -> types.GenerateContentResponse:
    with gemini(fake, key) as client:
        return client.models.generate_content(model="flash", contents="a red door")


def ask_openai(fake: FakeGemini, key: str = "k") -> openai.types.ImagesResponse:
    with of_openai(fake, key) as client:
        return client.images.generate(model="gpt-image", prompt="a red door")


def ask_anthropic(fake: FakeGemini, key: str = "k") -> anthropic.types.Message:
    messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": "a red door"}]
    with of_anthropic(fake, key) as client:
        return client.messages.create(model="m", max_tokens=99, messages=messages)


ALL = [ask_gemini, ask_openai, ask_anthropic]


def failure(ask, fake: FakeGemini, key: str = "k") -> Failure:
    with pytest.raises(Exception) as raised:  # noqa: PT011  which one differs by SDK
        ask(fake, key)
    return classify(raised.value)


def test_gemini_gives_a_text_with_its_usage(fake):
    answer = ask_gemini(fake)
    assert answer.text
    assert answer.usage_metadata.prompt_token_count == 3
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP


def test_gemini_edits_an_image(fake):
    with gemini(fake) as client:
        answer = client.models.generate_content(
            model="flash-image",
            contents=["make it red", types.Part.from_bytes(data=PNG, mime_type="image/png")],
            config=types.GenerateContentConfig(
                response_modalities=["TEXT", "IMAGE"],
                image_config=types.ImageConfig(aspect_ratio="16:9"),
            ),
        )
    (part,) = answer.parts
    assert part.inline_data.data.startswith(PNG)
    assert answer.usage_metadata.prompt_token_count == 3 + 258


async def test_gemini_gives_an_image_to_its_asynchronous_client(fake):
    async with gemini(fake).aio as client:
        asked = [
            client.models.generate_content(model="flash-image", contents=f"door {n}")
            for n in range(3)
        ]
        answers = await asyncio.gather(*asked)
    assert len({answer.parts[0].inline_data.data for answer in answers}) == 3
    assert fake.ledger.billed() == 3 * Prices().image


class Scenes(pydantic.BaseModel):
    title: str
    scenes: list[str]


def test_gemini_gives_an_object_of_a_schema(fake):
    config = types.GenerateContentConfig(
        response_mime_type="application/json", response_schema=Scenes
    )
    with gemini(fake) as client:
        answer = client.models.generate_content(model="flash", contents="a reel", config=config)
    assert isinstance(answer.parsed, Scenes)
    assert answer.parsed.scenes


def started(fake: FakeGemini) -> types.GenerateVideosOperation:
    """The SDK itself starts videos on Vertex only, since its third major version."""
    path = "/v1beta/models/veo:predictLongRunning"
    body = {"instances": [{"prompt": "a red door"}]}
    answer = httpx.post(fake.url + path, json=body, headers={"x-goog-api-key": "k"})
    return types.GenerateVideosOperation.from_api_response(answer.json())


def test_gemini_asks_for_a_video_and_downloads_it(fake):
    with gemini(fake) as client:
        operation = client.operations.get(started(fake))
        assert operation.done
        (made,) = operation.response.generated_videos
        assert client.files.download(file=made.video)[4:8] == b"ftyp"
    assert fake.ledger.billed() == Prices().video


def test_gemini_is_told_why_there_is_no_image(fake):
    fake.script("refused", "no_image")
    with gemini(fake) as client:
        reasons = [
            client.models.generate_content(model="flash-image", contents="x").candidates[0]
            for _ in range(2)
        ]
    assert [one.finish_reason.name for one in reasons] == ["IMAGE_SAFETY", "NO_IMAGE"]


def test_gemini_is_told_why_there_is_no_video(fake):
    fake.script("refused", "failed_later")
    with gemini(fake) as client:
        refused, failed = [client.operations.get(started(fake)) for _ in range(2)]
    assert refused.response.rai_media_filtered_count == 1
    assert failed.error["code"] == 13


def test_openai_gives_images_with_their_usage(fake):
    answer = ask_openai(fake)
    assert answer.data[0].b64_json
    assert answer.usage.input_tokens == 3


def test_anthropic_gives_a_text_with_its_usage(fake):
    answer = ask_anthropic(fake)
    assert answer.content[0].text
    assert answer.usage.input_tokens == 3
    assert answer.stop_reason == "end_turn"


def test_anthropic_calls_a_tool(fake):
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    with of_anthropic(fake) as client:
        answer = client.messages.create(
            model="m",
            max_tokens=99,
            messages=[{"role": "user", "content": "read the card"}],
            tools=[{"name": "record", "input_schema": schema}],
            tool_choice={"type": "tool", "name": "record"},
        )
    assert answer.content[0].input["name"]


@pytest.mark.parametrize("ask", ALL)
def test_a_closed_limit_is_understood_with_its_wait(ask):
    with FakeGemini(Options(rpm=1)) as fake:
        ask(fake)
        found = failure(ask, fake)
    assert found.kind is FailureKind.RATE_LIMITED
    assert 0 < found.retry_after <= 61


@pytest.mark.parametrize("ask", [ask_gemini, ask_openai])
def test_a_used_up_day_is_understood(ask):
    with FakeGemini(Options(rpd=1)) as fake:
        ask(fake)
        found = failure(ask, fake)
    assert found.kind is FailureKind.RATE_LIMITED
    assert found.per_day


@pytest.mark.parametrize("ask", ALL)
@pytest.mark.parametrize(
    "outcome, kind",
    [
        ("no_credit", FailureKind.QUOTA_EXHAUSTED),
        ("overloaded", FailureKind.OVERLOADED),
        ("error", FailureKind.TRANSIENT),
        ("reset", FailureKind.AMBIGUOUS),
        ("bad_request", FailureKind.PERMANENT),
    ],
)
def test_a_fault_is_understood(fake, ask, outcome, kind):
    fake.script(outcome)
    assert failure(ask, fake).kind is kind
    assert len(fake.ledger.entries) == 1


@pytest.mark.parametrize("ask", ALL)
def test_an_unknown_key_is_understood(ask):
    with FakeGemini(Options(projects={"known": "studio"})) as fake:
        assert failure(ask, fake, "unknown").credentials


def test_an_sdk_that_retries_by_itself_pays_three_times_for_one_answer_that_hangs(fake):
    fake.script("hang", forever=True)
    patient = openai.OpenAI(api_key="k", base_url=f"{fake.url}/v1", timeout=0.2)
    with patient as client, pytest.raises(openai.APITimeoutError):
        client.images.generate(model="gpt-image", prompt="a red door")
    fake.ledger.wait_for(lambda entries: [e.outcome for e in entries] == ["hang"] * 3)
    assert fake.ledger.billed() == 3 * Prices().image
