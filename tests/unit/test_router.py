"""Routers: a handler for each type, and middleware around them."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import jobq
from jobq import JobContext
from jobq.testing import perform


async def a_both(payload: dict, job: JobContext): ...
async def a_typed(payload: dict[str, int]): ...


class Caller:
    def __call__(self, payload: dict) -> None: ...


def test_a_type_has_one_handler(router):
    router.handler("t")(a_both)
    with pytest.raises(jobq.ConfigurationError, match=r"'t' has a handler already: .*\.a_both$"):
        router.handler("t")(a_typed)


def test_a_duplicate_is_refused_for_objects_and_partials_too(router):
    router.handler("t")(Caller())
    with pytest.raises(jobq.ConfigurationError, match=r"'t' has a handler already: .*Caller"):
        router.handler("t")(functools.partial(a_both))
    router.handler("u")(functools.partial(a_both))
    with pytest.raises(jobq.ConfigurationError, match=r"'u' has a handler already: .*partial"):
        router.handler("u")(Caller())


def test_the_same_function_may_be_registered_again(router):
    """As when a module is imported under two names."""
    router.handler("t")(a_both)
    router.handler("t")(a_both)
    assert router.types == ["t"]


def test_a_router_knows_its_types(router):
    b = router.handler("b")(a_both)
    router.handler("a")(a_both)
    assert router.types == ["a", "b"]
    assert "a" in router
    assert "c" not in router
    assert router.get("b") is b
    assert router.get("c") is None
    assert {handler.type for handler in router} == {"a", "b"}


def test_the_decorator_of_the_package_registers_on_the_default_router():
    decorated = jobq.handler("tests.unit.routing")(a_both)
    assert jobq.Queue("sqlite:///none.db").router.get("tests.unit.routing") is decorated


def test_an_included_type_must_be_new_too(router):
    part = jobq.Router()
    part.handler("t")(a_both)
    router.handler("t")(a_typed)
    with pytest.raises(jobq.ConfigurationError, match="'t' has a handler already"):
        router.include(part)


def test_a_router_may_be_included_twice(router):
    part = jobq.Router()
    part.handler("t")(a_both)
    router.include(part)
    router.include(part)
    assert router.types == ["t"]


# --- middleware -----------------------------------------------------------------------------------


def noting(name: str, calls: list[str]) -> jobq.Middleware:
    async def middleware(job: JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
        calls.append(f"{name} in")
        try:
            return await call_next()
        finally:
            calls.append(f"{name} out")

    return middleware


def run(router: jobq.Router, type: str) -> Any:
    handler = router.get(type)
    assert handler is not None
    return perform(handler, {}, queue=jobq.Queue("sqlite:///none.db", router=router))


def test_middleware_wraps_inwards_in_the_order_it_was_added(router):
    calls: list[str] = []
    router.handler("t")(lambda: calls.append("handler"))
    router.middleware(noting("first", calls))
    router.middleware(noting("second", calls))
    run(router, "t")
    assert calls == ["first in", "second in", "handler", "second out", "first out"]


def test_an_included_routers_middleware_is_inside_and_stays_with_its_handlers(router):
    calls: list[str] = []
    inner, middle = jobq.Router(), jobq.Router()
    inner.handler("included")(lambda: calls.append("included"))
    inner.middleware(noting("inner", calls))
    middle.include(inner)
    middle.middleware(noting("middle", calls))
    router.handler("own")(lambda: calls.append("own"))
    router.include(middle)
    router.middleware(noting("outer", calls))
    run(router, "included")
    assert calls[:4] == ["outer in", "middle in", "inner in", "included"]
    assert calls[4:] == ["inner out", "middle out", "outer out"]
    calls.clear()
    run(router, "own")
    assert calls == ["outer in", "own", "outer out"]


def test_middleware_can_answer_in_the_handlers_place(router):
    @router.middleware
    async def cached(job, call_next):
        return "from the cache"

    router.handler("t")(lambda: pytest.fail("the handler was called"))
    assert run(router, "t") == "from the cache"
