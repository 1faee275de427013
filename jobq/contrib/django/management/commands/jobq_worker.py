"""`manage.py jobq_worker`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from functools import partial
from typing import Any

from django.conf import settings

from jobq.cli import add_worker_arguments, make_worker, serve
from jobq.contrib.django import _autoreload
from jobq.contrib.django._logging import set_up_logging
from jobq.contrib.django._worker import worker_queue
from jobq.contrib.django.management._command import JobqCommand


class Command(JobqCommand):
    """Run jobs."""

    help = "Run jobs until SIGTERM or SIGINT; a second signal stops the worker at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's options."""
        super().add_arguments(parser)
        add_worker_arguments(parser)
        parser.add_argument(
            "--batch", action="store_true", dest="burst", help="the same as --burst"
        )
        parser.add_argument(
            "--backend", metavar="ALIAS", help="run the tasks of this backend in TASKS, and no more"
        )
        parser.add_argument(
            "--reload",
            action=BooleanOptionalAction,
            default=None,
            help="start again when code changes (default: where DEBUG is on, but not with --burst)",
        )

    def handle(self, **options: Any) -> None:
        """Run the command."""
        args = Namespace(**options)
        with self.opened(options) as queue:
            set_up_logging(args.verbosity, args.log_level)
            reloads = settings.DEBUG and not args.burst if args.reload is None else args.reload
            if reloads and not _autoreload.is_child():
                sys.exit(_autoreload.start_again_on_change())
            worker = make_worker(args, worker_queue(queue, args.backend))
            work = partial(serve, worker, args)
            code = _autoreload.serve_until_change(worker, work) if reloads else work()
        if code:
            sys.exit(code)
