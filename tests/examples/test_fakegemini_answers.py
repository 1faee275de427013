"""What the fake provider makes: texts, pictures, videos, refusals, each as the real ones answer."""

from __future__ import annotations

import base64
import json
import struct
import zlib

import httpx
import pytest

from examples.fakegemini import FakeGemini, Options, Prices, prompt_hash
from tests.examples.asking import Clock, client, content, details, images, message, picture, video


@pytest.fixture
def fake():
    with FakeGemini() as fake:
        yield fake


@pytest.fixture
def http(fake):
    with client(fake) as http:
        yield http


def first(response):
    return response.json()["candidates"][0]


def png_of(response) -> bytes:
    (part,) = first(response)["content"]["parts"]
    assert part["inlineData"]["mimeType"] == "image/png"
    return base64.b64decode(part["inlineData"]["data"])


def size_and_colour(png: bytes) -> tuple[tuple[int, int], bytes]:
    """By hand, so that no library forgives what another would not."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(png):
        length, name = struct.unpack_from(">I4s", png, at)
        data = png[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", png, at + 8 + length)
        assert crc == zlib.crc32(name + data)
        chunks[name], at = data, at + 12 + length
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    pixels = zlib.decompress(chunks[b"IDAT"])
    assert len(pixels) == height * (1 + 3 * width)
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    return (width, height), pixels[1:4]


def test_a_text_comes_with_its_usage(http):
    answer = content(http).json()
    assert answer["candidates"][0]["finishReason"] == "STOP"
    assert answer["candidates"][0]["content"]["parts"][0]["text"].endswith(".")
    usage = answer["usageMetadata"]
    assert usage["promptTokenCount"] == 3
    assert usage["totalTokenCount"] == 3 + usage["candidatesTokenCount"]


def test_every_picture_is_another_one_also_of_the_same_prompt(http):
    assert len({png_of(picture(http)) for _ in range(3)}) == 3


def test_the_same_prompt_gives_the_same_text_and_another_gives_another(http):
    assert first(content(http)) == first(content(http))
    assert first(content(http)) != first(content(http, "a blue door"))


def test_a_picture_has_the_shape_that_was_asked_for(http):
    square, red = size_and_colour(png_of(picture(http)))
    wide, blue = size_and_colour(
        png_of(picture(http, "a blue door", imageConfig={"aspectRatio": "16:9"}))
    )
    assert square == (64, 64)
    assert wide == (96, 54)
    assert red != blue


def test_modalities_say_whether_a_picture_is_wanted(http):
    assert "inlineData" in str(first(content(http, responseModalities=["TEXT", "IMAGE"])))
    assert "inlineData" not in str(first(picture(http, responseModalities=["TEXT"])))


def test_a_picture_that_is_sent_along_counts_as_tokens(http):
    parts = [{"text": "make it red"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]
    body = {"contents": [{"parts": parts}]}
    answer = http.post("/v1beta/models/flash-image:generateContent", json=body).json()
    assert answer["usageMetadata"]["promptTokenCount"] == 3 + 258


def test_a_text_fits_the_schema_that_was_asked_for(http):
    schema = {
        "type": "OBJECT",
        "properties": {
            "title": {"type": "STRING"},
            "scenes": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": 6},
            "mood": {"type": "STRING", "enum": ["calm", "bright"]},
            "seconds": {"type": "INTEGER"},
            "loud": {"type": "BOOLEAN"},
        },
    }
    answer = content(http, responseMimeType="application/json", responseSchema=schema)
    found = json.loads(first(answer)["content"]["parts"][0]["text"])
    assert len(found["scenes"]) == 6
    assert found["mood"] in {"calm", "bright"}
    assert [type(found[name]) for name in ("title", "seconds", "loud")] == [str, int, bool]


def test_a_tool_is_called_with_what_its_schema_asks_for(http):
    tool = {
        "name": "record",
        "input_schema": {"type": "object", "properties": {"name": {"type": ["string", "null"]}}},
    }
    answer = message(http, tools=[tool], tool_choice={"type": "tool", "name": "record"}).json()
    assert answer["stop_reason"] == "tool_use"
    assert answer["content"][0]["name"] == "record"
    assert isinstance(answer["content"][0]["input"]["name"], str)


def test_a_refusal_is_an_answer_without_a_picture_and_costs_nothing(fake, http):
    fake.script("refused", forever=True)
    assert first(picture(http))["finishReason"] == "IMAGE_SAFETY"
    assert "content" not in first(picture(http))
    assert first(content(http, """ x """))["finishReason"] == "SAFETY"
    assert images(http).json()["error"]["code"] == "moderation_blocked"
    assert message(http).json()["stop_reason"] == "refusal"
    assert [e.billed for e in fake.ledger.entries if e.model not in {"flash", "m"}] == [0] * 3


def test_an_answer_may_lack_its_picture(fake, http):
    fake.script("no_image", forever=True)
    without = first(picture(http))
    assert without["finishReason"] == "NO_IMAGE"
    assert list(without["content"]["parts"][0]) == ["text"]
    assert images(http).json()["data"] == []
    assert fake.ledger.billed() == 0


def test_images_come_in_the_number_and_size_that_were_asked_for(fake, http):
    answer = images(http, n=2, size="1536x1024").json()
    pictures = [base64.b64decode(one["b64_json"]) for one in answer["data"]]
    assert [size_and_colour(one)[0] for one in pictures] == [(96, 64)] * 2
    assert pictures[0] != pictures[1]
    assert answer["usage"]["total_tokens"] == answer["usage"]["output_tokens"] + 3
    assert fake.ledger.billed() == 2 * Prices().image


def test_a_message_tells_its_usage_and_is_paid_by_it(fake, http):
    usage = message(http).json()["usage"]
    assert fake.ledger.billed() == usage["input_tokens"] + 4 * usage["output_tokens"]


def test_prices_can_be_chosen():
    with FakeGemini(Options(prices=Prices(image=7))) as fake, client(fake) as http:
        picture(http)
    assert fake.ledger.billed() == 7


def test_a_text_can_be_dictated(fake, http):
    fake.script("ok", "ok", prompt="card", text='{"name": "Ada"}')
    assert first(content(http, "read the card"))["content"]["parts"][0]["text"] == '{"name": "Ada"}'
    assert first(content(http, "a door"))["content"]["parts"][0]["text"] != '{"name": "Ada"}'
    assert message(http, "the card").json()["content"][0]["text"] == '{"name": "Ada"}'


class TestVideos:
    @pytest.fixture
    def clock(self):
        return Clock()

    @pytest.fixture
    def fake(self, clock):
        projects = {"k": "studio", "other": "elsewhere"}
        options = Options(video_seconds=20, projects=projects)
        with FakeGemini(options, clock=clock) as fake:
            yield fake

    def test_a_video_is_started_asked_for_and_downloaded(self, fake, http, clock):
        name = video(http).json()["name"]
        clock.now += 19
        assert "done" not in http.get(f"/v1beta/{name}").json()
        clock.now += 1
        done = http.get(f"/v1beta/{name}").json()
        assert done["done"]
        (sample,) = done["response"]["generateVideoResponse"]["generatedSamples"]
        file = http.get(sample["video"]["uri"])
        assert file.headers["content-type"] == "video/mp4"
        assert file.content[4:8] == b"ftyp"
        assert [entry.endpoint for entry in fake.ledger.entries] == [
            "predictLongRunning",
            "getOperation",
            "getOperation",
            "download",
        ]
        assert {entry.operation for entry in fake.ledger.entries} == {name}
        assert fake.ledger.billed() == Prices().video

    def test_a_cancelled_video_is_done_with_an_error_and_stays_billed(self, fake, http):
        name = video(http).json()["name"]
        assert http.post(f"/v1beta/{name}:cancel", json={}).json() == {}
        done = http.get(f"/v1beta/{name}").json()
        assert done["done"]
        assert done["error"]["code"] == 1
        assert fake.ledger.billed() == Prices().video

    def test_cancelling_what_is_done_changes_nothing(self, http, clock):
        name = video(http).json()["name"]
        clock.now += 20
        http.post(f"/v1beta/{name}:cancel", json={})
        assert "response" in http.get(f"/v1beta/{name}").json()

    def test_a_file_of_a_video_in_the_making_is_not_found(self, http):
        id_ = video(http).json()["name"].rpartition("/")[2]
        assert http.get(f"/v1beta/files/{id_}v0:download").status_code == 404

    @pytest.mark.parametrize("outcome, error", [("refused", None), ("failed_later", 13)])
    def test_a_video_that_comes_to_nothing_is_not_billed(self, fake, http, clock, outcome, error):
        fake.script(outcome)
        name = video(http, sampleCount=2).json()["name"]
        clock.now += 20
        done = http.get(f"/v1beta/{name}").json()
        assert done["done"]
        assert done.get("error", {}).get("code") == error
        if outcome == "refused":
            assert done["response"]["generateVideoResponse"]["raiMediaFilteredCount"] == 2
        assert fake.ledger.billed() == 0

    def test_an_operation_belongs_to_its_project(self, fake, http):
        name = video(http).json()["name"]
        with client(fake, "other") as stranger:
            assert stranger.get(f"/v1beta/{name}").status_code == 403
        assert http.get("/v1beta/models/veo/operations/none").status_code == 404


@pytest.mark.parametrize(
    "body, missing",
    [
        ({}, "contents must be a list"),
        ({"contents": [{"parts": [{"text": ""}]}]}, "at least one part"),
        ({"contents": [{"parts": "text"}]}, "list of parts"),
        ({"contents": [], "generationConfig": []}, "at least one part"),
        ({"instances": []}, "instances must have"),
        ({"instances": [{"prompt": "x"}], "parameters": {"sampleCount": "2"}}, "sampleCount"),
        ([], "JSON object"),
    ],
)
def test_a_bad_request_says_what_is_wrong_with_it(fake, http, body, missing):
    refused = http.post("/v1beta/models/flash:generateContent", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert missing in refused.json()["error"]["message"]
    assert fake.ledger.outcomes() == {"bad_request": 1}


def test_bad_requests_of_the_other_endpoints_say_it_too(http):
    assert "n must be" in images(http, n=0).json()["error"]["message"]
    assert "size must be" in images(http, size="large").json()["error"]["message"]
    assert "max_tokens" in message(http, max_tokens=None).json()["error"]["message"]
    assert "no tool" in message(http, tool_choice={"name": "x"}).json()["error"]["message"]
    without = http.post("/v1/messages", json={}, headers={"anthropic-version": ""})
    assert without.status_code == 400


def test_a_key_that_is_missing_or_unknown_is_refused_in_each_apis_words():
    with FakeGemini(Options(projects={"known": "studio"})) as fake:
        with client(fake, "unknown") as http:
            assert details(content(http))["ErrorInfo"]["reason"] == "API_KEY_INVALID"
            assert images(http).json()["error"]["code"] == "invalid_api_key"
            assert message(http).json()["error"]["type"] == "authentication_error"
        assert httpx.get(f"{fake.url}/v1beta/models/m/operations/o").status_code == 403
    assert [entry.outcome for entry in fake.ledger.entries] == ["bad_key"] * 3 + ["forbidden"]
    assert fake.ledger.most_within(60) == 0


def test_an_unknown_path_is_not_found_and_in_the_ledger(fake, http):
    assert http.get("/v1beta/modles").status_code == 404
    assert [(e.endpoint, e.outcome) for e in fake.ledger.entries] == [("unknown", "not_found")]


def test_a_prompt_can_be_found_in_the_ledger_by_its_hash(fake, http):
    http.headers["Idempotency-Key"] = "job-1/paint"
    content(http)
    (entry,) = fake.ledger.entries
    assert entry.prompt == prompt_hash("a red door")
    assert entry.idempotency_key == "job-1/paint"
