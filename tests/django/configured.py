"""Django is set up once a process, whoever needs it first."""

from __future__ import annotations

import django
from django.conf import settings

from tests.django import settings as project


def configure() -> None:
    if not settings.configured:
        names = (name for name in vars(project) if name.isupper())
        settings.configure(**{name: getattr(project, name) for name in names})
        django.setup()
