"""What jobq's commands have in common."""

from __future__ import annotations

from argparse import ArgumentParser
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from jobq._errors import JobqError
from jobq._masking import mask
from jobq.cli import exit_code
from jobq.contrib.django import DjangoQueue, queue

if TYPE_CHECKING:
    from collections.abc import Iterator


class JobqCommand(BaseCommand):
    """A command about the project's queue, or one in another of its databases."""

    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add `--database`."""
        parser.add_argument(
            "--database", metavar="ALIAS", help="the database (default: that of the setting JOBQ)"
        )

    @contextmanager
    def opened(self, options: dict[str, Any]) -> Iterator[DjangoQueue]:
        """The queue; what is printed goes where the command's output goes."""
        alias = options["database"]
        try:
            with redirect_stdout(self.stdout._out):  # noqa: SLF001  Django's wrapper ends lines
                yield queue if alias is None else queue.using(alias)
        except JobqError as error:
            raise CommandError(mask(str(error)), returncode=exit_code(error)) from error
