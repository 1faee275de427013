"""The admin: to look at jobs, and to move them by the queue's verbs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from jobq._errors import JobqError
from jobq.contrib.django import models, queue

MANY = 10_000
NOTHING = "-"


class ReadOnlyAdmin(ModelAdmin):
    """Shows rows; nobody adds, changes or deletes them here."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Jobs are enqueued by code."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Jobs are moved by verbs: see the actions."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Jobs are pruned after their retention."""
        return False

    def has_move_permission(self, request: HttpRequest) -> bool:
        """Whether a user may use the actions: who has Django's permission to change jobs."""
        return bool(request.user.has_perm("jobq.change_job"))


class CappedPaginator(admin.ModelAdmin.paginator):
    """Counts no further than people page, however many jobs there are."""

    @property
    def count(self) -> int:
        """How many jobs there are, up to a bound."""
        return int(self.object_list[:MANY].count())


def _block(text: str) -> SafeString:
    return format_html('<pre style="white-space: pre-wrap; margin: 0">{}</pre>', text)


def _json(value: Any) -> str | SafeString:
    return NOTHING if value is None else _block(json.dumps(value, indent=2, ensure_ascii=False))


class _Among(SimpleListFilter):
    """A filter by one of a few names: to look for those in the table would take long."""

    def queryset(self, request: HttpRequest, jobs: Any) -> Any:
        """The jobs with the chosen name."""
        chosen = self.value()
        return jobs if chosen is None else jobs.filter(**{self.parameter_name: chosen})


class QueueFilter(_Among):
    """By queue."""

    title = parameter_name = "queue"

    def lookups(self, request: HttpRequest, admin: Any) -> list[tuple[str, str]]:
        """The queues."""
        return [(state.queue, state.queue) for state in queue.queues()]


class TypeFilter(_Among):
    """By type."""

    title = parameter_name = "type"

    def lookups(self, request: HttpRequest, admin: Any) -> list[tuple[str, str]]:
        """The types that have handlers; others are found by the search."""
        return [(type, type) for type in queue.router.types]


@admin.register(models.Job)
class JobAdmin(ReadOnlyAdmin):
    """Jobs, newest first."""

    paginator = CappedPaginator
    list_display = ("id", "type", "queue", "status", "priority", "bar", "tries", "run_at", "owner")
    list_filter = ("status", QueueFilter, TypeFilter, "created_at")
    search_fields = ("id", "type", "owner", "unique_key", "error_code")
    search_help_text = "Id, type, owner, unique key or error code"
    ordering = ("-id",)
    actions = ("cancel", "retry", "pause", "resume")
    fieldsets = (
        (None, {"fields": ("id", "type", "queue", "status", "priority", "owner", "unique_key")}),
        ("Work", {"fields": ("shown_payload", "bar", "message", "shown_result", "metadata")}),
        ("Error", {"fields": ("error_code", "shown_error", "attempts_table")}),
        (
            "Times",
            {
                "fields": (
                    "created_at",
                    "run_at",
                    "started_at",
                    "completed_at",
                    "updated_at",
                    "expires_at",
                )
            },
        ),
        ("Worker", {"fields": ("worker", "lease_until", "cancel_requested", "tries")}),
    )

    @admin.display(description="progress", ordering="progress")
    def bar(self, job: models.Job) -> SafeString:
        """The progress, as a bar."""
        return format_html(
            '<progress max="100" value="{}"></progress> {}&nbsp;%', job.progress, job.progress
        )

    @admin.display(description="attempts", ordering="attempts")
    def tries(self, job: models.Job) -> str:
        """Attempts of how many."""
        return f"{job.attempts}/{job.max_attempts or '?'}"

    @admin.display(description="payload")
    def shown_payload(self, job: models.Job) -> str | SafeString:
        """The payload."""
        return _json(job.payload)

    @admin.display(description="result")
    def shown_result(self, job: models.Job) -> str | SafeString:
        """The result."""
        return _json(job.result)

    @admin.display(description="error")
    def shown_error(self, job: models.Job) -> str | SafeString:
        """The error of the last attempt."""
        return _block(job.error) if job.error else NOTHING

    @admin.display(description="attempts")
    def attempts_table(self, job: models.Job) -> str | SafeString:
        """The ended attempts, with their tracebacks."""
        rows = [(_summary(attempt), _trouble(attempt)) for attempt in queue.history(job.id)]
        return format_html_join("", "<div>{}{}</div>", rows) or NOTHING

    @admin.action(description="Cancel the selected jobs", permissions=["move"])
    def cancel(self, request: HttpRequest, jobs: QuerySet) -> None:
        """Cancel jobs; running ones are asked to stop."""
        self._move(request, jobs, queue.cancel, "cancelled")

    @admin.action(description="Retry the selected jobs", permissions=["move"])
    def retry(self, request: HttpRequest, jobs: QuerySet) -> None:
        """Run jobs again, with all their attempts."""
        self._move(request, jobs, queue.retry, "set to run again")

    @admin.action(description="Pause the queues of the selected jobs", permissions=["move"])
    def pause(self, request: HttpRequest, jobs: QuerySet) -> None:
        """Let no job of these queues start."""
        for name in _queues(jobs):
            queue.pause(name)
            self.message_user(request, f"Queue {name} is paused.", messages.SUCCESS)

    @admin.action(description="Resume the queues of the selected jobs", permissions=["move"])
    def resume(self, request: HttpRequest, jobs: QuerySet) -> None:
        """Let the jobs of these queues start again."""
        for name in _queues(jobs):
            queue.resume(name)
            self.message_user(request, f"Queue {name} is resumed.", messages.SUCCESS)

    def _move(
        self, request: HttpRequest, jobs: QuerySet, verb: Callable[[str], Any], done: str
    ) -> None:
        moved = 0
        for id in jobs.values_list("id", flat=True):
            try:
                verb(id)
            except JobqError as error:
                self.message_user(request, str(error), messages.WARNING)
            else:
                moved += 1
        if moved:
            self.message_user(request, f"{moved} jobs were {done}.", messages.SUCCESS)


def _summary(attempt: Any) -> str:
    began = f"{attempt.started_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"{attempt.number} · {attempt.outcome} · {began} · {attempt.worker}"


def _trouble(attempt: Any) -> str | SafeString:
    text = attempt.traceback or attempt.error
    return _block(text) if text else ""


def _queues(jobs: QuerySet) -> Iterable[str]:
    return sorted(set(jobs.values_list("queue", flat=True)))


@admin.register(models.Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Workers that are alive, or were within the last hour."""

    list_display = ("label", "host", "pid", "busy", "slots", "queues", "started_at", "seen_at")
    search_fields = ("label", "host")


@admin.register(models.Queue)
class QueueAdmin(ReadOnlyAdmin):
    """Queues that are paused, or were."""

    list_display = ("queue", "paused", "paused_until", "updated_at")
    search_fields = ("queue",)
    actions = ("pause", "resume")

    @admin.action(description="Pause the selected queues", permissions=["move"])
    def pause(self, request: HttpRequest, queues: QuerySet) -> None:
        """Let no job of these queues start."""
        for name in queues.values_list("queue", flat=True):
            queue.pause(name)

    @admin.action(description="Resume the selected queues", permissions=["move"])
    def resume(self, request: HttpRequest, queues: QuerySet) -> None:
        """Let the jobs of these queues start again."""
        for name in queues.values_list("queue", flat=True):
            queue.resume(name)
