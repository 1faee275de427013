"""jobq's tables for Django's ORM and admin: to read. Jobs are moved by the queue's verbs."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models

from jobq._model import JobStatus
from jobq.contrib.django import _settings
from jobq.contrib.django._fields import IdField, InstantField, JsonField


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError("jobq's tables are read-only here; use the verbs of jobq.contrib.django.queue")


class ReadOnlyQuerySet(models.QuerySet):
    """A query set without the methods that write."""

    create = acreate = get_or_create = aget_or_create = _refuse
    update_or_create = aupdate_or_create = bulk_create = abulk_create = _refuse
    bulk_update = abulk_update = update = aupdate = delete = adelete = _refuse
    _raw_delete = _update = _refuse


class ReadOnlyManager(models.Manager.from_queryset(ReadOnlyQuerySet)):  # type: ignore[misc]
    """Reads from the database that the queue lives in."""

    def get_queryset(self) -> ReadOnlyQuerySet:
        """Rows of `JOBQ["DATABASE"]`, unless another was asked for."""
        found: ReadOnlyQuerySet = super().get_queryset()
        return found if self._db else found.using(_settings.database())


class _ReadOnly(models.Model):
    objects = ReadOnlyManager()

    save = asave = save_base = delete = adelete = _refuse

    class Meta:
        abstract = True
        managed = False


class Job(_ReadOnly):
    """A job as its row says."""

    id = IdField(primary_key=True, max_length=36)
    type = models.TextField()
    queue = models.TextField()
    status = models.TextField(choices=[(str(one), one.name.lower()) for one in JobStatus])
    priority = models.SmallIntegerField()
    payload = JsonField()
    declared = models.BooleanField()
    run_at = InstantField()
    max_attempts = models.IntegerField(null=True)
    timeout_ms = models.BigIntegerField(null=True)
    expires_at = InstantField(null=True)
    unique_key = models.TextField(null=True)
    owner = models.TextField(null=True)
    metadata = JsonField(null=True)
    attempts = models.IntegerField()
    rate_limited_count = models.IntegerField()
    released_count = models.IntegerField()
    snoozed_count = models.IntegerField()
    crash_count = models.IntegerField()
    worker = models.TextField(null=True)
    lease_until = InstantField(null=True)
    cancel_requested = models.BooleanField()
    progress = models.SmallIntegerField()
    message = models.TextField(null=True)
    result = JsonField(null=True)
    error = models.TextField(null=True)
    error_code = models.TextField(null=True)
    version = models.IntegerField()
    created_at = InstantField()
    updated_at = InstantField()
    started_at = InstantField(null=True)
    completed_at = InstantField(null=True)

    class Meta(_ReadOnly.Meta):
        abstract = False
        db_table = "jobq_job"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Attempt(_ReadOnly):
    """An ended attempt of a job. `number` may repeat after a snooze or a release."""

    pk = models.CompositePrimaryKey("job_id", "fence")
    job = models.ForeignKey(
        Job, models.DO_NOTHING, related_name="history", db_constraint=False, db_index=False
    )
    fence = models.BigIntegerField()
    number = models.IntegerField()
    outcome = models.TextField()
    worker = models.TextField(null=True)
    error = models.TextField(null=True)
    error_code = models.TextField(null=True)
    traceback = models.TextField(null=True)
    started_at = InstantField()
    ended_at = InstantField()

    class Meta(_ReadOnly.Meta):
        abstract = False
        db_table = "jobq_attempt"
        ordering = ("started_at",)

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.outcome}"


class Worker(_ReadOnly):
    """A worker that is alive, or was within the last hour."""

    id = models.TextField(primary_key=True)
    label = models.TextField()
    host = models.TextField()
    pid = models.IntegerField()
    queues = JsonField()
    types = JsonField()
    slots = models.IntegerField()
    busy = models.IntegerField()
    started_at = InstantField()
    seen_at = InstantField()
    lease_until = InstantField()

    class Meta(_ReadOnly.Meta):
        abstract = False
        db_table = "jobq_worker"
        ordering = ("label",)

    def __str__(self) -> str:
        return str(self.label)


class Queue(_ReadOnly):
    """A queue that is paused, or was."""

    queue = models.TextField(primary_key=True)
    paused = models.BooleanField()
    paused_until = InstantField(null=True)
    updated_at = InstantField()

    class Meta(_ReadOnly.Meta):
        abstract = False
        db_table = "jobq_queue"
        ordering = ("queue",)

    def __str__(self) -> str:
        return str(self.queue)
