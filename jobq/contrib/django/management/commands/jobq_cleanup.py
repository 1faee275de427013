"""`manage.py jobq_cleanup`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from jobq.cli import add_days, clean_up
from jobq.contrib.django.management._command import JobqCommand


class Command(JobqCommand):
    """Delete old jobs."""

    help = "Delete jobs that finished long ago, with their history. Workers do so by themselves."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's options."""
        super().add_arguments(parser)
        add_days(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        with self.opened(options) as queue:
            clean_up(queue, options["days"], as_json=options["json"])
