"""Decide when to claim, and how many: as many as slots are free, and never a closed door twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import frozen

from jobq import backends
from jobq._clock import SECOND
from jobq._config import Config
from jobq._errors import JobqError
from jobq._worker.declare import declare
from jobq._worker.groups import Group, Groups
from jobq._worker.lanes import Lanes
from jobq._worker.pace import Pace, patience
from jobq._worker.running import Start
from jobq.observe import logger

LOOK_EVERY = 0.2
"""While limits are closed, and hints come one after the other: look at limits so often at most."""
MOST_PATIENCE = 1.024
"""How long due jobs are left alone at most whose rows other transactions hold, in seconds."""
TRIES = 8
"""How often in a row a burst finds due jobs held by others until it ends without them."""
SURVEY_EVERY = 1.0
"""While every claim comes back full: seconds between looks for other jobs, at least."""


@frozen
class Loan:
    """A claim that the finisher makes in the claimer's place."""

    group: Group
    wanted: dict[str, Any]
    """The arguments of `ops.claim`."""


class Claimer:
    """The claim loop. `start` runs the claimed jobs, and tells whether some may have gone back.

    `free` tells how many slots are free, `room` how many jobs without limits may be taken at once
    when some more come free, `singly` whether they are to be claimed one at a time, and
    `holds_ahead` whether some of them are held ahead of the slots.

    It ends when it is stopped, when `quota` jobs have been run, or, in a burst, when there is
    nothing left that this worker could take.
    """

    def __init__(
        self,
        store: backends.AsyncStore,
        outcomes: backends.AsyncStore,
        config: Config,
        lanes: Lanes,
        *,
        worker: str,
        queues: Sequence[str] | None,
        lease: Callable[[], float],
        margin: float,
        free: Callable[[], int],
        room: Callable[[int], int],
        singly: Callable[[], bool],
        holds_ahead: Callable[[], bool],
        waiting: Callable[[], int],
        start: Callable[..., bool],
        busy: Callable[[], bool],
        fallback: Callable[[], float],
        quota: int | None = None,
        burst_window: float | None = None,
        learned: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._outcomes = outcomes
        self._has_edges = store.dialect.keeps_dead_entries
        self._config = config
        self._lanes = lanes
        self._types = config.router.types
        self._unknown: set[str] = set()
        """Types that nobody could find."""
        self._worker = worker
        self._chosen = queues
        self._queues = list(queues) if queues is not None else ["default"]
        self._seconds = lease
        self._margin = round(margin * SECOND)
        self._free = free
        self._room = room
        self._singly = singly
        self._holds_ahead = holds_ahead
        self._waiting = waiting
        self._start = start
        self._busy = busy
        self._fallback = fallback
        self._quota = quota
        self._burst_window = burst_window
        self._learned = learned
        self._wake = asyncio.Event()
        self._stopped = False
        self._lent = False
        """Whether the finisher is claiming in our place."""
        self._wants_slots = True
        """Whether there may be jobs that were left alone for want of a slot."""
        self._all_had_room = True
        """Whether each group of the last turn could be asked for."""
        self._groups = Groups(config.router)
        self._limited_first = True
        self._look_at = 0.0
        self._survey_at = 0.0
        """When to look beside the claims, while those bring jobs (monotonic)."""
        self._pace = Pace()
        at_once = lanes.have_places or burst_window is not None
        self._look_every = 0.0 if at_once else LOOK_EVERY
        self._owes_look = False
        self._in_vain = 0
        """How often in a row jobs were due whose rows other transactions held."""
        self.worked_at = time.monotonic()
        """When there was last something to claim."""

    def _lease(self) -> int:
        return round(self._seconds() * SECOND)

    def wake(self) -> None:
        """There may be jobs, or a slot may be free: look."""
        self._wake.set()

    def slot_freed(self) -> None:
        """A slot is free again: look, unless nothing was left when it was last looked."""
        if self._wants_slots:
            self.wake()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopped = True
        self._wake.set()

    def spared(self) -> None:
        """A job goes back that was claimed and not run: another may take its place."""
        if self._quota is not None:
            self._quota += 1

    @property
    def done(self) -> bool:
        return self._stopped or (self._quota == 0 and not self._busy())

    async def run(self) -> None:
        """Claim until done. A database that cannot be reached is asked again, with jitter."""
        tries = 0
        while not self.done:
            try:
                if not self._survey_at and self._lanes.limited_types:
                    await self._survey()  # else the first claim would not know of limited jobs
                await self._round()
                tries = 0
            except JobqError as error:
                tries += 1
                rest = min(0.1 * 2**tries, 5.0) * random.uniform(0.5, 1.0)
                logger.warning("cannot claim jobs, trying again in %.1f s: %s", rest, error)
                await self._sleep(rest)

    async def _round(self) -> None:
        self._wake.clear()
        if self.done:  # since the look before the first round
            return
        self._wants_slots = True
        if self._lent or not self._has_room():
            await self._wake.wait()
            return
        opened = bool(self._lanes.open())
        more = await self._claim_all()
        if more or not self._groups.dry:
            if time.monotonic() > self._survey_at:
                await self._survey()
                self._groups.ask_anew()
            return
        if self._quota == 0 or not self._groups.all_asked:
            return
        if (full_at := self._groups.full_at) is not None:
            await self._sleep(full_at - time.monotonic())
            return
        self._wants_slots = self._needs_free_slots()
        survey, changed = await self._survey()
        if changed or self.done or (self._lanes.open() and not opened):
            return
        if self._burst_window is None or self._busy():
            await self._sleep(self._until_next(survey))
        elif not self._wake.is_set():
            await self._end_of_burst()

    def _needs_free_slots(self) -> bool:
        """Whether a slot that comes free may be what is waited for, although no job was found."""
        ends = self._burst_window is not None
        places = self._lanes.have_places or bool(self._lanes.open())
        return ends or places or not self._all_had_room

    async def _claim_all(self) -> bool:
        """Claim what has limits and what has none; whether there may be more of the former.

        Who goes first takes turns, where priorities do not say: neither may starve the other.
        """
        if not self._lanes.open():
            await self._claim()
            return False
        first, self._limited_first = self._limited_first, not self._limited_first
        more = await self._claim_limited(yields=not first)
        await self._claim()
        if not first and self._lanes.open() and self._free() > 0:
            more = await self._claim_limited(yields=False)
        return more

    async def _claim_limited(self, *, yields: bool) -> bool:
        if (slots := self._within_quota(self._free())) <= 0:
            return False
        ahead = self._starts_ahead(slots)
        if ahead == 0:
            self._lanes.put_off()
            if not self._lanes.open():
                return False
        queues = self._lanes.queues_without_limits(self._queues)
        request = self._lanes.request(
            slots=slots,
            ahead=ahead,
            rivals=(queues, self._lanes.unlimited_types),
            yields=yields,
            worker=self._worker,
            lease=self._lease(),
            margin=self._margin,
        )
        self._lent = True
        try:
            grant = await self._store.run(backends.ops.claim_limited, request)
            if grant.missing:
                await self._store.run(backends.ops.ensure_limits, grant.missing)
                grant = await self._store.run(backends.ops.claim_limited, request)
        finally:
            self._lent = False
        self._lanes.heard(request, grant)
        if grant.refused:
            self._config.observers.jobs_changed("refuse", grant.refused)
        if grant.jobs:
            self._took(len(grant.jobs))
            claimed = [job for job, _ in grant.jobs]
            self._start(claimed, _starts(grant, self._config), asked_at=grant.asked_at)
            await asyncio.sleep(0)
        return bool(grant.jobs or grant.refused) and bool(self._lanes.open())

    def _starts_ahead(self, slots: int) -> int:
        """How many starts that are still to come may be granted: for half of the slots at most."""
        waiting = self._waiting()
        return max(0, (slots + waiting) // 2 - waiting)

    def _has_room(self) -> bool:
        if self._stopped or self._quota == 0:
            return False
        return self._free() > 0 or any(self._jobs(group) > 0 for group in self._groups)

    def _within_quota(self, jobs: int) -> int:
        return jobs if self._quota is None else min(jobs, self._quota)

    def _jobs(self, group: Group, freed: int = 0) -> int:
        """How many jobs of a group may be claimed now.

        None is held ahead where they are counted: it may be given back, and would be missing.
        """
        counted = self._quota is not None
        ahead = not counted and not self._lanes.open() and self._groups.are_others_dry(group)
        if group.per_slot == 1 and ahead:
            jobs = self._room(freed)
        else:
            jobs = (self._free() + freed) * group.per_slot
        return self._within_quota(min(1, jobs) if self._singly() else jobs)

    async def _claim(self) -> None:
        self._all_had_room = True
        for group in self._groups.in_turn():
            if (jobs := self._jobs(group)) > 0:
                await self._claim_of(group, jobs)
            else:
                self._all_had_room = False

    async def _claim_of(self, group: Group, jobs: int) -> None:
        began = time.monotonic()
        wanted = self._arguments(group, jobs, began)
        # Outcomes leave time for claims, unless jobs run that others are held ahead of.
        overlaps = group.per_slot > 1 or (self._holds_ahead() and self._busy())
        store = self._store if overlaps else self._outcomes
        self._lent = True  # nobody else claims meanwhile
        try:
            claimed = await store.run(backends.ops.claim, **wanted)
        finally:
            self._lent = False
        self._receive(group, claimed, wanted, began)
        if claimed:
            await asyncio.sleep(0)  # handlers begin before it is looked for more

    def _arguments(self, group: Group, jobs: int, now: float) -> dict[str, Any]:
        queues = self._lanes.queues_without_limits(self._queues)
        return {
            "queues": queues,
            "types": group.types,
            "edges": group.edges.choose(queues, group.types, now) if self._has_edges else (),
            "slots": jobs,
            "worker": self._worker,
            "lease": self._lease(),
            "margin": self._margin,
        }

    def _receive(
        self, group: Group, claimed: Sequence[Any], wanted: dict[str, Any], asked_at: float
    ) -> None:
        if self._has_edges:
            now = time.monotonic()
            group.edges.reached(claimed, wanted["edges"], began=asked_at, now=now)
        self._groups.received(group, len(claimed), wanted["slots"])
        if claimed:
            self._took(len(claimed))
            if self._start(claimed, asked_at=asked_at):
                group.edges.forget()

    def _took(self, count: int) -> None:
        self.worked_at = time.monotonic()
        if self._quota is not None:
            self._quota -= count

    @property
    def goes_alone(self) -> bool:
        """Whether claims and outcomes are better done at the same time: with jobs held ahead."""
        return self._store.dialect.locks_rows and self._holds_ahead()

    def lend(self, freed: int) -> Loan | None:
        """A claim for the finisher to make together with its own write.

        `freed` slots come free with it. `None` while there is nothing to claim, or a claim is
        under way. Whatever comes of it must be told to `take_back`.
        """
        group = self._groups.only_plain
        if group is None or self._lent or self.done or self._lanes.open():
            return None
        jobs = self._jobs(group, freed)
        self._lent = jobs > 0
        return Loan(group, self._arguments(group, jobs, time.monotonic())) if self._lent else None

    def take_back(self, loan: Loan, claimed: Sequence[Any], asked_at: float) -> None:
        """What a lent claim brought, and when it was asked for (monotonic)."""
        self._lent = False
        self._receive(loan.group, claimed, loan.wanted, asked_at)
        self.wake()

    async def _survey(self) -> tuple[Any, bool]:
        """Look what else there is; whether that made jobs claimable."""
        began = time.monotonic()
        unfit = self._lanes.unfit(self._queues)
        survey = await self._store.run(backends.ops.survey, types=self._types, unfit=unfit)
        changed = False
        if survey.unfit:
            await self._store.run(backends.ops.undeclare, unfit)
        if survey.undeclared or survey.unfit:
            changed = await declare(self._store, self._config, self._types) > 0
        if survey.next_run_at is not None and survey.next_run_at <= survey.now:
            promoted = await self._store.run(backends.ops.promote) > 0
            self._in_vain = 0 if promoted else self._in_vain + 1
            changed = promoted or changed
        else:
            self._in_vain = 0
        changed = await self._look() or changed
        now = time.monotonic()
        self._survey_at = max(began + SURVEY_EVERY, now + self._pace.rest(now - began))
        return survey, changed

    async def _look(self) -> bool:
        """Look which queues and lanes have jobs; whether some are new."""
        ready = await self._store.run(backends.ops.ready, after=self._lanes.after)
        met = self._config.router.finds and await self._meet(ready)
        self._lanes.saw(ready)
        new: set[str] = set()
        if self._chosen is None:
            seen = {*ready.queues, *(queue for queue, _ in ready.lanes)}
            new = seen - set(self._queues)
            self._queues = sorted({"default", *seen})
        if not self._lanes.are_closed:
            self._owes_look = False
        elif time.monotonic() < self._look_at:
            self._owes_look = True  # the hint that woke us may have told of a resume
        else:
            self._look_at, self._owes_look = time.monotonic() + self._look_every, False
            stand = await self._store.run(backends.ops.stand, self._lanes.wanted_keys())
            self._lanes.refresh(*stand, ahead=self._starts_ahead(self._free()) > 0)
        return bool(new) or met

    async def _meet(self, ready: Any) -> bool:
        """Look for handlers of types that were not met before; whether there are some."""
        types = await self._store.run(backends.ops.ready_types)
        strangers = self._lanes.strangers(ready, types) - self._unknown
        found = [
            type for type in strangers if await asyncio.to_thread(self._config.router.find, type)
        ]
        self._unknown |= strangers.difference(found)
        if found:
            self._types = self._config.router.types
            self._groups.learn(self._config.router)
            self._lanes.learn()
            await self._learned()
        return bool(found)

    def _until_next(self, survey: Any) -> float:
        """Seconds until the next thing that is known to happen; a hint may come before."""
        moments = [m for m in (survey.next_run_at, survey.next_resume) if m is not None]
        rests = [(moment - survey.now) / SECOND for moment in moments]
        rest = min([max(rest, self._patience) for rest in rests], default=float("inf"))
        now = time.monotonic()
        rest = min(rest + 0.0005, self._lanes.next_ask - now)
        if self._owes_look:
            rest = min(rest, self._look_at - now)
        return max(0.001, min(rest, self._fallback() * random.uniform(0.9, 1.0)))

    @property
    def _patience(self) -> float:
        """Seconds to leave jobs alone that others hold: longer and longer, up to a second."""
        return patience(self._in_vain, MOST_PATIENCE) if self._in_vain else 0.0

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _end_of_burst(self) -> None:
        """Stop, unless something is due soon."""
        within = round((self._burst_window or 0.0) * SECOND)
        due = await self._store.run(
            backends.ops.due_within, types=self._types, queues=self._chosen, within=within
        )
        opens = self._lanes.next_ask - time.monotonic()
        later = due is None or self._in_vain > TRIES
        rest = min(opens, float("inf") if later else (due or 0) / SECOND)
        if rest > (self._burst_window or 0.0):
            self.stop()
        else:
            await self._sleep(max(0.001, self._patience, rest))


def _starts(grant: Any, config: Config) -> dict[str, Start]:
    """When granted jobs may start, by their ids.

    Not before their time counted from when the database's clock was known here, and not later than
    their time counted from when it was asked for: between the two it was read.
    """
    starts = {}
    for job, permit in grant.jobs:
        after, until = permit.start - grant.now, permit.good_until - grant.now
        starts[job.id] = Start(
            not_before=grant.answered_at + after / SECOND,
            not_after=float("inf") if config.clock.frozen else grant.asked_at + until / SECOND,
            permit=permit,
        )
    return starts
