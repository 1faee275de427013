"""The provider without its sockets: a request becomes an answer and a line in the ledger."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Callable

from examples.fakegemini import made_up
from examples.fakegemini.apis import Api, Context
from examples.fakegemini.calls import Call, Made, RefusedError, bad_request
from examples.fakegemini.ledger import Entry, Ledger, prompt_hash
from examples.fakegemini.limits import Doors, Standing
from examples.fakegemini.operations import Operations
from examples.fakegemini.options import Options
from examples.fakegemini.outcomes import Dice, Outcome, Script
from examples.fakegemini.routes import Found, find
from examples.fakegemini.videos import Videos
from examples.fakegemini.wire import Answer, Request, Silence

Clock = Callable[[], float]
"""Seconds since 1970."""

_MESSAGES = {
    Outcome.ERROR: "An internal error has occurred.",
    Outcome.OVERLOADED: "The model is overloaded. Please try again later.",
    Outcome.NO_CREDIT: "Your prepayment credits are depleted.",
    Outcome.BAD_KEY: "API key not valid.",
    Outcome.BAD_REQUEST: "The request is not supported.",
}


def steady_clock() -> Clock:
    """The time of day at the start, and from there on as even as a stopwatch."""
    start = time.time() - time.monotonic()
    return lambda: start + time.monotonic()


class Provider:
    """Answers requests as a provider would. Everything happens in one event loop."""

    def __init__(self, options: Options, ledger: Ledger, clock: Clock | None = None) -> None:
        self.options = options
        self.ledger = ledger
        self.clock = clock or steady_clock()
        self.script = Script()
        minute = 60 / options.speed
        self.doors = Doors(
            options.limits,
            options.models,
            kind=options.window,
            burst=options.burst,
            minute=minute,
        )
        self.operations = Operations(options.video_seconds / options.speed, options.seed)
        self._videos = Videos(self.operations)
        self._dice = Dice(options.seed)
        self._gate = asyncio.Event()

    def release(self) -> None:
        """Let all requests go on that are held."""
        self._gate.set()
        self._gate = asyncio.Event()

    async def answer(self, request: Request) -> Answer:
        """Answer one request. What a client leaves behind is worked off and billed all the same."""
        found = find(request.method, request.path)
        call, problem = _read(found, request)
        entry = self._arrived(found, call, request)
        try:
            self._authorise(entry.key)
            if problem:
                raise problem
            if call:
                return await self._generate(found.api, call, entry)
            return self._videos.answer(found, request, entry, self.ledger, self.clock())
        except RefusedError as refusal:
            response = found.api.refuse(refusal, self._context(entry))
            self._finish(entry, refusal.outcome, status=response.status)
            return response

    def _arrived(self, found: Found, call: Call | None, request: Request) -> Entry:
        key = found.api.key(request) or ""
        return self.ledger.arrive(
            arrived=self.clock(),
            key=key,
            project=self._project(key) or "",
            model=call.model if call else found.model,
            endpoint=found.endpoint,
            prompt=prompt_hash(call.prompt) if call else "",
            idempotency_key=request.headers.get("idempotency-key")
            or request.headers.get("x-idempotency-key"),
        )

    def _project(self, key: str) -> str | None:
        if self.options.projects is None:
            return "default"
        return self.options.projects.get(key)

    def _authorise(self, key: str) -> None:
        if not key:
            raise RefusedError(Outcome.FORBIDDEN, "The request has no API key.")
        if self._project(key) is None:
            raise RefusedError(Outcome.BAD_KEY, _MESSAGES[Outcome.BAD_KEY])

    async def _generate(self, api: Api, call: Call, entry: Entry) -> Answer:
        self._admit(call, entry)
        chance = self._dice.roll(call.model, call.prompt)
        outcome, text = self._decide(call, entry, chance)
        if outcome is Outcome.HELD:
            await self._gate.wait()
            outcome = Outcome.OK
        outcome = _fitting(outcome, call)
        if outcome in _MESSAGES:
            raise RefusedError(outcome, _MESSAGES[outcome])
        await asyncio.sleep(self._latency(chance))
        return self._work(api, call, entry, outcome, text)

    def _admit(self, call: Call, entry: Entry) -> None:
        closed = self.doors.admit(entry.project, call.model, call.tokens, entry.arrived)
        if closed:
            raise _limited(closed)

    def _decide(
        self, call: Call, entry: Entry, chance: random.Random
    ) -> tuple[Outcome, str | None]:
        drawn = self.options.faults.pick(chance)
        step = self.script.next(
            prompt=call.prompt, key=entry.key, model=call.model, endpoint=call.endpoint
        )
        if step is None:
            return drawn, None
        if step.outcome is Outcome.RATE_LIMITED:
            raise _limited(Standing("requests", self.options.rpm or 60, 0, self._minutes(1 / 3)))
        if step.outcome is Outcome.DAY_LIMITED:
            raise _limited(Standing("day", self.options.rpd or 1000, 0, 6 * 3600.0))
        return step.outcome, step.text

    def _minutes(self, count: float) -> float:
        """Real seconds of the provider's minutes."""
        return count * 60 / self.options.speed

    def _latency(self, chance: random.Random) -> float:
        """Real seconds that this request takes."""
        median = self.options.latency / self.options.speed
        return chance.lognormvariate(math.log(median), self.options.spread) if median else 0.0

    def _work(
        self, api: Api, call: Call, entry: Entry, outcome: Outcome, text: str | None
    ) -> Answer:
        """Do what was asked, bill it, and answer in the way that was decided."""
        made = self._made(call, entry, outcome, text)
        billed = self.options.prices.of(call, made)
        if outcome in {Outcome.HANG, Outcome.RESET}:
            self._finish(entry, outcome, billed=billed, operation=made.operation)
            return Silence.HANG if outcome is Outcome.HANG else Silence.RESET
        response = api.reply(call, made, self._context(entry))
        self._finish(
            entry, outcome, status=response.status, billed=billed, operation=made.operation
        )
        return response

    def _made(self, call: Call, entry: Entry, outcome: Outcome, text: str | None) -> Made:
        if call.kind == "video":
            return self._started(call, entry.project, outcome)
        if outcome is Outcome.REFUSED:
            return Made(outcome, call.tokens)
        if call.kind == "text":
            return Made(outcome, call.tokens, text=text if text is not None else _text(call))
        if outcome is Outcome.NO_IMAGE:
            return Made(outcome, call.tokens, text=text or made_up.words(call.prompt))
        name = f"{call.prompt}/{entry.number}"
        images = [made_up.png(f"{name}/{n}", *call.size) for n in range(call.count)]
        return Made(outcome, call.tokens, text=text, images=images)

    def _started(self, call: Call, project: str, outcome: Outcome) -> Made:
        ends = outcome if outcome in {Outcome.REFUSED, Outcome.FAILED_LATER} else Outcome.OK
        operation = self.operations.start(
            project, call.model, call.prompt, count=call.count, outcome=ends, now=self.clock()
        )
        videos = call.count if ends is Outcome.OK else 0
        return Made(outcome, call.tokens, videos=videos, operation=operation.name)

    def _finish(
        self,
        entry: Entry,
        outcome: Outcome,
        *,
        status: int | None = None,
        billed: int = 0,
        operation: str | None = None,
    ) -> None:
        self.ledger.finish(
            entry,
            outcome=outcome,
            status=status,
            billed=billed,
            operation=operation,
            finished=self.clock(),
        )

    def _context(self, entry: Entry) -> Context:
        now = self.clock()
        standings = self.doors.standings(entry.project, entry.model, now)
        return Context(entry.number, now, entry.model, standings)


