"""Handlers: which functions can be one, and what goes where."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import pytest

import jobq
from jobq import JobContext, SyncJobContext
from jobq.testing import perform

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class Photo:
    url: str


class Caller:
    def __call__(self, payload: Photo, job: SyncJobContext) -> str:
        return payload.url


class AsyncCaller:
    async def __call__(self, payload: Photo) -> str:
        return payload.url

    async def method(self, payload: Photo, job: JobContext) -> str:
        return payload.url


async def a_nothing(): ...
async def a_payload(payload): ...
async def a_typed(payload: Photo): ...
async def a_context(job: JobContext): ...
async def a_both(payload: Photo, job: JobContext): ...
async def a_swapped(job: JobContext, payload: Photo): ...
async def a_bare(payload, job): ...
async def a_half(payload: dict, job): ...
async def a_default(payload: Photo, job: JobContext, client: Any = None, *, n: int = 1): ...
async def a_keyword(payload: Photo, *, job: JobContext | None = None): ...
async def a_variable(payload: Photo, *rest: Any, **more: Any): ...
def s_nothing(): ...
def s_typed(payload: Photo): ...
def s_context(job: SyncJobContext): ...
def s_both(payload: Photo, job: SyncJobContext): ...
def s_bare(payload, job): ...


PAYLOAD, CONTEXT, BOTH = ("payload",), ("context",), ("payload", "context")


@pytest.mark.parametrize(
    "function, is_async, takes, annotation",
    [
        (a_nothing, True, (), None),
        (a_payload, True, PAYLOAD, None),
        (a_typed, True, PAYLOAD, Photo),
        (a_context, True, CONTEXT, None),
        (a_both, True, BOTH, Photo),
        (a_swapped, True, ("context", "payload"), Photo),
        (a_bare, True, BOTH, None),
        (a_half, True, BOTH, dict),
        (a_default, True, BOTH, Photo),
        (a_keyword, True, PAYLOAD, Photo),
        (a_variable, True, PAYLOAD, Photo),
        (s_nothing, False, (), None),
        (s_typed, False, PAYLOAD, Photo),
        (s_context, False, CONTEXT, None),
        (s_both, False, BOTH, Photo),
        (s_bare, False, BOTH, None),
        (Caller(), False, BOTH, Photo),
        (AsyncCaller(), True, PAYLOAD, Photo),
        (AsyncCaller().method, True, BOTH, Photo),
        (functools.partial(a_default, client=1), True, BOTH, Photo),
        (functools.partial(s_both), False, BOTH, Photo),
        (functools.partial(AsyncCaller()), True, PAYLOAD, Photo),
    ],
)
def test_a_handler_is_called_with_what_its_signature_asks_for(
    router, function, is_async, takes, annotation
):
    handler = router.handler("t")(function)
    assert (handler.is_async, handler.takes) == (is_async, takes)
    assert handler.codec.annotation is annotation
    assert handler.arguments("p", "c") == [{"payload": "p", "context": "c"}[one] for one in takes]


@pytest.mark.parametrize(
    "function", [Caller(), AsyncCaller(), AsyncCaller().method, functools.partial(Caller())]
)
def test_objects_methods_and_partials_are_run_like_functions(router, function):
    assert perform(router.handler("t")(function), {"url": "u"}) == "u"


async def sync_in_async(payload: dict, job: SyncJobContext): ...
def async_in_sync(payload: dict, job: JobContext): ...
async def three(payload: dict, job: JobContext, client: Any): ...
async def keyword_only(payload: dict, *, client: Any): ...
async def twice(payload: dict, job: JobContext, again: JobContext): ...
async def hidden(payload: Decimal): ...
async def impossible(payload: complex): ...
async def yields(payload: dict):
    yield 1


def generates(payload: dict):
    yield 1


@pytest.mark.parametrize(
    "function, reason",
    [
        (sync_in_async, "async def takes a JobContext, but 'job' is annotated SyncJobContext"),
        (async_in_sync, "def takes a SyncJobContext, but 'job' is annotated JobContext"),
        (three, "does not know what to pass as 'client'"),
        (keyword_only, "'client' is keyword-only"),
        (twice, "takes the job's context twice"),
        (hidden, "its annotations cannot be resolved: name 'Decimal' is not defined"),
        (impossible, "cannot be a payload type"),
        (yields, "a generator cannot be a handler"),
        (generates, "a generator cannot be a handler"),
        (functools.partial(generates), "a generator cannot be a handler"),
        ("a_both", "is no function"),
    ],
)
def test_what_cannot_be_a_handler_is_an_error_at_decoration(router, function, reason):
    with pytest.raises(jobq.HandlerError, match=r"^handler 't': ") as caught:
        router.handler("t")(function)
    assert reason in str(caught.value)
    assert "t" not in router


def test_a_handler_can_still_be_called_and_keeps_its_function(router):
    @router.handler("add")
    def add(payload: dict) -> int:
        return payload["a"] + 1

    assert add({"a": 1}) == 2
    assert add.function({"a": 1}) == 2


def test_annotations_with_metadata_are_understood(router):
    @router.handler("t")
    async def handler(payload: Annotated[Photo, "of a cat"], job: JobContext) -> None: ...

    assert handler.codec.annotation is Photo


# --- options --------------------------------------------------------------------------------------


def test_options_are_kept_as_defaults(router):
    retry = jobq.Retry(max_attempts=7)
    handler = router.handler(
        "t", queue="images", priority="urgent", retry=retry, timeout=timedelta(minutes=2), keep=60
    )(a_both)
    assert (handler.queue, handler.priority, handler.retry) == ("images", 100, retry)
    assert (handler.timeout, handler.keep) == (120.0, 60_000_000)


def test_without_options_there_are_three_attempts_of_fifteen_minutes(router):
    handler = router.handler("t")(a_both)
    assert (handler.retry.max_attempts, handler.timeout, handler.keep) == (3, 900.0, None)


@pytest.mark.parametrize("keep, microseconds", [(False, 0), (None, None), (True, None), (1, 10**6)])
def test_keep_is_a_span_or_nothing_at_all(router, keep, microseconds):
    assert router.handler("t", keep=keep)(a_both).keep == microseconds


def test_a_timeout_of_none_is_for_ever(router):
    assert router.handler("t", timeout=None)(a_both).timeout is None


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"priority": "high"}, "priority='high' must be"),
        ({"timeout": 0}, "timeout=0 must be above 0"),
        ({"timeout": -1}, "timeout=-1 must be above 0"),
        ({"timeout": "1"}, "timeout must be seconds"),
        ({"keep": 0.5}, "keep=0.5 must be at least a second"),
        ({"keep": -1}, "keep=-1 must be at least a second"),
        ({"queue": ""}, "queue must be text of 1 to 100 letters"),
        ({"queue": 5}, "queue must be text of 1 to 100 letters"),
    ],
)
def test_a_bad_option_is_refused_at_decoration(router, options, reason):
    with pytest.raises(jobq.ConfigurationError, match=f"^handler 't': {reason}"):
        router.handler("t", **options)


@pytest.mark.parametrize("type", ["", None, 5, "a\x00b", "\ud800", "x" * 201])
def test_a_type_is_a_name(router, type):
    with pytest.raises(jobq.ConfigurationError, match="a handler's type is a name"):
        router.handler(type)
