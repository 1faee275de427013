"""Faults by seed or by script, each told and billed as the real providers do."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from examples.fakegemini import FakeGemini, Faults, Options, Outcome
from tests.examples.asking import client, content, images, message, picture

MIXED = Faults(error=0.1, overloaded=0.1, refused=0.1, no_image=0.1, reset=0.1)


def became(seed: int, prompts: list[str], threads: int) -> dict[str, Outcome]:
    """What became of each prompt."""
    with FakeGemini(Options(seed=seed, faults=MIXED)) as fake, client(fake) as http:

        def ask(prompt: str) -> None:
            with contextlib.suppress(httpx.ReadError):
                picture(http, prompt)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(ask, prompts))
    return {entry.prompt: entry.outcome for entry in fake.ledger.entries}


def test_a_seed_decides_about_each_prompt_whatever_the_order():
    prompts = [f"prompt {n}" for n in range(60)]
    one = became(1, prompts, threads=1)
    assert became(1, prompts[::-1], threads=6) == one
    assert became(2, prompts, threads=1) != one
    assert {"ok", "error", "overloaded", "refused", "no_image", "reset"} == set(one.values())


def test_another_try_has_another_chance():
    with FakeGemini(Options(faults=Faults(error=0.5))) as fake, client(fake) as http:
        found = {content(http).status_code for _ in range(20)}
    assert found == {200, 500}
    assert fake.ledger.billed() == 83 * fake.ledger.outcomes()["ok"]


def test_a_text_never_lacks_its_image_nor_fails_later():
    with FakeGemini(Options(faults=Faults(no_image=1))) as fake, client(fake) as http:
        assert content(http).status_code == 200
        fake.script("failed_later")
        assert content(http).status_code == 500
    assert fake.ledger.outcomes() == {"ok": 1, "error": 1}


@pytest.mark.parametrize(
    "outcome, gemini, of_images, of_messages",
    [
        ("error", 500, 500, 500),
        ("overloaded", 503, 503, 529),
        ("rate_limited", 429, 429, 429),
        ("day_limited", 429, 429, 429),
        ("no_credit", 429, 429, 402),
        ("bad_key", 400, 401, 401),
        ("bad_request", 400, 400, 400),
    ],
)
def test_a_fault_has_the_status_of_each_api(outcome, gemini, of_images, of_messages):
    with FakeGemini() as fake, client(fake) as http:
        fake.script(outcome, forever=True)
        statuses = [ask(http).status_code for ask in (content, images, message)]
    assert statuses == [gemini, of_images, of_messages]
    assert fake.ledger.outcomes() == {outcome: 3}
    assert fake.ledger.billed() == 0


def test_an_answer_that_is_reset_is_billed_and_the_next_try_is_answered():
    with FakeGemini() as fake, client(fake) as http:
        fake.script("reset")
        with pytest.raises(httpx.ReadError):
            picture(http)
        assert picture(http).status_code == 200
    assert [(e.outcome, e.status, e.billed) for e in fake.ledger.entries] == [
        ("reset", None, 39_000),
        ("ok", 200, 39_000),
    ]


def test_an_answer_that_hangs_is_billed():
    with FakeGemini() as fake, client(fake) as http:
        fake.script("hang")
        with pytest.raises(httpx.ReadTimeout):
            http.post(
                "/v1/images/generations",
                json={"prompt": "a red door"},
                timeout=httpx.Timeout(30, read=0.1),
            )
        fake.ledger.wait_for(lambda entries: [e.outcome for e in entries] == ["hang"])
    assert fake.ledger.billed() == 39_000


def test_the_provider_stops_though_a_client_still_hangs():
    def ask(fake: FakeGemini) -> httpx.Response:
        with client(fake) as http:
            return content(http)

    with ThreadPoolExecutor(1) as threads:
        with FakeGemini() as fake:
            fake.script("hang")
            asking = threads.submit(ask, fake)
            fake.ledger.wait_for(lambda entries: [e.outcome for e in entries] == ["hang"])
        assert isinstance(asking.exception(30), httpx.RemoteProtocolError)


def test_a_request_is_held_until_it_is_released():
    with FakeGemini() as fake, client(fake) as http, ThreadPoolExecutor(2) as threads:
        fake.script("held", "held")
        asking = [threads.submit(content, http, f"prompt {n}") for n in range(2)]
        entries = fake.ledger.wait_for(lambda entries: len(entries) == 2)
        assert {entry.outcome for entry in entries} == {"working"}
        assert fake.ledger.billed() == 0
        fake.release()
        assert [one.result(30).status_code for one in asking] == [200, 200]
    assert fake.ledger.outcomes() == {"ok": 2}


def test_what_a_client_left_behind_is_done_and_billed_all_the_same():
    with FakeGemini() as fake, client(fake) as http:
        fake.script("held")
        with pytest.raises(httpx.ReadTimeout):
            http.post(
                "/v1/images/generations", json={"prompt": "x"}, timeout=httpx.Timeout(30, read=0.1)
            )
        (entry,) = fake.ledger.wait_for(lambda entries: len(entries) == 1)
        assert entry.billed == 0
        fake.release()
        (entry,) = fake.ledger.wait_for(lambda entries: entries[0].finished is not None)
    assert (entry.outcome, entry.billed) == ("ok", 39_000)


def test_a_rule_fits_by_prompt_key_model_and_endpoint():
    with FakeGemini() as fake, client(fake, "a") as http, client(fake, "b") as other:
        fake.script("no_credit", key="b", forever=True)
        fake.script("error", prompt="red", endpoint="images")
        fake.script("overloaded", model="veo")
        assert [content(http).status_code, images(http, "blue").status_code] == [200, 200]
        assert [images(http).status_code, images(http).status_code] == [500, 200]
        assert content(http, model="veo").status_code == 503
        assert [content(other).status_code for _ in range(2)] == [429, 429]


def test_what_the_limit_keeps_out_uses_up_no_rule():
    with FakeGemini(Options(rpm=1)) as fake, client(fake) as http:
        fake.script("error", prompt="blue")
        content(http)
        assert content(http, "blue").status_code == 429
        assert content(http, "blue", model="other").status_code == 500


def test_another_process_can_write_the_script():
    with FakeGemini() as fake, client(fake) as http:
        rule = {"outcomes": ["error", "ok"], "prompt": "red"}
        assert http.post("/script", json=rule).json() == {"rules": 1}
        assert [content(http).status_code for _ in range(2)] == [500, 200]
        assert http.post("/release", json={}).status_code == 200


@pytest.mark.parametrize(
    "rule, wrong",
    [
        ({"outcomes": []}, "at least one outcome"),
        ({"outcomes": ["explode"]}, "explode"),
        ({"outcomes": ["working"]}, "cannot be asked for"),
        ({"outcome": ["ok"]}, "outcome"),
        ({"outcomes": ["ok"], "key": 5}, "key must be a text"),
    ],
)
def test_a_rule_that_makes_no_sense_is_an_error(rule, wrong):
    with FakeGemini() as fake, client(fake) as http:
        refused = http.post("/script", json=rule)
        assert refused.status_code == 400
        assert wrong in refused.json()["error"]


@pytest.mark.parametrize(
    "options",
    [{"speed": 0}, {"latency": -1}, {"burst": 1}, {"rpm": 0}],
    ids=lambda options: next(iter(options)),
)
def test_options_that_make_no_sense_are_errors(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FakeGemini(Options(**options))


def test_probabilities_that_make_no_sense_are_errors():
    with pytest.raises(ValueError, match="at most 1 together"):
        Faults(error=0.6, reset=0.6)
