"""What steers a queue beside its jobs: limits, schedules, artifacts, webhooks, for both faces."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from jobq import _artifact_verbs as artifact_verbs
from jobq import _limit_verbs as limit_verbs
from jobq import _schedule_verbs as schedule_verbs
from jobq import _webhook_verbs as webhook_verbs
from jobq._cron import ScheduleInfo
from jobq._limits import Concurrency, DailyQuota, RateLimit
from jobq._model import LimitInfo
from jobq._verbs import Verb

if TYPE_CHECKING:
    from jobq.artifacts import Artifact, Sweep
    from jobq.webhooks import WebhookInfo

T = TypeVar("T")


class Controls:
    """For `Queue`."""

    def _do(self, verb: Callable[..., Verb[T]], *args: Any, **kwargs: Any) -> T:
        raise NotImplementedError

    def limits(self) -> list[LimitInfo]:
        """The limits as they stand, by key: what is free, who waits, what is closed and why."""
        return self._do(limit_verbs.limits)

    def set_limit(self, limit: RateLimit | DailyQuota | Concurrency) -> None:
        """Change a limit's numbers, from now on and for all workers.

        They hold instead of what code declares, until `reset_limit`. For a template such as
        `tenant:{owner}` they are those of all owners, for `tenant:7` of that one alone.
        """
        self._do(limit_verbs.set_limit, limit)

    def pause_limit(
        self, key: str, *, until: datetime | None = None, reason: str | None = None
    ) -> None:
        """Start no job that needs this limit, until then or until it is resumed."""
        self._do(limit_verbs.pause_limit, key, until, reason)

    def resume_limit(self, key: str) -> None:
        """Open a limit that was paused, or that a provider's refusal has closed.

        Raises `OptionError` where there is no such limit.
        """
        self._do(limit_verbs.resume_limit, key)

    def reset_limit(self, key: str) -> None:
        """Open a limit, fill its bucket, and go back to the numbers that code declares."""
        self._do(limit_verbs.reset_limit, key)

    def schedules(self) -> list[ScheduleInfo]:
        """The schedules by name: when they tick next, and what became of the last tick."""
        return self._do(schedule_verbs.schedules)

    def pause_schedule(self, name: str) -> None:
        """Let a schedule tick no more, until it is resumed; deployments do not change that.

        Raises `OptionError` where there is no such schedule.
        """
        self._do(schedule_verbs.pause_schedule, name)

    def resume_schedule(self, name: str) -> None:
        """Let a schedule tick again, from now on."""
        self._do(schedule_verbs.resume_schedule, name)

    def artifacts(self, job_id: Any) -> list[Artifact]:
        """What a job has saved, oldest first, also where it has been pruned. See `jobq.artifacts`.

        The `url` of what is `stored` is its public address, or one that is good for an hour; it
        is `None` for a folder without `base_url`.
        """
        return self._do(artifact_verbs.artifacts, [job_id])

    def sweep_artifacts(
        self, *, older_than: float | timedelta = 86400, dry_run: bool = True
    ) -> Sweep:
        """Remove what was uploaded and never became part of a job's outcome; how much that is.

        It goes by jobq's own rows: those of jobs that are gone or have been finished for
        `older_than` (seconds, or a timedelta), without what is `stored`, and without what another
        row names. By default it only looks.

        >>> queue.sweep_artifacts(dry_run=False).objects
        0
        """
        return self._do(artifact_verbs.sweep_artifacts, older_than=older_than, dry_run=dry_run)

    def webhooks(self) -> list[WebhookInfo]:
        """The endpoints of this queue, and those that are disabled."""
        return self._do(webhook_verbs.webhooks)

    def enable_webhook(self, name: str) -> None:
        """Send an endpoint messages again that was disabled because it answered 410.

        Raises `OptionError` if it is not. Deliveries that were cancelled meanwhile are sent if
        they are retried.
        """
        self._do(webhook_verbs.enable_webhook, name)


class AsyncControls:
    """The same for `AsyncQueue`."""

    async def _do(self, verb: Callable[..., Verb[T]], *args: Any, **kwargs: Any) -> T:
        raise NotImplementedError

    async def limits(self) -> list[LimitInfo]:
        """The limits as they stand, by key: what is free, who waits, what is closed and why."""
        return await self._do(limit_verbs.limits)

    async def set_limit(self, limit: RateLimit | DailyQuota | Concurrency) -> None:
        """Change a limit's numbers, from now on and for all workers.

        They hold instead of what code declares, until `reset_limit`. For a template such as
        `tenant:{owner}` they are those of all owners, for `tenant:7` of that one alone.
        """
        await self._do(limit_verbs.set_limit, limit)

    async def pause_limit(
        self, key: str, *, until: datetime | None = None, reason: str | None = None
    ) -> None:
        """Start no job that needs this limit, until then or until it is resumed."""
        await self._do(limit_verbs.pause_limit, key, until, reason)

    async def resume_limit(self, key: str) -> None:
        """Open a limit that was paused, or that a provider's refusal has closed.

        Raises `OptionError` where there is no such limit.
        """
        await self._do(limit_verbs.resume_limit, key)

    async def reset_limit(self, key: str) -> None:
        """Open a limit, fill its bucket, and go back to the numbers that code declares."""
        await self._do(limit_verbs.reset_limit, key)

    async def schedules(self) -> list[ScheduleInfo]:
        """The schedules by name: when they tick next, and what became of the last tick."""
        return await self._do(schedule_verbs.schedules)

    async def pause_schedule(self, name: str) -> None:
        """Let a schedule tick no more, until it is resumed. See `Queue.pause_schedule`."""
        await self._do(schedule_verbs.pause_schedule, name)

    async def resume_schedule(self, name: str) -> None:
        """Let a schedule tick again, from now on."""
        await self._do(schedule_verbs.resume_schedule, name)

    async def artifacts(self, job_id: Any) -> list[Artifact]:
        """What a job has saved, oldest first. See `Queue.artifacts`."""
        return await self._do(artifact_verbs.artifacts, [job_id])

    async def sweep_artifacts(
        self, *, older_than: float | timedelta = 86400, dry_run: bool = True
    ) -> Sweep:
        """Remove what never became part of a job's outcome. See `Queue.sweep_artifacts`."""
        return await self._do(
            artifact_verbs.sweep_artifacts, older_than=older_than, dry_run=dry_run
        )

    async def webhooks(self) -> list[WebhookInfo]:
        """The endpoints of this queue, and those that are disabled. See `Queue.webhooks`."""
        return await self._do(webhook_verbs.webhooks)

    async def enable_webhook(self, name: str) -> None:
        """Send an endpoint messages again. See `Queue.enable_webhook`."""
        await self._do(webhook_verbs.enable_webhook, name)