def _read(found: Found, request: Request) -> tuple[Call | None, RefusedError | None]:
    """What a request asks for, or why it is not understood."""
    if found.endpoint == "unknown":
        message = f"{request.method} {request.path} is not known here."
        return None, RefusedError(Outcome.NOT_FOUND, message)
    if found.endpoint in {"getOperation", "cancelOperation", "download"}:
        return None, None
    try:
        return found.api.read(request, found.model), None
    except RefusedError as refusal:
        return None, refusal
    except ValueError as error:
        return None, bad_request(str(error))


def _fitting(outcome: Outcome, call: Call) -> Outcome:
    """A text or a video never lacks its image, and only a video can fail later."""
    if outcome is Outcome.NO_IMAGE and call.kind != "image":
        return Outcome.OK
    if outcome is Outcome.FAILED_LATER and call.kind != "video":
        return Outcome.ERROR
    return outcome


def _limited(limit: Standing) -> RefusedError:
    outcome = Outcome.DAY_LIMITED if limit.quota == "day" else Outcome.RATE_LIMITED
    return RefusedError(outcome, "This request would exceed your rate limit.", limit)


def _text(call: Call) -> str:
    if call.schema is None:
        return made_up.words(call.prompt)
    return json.dumps(made_up.fitting(call.schema, call.prompt))
