"""`manage.py jobq_status`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from jobq.cli import show_state
from jobq.contrib.django.management._command import JobqCommand


class Command(JobqCommand):
    """Print how the queue stands."""

    help = "Show how many jobs there are, the queues, and the workers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's options."""
        super().add_arguments(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        with self.opened(options) as queue:
            show_state(queue, as_json=options["json"])
